package seldom

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDue(t *testing.T) {
	const now = 1_800_000_000
	var l Line
	require.True(t, l.dueAt(now), "the first one")
	require.False(t, l.dueAt(now))
	require.False(t, l.dueAt(now+59))
	require.True(t, l.dueAt(now+60))
	require.False(t, l.dueAt(now+60+59), "it counts from the last line")
	require.True(t, l.dueAt(now+59), "the clock was set back by a second")
	require.True(t, l.dueAt(now-1_000_000), "the clock was set back by days")
	require.False(t, l.dueAt(now-1_000_000+1))
	require.True(t, l.dueAt(now))

	var fresh Line
	require.True(t, fresh.Due())
	require.False(t, fresh.Due())
}

func TestOneOfManyIsDue(t *testing.T) {
	var l Line
	var due atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			if l.dueAt(1_800_000_000) {
				due.Add(1)
			}
		})
	}
	all.Wait()
	require.EqualValues(t, 1, due.Load())
}
