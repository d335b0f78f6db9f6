package signet

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/signet-go/signet/session"
)

// proofs records that clients have received their refresh tokens: whoever shows an access token of a generation has got
// the refresh token that came with it. That starts the end of the token before it (session.Rules.Confirm). A request only
// leaves a note; a background task tells the store, once for each generation that this process sees.
type proofs struct {
	noted [1 << 14]atomic.Uint64 // a generation that falls on another's place is told again, which changes nothing
	queue chan proof
}

type proof struct {
	sessionID  string
	generation int64
	place      *atomic.Uint64
	noted      *atomic.Bool
}

// forget lets a later request tell again.
func (p proof) forget() {
	p.place.Store(0)
	p.noted.Store(false)
}

func newProofs() *proofs { return &proofs{queue: make(chan proof, proofQueue)} }

// note never waits: when the queue is full, a later request of the session tells.
func (p *proofs) note(c *Claims) {
	if c.noted.Load() {
		return
	}
	c.noted.Store(true)
	mark := c.sessionHash ^ uint64(c.generation)*0x9e3779b97f4a7c15 | 1
	place := &p.noted[mark>>1%uint64(len(p.noted))]
	if place.Load() == mark {
		return
	}
	place.Store(mark)
	told := proof{c.SessionID, c.generation, place, c.noted}
	select {
	case p.queue <- told:
	default:
		told.forget()
	}
}

// recordProofs runs until ctx ends.
func (s *sessions) recordProofs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-s.proofs.queue:
			_, err := s.update(ctx, p.sessionID, func(row session.Session, now session.Millis) (session.Session, error) {
				return s.rules.Confirm(row, p.generation, now), nil
			})
			if err != nil && !errors.Is(err, session.ErrNotFound) {
				p.forget()
			}
		}
	}
}
