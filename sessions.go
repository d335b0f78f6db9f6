package signet

import (
	"context"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/signet-go/signet/session"
)

// sessions is the part of an Auth that knows sessions; it is nil under WithoutSessions.
type sessions struct {
	store   session.Store
	rules   session.Rules
	logger  *slog.Logger
	revoked *revocationSet
	fresh   *freshness
	lenient bool // pass while the set is stale
	proofs  *proofs
	locks   *keyedLock

	stop context.CancelFunc
	done sync.WaitGroup
}

const (
	pullOverlap    = time.Minute // how long a revocation may take from its timestamp to its being seen
	sweepInterval  = time.Minute
	reloadInterval = 10 * time.Minute // all revocations are read again
	sweepBatch     = 1000
	proofQueue     = 1024
)

// newSessions loads the revoked sessions and starts the two background tasks: one pulls revocations and removes expired
// rows, one records proofs of delivery. Both end in close.
func newSessions(cfg *config) (*sessions, error) {
	s := &sessions{store: cfg.sessionStore, rules: cfg.rules, logger: cfg.verifier.logger, revoked: newRevocationSet(),
		lenient: cfg.lenient, proofs: newProofs(), locks: newKeyedLock()}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.fresh = newFreshness(cfg.maxStaleness)
	since, err := s.pull(ctx, 0)
	if err != nil {
		s.close()
		return nil, fmt.Errorf("signet.WithSessionStore: read the revoked sessions: %w", err)
	}
	s.done.Go(func() { s.follow(ctx, since, cfg.pullInterval) })
	s.done.Go(func() { s.recordProofs(ctx) })
	return s, nil
}

func (s *sessions) close() {
	s.stop()
	s.done.Wait()
	s.fresh.stop()
}

// follow keeps the local set of revoked sessions in step with the store, and the store free of expired rows.
func (s *sessions) follow(ctx context.Context, since session.Millis, interval time.Duration) {
	pull, sweep, reload := time.NewTicker(interval), time.NewTicker(sweepInterval), time.NewTicker(reloadInterval)
	defer pull.Stop()
	defer sweep.Stop()
	defer reload.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-pull.C:
			next, err := s.pull(ctx, since)
			if err == nil {
				since = next
			} else if !failing && ctx.Err() == nil {
				s.logger.Error("signet: revoked sessions cannot be read from the store", "error", err)
			}
			failing = err != nil
		case <-sweep.C:
			s.sweep(ctx, since)
		case <-reload.C:
			since = 0 // for a commit that became visible later than anybody would think
		}
	}
}

// pull adds what was revoked since the last pull, and returns where the next one starts.
func (s *sessions) pull(ctx context.Context, since session.Millis) (session.Millis, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	from := max(0, since-session.Millis(pullOverlap.Milliseconds()))
	now, err := s.store.RevokedSince(ctx, from, s.revoked.add)
	if err != nil {
		return since, err
	}
	s.fresh.renew(began)
	return now, nil
}

// sweep forgets what is over: by the store's clock, whatever the clock of this process is.
func (s *sessions) sweep(ctx context.Context, now session.Millis) {
	s.revoked.prune(now)
	for ctx.Err() == nil {
		bounded, cancel := context.WithTimeout(ctx, storeTimeout)
		n, err := s.store.DeleteExpired(bounded, sweepBatch)
		cancel()
		if err != nil && ctx.Err() == nil {
			s.logger.Warn("signet: expired sessions cannot be deleted", "error", err)
		}
		if err != nil || n < sweepBatch {
			return
		}
	}
}

// check is what RequireAuth asks of a token that names a session. It does no I/O and takes no lock.
func (s *sessions) check(c *Claims) error {
	switch {
	case s.revoked.has(c.sessionHash):
		return errRevoked
	case (s.fresh.stale.Load() || s.revoked.full.Load()) && !s.lenient:
		return errStale
	}
	if c.generation != 0 {
		s.proofs.note(c)
	}
	return nil
}

// update changes a row, one change of a session at a time within this process: a page that refreshes many times at once
// would otherwise make the store compare and swap in vain.
func (s *sessions) update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) (after session.Session, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	unlock, err := s.locks.lock(ctx, id)
	if err != nil {
		return after, err
	}
	defer unlock()
	err = s.store.Update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		after, err = change(row, now)
		return after, err
	})
	if err == nil && after.Revoked() {
		s.revoked.add(after.ID, after.KeepUntil)
	}
	return after, err
}

func (s *sessions) list(ctx context.Context, userID string) ([]session.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return s.store.ListByUser(ctx, userID)
}

// keyedLock is one lock an id, more or less: ids that share one of its places wait for each other. It gives up when ctx
// ends, which a mutex cannot.
type keyedLock struct {
	seed   maphash.Seed
	places [256]chan struct{}
}

func newKeyedLock() *keyedLock {
	l := &keyedLock{seed: maphash.MakeSeed()}
	for i := range l.places {
		l.places[i] = make(chan struct{}, 1)
	}
	return l
}

func (l *keyedLock) lock(ctx context.Context, id string) (unlock func(), err error) {
	place := l.places[maphash.String(l.seed, id)%uint64(len(l.places))]
	select {
	case place <- struct{}{}:
		return func() { <-place }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
