package sessiontest

import (
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// overlap is how long a write may take to become visible in these checks. signet allows for such a time too.
const overlap = session.Millis(1000)

func (k kit) list() {
	conformance.SameElements(k, nil, k.list1("u1"), listReturns, "an empty store")
	live, other := k.create("live", "u1"), k.create("other", "u2")
	revoked, expired := k.create("revoked", "u1"), k.create("expired", "u1")
	revoked = k.update(revoked.ID, revoke(session.ReasonLogout))
	expired = k.update(expired.ID, revoke(session.ReasonExpired))
	conformance.SameElements(k, []session.Session{live, revoked, expired}, k.list1("u1"), listReturns, "u1 has three")
	conformance.SameElements(k, []session.Session{other}, k.list1("u2"), listReturns, "u2 has one")
}

func (k kit) revokedAll() {
	want := map[string]session.Millis{}
	k.create("live", "u1")
	for i, reason := range []session.Reason{session.ReasonLogout, session.ReasonRevoked,
		session.ReasonReuse, session.ReasonUser,
		session.ReasonEvicted, "a host's own"} {
		row := k.create("revoked "+string(reason), "u1",
			func(row *session.Session, _ session.Millis) { row.KeepUntil += session.Millis(i) })
		want[row.ID] = k.update(row.ID, revoke(reason)).KeepUntil
	}
	row := k.create("expired", "u1")
	k.update(row.ID, revoke(session.ReasonExpired))
	row = k.create("expired, then revoked", "u1")
	k.update(row.ID, revoke(session.ReasonExpired))
	want[row.ID] = k.update(row.ID, revoke(session.ReasonLogout)).KeepUntil
	row = k.create("revoked when it was created", "u1", revoke(session.ReasonLogout))
	want[row.ID] = row.KeepUntil
	row = k.create("changed after it was revoked", "u2")
	k.update(row.ID, revoke(session.ReasonLogout))
	want[row.ID] = k.update(row.ID, func(row *session.Session, now session.Millis) { row.SentAt = now + 1 }).KeepUntil
	row = k.create("past its KeepUntil", "u1")
	err := k.store.Update(k.ctx, row.ID, func(row session.Session, now session.Millis) (session.Session, error) {
		row.KeepUntil = now - 2*hour
		return row.Revoke(session.ReasonLogout, now), nil
	})
	conformance.NoError(k, err, updateReplaces, "Update to a KeepUntil that is over")

	found, _ := k.revokedSince(0)
	conformance.Equal(k, want, found, revokedCalls, "RevokedSince(0), with their KeepUntil")
	conformance.Equal(k, found, first(k.revokedSince(0)), revokedCalls, "RevokedSince(0), asked again")

	k.revokedMany()
}

var noneRevoked = map[string]session.Millis{}

func has(found map[string]session.Millis, id string) bool {
	_, ok := found[id]
	return ok
}

func first(found map[string]session.Millis, _ session.Millis) map[string]session.Millis { return found }

// revokedMany makes more revocations than one page holds in a store that reads pages.
func (k kit) revokedMany() {
	const writers, each = 8, 40
	_, since := k.revokedSince(0)
	errs := conformance.Parallel(writers, func(i int) error {
		for j := range each {
			err := k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) {
				return login(fmt.Sprintf("many%d", i*each+j), "u3", now).Revoke(session.ReasonLogout, now), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d Creates", writers*each)
	found, _ := k.revokedSince(since - overlap)
	for i := range writers * each {
		conformance.True(k, has(found, id("u3", fmt.Sprintf("many%d", i))), revokedCalls,
			"%d sessions at once, of which it shows %d", writers*each, len(found))
	}
}

func (k kit) revokedLater() {
	for i := range 5 {
		id := k.create(fmt.Sprintf("s%d", i), "u1").ID
		found, since := k.revokedSince(0)
		conformance.True(k, !has(found, id), revokedCalls, "%q is not revoked, and is among %v", id, found)
		row := k.update(id, revoke(session.ReasonLogout))
		found, now := k.revokedSince(since - overlap)
		conformance.True(k, has(found, id), revokedMissesNone,
			"%q was revoked after the first call, and is not among %v", id, found)
		conformance.Equal(k, row.KeepUntil, found[id], revokedCalls, "the keepUntil of %q", id)
		conformance.True(k, now >= since-1, revokedTime, "the second call's time is %d, the first one's %d", now, since)
	}
}

// What counts is when a revocation was written, not the time in its row. A change can take long, and the process that runs
// it can have a wrong clock. Its revocation must be found even so.
func (k kit) revokedSlowly() {
	row := k.create("long ago", "u1")
	_, since := k.revokedSince(0)
	row = k.update(row.ID, func(row *session.Session, now session.Millis) {
		row.RevokedAt, row.Reason = now-hour, session.ReasonReuse
	})
	found, _ := k.revokedSince(since - overlap)
	conformance.True(k, has(found, row.ID), revokedCalls, "a RevokedAt of an hour ago, written now; found: %v", found)
	k.requireRow(row, keptAsItIs, "a RevokedAt of an hour ago, written now")

	row = k.create("slow", "u1")
	err := k.store.Update(k.ctx, row.ID, func(row session.Session, now session.Millis) (session.Session, error) {
		time.Sleep(5 * time.Millisecond)
		var err error
		since, err = k.store.RevokedSince(k.ctx, 0, func(string, session.Millis) {})
		return row.Revoke(session.ReasonReuse, now), err
	})
	conformance.NoError(k, err, updateReplaces, "Update with a change that asks RevokedSince")
	found, _ = k.revokedSince(since - 1)
	conformance.True(k, has(found, row.ID), revokedCalls,
		"since is from within the change, later than the time that it was given; found: %v", found)
}

// A process that asks repeatedly while others revoke must see every revocation.
func (k kit) revokedPolling() {
	const writers, each = 8, 10
	var rows []session.Session
	for i := range writers * each {
		rows = append(rows, k.create(fmt.Sprintf("s%d", i), fmt.Sprintf("u%d", i%7)))
	}
	done := make(chan []error, 1)
	go func() {
		done <- conformance.Parallel(writers, func(i int) error {
			for j := range each {
				err := k.store.Update(k.ctx, rows[i*each+j].ID,
					func(row session.Session, now session.Millis) (session.Session, error) {
						return row.Revoke(session.ReasonRevoked, now), nil
					})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen, since := k.revokedSince(0)
	for running := true; running; {
		select {
		case errs := <-done:
			conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d revocations", writers*each)
			running = false
		default:
		}
		var found map[string]session.Millis
		found, since = k.revokedSince(since - overlap)
		maps.Copy(seen, found)
	}
	conformance.Equal(k, writers*each, len(seen), revokedMissesNone,
		"asked again and again while %d writers revoked", writers)
}
