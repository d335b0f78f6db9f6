package rotation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// Each of the last 64 tickets can be redeemed once, in any order, and no other one.
func TestEachTicketIsRedeemedOnce(t *testing.T) {
	for name, order := range map[string]func(i int64) int64{
		"the oldest first": func(i int64) int64 { return 37 + i },
		"the newest first": func(i int64) int64 { return 100 - i },
		"in leaps":         func(i int64) int64 { return 37 + i*29%64 },
	} {
		t.Run(name, func(t *testing.T) {
			row := confirmedRow()
			for want := int64(1); want <= 100; want++ {
				var number int64
				row, number = rotation.Ticket(row)
				require.Equal(t, want, number)
			}
			for _, number := range []int64{-1, 0, 1, 36, 101, 164} {
				same, ok := rotation.Redeem(row, number)
				require.False(t, ok, "ticket %d of 100", number)
				require.Equal(t, row, same)
			}
			for i := range int64(64) {
				after, ok := rotation.Redeem(row, order(i))
				require.True(t, ok, "ticket %d", order(i))
				row = after
				for used := range i + 1 {
					same, ok := rotation.Redeem(row, order(used))
					require.False(t, ok, "ticket %d a second time", order(used))
					require.Equal(t, row, same)
				}
			}
		})
	}
}

// A ticket that was used stays used when new ones are made.
func TestNewTicketsMoveTheOldOnes(t *testing.T) {
	row := confirmedRow()
	for number := int64(1); number <= 200; number++ {
		row, _ = rotation.Ticket(row)
		if number%3 == 0 {
			var ok bool
			row, ok = rotation.Redeem(row, number)
			require.True(t, ok)
		}
		for old := max(1, number-63); old <= number; old++ {
			_, ok := rotation.Redeem(row, old)
			require.Equal(t, old%3 != 0, ok, "ticket %d of %d", old, number)
		}
	}
	fresh, _ := rotation.Ticket(confirmedRow())
	_, ok := rotation.Redeem(fresh, 0)
	require.False(t, ok, "no ticket has the number 0")
	_, ok = rotation.Redeem(confirmedRow(), 0)
	require.False(t, ok)
}

// A row is kept five minutes longer than its tokens live, for clocks that differ.
func TestARowIsKeptLongerThanItsTokens(t *testing.T) {
	row := defaultRules().New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)
	require.Equal(t, start+10*hour+5*60_000*ms, row.KeepUntil)
	require.Equal(t, start+10*hour, rotation.LiveUntil(row))
}

// A use that closely follows another one is written if its tokens live longer by more than a window.
func TestAUseIsWrittenForTokensThatLiveLonger(t *testing.T) {
	rules, now := defaultRules(), start+window/2
	for shorter, written := range map[session.Millis]bool{window - ms: false, window: false, window + ms: true} {
		row := confirmedRow()
		row.KeepUntil = now + 10*hour + 5*60_000*ms - shorter
		after, out := rules.Refresh(row, present(10), now)
		require.Equal(t, rotation.EventRepeated, out.Event)
		require.Equal(t, written, after.LastUsedAt == now, "shorter by %d", shorter)
		require.Equal(t, written, after.KeepUntil != row.KeepUntil)
	}
}
