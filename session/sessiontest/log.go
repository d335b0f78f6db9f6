package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// view is what a reader of the log knows.
type view struct {
	revoked map[session.Key]session.Millis // KeepUntil
	users   map[session.Key]session.Entry
	all     [session.Groups]session.Entry // KeepUntil has no meaning in them
}

func newView() view {
	v := view{revoked: map[session.Key]session.Millis{}, users: map[session.Key]session.Entry{}}
	for group := range v.all {
		v.all[group] = session.AllEntry(group, session.Cutoff{})
	}
	return v
}

// add notes an entry. It does not mind an entry that comes again.
func (k kit) add(v *view, e session.Entry) {
	k.Helper()
	switch e.Kind {
	case session.SessionRevoked:
		v.revoked[e.Key] = e.KeepUntil
	case session.UserCut:
		v.users[e.Key] = e
	case session.AllCut:
		conformance.True(k, e.Group == session.AllGroups || 0 <= e.Group && e.Group < session.Groups, logCalls,
			"the Group of an entry is %d", e.Group)
		for group := range v.all {
			if e.Group == session.AllGroups || e.Group == group {
				v.all[group] = session.Entry{Kind: session.AllCut, Group: group, Ended: e.Ended, Changed: e.Changed}
			}
		}
	default:
		k.Fatalf("%s", conformance.Broken(logCalls, "an entry of kind %d", e.Kind))
	}
}

// page reads one page of the log.
func (k kit) page(after session.Cursor, limit int, v *view) session.Page {
	k.Helper()
	page, err := k.store.ReadLog(k.ctx, after, limit, func(e session.Entry) { k.add(v, e) })
	conformance.NoError(k, err, logCalls, "ReadLog(%q, %d)", after, limit)
	return page
}

// readFrom reads the log from a cursor to its end, and returns the cursor from which later calls go on.
func (k kit) readFrom(after session.Cursor, limit int, v *view) session.Cursor {
	k.Helper()
	for range 10_000 {
		page := k.page(after, limit, v)
		if !page.More {
			return page.Next
		}
		after = page.Next
	}
	k.Fatalf("%s", conformance.Broken(logMore, "there is still more after 10,000 pages of %d entries", limit))
	return ""
}

// readAll reads the whole log.
func (k kit) readAll(limit int) view {
	k.Helper()
	v := newView()
	k.readFrom(session.Start, limit, &v)
	return v
}

// endOfLog returns the cursor behind everything that is committed.
func (k kit) endOfLog() session.Cursor {
	k.Helper()
	page, err := k.store.ReadLog(k.ctx, session.End, 1, func(session.Entry) {})
	conformance.NoError(k, err, logEnd, "ReadLog of End")
	return page.Next
}

func (v view) has(id string) bool {
	_, ok := v.revoked[session.KeyOf(id)]
	return ok
}

// requireLog requires that the whole log has exactly these revoked sessions and cut-offs, in pages of any size.
func (k kit) requireLog(revoked map[session.Key]session.Millis, users map[session.Key]session.Entry, all session.Cutoff,
	what string) {
	k.Helper()
	for _, limit := range []int{1, 2, 7, 1000} {
		seen := k.readAll(limit)
		conformance.Equal(k, revoked, seen.revoked, logCalls, "the revoked sessions in pages of %d entries, %s", limit, what)
		conformance.Equal(k, users, seen.users, logCalls, "the cut-offs of users in pages of %d entries, %s", limit, what)
		for group, got := range seen.all {
			want := session.AllEntry(group, all)
			want.KeepUntil = 0
			conformance.Equal(k, want, got, logCalls, "the cut-off of everybody in pages of %d entries, %s", limit, what)
		}
	}
}

func (k kit) logAll() {
	k.requireLog(map[session.Key]session.Millis{}, map[session.Key]session.Entry{}, session.Cutoff{}, "an empty store")
	revoked, users := map[session.Key]session.Millis{}, map[session.Key]session.Entry{}
	want := func(row session.Session) { revoked[session.KeyOf(row.ID)] = row.KeepUntil }
	k.create("live", "u1")
	for i, reason := range []session.Reason{session.ReasonLogout, session.ReasonRevoked,
		session.ReasonReuse, session.ReasonUser,
		session.ReasonEvicted, "a host's own"} {
		row := k.create("revoked "+string(reason), "u1",
			func(row *session.Session, _ session.Millis) { row.KeepUntil += session.Millis(i) })
		want(k.update(row.ID, revoke(reason)))
	}
	row := k.create("expired", "u1")
	k.update(row.ID, revoke(session.ReasonExpired))
	row = k.create("expired, then revoked", "u1")
	k.update(row.ID, revoke(session.ReasonExpired))
	want(k.update(row.ID, revoke(session.ReasonLogout)))
	want(k.create("revoked when it was created", "u1", revoke(session.ReasonLogout)))
	row = k.create("changed after it was revoked", "u2")
	k.update(row.ID, revoke(session.ReasonLogout))
	want(k.update(row.ID, func(row *session.Session, now session.Millis) { row.SentAt = now + 1 }))

	for i, userID := range append(oneOfEachGroup(), "u1", "no sessions") {
		cut := k.cut(userID, func(before session.Cutoff, _, now session.Millis) session.Cutoff {
			if i%2 == 0 {
				return before.Change(now+day, now)
			}
			return before.End([]string{"", id(userID, "spared")}[i/2%2], now+day, now)
		})
		users[session.KeyOf(userID)] = session.CutEntry(userID, cut)
	}
	k.requireLog(revoked, users, session.Cutoff{}, "without a cut-off of everybody")
	all := k.cut("", outdate)
	k.requireLog(revoked, users, all, "with a cut-off of everybody")
	k.requireLog(revoked, users, all, "read again")
}

// An entry past its KeepUntil must be in the log, because the store's clock may be wrong.
func (k kit) logWhateverAge() {
	row := k.create("s1", "u1")
	row = k.update(row.ID, func(row *session.Session, now session.Millis) {
		row.KeepUntil = now - 2*hour
		*row = (*row).Revoke(session.ReasonLogout, now)
	})
	user := k.cut("u1", func(before session.Cutoff, _, now session.Millis) session.Cutoff {
		return before.Change(now-2*hour, now)
	})
	all := k.cut("", func(before session.Cutoff, _, _ session.Millis) session.Cutoff { return before.End("", 1, 0) })
	seen := k.readAll(1000)
	conformance.Equal(k, row.KeepUntil, seen.revoked[session.KeyOf(row.ID)], logWhateverAge, "a revoked session")
	conformance.Equal(k, session.CutEntry("u1", user), seen.users[session.KeyOf("u1")], logWhateverAge, "a cut-off of a user")
	conformance.Equal(k, all.Ended, seen.all[0].Ended, logWhateverAge, "a cut-off of everybody")
}

// Entries that are made after a call of ReadLog are behind its cursor. It does not matter in what order the cursor was got.
func (k kit) logLater() {
	fromStart, fromEnd := session.Start, k.endOfLog()
	for i := range 5 {
		id := k.create(fmt.Sprintf("s%d", i), "u1").ID
		seen := k.readAll(1000)
		conformance.True(k, !seen.has(id), logCalls, "%q is not revoked, and is in the log", id)
		row := k.update(id, revoke(session.ReasonLogout))
		for _, from := range []*session.Cursor{&fromStart, &fromEnd} {
			seen := newView()
			before := *from
			*from = k.readFrom(before, 2, &seen)
			conformance.Equal(k, row.KeepUntil, seen.revoked[session.KeyOf(id)], logMissesNone,
				"%q was revoked after a call that returned %q", id, before)
			cut := k.cut([]string{"u1", ""}[i%2], outdate)
			*from = k.readFrom(*from, 2, &seen)
			conformance.True(k, seen.users[session.KeyOf("u1")].Changed == cut.Changed || seen.all[0].Changed == cut.Changed,
				logMissesNone, "a cut-off was made after a call that returned %q", before)
		}
	}
}

// What counts is when a revocation is committed, not the time in its row, nor when its change began. A change can take long,
// and the process that runs it can have a wrong clock.
func (k kit) logSlowly() {
	row := k.create("long ago", "u1")
	from := k.endOfLog()
	row = k.update(row.ID, func(row *session.Session, now session.Millis) {
		row.RevokedAt, row.Reason = now-hour, session.ReasonReuse
	})
	seen := newView()
	k.readFrom(from, 10, &seen)
	conformance.True(k, seen.has(row.ID), logMissesNone, "a RevokedAt of an hour ago, written now")
	k.requireRow(row, keptAsItIs, "a RevokedAt of an hour ago, written now")

	// Others are revoked and read while the change runs.
	row = k.create("slow", "u1")
	k.update(row.ID, func(row *session.Session, now session.Millis) {
		k.create("quick", "u1", revoke(session.ReasonLogout))
		k.cut("u2", end)
		from = k.readFrom(session.Start, 10, &seen)
		*row = (*row).Revoke(session.ReasonReuse, now)
	})
	seen = newView()
	k.readFrom(from, 10, &seen)
	conformance.True(k, seen.has(row.ID), logMissesNone, "the log was read to its end while the change ran")

	k.cut("u3", func(before session.Cutoff, _, _ session.Millis) session.Cutoff {
		k.create("quick, again", "u1", revoke(session.ReasonLogout))
		from = k.readFrom(session.Start, 10, &seen)
		return before.Change(farAway, 0)
	})
	seen = newView()
	k.readFrom(from, 10, &seen)
	conformance.Equal(k, 1, seen.users[session.KeyOf("u3")].Changed, logMissesNone,
		"the log was read to its end while the change of a cut-off ran")
}

// Readers that read pages while others revoke and cut off must see everything.
func (k kit) logPolling() {
	const writers, each = 8, 25
	var rows []session.Session
	for i := range writers * each {
		rows = append(rows, k.create(fmt.Sprintf("s%d", i), fmt.Sprintf("u%d", i%7)))
	}
	from := []session.Cursor{session.Start, k.endOfLog()}
	seen := []view{newView(), newView()}
	done := make(chan []error, 1)
	go func() {
		done <- conformance.Parallel(writers, func(i int) error {
			for j := range each {
				err := k.store.Update(k.ctx, rows[i*each+j].ID,
					func(row session.Session, at session.Moment) (session.Session, error) {
						return row.Revoke(session.ReasonRevoked, at.Now), nil
					})
				if err == nil && j%5 == 0 {
					err = k.store.Cut(k.ctx, fmt.Sprintf("writer%d", i%4),
						func(before session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
							return before.Change(farAway, 0), nil
						})
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}()
	for running := true; running; {
		select {
		case errs := <-done:
			conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d revocations", writers*each)
			running = false
		default:
		}
		for i, limit := range []int{7, 1} {
			if running {
				from[i] = k.page(from[i], limit, &seen[i]).Next
			} else {
				from[i] = k.readFrom(from[i], limit, &seen[i])
			}
		}
	}
	for i := range seen {
		conformance.Equal(k, writers*each, len(seen[i].revoked), logMissesNone,
			"revoked sessions that a reader saw while %d writers revoked", writers)
		for writer := range 4 {
			userID := fmt.Sprintf("writer%d", writer)
			conformance.Equal(k, writers/4*each/5, seen[i].users[session.KeyOf(userID)].Changed, logMissesNone,
				"the newest cut-off of %q, which was changed that many times", userID)
		}
	}
}

// A cut-off that changes again while a reader is between two pages is in one of the pages that follow.
func (k kit) logCutAgain() {
	var revoked []string
	change := func(i int) {
		revoked = append(revoked, k.create(fmt.Sprintf("s%d", i), "u1", revoke(session.ReasonLogout)).ID)
		k.cut("u1", outdate)
		k.cut("", outdate)
		k.cut("u1", outdate)
	}
	for i := range 3 {
		change(i)
	}
	seen, from := newView(), session.Start
	for i := range 6 { // the reader is never at the end
		from = k.page(from, 1, &seen).Next
		change(3 + i)
	}
	k.readFrom(from, 1, &seen)
	at := k.moment("u1")
	conformance.Equal(k, session.CutEntry("u1", at.User), seen.users[session.KeyOf("u1")], logNewest,
		"a cut-off of a user that changed between the pages")
	for group, got := range seen.all {
		conformance.Equal(k, at.All.Changed, got.Changed, logNewest,
			"the cut-off of everybody, in group %d, that changed between the pages", group)
	}
	for _, id := range revoked {
		conformance.True(k, seen.has(id), logMissesNone, "%q was revoked between the pages", id)
	}
	_, err := k.store.ReadLog(k.ctx, session.Start, 1000, func(e session.Entry) {
		switch e.Kind {
		case session.UserCut:
			conformance.Equal(k, at.User.Changed, e.Changed, logNewest, "an entry of the cut-off of a user")
		case session.AllCut:
			conformance.Equal(k, at.All.Changed, e.Changed, logNewest, "an entry of the cut-off of everybody")
		}
	})
	conformance.NoError(k, err, logCalls, "ReadLog of Start")
}

func (k kit) logLost() {
	k.create("s1", "u1", revoke(session.ReasonLogout))
	for _, cursor := range []session.Cursor{"nonsense", "-", " ", "END", "\u20ac", "' OR 1=1 --", "{}",
		session.Cursor(strings.Repeat("9", 400))} {
		_, err := k.store.ReadLog(k.ctx, cursor, 10, func(session.Entry) {})
		conformance.ErrorIs(k, err, session.ErrCursor, logLost, "the cursor %.20q, which no store has made", cursor)
	}
	conformance.True(k, k.readAll(10).has(id("u1", "s1")), logCalls, "the reader begins again")
}

// logNotify checks a store that is a Notifier. Because it may miss an entry, there are more until it wakes.
func (k kit) logNotify() {
	notifier, ok := k.store.(session.Notifier)
	if !ok {
		k.Logf("the store is no session.Notifier")
		return
	}
	ctx, cancel := context.WithCancel(k.ctx)
	defer cancel()
	woken, done := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		done <- notifier.Notify(ctx, func() {
			select {
			case woken <- struct{}{}:
			default:
			}
		})
	}()
	makeEntry := []func(i int){
		func(i int) { k.create(fmt.Sprintf("s%d", i), "u1", revoke(session.ReasonLogout)) },
		func(int) { k.cut("u1", outdate) },
		func(int) { k.cut("", outdate) },
	}
	for kind, makeEntry := range makeEntry {
		for i := 0; ; i++ {
			select {
			case <-woken: // it may be for nothing, or for an entry of before
			default:
			}
			makeEntry(i)
			select {
			case <-woken:
			case err := <-done:
				k.Fatalf("%s", conformance.Broken(notifyEnds, "Notify returned early: %v", err))
			case <-time.After(time.Second):
				conformance.True(k, i < 10, notifyWakes, "%d entries of kind %d, and no call of wake", i, kind+1)
				continue
			}
			break
		}
	}
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		k.Fatalf("%s", conformance.Broken(notifyEnds, "Notify goes on 10 seconds after its context was canceled"))
	}
}

// clock requires one clock for all methods. It must be near the clock of this machine.
func (k kit) clock() {
	var last session.Millis
	see := func(method string, now session.Millis) {
		k.Helper()
		conformance.True(k, now >= last-1, oneClock, "%s ran backwards, from %d to %d", method, last, now)
		conformance.True(k, time.Since(now.Time()).Abs() <= time.Minute, oneClock, "the time of %s is %s", method, now.Time())
		last = now
	}
	for i := range 10 {
		row := k.create(fmt.Sprintf("s%d", i), "u1", func(_ *session.Session, now session.Millis) { see("Create", now) })
		for range 3 {
			k.update(row.ID, func(row *session.Session, now session.Millis) {
				see("Update", now)
				row.Next++
			})
			see("List", k.moment("u1").Now)
			k.cut([]string{"u1", ""}[i%2], func(before session.Cutoff, _, now session.Millis) session.Cutoff {
				see("Cut", now)
				return before.Change(now+day, now)
			})
			seen := newView()
			see("ReadLog", k.page(session.Start, 1, &seen).Now)
			see("ReadLog of End", k.page(session.End, 1, &seen).Now)
		}
	}
}
