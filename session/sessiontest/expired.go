package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// patience is how long a store that expires rows by itself may take.
const patience = 5 * time.Second

// expiredGo makes rows that are past their KeepUntil in both ways: created so, and changed so.
func (k kit) expiredGo() {
	const limit = 3
	var gone []string
	for i := range 5 {
		id := fmt.Sprintf("created%d", i)
		k.create(id, "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now - 2*hour })
		gone = append(gone, id)
	}
	for i := range 8 {
		id := fmt.Sprintf("changed%d", i)
		k.create(id, "u1")
		k.update(id, func(row *session.Session, now session.Millis) {
			row.KeepUntil = now - 2*hour
			if i%2 == 0 {
				*row = session.Revoke(*row, session.ReasonLogout, now)
			}
		})
		gone = append(gone, id)
	}
	live := k.create("live", "u1")

	n, err := k.store.DeleteExpired(k.ctx, 0)
	require.NoError(k, err, broken(deleteRemoves, "DeleteExpired(0)"))
	require.Zero(k, n, broken(deleteRemoves, "DeleteExpired(0)"))
	removed := 0
	for deadline := time.Now().Add(patience); len(k.found(gone)) > 0; time.Sleep(time.Millisecond) {
		require.Less(k, time.Now(), deadline, broken(deleteRemoves, "%q are still there", k.found(gone)))
		before := len(k.found(gone))
		n, err := k.store.DeleteExpired(k.ctx, limit)
		require.NoError(k, err, broken(deleteRemoves, "DeleteExpired(%d)", limit))
		require.LessOrEqual(k, n, limit, broken(deleteRemoves, "DeleteExpired(%d) returned more", limit))
		require.GreaterOrEqual(k, n, 0, broken(deleteRemoves, "DeleteExpired(%d)", limit))
		if after := len(k.found(gone)); n > 0 {
			require.Equal(k, n, before-after, broken(deleteRemoves, "DeleteExpired(%d): it said %d", limit, n))
		}
		removed += n
	}
	require.LessOrEqual(k, removed, len(gone), broken(deleteRemoves, "the sum of what DeleteExpired returned"))
	require.Equal(k, []string{"live"}, ids(k.list1("u1")), broken(deleteRemoves, "ListByUser shows rows that were removed"))
	found, _ := k.revokedSince(0)
	require.Empty(k, found, broken(revokedCalls, "RevokedSince(0) shows sessions that were removed"))
	k.requireRow(live, keepsRows, "while others were removed")
	k.requireRow(k.create("created0", "u1"), createStores, "an id whose row was removed is new")
}

// found returns which of the rows are still there.
func (k kit) found(want []string) []string {
	return slices.DeleteFunc(slices.Clone(want), func(id string) bool {
		_, err := k.get(id)
		if !errors.Is(err, session.ErrNotFound) {
			require.NoError(k, err, broken(updateNotFound, "Update of id %q", id))
		}
		return err != nil
	})
}

// expiredStay wants rows kept until their newest KeepUntil, however long the session is over.
func (k kit) expiredStay() {
	const short = 30
	soon := k.create("soon", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + short })
	var extended session.Session
	err := k.store.Update(k.ctx, "soon", func(row session.Session, now session.Millis) (session.Session, error) {
		row.KeepUntil = now + hour
		extended = row
		return row, nil
	})
	late := errors.Is(err, session.ErrNotFound) // on a machine that is busy
	if !late {
		require.NoError(k, err, broken(updateReplaces, "Update to a later KeepUntil"))
	}
	kept := []session.Session{
		k.create("a minute", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + hour/60 }),
		k.create("over", "u1", func(row *session.Session, now session.Millis) {
			row.EndsAt, row.LastUsedAt = now-hour, now-10*hour
			*row = session.Revoke(*row, session.ReasonExpired, now)
		}),
		k.create("revoked", "u1", revoke(session.ReasonLogout)),
		k.create("far", "u1", func(row *session.Session, now session.Millis) { row.KeepUntil = now + 1000*day }),
	}
	for over := soon.KeepUntil.Time().Add(5 * time.Millisecond); time.Now().Before(over); time.Sleep(time.Millisecond) {
		_, err := k.store.DeleteExpired(k.ctx, 100)
		require.NoError(k, err, broken(deleteRemoves, "DeleteExpired(100)"))
	}
	_, err = k.store.DeleteExpired(k.ctx, 100)
	require.NoError(k, err, broken(deleteRemoves, "DeleteExpired(100)"))
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
			return session.Revoke(row, session.ReasonLogout, now), nil
		})
	}
	for _, call := range []struct {
		method string
		run    func() error
	}{
		{"Create", func() error {
			return k.store.Create(ctx, func(now session.Millis) (session.Session, error) { return login("s2", "u1", now), nil })
		}},
		{"Update", func() error { return update(ctx, "s1") }},
		{"Update of no row", func() error { return update(ctx, "s3") }},
		{"ListByUser", func() error { _, err := k.store.ListByUser(ctx, "u1"); return err }},
		{"RevokedSince", func() error {
			_, err := k.store.RevokedSince(ctx, 0, func(string, session.Millis) {})
			return err
		}},
		{"DeleteExpired", func() error { _, err := k.store.DeleteExpired(ctx, 10); return err }},
	} {
		err := call.run()
		require.Error(k, err, broken(honoursContext, "%s with a context that was canceled", call.method))
		require.NotErrorIs(k, err, session.ErrNotFound, broken(honoursContext, "%s with a context that was canceled", call.method))
	}
	k.requireRow(before, honoursContext, "after an Update with a context that was canceled")
	k.requireNoRow("s2", "u1", honoursContext, "after a Create with a context that was canceled")
	found, _ := k.revokedSince(0)
	require.Empty(k, found, broken(honoursContext, "RevokedSince(0), after a revocation with a context that was canceled"))
}
