package session_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/session/sessiontest"
)

func TestMemoryConforms(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) session.Store { return &session.Memory{} })
}

// memoryRules make rows that leave 65 minutes after their last use.
var memoryRules = rotation.Rules{Window: 10 * time.Second, Idle: time.Hour, Absolute: 24 * time.Hour}

const leaveAfter = 65 * time.Minute

// steppedClock is a clock that only a test moves.
type steppedClock struct{ millis atomic.Int64 }

func newSteppedClock() *steppedClock {
	c := new(steppedClock)
	c.millis.Store(time.Date(2026, 2, 28, 23, 59, 30, 0, time.UTC).UnixMilli())
	return c
}

func (c *steppedClock) now() time.Time       { return time.UnixMilli(c.millis.Load()) }
func (c *steppedClock) step(d time.Duration) { c.millis.Add(d.Milliseconds()) }

func createIn(t testing.TB, m *session.Memory, id, userID string) {
	t.Helper()
	require.NoError(t, m.Create(context.Background(), func(now session.Millis) (session.Session, error) {
		client := rotation.Client{UserAgent: "agent", Address: "192.0.2.1"}
		return memoryRules.New(id, userID, session.HashOf(id), client, now), nil
	}), "Create of %s", id)
}

// refreshIn refreshes a session with its current generation.
func refreshIn(t testing.TB, m *session.Memory, id string) {
	t.Helper()
	change := func(row session.Session, now session.Millis) (session.Session, error) {
		presented := rotation.Presented{Generation: row.Current, SecretHash: row.SecretHash, UserActive: true}
		row, out := memoryRules.Refresh(row, presented, now)
		if out.Event != rotation.EventRotated {
			return row, fmt.Errorf("refresh: %s", out.Event)
		}
		return row, nil
	}
	require.NoError(t, m.Update(context.Background(), id, change), "refresh of %s", id)
}

func revokeIn(t testing.TB, m *session.Memory, id string) {
	t.Helper()
	change := func(row session.Session, now session.Millis) (session.Session, error) {
		return row.Revoke(session.ReasonLogout, now), nil
	}
	require.NoError(t, m.Update(context.Background(), id, change), "revocation of %s", id)
}

// reasons returns the sessions of a user and why they ended. Live sessions have no reason.
func reasons(t testing.TB, m *session.Memory, userID string) map[string]session.Reason {
	t.Helper()
	rows, err := m.ListByUser(context.Background(), userID)
	require.NoError(t, err)
	got := map[string]session.Reason{}
	for _, row := range rows {
		got[row.ID] = row.Reason
	}
	return got
}

func revokedIn(t testing.TB, m *session.Memory, since session.Millis) ([]string, session.Millis) {
	t.Helper()
	ids := []string{}
	now, err := m.RevokedSince(context.Background(), since, func(id string, _ session.Millis) { ids = append(ids, id) })
	require.NoError(t, err)
	return ids, now
}

func TestMemoryEvicts(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{MaxPerUser: 3, Clock: clock.now}
	for _, id := range []string{"a", "b", "c"} {
		createIn(t, m, id, "u1")
		createIn(t, m, "other "+id, "u2")
		clock.step(time.Minute)
	}
	refreshIn(t, m, "a")
	clock.step(time.Minute)
	_, since := revokedIn(t, m, 0)
	createIn(t, m, "d", "u1")
	require.Equal(t, map[string]session.Reason{"a": "", "b": session.ReasonEvicted, "c": "", "d": ""}, reasons(t, m, "u1"),
		"b was not used for longest")
	revoked, _ := revokedIn(t, m, since)
	require.Equal(t, []string{"b"}, revoked, "an eviction is a revocation")
	require.Equal(t, map[string]session.Reason{"other a": "", "other b": "", "other c": ""},
		reasons(t, m, "u2"), "another user")

	revokeIn(t, m, "a")
	createIn(t, m, "e", "u1")
	require.Equal(t,
		map[string]session.Reason{"a": session.ReasonLogout, "b": session.ReasonEvicted, "c": "", "d": "", "e": ""},
		reasons(t, m, "u1"), "revoked sessions do not count")
}

// A login must not evict its own session, whatever the clock shows.
func TestMemoryEvictsOthersOnly(t *testing.T) {
	for _, tc := range []struct {
		name string
		step time.Duration
	}{{"the clock stands", 0}, {"the clock runs backwards", -time.Minute}} {
		t.Run(tc.name, func(t *testing.T) {
			clock := newSteppedClock()
			m := &session.Memory{Clock: clock.now}
			const most = 100 // by default
			for i := range 2 * most {
				id := fmt.Sprintf("s%d", i)
				createIn(t, m, id, "u1")
				clock.step(tc.step)
				got := reasons(t, m, "u1")
				require.Empty(t, got[id], "the session that was just created")
				live := 0
				for _, reason := range got {
					if reason == "" {
						live++
					}
				}
				require.Equal(t, min(i+1, most), live, "live sessions after %d logins", i+1)
			}
		})
	}
}

// The store does not grow beyond the sessions that must stay, even if nobody calls DeleteExpired.
func TestMemoryShrinks(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	const burst = 400
	for i := range burst {
		createIn(t, m, fmt.Sprintf("s%d", i), fmt.Sprintf("u%d", i%5))
		if i%3 == 0 {
			revokeIn(t, m, fmt.Sprintf("s%d", i))
		}
	}
	clock.step(30 * time.Minute)
	refreshIn(t, m, "s1")
	clock.step(leaveAfter - 30*time.Minute - time.Millisecond)
	createIn(t, m, "early", "u")
	require.Len(t, reasons(t, m, "u0"), burst/5, "rows stay until their time is over")

	clock.step(time.Minute + time.Millisecond)
	for i := range burst / 4 { // each Create removes a few
		createIn(t, m, fmt.Sprintf("new%d", i), fmt.Sprintf("v%d", i%2))
	}
	require.Equal(t, map[string]session.Reason{"s1": ""}, reasons(t, m, "u1"), "of the burst only what was used since")
	for _, userID := range []string{"u0", "u2", "u3", "u4"} {
		require.Empty(t, reasons(t, m, userID), userID)
	}
	revoked, _ := revokedIn(t, m, 0)
	require.Empty(t, revoked)

	clock.step(24 * time.Hour)
	for n := 1; n > 0; {
		var err error
		n, err = m.DeleteExpired(t.Context(), 1000)
		require.NoError(t, err)
	}
	for _, userID := range []string{"u", "u1", "v0", "v1"} {
		require.Empty(t, reasons(t, m, userID), userID)
	}
}

// DeleteExpired removes as many rows as its limit allows.
func TestMemoryDeleteExpired(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	for i := range 10 {
		createIn(t, m, fmt.Sprintf("s%d", i), "u1")
	}
	clock.step(leaveAfter + time.Minute)
	for _, want := range []int{0, 4, 4, 2, 0} {
		n, err := m.DeleteExpired(t.Context(), min(4, 4*want))
		require.NoError(t, err)
		require.Equal(t, want, n)
	}
}

// After the clock was set back, callers that ask with a time from before still see new revocations, no window opens again,
// and no row is removed too early.
func TestMemoryClockSetBack(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	for _, id := range []string{"a", "b", "c", "d"} {
		createIn(t, m, id, "u1")
	}
	clock.step(time.Minute)
	refreshIn(t, m, "d")
	revokeIn(t, m, "a")
	_, since := revokedIn(t, m, 0)

	clock.step(-40 * time.Minute)
	revokeIn(t, m, "b")
	revoked, back := revokedIn(t, m, since)
	require.Contains(t, revoked, "b", "since is a time that the store gave before its clock was set back")
	revokeIn(t, m, "c")
	revoked, _ = revokedIn(t, m, back)
	require.Subset(t, revoked, []string{"b", "c"}, "since is a time from after that")
	revoked, _ = revokedIn(t, m, 0)
	require.ElementsMatch(t, []string{"a", "b", "c"}, revoked)

	refreshIn(t, m, "d")
	rows, err := m.ListByUser(t.Context(), "u1")
	require.NoError(t, err)
	for _, row := range rows {
		require.GreaterOrEqual(t, row.SentAt, row.CreatedAt, "%s", row.ID)
		require.GreaterOrEqual(t, row.LastUsedAt, row.CreatedAt, "%s", row.ID)
	}
	createIn(t, m, "e", "u1")
	n, err := m.DeleteExpired(t.Context(), 100)
	require.NoError(t, err)
	require.Zero(t, n)
	clock.step(leaveAfter + time.Minute) // e has expired now, the others have not
	for range 3 {
		_, err := m.DeleteExpired(t.Context(), 100)
		require.NoError(t, err)
	}
	require.Equal(t, map[string]session.Reason{"a": session.ReasonLogout, "b": session.ReasonLogout,
		"c": session.ReasonLogout, "d": ""}, reasons(t, m, "u1"))
}

// A row that is removed during a change is not changed.
func TestMemoryRemovedMeanwhile(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	createIn(t, m, "a", "u1")
	err := m.Update(t.Context(), "a", func(row session.Session, now session.Millis) (session.Session, error) {
		clock.step(leaveAfter + time.Minute)
		n, err := m.DeleteExpired(t.Context(), 10)
		require.NoError(t, err)
		require.Equal(t, 1, n)
		row.KeepUntil = now + 24*60*60*1000
		return row.Revoke(session.ReasonLogout, now), nil
	})
	require.ErrorIs(t, err, session.ErrNotFound)
	revoked, _ := revokedIn(t, m, 0)
	require.Empty(t, revoked)
}

// The memory of one session is limited, so that a host can tell how many sessions fit. The benchmark measures a million.
func TestMemorySize(t *testing.T) {
	const sessions, most = 100_000, 60_000_000
	m := &session.Memory{}
	before := heap()
	for i := range sessions {
		fill(t, m, i)
	}
	used := heap() - before
	t.Logf("%d bytes each", used/sessions)
	require.Less(t, used, uint64(most), "bytes of heap for %d sessions", sessions)
	require.Len(t, reasons(t, m, userIDOf(7)), 1)
	runtime.KeepAlive(m)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC() // the second one completes the sweep of the first one
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func userIDOf(i int) string { return fmt.Sprintf("%08d-user", i) }

// fill creates the session of one more user and returns its id. Like the sessions of real requests, they share no strings.
func fill(t testing.TB, m *session.Memory, i int) string {
	id := newID()
	agent := fmt.Sprintf("%-110s",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/144."+fmt.Sprint(i))
	address := strings.Clone("198.51.100.123")
	err := m.Create(context.Background(), func(now session.Millis) (session.Session, error) {
		client := rotation.Client{UserAgent: agent, Address: address}
		return memoryRules.New(id, userIDOf(i), session.HashOf(id), client, now), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newID() string {
	var id [16]byte
	rand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}
