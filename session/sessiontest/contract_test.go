package sessiontest

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/signet-go/signet/internal/conformance/kittest"
	"github.com/signet-go/signet/session"
)

// The sentences that failures print must be those of package session.
func TestSentences(t *testing.T) {
	kittest.Sentences(t, "contract.go", "../store.go", "../session.go", "../cutoff.go", "../log.go", "../excess.go")
}

// The kit allows stores that expire rows by themselves, at some time after a day, and stores that are a Notifier and a
// Batcher.
func TestRunAllows(t *testing.T) {
	for _, later := range []session.Millis{day, 1000 * day} {
		Run(t, func(*testing.T) session.Store { return &expiring{later: later, wakes: make(chan struct{}, 1)} })
	}
}

// expiring is a store that removes rows that much later, and does not count them.
type expiring struct {
	session.Memory
	later session.Millis
	wakes chan struct{}
}

func (e *expiring) DeleteExpired(ctx context.Context, before session.Millis, limit int) (int, error) {
	_, err := e.Memory.DeleteExpired(ctx, before-e.later, limit)
	return 0, err
}

func (e *expiring) Cut(ctx context.Context, userID string,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	defer e.wake()
	return e.Memory.Cut(ctx, userID, change)
}

func (e *expiring) Create(ctx context.Context, userID string, make func(at session.Moment) (session.Session, error)) error {
	defer e.wake()
	return e.Memory.Create(ctx, userID, make)
}

func (e *expiring) UpdateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		err := e.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			return change(row, at.Now), nil
		})
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return err
		}
	}
	e.wake()
	return nil
}

func (e *expiring) wake() {
	select {
	case e.wakes <- struct{}{}:
	default:
	}
}

func (e *expiring) Notify(ctx context.Context, wake func()) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.wakes:
			wake()
		}
	}
}
