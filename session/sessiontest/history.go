package sessiontest

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// history plays a random history on the store, and the same history on its own rows by the same pure functions. The two must
// agree after every step. So all stores that pass give the same verdicts.
func (k kit) history() {
	const seed, steps = 20240229, 400
	h := &historian{kit: k, random: rand.New(rand.NewPCG(seed, 1)), rows: map[string]session.Session{},
		cuts: map[string]session.Cutoff{}, secrets: map[string]session.Hash{}, given: map[string][]int64{},
		seen: map[rotation.Event]int{}}
	for step := range steps {
		// The rules see a time that runs ahead of the store's clock, so that windows close without a wait.
		if h.random.IntN(3) == 0 {
			h.ahead += session.Millis(h.random.Int64N(15_000))
		}
		h.what = fmt.Sprintf("step %d of the history with seed %d", step, seed)
		if id := h.pick(); id == "" || h.random.IntN(40) == 0 {
			h.login()
		} else if n := h.random.IntN(150); n < 6 {
			h.cutOff([]string{h.rows[id].UserID, h.rows[id].UserID, h.rows[id].UserID, "no sessions", "", ""}[n])
		} else {
			h.step(id)
		}
	}
	h.end()
}

type historian struct {
	kit
	random  *rand.Rand
	ahead   session.Millis
	what    string
	ids     []string
	rows    map[string]session.Session
	cuts    map[string]session.Cutoff // that of everybody has the user id ""
	secrets map[string]session.Hash
	given   map[string][]int64 // every generation that was handed out
	seen    map[rotation.Event]int
}

func (h *historian) login() {
	userID := userIDs[h.random.IntN(len(userIDs))]
	id := id(userID, fmt.Sprintf("session%d", len(h.ids)))
	h.secrets[id] = session.HashOf(id)
	var row session.Session
	err := h.store.Create(h.ctx, userID, func(at session.Moment) (session.Session, error) {
		h.requireMoment(at, userID, h.what+": Create")
		row = rules.New(id, userID, h.secrets[id], rotation.Terms{}, rotation.Client{UserAgent: "agent", Address: "2001:db8::1"}, at.Now+h.ahead)
		row.Born = h.moment(userID, 0).Version()
		return row, nil
	})
	conformance.NoError(h, err, createStores, "%s: Create", h.what)
	h.ids, h.rows[id], h.given[id] = append(h.ids, id), row, []int64{row.Current}
	h.requireRow(row, createStores, h.what)
}

// cutOff changes a cut-off in one of the ways that signet does.
func (h *historian) cutOff(userID string) {
	spared := h.ids[h.random.IntN(len(h.ids))]
	how, keepUntil := h.random.IntN(3), 100*day+session.Millis(h.random.IntN(10))
	h.cuts[userID] = h.cut(userID, func(before session.Cutoff, latest, now session.Millis) session.Cutoff {
		conformance.Equal(h, h.cuts[userID], before, cutReplaces, "%s: Cut(%+q)", h.what, userID)
		if userID == "" {
			now = 0 // then it is the same in every group of users
		}
		switch how {
		case 0:
			return before.Change(now+keepUntil, now)
		case 1:
			return before.End(spared, max(latest, now+keepUntil), now)
		}
		return before.End("", max(latest, now+keepUntil), now)
	})
	other := userIDs[h.random.IntN(len(userIDs))]
	h.requireMoment(h.kit.moment(other), other, h.what+": List")
}

// moment returns the Moment of a user as it must be.
func (h *historian) moment(userID string, now session.Millis) session.Moment {
	return session.Moment{Now: now, User: h.cuts[userID], All: h.cuts[""]}
}

// pick returns one of the sessions, mostly one of three live ones. It returns none if fewer are live.
func (h *historian) pick() string {
	var live []string
	for _, id := range h.ids {
		if row := h.rows[id]; row.RevokedAt == 0 && !h.moment(row.UserID, 0).Ended(row) {
			live = append(live, id)
		}
	}
	switch {
	case len(live) < 3:
		return ""
	case h.random.IntN(10) == 0:
		return h.ids[h.random.IntN(len(h.ids))]
	}
	return live[h.random.IntN(3)]
}

func (h *historian) step(id string) {
	rules := rules
	rules.Window = time.Duration(h.random.IntN(20)) * time.Second
	rules.Strict = h.random.IntN(40) == 0
	switch n := h.random.IntN(100); {
	case n < 2:
		h.apply(id, "revoke", func(row session.Session, now session.Millis) (session.Session, rotation.Outcome) {
			return row.Revoke(session.ReasonLogout, now), rotation.Outcome{}
		})
	case n < 20:
		generation := h.rows[id].Current
		if n < 4 {
			generation = h.rows[id].Parent
		}
		h.apply(id, "confirm", func(row session.Session, now session.Millis) (session.Session, rotation.Outcome) {
			return rules.Confirm(row, generation, now), rotation.Outcome{}
		})
	case n < 23: // faster than the windows close
		rules.Window, rules.Strict = time.Minute, false
		for range len(session.Ancestors{}) + 2 {
			h.refresh(id, rules,
				rotation.Presented{Generation: h.rows[id].Current, SecretHash: h.secrets[id], UserActive: true})
		}
	default:
		if n < 26 {
			rules.Idle = time.Second
		}
		presented := rotation.Presented{Generation: h.generation(id), SecretHash: h.secrets[id], UserActive: n != 26}
		if n == 27 {
			presented.SecretHash = session.HashOf("another")
		}
		h.refresh(id, rules, presented)
	}
}

func (h *historian) refresh(id string, rules rotation.Rules, presented rotation.Presented) {
	h.apply(id, fmt.Sprintf("refresh with generation %d by %+v", presented.Generation, rules),
		func(row session.Session, now session.Millis) (session.Session, rotation.Outcome) {
			return rules.Refresh(row, presented, now)
		})
}

// generation picks a generation to present. Mostly it is one that honest clients have.
func (h *historian) generation(id string) int64 {
	row, given := h.rows[id], h.given[id]
	switch n := h.random.IntN(100); {
	case n < 55:
		return row.Current
	case n < 85:
		return row.Parent
	case n < 94:
		return row.Ancestors[h.random.IntN(len(row.Ancestors))].Generation
	case n < 97:
		return given[h.random.IntN(len(given))]
	case n < 99:
		return row.Next + h.random.Int64N(1e6) // as if the store had lost writes
	}
	return h.random.Int64() // as if from another session
}

func (h *historian) apply(id, what string, rule func(session.Session, session.Millis) (session.Session, rotation.Outcome)) {
	what = fmt.Sprintf("%s: %s", h.what, what)
	tracked := h.rows[id]
	var given, wrote session.Session // of the last call of change: only that one counts
	var moment session.Moment
	var now session.Millis
	verdict := func(row session.Session, now session.Millis) (session.Session, rotation.Outcome) {
		if h.moment(row.UserID, now).Ended(row) {
			return row.Revoke(session.ReasonRevoked, now), rotation.Outcome{}
		}
		return rule(row, now)
	}
	err := h.store.Update(h.ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		given, moment, now = row, at, at.Now+h.ahead
		wrote, _ = verdict(row, now)
		return wrote, nil
	})
	conformance.NoError(h, err, updateReplaces, "%s", what)
	h.requireMoment(moment, given.UserID, what)
	requireEqual(h, tracked, given, updateReplaces, "the row that change was given, %s", what)
	row, outcome := verdict(tracked, now)
	h.rows[id] = row
	if outcome.Generation != 0 {
		h.given[id] = append(h.given[id], outcome.Generation)
	}
	h.seen[outcome.Event]++
	h.requireRow(row, updateReplaces, what)
}

// requireMoment compares the cut-offs of a Moment with those of the history.
func (h *historian) requireMoment(at session.Moment, userID, what string) {
	h.Helper()
	want := h.moment(userID, at.Now)
	if userID == "" { // it stands for everybody
		want.User = at.User
	}
	conformance.Equal(h, want, at, momentIs, "%s, user id %+q", what, userID)
}

// end compares the whole store with the rows and the cut-offs of the history.
func (h *historian) end() {
	live, revoked := map[string][]session.Session{}, map[string]session.Millis{}
	for _, row := range h.rows {
		if row.Revoked() {
			revoked[row.ID] = row.KeepUntil
		} else {
			live[row.UserID] = append(live[row.UserID], row)
		}
	}
	for _, userID := range userIDs {
		rows, at := h.listAll(userID)
		conformance.SameElements(h, live[userID], rows, listReturns, "at the end of the history, List(%+q)", userID)
		h.requireMoment(at, userID, "at the end of the history, List")
	}
	users := map[string]session.Entry{}
	for userID, cut := range h.cuts {
		if userID != "" {
			users[userID] = session.CutEntry(userID, cut)
		}
	}
	h.requireLog(revoked, users, h.cuts[""], "at the end of the history")
	conformance.True(h, h.cuts[""].Version() > 0 && len(users) > 1, cutReplaces, "the history is without cut-offs: mend the kit")
	for _, event := range []rotation.Event{rotation.EventRotated, rotation.EventRepeated, rotation.EventCoalesced,
		rotation.EventRecovered, rotation.EventUnknown, rotation.EventTheft} {
		if h.seen[event] == 0 {
			h.Fatalf("the history is without the event %s: mend the kit", event)
		}
	}
	h.Logf("events: %v", h.seen)
}
