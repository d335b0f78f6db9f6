package revoked

import (
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSeen(t *testing.T) {
	s := &seen{bytes: 8 << 20}
	require.False(t, s.has(1))
	s.forget(1)
	s.reset()
	note := func(hash uint64) { s.finish(s.begin(hash)) }
	note(1)
	note(1)
	require.True(t, s.has(1))
	require.False(t, s.has(2))
	s.forget(2)
	require.True(t, s.has(1))
	s.forget(1)
	require.False(t, s.has(1))

	lookUp := s.begin(1)
	s.forget(1)
	s.finish(lookUp)
	require.False(t, s.has(1), "it was revoked during the look-up")
	note(1)
	require.True(t, s.has(1), "the next look-up counts")

	lookUp = s.begin(3)
	s.reset()
	note(4)
	s.finish(lookUp)
	require.False(t, s.has(1) || s.has(3), "reset voids what is under way")
	require.True(t, s.has(4))

	for i := range uint64(100) { // all in one bucket
		note(i + 100)
		require.True(t, s.has(i+100))
	}
	held := 0
	for i := range uint64(100) {
		if s.has(i + 100) {
			held++
		}
	}
	require.Equal(t, 8, held)
}

func TestSeenHoldsAMillion(t *testing.T) {
	s, n := &seen{bytes: 8 << 20}, 100_000
	for i := range n {
		s.finish(s.begin(hashOf(uint64(i + 1))))
	}
	held := 0
	for i := range n {
		if s.has(hashOf(uint64(i + 1))) {
			held++
		}
	}
	require.Greater(t, held, n*99/100)
}

// A session that is revoked in the store, and then named by the log, is never there afterwards.
func TestSeenNeverMissesARevocation(t *testing.T) {
	s := &seen{bytes: 8 << 20}
	const sessions = 20_000
	var revoked [sessions + 1]atomic.Bool // the store
	done := make(chan struct{})
	ended := make(chan struct{}, 2)
	var current atomic.Uint64
	current.Store(1)
	for range 2 {
		go func() {
			defer func() { ended <- struct{}{} }()
			for {
				select {
				case <-done:
					return
				default:
				}
				i := current.Load()
				lookUp := s.begin(hashOf(i))
				if !revoked[i].Load() {
					s.finish(lookUp)
				}
			}
		}()
	}
	missed := 0
	for i := uint64(1); i <= sessions; i++ {
		current.Store(i)
		revoked[i].Store(true)
		s.forget(hashOf(i))
		if s.has(hashOf(i)) {
			missed++
		}
	}
	close(done)
	<-ended
	<-ended
	for i := range uint64(sessions) {
		if s.has(hashOf(i + 1)) {
			missed++
		}
	}
	require.Zero(t, missed)
}

func BenchmarkSeenHas(b *testing.B) {
	s := &seen{bytes: 8 << 20}
	for i := range uint64(500_000) {
		s.finish(s.begin(hashOf(i + 1)))
	}
	b.ResetTimer()
	for i := range b.N {
		s.has(hashOf(uint64(i%500_000) + 1))
	}
}
