package session_test

import (
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// The sessions that a cut-off has ended go first. So a session that it spares stays, although it is the one that has been
// unused for the longest time.
func TestExcess(t *testing.T) {
	at := session.Moment{User: session.Cutoff{Ended: 5, Spared: "spared"}}
	const minute = 60_000
	live := []session.Session{{ID: "new", LastUsedAt: 9, CreatedAt: 5 * minute, Born: session.Version{User: 5}},
		{ID: "ended", LastUsedAt: 8, CreatedAt: minute}, {ID: "spared", LastUsedAt: 1, CreatedAt: 2 * minute},
		{ID: "old", LastUsedAt: 2, CreatedAt: 3 * minute, Born: session.Version{User: 5}}, {ID: "ended later", LastUsedAt: 9, CreatedAt: 4 * minute}}
	for i := range live {
		live[i].KeepUntil = 1
	}
	require.Nil(t, session.Excess(live, at, 5, "new"))
	require.Equal(t, []string{"ended"}, session.Excess(live, at, 4, "new"))
	require.Equal(t, []string{"ended", "ended later", "spared"}, session.Excess(live, at, 2, "new"))
	require.Equal(t, []string{"ended", "ended later", "spared", "old"}, session.Excess(live, at, 0, "new"))
	require.Equal(t, []string{"ended", "spared", "old", "new"}, session.Excess(live, at, 0, "ended later")[:4])
}

// A session whose time is over goes as early as one that was ended, whenever it was used.
func TestExcessOfSessionsWhoseTimeIsOver(t *testing.T) {
	live := []session.Session{{ID: "old", LastUsedAt: 1, KeepUntil: 9}, {ID: "over", LastUsedAt: 5, KeepUntil: 8}, {ID: "new", LastUsedAt: 4, CreatedAt: 60_000, KeepUntil: 9}}
	require.Equal(t, []string{"over"}, session.Excess(live, session.Moment{Now: 8}, 2, "new"))
	require.Equal(t, []string{"old"}, session.Excess(live, session.Moment{Now: 7}, 2, "new"))
	require.Equal(t, []string{"over", "old"}, session.Excess(live, session.Moment{Now: 8}, 1, "new"))
}

// Of logins at the same time one stays.
func TestExcessOfLoginsAtOnce(t *testing.T) {
	live := []session.Session{{ID: "b", CreatedAt: 7}, {ID: "a", CreatedAt: 7}, {ID: "c", CreatedAt: 4000}, {ID: "old", CreatedAt: -9000, LastUsedAt: -9000}}
	excess := func(created string) []string { return session.Excess(live, session.Moment{}, 1, created) }
	require.Equal(t, []string{"old"}, excess("a"))
	require.ElementsMatch(t, []string{"old", "a"}, excess("b"))
	require.ElementsMatch(t, []string{"old", "a", "b"}, excess("c"))
	require.ElementsMatch(t, []string{"a", "b", "c"}, excess("old"), "it was made much earlier, or the clock was set back")

	live[3].LastUsedAt = 4001 // a login whose second step comes at the same time
	require.ElementsMatch(t, []string{"a", "b", "c"}, excess("old"))
	require.ElementsMatch(t, []string{"a", "b"}, excess("c"))
	live[3].Parent = 1 // it was refreshed, so it began long ago
	require.ElementsMatch(t, []string{"a", "b", "old"}, excess("c"))
}

// Logins that wait for their second step cost no session.
func TestExcessOfLoginsThatWait(t *testing.T) {
	live := []session.Session{{ID: "old", LastUsedAt: -90_000, CreatedAt: -90_000}, {ID: "new", LastUsedAt: 5}}
	var waiting []string
	for i := range session.MaxPending {
		id := fmt.Sprint("w", i)
		live = append(live, session.Session{ID: id, LastUsedAt: session.Millis(10 + i), CreatedAt: session.Millis(10_000 * i), PendingUntil: 99})
		waiting = append(waiting, id)
	}
	excess := func(limit int, created string) []string {
		ids := session.Excess(live, session.Moment{}, limit, created)
		slices.Sort(ids)
		return ids
	}
	require.Empty(t, excess(2, waiting[0]))
	require.Equal(t, []string{"old"}, excess(1, "new"))
	require.Equal(t, []string{"new"}, excess(1, "old"))
	live = append(live, session.Session{ID: "w", LastUsedAt: -50_000, CreatedAt: -50_000, PendingUntil: 99})
	require.Equal(t, []string{"w0"}, excess(2, "w"))
	require.Equal(t, []string{"w"}, excess(2, waiting[3]))
	require.Equal(t, []string{"old", "w0"}, excess(1, "w"))
}

// The group of a user is a promise to rows that are stored already.
func TestGroupsAreThoseOfCRC32(t *testing.T) {
	for _, userID := range []string{"", "1", "42", "user@example.org", "\x00\xff", strings.Repeat("Zo\u00eb", 300)} {
		require.EqualValues(t, crc32.ChecksumIEEE([]byte(userID))%session.Groups, session.GroupOfUser(userID), "%q", userID)
		require.Zero(t, testing.AllocsPerRun(100, func() { session.GroupOfUser(userID) }))
	}
}
