package session

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// FuzzPack packs a session of any values and unpacks it again.
func FuzzPack(f *testing.F) {
	f.Add("0abc", "u1", "agent", "::1", "logout", `,"x":1`, []byte{})
	f.Add("", "\x00\xff", "\U0001f600", "\xc3", "a host's own", "", binary.BigEndian.AppendUint64(nil, 1<<63))
	f.Fuzz(func(t *testing.T, id, user, agent, address, reason, unknown string, values []byte) {
		var n numbers
		for i := range n {
			if len(values) >= 8 {
				n[i], values = int64(binary.BigEndian.Uint64(values)), values[8:]
			}
		}
		s := Session{ID: id, UserID: user, SecretHash: HashOf(agent), UserAgent: agent, Address: address, Reason: Reason(reason),
			unknown: unknown}
		s.setNumbers(&n)
		requirePacked(t, s)
	})
}

func requirePacked(t *testing.T, s Session) {
	t.Helper()
	p := pack(&s)
	require.True(t, s == p.unpack(), "%+v became another session", s)
	require.Equal(t, s.ID, p.id())
	require.Equal(t, s.UserID, p.userID())
}

// Sessions of random texts and numbers, among them the extreme ones, survive.
func TestPack(t *testing.T) {
	const seed = 11
	random := rand.New(rand.NewPCG(seed, 1))
	text := func() string {
		b := make([]byte, random.IntN(10)*random.IntN(60))
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return string(b)
	}
	extreme := []int64{0, 1, -1, 63, 64, -64, -65, 1_700_000_000_000, math.MaxInt64, math.MinInt64, math.MaxInt64 - 1}
	number := func() int64 {
		switch random.IntN(3) {
		case 0:
			return extreme[random.IntN(len(extreme))]
		case 1:
			return 1_700_000_000_000 + random.Int64N(1e9)
		default:
			return int64(random.Uint64())
		}
	}
	for range 20_000 {
		s := Session{ID: text(), UserID: text(), UserAgent: text(), Address: text(), Reason: Reason(text()), unknown: text()}
		for i := range s.SecretHash {
			s.SecretHash[i] = byte(random.Uint32())
		}
		var n numbers
		for i := range n {
			if random.IntN(2) == 0 {
				n[i] = number()
			}
		}
		s.setNumbers(&n)
		require.Equal(t, n, s.numbers(), "the numbers of a session")
		requirePacked(t, s)
	}
	requirePacked(t, Session{})
}

// A field that is added to Session makes this test fail until it is here, and then until pack keeps it.
func TestPackEveryField(t *testing.T) {
	s := Session{ID: "a", UserID: "b", SecretHash: HashOf("c"), UserAgent: "d", Address: "e", Born: Version{1, 2}, CreatedAt: 3,
		EndsAt: 4, LastUsedAt: 5, KeepUntil: 6, Current: 7, Parent: 8, Next: 9, SentAt: 10, ConfirmedAt: 11,
		Ancestors: Ancestors{{12, 13}, {14, 15}, {16, 17}, {18, 19}, {27, 28}}, RevokedAt: 20, Reason: "f", unknown: "g",
		Idle: 21, Facts: "h", Raised: "i", RaisedFrom: 22, PendingUntil: 23, Tries: 24, Tickets: 25, TicketsUsed: 26}
	for i, v := 0, reflect.ValueOf(s); i < v.NumField(); i++ {
		require.False(t, v.Field(i).IsZero(), v.Type().Field(i).Name)
	}
	requirePacked(t, s)
}

// Rows whose keys have the same hash are found, and leave in any order.
func TestMemoryRowsWithTheSameHash(t *testing.T) {
	var r memoryRows
	first := r.add(pack(&Session{ID: "first", UserID: "first user"})) // makes the seed
	var pair []string
	for seen, i := map[uint32]string{}, 0; pair == nil; i++ { // it takes some 80,000 texts
		key := fmt.Sprint(i)
		if other, ok := seen[r.hash(key)]; ok {
			pair = []string{other, key}
		}
		seen[r.hash(key)] = key
	}
	for _, order := range [][2]int{{0, 1}, {1, 0}} {
		var rows [2]rowNumber
		for i, key := range pair {
			rows[i] = r.add(pack(&Session{ID: key, UserID: key}))
			r.link(rows[i])
		}
		for i, key := range pair {
			require.Equal(t, rows[i], r.find(byID, key))
			require.Equal(t, rows[i], r.find(byUser, key))
		}
		for n, i := range order {
			r.unlink(rows[i])
			r.clear(rows[i])
			r.release(rows[i])
			require.Zero(t, r.find(byID, pair[i]))
			require.Zero(t, r.find(byUser, pair[i]))
			if other := order[1]; n == 0 {
				require.Equal(t, rows[other], r.find(byID, pair[other]))
				require.Equal(t, rows[other], r.find(byUser, pair[other]))
			}
		}
	}
	require.Equal(t, first, r.find(byID, "first"))
	require.Len(t, r.first[byID], 1)
	require.Empty(t, r.first[byUser])
	require.EqualValues(t, 3, r.count, "places are used again")
}

// Cut-offs of one user take the memory of one, however many there are. It goes when its time is over, and not before.
func TestManyCutoffsOfOneUser(t *testing.T) {
	now := time.Now()
	m := &Memory{Clock: func() time.Time { return now }}
	until := MillisOf(now)
	for range 1000 {
		until = until.Add(time.Minute)
		require.NoError(t, m.Cut(t.Context(), "user", func(c Cutoff, _, now Millis) (Cutoff, error) { return c.Change(until, now), nil }))
	}
	notes := func() (n int) {
		for _, list := range m.dueCuts.due {
			n += len(list)
		}
		return n
	}
	require.Equal(t, 1, notes())
	for _, left := range []time.Duration{time.Minute, -2 * time.Minute} {
		now = until.Time().Add(-left)
		_, err := m.DeleteExpired(t.Context(), MillisOf(now), 100)
		require.NoError(t, err)
		require.Equal(t, left > 0, len(m.cuts) == 1)
		require.Equal(t, len(m.cuts), notes())
	}
}
