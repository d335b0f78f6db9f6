package signet_test

import (
	"context"
	"net/http"
	"runtime"
	"time"

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

var passwordsSnippet = signet.WithLogin(signet.LoginPolicy{Passwords: password.Policy{Blocked: breached, Timeout: time.Second}})

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
