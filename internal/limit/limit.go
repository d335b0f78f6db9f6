// Package limit makes contexts with a time limit that cost nothing until somebody waits for their end.
package limit

import (
	"context"
	"sync"
	"time"
)

// Context is a context that ends after some time, or when its parent ends. The result is the same as that of
// context.WithTimeout, but it is cheaper. The timer costs five allocations, and it is made only when Done is called.
// Stores and keys in memory never call Done. A Context is safe for concurrent use.
type Context struct {
	context.Context // the parent
	life            time.Duration
	deadline        time.Time

	mu     sync.Mutex
	timed  context.Context // nil until somebody has called Done
	cancel context.CancelFunc
	over   bool
}

// New returns a context that ends after d. Both results are this context: the first one is for the work, as with
// context.WithTimeout, and the caller must call Release of the second one when the work is done. If the parent is a Context
// that was made for d or less, it ends first anyway. Then New returns the parent, and nothing to release.
func New(parent context.Context, d time.Duration) (context.Context, *Context) {
	if p, ok := parent.(*Context); ok && p.life <= d {
		return p, nil
	}
	c := &Context{Context: parent, life: d, deadline: time.Now().Add(d)}
	if earlier, ok := parent.Deadline(); ok && earlier.Before(c.deadline) {
		c.deadline = earlier
	}
	return c, c
}

// Deadline implements [context.Context].
func (c *Context) Deadline() (time.Time, bool) { return c.deadline, true }

// Done implements [context.Context].
func (c *Context) Done() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.timed == nil {
		c.timed, c.cancel = context.WithDeadline(c.Context, c.deadline)
		if c.over {
			c.cancel()
		}
	}
	return c.timed.Done()
}

// Err implements [context.Context].
func (c *Context) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.timed != nil:
		return c.timed.Err()
	case c.Context.Err() != nil:
		return c.Context.Err()
	case c.over:
		return context.Canceled
	case !time.Now().Before(c.deadline):
		return context.DeadlineExceeded
	}
	return nil
}

// Value implements [context.Context] with the values of the parent. Package context also calls Value with a private
// key, so that it can derive contexts without a goroutine. The timed context answers that call.
func (c *Context) Value(key any) any {
	c.mu.Lock()
	timed := c.timed
	c.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return c.Context.Value(key)
}

// Release ends the context and stops its timer. There may be nothing to release.
func (c *Context) Release() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.over = true
	if c.cancel != nil {
		c.cancel()
	}
}
