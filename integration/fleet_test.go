package integration

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fleet is the processes of one service, each of which may be replaced while clients call.
type fleet struct {
	args []string
	next atomic.Uint64

	mu      sync.Mutex
	members []*program
	ever    []*program
}

func startFleet(t testing.TB, size int, args ...string) *fleet {
	t.Helper()
	f := &fleet{args: args}
	for range size {
		p := start(t, args...)
		f.members, f.ever = append(f.members, p), append(f.ever, p)
	}
	return f
}

// pick returns the address of each member in turn, dead or alive.
func (f *fleet) pick() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[f.next.Add(1)%uint64(len(f.members))].url
}

func (f *fleet) member(i int) *program {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.members[i]
}

// restart puts a new process in the place of a dead one.
func (f *fleet) restart(t testing.TB, i int) {
	t.Helper()
	p := start(t, f.args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[i], f.ever = p, append(f.ever, p)
}

// count counts a text in the logs of all processes that there ever were.
func (f *fleet) count(text string) (n int) {
	for _, p := range f.ever {
		n += strings.Count(p.log.String(), text)
	}
	return n
}
