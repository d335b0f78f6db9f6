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

// patience is how long a store that expires rows by itself may take to do so.
const patience = 5 * time.Second

// expiredGo makes rows that are past their KeepUntil in two ways: it creates some so, and changes others later.
func (k kit) expiredGo() {
	const limit = 3
	var gone []string
	for i := range 5 {
		row := k.create(fmt.Sprintf("created%d", i), "u1",
			func(row *session.Session, now session.Millis) { row.KeepUntil = now - 2*hour })
		gone = append(gone, row.ID)
	}
	for i := range 8 {
		row := k.create(fmt.Sprintf("changed%d", i), "u1")
		k.update(row.ID, func(row *session.Session, now session.Millis) {
			row.KeepUntil = now - 2*hour
			if i%2 == 0 {
				*row = (*row).Revoke(session.ReasonLogout, now)
			}
		})
		gone = append(gone, row.ID)
	}
	live := k.create("live", "u1")

	n, err := k.store.DeleteExpired(k.ctx, 0)
	conformance.NoError(k, err, deleteRemoves, "DeleteExpired(0)")
	conformance.Equal(k, 0, n, deleteRemoves, "DeleteExpired(0)")
	removed := 0
	for deadline := time.Now().Add(patience); len(k.found(gone)) > 0; time.Sleep(time.Millisecond) {
		conformance.True(k, time.Now().Before(deadline), deleteRemoves, "%q are still there", k.found(gone))
		before := len(k.found(gone))
		n, err := k.store.DeleteExpired(k.ctx, limit)
		conformance.NoError(k, err, deleteRemoves, "DeleteExpired(%d)", limit)
		conformance.True(k, 0 <= n && n <= limit, deleteRemoves, "DeleteExpired(%d) returned %d", limit, n)
		if after := len(k.found(gone)); n > 0 {
			conformance.Equal(k, n, before-after, deleteRemoves, "DeleteExpired(%d): it said %d", limit, n)
		}
		removed += n
	}
	conformance.True(k, removed <= len(gone), deleteRemoves,
		"DeleteExpired returned %d in all, of %d rows", removed, len(gone))
	conformance.Equal(k, []string{live.ID}, ids(k.list1("u1")), deleteRemoves, "ListByUser shows rows that were removed")
	found, _ := k.revokedSince(0)
	conformance.Equal(k, noneRevoked, found, revokedCalls, "RevokedSince(0) shows sessions that were removed")
	k.requireRow(live, keepsRows, "while others were removed")
	k.requireRow(k.create("created0", "u1"), createStores, "an id whose row was removed is new")
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
	soon := k.create("soon", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + short })
	var extended session.Session
	err := k.store.Update(k.ctx, soon.ID, func(row session.Session, now session.Millis) (session.Session, error) {
		row.KeepUntil = now + hour
		extended = row
		return row, nil
	})
	late := errors.Is(err, session.ErrNotFound) // this happens on a busy machine
	if !late {
		conformance.NoError(k, err, updateReplaces, "Update to a later KeepUntil")
	}
	kept := []session.Session{
		k.create("a minute", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + hour/60 }),
		k.create("over", "u1", func(row *session.Session, now session.Millis) {
			row.EndsAt, row.LastUsedAt = now-hour, now-10*hour
			*row = (*row).Revoke(session.ReasonExpired, now)
		}),
		k.create("revoked", "u1", revoke(session.ReasonLogout)),
		k.create("far", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + 1000*day }),
	}
	for over := soon.KeepUntil.Time().Add(5 * time.Millisecond); time.Now().Before(over); time.Sleep(time.Millisecond) {
		_, err := k.store.DeleteExpired(k.ctx, 100)
		conformance.NoError(k, err, deleteRemoves, "DeleteExpired(100)")
	}
	_, err = k.store.DeleteExpired(k.ctx, 100)
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
	k.create("old", "u2", func(row *session.Session, now session.Millis) { row.KeepUntil = now - 2*hour })
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	update := func(ctx context.Context, id string) error {
		return k.store.Update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
			return row.Revoke(session.ReasonLogout, now), nil
		})
	}
	for _, call := range []struct {
		method string
		run    func() error
	}{
		{"Create", func() error {
			return k.store.Create(ctx, func(now session.Millis) (session.Session, error) {
				return login("s2", "u1", now), nil
			})
		}},
		{"Update", func() error { return update(ctx, before.ID) }},
		{"Update of no row", func() error { return update(ctx, id("u1", "s3")) }},
		{"ListByUser", func() error { _, err := k.store.ListByUser(ctx, "u1"); return err }},
		{"RevokedSince", func() error {
			_, err := k.store.RevokedSince(ctx, 0, func(string, session.Millis) {})
			return err
		}},
		{"DeleteExpired", func() error { _, err := k.store.DeleteExpired(ctx, 10); return err }},
	} {
		err := call.run()
		conformance.Error(k, err, honoursContext, "%s with a context that was canceled", call.method)
		conformance.NotErrorIs(k, err, session.ErrNotFound, honoursContext,
			"%s with a context that was canceled", call.method)
	}
	k.requireRow(before, honoursContext, "after an Update with a context that was canceled")
	k.requireNoRow(id("u1", "s2"), "u1", honoursContext, "after a Create with a context that was canceled")
	found, _ := k.revokedSince(0)
	conformance.Equal(k, noneRevoked, found, honoursContext,
		"RevokedSince(0), after a revocation with a context that was canceled")
}
