package signettest_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/signettest"
	"github.com/signet-go/signet/userstore"
)

// routes is what a host tests.
func routes(auth *signet.Auth) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.RequireAuth(http.HandlerFunc(orders)))
	mux.Handle("GET /admin", auth.RequireRole("admin")(http.HandlerFunc(orders)))
	mux.Handle("GET /profile", auth.ProfileHandler())
	return mux
}

func orders(w http.ResponseWriter, r *http.Request) {
	claims, _ := signet.ClaimsFromContext(r.Context())
	fmt.Fprintf(w, "%s %v", signet.Subject(r.Context()), claims.Roles)
}

func TestAHandlerTestNeedsThreeLines(t *testing.T) {
	auth := signettest.New(t)
	rec := httptest.NewRecorder()
	routes(auth.Auth).ServeHTTP(rec, auth.AsUser(httptest.NewRequest("GET", "/admin", nil), "7", "admin"))

	require.Equal(t, 200, rec.Code)
	require.Equal(t, "7 [admin]", rec.Body.String())
}

func TestUsersAndTheirRoles(t *testing.T) {
	auth := signettest.New(t)
	get := func(path string, r func(*http.Request) *http.Request) *httptest.ResponseRecorder {
		rec := httptest.NewRecorder()
		routes(auth.Auth).ServeHTTP(rec, r(httptest.NewRequest("GET", path, nil)))
		return rec
	}
	as := func(subject string, roles ...string) func(*http.Request) *http.Request {
		return func(r *http.Request) *http.Request { return auth.AsUser(r, subject, roles...) }
	}
	require.Equal(t, 403, get("/admin", as("7")).Code)
	require.Equal(t, 200, get("/admin", as("7", "admin")).Code)
	require.Equal(t, 403, get("/admin", as("7", "staff")).Code, "exactly these roles")
	require.Equal(t, "1 [staff]", get("/orders", as(signettest.UserID, "staff")).Body.String())
	require.Contains(t, get("/profile", as("7")).Body.String(), `"id":7`)
	require.Equal(t, 401, get("/orders", func(r *http.Request) *http.Request { return r }).Code)

	tokens, err := auth.Login(t.Context(), signettest.Email, signettest.Password)
	require.NoError(t, err)
	require.NotEmpty(t, tokens.RefreshToken)
}

func TestTokensWithAnyClaims(t *testing.T) {
	auth := signettest.New(t, signet.WithAudience("shop"))
	verify := func(claims map[string]any) error {
		_, err := auth.Verify(t.Context(), auth.Token(claims))
		return err
	}
	require.NoError(t, verify(map[string]any{"aud": "shop", "tenant": "acme"}))
	require.NoError(t, verify(nil), "it has the audience of the service")
	require.ErrorIs(t, verify(map[string]any{"aud": nil}), signet.ErrInvalidToken)
	require.ErrorIs(t, verify(map[string]any{"aud": "api"}), signet.ErrInvalidToken, "another audience")
	require.ErrorIs(t, verify(map[string]any{"aud": "shop", "sub": nil}), signet.ErrInvalidToken)
	require.ErrorIs(t, verify(map[string]any{"aud": "shop", "exp": auth.Clock.Now().Unix()}), signet.ErrExpiredToken)
	claims, err := auth.Verify(t.Context(), auth.Token(map[string]any{"aud": "shop", "tenant": "acme"}))
	require.NoError(t, err)
	custom, err := signet.CustomClaims[struct {
		Tenant string `json:"tenant"`
	}](claims)
	require.NoError(t, err)
	require.Equal(t, "acme", custom.Tenant)
}

// A token fits the service, whatever its options say about tokens.
func TestATokenFitsTheService(t *testing.T) {
	for name, opts := range map[string][]signet.Option{
		"issuer":    {signet.WithIssuer("https://i.example")},
		"audience":  {signet.WithIssuer("https://i.example"), signet.WithAudience("a", "b")},
		"type":      {signet.WithTokenTypes("JWT", "at+jwt")},
		"the clock": {signet.WithClock(time.Now)},
		"stateless": {signet.WithoutSessions()},
	} {
		t.Run(name, func(t *testing.T) {
			auth := signettest.New(t, opts...)
			claims, err := auth.Verify(t.Context(), auth.Token(map[string]any{"tenant": "x"}))
			require.NoError(t, err)
			require.Equal(t, signettest.UserID, claims.Subject)
		})
	}
}

func TestTheClockMovesTokensAndSessions(t *testing.T) {
	auth := signettest.New(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Minute, Refresh: time.Hour}))
	tokens, err := auth.Login(t.Context(), signettest.Email, signettest.Password)
	require.NoError(t, err)
	auth.Clock.Advance(time.Minute)
	_, err = auth.Verify(t.Context(), tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
	_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
	auth.Clock.Advance(2 * time.Hour)
	list, err := auth.Sessions(t.Context(), signettest.UserID)
	require.NoError(t, err)
	require.Empty(t, list)
}

func TestAHandlerWithoutItsMiddleware(t *testing.T) {
	rec := httptest.NewRecorder()
	orders(rec, signettest.AsUser(httptest.NewRequest("GET", "/orders", nil), "7", "admin"))
	require.Equal(t, "7 [admin]", rec.Body.String())
}

// shopUsers is a user store of a host.
type shopUsers struct{ rows userstore.Memory }

func (s *shopUsers) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	return s.rows.FindByEmail(ctx, email)
}

func (s *shopUsers) FindByID(ctx context.Context, id string) (userstore.User, error) {
	return s.rows.FindByID(ctx, id)
}

func TestAUserStoreOfTheHost(t *testing.T) {
	for _, opts := range [][]signet.Option{nil, {signet.WithoutSessions()}} {
		testAUserStoreOfTheHost(t, opts)
	}
}

func testAUserStoreOfTheHost(t *testing.T, opts []signet.Option) {
	t.Helper()
	users := &shopUsers{}
	auth := signettest.NewWithUsers(t, users, opts...)
	hash, err := auth.HashPassword(t.Context(), "her password")
	require.NoError(t, err)
	ada := userstore.User{ID: "ada", Email: "ada@mail.com", PasswordHash: hash, Roles: []string{"staff"}}
	require.NoError(t, users.rows.Add(t.Context(), ada))
	_, err = auth.Login(t.Context(), "ada@mail.com", "her password")
	require.NoError(t, err)

	rec := httptest.NewRecorder()
	guarded := auth.RequireRole("staff")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	guarded.ServeHTTP(rec, auth.AsUser(httptest.NewRequest("GET", "/", nil), "ada"))
	require.Equal(t, 200, rec.Code)
}

// Subtests that run at the same time may ask for the same user with different roles.
func TestAsUserInParallel(t *testing.T) {
	auth := signettest.New(t)
	admins := auth.RequireRole("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			role, want := "admin", http.StatusOK
			if i%2 == 0 {
				role, want = "customer", http.StatusForbidden
			}
			w := httptest.NewRecorder()
			admins.ServeHTTP(w, auth.AsUser(httptest.NewRequest("GET", "/", nil), fmt.Sprint(i%6/2), role))
			if w.Code != want {
				t.Errorf("a user with the role %s got %d", role, w.Code)
			}
		})
	}
	all.Wait()
}
