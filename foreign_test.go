package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/userstore"
)

// clientOf answers every request with the JWK Set of the keys.
func clientOf(list ...*keys.Key) *http.Client {
	return &http.Client{Transport: &inProcess{handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		set, err := keys.NewSet(nil, list...)
		if err != nil {
			panic(err)
		}
		text, err := set.JWKS()
		if err != nil {
			panic(err)
		}
		w.Write(text)
	})}}
}

// foreigner is a Verifier of one issuer, and what makes its tokens.
type foreigner struct {
	*signet.Verifier
	t     *testing.T
	clock *clock
	key   *keys.Key
	log   *lines
}

func newForeigner(t *testing.T, change func(*signet.TrustedIssuer)) *foreigner {
	t.Helper()
	f := &foreigner{t: t, clock: newClock(), key: keys.Private(p256(t)), log: &lines{}}
	trusted := signet.TrustedIssuer{Issuer: "https://i.example", Keys: published(t, f.key), Types: []string{"JWT"}}
	if change != nil {
		change(&trusted)
	}
	var err error
	f.Verifier, err = signet.NewIssuersVerifier([]signet.TrustedIssuer{trusted}, signet.WithClock(f.clock.Now),
		signet.WithLogger(slog.New(slog.NewTextHandler(f.log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	require.NoError(t, err)
	return f
}

// verify signs a payload and verifies the token.
func (f *foreigner) verify(header, payload string) (*signet.Claims, error) {
	return f.Verify(f.t.Context(), f.token(header, payload))
}

// token signs a payload: NOW and LATER stand for times.
func (f *foreigner) token(header, payload string) string {
	now := f.clock.Now().Unix()
	payload = strings.NewReplacer("NOW", fmt.Sprint(now), "LATER", fmt.Sprint(now+60)).Replace(payload)
	return signWith(f.t, f.key, strings.Replace(header, "KID", f.key.ID(), 1), payload)
}

const foreignHeader = `{"alg":"ES256","typ":"JWT","kid":"KID"}`

// Only the claims that guard can fail a token. The rest of the payload belongs to the host.
func TestForeignTokensAreJudgedByWhatMatters(t *testing.T) {
	for name, tc := range map[string]struct {
		payload string
		want    string // of the error; "": accepted
	}{
		"plain":                      {`{"iss":"https://i.example","sub":"1","iat":NOW,"exp":LATER}`, ""},
		"without iat":                {`{"iss":"https://i.example","sub":"1","exp":LATER}`, ""},
		"fractions":                  {`{"iss":"https://i.example","sub":"1","iat":NOW.5,"nbf":NOW.25,"exp":LATER.75}`, ""},
		"an exponent":                {`{"iss":"https://i.example","sub":"1","exp":1.8000006E9}`, ""},
		"nulls":                      {`{"iss":"https://i.example","sub":"1","iat":null,"nbf":null,"aud":null,"jti":null,"roles":null,"scope":null,"exp":LATER}`, ""},
		"ids of other forms":         {`{"iss":"https://i.example","sub":"1","exp":LATER,"jti":7,"sid":9,"gen":"x","ver":{}}`, ""},
		"roles of objects":           {`{"iss":"https://i.example","sub":"1","exp":LATER,"roles":[{"name":"admin"}]}`, ""},
		"roles an object":            {`{"iss":"https://i.example","sub":"1","exp":LATER,"roles":{"admin":true}}`, ""},
		"a scope that is a number":   {`{"iss":"https://i.example","sub":"1","exp":LATER,"scope":7}`, ""},
		"no exp":                     {`{"iss":"https://i.example","sub":"1"}`, `"exp"`},
		"exp null":                   {`{"iss":"https://i.example","sub":"1","exp":null}`, `"exp"`},
		"exp a text":                 {`{"iss":"https://i.example","sub":"1","exp":"LATER"}`, `"exp"`},
		"exp in milliseconds":        {`{"iss":"https://i.example","sub":"1","exp":LATER000}`, `"exp"`},
		"exp true":                   {`{"iss":"https://i.example","sub":"1","exp":true}`, `"exp"`},
		"nbf before 1970":            {`{"iss":"https://i.example","sub":"1","nbf":-62135596800,"iat":-0.5,"exp":LATER}`, ""},
		"exp negative":               {`{"iss":"https://i.example","sub":"1","exp":-1}`, `"exp"`},
		"exp beyond everything":      {`{"iss":"https://i.example","sub":"1","exp":1e400}`, "range"},
		"expired":                    {`{"iss":"https://i.example","sub":"1","exp":NOW}`, "expired"},
		"expired by a fraction":      {`{"iss":"https://i.example","sub":"1","exp":NOW.9}`, "expired"},
		"iat a text":                 {`{"iss":"https://i.example","sub":"1","iat":"NOW","exp":LATER}`, `"iat"`},
		"nbf in the future":          {`{"iss":"https://i.example","sub":"1","nbf":LATER,"exp":LATER}`, "not yet"},
		"no sub":                     {`{"iss":"https://i.example","exp":LATER}`, `"sub"`},
		"an empty sub":               {`{"iss":"https://i.example","sub":"","exp":LATER}`, `"sub"`},
		"sub a number":               {`{"iss":"https://i.example","sub":1,"exp":LATER}`, `"sub"`},
		"sub null":                   {`{"iss":"https://i.example","sub":null,"exp":LATER}`, `"sub"`},
		"sub an array":               {`{"iss":"https://i.example","sub":["1"],"exp":LATER}`, `"sub"`},
		"no iss":                     {`{"sub":"1","exp":LATER}`, "issuer"},
		"another iss":                {`{"iss":"https://i.example/","sub":"1","exp":LATER}`, "issuer"},
		"iss an array":               {`{"iss":["https://i.example"],"sub":"1","exp":LATER}`, `"iss"`},
		"aud of another form":        {`{"iss":"https://i.example","sub":"1","exp":LATER,"aud":7}`, `"aud"`},
		"a member twice":             {`{"iss":"https://i.example","sub":"1","sub":"2","exp":LATER}`, "twice"},
		"a member twice inside":      {`{"iss":"https://i.example","sub":"1","exp":LATER,"x":{"a":1,"a":2}}`, "twice"},
		"bytes behind":               {`{"iss":"https://i.example","sub":"1","exp":LATER}x`, "follow"},
		"not UTF-8":                  {"{\"iss\":\"https://i.example\",\"sub\":\"\xff\",\"exp\":LATER}", "UTF-8"},
		"bound to a key":             {`{"iss":"https://i.example","sub":"1","exp":LATER,"cnf":{"jkt":"x"}}`, `"cnf"`},
		"bound to a certificate":     {`{"iss":"https://i.example","sub":"1","exp":LATER,"cnf":{"x5t#S256":"x"}}`, `"cnf"`},
		"cnf that is null":           {`{"iss":"https://i.example","sub":"1","exp":LATER,"cnf":null}`, ""},
		"a lone surrogate somewhere": {`{"iss":"https://i.example","sub":"1","exp":LATER,"name":"Ann \ud83d","x":["\ud800"]}`, ""},
		"a lone surrogate in sub":    {`{"iss":"https://i.example","sub":"1\ud83d","exp":LATER}`, "JSON"},
		"a lone surrogate in a name": {`{"iss":"https://i.example","sub":"1","exp":LATER,"x":{"\ud800":1}}`, "JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeigner(t, nil)
			claims, err := f.verify(foreignHeader, tc.payload)
			if tc.want != "" {
				require.ErrorIs(t, err, signet.ErrInvalidToken)
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, "1", claims.Subject)
			require.Empty(t, claims.Roles)
			require.Empty(t, claims.Scopes)
			require.Empty(t, claims.SessionID)
		})
	}
}

func TestForeignHeaders(t *testing.T) {
	const payload = `{"iss":"https://i.example","sub":"1","exp":LATER}`
	long := strings.Repeat("QUFB", 500)
	for header, want := range map[string]string{
		foreignHeader: "", `{"alg":"ES256","typ":"jwt","kid":"KID"}`: "", `{"alg":"ES256","typ":"application/JWT","kid":"KID"}`: "",
		`{"alg":"ES256","typ":"JWT","kid":"KID","jku":"https://evil.example/","x5u":"https://evil.example/","jwk":{"kty":"EC"}}`: "",
		`{"alg":"ES256","typ":"JWT","kid":"KID","x5c":["` + long + `"]}`:                                                         "",
		`{"alg":"ES256","typ":"JWT"}`:                            "",
		`{"alg":"ES256","typ":"JWT","kid":null}`:                 "",
		`{"alg":"ES256","typ":"JWT","kid":"KID","crit":["exp"]}`: "crit",
		`{"alg":"ES256","typ":"JWT","kid":"KID","b64":false}`:    "b64",
		`{"alg":"ES256","typ":"JWT","kid":"KID","zip":"DEF"}`:    "zip",
		`{"alg":"ES256","kid":"KID"}`:                            "wrong type",
		`{"alg":"ES256","typ":"at+jwt","kid":"KID"}`:             "wrong type",
		`{"alg":"ES256","typ":"rt+jwt","kid":"KID"}`:             "wrong type",
		`{"alg":"none","typ":"JWT","kid":"KID"}`:                 "key id",
		`{"alg":"HS256","typ":"JWT","kid":"KID"}`:                "key id",
		`{"alg":"ES256","alg":"ES256","typ":"JWT","kid":"KID"}`:  "twice",
		`{"alg":"ES256","typ":"JWT","kid":"another"}`:            "key id",
		`{"alg":"ES256","typ":7,"kid":"KID"}`:                    "typ",
	} {
		f := newForeigner(t, nil)
		_, err := f.verify(header, payload)
		if want == "" {
			require.NoError(t, err, header)
			continue
		}
		require.ErrorIs(t, err, signet.ErrInvalidToken, header)
		require.ErrorContains(t, err, want, header)
	}
}

func TestRolesAndScopesFromWhereTheyAre(t *testing.T) {
	const payload = `{"iss":"https://i.example","sub":"1","exp":LATER,"roles":["plain"],"scope":["a","b c"],"scp":"d","one":"text",
		"realm_access":{"roles":["admin"],"null":null},"realm_access.roles":["dotted"],"https://shop.example/roles":["url"],"deep":{"a":{"b":["deep"]}},"number":7,"empty":[]}`
	for name, tc := range map[string]struct {
		roles, scopes         [][]string
		wantRoles, wantScopes []string
		logged                bool
	}{
		"the usual claims": {nil, nil, []string{"plain"}, []string{"a", "b", "c"}, false},
		"nested":           {[][]string{{"realm_access", "roles"}}, nil, []string{"admin"}, []string{"a", "b", "c"}, false},
		"a dot in a name":  {[][]string{{"realm_access.roles"}}, nil, []string{"dotted"}, []string{"a", "b", "c"}, false},
		"a URL":            {[][]string{{"https://shop.example/roles"}}, nil, []string{"url"}, []string{"a", "b", "c"}, false},
		"several":          {[][]string{{"one"}, {"deep", "a", "b"}, {"roles"}}, [][]string{{"scp"}, {"scope"}}, []string{"plain", "text", "deep"}, []string{"a", "b", "c", "d"}, false},
		"nowhere":          {[][]string{{"nothing"}, {"realm_access", "nothing"}, {"realm_access", "null"}, {"empty"}}, [][]string{{"x", "y"}}, nil, nil, false},
		"a number":         {[][]string{{"number"}}, [][]string{{"deep"}}, nil, nil, true},
		"below a text":     {[][]string{{"one", "x"}}, [][]string{}, nil, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			f := newForeigner(t, func(i *signet.TrustedIssuer) { i.Roles, i.Scopes = tc.roles, tc.scopes })
			claims, err := f.verify(foreignHeader, payload)
			require.NoError(t, err)
			require.ElementsMatch(t, tc.wantRoles, claims.Roles)
			require.ElementsMatch(t, tc.wantScopes, claims.Scopes)
			require.Equal(t, tc.logged, f.log.count("cannot be read") == 1, f.log.String())
		})
	}
	f := newForeigner(t, func(i *signet.TrustedIssuer) { i.Roles = [][]string{{"number"}} })
	now := f.clock.Now().Unix()
	token := signWith(t, f.key, foreignHeader[:len(foreignHeader)-13]+"}", fmt.Sprintf(`{"iss":"https://i.example","sub":"1","exp":%d,"number":7}`, now+60))
	for want, guard := range map[int]http.Handler{403: f.RequireRole("admin")(http.NotFoundHandler()), 404: f.RequireAuth(http.NotFoundHandler())} {
		rec := httptest.NewRecorder()
		guard.ServeHTTP(rec, withBearer(token))
		require.Equal(t, want, rec.Code)
	}
}

func TestSubjects(t *testing.T) {
	named := func(i *signet.TrustedIssuer) { i.SubjectClaim = "client_id" }
	numeric := func(i *signet.TrustedIssuer) { i.NumericSubject = true }
	for name, tc := range map[string]struct {
		change func(*signet.TrustedIssuer)
		claims string
		want   string // "": refused
	}{
		"a client":                  {named, `"client_id":"worker"`, "worker"},
		"sub counts first":          {named, `"sub":"1","client_id":"worker"`, "1"},
		"sub null":                  {named, `"sub":null,"client_id":"worker"`, "worker"},
		"sub empty":                 {named, `"sub":"","client_id":"worker"`, "worker"},
		"neither":                   {named, `"x":1`, ""},
		"an empty client":           {named, `"client_id":""`, ""},
		"a client that is a number": {named, `"client_id":7`, ""},
		"clients that are several":  {named, `"client_id":["a","b"]`, ""},
		"sub of another form":       {named, `"sub":7,"client_id":"worker"`, ""},
		"a number":                  {numeric, `"sub":1`, "1"},
		"zero":                      {numeric, `"sub":0`, "0"},
		"a large number":            {numeric, `"sub":9007199254740991`, "9007199254740991"},
		"a text still":              {numeric, `"sub":"x"`, "x"},
		"a larger number":           {numeric, `"sub":9007199254740992`, ""},
		"a negative number":         {numeric, `"sub":-1`, ""},
		"a fraction":                {numeric, `"sub":1.0`, ""},
		"an exponent":               {numeric, `"sub":1e3`, ""},
		"true":                      {numeric, `"sub":true`, ""},
	} {
		f := newForeigner(t, tc.change)
		claims, err := f.verify(foreignHeader, `{"iss":"https://i.example","exp":LATER,`+tc.claims+`}`)
		if tc.want == "" {
			require.ErrorIs(t, err, signet.ErrInvalidToken, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, tc.want, claims.Subject, name)
	}
}

func TestTrustedIssuersAreChecked(t *testing.T) {
	key := keys.Public(p256(t).Public())
	for name, i := range map[string]signet.TrustedIssuer{
		"no typ and nothing else": {Types: []string{"JWT", ""}},
		"refresh tokens":          {Types: []string{"rt+jwt"}},
		"no types":                {Types: []string{}},
		"an empty path":           {Roles: [][]string{{}}},
		"an empty name":           {Scopes: [][]string{{"a", ""}}},
		"a very long path":        {Roles: [][]string{strings.Split("a b c d e f g h i", " ")}},
		"a brace":                 {Issuer: "https://i.example/{"},
		"empty braces":            {Issuer: "https://i.example/{}"},
		"a brace too many":        {Issuer: "https://i.example/{tid}}"},
		"the type of a ticket":    {Issuer: "https://i.example", Types: []string{"ticket+jwt"}},
		"no algorithms":           {Issuer: "https://i.example", Algorithms: []keys.Algorithm{}},
	} {
		if i.Issuer == "" {
			i.Issuer = "https://i.example"
		}
		i.Keys = key
		_, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{i})
		require.Error(t, err, name)
		i.Audience, i.Require = []string{"a"}, map[string]string{"a": "b"}
		_, err = signet.NewIssuersVerifier([]signet.TrustedIssuer{i})
		require.Equal(t, name == "no typ and nothing else", err == nil, name)
	}
}

// None of it applies to signet's own tokens.
func TestOwnTokensStayStrict(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	now := c.Now().Unix()
	for _, token := range []string{
		sign(goodHeader, fmt.Sprintf(`{"sub":"1","exp":%d}`, now+60)),
		sign(goodHeader, fmt.Sprintf(`{"sub":"1","iat":%d,"exp":%d.5}`, now, now+60)),
		sign(goodHeader, fmt.Sprintf(`{"sub":1,"iat":%d,"exp":%d}`, now, now+60)),
		sign(goodHeader, goodPayload(c, `,"scope":["a"]`)),
		sign(goodHeader, goodPayload(c, `,"roles":null`)),
		sign(`{"alg":"HS256"}`, goodPayload(c, "")),
		sign(`{"alg":"HS256","typ":"at+jwt","jku":"x"}`, goodPayload(c, "")),
	} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorIs(t, err, signet.ErrInvalidToken, token)
	}
}

// 21 of 21 verifiers that do not compare "typ" took a refresh token for an access token, because key, issuer and audience are
// the same.
func TestRefreshTokensHaveAnAudienceOfTheirOwn(t *testing.T) {
	for _, opts := range [][]signet.Option{nil, {signet.WithAudience("shop")}, {signet.WithoutSessions()}} {
		s := newService(t, opts...)
		tokens := s.login(t)
		require.Equal(t, "signet:refresh", part(t, tokens.RefreshToken, 1)["aud"])
		require.NotEqual(t, "signet:refresh", part(t, tokens.AccessToken, 1)["aud"])
		_, err := s.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
	}
	c := newClock()
	now := c.Now().Unix()
	s := newService(t)
	_, err := s.Refresh(t.Context(), sign(`{"alg":"HS256","typ":"rt+jwt"}`, fmt.Sprintf(`{"sub":"1","iat":%d,"exp":%d,"jti":"x","sid":"y","gen":1}`, now, now+60)))
	require.ErrorContains(t, err, "audience")
}

// Spring Security refuses at+jwt unless it is told otherwise.
func TestTheFirstTokenTypeIsIssued(t *testing.T) {
	s := newService(t, signet.WithTokenTypes("JWT", "at+jwt"))
	tokens := s.login(t)
	require.Equal(t, "JWT", part(t, tokens.AccessToken, 0)["typ"])
	require.Equal(t, "rt+jwt", part(t, tokens.RefreshToken, 0)["typ"])
	_, err := s.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	plain := newService(t)
	_, err = plain.Verify(t.Context(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.NoError(t, s.Logout(t.Context(), tokens.AccessToken))
}

func TestMetadataHandler(t *testing.T) {
	ring, err := keys.NewRing(keys.Private(p256(t)), keys.Secret(secret), keys.Private(rsaKey()))
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithIssuer("https://login.example"), quiet)
	require.NoError(t, err)
	defer auth.Close()
	rec := httptest.NewRecorder()
	auth.MetadataHandler("https://login.example/jwks.json").ServeHTTP(rec, httptest.NewRequest("GET", "/.well-known/openid-configuration", nil))
	require.JSONEq(t, `{"issuer":"https://login.example","jwks_uri":"https://login.example/jwks.json","response_types_supported":[],"subject_types_supported":["public"],
		"id_token_signing_alg_values_supported":["ES256","RS256"]}`, rec.Body.String())
	require.Equal(t, "application/json", rec.Header().Get("Content-Type"))
	require.Panics(t, func() { newService(t).MetadataHandler("https://login.example/jwks.json") }, "there is no issuer")
	require.Panics(t, func() { auth.MetadataHandler("x") })
	for _, issuer := range []string{"shop", "my service: prod", "https://a.example/?x=1", "https://a.example/#f"} {
		s := newService(t, signet.WithIssuer(issuer))
		require.Panics(t, func() { s.MetadataHandler("https://a.example/jwks.json") }, issuer)
	}

	site := httptest.NewUnstartedServer(nil)
	mux := http.NewServeMux()
	site.Config.Handler = mux
	site.Start()
	defer site.Close()
	own, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithIssuer(site.URL), quiet)
	require.NoError(t, err)
	defer own.Close()
	mux.Handle("/.well-known/openid-configuration", own.MetadataHandler(site.URL+"/jwks.json"))
	mux.Handle("/jwks.json", own.JWKSHandler())
	source, err := keys.Discover(site.URL, silent)
	require.NoError(t, err)
	defer source.Close()
	v, err := signet.NewVerifier(source, signet.WithIssuer(site.URL), quiet)
	require.NoError(t, err)
	tokens, err := own.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	claims, err := v.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.NotEmpty(t, claims.SessionID)
}

// A claim that names somebody is a text. An array of one text is something else, and another program may read it so.
func TestAListIsNoName(t *testing.T) {
	change := func(i *signet.TrustedIssuer) { i.Issuer, i.SubjectClaim = "https://i.example/{tid}", "client_id" }
	for payload, good := range map[string]bool{
		`{"iss":"https://i.example/abc","tid":"abc","sub":"1","exp":LATER}`:            true,
		`{"iss":"https://i.example/abc","tid":["abc"],"sub":"1","exp":LATER}`:          false,
		`{"iss":"https://i.example/abc","tid":"abc","client_id":"x","exp":LATER}`:      true,
		`{"iss":"https://i.example/abc","tid":"abc","client_id":["x"],"exp":LATER}`:    false,
		`{"iss":"https://i.example/abc","tid":"abc","tid":"x","sub":"1","exp":LATER}`:  false,
		`{"iss":"https://i.example/abc","tid":null,"sub":"1","exp":LATER}`:             false,
		`{"iss":"https://i.example/abc\u0000","tid":"abc","sub":"1","exp":LATER}`:      false,
		`{"iss":"https://i.example/abc","tid":"abc","sub":["1"],"exp":LATER}`:          false,
		`{"iss":"https://i.example/a/b","tid":"a/b","sub":"1","exp":LATER}`:            false,
		`{"iss":"https://i.example/abc","tid":"abc","sub":"1","scope":7,"exp":LATER}`:  true,
		`{"iss":"https://i.example/abc","tid":"abc","sub":"1","jti":[1],"exp":LATER}`:  true,
		`{"iss":"https://i.example/abc/","tid":"abc","sub":"1","exp":LATER}`:           false,
		`{"iss":"https://i.example/abc","tid":"ABC","sub":"1","exp":LATER}`:            false,
		`{"iss":"https://i.example/{tid}","tid":"{tid}","sub":"1","exp":LATER}`:        false,
		`{"iss":"https://i.example/abc","azp":"x","tid":"abc","exp":LATER}`:            false,
		`{"iss":"https://i.example/abc","tid":"abc","client_id":"x","sub":"","exp":1}`: false,
	} {
		_, err := newForeigner(t, change).verify(foreignHeader, payload)
		require.Equal(t, good, err == nil, "%s: %v", payload, err)
	}
}

// Without SubjectClaim nothing stands for "sub", not even a claim whose name is empty.
func TestAClaimWithoutANameIsNoSubject(t *testing.T) {
	_, err := newForeigner(t, nil).verify(foreignHeader, `{"iss":"https://i.example","":"x","exp":LATER}`)
	require.ErrorContains(t, err, `"sub"`)
}

// RFC 6749 section 3.3 separates scopes by spaces. Other white space is a part of a scope, or a mistake.
func TestScopesAreSplitAtSpacesOnly(t *testing.T) {
	c, err := newForeigner(t, nil).verify(foreignHeader,
		`{"iss":"https://i.example","sub":"1","scope":" a  b\u00a0c\td ","exp":LATER}`)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b\u00a0c\td"}, c.Scopes)
}

// Two patterns may fit one name. The claims of the token decide.
func TestPatternsThatFitTheSameName(t *testing.T) {
	a, b := keys.Private(p256(t), keys.WithID("a")), keys.Private(p256(t), keys.WithID("b"))
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{
		{Issuer: "https://i.example/{tid}", Keys: a, Types: []string{"application/JWT"}},
		{Issuer: "https://i.example/{org}", Keys: b, Types: []string{"JWT"}},
	})
	require.NoError(t, err)
	for claim, own := range map[string]*keys.Key{"tid": a, "org": b} {
		payload := fmt.Sprintf(`{"iss":"https://i.example/x","%s":"x","sub":"1","exp":%d}`, claim, time.Now().Add(time.Hour).Unix())
		for _, k := range []*keys.Key{a, b} {
			_, err := v.Verify(t.Context(), signWith(t, k, `{"alg":"ES256","typ":"JWT","kid":"`+k.ID()+`"}`, payload))
			require.Equal(t, k == own, err == nil, "%s by %s: %v", claim, k.ID(), err)
		}
	}
}

// ForgeRock writes the header member "zip" to say that nothing is compressed.
func TestZipNone(t *testing.T) {
	payload := `{"iss":"https://i.example","sub":"1","exp":LATER}`
	_, err := newForeigner(t, nil).verify(`{"typ":"JWT","zip":"NONE","kid":"KID","alg":"ES256"}`, payload)
	require.NoError(t, err)
	_, err = newForeigner(t, nil).verify(`{"typ":"JWT","zip":"none","kid":"KID","alg":"ES256"}`, payload)
	require.ErrorContains(t, err, "zip")
}

// Entra puts up to 200 groups into a token. Administrators have many.
func TestATokenWithManyGroups(t *testing.T) {
	for count, good := range map[int]bool{200: true, 400: false} {
		groups := `"` + strings.Repeat(`11111111-2222-3333-4444-555555555555","`, count-1) + `x"`
		f := newForeigner(t, func(i *signet.TrustedIssuer) { i.Roles = [][]string{{"groups"}} })
		c, err := f.verify(foreignHeader, `{"iss":"https://i.example","sub":"1","groups":[`+groups+`],"exp":LATER}`)
		require.Equal(t, good, err == nil, "%d groups: %v", count, err)
		if good {
			require.Len(t, c.Roles, count)
		}
	}
}

func TestASubjectClaimMayBeANumber(t *testing.T) {
	for payload, want := range map[string]string{`7`: "7", `"7"`: "7", `7.5`: "", `-1`: "", `[7]`: "", `null`: ""} {
		f := newForeigner(t, func(i *signet.TrustedIssuer) { i.SubjectClaim, i.NumericSubject = "user_id", true })
		c, err := f.verify(foreignHeader, `{"iss":"https://i.example","user_id":`+payload+`,"exp":LATER}`)
		require.Equal(t, want != "", err == nil, "%s: %v", payload, err)
		if want != "" {
			require.Equal(t, want, c.Subject)
		}
	}
}

// A key that names a tenant signs tokens of that tenant only, as the keys of Entra do, whether the issuer's name is a pattern or
// not.
func TestKeysOfATenant(t *testing.T) {
	for _, tc := range []struct {
		issuer, iss string
		keys        map[string]bool
	}{
		{"https://login.example/{tid}/v2.0", "https://login.example/t1/v2.0", map[string]bool{
			`""`: true, `null`: true, `"https://login.example/{tenantid}/v2.0"`: true, `"https://login.example/t1/v2.0"`: true,
			`"https://login.example/t2/v2.0"`: false, `"https://login.example/t10/v2.0"`: false, `"https://login.example/"`: false}},
		{"https://login.example/t1/v2.0", "https://login.example/t1/v2.0", map[string]bool{
			`""`: true, `"https://login.example/{tenantid}/v2.0"`: true, `"https://login.example/t1/v2.0"`: true,
			`"https://login.example/t2/v2.0"`: false, `"https://login.example/v2.0"`: false}},
		{"https://sts.example/t1/", "https://sts.example/t1/", map[string]bool{
			`"https://login.example/t1/v2.0"`: true, `"https://login.example/t2/v2.0"`: false}},
		{"https://{tid}.login.example/v2.0", "https://t1.login.example/v2.0", map[string]bool{
			`"https://t1.login.example/v2.0"`: true, `"https://t2.login.example/v2.0"`: false}},
		{"https://login.example", "https://login.example", map[string]bool{`"https://login.example/"`: true, `"https://other.example"`: false}},
	} {
		for issuer, want := range tc.keys {
			key := keys.Private(p256(t), keys.WithID("k"))
			set, err := keys.NewSet(key)
			require.NoError(t, err)
			document, err := set.JWKS()
			require.NoError(t, err)
			published, err := keys.ParseSet([]byte(strings.Replace(string(document), `"kid":"k"`, `"kid":"k","issuer":`+issuer, 1)))
			require.NoError(t, err)
			v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: tc.issuer, Keys: published[0], Types: []string{"JWT"}}})
			require.NoError(t, err)
			payload := fmt.Sprintf(`{"iss":"%s","tid":"t1","sub":"1","exp":%d}`, tc.iss, time.Now().Add(time.Hour).Unix())
			_, err = v.Verify(t.Context(), signWith(t, key, `{"alg":"ES256","kid":"k","typ":"JWT"}`, payload))
			require.Equal(t, want, err == nil, "%q: the key's issuer is %s: %v", tc.issuer, issuer, err)
		}
	}
}

// Two names of claims may stand beside each other. The claims say where one ends.
func TestAPatternWithTwoNames(t *testing.T) {
	change := func(i *signet.TrustedIssuer) { i.Issuer = "https://{org}-{env}.example" }
	for payload, good := range map[string]bool{
		`{"iss":"https://acme-eu-1.example","org":"acme","env":"eu-1","sub":"1","exp":LATER}`: true,
		`{"iss":"https://acme-eu-1.example","org":"acme-eu","env":"1","sub":"1","exp":LATER}`: true,
		`{"iss":"https://acme-eu-1.example","org":"acme","env":"eu-2","sub":"1","exp":LATER}`: false,
		`{"iss":"https://acme-eu-1.example","org":"","env":"eu-1","sub":"1","exp":LATER}`:     false,
		`{"iss":"https://acme-eu-1.example","org":"acme","sub":"1","exp":LATER}`:              false,
	} {
		_, err := newForeigner(t, change).verify(foreignHeader, payload)
		require.Equal(t, good, err == nil, "%s: %v", payload, err)
	}
}

// A time may have a fraction, that of the authentication too.
func TestAFractionOfAuthTime(t *testing.T) {
	f := newForeigner(t, nil)
	recent := f.RequireRecentAuth(time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for form, want := range map[string]int{"%d": 200, "%d.0": 200, "%d.5": 200, `"%d"`: 401, "-%d": 401} {
		authTime := fmt.Sprintf(form, f.clock.Now().Unix()-1)
		token := f.token(foreignHeader, `{"iss":"https://i.example","sub":"1","auth_time":`+authTime+`,"exp":LATER}`)
		require.Equal(t, want, serve(t, recent, token).Code, authTime)
	}
}

// awaySource is a source whose newer keys cannot be had.
type awaySource struct {
	set   *keys.Set
	asked *int
}

func (s awaySource) Current() *keys.Set { return s.set }

func (s awaySource) Refetch(context.Context, *keys.Set) (*keys.Set, error) {
	*s.asked++
	return nil, errors.New("connection refused")
}

// A token of another issuer asks for no keys, and is refused and not answered 503 while these cannot be had.
func TestATokenOfAnotherIssuerAsksForNoKeys(t *testing.T) {
	some, err := keys.NewSet(keys.Private(p256(t), keys.WithID("known")))
	require.NoError(t, err)
	for _, set := range []*keys.Set{nil, some} {
		asked := 0
		source := awaySource{set, &asked}
		own, err := signet.NewVerifier(source, signet.WithIssuer("https://i.example"), signet.WithTokenTypes("JWT"))
		require.NoError(t, err)
		one, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "https://i.example", Types: []string{"JWT"}, Keys: source}})
		require.NoError(t, err)
		pattern, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "https://i.{d}", Types: []string{"JWT"}, Keys: source}})
		require.NoError(t, err)
		verifiers := map[string]*signet.Verifier{"NewVerifier": own, "NewIssuersVerifier": one, "a pattern": pattern}
		if set != nil {
			auth, err := signet.New(userstore.NewMemory(), source, signet.WithIssuer("https://i.example"), signet.WithTokenTypes("JWT"),
				signet.WithLogger(slog.New(slog.DiscardHandler)))
			require.NoError(t, err)
			defer auth.Close()
			verifiers["New"] = auth.Verifier
		}
		for name, v := range verifiers {
			for _, payload := range []string{`{"iss":"https://other.example"}`, `{"iss":7}`, `{}`, `{"iss":"https://i.example","iss":"https://i.example"}`, `[]`} {
				_, err = v.Verify(t.Context(), signWith(t, keys.Private(p256(t)), `{"alg":"ES256","kid":"k","typ":"JWT"}`, payload))
				require.ErrorIs(t, err, signet.ErrInvalidToken, "%s: %s", name, payload)
			}
			require.Zero(t, asked, name)
			_, err = v.Verify(t.Context(), signWith(t, keys.Private(p256(t)), `{"alg":"ES256","kid":"k","typ":"JWT"}`, `{"iss":"https://i.example","d":"example"}`))
			require.ErrorIs(t, err, signet.ErrUnavailable, name)
			require.Equal(t, 1, asked, name)
			asked = 0
		}
	}
}
