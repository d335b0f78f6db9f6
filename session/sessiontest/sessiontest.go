// Package sessiontest is the conformance kit of [session.Store]. A store that passes [Run] keeps the contract that the
// comments in package session state. A check that fails prints the sentence of the contract that the store broke.
package sessiontest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// Run runs every check, each in its own subtest. At every call newStore must return a store with a new and empty namespace
// and a real clock, and it must close with t.Cleanup what it opens. The store must allow a call while another call is in its
// change function. So a pool of connections needs at least two.
//
// The id of every session names the group of its user, as the ids of [session.NewID] do.
func Run(t *testing.T, newStore func(t *testing.T) session.Store) {
	for _, check := range []struct {
		name string
		run  func(k kit)
	}{
		{"create/every field", kit.everyField},
		{"create/user ids", kit.userIDs},
		{"create/session ids", kit.sessionIDs},
		{"create/error of make", kit.createError},
		{"create/id exists", kit.createTwice},
		{"create/parallel, one user", kit.createParallel},
		{"create/parallel, one id", kit.createRace},
		{"update/every field", kit.updateEveryField},
		{"update/no row", kit.updateNoRow},
		{"update/error of change", kit.updateError},
		{"update/unchanged", kit.updateUnchanged},
		{"update/committed", kit.updateCommitted},
		{"update/atomic", kit.updateAtomic},
		{"update/other rows go on", kit.updateOthers},
		{"clock", kit.clock},
		{"list/exact", kit.list},
		{"revoked/all", kit.revokedAll},
		{"revoked/later", kit.revokedLater},
		{"revoked/slow writer", kit.revokedSlowly},
		{"revoked/polling", kit.revokedPolling},
		{"expired/rows go", kit.expiredGo},
		{"expired/rows stay", kit.expiredStay},
		{"context", kit.canceled},
		{"history", kit.history},
	} {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			check.run(kit{T: t, ctx: ctx, store: newStore(t)})
		})
	}
}

// kit is what every check needs.
type kit struct {
	*testing.T
	ctx   context.Context
	store session.Store
}

const (
	hour = session.Millis(60 * 60 * 1000)
	day  = 24 * hour
)

var rules = rotation.Rules{Window: 10 * time.Second, Idle: 10 * time.Hour, Absolute: 90 * 24 * time.Hour,
	Access: 20 * 24 * time.Hour}

// id returns an id with that name. It begins as [session.NewID] begins the ids of this user's sessions.
func id(userID, name string) string { return session.NewID(userID)[:1] + name }

// neighbours returns users of one group. So an id that fits one of them fits them all.
func neighbours(n int) (userIDs []string) {
	for i := 0; len(userIDs) < n; i++ {
		if userID := fmt.Sprintf("u%d", i); session.GroupOfUser(userID) == session.GroupOfUser("u1") {
			userIDs = append(userIDs, userID)
		}
	}
	return userIDs
}

// change is a function for Update that returns no error.
type change func(row *session.Session, now session.Millis)

// login returns a row as signet makes it at a login.
func login(name, userID string, now session.Millis) session.Session {
	return rules.New(id(userID, name), userID, session.HashOf(name+userID),
		rotation.Client{UserAgent: "agent of " + name, Address: "192.0.2.1"}, now)
}

// create stores a login, with the changes if there are any, and returns it.
func (k kit) create(name, userID string, changes ...change) session.Session {
	k.Helper()
	var row session.Session
	err := k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) {
		row = login(name, userID, now)
		for _, change := range changes {
			change(&row, now)
		}
		return row, nil
	})
	conformance.NoError(k, err, createStores, "Create of id %q, user id %q", id(userID, name), userID)
	return row
}

// update changes a row and returns the new one.
func (k kit) update(id string, change change) session.Session {
	k.Helper()
	var after session.Session
	err := k.store.Update(k.ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		change(&row, now)
		after = row
		return row, nil
	})
	conformance.NoError(k, err, updateReplaces, "Update of id %q", id)
	return after
}

func revoke(reason session.Reason) change {
	return func(row *session.Session, now session.Millis) { *row = (*row).Revoke(reason, now) }
}

// get reads a row with an Update that changes nothing.
func (k kit) get(id string) (row session.Session, err error) {
	err = k.store.Update(k.ctx, id, func(found session.Session, _ session.Millis) (session.Session, error) {
		row = found
		return found, nil
	})
	return row, err
}

// requireRow requires that the store returns exactly that row, by its id and in the list of its user.
func (k kit) requireRow(want session.Session, sentence, what string) {
	k.Helper()
	got, err := k.get(want.ID)
	conformance.NoError(k, err, sentence, "Update of id %q, %s", want.ID, what)
	requireEqual(k, want, got, sentence, "Update of id %q, %s", want.ID, what)
	for _, got := range k.list1(want.UserID) {
		if got.ID == want.ID {
			requireEqual(k, want, got, sentence, "ListByUser(%q), %s", want.UserID, what)
			return
		}
	}
	k.Fatalf("%s", conformance.Broken(listReturns, "ListByUser(%q) is without id %q, %s", want.UserID, want.ID, what))
}

// requireEqual compares with ==, as signet does. If the rows differ, conformance.Equal shows the fields.
func requireEqual(t conformance.T, want, got session.Session, sentence, format string, args ...any) {
	t.Helper()
	if want != got {
		conformance.Equal(t, want, got, sentence, format, args...)
		t.Fatalf("%s\nthe rows differ", conformance.Broken(sentence, format, args...))
	}
}

func (k kit) requireNoRow(id, userID, sentence, what string) {
	k.Helper()
	_, err := k.get(id)
	conformance.ErrorIs(k, err, session.ErrNotFound, sentence, "Update of id %q, %s", id, what)
	listed := ids(k.list1(userID))
	conformance.True(k, !slices.Contains(listed, id), sentence, "ListByUser(%q) shows %q, %s", userID, listed, what)
}

func (k kit) list1(userID string) []session.Session {
	k.Helper()
	rows, err := k.store.ListByUser(k.ctx, userID)
	conformance.NoError(k, err, listReturns, "ListByUser(%q)", userID)
	return rows
}

func ids(rows []session.Session) []string {
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids
}

// revokedSince returns what the store reports and the time that it returns.
func (k kit) revokedSince(since session.Millis) (map[string]session.Millis, session.Millis) {
	k.Helper()
	found := map[string]session.Millis{}
	now, err := k.store.RevokedSince(k.ctx, since, func(id string, keepUntil session.Millis) { found[id] = keepUntil })
	conformance.NoError(k, err, revokedCalls, "RevokedSince(%d)", since)
	return found, now
}
