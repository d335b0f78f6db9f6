package signet_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// newProcess returns one process of a service, with the real clock of the test's bubble.
func newProcess(t testing.TB, users signet.UserStore, store session.Store, opts ...signet.Option) *signet.Auth {
	t.Helper()
	auth, err := signet.New(users, keys.Secret(secret), append([]signet.Option{signet.WithPasswordHasher(cheap),
		signet.WithSessionStore(store), signet.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	return auth
}

// A store's clock jumps ahead for two minutes and comes back. A revoked token stays revoked, an honest session goes on, and
// theft is found as before.
func TestAStoreClockThatJumps(t *testing.T) {
	for _, jump := range []time.Duration{3 * time.Hour, 30 * 24 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var ahead atomic.Int64
			store := &session.Memory{Clock: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}
			users := newUsers(t)
			a, b := newProcess(t, users, store), newProcess(t, users, store)
			ctx := t.Context()
			revoked, err := a.Login(ctx, "john@mail.com", "changeme")
			require.NoError(t, err)
			cut, err := a.Login(ctx, "admin@mail.com", "admin123")
			require.NoError(t, err)
			require.NoError(t, a.Logout(ctx, revoked.AccessToken))
			require.NoError(t, a.RevokeUser(ctx, "3"))
			honest, err := a.Login(ctx, "john@mail.com", "changeme")
			require.NoError(t, err)

			ahead.Store(int64(jump))
			inside, err := b.Refresh(ctx, honest.RefreshToken)
			if err == nil { // the jump is shorter than the session
				honest = inside
			} else {
				require.ErrorIs(t, err, signet.ErrExpiredToken)
			}
			time.Sleep(2 * time.Minute) // both processes read, expire and clean up meanwhile
			_, err = store.DeleteExpired(ctx, session.MillisOf(time.Now()), 1000)
			require.NoError(t, err)
			ahead.Store(0)
			time.Sleep(time.Minute)

			late := newProcess(t, users, store)
			time.Sleep(2 * time.Second)
			for _, process := range []*signet.Auth{a, b, late} {
				for _, tokens := range []signet.Tokens{revoked, cut} {
					_, err := process.Verify(ctx, tokens.AccessToken)
					require.ErrorIs(t, err, signet.ErrRevoked)
					_, err = process.Refresh(ctx, tokens.RefreshToken)
					require.ErrorIs(t, err, signet.ErrInvalidToken)
				}
				_, err := process.Verify(ctx, honest.AccessToken)
				require.NoError(t, err)
			}
			next, err := a.Refresh(ctx, honest.RefreshToken)
			require.NoError(t, err, "the session lives")
			_, err = b.Verify(ctx, next.AccessToken)
			require.NoError(t, err)
			time.Sleep(time.Minute) // the proof is stored, and the window is over
			_, err = b.Refresh(ctx, honest.RefreshToken)
			require.ErrorIs(t, err, signet.ErrRevoked, "a superseded token is theft again")
			_, err = a.Refresh(ctx, next.RefreshToken)
			require.ErrorIs(t, err, signet.ErrInvalidToken)
		})
	}
}

// While sessions are on, a token of this service without a session is one that no revocation could meet.
func TestATokenWithoutSessionWhileSessionsAreOn(t *testing.T) {
	users := newUsers(t)
	stateless, err := signet.New(users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithoutSessions())
	require.NoError(t, err)
	tokens, err := stateless.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = stateless.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	with := newProcess(t, users, &session.Memory{})
	for range 2 {
		_, err = with.Verify(t.Context(), tokens.AccessToken)
		require.ErrorIs(t, err, signet.ErrInvalidToken)
		require.ErrorContains(t, err, "names no session")
	}
	_, err = with.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

// New roles reach every process within about a second, no session ends, and tokens that are issued afterwards work.
func TestUserChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		users, store := newUsers(t), &session.Memory{}
		a, b := newProcess(t, users, store), newProcess(t, users, store)
		here, err := a.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		there, err := b.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		other, err := b.Login(ctx, "admin@mail.com", "admin123")
		require.NoError(t, err)
		require.NotContains(t, part(t, here.AccessToken, 1), "ver", "nothing was cut off so far")
		john, err := users.FindByID(ctx, "1")
		require.NoError(t, err)
		for round := range 3 {
			john.Roles = []string{fmt.Sprint("role", round)}
			require.NoError(t, users.Update(ctx, john))
			require.NoError(t, a.UserChanged(ctx, "1"))
			_, err = a.Verify(ctx, there.AccessToken)
			require.ErrorIs(t, err, signet.ErrUserChanged, "at once in this process")
			time.Sleep(1050 * time.Millisecond)
			for _, process := range []*signet.Auth{a, b} {
				for _, tokens := range []*signet.Tokens{&here, &there} {
					_, err := process.Verify(ctx, tokens.AccessToken)
					require.ErrorIs(t, err, signet.ErrUserChanged)
					require.ErrorIs(t, err, signet.ErrInvalidToken)
				}
				_, err := process.Verify(ctx, other.AccessToken)
				require.NoError(t, err)
			}
			for _, tokens := range []*signet.Tokens{&here, &there} {
				*tokens, err = b.Refresh(ctx, tokens.RefreshToken)
				require.NoError(t, err, "no session ends")
				for _, process := range []*signet.Auth{a, b} {
					claims, err := process.Verify(ctx, tokens.AccessToken)
					require.NoError(t, err)
					require.Equal(t, john.Roles, claims.Roles)
				}
			}
		}
		require.Contains(t, part(t, here.AccessToken, 1), "ver")
		list, err := a.Sessions(ctx, "1")
		require.NoError(t, err)
		require.Len(t, list, 2)
	})
}

func TestRevokeAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		users, store := newUsers(t), &session.Memory{}
		a, b := newProcess(t, users, store), newProcess(t, users, store)
		john, err := a.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		admin, err := b.Login(ctx, "admin@mail.com", "admin123")
		require.NoError(t, err)
		require.NoError(t, a.RevokeAll(ctx))
		time.Sleep(1050 * time.Millisecond)
		for _, process := range []*signet.Auth{a, b} {
			for _, tokens := range []signet.Tokens{john, admin} {
				_, err := process.Verify(ctx, tokens.AccessToken)
				require.ErrorIs(t, err, signet.ErrRevoked)
				_, err = process.Refresh(ctx, tokens.RefreshToken)
				require.ErrorIs(t, err, signet.ErrRevoked)
			}
		}
		list, err := b.Sessions(ctx, "1")
		require.NoError(t, err)
		require.Empty(t, list)
		again, err := b.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		for _, process := range []*signet.Auth{a, b} {
			_, err = process.Verify(ctx, again.AccessToken)
			require.NoError(t, err)
		}
		require.ErrorIs(t, newService(t, signet.WithoutSessions()).RevokeAll(ctx), signet.ErrStateless)
	})
}

// A service that only verifies follows the feed.
func TestAVerifierFollowsTheFeed(t *testing.T) {
	ctx := context.Background()
	users, store, key := newUsers(t), &session.Memory{}, ecKey(t, "a")
	auth, err := signet.New(users, key, signet.WithPasswordHasher(cheap), signet.WithSessionStore(store), signet.WithIssuer("https://login.example"))
	require.NoError(t, err)
	defer auth.Close()
	handler, err := feed.NewHandler(store, key, feed.WithIssuer("https://login.example"))
	require.NoError(t, err)
	server := httptest.NewServer(handler)
	defer server.Close()
	follower, err := feed.Open(server.URL, key, feed.WithIssuer("https://login.example"), feed.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer follower.Close()
	verifier, err := signet.NewVerifier(key, signet.WithIssuer("https://login.example"), signet.WithRevocations(follower))
	require.NoError(t, err)

	tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
	require.NoError(t, err)
	require.Eventually(t, func() bool { _, err := verifier.Verify(ctx, tokens.AccessToken); return err == nil }, 20*time.Second, 10*time.Millisecond)
	john, err := users.FindByID(ctx, "1")
	require.NoError(t, err)
	second, err := auth.IssueFor(ctx, john)
	require.NoError(t, err)
	require.NoError(t, auth.Logout(ctx, tokens.AccessToken))
	refused := func(token string, want error) {
		t.Helper()
		require.Eventually(t, func() bool {
			_, err := verifier.Verify(ctx, token)
			if err == nil {
				return false
			}
			require.ErrorIs(t, err, want)
			return true
		}, 20*time.Second, 10*time.Millisecond)
	}
	refused(tokens.AccessToken, signet.ErrRevoked)
	_, err = verifier.Verify(ctx, second.AccessToken)
	require.NoError(t, err)
	require.NoError(t, auth.UserChanged(ctx, "1"))
	refused(second.AccessToken, signet.ErrUserChanged)
	second, err = auth.Refresh(ctx, second.RefreshToken)
	require.NoError(t, err)
	_, err = verifier.Verify(ctx, second.AccessToken)
	require.NoError(t, err)
	require.NoError(t, auth.RevokeUser(ctx, "1"))
	refused(second.AccessToken, signet.ErrRevoked)

	require.NoError(t, follower.Close())
	third, err := auth.IssueFor(ctx, john)
	require.NoError(t, err)
	_, err = verifier.Verify(ctx, third.AccessToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)

	_, err = signet.NewVerifier(key, signet.WithRevocations(nil))
	require.ErrorContains(t, err, "WithRevocations")
	_, err = signet.New(users, key, signet.WithRevocations(follower))
	require.ErrorContains(t, err, "WithRevocations")
	_, err = signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "https://i", Keys: key}}, signet.WithRevocations(follower))
	require.ErrorContains(t, err, "WithRevocations")
	_, err = signet.New(users, key, signet.WithRevocationMemory(1))
	require.ErrorContains(t, err, "WithRevocationMemory")
}

// A user store is asked for the user only after the cut-offs were read, and only if the client gets tokens.
func TestTheUserIsReadAfterTheCutOffs(t *testing.T) {
	users, store := newUsers(t), &session.Memory{}
	auth := newProcess(t, users, store)
	john, err := users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	passed := john
	passed.Roles = []string{"admin"}
	tokens, err := auth.IssueFor(t.Context(), passed)
	require.NoError(t, err)
	claims, err := auth.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	require.Equal(t, john.Roles, claims.Roles, "what the store says, and not what was passed")
}

// A revocation outlives the longest tokens that an earlier deployment may have made, even if their rows are gone.
func TestRevocationsAfterShorterLifetimes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := newUsers(t)
		deploy := func(store session.Store, opts ...signet.Option) *signet.Auth {
			auth, err := signet.New(users, keys.Secret(secret), append([]signet.Option{signet.WithPasswordHasher(cheap),
				signet.WithSessionStore(store), signet.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
			require.NoError(t, err)
			return auth
		}
		first := deploy(&session.Memory{})
		john, err := first.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		admin, err := first.Login(t.Context(), "admin@mail.com", "admin123")
		require.NoError(t, err)
		require.NoError(t, first.Close())
		store := &session.Memory{}
		next := deploy(store, signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Minute, Refresh: 7 * 24 * time.Hour, Session: 30 * 24 * time.Hour}))
		defer next.Close()
		require.NoError(t, next.RevokeUser(t.Context(), "1"))
		require.NoError(t, next.RevokeSession(t.Context(), part(t, admin.AccessToken, 1)["sid"].(string)))
		time.Sleep(time.Hour)
		for _, token := range []string{john.AccessToken, admin.AccessToken} {
			_, err := next.Verify(t.Context(), token)
			require.ErrorIs(t, err, signet.ErrRevoked)
		}
		_, at, err := store.List(t.Context(), "1", 1)
		require.NoError(t, err)
		require.Greater(t, time.Until(at.User.KeepUntil.Time()), 20*24*time.Hour)
	})
}
