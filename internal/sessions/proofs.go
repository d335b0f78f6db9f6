package sessions

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/signet-go/signet/session"
)

// proofs records which refresh tokens have arrived. If a client shows an access token of a generation, it has also
// received the refresh token that came with it. From then on, the refresh token before it stays valid for only one more
// reuse window ([rotation.Rules.Confirm]). A request only queues a note. A background task tells the store, once for
// each generation that this process sees.
type proofs struct {
	// noted has a slot for each generation that was queued. Two generations may share a slot. Then the store can be
	// told twice about one of them, which is harmless.
	noted [1 << 14]atomic.Uint64
	queue chan proof
}

const proofQueue = 1024

type proof struct {
	Ref
	slot *atomic.Uint64
}

func newProofs() *proofs { return &proofs{queue: make(chan proof, proofQueue)} }

// note queues a proof, unless it was queued before. It never waits: if the queue is full, a later request of the
// session queues the proof.
func (p *proofs) note(ref Ref) {
	mark := ref.hash ^ uint64(ref.Generation)*0x9e3779b97f4a7c15 | 1
	slot := &p.noted[mark>>1%uint64(len(p.noted))]
	if slot.Load() == mark {
		return
	}
	slot.Store(mark)
	select {
	case p.queue <- proof{ref, slot}:
	default:
		slot.Store(0)
	}
}

// recordProofs runs until ctx ends.
func (m *Manager) recordProofs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case p := <-m.proofs.queue:
			_, err := m.update(ctx, p.ID, func(row session.Session, now session.Millis) (session.Session, error) {
				return m.Rules.Confirm(row, p.Generation, now), nil
			})
			if err != nil && !errors.Is(err, session.ErrNotFound) {
				p.slot.Store(0) // the next request queues it again
			}
		}
	}
}
