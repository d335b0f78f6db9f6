package sessions

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// slowCleaner is a store with so many expired rows that it never finds an end.
type slowCleaner struct {
	session.Memory
	batches atomic.Int64
}

func (s *slowCleaner) DeleteExpired(ctx context.Context, limit int) (int, error) {
	s.batches.Add(1)
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(50 * time.Millisecond):
		return limit, nil
	}
}

// The deletion of expired rows may take as long as it likes. Meanwhile tokens pass, and a revocation by another process
// arrives as fast as ever.
func TestCleaningDelaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowCleaner{}
		m, other := newManager(t, store, 0), newManager(t, store, 0)
		ref := login(t, m, "1")
		for range 300 {
			time.Sleep(time.Second)
			require.NoError(t, m.Check(ref, time.Now()))
		}
		require.Greater(t, store.batches.Load(), int64(1000), "the cleaning runs")
		_, err := other.Revoke(t.Context(), ref.ID, session.ReasonRevoked, nil)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, m.Check(ref, time.Now()), ErrRevoked)
	})
}

// countingStore counts the changes of rows.
type countingStore struct {
	session.Memory
	updates atomic.Int64
}

func (c *countingStore) Update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) error {
	c.updates.Add(1)
	return c.Memory.Update(ctx, id, change)
}

// A process with many sessions tells the store about a generation once, and not at every request.
func TestAProofIsToldOnceWithManySessions(t *testing.T) {
	const sessions, rounds = 20_000, 10
	store := &countingStore{}
	m := newManager(t, store, 0)
	refs := make([]Ref, sessions)
	for i := range refs {
		id, err := m.Create(t.Context(), fmt.Sprint(i), "s", rotation.Client{}, func(session.Session) error { return nil })
		require.NoError(t, err)
		refs[i] = m.Ref(id, 7)
	}
	for range rounds {
		for i, ref := range refs {
			require.NoError(t, m.Check(ref, time.Now()))
			for i%200 == 0 && len(m.proofs.queue) > 0 {
				time.Sleep(10 * time.Microsecond)
			}
		}
	}
	require.Less(t, store.updates.Load(), int64(1.2*sessions))
}

// panickingStore panics in the background.
type panickingStore struct {
	session.Memory
	broken atomic.Bool
}

func (p *panickingStore) RevokedSince(ctx context.Context, since session.Millis,
	add func(string, session.Millis)) (session.Millis, error) {
	if p.broken.Load() {
		panic("a driver's mistake")
	}
	return p.Memory.RevokedSince(ctx, since, add)
}

func (p *panickingStore) DeleteExpired(context.Context, int) (int, error) {
	panic("a driver's mistake")
}

func (p *panickingStore) Update(context.Context, string,
	func(session.Session, session.Millis) (session.Session, error)) error {
	panic("a driver's mistake")
}

// A store that panics in the background counts as a store that does not answer.
func TestAStoreThatPanicsEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &panickingStore{}
		var log lockedBuffer
		m, err := Open(Config{Store: store, Rules: rotation.Rules{Window: 10 * time.Second, Access: time.Hour, Idle: time.Hour,
			Absolute: time.Hour}, Logger: slog.New(slog.NewTextHandler(&log, nil)), MaxStaleness: 30 * time.Second})
		require.NoError(t, err)
		defer m.Close()
		ref := m.Ref(session.NewID("1"), 7)
		require.NoError(t, m.Check(ref, time.Now()), "and its proof makes Update panic")
		store.broken.Store(true)
		time.Sleep(2 * time.Minute)
		require.ErrorIs(t, m.Check(ref, time.Now()), ErrStale)
		require.Contains(t, log.String(), "panicked")
		store.broken.Store(false)
		time.Sleep(2 * time.Second)
		require.NoError(t, m.Check(ref, time.Now()))
	})
}

// lockedBuffer is a log that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
