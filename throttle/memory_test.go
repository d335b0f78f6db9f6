package throttle

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// size returns how many records there are.
func (m *Memory) size() (n int) {
	for i := range m.shards {
		n += len(m.shards[i].index)
	}
	return n
}

func small(t *testing.T, records int) bench {
	b := newBench(t)
	b.store.(*Memory).Records = records
	return b
}

// A full memory delays strangers. It forgets no failure, and accounts with a record go on.
func TestFullOfFailures(t *testing.T) {
	b := small(t, 100)
	b.signIn(owner, v4(1))
	b.fail(10, "victim", v4(1))
	for i := range 96 {
		b.begin(fmt.Sprint("user", i), v4(1+i%2))
	}
	require.Equal(t, 100, b.store.(*Memory).size()) // with 2 addresses, the owner and the victim
	b.add(10 * time.Second)
	a, err := b.Begin(t.Context(), "stranger", v4(1))
	require.Nil(t, a)
	var delayed *Delayed
	require.ErrorAs(t, err, &delayed)
	require.Equal(t, 59*time.Minute+50*time.Second, delayed.RetryAfter)
	for range 20 {
		_, err = b.Begin(t.Context(), "user1", v4(3)) // a new address
		require.ErrorIs(t, err, ErrDelayed)
	}
	b.fail(9, "user1", v4(1)) // which counts for the tenth time now
	b.delayed(30*time.Second, "user1", v4(1))
	require.True(t, b.begin(owner, v4(1)).Known())
	b.delayed(20*time.Second, "victim", v4(1))
	b.add(delayed.RetryAfter)
	b.begin("stranger", v4(1))
}

// A memory that is full of known places forgets those that were not used for the longest time.
func TestFullOfPlaces(t *testing.T) {
	b := small(t, 100)
	for i := range 250 {
		b.signIn(fmt.Sprint("user", i), v4(1))
		b.signIn(owner, v4(2))
		b.add(2 * time.Second)
	}
	require.LessOrEqual(t, b.store.(*Memory).size(), 100)
	for i, want := range map[int]bool{0: false, 140: false, 160: true, 249: true} {
		a := b.begin(fmt.Sprint("user", i), v4(1))
		require.Equal(t, want, a.Known(), i)
		require.NoError(t, a.Cancelled(t.Context()))
	}
	require.True(t, b.begin(owner, v4(2)).Known())
	for i := range 48 { // failures take half of the memory, and no more
		b.begin(fmt.Sprint("stranger", i), v4(2))
	}
	_, err := b.Begin(t.Context(), "another", v4(2))
	require.ErrorIs(t, err, ErrDelayed)
	require.True(t, b.begin("user249", v4(1)).Known())
	require.True(t, b.begin(owner, v4(2)).Known())
}

// An account with a known place and failures can be forgotten when the failures have decayed. Records that mean nothing
// any more make room first.
// A clock that is wrong by any time lets nobody guess on.
func TestMemoryWithAWrongClock(t *testing.T) {
	for _, year := range []int{1, 1969, 1970, 2038, 2105, 2107, 2200, 9999, 100_000} {
		b := newBench(t)
		b.now = time.Date(year, 12, 31, 23, 0, 0, 0, time.UTC)
		passed := 0
		for range 30 {
			if _, err := b.Begin(t.Context(), owner, v4(1)); err == nil {
				passed++
			}
		}
		require.Equal(t, 10, passed, "in the year %d", year)
	}
}

func TestFailuresDecay(t *testing.T) {
	b := small(t, 100)
	for i := range 60 {
		b.signIn(fmt.Sprint("user", i), v4(1))
		b.fail(1+i%3, fmt.Sprint("user", i), v4(1))
		b.add(1500 * time.Millisecond)
	}
	for i := range 39 {
		b.begin(fmt.Sprint("stranger", i), v4(2))
	}
	_, err := b.Begin(t.Context(), "another", v4(2))
	require.ErrorIs(t, err, ErrDelayed)
	b.add(time.Hour)
	for i := range 38 { // instead of the strangers, whose failures have decayed
		b.begin(fmt.Sprint("late", i), v4(3))
	}
	for i := range 60 {
		_, known := b.known(fmt.Sprint("user", i), v4(1))
		require.True(t, known, i)
	}
	b.add(time.Hour) // now one third of the users and all strangers have no failures
	for i := range 40 {
		b.signIn(fmt.Sprint("new", i), v4(4))
	}
	for i := range 40 {
		b.signIn(fmt.Sprint("newer", i), v4(4))
	}
	forgotten := 0
	for i := range 60 {
		if had, known := b.known(fmt.Sprint("user", i), v4(1)); had && !known {
			forgotten++
		}
	}
	require.LessOrEqual(t, b.store.(*Memory).size(), 100)
	require.Positive(t, forgotten)
	b.inQueues()
}

// inQueues requires that each record is in a queue, so that it is removed when it means nothing any more.
func (b bench) inQueues() {
	b.Helper()
	memory := b.store.(*Memory)
	for i := range memory.shards {
		s := &memory.shards[i]
		require.Equal(b, len(s.index), len(s.queues[failing])+len(s.queues[quiet]))
		require.Equal(b, len(s.index), len(s.rows)-len(s.free))
	}
}

// known reports whether an attempt passes, and whether it comes from a known place. It leaves nothing behind.
func (b bench) known(account, address string) (passes, known bool) {
	a, err := b.Begin(b.Context(), account, address)
	if err != nil {
		require.ErrorIs(b, err, ErrDelayed)
		return false, false
	}
	require.NoError(b, a.Cancelled(b.Context()))
	return true, a.Known()
}

// Records that mean nothing any more go by themselves.
func TestMemoryShrinks(t *testing.T) {
	b := newBench(t)
	memory := b.store.(*Memory)
	for i := range 8_000 {
		b.begin(fmt.Sprint("user", i), v4(i))
	}
	require.Equal(t, 16_000, memory.size())
	b.add(25 * time.Hour)
	for i := range 5_000 {
		b.signIn(fmt.Sprint("other", i), v4(i))
	}
	require.LessOrEqual(t, memory.size(), 5_000)
	b.add(31 * 24 * time.Hour)
	for range 5_000 {
		b.signIn(owner, v4(int(rand.Uint32N(1<<20))))
		require.NoError(t, b.Clear(t.Context(), fmt.Sprint(rand.Uint64())))
	}
	require.Less(t, memory.size(), 100)
	b.inQueues()
}

// The limits of all shards together are Records.
func TestRecords(t *testing.T) {
	for _, records := range []int{-1, 0, 1, 2, 1000, 2047, 2048, 5000, 1 << 20} {
		m := Memory{Records: records}
		m.start()
		sum := 0
		for i := range m.shards {
			sum += m.shards[i].limit
		}
		if records <= 0 {
			records = defaultRecords
		}
		require.Equal(t, records, sum)
	}
	b := small(t, 1)
	_, err := b.Begin(t.Context(), owner, v4(1)) // it needs two records
	require.ErrorIs(t, err, ErrDelayed)
}

// What a memory holds is the same as what a map holds, in any order of calls.
func TestMemoryAgainstMap(t *testing.T) {
	c := &clock{now: time.Unix(1_700_000_000, 0)}
	m := &Memory{Clock: c.read, Records: 3000}
	random := rand.New(rand.NewPCG(1, 5))
	type kept struct {
		record Record
		until  time.Time
	}
	want := map[Key]kept{}
	for range 50_000 {
		c.add(time.Duration(random.Int64N(int64(3 * time.Second))))
		var key Key
		binary.BigEndian.PutUint16(key[:], uint16(random.IntN(1000)))
		after := Record(fmt.Sprint(random.Uint32()))
		until := c.read().Add(time.Duration(random.Int64N(int64(time.Hour))))
		if random.IntN(4) == 0 {
			after = ""
		}
		require.NoError(t, m.Update(t.Context(), key, func(before Record, now time.Time) (Record, time.Time, error) {
			if had := want[key]; had.until.After(now) {
				require.Equal(t, had.record, before)
			} else if before != "" {
				require.Equal(t, had.record, before)
			}
			return after, until, nil
		}))
		want[key] = kept{after, until}
		if after == "" {
			delete(want, key)
		}
	}
}

func TestMemoryInParallel(t *testing.T) {
	m := &Memory{Records: 4096}
	limiter := New(m, Config{})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 2000 {
				if a, err := limiter.Begin(t.Context(), fmt.Sprint("user", j*i%500), v4(j)); err == nil && j%3 > 0 {
					_ = a.Succeeded(t.Context())
				}
			}
		})
	}
	wait.Wait()
	require.LessOrEqual(t, m.size(), 4096)
	require.Equal(t, "throttle.Memory", fmt.Sprint(m))
}

// The memory for a record is what the documentation says. It is measured with the records of an attack, which fail
// once.
func TestBytesOfARecord(t *testing.T) {
	const records = 1 << 16
	limiter := New(&Memory{Records: records}, Config{})
	heap := func() uint64 {
		var stats runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	n := 0
	for ; ; n++ {
		if _, err := limiter.Begin(t.Context(), fmt.Sprint("user", n), v4(n)); err != nil {
			break
		}
	}
	size := limiter.store.(*Memory).size()
	perRecord := float64(heap()-before) / float64(size)
	t.Logf("%d records, %.0f bytes each", size, perRecord)
	require.Greater(t, size, records*8/10)
	require.Less(t, perRecord, 150.0)
	runtime.KeepAlive(limiter)
}

func BenchmarkLimiter(b *testing.B) {
	limiter := New(nil, Config{})
	b.Run("known place", func(b *testing.B) {
		for b.Loop() {
			a, _ := limiter.Begin(b.Context(), owner, "192.0.2.1")
			_ = a.Succeeded(b.Context())
		}
	})
	b.Run("delayed", func(b *testing.B) {
		for b.Loop() {
			_, _ = limiter.Begin(b.Context(), "victim", "192.0.2.2")
		}
	})
}
