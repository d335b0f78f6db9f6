package session_test

import (
	"context"
	crand "crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
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

// steppedClock is a clock that only a test moves. It begins in the past, because Create removes nothing that is not past the
// time of this machine too.
type steppedClock struct{ millis atomic.Int64 }

func newSteppedClock() *steppedClock {
	c := new(steppedClock)
	c.millis.Store(time.Date(2024, 2, 28, 23, 59, 30, 0, time.UTC).UnixMilli())
	return c
}

func (c *steppedClock) now() time.Time       { return time.UnixMilli(c.millis.Load()) }
func (c *steppedClock) step(d time.Duration) { c.millis.Add(d.Milliseconds()) }

func createIn(t testing.TB, m *session.Memory, id, userID string) {
	t.Helper()
	require.NoError(t, m.Create(context.Background(), userID, func(at session.Moment) (session.Session, error) {
		client := rotation.Client{UserAgent: "agent", Address: "192.0.2.1"}
		return memoryRules.New(id, userID, session.HashOf(id), rotation.Terms{}, client, at.Now), nil
	}), "Create of %s", id)
}

// refreshIn refreshes a session with its current generation.
func refreshIn(t testing.TB, m *session.Memory, id string) {
	t.Helper()
	change := func(row session.Session, at session.Moment) (session.Session, error) {
		presented := rotation.Presented{Generation: row.Current, SecretHash: row.SecretHash, UserActive: true}
		row, out := memoryRules.Refresh(row, presented, at.Now)
		if out.Event != rotation.EventRotated {
			return row, fmt.Errorf("refresh: %s", out.Event)
		}
		return row, nil
	}
	require.NoError(t, m.Update(context.Background(), id, change), "refresh of %s", id)
}

func revokeIn(t testing.TB, m *session.Memory, id string) {
	t.Helper()
	change := func(row session.Session, at session.Moment) (session.Session, error) {
		return row.Revoke(session.ReasonLogout, at.Now), nil
	}
	require.NoError(t, m.Update(context.Background(), id, change), "revocation of %s", id)
}

// live returns the sessions of a user that are not revoked.
func live(t testing.TB, m *session.Memory, userID string) (ids []string) {
	t.Helper()
	rows, _, err := m.List(context.Background(), userID, 1_000_000)
	require.NoError(t, err)
	for _, row := range rows {
		ids = append(ids, row.ID)
	}
	return ids
}

// reasons returns why sessions ended. Live sessions have no reason, and those that are gone have "gone".
func reasons(t testing.TB, m *session.Memory, ids ...string) map[string]session.Reason {
	t.Helper()
	got := map[string]session.Reason{}
	for _, id := range ids {
		err := m.Update(context.Background(), id, func(row session.Session, _ session.Moment) (session.Session, error) {
			got[id] = row.Reason
			return row, nil
		})
		if errors.Is(err, session.ErrNotFound) {
			got[id], err = "gone", nil
		}
		require.NoError(t, err)
	}
	return got
}

// logged reads the log behind a cursor, in pages of 3 entries.
func logged(t testing.TB, m *session.Memory, after session.Cursor) (entries []session.Entry, next session.Cursor) {
	t.Helper()
	for more := true; more; {
		page, err := m.ReadLog(context.Background(), after, 3, func(e session.Entry) { entries = append(entries, e) })
		require.NoError(t, err)
		after, more = page.Next, page.More
	}
	return entries, after
}

// revokedIn returns the keys of the revoked sessions in the log behind a cursor.
func revokedIn(t testing.TB, m *session.Memory, after session.Cursor) (keys []string, next session.Cursor) {
	t.Helper()
	entries, next := logged(t, m, after)
	for _, e := range entries {
		if e.Kind == session.SessionRevoked {
			keys = append(keys, e.ID)
		}
	}
	return keys, next
}

func cutIn(t testing.TB, m *session.Memory, userID string, keepFor time.Duration) (cut session.Cutoff) {
	t.Helper()
	change := func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		cut = before.End("", max(latest, now.Add(keepFor)), now)
		return cut, nil
	}
	require.NoError(t, m.Cut(context.Background(), userID, change))
	return cut
}

func deleteIn(t testing.TB, m *session.Memory, before time.Time, limit int) int {
	t.Helper()
	n, err := m.DeleteExpired(context.Background(), session.MillisOf(before), limit)
	require.NoError(t, err)
	return n
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
	_, end := logged(t, m, session.Start)
	createIn(t, m, "d", "u1")
	require.Equal(t, map[string]session.Reason{"a": "", "b": session.ReasonEvicted, "c": "", "d": ""},
		reasons(t, m, "a", "b", "c", "d"), "b was not used for longest")
	revoked, _ := revokedIn(t, m, end)
	require.Equal(t, []string{"b"}, revoked, "an eviction is a revocation")
	require.ElementsMatch(t, []string{"other a", "other b", "other c"}, live(t, m, "u2"), "another user")

	revokeIn(t, m, "a")
	createIn(t, m, "e", "u1")
	require.Equal(t,
		map[string]session.Reason{"a": session.ReasonLogout, "b": session.ReasonEvicted, "c": "", "d": "", "e": ""},
		reasons(t, m, "a", "b", "c", "d", "e"), "revoked sessions do not count")

	m.MaxPerUser = 1
	createIn(t, m, "f", "u1")
	require.Equal(t, []string{"f"}, live(t, m, "u1"), "all that are beyond the limit")
}

// A login must not evict its own session, whatever the clock shows. Of the others it evicts the one that Excess names.
func TestMemoryEvictsOthersOnly(t *testing.T) {
	for _, tc := range []struct {
		name string
		step time.Duration
	}{{"the clock stands", 0}, {"the clock runs backwards", -time.Minute}, {"the clock runs", time.Second}} {
		t.Run(tc.name, func(t *testing.T) {
			clock := newSteppedClock()
			m := &session.Memory{Clock: clock.now}
			for i := range 2 * session.MaxPerUser {
				id := fmt.Sprintf("s%d", i)
				before, _, err := m.List(t.Context(), "u1", 1000)
				require.NoError(t, err)
				createIn(t, m, id, "u1")
				clock.step(tc.step)
				got := live(t, m, "u1")
				require.Contains(t, got, id, "the session that was just created")
				require.Len(t, got, min(i+1, session.MaxPerUser), "live sessions after %d logins", i+1)
				slices.Reverse(before) // the oldest first
				for _, evicted := range session.Excess(append(before, session.Session{ID: id}), session.Moment{}, session.MaxPerUser, id) {
					if tc.step != 0 { // otherwise any of them may go
						require.NotContains(t, got, evicted)
					}
				}
			}
		})
	}
}

// The list of a user and the log stay right, whatever becomes of the rows: live, revoked, live again, and removed.
func TestMemoryLists(t *testing.T) {
	const seed = 5
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now, MaxPerUser: 1000}
	random := rand.New(rand.NewPCG(seed, 1))
	rows, wantLive, wantRevoked := map[string]bool{}, map[string][]string{}, map[string]bool{}
	for step := range 2000 {
		id := fmt.Sprintf("s%d", random.IntN(300))
		userID := fmt.Sprintf("u%d", len(id)+int(id[len(id)-1])%3)
		isLive := slices.Contains(wantLive[userID], id)
		drop := func() {
			wantLive[userID] = slices.DeleteFunc(wantLive[userID], func(other string) bool { return other == id })
			delete(wantRevoked, id)
		}
		change := func(change func(row *session.Session, now session.Millis)) {
			require.NoError(t, m.Update(t.Context(), id, func(row session.Session, at session.Moment) (session.Session, error) {
				change(&row, at.Now)
				return row, nil
			}))
		}
		switch n := random.IntN(10); {
		case !rows[id]:
			createIn(t, m, id, userID)
			rows[id], wantLive[userID] = true, append(wantLive[userID], id)
		case n < 4:
			revokeIn(t, m, id)
			drop()
			wantRevoked[id] = true
		case n < 6:
			change(func(row *session.Session, _ session.Millis) { row.RevokedAt, row.Reason = 0, "" })
			if !isLive {
				drop()
				wantLive[userID] = append(wantLive[userID], id)
			}
		case n < 9:
			change(func(row *session.Session, now session.Millis) { row.KeepUntil = now.Add(-time.Hour) })
			require.Equal(t, 1, deleteIn(t, m, clock.now(), 1))
			drop()
			rows[id] = false
		default:
			change(func(row *session.Session, now session.Millis) { row.UserAgent += "x" })
		}
		require.ElementsMatch(t, wantLive[userID], live(t, m, userID), "step %d", step)
		if step%50 == 0 {
			revoked, _ := revokedIn(t, m, session.Start)
			require.Len(t, revoked, len(wantRevoked), "step %d", step)
			for _, key := range revoked {
				require.True(t, wantRevoked[key], "step %d", step)
			}
		}
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
		cutIn(t, m, fmt.Sprintf("cut%d", i%10), leaveAfter)
	}
	cutIn(t, m, "", 0)
	clock.step(30 * time.Minute)
	refreshIn(t, m, "s1")
	clock.step(leaveAfter - 30*time.Minute - time.Millisecond)
	createIn(t, m, "early", "u")
	entries, _ := logged(t, m, session.Start)
	require.Len(t, entries, burst/3+1+10+1, "rows and cut-offs stay until their time is over")

	clock.step(time.Minute + time.Millisecond)
	for i := range burst / 4 { // each Create removes a few
		createIn(t, m, fmt.Sprintf("new%d", i), fmt.Sprintf("v%d", i%2))
	}
	require.Equal(t, []string{"s1"}, live(t, m, "u1"), "of the burst only what was used since")
	for _, userID := range []string{"u0", "u2", "u3", "u4"} {
		require.Empty(t, live(t, m, userID), userID)
	}
	entries, _ = logged(t, m, session.Start)
	require.Len(t, entries, 1, "the cut-off of everybody stays")
	require.Equal(t, session.AllCut, entries[0].Kind)

	clock.step(24 * time.Hour)
	for deleteIn(t, m, clock.now(), 1000) > 0 {
	}
	for _, userID := range []string{"u", "u1", "v0", "v1"} {
		require.Empty(t, live(t, m, userID), userID)
	}
}

// DeleteExpired removes as many rows and cut-offs as its limit allows.
func TestMemoryDeleteExpired(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	for i := range 7 {
		createIn(t, m, fmt.Sprintf("s%d", i), "u1")
	}
	for i := range 3 {
		cutIn(t, m, fmt.Sprintf("u%d", 2+i), leaveAfter)
	}
	clock.step(leaveAfter + time.Minute)
	require.Zero(t, deleteIn(t, m, clock.now().Add(-2*time.Minute), 100), "the other clock")
	for _, want := range []int{0, 4, 4, 2, 0} {
		require.Equal(t, want, deleteIn(t, m, clock.now(), min(4, 4*want)))
	}
}

// A row may be due long before all others, or years before the next one. The store finds it without a look at every minute.
func TestMemoryRowsFarApart(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	for i := range 50 {
		err := m.Create(t.Context(), "u1", func(at session.Moment) (session.Session, error) {
			keepUntil := at.Now.Add(time.Duration(i*i) * 20 * time.Hour)
			return session.Session{ID: fmt.Sprintf("s%d", i), UserID: "u1", KeepUntil: keepUntil}, nil
		})
		require.NoError(t, err)
	}
	require.Zero(t, deleteIn(t, m, time.UnixMilli(-1<<60), 100))
	require.Zero(t, deleteIn(t, m, time.UnixMilli(0), 100))
	for i := range 51 {
		require.Len(t, live(t, m, "u1"), 50-i)
		clock.step(time.Duration(2*i+1) * 20 * time.Hour)
		deleteIn(t, m, clock.now(), 100)
	}
}

// After the clock was set back, a reader still sees new revocations, no window opens again, and no row is removed too early.
func TestMemoryClockSetBack(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	for _, id := range []string{"a", "b", "c", "d"} {
		createIn(t, m, id, "u1")
	}
	clock.step(time.Minute)
	refreshIn(t, m, "d")
	revokeIn(t, m, "a")
	cut := cutIn(t, m, "u2", time.Hour)
	_, next := logged(t, m, session.Start)

	clock.step(-40 * time.Minute)
	revokeIn(t, m, "b")
	revoked, next := revokedIn(t, m, next)
	require.Equal(t, []string{"b"}, revoked)
	revokeIn(t, m, "c")
	revoked, _ = revokedIn(t, m, next)
	require.Equal(t, []string{"c"}, revoked)
	revoked, _ = revokedIn(t, m, session.Start)
	require.Equal(t, []string{"a", "b", "c"}, revoked)
	require.Greater(t, cutIn(t, m, "u2", time.Hour).Ended, cut.Ended)

	refreshIn(t, m, "d")
	rows, _, err := m.List(t.Context(), "u1", 10)
	require.NoError(t, err)
	require.Len(t, rows, 1)
	require.GreaterOrEqual(t, rows[0].SentAt, rows[0].CreatedAt)
	require.GreaterOrEqual(t, rows[0].LastUsedAt, rows[0].CreatedAt)
	createIn(t, m, "e", "u1")
	require.Zero(t, deleteIn(t, m, clock.now(), 100))
	clock.step(leaveAfter + time.Minute) // e has expired now, the others have not
	for range 3 {
		deleteIn(t, m, clock.now(), 100)
	}
	require.Equal(t, map[string]session.Reason{"a": session.ReasonLogout, "b": session.ReasonLogout,
		"c": session.ReasonLogout, "d": "", "e": "gone"}, reasons(t, m, "a", "b", "c", "d", "e"))
}

// A clock that jumps a month ahead for two minutes and comes back removes nothing. So no revoked session comes back.
func TestMemoryClockJumps(t *testing.T) {
	for _, called := range []bool{false, true} {
		t.Run(fmt.Sprintf("DeleteExpired was called: %t", called), func(t *testing.T) {
			clock := newSteppedClock()
			clock.millis.Store(time.Now().UnixMilli())
			m := &session.Memory{Clock: clock.now}
			createIn(t, m, "live", "u1")
			createIn(t, m, "revoked", "u1")
			revokeIn(t, m, "revoked")
			cut := cutIn(t, m, "u2", leaveAfter)
			right := clock.now()
			if called {
				require.Zero(t, deleteIn(t, m, right, 100))
			}
			want, _ := logged(t, m, session.Start)
			check := func(what string) {
				t.Helper()
				entries, _ := logged(t, m, session.Start)
				require.Equal(t, want, entries, what)
				require.Equal(t, map[string]session.Reason{"live": "", "revoked": session.ReasonLogout},
					reasons(t, m, "live", "revoked"), what)
				_, at, err := m.List(t.Context(), "u2", 1)
				require.NoError(t, err)
				require.Equal(t, cut, at.User, what)
			}

			const jump = 30 * 24 * time.Hour
			clock.step(jump)
			for i := range 20 {
				createIn(t, m, fmt.Sprintf("during%d", i), "u3")
				check("a Create while the clock is ahead")
			}
			require.Zero(t, deleteIn(t, m, right.Add(time.Minute), 100))
			check("a DeleteExpired while the clock is ahead")
			clock.step(2*time.Minute - jump)
			for i := range 20 {
				createIn(t, m, fmt.Sprintf("after%d", i), "u3")
			}
			require.Zero(t, deleteIn(t, m, right.Add(jump), 100), "now the other clock is ahead")
			check("the clock is right again")

			clock.step(leaveAfter + time.Minute)
			require.Equal(t, 23, deleteIn(t, m, clock.now(), 100), "all but those that were made while the clock was ahead")
		})
	}
}

// A row that is removed during a change is not changed.
func TestMemoryRemovedMeanwhile(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	createIn(t, m, "a", "u1")
	err := m.Update(t.Context(), "a", func(row session.Session, at session.Moment) (session.Session, error) {
		clock.step(leaveAfter + time.Minute)
		require.Equal(t, 1, deleteIn(t, m, clock.now(), 10))
		row.KeepUntil = at.Now.Add(24 * time.Hour)
		return row.Revoke(session.ReasonLogout, at.Now), nil
	})
	require.ErrorIs(t, err, session.ErrNotFound)
	entries, _ := logged(t, m, session.Start)
	require.Empty(t, entries)
}

// A login that is removed at once, because its time is over, evicts nobody.
func TestMemoryRemovedAtOnce(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now, MaxPerUser: 1}
	for _, userID := range []string{"", "u1"} {
		createIn(t, m, "of "+userID, userID)
		err := m.Create(t.Context(), userID, func(at session.Moment) (session.Session, error) {
			return session.Session{ID: "old", UserID: userID, KeepUntil: at.Now.Add(-time.Hour)}, nil
		})
		require.NoError(t, err)
		require.Equal(t, []string{"of " + userID}, live(t, m, userID))
	}
}

// A cursor of another store, as that of the process before this one, is not taken for one of this store.
func TestMemoryCursor(t *testing.T) {
	m := new(session.Memory)
	createIn(t, m, "a", "u1")
	revokeIn(t, m, "a")
	_, next := logged(t, m, session.Start)
	name, position, _ := strings.Cut(string(next), ".")
	require.Equal(t, "1", position)
	for _, position := range []string{"2", "-1", "0x1", "1.0", "", "9223372036854775807", "9223372036854775808"} {
		_, err := m.ReadLog(t.Context(), session.Cursor(name+"."+position), 10, func(session.Entry) { t.Error("an entry") })
		require.ErrorIs(t, err, session.ErrCursor, position)
	}
	_, err := new(session.Memory).ReadLog(t.Context(), session.Cursor(name+".0"), 10, func(session.Entry) { t.Error("an entry") })
	require.ErrorIs(t, err, session.ErrCursor, "the store of the process before")
}

// One user with very many sessions costs the others nothing.
func TestMemoryManySessionsOfOneUser(t *testing.T) {
	clock := newSteppedClock()
	m := &session.Memory{Clock: clock.now}
	const sessions = 20_000
	for i := range sessions {
		createIn(t, m, fmt.Sprintf("s%d", i), "u1") // each evicts another one
	}
	entries, _ := logged(t, m, session.Start)
	require.Len(t, entries, sessions-session.MaxPerUser)
	require.Len(t, live(t, m, "u1"), session.MaxPerUser)
	clock.step(leaveAfter + time.Minute)
	require.Equal(t, 1000, deleteIn(t, m, clock.now(), 1000))
	require.Equal(t, sessions-1000, deleteIn(t, m, clock.now(), sessions))
	entries, _ = logged(t, m, session.Start)
	require.Empty(t, entries)
	require.Empty(t, live(t, m, "u1"))
}

// The memory of one session is limited, so that a host can tell how many sessions fit. The benchmark measures a million.
func TestMemorySize(t *testing.T) {
	const sessions, most = 100_000, 35_000_000
	m := &session.Memory{}
	before := heap()
	for i := range sessions {
		fill(t, m, i)
	}
	used := heap() - before
	t.Logf("%d bytes each", used/sessions)
	require.Less(t, used, uint64(most), "bytes of heap for %d sessions", sessions)
	require.Len(t, live(t, m, userIDOf(7)), 1)
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
	err := m.Create(context.Background(), userIDOf(i), func(at session.Moment) (session.Session, error) {
		client := rotation.Client{UserAgent: agent, Address: address}
		return memoryRules.New(id, userIDOf(i), session.HashOf(id), rotation.Terms{}, client, at.Now), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func newID() string {
	var id [16]byte
	crand.Read(id[:])
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// A Clock that panics, or ends the goroutine as FailNow of a test does, leaves no lock behind.
func TestMemoryClockPanics(t *testing.T) {
	broken := false
	m := &session.Memory{Clock: func() time.Time {
		if broken {
			panic("a fault of the clock")
		}
		return time.Now()
	}}
	createIn(t, m, "s", "u")
	same := func(row session.Session, _ session.Moment) (session.Session, error) { return row, nil }
	for name, call := range map[string]func() error{
		"Create": func() error {
			return m.Create(t.Context(), "u", func(session.Moment) (session.Session, error) { return session.Session{}, nil })
		},
		"Update": func() error { return m.Update(t.Context(), "s", same) },
		"Cut": func() error {
			return m.Cut(t.Context(), "u", func(c session.Cutoff, _, _ session.Millis) (session.Cutoff, error) { return c, nil })
		},
		"List": func() error { _, _, err := m.List(t.Context(), "u", 10); return err },
		"ReadLog": func() error {
			_, err := m.ReadLog(t.Context(), session.End, 10, func(session.Entry) {})
			return err
		},
		"DeleteExpired": func() error { _, err := m.DeleteExpired(t.Context(), 1, 10); return err },
	} {
		broken = true
		func() {
			defer func() { recover() }()
			_ = call()
		}()
		broken = false
		require.NoError(t, m.Update(t.Context(), "s", same), "after %s", name) // it would hang
	}
}
