package sessiontest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// full is a row with no zero field, with values that a store could lose: numbers beyond 2^53, letters of four bytes in
// labels of 256 bytes, times far away.
func full(id, userID string, now session.Millis) session.Session {
	return session.Session{
		ID: id, UserID: userID, SecretHash: session.HashOf(id),
		UserAgent: strings.Repeat("\U0001f600", 62) + "'\"\\{%} ", Address: strings.Repeat("\u0436", 128),
		CreatedAt: now - 3, EndsAt: 253402300799999, LastUsedAt: now - 2, KeepUntil: now + 400*day,
		Current: math.MaxInt64 - 1, Parent: math.MaxInt64 - 2, Next: math.MaxInt64,
		RotatedAt: now - 1, SentAt: now, ConfirmedAt: now + 1, Forks: math.MaxInt32,
		Ancestors: session.Ancestors{{Generation: 1<<53 + 1, SupersededAt: now + 2}, {Generation: 1, SupersededAt: 1},
			{Generation: math.MaxInt64, SupersededAt: now + 3}, {Generation: 1<<63 - 25, SupersededAt: math.MaxInt64}},
		RevokedAt: now + 4, Reason: session.ReasonReuse,
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
	for i, label := range []string{strings.Repeat("a", 256), "\u00e9", "e\u0301", " a ", "NULL", "{}", `"`, `\`} {
		row = k.create(fmt.Sprintf("label%d", i), "u1",
			func(row *session.Session, _ session.Millis) { row.UserAgent, row.Address = label, label })
		k.requireRow(row, keptAsItIs, fmt.Sprintf("labels %+q", label))
	}
}

// userIDs differ where a careless store sees one: in case, accents, trailing spaces, wildcards, after 199 characters.
var userIDs = []string{"1", "01", "1.0", "A", "a", "a ", " a", "\u00e1", "a\u0301", "\u0430", "a\n", "a,b", "a b", "a:b", "a{b}",
	"{a}", "{}", "{", "%", "_", "*", "a*", "?", "[a]", "o'Brien", `"quoted"`, "`", `back\slash`, `\`, "'; --", "$1", "?1", "null",
	"stra\u00dfe", "strasse", "\u043a\u043b\u044e\u0447", "\u65e5\u672c", "\U0001f600", "\U0001f601", "I", "i", "\u0130", "\u0131",
	strings.Repeat("x", 199) + "y", strings.Repeat("x", 199) + "z", strings.Repeat("\u00e9", 200), "", "me@example.com"}

func (k kit) userIDs() {
	var rows []session.Session
	for i, userID := range userIDs {
		rows = append(rows, k.create(fmt.Sprintf("session%d", i), userID))
	}
	for _, row := range rows {
		got := k.list1(row.UserID)
		require.Equal(k, []string{row.ID}, ids(got), broken(listReturns, "ListByUser(%+q), not those of others", row.UserID))
		requireEqual(k, row, got[0], broken(keptAsItIs, "user id %+q", row.UserID))
		k.requireRow(row, keptAsItIs, fmt.Sprintf("user id %+q", row.UserID))
	}
	for _, userID := range []string{"b", "a  ", "x%", "session0", strings.Repeat("x", 199), strings.Repeat("x", 199) + "Y"} {
		require.Empty(k, k.list1(userID), broken(listReturns, "ListByUser(%+q): there is no such user", userID))
	}
}

func (k kit) sessionIDs() {
	var rows []session.Session
	for _, id := range []string{"Ab", "aB", "AB", "ab", "ab ", "ab-_", "ab-", "ab_",
		"gwzXEx2iD1mPuT1Jd5oWqA", "gwzXEx2iD1mPuT1Jd5oWqa"} {
		rows = append(rows, k.create(id, "u1"))
	}
	for _, row := range rows {
		k.requireRow(row, createStores, "other ids differ in case, or in the end")
	}
	for _, id := range []string{"", "a", "ab  ", " ab", "ab%", "*", "AB-", "gwzXEx2iD1mPuT1Jd5oWQA", "u1"} {
		k.requireNoRow(id, "u1", updateNotFound, "no session has exactly that id")
	}
}

func (k kit) createError() {
	want := errors.New("an error of make")
	err := k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) { return login("s1", "u1", now), want })
	require.ErrorIs(k, err, want, broken(createError, "Create with a make that fails"))
	k.requireNoRow("s1", "u1", createError, "after a make that failed")
	k.requireRow(k.create("s1", "u1"), createStores, "after a make that failed")
}

func (k kit) createTwice() {
	first := k.create("s1", "u1")
	for _, userID := range []string{"u1", "u2"} {
		err := k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) { return full("s1", userID, now), nil })
		require.Error(k, err, broken(createStores, "a second Create of one id"))
		k.requireRow(first, createStores, "after a second Create of its id")
	}
	require.Empty(k, k.list1("u2"), broken(createStores, "ListByUser of the user of a Create that failed"))
	found, _ := k.revokedSince(0)
	require.Empty(k, found, broken(createStores, "RevokedSince(0) after a Create, of a revoked row, that failed"))
}

func (k kit) createParallel() {
	const n = 32
	var want []string
	for i := range n {
		want = append(want, fmt.Sprintf("s%d", i))
	}
	errs := parallel(n, func(i int) error {
		return k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) { return login(want[i], "u1", now), nil })
	})
	require.Empty(k, errs, broken(safeForConcurrentUse, "%d Creates at once", n))
	require.ElementsMatch(k, want, ids(k.list1("u1")), broken(listReturns, "after %d Creates at once", n))
}

// Of many that create one id, one succeeds, and the row is that one's.
func (k kit) createRace() {
	const n = 16
	won := make([]bool, n)
	parallel(n, func(i int) error {
		won[i] = k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) {
			return login("s1", fmt.Sprintf("u%d", i), now), nil
		}) == nil
		return nil
	})
	winner := slices.Index(won, true)
	require.NotEqual(k, -1, winner, broken(createStores, "%d Creates of one id at once: none succeeded", n))
	for i := range n {
		require.Equal(k, i == winner, won[i], broken(createStores, "%d Creates of one id at once: one succeeds", n))
		require.Len(k, k.list1(fmt.Sprintf("u%d", i)), map[bool]int{true: 1}[won[i]],
			broken(createStores, "%d Creates of one id at once: only the row of the one that succeeded is there", n))
	}
}
