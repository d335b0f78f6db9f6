package sqlstore

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/signet-go/signet/session"
)

// Update implements [session.Store] by compare and swap.
func (s *Sessions) Update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	s.count()
	var before, after session.Session
	var at session.Moment
	var changed, tried known
	for attempt := 0; ; attempt++ {
		k, remembered, err := s.find(ctx, id, attempt)
		if err != nil {
			return err
		}
		if attempt > 0 && k.wrote(tried) { // the answer was lost, and the driver has sent the write again
			s.recent.Keep(id, tried)
			s.evictAfterLogin(ctx, before, after, at)
			return nil
		}
		if attempt == 0 || !k.same(changed) {
			if before, at, err = k.decode(); err != nil {
				return fmt.Errorf("sqlstore: update: %w", err)
			}
			after, err = change(before, at)
			switch nothingToWrite := err != nil || after == before; {
			case nothingToWrite && remembered: // the row may be outdated: only a write that was done counts
				continue
			case nothingToWrite:
				return err
			}
			changed = k
		}
		var done bool
		tried, done, err = s.swap(ctx, id, k, before, after)
		if remembered {
			s.recent.Tried(id, done)
		}
		if err != nil {
			s.recent.Forget(id)
			return fmt.Errorf("sqlstore: update: %w", err)
		}
		if done {
			s.evictAfterLogin(ctx, before, after, at)
			return nil
		}
		if remembered {
			continue
		}
		if err := pause(ctx, attempt); err != nil { // another process was first
			return fmt.Errorf("sqlstore: update: %w", err)
		}
	}
}

// evictAfterLogin evicts other sessions if a login has become a session.
func (s *Sessions) evictAfterLogin(ctx context.Context, before, after session.Session, at session.Moment) {
	if before.PendingUntil != 0 && after.PendingUntil == 0 {
		s.evict(ctx, after, at)
	}
}

// known is a row and its Moment, as this process has read or written them last.
type known struct {
	data      []byte // the session
	version   int64
	keptUntil int64 // the row's keep_until
	moment
}

// same reports whether the row and the cut-offs are as they were.
func (k known) same(other known) bool {
	return k.version == other.version && k.user == other.user && k.all == other.all
}

// wrote reports whether the row in the database is what this process has tried to write.
func (k known) wrote(tried known) bool {
	return k.version == tried.version && bytes.Equal(k.data, tried.data)
}

func (k known) decode() (row session.Session, at session.Moment, err error) {
	if at, err = k.read(); err == nil {
		err = row.UnmarshalJSON(k.data)
	}
	return row, at, err
}

// find returns a row that this process remembers, or reads it.
func (s *Sessions) find(ctx context.Context, id string, attempt int) (k known, remembered bool, err error) {
	if attempt == 0 {
		if have, now, ok := s.recent.Find(id); ok {
			have.now = int64(now)
			return have, true, nil
		}
	}
	asked := time.Now()
	err = queryRow(ctx, s.db, s.queries.updateRead, s.text(id)).Scan(k.columns(&k.version, &k.keptUntil, &k.data)...)
	if errors.Is(err, sql.ErrNoRows) {
		return k, false, session.ErrNotFound
	}
	if err != nil {
		return k, false, fmt.Errorf("sqlstore: read: %w", err)
	}
	s.recent.Clock(session.Millis(k.now), asked)
	return k, false, nil
}

// versionStep returns how much larger the next version of a row is. It is random. So if the database has lost a write, as after a
// failover, and another process writes in its place, the row does not get the version that this process remembers.
func versionStep() int64 { return 1 + rand.Int64N(1<<30) }

// swap writes a row if it and its cut-offs are still as they are known. next is the row that it has written, or tried to write.
func (s *Sessions) swap(ctx context.Context, id string, k known, before, after session.Session) (next known, done bool, err error) {
	data, err := after.MarshalJSON()
	if err != nil {
		return next, false, err
	}
	next = known{bytes.Clone(data), k.version + versionStep(), k.keptUntil, k.moment}
	query, args := s.queries.updateData, []any{next.version, string(data)}
	var from, to int64
	from, to, next.keptUntil = keep(after, k.keptUntil)
	if next.keptUntil != k.keptUntil || before.Revoked() || after.Revoked() {
		query, args = s.queries.update, []any{next.version, from, to, to, flag(after.Revoked()), string(data)}
	}
	if done, err = s.change(ctx, query, append(args, id, k.version, before.UserID, k.user, k.all)...); done {
		s.recent.Keep(id, next)
	}
	return next, done, err
}
