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
	var own error
	return s.create.run(ctx, &own, func(ctx context.Context) error {
		return s.inner.Create(ctx, userID, func(at session.Moment) (row session.Session, err error) {
			row, own = make(at)
			return row, own
		})
	})
}

func (s *sessions) Update(
	ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error),
) error {
	var own error
	return s.update.run(ctx, &own, func(ctx context.Context) error {
		return s.inner.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			row, own = change(row, at)
			return row, own
		})
	})
}

func (s *sessions) List(ctx context.Context, userID string, limit int) (rows []session.Session, at session.Moment, err error) {
	err = s.list.run(ctx, nil, func(ctx context.Context) (err error) {
		rows, at, err = s.inner.List(ctx, userID, limit)
		return err
	})
	return rows, at, err
}

func (s *sessions) Cut(
	ctx context.Context, userID string, change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error),
) error {
	var own error
	return s.cut.run(ctx, &own, func(ctx context.Context) error {
		return s.inner.Cut(ctx, userID, func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
			var after session.Cutoff
			after, own = change(before, latest, now)
			return after, own
		})
	})
}

func (s *sessions) DeleteExpired(ctx context.Context, before session.Millis, limit int) (n int, err error) {
	err = s.deleteExpired.run(ctx, nil, func(ctx context.Context) (err error) {
		n, err = s.inner.DeleteExpired(ctx, before, limit)
		return err
	})
	return n, err
}

func (s *sessions) ReadLog(
	ctx context.Context, after session.Cursor, limit int, each func(session.Entry),
) (page session.Page, err error) {
	err = s.readLog.run(ctx, nil, func(ctx context.Context) (err error) {
		page, err = s.inner.ReadLog(ctx, after, limit, each)
		return err
	})
	return page, err
}

type batcher struct {
	inner  session.Batcher
	update *method
}

func (b batcher) UpdateBatch(
	ctx context.Context, ids []string, change func(row session.Session, now session.Millis) session.Session,
) error {
	return b.update.run(ctx, nil, func(ctx context.Context) error {
		return b.inner.UpdateBatch(ctx, ids, change)
	})
}
