package signet_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

func TestNewReportsEveryMistakeAtOnce(t *testing.T) {
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	for name, tc := range map[string]struct {
		users signet.UserStore
		key   keys.Source
		opts  []signet.Option
		want  []string
	}{
		"nil store and nil key": {nil, nil, nil, []string{"user store is nil", "key is nil"}},
		"zero key":              {userstore.NewMemory(), &keys.Key{}, nil, []string{"zero value"}},
		"zero keyring":          {userstore.NewMemory(), &keys.Ring{}, nil, []string{"NewRing"}},
		"empty secret":          {userstore.NewMemory(), keys.Secret(nil), nil, []string{"empty", "openssl rand"}},
		"short secret":          {userstore.NewMemory(), keys.Secret(secret[:31]), nil, []string{"31 bytes, at least 32"}},
		"short for HS512": {userstore.NewMemory(), keys.Secret(secret, keys.WithAlgorithm(keys.HS512)), nil,
			[]string{"at least 64"}},
		"repeated byte":     {userstore.NewMemory(), keys.Secret(make([]byte, 64)), nil, []string{"repeats"}},
		"repeated word":     {userstore.NewMemory(), keys.Secret([]byte(strings.Repeat("hunter2", 9))), nil, []string{"repeats"}},
		"placeholder":       {userstore.NewMemory(), keys.Secret([]byte("secret")), nil, []string{"placeholder"}},
		"long placeholder":  {userstore.NewMemory(), keys.Secret([]byte("my Your-256-bit-secret, for production use")), nil, []string{"placeholder"}},
		"template":          {userstore.NewMemory(), keys.Secret([]byte("{{ .Values.secretOfTheServiceForTokens }}")), nil, []string{"nothing was put"}},
		"expression":        {userstore.NewMemory(), keys.Secret([]byte("${{ secrets.SIGNET_JWT_SECRET }}")), nil, []string{"nothing was put"}},
		"default":           {userstore.NewMemory(), keys.Secret([]byte("${SIGNET_SECRET:?the variable is not set}")), nil, []string{"nothing was put"}},
		"sentence":          {userstore.NewMemory(), keys.Secret([]byte("<your secret here, at least 32 bytes>")), nil, []string{"nothing was put"}},
		"changeme":          {userstore.NewMemory(), keys.Secret([]byte("changeme")), nil, []string{"placeholder"}},
		"secret with RS256": {userstore.NewMemory(), keys.Secret(secret, keys.WithAlgorithm("RS256")), nil, []string{"RS256"}},
		"weak RSA":          {userstore.NewMemory(), keys.Private(weak), nil, []string{"1024 bits; use at least 2048"}},
		"public key only":   {userstore.NewMemory(), keys.Public(p256(t).Public()), nil, []string{"no private part"}},
		"options": {userstore.NewMemory(), keys.Secret(secret), []signet.Option{
			signet.WithLifetimes(signet.Lifetimes{Access: 11 * 365 * 24 * time.Hour, Refresh: -time.Second, Session: time.Millisecond}), signet.WithIssuer(""), signet.WithAudience(),
			signet.WithLeeway(3 * time.Minute), signet.WithClock(nil), signet.WithLogger(nil), signet.WithPasswordHasher(nil),
			signet.WithClaims(nil), signet.WithErrorHandler(nil), signet.WithTokenTypes("rt+jwt"), nil,
		}, []string{"WithLifetimes: Access", "WithLifetimes: Refresh", "WithLifetimes: Session", "WithIssuer", "WithAudience", "WithLeeway", "WithClock",
			"WithLogger", "WithPasswordHasher", "WithClaims", "WithErrorHandler", "WithTokenTypes", "option is nil"}},
		"lifetime in fractions": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithLifetimes(signet.Lifetimes{Access: 1500 * time.Millisecond})}, []string{"whole seconds"}},
		"texts that no token can carry": {userstore.NewMemory(), keys.Secret(secret), []signet.Option{
			signet.WithIssuer("https://a\xff"), signet.WithAudience("a\xff", strings.Repeat("b", 1025)), signet.WithTokenTypes(strings.Repeat("x", 129)),
			signet.WithLeeway(1500 * time.Millisecond),
		}, []string{`WithIssuer: "https://a\xff" is not UTF-8`, `WithAudience: "a\xff" is not UTF-8`, "WithAudience: a text has 1025 bytes",
			"WithTokenTypes: a text has 129 bytes", "WithLeeway: 1.5s is out of range; use whole seconds"}},
		"no sessions, and a window": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithoutSessions(), signet.WithReuseWindow(time.Second)}, []string{"WithoutSessions: WithReuseWindow is given too"}},
		"cookies without sessions": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithoutSessions(), signet.WithCookies(signet.Cookies{})}, []string{"WithCookies: WithoutSessions is given too"}},
		"strict, and a window": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithStrictRotation(), signet.WithReuseWindow(time.Second)}, []string{"WithStrictRotation: WithReuseWindow is given too"}},
		"two policies": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithLogin(signet.LoginPolicy{}), signet.WithLogin(signet.LoginPolicy{})}, []string{"WithLogin: it is given twice"}},
		"sessions and none": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithoutSessions(), signet.WithSessionStore(&session.Memory{})}, []string{"WithoutSessions"}},
		"hasher out of range": {userstore.NewMemory(), keys.Secret(secret),
			[]signet.Option{signet.WithPasswordHasher(password.Argon2id{Memory: 1})}, []string{"WithPasswordHasher", "out of range"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := signet.New(tc.users, tc.key, tc.opts...)
			require.Error(t, err)
			for _, want := range tc.want {
				require.Contains(t, err.Error(), want)
			}
			require.NotContains(t, err.Error(), string(secret[:31]), "the secret must not be in the error")
		})
	}
}

// TestTokensThatCouldNotBeRead: what is signed can be read back. Otherwise a login would succeed, and its first refresh would end it.
func TestTokensThatCouldNotBeRead(t *testing.T) {
	for name, opts := range map[string][]signet.Option{"type": {signet.WithTokenTypes("é" + strings.Repeat("<", 126))}, "id": nil} {
		key := keys.Secret(secret)
		if name == "id" {
			key = keys.Secret(secret, keys.WithID("é"+strings.Repeat("<", 254)))
		}
		require.NoError(t, key.Err())
		_, err := signet.New(newUsers(t), key, opts...)
		require.ErrorContains(t, err, "1,024 bytes", name)
	}

	ring, err := keys.NewRing(keys.Secret(secret))
	require.NoError(t, err)
	users := newUsers(t)
	auth, err := signet.New(users, ring, signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer auth.Close()
	for n := 960; n <= 1020; n++ { // at some lengths only the refresh token is too long
		user := userstore.User{ID: "é" + strings.Repeat("<", n), Email: fmt.Sprint("u", n, "@mail.com")}
		require.NoError(t, users.Add(t.Context(), user))
		tokens, err := auth.IssueFor(t.Context(), user)
		if err == nil {
			_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
			require.NotErrorIs(t, err, signet.ErrInvalidToken, n)
		}
		if err != nil {
			require.ErrorContains(t, err, "8192", n)
		}
	}
	require.NoError(t, ring.Rotate(keys.Private(p256(t), keys.WithID("é"+strings.Repeat("<", 254)))))
	_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
	require.Equal(t, 500, statusOf(err))
}

func p256(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return k
}

func TestLoginTokens(t *testing.T) {
	s := newService(t, signet.WithIssuer("https://a.example"), signet.WithAudience("shop"),
		signet.WithClaims(func(_ context.Context, u userstore.User) (map[string]any, error) {
			return map[string]any{"email": u.Email, "scope": "orders:read orders:write", "n": 1}, nil
		}))
	tokens := s.login(t)
	require.Equal(t, map[string]any{"alg": "HS256", "typ": "at+jwt", "kid": keys.Secret(secret).ID()}, part(t, tokens.AccessToken, 0))
	access, refresh := part(t, tokens.AccessToken, 1), part(t, tokens.RefreshToken, 1)
	require.Equal(t, 1728000.0, access["exp"].(float64)-access["iat"].(float64))
	require.Equal(t, 36000.0, refresh["exp"].(float64)-refresh["iat"].(float64))
	require.Equal(t, "1", access["sub"])
	require.Equal(t, "1", refresh["sub"])

	claims, err := s.Verify(context.Background(), tokens.AccessToken)
	require.NoError(t, err)
	require.Equal(t, []string{"customer"}, claims.Roles)
	require.Equal(t, []string{"orders:read", "orders:write"}, claims.Scopes)
	require.Equal(t, []string{"shop"}, claims.Audience)
	require.Equal(t, "https://a.example", claims.Issuer)
	require.NotEmpty(t, claims.ID)
	custom, err := signet.CustomClaims[struct {
		Email string
		N     int
	}](claims)
	require.NoError(t, err)
	require.Equal(t, "john@mail.com", custom.Email)
	require.Equal(t, 1, custom.N)
	_, err = signet.CustomClaims[struct{ Email int }](claims)
	require.Error(t, err)
	require.Equal(t, 200, s.do(t, "GET", "/scoped", "", bearer(tokens.AccessToken)...).StatusCode)
}

func TestClaimsBelongToTheCaller(t *testing.T) {
	s := newService(t)
	access := s.login(t).AccessToken
	first, err := s.Verify(context.Background(), access)
	require.NoError(t, err)
	first.Roles[0], first.Subject = "admin", "3"
	again, err := s.Verify(context.Background(), access)
	require.NoError(t, err)
	require.Equal(t, []string{"customer"}, again.Roles)
	require.Equal(t, "1", again.Subject)
}

func TestTokensCannotStandInForEachOther(t *testing.T) {
	s := newService(t)
	tokens := s.login(t)
	_, err := s.Verify(context.Background(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	_, err = s.Refresh(context.Background(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

func TestRefreshLooksTheUserUpAgain(t *testing.T) {
	ctx := context.Background()
	s := newService(t)
	tokens := s.login(t)
	user, err := s.users.FindByID(ctx, "1")
	require.NoError(t, err)
	user.Roles = []string{"admin"}
	require.NoError(t, s.users.Update(ctx, user))
	require.Equal(t, 403, s.do(t, "GET", "/admin", "", bearer(tokens.AccessToken)...).StatusCode)
	tokens, err = s.Refresh(ctx, tokens.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, 200, s.do(t, "GET", "/admin", "", bearer(tokens.AccessToken)...).StatusCode)

	user.Disabled = true
	require.NoError(t, s.users.Update(ctx, user))
	require.Equal(t, 401, s.do(t, "POST", "/auth/refresh-token", fmt.Sprintf(`{"refreshToken":%q}`, tokens.RefreshToken)).StatusCode)
	require.Equal(t, 401, s.do(t, "GET", "/auth/profile", "", bearer(tokens.AccessToken)...).StatusCode)
	_, err = s.Login(ctx, "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	_, err = s.IssueFor(ctx, user)
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)

	deleted := newService(t)
	tokens = deleted.login(t)
	require.NoError(t, deleted.users.Delete(ctx, "1"))
	_, err = deleted.Refresh(ctx, tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

func TestTokensEndOnTime(t *testing.T) {
	s := newService(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Minute, Refresh: time.Hour}))
	tokens := s.login(t)
	s.clock.advance(time.Minute - time.Second)
	_, err := s.Verify(context.Background(), tokens.AccessToken)
	require.NoError(t, err)
	s.clock.advance(time.Second)
	_, err = s.Verify(context.Background(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
	require.Contains(t, s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...).Header.Get("WWW-Authenticate"), "expired")
	s.clock.advance(59 * time.Minute)
	_, err = s.Refresh(context.Background(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
}

// failingUsers is a user store that does not answer. A real store does not do that on command.
type failingUsers struct{ signet.UserStore }

func (failingUsers) FindByEmail(context.Context, string) (userstore.User, error) {
	return userstore.User{}, errors.New("connection refused")
}

func (failingUsers) FindByID(context.Context, string) (userstore.User, error) {
	return userstore.User{}, errors.New("connection refused")
}

func TestAStoreThatDoesNotAnswerIs503(t *testing.T) {
	sessions := signet.WithSessionStore(&session.Memory{})
	s := newService(t, sessions)
	tokens := s.login(t)
	broken, err := signet.New(failingUsers{}, keys.Secret(secret), sessions, signet.WithPasswordHasher(cheap),
		signet.WithClock(s.clock.Now), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer broken.Close()
	_, err = broken.Login(context.Background(), "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrUnavailable)
	_, err = broken.Refresh(context.Background(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	var e *signet.Error
	require.ErrorAs(t, err, &e)
	require.Equal(t, 503, e.Status())
	require.Positive(t, e.RetryAfter())
	require.NotContains(t, e.Message(), "connection refused")
}

// countingHasher notes the verifications of a real hasher.
type countingHasher struct {
	password.Hasher
	verified *[]string
}

func (h countingHasher) Verify(hash, pass string) (bool, bool, error) {
	*h.verified = append(*h.verified, hash)
	return h.Hasher.Verify(hash, pass)
}

func TestEveryRefusedLoginCostsOneHash(t *testing.T) {
	ctx := context.Background()
	var verified []string
	s := newService(t, signet.WithPasswordHasher(countingHasher{cheap, &verified}))
	hash, err := cheap.Hash("right")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(ctx, userstore.User{ID: "7", Email: "off@mail.com", PasswordHash: hash, Disabled: true}))
	require.NoError(t, s.users.Add(ctx, userstore.User{ID: "8", Email: "social@mail.com"}))
	for name, login := range map[string][2]string{
		"wrong password": {"john@mail.com", "x"}, "unknown": {"nobody@mail.com", "x"},
		"disabled": {"off@mail.com", "right"}, "without a password": {"social@mail.com", "x"},
	} {
		verified = nil
		_, err := s.Login(ctx, login[0], login[1])
		require.ErrorIs(t, err, signet.ErrInvalidCredentials, name)
		require.Equal(t, "signet: e-mail address or password is wrong", err.Error(), name)
		require.Len(t, verified, 1, name)
		require.Contains(t, verified[0], "$m=64,t=1,p=1$", name)
	}
}

func TestEveryRefusedLoginCostsOneHashOfEachKind(t *testing.T) {
	ctx := context.Background()
	var verified []string
	s := newService(t, signet.WithPasswordHasher(countingHasher{cheap, &verified}))
	old, err := password.Bcrypt{Cost: 4}.Hash("brought over")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(ctx, userstore.User{ID: "9", Email: "old@mail.com", PasswordHash: old}))
	_, err = s.Login(ctx, "old@mail.com", "wrong")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	for _, email := range []string{"nobody@mail.com", "john@mail.com", "old@mail.com"} {
		verified = nil
		_, err = s.Login(ctx, email, "wrong")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials)
		require.Len(t, verified, 2, email)
		kinds := []string{verified[0][:4], verified[1][:4]}
		require.ElementsMatch(t, []string{"$arg", "$2a$"}, kinds, email)
		if email == "nobody@mail.com" {
			require.NotContains(t, verified, old, "a decoy is nobody's hash")
		}
	}
}

func TestAHashInNoKnownFormat(t *testing.T) {
	ctx := context.Background()
	var log lines
	var verified []string
	s := newService(t, signet.WithPasswordHasher(countingHasher{cheap, &verified}), signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, s.users.Add(ctx, userstore.User{ID: "9", Email: "odd@mail.com", PasswordHash: "!locked"}))
	got := s.do(t, "POST", "/auth/login", `{"email":"odd@mail.com","password":"x"}`)
	require.Equal(t, 401, got.StatusCode)
	require.Len(t, verified, 2, "the hash and then a decoy, so that the time tells nothing")
	require.Contains(t, log.String(), "no known format")
	require.NotContains(t, log.String(), "!locked")
}

func TestLoginReplacesAnOutdatedHash(t *testing.T) {
	ctx := context.Background()
	s := newService(t)
	old, err := password.Bcrypt{Cost: 4}.Hash("brought over")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(ctx, userstore.User{ID: "9", Email: "old@mail.com", PasswordHash: old}))
	for range 2 {
		_, err = s.Login(ctx, " OLD@mail.com ", "brought over")
		require.NoError(t, err)
		user, err := s.users.FindByID(ctx, "9")
		require.NoError(t, err)
		require.True(t, strings.HasPrefix(user.PasswordHash, "$argon2id$"), user.PasswordHash)
	}
}

func TestClaimsOfTheHostAreChecked(t *testing.T) {
	for name, tc := range map[string]struct {
		claims map[string]any
		err    error
		want   int
	}{
		"reserved":      {map[string]any{"sub": "3"}, nil, 500},
		"not encodable": {map[string]any{"x": make(chan int)}, nil, 500},
		"scope a list":  {map[string]any{"scope": []string{"a"}}, nil, 500},
		"too long":      {map[string]any{"x": strings.Repeat("a", 9000)}, nil, 500},
		"failing":       {nil, errors.New("directory is down"), 503},
	} {
		var log lines
		s := newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))),
			signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) { return tc.claims, tc.err }))
		got := s.do(t, "POST", "/auth/login", `{"email":"john@mail.com","password":"changeme"}`)
		require.Equal(t, tc.want, got.StatusCode, name)
		require.Contains(t, log.String(), "WithClaims", name)
		require.NotContains(t, got.body, "directory is down", name)
	}
}

func TestNothingPublicPrintsASecret(t *testing.T) {
	s := newService(t)
	tokens := s.login(t)
	user, err := s.users.FindByID(context.Background(), "1")
	require.NoError(t, err)
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "tokens", tokens, "user", user, "key", keys.Secret(secret))
	}
	ring, err := keys.NewRing(keys.Secret(secret))
	require.NoError(t, err)
	printed := log.String()
	for _, value := range []any{s.Auth, s.Auth.Verifier, tokens, &tokens, user, keys.Secret(secret), s.users, ring} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x"} {
			printed += fmt.Sprintf(verb+"\n", value)
		}
	}
	for _, secret := range []string{string(secret), fmt.Sprintf("%x", secret), fmt.Sprint(secret)[1:40], tokens.AccessToken,
		tokens.RefreshToken, user.PasswordHash, fmt.Sprintf("%x", user.PasswordHash)} {
		require.False(t, strings.Contains(printed, secret), "something printed %q", secret[:10])
	}
}

func TestErrorHandlerOwnsTheBody(t *testing.T) {
	s := newService(t, signet.WithErrorHandler(func(w http.ResponseWriter, _ *http.Request, err error) {
		var e *signet.Error
		if errors.As(err, &e) {
			http.Error(w, "own "+e.Code(), e.Status())
		}
	}))
	got := s.do(t, "GET", "/orders", "", bearer("x")...)
	require.Equal(t, 401, got.StatusCode)
	require.Equal(t, "own invalid_token\n", got.body)
	require.Equal(t, `Bearer realm="api", error="invalid_token", error_description="the token is malformed"`,
		got.Header.Get("WWW-Authenticate"))
}
