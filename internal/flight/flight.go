// Package flight lets callers that want the same thing at the same time share one piece of work.
package flight

import (
	"context"
	"errors"
	"sync"
)

// Group shares work by key. The zero value is ready. It is safe for concurrent use.
type Group[T any] struct {
	mu      sync.Mutex
	running map[string]*call[T]
}

// call is one piece of work. Its result may be read when done is closed.
type call[T any] struct {
	done   chan struct{} // nil until somebody waits
	result T
	err    error
}

var errPanicked = errors.New("the work that this call waited for has panicked")

// Do returns what work returns. The first caller with a key does the work. Callers that come with the same key before
// the work has ended wait for it. They get the same result, or the error of their own ctx if it ends first. Nobody
// waits for the work of another key.
//
// The work continues when the ctx of the first caller ends, because others may wait for it. So the work must have its
// own time limit.
func (g *Group[T]) Do(ctx context.Context, key string, work func(context.Context) (T, error)) (T, error) {
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	g.mu.Lock()
	if c := g.running[key]; c != nil {
		if c.done == nil {
			c.done = make(chan struct{})
		}
		done := c.done
		g.mu.Unlock()
		select {
		case <-done:
			return c.result, c.err
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	c := &call[T]{err: errPanicked}
	if g.running == nil {
		g.running = map[string]*call[T]{}
	}
	g.running[key] = c
	g.mu.Unlock()

	// This runs also if work panics. Then the panic continues in the first caller, and the others get errPanicked.
	defer func() {
		g.mu.Lock()
		delete(g.running, key)
		done := c.done
		g.mu.Unlock()
		if done != nil {
			close(done)
		}
	}()
	c.result, c.err = work(context.WithoutCancel(ctx))
	return c.result, c.err
}
