package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// shop returns a service with one user, ada@example.org.
func shop(opts ...signet.Option) *signet.Auth {
	users := &userstore.Memory{}
	hash, err := password.Hash("correct horse battery staple")
	if err != nil {
		panic(err)
	}
	if err := users.Add(context.Background(), userstore.User{ID: "1", Email: "ada@example.org", PasswordHash: hash}); err != nil {
		panic(err)
	}
	quiet := signet.WithLogger(slog.New(slog.DiscardHandler))
	auth, err := signet.New(users, keys.Secret(secret), append(opts, quiet)...)
	if err != nil {
		panic(err)
	}
	return auth
}

func ExampleWithLogin() {
	auth := shop(signet.WithLogin(signet.LoginPolicy{
		Decide: func(_ context.Context, user userstore.User, _ bool) (signet.LoginDecision, error) {
			if user.Attributes["confirmed"] != true {
				return signet.LoginDecision{}, signet.NewError(403, "address_not_confirmed", "confirm your e-mail address first")
			}
			return signet.LoginDecision{}, nil
		},
	}))
	defer auth.Close()
	_, err := auth.Login(context.Background(), "ada@example.org", "correct horse battery staple")
	fmt.Println(err)
	// Output: signet: confirm your e-mail address first
}

// fixedCode is a second factor for this example. Package totp has a real one.
type fixedCode struct{}

func (fixedCode) Enrolled(context.Context, string) (bool, error) { return true, nil }

func (fixedCode) Verify(_ context.Context, _, code string) ([]string, error) {
	if code != "123456" {
		return nil, nil
	}
	return []string{"otp"}, nil
}

func ExampleAuth_SecondStep() {
	auth := shop(signet.WithLogin(signet.LoginPolicy{SecondFactor: fixedCode{}}))
	defer auth.Close()
	_, err := auth.Login(context.Background(), "ada@example.org", "correct horse battery staple")
	fmt.Println(errors.Is(err, signet.ErrSecondStepRequired))
	var answer *signet.Error
	errors.As(err, &answer)
	tokens, err := auth.SecondStep(context.Background(), answer.Ticket(), "123456")
	fmt.Println(tokens, err)
	// Output:
	// true
	// Tokens{Bearer, expires in 1728000s} <nil>
}

// The user shows the second factor again, for a route behind RequireRecentAuth.
func ExampleAuth_StepUp() {
	auth := shop(signet.WithLogin(signet.LoginPolicy{SecondFactor: fixedCode{}, SecondStepACR: "2"}))
	defer auth.Close()
	ctx := context.Background()
	tokens, err := auth.IssueFor(ctx, userstore.User{ID: "1"})
	if err != nil {
		panic(err)
	}
	_, err = auth.StepUp(ctx, tokens.AccessToken, tokens.RefreshToken, "000000")
	fmt.Println(err)
	raised, err := auth.StepUp(ctx, tokens.AccessToken, tokens.RefreshToken, "123456")
	if err != nil {
		panic(err)
	}
	claims, err := auth.Verify(ctx, raised.AccessToken)
	if err != nil {
		panic(err)
	}
	facts, err := signet.CustomClaims[struct {
		AMR []string `json:"amr"`
		ACR string   `json:"acr"`
	}](claims)
	fmt.Println(facts.AMR, facts.ACR, err)
	// Output:
	// signet: the code is wrong
	// [otp mfa] 2 <nil>
}

func ExampleVerifier_RequireRecentAuth() {
	auth := shop()
	defer auth.Close()
	transfer := auth.RequireRecentAuth(5 * time.Minute)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {}))

	tokens, err := auth.IssueFor(context.Background(), userstore.User{ID: "1"},
		signet.LoginDecision{Facts: map[string]any{"auth_time": time.Now().Add(-time.Hour).Unix()}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest("POST", "/transfer", nil)
	r.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	w := httptest.NewRecorder()
	transfer.ServeHTTP(w, r)
	fmt.Println(w.Code)
	fmt.Println(strings.ReplaceAll(w.Header().Get("WWW-Authenticate"), ", ", ",\n  "))
	// Output:
	// 401
	// Bearer realm="api",
	//   error="insufficient_user_authentication",
	//   error_description="more recent authentication is required",
	//   max_age="300"
}

func ExampleWithEvents() {
	events := make(chan event.Event, 1)
	auth := shop(signet.WithEvents(func(_ context.Context, e event.Event) { events <- e }))
	defer auth.Close()
	ctx := signet.ContextWithClient(context.Background(), "curl", "192.0.2.1")
	_, err := auth.Login(ctx, "ada@example.org", "wrong")
	fmt.Println(err)
	e := <-events
	fmt.Println(e.Kind, e.Subject, e.Address, e.Reason)
	// Output:
	// signet: e-mail address or password is wrong
	// login_failed 1 192.0.2.1 wrong password
}

func ExampleAuth_ChangePassword() {
	auth := shop()
	defer auth.Close()
	tokens, err := auth.Login(context.Background(), "ada@example.org", "correct horse battery staple")
	if err != nil {
		panic(err)
	}
	claims, err := auth.Verify(context.Background(), tokens.AccessToken)
	if err != nil {
		panic(err)
	}
	err = auth.ChangePassword(context.Background(), "1", "correct horse battery staple", "short", claims.SessionID)
	fmt.Println(err)
	err = auth.ChangePassword(context.Background(), "1", "correct horse battery staple", "a much better one", claims.SessionID)
	fmt.Println(err)
	// Output:
	// signet: the password is too short: password: too short: less than 8 bytes
	// <nil>
}

func ExampleAuth_CookieHandler() {
	auth := shop(signet.WithCookies(signet.Cookies{}))
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))

	r := httptest.NewRequest("POST", "https://shop.example/web/auth/login",
		strings.NewReader(`{"email": "ada@example.org", "password": "correct horse battery staple"}`))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, r)
	fmt.Print(w.Code, " ", w.Body)
	for _, cookie := range w.Result().Cookies() {
		fmt.Println(cookie.Name, cookie.Path, cookie.HttpOnly, cookie.Secure)
	}
	// Output:
	// 201 {"token_type":"Cookie","expires_in":1728000,"refresh_expires_in":36000,"sub":"1"}
	// __Host-access_token / true true
	// __Secure-refresh_token /web/auth true true
}

func ExampleAuth_SetCookies() {
	auth := shop(signet.WithCookies(signet.Cookies{}))
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
	mux.HandleFunc("GET /social/callback", func(w http.ResponseWriter, r *http.Request) {
		user := userstore.User{ID: "1"} // whom the other service has authenticated
		tokens, err := auth.IssueFor(auth.ContextWithClient(r), user)
		if err == nil {
			err = auth.SetCookies(w, r, "/web/auth", tokens)
		}
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "https://shop.example/social/callback", nil))
	fmt.Println(w.Code, w.Header().Get("Location"))
	for _, cookie := range w.Result().Cookies() {
		fmt.Println(cookie.Name, cookie.Path)
	}
	// Output:
	// 303 /
	// __Host-access_token /
	// __Secure-refresh_token /web/auth
}

func ExampleAuth_RequireTicket() {
	auth := shop()
	defer auth.Close()
	mux := http.NewServeMux()
	mux.Handle("POST /ticket", auth.TicketHandler())
	mux.Handle("GET /events", auth.RequireTicket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "events for user", signet.Subject(r.Context()))
	})))
	// A script asks for a ticket, and opens new EventSource("/events?ticket=" + ticket).
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "/events?ticket=garbage", nil))
	fmt.Println(w.Code)
	// Output: 401
}

func ExampleAuth_Ready() {
	auth := shop()
	defer auth.Close()
	http.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) {
		if err := auth.Ready(r.Context()); err != nil {
			signet.WriteError(w, err)
		}
	})
	fmt.Println(auth.Ready(context.Background()))
	// Output: <nil>
}
