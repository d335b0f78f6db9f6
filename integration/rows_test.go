package integration

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// These functions change a store of any kind directly.

// newSession makes a session.
func newSession(t testing.TB, store session.Store, userID string) (row session.Session) {
	t.Helper()
	err := store.Create(t.Context(), userID, func(at session.Moment) (session.Session, error) {
		row = session.Session{ID: session.NewID(userID), UserID: userID, Born: at.Version(), CreatedAt: at.Now,
			LastUsedAt: at.Now, EndsAt: at.Now.Add(day), KeepUntil: at.Now.Add(day)}
		return row, nil
	})
	require.NoError(t, err)
	return row
}

// changeSession changes a session.
func changeSession(t testing.TB, store session.Store, id string, change func(row *session.Session, at session.Moment)) {
	t.Helper()
	require.NoError(t, store.Update(t.Context(), id, func(row session.Session, at session.Moment) (session.Session, error) {
		change(&row, at)
		return row, nil
	}))
}

// revokeSession revokes a session.
func revokeSession(t testing.TB, store session.Store, id string) {
	t.Helper()
	changeSession(t, store, id, func(row *session.Session, at session.Moment) {
		*row = row.Revoke(session.ReasonLogout, at.Now)
	})
}

// changeCutoff changes the cut-off of a user, or that of everybody.
func changeCutoff(t testing.TB, store session.Store, userID string,
	change func(c session.Cutoff, latest, now session.Millis) session.Cutoff) {
	t.Helper()
	err := store.Cut(t.Context(), userID, func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		return change(c, latest, now), nil
	})
	require.NoError(t, err)
}

// endSessions ends all sessions.
func endSessions(t testing.TB, store session.Store, userID string) {
	t.Helper()
	changeCutoff(t, store, userID, func(c session.Cutoff, latest, now session.Millis) session.Cutoff {
		return c.End("", max(latest, now.Add(time.Minute)), now)
	})
}
