package sessions

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// A set that was too small for all revocations must report that it is full until it has read all of them again. It does
// not know which ones it has dropped.
func TestAFullSetStaysFullUntilAWholeReadFits(t *testing.T) {
	set := newRevocationSet(4)
	revoke := func(n int, until session.Millis) {
		for i := range n {
			set.add(fmt.Sprint(until, "-", i), until)
		}
	}
	set.startReading()
	revoke(3, 100)
	revoke(2, 200)
	set.wholeRead()
	require.True(t, set.full.Load(), "five do not fit into four")

	require.True(t, set.prune(100), "there is room now")
	require.True(t, set.full.Load(), "but one of the revocations that live was dropped")
	require.False(t, set.has(set.hash("200-1")) && set.has(set.hash("200-0")))

	set.startReading()
	revoke(1, 200)
	require.True(t, set.full.Load(), "a read of a part changes nothing")
	set.startReading()
	revoke(2, 200)
	set.wholeRead()
	require.False(t, set.full.Load())
	require.True(t, set.has(set.hash("200-0")) && set.has(set.hash("200-1")))

	set.startReading()
	revoke(5, 300)
	set.wholeRead()
	require.True(t, set.full.Load(), "a whole read that does not fit")
	require.False(t, set.prune(150), "no room")
	require.False(t, newRevocationSet(4).prune(0))
}

// manager is a Manager on a store in memory, with a small set.
func newManager(t *testing.T, store session.Store, limit int) *Manager {
	t.Helper()
	rules := rotation.Rules{Window: 10 * time.Second, Idle: time.Hour, Absolute: 24 * time.Hour, Access: time.Hour}
	m, err := Open(Config{Store: store, Rules: rules,
		Logger: slog.New(slog.DiscardHandler), MaxStaleness: 30 * time.Second})
	require.NoError(t, err)
	t.Cleanup(m.Close)
	if limit != 0 {
		m.revoked.mu.Lock()
		m.revoked.limit = limit
		m.revoked.mu.Unlock()
	}
	return m
}

func login(t *testing.T, m *Manager, user string) Ref {
	t.Helper()
	id, err := m.Create(t.Context(), user, "secret", rotation.Client{}, func(session.Session) error { return nil })
	require.NoError(t, err)
	return m.Ref(id, 0)
}

func TestAnOverflowIsAnsweredLikeAStoreOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &session.Memory{}
		m := newManager(t, store, 4)
		live := login(t, m, "1")
		check := func() error { return m.Check(live, time.Now()) }
		require.NoError(t, check())
		revoke := func(n int) {
			for range n {
				ref := login(t, m, "2")
				_, err := m.Revoke(t.Context(), ref.ID, session.ReasonRevoked, nil)
				require.NoError(t, err)
			}
		}
		revoke(3)
		time.Sleep(30 * time.Minute)
		revoke(2)
		require.ErrorIs(t, check(), ErrStale, "five revoked sessions do not fit into four")
		time.Sleep(20 * time.Minute)
		_, err := store.DeleteExpired(context.Background(), 100)
		require.NoError(t, err)
		require.ErrorIs(t, check(), ErrStale)
		live = login(t, m, "1")
		time.Sleep(25 * time.Minute) // the first three have expired, so all are read again
		require.NoError(t, check())
	})
}

func TestFreshnessFollowsTheMonotonicClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newManager(t, &session.Memory{}, 0)
		ref := login(t, m, "1")
		require.NoError(t, m.Check(ref, time.Now()))
		require.NoError(t, m.Check(ref, m.began.Add(29*time.Second)))
		require.ErrorIs(t, m.Check(ref, m.began.Add(31*time.Second)), ErrStale)
		m.Close()
		require.ErrorIs(t, m.Check(ref, time.Now()), ErrStale, "after Close nothing keeps the set up to date")
	})
}

// A proof that could not be stored is queued again by the next request.
func TestAProofThatFailedIsToldAgain(t *testing.T) {
	p := newProofs()
	ref := Ref{ID: "s", Generation: 7, hash: 99}
	p.note(ref)
	p.note(ref)
	require.Len(t, p.queue, 1, "once for each generation")
	first := <-p.queue
	first.slot.Store(0) // as recordProofs does after an error
	p.note(ref)
	require.Len(t, p.queue, 1)
	for i := range int64(2 * proofQueue) {
		p.note(Ref{ID: "t", Generation: i + 1, hash: 5})
	}
	require.Len(t, p.queue, proofQueue, "a full queue is not waited for")
	<-p.queue
	p.note(Ref{ID: "t", Generation: 2 * proofQueue, hash: 5})
	require.Len(t, p.queue, proofQueue, "what did not fit is queued later")
}
