package signet_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// newTimed is a service with the time of the bubble (synctest), and with tokens of ten seconds.
func newTimed(t *testing.T, opts ...signet.Option) *signet.Auth {
	t.Helper()
	lifetimes := signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Second, Refresh: time.Hour})
	auth, err := signet.New(newUsers(t), keys.Secret(secret), append(opts, lifetimes, signet.WithPasswordHasher(cheap), quiet)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close()) })
	return auth
}

func loginJohn(t *testing.T, auth *signet.Auth) signet.Tokens {
	t.Helper()
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	return tokens
}

// signedIn is the context of a connection.
func signedIn(t *testing.T, auth interface {
	Verify(context.Context, string) (*signet.Claims, error)
}, token string) context.Context {
	t.Helper()
	claims, err := auth.Verify(t.Context(), token)
	require.NoError(t, err)
	return signet.ContextWithClaims(t.Context(), claims)
}

func TestConnectionsEndWithTheirSession(t *testing.T) {
	both := []error{signet.ErrExpiredToken, signet.ErrUserChanged}
	sessionOf := func(tokens signet.Tokens) string { return part(t, tokens.AccessToken, 1)["sid"].(string) }
	for name, tc := range map[string]struct {
		also []error
		do   func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error
		want error // nil: the connection goes on
	}{
		"logout": {nil, func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error {
			return auth.Logout(ctx, tokens.RefreshToken)
		}, signet.ErrRevoked},
		"RevokeSession": {nil, func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error {
			return auth.RevokeSession(ctx, sessionOf(tokens))
		}, signet.ErrRevoked},
		"RevokeUser": {nil, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.RevokeUser(ctx, "1")
		}, signet.ErrRevoked},
		"RevokeUser, another user": {both, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.RevokeUser(ctx, "3")
		}, nil},
		"RevokeOtherSessions, from this one": {both, func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error {
			return auth.RevokeOtherSessions(ctx, "1", sessionOf(tokens))
		}, nil},
		"RevokeOtherSessions, from another one": {nil, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.RevokeOtherSessions(ctx, "1", sessionOf(loginJohn(t, auth)))
		}, signet.ErrRevoked},
		"RevokeAll": {nil, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.RevokeAll(ctx)
		}, signet.ErrRevoked},
		"UserChanged": {[]error{signet.ErrExpiredToken}, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.UserChanged(ctx, "1")
		}, nil},
		"UserChanged, asked for": {both, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.UserChanged(ctx, "1")
		}, signet.ErrUserChanged},
		"UserChanged, and then RevokeUser": {nil, func(ctx context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return errors.Join(auth.UserChanged(ctx, "1"), auth.RevokeUser(ctx, "1"))
		}, signet.ErrRevoked},
		"refresh": {both, func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error {
			_, err := auth.Refresh(ctx, tokens.RefreshToken)
			return err
		}, nil},
		"a stolen refresh token": {nil, func(ctx context.Context, auth *signet.Auth, tokens signet.Tokens) error {
			next, err := auth.Refresh(ctx, tokens.RefreshToken)
			require.NoError(t, err)
			_, err = auth.Refresh(ctx, next.RefreshToken)
			require.NoError(t, err)
			time.Sleep(time.Minute)
			_, err = auth.Refresh(ctx, tokens.RefreshToken)
			require.ErrorIs(t, err, signet.ErrInvalidToken)
			return nil
		}, signet.ErrRevoked},
		"expiry": {[]error{signet.ErrExpiredToken}, func(context.Context, *signet.Auth, signet.Tokens) error {
			time.Sleep(11 * time.Second)
			return nil
		}, signet.ErrExpiredToken},
		"expiry, not asked for": {[]error{signet.ErrUserChanged}, func(context.Context, *signet.Auth, signet.Tokens) error {
			time.Sleep(11 * time.Second)
			return nil
		}, nil},
		"Close": {nil, func(_ context.Context, auth *signet.Auth, _ signet.Tokens) error {
			return auth.Close()
		}, signet.ErrUnavailable},
	} {
		for process, where := range map[string]func(here, there *signet.Auth) *signet.Auth{
			"in this process":    func(here, _ *signet.Auth) *signet.Auth { return here },
			"in another process": func(_, there *signet.Auth) *signet.Auth { return there },
		} {
			if name == "Close" && process == "in another process" {
				continue
			}
			t.Run(name+", "+process, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := signet.WithSessionStore(&session.Memory{})
					here, there := newTimed(t, store), newTimed(t, store)
					tokens := loginJohn(t, here)
					ctx, cancel := signet.SessionContext(signedIn(t, here, tokens.AccessToken), tc.also...)
					defer cancel()
					time.Sleep(3 * time.Second)
					require.NoError(t, ctx.Err())
					require.NoError(t, tc.do(t.Context(), where(here, there), tokens))
					if process == "in another process" {
						time.Sleep(1100 * time.Millisecond)
					}
					require.Equal(t, tc.want == nil, ctx.Err() == nil)
					require.ErrorIs(t, context.Cause(ctx), tc.want)
					if tc.want == signet.ErrUserChanged {
						require.NotErrorIs(t, context.Cause(ctx), signet.ErrRevoked)
						require.NotErrorIs(t, context.Cause(ctx), signet.ErrExpiredToken)
					}
					cancel()
					require.ErrorIs(t, ctx.Err(), context.Canceled)
					if tc.want == nil {
						require.Equal(t, context.Canceled, context.Cause(ctx))
					}
				})
			})
		}
	}
}

// What is over already ends a connection at once.
func TestAConnectionThatIsOpenedTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth := newTimed(t)
		tokens := loginJohn(t, auth)
		request := signedIn(t, auth, tokens.AccessToken)
		cause := func(also ...error) error {
			ctx, cancel := signet.SessionContext(request, also...)
			defer cancel()
			return context.Cause(ctx)
		}
		require.NoError(t, cause(signet.ErrExpiredToken, signet.ErrUserChanged))
		require.NoError(t, auth.UserChanged(t.Context(), "1"))
		require.NoError(t, cause())
		require.ErrorIs(t, cause(signet.ErrUserChanged), signet.ErrUserChanged)
		require.NoError(t, auth.Logout(t.Context(), tokens.RefreshToken))
		require.ErrorIs(t, cause(), signet.ErrRevoked)
		request = signedIn(t, auth, loginJohn(t, auth).AccessToken)
		require.NoError(t, auth.Close())
		require.ErrorIs(t, cause(), signet.ErrUnavailable)
	})
}

// Where nobody knows of revocations, only the expiry of the token can end a connection.
func TestConnectionsWithoutRevocations(t *testing.T) {
	for name, signIn := range map[string]func(t *testing.T) (ctx context.Context, end func()){
		"WithoutSessions": func(t *testing.T) (context.Context, func()) {
			auth := newTimed(t, signet.WithoutSessions())
			tokens := loginJohn(t, auth)
			return signedIn(t, auth, tokens.AccessToken), func() {
				require.ErrorIs(t, auth.RevokeUser(t.Context(), "1"), signet.ErrStateless)
				require.NoError(t, auth.Close())
			}
		},
		"NewVerifier": func(t *testing.T) (context.Context, func()) {
			auth := newTimed(t)
			verifier, err := signet.NewVerifier(keys.Secret(secret), quiet)
			require.NoError(t, err)
			return signedIn(t, verifier, loginJohn(t, auth).AccessToken), func() {
				require.NoError(t, auth.UserChanged(t.Context(), "1"))
				require.NoError(t, auth.RevokeUser(t.Context(), "1"))
			}
		},
		"claims made by hand": func(t *testing.T) (context.Context, func()) {
			auth := newTimed(t)
			claims := &signet.Claims{Subject: "1", SessionID: part(t, loginJohn(t, auth).AccessToken, 1)["sid"].(string),
				ExpiresAt: time.Now().Add(10 * time.Second)}
			return signet.ContextWithClaims(t.Context(), claims), func() { require.NoError(t, auth.RevokeUser(t.Context(), "1")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				request, end := signIn(t)
				limited, cancel := signet.SessionContext(request, signet.ErrExpiredToken)
				defer cancel()
				unlimited, cancel := signet.SessionContext(request, signet.ErrUserChanged)
				defer cancel()
				end()
				time.Sleep(9 * time.Second)
				require.NoError(t, limited.Err())
				time.Sleep(time.Second)
				synctest.Wait()
				require.ErrorIs(t, context.Cause(limited), signet.ErrExpiredToken)
				require.Equal(t, "1", signet.Subject(limited))
				require.NoError(t, unlimited.Err())
				cancel()
				require.Equal(t, context.Canceled, context.Cause(unlimited))
			})
		})
	}
}

// A connection without claims, or with claims that never expire, ends only with its parent or by its function.
func TestConnectionsWithoutClaims(t *testing.T) {
	gone := errors.New("the client has left")
	for name, request := range map[string]context.Context{
		"no claims":            t.Context(),
		"nobody is signed in":  signet.ContextWithClaims(t.Context(), nil),
		"claims without times": signet.ContextWithClaims(t.Context(), &signet.Claims{Subject: "1"}),
	} {
		t.Run(name, func(t *testing.T) {
			parent, leave := context.WithCancelCause(request)
			ctx, cancel := signet.SessionContext(parent, signet.ErrExpiredToken, signet.ErrUserChanged)
			defer cancel()
			other, cancelOther := signet.SessionContext(parent)
			require.NoError(t, errors.Join(ctx.Err(), other.Err()))
			cancelOther()
			require.Equal(t, context.Canceled, context.Cause(other))
			require.NoError(t, ctx.Err())
			leave(gone)
			require.Equal(t, gone, context.Cause(ctx))
		})
	}
}

// requireGoroutines waits until no more than so many goroutines are left.
func requireGoroutines(t *testing.T, most int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > most; {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			require.FailNow(t, "goroutines are left", "%d, at most %d\n%s", runtime.NumGoroutine(), most, stacks[:runtime.Stack(stacks, true)])
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// Of 1,000 connections exactly those end whose session was revoked. None needs a goroutine.
func TestManyConnections(t *testing.T) {
	start := runtime.NumGoroutine()
	auth := newTimed(t, signet.WithSessionStore(&session.Memory{MaxPerUser: 1000}))
	user := userstore.User{ID: "1"}
	var requests []context.Context
	var tokens []signet.Tokens
	for range 1000 {
		pair, err := auth.IssueFor(t.Context(), user)
		require.NoError(t, err)
		tokens, requests = append(tokens, pair), append(requests, signedIn(t, auth, pair.AccessToken))
	}
	before := runtime.NumGoroutine()
	var connections []context.Context
	var cancels []context.CancelFunc
	for _, request := range requests {
		ctx, cancel := signet.SessionContext(request, signet.ErrUserChanged)
		connections, cancels = append(connections, ctx), append(cancels, cancel)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	for i := range 1000 {
		switch i % 10 {
		case 3:
			require.NoError(t, auth.Logout(t.Context(), tokens[i].RefreshToken))
		case 7:
			_, err := auth.Refresh(t.Context(), tokens[i].RefreshToken)
			require.NoError(t, err)
		}
	}
	for i, ctx := range connections {
		if i%10 == 3 {
			require.ErrorIs(t, context.Cause(ctx), signet.ErrRevoked, "connection %d", i)
			continue
		}
		require.NoError(t, ctx.Err(), "connection %d", i)
	}
	requireGoroutines(t, before)
	for _, cancel := range cancels {
		cancel()
		cancel()
	}
	requireGoroutines(t, before)
	require.NoError(t, auth.Close())
	for i, ctx := range connections {
		require.False(t, errors.Is(context.Cause(ctx), signet.ErrUnavailable), "connection %d was not freed", i)
	}
	requireGoroutines(t, start)
}

// A handler that forgets the function leaks nothing: the end of the request frees the connection.
func TestLeavingTheHandlerFreesTheConnection(t *testing.T) {
	auth := newService(t)
	token := auth.login(t).AccessToken
	type connection [1 << 10]int
	type key struct{}
	freed := make(chan struct{}, 10)
	handler := auth.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		held := new(connection)
		runtime.AddCleanup(held, func(int) { freed <- struct{}{} }, 0)
		ctx, _ := signet.SessionContext(context.WithValue(r.Context(), key{}, held), signet.ErrExpiredToken)
		require.NoError(t, ctx.Err())
	}))
	for range 10 {
		ctx, leave := context.WithCancel(t.Context()) // net/http does the same for every request
		request := withBearer(token).WithContext(ctx)
		handler.ServeHTTP(httptest.NewRecorder(), request)
		leave()
	}
	for deadline := time.Now().Add(10 * time.Second); len(freed) < cap(freed); runtime.GC() {
		require.True(t, time.Now().Before(deadline), "%d of %d were freed", len(freed), cap(freed))
		time.Sleep(time.Millisecond)
	}
}
