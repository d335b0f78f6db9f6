package signet_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// The snippets of docs/login.md and docs/browsers.md.

func throttleSnippet(users signet.UserStore, key *keys.Key, store throttle.Store) error {
	auth, err := signet.New(users, key, signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(store, throttle.Config{})}))
	_ = auth
	return err
}

func processorsSnippet() signet.Option {
	_ = func() {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
	return signet.WithLogin(signet.LoginPolicy{ParallelHashes: 2})
}

var decideSnippet = signet.WithLogin(signet.LoginPolicy{
	Decide: func(ctx context.Context, user userstore.User, remember bool) (signet.LoginDecision, error) {
		if user.Attributes["confirmed"] != true {
			return signet.LoginDecision{}, signet.NewError(403, "address_not_confirmed", "confirm your e-mail address first")
		}
		decision := signet.LoginDecision{Facts: map[string]any{"channel": "web"}}
		if remember { // the member "remember" of the login's body
			decision.Idle, decision.Absolute = 30*24*time.Hour, 365*24*time.Hour
		}
		return decision, nil
	},
})

var passwordsSnippet = signet.WithLogin(signet.LoginPolicy{Passwords: password.Policy{MinLength: 15, Blocked: breached, Timeout: time.Second}})

func breached(context.Context, string) (bool, error) { return false, nil }

var eventsSnippet = signet.WithEvents(func(ctx context.Context, e event.Event) {
	if e.Kind == event.LoginOK && e.NewPlace { // the account has not signed in from this address within 30 days
		mail(ctx, e.Subject, "somebody has signed in from "+e.Address)
	}
})

func mail(context.Context, string, string) {}

func cookiesSnippet(users signet.UserStore, key *keys.Key, mux *http.ServeMux, orders http.Handler) error {
	auth, err := signet.New(users, key, signet.WithCookies(signet.Cookies{}))
	if err != nil {
		return err
	}
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth")) // apps and scripts: tokens in bodies
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth")) // browsers: tokens in cookies that scripts cannot read
	mux.Handle("GET /orders", auth.RequireAuth(orders))       // accepts both
	return nil
}

// proxySnippet is for a mount behind a proxy.
func proxySnippet(auth *signet.Auth, mux *http.ServeMux) {
	mounted := auth.CookieHandler("/shop/web/auth")
	mux.HandleFunc("/web/auth/", func(w http.ResponseWriter, r *http.Request) { // the proxy has cut off "/shop"
		r.URL.Path = "/shop" + r.URL.Path
		mounted.ServeHTTP(w, r)
	})
}

func TestTheSnippetForAProxy(t *testing.T) {
	b := newBrowser(t)
	mux := http.NewServeMux()
	proxySnippet(b.Auth, mux)
	require.Equal(t, 201, post(mux, "/web/auth/login"))
}

// socialSnippet issues tokens after a social login.
func socialSnippet(auth *signet.Auth, r *http.Request, user userstore.User, idToken struct {
	AuthTime int64
	AMR      []string
}) (signet.Tokens, error) {
	facts := map[string]any{}
	if idToken.AuthTime != 0 { // a struct of yours, for signet.CustomClaims
		facts["auth_time"] = idToken.AuthTime
	}
	if len(idToken.AMR) > 0 {
		facts["amr"] = idToken.AMR
	}
	tokens, err := auth.IssueFor(auth.ContextWithClient(r), user, signet.LoginDecision{Facts: facts})
	return tokens, err
}

func TestTheSnippetForSocialLogins(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}))
	idToken := struct {
		AuthTime int64
		AMR      []string
	}{s.clock.Now().Add(-time.Hour).Unix(), []string{"hwk"}}
	tokens, err := socialSnippet(s.Auth, httptest.NewRequest("GET", "/callback", nil), userstore.User{ID: "1"}, idToken)
	require.NoError(t, err)
	recent := s.RequireRecentAuth(5 * time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.Equal(t, 401, serve(t, recent, tokens.AccessToken).Code, "the user has signed in there an hour ago")
	idToken.AuthTime, idToken.AMR = 0, nil
	tokens, err = socialSnippet(s.Auth, httptest.NewRequest("GET", "/callback", nil), userstore.User{ID: "1"}, idToken)
	require.NoError(t, err)
	require.Equal(t, 200, serve(t, recent, tokens.AccessToken).Code, "the other service does not say when")
}

// actingSnippet lets a member of staff act for a user.
func actingSnippet(ctx context.Context, auth *signet.Auth, user userstore.User, staffID string) (signet.Tokens, error) {
	tokens, err := auth.IssueFor(ctx, user, signet.LoginDecision{Absolute: time.Hour,
		Facts: map[string]any{"act": map[string]any{"sub": staffID}}})
	return tokens, err
}

func TestTheSnippetForActing(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}))
	tokens, err := actingSnippet(t.Context(), s.Auth, userstore.User{ID: "1"}, "3")
	require.NoError(t, err)
	require.EqualValues(t, 3600, tokens.ExpiresIn)
	require.Equal(t, map[string]any{"sub": "3"}, part(t, tokens.AccessToken, 1)["act"])
	recent := s.RequireRecentAuth(5 * time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.Equal(t, 401, serve(t, recent, tokens.AccessToken).Code)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.Empty(t, list[0].Address)
	require.NoError(t, s.RevokeUser(t.Context(), "3"))
	claims, err := s.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err, "the session is the user's")
	require.NoError(t, s.RevokeSession(t.Context(), claims.SessionID))
	_, err = s.Verify(t.Context(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
}

// bothSnippet accepts the tokens of an older login too.
func bothSnippet(auth *signet.Auth, oldClaims func(*http.Request) (*signet.Claims, error), next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := auth.Check(r)
		if errors.Is(err, signet.ErrInvalidToken) {
			if old, oldErr := oldClaims(r); oldErr == nil { // until the last one has expired
				claims, err = old, nil
			}
		}
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(signet.ContextWithClaims(r.Context(), claims)))
	})
}

func TestTheSnippetForOlderTokens(t *testing.T) {
	s := newService(t)
	both := bothSnippet(s.Auth, func(r *http.Request) (*signet.Claims, error) {
		if r.Header.Get("Authorization") != "Bearer of-before" {
			return nil, errors.New("not of the older login")
		}
		return &signet.Claims{Subject: "7", Roles: []string{"admin"}}, nil
	}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, signet.Subject(r.Context())) }))
	require.Equal(t, "7", serve(t, both, "of-before").Body.String())
	require.Equal(t, "1", serve(t, both, s.login(t).AccessToken).Body.String())
	require.Equal(t, 401, serve(t, both, "of-nobody").Code)
}
