// Package gate bounds how many passwords are hashed at one time, and makes refusals take the same time whether the account exists or
// not.
package gate

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/signet-go/signet/password"
)

// ErrBusy says that too many passwords wait to be hashed. The caller should try again later.
var ErrBusy = errors.New("too many passwords wait to be hashed")

// Gate bounds the passwords that are hashed at one time. A hash takes tens of milliseconds of a core and megabytes of memory, by
// design. Without a bound a burst of logins takes both from the rest of the program. It is safe for concurrent use.
type Gate struct {
	hasher  password.Hasher
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

// New returns a Gate that runs as many hashes at once as there are cores, lets 16 times as many wait, and answers ErrBusy
// beyond that.
func New(hasher password.Hasher) *Gate {
	running := max(1, runtime.GOMAXPROCS(0))
	return &Gate{hasher: hasher, slots: make(chan struct{}, running), queue: int64(16 * running)}
}

// Hash waits for its turn and hashes. It returns ErrBusy when too many wait already, ctx's error when ctx ends while it waits, and
// otherwise what the Hasher returns.
func (g *Gate) Hash(ctx context.Context, password string) (hash string, err error) {
	if err := g.enter(ctx); err != nil {
		return "", err
	}
	defer g.leave()
	return g.hasher.Hash(password)
}

// Verify waits for its turn and verifies, with the errors of Hash.
func (g *Gate) Verify(ctx context.Context, hash, password string) (ok, outdated bool, err error) {
	if err := g.enter(ctx); err != nil {
		return false, false, err
	}
	defer g.leave()
	return g.hasher.Verify(hash, password)
}

func (g *Gate) enter(ctx context.Context) error {
	select {
	case g.slots <- struct{}{}:
		return nil
	default:
	}
	if g.waiting.Add(1) > g.queue {
		g.waiting.Add(-1)
		return ErrBusy
	}
	defer g.waiting.Add(-1)
	select {
	case g.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *Gate) leave() { <-g.slots }
