package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/signet-go/signet/client"
)

// A client signs in and sends requests. It takes care of the tokens.
func Example() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/auth/login" { // a signet service
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"access_token":"a","refresh_token":"r","expires_in":600}`)
			return
		}
		fmt.Fprint(w, `{"email":"john@mail.com"}`)
	}))
	defer service.Close()

	ctx := context.Background()
	c, err := client.New(service.URL + "/auth")
	if err != nil {
		panic(err)
	}
	if err := c.Login(ctx, "john@mail.com", "changeme"); err != nil {
		panic(err)
	}
	resp, err := c.HTTPClient().Get(service.URL + "/orders")
	if err != nil {
		panic(err)
	}
	resp.Body.Close()
	fmt.Println(resp.StatusCode)

	var profile struct{ Email string }
	if err := c.Profile(ctx, &profile); errors.Is(err, client.ErrSignedOut) {
		fmt.Println("sign in again")
	}
	fmt.Println(profile.Email)
	// Output:
	// 200
	// john@mail.com
}

// A route wants a recent proof of who the user is. The client asks the user for a code or the password, and sends the request
// again.
func ExampleClient_StepUp() {
	recent := false
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch { // a signet service
		case r.URL.Path == "/auth/login", r.URL.Path == "/auth/step-up":
			recent = r.URL.Path == "/auth/step-up"
			w.WriteHeader(http.StatusCreated)
			fmt.Fprint(w, `{"access_token":"a","refresh_token":"r","expires_in":600}`)
		case !recent:
			w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="insufficient_user_authentication", max_age="300"`)
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer service.Close()

	ctx := context.Background()
	c, err := client.New(service.URL + "/auth")
	if err != nil {
		panic(err)
	}
	if err := c.Login(ctx, "john@mail.com", "changeme", client.Remember()); err != nil {
		panic(err)
	}
	pay := func() int {
		resp, err := c.HTTPClient().Post(service.URL+"/pay", "", nil)
		if err != nil {
			panic(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	fmt.Println(pay())
	if err := c.StepUp(ctx, "123456"); err != nil {
		panic(err)
	}
	fmt.Println(pay())
	// Output:
	// 401
	// 200
}
