package sessions

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/session"
)

// proofs records which refresh tokens have arrived. If a client shows an access token of a generation, it has also
// received the refresh token that came with it. From then on, the refresh token before it stays valid for only one more
// reuse window ([rotation.Rules.Confirm]). A request only queues a note. A background task tells the store, once for
// each generation that this process sees, and many sessions at once.
type proofs struct {
	// noted has a mark for each generation that was queued: a million of them. It is a cache of sets with four slots. If a set
	// is full, a mark is lost. Then the store is told twice about its generation, which costs a read.
	noted [noteSets][noteWays]atomic.Uint64 // 8 MiB; the system gives only the pages that are used
	queue chan proof
}

const (
	noteSets = 1 << 18
	noteWays = 4

	proofQueue = 1 << 14
	proofBatch = 256
	// proofPause is how long proofs are collected for one batch. A window is some seconds long, so this delays nothing.
	proofPause = 200 * time.Millisecond
	// proofRetry is how long a store that is away is left alone, at least.
	proofRetry = time.Second
)

type proof struct {
	id         string
	generation int64
	slot       *atomic.Uint64
}

func newProofs() *proofs { return &proofs{queue: make(chan proof, proofQueue)} }

// Prove notes that an access token was used. It queues a proof, unless it was queued before. It never waits: if the
// queue is full, a later request of the session queues the proof.
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

// recordProofs runs until ctx ends. After a full batch that has changed something, the next one follows without a pause.
func (m *Manager) recordProofs(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	wait := func(d time.Duration) bool {
		timer.Reset(d)
		select {
		case <-ctx.Done():
			return false
		case <-timer.C:
			return true
		}
	}
	var batch []proof
	for {
		if len(batch) == 0 {
			select {
			case <-ctx.Done():
				return
			case first := <-m.proofs.queue:
				batch = append(batch, first)
			}
			if !wait(proofPause) {
				return
			}
		}
		batch = m.proofs.collect(batch)
		changed := 0
		if err := calmly(func() (err error) { changed, err = m.confirm(ctx, batch); return err }); err != nil {
			for _, p := range batch {
				p.slot.Store(0) // the next request queues it again
			}
			pause := proofPause
			if changed == 0 { // the store is away: nothing could even be read; otherwise one row may be bad
				pause = proofRetry + rand.N(proofRetry)
			}
			if !wait(pause) {
				return
			}
		}
		full := len(batch) == proofBatch
		if batch = batch[:0]; full && changed > 0 {
			batch = m.proofs.collect(batch)
		}
	}
}

// collect takes what is queued, up to a batch, and adds it to what is there.
func (p *proofs) collect(batch []proof) []proof {
	for len(batch) < proofBatch {
		select {
		case next := <-p.queue:
			batch = append(batch, next)
		default:
			return batch
		}
	}
	return batch
}

// confirm tells the store. It returns how often the rules have changed a session. After an error, some of these changes may not
// be stored.
func (m *Manager) confirm(ctx context.Context, batch []proof) (changed int, err error) {
	generations := make(map[string]int64, len(batch))
	for _, p := range batch {
		generations[p.id] = max(generations[p.id], p.generation)
	}
	change := func(row session.Session, now session.Millis) session.Session {
		after := m.Rules.Confirm(row, generations[row.ID], now)
		if after != row {
			changed++
		}
		return after
	}
	ids := slices.Collect(maps.Keys(generations))
	if store, ok := m.Store.(session.Batcher); ok {
		ctx, cancel := context.WithTimeout(ctx, StoreTimeout)
		defer cancel()
		err = store.UpdateBatch(ctx, ids, change)
		return changed, err
	}
	for _, id := range ids {
		_, err := m.update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			return change(row, at.Now), nil
		})
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return changed, err
		}
	}
	return changed, nil
}
