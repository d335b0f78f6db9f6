package strictjson_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/strictjson"
)

// FuzzScan compares Scan with encoding/json. What Scan accepts, encoding/json must read in the same way. What encoding/json
// refuses, Scan must refuse. If Scan refuses a text that encoding/json accepts, the text must have the fault that Scan
// reports.
func FuzzScan(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` { } `, `null`, `[]`, `""`, ``, `{"a":1}{}`, `{"a":1,}`, `{"a":[1,]}`, "\ufeff{}",
		`{"iss":"https://a.example","sub":"42","aud":["a","b"],"exp":1800000000,"roles":[]}`,
		`{"a":1,"\u0061":2}`, `{"a":{"b":1,"b":2}}`, `{"a":"\ud83d\ude00"}`, `{"a":"\ud83d"}`, `{"\ude00":"x"}`,
		`{"a":"\ufffd"}`, `{"a":"\"\\\/\b\f\n\r\t\u00e9"}`, "{\"a\":\"\xff\"}", "{\"a\":\"\x1f\"}",
		`{"a":01}`, `{"a":1.}`, `{"a":.5}`, `{"a":1e}`, `{"a":-}`, `{"a":+1}`, `{"a":-0.0E-00}`,
		`{"a":9223372036854775807,"b":-9223372036854775808,"c":9223372036854775808}`,
		`{"a":[ "x" , "y,\"]" ],"b":[true,false,null,{}]}`,
		nested(32, "[", "]"), nested(33, "[", "]"), nested(32, `{"a":`, "}"), nested(33, `{"a":`, "}"),
		numbered(25), numbered(25, `"m24":0`),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, err := read(text)
		valid := json.Valid([]byte(text))
		object := strings.HasPrefix(strings.TrimLeft(text, " \t\r\n"), "{")
		switch {
		case err == nil:
			require.True(t, valid && object, "accepted %q, encoding/json does not", text)
			compare(t, text, got)
		case errors.Is(err, strictjson.ErrUTF8):
			require.False(t, utf8.ValidString(text), "%q is UTF-8", text)
		case errors.Is(err, strictjson.ErrSyntax):
			surrogate := strings.Contains(strings.ToLower(text), `\ud`)
			require.True(t, !valid || !object || surrogate, "%q is JSON without surrogates", text)
		case errors.Is(err, strictjson.ErrRange):
			var any any
			require.Error(t, json.Unmarshal([]byte(text), &any), "%q has no number that is too large", text)
		case errors.Is(err, strictjson.ErrTrailing):
			require.False(t, valid, "%q has no trailing bytes", text)
		case errors.Is(err, strictjson.ErrDuplicate):
			duplicate, _ := walk(text)
			require.True(t, duplicate, "%q has no duplicate", text)
		case errors.Is(err, strictjson.ErrDepth):
			_, depth := walk(text)
			require.Greater(t, depth, 32, "depth of %q", text)
		default:
			require.Fail(t, "unknown error", "%q: %v", text, err)
		}
	})
}

// compare compares the members of an accepted text, and the results of the accessors, with encoding/json.
func compare(t *testing.T, text string, got []member) {
	duplicate, depth := walk(text)
	require.False(t, duplicate, "accepted a duplicate in %q", text)
	require.LessOrEqual(t, depth, 32, "accepted depth of %q", text)

	dec := json.NewDecoder(strings.NewReader(text))
	_, err := dec.Token()
	require.NoError(t, err, "%q", text)
	s := strictjson.Scan(text)
	for _, m := range got {
		name, err := dec.Token()
		require.NoError(t, err, "%q", text)
		require.Equal(t, name, m.name, "name in %q", text)
		var raw json.RawMessage
		require.NoError(t, dec.Decode(&raw), "member %q of %q", m.name, text)
		require.Equal(t, string(raw), m.raw, "member %q of %q", m.name, text)
		var value any
		require.NoError(t, json.Unmarshal(raw, &value), "member %q of %q", m.name, text)
		require.True(t, s.Next(), "member %q of %q", m.name, text)
		accessors(t, s, raw)
	}
	require.False(t, dec.More(), "%q has further members", text)
}

// accessors compares String, Int and Strings with encoding/json. It takes s by value, so a wrong type stops only the copy.
func accessors(t *testing.T, s strictjson.Scanner, raw json.RawMessage) {
	null := bytes.Equal(raw, []byte("null"))

	var str string
	ok := json.Unmarshal(raw, &str) == nil && !null
	c := s
	if _ = c.String(); errors.Is(c.Err(), strictjson.ErrSyntax) { // encoding/json replaces lone surrogates
		require.Contains(t, str, "\ufffd", "String of %q", raw)
		return
	}
	c = s
	if _ = c.Strings(); errors.Is(c.Err(), strictjson.ErrSyntax) {
		require.Contains(t, strings.ToLower(string(raw)), `\ud`, "Strings of %q", raw)
		return
	}
	c = s
	require.Equal(t, str, c.String(), "String of %q", raw)
	require.Equal(t, ok, c.Err() == nil, "String of %q: %v", raw, c.Err())

	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		n = 0
	}
	c = s
	require.Equal(t, n, c.Int(), "Int of %q", raw)
	require.Equal(t, err == nil, c.Err() == nil, "Int of %q: %v", raw, c.Err())

	var pointers []*string // a null in the array stays nil
	list := []string{}
	if ok {
		list = append(list, str)
	} else {
		ok = json.Unmarshal(raw, &pointers) == nil && !null
		for _, p := range pointers {
			if ok = ok && p != nil; ok {
				list = append(list, *p)
			}
		}
	}
	if !ok {
		list = []string{}
	}
	c = s
	require.Equal(t, list, append([]string{}, c.Strings()...), "Strings of %q", raw)
	require.Equal(t, ok, c.Err() == nil, "Strings of %q: %v", raw, c.Err())
}

// walk reads the first value of text, up to the first syntax error. It returns whether an object in it has a name twice, and
// how deeply it is nested.
func walk(text string) (duplicate bool, deepest int) {
	type frame struct {
		names map[string]bool // nil in an array
		value bool            // the next token in an object is a value
	}
	var open []*frame
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	for {
		token, err := dec.Token()
		if err != nil { // io.EOF, or a syntax error that comes after what walk looks for
			return duplicate, deepest
		}
		delim, _ := token.(json.Delim)
		if delim == '}' || delim == ']' {
			if open = open[:len(open)-1]; len(open) == 0 {
				return duplicate, deepest
			}
			continue
		}
		if len(open) > 0 && open[len(open)-1].names != nil {
			top := open[len(open)-1]
			if top.value = !top.value; top.value {
				name := token.(string)
				duplicate = duplicate || top.names[name]
				top.names[name] = true
				continue
			}
		}
		switch delim {
		case '{':
			open = append(open, &frame{names: map[string]bool{}})
		case '[':
			open = append(open, &frame{})
		default:
			if len(open) == 0 {
				return duplicate, deepest
			}
		}
		deepest = max(deepest, len(open))
	}
}
