package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/rs/cors"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// demo are the accounts of the documented API, and an administrator. A real program has no passwords in its source.
var demo = []struct {
	user     userstore.User
	password string
}{
	{userstore.User{ID: "1", Email: "john@mail.com", Roles: []string{"customer"}, Profile: map[string]any{
		"name": "Jhon", "avatar": "https://api.example.com/avatars/1.png"}}, "changeme"},
	{userstore.User{ID: "2", Email: "maria@mail.com", Roles: []string{"customer"}, Profile: map[string]any{
		"name": "Maria", "avatar": "https://api.example.com/avatars/2.png"}}, "12345"},
	{userstore.User{ID: "3", Email: "admin@mail.com", Roles: []string{"admin"}, Profile: map[string]any{
		"name": "Admin", "avatar": "https://api.example.com/avatars/3.png"}}, "admin123"},
}

func addDemoUsers(ctx context.Context, users userstore.Writer) error {
	for _, account := range demo {
		hash, err := password.Hash(account.password)
		if err != nil {
			return err
		}
		account.user.PasswordHash = hash
		if err := users.Add(ctx, account.user); err != nil && !errors.Is(err, userstore.ErrExists) {
			return err
		}
	}
	return nil
}

// routes is the shop: the contract, its neighbours, some routes of its own, and the page.
func routes(auth *signet.Auth, users userstore.Writer, factor *totp.Factor) http.Handler {
	mux := http.NewServeMux()
	contract := auth.Handler("/api/v1/auth") // with WithoutCORS: the middleware below answers for all routes
	mux.Handle("/api/v1/auth/", contract)
	mux.Handle("/api/v1/auth", contract) // otherwise the mux would redirect it
	(&accounts{users: users, auth: auth}).mount(mux)
	mux.Handle("GET /api/v1/orders", auth.RequireAuth(http.HandlerFunc(orders)))
	mux.Handle("GET /api/v1/admin/users", auth.RequireRole("admin")(http.HandlerFunc(listUsers)))
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
	mux.Handle("/web/auth", http.NotFoundHandler()) // otherwise the mux would redirect it
	factorRoutes(mux, auth, factor)
	page(mux, auth)
	// Any origin may call with a token. Browsers give no answer that came by a cookie to another origin, because the origins are
	// "*". Preflights carry no token: CORS stands outside of RequireAuth.
	anyOrigin := cors.New(cors.Options{
		AllowedOrigins: []string{"*"},
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"*"}, // what a preflight asks for: monitoring adds headers of its own
		ExposedHeaders: []string{"WWW-Authenticate", "Retry-After"},
	})
	return anyOrigin.Handler(cleanPathsOnly(mux))
}

// cleanPathsOnly answers 404 where http.ServeMux would redirect ("//", "..") with a status that makes clients send a
// password a second time.
func cleanPathsOnly(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if clean := path.Clean("/" + r.URL.Path); clean != r.URL.Path && clean != strings.TrimSuffix(r.URL.Path, "/") {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// orders shows the signed-in user's orders.
func orders(w http.ResponseWriter, r *http.Request) {
	subject := signet.Subject(r.Context())
	writeJSON(w, http.StatusOK, map[string]any{"user": subject, "orders": []map[string]any{
		{"id": fmt.Sprintf("%s-1001", subject), "item": "Classic mug", "price": 12},
	}})
}

// listUsers shows administrators who there is.
func listUsers(w http.ResponseWriter, _ *http.Request) {
	users := make([]userstore.User, len(demo))
	for i, account := range demo {
		users[i] = account.user // its JSON form has no password hash
	}
	writeJSON(w, http.StatusOK, users)
}

func writeJSON(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(value)
}
