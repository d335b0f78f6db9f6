package jws

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// FuzzCompact compares the parser of the compact form with a plain reading of RFC 7515: three parts between two dots, each
// base64url in its one spelling.
func FuzzCompact(f *testing.F) {
	for _, seed := range []string{"", ".", "..", "a.b.c", "e30.e30.AAAA", "e30.e30.AB", "e30.e30.", ".e30.AA", "e30.e30.AA.AA", "e30.e30.AA==",
		"e3\n0.e30.AA", "e30.e30.AA\r", "e30.e+0.AA", "e30.e_-w.AA", `{"payload":"","signature":""}`, strings.Repeat("A", 8190) + ".A",
		"e30." + strings.Repeat("A", 8184) + ".AA", "e30." + strings.Repeat("A", 8188) + ".AA"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parts := strings.Split(text, ".")
		token, err := Open(text, MaxToken)
		whole := len(text) <= MaxToken && !strings.ContainsAny(text, "\r\n") && len(parts) == 3 && parts[0] != "" && parts[1] != "" && parts[2] != ""
		require.Equal(t, whole, err == nil, "%q: %v", text, err)
		if err != nil {
			return
		}
		defer token.Close()
		read := []func() (string, error){func() (string, error) { b, err := token.decodeHeader(); return string(b), err },
			token.UnverifiedPayload, func() (string, error) { b, err := token.decodeSignature(); return string(b), err }}
		for i, part := range parts {
			got, err := read[i]()
			want, wantErr := base64.RawURLEncoding.Strict().DecodeString(part)
			require.Equal(t, wantErr == nil, err == nil, "part %q", part)
			if err == nil {
				require.Equal(t, string(want), got)
				require.Equal(t, part, encode(got), "a second spelling was accepted")
			}
		}
		require.Equal(t, parts[0]+"."+parts[1], string(token.signingInput()))
	})
}

// FuzzHeader reads any header, of a token of signet and of another issuer. What encoding/json refuses is refused. Of what is
// accepted, encoding/json reads the same members, and none of them changes the meaning of the token.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{`{"alg":"EdDSA","kid":"one","typ":"at+jwt"}`, `{"alg":"Ed25519"}`, `{"alg":"none"}`, `{"alg":"HS256","alg":"none"}`,
		`{"Alg":"none","alg":"HS256"}`, `{"\u0061lg":"HS256"}`, `{"alg":"HS256","zip":"NONE"}`, `{"alg":"HS256","zip":null}`, `{"alg":null}`,
		`{"alg":"HS256","crit":["b64"],"b64":false}`, `{"alg":"HS256","jwk":{"kty":"oct","k":""}}`, `{"alg":"HS256","x5c":[]}`, `{}`, `null`, `[]`, ``,
		`{"alg":"HS256"}x`, `{"alg":"HS256","kid":"\ud800"}`, "{\"alg\":\"\xff\"}", `{"alg":"HS256","x":1e999}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, foreign := range []bool{false, true} {
			h, err := NewReader(nil, Rules{Foreign: foreign}, nil).parseHeader(text)
			if err != nil {
				var malformed *MalformedError
				require.ErrorAs(t, err, &malformed)
				continue
			}
			var members map[string]json.RawMessage
			require.NoError(t, json.Unmarshal([]byte(text), &members), "accepted %q", text)
			member := func(name string) (value string) {
				raw := members[name]
				if raw != nil && !(foreign && string(raw) == "null") {
					require.NotEqual(t, "null", string(raw))
					require.NoError(t, json.Unmarshal(raw, &value), "accepted %q in %q", name, text)
				}
				return value
			}
			alg := keys.Algorithm(member("alg"))
			if foreign && alg == "Ed25519" {
				alg = keys.EdDSA
			}
			require.NotEmpty(t, h.algorithm)
			require.Equal(t, []string{string(alg), member("kid"), member("typ")}, []string{string(h.algorithm), h.kid, h.typ})
			for _, name := range []string{"crit", "b64", "zip", "enc", "jwk", "jku", "x5u", "x5c"} {
				raw, given := members[name]
				harmless := foreign && (string(raw) == "null" || strings.HasPrefix(name, "j") || strings.HasPrefix(name, "x") ||
					name == "zip" && string(raw) == `"NONE"`)
				require.True(t, !given || harmless, "accepted %q in %q", name, text)
			}
		}
	})
}
