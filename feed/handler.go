package feed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/signet-go/signet/internal/flight"
	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/seldom"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

const (
	timeout   = 5 * time.Second        // for one call of the store or of the service
	pageSize  = 10_000                 // entries of a list at most
	maxCursor = 2 << 10                // bytes
	maxBody   = 8 << 10                // bytes
	maxNonce  = 64                     // bytes
	keepFor   = 100 * time.Millisecond // how long a signed document is served again
	maxKept   = 32                     // cursors with such a document
)

// Handler serves the revocations of a session store. It is an [http.Handler] for one path, which the host chooses. It
// is safe for concurrent use, and starts no goroutine. Make it with [NewHandler].
type Handler struct {
	config
	store          session.Store
	source         keys.Source
	lists, answers *jws.Writer
	reads          flight.Group[string]
	failure        seldom.Line // about a store or a key that does not answer

	mu   sync.Mutex
	kept map[string]keptDocument
}

// keptDocument is a signed list that is served to everybody who asks with the same query.
type keptDocument struct {
	text  string
	until time.Time
}

// NewHandler returns the handler for a session store. It signs with the source that signs the tokens. The error joins all
// mistakes in the arguments. Use a [session.Memory] in tests only. It is empty after a restart of its process. The followers
// still know older cut-offs, and then refuse the new tokens of these users. For the same reason restart the followers after a
// move to another store.
//
// GET answers the log behind the cursor in the query parameter "after": up to 10,000 entries, or as many as the parameter
// "limit" says. Followers that ask the same at the same time cost one read of the store and one signature. POST confirms one
// session.
//
// Several processes may serve the feed of one store, behind one address. Their clocks must agree within half a second.
//
// Whoever can reach the handler can learn which hashes of session ids are revoked, and whether a user whose id they can
// guess was cut off, and makes the key sign at any rate. Where that matters, as with a KMS that signs only so many times a
// second, put a middleware or a network in front of it that lets only the own services through.
func NewHandler(store session.Store, source keys.Source, opts ...HandlerOption) (*Handler, error) {
	h := &Handler{config: defaults(), store: store, source: source, lists: jws.NewWriter(listType),
		answers: jws.NewWriter(statusType), kept: map[string]keptDocument{}}
	for _, opt := range opts {
		if isnil.Value(opt) {
			h.mistake("NewHandler", "an option is nil")
			continue
		}
		opt.applyHandler(&h.config)
	}
	if isnil.Value(store) {
		h.mistake("NewHandler", "the session store is nil; pass the one that signet has")
	}
	h.checkSource("NewHandler", source)
	if len(h.errs) == 0 && source.Current().Signing() == nil {
		h.mistake("NewHandler", "the source has no key that signs")
	}
	if err := errors.Join(h.errs...); err != nil {
		return nil, err
	}
	return h, nil
}

// Format implements [fmt.Formatter]. A Handler prints only its name, because it holds keys.
func (h *Handler) Format(state fmt.State, _ rune) { fmt.Fprint(state, "feed.Handler") }

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var document, media string
	var err error = &problem{http.StatusMethodNotAllowed, "method_not_allowed", "use GET, POST"}
	switch r.Method {
	case http.MethodGet:
		media = listType
		document, err = h.list(r)
	case http.MethodPost:
		media = statusType
		document, err = h.status(w, r)
	}
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/"+media)
	setHeaders(w)
	io.WriteString(w, document)
}

func setHeaders(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

// list returns the document for GET.
func (h *Handler) list(r *http.Request) (string, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	after := session.Cursor(query.Get("after"))
	if err != nil || len(query["after"]) > 1 || len(after) > maxCursor || !utf8.ValidString(string(after)) {
		return "", badRequest("the query is malformed")
	}
	most := pageSize
	if query.Has("limit") {
		asked, err := strconv.ParseUint(query.Get("limit"), 10, 31)
		if err != nil || asked == 0 || len(query["limit"]) > 1 {
			return "", badRequest("the query is malformed")
		}
		most = min(int(asked), pageSize)
	}
	question := strconv.Itoa(most) + " " + string(after)
	return h.reads.Do(r.Context(), question, func(ctx context.Context) (string, error) {
		began := time.Now()
		if document, ok := h.keptFor(question, began); ok {
			return document, nil
		}
		document, err := h.read(ctx, after, most, began)
		if err == nil {
			h.keep(question, document, began.Add(keepFor))
		}
		return document, err
	})
}

func (h *Handler) keptFor(question string, now time.Time) (string, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	kept, ok := h.kept[question]
	return kept.text, ok && now.Before(kept.until)
}

func (h *Handler) keep(question, document string, until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	maps.DeleteFunc(h.kept, func(_ string, kept keptDocument) bool { return !now.Before(kept.until) })
	if len(h.kept) < maxKept {
		h.kept[question] = keptDocument{document, until}
	}
}

// read reads the log and signs what it finds.
func (h *Handler) read(ctx context.Context, after session.Cursor, most int, began time.Time) (string, error) {
	ctx, limited := limit.New(ctx, timeout)
	defer limited.Release()
	l := list{issuer: h.issuer, time: session.MillisOf(began), after: after}
	page, err := h.store.ReadLog(ctx, after, most, func(e session.Entry) { l.entries = append(l.entries, named(e)) })
	if err != nil {
		return "", err
	}
	l.next, l.more = page.Next, page.More
	for i := range l.entries {
		l.entries[i].KeepUntil += behind(l.time, page.Now)
	}
	return h.sign(ctx, h.lists, l.encode())
}

// behind is how far the clock of the store is behind this machine's. Followers compare KeepUntil, which is by the store's
// clock, with the time of the document.
func behind(here, store session.Millis) session.Millis { return max(0, here-store) }

func (h *Handler) sign(ctx context.Context, writer *jws.Writer, payload []byte) (string, error) {
	key := h.source.Current().Signing()
	if key == nil {
		return "", errors.New("the source has no key that signs")
	}
	return writer.Sign(ctx, key, payload)
}

// status returns the document for POST.
func (h *Handler) status(w http.ResponseWriter, r *http.Request) (string, error) {
	id, userID, nonce, err := readQuestion(w, r)
	if err != nil {
		return "", err
	}
	ctx, limited := limit.New(r.Context(), timeout)
	defer limited.Release()
	answer := status{issuer: h.issuer, nonce: nonce, time: session.MillisOf(time.Now()), session: name(id)}
	if answer.Status, err = revoked.Lookup(ctx, h.store, id, userID); err != nil {
		return "", err
	}
	answer.User = named(answer.User)
	late := behind(answer.time, answer.Now)
	answer.KeepUntil += late
	answer.User.KeepUntil += late
	return h.sign(ctx, h.answers, answer.encode())
}

// readQuestion reads the body of a POST.
func readQuestion(w http.ResponseWriter, r *http.Request) (id, userID, nonce string, err error) {
	encoding := strings.Join(r.Header["Content-Encoding"], ", ")
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		return "", "", "", &problem{http.StatusUnsupportedMediaType, "unsupported_media_type", "send the body without Content-Encoding"}
	}
	media, _, err := mime.ParseMediaType(strings.Join(r.Header["Content-Type"], ", "))
	if err != nil || media != "application/json" {
		return "", "", "", &problem{http.StatusUnsupportedMediaType, "unsupported_media_type", "send application/json"}
	}
	if r.Body == nil { // a request that no server has made
		r.Body = http.NoBody
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded): // the server's ReadTimeout
		return "", "", "", &problem{http.StatusRequestTimeout, "request_timeout", "the body came too slowly"}
	case errors.As(err, new(*http.MaxBytesError)):
		return "", "", "", &problem{http.StatusRequestEntityTooLarge, "body_too_large", fmt.Sprintf("the body is longer than %d bytes", maxBody)}
	case err != nil:
		return "", "", "", badRequest("the body could not be read")
	}
	s := strictjson.Scan(string(body))
	for s.Next() {
		switch s.Name() {
		case "session":
			id = s.String()
		case "user":
			userID = s.String()
		case "nonce":
			nonce = s.String()
		}
	}
	if s.Err() != nil || id == "" || userID == "" || len(nonce) > maxNonce {
		return "", "", "", badRequest(`the body is malformed; send {"session": ..., "user": ..., "nonce": ...}`)
	}
	return id, userID, nonce, nil
}

// problem is an error that the client sees. The body is that of RFC 9457, as in package signet.
type problem struct {
	status       int
	code, detail string
}

func (p *problem) Error() string { return p.detail }

func badRequest(detail string) error {
	return &problem{http.StatusBadRequest, "invalid_request", detail}
}

// codeUnknownCursor is the code of a 410. The follower begins again.
const codeUnknownCursor = "unknown_cursor"

// refuse writes the answer for an error. An unknown cursor is answered 410, and every other error of the store or of the key
// 503. One a minute is logged.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	var p *problem
	switch {
	case errors.As(err, &p):
	case errors.Is(err, session.ErrCursor):
		p = &problem{http.StatusGone, codeUnknownCursor, "the log does not go on behind this cursor; begin again"}
	default:
		p = &problem{http.StatusServiceUnavailable, "temporarily_unavailable", "temporarily unavailable; try again"}
		w.Header().Set("Retry-After", "1")
		if r.Context().Err() == nil && h.failure.Due() {
			h.logger.Error("feed: the revocations cannot be served", "error", err)
		}
	}
	if p.status == http.StatusMethodNotAllowed {
		w.Header().Set("Allow", "GET, POST")
	}
	setHeaders(w)
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.status)
	body, _ := json.Marshal(map[string]any{"type": "about:blank", "title": http.StatusText(p.status), "status": p.status,
		"code": p.code, "detail": p.detail, "message": p.detail}) // it cannot fail
	w.Write(append(body, '\n'))
}
