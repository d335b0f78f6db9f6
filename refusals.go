package signet

import (
	"context"
	"errors"
	"log/slog"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/seldom"
)

// refusalLog says which refusals are logged: of each topic at most one in a minute. So strangers cannot fill the log, and they
// cannot hide what is wrong with the tokens of an issuer. It is safe for concurrent use.
type refusalLog [topics]seldom.Line

// logTopic is a kind of refusal.
type logTopic int

const (
	badTokens  logTopic = iota // tokens that any stranger can make
	goodTokens                 // tokens with a good signature
	keysAway                   // what comes while the keys of an issuer cannot be had
	overload                   // what comes while too many passwords are checked
	storeAway                  // what comes while a store, or a function of the host, does not answer
	unstored                   // what a store did not keep although the request has succeeded
	topics
)

// silences reports whether strangers can cause an error at any rate, and one of its topic was logged in the last minute.
func (l *refusalLog) silences(err error) bool {
	switch {
	case errors.As(err, new(*jws.UnavailableError)):
		return !l[keysAway].Due()
	case errors.Is(err, gate.ErrBusy), errors.Is(err, errUnderWay):
		return !l[overload].Due()
	case errors.Is(err, ErrUnavailable):
		return !l[storeAway].Due()
	}
	return false
}

// warnUnstored logs that a store did not keep something that the request goes on without: once in a minute, and otherwise at
// Debug.
func (v *Verifier) warnUnstored(ctx context.Context, text string, args ...any) {
	level := slog.LevelDebug
	if v.refusals[unstored].Due() {
		level = slog.LevelWarn
	}
	v.logger.Log(ctx, level, text, args...)
}
