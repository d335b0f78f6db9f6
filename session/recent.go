package session

import (
	"cmp"
	"strings"
	"sync"
	"time"
)

// Recent helps a [Store] on a server to save reads. It remembers the rows that this process wrote last, each with what the
// store needs for compare and swap. [Store.Update] can begin with a remembered row in place of a read. If the write succeeds, the
// row was still the newest one. In three cases the row may be outdated, and Update must begin again with a read: change has
// returned an error, change has left the row as it was, or the write has found another row in the store.
//
// A Recent is bounded, and forgets the rows that were written longest ago. If other processes write the same sessions, most rows
// that it remembers are outdated. Then a try costs more than it saves, so it offers a row only now and then, to see whether that
// has changed. T is what the store remembers of a row. The zero value is ready. A Recent is safe for concurrent use.
type Recent[T any] struct {
	// Rows is how many rows are remembered at most, 2 or more. 0 means 32,768.
	Rows int

	mu         sync.Mutex
	young, old map[string]T // by the id of the session
	clock      Millis       // of the store
	readAt     time.Time    // when clock was read
	outdated   int          // the share of the rows, of 256, that were outdated lately
	held       int          // how many rows were not offered because of that
}

const (
	recentRows  = 1 << 15
	recentClock = 10 * time.Second
	recentJump  = time.Second
	recentTry   = 16 // of so many rows one is offered, if most are outdated
)

// Clock notes the store's time. asked is when the store was asked for it. Rows are offered only for ten seconds after that, and
// only while this machine's clock goes on evenly. Two kinds of answers do not count: one that took longer than a second, and one
// whose time is less than a second behind the time that is expected, because it is an older answer that came late. If it is further
// behind, the store's clock was set back, and the answer counts.
func (r *Recent[T]) Clock(now Millis, asked time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Now()
	if max(at.Sub(asked), at.Round(0).Sub(asked.Round(0))) > recentJump { // the calendar goes on while the machine sleeps
		return
	}
	passed := at.Sub(r.readAt)
	if late := r.clock.Add(passed) - now; passed < recentClock && late > 0 && late < Millis(recentJump/time.Millisecond) {
		return
	}
	r.clock, r.readAt = now, at
}

// Keep remembers a row that was written.
func (r *Recent[T]) Keep(id string, row T) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.young == nil || len(r.young) >= max(1, cmp.Or(r.Rows, recentRows)/2) {
		r.young, r.old = map[string]T{}, r.young
	}
	r.young[strings.Clone(id)] = row // the id is often a part of a longer text
}

// Forget forgets a row. It is for a write that has failed.
func (r *Recent[T]) Forget(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.forget(id)
}

func (r *Recent[T]) forget(id string) {
	delete(r.young, id)
	delete(r.old, id)
}

// Find returns a row for an Update, and the store's time. ok is false if the row is not remembered, if the store's time was not
// read in the last ten seconds ([Recent.Clock]), or if most rows were outdated lately. If the caller then tries to write the
// row, it calls Tried with the result.
func (r *Recent[T]) Find(id string) (row T, now Millis, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	at := time.Now()
	passed := at.Sub(r.readAt)
	byCalendar := at.Round(0).Sub(r.readAt.Round(0)) // it differs if the clock was set, or if the machine slept
	if row, ok = r.find(id); !ok || passed > recentClock || (passed-byCalendar).Abs() > recentJump {
		return row, 0, false
	}
	if r.outdated >= 128 {
		if r.held++; r.held%recentTry != 0 {
			return row, 0, false
		}
	}
	return row, r.clock.Add(passed), true
}

func (r *Recent[T]) find(id string) (row T, ok bool) {
	if row, ok = r.young[id]; !ok {
		row, ok = r.old[id]
	}
	return row, ok
}

// Tried notes whether a row that Find returned was still the newest one. If it was not, it is forgotten.
func (r *Recent[T]) Tried(id string, newest bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if newest {
		r.outdated -= (r.outdated + 15) / 16
		return
	}
	r.outdated += (256 - r.outdated) / 16
	r.forget(id)
}
