package revoked

import (
	"math/rand/v2"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

func TestCutoffs(t *testing.T) {
	c := newCutoffs(0)
	c.expire(start)
	expect := func(hash uint64, want cutoff, known answer) {
		t.Helper()
		got, answer := c.get(hash)
		require.Equal(t, known, answer)
		require.Equal(t, want, got)
	}
	expect(1, cutoff{}, no)
	first := cutoff{ended: 5, spared: 9, until: start + day}
	c.put(1, first)
	expect(1, first, yes)
	expect(2, cutoff{}, no)
	c.put(1, cutoff{ended: 4, changed: 4, until: start + hour})
	expect(1, first, yes)
	equal := cutoff{ended: 5, changed: 1, until: start + day}
	c.put(1, equal)
	expect(1, equal, yes)
	second := cutoff{ended: 5, changed: 6, until: start + 2*day}
	c.put(1, second)
	expect(1, second, yes)
	c.put(3, cutoff{ended: 1, until: start})
	expect(3, cutoff{}, no)

	lookUp := c.begin(2)
	c.remember(lookUp, cutoff{})
	expect(2, cutoff{}, yes)
	c.remember(lookUp, first)
	expect(2, first, yes)
	c.put(2, equal)
	expect(2, equal, yes)
	c.remember(c.begin(2), first)
	expect(2, equal, yes)

	lookUp = c.begin(4)
	c.put(4, second)
	c.remember(lookUp, first)
	expect(4, second, yes)
	lookUp = c.begin(5)
	c.put(5, cutoff{ended: 1, until: start}) // has expired, but is newer than what the look-up may have found
	c.remember(lookUp, cutoff{})
	expect(5, cutoff{}, no)

	c.remember(c.begin(6), second)
	c.put(6, first) // the log is behind
	expect(6, second, yes)
	require.Nil(t, find(&c.answers, 6))
	require.NotNil(t, find(&c.table, 6))

	c.expire(start + 3*day)
	c.expire(start)
	for hash := range uint64(7) {
		expect(hash, cutoff{}, no)
	}
	require.Nil(t, c.table.Load(), "all has expired")
}

// A look-up may end before the follower of the log tells the time for the first time.
func TestAnswersFromBeforeTheFirstExpire(t *testing.T) {
	c := newCutoffs(0)
	c.remember(c.begin(1), cutoff{})
	c.expire(start)
	_, answer := c.get(1)
	require.Equal(t, yes, answer)
	c.expire(start + sweepEvery - 1)
	_, answer = c.get(1)
	require.Equal(t, yes, answer)
	c.expire(start + sweepEvery)
	_, answer = c.get(1)
	require.Equal(t, no, answer)
}

func randomCutoff(now session.Millis) cutoff {
	until := now + 1 + session.Millis(rand.Int64N(int64(20*day)))
	return cutoff{ended: rand.Int64N(1000), changed: rand.Int64N(1000), until: until}
}

// Whatever leaves the memory, no answer hides a cut-off of the log that is live.
func TestCutoffsAreLikeAMap(t *testing.T) {
	c, now := newCutoffs(0), start
	c.expire(now)
	model := map[uint64]cutoff{}
	for i := range 40_000 {
		hash := hashOf(rand.Uint64N(20_000) + 1)
		if i%4 == 0 { // a user without cut-off, or the record of one
			if model[hash].until <= now {
				c.remember(c.begin(hash), cutoff{})
			} else {
				c.remember(c.begin(hash), model[hash])
			}
		} else {
			cut := randomCutoff(now)
			c.put(hash, cut)
			if old := model[hash]; old.until <= now || cut.version() >= old.version() {
				cut.until = max(cut.until, old.until)
				model[hash] = cut
			} else {
				old.until = max(cut.until, old.until)
				model[hash] = old
			}
		}
		if i%4000 != 0 {
			continue
		}
		now += day
		c.expire(now)
		counts := map[answer]int{}
		for hash, want := range model {
			got, answer := c.get(hash)
			if want.until <= now {
				continue
			}
			counts[answer]++
			if answer == yes && got.version() != want.version() {
				require.Equal(t, want, got)
			}
		}
		require.Zero(t, counts[no])
		require.True(t, i < 30_000 || counts[yes] > 5000 && counts[maybe] > 1000, "%v", counts)
	}
	c.expire(now + 21*day)
	require.Nil(t, c.table.Load())
	require.Nil(t, c.left.Load())
}

func TestTheMemoryOfCutoffs(t *testing.T) {
	const bytes = 4 << 20
	before := heapInUse()
	c := newCutoffs(bytes)
	require.Less(t, heapInUse()-before, 16<<10)
	for i := range 90_000 {
		c.put(hashOf(uint64(i+1)), randomCutoff(start))
		if i%20_000 == 0 {
			require.Less(t, heapInUse()-before, bytes*105/100, i)
		}
	}
	require.Less(t, heapInUse()-before, bytes*105/100)
	require.NotNil(t, c.left.Load())
	runtime.KeepAlive(c)
}

// If more users have a cut-off than fit, one look-up for each is enough: the answers do not push each other out.
func TestAnswersAboutCutoffsThatHaveLeft(t *testing.T) {
	c := newCutoffs(4 << 20)
	c.expire(start)
	model := map[uint64]cutoff{}
	for i := range 150_000 {
		hash := hashOf(uint64(i + 1))
		model[hash] = randomCutoff(start)
		c.put(hash, model[hash])
	}
	asked := map[uint64]cutoff{}
	for i := range 300_000 { // the second half has no cut-off, and the filter errs for some of them
		hash := hashOf(uint64(i + 1))
		if _, answer := c.get(hash); answer == maybe && i%25 == 0 {
			asked[hash] = model[hash]
			c.remember(c.begin(hash), model[hash])
		}
	}
	require.Greater(t, len(asked), 2000)
	known := 0
	for hash, want := range asked {
		if got, answer := c.get(hash); answer == yes {
			require.Equal(t, want, got)
			known++
		}
	}
	require.Greater(t, known, len(asked)*95/100)
	for hash := range asked { // a newer cut-off from the log counts
		newer := cutoff{ended: 5000, until: start + 20*day}
		c.put(hash, newer)
		if got, answer := c.get(hash); answer != maybe {
			require.Equal(t, newer, got)
		}
	}
	c.expire(start + 21*day)
	require.Nil(t, c.answers.Load())
}

// A look-up that begins after put has returned sees that cut-off or a newer one, or maybe.
func TestCutoffsAreReadWhileTheyChange(t *testing.T) {
	c := newCutoffs(0)
	c.expire(start)
	const users = 30_000
	var versions [users + 1]atomic.Int64
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
				i := random.Uint64N(users) + 1
				version := versions[i].Load()
				lookUp := c.begin(hashOf(i))
				store := versions[i].Load()
				got, answer := c.get(hashOf(i))
				if answer == no && version > 0 || answer == yes && got.version() < version {
					missed <- i
					return
				}
				if answer == maybe {
					c.remember(lookUp, cutoff{ended: store, until: start + day})
				}
			}
		}()
	}
	random := rand.New(rand.NewPCG(7, 7))
	for n := range int64(40_000) {
		i := random.Uint64N(users) + 1
		c.put(hashOf(i), cutoff{ended: n + 1, until: start + day + session.Millis(n)})
		versions[i].Store(n + 1)
	}
	close(done)
	require.Zero(t, <-missed)
	require.Zero(t, <-missed)
}

func BenchmarkCutoffsGet(b *testing.B) {
	run := func(name string, users, bytes int) {
		b.Run(name, func(b *testing.B) {
			c := newCutoffs(bytes)
			for i := range users {
				c.put(hashOf(uint64(i+1)), randomCutoff(start))
			}
			b.ResetTimer()
			for i := range b.N {
				c.get(hashOf(uint64(i) % 2_000_000))
			}
		})
	}
	run("none", 0, 64<<20)
	run("one", 1, 64<<20)
	run("100000", 100_000, 64<<20)
	run("1000000 in 16 MiB", 1_000_000, 16<<20)
}
