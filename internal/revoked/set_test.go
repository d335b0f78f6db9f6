package revoked

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

const (
	minute = session.Millis(60_000)
	hour   = 60 * minute
	day    = 24 * hour
	start  = session.Millis(1_800_000_000_000)
)

// hashOf returns a hash for every number. It is never 0 for a number above 0, and no two are equal.
func hashOf(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}

// orders are the ways in which expiry times may come, for entry i of n.
var orders = map[string]func(i, n int) session.Millis{
	"random":  func(int, int) session.Millis { return start + 1 + session.Millis(rand.Int64N(int64(20*day))) },
	"rising":  func(i, n int) session.Millis { return start + 1 + 20*day*session.Millis(i)/session.Millis(n) },
	"falling": func(i, n int) session.Millis { return start + 1 + 20*day*session.Millis(n-i)/session.Millis(n) },
	"equal":   func(int, int) session.Millis { return start + 20*day },
	"years": func(i, n int) session.Millis {
		return start + day*session.Millis(rand.IntN(3)) + 5000*day*session.Millis(i%2) + 1
	},
}

// A set that is exact is equal to a map. In the compact form it is a part of a set that is exact.
func TestASetIsLikeAMap(t *testing.T) {
	for name, order := range orders {
		for _, n := range []int{2000, 60_000} {
			t.Run(fmt.Sprint(name, n), func(t *testing.T) {
				s, now := newSet(1<<20), start
				s.expire(now)
				model := map[uint64]session.Millis{}
				check := func() {
					wrong, live := 0, 0
					for hash, until := range model {
						got := s.has(hash)
						if until > now {
							live++
							if got == no {
								wrong++
							}
						}
					}
					require.Zero(t, wrong, "entries that are live and were not found")
					entries, bytes, compact := s.stats()
					require.LessOrEqual(t, bytes, 1<<20)
					if !compact && n > 10_000 {
						require.GreaterOrEqual(t, entries, live)
						require.LessOrEqual(t, 2*entries, 3*live+n/8, "too much that has expired is left")
					}
					for i := range uint64(1000) {
						if got := s.has(hashOf(1<<40 + i)); got == yes || got == maybe && !compact {
							wrong++
						}
					}
					require.Zero(t, wrong, "entries that were never added")
				}
				for i := range n {
					hash := hashOf(uint64(i + 1))
					if i%10 == 9 { // one of those that are there
						hash = hashOf(rand.Uint64N(uint64(i)) + 1)
					}
					until := order(i, n)
					s.add(hash, until)
					if until > now {
						model[hash] = max(model[hash], until)
					}
					if i%(n/2) == 0 {
						now += day
						s.expire(now)
						check()
					}
				}
				s.expire(now - day)
				_, _, compact := s.stats()
				require.True(t, compact || n < 60_000 || name == "years", "it does not fit")
				for range 4 {
					check()
					now += 8 * day
					s.expire(now)
				}
				check()
				s.expire(now + 6000*day)
				entries, bytes, compact := s.stats()
				require.Zero(t, entries)
				require.Zero(t, bytes)
				require.False(t, compact, "exact again")
				s.add(1, now+7000*day)
				require.Equal(t, yes, s.has(1))
			})
		}
	}
}

func TestTimesOfASet(t *testing.T) {
	s := newSet(0)
	s.add(1, 0)
	s.add(2, -1)
	s.add(3, math.MinInt64)
	s.add(4, math.MaxInt64)
	s.add(5, minute+1)
	s.add(6, 2*minute)
	s.add(7, 60*day)
	s.add(7, minute) // the later time is valid
	s.expire(2*minute - 1)
	for hash, want := range []answer{1: no, 2: no, 3: no, 4: yes, 5: yes, 6: yes, 7: yes} {
		if hash > 0 {
			require.Equal(t, want, s.has(uint64(hash)), hash)
		}
	}
	s.expire(2 * minute)
	s.add(8, 2*minute)
	require.Equal(t, no, s.has(8))
	s.expire(minute) // the clock was set back: what comes from now on counts by it
	s.add(8, 2*minute)
	require.Equal(t, yes, s.has(8))
	for i := range session.Millis(119) {
		s.expire(i * day / 2)
		require.Equal(t, yes, s.has(4))
		require.Equal(t, yes, s.has(7))
	}
	s.expire(math.MaxInt64)
	require.Equal(t, yes, s.has(4), "it is beyond all times")
	require.Less(t, minutesPast(math.MaxInt64), minutes(math.MaxInt64))
	require.EqualValues(t, 1, minutes(1))
	require.EqualValues(t, 0, minutesPast(minute-1))
}

// The rate of maybe for absent hashes, at 16 and 14 bits of memory for each entry. Rising times are
// worse, because the filter cannot know how many entries its last generation will get.
func TestTheRateOfMaybe(t *testing.T) {
	const n = 160_000 // the rate does not depend on it
	for order, limits := range map[string][2]float64{"random": {0.037, 0.056}, "rising": {0.06, 0.08}} {
		s := &set{share: n * 14 / 8 / segments}
		s.expire(start)
		add := func(from, to int) float64 {
			for i := from; i < to; i++ {
				s.add(hashOf(uint64(i+1)), orders[order](i, n))
			}
			return rateOfMaybe(s)
		}
		at16, at14 := add(0, n*14/16), add(n*14/16, n)
		_, bytes, compact := s.stats()
		require.True(t, compact)
		require.LessOrEqual(t, bytes, n*14/8)
		require.Less(t, at16, limits[0], "%s times, 16 bits for each entry", order)
		require.Less(t, at14, limits[1], "%s times, 14 bits for each entry", order)
	}
}

func rateOfMaybe(s *set) float64 {
	const looks = 50_000
	n := 0
	for i := range uint64(looks) {
		if s.has(hashOf(1<<40+i)) != no {
			n++
		}
	}
	return float64(n) / looks
}

func heapInUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func TestTheMemoryOfASet(t *testing.T) {
	const bytes = 4 << 20
	before := heapInUse()
	s := newSet(bytes)
	require.Less(t, heapInUse()-before, 16<<10, "an empty set")
	const limit = bytes * 105 / 100
	for i := range 230_000 {
		s.add(hashOf(uint64(i+1)), orders["random"](i, 0))
		if i%25_000 == 0 || i > 205_000 && i%2500 == 0 {
			require.Less(t, heapInUse()-before, limit, i)
		}
	}
	_, used, compact := s.stats()
	require.True(t, compact)
	require.LessOrEqual(t, used, bytes)
	runtime.KeepAlive(s)
}

// A look-up that begins after add has returned finds the entry, whatever the writer does at the same time.
func TestASetIsReadWhileItChanges(t *testing.T) {
	s := newSet(0)
	s.expire(start)
	const perDay, days = 7_000, 10 // an entry lives for up to ten days
	until := func(i uint64) session.Millis { return start + day*session.Millis(i/perDay+1+i%10) }
	var added, today atomic.Uint64 // the entries up to added are there
	done := make(chan struct{})
	missed := make(chan uint64, 2)
	for r := range uint64(2) {
		go func() {
			random := rand.New(rand.NewPCG(r, 0))
			for {
				select {
				case <-done:
					missed <- 0
					return
				default:
				}
				if n := added.Load(); n > 0 {
					i := random.Uint64N(n) + 1
					if s.has(hashOf(i)) == no && until(i) > start+day*session.Millis(today.Load()) {
						missed <- i
						return
					}
				}
			}
		}()
	}
	wasCompact := false
	for i := uint64(1); i <= perDay*days; i++ {
		s.add(hashOf(i), until(i))
		added.Store(i)
		if i%perDay == 0 {
			today.Add(1) // before expire
			s.expire(start + day*session.Millis(today.Load()))
			_, _, compact := s.stats()
			wasCompact = wasCompact || compact
		}
	}
	require.True(t, wasCompact)
	for range 10 {
		today.Add(1)
		s.expire(start + day*session.Millis(today.Load()))
	}
	close(done)
	require.Zero(t, <-missed, "not found")
	require.Zero(t, <-missed, "not found")
	entries, _, _ := s.stats()
	require.Zero(t, entries)
}

// Hashes move between the words of a line while others look for them.
func TestAFilterIsReadWhileGenerationsJoin(t *testing.T) {
	f := newFilter(4096, nil)
	f.add(hashOf(1), 1_000_000, 999_999)
	done := make(chan struct{})
	missed := make(chan bool, 1)
	go func() {
		for {
			select {
			case <-done:
				missed <- false
				return
			default:
			}
			if !f.has(hashOf(1)) {
				missed <- true
				return
			}
		}
	}()
	joins := 0
	for round := range uint32(5_000) {
		before := f.since
		f.add(hashOf(uint64(round)+2), 1_000_000+round/20, 999_999)
		if f.since < before {
			joins++
		}
		if round%500 == 0 { // empty words, so that the joins go on
			for len(f.gens) > 2 {
				f.join(int(round) % (len(f.gens) - 1))
				joins++
			}
			f.gens[len(f.gens)-1].count = len(f.lines)
			f.total = len(f.lines)
		}
	}
	close(done)
	require.False(t, <-missed)
	require.Greater(t, joins, 50)
}

var sets = map[string]*set{} // big sets are made once

func bigSet(n, bytes int) *set {
	name := fmt.Sprint(n, bytes)
	if sets[name] == nil {
		clear(sets)
		s := newSet(bytes)
		s.expire(start)
		for i := range n {
			s.add(hashOf(uint64(i+1)), orders["random"](i, 0))
		}
		sets[name] = s
	}
	return sets[name]
}

// The big set of a hundred million entries takes a minute to make. It is measured if REVOKED_BIG is set.
func BenchmarkSetHas(b *testing.B) {
	for _, c := range []struct{ n, bytes int }{
		{0, 64 << 20}, {1_000_000, 64 << 20}, {10_000_000, 200_000_000}, {100_000_000, 175_000_000},
	} {
		if c.n > 10_000_000 && os.Getenv("REVOKED_BIG") == "" {
			continue
		}
		for _, form := range []string{"absent", "present", "again"} { // again: a thousand sessions that come all the time
			if c.n == 0 && form == "present" {
				continue
			}
			b.Run(fmt.Sprintf("%d/%s", c.n, form), func(b *testing.B) {
				s := bigSet(c.n, c.bytes)
				_, used, _ := s.stats()
				next, from, many := uint64(1), uint64(1)<<40, uint64(max(c.n, 1))
				switch form {
				case "present":
					from = 1
				case "again":
					many = 1000
				}
				found := 0
				b.ResetTimer()
				for range b.N {
					next = next*6364136223846793005 + 1442695040888963407
					n, _ := bits.Mul64(next, many)
					if s.has(hashOf(from+n)) != no {
						found++
					}
				}
				b.ReportMetric(100*float64(found)/float64(b.N), "%found")
				b.ReportMetric(float64(used)/1e6, "MB")
			})
		}
	}
}
