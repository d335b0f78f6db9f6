package signettest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/signettest"
	"github.com/signet-go/signet/userstore"
)

// The service stands in for the real one in a test of the host's routes. In your program the function is a TestOrders.
func ExampleNew() {
	newRoutes := func(auth *signet.Auth) http.Handler { // what the host's main mounts
		mux := http.NewServeMux()
		mux.Handle("GET /orders", auth.RequireRole("staff")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "orders of user %s", signet.Subject(r.Context()))
		})))
		return mux
	}
	testOrders := func(t *testing.T) {
		auth := signettest.New(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Minute, Refresh: time.Hour}))
		mux := newRoutes(auth.Auth)
		as := func(roles ...string) func(*http.Request) *http.Request {
			return func(r *http.Request) *http.Request { return auth.AsUser(r, "7", roles...) }
		}
		for _, c := range []struct {
			name    string
			request func(r *http.Request) *http.Request
			status  int
		}{
			{"nobody", func(r *http.Request) *http.Request { return r }, http.StatusUnauthorized},
			{"a customer", as("customer"), http.StatusForbidden},
			{"staff", as("staff"), http.StatusOK},
			{"staff a minute later", func(r *http.Request) *http.Request {
				defer auth.Clock.Advance(time.Minute)
				return auth.AsUser(r, "7", "staff")
			}, http.StatusUnauthorized},
		} {
			rec := httptest.NewRecorder()
			mux.ServeHTTP(rec, c.request(httptest.NewRequest("GET", "/orders", nil)))
			if rec.Code != c.status {
				t.Errorf("%s: status %d, want %d", c.name, rec.Code, c.status)
			}
		}
	}
	_ = testOrders
}

// A handler that only reads the claims is tested without a service.
func ExampleAsUser() {
	handler := func(w http.ResponseWriter, r *http.Request) {
		claims, _ := signet.ClaimsFromContext(r.Context())
		fmt.Fprintf(w, "orders of user %s, roles %v", signet.Subject(r.Context()), claims.Roles)
	}
	rec := httptest.NewRecorder()
	handler(rec, signettest.AsUser(httptest.NewRequest("GET", "/orders", nil), "7", "staff"))
	fmt.Println(rec.Body)
	// Output: orders of user 7, roles [staff]
}

// The service of a test can use the host's own user store. In your program the function is a TestProfile.
func ExampleNewWithUsers() {
	testProfile := func(t *testing.T) {
		users := &userstore.Memory{} // in its place stands your store, on a test database
		if err := users.Add(t.Context(), userstore.User{ID: "7", Email: "kim@mail.com", Profile: map[string]any{"name": "Kim"}}); err != nil {
			t.Fatal(err)
		}
		auth := signettest.NewWithUsers(t, users)
		rec := httptest.NewRecorder()
		auth.ProfileHandler().ServeHTTP(rec, auth.AsUser(httptest.NewRequest("GET", "/profile", nil), "7"))
		if rec.Code != http.StatusOK {
			t.Errorf("status %d: %s", rec.Code, rec.Body)
		}
	}
	_ = testProfile
}
