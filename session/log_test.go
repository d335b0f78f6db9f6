package session_test

import (
	"hash/crc32"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// The sessions that a cut-off has ended go first. So a session that it spares stays, although it is the one that has been
// unused for the longest time.
func TestExcess(t *testing.T) {
	at := session.Moment{User: session.Cutoff{Ended: 5, Spared: "spared"}}
	live := []session.Session{{ID: "new", LastUsedAt: 9, Born: session.Version{User: 5}}, {ID: "ended", LastUsedAt: 8},
		{ID: "spared", LastUsedAt: 1}, {ID: "old", LastUsedAt: 2, Born: session.Version{User: 5}}, {ID: "ended later", LastUsedAt: 9}}
	require.Nil(t, session.Excess(live, at, 5, "new"))
	require.Equal(t, []string{"ended"}, session.Excess(live, at, 4, "new"))
	require.Equal(t, []string{"ended", "ended later", "spared"}, session.Excess(live, at, 2, "new"))
	require.Equal(t, []string{"ended", "ended later", "spared", "old"}, session.Excess(live, at, 0, "new"))
	require.Equal(t, []string{"ended", "spared", "old", "new"}, session.Excess(live, at, 0, "ended later")[:4])
}

// The group of a user is a promise to rows that are stored already.
func TestGroupsAreThoseOfCRC32(t *testing.T) {
	for _, userID := range []string{"", "1", "42", "user@example.org", "\x00\xff", strings.Repeat("Zo\u00eb", 300)} {
		require.EqualValues(t, crc32.ChecksumIEEE([]byte(userID))%session.Groups, session.GroupOfUser(userID), "%q", userID)
		require.Zero(t, testing.AllocsPerRun(100, func() { session.GroupOfUser(userID) }))
	}
}
