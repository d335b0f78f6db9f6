package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

func newManager(t *testing.T, store session.Store, changes ...func(*Config)) *Manager {
	t.Helper()
	cfg := Config{Store: store, Rules: rotation.Rules{Window: 10 * time.Second, Access: time.Hour, Idle: time.Hour,
		Absolute: time.Hour}, Logger: slog.New(slog.DiscardHandler), MaxStaleness: 30 * time.Second, Bytes: 1 << 20}
	for _, change := range changes {
		change(&cfg)
	}
	m, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(m.Close)
	return m
}

// login makes a session, and returns the Ref of its access token.
func login(t *testing.T, m *Manager, userID string) revoked.Ref {
	t.Helper()
	var made session.Session
	err := m.Create(t.Context(), Login{UserID: userID, Secret: "s"}, func(s session.Session) error {
		made = s
		return nil
	})
	require.NoError(t, err)
	return m.Ref(made.ID, userID, made.Born, 7)
}

func check(t *testing.T, m *Manager, ref revoked.Ref) error {
	t.Helper()
	ref = m.Ref(ref.ID, ref.UserID, ref.Version, ref.Generation) // each process has its own hashes
	return m.Check(t.Context(), &ref, time.Now())
}

// A cut-off is forgotten everywhere before the store deletes it. So nobody who logs in meanwhile gets tokens that are refused.
func TestACutOffThatEndsRefusesNobody(t *testing.T) {
	for _, end := range []func(m *Manager, ctx context.Context) error{
		func(m *Manager, ctx context.Context) error { return m.EndUser(ctx, "u", "") },
		func(m *Manager, ctx context.Context) error { return m.ChangeUser(ctx, "u") },
	} {
		synctest.Test(t, func(t *testing.T) {
			store := &session.Memory{}
			first := newManager(t, store)
			login(t, first, "u")
			require.NoError(t, end(first, t.Context()))
			first.Close()
			cutoff := func() session.Cutoff {
				_, at, err := store.List(t.Context(), "u", 1)
				require.NoError(t, err)
				return at.User
			}
			time.Sleep(time.Until(cutoff().KeepUntil.Time()) - 5*time.Minute)
			one, other := newManager(t, store), newManager(t, store) // they know the cut-off
			time.Sleep(time.Minute)
			for deadline := time.Now().Add(40 * time.Minute); time.Now().Before(deadline); time.Sleep(7 * time.Second) {
				ref := login(t, one, "u")
				require.NoError(t, check(t, one, ref), cutoff())
				require.NoError(t, check(t, other, ref), cutoff())
			}
			require.Zero(t, cutoff(), "it was deleted")
			one.Close()
			other.Close()
		})
	}
}

// unread is a store whose log cannot be read from its start.
type unread struct {
	session.Memory
	lookups atomic.Int64
}

func (u *unread) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	if after == session.Start {
		return session.Page{}, errors.New("not now")
	}
	return u.Memory.ReadLog(ctx, after, limit, each)
}

func (u *unread) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	u.lookups.Add(1)
	return u.Memory.Update(ctx, id, change)
}

// A process that has just started looks up the sessions of others, and not those that it has made itself.
func TestOwnSessionsNeedNoLookup(t *testing.T) {
	store := &unread{}
	one, other := newManager(t, store), newManager(t, store)
	ref := login(t, one, "u")
	require.NoError(t, check(t, one, ref))
	require.Zero(t, store.lookups.Load())
	require.NoError(t, check(t, other, ref))
	require.NotZero(t, store.lookups.Load())
	require.NoError(t, one.EndUser(t.Context(), "u", ""))
	require.ErrorIs(t, check(t, one, ref), revoked.ErrRevoked)
	store.lookups.Store(0)
	again := login(t, one, "u")
	require.NoError(t, check(t, one, again))
	require.ErrorIs(t, check(t, one, ref), revoked.ErrRevoked)
	require.Zero(t, store.lookups.Load())
}

// slowCleaner is a store with so many expired rows that it never finds an end.
type slowCleaner struct {
	session.Memory
	batches atomic.Int64
}

func (s *slowCleaner) DeleteExpired(ctx context.Context, _ session.Millis, limit int) (int, error) {
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
		m, other := newManager(t, store), newManager(t, store)
		ref := login(t, m, "1")
		for range 300 {
			time.Sleep(time.Second)
			require.NoError(t, check(t, m, ref))
		}
		require.Greater(t, store.batches.Load(), int64(1000), "the cleaning runs")
		_, err := other.Revoke(t.Context(), ref.ID, session.ReasonRevoked, nil)
		require.NoError(t, err)
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, check(t, m, ref), revoked.ErrRevoked)
	})
}

// slowDisk deletes 150 rows a second, and undoes what it has not done in time.
type slowDisk struct {
	session.Memory
	due atomic.Int64
}

func (s *slowDisk) DeleteExpired(ctx context.Context, _ session.Millis, limit int) (int, error) {
	n := min(int64(limit), s.due.Load())
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-time.After(time.Duration(n) * time.Second / 150):
		s.due.Add(-n)
		return int(n), nil
	}
}

// A database that cannot delete many rows in time deletes few of them at one time.
func TestCleaningOnASlowDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &slowDisk{}
		newManager(t, store)
		for range 3 {
			store.due.Store(3000)
			time.Sleep(5 * time.Minute)
			require.Zero(t, store.due.Load())
		}
	})
}

// countingStore counts the changes of rows.
type countingStore struct {
	session.Memory
	updates atomic.Int64
}

func (c *countingStore) Update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	c.updates.Add(1)
	return c.Memory.Update(ctx, id, change)
}

// A process with many sessions tells the store about a generation once, and not at every request.
func TestAProofIsToldOnceWithManySessions(t *testing.T) {
	const sessions, rounds = 20_000, 10
	store := &countingStore{}
	m := newManager(t, store, func(c *Config) { c.Bytes = 256 << 20 }) // no session is looked up twice before the log was read
	refs := make([]revoked.Ref, sessions)
	for i := range refs {
		refs[i] = login(t, m, fmt.Sprint(i))
	}
	for range rounds {
		for i, ref := range refs {
			require.NoError(t, check(t, m, ref))
			m.Prove(&ref)
			for i%5000 == 0 && len(m.proofs.queue) > 0 {
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

func (p *panickingStore) ReadLog(ctx context.Context, after session.Cursor, limit int,
	each func(session.Entry)) (session.Page, error) {
	if p.broken.Load() {
		panic("a driver's mistake")
	}
	return p.Memory.ReadLog(ctx, after, limit, each)
}

func (p *panickingStore) DeleteExpired(context.Context, session.Millis, int) (int, error) {
	panic("a driver's mistake")
}

func (p *panickingStore) Update(context.Context, string,
	func(session.Session, session.Moment) (session.Session, error)) error {
	panic("a driver's mistake")
}

// A store that panics in the background counts as a store that does not answer.
func TestAStoreThatPanicsEndsNoProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &panickingStore{}
		var log lockedBuffer
		m := newManager(t, store, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(time.Second) // the log is read
		ref := m.Ref(session.NewID("1"), "1", session.Version{}, 7)
		require.NoError(t, check(t, m, ref))
		m.Prove(&ref) // makes Update panic
		store.broken.Store(true)
		time.Sleep(2 * time.Minute)
		require.ErrorIs(t, check(t, m, ref), revoked.ErrStale)
		require.Contains(t, log.String(), "panicked")
		store.broken.Store(false)
		time.Sleep(2 * time.Second)
		require.NoError(t, check(t, m, ref))
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

// A proof that could not be stored is queued again by the next request.
func TestAProofThatFailedIsToldAgain(t *testing.T) {
	m := newManager(t, &session.Memory{})
	p := newProofs()
	ref := m.Ref("s", "u", session.Version{}, 7)
	p.note(&ref)
	p.note(&ref)
	require.Len(t, p.queue, 1, "once for each generation")
	first := <-p.queue
	first.slot.Store(0) // as recordProofs does after an error
	p.note(&ref)
	require.Len(t, p.queue, 1)
	for i := range int64(2 * proofQueue) {
		ref := m.Ref("t", "u", session.Version{}, i+1)
		p.note(&ref)
	}
	require.Len(t, p.queue, proofQueue, "a full queue is not waited for")
	<-p.queue
	ref = m.Ref("t", "u", session.Version{}, 2*proofQueue)
	p.note(&ref)
	require.Len(t, p.queue, proofQueue, "what did not fit is queued later")
}

// batchStore takes proofs together.
type batchStore struct {
	countingStore
	batches [][]string
	fail    atomic.Bool
	before  func()
}

func (b *batchStore) UpdateBatch(ctx context.Context, ids []string, change func(session.Session, session.Millis) session.Session) error {
	if b.before != nil {
		b.before()
	}
	if b.fail.Load() {
		return fmt.Errorf("away")
	}
	b.batches = append(b.batches, ids)
	for _, id := range ids {
		err := b.Memory.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			return change(row, at.Now), nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Every proof is stored, in batches, whatever the load; after a failure the next use of the token tells it again.
func TestAllProofsAreStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const sessions = 2000
		store := &batchStore{}
		m := newManager(t, store)
		refs := make([]revoked.Ref, sessions)
		for i := range refs {
			refs[i] = login(t, m, fmt.Sprint(i))
			row, out, err := m.Refresh(t.Context(), refs[i].ID, refs[i].UserID, rotation.Presented{
				Generation: generationOf(t, store, refs[i].ID), SecretHash: session.HashOf("s")},
				testTokens{user: func() (bool, error) { return true, nil },
					sign: func(session.Session, rotation.Outcome, session.Version) error { return nil }})
			require.NoError(t, err)
			refs[i] = m.Ref(row.ID, row.UserID, session.Version{}, out.Generation)
		}
		store.updates.Store(0)
		store.fail.Store(true)
		for i := range refs {
			m.Prove(&refs[i])
		}
		time.Sleep(time.Second)
		store.fail.Store(false)
		for i := range refs {
			m.Prove(&refs[i])
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		require.Zero(t, store.updates.Load(), "one by one")
		require.LessOrEqual(t, len(store.batches), sessions/proofBatch+2)
		for _, ref := range refs {
			require.NoError(t, store.Memory.Update(t.Context(), ref.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
				require.NotZero(t, row.ConfirmedAt)
				return row, nil
			}))
		}
	})
}

// A store that is away is left alone for a second after each try, and one to which everything was told is asked five times a
// second.
func TestProofsThatChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &batchStore{}
		m := newManager(t, store)
		var calls atomic.Int64
		store.before = func() { calls.Add(1) }
		var refs [600]revoked.Ref
		for i := range refs {
			refs[i] = login(t, m, fmt.Sprint(i))
			refs[i].Generation = 1 // never the newest one, so there is nothing to store
		}
		use := func(during time.Duration) int64 {
			before := calls.Load()
			for end := time.Now().Add(during); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				for i := range refs {
					refs[i].Generation++ // as if the mark was lost
					m.Prove(&refs[i])
				}
			}
			return calls.Load() - before
		}
		require.InDelta(t, 50, use(10*time.Second), 10)
		store.fail.Store(true)
		require.InDelta(t, 20, use(30*time.Second), 10)
	})
}

// remembering is a store that calls change first with a row that it remembers, and again if that row does not change.
type remembering struct {
	session.Memory
	between func()
}

func (s *remembering) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	return s.Memory.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		after, err := change(row, at)
		if err != nil || after != row {
			return after, err
		}
		if s.between != nil {
			s.between()
		}
		_, at, err = s.List(ctx, row.UserID, 1)
		if err != nil {
			return row, err
		}
		return change(row, at)
	})
}

// A refresh that repeats an answer writes nothing. Its tokens are signed once, unless a cut-off has come in between.
func TestARepeatedRefreshIsSignedOnce(t *testing.T) {
	store := &remembering{}
	m := newManager(t, store)
	ref := login(t, m, "u")
	var signed, loaded int
	var version session.Version
	refresh := func(generation int64) rotation.Outcome {
		signed, loaded = 0, 0
		_, out, err := m.Refresh(t.Context(), ref.ID, ref.UserID, rotation.Presented{Generation: generation,
			SecretHash: session.HashOf("s")}, testTokens{
			user: func() (bool, error) { loaded++; return true, nil },
			sign: func(_ session.Session, _ rotation.Outcome, v session.Version) error {
				signed++
				version = v
				return nil
			}})
		require.NoError(t, err)
		return out
	}
	first := generationOf(t, store, ref.ID)
	refresh(refresh(first).Generation)
	require.Equal(t, rotation.EventRepeated, refresh(first).Event)
	require.Equal(t, []int{1, 1}, []int{signed, loaded})

	store.between = sync.OnceFunc(func() {
		require.NoError(t, store.Cut(t.Context(), "u", func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
			return c.Change(latest, now), nil
		}))
	})
	require.Equal(t, rotation.EventRepeated, refresh(first).Event)
	require.Equal(t, []int{2, 2}, []int{signed, loaded}, "the user is read again after the cut-off")
	require.NotZero(t, version.User, "the tokens are newer than the cut-off")
}

// testTokens makes the tokens of a refresh with functions.
type testTokens struct {
	user func() (bool, error)
	sign func(session.Session, rotation.Outcome, session.Version) error
}

func (t testTokens) User() (bool, error) { return t.user() }

func (t testTokens) Sign(row session.Session, out rotation.Outcome, version session.Version) error {
	return t.sign(row, out, version)
}

func (t testTokens) Decide(rules rotation.Rules, row session.Session, presented rotation.Presented, now session.Millis) (
	session.Session, rotation.Outcome, error) {
	after, out := rules.Refresh(row, presented, now)
	return after, out, nil
}
