package keys_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/userstore"
)

// This ring signs with one key and accepts two others. The service publishes the public halves. The secret stays at home.
func ExampleNewRing() {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	public, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	ring, err := keys.NewRing(
		keys.Private(signer, keys.WithID("2026-11")),
		keys.Public(public, keys.WithID("partner")),
		keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"), keys.WithID("2019")), // for tokens that are still valid
	)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(ring.Current().Signing(), ring.Current().IDs())

	jwks, err := ring.Current().JWKS() // signet's JWKSHandler serves it
	if err != nil {
		log.Fatal(err)
	}
	published, err := keys.ParseSet(jwks) // what another service reads
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range published {
		fmt.Println(k, k.CanSign())
	}
	// Output:
	// Key{2026-11 ES256} [2026-11 partner 2019]
	// Key{2026-11 ES256} false
	// Key{partner EdDSA} false
}

// The keys are in a mounted directory, and an operator changes them while the service runs.
func ExampleOpenFiles() {
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	const (
		october  = `{"kty":"oct","kid":"2026-10","k":"Wms4cFYzbjFReVhyNXRCN3dMczlIZDJHY0o0bVVhRW8"}`
		november = `{"kty":"oct","kid":"2026-11","k":"YjZYdzBZdDRSbUtjOUpxMkxmN1ZnMUhzNU5kOFB6QXU"}`
	)
	write := func(members ...string) {
		hidden := filepath.Join(dir, ".next") // hidden files are not read, so nobody reads a half of the text
		if err := os.WriteFile(hidden, []byte(`{"keys":[`+strings.Join(members, ",")+`]}`), 0o600); err != nil {
			log.Fatal(err)
		}
		if err := os.Rename(hidden, filepath.Join(dir, "keys.json")); err != nil {
			log.Fatal(err)
		}
	}

	write(october, november) // October signs, and November is accepted
	files, err := keys.OpenFiles(dir, keys.WithInterval(time.Second))
	if err != nil {
		log.Fatal(err)
	}
	defer files.Close()
	before := files.Current()
	fmt.Println(before.Signing().ID(), before.IDs())

	write(november, october) // when every server knows November
	for files.Current() == before {
		time.Sleep(10 * time.Millisecond)
	}
	fmt.Println(files.Current().Signing().ID(), files.Current().IDs())
	// Output:
	// 2026-10 [2026-10 2026-11]
	// 2026-11 [2026-11 2026-10]
}

var ann = userstore.User{ID: "42", Email: "ann@example.com"}

// loginService returns a login service at an address of its own, for the examples. It publishes its keys and its metadata.
func loginService() (auth *signet.Auth, server *httptest.Server) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	server = httptest.NewServer(mux)
	users := userstore.NewMemory()
	if err := users.Add(context.Background(), ann); err != nil {
		log.Fatal(err)
	}
	auth, err = signet.New(users, keys.Private(private), signet.WithIssuer(server.URL),
		signet.WithAudience("https://api.example"))
	if err != nil {
		log.Fatal(err)
	}
	mux.Handle("GET /.well-known/jwks.json", auth.JWKSHandler())
	mux.Handle("GET /.well-known/openid-configuration", auth.MetadataHandler(server.URL+"/.well-known/jwks.json"))
	return auth, server
}

// This service checks tokens of another one, whose keys it fetches. The first token waits for the first document.
func ExampleOpenURL() {
	auth, login := loginService()
	defer login.Close()
	defer auth.Close()
	tokens, err := auth.IssueFor(context.Background(), ann)
	if err != nil {
		log.Fatal(err)
	}

	source, err := keys.OpenURL(login.URL + "/.well-known/jwks.json")
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	verifier, err := signet.NewVerifier(source, signet.WithIssuer(login.URL), signet.WithAudience("https://api.example"))
	if err != nil {
		log.Fatal(err)
	}
	claims, err := verifier.Verify(context.Background(), tokens.AccessToken)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(claims.Subject)
	// Output: 42
}

// The name of the issuer is enough: its metadata say where its keys are.
func ExampleDiscover() {
	auth, login := loginService()
	defer login.Close()
	defer auth.Close()

	source, err := keys.Discover(login.URL)
	if err != nil {
		log.Fatal(err)
	}
	defer source.Close()
	set, err := source.Refetch(context.Background(), nil) // a Verifier calls it for the first token
	if err != nil {
		log.Fatal(err)
	}
	for _, k := range set.Keys() {
		fmt.Println(k.Algorithm(), k.CanSign())
	}
	// Output: EdDSA false
}
