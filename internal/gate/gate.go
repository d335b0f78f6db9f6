// Package gate limits how many passwords are hashed at one time. It also makes a refusal take the same time whether the
// account exists or not.
package gate

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"

	"github.com/signet-go/signet/password"
)

// ErrBusy says that too many passwords are waiting to be hashed. The caller should try again later.
var ErrBusy = errors.New("too many passwords wait to be hashed")

// Gate limits how many passwords are hashed at one time. By design a hash takes tens of milliseconds of one core and
// megabytes of memory. Without a limit, a burst of logins would take both from the rest of the program. A Gate is safe for
// concurrent use.
type Gate struct {
	hasher  password.Hasher
	slots   chan struct{}
	waiting atomic.Int64
	queue   int64
}

// New returns a Gate. It runs as many hashes at one time as there are cores, and lets 16 times as many wait. Further calls
// get [ErrBusy].
func New(hasher password.Hasher) *Gate {
	running := max(1, runtime.GOMAXPROCS(0))
	return &Gate{hasher: hasher, slots: make(chan struct{}, running), queue: int64(16 * running)}
}

// Hash waits for its turn and then hashes the password. It returns [ErrBusy] when too many calls are waiting already, and
// the error of ctx when ctx ends during the wait. Otherwise it returns what the [password.Hasher] returns.
func (g *Gate) Hash(ctx context.Context, password string) (hash string, err error) {
	if err := g.enter(ctx); err != nil {
		return "", err
	}
	defer g.leave()
	return g.hasher.Hash(password)
}

// Verify waits for its turn and then verifies the password. Its errors are those of [Gate.Hash].
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
