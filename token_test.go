package signet_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// sign makes a token with any header and payload, signed with the service's secret. An attacker who has it could do so too.
func sign(header, payload string) string { return signInput(encode(header) + "." + encode(payload)) }

func signInput(input string) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func newVerifier(t testing.TB, c *clock, opts ...signet.VerifierOption) *signet.Verifier {
	t.Helper()
	v, err := signet.NewVerifier(keys.Secret(secret), append([]signet.VerifierOption{signet.WithClock(c.Now)}, opts...)...)
	require.NoError(t, err)
	return v
}

const goodHeader = `{"alg":"HS256","typ":"at+jwt"}`

func goodPayload(c *clock, more string) string {
	now := c.Now().Unix()
	return fmt.Sprintf(`{"sub":"1","iat":%d,"exp":%d%s}`, now, now+60, more)
}

func TestVerifyRefusesFlattenedJSONForgery(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	good := sign(goodHeader, goodPayload(c, ""))
	_, err := v.Verify(context.Background(), good)
	require.NoError(t, err)

	// Somebody who has one good token can wrap it like this. jwt.Parse of jwx v2 then takes the outer members for the
	// claims.
	p := strings.Split(good, ".")
	forged := fmt.Sprintf(`{"sub":"admin","exp":%d,"payload":%q,"protected":%q,"signature":%q}`,
		c.Now().Add(time.Hour).Unix(), p[1], p[0], p[2])
	for _, token := range []string{forged, encode(forged), `{"payload":"` + p[1] + `","signatures":[{"protected":"` + p[0] +
		`","signature":"` + p[2] + `"}]}`} {
		_, err := v.Verify(context.Background(), token)
		require.ErrorIs(t, err, signet.ErrInvalidToken, token)
	}
}

func TestVerifyRefusesEveryOtherForm(t *testing.T) {
	c := newClock()
	now := c.Now().Unix()
	good := sign(goodHeader, goodPayload(c, ""))
	p := strings.Split(good, ".")
	last := good[len(good)-1]
	header := func(text string) string { return sign(text, goodPayload(c, "")) }
	payload := func(text string) string { return sign(goodHeader, text) }
	claims := func(format string, args ...any) string { return payload(fmt.Sprintf(format, args...)) }
	const malformed, signature, wrongType = "the token is malformed", "the token's signature is invalid", "the token is of the wrong type"
	const noKey = "no key has the token's key id and algorithm"

	for name, tc := range map[string]struct{ token, message string }{
		"empty":                      {"", malformed},
		"dots only":                  {"..", malformed},
		"one dot":                    {p[0] + "." + p[1], malformed},
		"three dots":                 {good + ".", malformed},
		"four dots, a JWE":           {good + ".a.b", malformed},
		"many dots":                  {strings.Repeat(".", 8000), malformed},
		"too long":                   {p[0] + "." + strings.Repeat("A", 9000) + "." + p[2], malformed},
		"empty signature":            {p[0] + "." + p[1] + ".", malformed},
		"empty payload":              {p[0] + ".." + p[2], malformed},
		"long header":                {header(`{"alg":"HS256","typ":"at+jwt","x":"` + strings.Repeat("a", 1000) + `"}`), malformed},
		"padding":                    {good + "=", malformed},
		"newline inside":             {p[0] + "." + p[1][:4] + "\n" + p[1][4:] + "." + p[2], malformed},
		"newline signed":             {signInput(p[0] + "." + p[1][:4] + "\n" + p[1][4:]), malformed},
		"newline in header":          {signInput(p[0][:4] + "\r\n" + p[0][4:] + "." + p[1]), malformed},
		"newline in signature":       {p[0] + "." + p[1] + "." + p[2][:4] + "\n" + p[2][4:], malformed},
		"newline at the end":         {good + "\n", malformed},
		"space":                      {" " + good, malformed},
		"standard alphabet":          {p[0] + "." + p[1] + "." + strings.Repeat("+", 43), malformed},
		"non-canonical last":         {good[:len(good)-1] + string(last+1), malformed},
		"signature cut":              {good[:len(good)-3], signature},
		"other signature":            {p[0] + "." + p[1] + "." + strings.Repeat("A", 43), signature},
		"other payload":              {p[0] + "." + encode(goodPayload(c, `,"x":1`)) + "." + p[2], signature},
		"alg none":                   {header(`{"alg":"none","typ":"at+jwt"}`), noKey},
		"alg none, unsigned":         {encode(`{"alg":"none","typ":"at+jwt"}`) + "." + p[1] + ".", malformed},
		"alg of another key":         {header(`{"alg":"HS512","typ":"at+jwt"}`), noKey},
		"alg RS256 with a secret":    {header(`{"alg":"RS256","typ":"at+jwt"}`), noKey},
		"alg in lower case":          {header(`{"alg":"hs256","typ":"at+jwt"}`), noKey},
		"alg missing":                {header(`{"typ":"at+jwt"}`), malformed},
		"alg a number":               {header(`{"alg":256,"typ":"at+jwt"}`), malformed},
		"unknown kid":                {header(`{"alg":"HS256","typ":"at+jwt","kid":"other"}`), noKey},
		"kid a number":               {header(`{"alg":"HS256","typ":"at+jwt","kid":1}`), malformed},
		"typ missing":                {header(`{"alg":"HS256"}`), wrongType},
		"typ JWT":                    {header(`{"alg":"HS256","typ":"JWT"}`), wrongType},
		"typ refresh":                {header(`{"alg":"HS256","typ":"rt+jwt"}`), wrongType},
		"bound to a key":             {payload(strings.TrimSuffix(goodPayload(c, ""), "}") + `,"cnf":{"jkt":"x"}}`), malformed},
		"crit":                       {header(`{"alg":"HS256","typ":"at+jwt","crit":["exp"]}`), malformed},
		"b64":                        {header(`{"alg":"HS256","typ":"at+jwt","b64":false}`), malformed},
		"jwk":                        {header(`{"alg":"HS256","typ":"at+jwt","jwk":{"kty":"oct","k":"AAAA"}}`), malformed},
		"jku":                        {header(`{"alg":"HS256","typ":"at+jwt","jku":"https://evil.example/"}`), malformed},
		"x5u":                        {header(`{"alg":"HS256","typ":"at+jwt","x5u":"https://evil.example/"}`), malformed},
		"x5c":                        {header(`{"alg":"HS256","typ":"at+jwt","x5c":["AAAA"]}`), malformed},
		"zip":                        {header(`{"alg":"HS256","typ":"at+jwt","zip":"DEF"}`), malformed},
		"duplicate alg":              {header(`{"alg":"none","alg":"HS256","typ":"at+jwt"}`), malformed},
		"duplicate alg, escaped":     {header(`{"alg":"HS256","\u0061lg":"HS256","typ":"at+jwt"}`), malformed},
		"header an array":            {header(`["HS256"]`), malformed},
		"header with trailing bytes": {header(goodHeader + "{}"), malformed},
		"payload an array":           {payload(`["sub"]`), malformed},
		"payload null":               {payload(`null`), malformed},
		"payload trailing bytes":     {payload(goodPayload(c, "") + "x"), malformed},
		"payload two objects":        {payload(goodPayload(c, "") + goodPayload(c, "")), malformed},
		"payload not UTF-8":          {payload(goodPayload(c, ",\"x\":\"\xff\"")), malformed},
		"duplicate sub":              {payload(goodPayload(c, `,"sub":"admin"`)), malformed},
		"duplicate in a claim":       {payload(goodPayload(c, `,"x":{"a":1,"a":2}`)), malformed},
		"no exp":                     {claims(`{"sub":"1","iat":%d}`, now), malformed},
		"no iat":                     {claims(`{"sub":"1","exp":%d}`, now+60), malformed},
		"no sub":                     {claims(`{"iat":%d,"exp":%d}`, now, now+60), malformed},
		"empty sub":                  {claims(`{"sub":"","iat":%d,"exp":%d}`, now, now+60), malformed},
		"sub a number":               {claims(`{"sub":1,"iat":%d,"exp":%d}`, now, now+60), malformed},
		"exp a string":               {claims(`{"sub":"1","iat":%d,"exp":"%d"}`, now, now+60), malformed},
		"exp a float":                {claims(`{"sub":"1","iat":%d,"exp":%d.0}`, now, now+60), malformed},
		"exp with exponent":          {claims(`{"sub":"1","iat":%d,"exp":9e9}`, now), malformed},
		"exp null":                   {claims(`{"sub":"1","iat":%d,"exp":null}`, now), malformed},
		"exp negative":               {claims(`{"sub":"1","iat":%d,"exp":-1}`, now), malformed},
		"exp beyond 64 bits":         {claims(`{"sub":"1","iat":%d,"exp":99999999999999999999}`, now), malformed},
		"exp after the year 9999":    {claims(`{"sub":"1","iat":%d,"exp":253402300800}`, now), malformed},
		"expired":                    {claims(`{"sub":"1","iat":%d,"exp":%d}`, now-60, now), "the token is expired"},
		"iat in the future":          {claims(`{"sub":"1","iat":%d,"exp":%d}`, now+31, now+60), "the token is not yet valid"},
		"nbf in the future":          {payload(goodPayload(c, fmt.Sprintf(`,"nbf":%d`, now+31))), "the token is not yet valid"},
		"nbf a string":               {payload(goodPayload(c, `,"nbf":"1"`)), malformed},
	} {
		t.Run(name, func(t *testing.T) {
			v := newVerifier(t, c)
			for range 2 { // the second time, caches have what the first time left
				_, err := v.Verify(context.Background(), tc.token)
				require.ErrorIs(t, err, signet.ErrInvalidToken)
				var e *signet.Error
				require.ErrorAs(t, err, &e)
				require.Equal(t, tc.message, e.Message())
				_, err = v.Verify(context.Background(), good)
				require.NoError(t, err)
			}
		})
	}
}

func TestVerifyAcceptsWhatTheRulesAllow(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	now := c.Now().Unix()
	for name, token := range map[string]string{
		"plain":             sign(goodHeader, goodPayload(c, "")),
		"typ in full":       sign(`{"alg":"HS256","typ":"application/AT+JWT"}`, goodPayload(c, "")),
		"unknown header":    sign(`{"alg":"HS256","typ":"at+jwt","x":{"y":[1,null]}}`, goodPayload(c, "")),
		"white space":       sign(" {\"alg\" : \"HS256\" ,\n\"typ\":\"at+jwt\"} ", goodPayload(c, "")+" "),
		"clocks differ":     sign(goodHeader, fmt.Sprintf(`{"sub":"1","iat":%d,"nbf":%d,"exp":%d}`, now+30, now+30, now+60)),
		"unknown claims":    sign(goodHeader, goodPayload(c, `,"a":{"b":[true,false,null,1.5e3,"\ud83d\ude00"]}`)),
		"escaped subject":   sign(goodHeader, strings.Replace(goodPayload(c, ""), `"sub":"1"`, `"s\u0075b":"\u0031"`, 1)),
		"audience as array": sign(goodHeader, goodPayload(c, `,"aud":["a","b"]`)),
	} {
		claims, err := v.Verify(context.Background(), token)
		require.NoError(t, err, name)
		require.Equal(t, "1", claims.Subject, name)
	}
}

func TestVerifyIssuerAndAudience(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c, signet.WithIssuer("https://a.example"), signet.WithAudience("shop", "api"))
	for name, tc := range map[string]struct {
		claims  string
		message string
	}{
		"both right":        {`,"iss":"https://a.example","aud":"api"`, ""},
		"one of several":    {`,"iss":"https://a.example","aud":["x","shop"]`, ""},
		"no issuer":         {`,"aud":"api"`, "the token is from another issuer"},
		"other issuer":      {`,"iss":"https://a.example/","aud":"api"`, "the token is from another issuer"},
		"issuer an array":   {`,"iss":["https://a.example"],"aud":"api"`, "the token is malformed"},
		"no audience":       {`,"iss":"https://a.example"`, "the token is for another audience"},
		"empty audience":    {`,"iss":"https://a.example","aud":[]`, "the token is for another audience"},
		"other audience":    {`,"iss":"https://a.example","aud":["x"]`, "the token is for another audience"},
		"audience a prefix": {`,"iss":"https://a.example","aud":"apiary"`, "the token is for another audience"},
	} {
		_, err := v.Verify(context.Background(), sign(goodHeader, goodPayload(c, tc.claims)))
		if tc.message == "" {
			require.NoError(t, err, name)
			continue
		}
		var e *signet.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, tc.message, e.Message(), name)
	}
}

func TestVerifyReportsOnlyTheSignatureOfABadSignature(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	expired := sign(goodHeader, `{"sub":"1","iat":1,"exp":2}`)
	_, err := v.Verify(context.Background(), expired[:len(expired)-43]+strings.Repeat("A", 43))
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.NotErrorIs(t, err, signet.ErrExpiredToken)
}

// FuzzVerify checks that Verify returns an error that is ErrInvalidToken, or claims with a subject, for any token. It also
// checks that an accepted token has our signature over its first two parts.
func FuzzVerify(f *testing.F) {
	c := newClock()
	v := newVerifier(f, c)
	good := sign(goodHeader, goodPayload(c, ""))
	for _, seed := range []string{good, "", "..", "a.b.c", good + "=", strings.ToUpper(good), sign(`{"alg":"none"}`, "{}"),
		sign(goodHeader, goodPayload(c, `,"sub":"2"`)), `{"payload":"","protected":"","signature":""}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := v.Verify(context.Background(), token)
		if err != nil {
			require.ErrorIs(t, err, signet.ErrInvalidToken)
			return
		}
		require.NotEmpty(t, claims.Subject)
		require.Equal(t, signInput(token[:strings.LastIndexByte(token, '.')]), token)
	})
}
