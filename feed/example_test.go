package feed_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// The service that issues the tokens serves the revocations to its own network.
func ExampleNewHandler() {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	store := &session.Memory{} // the store that signet.WithSessionStore has
	revocations, err := feed.NewHandler(store, keys.Private(signer), feed.WithIssuer("https://login.example"))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/revocations", ownServices(revocations))

	request := httptest.NewRequest("GET", "/revocations?after=end", nil)
	request.SetBasicAuth("orders", "Fr2kT9wQ")
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 200 application/revocations+jwt
}

// ownServices is the middleware of the host. Here it knows one password.
func ownServices(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, password, _ := r.BasicAuth(); name != "orders" || password != "Fr2kT9wQ" {
			http.Error(w, "who are you?", http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// Another service follows the revocations. It has the public keys of the issuer, and credentials for the feed.
func ExampleOpen() {
	published, err := keys.OpenURL("http://localhost:8080/auth/.well-known/jwks.json")
	if err != nil {
		log.Fatal(err)
	}
	defer published.Close()
	follower, err := feed.Open("http://localhost:8080/revocations", published,
		feed.WithIssuer("https://login.example"),
		feed.WithClient(&http.Client{Transport: credentials{}}))
	if err != nil {
		log.Fatal(err)
	}
	defer follower.Close() // before the keys
	fmt.Println(follower)
	// Output: feed.Feed
}

// credentials adds the password of this service to each request.
type credentials struct{}

func (credentials) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.SetBasicAuth("orders", "Fr2kT9wQ")
	return http.DefaultTransport.RoundTrip(r)
}
