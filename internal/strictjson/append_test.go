package strictjson_test

import (
	"encoding/json"
	"math"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/strictjson"
)

func TestAppendString(t *testing.T) {
	for _, text := range []string{"", "a", " ~", "\x1f", "\x00a", `a"b`, `\`, "a\\", "ä", "\x7f", "\u0080", "<&>\u2028", "a\xffb", "a\x80", "😀"} {
		got := strictjson.AppendString([]byte("x"), text)
		var back string
		require.Equal(t, "x", string(got[:1]))
		require.NoError(t, json.Unmarshal(got[1:], &back), "%q", got)
		want := []rune(text) // each bad byte becomes U+FFFD
		require.Equal(t, string(want), back)
		require.True(t, utf8.Valid(got), "%q", got)
	}
	require.Equal(t, `" ~"`, string(strictjson.AppendString(nil, " ~")))
	b := make([]byte, 0, 64)
	require.Zero(t, testing.AllocsPerRun(10, func() { strictjson.AppendString(b, "a plain text!") }), "a plain text is copied")
}

func TestAppendStrings(t *testing.T) {
	for want, list := range map[string][]string{`x[]`: nil, `x["a"]`: {"a"}, `x["a","\"","c"]`: {"a", `"`, "c"}} {
		require.Equal(t, want, string(strictjson.AppendStrings([]byte("x"), list)))
	}
}

func TestInts(t *testing.T) {
	for value, want := range map[string][]int64{
		`[]`: nil, "[ \n]": nil, `[1]`: {1}, "[ -1 ,\t2\n]": {-1, 2}, `[9223372036854775807,-9223372036854775808,0]`: {math.MaxInt64, math.MinInt64, 0},
	} {
		s := strictjson.Scan(`{"x":` + value + `}`)
		require.True(t, s.Next(), "value %s: %v", value, s.Err())
		require.Equal(t, want, s.Ints(), "value %s", value)
		require.False(t, s.Next(), "value %s", value)
		require.NoError(t, s.Err(), "value %s", value)
	}
	for _, value := range []string{`1`, `{}`, `null`, `"[1]"`, `""`, `[1.0]`, `["1"]`, `[null]`, `[[1]]`, `[1,[2]]`, `[[]]`, `[9223372036854775808]`, `[1,{"a":[2]}]`} {
		s := strictjson.Scan(`{"x":` + value + `}`)
		require.True(t, s.Next(), "value %s: %v", value, s.Err())
		require.Nil(t, s.Ints(), "value %s", value)
		require.EqualError(t, s.Err(), `member "x" must be an array of integers`, "value %s", value)
	}
}

func TestStringsAllocatesOnce(t *testing.T) {
	s := strictjson.Scan(`{"x":["a","b","c","d","e","f","g","h","i j"]}`)
	require.True(t, s.Next())
	require.Equal(t, 1.0, testing.AllocsPerRun(10, func() { s.Strings() }))
	require.Equal(t, "i j", s.Strings()[8], "a space in a string")
}
