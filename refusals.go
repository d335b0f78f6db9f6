package signet

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/jws"
)

// refusalLog says which refusals are logged: of each topic at most one in a minute. So strangers cannot fill the log, and they
// cannot hide what is wrong with the tokens of an issuer. It is safe for concurrent use.
type refusalLog [topics]atomic.Int64 // when one was logged last, in Unix seconds

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

// sayEvery is the time between two lines of one topic, in seconds.
const sayEvery = 60

// may reports whether nothing of that topic was logged in the last minute. If so, it notes that something is logged now.
func (l *refusalLog) may(topic logTopic) bool {
	now := time.Now().Unix()
	last := l[topic].Load()
	silent := now-last < sayEvery && last <= now // otherwise the clock was set back
	return !silent && l[topic].CompareAndSwap(last, now)
}

// silences reports whether strangers can cause an error at any rate, and one of its topic was logged in the last minute.
func (l *refusalLog) silences(err error) bool {
	switch {
	case errors.As(err, new(*jws.UnavailableError)):
		return !l.may(keysAway)
	case errors.Is(err, gate.ErrBusy), errors.Is(err, errUnderWay):
		return !l.may(overload)
	case errors.Is(err, ErrUnavailable):
		return !l.may(storeAway)
	}
	return false
}

// warnUnstored logs that a store did not keep something that the request goes on without: once in a minute, and otherwise at
// Debug.
func (v *Verifier) warnUnstored(ctx context.Context, text string, args ...any) {
	level := slog.LevelDebug
	if v.refusals.may(unstored) {
		level = slog.LevelWarn
	}
	v.logger.Log(ctx, level, text, args...)
}
