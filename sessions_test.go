package signet_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

func TestRefreshRotatesAndFindsTheThief(t *testing.T) {
	ctx := context.Background()
	var log lines
	s := newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	first := s.login(t)
	second, err := s.Refresh(ctx, first.RefreshToken)
	require.NoError(t, err)
	require.NotEqual(t, first.RefreshToken, second.RefreshToken)
	repeated, err := s.Refresh(ctx, first.RefreshToken) // from a tab that does not know the new token
	require.NoError(t, err)
	require.Equal(t, part(t, second.RefreshToken, 1)["gen"], part(t, repeated.RefreshToken, 1)["gen"], "one successor")

	third, err := s.Refresh(ctx, second.RefreshToken)
	require.NoError(t, err)
	s.clock.advance(11 * time.Second)
	_, err = s.Refresh(ctx, first.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.Contains(t, log.String(), "event=theft")
	for range 3 {
		for _, token := range []string{first.RefreshToken, second.RefreshToken, third.RefreshToken, repeated.RefreshToken} {
			_, err = s.Refresh(ctx, token)
			require.ErrorIs(t, err, signet.ErrInvalidToken, "a session revoked for theft stays dead")
		}
		_, err = s.Verify(ctx, third.AccessToken)
		require.ErrorIs(t, err, signet.ErrInvalidToken)
		s.clock.advance(time.Hour)
	}
	for _, token := range []string{first.RefreshToken, third.RefreshToken} {
		require.NotContains(t, log.String(), token)
	}
}

func TestLostAnswersCostNothing(t *testing.T) {
	ctx := context.Background()
	s := newService(t)
	held := s.login(t).RefreshToken
	for range 40 { // every second answer is lost, and the client tries again much later
		_, err := s.Refresh(ctx, held)
		require.NoError(t, err)
		s.clock.advance(30 * time.Minute)
		tokens, err := s.Refresh(ctx, held)
		require.NoError(t, err)
		held = tokens.RefreshToken
		s.clock.advance(5 * time.Hour)
	}
}

func TestAnAccessTokenProvesDelivery(t *testing.T) {
	ctx := context.Background()
	store := &session.Memory{}
	s := newService(t, signet.WithSessionStore(store))
	first := s.login(t)
	require.NotContains(t, part(t, first.AccessToken, 1), "gen")
	second, err := s.Refresh(ctx, first.RefreshToken)
	require.NoError(t, err)
	confirmed := func() bool {
		rows, _, err := store.List(ctx, "1", 10)
		require.NoError(t, err)
		return rows[0].ConfirmedAt != 0
	}
	require.False(t, confirmed())
	_, err = s.Verify(ctx, second.AccessToken)
	require.NoError(t, err)
	require.Eventually(t, confirmed, 10*time.Second, time.Millisecond)
}

func TestSessionsEnd(t *testing.T) {
	ctx := context.Background()
	s := newService(t, signet.WithLifetimes(signet.Lifetimes{Session: 24 * time.Hour}))
	tokens := s.login(t)
	var err error
	for range 2 {
		s.clock.advance(9 * time.Hour)
		tokens, err = s.Refresh(ctx, tokens.RefreshToken)
		require.NoError(t, err)
	}
	refresh := part(t, tokens.RefreshToken, 1)
	require.Equal(t, 6*3600.0, refresh["exp"].(float64)-refresh["iat"].(float64), "no token outlives its session")
	s.clock.advance(6 * time.Hour)
	_, err = s.Refresh(ctx, tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
}

func TestLogout(t *testing.T) {
	ctx := context.Background()
	for name, send := range map[string]func(s *service, tokens signet.Tokens) answer{
		"refresh token": func(s *service, tokens signet.Tokens) answer {
			return s.do(t, "POST", "/auth/logout", fmt.Sprintf(`{"refreshToken":%q}`, tokens.RefreshToken))
		},
		"access token": func(s *service, tokens signet.Tokens) answer {
			return s.do(t, "POST", "/auth/logout/", "", bearer(tokens.AccessToken)...)
		},
		"access token and an empty object": func(s *service, tokens signet.Tokens) answer {
			return s.do(t, "POST", "/auth/logout", "{}", bearer(tokens.AccessToken)...)
		},
		"method": func(s *service, tokens signet.Tokens) answer {
			require.NoError(t, s.Logout(ctx, tokens.RefreshToken))
			return s.do(t, "POST", "/auth/logout", "", bearer(tokens.AccessToken)...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			other, tokens := s.login(t), s.login(t)
			for range 2 {
				require.Equal(t, 204, send(s, tokens).StatusCode)
			}
			_, err := s.Refresh(ctx, tokens.RefreshToken)
			require.ErrorIs(t, err, signet.ErrInvalidToken)
			got := s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...)
			require.Equal(t, 401, got.StatusCode)
			require.Equal(t, "the token is revoked", got.json["message"])
			_, err = s.Verify(ctx, other.AccessToken)
			require.NoError(t, err, "another session of the user goes on")
			s.clock.advance(30 * 24 * time.Hour)
			require.Equal(t, 204, send(s, tokens).StatusCode, "expired tokens are accepted")
		})
	}
	s := newService(t)
	first, second := s.login(t), s.login(t)
	req := httptest.NewRequest("POST", "/auth/logout", io.MultiReader(strings.NewReader(fmt.Sprintf(`{"refreshToken":%q}`, second.RefreshToken))))
	req.ContentLength = -1 // sent in chunks
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+first.AccessToken)
	rec := httptest.NewRecorder()
	s.LogoutHandler().ServeHTTP(rec, req)
	require.Equal(t, 204, rec.Code)
	_, err := s.Verify(ctx, first.AccessToken)
	require.NoError(t, err, "the body names the session")
	_, err = s.Verify(ctx, second.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.Equal(t, 413, s.do(t, "POST", "/auth/logout", strings.Repeat(" ", 70<<10)).StatusCode)
	require.Equal(t, 401, s.do(t, "POST", "/auth/logout", "").StatusCode)
	require.Equal(t, 401, s.do(t, "POST", "/auth/logout", "", bearer("x")...).StatusCode)
	require.Equal(t, 400, s.do(t, "POST", "/auth/logout", "{}").StatusCode)
	require.Equal(t, 405, s.do(t, "GET", "/auth/logout", "").StatusCode)
}

func TestSessionsHandler(t *testing.T) {
	s := newService(t)
	const login = `{"email":"john@mail.com","password":"changeme"}`
	phone := s.do(t, "POST", "/auth/login", login, "User-Agent", "Phone/1"+strings.Repeat("x", 300))
	s.clock.advance(time.Minute)
	laptop := s.do(t, "POST", "/auth/login", login, "User-Agent", "Laptop/2")
	access := laptop.json["access_token"].(string)
	list := func() []any {
		got := s.do(t, "GET", "/auth/sessions", "", bearer(access)...)
		require.Equal(t, 200, got.StatusCode, got.body)
		return got.json["sessions"].([]any)
	}
	sessions := list()
	require.Len(t, sessions, 2)
	mine, other := sessions[0].(map[string]any), sessions[1].(map[string]any)
	require.Equal(t, true, mine["current"])
	require.Equal(t, "Laptop/2", mine["user_agent"])
	require.Equal(t, "127.0.0.1", mine["address"])
	require.Equal(t, false, other["current"])
	require.Len(t, other["user_agent"], 256)
	require.Regexp(t, `^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$`, mine["created_at"])

	admin, err := s.Login(t.Context(), "admin@mail.com", "admin123")
	require.NoError(t, err)
	path := "/auth/sessions/" + other["id"].(string)
	require.Equal(t, 404, s.do(t, "DELETE", path, "", bearer(admin.AccessToken)...).StatusCode, "another user's")
	require.Equal(t, 404, s.do(t, "DELETE", path+"x", "", bearer(admin.AccessToken)...).StatusCode, "nobody's: the same answer")
	require.Equal(t, 401, s.do(t, "DELETE", path, "").StatusCode)
	require.Equal(t, 405, s.do(t, "GET", path, "", bearer(access)...).StatusCode)
	require.Len(t, list(), 2)
	for range 2 {
		require.Equal(t, 204, s.do(t, "DELETE", path+"/", "", bearer(access)...).StatusCode)
	}
	require.Len(t, list(), 1)
	require.Equal(t, 401, s.do(t, "GET", "/orders", "", bearer(phone.json["access_token"].(string))...).StatusCode)

	require.Equal(t, 204, s.do(t, "POST", "/auth/logout-all", "", bearer(access)...).StatusCode)
	require.Equal(t, 401, s.do(t, "GET", "/auth/sessions", "", bearer(access)...).StatusCode)
	_, err = s.Verify(t.Context(), admin.AccessToken)
	require.NoError(t, err)
}

func TestRevokeUserAndSession(t *testing.T) {
	ctx := context.Background()
	s := newService(t)
	tokens := []signet.Tokens{s.login(t), s.login(t), s.login(t)}
	require.NoError(t, s.RevokeSession(ctx, part(t, tokens[0].AccessToken, 1)["sid"].(string)))
	require.NoError(t, s.RevokeSession(ctx, "no such session"))
	_, err := s.Verify(ctx, tokens[0].AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	_, err = s.Verify(ctx, tokens[1].AccessToken)
	require.NoError(t, err)
	require.NoError(t, s.RevokeUser(ctx, "1"))
	for _, pair := range tokens {
		_, err = s.Verify(ctx, pair.AccessToken)
		require.ErrorIs(t, err, signet.ErrInvalidToken)
	}
}

// racingUsers changes the password in the middle of a login.
type racingUsers struct {
	*userstore.Memory
	once  sync.Once
	after func()
}

func (u *racingUsers) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	user, err := u.Memory.FindByEmail(ctx, email)
	u.once.Do(u.after)
	return user, err
}

func TestALoginUnderWayDoesNotOutliveAPasswordChange(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*userstore.User){
		"password": func(u *userstore.User) { u.PasswordHash, _ = cheap.Hash("new") },
		"disabled": func(u *userstore.User) { u.Disabled = true },
	} {
		users := &racingUsers{Memory: newUsers(t)}
		store := &session.Memory{}
		auth, err := signet.New(users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithSessionStore(store),
			signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		users.after = func() {
			user, err := users.FindByID(ctx, "1")
			require.NoError(t, err)
			before := user
			change(&user)
			require.NoError(t, users.Update(ctx, user))
			require.NoError(t, users.UpdatePasswordHash(ctx, "1", before.PasswordHash, user.PasswordHash))
			require.NoError(t, auth.RevokeUser(ctx, "1"))
		}
		_, err = auth.Login(ctx, "john@mail.com", "changeme")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials, name)
		rows, _, err := store.List(ctx, "1", 10)
		require.NoError(t, err)
		require.Empty(t, rows, name)
		require.NoError(t, auth.Close())
	}
}

func TestWithoutSessions(t *testing.T) {
	ctx := context.Background()
	s := newService(t, signet.WithoutSessions())
	tokens := s.login(t)
	require.NotContains(t, part(t, tokens.AccessToken, 1), "sid")
	for range 3 { // the client keeps its first refresh token
		_, err := s.Refresh(ctx, tokens.RefreshToken)
		require.NoError(t, err)
		s.clock.advance(3 * time.Hour)
	}
	for _, path := range []string{"POST logout", "POST logout-all", "GET sessions", "DELETE sessions/x"} {
		method, name, _ := strings.Cut(path, " ")
		require.Equal(t, 404, s.do(t, method, "/auth/"+name, "", bearer(tokens.AccessToken)...).StatusCode, path)
	}
	for name, handler := range map[string]http.Handler{"logout": s.LogoutHandler(), "logout-all": s.LogoutAllHandler()} {
		req := httptest.NewRequest("POST", "/", nil)
		req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		require.Equal(t, 501, rec.Code, name)
	}
	_, err := s.Sessions(ctx, "1")
	for name, err := range map[string]error{"RevokeUser": s.RevokeUser(ctx, "1"), "RevokeSession": s.RevokeSession(ctx, "x"),
		"RevokeOtherSessions": s.RevokeOtherSessions(ctx, "1", "x"), "Logout": s.Logout(ctx, tokens.RefreshToken), "Sessions": err} {
		require.ErrorIs(t, err, signet.ErrStateless, name)
	}

	strict := newService(t)
	_, err = strict.Refresh(ctx, tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken, "a stateless refresh token names no session")
}

func TestLogoutOfASessionThatTheStoreHasForgotten(t *testing.T) {
	tokens := newService(t).login(t)
	restarted := newService(t)
	_, err := restarted.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.NoError(t, restarted.Logout(t.Context(), tokens.AccessToken))
	_, err = restarted.Verify(t.Context(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

// slowStore calls a function while it stores a session.
type slowStore struct {
	session.Memory
	meanwhile func()
}

func (s *slowStore) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	if s.meanwhile != nil {
		s.meanwhile()
	}
	return s.Memory.Create(ctx, userID, make)
}

func TestIssueForDoesNotOutliveABan(t *testing.T) {
	store := &slowStore{}
	s := newService(t, signet.WithSessionStore(store))
	user, err := s.users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	store.meanwhile = func() {
		banned := user
		banned.Disabled = true
		require.NoError(t, s.users.Update(t.Context(), banned))
		require.NoError(t, s.RevokeUser(t.Context(), "1"))
	}
	_, err = s.IssueFor(t.Context(), user)
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	rows, _, err := store.List(t.Context(), "1", 10)
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestAFailingClaimsFunctionCostsNoSession(t *testing.T) {
	var failure error
	s := newService(t, signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) { return nil, failure }))
	tokens := s.login(t)
	failure = fmt.Errorf("directory: %w", session.ErrNotFound)
	_, err := s.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	failure = nil
	_, err = s.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
}

func TestStrictRotation(t *testing.T) {
	s := newService(t, signet.WithStrictRotation())
	first := s.login(t)
	second, err := s.Refresh(t.Context(), first.RefreshToken)
	require.NoError(t, err)
	_, err = s.Refresh(t.Context(), first.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	_, err = s.Refresh(t.Context(), second.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

func TestParallelRefreshesOfOneToken(t *testing.T) {
	s := newService(t)
	first := s.login(t)
	var successors sync.Map
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			tokens, err := s.Refresh(context.Background(), first.RefreshToken)
			if err != nil {
				t.Errorf("Refresh: %v", err)
				return
			}
			successors.Store(fmt.Sprint(part(t, tokens.RefreshToken, 1)["gen"]), tokens)
		})
	}
	wg.Wait()
	count := 0
	successors.Range(func(_, tokens any) bool {
		count++
		_, err := s.Refresh(context.Background(), tokens.(signet.Tokens).RefreshToken)
		require.NoError(t, err)
		return true
	})
	require.Equal(t, 1, count, "200 answers, one successor")
}

// switchedStore is a session.Memory that can be cut off, as a broken network does.
type switchedStore struct {
	session.Memory
	down atomic.Bool
}

var errDown = errors.New("connection refused")

func (s *switchedStore) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	if s.down.Load() {
		return errDown
	}
	return s.Memory.Create(ctx, userID, make)
}

func (s *switchedStore) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	if s.down.Load() {
		return errDown
	}
	return s.Memory.Update(ctx, id, change)
}

func (s *switchedStore) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	if s.down.Load() {
		return session.Page{}, errDown
	}
	return s.Memory.ReadLog(ctx, after, limit, each)
}

func TestAStoreOutOfReach(t *testing.T) {
	ctx := context.Background()
	store := &switchedStore{}
	bound := []signet.Option{signet.WithSessionStore(store), signet.WithMaxStaleness(3 * time.Second)}
	s := newService(t, bound...)
	lenient := newService(t, append(bound, signet.WithInsecureStaleRevocations())...)
	tokens := s.login(t)
	_, err := lenient.Verify(ctx, tokens.AccessToken) // a process that has just started may have to look the session up
	require.NoError(t, err)
	store.down.Store(true)
	_, err = s.Verify(ctx, tokens.AccessToken)
	require.NoError(t, err, "a short outage is not noticed")
	_, err = s.Refresh(ctx, tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	require.ErrorIs(t, s.Logout(ctx, tokens.RefreshToken), signet.ErrUnavailable, "never done before it is committed")
	_, err = s.Login(ctx, "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrUnavailable)

	require.Eventually(t, func() bool {
		return s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...).StatusCode == 503
	}, 20*time.Second, 10*time.Millisecond)
	require.NotEmpty(t, s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...).Header.Get("Retry-After"))
	require.Equal(t, 200, lenient.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...).StatusCode)
	store.down.Store(false)
	require.Eventually(t, func() bool {
		_, err := s.Verify(ctx, tokens.AccessToken)
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	_, err = s.Refresh(ctx, tokens.RefreshToken)
	require.NoError(t, err)

	store.down.Store(true)
	_, err = signet.New(newUsers(t), keys.Secret(secret), signet.WithSessionStore(store), signet.WithPasswordHasher(cheap))
	require.ErrorIs(t, err, errDown, "a store that cannot be reached at start is an error")
}

// losing is a store that has lost the rows of its sessions.
type losing struct {
	session.Memory
	lost atomic.Bool
}

func (l *losing) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	if l.lost.Load() {
		return session.ErrNotFound
	}
	return l.Memory.Update(ctx, id, change)
}

// A session that the store has lost ends all the same, in this process.
func TestALostSessionEnds(t *testing.T) {
	for name, end := range map[string]func(s *service, tokens signet.Tokens, id string) error{
		"Logout": func(s *service, tokens signet.Tokens, _ string) error {
			return s.Logout(t.Context(), tokens.RefreshToken)
		},
		"RevokeSession": func(s *service, _ signet.Tokens, id string) error { return s.RevokeSession(t.Context(), id) },
		"DELETE": func(s *service, tokens signet.Tokens, id string) error {
			require.Equal(t, 404, s.do(t, "DELETE", "/auth/sessions/"+session.NewID("1"), "", bearer(tokens.AccessToken)...).StatusCode)
			if code := s.do(t, "DELETE", "/auth/sessions/"+id, "", bearer(tokens.AccessToken)...).StatusCode; code != 204 {
				return fmt.Errorf("status %d", code)
			}
			return nil
		},
	} {
		store := &losing{Memory: session.Memory{Clock: newClock().Now}}
		s := newService(t, signet.WithSessionStore(store))
		tokens := s.login(t)
		claims, err := s.Verify(t.Context(), tokens.AccessToken)
		require.NoError(t, err)
		store.lost.Store(true)
		require.NoError(t, end(s, tokens, claims.SessionID))
		_, err = s.Verify(t.Context(), tokens.AccessToken)
		require.ErrorIs(t, err, signet.ErrInvalidToken, name)
	}
}

func TestRevocationsReachOtherProcesses(t *testing.T) {
	ctx := context.Background()
	store := &session.Memory{}
	pull := []signet.Option{signet.WithSessionStore(store)}
	a, b := newService(t, pull...), newService(t, pull...)
	tokens, kept := a.login(t), a.login(t)
	_, err := b.Verify(ctx, tokens.AccessToken)
	require.NoError(t, err)
	require.NoError(t, a.Logout(ctx, tokens.RefreshToken))
	require.Eventually(t, func() bool {
		_, err := b.Verify(ctx, tokens.AccessToken)
		return errors.Is(err, signet.ErrInvalidToken)
	}, 10*time.Second, time.Millisecond)
	c := newService(t, pull...)
	_, err = c.Verify(ctx, tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken, "known from the start")
	_, err = c.Verify(ctx, kept.AccessToken)
	require.NoError(t, err)
}

func TestCloseEndsEveryGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap))
		require.NoError(t, err)
		require.NoError(t, auth.Close())
		require.NoError(t, auth.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) { // connections of other tests may take a moment
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestContextWithClientTidiesItsLabels(t *testing.T) {
	s := newService(t)
	ctx := signet.ContextWithClient(t.Context(), "a\x00\nb\xff", "::1")
	_, err := s.Login(ctx, "john@mail.com", "changeme")
	require.NoError(t, err)
	list, err := s.Sessions(ctx, "1")
	require.NoError(t, err)
	require.Equal(t, "ab", list[0].UserAgent)
	require.Equal(t, "::1", list[0].Address)
}

func TestSessionOptionsAreChecked(t *testing.T) {
	_, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithSessionStore(nil), signet.WithLifetimes(signet.Lifetimes{Session: -1}),
		signet.WithReuseWindow(2*time.Minute), signet.WithMaxStaleness(0), signet.WithTrustedProxies(), signet.WithTrustedProxies(netip.Prefix{}))
	for _, want := range []string{"WithSessionStore", "WithLifetimes", "WithReuseWindow", "WithMaxStaleness", "WithTrustedProxies"} {
		require.ErrorContains(t, err, want)
	}
}

// A host shortens the lifetimes between two deploys. A revocation must outlive the tokens of the first deploy.
func TestRevocationsOutliveTokensOfLongerLifetimes(t *testing.T) {
	for name, revoke := range map[string]func(*signet.Auth, signet.Tokens) error{
		"logout": func(a *signet.Auth, tokens signet.Tokens) error {
			return a.Logout(context.Background(), tokens.RefreshToken)
		},
		"ban": func(a *signet.Auth, _ signet.Tokens) error { return a.RevokeUser(context.Background(), "1") },
		"session": func(a *signet.Auth, tokens signet.Tokens) error {
			return a.RevokeSession(context.Background(), part(t, tokens.AccessToken, 1)["sid"].(string))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := &session.Memory{}
				open := func(opts ...signet.Option) *signet.Auth {
					a, err := signet.New(newUsers(t), keys.Secret(secret), append(opts, signet.WithSessionStore(store), signet.WithPasswordHasher(cheap), quiet)...)
					require.NoError(t, err)
					return a
				}
				const long = 5 * time.Hour
				before := open(signet.WithLifetimes(signet.Lifetimes{Access: long}))
				first, err := before.Login(t.Context(), "john@mail.com", "changeme")
				require.NoError(t, err)
				require.NoError(t, before.Close())
				after := open(signet.WithLifetimes(signet.Lifetimes{Access: time.Second, Refresh: 2 * time.Second}))
				second, err := after.Refresh(t.Context(), first.RefreshToken)
				require.NoError(t, err)
				list, err := after.Sessions(t.Context(), "1")
				require.NoError(t, err)
				require.GreaterOrEqual(t, list[0].ExpiresAt.Sub(list[0].CreatedAt), long, "the first access token lives")
				require.NoError(t, revoke(after, second))
				for range long/time.Minute - 1 {
					time.Sleep(time.Minute)
					_, err := after.Verify(t.Context(), first.AccessToken)
					require.ErrorIs(t, err, signet.ErrRevoked)
				}
				require.NoError(t, after.RevokeUser(t.Context(), "1"))
				require.NoError(t, after.Close())
				again := open(signet.WithLifetimes(signet.Lifetimes{Access: long}))
				_, err = again.Verify(t.Context(), first.AccessToken)
				require.ErrorIs(t, err, signet.ErrRevoked, "also in a process that starts now")
				require.NoError(t, again.Close())
			})
		})
	}
}

// A session is listed as long as one of its tokens may be valid. So "sign out everywhere else" misses none.
func TestASessionShowsWhileAnyTokenLives(t *testing.T) {
	for name, tc := range map[string]struct {
		lifetimes signet.Lifetimes
		lives     time.Duration
	}{
		"the contract's": {signet.Lifetimes{}, 20 * 24 * time.Hour},
		"short access":   {signet.Lifetimes{Access: 10 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour}, 7 * 24 * time.Hour},
		"short session":  {signet.Lifetimes{Session: time.Hour}, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t, signet.WithLifetimes(tc.lifetimes))
			tokens := s.login(t)
			list, err := s.Sessions(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, s.clock.Now().Add(tc.lives).Unix(), list[0].ExpiresAt.Unix())
			s.clock.advance(tc.lives - time.Second)
			list, err = s.Sessions(t.Context(), "1")
			require.NoError(t, err)
			require.Len(t, list, 1)
			_, access := s.Verify(t.Context(), tokens.AccessToken)
			_, refresh := s.Refresh(t.Context(), tokens.RefreshToken)
			require.True(t, access == nil || refresh == nil, "%v, %v", access, refresh)
			other := newService(t, signet.WithLifetimes(tc.lifetimes))
			other.login(t)
			other.clock.advance(tc.lives)
			list, err = other.Sessions(t.Context(), "1")
			require.NoError(t, err)
			require.Empty(t, list)
		})
	}
}

func TestRevokeOtherSessions(t *testing.T) {
	s := newService(t)
	kept, others := s.login(t), []signet.Tokens{s.login(t), s.login(t)}
	s.clock.advance(11 * time.Hour) // the refresh tokens have expired, the access tokens live
	admin, err := s.Login(t.Context(), "admin@mail.com", "admin123")
	require.NoError(t, err)
	claims, err := s.Verify(t.Context(), kept.AccessToken)
	require.NoError(t, err)
	require.NoError(t, s.RevokeOtherSessions(t.Context(), "1", claims.SessionID))
	for _, tokens := range others {
		_, err := s.Verify(t.Context(), tokens.AccessToken)
		require.ErrorIs(t, err, signet.ErrRevoked)
	}
	for _, tokens := range []signet.Tokens{kept, admin} {
		_, err := s.Verify(t.Context(), tokens.AccessToken)
		require.NoError(t, err)
	}
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.NoError(t, s.RevokeOtherSessions(t.Context(), "1", part(t, admin.AccessToken, 1)["sid"].(string)))
	_, err = s.Verify(t.Context(), kept.AccessToken)
	require.ErrorIs(t, err, signet.ErrRevoked, "a session of another user keeps nothing")
}

func TestASessionShowsItsLastClient(t *testing.T) {
	s := newService(t, signet.WithTrustedProxies(netip.MustParsePrefix("127.0.0.0/8")))
	login := s.do(t, "POST", "/auth/login", loginBody, "User-Agent", "Phone", "X-Forwarded-For", "192.0.2.1")
	refresh := s.do(t, "POST", "/auth/refresh-token", fmt.Sprintf(`{"refreshToken":%q}`, login.json["refresh_token"]), "User-Agent", "Laptop\u202ex", "X-Forwarded-For", "2001:db8::1")
	require.Equal(t, 201, refresh.StatusCode)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Equal(t, "Laptopx 2001:db8::1", list[0].UserAgent+" "+list[0].Address, "and nothing that could turn a display round")
	_, err = s.Refresh(t.Context(), refresh.json["refresh_token"].(string))
	require.NoError(t, err)
	list, err = s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Equal(t, "Laptopx", list[0].UserAgent, "a refresh without a request changes nothing")

	own := httptest.NewRequest("POST", "/social-login", nil) // in a handler of the host
	own.RemoteAddr = "127.0.0.1:1234"
	own.Header.Set("User-Agent", "Tablet")
	own.Header.Set("X-Forwarded-For", "192.0.2.7")
	user, err := s.users.FindByID(t.Context(), "3")
	require.NoError(t, err)
	_, err = s.IssueFor(s.ContextWithClient(own), user)
	require.NoError(t, err)
	list, err = s.Sessions(t.Context(), "3")
	require.NoError(t, err)
	require.Equal(t, "Tablet 192.0.2.7", list[0].UserAgent+" "+list[0].Address)
}

func TestLabelsHoldWhatCanBeShown(t *testing.T) {
	s := newService(t)
	for text, want := range map[string]string{"a\u202eb": "ab", "a\u2028b\u2029c": "abc", "\ufeffa": "a", "a\u200bb": "ab", "a\u00adb": "ab", "a\u0000\u0007b": "ab",
		"a\U000e0001b": "ab", "a\ue000b": "ab", "Zo\u00eb \U0001f600": "Zo\u00eb \U0001f600", "\xff\xfea": "a", strings.Repeat("\u00e9", 200): strings.Repeat("\u00e9", 128)} {
		ctx := signet.ContextWithClient(t.Context(), text, "")
		_, err := s.Login(ctx, "admin@mail.com", "admin123")
		require.NoError(t, err)
		list, err := s.Sessions(ctx, "3")
		require.NoError(t, err)
		require.Equal(t, want, list[0].UserAgent, "%+q", text)
		require.NoError(t, s.RevokeUser(ctx, "3"))
	}
}

// A host that passes no id by mistake changes nobody: only RevokeAll is for everybody.
func TestAnEmptyUserIDIsNotEverybody(t *testing.T) {
	s := newService(t)
	tokens := s.login(t)
	for _, id := range []string{"", "a\x00b", strings.Repeat("x", 1025), "\xff"} {
		require.NoError(t, s.RevokeUser(t.Context(), id))
		require.NoError(t, s.RevokeOtherSessions(t.Context(), id, ""))
		require.NoError(t, s.UserChanged(t.Context(), id))
		_, err := s.Verify(t.Context(), tokens.AccessToken)
		require.NoError(t, err, "%q", id)
	}
	require.NoError(t, s.RevokeAll(t.Context()))
	_, err := s.Verify(t.Context(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
}

// The list goes by the store's clock, as all other decisions do.
func TestTheListOfSessionsAndTheStoresClock(t *testing.T) {
	for _, ahead := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		store := &session.Memory{Clock: func() time.Time { return time.Now().Add(ahead) }}
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithSessionStore(store),
			signet.WithLifetimes(signet.Lifetimes{Access: time.Minute, Refresh: time.Hour, Session: 12 * time.Hour}), signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		list, err := auth.Sessions(t.Context(), "1")
		require.NoError(t, err)
		require.Len(t, list, 1, "%v", ahead)
		require.NoError(t, auth.Close())
	}
}

// The clock of the store is set back, as after a failover to a server whose clock is behind. What is revoked from then on is
// refused in every process.
func TestRevocationsAfterTheStoresClockWasSetBack(t *testing.T) {
	for _, back := range []time.Duration{10 * time.Minute, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var ahead atomic.Int64
			store := &session.Memory{Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
			open := func() *signet.Auth {
				auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithSessionStore(store),
					signet.WithLogger(slog.New(slog.DiscardHandler)), signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Minute, Refresh: time.Hour}))
				require.NoError(t, err)
				return auth
			}
			one, other := open(), open()
			defer one.Close()
			defer other.Close()
			time.Sleep(3 * time.Minute)
			ahead.Store(int64(-back))
			var ended []signet.Tokens
			for i := range 2 {
				tokens, err := one.IssueFor(t.Context(), userstore.User{ID: "1"})
				require.NoError(t, err)
				require.NoError(t, one.Logout(t.Context(), tokens.RefreshToken))
				ended = append(ended, tokens)
				time.Sleep(time.Duration(i+2) * time.Second)
			}
			again, err := one.IssueFor(t.Context(), userstore.User{ID: "3"})
			require.NoError(t, err)
			require.NoError(t, one.RevokeUser(t.Context(), "3"))
			ended = append(ended, again)
			time.Sleep(2 * time.Second)
			for _, auth := range []*signet.Auth{one, other} {
				for _, tokens := range ended {
					_, err := auth.Verify(t.Context(), tokens.AccessToken)
					require.ErrorIs(t, err, signet.ErrRevoked, back)
				}
			}
		})
	}
}

// The times of a refresh token are by one clock: the later one of those of the process and of the store.
func TestTheLifetimeOfARefreshTokenHasOneClock(t *testing.T) {
	for _, ahead := range []time.Duration{-2 * time.Hour, -time.Second, time.Second, 2 * time.Hour, 30 * 24 * time.Hour} {
		store := &session.Memory{Clock: func() time.Time { return time.Now().Add(ahead) }}
		auth := newAuth(t, newUsers(t), signet.WithSessionStore(store), signet.WithCookies(signet.Cookies{}))
		tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		browser := httptest.NewRecorder()
		login := httptest.NewRequest("POST", "/web/auth/login", strings.NewReader(johnsLogin))
		login.Header.Set("Content-Type", "application/json")
		auth.CookieHandler("/web/auth").ServeHTTP(browser, login)
		require.JSONEq(t, `{"token_type":"Cookie","expires_in":1728000,"refresh_expires_in":36000,"sub":"1"}`, browser.Body.String(), ahead)
		for range 2 {
			refresh := part(t, tokens.RefreshToken, 1)
			require.EqualValues(t, 36000, refresh["exp"].(float64)-refresh["iat"].(float64), ahead)
			tokens, err = auth.Refresh(t.Context(), tokens.RefreshToken)
			require.NoError(t, err)
		}
	}
}

// The times in a token are by the clock of the process that has made it. If that clock is wrong, the session goes on, because the
// store's clock decides about it.
func TestAClockThatIsWrongEndsNoSession(t *testing.T) {
	for name, tc := range map[string]struct {
		off  time.Duration
		want error // of a refresh at the process whose clock is wrong
	}{
		"minutes ahead":          {5 * time.Minute, nil},
		"minutes behind":         {-5 * time.Minute, nil},
		"a month behind":         {-30 * 24 * time.Hour, nil},
		"weeks ahead":            {20 * 24 * time.Hour, nil},
		"longer than a session":  {365 * 24 * time.Hour, signet.ErrUnavailable},
		"a minute after its end": {90*24*time.Hour + 2*time.Minute, signet.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			users, store := newUsers(t), &session.Memory{}
			right := newAuth(t, users, signet.WithSessionStore(store))
			wrong := newAuth(t, users, signet.WithSessionStore(store),
				signet.WithClock(func() time.Time { return time.Now().Add(tc.off) }))
			tokens, err := right.Login(t.Context(), "john@mail.com", "changeme")
			require.NoError(t, err)
			for range 3 {
				renewed, err := wrong.Refresh(t.Context(), tokens.RefreshToken)
				require.ErrorIs(t, err, tc.want)
				if err == nil {
					tokens = renewed
				}
				tokens, err = right.Refresh(t.Context(), tokens.RefreshToken)
				require.NoError(t, err)
				_, err = right.Verify(t.Context(), tokens.AccessToken)
				require.NoError(t, err)
			}
		})
	}
}

// A refresh token whose time is over is answered in the same way, whether its session is still in the store or not.
func TestAnExpiredRefreshToken(t *testing.T) {
	s := newService(t)
	tokens := s.login(t)
	s.clock.advance(11 * time.Hour)
	_, err := s.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
	s.clock.advance(90 * 24 * time.Hour)
	other := newAuth(t, s.users, signet.WithClock(s.clock.Now)) // its store knows no session
	_, err = other.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
}

// slowly waits for a time, or until ctx ends.
func slowly(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type slowUsers struct {
	*userstore.Memory
	slow *atomic.Bool
}

func (u slowUsers) FindByID(ctx context.Context, id string) (userstore.User, error) {
	if u.slow.Load() {
		if err := slowly(ctx, 3*time.Second); err != nil {
			return userstore.User{}, err
		}
	}
	return u.Memory.FindByID(ctx, id)
}

// A refresh takes five seconds at most in all, with sessions and without.
func TestARefreshHasFiveSecondsInAll(t *testing.T) {
	for name, opts := range map[string][]signet.Option{"sessions": nil, "stateless": {signet.WithoutSessions()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				users := slowUsers{newUsers(t), new(atomic.Bool)}
				auth := newAuth(t, users, append(opts, signet.WithClaims(func(ctx context.Context, _ userstore.User) (map[string]any, error) {
					if users.slow.Load() {
						return nil, slowly(ctx, 3*time.Second)
					}
					return nil, nil
				}))...)
				tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
				require.NoError(t, err)
				users.slow.Store(true)
				start := time.Now()
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.ErrorIs(t, err, signet.ErrUnavailable)
				require.Equal(t, 5*time.Second, time.Since(start))
				users.slow.Store(false)
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.NoError(t, err)
			})
		})
	}
}

// Without sessions too, the clock of the process that has issued a refresh token may be ahead.
func TestARefreshTokenFromAClockThatIsAhead(t *testing.T) {
	at := func(ahead time.Duration) *signet.Auth {
		return newAuth(t, newUsers(t), signet.WithoutSessions(), signet.WithClock(func() time.Time { return time.Now().Add(ahead) }))
	}
	tokens, err := at(time.Hour).Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = at(0).Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
	_, err = at(12*time.Hour).Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
}
