package redisstore

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/signet-go/signet/session"
)

// swap writes a row in place of the text that was read, if no cut-off has changed since and the user has more sessions than
// floor. It returns what swapScript returns.
func (s *Store) swap(ctx context.Context, k known, row, before session.Session, floor string) (int, error) {
	group, ok := session.GroupOfID(row.ID)
	if !ok {
		return 0, errID(row)
	}
	c := s.writing(group, 1)
	if err := s.write(&c, group, k.row, row, before); err != nil {
		return 0, err
	}
	c.keys = append(c.keys, s.groupKey(group)+"c:"+row.UserID, s.allKey(group))
	c.args = append(c.args, k.user, k.all, floor)
	return swapScript.Run(ctx, s.client, c.keys, c.args...).Int()
}

func errID(row session.Session) error {
	return fmt.Errorf("session.NewID has not made the id %q for the user %q", row.ID, row.UserID)
}

// writing returns a call that writes up to n rows of a group, without them.
func (s *Store) writing(group, n int) call {
	// One clock that is wrong removes nothing from a list: the script compares this machine's with the server's.
	listKeeps := session.MillisOf(time.Now().Add(-24 * time.Hour))
	c := call{make([]string, 0, 3+2*n), make([]any, 0, 5+7*n)}
	c.keys = append(c.keys, s.logKey(group))
	c.args = append(c.args, s.channel, int64(listKeeps))
	return c
}

// write adds a row to a call. If the row becomes revoked, it leaves the list of the user and enters the log.
func (s *Store) write(c *call, group int, old string, row, before session.Session) error {
	if group != session.GroupOfUser(row.UserID) {
		return errID(row)
	}
	text, err := row.MarshalJSON()
	if err != nil {
		return err
	}
	entry, listed := "", 1
	if row.Revoked() {
		listed = 0
		if !before.Revoked() {
			entry = revokedEntry(row)
		}
	}
	c.keys = append(c.keys, s.groupKey(group)+"s:"+row.ID, s.groupKey(group)+"u:"+row.UserID)
	c.args = append(c.args, old, marked(text), row.ID, int64(row.KeepUntil), expiry(row.KeepUntil), listed, entry)
	return nil
}

// updatesAtOnce is how many rows UpdateBatch reads and writes in one round trip to each server.
const updatesAtOnce = 256

// UpdateBatch implements [session.Batcher]. It costs two round trips to each server for 256 sessions. It does not look at
// cut-offs, because change does not.
func (s *Store) UpdateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	ids = slices.Compact(slices.Sorted(slices.Values(ids))) // those of a group stand together
	for part := range slices.Chunk(ids, updatesAtOnce) {
		if err := s.updateBatch(ctx, part, change); err != nil {
			return fmt.Errorf("redisstore: update batch: %w", err)
		}
	}
	return nil
}

func (s *Store) updateBatch(ctx context.Context, ids []string,
	change func(row session.Session, now session.Millis) session.Session) error {
	var groups []int
	var reads, writes []call
	for _, id := range ids {
		group, ok := session.GroupOfID(id)
		if !ok {
			continue
		}
		if n := len(groups); n == 0 || groups[n-1] != group {
			groups, reads = append(groups, group), append(reads, call{})
		}
		read := &reads[len(reads)-1]
		read.keys = append(read.keys, s.groupKey(group)+"s:"+id)
	}
	answers, err := s.run(ctx, rowsScript, reads)
	if err != nil {
		return err
	}
	for i, group := range groups {
		now, texts, err := rowsOf(answers[i])
		if err != nil {
			return err
		}
		write := s.writing(group, len(texts))
		for _, value := range texts {
			text, ok := value.(string)
			if !ok {
				continue
			}
			var row session.Session
			if err := decode(text, &row); err != nil {
				return err
			}
			after := change(row, now)
			if after == row {
				continue
			}
			if err := s.write(&write, group, text, after, row); err != nil {
				return err
			}
		}
		if len(write.keys) > 1 {
			writes = append(writes, write)
		}
	}
	_, err = s.run(ctx, batchScript, writes)
	return err
}
