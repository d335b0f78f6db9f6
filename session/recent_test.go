package session_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

func TestRecent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r session.Recent[int]
		r.Keep("a", 1)
		_, _, ok := r.Find("a")
		require.False(t, ok, "the store's time is not known")

		r.Clock(1000, time.Now())
		time.Sleep(3 * time.Second)
		row, now, ok := r.Find("a")
		require.True(t, ok)
		require.Equal(t, 1, row)
		require.EqualValues(t, 4000, now)
		_, _, ok = r.Find("b")
		require.False(t, ok)

		r.Keep("a", 2)
		row, _, _ = r.Find("a")
		require.Equal(t, 2, row)
		r.Forget("a")
		_, _, ok = r.Find("a")
		require.False(t, ok)

		r.Keep("a", 3)
		time.Sleep(8 * time.Second)
		_, _, ok = r.Find("a")
		require.False(t, ok, "the store's time was read too long ago")
		r.Clock(12_000, time.Now())
		_, now, ok = r.Find("a")
		require.True(t, ok)
		require.EqualValues(t, 12_000, now)

		r.Tried("a", true)
		_, _, ok = r.Find("a")
		require.True(t, ok)
		r.Tried("a", false)
		_, _, ok = r.Find("a")
		require.False(t, ok, "it was outdated")
	})
}

// An answer that came late does not set the time back, and a clock that was set back does.
func TestRecentKeepsTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r session.Recent[int]
		r.Keep("a", 1)
		now := func() session.Millis {
			_, now, ok := r.Find("a")
			require.True(t, ok)
			return now
		}
		r.Clock(100_000, time.Now())
		time.Sleep(time.Second)
		r.Clock(100_400, time.Now()) // it was read 0.6 s ago
		require.EqualValues(t, 101_000, now())
		r.Clock(101_050, time.Now())
		require.EqualValues(t, 101_050, now())
		r.Clock(90_000, time.Now())
		require.EqualValues(t, 90_000, now())
		r.Clock(93_000, time.Now())
		asked := time.Now()
		time.Sleep(4 * time.Second)
		r.Clock(93_000, asked) // it was read up to four seconds ago
		require.EqualValues(t, 97_000, now(), "an answer that took long is not of a clock that was set back")
		time.Sleep(11 * time.Second)
		r.Clock(100_400, asked)
		_, _, ok := r.Find("a")
		require.False(t, ok, "nor does it tell the time")
		r.Clock(100_500, time.Now())
		require.EqualValues(t, 100_500, now(), "the time before is too old")
	})
}

func TestRecentIsBounded(t *testing.T) {
	r := session.Recent[int]{Rows: 10}
	r.Clock(1, time.Now())
	for i := range 100 {
		r.Keep(fmt.Sprint(i), i)
		found := 0
		for j := range i + 1 {
			if row, _, ok := r.Find(fmt.Sprint(j)); ok {
				require.Equal(t, j, row)
				found++
			}
		}
		require.LessOrEqual(t, found, 10)
		require.GreaterOrEqual(t, found, min(i+1, 5))
	}
}

// A process that shares its sessions with others must not lose a round trip at each refresh.
func TestRecentWithOtherProcesses(t *testing.T) {
	var r session.Recent[int]
	r.Clock(1, time.Now())
	offered := func(rounds int, newest func(i int) bool) (n int) {
		for i := range rounds {
			r.Keep("a", i)
			if _, _, ok := r.Find("a"); ok {
				n++
				r.Tried("a", newest(i))
			}
		}
		return n
	}
	require.Equal(t, 1000, offered(1000, func(i int) bool { return i%4 != 0 }), "three of four rows are the newest")
	offered(100, func(int) bool { return false })
	require.LessOrEqual(t, offered(1600, func(i int) bool { return i%64 == 0 }), 110)
	offered(1600, func(int) bool { return true })
	require.Equal(t, 100, offered(100, func(int) bool { return true }), "there is only one process again")
}

func TestRecentIsSafeForConcurrentUse(t *testing.T) {
	r := session.Recent[int]{Rows: 4}
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for j := range 1000 {
				id := fmt.Sprint(j % 6)
				r.Clock(session.Millis(j), time.Now())
				r.Keep(id, i)
				_, _, ok := r.Find(id)
				r.Tried(id, ok)
				r.Forget(id)
			}
		})
	}
	all.Wait()
	r.Clock(1, time.Now())
	kept := 0
	for j := range 6 {
		r.Keep(fmt.Sprint(j), j)
	}
	for j := range 6 {
		if row, _, ok := r.Find(fmt.Sprint(j)); ok {
			require.Equal(t, j, row)
			kept++
		}
	}
	require.LessOrEqual(t, kept, 4)
	require.Positive(t, kept)
}
