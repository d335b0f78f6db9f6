package session_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// known are the members of a row that this version reads. All others must survive a change of the row.
var known = map[string]bool{"v": true, "id": true, "user": true, "secret": true, "agent": true, "addr": true, "born": true, "created": true,
	"ends": true, "used": true, "keep": true, "cur": true, "par": true, "next": true, "sent": true, "confirmed": true, "anc": true,
	"revoked": true, "reason": true, "idle": true,
	"facts": true, "raised": true, "raisedfrom": true, "pending": true, "tries": true,
	"tickets": true, "ticketsused": true}

// FuzzRow reads any text as a row. A row that is accepted says what encoding/json reads in it, and stays the same row however
// often it is written and read again. What this version does not know survives, also when the row is changed.
func FuzzRow(f *testing.F) {
	full, err := everyField().MarshalJSON()
	require.NoError(f, err)
	f.Add(full)
	for _, seed := range []string{
		`{}`, `{"v":1}`, `{"v":2}`, `{"v":1,"id":"a","id":"b"}`, `{"v":1,"id":null}`, `[]`, `null`, ``, `{"v":1}{}`,
		`{"v":1,"id":"0abc","idle":3600000,"user":"1","facts":{"amr":["otp"],"t":1.50},"caf\u00e9":null}`,
		`{"v":1,"secret":"Lm6bQ1gVNkvOeoOLkl6aXrsIPwwCs2i26gC7ep-u8Is"}`, `{"v":1,"secret":"short"}`, `{"v":1,"secret":""}`,
		`{"v":1,"anc":[1,2,3,4,5,6,7,8]}`, `{"v":1,"anc":[1]}`, `{"v":1,"anc":[1,2,3,4,5,6,7,8,9,10]}`, `{"v":1,"anc":[]}`,
		`{"v":1,"born":[5,6]}`, `{"v":1,"born":[0,1]}`, `{"v":1,"born":[1]}`, `{"v":1,"born":[1,2,3]}`,
		`{"v":1,"anc":[1.5]}`, `{"v":-1,"cur":-9223372036854775808,"next":9223372036854775807}`, `{"v":1,"cur":9223372036854775808}`,
		` { "v" : 1 , "x" : [ 1 , { "y" : "<\u2028>" } ] } `, `{"v":1,"":0,"\"\\":"\u0000"}`, `{"v":1,"\u0069d":"escaped name"}`,
		`{"v":1,"agent":"\ud83d\ude00"}`, `{"v":1,"agent":"\ud83d"}`, "{\"v\":1,\"addr\":\"\xff\"}", `{"v":1,"V":2,"ID":"x"}`,
		`{"v":1,"d":` + strings.Repeat("[", 31) + strings.Repeat("]", 31) + `}`,
		`{"v":1,"d":` + strings.Repeat("[", 32) + strings.Repeat("]", 32) + `}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var row session.Session
		if err := row.UnmarshalJSON(text); err != nil {
			return
		}
		var members map[string]json.RawMessage
		require.NoError(t, json.Unmarshal(text, &members), "accepted %q, encoding/json does not", text)
		requireMembers(t, members, row)

		again, stored := rewritten(t, row)
		require.True(t, row == again, "%q became another row in %q", text, stored)
		_, storedAgain := rewritten(t, again)
		require.Equal(t, string(stored), string(storedAgain), "the second writing of %q", text)
		requireUnknown(t, members, stored)

		revoked := row.Revoke("a host's own", 1<<40)
		again, stored = rewritten(t, revoked)
		require.True(t, revoked == again, "%q became another row in %q after a change", text, stored)
		requireUnknown(t, members, stored)
	})
}

// rewritten writes a row and reads it again.
func rewritten(t *testing.T, row session.Session) (again session.Session, stored []byte) {
	t.Helper()
	stored, err := row.MarshalJSON()
	require.NoError(t, err)
	require.True(t, json.Valid(stored), "%q is no JSON", stored)
	require.NoError(t, again.UnmarshalJSON(stored), "%q was written and cannot be read", stored)
	return again, stored
}

// requireMembers compares a row with what encoding/json reads.
func requireMembers(t *testing.T, members map[string]json.RawMessage, row session.Session) {
	t.Helper()
	texts := map[string]string{"id": row.ID, "user": row.UserID, "agent": row.UserAgent, "addr": row.Address,
		"reason": string(row.Reason), "facts": row.Facts, "raised": row.Raised}
	for name, got := range texts {
		requireMember(t, members, name, got)
	}
	numbers := map[string]int64{"created": int64(row.CreatedAt), "ends": int64(row.EndsAt), "used": int64(row.LastUsedAt),
		"keep": int64(row.KeepUntil), "cur": row.Current, "par": row.Parent, "next": row.Next, "sent": int64(row.SentAt),
		"confirmed": int64(row.ConfirmedAt), "revoked": int64(row.RevokedAt), "idle": row.Idle, "raisedfrom": row.RaisedFrom,
		"pending": int64(row.PendingUntil), "tries": row.Tries,
		"tickets": row.Tickets, "ticketsused": row.TicketsUsed}
	for name, got := range numbers {
		requireMember(t, members, name, got)
	}
	var flat []int64
	for _, a := range row.Ancestors {
		flat = append(flat, a.Generation, int64(a.SupersededAt))
	}
	want := make([]int64, len(flat))
	var list []int64
	if raw, ok := members["anc"]; ok {
		require.NoError(t, json.Unmarshal(raw, &list), "%q", raw)
	}
	list = list[:len(list)/2*2] // a generation without its time counts not
	copy(want, list)
	require.Equal(t, want, flat, "member anc %q", members["anc"])

	var born []int64
	if raw, ok := members["born"]; ok {
		require.NoError(t, json.Unmarshal(raw, &born), "%q", raw)
	}
	if len(born) != 2 {
		born = []int64{0, 0}
	}
	require.Equal(t, born, []int64{row.Born.All, row.Born.User}, "member born %q", members["born"])

	if _, ok := members["secret"]; !ok {
		require.Zero(t, row.SecretHash)
	}
}

// requireMember compares one member. A member that is not there stands for the zero value.
func requireMember[T comparable](t *testing.T, members map[string]json.RawMessage, name string, got T) {
	t.Helper()
	var want T
	if raw, ok := members[name]; ok {
		require.NoError(t, json.Unmarshal(raw, &want), "member %s: %q", name, raw)
	}
	require.Equal(t, want, got, "member %s", name)
}

// requireUnknown checks that a stored row has the members that this version does not know, byte for byte.
func requireUnknown(t *testing.T, members map[string]json.RawMessage, stored []byte) {
	t.Helper()
	var kept map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(stored, &kept))
	for name, raw := range members {
		if !known[name] {
			require.Equal(t, string(raw), string(kept[name]), "member %q in %q", name, stored)
		}
	}
	for name := range kept {
		_, ok := members[name]
		require.True(t, ok || known[name], "member %q in %q came from nowhere", name, stored)
	}
}

// FuzzFields writes a row of any values and reads it again. Stores are given UTF-8 only.
func FuzzFields(f *testing.F) {
	f.Add("0abc", "u\"1\\ \u00e9", "<agent>\n", "::1", "logout", int64(1), int64(2), int64(3), uint8(1))
	f.Add("", "\x00\u2028\u2029\x7f", "\U0001f600", `\u0000`, "", int64(-1), int64(1<<62), int64(-1<<63), uint8(9))
	f.Fuzz(func(t *testing.T, id, user, agent, address, reason string, a, b, c int64, at uint8) {
		for _, text := range []string{id, user, agent, address, reason} {
			if !utf8.ValidString(text) {
				return
			}
		}
		row := session.Session{ID: id, UserID: user, SecretHash: session.HashOf(agent), UserAgent: agent, Address: address,
			CreatedAt: session.Millis(a), EndsAt: session.Millis(b), LastUsedAt: session.Millis(c), KeepUntil: session.Millis(a),
			Current: b, Parent: c, Next: a, SentAt: session.Millis(b), ConfirmedAt: session.Millis(c),
			RevokedAt: session.Millis(a), Reason: session.Reason(reason), Born: session.Version{All: a, User: c},
			Idle: a, Facts: reason, Raised: agent, RaisedFrom: b, PendingUntil: session.Millis(c), Tries: a,
			Tickets: b, TicketsUsed: c}
		row.Ancestors[int(at)%len(row.Ancestors)] = session.Ancestor{Generation: b, SupersededAt: session.Millis(c)}
		again, stored := rewritten(t, row)
		require.True(t, row == again, "%q became another row", stored)

		// A store that knows only encoding/json must get the same row.
		marshaled, err := json.Marshal(row)
		require.NoError(t, err)
		var other session.Session
		require.NoError(t, json.Unmarshal(marshaled, &other))
		require.True(t, row == other, "%q became another row", marshaled)

		secret, err := row.SecretHash.MarshalText()
		require.NoError(t, err)
		printed := fmt.Sprintf("%v %+v %#v %s", row, row, row, row.LogValue())
		require.NotContains(t, printed, string(secret), "the hash is printed")
	})
}

// FuzzCutoff reads any text as a cut-off. What is accepted stays the same however often it is written and read again, and any
// values survive.
func FuzzCutoff(f *testing.F) {
	f.Add(`{"v":1,"ended":7,"spared":"0a","changed":8,"keep":9}`, "0a", int64(1), int64(2), int64(3))
	f.Add(`{"v":2}`, "\x00\u2028\"\\", int64(-1), int64(1<<62), int64(-1<<63))
	f.Add(`{"v":1,"ended":1,"ended":2}`, "", int64(0), int64(0), int64(0))
	f.Add(`{}`, "\U0001f600", int64(1<<53+1), int64(0), int64(0))
	f.Fuzz(func(t *testing.T, text, spared string, ended, changed, keep int64) {
		var read session.Cutoff
		list := []session.Cutoff{}
		if read.UnmarshalJSON([]byte(text)) == nil {
			require.True(t, json.Valid([]byte(text)), "accepted %q, encoding/json does not", text)
			list = append(list, read)
		}
		if utf8.ValidString(spared) {
			list = append(list, session.Cutoff{Ended: ended, Spared: spared, Changed: changed, KeepUntil: session.Millis(keep)})
		}
		for _, cut := range list {
			stored, err := json.Marshal(cut)
			require.NoError(t, err)
			var again session.Cutoff
			require.NoError(t, json.Unmarshal(stored, &again))
			require.Equal(t, cut, again, "%s", stored)
		}
	})
}
