package otel_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/otel"
)

func requests(t *testing.T, tm *telemetry) map[string]int {
	return tm.counts(t, "signet.http.duration", "signet.operation", "signet.outcome")
}

func TestOutcomesOfHandlers(t *testing.T) {
	for name, tc := range map[string]struct {
		handle http.HandlerFunc
		want   string
	}{
		"nothing":     {func(http.ResponseWriter, *http.Request) {}, "2xx"},
		"a body":      {func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "x") }, "2xx"},
		"created":     {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, "2xx"},
		"early hints": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(103); w.WriteHeader(404) }, "4xx"},
		"twice":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503); _, _ = io.WriteString(w, "x") }, "5xx"},
		"no class":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(600) }, "5xx"},
		"the largest": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) }, "5xx"},
		"redirect":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }, "3xx"},
		"flush":       {func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, "2xx"},
		"controller":  {func(w http.ResponseWriter, _ *http.Request) { _ = http.NewResponseController(w).Flush() }, "2xx"},
		"copy": {func(w http.ResponseWriter, _ *http.Request) {
			_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader("x"))
		}, "2xx"},
		"panic": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "panic"},
		"flush and panic": {func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}, "2xx"},
		"hijack": {func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err == nil {
				_ = conn.Close()
			}
		}, "1xx"},
	} {
		for _, wrapped := range []bool{false, true} { // by a middleware whose writer has only Unwrap
			if wrapped && (name == "copy" || name == "flush" || name == "hijack") { // the writer cannot
				continue
			}
			t.Run(fmt.Sprint(name, wrapped), func(t *testing.T) {
				tm := newTelemetry()
				handler, done := otel.Handler("orders", tc.handle, tm.all...), make(chan struct{})
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					defer close(done)
					if wrapped {
						w = unwrapper{w}
					}
					handler.ServeHTTP(w, r)
				}))
				defer server.Close()
				response, err := http.Post(server.URL, "text/plain", nil) // a client does not repeat a POST
				if err == nil {
					_ = response.Body.Close()
				}
				<-done
				require.Equal(t, map[string]int{"orders " + tc.want: 1}, requests(t, tm))
			})
		}
	}
}

type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// A handler that streams ends when a flush fails, so it must hear of that.
func TestTheErrorOfAFlush(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		flushed := make(chan error, 1)
		server := httptest.NewUnstartedServer(otel.Handler("events", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			controller := http.NewResponseController(w)
			assert.NoError(t, controller.SetWriteDeadline(time.Now().Add(-time.Second)))
			_, _ = io.WriteString(w, "data: 1\n\n")
			flushed <- controller.Flush()
		}), newTelemetry().all...))
		server.EnableHTTP2 = http2
		server.StartTLS()
		if response, err := server.Client().Get(server.URL); err == nil {
			_ = response.Body.Close()
		}
		require.Error(t, <-flushed, "HTTP/2: %v", http2)
		server.Close()
	}
}

// A handler must not see an ability that the writer lacks.
func TestAbilitiesOfTheWriter(t *testing.T) {
	handler := otel.Handler("x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, flushes := w.(http.Flusher)
		_, hijacks := w.(http.Hijacker)
		require.False(t, hijacks)
		if flushes {
			w.WriteHeader(http.StatusAccepted)
		}
	}), newTelemetry().all...)
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, httptest.NewRequest("GET", "/", nil)) // a recorder flushes
	require.Equal(t, http.StatusAccepted, recorder.Code)
	recorder = httptest.NewRecorder()
	handler.ServeHTTP(struct{ http.ResponseWriter }{recorder}, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, http.StatusOK, recorder.Code)
}

// hijackable is a writer of a router: it flushes and gives the connection away, and has no ReadFrom.
type hijackable struct {
	http.ResponseWriter
	http.Flusher
	http.Hijacker
}

func TestAWebSocketBehindARouter(t *testing.T) {
	var reads bool
	handler := otel.Handler("x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, reads = w.(io.ReaderFrom)
		conn, _, err := w.(http.Hijacker).Hijack()
		require.NoError(t, err)
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
	}), newTelemetry().all...)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(hijackable{w, w.(http.Flusher), w.(http.Hijacker)}, r)
	}))
	defer server.Close()
	r, err := http.NewRequest("GET", server.URL, nil)
	require.NoError(t, err)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "x")
	resp, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, http.StatusSwitchingProtocols, resp.StatusCode)
	require.False(t, reads)
}

func TestOperations(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/auth/login": "login", "/auth/login/": "login", "/auth/login/second-step": "second-step",
		"/auth/refresh-token": "refresh-token", "/auth/sessions": "sessions", "/auth/sessions/AbC": "sessions",
		"/auth/../../x": "other", "/": "other", "": "other", "/auth/john@mail.com": "other",
	} {
		tm := newTelemetry()
		request := httptest.NewRequest("GET", "/", nil)
		request.URL.Path = path
		otel.AuthHandler(http.NotFoundHandler(), tm.all...).ServeHTTP(httptest.NewRecorder(), request)
		require.Equal(t, map[string]int{want + " 4xx": 1}, requests(t, tm), path)
	}
}

func TestAllocates(t *testing.T) {
	tm := newTelemetry()
	handler := otel.Handler("x", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNoContent)
	}), tm.all...)
	w, r := struct{ http.ResponseWriter }{httptest.NewRecorder()}, httptest.NewRequest("GET", "/", nil)
	got := testing.AllocsPerRun(100, func() { handler.ServeHTTP(w, r) })
	require.LessOrEqual(t, got, 3.0)
	t.Logf("%v allocations for each request", got)
}
