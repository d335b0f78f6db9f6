package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/userstore"
)

func written(err error) *httptest.ResponseRecorder {
	rec := httptest.NewRecorder()
	signet.WriteError(rec, err)
	return rec
}

// What a handler has said about the answer that it wanted to give is not said about this one.
func TestWriteErrorTakesOtherHeadersAway(t *testing.T) {
	w := httptest.NewRecorder()
	for _, name := range []string{"Content-Length", "ETag", "Last-Modified", "Content-Encoding"} {
		w.Header().Set(name, "5")
	}
	signet.WriteError(w, signet.ErrNotFound)
	require.Equal(t, "5", w.Header().Get("Content-Encoding"), "a middleware may compress what follows")
	require.Len(t, w.Header(), 4, w.Header())
}

// WriteError writes the whole answer for every error, just as the handlers do.
func TestWriteErrorIsTheWholeAnswer(t *testing.T) {
	const bare = `Bearer realm="api"`
	for name, tc := range map[string]struct {
		err       error
		status    int
		code      string
		challenge string
	}{
		"no token":         {signet.ErrNoToken, 401, "missing_token", bare},
		"invalid request":  {signet.ErrInvalidRequest, 400, "invalid_request", ""},
		"invalid token":    {signet.ErrInvalidToken, 401, "invalid_token", bare + `, error="invalid_token", error_description="the token is invalid"`},
		"expired":          {signet.ErrExpiredToken, 401, "invalid_token", bare + `, error="invalid_token", error_description="the token is expired"`},
		"revoked":          {signet.ErrRevoked, 401, "invalid_token", bare + `, error="invalid_token", error_description="the token is revoked"`},
		"credentials":      {signet.ErrInvalidCredentials, 401, "invalid_credentials", bare},
		"scope":            {signet.ErrInsufficientScope, 403, "insufficient_scope", bare + `, error="insufficient_scope", error_description="you are not allowed to do this"`},
		"not found":        {signet.ErrNotFound, 404, "not_found", ""},
		"unavailable":      {signet.ErrUnavailable, 503, "temporarily_unavailable", ""},
		"stateless":        {signet.ErrStateless, 501, "not_implemented", ""},
		"wrapped":          {fmt.Errorf("my handler: %w", signet.ErrExpiredToken), 401, "invalid_token", bare + `, error="invalid_token", error_description="the token is expired"`},
		"the host's own":   {signet.NewError(402, "pay_first", "pay first"), 402, "pay_first", ""},
		"the host's 401":   {signet.NewError(401, "address_not_confirmed", "confirm your address"), 401, "address_not_confirmed", bare},
		"the host's 403":   {signet.NewError(403, "terms", "accept the terms"), 403, "terms", ""},
		"out of range":     {signet.NewError(200, "x", "x"), 500, "x", ""},
		"status 0":         {signet.NewError(0, "x", "x"), 500, "x", ""},
		"status 9999":      {signet.NewError(9999, "x", "x"), 500, "x", ""},
		"the zero Error":   {&signet.Error{}, 500, "", ""},
		"a nil *Error":     {(*signet.Error)(nil), 500, "server_error", ""},
		"nil":              {nil, 500, "server_error", ""},
		"any other error":  {errors.New("dial tcp 10.0.0.1: secret"), 500, "server_error", ""},
		"a deadline":       {fmt.Errorf("x: %w", context.DeadlineExceeded), 503, "temporarily_unavailable", ""},
		"a cancelled call": {context.Canceled, 503, "temporarily_unavailable", ""},
	} {
		t.Run(name, func(t *testing.T) {
			rec := written(tc.err)
			require.Equal(t, tc.status, rec.Code)
			require.Contains(t, rec.Body.String(), fmt.Sprintf(`"code":%q`, tc.code))
			require.Contains(t, rec.Body.String(), fmt.Sprintf(`"status":%d`, tc.status))
			require.NotContains(t, rec.Body.String(), "secret")
			require.Equal(t, tc.challenge, rec.Header().Get("WWW-Authenticate"))
			require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
			require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			require.Equal(t, tc.status == 503, rec.Header().Get("Retry-After") != "")
		})
	}
}

// The documentation advises hosts to call Check and then WriteError. Together they must answer exactly as RequireAuth does.
func TestCheckAndWriteErrorAnswerAsRequireAuthDoes(t *testing.T) {
	s := newService(t)
	good := s.login(t)
	require.NoError(t, s.Logout(t.Context(), s.login(t).RefreshToken))
	revoked := s.login(t)
	require.NoError(t, s.Logout(t.Context(), revoked.RefreshToken))
	for name, values := range map[string][]string{"nothing": nil, "empty": {""}, "bearer alone": {"Bearer"}, "another scheme": {"Basic x"}, "garbage": {"Bearer x"},
		"two": {"Bearer a b"}, "two headers": {"Bearer a", "Bearer b"}, "refresh token": {"Bearer " + good.RefreshToken}, "revoked": {"Bearer " + revoked.AccessToken},
		"good": {"Bearer " + good.AccessToken}} {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header["Authorization"] = values
		want := httptest.NewRecorder()
		s.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(299) })).ServeHTTP(want, req)
		got := httptest.NewRecorder()
		claims, err := s.Check(req)
		if err != nil {
			require.Nil(t, claims, name)
			signet.WriteError(got, err)
		} else {
			require.Equal(t, "1", claims.Subject)
			claims.Subject = "changed" // it belongs to the caller
			got.WriteHeader(299)
		}
		require.Equal(t, want.Code, got.Code, name)
		require.Equal(t, want.Header(), got.Header(), name)
		require.Equal(t, want.Body.String(), got.Body.String(), name)
	}
	claims, err := s.Check(withBearer(good.AccessToken))
	require.NoError(t, err)
	require.Equal(t, "1", claims.Subject)
}

func withBearer(token string) *http.Request {
	req := httptest.NewRequest("GET", "/", nil)
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

// A host's error handler can change the errors that it sees, but not for anybody else. The race detector watches.
func TestErrorsAreNotShared(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request, err error) {
		var e *signet.Error
		if errors.As(err, &e) {
			*e = *signet.NewError(418, e.Code(), "changed: "+e.Message())
			w.WriteHeader(e.Status())
		}
	}
	s := newService(t, signet.WithErrorHandler(handler))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 5 {
				s.do(t, "GET", "/orders", "", bearer("x")...)
				s.do(t, "GET", "/orders", "")
				s.do(t, "GET", "/optional", "", "Authorization", "Bearer a b")
				s.do(t, "POST", "/auth/nothing", "")
				s.do(t, "GET", "/auth/login", "")
			}
		})
	}
	wg.Wait()
	plain := newService(t)
	for path, want := range map[string]int{"/orders": 401, "/auth/nothing": 404, "/auth/login": 405} {
		require.Equal(t, want, plain.do(t, "GET", path, "").StatusCode, path)
	}
	require.Equal(t, "the token is malformed", plain.do(t, "GET", "/orders", "", bearer("x")...).json["message"])
	require.Equal(t, "signet: authentication is required", signet.ErrNoToken.Error())
}

// At login and at refresh, the host's own error is the answer, with its status and code.
func TestAnErrorOfWithClaimsIsTheAnswer(t *testing.T) {
	var fails error
	s := newService(t, signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) { return nil, fails }))
	tokens := s.login(t)
	own := signet.NewError(403, "terms_changed", "accept the new terms first")
	fails = fmt.Errorf("tenant: %w", own)
	_, err := s.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, own)
	got := s.do(t, "POST", "/auth/login", `{"email":"john@mail.com","password":"changeme"}`)
	require.Equal(t, 403, got.StatusCode)
	require.Equal(t, "terms_changed", got.json["code"])
	fails = nil
	_, err = s.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err, "nothing was lost")
}

// The error, and one log line a minute, explain why a token was refused. They name the rule that it broke, and never a
// value.
func TestARefusedTokenIsExplained(t *testing.T) {
	var log lines
	c := newClock()
	v := newVerifier(t, c, signet.WithIssuer("https://a.example"), signet.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	for payload, want := range map[string]string{
		`{"iss":"https://a.example","iat":1,"exp":9999999999}`:                              `member "sub" must be present`,
		`{"iss":"https://a.example","sub":1,"iat":1,"exp":9999999999}`:                      `member "sub" must be a string`,
		`{"iss":"https://a.example","sub":"SECRET","exp":9999999999}`:                       `member "iat" must be present`,
		`{"iss":"https://a.example","sub":"SECRET","iat":1}`:                                `member "exp" must be present`,
		`{"iss":"https://a.example","sub":"SECRET","iat":1,"exp":9999999999.5}`:             `member "exp" must be an integer`,
		`{"iss":"https://a.example","sub":"SECRET","iat":1,"exp":9999999999,"roles":{}}`:    `member "roles" must be`,
		`{"iss":"https://a.example","sub":"SECRET","iat":1,"exp":9999999999,"sub":"admin"}`: "appears twice",
		`{"iss":"https://b.example","sub":"SECRET","iat":1,"exp":9999999999}`:               "another issuer",
	} {
		_, err := v.Verify(t.Context(), sign(goodHeader, payload))
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, signet.ErrInvalidToken)
		require.NotContains(t, err.Error(), "SECRET")
		require.NotContains(t, written(err).Body.String(), "member", "the client learns the kind of fault only")
	}
	for token, want := range map[string]string{"a.b": "three parts", "a\n.b.c": "line break", string(make([]byte, 9000)): "8,192 bytes",
		sign(`{"alg":"HS256","typ":"at+jwt","crit":["x"]}`, "{}"): `member "crit"`, sign(`{"typ":"at+jwt"}`, "{}"): `no "alg"`} {
		_, err := v.Verify(t.Context(), token)
		require.ErrorContains(t, err, want)
	}
	require.Equal(t, 2, log.count("a token was refused"), "one line for tokens with a good signature, one for those of strangers")
	require.NotContains(t, log.String(), "SECRET")
}

func TestANilHandlerIsFoundAtOnce(t *testing.T) {
	v, err := signet.NewVerifier(keys.Secret(secret))
	require.NoError(t, err)
	require.PanicsWithValue(t, "signet.RequireAuth: the handler is nil", func() { v.RequireAuth(nil) })
	require.PanicsWithValue(t, "signet.OptionalAuth: the handler is nil", func() { v.OptionalAuth(nil) })
	require.PanicsWithValue(t, "signet.RequireRole: the handler is nil", func() { v.RequireRole("admin")(nil) })
	for _, names := range [][]string{{"", "admin"}, {"admin", ""}} { // such as of a setting that is missing
		require.PanicsWithValue(t, "signet.RequireRole: a role or scope is empty", func() { v.RequireRole(names[0], names[1]) })
		require.PanicsWithValue(t, "signet.RequireScope: a role or scope is empty", func() { v.RequireScope(names[0], names[1]) })
	}
	require.False(t, (&signet.Claims{Roles: []string{""}}).HasRole(""))
	require.PanicsWithValue(t, "signet.RequireScope: the handler is nil", func() { v.RequireScope("x")(http.HandlerFunc(nil)) })
}

func TestNilStoresAreMistakes(t *testing.T) {
	_, err := signet.New((*userstore.Memory)(nil), keys.Secret(secret))
	require.ErrorContains(t, err, "user store is nil")
	_, err = signet.New(newUsers(t), keys.Secret(secret), signet.WithSessionStore((*switchedStore)(nil)))
	require.ErrorContains(t, err, "WithSessionStore")
	_, err = signet.New(newUsers(t), (*keys.Ring)(nil))
	require.ErrorContains(t, err, "key is nil")
	_, err = signet.New(newUsers(t), &keys.Ring{})
	require.ErrorContains(t, err, "NewRing")
	_, err = signet.NewVerifier((*keys.Key)(nil))
	require.ErrorContains(t, err, "key is nil")
	_, err = signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "a", Keys: keys.Secret(secret)}}, signet.WithIssuer("b"))
	require.ErrorContains(t, err, "WithIssuer")
}

func TestLifetimesThatHurtAreLogged(t *testing.T) {
	warned := func(opts ...signet.Option) bool {
		var log lines
		auth, err := signet.New(newUsers(t), keys.Secret(secret), append(opts, signet.WithPasswordHasher(cheap),
			signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
		require.NoError(t, err)
		require.NoError(t, auth.Close())
		return log.count("level=WARN") == 1
	}
	day := 24 * time.Hour
	require.False(t, warned(), "the contract's own values")
	require.False(t, warned(signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Minute, Refresh: 7 * day, Session: 30 * day})))
	require.False(t, warned(signet.WithLifetimes(signet.Lifetimes{Refresh: 7 * day})))
	require.True(t, warned(signet.WithLifetimes(signet.Lifetimes{Access: 8 * day, Refresh: 7 * day})))
	require.True(t, warned(signet.WithLifetimes(signet.Lifetimes{Access: 11 * time.Hour})))
	require.True(t, warned(signet.WithLifetimes(signet.Lifetimes{Refresh: 15 * time.Minute})), "who does nothing stays signed in")
	require.False(t, warned(signet.WithLifetimes(signet.Lifetimes{Refresh: 8 * time.Hour, Session: 8 * time.Hour})), "no token outlives its session")
}
