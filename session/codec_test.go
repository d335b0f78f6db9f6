package session_test

import (
	"encoding/json"
	"math"
	"reflect"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// everyField returns a session without zero fields.
func everyField() session.Session {
	return session.Session{ID: "0abc", UserID: "u\"1\\ \u00e9", SecretHash: session.HashOf("x"),
		UserAgent: "<agent>\n", Address: "::1",
		Born:      session.Version{All: math.MaxInt64, User: 12},
		CreatedAt: 1, EndsAt: 2, LastUsedAt: 3, KeepUntil: math.MaxInt64, Current: math.MaxInt64,
		Parent: 6, Next: 7, SentAt: 8, ConfirmedAt: 9,
		Ancestors: session.Ancestors{{Generation: 1 << 60, SupersededAt: 2}, {},
			{Generation: 3, SupersededAt: 4}, {Generation: 5, SupersededAt: 6}, {Generation: 7, SupersededAt: 8}},
		RevokedAt: 10, Reason: "a host's own",
		Idle: 11, Facts: `{"amr":["pwd"]}`, Raised: `{"acr":"\u00e9"}`, RaisedFrom: 12, PendingUntil: 13, Tries: 14, Tickets: 15, TicketsUsed: -1}
}

func decode(t *testing.T, text string) session.Session {
	t.Helper()
	var row session.Session
	require.NoError(t, json.Unmarshal([]byte(text), &row))
	return row
}

func TestTheStoredFormKeepsEveryField(t *testing.T) {
	full := everyField()
	value := reflect.ValueOf(full)
	for i := range value.NumField() {
		if field := value.Type().Field(i); field.IsExported() {
			require.False(t, value.Field(i).IsZero(), "field %s is not set: the test would miss it", field.Name)
		}
	}
	for _, row := range []session.Session{full, {}, {ID: "1x", UserID: "1"}, {Born: session.Version{User: 1}},
		{Born: session.Version{All: 1}}} {
		text, err := json.Marshal(row)
		require.NoError(t, err)
		require.True(t, row == decode(t, string(text)), "%s", text)
	}
}

// A newer version may write members that this version does not know. They stay when this version changes the row.
func TestTheStoredFormKeepsUnknownMembers(t *testing.T) {
	row := decode(t, `{"v":1,"id":"0abc","key":3600000,"user":"1","later":{"amr":["otp"],"t":1.50},"caf\u00e9":null}`)
	require.Equal(t, "0abc", row.ID)
	changed := row.Revoke(session.ReasonLogout, 5)
	require.NotEqual(t, row, changed)
	text, err := json.Marshal(changed)
	require.NoError(t, err)
	require.Contains(t, string(text), `"key":3600000,"later":{"amr":["otp"],"t":1.50},"café":null}`)
	require.True(t, changed == decode(t, string(text)), "rows with unknown members can be compared too")
	require.False(t, changed == everyField())
}

func TestTheStoredFormOfANewerVersionIsAnError(t *testing.T) {
	var row session.Session
	require.ErrorContains(t, json.Unmarshal([]byte(`{"v":2,"id":{"not":"a string"}}`), &row), "version 2")
	for _, text := range []string{`{"v":1,"id":1}`, `{"v":1,"id":"a","id":"b"}`, `{"v":1,"secret":"short"}`,
		`{"v":1,"anc":[1.5]}`, `{"v":1,"anc":{}}`,
		`{"v":"1"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(text), &row), text)
	}
	require.NoError(t, json.Unmarshal([]byte(`{"v":1,"anc":[ 1, 2 ,3,4,5,6,7,8,9,10,11,12]}`), &row))
	require.Equal(t, session.Ancestor{Generation: 9, SupersededAt: 10}, row.Ancestors[4])
}

func TestTheStoredFormOfACutoffKeepsEveryField(t *testing.T) {
	full := session.Cutoff{Ended: math.MaxInt64, Spared: "0a\"\\ \u00e9", Changed: 1<<53 + 1, KeepUntil: 4}
	value := reflect.ValueOf(full)
	for i := range value.NumField() {
		require.False(t, value.Field(i).IsZero(), "field %s is not set: the test would miss it", value.Type().Field(i).Name)
	}
	for _, cut := range []session.Cutoff{full, {}, {Ended: -1}, {Spared: "x"}} {
		text, err := json.Marshal(cut)
		require.NoError(t, err)
		again := full
		require.NoError(t, json.Unmarshal(text, &again))
		require.Equal(t, cut, again, "%s", text)
	}
}

func TestTheStoredFormOfACutoffOfANewerVersionIsAnError(t *testing.T) {
	var cut session.Cutoff
	require.ErrorContains(t, json.Unmarshal([]byte(`{"v":2,"ended":{"not":"a number"}}`), &cut), "version 2")
	for _, text := range []string{`{"v":1,"ended":"1"}`, `{"v":1,"ended":1,"ended":2}`, `{"v":1,"spared":1}`, `{"v":"1"}`,
		`[]`, ``} {
		require.Error(t, cut.UnmarshalJSON([]byte(text)), text)
	}
	require.NoError(t, cut.UnmarshalJSON([]byte(`{"v":1,"ended":7,"new":[{}]}`)), "a member that this version may ignore")
	require.Equal(t, session.Cutoff{Ended: 7}, cut)
}

func TestIDsNameTheGroupOfTheirUser(t *testing.T) {
	seen := map[int]bool{}
	for i := range 200 {
		user := strings.Repeat("u", i)
		id := session.NewID(user)
		require.Len(t, id, 23)
		group, ok := session.GroupOfID(id)
		require.True(t, ok)
		require.Equal(t, session.GroupOfUser(user), group)
		require.NotEqual(t, id, session.NewID(user))
		seen[group] = true
	}
	require.Len(t, seen, session.Groups)
	for _, id := range []string{"", "0", "gx", "Ax", "-x", "\xffx"} {
		_, ok := session.GroupOfID(id)
		require.False(t, ok, "%q", id)
	}
}
