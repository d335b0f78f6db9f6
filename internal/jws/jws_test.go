package jws

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

func TestOpen(t *testing.T) {
	long := func(n int) string { return "a.b." + strings.Repeat("c", n-4) }
	for name, tc := range map[string]struct {
		text  string
		limit int
		want  error
	}{
		"three parts":       {"a.b.c", MaxToken, nil},
		"empty":             {"", MaxToken, errParts},
		"no dot":            {"abc", MaxToken, errParts},
		"one dot":           {"a.b", MaxToken, errParts},
		"three dots":        {"a.b.c.d", MaxToken, errParts},
		"a dot at the end":  {"a.b.c.", MaxToken, errParts},
		"an empty part":     {"a.b..c", MaxToken, errParts},
		"newline first":     {"\na.b.c", MaxToken, errLineBreak},
		"a JWE":             {"a.b.c.d.e", MaxToken, errParts},
		"no header":         {".b.c", MaxToken, errParts},
		"no payload":        {"a..c", MaxToken, errParts},
		"no signature":      {"a.b.", MaxToken, errParts},
		"newline":           {"a.b\n.c", MaxToken, errLineBreak},
		"carriage return":   {"a.b.c\r", MaxToken, errLineBreak},
		"longest":           {long(MaxToken), MaxToken, nil},
		"too long":          {long(MaxToken + 1), MaxToken, errLength},
		"longest, foreign":  {long(MaxForeignToken), MaxForeignToken, nil},
		"too long, foreign": {long(MaxForeignToken + 1), MaxForeignToken, errTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			token, err := Open(tc.text, tc.limit)
			if tc.want != nil {
				require.Equal(t, tc.want, err)
				return
			}
			require.NoError(t, err)
			defer token.Close()
			parts := strings.Split(tc.text, ".")
			require.Equal(t, parts, []string{token.header, token.payload, token.signature})
		})
	}
	require.Equal(t, "it is longer than 8,192 bytes", errLength.Error())
}

// The parts are decoded whole, whatever the length of the token. The buffers of short tokens grow.
func TestDecodeParts(t *testing.T) {
	for _, n := range []int{1, 2, 3, 1000, 3000} {
		for _, text := range []string{strings.Repeat("h", n), "h"} {
			token, err := Open(encode(text)+"."+encode(text+"p")+"."+encode(text+"s"), MaxForeignToken)
			require.NoError(t, err)
			header, err := token.decodeHeader()
			require.NoError(t, err)
			require.Equal(t, text, string(header))
			payload, err := token.UnverifiedPayload()
			require.NoError(t, err)
			require.Equal(t, text+"p", payload)
			signature, err := token.decodeSignature()
			require.NoError(t, err)
			require.Equal(t, text+"s", string(signature))
			require.Equal(t, encode(text)+"."+encode(text+"p"), string(token.signingInput()))
			token.Close()
		}
	}
	for _, bad := range []string{"A", "AB", "AA=", "A+AA", "A/AA", "A AA", "\x00AAA"} { // "AB": its unused bits are not zero
		token, err := Open("e30."+bad+".AA", MaxToken)
		require.NoError(t, err)
		_, err = token.UnverifiedPayload()
		require.Equal(t, errBase64, err, bad)
		token.Close()
	}
}

// Memory is used again, unless a long document has made it large. A pool may forget: with the race detector it does so at random.
func TestMemoryIsUsedAgain(t *testing.T) {
	const text = "aGVhZGVy.cGF5bG9hZA.c2ln"
	again := func(capacity int, between func()) bool {
		for range 100 {
			given := pool.New().(*buffers)
			given.token, given.decoded = make([]byte, 0, capacity), make([]byte, 0, len(text))
			first := &given.decoded[:1][0]
			Token{buf: given}.Close()
			between()
			got, err := Open(text, MaxToken)
			require.NoError(t, err)
			if got.buf == given {
				require.Same(t, first, &got.buf.decoded[:1][0], "it just fits")
				return true
			}
		}
		return false
	}
	require.True(t, again(100, func() {}))
	require.True(t, again(maxKept, func() {}))
	require.False(t, again(maxKept+1, func() {}))
	require.True(t, again(100, func() {
		_, err := NewWriter(AccessType).Sign(context.Background(), edKey("one"), []byte("{}"))
		require.NoError(t, err)
	}), "a signature gives it back too")
}

func TestIsType(t *testing.T) {
	for _, tc := range []struct {
		typ, want string
		is        bool
	}{
		{"at+jwt", "at+jwt", true}, {"AT+JWT", "at+jwt", true}, {"application/at+jwt", "at+jwt", true}, {"Application/At+jwt", "at+jwt", true},
		{"at+jwt", "application/at+jwt", true}, {"rt+jwt", "at+jwt", false}, {"", "at+jwt", false}, {"application/", "", false},
		{"application/application/at+jwt", "at+jwt", false}, {"text/at+jwt", "at+jwt", false}, {"at+jwt ", "at+jwt", false},
	} {
		require.Equal(t, tc.is, IsType(tc.typ, tc.want), "%q, %q", tc.typ, tc.want)
	}
}

// A Writer's tokens verify, and their headers name the key that signed, also after a change of keys.
func TestWriter(t *testing.T) {
	one, two := edKey("one"), edKey("two")
	w := NewWriter(AccessType)
	r := NewReader(&source{set: setOf(t, one, two)}, Rules{}, nil)
	for _, key := range []*keys.Key{one, one, two, one} {
		for _, payload := range []string{"{}", `{"a":"` + strings.Repeat("x", 5000) + `"}`} {
			token, err := w.Sign(context.Background(), key, []byte(payload))
			require.NoError(t, err)
			require.Equal(t, sign(t, key, edHeader(key.ID()), payload), token)
			got, err := verify(t, r, token)
			require.NoError(t, err)
			require.Equal(t, Verified{Type: AccessType, Payload: payload, Keys: r.Current(), Signers: got.Signers}, got)
			require.Len(t, got.Signers, 1)
		}
	}
	require.Equal(t, w.headerOf(one), w.headerOf(one))

	public := keys.JWK([]byte(`{"kty":"OKP","kid":"ed-public","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	_, err := w.Sign(context.Background(), public, []byte("{}"))
	require.ErrorContains(t, err, `"ed-public"`, "a key that cannot sign")
}

// The header of the last key is kept.
func TestWriterKeepsTheHeader(t *testing.T) {
	w, key := NewWriter(AccessType), edKey("one")
	w.headerOf(key)
	require.Zero(t, testing.AllocsPerRun(10, func() { w.headerOf(key) }))
}
