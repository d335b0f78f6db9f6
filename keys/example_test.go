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
	"sync/atomic"
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

// The private key is in memory, in a KMS or in an HSM: everything that is a crypto.Signer.
func ExamplePrivate() {
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		log.Fatal(err)
	}
	key := keys.Private(signer, keys.WithID("2026-11"))
	fmt.Println(key, key.CanSign(), key.Err())
	// Output: Key{2026-11 ES256} true <nil>
}

// The text is that of a file: a private key signs, and a public key or a certificate can only verify.
func ExamplePEM() {
	key := keys.PEM([]byte(`-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
`), keys.WithID("2026-11"))
	fmt.Println(key, key.CanSign(), key.Err())
	// Output: Key{2026-11 EdDSA} false <nil>
}

// The keys of another service came as a file. OpenURL fetches them instead, and follows their changes.
func ExampleParseSet() {
	published, err := keys.ParseSet([]byte(`{"keys": [
		{"kty": "OKP", "crv": "Ed25519", "kid": "2026-11", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}
	]}`))
	if err != nil {
		log.Fatal(err)
	}
	set, err := keys.NewSet(nil, published...) // nothing signs
	fmt.Println(set, err)
	// Output: keys.Set["2026-11"] <nil>
}

// keyTable is a source of keys that are in a table of the host's own.
type keyTable struct{ current atomic.Pointer[keys.Set] }

// Current returns the same pointer until the keys change, because verified tokens are verified again when it changes.
func (t *keyTable) Current() *keys.Set { return t.current.Load() }

// Refetch does not read the table: load does that.
func (t *keyTable) Refetch(context.Context, *keys.Set) (*keys.Set, error) { return t.Current(), nil }

// load is called at the start, and when the rows have changed.
func (t *keyTable) load(signing *keys.Key, accepted ...*keys.Key) error {
	set, err := keys.NewSet(signing, accepted...)
	if err == nil {
		t.current.Store(set)
	}
	return err
}

// The host keeps the keys in its own way.
func ExampleSource() {
	first := keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"), keys.WithID("2025"))
	second := keys.Secret([]byte("q7Rw2ZtB9xKd4LmV6nHs8PcY3gJ5fTaU"), keys.WithID("2026"))
	table := &keyTable{}
	if err := table.load(first); err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(&userstore.Memory{}, table)
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
	if err := table.load(second, first); err != nil { // the second one signs, and tokens of the first one stay valid
		log.Fatal(err)
	}
	fmt.Println(table.Current().Signing(), table.Current().IDs())
	// Output: Key{2026 HS256} [2026 2025]
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
