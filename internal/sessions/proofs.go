package sessions

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/session"
)

// proofs records which refresh tokens have arrived. If a client shows an access token of a generation, it has also
// received the refresh token that came with it. From then on, the refresh token before it stays valid for only one more
// reuse window ([rotation.Rules.Confirm]). A request only queues a note. A background task tells the store, once for
// each generation that this process sees.
type proofs struct {
	// noted has a mark for each generation that was queued. It is a cache of sets with four slots. If a set is full, a
	// mark is lost. Then the store is told twice about its generation, which is harmless.
	noted [noteSets][noteWays]atomic.Uint64 // 1 MiB; the system gives only the pages that are used
	queue chan proof
}

const (
	noteSets = 1 << 15
	noteWays = 4
)

const proofQueue = 1024

type proof struct {
	id         string
	generation int64
	slot       *atomic.Uint64
}

func newProofs() *proofs { return &proofs{queue: make(chan proof, proofQueue)} }

// Prove notes that an access token was used. It queues a proof, unless it was queued before. It never waits: if the queue is
// full, a later request of the session queues the proof.
func (m *Manager) Prove(ref *revoked.Ref) {
	if ref.Generation != 0 {
		m.proofs.note(ref)
	}
}

func (p *proofs) note(ref *revoked.Ref) {
	mark := ref.Hash() ^ uint64(ref.Generation)*0x9e3779b97f4a7c15 | 1
	set := &p.noted[mark>>1%noteSets]
	slot := &set[mark>>62]
	for i := range set {
		switch set[i].Load() {
		case mark:
			return
		case 0:
			slot = &set[i]
		}
	}
	slot.Store(mark)
	select {
	case p.queue <- proof{ref.ID, ref.Generation, slot}:
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
			err := calmly(func() error {
				_, err := m.update(ctx, p.id, func(row session.Session, at session.Moment) (session.Session, error) {
					return m.Rules.Confirm(row, p.generation, at.Now), nil
				})
				return err
			})
			if err != nil && !errors.Is(err, session.ErrNotFound) {
				p.slot.Store(0) // the next request queues it again
			}
		}
	}
}
