package sessiontest

import (
	"context"
	"errors"
	"fmt"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// batch calls UpdateBatch and returns how often it called change for each id. It skips the check for a store that is not a
// [session.Batcher].
func (k kit) batch(ids []string, change change) map[string]int {
	k.Helper()
	batcher, ok := k.store.(session.Batcher)
	if !ok {
		k.Skip("the store is no session.Batcher")
	}
	calls := map[string]int{}
	err := batcher.UpdateBatch(k.ctx, ids, func(row session.Session, now session.Millis) session.Session {
		calls[row.ID]++
		change(&row, now)
		return row
	})
	conformance.NoError(k, err, batchIs, "UpdateBatch of %d ids", len(ids))
	return calls
}

// nearly is how much the store's time may differ from what another call reads, in milliseconds. A store that remembers a row
// adds the time since it read its clock.
const nearly = 200

func (k kit) batchAll() {
	change := func(row *session.Session, _ session.Millis) { row.Next++ }
	calls := k.batch(nil, change)
	conformance.Equal(k, 0, len(calls), batchCalls, "the calls of change for an empty list")
	var ids []string
	var want []session.Session
	for i, userID := range userIDs {
		row := k.create(fmt.Sprintf("s%d", i), userID)
		want, ids = append(want, row), append(ids, row.ID, id(userID, fmt.Sprintf("none%d", i)))
	}
	bystander := k.create("bystander", "u1")
	ids = append(ids, "", "\x00", "\xff", "'; --", ids[0], ids[0]) // an id may be there more than once
	before := k.moment("u1").Now
	calls = k.batch(ids, func(row *session.Session, now session.Millis) {
		row.Next++
		row.ConfirmedAt = now
	})
	after := k.moment("u1").Now
	conformance.Equal(k, len(want), len(calls), batchCalls, "for how many of %d ids change was called", len(ids))
	for _, row := range want {
		got, err := k.get(row.ID)
		conformance.NoError(k, err, batchIs, "Update of id %q", row.ID)
		conformance.True(k, before-nearly <= got.ConfirmedAt && got.ConfirmedAt <= after+nearly, batchCalls,
			"the time is %d, and it was %d before and %d after the call", got.ConfirmedAt, before, after)
		row.Next, row.ConfirmedAt = row.Next+1, got.ConfirmedAt
		k.requireRow(row, batchIs, "after a change of Next and ConfirmedAt")
	}
	k.requireRow(bystander, batchIs, "its id was not in the list")
	for i, userID := range userIDs {
		k.requireNoRow(id(userID, fmt.Sprintf("none%d", i)), userID, batchLeaves, "UpdateBatch does not make a session")
	}
}

// Revocations through UpdateBatch are in the log. Rows that change returns unchanged are not.
func (k kit) batchUnchanged() {
	rows := []session.Session{k.create("s0", "u1"), k.create("s1", "u2"), k.create("s2", "u1"), k.create("s3", "u3")}
	revoked := map[string]session.Millis{}
	rows[0] = k.update(rows[0].ID, revoke(session.ReasonLogout))
	revoked[rows[0].ID] = rows[0].KeepUntil
	k.readAll(10)
	from := k.endOfLog()
	k.batch(ids(rows), func(row *session.Session, now session.Millis) {
		if row.ID == rows[1].ID || row.ID == rows[2].ID {
			*row = (*row).Revoke(session.ReasonLogout, now)
		}
	})
	seen := newView()
	k.readFrom(from, 10, &seen)
	for _, row := range rows[1:3] {
		revoked[row.ID] = row.KeepUntil
		conformance.Equal(k, row.KeepUntil, seen.revoked[row.ID], logMissesNone, "%q was revoked by UpdateBatch", row.ID)
		got, err := k.get(row.ID)
		conformance.NoError(k, err, batchIs, "Update of id %q", row.ID)
		requireEqual(k, row.Revoke(session.ReasonLogout, got.RevokedAt), got, batchIs, "UpdateBatch has revoked it")
	}
	k.requireRow(rows[0], updateUnchanged, "change has returned it unchanged")
	k.requireRow(rows[3], updateUnchanged, "change has returned it unchanged")
	k.requireLog(revoked, map[string]session.Entry{}, session.Cutoff{}, "after UpdateBatch")

	batcher := k.store.(session.Batcher)
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	err := batcher.UpdateBatch(ctx, ids(rows), func(row session.Session, now session.Millis) session.Session {
		row.Next++
		return row
	})
	conformance.Error(k, err, honoursContext, "UpdateBatch with a context that was canceled")
	k.requireRow(rows[3], honoursContext, "after an UpdateBatch with a context that was canceled")
}

// Somebody else changes a row while change runs. Neither change is lost.
func (k kit) batchMeanwhile() {
	rows := []session.Session{k.create("s0", "u1"), k.create("s1", "u1"), k.create("s2", "u2")}
	first := true
	calls := k.batch(ids(rows), func(row *session.Session, _ session.Millis) {
		if first {
			first = false
			rows[0] = k.update(rows[0].ID, func(row *session.Session, _ session.Millis) { row.UserAgent = "somebody else" })
			rows[2] = k.update(rows[2].ID, revoke(session.ReasonLogout))
		}
		row.Next |= 1 << 40
	})
	changed := rows[1]
	changed.Next |= 1 << 40
	k.requireRow(changed, batchIs, "other rows were changed while change ran")
	for _, i := range []int{0, 2} {
		after := rows[i]
		after.Next |= 1 << 40
		k.requireRow(after, batchIs, "it was changed while change ran")
	}
	conformance.Equal(k, len(rows), len(calls), batchCalls, "for how many of %d ids change was called", len(rows))

	// Many batches and updates change a row at the same time. Each batch sets a bit. None of them is lost.
	const writers, times = 8, 10
	batcher := k.store.(session.Batcher)
	errs := conformance.Parallel(writers, func(i int) error {
		for n := range times {
			var err error
			if i%2 == 0 {
				err = batcher.UpdateBatch(k.ctx, ids(rows[:2]), func(row session.Session, _ session.Millis) session.Session {
					row.Parent |= 1 << (i/2*times + n)
					return row
				})
			} else {
				err = k.store.Update(k.ctx, rows[i%4/2].ID, func(row session.Session, _ session.Moment) (session.Session, error) {
					row.Current++
					return row, nil
				})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d goroutines call Update and UpdateBatch", writers)
	for _, row := range rows[:2] {
		got, err := k.get(row.ID)
		conformance.NoError(k, err, batchIs, "Update of id %q", row.ID)
		conformance.Equal(k, row.Current+writers/4*times, got.Current, updateAtomic, "Updates at the same time as UpdateBatch")
		conformance.Equal(k, row.Parent|(1<<(writers/2*times)-1), got.Parent, batchIs, "UpdateBatches at the same time")
	}
}

func (k kit) batchMany() {
	const users, each = 20, 50
	var all []session.Session
	errs := conformance.Parallel(users, func(i int) error {
		userID := fmt.Sprintf("user%d", i)
		for j := range each {
			err := k.store.Create(k.ctx, userID, func(at session.Moment) (session.Session, error) {
				return login(fmt.Sprintf("s%d.%d", i, j), userID, at), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), createStores, "%d Creates", users*each)
	for i := range users {
		rows, _ := k.listAll(fmt.Sprintf("user%d", i))
		all = append(all, rows...)
	}
	calls := k.batch(ids(all), func(row *session.Session, _ session.Millis) { row.Next += 5 })
	conformance.Equal(k, users*each, len(calls), batchCalls, "for how many of %d sessions change was called", users*each)
	for i := range all {
		all[i].Next += 5
	}
	var got []session.Session
	for i := range users {
		rows, _ := k.listAll(fmt.Sprintf("user%d", i))
		got = append(got, rows...)
	}
	conformance.SameElements(k, all, got, batchIs, "%d sessions after UpdateBatch", users*each)
}
