// Package sessions is one process's view of the session store. It applies the rules of rotation to the store's rows, keeps the set of
// revoked sessions in memory, and records which refresh tokens have arrived.
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

// The answers of Check.
var (
	ErrRevoked = errors.New("the session is revoked")
	ErrStale   = errors.New("the session store was not reached for longer than MaxStaleness, or more sessions are revoked than fit in memory")
)

// StoreTimeout is how long a store may take. One that takes longer is down, and the client is told to come back.
const StoreTimeout = 5 * time.Second

const (
	pullInterval   = time.Second      // how often the revocations of other processes are read, or four times in MaxStaleness
	pullOverlap    = time.Minute      // how long a revocation may take from its timestamp to its being seen
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

	// The set of revocations is up to date until freshUntil, which counts nanoseconds from began on the monotonic clock. So
	// no request needs a lock, and no change of the machine's time can make an old set look fresh.
	began      time.Time
	freshUntil atomic.Int64

	stop context.CancelFunc
	done sync.WaitGroup
}

// Open reads the revoked sessions, and starts two goroutines that end in Close: one reads the revocations of other processes and removes
// expired rows, one records proofs of delivery.
func Open(cfg Config) (*Manager, error) {
	ctx, stop := context.WithCancel(context.Background())
	m := &Manager{Config: cfg, revoked: newRevocationSet(maxRevoked), proofs: newProofs(), began: time.Now(), stop: stop}
	since, err := m.pull(ctx, 0)
	if err != nil {
		stop()
		return nil, fmt.Errorf("read the revoked sessions: %w", err)
	}
	m.done.Go(func() { m.follow(ctx, since) })
	m.done.Go(func() { m.recordProofs(ctx) })
	return m, nil
}

// Close ends the goroutines and waits for them. After it Check answers ErrStale: nothing keeps the set up to date any more.
func (m *Manager) Close() {
	m.stop()
	m.done.Wait()
	m.freshUntil.Store(-1)
}

// Ref names a session in a verified token. A Manager makes it once for each token, so that Check does not have to hash the id again.
type Ref struct {
	ID         string
	Generation int64 // of the refresh token that the token is, or came with; 0: the token says none
	hash       uint64
}

// Ref returns the Ref of a session.
func (m *Manager) Ref(id string, generation int64) Ref {
	return Ref{ID: id, Generation: generation, hash: m.revoked.hash(id)}
}

// Check is what every request with a token of a session asks: it returns ErrRevoked, ErrStale or nil. now must have a monotonic
// clock reading (time.Now). Check does no I/O and takes no lock.
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

// Create stores the session of a login. sign makes its tokens before the row is committed, and may be called again: a session whose tokens
// cannot be had must not exist. An error of sign is returned as it is.
func (m *Manager) Create(ctx context.Context, userID, secret string, client rotation.Client, sign func(session.Session) error) (id string, err error) {
	id = session.NewID(userID)
	err = m.Store.Create(ctx, func(now session.Millis) (session.Session, error) {
		row := m.Rules.New(id, userID, session.HashOf(secret), client, now)
		return row, sign(row)
	})
	return id, err
}

// Refresh decides about a refresh token. If the decision is to send tokens, sign makes them before the row is committed, and may be
// called again. An error of sign is returned as it is, and then nothing has changed. Every other error but session.ErrNotFound
// means that the store did not answer.
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

// Revoke ends a session, unless allowed, which sees the row first, returns an error: that is returned as it is. Without such a session
// it returns session.ErrNotFound. It waits for nothing that a refresh waits for but the store.
func (m *Manager) Revoke(ctx context.Context, id string, reason session.Reason, allowed func(session.Session) error) (session.Session, error) {
	return m.update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		if allowed != nil {
			if err := allowed(row); err != nil {
				return row, err
			}
		}
		return row.Revoke(reason, now), nil
	})
}

// Forget refuses the access tokens of a session that the store has lost, until that time, in this process.
func (m *Manager) Forget(id string, until session.Millis) { m.revoked.add(id, until) }

// List returns the sessions of a user, the revoked ones too.
func (m *Manager) List(ctx context.Context, userID string) ([]session.Session, error) {
	limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	ctx = limited
	return m.Store.ListByUser(ctx, userID)
}

// update changes a row, and refuses its access tokens at once if it is revoked then.
func (m *Manager) update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) (after session.Session, err error) {
	limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	ctx = limited
	err = m.Store.Update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		after, err = change(row, now)
		return after, err
	})
	if err == nil && after.Revoked() {
		m.revoked.add(after.ID, after.KeepUntil)
	}
	return after, err
}

// follow keeps the set of revoked sessions in step with the store, and the store free of expired rows.
func (m *Manager) follow(ctx context.Context, since session.Millis) {
	pull, sweep, reload := time.NewTicker(min(pullInterval, m.MaxStaleness/4)), time.NewTicker(sweepInterval), time.NewTicker(reloadInterval)
	defer pull.Stop()
	defer sweep.Stop()
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
		case <-sweep.C:
			if m.sweep(ctx, since) {
				since = 0
			}
		case <-reload.C:
			since = 0 // for a commit that became visible later than anybody would think
		}
	}
}

// pull adds what was revoked since the last pull, or everything if since is 0, and returns where the next pull starts.
func (m *Manager) pull(ctx context.Context, since session.Millis) (session.Millis, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, StoreTimeout)
	defer cancel()
	from := max(0, since-session.Millis(pullOverlap.Milliseconds()))
	m.revoked.startReading()
	now, err := m.Store.RevokedSince(ctx, from, m.revoked.add)
	if err != nil {
		return since, err
	}
	if since == 0 {
		m.revoked.wholeRead()
	}
	m.freshUntil.Store(int64(began.Add(m.MaxStaleness).Sub(m.began))) // what was revoked after began is not in it
	return now, nil
}

// sweep forgets what is over, by the store's clock. It reports whether all revocations must be read again: the set was full, and
// there is room now.
func (m *Manager) sweep(ctx context.Context, now session.Millis) (readAgain bool) {
	readAgain = m.revoked.prune(now)
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, StoreTimeout)
		n, err := m.Store.DeleteExpired(bounded, sweepBatch)
		cancel()
		if err != nil && ctx.Err() == nil {
			m.Logger.Warn("signet: expired sessions cannot be deleted", "error", err)
		}
		if err != nil || n < sweepBatch {
			return readAgain
		}
	}
	return readAgain
}
