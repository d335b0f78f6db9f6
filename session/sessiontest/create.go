package sessiontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// full returns a row without zero fields. A careless store could lose its values: numbers beyond 2^53, letters of four bytes
// in labels of 256 bytes, and times far away.
func full(id, userID string, now session.Millis) session.Session {
	return session.Session{
		ID: id, UserID: userID, SecretHash: session.HashOf(id),
		UserAgent: strings.Repeat("\U0001f600", 62) + "'\"\\{%} ", Address: strings.Repeat("\u0436", 128),
		Born:      session.Version{All: math.MaxInt64 - 3, User: 1<<53 + 3},
		CreatedAt: now - 3, EndsAt: 253402300799999, LastUsedAt: now - 2, KeepUntil: now + 400*day,
		Current: math.MaxInt64 - 1, Parent: math.MaxInt64 - 2, Next: math.MaxInt64,
		SentAt: now, ConfirmedAt: now + 1,
		Ancestors: session.Ancestors{{Generation: 1<<53 + 1, SupersededAt: now + 2}, {Generation: 1, SupersededAt: 1},
			{Generation: math.MaxInt64, SupersededAt: now + 3}, {Generation: 1<<63 - 25, SupersededAt: math.MaxInt64},
			{Generation: 1<<62 + 1, SupersededAt: now + 6}},
		RevokedAt: now + 4, Reason: session.ReasonReuse,
		Idle:   int64(37 * hour),
		Facts:  `{"tenant":"` + strings.Repeat("\u00e9", 500) + `"}`,
		Raised: `{"acr":"` + strings.Repeat("x", 2030) + `"}`, RaisedFrom: 1<<53 + 5,
		PendingUntil: now + 5, Tries: 3, Tickets: 1<<53 + 7, TicketsUsed: -1 << 62,
	}
}

func (k kit) everyField() {
	row := k.create("full", "u1", func(row *session.Session, now session.Millis) { *row = full(row.ID, row.UserID, now) })
	k.requireRow(row, keptAsItIs, "every field set")
	row = k.create("login", "u1")
	k.requireRow(row, keptAsItIs, "as Rules.New makes it")
	row = k.create("empty", "u1", func(row *session.Session, now session.Millis) {
		*row = session.Session{ID: row.ID, UserID: row.UserID, KeepUntil: now + day}
	})
	k.requireRow(row, keptAsItIs, "nearly every field zero")
	row = k.create("newer", "u1", func(row *session.Session, _ session.Millis) {
		text, err := json.Marshal(*row)
		conformance.NoError(k, err, keptAsItIs, "the JSON of a row")
		err = json.Unmarshal([]byte(strings.Replace(string(text), "{", `{"future":{"a":[1]},`, 1)), row)
		conformance.NoError(k, err, keptAsItIs, "the JSON of a row of a newer version")
	})
	k.requireRow(row, keptAsItIs, "with a member that a newer version has written")
	k.requireRow(k.update(row.ID, func(row *session.Session, _ session.Millis) { row.Tries++ }), keptAsItIs,
		"with a member that a newer version has written, after a change")
	for i, label := range []string{strings.Repeat("a", 256), "\u00e9", "e\u0301", " a ", "NULL", "{}", `"`, `\`} {
		row = k.create(fmt.Sprintf("label%d", i), "u1",
			func(row *session.Session, _ session.Millis) { row.UserAgent, row.Address = label, label })
		k.requireRow(row, keptAsItIs, fmt.Sprintf("labels %+q", label))
	}
}

// userIDs are ids that a careless store could confuse: they differ in case, accents, trailing spaces or wildcards, or only
// after 199 characters, or after 1,023, which is nearly as long as an id can be.
var userIDs = []string{"1", "01", "1.0", "A", "a", "a ", " a", "\u00e1", "a\u0301", "\u0430", "a\n",
	"a,b", "a b", "a:b", "a{b}",
	"{a}", "{}", "{", "%", "_", "*", "a*", "?", "[a]", "o'Brien", `"quoted"`, "`", `back\slash`, `\`, "'; --",
	"$1", "?1", "null",
	"stra\u00dfe", "strasse", "\u043a\u043b\u044e\u0447", "\u65e5\u672c", "\U0001f600", "\U0001f601", "I", "i",
	"\u0130", "\u0131",
	strings.Repeat("x", 1023) + "y", strings.Repeat("x", 1023) + "z",
	strings.Repeat("x", 199) + "y", strings.Repeat("x", 199) + "z", strings.Repeat("\u00e9", 200), "", "me@example.com"}

func (k kit) userIDs() {
	var rows []session.Session
	for i, userID := range userIDs {
		rows = append(rows, k.create(fmt.Sprintf("session%d", i), userID))
	}
	for _, row := range rows {
		got, _ := k.listAll(row.UserID)
		conformance.Equal(k, []string{row.ID}, ids(got), listReturns, "List(%+q), not those of others", row.UserID)
		requireEqual(k, row, got[0], keptAsItIs, "user id %+q", row.UserID)
		k.requireRow(row, keptAsItIs, fmt.Sprintf("user id %+q", row.UserID))
	}
	for _, userID := range []string{"b", "a  ", "x%", "session0", rows[0].ID, strings.Repeat("x", 199),
		strings.Repeat("x", 199) + "Y"} {
		got, _ := k.listAll(userID)
		conformance.SameElements(k, nil, got, listReturns, "List(%+q): there is no such user", userID)
	}
}

func (k kit) sessionIDs() {
	var rows []session.Session
	for _, name := range []string{"Ab", "aB", "AB", "ab", "ab ", "ab-_", "ab-", "ab_",
		"gwzXEx2iD1mPuT1Jd5oWqA", "gwzXEx2iD1mPuT1Jd5oWqa"} {
		rows = append(rows, k.create(name, "u1"))
	}
	for _, row := range rows {
		k.requireRow(row, createStores, "other ids differ in case, or in the end")
	}
	for _, text := range []string{"", "a", "ab  ", " ab", "ab%", "*", "AB-", "gwzXEx2iD1mPuT1Jd5oWQA", "u1"} {
		k.requireNoRow(text, "u1", updateNotFound, "no session has exactly that id")
		k.requireNoRow(id("u1", text), "u1", updateNotFound, "no session has exactly that id")
	}
	for _, row := range rows {
		k.requireNoRow(row.ID[1:], "u1", updateNotFound, "an id without its group")
		for _, digit := range "0123456789abcdefABCDEF" {
			if other := string(digit) + row.ID[1:]; other != row.ID {
				k.requireNoRow(other, "u1", updateNotFound, "an id with the digit of another group")
			}
		}
	}
	other := k.create("ab", "u2") // its group is not that of u1
	k.requireNoRow(strings.ToUpper(other.ID[:1])+other.ID[1:], "u2", updateNotFound, "the group in upper case")
	for _, row := range append(rows, other) {
		k.requireRow(row, createStores, "another group has an id with the same rest")
	}
}

func (k kit) createError() {
	want := errors.New("an error of make")
	err := k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) { return login("s1", "u1", at), want })
	conformance.Same(k, err, want, createError, "Create with a make that fails")
	k.requireNoRow(id("u1", "s1"), "u1", createError, "after a make that failed")
	k.requireRow(k.create("s1", "u1"), createStores, "after a make that failed")
}

func (k kit) createTwice() {
	users := neighbours(2)
	first := k.create("s1", users[0])
	for _, userID := range users {
		err := k.store.Create(k.ctx, userID, func(at session.Moment) (session.Session, error) {
			return full(first.ID, userID, at.Now), nil
		})
		conformance.Error(k, err, createStores, "a second Create of one id")
		k.requireRow(first, createStores, "after a second Create of its id")
	}
	rows, _ := k.listAll(users[1])
	conformance.SameElements(k, nil, rows, createStores, "List of the user of a Create that failed")
	conformance.Equal(k, 0, len(k.readAll(10).revoked), createStores, "the log after a Create, of a revoked row, that failed")
}

func (k kit) createParallel() {
	const n = 32
	var want []string
	for i := range n {
		want = append(want, id("u1", fmt.Sprintf("s%d", i)))
	}
	errs := conformance.Parallel(n, func(i int) error {
		return k.store.Create(k.ctx, "u1", func(at session.Moment) (session.Session, error) {
			return login(fmt.Sprintf("s%d", i), "u1", at), nil
		})
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d Creates at once", n)
	rows, _ := k.listAll("u1")
	conformance.SameElements(k, want, ids(rows), listReturns, "after %d Creates at once", n)
}

// If many Creates of one id run at the same time, one succeeds, and its row is stored.
func (k kit) createRace() {
	const n = 16
	users, won := neighbours(n), make([]bool, n)
	conformance.Parallel(n, func(i int) error {
		won[i] = k.store.Create(k.ctx, users[i], func(at session.Moment) (session.Session, error) {
			return login("s1", users[i], at), nil
		}) == nil
		return nil
	})
	winner := slices.Index(won, true)
	conformance.True(k, winner >= 0, createStores, "%d Creates of one id at once: none succeeded", n)
	for i := range n {
		conformance.Equal(k, i == winner, won[i], createStores, "%d Creates of one id at once: one succeeds", n)
		rows, _ := k.listAll(users[i])
		conformance.Equal(k, map[bool]int{true: 1}[won[i]], len(rows),
			createStores, "%d Creates of one id at once: only the row of the one that succeeded is there", n)
	}
}
