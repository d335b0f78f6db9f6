// Package sessions is one process's view of the session store. It applies the rules of rotation to the rows of the
// store. It keeps the set of revoked sessions in memory, and it records which refresh tokens have arrived.
package sessions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// The errors of Check.
var (
	ErrRevoked = errors.New("the session is revoked")
	ErrStale   = errors.New("the session store was not reached for longer than MaxStaleness, " +
		"or more sessions are revoked than fit in memory")
)

// StoreTimeout is how long a store may take. A store that takes longer counts as down, and the client is answered 503.
const StoreTimeout = 5 * time.Second

const (
	// pullInterval is how often the revocations of other processes are read. They are read four times within
	// MaxStaleness if that is more often.
	pullInterval = time.Second
	// pullOverlap is how much later than its timestamp a revocation may become visible.
	pullOverlap    = time.Minute
	reloadInterval = 10 * time.Minute // how often all revocations are read again
	sweepInterval  = time.Minute
	sweepBatch     = 1000
)

// Config says how a Manager works.
type Config struct {
	Store        session.Store
	Rules        rotation.Rules
	Logger       *slog.Logger
	MaxStaleness time.Duration // how long the store may be out of reach before Check answers ErrStale
	Insecure     bool          // Check never answers ErrStale
}

// Manager is this process's view of the sessions. It is safe for concurrent use. Make it with Open.
type Manager struct {
	Config
	revoked *revocationSet
	proofs  *proofs

	// The set of revocations is fresh until freshUntil. That is a number of nanoseconds since began, on the monotonic
	// clock. So Check needs no lock, and a change of the machine's clock cannot make an old set look fresh.
	began      time.Time
	freshUntil atomic.Int64

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open reads the revoked sessions and starts three goroutines, which Close ends. One reads the revocations of other
// processes, one deletes expired rows, and one records which refresh tokens have arrived.
func Open(cfg Config) (*Manager, error) {
	ctx, stop := context.WithCancel(context.Background())
	m := &Manager{Config: cfg, revoked: newRevocationSet(maxRevoked), proofs: newProofs(), began: time.Now(), stop: stop}
	since, err := m.pull(ctx, 0)
	if err != nil {
		stop()
		return nil, fmt.Errorf("read the revoked sessions: %w", err)
	}
	m.done.Go(func() { m.follow(ctx, since) })
	m.done.Go(func() { m.cleanUp(ctx) })
	m.done.Go(func() { m.recordProofs(ctx) })
	return m, nil
}

// Close ends the goroutines and waits for them. Then nothing keeps the set up to date, so Check returns ErrStale,
// unless Insecure is set.
func (m *Manager) Close() {
	m.stop()
	m.done.Wait()
	m.freshUntil.Store(-1)
}

// Ref names a session in a verified token. It holds the hash of the id, so that Check does not compute it for every
// request.
type Ref struct {
	ID string
	// Generation is that of the refresh token itself, or of the refresh token that came with the access token. It is 0 if
	// the token names none.
	Generation int64
	hash       uint64
}

// Ref returns the Ref of a session.
func (m *Manager) Ref(id string, generation int64) Ref {
	return Ref{ID: id, Generation: generation, hash: m.revoked.hash(id)}
}

// Check reports whether the session of a token is revoked. It returns ErrRevoked, ErrStale or nil. Every request with a
// token of a session calls it, so it does no I/O and does not wait. now must have a monotonic clock reading (time.Now).
func (m *Manager) Check(ref Ref, now time.Time) error {
	switch {
	case m.revoked.has(ref.hash):
		return ErrRevoked
	case !m.Insecure && (int64(now.Sub(m.began)) > m.freshUntil.Load() || m.revoked.full.Load()):
		return ErrStale
	}
	if ref.Generation != 0 {
		m.proofs.note(ref)
	}
	return nil
}

// Create stores the session of a login. It calls sign to make the tokens before the row is committed, so that no
// session exists without tokens. sign may be called again. An error of sign is returned as it is, and then nothing is
// stored.
func (m *Manager) Create(ctx context.Context, userID, secret string, client rotation.Client,
	sign func(session.Session) error) (id string, err error) {
	id = session.NewID(userID)
	err = m.Store.Create(ctx, func(now session.Millis) (session.Session, error) {
		row := m.Rules.New(id, userID, session.HashOf(secret), client, now)
		return row, sign(row)
	})
	return id, err
}

// Refresh decides about a refresh token. If the client gets tokens, it calls sign to make them before the row is
// committed. sign may be called again. An error of sign is returned as it is, and then nothing has changed. Every other
// error except session.ErrNotFound means that the store did not answer.
func (m *Manager) Refresh(ctx context.Context, id, userID string, presented rotation.Presented,
	sign func(session.Session, rotation.Outcome) error) (row session.Session, out rotation.Outcome, err error) {
	row, err = m.update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		if row.UserID != userID {
			out = rotation.Outcome{Event: rotation.EventUnknown}
			return row, nil
		}
		row, out = m.Rules.Refresh(row, presented, now)
		if out.Generation == 0 {
			return row, nil
		}
		return row, sign(row, out)
	})
	return row, out, err
}

// Revoke ends a session. If allowed is not nil, it sees the row first and can refuse: an error of allowed is returned
// as it is, and then nothing has changed. If there is no such session, Revoke returns session.ErrNotFound. It waits
// only for the store, and never for signatures.
func (m *Manager) Revoke(ctx context.Context, id string, reason session.Reason,
	allowed func(session.Session) error) (session.Session, error) {
	return m.update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		if allowed != nil {
			if err := allowed(row); err != nil {
				return row, err
			}
		}
		return row.Revoke(reason, now), nil
	})
}

// Forget is for a session that the store has lost. This process refuses its access tokens until the time in the
// parameter until.
func (m *Manager) Forget(id string, until session.Millis) { m.revoked.add(id, until) }

// List returns the sessions of a user, including the revoked ones.
func (m *Manager) List(ctx context.Context, userID string) ([]session.Session, error) {
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	return m.Store.ListByUser(ctx, userID)
}

// update changes a row. If the row is revoked then, this process refuses its access tokens at once.
func (m *Manager) update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) (after session.Session, err error) {
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	err = m.Store.Update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		after, err = change(row, now)
		return after, err
	})
	if err == nil && after.Revoked() {
		m.revoked.add(after.ID, after.KeepUntil)
	}
	return after, err
}

// follow keeps the set of revoked sessions up to date with the store.
func (m *Manager) follow(ctx context.Context, since session.Millis) {
	pull := time.NewTicker(min(pullInterval, m.MaxStaleness/4))
	defer pull.Stop()
	prune := time.NewTicker(sweepInterval)
	defer prune.Stop()
	reload := time.NewTicker(reloadInterval)
	defer reload.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-pull.C:
			next, err := m.pull(ctx, since)
			if err == nil {
				since = next
			} else if !failing && ctx.Err() == nil {
				m.Logger.Error("signet: revoked sessions cannot be read from the store", "error", err)
			}
			failing = err != nil
		case <-prune.C:
			if m.revoked.prune(since) {
				since = 0 // the set was full and has room now
			}
		case <-reload.C:
			since = 0 // a commit may have become visible later than pullOverlap
		}
	}
}

// pull adds the sessions that were revoked since the last pull, or all of them if since is 0. It returns the time for
// the next pull.
func (m *Manager) pull(ctx context.Context, since session.Millis) (session.Millis, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, StoreTimeout)
	defer cancel()
	from := max(0, since-session.Millis(pullOverlap.Milliseconds()))
	m.revoked.startReading()
	var now session.Millis
	err := calmly(func() (err error) {
		now, err = m.Store.RevokedSince(ctx, from, m.revoked.add)
		return err
	})
	if err != nil {
		return since, err
	}
	if since == 0 {
		m.revoked.wholeRead()
	}
	// Freshness counts from the start of the read, because the read may miss later revocations.
	m.freshUntil.Store(int64(began.Add(m.MaxStaleness).Sub(m.began)))
	return now, nil
}

// cleanUp deletes expired rows from the store until ctx ends. It has a goroutine of its own, because a store with many
// expired rows may need minutes, and nobody may wait for it.
func (m *Manager) cleanUp(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			m.sweep(ctx)
		}
	}
}

// sweep deletes all expired rows, in steps of sweepBatch rows.
func (m *Manager) sweep(ctx context.Context) {
	for ctx.Err() == nil {
		var n int
		err := calmly(func() (err error) {
			bounded, cancel := context.WithTimeout(ctx, StoreTimeout)
			defer cancel()
			n, err = m.Store.DeleteExpired(bounded, sweepBatch)
			return err
		})
		if err != nil && ctx.Err() == nil {
			m.Logger.Warn("signet: expired sessions cannot be deleted", "error", err)
		}
		if err != nil || n < sweepBatch {
			return
		}
	}
}

// calmly calls work and turns a panic of a store into an error. In the background nobody else recovers, so a panic would
// end the process.
func calmly(work func() error) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the session store panicked: %v", reason)
		}
	}()
	return work()
}
