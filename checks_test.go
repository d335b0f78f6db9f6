package signet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// A service without WithCookies takes no token from a cookie.
func TestCookiesAreIgnoredUnlessWanted(t *testing.T) {
	s := newService(t)
	token := s.login(t).AccessToken
	for _, host := range []string{"http://localhost/", "https://api.example/"} {
		r := httptest.NewRequest("GET", host, nil)
		r.AddCookie(&http.Cookie{Name: "access_token", Value: token})
		r.AddCookie(&http.Cookie{Name: "__Host-access_token", Value: token})
		_, err := s.Check(r)
		require.ErrorIs(t, err, signet.ErrNoToken)
	}
}

func TestATokenThatBeginsWithASeparator(t *testing.T) {
	s := newService(t)
	for _, value := range []string{"Bearer \tx", "Bearer  \tx", "Bearer ,x", "Bearer x,", "Bearer x\ty"} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", value)
		_, err := s.Check(r)
		require.ErrorIs(t, err, signet.ErrInvalidRequest, "%q", value)
	}
}

// downSource is a source whose keys cannot be had.
type downSource struct{ err error }

func (downSource) Current() *keys.Set { return nil }

func (s downSource) Refetch(context.Context, *keys.Set) (*keys.Set, error) { return nil, s.err }

// Only failures of the server are logged as errors: not those that strangers or clients that went away cause at any rate.
func TestTheLevelOfARefusal(t *testing.T) {
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	for name, tc := range map[string]struct {
		cause  error
		ctx    context.Context
		token  string
		status int
		level  slog.Level
	}{
		"no token":                     {errors.New("no network"), context.Background(), "", 401, slog.LevelDebug},
		"malformed":                    {errors.New("no network"), context.Background(), "x", 401, slog.LevelDebug},
		"malformed, client gone":       {errors.New("no network"), gone, "x", 401, slog.LevelDebug},
		"no keys":                      {errors.New("no network"), context.Background(), "a.b.c", 503, slog.LevelError},
		"no keys, client gone":         {errors.New("no network"), gone, "a.b.c", 503, slog.LevelDebug},
		"asked too often":              {fmt.Errorf("wrapped: %w", keys.ErrTooSoon), context.Background(), "a.b.c", 503, slog.LevelDebug},
		"asked too often, client gone": {keys.ErrTooSoon, gone, "a.b.c", 503, slog.LevelDebug},
	} {
		t.Run(name, func(t *testing.T) {
			var log lines
			v, err := signet.NewVerifier(downSource{tc.cause},
				signet.WithLogger(slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
			require.NoError(t, err)
			r := httptest.NewRequestWithContext(tc.ctx, "GET", "/", nil)
			if tc.token != "" {
				r.Header.Set("Authorization", "Bearer "+tc.token)
			}
			w := httptest.NewRecorder()
			v.RequireAuth(http.NotFoundHandler()).ServeHTTP(w, r)
			require.Equal(t, tc.status, w.Code)
			require.Contains(t, log.String(), fmt.Sprintf(`level=%s msg="signet: request failed"`, tc.level))
		})
	}
}

// What a caller does with its claims changes nothing for others, who may get the same ones from the cache.
func TestEveryListOfClaimsIsACopy(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	token := sign(goodHeader, goodPayload(c, `,"aud":["a","b"],"roles":["r"],"scope":"s t"`))
	for range 3 {
		claims, err := v.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, [][]string{{"a", "b"}, {"r"}, {"s", "t"}}, [][]string{claims.Audience, claims.Roles, claims.Scopes})
		claims.Audience[0], claims.Roles[0], claims.Scopes[0] = "x", "x", "x"
	}
}

func TestTheFormOfClaims(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	for claims, good := range map[string]bool{
		`,"ver":[1,2]`: true, `,"ver":[1]`: false, `,"ver":[1,2,3]`: false, `,"ver":[]`: false, `,"ver":1`: false,
		`,"nbf":0`: true, `,"nbf":-1`: false, `,"nbf":253402300800`: false, `,"gen":"1"`: false, `,"scope":["a"]`: false,
	} {
		_, err := v.Verify(t.Context(), sign(goodHeader, goodPayload(c, claims)))
		require.Equal(t, good, err == nil, "%s: %v", claims, err)
	}
	old, err := v.Verify(t.Context(), sign(goodHeader, fmt.Sprintf(`{"sub":"1","iat":0,"exp":%d}`, c.Now().Unix()+1)))
	require.NoError(t, err)
	require.Equal(t, time.Unix(0, 0).UTC(), old.IssuedAt)
	require.Zero(t, old.NotBefore)
	last, err := v.Verify(t.Context(), sign(goodHeader, `{"sub":"1","iat":0,"exp":253402300799}`))
	require.NoError(t, err)
	require.Equal(t, 9999, last.ExpiresAt.Year())
}

// The cache answers for a token that was seen before, and only then.
func TestStatsCountVerifiedTokens(t *testing.T) {
	s := newService(t)
	first, second := s.login(t).AccessToken, s.login(t).AccessToken
	before := s.Stats().TokensVerified
	for i, token := range []string{first, first, second, first, second} {
		_, err := s.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, before+[]uint64{1, 1, 2, 2, 2}[i], s.Stats().TokensVerified)
	}
	public, err := signet.New(newUsers(t), keys.Private(p256(t)), signet.WithPasswordHasher(cheap), signet.WithTokenCache(64<<10),
		signet.WithSessionStore(&session.Memory{MaxPerUser: 1000}))
	require.NoError(t, err)
	defer public.Close()
	var tokens []string
	for range 500 { // more than the cache has places for claims, and fewer than it has for signatures
		pair, err := public.IssueFor(t.Context(), userstore.User{ID: "1"})
		require.NoError(t, err)
		tokens = append(tokens, pair.AccessToken)
	}
	for range 3 {
		for _, token := range tokens {
			_, err := public.Verify(t.Context(), token)
			require.NoError(t, err)
		}
	}
	require.InDelta(t, 500, public.Stats().TokensVerified, 50, "the other tier remembers the signatures")
	before = s.Stats().TokensVerified
	pair := s.login(t)
	_, err = s.Refresh(t.Context(), pair.RefreshToken)
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), "garbage")
	require.Error(t, err)
	require.Equal(t, before, s.Stats().TokensVerified)
	off := newService(t, signet.WithTokenCache(0))
	token := off.login(t).AccessToken
	for n := range uint64(3) {
		_, err := off.Verify(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, n+1, off.Stats().TokensVerified)
	}
}

// A guard of another service stands outside. Its user is nobody here.
func TestOptionalAuthInsideAnotherService(t *testing.T) {
	admin := newAuth(t, newUsers(t), signet.WithIssuer("https://admin.example"))
	shop, err := signet.NewVerifier(keys.Secret([]byte("h2GtY7vKq0RfLw4XzPd8JmNc5BsAe1Ui")), signet.WithIssuer("https://shop.example"))
	require.NoError(t, err)
	tokens, err := admin.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "subject="+signet.Subject(r.Context()))
	})
	withoutHeader := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Header.Del("Authorization") // as if the outer token was in a cookie of the outer service
			next.ServeHTTP(w, r)
		})
	}
	require.Equal(t, "subject=", serve(t, admin.RequireAuth(withoutHeader(shop.OptionalAuth(show))), tokens.AccessToken).Body.String())
	require.Equal(t, "subject=1", serve(t, admin.RequireAuth(withoutHeader(admin.OptionalAuth(show))), tokens.AccessToken).Body.String())
	anyIssuer, err := signet.NewVerifier(keys.Secret(secret))
	require.NoError(t, err)
	require.Equal(t, "subject=1", serve(t, anyIssuer.RequireAuth(withoutHeader(anyIssuer.OptionalAuth(show))), tokens.AccessToken).Body.String())

	sameService, err := signet.NewVerifier(keys.Secret(secret), signet.WithIssuer("https://admin.example"))
	require.NoError(t, err)
	require.Equal(t, "subject=1", serve(t, admin.RequireAuth(withoutHeader(sameService.OptionalAuth(show))), tokens.AccessToken).Body.String())

	verified, err := admin.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	own := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shop.OptionalAuth(show).ServeHTTP(w, r.WithContext(signet.ContextWithClaims(r.Context(), verified)))
	})
	require.Equal(t, "subject=1", serve(t, withoutHeader(own), "").Body.String(), "the host has put it there")
}

// Some routers set no path values. The host hears why no session is ever found.
func TestSessionsHandlerWithoutAPathValue(t *testing.T) {
	log := &lines{}
	auth := newAuth(t, newUsers(t), signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	for range 2 {
		r := httptest.NewRequest("DELETE", "/sessions/x", nil)
		r.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
		w := httptest.NewRecorder()
		auth.SessionsHandler().ServeHTTP(w, r)
		require.Equal(t, 404, w.Code)
	}
	require.Equal(t, 1, log.count("SetPathValue"), log)
}

func TestABodyAboveTheLimitOfTheHost(t *testing.T) {
	auth := newAuth(t, newUsers(t))
	w := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"email":"john@mail.com","password":"changeme"}`))
	r.Header.Set("Content-Type", "application/json")
	http.MaxBytesHandler(auth.LoginHandler(), 20).ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
	require.Contains(t, w.Body.String(), "longer than 20 bytes")
}

// Some clients read no fractions of a second, and others need them in each time.
func TestTheTimesInTheListOfSessions(t *testing.T) {
	store := &session.Memory{Clock: func() time.Time { return time.Now().Truncate(time.Second).Add(123 * time.Millisecond) }}
	auth := newAuth(t, newUsers(t), signet.WithSessionStore(store))
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	w := serve(t, auth.SessionsHandler(), tokens.AccessToken)
	require.Equal(t, 200, w.Code)
	require.Regexp(t, `"created_at":"[^".]+","last_used_at":"[^".]+","expires_at":"[^".]+"`, w.Body.String())
}
