package feed

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/session"
)

func seeds() []string {
	cut := named(session.CutEntry("u", session.Cutoff{Ended: 5, Spared: "s", Changed: 6, KeepUntil: 1 << 40}))
	l := list{issuer: "https://login.example", time: 1_800_000_000_000, after: "1\"é", next: "2", more: true, entries: []session.Entry{
		named(session.RevokedEntry("a", 1_800_000_060_001)), cut, named(session.CutEntry("v", session.Cutoff{Changed: 1})),
		session.AllEntry(session.AllGroups, session.Cutoff{Ended: 7}), session.AllEntry(15, session.Cutoff{Ended: 8})}}
	s := status{time: 1, nonce: "n", session: name("a"), Status: revoked.Status{Revoked: true, KeepUntil: 2, User: cut,
		All: session.AllEntry(3, session.Cutoff{Ended: 9})}}
	return []string{string(l.encode()), string((&list{}).encode()), string(s.encode()), `{}`, ``, `[]`,
		strings.Replace(string(l.encode()), `"more":true`, `"more":true,"more":false`, 1),
		strings.Replace(string(l.encode()), `"group":15`, `"group":16`, 1),
		strings.Replace(string(l.encode()), `"time":`, `"time":-`, 1),
		strings.Replace(string(l.encode()), `"sessions":"`, `"sessions":"\n`, 1),
		strings.Replace(string(s.encode()), `"session":"`, `"session":"\n`, 1),
		strings.Replace(string(s.encode()), `"keep":2`, `"keep":2.0`, 1),
		strings.Replace(string(s.encode()), `"revoked":true`, `"revoked":"true"`, 1)}
}

// FuzzDocument reads any text as the payload of a document. One that is accepted keeps its meaning when it is written
// and read again.
func FuzzDocument(f *testing.F) {
	for _, seed := range seeds() {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l, errList := parseList(text)
		if errList == nil {
			require.NotEqual(t, session.End, l.next)
			for _, e := range l.entries {
				requireEntry(t, e)
			}
			again, err := parseList(string(l.encode()))
			require.NoError(t, err)
			require.Equal(t, l, again)
		}
		s, errStatus := parseStatus(text)
		if errStatus == nil {
			require.Len(t, s.session, nameBytes)
			requireEntry(t, s.User)
			requireEntry(t, s.All)
			again, err := parseStatus(string(s.encode()))
			require.NoError(t, err)
			require.Equal(t, s, again)
		}
	})
}

func requireEntry(t *testing.T, e session.Entry) {
	require.GreaterOrEqual(t, min(e.Ended, e.Changed, int64(e.KeepUntil)), int64(0))
	if e.Kind == session.AllCut {
		require.True(t, -1 <= e.Group && e.Group < session.Groups)
		return
	}
	require.Len(t, e.ID, nameBytes)
	require.Contains(t, []int{0, nameBytes}, len(e.Spared))
}

func TestSeedsOfTheFuzzTarget(t *testing.T) {
	for i, seed := range seeds() {
		_, errList := parseList(seed)
		_, errStatus := parseStatus(seed)
		require.Equal(t, i < 2, errList == nil, "%s: %v", seed, errList)
		require.Equal(t, i == 2, errStatus == nil, "%s: %v", seed, errStatus)
	}
}

// Nothing is forgotten too early: the minute is rounded up.
func TestMinutes(t *testing.T) {
	for keep, want := range map[session.Millis]session.Millis{-5: 0, 0: 0, 1: 60_000, 60_000: 60_000, 60_001: 120_000,
		1 << 62: (1<<32 - 1) * minute} {
		l := list{next: "1", entries: []session.Entry{named(session.RevokedEntry("a", keep))}}
		got, err := parseList(string(l.encode()))
		require.NoError(t, err)
		require.Equal(t, []session.Entry{named(session.RevokedEntry("a", want))}, got.entries)
	}
}

// A follower reads when the session began, and the documents of an older service, which do not say it.
func TestStatusSaysWhenTheSessionBegan(t *testing.T) {
	s := status{time: 1, nonce: "n", session: name("a"), Status: revoked.Status{KeepUntil: 2, CreatedAt: 7,
		User: named(session.CutEntry("u", session.Cutoff{Ended: 5, KeepUntil: 9})), All: session.AllEntry(3, session.Cutoff{Ended: 4})}}
	text := string(s.encode())
	got, err := parseStatus(text)
	require.NoError(t, err)
	require.EqualValues(t, 7, got.CreatedAt)
	older := strings.Replace(text, `"created":7,`, "", 1)
	require.NotEqual(t, text, older)
	got, err = parseStatus(older)
	require.NoError(t, err)
	require.Zero(t, got.CreatedAt)
	for _, bad := range []string{`"created":"7",`, `"created":7.5,`, `"created":7,"created":8,`} {
		_, err = parseStatus(strings.Replace(text, `"created":7,`, bad, 1))
		require.Error(t, err, bad)
	}
}
