package otel

import (
	"context"

	"github.com/signet-go/signet/session"
)

// SessionStore returns a [session.Store] that does what store does, with a span and a measurement of
// signet.store.duration for each call. It is a [session.Notifier] and a [session.Batcher] only if store is. It is safe
// for concurrent use, and it panics if store is nil.
//
// The time of a call includes the functions that the store calls, such as the change of Update, which may sign a token
// and may run more than once. An error of such a function is no error of the store; its outcome is "unchanged". Notify
// waits for as long as the process runs, so it is not measured. Signet calls ReadLog in the background again and again,
// so its spans have no parent; a sampler decides how many of them are kept.
func SessionStore(store session.Store, options ...Option) session.Store {
	if store == nil {
		panic("otel: SessionStore: the store is nil")
	}
	c := newCalls("session", options)
	s := &sessions{
		inner:  store,
		create: c.method("Create"), update: c.method("Update"), list: c.method("List"), cut: c.method("Cut"),
		deleteExpired: c.method("DeleteExpired"), readLog: c.method("ReadLog"),
	}
	notifier, notifies := store.(session.Notifier)
	inner, batches := store.(session.Batcher)
	batch := batcher{inner, c.method("UpdateBatch")}
	switch {
	case notifies && batches:
		return struct {
			*sessions
			session.Notifier
			batcher
		}{s, notifier, batch}
	case notifies:
		return struct {
			*sessions
			session.Notifier
		}{s, notifier}
	case batches:
		return struct {
			*sessions
			batcher
		}{s, batch}
	}
	return s
}

type sessions struct {
	inner                                             session.Store
	create, update, list, cut, deleteExpired, readLog *method
}

func (s *sessions) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	c := s.create.begin(ctx)
	var own error
	err := s.inner.Create(c.ctx, userID, func(at session.Moment) (row session.Session, err error) {
		row, own = make(at)
		return row, own
	})
	c.end(err, own)
	return err
}

func (s *sessions) Update(
	ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error),
) error {
	c := s.update.begin(ctx)
	var own error
	err := s.inner.Update(c.ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		row, own = change(row, at)
		return row, own
	})
	c.end(err, own)
	return err
}

func (s *sessions) List(ctx context.Context, userID string, limit int) ([]session.Session, session.Moment, error) {
	c := s.list.begin(ctx)
	rows, at, err := s.inner.List(c.ctx, userID, limit)
	c.end(err, nil)
	return rows, at, err
}

func (s *sessions) Cut(
	ctx context.Context, userID string, change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error),
) error {
	c := s.cut.begin(ctx)
	var own error
	err := s.inner.Cut(c.ctx, userID, func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		var after session.Cutoff
		after, own = change(before, latest, now)
		return after, own
	})
	c.end(err, own)
	return err
}

func (s *sessions) DeleteExpired(ctx context.Context, before session.Millis, limit int) (int, error) {
	c := s.deleteExpired.begin(ctx)
	n, err := s.inner.DeleteExpired(c.ctx, before, limit)
	c.end(err, nil)
	return n, err
}

func (s *sessions) ReadLog(
	ctx context.Context, after session.Cursor, limit int, each func(session.Entry),
) (session.Page, error) {
	c := s.readLog.begin(ctx)
	page, err := s.inner.ReadLog(c.ctx, after, limit, each)
	c.end(err, nil)
	return page, err
}

type batcher struct {
	inner  session.Batcher
	update *method
}

func (b batcher) UpdateBatch(
	ctx context.Context, ids []string, change func(row session.Session, now session.Millis) session.Session,
) error {
	c := b.update.begin(ctx)
	err := b.inner.UpdateBatch(c.ctx, ids, change)
	c.end(err, nil)
	return err
}
