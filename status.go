package signet

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/signet-go/signet/userstore"
)

// Stats are numbers for a monitoring system. Counters begin at 0 with the service.
type Stats struct {
	TokensVerified uint64        // access tokens that can be read, and whose signature the cache did not know
	RevocationLag  time.Duration // the time since the revocations were last read; 0 without sessions
	HashesRunning  int           // passwords that are hashed now
	HashesWaiting  int           // passwords that wait for that
	HashQueueFull  uint64        // passwords that were not hashed, because too many waited or because one had waited for 5 seconds
	EventsDropped  uint64        // events that the function of WithEvents did not get
}

// Stats returns the current numbers. Package otel gives them to OpenTelemetry.
func (a *Auth) Stats() Stats {
	hashes := a.gate.Stats()
	s := Stats{TokensVerified: a.verified.Load(), HashesRunning: hashes.Running, HashesWaiting: hashes.Waiting,
		HashQueueFull: hashes.Busy, EventsDropped: a.events.dropped.Load()}
	if a.sessions != nil {
		s.RevocationLag = a.sessions.Lag()
	}
	return s
}

// probe is an id that no user has. A store that says so is well.
const probe = "signet-readiness-probe"

// Ready reports whether the service can log users in and check tokens now: the stores answer, the revocations are known, and
// there is a key that signs. A KMS is tried only if its last signature has failed ([keys.Key.Ready]). The stores of users and
// sessions are only read, so Ready does not see that one of them can be read but not written, as with a full disk. The store of
// the throttle is written. It is for health checks. The error is [ErrUnavailable] and says what is missing.
func (a *Auth) Ready(ctx context.Context) error {
	if err := a.keyReady(ctx); err != nil {
		return err
	}
	if _, err := a.findByID(ctx, probe); err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return unavailable(fmt.Errorf("the user store: %w", err))
	}
	if err := a.policy.Throttle.Ready(ctx); err != nil {
		return unavailable(err)
	}
	if a.sessions == nil {
		return nil
	}
	if err := a.sessions.Fresh(time.Now()); err != nil {
		return revocationError(err)
	}
	if _, err := a.sessions.List(ctx, probe); err != nil {
		return unavailable(fmt.Errorf("the session store: %w", err))
	}
	return nil
}
