package integration

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// fleet is the processes of one service. Each of them may be replaced while clients call.
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

// pick returns the addresses of the members in turn, even of those that are dead.
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

// restart replaces a dead process by a new one.
func (f *fleet) restart(t testing.TB, i int) {
	t.Helper()
	p := start(t, f.args...)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.members[i], f.ever = p, append(f.ever, p)
}

// count counts a text in the logs of all processes of the fleet, including those that are dead.
func (f *fleet) count(text string) (n int) {
	for _, p := range f.ever {
		n += strings.Count(p.log.String(), text)
	}
	return n
}
