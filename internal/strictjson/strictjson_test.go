package strictjson_test

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/strictjson"
)

type member struct{ name, raw string }

// read walks over the whole text.
func read(text string) ([]member, error) {
	members := []member{}
	s := strictjson.Scan(text)
	for s.Next() {
		members = append(members, member{s.Name(), s.Raw()})
	}
	return members, s.Err()
}

// nested returns an object with that many levels of nesting. The object itself is the first level.
func nested(levels int, open, end string) string {
	return `{"a":` + strings.Repeat(open, levels-1) + "1" + strings.Repeat(end, levels-1) + `}`
}

// numbered returns an object with n members: m0, m1 and so on.
func numbered(n int, more ...string) string {
	list := make([]string, 0, n+len(more))
	for i := range n {
		list = append(list, fmt.Sprintf(`"m%d":%d`, i, i))
	}
	return "{" + strings.Join(append(list, more...), ",") + "}"
}

func TestScanAccepts(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []member
	}{
		{"empty object", `{}`, []member{}},
		{"empty object with spaces", " \t\r\n{ \t\r\n} \t\r\n", []member{}},
		{"order kept", `{"b":1,"a":2}`, []member{{"b", "1"}, {"a", "2"}}},
		{"spaces everywhere", " { \"a\" :\t1 ,\r\n\"b\" : [ 1 , { } ] } ", []member{{"a", "1"}, {"b", "[ 1 , { } ]"}}},
		{"words", `{"a":true,"b":false,"c":null}`, []member{{"a", "true"}, {"b", "false"}, {"c", "null"}}},
		{"numbers", `{"a":0,"b":-0,"c":10,"d":1.50,"e":1e5,"f":1E+5,"g":-1.0e-05}`, []member{{"a", "0"}, {"b", "-0"},
			{"c", "10"}, {"d", "1.50"}, {"e", "1e5"}, {"f", "1E+5"}, {"g", "-1.0e-05"}}},
		{"empty name", `{"":1}`, []member{{"", "1"}}},
		{"escaped name", `{"\u0061\n\/\"\\":1}`, []member{{"a\n/\"\\", "1"}}},
		{"name with a surrogate pair", `{"\uD83D\ude00":1}`, []member{{"😀", "1"}}},
		{"escaped NUL and DEL", "{\"\\u0000\x7f\":1}", []member{{"\x00\x7f", "1"}}},
		{"escaped U+FFFD is no fault", `{"a":"\ufffd"}`, []member{{"a", `"\ufffd"`}}},
		{"quote and brace in a string", `{"a":"\"}","b":1}`, []member{{"a", `"\"}"`}, {"b", "1"}}},
		{"backslash before the closing quote", `{"a":"\\","b":1}`, []member{{"a", `"\\"`}, {"b", "1"}}},
		{"names that differ in case", `{"a":1,"A":2}`, []member{{"a", "1"}, {"A", "2"}}},
		{"names that differ in normalisation", "{\"é\":1,\"e\u0301\":2}", []member{{"é", "1"}, {"e\u0301", "2"}}},
		{"same name at other depths", `{"a":{"a":[{"a":1},{"a":1}]}}`, []member{{"a", `{"a":[{"a":1},{"a":1}]}`}}},
		{"name equal to a value", `{"a":"b","b":"a"}`, []member{{"a", `"b"`}, {"b", `"a"`}}},
		{"32 levels of arrays", nested(32, "[", "]"), []member{{"a", strings.Repeat("[", 31) + "1" + strings.Repeat("]", 31)}}},
		{"32 levels of objects", nested(32, `{"a":`, "}"),
			[]member{{"a", strings.Repeat(`{"a":`, 31) + "1" + strings.Repeat("}", 31)}}},
		{"many side by side are not deep", `{"a":[` + strings.Repeat("[],{},", 100) + `0]}`,
			[]member{{"a", "[" + strings.Repeat("[],{},", 100) + "0]"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := read(tc.text)
			require.NoError(t, err, "text %q", tc.text)
			require.Equal(t, tc.want, got, "text %q", tc.text)
		})
	}
}

func TestScanManyMembers(t *testing.T) {
	for _, n := range []int{15, 16, 17, 23, 24, 25, 26, 200} {
		got, err := read(numbered(n))
		require.NoError(t, err, "%d members", n)
		require.Len(t, got, n, "%d members", n)
		for i, m := range got {
			require.Equal(t, member{fmt.Sprintf("m%d", i), fmt.Sprint(i)}, m, "%d members, number %d", n, i)
		}
	}
}

func TestScanRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       error
	}{
		{"empty text", "", strictjson.ErrSyntax},
		{"only spaces", " \n", strictjson.ErrSyntax},
		{"null", "null", strictjson.ErrSyntax},
		{"array", "[]", strictjson.ErrSyntax},
		{"string", `"x"`, strictjson.ErrSyntax},
		{"number", "1", strictjson.ErrSyntax},
		{"bare word", "x", strictjson.ErrSyntax},
		{"byte order mark", "\ufeff{}", strictjson.ErrSyntax},
		{"vertical tab is no space", "\v{}", strictjson.ErrSyntax},
		{"form feed is no space", "{\f}", strictjson.ErrSyntax},
		{"no-break space is no space", "{\u00a0}", strictjson.ErrSyntax},
		{"NUL before", "\x00{}", strictjson.ErrSyntax},

		{"open object", `{`, strictjson.ErrSyntax},
		{"open after a name", `{"a"`, strictjson.ErrSyntax},
		{"open after a colon", `{"a":`, strictjson.ErrSyntax},
		{"open after a value", `{"a":1`, strictjson.ErrSyntax},
		{"open after a comma", `{"a":1,`, strictjson.ErrSyntax},
		{"open array", `{"a":[`, strictjson.ErrSyntax},
		{"open array after a value", `{"a":[1`, strictjson.ErrSyntax},
		{"open array after a comma", `{"a":[1,`, strictjson.ErrSyntax},
		{"open inner object", `{"a":{"b":1`, strictjson.ErrSyntax},
		{"wrong bracket", `{"a":[1}`, strictjson.ErrSyntax},
		{"wrong brace", `{"a":1]`, strictjson.ErrSyntax},

		{"comma first", `{,"a":1}`, strictjson.ErrSyntax},
		{"comma alone", `{,}`, strictjson.ErrSyntax},
		{"comma last", `{"a":1,}`, strictjson.ErrSyntax},
		{"comma twice", `{"a":1,,"b":2}`, strictjson.ErrSyntax},
		{"comma missing", `{"a":1 "b":2}`, strictjson.ErrSyntax},
		{"comma missing after the 24th", "{" + strings.Trim(numbered(24), "{}") + ` "x":1}`, strictjson.ErrSyntax},
		{"comma missing after the 25th", "{" + strings.Trim(numbered(25), "{}") + ` "x":1}`, strictjson.ErrSyntax},
		{"semicolon", `{"a":1;"b":2}`, strictjson.ErrSyntax},
		{"comma last in an array", `{"a":[1,]}`, strictjson.ErrSyntax},
		{"comma first in an array", `{"a":[,1]}`, strictjson.ErrSyntax},
		{"comma twice in an array", `{"a":[1,,2]}`, strictjson.ErrSyntax},
		{"comma alone in an array", `{"a":[,]}`, strictjson.ErrSyntax},
		{"comma missing in an array", `{"a":[1 2]}`, strictjson.ErrSyntax},
		{"comma last in an inner object", `{"a":{"b":1,}}`, strictjson.ErrSyntax},

		{"colon missing", `{"a" 1}`, strictjson.ErrSyntax},
		{"colon twice", `{"a"::1}`, strictjson.ErrSyntax},
		{"equals sign", `{"a"=1}`, strictjson.ErrSyntax},
		{"value missing", `{"a":}`, strictjson.ErrSyntax},
		{"name missing", `{:1}`, strictjson.ErrSyntax},
		{"name without quotes", `{a:1}`, strictjson.ErrSyntax},
		{"name in single quotes", `{'a':1}`, strictjson.ErrSyntax},
		{"number as a name", `{1:1}`, strictjson.ErrSyntax},
		{"comment", `{"a":1/**/}`, strictjson.ErrSyntax},
		{"line comment", "{//\n}", strictjson.ErrSyntax},

		{"number 01", `{"a":01}`, strictjson.ErrSyntax},
		{"number -01", `{"a":-01}`, strictjson.ErrSyntax},
		{"number 00", `{"a":00}`, strictjson.ErrSyntax},
		{"number 1.", `{"a":1.}`, strictjson.ErrSyntax},
		{"number .5", `{"a":.5}`, strictjson.ErrSyntax},
		{"number -.5", `{"a":-.5}`, strictjson.ErrSyntax},
		{"number 1e", `{"a":1e}`, strictjson.ErrSyntax},
		{"number 1e+", `{"a":1e+}`, strictjson.ErrSyntax},
		{"number 1.e1", `{"a":1.e1}`, strictjson.ErrSyntax},
		{"number 1e1.0", `{"a":1e1.0}`, strictjson.ErrSyntax},
		{"number -", `{"a":-}`, strictjson.ErrSyntax},
		{"number - at the end", `{"a":-`, strictjson.ErrSyntax},
		{"number 1. at the end", `{"a":1.`, strictjson.ErrSyntax},
		{"number 1e at the end", `{"a":1e`, strictjson.ErrSyntax},
		{"number 1e- at the end", `{"a":1e-`, strictjson.ErrSyntax},
		{"number --1", `{"a":--1}`, strictjson.ErrSyntax},
		{"number +1", `{"a":+1}`, strictjson.ErrSyntax},
		{"number 0x1", `{"a":0x1}`, strictjson.ErrSyntax},
		{"number 1_0", `{"a":1_0}`, strictjson.ErrSyntax},
		{"number with a suffix", `{"a":1a}`, strictjson.ErrSyntax},
		{"NaN", `{"a":NaN}`, strictjson.ErrSyntax},
		{"Infinity", `{"a":-Infinity}`, strictjson.ErrSyntax},

		{"word in capitals", `{"a":True}`, strictjson.ErrSyntax},
		{"word cut short", `{"a":tru}`, strictjson.ErrSyntax},
		{"word too long", `{"a":nulll}`, strictjson.ErrSyntax},
		{"unknown word", `{"a":undefined}`, strictjson.ErrSyntax},

		{"string not closed", `{"a":"b}`, strictjson.ErrSyntax},
		{"name not closed", `{"a:1}`, strictjson.ErrSyntax},
		{"string ends in a backslash", `{"a":"\`, strictjson.ErrSyntax},
		{"closing quote escaped", `{"a":"\"}`, strictjson.ErrSyntax},
		{"newline in a string", "{\"a\":\"\n\"}", strictjson.ErrSyntax},
		{"tab in a string", "{\"a\":\"\t\"}", strictjson.ErrSyntax},
		{"NUL in a string", "{\"a\":\"\x00\"}", strictjson.ErrSyntax},
		{"U+001F in a name", "{\"\x1f\":1}", strictjson.ErrSyntax},
		{"escape x", `{"a":"\x41"}`, strictjson.ErrSyntax},
		{"escape a", `{"a":"\a"}`, strictjson.ErrSyntax},
		{"escape 0", `{"a":"\0"}`, strictjson.ErrSyntax},
		{"escape '", `{"a":"\'"}`, strictjson.ErrSyntax},
		{"escape U", `{"a":"\U0041"}`, strictjson.ErrSyntax},
		{"escape in a name", `{"\q":1}`, strictjson.ErrSyntax},
		{"escape with no digits", `{"a":"\u"}`, strictjson.ErrSyntax},
		{"escape with three digits", `{"a":"\u004"}`, strictjson.ErrSyntax},
		{"escape with a bad digit", `{"a":"\u00g1"}`, strictjson.ErrSyntax},
		{"escape with a bad capital digit", `{"a":"\u00G1"}`, strictjson.ErrSyntax},
		{"escape with a sign", `{"a":"\u+041"}`, strictjson.ErrSyntax},
		{"escape at the end", `{"a":"\u00`, strictjson.ErrSyntax},
		{"high surrogate and half an escape", `{"a":"\ud83d\ude0"}`, strictjson.ErrSyntax},
		{"lone surrogate in a name", `{"\udfff":1}`, strictjson.ErrSyntax},

		{"byte 0xff", "{\"a\":\"\xff\"}", strictjson.ErrUTF8},
		{"byte 0xff outside a string", "{\"a\":1}\xff", strictjson.ErrUTF8},
		{"overlong slash", "{\"a\":\"\xc0\xaf\"}", strictjson.ErrUTF8},
		{"cut rune", "{\"a\":\"\xe2\x82\"}", strictjson.ErrUTF8},
		{"surrogate in UTF-8", "{\"a\":\"\xed\xa0\x80\"}", strictjson.ErrUTF8},
		{"above U+10FFFF", "{\"a\":\"\xf4\x90\x80\x80\"}", strictjson.ErrUTF8},
		{"UTF-16", "\xff\xfe{\x00}\x00", strictjson.ErrUTF8},

		{"duplicate", `{"a":1,"a":1}`, strictjson.ErrDuplicate},
		{"duplicate, others between", `{"a":1,"b":2,"c":3,"a":4}`, strictjson.ErrDuplicate},
		{"duplicate empty name", `{"":1,"":2}`, strictjson.ErrDuplicate},
		{"duplicate by an escape", `{"a":1,"\u0061":2}`, strictjson.ErrDuplicate},
		{"duplicate by an escape first", `{"\u0061":1,"a":2}`, strictjson.ErrDuplicate},
		{"duplicate by two escapes", `{"\u006A":1,"\u006a":2}`, strictjson.ErrDuplicate},
		{"duplicate by a short escape", `{"\n":1,"\u000a":2}`, strictjson.ErrDuplicate},
		{"duplicate by an escaped slash", `{"/":1,"\/":2}`, strictjson.ErrDuplicate},
		{"duplicate by a surrogate pair", `{"😀":1,"\ud83d\ude00":2}`, strictjson.ErrDuplicate},
		{"duplicate in an inner object", `{"a":{"b":1,"b":2}}`, strictjson.ErrDuplicate},
		{"duplicate by an escape in an inner object", `{"a":{"b":1,"\u0062":2}}`, strictjson.ErrDuplicate},
		{"duplicate in an array", `{"a":[0,{"b":1,"b":2}]}`, strictjson.ErrDuplicate},
		{"duplicate after an inner object with the name", `{"a":{"b":1},"b":1,"b":2}`, strictjson.ErrDuplicate},
		{"duplicate of the first as 24th", numbered(23, `"m0":1`), strictjson.ErrDuplicate},
		{"duplicate of the first as 25th", numbered(24, `"m0":1`), strictjson.ErrDuplicate},
		{"duplicate of the 24th as 25th", numbered(24, `"m23":1`), strictjson.ErrDuplicate},
		{"duplicate of the first as 26th", numbered(25, `"m0":1`), strictjson.ErrDuplicate},
		{"duplicate of the 25th as 26th", numbered(25, `"m24":1`), strictjson.ErrDuplicate},
		{"duplicate of the 17th by an escape", numbered(17, `"\u006d16":1`), strictjson.ErrDuplicate},
		{"duplicate of the last of 200", numbered(200, `"m199":1`), strictjson.ErrDuplicate},
		{"duplicate in an inner object of 18", `{"a":` + numbered(17, `"m16":1`) + `}`, strictjson.ErrDuplicate},

		{"33 levels of arrays", nested(33, "[", "]"), strictjson.ErrDepth},
		{"33 levels of objects", nested(33, `{"a":`, "}"), strictjson.ErrDepth},
		{"33 levels, the last one empty", `{"a":` + strings.Repeat("[", 31) + "{}" + strings.Repeat("]", 31) + "}",
			strictjson.ErrDepth},
		{"a million open arrays", `{"a":` + strings.Repeat("[", 1_000_000), strictjson.ErrDepth},
		{"a million open objects", strings.Repeat(`{"a":`, 1_000_000), strictjson.ErrDepth},

		{"exponent too large", `{"a":1e309}`, strictjson.ErrRange},
		{"exponent too large, negative", `{"a":[-1E+400]}`, strictjson.ErrRange},
		{"too many digits", `{"a":` + strings.Repeat("9", 309) + `}`, strictjson.ErrRange},

		{"second object", `{}{}`, strictjson.ErrTrailing},
		{"second object after a newline", "{}\n{}", strictjson.ErrTrailing},
		{"comma after", `{"a":1},`, strictjson.ErrTrailing},
		{"brace after", `{}}`, strictjson.ErrTrailing},
		{"NUL after", "{}\x00", strictjson.ErrTrailing},
		{"byte order mark after", "{}\ufeff", strictjson.ErrTrailing},
		{"comment after", "{}//", strictjson.ErrTrailing},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := read(tc.text)
			require.Equal(t, tc.want, err, "text %.200q", tc.text)
		})
	}
}

// A lone surrogate is a fault only in what somebody reads.
func TestLoneSurrogates(t *testing.T) {
	for _, text := range []string{`"\ud83d"`, `"\ud83dabcdef"`, `"\ude00"`, `"\ude00\ud83d"`, `"\ud83d\ud83d"`, `"\ud83d\u0041"`, `"\ud83d\nde00"`} {
		s := strictjson.Scan(`{"a":` + text + `,"b":[{"c":` + text + `}]}`)
		for s.Next() {
			require.NotEmpty(t, s.Raw())
		}
		require.NoError(t, s.Err(), text)
		for name, read := range map[string]func(s *strictjson.Scanner){
			"String":  func(s *strictjson.Scanner) { require.Empty(t, s.String()) },
			"Strings": func(s *strictjson.Scanner) { require.Equal(t, []string{""}, s.Strings()) },
		} {
			s := strictjson.Scan(`{"a":` + text + `,"b":1}`)
			require.True(t, s.Next())
			read(&s)
			require.Equal(t, strictjson.ErrSyntax, s.Err(), "%s of %s", name, text)
			require.False(t, s.Next())
		}
		s = strictjson.Scan(`{"a":["x",` + text + `]}`)
		require.True(t, s.Next())
		s.Strings()
		require.Equal(t, strictjson.ErrSyntax, s.Err(), text)
		s = strictjson.Scan(`{"a":{` + text + `:1}}`)
		require.False(t, s.Next(), "a name")
		require.Equal(t, strictjson.ErrSyntax, s.Err(), text)
	}
}

// Next gives the same answer again at the end and after a fault.
func TestNextStays(t *testing.T) {
	for _, text := range []string{`{}`, `{"a":1}`, `{"a":1,}`, `{"a":1}x`, `[]`, "\xff"} {
		s := strictjson.Scan(text)
		for s.Next() {
		}
		err := s.Err()
		for range 3 {
			require.False(t, s.Next(), "text %q", text)
			require.Equal(t, err, s.Err(), "text %q", text)
		}
	}
}

func TestString(t *testing.T) {
	for _, tc := range []struct{ name, value, want string }{
		{"empty", `""`, ""},
		{"plain", `"abc"`, "abc"},
		{"UTF-8", `"é😀"`, "é😀"},
		{"all short escapes", `"\"\\\/\b\f\n\r\t"`, "\"\\/\b\f\n\r\t"},
		{"escape, capitals", `"\u00E9\u20AC"`, "é€"},
		{"escape, small", `"\u00e9\u20ac"`, "é€"},
		{"NUL", `"a\u0000b"`, "a\x00b"},
		{"last before the surrogates", `"\ud7ff"`, "\ud7ff"},
		{"first after the surrogates", `"\ue000"`, "\ue000"},
		{"lowest pair", `"\ud800\udc00"`, "\U00010000"},
		{"highest pair", `"\uDBFF\uDFFF"`, "\U0010ffff"},
		{"pair in between", `"a\ud83d\ude00b"`, "a😀b"},
		{"two pairs", `"\ud83d\ude00\ud83d\ude01"`, "😀😁"},
		{"escaped backslash before u", `"\\u0041"`, `\u0041`},
		{"escaped backslash before n", `"\\n"`, `\n`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := strictjson.Scan(`{"x":` + tc.value + `}`)
			require.True(t, s.Next(), "value %s: %v", tc.value, s.Err())
			require.Equal(t, tc.want, s.String(), "value %s", tc.value)
			require.False(t, s.Next(), "value %s", tc.value)
			require.NoError(t, s.Err(), "value %s", tc.value)
		})
	}
}

func TestInt(t *testing.T) {
	for _, tc := range []struct {
		value string
		want  int64
	}{
		{"0", 0}, {"-0", 0}, {"7", 7}, {"-7", -7}, {"1800000000", 1800000000},
		{"9007199254740993", 9007199254740993},
		{"9223372036854775799", math.MaxInt64 - 8},
		{"9223372036854775800", math.MaxInt64 - 7},
		{"9223372036854775807", math.MaxInt64},
		{"-9223372036854775808", math.MinInt64},
	} {
		s := strictjson.Scan(`{"x":` + tc.value + `}`)
		require.True(t, s.Next(), "value %s: %v", tc.value, s.Err())
		require.Equal(t, tc.want, s.Int(), "value %s", tc.value)
		require.False(t, s.Next(), "value %s", tc.value)
		require.NoError(t, s.Err(), "value %s", tc.value)
	}
}

func TestStrings(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        []string
	}{
		{"one string", `"a"`, []string{"a"}},
		{"one empty string", `""`, []string{""}},
		{"one string with an escape", `"\u0061"`, []string{"a"}},
		{"none", `[]`, nil},
		{"none, spaces", "[ \t\r\n]", nil},
		{"one", `["a"]`, []string{"a"}},
		{"one empty", `[""]`, []string{""}},
		{"many, order kept", `["b","a","c"]`, []string{"b", "a", "c"}},
		{"the same twice", `["a","a"]`, []string{"a", "a"}},
		{"spaces", "[ \"a\" ,\n\t\"b\"\r]", []string{"a", "b"}},
		{"escapes", `["\"","\\","\u0061\ud83d\ude00"]`, []string{`"`, `\`, "a😀"}},
		{"commas and brackets inside", `["a,b","]","[\"x\",","c"]`, []string{"a,b", "]", `["x",`, "c"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := strictjson.Scan(`{"x":` + tc.value + `}`)
			require.True(t, s.Next(), "value %s: %v", tc.value, s.Err())
			require.Equal(t, tc.want, s.Strings(), "value %s", tc.value)
			require.False(t, s.Next(), "value %s", tc.value)
			require.NoError(t, s.Err(), "value %s", tc.value)
		})
	}
}

func TestObjects(t *testing.T) {
	for value, want := range map[string][]string{
		`[]`: nil, "[ \n]": nil, `[{}]`: {`{}`}, "[ {\"a\":1}\t,{ } ]": {`{"a":1}`, `{ }`},
		`[{"a":[{}]},{"]":"},{"}]`: {`{"a":[{}]}`, `{"]":"},{"}`},
	} {
		s := strictjson.Scan(`{"x":` + value + `}`)
		require.True(t, s.Next(), "value %s: %v", value, s.Err())
		require.Equal(t, want, s.Objects(), "value %s", value)
		require.False(t, s.Next(), "value %s", value)
		require.NoError(t, s.Err(), "value %s", value)
	}
	for _, value := range []string{`{}`, `null`, `"[{}]"`, `[1]`, `[{},null]`, `[[{}]]`} {
		s := strictjson.Scan(`{"x":` + value + `}`)
		require.True(t, s.Next(), "value %s: %v", value, s.Err())
		require.Nil(t, s.Objects(), "value %s", value)
		require.EqualError(t, s.Err(), `member "x" must be an array of objects`, "value %s", value)
	}
}

func TestWrongType(t *testing.T) {
	str := func(s *strictjson.Scanner) any { return s.String() }
	integer := func(s *strictjson.Scanner) any { return s.Int() }
	list := func(s *strictjson.Scanner) any { return s.Strings() }
	var none []string
	for _, tc := range []struct {
		name, value string
		get         func(*strictjson.Scanner) any
		zero        any
		want        string
	}{
		{"String of a number", `1`, str, "", "a string"},
		{"String of null", `null`, str, "", "a string"},
		{"String of a word", `true`, str, "", "a string"},
		{"String of an array", `["a"]`, str, "", "a string"},
		{"String of an object", `{"a":"b"}`, str, "", "a string"},
		{"Int of a string", `"1"`, integer, int64(0), "an integer"},
		{"Int of null", `null`, integer, int64(0), "an integer"},
		{"Int of a word", `false`, integer, int64(0), "an integer"},
		{"Int of an array", `[1]`, integer, int64(0), "an integer"},
		{"Int of an object", `{}`, integer, int64(0), "an integer"},
		{"Int of a float", `1.5`, integer, int64(0), "an integer"},
		{"Int of a whole float", `1.0`, integer, int64(0), "an integer"},
		{"Int with an exponent", `1e3`, integer, int64(0), "an integer"},
		{"Int with a large exponent", `1E300`, integer, int64(0), "an integer"},
		{"Int over 64 bits by one", `9223372036854775808`, integer, int64(0), "an integer"},
		{"Int under 64 bits by one", `-9223372036854775809`, integer, int64(0), "an integer"},
		{"Int of 2^64", `18446744073709551616`, integer, int64(0), "an integer"},
		{"Int of many digits", strings.Repeat("9", 300), integer, int64(0), "an integer"},
		{"Strings of a number", `1`, list, none, "a string or an array of strings"},
		{"Strings of null", `null`, list, none, "a string or an array of strings"},
		{"Strings of an object", `{"a":"b"}`, list, none, "a string or an array of strings"},
		{"Strings with a number", `[1]`, list, none, "an array of strings"},
		{"Strings with a number last", `["a","b",1]`, list, none, "an array of strings"},
		{"Strings with null", `["a",null]`, list, none, "an array of strings"},
		{"Strings with an array", `["a",["b"]]`, list, none, "an array of strings"},
		{"Strings with an empty array", `[[]]`, list, none, "an array of strings"},
		{"Strings with an object", `["a",{"b":"c"}]`, list, none, "an array of strings"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := strictjson.Scan(`{"first":1,"\u0078":` + tc.value + `,"last":1}`)
			for range 2 {
				require.True(t, s.Next(), "value %s: %v", tc.value, s.Err())
			}
			require.Equal(t, tc.zero, tc.get(&s), "value %s", tc.value)
			want := &strictjson.MemberError{Name: "x", Want: tc.want}
			require.Equal(t, want, s.Err(), "value %s", tc.value)
			require.False(t, s.Next(), "value %s: Next after a fault", tc.value)
			s.Mistyped("something else")
			require.Equal(t, want, s.Err(), "value %s: the first fault is the one reported", tc.value)
		})
	}
}

func TestMemberErrorText(t *testing.T) {
	s := strictjson.Scan(`{"exp":"secret"}`)
	require.True(t, s.Next())
	s.Mistyped("a time in seconds")
	require.EqualError(t, s.Err(), `member "exp" must be a time in seconds`)
}

// Scanning the claims of a token without escapes allocates nothing.
func TestScanAllocatesNothing(t *testing.T) {
	text := `{"iss":"https://a.example","sub":"42","exp":1800000000,"roles":["a","b"],"x":{"y":[1,2,{"z":null}]}}`
	sum := int64(0)
	got := testing.AllocsPerRun(100, func() {
		s := strictjson.Scan(text)
		for s.Next() {
			switch s.Name() {
			case "sub":
				sum += int64(len(s.String()))
			case "exp":
				sum += s.Int()
			}
		}
		if s.Err() != nil {
			panic(s.Err())
		}
	})
	require.Positive(t, sum)
	require.Zero(t, got, "allocations")
}

// Numbers that no float64 holds are refused, as by encoding/json, and all others are not.
func TestTheRangeOfNumbers(t *testing.T) {
	long := strings.Repeat("9", 309)
	for raw, want := range map[string]bool{"1e308": true, "-1e308": true, "1e-999": true, "0e999999": true, strings.Repeat("1", 300): true,
		"1" + strings.Repeat("0", 308): true, "0." + strings.Repeat("1", 1000): true, "1e999": false, "-1E+309": false, long: false, long + ".5": false} {
		s := strictjson.Scan(`{"a":[{"x":` + raw + `}],"b":1}`)
		for s.Next() {
		}
		require.Equal(t, want, s.Err() == nil, raw[:min(20, len(raw))])
		var value any
		require.Equal(t, want, json.Unmarshal([]byte(raw), &value) == nil, raw[:min(20, len(raw))])
	}
}
