package signet

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/keys"
)

// refuse answers a failed request. It logs failures of the server as errors. Of those that strangers can cause at any rate it
// logs one a minute in this way: tokens of unknown keys while the keys cannot be had, too many passwords at one time, and what
// needs a store that is away. It logs the others, and mistakes of clients, at the level Debug.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	level := slog.LevelDebug
	if e.Status() >= 500 && r.Context().Err() == nil && !errors.Is(err, keys.ErrTooSoon) && !v.isSilenced(err) {
		level = slog.LevelError
	}
	if v.logger.Enabled(r.Context(), level) {
		v.logger.Log(r.Context(), level, "signet: request failed", "method", label(r.Method), "path", label(r.URL.Path),
			"request", label(r.Header.Get("X-Request-Id")), "status", e.Status(), "code", e.code, "error", err)
	}
	if v.errorHandler == nil {
		WriteError(w, e)
		return
	}
	setErrorHeaders(w.Header(), e)
	v.errorHandler(w, r, because(e, e.cause)) // a copy, which the host may change
}

// explain logs why a token was refused, at the level Debug, and returns the error.
func (v *Verifier) explain(ctx context.Context, topic logTopic, err error) error {
	if v.mayLog(topic) {
		v.logger.DebugContext(ctx, "signet: a token was refused; more such tokens are not logged for a minute", "error", err)
	}
	return err
}

// logTopic is a kind of refusal. Of each kind at most one is logged in a minute. So strangers cannot fill the log, and they cannot hide
// what is wrong with the tokens of an issuer.
type logTopic int

const (
	badTokens  logTopic = iota // tokens that any stranger can make
	goodTokens                 // tokens with a good signature
	keysAway                   // what comes while the keys of an issuer cannot be had
	overload                   // what comes while too many passwords are checked
	storeAway                  // what comes while a store does not answer
)

const explainInterval = 60 // seconds

// mayLog reports whether nothing of that kind was logged in the last minute. If so, it notes that something is logged now.
func (v *Verifier) mayLog(topic logTopic) bool {
	now := time.Now().Unix()
	last := v.explained[topic].Load()
	return now-last >= explainInterval && v.explained[topic].CompareAndSwap(last, now)
}

// isSilenced reports whether strangers can cause an error at any rate, and one of its kind was logged in the last minute.
func (v *Verifier) isSilenced(err error) bool {
	switch {
	case errors.As(err, new(*jws.UnavailableError)):
		return !v.mayLog(keysAway)
	case errors.Is(err, gate.ErrBusy), errors.Is(err, errUnderWay):
		return !v.mayLog(overload)
	case errors.Is(err, ErrUnavailable):
		return !v.mayLog(storeAway)
	}
	return false
}
