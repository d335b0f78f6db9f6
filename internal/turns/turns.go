// Package turns lets a few callers work on one thing at one time, and makes the others wait.
package turns

import (
	"context"
	"sync"
)

// Turns has an entry for a key only while somebody works on it or waits. It is safe for concurrent use. The zero value is ready to
// use with one turn at a time.
type Turns struct {
	AtOnce int // how many callers work on one key at one time; 0: one

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is one key. Its channel holds a value for each caller that works on the key.
type lane struct {
	working chan struct{}
	callers int // that work or wait
}

// Enter waits until the caller may work on the key, or until ctx ends and returns its error. The caller calls leave when it has
// ended; further calls do nothing.
func (t *Turns) Enter(ctx context.Context, key string) (leave func(), err error) {
	l := t.join(key)
	select {
	case l.working <- struct{}{}:
	default: // the caller has to wait. Only here is Done called: of a limit.Context the first Done makes a timer
		select {
		case l.working <- struct{}{}:
		case <-ctx.Done():
			t.part(key, l)
			return nil, ctx.Err()
		}
	}
	return sync.OnceFunc(func() {
		<-l.working
		t.part(key, l)
	}), nil
}

func (t *Turns) join(key string) *lane {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.lanes[key]
	if l == nil {
		l = &lane{working: make(chan struct{}, max(1, t.AtOnce))}
		if t.lanes == nil {
			t.lanes = map[string]*lane{}
		}
		t.lanes[key] = l
	}
	l.callers++
	return l
}

func (t *Turns) part(key string, l *lane) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l.callers--; l.callers == 0 {
		delete(t.lanes, key)
	}
}
