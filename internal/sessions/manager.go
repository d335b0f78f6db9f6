// Package sessions is one process's view of the session store. It applies the rules of rotation to the rows of the store, and
// cuts sessions off. It records which refresh tokens have arrived, and deletes what has expired. What was revoked is in
// package revoked.
package sessions

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// StoreTimeout is how long a store may take. A store that takes longer counts as down, and the client is answered 503.
const StoreTimeout = 5 * time.Second

const (
	// pullInterval is how often the log of revocations is read. It is read four times within MaxStaleness if that is more
	// often.
	pullInterval  = time.Second
	sweepInterval = time.Minute
	sweepBatch    = 1000 // rows that are deleted in one step
	sweepLeast    = 50   // the same, in a slow database
	// sweepLate is how long after its time a row is deleted. By then every process has forgotten the cut-off of a user. A process
	// that knew a cut-off which the store does not know any more would refuse the tokens of new logins.
	sweepLate = 15 * time.Minute
	listLimit = 1000 // sessions of one user that are listed
)

// Config says how a Manager works.
type Config struct {
	Store        session.Store
	Rules        rotation.Rules
	Logger       *slog.Logger
	MaxStaleness time.Duration // how long the store may be out of reach before tokens are refused
	Insecure     bool          // tokens are accepted however long the store is away
	Bytes        int           // the memory for revocations
	Report       func(error)   // called when the store is lost, with the error, and with nil when it is back
}

// Manager is this process's view of the sessions. It is safe for concurrent use. Make it with Open.
type Manager struct {
	Config
	*revoked.View
	proofs *proofs
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// Open starts to follow the store's log ([revoked.Open]), and two more goroutines: one deletes expired rows, and one records
// which refresh tokens have arrived. Close ends them all.
func Open(cfg Config) (*Manager, error) {
	view, err := revoked.Open(revoked.Config{Source: source{cfg.Store}, Name: "the session store", Logger: cfg.Logger,
		Timeout: StoreTimeout, Interval: min(pullInterval, cfg.MaxStaleness/4), MaxStaleness: cfg.MaxStaleness,
		Insecure: cfg.Insecure, Bytes: cfg.Bytes, Report: cfg.Report})
	if err != nil {
		return nil, fmt.Errorf("read the log of revocations: %w", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &Manager{Config: cfg, View: view, proofs: newProofs(), stop: stop}
	m.done.Go(func() { m.cleanUp(ctx) })
	m.done.Go(func() { m.recordProofs(ctx) })
	return m, nil
}

// Close ends the goroutines and waits for them.
func (m *Manager) Close() {
	m.stop()
	m.done.Wait()
	m.View.Close()
}

// source is a session store as a [revoked.Source].
type source struct{ session.Store }

// Lookup implements [revoked.Source].
func (s source) Lookup(ctx context.Context, id, userID string) (revoked.Status, error) {
	return revoked.Lookup(ctx, s.Store, id, userID)
}

// Notify implements [session.Notifier] if the store does.
func (s source) Notify(ctx context.Context, wake func()) error {
	if notifier, ok := s.Store.(session.Notifier); ok {
		return notifier.Notify(ctx, wake)
	}
	<-ctx.Done()
	return nil
}

// Login is a login that makes a session.
type Login struct {
	UserID  string
	Secret  string // of the refresh tokens, or of the ticket
	Terms   rotation.Terms
	Client  rotation.Client
	Pending bool // the session waits for a second step
}

// Create stores the session of a login. It calls sign to make the tokens before the row is committed, so that no
// session exists without tokens. What sign reads about the user is newer than the version of the row, which the tokens
// get too. So a cut-off that comes later refuses them, and one that came before does not. sign may be called again. An
// error of sign is returned as it is, and then nothing is stored.
func (m *Manager) Create(ctx context.Context, login Login, sign func(session.Session) error) error {
	id := session.NewID(login.UserID)
	begin := m.Rules.New
	if login.Pending {
		begin = m.Rules.Pend
	}
	made := m.Learn(id, login.UserID)
	var user session.Cutoff
	create := func(at session.Moment) (session.Session, error) {
		user = at.User
		if err := m.lostCutoffs(login.UserID, at); err != nil {
			return session.Session{}, err
		}
		row := begin(id, login.UserID, session.HashOf(login.Secret), login.Terms, login.Client, at.Now)
		row.Born = at.Version()
		return row, sign(row)
	}
	err := m.restoring(ctx, func() error { return m.Store.Create(ctx, login.UserID, create) })
	if err == nil {
		made(user)
	}
	return err
}

// Exchange is how a refresh token, or a step-up, becomes new tokens.
type Exchange interface {
	// User loads the user, and reports whether the user may get tokens.
	User() (active bool, err error)
	// Sign makes the tokens for a row, with a version.
	Sign(session.Session, rotation.Outcome, session.Version) error
	// Decide applies the rules of a refresh or a step-up to a row.
	Decide(rotation.Rules, session.Session, rotation.Presented, session.Millis) (session.Session, rotation.Outcome, error)
}

// Refresh decides about a refresh token. If the client gets tokens, it loads the user and signs the tokens before the row is
// committed. Both may happen again. Their errors are returned as they are, and then nothing has changed. Every other
// error except session.ErrNotFound means that the store did not answer.
//
// The tokens have a version that was read before the user. If a cut-off comes after the user was read, it refuses them. If
// it comes between the two, the user is read again.
func (m *Manager) Refresh(ctx context.Context, id, userID string, presented rotation.Presented,
	exchange Exchange) (session.Session, rotation.Outcome, error) {
	for {
		r := &refresh{manager: m, userID: userID, presented: presented, exchange: exchange}
		if err := m.inStore(ctx, id, r.change); err != nil {
			return r.row, r.out, err
		}
		m.note(r.row)
		if r.out.Generation == 0 || r.upToDate {
			return r.row, r.out, nil
		}
		// Nothing was written. A new cut-off may have come since the read, so read again.
		var now session.Version
		err := m.inStore(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			now = at.Version()
			return row, nil
		})
		if err != nil || now == r.version {
			return r.row, r.out, err
		}
	}
}

// refresh is one refresh. Its change is a method, so that all it needs is one object for the collector.
type refresh struct {
	manager   *Manager
	userID    string
	presented rotation.Presented
	exchange  Exchange

	row     session.Session
	out     rotation.Outcome
	version session.Version // of the tokens
	signed  bool            // there are tokens for row and version
	// upToDate says that no cut-off has come since the user was read: row was written, or the store has called change again.
	upToDate bool
}

func (r *refresh) change(row session.Session, at session.Moment) (session.Session, error) {
	before, signed := r.row, r.signed
	r.row, r.signed, r.upToDate = row, false, false
	if row.UserID != r.userID || at.Ended(row) {
		r.out = rotation.Outcome{Event: rotation.EventUnknown}
		return row, nil
	}
	if err := r.manager.lostCutoffs(row.UserID, at); err != nil {
		return row, err
	}
	if !row.Revoked() && r.manager.Ended(row.ID) { // the store has lost that
		r.row, r.out = row.Revoke(session.ReasonRevoked, at.Now), rotation.Outcome{Event: rotation.EventUnknown}
		return r.row, nil
	}
	r.presented.UserActive = true
	last := r.out
	var err error
	if r.row, r.out, err = r.exchange.Decide(r.manager.Rules, row, r.presented, at.Now); err != nil || r.out.Generation == 0 {
		return r.row, err
	}
	// Nothing is to be written, and the tokens of the call before are good. That call was with a row that the store remembered,
	// and this one is with the row that the store has read. The two rows are the same. The version is the same too, so no cut-off
	// has come since the user was read.
	if signed && r.row == row && r.row == before && r.out == last && r.version == at.Version() {
		r.signed, r.upToDate = true, true
		return row, nil
	}
	if r.presented.UserActive, err = r.exchange.User(); err != nil {
		return row, err
	}
	if !r.presented.UserActive {
		r.row, r.out, err = r.exchange.Decide(r.manager.Rules, row, r.presented, at.Now)
		return r.row, err
	}
	r.version, r.upToDate = at.Version(), r.row != row // a write fails if one has come
	err = r.exchange.Sign(r.row, r.out, r.version)
	r.signed = err == nil
	return r.row, err
}

// Revoke ends a session. If allowed is not nil, it sees the row first and can refuse: an error of allowed is returned
// as it is, and then nothing has changed. If there is no such session, Revoke returns session.ErrNotFound. It waits
// only for the store, and never for signatures.
func (m *Manager) Revoke(ctx context.Context, id string, reason session.Reason,
	allowed func(session.Session) error) (session.Session, error) {
	return m.update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		if allowed != nil {
			if err := allowed(row); err != nil {
				return row, err
			}
		}
		return row.Revoke(reason, at.Now), nil
	})
}

// Forget is for a session that the store has lost. This process refuses its access tokens until the time in the
// parameter until.
func (m *Manager) Forget(id string, until session.Millis) { m.Apply(session.RevokedEntry(id, until)) }

// List returns the sessions of a user that have not ended, by the store's clock.
func (m *Manager) List(ctx context.Context, userID string) ([]session.Session, error) {
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	rows, at, err := m.Store.List(ctx, userID, listLimit)
	return slices.DeleteFunc(rows, func(row session.Session) bool {
		return row.PendingUntil != 0 || at.Ended(row) || rotation.LiveUntil(row) <= at.Now
	}), err
}

// update changes a row, and returns what change has made of it.
func (m *Manager) update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) (after session.Session, err error) {
	err = m.inStore(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		after, err = change(row, at)
		return after, err
	})
	if err == nil {
		m.note(after)
	}
	return after, err
}

func (m *Manager) inStore(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	return m.restoring(ctx, func() error { return m.Store.Update(ctx, id, change) })
}

// note looks at a row as it is in the store now. If it is revoked, this process refuses its access tokens at once.
func (m *Manager) note(row session.Session) {
	if row.Revoked() {
		m.Apply(session.RevokedEntry(row.ID, row.KeepUntil))
	}
}

// cleanUp deletes expired rows from the store until ctx ends. It has a goroutine of its own, because a store with many
// expired rows may need minutes, and nobody may wait for it.
func (m *Manager) cleanUp(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	size := sweepBatch
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			size = m.sweep(ctx, size)
		}
	}
}

// sweep deletes all expired rows, in steps of up to size rows. It returns the size for the next sweep: a slow database cannot
// delete many in time, and what it has not done in time is undone.
func (m *Manager) sweep(ctx context.Context, size int) int {
	for ctx.Err() == nil {
		var n int
		err := calmly(func() (err error) {
			bounded, cancel := context.WithTimeout(ctx, StoreTimeout)
			defer cancel()
			n, err = m.Store.DeleteExpired(bounded, m.Wall().Add(-sweepLate), size)
			return err
		})
		if err != nil && ctx.Err() == nil {
			m.Logger.Warn("signet: expired sessions cannot be deleted", "error", err)
		}
		switch {
		case err != nil:
			return max(size/2, sweepLeast)
		case n < size:
			return min(2*size, sweepBatch)
		}
	}
	return size
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
