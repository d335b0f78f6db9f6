package sessiontest

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// cutChange is a function for Cut that returns no error.
type cutChange func(before session.Cutoff, latest, now session.Millis) session.Cutoff

// cut changes the cut-off of a user and returns the new one.
func (k kit) cut(userID string, change cutChange) session.Cutoff {
	k.Helper()
	var after session.Cutoff
	err := k.store.Cut(k.ctx, userID, func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		after = change(before, latest, now)
		return after, nil
	})
	conformance.NoError(k, err, cutReplaces, "Cut(%+q)", userID)
	return after
}

// end and outdate are changes for cut. They do not depend on the store's time, so they do the same in every group of users.
func end(before session.Cutoff, latest, _ session.Millis) session.Cutoff {
	return before.End("", max(latest, farAway), 0)
}

func outdate(before session.Cutoff, latest, _ session.Millis) session.Cutoff {
	return before.Change(max(latest, farAway), 0)
}

const farAway = session.Millis(4102444800000) // the year 2100

// moment reads the Moment of a user.
func (k kit) moment(userID string) session.Moment {
	k.Helper()
	_, at, err := k.store.List(k.ctx, userID, 1)
	conformance.NoError(k, err, listReturns, "List(%+q)", userID)
	return at
}

// requireCuts requires that every method shows these cut-offs in the Moment of the user.
func (k kit) requireCuts(userID string, user, all session.Cutoff, what string) {
	k.Helper()
	check := func(at session.Moment, method string) {
		k.Helper()
		if userID != "" { // "" stands for everybody
			conformance.Equal(k, user, at.User, momentIs,
				"the cut-off of the user in the Moment of %s(%+q), %s", method, userID, what)
		}
		conformance.Equal(k, all, at.All, momentIs,
			"the cut-off of everybody in the Moment of %s(%+q), %s", method, userID, what)
	}
	check(k.moment(userID), "List")
	stop := errors.New("an error of make")
	err := k.store.Create(k.ctx, userID, func(at session.Moment) (session.Session, error) {
		check(at, "Create")
		return session.Session{}, stop
	})
	conformance.Same(k, err, stop, createError, "Create with a make that fails")
	rows, _ := k.listAll(userID)
	for _, row := range rows[:min(1, len(rows))] {
		var last session.Moment // only the last call of change counts
		err := k.store.Update(k.ctx, row.ID, func(row session.Session, at session.Moment) (session.Session, error) {
			last = at
			return row, nil
		})
		conformance.NoError(k, err, updateReplaces, "Update of id %q", row.ID)
		check(last, "Update")
	}
}

// oneOfEachGroup returns a user of each group.
func oneOfEachGroup() []string {
	users := make([]string, session.Groups)
	for i, found := 0, 0; found < len(users); i++ {
		userID := fmt.Sprintf("member%d", i)
		if group := session.GroupOfUser(userID); users[group] == "" {
			users[group] = userID
			found++
		}
	}
	return users
}

func (k kit) cutEveryField() {
	k.create("s1", "u1")
	var want session.Cutoff
	k.requireCuts("u1", want, want, "in an empty store")
	for _, step := range []struct {
		field  string
		change func(c *session.Cutoff)
	}{
		{"Ended", func(c *session.Cutoff) { c.Ended = math.MaxInt64 - 1 }},
		{"Spared", func(c *session.Cutoff) { c.Spared = id("u1", "s1") }},
		{"Changed", func(c *session.Cutoff) { c.Changed = 1<<53 + 1 }},
		{"KeepUntil", func(c *session.Cutoff) { c.KeepUntil = 253402300799999 }},
		{"Ended, by one", func(c *session.Cutoff) { c.Ended++ }},
		{"Changed, by one", func(c *session.Cutoff) { c.Changed-- }},
		{"Spared, to none", func(c *session.Cutoff) { c.Spared = "" }},
		{"Ended, to zero", func(c *session.Cutoff) { c.Ended = 0 }},
	} {
		before := want
		step.change(&want)
		k.cut("u1", func(c session.Cutoff, _, _ session.Millis) session.Cutoff {
			conformance.Equal(k, before, c, cutReplaces, "the cut-off that change was given, before %s", step.field)
			return want
		})
		k.requireCuts("u1", want, session.Cutoff{}, "after a change of "+step.field)
	}
	for _, step := range []cutChange{end, outdate, end} {
		all := k.cut("", step)
		k.requireCuts("u1", want, all, "after a cut-off of everybody")
	}
}

func (k kit) cutUserIDs() {
	cuts := map[string]session.Cutoff{}
	for i, userID := range userIDs {
		if userID != "" {
			cuts[userID] = k.cut(userID, func(before session.Cutoff, latest, now session.Millis) session.Cutoff {
				conformance.Equal(k, session.Cutoff{}, before, cutZero, "the first Cut(%+q)", userID)
				conformance.Equal(k, 0, latest, cutLatest, "Cut(%+q), a user without sessions", userID)
				spared := id(userID, fmt.Sprint(i))
				return session.Cutoff{Ended: int64(i + 1), Spared: spared, Changed: int64(now), KeepUntil: farAway}
			})
		}
	}
	seen := k.readAll(1000)
	for userID, want := range cuts {
		k.requireCuts(userID, want, session.Cutoff{}, "every user has another one")
		conformance.Equal(k, session.CutEntry(userID, want), seen.users[userID], logCalls,
			"the entry of the cut-off of %+q", userID)
	}
	conformance.Equal(k, len(cuts), len(seen.users), logCalls, "the number of users with a cut-off")
	for _, userID := range []string{"b", "a  ", "x%", "none", "all", "everybody"} {
		k.requireCuts(userID, session.Cutoff{}, session.Cutoff{}, "a user without a cut-off")
	}
}

// A cut-off of everybody is in the Moment of every user. Those of users stay as they are.
func (k kit) cutEverybody() {
	want, users := map[string]session.Cutoff{}, oneOfEachGroup()
	for i, userID := range append(users, neighbours(3)...) {
		if want[userID] = (session.Cutoff{}); i%2 == 0 {
			want[userID] = k.cut(userID, end)
		}
	}
	var all session.Cutoff
	for range 2 {
		all = k.cut("", func(before session.Cutoff, latest, _ session.Millis) session.Cutoff {
			conformance.Equal(k, all, before, cutReplaces, "the cut-off of everybody that change was given")
			conformance.Equal(k, 0, latest, cutLatest, "Cut of everybody")
			return before.End("", farAway, 0).Change(farAway, 0)
		})
		for userID, cut := range want {
			k.requireCuts(userID, cut, all, "after a cut-off of everybody")
		}
		for group, got := range k.readAll(1000).all {
			conformance.Equal(k, [2]int64{all.Ended, all.Changed}, [2]int64{got.Ended, got.Changed}, logCalls,
				"the entry of the cut-off of everybody, for group %d", group)
		}
	}
	for userID, cut := range want {
		got := k.readAll(1000).users[userID]
		conformance.Equal(k, cut.Ended, got.Ended, logCalls, "the entry of the cut-off of a user, after cut-offs of everybody")
	}
}

func (k kit) cutLatest() {
	k.create("other", "u2", func(row *session.Session, _ session.Millis) { row.KeepUntil += 300 * day })
	var newest session.Session
	for i, days := range []session.Millis{1, 5, 3} {
		row := k.create(fmt.Sprintf("s%d", i), "u1", keep(days*day))
		if days == 5 {
			newest = row
		}
	}
	row := k.create("revoked", "u1", revoke(session.ReasonLogout), keep(9*day))
	k.cut("u1", func(before session.Cutoff, latest, _ session.Millis) session.Cutoff {
		conformance.True(k, newest.KeepUntil <= latest && latest <= row.KeepUntil, cutLatest,
			"latest is %d; a session lives until %d, and a revoked one until %d", latest, newest.KeepUntil, row.KeepUntil)
		return before.End("", latest, 0)
	})
}

// A refresh makes a session live longer while Cut runs. Then change is called again with the later time, unless the store lets
// the refresh wait for the Cut.
func (k kit) cutLatestMeanwhile() {
	row := k.create("s1", "u1", keep(5*day))
	for i := range 2 { // without a cut-off, and with one
		refreshed := false
		var last session.Millis
		var refresh sync.WaitGroup
		calls := 0
		k.cut("u1", func(before session.Cutoff, latest, _ session.Millis) session.Cutoff {
			last = latest
			if calls++; calls == 1 {
				done := make(chan struct{})
				refresh.Go(func() {
					defer close(done)
					row = k.update(row.ID, func(row *session.Session, _ session.Millis) { row.KeepUntil += 4 * day })
				})
				select {
				case <-done:
					refreshed = true
				case <-time.After(2 * time.Second):
				}
			}
			return before.Change(latest, 0)
		})
		refresh.Wait()
		if refreshed {
			conformance.True(k, last >= row.KeepUntil, cutLatest,
				"latest is %d in the last of %d calls; a session lives until %d since the first one, case %d", last, calls, row.KeepUntil, i)
		}
	}
}

func (k kit) cutError() {
	want := errors.New("an error of change")
	for _, userID := range []string{"u1", ""} {
		for range 2 { // without a cut-off, and with one
			before, from := k.moment("u1"), k.endOfLog()
			err := k.store.Cut(k.ctx, userID, func(c session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
				return c.End("", farAway, 0), want
			})
			conformance.Same(k, err, want, cutUnchanged, "change returned another cut-off and an error")
			k.requireCuts("u1", before.User, before.All, "after change returned another cut-off and an error")
			k.cut(userID, func(c session.Cutoff, _, _ session.Millis) session.Cutoff { return c })
			k.requireCuts("u1", before.User, before.All, "after change returned the cut-off unchanged")
			seen := newView()
			k.readFrom(from, 100, &seen)
			user, all := seen.users["u1"], seen.all[0]
			conformance.True(k, user.Ended <= before.User.Ended && all.Ended <= before.All.Ended, cutUnchanged,
				"the log has the entries %+v and %+v", user, all)
			k.cut(userID, end)
		}
	}
}

// Parallel changes of one cut-off happen one after the other.
func (k kit) cutAtomic() {
	const writers, each = 8, 10
	for _, userID := range []string{"u1", ""} {
		versions := make([][]int64, writers)
		errs := conformance.Parallel(writers, func(i int) error {
			for range each {
				var version int64
				err := k.store.Cut(k.ctx, userID, func(before session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
					runtime.Gosched() // so that others run in between
					after := before.Change(farAway, 0)
					version = after.Changed
					return after, nil
				})
				if err != nil {
					return err
				}
				versions[i] = append(versions[i], version)
			}
			return nil
		})
		conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d goroutines call Cut(%q)", writers, userID)
		if userID == "" {
			for _, member := range oneOfEachGroup() {
				conformance.Equal(k, writers*each, k.moment(member).All.Changed, cutReplaces,
					"%d Cuts of everybody that add 1 to Changed; group %d", writers*each, session.GroupOfUser(member))
			}
			continue
		}
		var want []int64
		for i := range writers * each {
			want = append(want, int64(i+1))
		}
		conformance.SameElements(k, want, slices.Concat(versions...), cutReplaces,
			"the versions of %d Cuts that add 1 to Changed", writers*each)
		conformance.Equal(k, writers*each, k.moment(userID).User.Changed, cutReplaces, "after them")
	}
}

// meanwhile lists the cut-offs that are committed while make or change runs, and whether it must then run again.
var meanwhile = []struct {
	userID string
	change cutChange
	again  bool
}{{"u1", end, true}, {"u1", outdate, true}, {"", end, true}, {"", outdate, true},
	{neighbours(2)[1], end, false}, {neighbours(3)[2], outdate, false}, {"u2", end, false}, {"u3", outdate, false}}

func (k kit) createAgain() {
	for i, tc := range meanwhile {
		what := fmt.Sprintf("Create for u1, and in its make a Cut(%q), case %d", tc.userID, i)
		var moments []session.Moment
		err := k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
			if moments = append(moments, at); len(moments) == 1 {
				k.cut(tc.userID, tc.change)
			}
			return login(fmt.Sprintf("s%d.%d", i, len(moments)), "u1", at), nil
		})
		conformance.NoError(k, err, createAgain, "%s", what)
		k.requireAgain(moments, tc.again, createAgain, what)
		for n := range moments {
			_, err := k.get(id("u1", fmt.Sprintf("s%d.%d", i, n+1)))
			conformance.Equal(k, n+1 == len(moments), err == nil, createAgain, "%s: is the session of call %d stored", what, n+1)
		}
	}
	want, calls := errors.New("an error of make"), 0
	err := k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
		if calls++; calls > 1 {
			return session.Session{}, want
		}
		k.cut("u1", end)
		return login("failed", "u1", at), nil
	})
	conformance.Same(k, err, want, createError, "make fails when it is called again")
	k.requireNoRow(id("u1", "failed"), "u1", createError, "make failed when it was called again")
}

func (k kit) updateAgain() {
	want := k.create("s1", "u1")
	for i, tc := range meanwhile {
		what := fmt.Sprintf("Update of a row of u1, and in its change a Cut(%q), case %d", tc.userID, i)
		var moments []session.Moment
		err := k.store.Update(k.ctx, want.ID, func(row session.Session, at session.Moment) (session.Session, error) {
			requireEqual(k, want, row, updateReplaces, "the row that change was given, %s", what)
			if moments = append(moments, at); len(moments) == 1 {
				k.cut(tc.userID, tc.change)
			}
			row.Next += int64(len(moments))
			return row, nil
		})
		conformance.NoError(k, err, updateAgain, "%s", what)
		k.requireAgain(moments, tc.again, updateAgain, what)
		want.Next += int64(len(moments))
		k.requireRow(want, updateAgain, what)
	}
}

// requireAgain requires that the last call had the cut-offs that are there now, and that there was another call only if one
// was needed.
func (k kit) requireAgain(moments []session.Moment, again bool, sentence, what string) {
	k.Helper()
	now, last := k.moment("u1"), moments[len(moments)-1]
	conformance.Equal(k, now.User, last.User, sentence, "%s: the cut-off of the user in the last of %d calls", what, len(moments))
	conformance.Equal(k, now.All, last.All, sentence, "%s: the cut-off of everybody in the last of %d calls", what, len(moments))
	conformance.Equal(k, again, len(moments) > 1, sentence, "%s: was it called again", what)
}

// Logins run while the user is cut off. A session whose make returned after a cut-off is not older than it.
func (k kit) cutAndCreate() {
	const writers, each, cuts = 4, 10, 8
	for _, userID := range []string{"u1", ""} {
		var newest atomic.Int64 // the version of the newest cut-off
		done := make(chan []error, 1)
		go func() {
			done <- conformance.Parallel(writers, func(i int) error {
				for j := range each {
					var born, cut int64
					err := k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
						row := login(fmt.Sprintf("%q%d.%d", userID, i, j), "u1", at)
						if born = row.Born.User; userID == "" {
							born = row.Born.All
						}
						runtime.Gosched() // so that others run in between
						cut = newest.Load()
						return row, nil
					})
					if err == nil && born < cut {
						err = fmt.Errorf("version %d was stored after a cut-off to version %d", born, cut)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		}()
		for range cuts {
			newest.Store(k.cut(userID, end).Ended)
		}
		conformance.NoError(k, errors.Join(<-done...), createAgain, "%d Creates for u1, and Cut(%q)", writers*each, userID)
		rows, _ := k.listAll("u1")
		conformance.True(k, len(rows) >= writers*each, createStores, "%d sessions after %d Creates", len(rows), writers*each)
	}
}

// Refreshes run while the user is cut off. None of those whose change returns after the cut-off is written.
func (k kit) cutAndUpdate() {
	const writers = 4
	ended := errors.New("the session has ended")
	for _, userID := range []string{"u1", ""} {
		row := k.create("of "+userID, "u1")
		var cut atomic.Bool
		done := make(chan []error, 1)
		go func() {
			done <- conformance.Parallel(writers, func(int) error {
				for {
					var late bool
					err := k.store.Update(k.ctx, row.ID, func(row session.Session, at session.Moment) (session.Session, error) {
						row.Next++
						if at.Ended(row) {
							return row, ended
						}
						runtime.Gosched() // so that others run in between
						late = cut.Load()
						return row, nil
					})
					if err == nil && late {
						err = errors.New("it was changed after the cut-off")
					}
					if err != nil {
						return err
					}
				}
			})
		}()
		time.Sleep(5 * time.Millisecond)
		k.cut(userID, end)
		cut.Store(true)
		for _, err := range <-done {
			conformance.ErrorIs(k, err, ended, updateAgain, "Update of a session that a cut-off has ended")
		}
	}
}
