package otel

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// Handler returns a handler that calls next and measures its time in signet.http.duration. The attribute
// signet.operation is the text of operation; give each handler a short name of its own, such as "orders". The attribute
// signet.outcome is the class of the status: "2xx", "3xx", "4xx" or "5xx", "1xx" for a connection that next took over,
// and "panic" for a panic before an answer. It makes no span; otelhttp makes one for the whole request. It is safe for
// concurrent use, and it panics if next is nil.
func Handler(operation string, next http.Handler, options ...Option) http.Handler {
	duration := newDuration("Handler", next, options)
	results := newOutcomes(operation)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		measure(duration, results, next, w, r)
	})
}

// AuthHandler is [Handler] for what signet.Auth.Handler returns. The operation is the end of the path, such as "login"
// or "refresh-token", "sessions" for a path of one session, and "other" for a path with another end.
func AuthHandler(next http.Handler, options ...Option) http.Handler {
	duration := newDuration("AuthHandler", next, options)
	results := map[string]*outcomes{}
	for _, operation := range append(operations, other) {
		results[operation] = newOutcomes(operation)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		measure(duration, results[operationOf(r.URL.Path)], next, w, r)
	})
}

// operations are the last elements of the paths of signet.Auth.Handler.
var operations = []string{
	"login", "second-step", "refresh-token", "profile", "logout", "logout-all", "sessions", "ticket", "step-up",
}

func operationOf(path string) string {
	path = strings.TrimRight(path, "/")
	slash := strings.LastIndexByte(path, '/')
	if last := path[slash+1:]; slices.Contains(operations, last) {
		return last
	}
	if slash > 0 && strings.HasSuffix(path[:slash], "/sessions") {
		return "sessions" // one session
	}
	return other
}

// outcomes are the attributes of an operation, by the class of the status. 0 is a panic.
type outcomes [6][]metric.RecordOption

func newOutcomes(operation string) *outcomes {
	var o outcomes
	for class, name := range [...]string{"panic", "1xx", "2xx", "3xx", "4xx", "5xx"} {
		o[class] = []metric.RecordOption{metric.WithAttributeSet(attribute.NewSet(
			attribute.String("signet.operation", operation), attribute.String("signet.outcome", name)))}
	}
	return &o
}

func newDuration(name string, next http.Handler, options []Option) metric.Float64Histogram {
	if next == nil {
		panic("otel: " + name + ": the next handler is nil")
	}
	return newSettings(options).durations(httpDurationName, "Time of requests.",
		.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10)
}

func measure(
	duration metric.Float64Histogram, results *outcomes, next http.Handler, w http.ResponseWriter, r *http.Request,
) {
	rec := &recorder{ResponseWriter: w}
	begin := time.Now()
	defer func() { duration.Record(r.Context(), time.Since(begin).Seconds(), results[rec.class]...) }()
	next.ServeHTTP(rec.withMethods(), r)
	rec.note(http.StatusOK) // net/http sends it when a handler has written nothing
}

// recorder notes the class of the status.
type recorder struct {
	http.ResponseWriter
	class int // 0: nothing was sent
}

func (r *recorder) note(status int) {
	if r.class == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		r.class = min(status/100, 5)
	}
}

func (r *recorder) WriteHeader(status int) {
	r.note(status)
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(b []byte) (int, error) {
	r.note(http.StatusOK)
	return r.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// FlushError is for [http.ResponseController].
func (r *recorder) FlushError() error {
	err := http.NewResponseController(r.ResponseWriter).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		r.note(http.StatusOK)
	}
	return err
}

// withMethods returns the recorder with the optional methods of its writer that handlers ask for when they stream, or take the
// connection over: http.Flusher, then http.Hijacker, then io.ReaderFrom. Each of these is there only together with those before it.
func (r *recorder) withMethods() http.ResponseWriter {
	_, flushes := r.ResponseWriter.(http.Flusher)
	_, hijacks := r.ResponseWriter.(http.Hijacker)
	_, reads := r.ResponseWriter.(io.ReaderFrom)
	switch {
	case flushes && hijacks && reads:
		return connRecorder{hijackRecorder{flushRecorder{r}}}
	case flushes && hijacks:
		return hijackRecorder{flushRecorder{r}}
	case flushes:
		return flushRecorder{r}
	}
	return r
}

// flushRecorder is for HTTP/2, and for other writers that can flush.
type flushRecorder struct{ *recorder }

func (r flushRecorder) Flush() { _ = r.FlushError() }

// hijackRecorder is for writers of routers, which often have no ReadFrom.
type hijackRecorder struct{ flushRecorder }

func (r hijackRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffer, err := r.ResponseWriter.(http.Hijacker).Hijack()
	if err == nil {
		r.note(http.StatusSwitchingProtocols)
	}
	return conn, buffer, err
}

// connRecorder is for HTTP/1.
type connRecorder struct{ hijackRecorder }

func (r connRecorder) ReadFrom(from io.Reader) (int64, error) {
	r.note(http.StatusOK)
	return r.ResponseWriter.(io.ReaderFrom).ReadFrom(from)
}
