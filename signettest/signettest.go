// Package signettest helps to test programs that use signet. One line makes a service with a known user and a clock
// that the test moves. It uses no network, and hashing a password takes almost no time.
//
//	auth := signettest.New(t)
//	rec := httptest.NewRecorder()
//	routes(auth.Auth).ServeHTTP(rec, auth.AsUser(httptest.NewRequest("GET", "/orders", nil), "7", "admin"))
//
// A handler that only reads signet.Subject or signet.ClaimsFromContext needs no service: see [AsUser].
package signettest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/internal/issued"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// The user of every [Service]. The user has the role "customer".
const (
	UserID   = "1"
	Email    = "john@mail.com"
	Password = "changeme"
)

// Service is a signet service for one test. It is closed when the test ends. It is safe for concurrent use.
type Service struct {
	*signet.Auth
	// Users are the service's users. The test may add others. It is nil for a service of [NewWithUsers].
	Users *userstore.Memory
	// Clock is the service's clock.
	Clock *Clock

	t     testing.TB
	key   *keys.Key
	store signet.UserStore
	mu    sync.Mutex // for AsUser
}

// New returns a service that has the user of the constants. Its key and its password hasher are cheap, its sessions are in
// memory, and it logs nothing. Its clock stands still until the test moves it. New applies opts after its own options, so opts
// can replace them. A session store must have the same clock: give both one function, by [signet.WithClock](now) and
// [session.Memory]{Clock: now}, or, for a database, give signet.WithClock(time.Now). If the service cannot be made, New ends
// the test.
func New(t testing.TB, opts ...signet.Option) *Service {
	t.Helper()
	users := &userstore.Memory{}
	hash, err := cheap.Hash(Password)
	must(t, err)
	user := userstore.User{ID: UserID, Email: Email, PasswordHash: hash, Roles: []string{"customer"}}
	must(t, users.Add(context.Background(), user))
	s := NewWithUsers(t, users, opts...)
	s.Users = users
	return s
}

// NewWithUsers is [New] with a user store of the host, such as one on its own table. The test adds its users there;
// [signet.Auth.HashPassword] of the service makes cheap hashes for them.
func NewWithUsers(t testing.TB, users signet.UserStore, opts ...signet.Option) *Service {
	t.Helper()
	secret := make([]byte, 32)
	rand.Read(secret)
	clock := &Clock{now: time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC)}
	s := &Service{Clock: clock, t: t, key: keys.Secret(secret), store: users}
	all := append([]signet.Option{
		signet.WithPasswordHasher(cheap),
		signet.WithClock(s.Clock.Now),
		signet.WithLogger(slog.New(slog.DiscardHandler)),
	}, opts...)
	var err error
	s.Auth, err = signet.New(users, s.key, all...)
	must(t, err)
	t.Cleanup(func() { s.Auth.Close() })
	return s
}

var cheap = password.Argon2id{Memory: 8, Iterations: 1}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("signettest: %v", err)
	}
}

// AsUser returns the request with a fresh access token of a user in its Authorization header. The user gets exactly these
// roles. If the subject is new, AsUser first adds the user to Users. For a service of [NewWithUsers], the user must be in the
// host's store. The roles come from there too, so pass none: otherwise AsUser ends the test. A token with scopes, or with other
// claims, is one of [Service.Token].
func (s *Service) AsUser(r *http.Request, subject string, roles ...string) *http.Request {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := r.Context()
	if s.Users == nil {
		if len(roles) > 0 {
			s.t.Fatalf("signettest: AsUser: the roles of user %q are those of your user store; leave them out here", subject)
		}
		user, err := s.store.FindByID(ctx, subject)
		must(s.t, err)
		tokens, err := s.IssueFor(ctx, user)
		must(s.t, err)
		return withToken(r, tokens.AccessToken)
	}
	user, err := s.Users.FindByID(ctx, subject)
	if errors.Is(err, userstore.ErrNotFound) {
		user = userstore.User{ID: subject, Email: subject + "@signettest.example"}
		must(s.t, s.Users.Add(ctx, user))
	} else {
		must(s.t, err)
	}
	user.Roles = roles
	must(s.t, s.Users.Update(ctx, user))
	tokens, err := s.IssueFor(ctx, user)
	must(s.t, err)
	return withToken(r, tokens.AccessToken)
}

// Token returns an access token with any claims, signed with the key of the service and with its type. If claims do not have
// "sub", "iat", "exp", "iss", "aud" or "sid", Token adds them: the known user, now, in an hour, those of the service, and the
// id of a session that the store does not know. A claim that is nil is left out.
func (s *Service) Token(claims map[string]any) string {
	s.t.Helper()
	form := issued.FormOf(s.Auth)
	now := form.Now()
	all := map[string]any{"sub": UserID, "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(), "sid": session.NewID(UserID)}
	if form.Issuer != "" {
		all["iss"] = form.Issuer
	}
	if len(form.Audience) > 0 {
		all["aud"] = form.Audience
	}
	for name, value := range claims {
		all[name] = value
		if value == nil {
			delete(all, name)
		}
	}
	payload, err := json.Marshal(all)
	must(s.t, err)
	token, err := jws.NewWriter(form.Type).Sign(context.Background(), s.key, payload)
	must(s.t, err)
	return token
}

func withToken(r *http.Request, token string) *http.Request {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return r
}

// AsUser returns the request with claims of a user in its context, as the middleware leaves it. It is for tests of
// handlers without their middleware, which would look for a token: behind it, use [Service.AsUser].
func AsUser(r *http.Request, subject string, roles ...string) *http.Request {
	return r.WithContext(signet.ContextWithClaims(r.Context(), &signet.Claims{Subject: subject, Roles: roles}))
}

// Clock is a clock that only the test moves. It is safe for concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// Now returns the time.
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock. A negative duration sets it back.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}
