package signet_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// demoAuth returns a service with one user, for the examples.
func demoAuth(opts ...signet.Option) *signet.Auth {
	hash, err := password.Default().Hash("changeme")
	if err != nil {
		log.Fatal(err)
	}
	users := userstore.NewMemory()
	err = users.Add(context.Background(), userstore.User{ID: "1", Email: "john@mail.com", PasswordHash: hash,
		Roles: []string{"customer"}, Profile: map[string]any{"name": "Jhon"}})
	if err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")), opts...)
	if err != nil {
		log.Fatal(err)
	}
	return auth
}

func ExampleNew() {
	hash, err := password.Hash("changeme")
	if err != nil {
		log.Fatal(err)
	}
	users := &userstore.Memory{} // or your own table: see UserStore
	if err := users.Add(context.Background(), userstore.User{ID: "1", Email: "john@mail.com", PasswordHash: hash}); err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")),
		signet.WithIssuer("https://shop.example"),
		signet.WithAudience("https://shop.example/api"))
	if err != nil {
		log.Fatal(err) // one error that names all mistakes, each with its remedy
	}
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))

	login := httptest.NewRequest("POST", "/api/v1/auth/login", strings.NewReader(`{"email":"john@mail.com","password":"changeme"}`))
	login.Header.Set("Content-Type", "application/json")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, login)
	fmt.Println(answer.Code, strings.Contains(answer.Body.String(), `"refresh_token":`))
	// Output: 201 true
}

func ExampleAuth_LoginHandler() {
	auth := demoAuth()
	defer auth.Close()
	server := httptest.NewServer(auth.LoginHandler())
	defer server.Close()

	res, err := http.Post(server.URL, "application/json", strings.NewReader(`{"email":"john@mail.com","password":"changeme"}`))
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	fmt.Println(res.Status, strings.Contains(string(body), "access_token"))
	// Output: 201 Created true
}

func ExampleAuth_RequireAuth() {
	auth := demoAuth()
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("GET /orders", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := signet.ClaimsFromContext(r.Context())
		fmt.Fprintf(w, "orders of user %s, roles %v", signet.Subject(r.Context()), claims.Roles)
	})))

	tokens, err := auth.Login(context.Background(), "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	for _, authorization := range []string{"", "Bearer " + tokens.AccessToken} {
		req := httptest.NewRequest("GET", "/orders", nil)
		if authorization != "" {
			req.Header.Set("Authorization", authorization)
		}
		rec := httptest.NewRecorder()
		mux.ServeHTTP(rec, req)
		if challenge := rec.Header().Get("WWW-Authenticate"); challenge != "" {
			fmt.Println(rec.Code, challenge)
			continue
		}
		fmt.Println(rec.Code, rec.Body)
	}
	// Output:
	// 401 Bearer realm="api"
	// 200 orders of user 1, roles [customer]
}

func ExampleAuth_RequireRole() {
	auth := demoAuth()
	defer auth.Close()
	admin := auth.RequireRole("admin")(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {}))
	tokens, err := auth.Login(context.Background(), "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	req := httptest.NewRequest("GET", "/admin", nil)
	req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	rec := httptest.NewRecorder()
	admin.ServeHTTP(rec, req)
	fmt.Println(rec.Code)
	// Output: 403
}

// A service that only checks tokens has only public keys. Somebody who breaks into it cannot make tokens.
func ExampleNewVerifier() {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	users := &userstore.Memory{}
	user := userstore.User{ID: "42", Email: "x@example.com"}
	if err := users.Add(context.Background(), user); err != nil {
		log.Fatal(err)
	}
	login, err := signet.New(users, keys.Private(private), signet.WithIssuer("https://login.example"))
	if err != nil {
		log.Fatal(err)
	}
	defer login.Close()
	orders, err := signet.NewVerifier(keys.Public(public), signet.WithIssuer("https://login.example"))
	if err != nil {
		log.Fatal(err)
	}
	tokens, err := login.IssueFor(context.Background(), user)
	if err != nil {
		log.Fatal(err)
	}
	claims, err := orders.Verify(context.Background(), tokens.AccessToken)
	fmt.Println(claims.Subject, err)
	// Output: 42 <nil>
}

func ExampleCustomClaims() {
	users := userstore.NewMemory()
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")),
		signet.WithClaims(func(_ context.Context, user userstore.User) (map[string]any, error) {
			return map[string]any{"tenant": user.Attributes["tenant"]}, nil
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	user := userstore.User{ID: "1", Email: "john@mail.com", Attributes: map[string]any{"tenant": "acme"}}
	if err := users.Add(context.Background(), user); err != nil {
		log.Fatal(err)
	}
	tokens, err := auth.IssueFor(context.Background(), user)
	if err != nil {
		log.Fatal(err)
	}
	claims, err := auth.Verify(context.Background(), tokens.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	custom, err := signet.CustomClaims[struct {
		Tenant string `json:"tenant"`
	}](claims)
	fmt.Println(custom.Tenant, err)
	// Output: acme <nil>
}

// No token is refused when keys change: the old key is accepted until it is retired.
func Example_keyRotation() {
	now := keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"), keys.WithID("2026-10"))
	next := keys.Secret([]byte("b6Xw0Yt4RmKc9Jq2Lf7Vg1Hs5Nd8PzAu"), keys.WithID("2026-11"))
	ring, err := keys.NewRing(now)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(userstore.NewMemory(), ring)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	if err := ring.Announce(next); err != nil { // on every server
		log.Fatal(err)
	}
	if err := ring.Rotate(next); err != nil { // when all of them know it
		log.Fatal(err)
	}
	fmt.Println(ring.Current().Signing().ID(), ring.Current().IDs())
	if err := ring.Retire("2026-10"); err != nil { // when the last token of the old key has expired
		log.Fatal(err)
	}
	fmt.Println(ring.Current().IDs())
	// Output:
	// 2026-11 [2026-11 2026-10]
	// [2026-11]
}

// A ban or a password change ends every session of the user. Access tokens are then refused too.
func ExampleAuth_RevokeUser() {
	auth := demoAuth()
	defer auth.Close()
	ctx := context.Background()
	tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	if err := auth.RevokeUser(ctx, "1"); err != nil {
		log.Fatal(err) // not committed: try again
	}
	_, err = auth.Verify(ctx, tokens.AccessToken)
	fmt.Println(err)
	_, err = auth.Refresh(ctx, tokens.RefreshToken)
	fmt.Println(errors.Is(err, signet.ErrInvalidToken))
	// Output:
	// signet: the token is revoked
	// true
}

// A connection that stays open ends with its session, and can say why.
func ExampleSessionContext() {
	auth := demoAuth()
	defer auth.Close()
	tokens, err := auth.Login(context.Background(), "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	events := auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := signet.SessionContext(r.Context(), signet.ErrExpiredToken)
		defer cancel()
		fmt.Println("open")
		go auth.RevokeUser(context.Background(), signet.Subject(ctx)) // as an administrator does, somewhere else
		<-ctx.Done()                                                  // your events come meanwhile
		fmt.Println(context.Cause(ctx))
	}))
	req := httptest.NewRequest("GET", "/events", nil)
	req.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	events.ServeHTTP(httptest.NewRecorder(), req)
	// Output:
	// open
	// signet: the token is revoked
}

// Logout accepts either token. It returns nil only when the end of the session is committed.
func ExampleAuth_Logout() {
	auth := demoAuth()
	defer auth.Close()
	ctx := context.Background()
	tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(auth.Logout(ctx, tokens.RefreshToken), auth.Logout(ctx, tokens.AccessToken))
	// Output: <nil> <nil>
}

// This service trusts several issuers, each with its own keys and audience.
func ExampleNewIssuersVerifier() {
	login, err := keys.OpenURL("https://login.example/.well-known/jwks.json")
	if err != nil {
		log.Fatal(err)
	}
	defer login.Close()
	partner, err := keys.OpenURL("https://partner.example/jwks")
	if err != nil {
		log.Fatal(err)
	}
	defer partner.Close()
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{
		{Issuer: "https://login.example", Keys: login, Audience: []string{"https://api.example"}},
		{Issuer: "https://partner.example", Keys: partner, Audience: []string{"https://api.example"}, Algorithms: []keys.Algorithm{keys.ES256}},
	})
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("GET /reports", v.RequireScope("reports:read")(http.NotFoundHandler()))
}

// The host has logged the user in by other means, for example by another identity provider.
func ExampleAuth_IssueFor() {
	auth := demoAuth()
	defer auth.Close()
	callback := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user := userstore.User{ID: "1", Email: "john@mail.com"} // whom the provider has named
		tokens, err := auth.IssueFor(auth.ContextWithClient(r), user)
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		json.NewEncoder(w).Encode(tokens)
	})
	rec := httptest.NewRecorder()
	callback.ServeHTTP(rec, httptest.NewRequest("GET", "/callback", nil))
	fmt.Println(rec.Code, strings.Contains(rec.Body.String(), "refresh_token"))
	// Output: 200 true
}

// Two processes have the same store of sessions. A logout in one of them holds in the other one too. Package sqlstore has stores in
// SQL databases, and module redisstore has one in Redis.
func ExampleWithSessionStore() {
	store := &session.Memory{} // in place of sqlstore.NewSessions(db, sqlstore.PostgreSQL)
	one := demoAuth(signet.WithSessionStore(store))
	defer one.Close()
	other := demoAuth(signet.WithSessionStore(store))
	defer other.Close()

	ctx := context.Background()
	tokens, err := one.Login(ctx, "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(one.Logout(ctx, tokens.RefreshToken))
	_, err = other.Refresh(ctx, tokens.RefreshToken)
	fmt.Println(err)
	// Output:
	// <nil>
	// signet: the token is revoked
}

// The service is behind a proxy with an address in 10.0.0.0/8.
func ExampleWithTrustedProxies() {
	auth := demoAuth(signet.WithTrustedProxies(netip.MustParsePrefix("10.0.0.0/8")))
	defer auth.Close()
	r := httptest.NewRequest("POST", "/login", strings.NewReader(`{"email": "john@mail.com", "password": "changeme"}`))
	r.Header.Set("Content-Type", "application/json")
	r.RemoteAddr = "10.0.0.7:40000"
	r.Header.Set("X-Forwarded-For", "198.51.100.1, 192.0.2.1") // the client has written the first one
	auth.LoginHandler().ServeHTTP(httptest.NewRecorder(), r)

	sessions, err := auth.Sessions(context.Background(), "1")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(sessions[0].Address)
	// Output: 192.0.2.1
}

// A server without net/http verifies the token itself. What it calls finds the user as in a route.
func ExampleContextWithClaims() {
	auth := demoAuth()
	defer auth.Close()
	tokens, err := auth.Login(context.Background(), "john@mail.com", "changeme")
	if err != nil {
		log.Fatal(err)
	}
	claims, err := auth.Verify(context.Background(), tokens.AccessToken) // from the metadata of a call
	if err != nil {
		log.Fatal(err)
	}
	ctx := signet.ContextWithClaims(context.Background(), claims)
	fmt.Println(signet.Subject(ctx))
	// Output: 1
}

// A framework that does not wrap an http.Handler asks for a decision and stops after an error.
func ExampleAuth_Check() {
	auth := demoAuth()
	defer auth.Close()
	guard := func(w http.ResponseWriter, r *http.Request) (context.Context, bool) {
		claims, err := auth.Check(r)
		if err != nil {
			signet.WriteError(w, err)
			return nil, false
		}
		return signet.ContextWithClaims(r.Context(), claims), true
	}
	rec := httptest.NewRecorder()
	_, ok := guard(rec, httptest.NewRequest("GET", "/orders", nil))
	fmt.Println(ok, rec.Code, rec.Header().Get("WWW-Authenticate"))
	// Output: false 401 Bearer realm="api"
}

// The host's function refuses a login or a refresh with an answer of its own.
func ExampleNewError() {
	err := signet.NewError(http.StatusForbidden, "address_not_confirmed", "confirm your e-mail address first")
	rec := httptest.NewRecorder()
	signet.WriteError(rec, fmt.Errorf("user 7: %w", err))
	fmt.Println(rec.Code, strings.Contains(rec.Body.String(), `"code":"address_not_confirmed"`))
	// Output: 403 true
}

// The host answers errors in a format of its own. The headers are set already.
func ExampleWithErrorHandler() {
	auth, err := signet.New(&userstore.Memory{}, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")),
		signet.WithErrorHandler(func(w http.ResponseWriter, _ *http.Request, err error) {
			var answer *signet.Error
			errors.As(err, &answer)
			w.WriteHeader(answer.Status())
			fmt.Fprintf(w, "{%q:%q}", "error", answer.Code())
		}))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	rec := httptest.NewRecorder()
	auth.ProfileHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/profile", nil))
	fmt.Println(rec.Code, rec.Body)
	// Output: 401 {"error":"missing_token"}
}

// Other software finds the keys of the service from its issuer's name alone.
func ExampleAuth_MetadataHandler() {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(&userstore.Memory{}, keys.Private(private), signet.WithIssuer("https://login.example"))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("/.well-known/jwks.json", auth.JWKSHandler())
	mux.Handle("/.well-known/openid-configuration", auth.MetadataHandler("https://login.example/.well-known/jwks.json"))
	rec := httptest.NewRecorder()
	mux.ServeHTTP(rec, httptest.NewRequest("GET", "/.well-known/openid-configuration", nil))
	var metadata struct {
		Issuer  string `json:"issuer"`
		JWKSURI string `json:"jwks_uri"`
	}
	json.Unmarshal(rec.Body.Bytes(), &metadata)
	fmt.Println(metadata.Issuer, metadata.JWKSURI)
	// Output: https://login.example https://login.example/.well-known/jwks.json
}
