package sessiontest

import (
	"errors"
	"fmt"
	"slices"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

func (k kit) list() {
	rows, at := k.listAll("u1")
	conformance.SameElements(k, nil, rows, listReturns, "an empty store")
	conformance.Equal(k, session.Moment{Now: at.Now}, at, listReturns, "an empty store")
	live, other := k.create("live", "u1"), k.create("other", "u2")
	revoked, expired := k.create("revoked", "u1"), k.create("expired", "u1")
	k.update(revoked.ID, revoke(session.ReasonLogout))
	expired = k.update(expired.ID, revoke(session.ReasonExpired))
	k.create("revoked when it was created", "u1", revoke(session.ReasonLogout))
	user, all := k.cut("u1", end), k.cut("", outdate) // the sessions that a cut-off has ended stay in the list
	rows, at = k.listAll("u1")
	conformance.SameElements(k, []session.Session{live, expired}, rows, listReturns, "u1 has two, and two that are revoked")
	conformance.Equal(k, session.Moment{Now: at.Now, User: user, All: all}, at, listReturns, "u1 has a cut-off")
	rows, at = k.listAll("u2")
	conformance.SameElements(k, []session.Session{other}, rows, listReturns, "u2 has one")
	conformance.Equal(k, session.Moment{Now: at.Now, All: all}, at, listReturns, "u2 has no cut-off")
}

func (k kit) listLimit() {
	var byKeepUntil []string // the latest first
	for i, days := range []session.Millis{5, 1, 9, 3, 7, 8, 2, 10, 6, 4} {
		k.create(fmt.Sprintf("s%d", days), "u1", keep(days*day))
		byKeepUntil = append(byKeepUntil, id("u1", fmt.Sprintf("s%d", 10-i)))
	}
	k.create("revoked", "u1", revoke(session.ReasonLogout), keep(20*day))
	for _, limit := range []int{1, 2, 3, 9, 10, 11, 1000} {
		rows, _, err := k.store.List(k.ctx, "u1", limit)
		conformance.NoError(k, err, listReturns, "List with the limit %d", limit)
		conformance.SameElements(k, byKeepUntil[:min(limit, 10)], ids(rows), listLimit, "10 sessions, and the limit %d", limit)
	}
}

// unused is a change for create. The row was last used so many minutes ago.
func unused(minutes int) change {
	return func(row *session.Session, now session.Millis) {
		row.LastUsedAt = now - session.Millis(minutes)*hour/60
		row.CreatedAt = row.LastUsedAt - day
	}
}

func (k kit) capEvicts() {
	for i := range 2 {
		k.create(fmt.Sprintf("other%d", i), neighbours(2)[1], unused(1000))
	}
	const most = session.MaxPerUser
	for i := range most {
		k.create(fmt.Sprintf("s%d", i), "u1", unused(100+i*37%most)) // 37 and 100 have no common divisor
	}
	rows, _ := k.listAll("u1")
	conformance.Equal(k, most, len(rows), capEvicts, "the number of live sessions after %d Creates", most)

	byUse := slices.SortedFunc(slices.Values(rows), func(a, b session.Session) int { return int(a.LastUsedAt - b.LastUsedAt) })
	want := map[string]session.Millis{}
	evicted := func(row session.Session, what string) {
		k.Helper()
		want[row.ID] = row.KeepUntil
		rows, _ := k.listAll("u1")
		conformance.Equal(k, most, len(rows), capEvicts, "the number of live sessions after %s", what)
		got, err := k.get(row.ID)
		conformance.NoError(k, err, keepsRows, "after %s", what)
		conformance.Equal(k, session.ReasonEvicted, got.Reason, capOldest, "the session of the oldest use, after %s", what)
		conformance.True(k, got.Revoked(), capOldest, "the session of the oldest use is not revoked, after %s", what)
		row.RevokedAt, row.Reason = got.RevokedAt, got.Reason
		requireEqual(k, row, got, capEvicts, "the other fields of the session that was evicted, after %s", what)
		conformance.Equal(k, want, k.readAll(10).revoked, capEvicts, "the log after %s", what)
	}
	row := k.create("new0", "u1", unused(1000))
	evicted(byUse[0], "a login beyond the limit")
	k.create("new1", "u1")
	evicted(row, "a login beyond the limit, when the previous one has been unused for longest")
	k.create("new2", "u1")
	evicted(byUse[1], "one login more")

	for i := range 3 { // revoked sessions do not count
		row := k.update(byUse[10+i].ID, revoke(session.ReasonLogout))
		want[row.ID] = row.KeepUntil
	}
	for i := range 3 {
		k.create(fmt.Sprintf("newer%d", i), "u1", unused(1000))
	}
	k.create("revoked when it was created", "u2", revoke(session.ReasonLogout))
	rows, _ = k.listAll("u1")
	conformance.Equal(k, most, len(rows), capEvicts, "the number of live sessions after three logouts and three logins")
	conformance.Equal(k, len(want)+1, len(k.readAll(10).revoked), capEvicts, "the log after three logouts and three logins")
	rows, _ = k.listAll(neighbours(2)[1])
	conformance.Equal(k, 2, len(rows), capEvicts, "the number of sessions of another user")
}

// A session whose time is over goes before one that a user can still use, even if it was used later.
func (k kit) capTimeOver() {
	const most = session.MaxPerUser
	for i := range most - 1 {
		k.create(fmt.Sprintf("s%d", i), "u1", unused(100+i))
	}
	k.create("over", "u1", unused(1), keep(-1000))
	k.create("new", "u1")
	rows, _ := k.listAll("u1")
	for _, name := range []string{"s0", fmt.Sprintf("s%d", most-2), "new"} {
		conformance.True(k, slices.Contains(ids(rows), id("u1", name)), capOldest, "the session %s was evicted, and one whose time is over is there", name)
	}
}

// Logins that wait for their second step are no sessions, but there are not more than MaxPending of them beyond the limit.
func (k kit) capPending() {
	const most = session.MaxPerUser
	for i := range most + 1 {
		k.create(fmt.Sprintf("p%d", i), "u1", unused(10000-6*i), func(row *session.Session, now session.Millis) { row.PendingUntil = now + 1000*1000 })
	}
	rows, _ := k.listAll("u1")
	conformance.Equal(k, session.MaxPending, len(rows), capEvicts, "the number of logins that wait, after %d of them", most+1)
	conformance.True(k, slices.Contains(ids(rows), id("u1", fmt.Sprintf("p%d", most))), capOldest, "the newest login was evicted")
}

// When the second step of a login is done, the login becomes a session. If the user has too many then, another one is revoked.
func (k kit) capCompleted() {
	const most = session.MaxPerUser
	for i := range most {
		k.create(fmt.Sprintf("s%d", i), "u1", unused(100+i))
	}
	wait := func(row *session.Session, now session.Millis) { row.PendingUntil = now + 1000*1000 }
	complete := func(row *session.Session, now session.Millis) { row.PendingUntil, row.LastUsedAt = 0, now }
	var waiting []session.Session
	for i := range 3 {
		waiting = append(waiting, k.create(fmt.Sprintf("p%d", i), "u1", unused(1+i), wait))
	}
	rows, _ := k.listAll("u1")
	conformance.Equal(k, most+3, len(rows), capCompletes, "the number of sessions and of logins that wait, before the second steps")
	for i, row := range waiting {
		k.update(row.ID, complete)
		rows, _ := k.listAll("u1")
		conformance.Equal(k, most+2-i, len(rows), capCompletes, "the number of sessions and of logins that wait, after %d second steps", i+1)
		conformance.True(k, slices.Contains(ids(rows), row.ID), capCompletes, "the session of the second step was evicted")
		oldest, err := k.get(id("u1", fmt.Sprintf("s%d", most-1-i)))
		conformance.NoError(k, err, keepsRows, "after a second step")
		conformance.Equal(k, session.ReasonEvicted, oldest.Reason, capOldest, "the session of the oldest use, after %d second steps", i+1)
	}
	errs := conformance.Parallel(12, func(i int) error {
		var made session.Session
		err := k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
			made = login(fmt.Sprintf("q%d", i), "u1", at)
			unused(1+i)(&made, at.Now) // the logins began far apart, but the second steps come at the same time
			wait(&made, at.Now)
			return made, nil
		})
		if err != nil {
			return err
		}
		return k.store.Update(k.ctx, made.ID, func(row session.Session, at session.Moment) (session.Session, error) {
			complete(&row, at.Now)
			return row, nil
		})
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "12 logins with a second step at once")
	rows, _ = k.listAll("u1")
	for i := range 12 {
		conformance.True(k, slices.Contains(ids(rows), id("u1", fmt.Sprintf("q%d", i))), capOldest,
			"a session of the second steps at once was evicted, and older ones are there")
	}
	k.create("next", "u1")
	rows, _ = k.listAll("u1")
	conformance.Equal(k, most, len(rows), capEvicts, "the number of live sessions after the next Create")
}

// After many logins at once a user may have some sessions more. The next login takes them back.
func (k kit) capParallel() {
	const most, before, n = session.MaxPerUser, session.MaxPerUser - 4, 12
	for i := range before {
		k.create(fmt.Sprintf("s%d", i), "u1", unused(1+i))
	}
	errs := conformance.Parallel(n, func(i int) error {
		return k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
			return login(fmt.Sprintf("p%d", i), "u1", at), nil
		})
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d Creates at once", n)
	rows, _ := k.listAll("u1")
	conformance.True(k, most <= len(rows) && len(rows) <= most+n/2, capEvicts,
		"%d live sessions after %d Creates at once", len(rows), n)
	k.create("next", "u1")
	rows, _ = k.listAll("u1")
	conformance.Equal(k, most, len(rows), capEvicts, "the number of live sessions after the next Create")
	for i := range n {
		conformance.True(k, slices.Contains(ids(rows), id("u1", fmt.Sprintf("p%d", i))), capOldest,
			"a session of the Creates at once was evicted, and older ones are there")
	}
}
