package session_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/signet-go/signet/session"
)

// BenchmarkMemory is one login and one refresh in a store of constant size: its clock moves so that one session leaves for
// each that comes. A million sessions should not be slower than twice a thousand.
func BenchmarkMemory(b *testing.B) {
	for _, population := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(population), func(b *testing.B) {
			clock := newSteppedClock()
			m := &session.Memory{Clock: clock.now}
			rules := memoryRules
			memoryRules.Absolute = memoryRules.Idle // a refresh does not prolong a session: the population stays
			defer func() { memoryRules = rules }()
			step := leaveAfter / time.Duration(population)

			before := heap()
			for i := range population {
				clock.step(step)
				fill(b, m, i)
			}
			used := heap() - before

			ids := make([]string, 2*population) // an id is free again before its turn comes
			users := make([]string, len(ids))
			for i := range ids {
				ids[i], users[i] = newID(), userIDOf(population+i)
			}
			n := 0
			login := func() {
				clock.step(step)
				createIn(b, m, ids[n%len(ids)], users[n%len(ids)])
				n++
			}
			for range population { // so that all that leave from now on came this way
				login()
			}
			b.ReportAllocs()
			for b.Loop() {
				login()
				newer := rand.IntN(population * 9 / 10) // the oldest tenth may have expired
				refreshIn(b, m, ids[(n-1-newer)%len(ids)])
			}
			b.ReportMetric(float64(used)/float64(population), "B/session")
		})
	}
}
