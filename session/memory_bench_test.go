package session_test

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/signet-go/signet/session"
)

// BenchmarkMemory measures one login and one refresh in a store of constant size. The clock moves so that one session leaves
// for each new one. With a million sessions it should not take more than twice as long as with a thousand.
func BenchmarkMemory(b *testing.B) {
	for _, population := range []int{1000, 1_000_000} {
		b.Run(fmt.Sprint(population), func(b *testing.B) {
			clock := newSteppedClock()
			m := &session.Memory{Clock: clock.now}
			rules := memoryRules
			memoryRules.Absolute = memoryRules.Idle // a refresh does not prolong a session, so the population stays the same
			defer func() { memoryRules = rules }()
			step := leaveAfter / time.Duration(population)

			before := heap()
			for i := range population {
				clock.step(step)
				fill(b, m, i)
			}
			used := heap() - before

			n := 0
			login := func() {
				clock.step(step)
				createIn(b, m, numberedID(n), userIDOf(population+n))
				n++
			}
			for range population { // so that login made every session that leaves from now on
				login()
			}
			b.ReportAllocs()
			for b.Loop() {
				login()
				newer := rand.IntN(population * 9 / 10) // the oldest tenth may have expired
				refreshIn(b, m, numberedID(n-1-newer))
			}
			b.ReportMetric(float64(used)/float64(population), "B/session")
		})
	}
}

// BenchmarkMemoryOneUser measures logins while one user has 60,000 revoked sessions, and as many live ones as allowed:
// those of that user, each of which evicts a session, and those of another one. It also measures the removal of a
// thousand sessions.
func BenchmarkMemoryOneUser(b *testing.B) {
	const revoked = 60_000
	for _, userID := range []string{"u1", "another"} {
		b.Run(userID, func(b *testing.B) {
			clock := newSteppedClock()
			m := &session.Memory{Clock: clock.now}
			for i := range revoked + session.MaxPerUser {
				createIn(b, m, numberedID(i), "u1")
			}
			n := revoked + session.MaxPerUser
			for b.Loop() {
				createIn(b, m, numberedID(n), userID)
				n++
			}
		})
	}
	b.Run("DeleteExpired(1000)", func(b *testing.B) {
		clock := newSteppedClock()
		m := &session.Memory{Clock: clock.now}
		for left := 0; b.Loop(); left -= 1000 {
			if left == 0 {
				b.StopTimer()
				for ; left < revoked; left++ {
					createIn(b, m, numberedID(left), "u1")
				}
				clock.step(leaveAfter + time.Minute)
				b.StartTimer()
			}
			deleteIn(b, m, clock.now(), 1000)
		}
	})
}

// numberedID returns an id that looks random but can be computed again. A list of a million ids would cost the benchmark as
// many cache misses as the store.
func numberedID(n int) string {
	var id [16]byte
	binary.BigEndian.PutUint64(id[:], uint64(n)*0x9e3779b97f4a7c15)
	binary.BigEndian.PutUint64(id[8:], uint64(n)*0xbf58476d1ce4e5b9)
	return base64.RawURLEncoding.EncodeToString(id[:])
}
