package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/session"
)

// swap writes a row in place of the text that was read, if no cut-off has changed since. With a floor it writes only if the
// user has more sessions than that. The result is negative if nothing was written (rowDiffers, cutDiffers, fewSessions).
// Otherwise it is the number of the user's sessions for a new row, and 0 for an old one.
func (s *Store) swap(ctx context.Context, k known, row, before session.Session, floor string) (int, error) {
	group, ok := session.GroupOfID(row.ID)
	if !ok {
		return 0, errID(row)
	}
	w, err := s.prepare(group, k.written, row, before)
	if err != nil {
		return 0, err
	}
	cutKeys := []string{s.groups[group].cut + row.UserID, s.allKey(group)}
	var n int64
	if w.mark != "" && w.list == listedLate && floor == noFloor { // nearly every refresh
		n, err = refreshScript.Run(ctx, s.client, append(cutKeys, w.key), k.user, k.all, w.mark, w.row, w.expires).Int64()
	} else {
		c := s.writing(group)
		c.add(w)
		n, err = swapScript.Run(ctx, s.client, append(c.keys, cutKeys...), append(c.args, k.user, k.all, floor)...).Int64()
	}
	if err == nil && n >= 0 {
		if k.row != "" {
			w.score, n = max(w.score, session.Millis(n)), 0 // for an old row the script returns its score
		}
		s.recent[group].Keep(row.ID, w.written)
	}
	return int(n), err
}

func errID(row session.Session) error {
	return fmt.Errorf("session.NewID has not made the id %q for the user %q", row.ID, row.UserID)
}

// writing returns a call that writes rows of a group, without them.
func (s *Store) writing(group int) call {
	// One clock that is wrong removes nothing from a list: the script compares this machine's with the server's.
	listKeeps := session.MillisOf(time.Now().Add(-24 * time.Hour))
	c := call{make([]string, 0, 5), make([]any, 0, 12)} // room for one row
	c.keys = append(c.keys, s.logKey(group))
	c.args = append(c.args, s.channel, int64(listKeeps))
	return c
}

// rowWrite is the write of a row.
type rowWrite struct {
	written             // what the store remembers afterwards
	key, listKey string // of the row, and of the list of its user
	mark         string // of the row that it replaces; "": there is none
	id           string
	keepUntil    session.Millis
	expires      int64
	list         int    // one of the list values
	entry        string // for the log, or ""
}

// prepare makes the write of a row. If the row becomes revoked, it leaves the list of the user and enters the log.
func (s *Store) prepare(group int, old written, row, before session.Session) (rowWrite, error) {
	if group != session.GroupOfUser(row.UserID) {
		return rowWrite{}, errID(row)
	}
	stored, err := row.MarshalJSON()
	if err != nil {
		return rowWrite{}, err
	}
	w := rowWrite{written: old, key: s.rowKey(group, row.ID), listKey: s.userKey("u:", row.UserID), id: row.ID,
		keepUntil: row.KeepUntil, expires: expiry(row.KeepUntil), list: listed}
	if mark, _, _ := strings.Cut(old.row, " "); mark != "" {
		w.mark = mark + " "
	}
	w.row = marked(stored)
	switch {
	case row.Revoked():
		w.list = notListed
		if !before.Revoked() {
			w.entry = revokedEntry(row)
		}
	case old.score >= row.KeepUntil:
		w.list = listedLate
	}
	return w, nil
}

// add adds a write to a call.
func (c *call) add(w rowWrite) {
	c.keys = append(c.keys, w.key, w.listKey)
	c.args = append(c.args, w.mark, w.row, w.id, int64(w.keepUntil), w.expires, w.list, w.entry)
}

// updatesAtOnce is how many rows UpdateBatch reads and writes in one round trip to each server.
const updatesAtOnce = 256

// UpdateBatch implements [session.Batcher]. It costs two round trips to each server for 256 sessions: one reads, and one writes.
// Sessions that this process wrote last need no read. It does not look at cut-offs, because change does not.
func (s *Store) UpdateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	ids = slices.DeleteFunc(slices.Sorted(slices.Values(ids)), func(id string) bool {
		_, ok := session.GroupOfID(id)
		return !ok
	})
	var errs []error
	for part := range slices.Chunk(slices.Compact(ids), updatesAtOnce) { // those of a group stand together
		rest, err := s.changeRemembered(ctx, part, change)
		for attempt := 0; err == nil && len(rest) > 0; attempt++ {
			if attempt > 0 { // others have changed rows meanwhile
				err = pause(ctx, attempt)
			}
			if err == nil {
				var unreadable error
				rest, unreadable, err = s.changeBatch(ctx, rest, change)
				errs = append(errs, unreadable)
			}
		}
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("redisstore: update batch: %w", err)
	}
	return nil
}

// changeRemembered changes the rows that this process remembers, and returns the ids of the others and of outdated rows.
func (s *Store) changeRemembered(ctx context.Context, ids []string,
	change func(session.Session, session.Millis) session.Session) (rest []string, err error) {
	var b batchWrite
	for _, id := range ids {
		group, _ := session.GroupOfID(id)
		w, now, ok := s.recent[group].Find(id)
		if ok {
			ok, err = b.add(s, group, w, now, change)
		}
		if !ok || err != nil { // what this process remembers may be outdated, so this row is read
			rest = append(rest, id)
		}
	}
	outdated, err := s.writeBatch(ctx, b, func(recent *session.Recent[written], row rowWrite, newest bool) {
		recent.Tried(row.id, newest)
		if newest {
			recent.Keep(row.id, row.written)
		}
	})
	rest = append(rest, outdated...)
	slices.Sort(rest)
	return rest, err
}

// changeBatch reads rows, calls change for each, and writes those that are different then. It returns the ids of those that
// somebody else has changed meanwhile. unreadable is the error for rows that cannot be read.
func (s *Store) changeBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) (again []string, unreadable, err error) {
	var groups []int
	var reads []call
	for _, id := range ids {
		group, _ := session.GroupOfID(id)
		if n := len(groups); n == 0 || groups[n-1] != group {
			groups, reads = append(groups, group), append(reads, call{})
		}
		read := &reads[len(reads)-1]
		read.keys = append(read.keys, s.rowKey(group, id))
	}
	answers, err := s.run(ctx, rowsScript, reads)
	if err != nil {
		return nil, nil, err
	}
	var b batchWrite
	for i, group := range groups {
		now, texts, err := rowsOf(answers[i])
		if err != nil {
			return nil, nil, err
		}
		for _, value := range texts {
			if text, ok := value.(string); ok {
				if _, err := b.add(s, group, written{row: text}, now, change); err != nil {
					unreadable = errors.Join(unreadable, err)
				}
			}
		}
	}
	for i, changed := range b.rows {
		for _, c := range changed { // without the cut-offs of its user the row is of no use to Update
			s.recent[b.groups[i]].Forget(c.id)
		}
	}
	again, err = s.writeBatch(ctx, b, func(*session.Recent[written], rowWrite, bool) {})
	return again, unreadable, err
}

// writeBatch writes rows, and calls done for each. It returns the ids of the rows that were not as they were read.
func (s *Store) writeBatch(ctx context.Context, b batchWrite,
	done func(recent *session.Recent[written], row rowWrite, newest bool)) (others []string, err error) {
	answers, err := s.run(ctx, batchScript, b.calls)
	if err != nil {
		return nil, err
	}
	for i, changed := range b.rows {
		written, err := answers[i].Int64Slice()
		if err != nil {
			return nil, err
		}
		for j, row := range changed {
			done(&s.recent[b.groups[i]], row, written[j] == 1)
			if written[j] != 1 {
				others = append(others, row.id)
			}
		}
	}
	return others, nil
}

// batchWrite is one call of batchScript for each group that has rows to write.
type batchWrite struct {
	groups []int
	calls  []call
	rows   [][]rowWrite
}

// add adds a row if change changes it. The rows of a group follow each other.
func (b *batchWrite) add(s *Store, group int, w written, now session.Millis,
	change func(session.Session, session.Millis) session.Session) (changed bool, err error) {
	var row session.Session
	if err := decode(w.row, &row); err != nil {
		return false, err
	}
	after := change(row, now)
	if after == row {
		return false, nil
	}
	if n := len(b.groups); n == 0 || b.groups[n-1] != group {
		b.groups, b.calls = append(b.groups, group), append(b.calls, s.writing(group))
		b.rows = append(b.rows, nil)
	}
	last := len(b.groups) - 1
	prepared, err := s.prepare(group, w, after, row)
	if err == nil {
		b.calls[last].add(prepared)
		b.rows[last] = append(b.rows[last], prepared)
	}
	return err == nil, err
}
