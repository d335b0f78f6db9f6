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
// and a real clock, and it must close with t.Cleanup what it opens. A user may have [session.MaxPerUser] sessions in it. The
// store must allow a call while another call is in its change function. So a pool of connections needs at least two.
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
		{"create/cut-off meanwhile", kit.createAgain},
		{"create/parallel, cut-offs", kit.cutAndCreate},
		{"update/every field", kit.updateEveryField},
		{"update/no row", kit.updateNoRow},
		{"update/error of change", kit.updateError},
		{"update/unchanged", kit.updateUnchanged},
		{"update/committed", kit.updateCommitted},
		{"update/atomic", kit.updateAtomic},
		{"update/other rows go on", kit.updateOthers},
		{"update/cut-off meanwhile", kit.updateAgain},
		{"update/parallel, cut-offs", kit.cutAndUpdate},
		{"batch/all", kit.batchAll},
		{"batch/unchanged", kit.batchUnchanged},
		{"batch/somebody else", kit.batchMeanwhile},
		{"batch/1,000", kit.batchMany},
		{"clock", kit.clock},
		{"list/exact", kit.list},
		{"list/limit", kit.listLimit},
		{"limit of a user/evicts", kit.capEvicts},
		{"limit of a user/time over", kit.capTimeOver},
		{"limit of a user/logins that wait", kit.capPending},
		{"limit of a user/second step", kit.capCompleted},
		{"limit of a user/parallel", kit.capParallel},
		{"cut/every field", kit.cutEveryField},
		{"cut/user ids", kit.cutUserIDs},
		{"cut/everybody", kit.cutEverybody},
		{"cut/latest", kit.cutLatest},
		{"cut/latest, meanwhile", kit.cutLatestMeanwhile},
		{"cut/error, unchanged", kit.cutError},
		{"cut/atomic", kit.cutAtomic},
		{"log/all", kit.logAll},
		{"log/whatever age", kit.logWhateverAge},
		{"log/later", kit.logLater},
		{"log/slow writer", kit.logSlowly},
		{"log/polling", kit.logPolling},
		{"log/cut again", kit.logCutAgain},
		{"log/lost", kit.logLost},
		{"log/notify", kit.logNotify},
		{"expired/rows go", kit.expiredGo},
		{"expired/rows stay", kit.expiredStay},
		{"expired/one clock", kit.expiredOneClock},
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
func login(name, userID string, at session.Moment) session.Session {
	row := rules.New(id(userID, name), userID, session.HashOf(name+userID),
		rotation.Terms{Idle: time.Hour, Facts: `{"amr":["pwd"],"name":"Zo\u00eb \"x\""}`},
		rotation.Client{UserAgent: "agent of " + name, Address: "192.0.2.1"}, at.Now)
	row.Born = at.Version()
	return row
}

// create stores a login, with the changes if there are any, and returns it.
func (k kit) create(name, userID string, changes ...change) session.Session {
	k.Helper()
	var row session.Session
	err := k.store.Create(k.ctx, userID, func(at session.Moment) (session.Session, error) {
		row = login(name, userID, at)
		for _, change := range changes {
			change(&row, at.Now)
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
	err := k.store.Update(k.ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		change(&row, at.Now)
		after = row
		return row, nil
	})
	conformance.NoError(k, err, updateReplaces, "Update of id %q", id)
	return after
}

func revoke(reason session.Reason) change {
	return func(row *session.Session, now session.Millis) { *row = (*row).Revoke(reason, now) }
}

// keep is a change. The row is kept for that time.
func keep(duration session.Millis) change {
	return func(row *session.Session, now session.Millis) { row.KeepUntil = now + duration }
}

// get reads a row with an Update that changes nothing.
func (k kit) get(id string) (row session.Session, err error) {
	err = k.store.Update(k.ctx, id, func(found session.Session, _ session.Moment) (session.Session, error) {
		row = found
		return found, nil
	})
	return row, err
}

// requireRow requires that the store returns exactly that row, by its id and, if it is not revoked, in the list of its user.
func (k kit) requireRow(want session.Session, sentence, what string) {
	k.Helper()
	got, err := k.get(want.ID)
	conformance.NoError(k, err, sentence, "Update of id %q, %s", want.ID, what)
	requireEqual(k, want, got, sentence, "Update of id %q, %s", want.ID, what)
	rows, _ := k.listAll(want.UserID)
	i := slices.Index(ids(rows), want.ID)
	conformance.Equal(k, want.Revoked(), i < 0, listReturns, "List(%q): is it without id %q, %s", want.UserID, want.ID, what)
	if i >= 0 {
		requireEqual(k, want, rows[i], sentence, "List(%q), %s", want.UserID, what)
	}
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
	rows, _ := k.listAll(userID)
	conformance.True(k, !slices.Contains(ids(rows), id), sentence, "List(%q) shows %q, %s", userID, ids(rows), what)
}

// listAll returns all sessions of a user that are not revoked.
func (k kit) listAll(userID string) ([]session.Session, session.Moment) {
	k.Helper()
	rows, at, err := k.store.List(k.ctx, userID, 1000)
	conformance.NoError(k, err, listReturns, "List(%q)", userID)
	return rows, at
}

func ids(rows []session.Session) []string {
	ids := []string{}
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids
}
