package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

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

// A program that runs again and again keeps its session in a file. Several of its processes may run at one time.
func ExampleNewFile() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a signet service
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"access_token":"a","refresh_token":"r","expires_in":600}`)
	}))
	defer service.Close()
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)

	ctx := context.Background()
	open := func() *client.Client {
		c, err := client.New(service.URL+"/auth", client.WithStore(client.NewFile(filepath.Join(dir, "session"))))
		if err != nil {
			panic(err)
		}
		return c
	}
	_, _, err = open().Token(ctx)
	fmt.Println(errors.Is(err, client.ErrSignedOut))
	if err := open().Login(ctx, "john@mail.com", "changeme"); err != nil {
		panic(err)
	}
	token, _, err := open().Token(ctx) // in the next run
	fmt.Println(token, err)
	// Output:
	// true
	// a <nil>
}

// The access token goes only to the origin of the service and to those that the program names.
func ExampleClient_HTTPClient() {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // a signet service
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{"access_token":"a","refresh_token":"r","expires_in":600}`)
	}))
	defer service.Close()
	echo := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("Authorization")) })
	api, stranger := httptest.NewServer(echo), httptest.NewServer(echo)
	defer api.Close()
	defer stranger.Close()

	c, err := client.New(service.URL+"/auth", client.WithOrigins(api.URL))
	if err != nil {
		panic(err)
	}
	if err := c.Login(context.Background(), "john@mail.com", "changeme"); err != nil {
		panic(err)
	}
	for _, url := range []string{api.URL, stranger.URL} {
		resp, err := c.HTTPClient().Get(url + "/orders")
		if err != nil {
			panic(err)
		}
		got, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Printf("%q\n", got)
	}
	// Output:
	// "Bearer a"
	// ""
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
