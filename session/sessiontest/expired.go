package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// expiredGo makes rows that are past their KeepUntil in two ways: it creates some so, and changes others later. A store that
// expires rows by itself may keep them.
func (k kit) expiredGo() {
	const limit, users = 3, 4
	k.deleteNothing(3 * day)
	var gone []string
	for i := range 5 {
		row := k.create(fmt.Sprintf("created%d", i), "u1",
			keep(-2*day))
		gone = append(gone, row.ID)
	}
	for i := range 8 {
		row := k.create(fmt.Sprintf("changed%d", i), "u1")
		k.update(row.ID, func(row *session.Session, now session.Millis) {
			row.KeepUntil = now - 2*day
			if i%2 == 0 {
				*row = (*row).Revoke(session.ReasonLogout, now)
			}
		})
		gone = append(gone, row.ID)
	}
	for i := range users {
		k.cut(fmt.Sprintf("cut%d", i), func(before session.Cutoff, _, now session.Millis) session.Cutoff {
			return before.End("", now-2*day, now)
		})
	}
	live := k.create("live", "u1")
	liveCut := k.cut("u1", outdate)
	all := k.cut("", func(before session.Cutoff, _, _ session.Millis) session.Cutoff { return before.Change(1, 0) })
	left := func() int {
		n := len(k.found(gone))
		for i := range users {
			if k.moment(fmt.Sprintf("cut%d", i)).User != (session.Cutoff{}) {
				n++
			}
		}
		return n
	}

	now := k.moment("u1").Now
	n, err := k.store.DeleteExpired(k.ctx, now, 0)
	conformance.NoError(k, err, deleteRemoves, "DeleteExpired(0)")
	conformance.Equal(k, 0, n, deleteRemoves, "DeleteExpired(0)")
	removed := 0
	for before := left(); before > 0; {
		n, err := k.store.DeleteExpired(k.ctx, now, limit)
		conformance.NoError(k, err, deleteRemoves, "DeleteExpired(%d)", limit)
		conformance.True(k, 0 <= n && n <= limit, deleteRemoves, "DeleteExpired(%d) returned %d", limit, n)
		after := left()
		if n > 0 {
			conformance.Equal(k, n, before-after, deleteRemoves, "DeleteExpired(%d): it said %d", limit, n)
		} else {
			conformance.Equal(k, 0, removed, deleteRemoves, "DeleteExpired stopped after %d rows, and %d are left", removed, after)
			k.Logf("the store expires rows by itself")
			break
		}
		removed, before = removed+n, after
	}
	conformance.True(k, removed <= len(gone)+users, deleteRemoves,
		"DeleteExpired returned %d in all, of %d rows and %d cut-offs", removed, len(gone), users)
	rows, _ := k.listAll("u1")
	if removed > 0 {
		conformance.Equal(k, []string{live.ID}, ids(rows), deleteRemoves, "List shows rows that were removed")
		seen := k.readAll(10)
		conformance.Equal(k, 0, len(seen.revoked), logCalls, "the log has sessions that were removed")
		conformance.Equal(k, 1, len(seen.users), logCalls, "the log has cut-offs that were removed")
	}
	k.requireRow(live, keepsRows, "while others were removed")
	k.requireCuts("u1", liveCut, all, "while others were removed")
	if len(k.found(gone)) == 0 {
		k.requireRow(k.create("created0", "u1"), createStores, "an id whose row was removed is new")
	}
}

// deleteNothing calls DeleteExpired in an empty store, with a time in the past, and returns the store's time. A store may
// remove rows by itself, as if that call came again.
func (k kit) deleteNothing(past session.Millis) session.Millis {
	k.Helper()
	now := k.moment("u1").Now
	n, err := k.store.DeleteExpired(k.ctx, now-past, 100)
	conformance.NoError(k, err, deleteRemoves, "DeleteExpired in an empty store")
	conformance.Equal(k, 0, n, deleteRemoves, "DeleteExpired in an empty store")
	return now
}

// One clock that is wrong removes nothing, whether it is that of the store or that of the caller.
func (k kit) expiredOneClock() {
	revoked, users := map[string]session.Millis{}, map[string]session.Entry{}
	var rows []session.Session
	add := func(name string, offset session.Millis) {
		rows = append(rows, k.create(name, "u1", keep(offset)))
		row := k.create("revoked "+name, "u1", revoke(session.ReasonLogout),
			keep(offset))
		rows, revoked[row.ID] = append(rows, row), row.KeepUntil
		cut := k.cut(name, func(before session.Cutoff, _, now session.Millis) session.Cutoff {
			return before.End("", now+offset, now)
		})
		users[name] = session.CutEntry(name, cut)
	}
	now := k.deleteNothing(3 * hour)
	add("not past the store's clock", hour)
	add("long not past the store's clock", 20*day)
	add("not past the other time", -2*hour)
	all := k.cut("", func(before session.Cutoff, _, _ session.Millis) session.Cutoff { return before.End("", 1, 0) })
	check := func(before session.Millis, what string) {
		k.Helper()
		for range 3 {
			n, err := k.store.DeleteExpired(k.ctx, before, 100)
			conformance.NoError(k, err, deleteKeeps, "DeleteExpired, %s", what)
			conformance.Equal(k, 0, n, deleteKeeps, "DeleteExpired, %s", what)
		}
		for _, row := range rows {
			k.requireRow(row, deleteKeeps, "after DeleteExpired, "+what)
		}
		k.requireLog(revoked, users, all, "after DeleteExpired, "+what)
	}
	check(now-3*hour, "the caller's clock is behind")
	rows, revoked, users = rows[:4], map[string]session.Millis{}, map[string]session.Entry{}
	for _, row := range rows {
		if row.Revoked() {
			revoked[row.ID] = row.KeepUntil
		}
	}
	n, err := k.store.DeleteExpired(k.ctx, now+100*day, 100) // the caller's clock is ahead
	conformance.NoError(k, err, deleteRemoves, "DeleteExpired")
	conformance.True(k, n == 0 || n == 3, deleteRemoves, "DeleteExpired removed %d, of two rows and a cut-off", n)
	for _, row := range rows {
		k.requireRow(row, deleteKeeps, "after DeleteExpired, the caller's clock is ahead")
	}
	for _, name := range []string{"not past the store's clock", "long not past the store's clock"} {
		conformance.True(k, k.moment(name).User.Ended > 0, deleteKeeps, "a cut-off after DeleteExpired, the caller's clock is ahead")
	}
	conformance.Equal(k, all, k.moment("u1").All, deleteRemoves, "the cut-off of everybody stays")
	seen := k.readAll(7)
	for key, keepUntil := range revoked {
		conformance.Equal(k, keepUntil, seen.revoked[key], deleteKeeps, "the log after DeleteExpired, the caller's clock is ahead")
	}
}

// found returns those of the rows that are still there.
func (k kit) found(want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(id string) bool {
		_, err := k.get(id)
		if !errors.Is(err, session.ErrNotFound) {
			conformance.NoError(k, err, updateNotFound, "Update of id %q", id)
		}
		return err != nil
	})
}

// expiredStay requires that a store keeps rows until their newest KeepUntil, even if the session ended long before.
func (k kit) expiredStay() {
	const short = 30
	soon := k.create("soon", "u1", keep(short))
	var extended session.Session
	err := k.store.Update(k.ctx, soon.ID, func(row session.Session, at session.Moment) (session.Session, error) {
		row.KeepUntil = at.Now + hour
		extended = row
		return row, nil
	})
	late := errors.Is(err, session.ErrNotFound) // this happens on a busy machine
	if !late {
		conformance.NoError(k, err, updateReplaces, "Update to a later KeepUntil")
	}
	kept := []session.Session{
		k.create("a minute", "u1", keep(hour/60)),
		k.create("over", "u1", func(row *session.Session, now session.Millis) {
			row.EndsAt, row.LastUsedAt = now-hour, now-10*hour
			*row = (*row).Revoke(session.ReasonExpired, now)
		}),
		k.create("revoked", "u1", revoke(session.ReasonLogout)),
		k.create("far", "u1", keep(1000*day)),
	}
	for over := soon.KeepUntil.Time().Add(5 * time.Millisecond); time.Now().Before(over); time.Sleep(time.Millisecond) {
		_, err := k.store.DeleteExpired(k.ctx, session.MillisOf(time.Now()), 100)
		conformance.NoError(k, err, deleteRemoves, "DeleteExpired(100)")
	}
	_, err = k.store.DeleteExpired(k.ctx, session.MillisOf(time.Now()), 100)
	conformance.NoError(k, err, deleteRemoves, "DeleteExpired(100)")
	for _, row := range kept {
		k.requireRow(row, keepsRows, "after DeleteExpired")
	}
	if !late {
		k.requireRow(extended, keepsRows, "its KeepUntil was moved from soon to an hour from now")
	}
}

func (k kit) canceled() {
	before := k.create("s1", "u1")
	k.create("old", "u2", keep(-2*hour))
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	update := func(ctx context.Context, id string) error {
		return k.store.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
			return row.Revoke(session.ReasonLogout, at.Now), nil
		})
	}
	cut := func(ctx context.Context, userID string) error {
		return k.store.Cut(ctx, userID, func(before session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
			return before.Change(farAway, 0), nil
		})
	}
	for _, call := range []struct {
		method string
		run    func() error
	}{
		{"Create", func() error {
			return k.store.Create(ctx, "u1", func(at session.Moment) (session.Session, error) {
				return login("s2", "u1", at), nil
			})
		}},
		{"Update", func() error { return update(ctx, before.ID) }},
		{"Update of no row", func() error { return update(ctx, id("u1", "s3")) }},
		{"List", func() error { _, _, err := k.store.List(ctx, "u1", 10); return err }},
		{"Cut", func() error { return cut(ctx, "u1") }},
		{"Cut of everybody", func() error { return cut(ctx, "") }},
		{"ReadLog", func() error { _, err := k.store.ReadLog(ctx, session.Start, 10, func(session.Entry) {}); return err }},
		{"ReadLog of End", func() error { _, err := k.store.ReadLog(ctx, session.End, 10, func(session.Entry) {}); return err }},
		{"DeleteExpired", func() error { _, err := k.store.DeleteExpired(ctx, before.CreatedAt, 10); return err }},
	} {
		err := call.run()
		conformance.Error(k, err, honoursContext, "%s with a context that was canceled", call.method)
		conformance.NotErrorIs(k, err, session.ErrNotFound, honoursContext,
			"%s with a context that was canceled", call.method)
	}
	k.requireRow(before, honoursContext, "after an Update with a context that was canceled")
	k.requireNoRow(id("u1", "s2"), "u1", honoursContext, "after a Create with a context that was canceled")
	k.requireCuts("u1", session.Cutoff{}, session.Cutoff{}, "after Cuts with a context that was canceled")
	seen := k.readAll(10)
	conformance.Equal(k, 0, len(seen.revoked)+len(seen.users), honoursContext,
		"the log, after a revocation and Cuts with a context that was canceled")
}
