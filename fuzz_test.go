package signet_test

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// FuzzClaims signs any header and any payload, so that the fuzzer reaches the claims. What encoding/json refuses is refused.
// Of what is accepted, encoding/json reads the same claims, with the names in exactly this spelling.
func FuzzClaims(f *testing.F) {
	c := newClock()
	v := newVerifier(f, c)
	for _, claims := range []string{"", `,"aud":["a","b"],"roles":["x"],"scope":" a  b","jti":"1","sid":"s","nbf":0,"iss":"i"`,
		`,"aud":"a","roles":"x","scope":""`, `,"aud":["a",1],"roles":null`, `,"sub":"2"`, `,"Sub":"2","EXP":1`, `,"exp":1e10`,
		`,"gen":5,"ver":[1,2]`, `,"ver":[1,2,3]`, `,"ver":[ ]`, `,"ver":{}`, `,"nbf":253402300800`, `,"x":1e999`, `,"x":[[[[{}]]]]`,
		`,"s\u0075b2":"\ud83d\ude00"`, `,"aud":[]`, `,"roles":["\ud800"]`} {
		f.Add(goodHeader, goodPayload(c, claims))
	}
	for _, header := range []string{`{"alg":"HS256","typ":"at+jwt","crit":[]}`, `{"alg":"HS256","typ":"application/at+jwt"}`, `{"alg":"none"}`,
		`{"ALG":"none","alg":"HS256","typ":"AT+jwt"}`, `{"alg":"HS256","alg":"HS256"}`, `{"alg":"HS256","typ":"at+jwt","kid":""}`, `null`} {
		f.Add(header, goodPayload(c, ""))
	}
	f.Add(goodHeader, `{"sub":"1","sub":"2"}`)
	f.Fuzz(func(t *testing.T, header, payload string) {
		claims, err := v.Verify(context.Background(), sign(header, payload))
		if err != nil {
			require.ErrorIs(t, err, signet.ErrInvalidToken)
			return
		}
		head := members(t, header)
		require.Equal(t, "HS256", text(t, head["alg"]))
		require.Contains(t, []string{"at+jwt", "application/at+jwt"}, strings.ToLower(text(t, head["typ"])))
		require.Empty(t, text(t, head["kid"]))

		got := members(t, payload)
		require.NotEmpty(t, claims.Subject)
		require.Equal(t, text(t, got["sub"]), claims.Subject)
		require.Equal(t, text(t, got["iss"]), claims.Issuer)
		require.Equal(t, text(t, got["jti"]), claims.ID)
		require.Equal(t, text(t, got["sid"]), claims.SessionID)
		require.True(t, slices.Equal(list(t, got["aud"]), claims.Audience))
		require.True(t, slices.Equal(list(t, got["roles"]), claims.Roles))
		require.Equal(t, strings.FieldsFunc(text(t, got["scope"]), func(r rune) bool { return r == ' ' }), append([]string{}, claims.Scopes...))
		require.Equal(t, seconds(t, got["exp"]), claims.ExpiresAt.Unix())
		require.Equal(t, seconds(t, got["iat"]), claims.IssuedAt.Unix())
		require.Greater(t, claims.ExpiresAt.Unix(), c.Now().Unix())
		if got["nbf"] != nil {
			require.Equal(t, seconds(t, got["nbf"]), claims.NotBefore.Unix())
		}
	})
}

// members reads an object that was accepted.
func members(t *testing.T, object string) (m map[string]json.RawMessage) {
	require.NoError(t, json.Unmarshal([]byte(object), &m), "accepted %q", object)
	require.NotNil(t, m, "accepted %q", object)
	return m
}

// text reads a string, or nothing.
func text(t *testing.T, raw json.RawMessage) (s string) {
	if raw != nil {
		require.Equal(t, byte('"'), raw[0], "accepted %q", raw)
		require.NoError(t, json.Unmarshal(raw, &s))
	}
	return s
}

// list reads an array of strings, one string, or nothing.
func list(t *testing.T, raw json.RawMessage) (l []string) {
	if raw == nil || raw[0] == '"' {
		if s := text(t, raw); raw != nil {
			return []string{s}
		}
		return nil
	}
	var elements []json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &elements), "accepted %q", raw)
	for _, e := range elements {
		l = append(l, text(t, e))
	}
	return l
}

// seconds reads a time, which must be there.
func seconds(t *testing.T, raw json.RawMessage) (n int64) {
	require.NoError(t, json.Unmarshal(raw, &n), "accepted %q", raw)
	return n
}

// FuzzRefresh presents any text as a refresh token, and any header and payload with a good signature. In the payload, SID,
// JTI and GEN stand for those of a live refresh token. Only a refresh token of that session gets new tokens, and they are for
// the session's user.
func FuzzRefresh(f *testing.F) {
	s := newService(f)
	issue := func(t testing.TB) signet.Tokens {
		user, err := s.users.FindByID(context.Background(), "1")
		require.NoError(t, err)
		tokens, err := s.IssueFor(context.Background(), user)
		require.NoError(t, err)
		return tokens
	}
	live := issue(f)
	const header, good = `{"alg":"HS256","typ":"rt+jwt"}`,
		`{"sub":"1","aud":"signet:refresh","iat":1800000000,"exp":1800001000,"jti":"JTI","sid":"SID","gen":GEN}`
	f.Add("", header, good)
	f.Add("x", header, good)
	f.Add("..", goodHeader, good)
	f.Add("", `{"alg":"HS256","typ":"ticket+jwt"}`, good)
	f.Add("", `{"alg":"HS256","typ":"application/RT+jwt"}`, good)
	for _, change := range [][2]string{{`"sub":"1"`, `"sub":"3"`}, {"signet:refresh", "x"}, {`"JTI"`, `"x"`}, {`"SID"`, `"x"`}, {`GEN`, `1`},
		{`GEN`, `0`}, {`GEN`, `9223372036854775807`}, {`GEN`, `-9223372036854775808`}, {`GEN`, `GEN0`}, {`,"gen":GEN`, ``}, {`,"sid":"SID"`, ``},
		{`"jti":"JTI",`, ``}, {`1800001000`, `1800000000`}, {`"sub"`, `"sub":"3","sub"`}, {`"SID"`, `"SID","ver":[9,9]`}} {
		f.Add("", header, strings.Replace(good, change[0], change[1], 1))
	}
	f.Fuzz(func(t *testing.T, token, header, payload string) {
		now := part(t, live.RefreshToken, 1)
		current := members(t, decode(t, strings.Split(live.RefreshToken, ".")[1]))
		if token == "" {
			payload = strings.NewReplacer("SID", now["sid"].(string), "JTI", now["jti"].(string), "GEN", string(current["gen"])).Replace(payload)
			token = sign(header, payload)
		}
		tokens, err := s.Refresh(context.Background(), token)
		if err != nil {
			require.ErrorIs(t, err, signet.ErrInvalidToken)
			require.Empty(t, tokens)
			if _, err := s.Verify(context.Background(), live.AccessToken); err != nil {
				live = issue(t) // the session was ended for theft
			}
			return
		}
		require.Equal(t, sign(decode(t, strings.Split(token, ".")[0]), decode(t, strings.Split(token, ".")[1])), token, "another signature")
		got := members(t, decode(t, strings.Split(token, ".")[1]))
		require.Contains(t, list(t, got["aud"]), "signet:refresh")
		require.Contains(t, []string{"rt+jwt", "application/rt+jwt"}, strings.ToLower(text(t, members(t, header)["typ"])))
		require.Equal(t, now["sid"], text(t, got["sid"]))
		require.Equal(t, now["jti"], text(t, got["jti"]))
		require.Equal(t, "1", text(t, got["sub"]))
		require.Positive(t, seconds(t, got["gen"]))
		require.Greater(t, seconds(t, got["exp"]), s.clock.Now().Unix())

		claims, err := s.Verify(context.Background(), tokens.AccessToken)
		require.NoError(t, err)
		require.Equal(t, "1", claims.Subject)
		require.Equal(t, []string{"customer"}, claims.Roles)
		require.Equal(t, now["sid"], claims.SessionID)
		live = tokens
	})
}
