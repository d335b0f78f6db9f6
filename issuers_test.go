package signet_test

import (
	"context"
	"crypto"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// issuer is a login service whose keys are served over HTTP.
type issuer struct {
	*signet.Auth
	ring    *signet.Keyring
	server  *httptest.Server
	fetches atomic.Int64
	answer  atomic.Value // http.HandlerFunc in place of the keys
}

func newIssuer(t testing.TB, name string, key signet.Key, opts ...signet.Option) *issuer {
	t.Helper()
	ring, err := signet.NewKeyring(key)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, append([]signet.Option{signet.WithPasswordHasher(cheap), signet.WithIssuer(name)}, opts...)...)
	require.NoError(t, err)
	i := &issuer{Auth: auth, ring: ring}
	keys := auth.JWKSHandler()
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		if answer, ok := i.answer.Load().(http.HandlerFunc); ok && answer != nil {
			answer(w, r)
			return
		}
		keys.ServeHTTP(w, r)
	}))
	t.Cleanup(i.server.Close)
	t.Cleanup(func() { auth.Close() })
	return i
}

func (i *issuer) token(t testing.TB) string {
	t.Helper()
	tokens, err := i.Login(context.Background(), "john@mail.com", "changeme")
	require.NoError(t, err)
	return tokens.AccessToken
}

var quiet = signet.WithLogger(slog.New(slog.DiscardHandler))

func remote(t testing.TB, url string, opts ...signet.VerifierOption) *signet.Verifier {
	t.Helper()
	v, err := signet.NewVerifier(signet.JWKS(url, nil), append(opts, quiet)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, v.Close()) })
	return v
}

func TestJWKSVerifies(t *testing.T) {
	i := newIssuer(t, "https://a.example", signet.Signer(p256(t)))
	v := remote(t, i.server.URL, signet.WithIssuer("https://a.example"))
	token := i.token(t)
	var wg sync.WaitGroup
	for range 50 { // all wait for one fetch
		wg.Go(func() {
			if _, err := v.Verify(context.Background(), token); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, 1, i.fetches.Load())
}

func TestJWKSUnknownKeys(t *testing.T) {
	i := newIssuer(t, "https://a.example", signet.Signer(p256(t)))
	v := remote(t, i.server.URL)
	_, err := v.Verify(context.Background(), i.token(t))
	require.NoError(t, err)
	stranger := newIssuer(t, "https://a.example", signet.Signer(p256(t)))
	for range 100 {
		_, err := v.Verify(context.Background(), stranger.token(t))
		require.ErrorIs(t, err, signet.ErrInvalidToken)
	}
	require.LessOrEqual(t, i.fetches.Load(), int64(2), "at most one fetch in ten seconds")
}

func TestJWKSServesFromTheLastGoodSet(t *testing.T) {
	i := newIssuer(t, "https://a.example", signet.Signer(p256(t)))
	v := remote(t, i.server.URL)
	token := i.token(t)
	_, err := v.Verify(context.Background(), token)
	require.NoError(t, err)
	i.server.Close()
	_, err = v.Verify(context.Background(), i.token(t))
	require.NoError(t, err)
}

func TestJWKSNeverHad(t *testing.T) {
	i := newIssuer(t, "https://a.example", signet.Signer(p256(t)))
	token := i.token(t)
	jwk := func() string {
		rec := httptest.NewRecorder()
		i.JWKSHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		return rec.Body.String()
	}()
	oct := `{"kty":"oct","k":"` + encode(string(secret)) + `"}`
	for name, answer := range map[string]http.HandlerFunc{
		"500":       func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"not JSON":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"an empty body": func(http.ResponseWriter, *http.Request) {},
		"empty set": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"keys":[]}`) },
		"too long": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"x":"`+strings.Repeat("a", 300<<10)+`"}`)
		},
		"with a secret": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Replace(jwk, `{"keys":[`, `{"keys":[`+oct+`,`, 1))
		},
		"with a private key": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, strings.Replace(jwk, `"kty"`, `"d":"AQAB","kty"`, 1))
		},
		"redirect to http": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://keys.example/", http.StatusFound)
		},
		"hangs up": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			i.answer.Store(answer)
			v := remote(t, i.server.URL)
			rec := httptest.NewRecorder()
			req := httptest.NewRequest("GET", "/", nil)
			req.Header.Set("Authorization", "Bearer "+token)
			v.RequireAuth(http.NotFoundHandler()).ServeHTTP(rec, req)
			require.Equal(t, 503, rec.Code, "no keys to be had is not the client's fault")
			require.NotEmpty(t, rec.Header().Get("Retry-After"))
		})
	}
}

func TestJWKSURLs(t *testing.T) {
	for url, want := range map[string]string{"http://keys.example/": "not https", "": "not absolute", "/jwks": "not absolute",
		"ftp://127.0.0.1/": "not https", "http://127.0.0.1.example/": "not https", "http://localhost.example/": "not https",
		"https://user:pass@keys.example/": "credentials"} {
		_, err := signet.NewVerifier(signet.JWKS(url, nil))
		require.ErrorContains(t, err, want, url)
	}
	for _, url := range []string{"https://keys.example/", "http://localhost:1/", "http://[::1]:1/", "http://127.9.9.9:1/"} {
		v, err := signet.NewVerifier(signet.JWKS(url, &http.Client{Transport: noTransport{}}), quiet)
		require.NoError(t, err, url)
		require.NoError(t, v.Close())
	}
}

// noTransport keeps a test from reaching out.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrClosedPipe }

func TestCloseEndsTheFetching(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		v, err := signet.NewVerifier(signet.JWKS("https://keys.example/", &http.Client{Transport: noTransport{}}), quiet)
		require.NoError(t, err)
		require.NoError(t, v.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

func TestIssuersSpeakForThemselvesOnly(t *testing.T) {
	ctx := context.Background()
	a := newIssuer(t, "https://a.example", signet.Signer(p256(t)), signet.WithAudience("one"))
	b := newIssuer(t, "https://b.example", signet.Signer(rsaKey()), signet.WithAudience("two"))
	mallory := newIssuer(t, "https://a.example", signet.Signer(rsaKey()), signet.WithAudience("one")) // b's key, a's name
	v, err := signet.NewVerifier(signet.Issuers(
		signet.TrustedIssuer{Issuer: "https://a.example", Keys: signet.JWKS(a.server.URL, nil), Audience: []string{"one"}},
		signet.TrustedIssuer{Issuer: "https://b.example", Keys: signet.JWKS(b.server.URL, nil), Audience: []string{"two"},
			Algorithms: []signet.Algorithm{signet.RS256}},
	), quiet)
	require.NoError(t, err)
	defer v.Close()
	for range 2 {
		for _, i := range []*issuer{a, b} {
			_, err = v.Verify(ctx, i.token(t))
			require.NoError(t, err)
		}
		_, err = v.Verify(ctx, mallory.token(t))
		require.ErrorIs(t, err, signet.ErrInvalidToken)
	}
	fetches := a.fetches.Load() + b.fetches.Load()
	for _, name := range []string{"https://c.example", "https://a.example/", "HTTPS://a.example", ""} {
		payload := fmt.Sprintf(`{"sub":"1","iss":%q,"iat":1,"exp":9999999999}`, name)
		_, err = v.Verify(ctx, sign(`{"alg":"ES256","kid":"x","typ":"at+jwt"}`, payload))
		var e *signet.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "the token is from another issuer", e.Message, name)
	}
	require.Equal(t, fetches, a.fetches.Load()+b.fetches.Load(), "the issuer is chosen before any key is fetched")

	narrow, err := signet.NewVerifier(signet.Issuers(signet.TrustedIssuer{Issuer: "https://b.example",
		Keys: signet.PublicKey(rsaKey().Public()), Algorithms: []signet.Algorithm{signet.PS256}}))
	require.NoError(t, err)
	_, err = narrow.Verify(ctx, b.token(t))
	require.ErrorIs(t, err, signet.ErrInvalidToken, "an algorithm that this issuer may not use")
}

// What one issuer may do must not depend on what another has done with the same keys before.
func TestIssuersWithOneKeyring(t *testing.T) {
	ring, err := signet.NewKeyring(signet.Signer(rsaKey()), signet.Signer(p256(t)))
	require.NoError(t, err)
	trust := func(name string, algorithms ...signet.Algorithm) signet.TrustedIssuer {
		return signet.TrustedIssuer{Issuer: name, Keys: ring, Algorithms: algorithms}
	}
	v, err := signet.NewVerifier(signet.Issuers(trust("narrow", signet.ES256), trust("wide")))
	require.NoError(t, err)
	token := func(name string) string {
		auth, err := signet.New(newUsers(t), ring, signet.WithIssuer(name), signet.WithPasswordHasher(cheap), quiet)
		require.NoError(t, err)
		defer auth.Close()
		tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		return tokens.AccessToken
	}
	for range 2 {
		_, err = v.Verify(t.Context(), token("narrow"))
		require.ErrorIs(t, err, signet.ErrInvalidToken)
		_, err = v.Verify(t.Context(), token("wide"))
		require.NoError(t, err)
	}
}

func TestIssuersAreChecked(t *testing.T) {
	key := signet.PublicKey(p256(t).Public())
	for name, list := range map[string][]signet.TrustedIssuer{
		"empty list":     nil,
		"no name":        {{Keys: key}},
		"no keys":        {{Issuer: "a"}},
		"nested":         {{Issuer: "a", Keys: signet.Issuers(signet.TrustedIssuer{Issuer: "b", Keys: key})}},
		"twice":          {{Issuer: "a", Keys: key}, {Issuer: "a", Keys: key}},
		"bad key":        {{Issuer: "a", Keys: signet.Key{}}},
		"no audience":    {{Issuer: "a", Keys: key, Audience: []string{}}},
		"empty audience": {{Issuer: "a", Keys: key, Audience: []string{""}}},
		"unknown alg":    {{Issuer: "a", Keys: key, Algorithms: []signet.Algorithm{"none"}}},
	} {
		_, err := signet.NewVerifier(signet.Issuers(list...))
		require.Error(t, err, name)
	}
}

func TestOpenKeyring(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, ".new"), []byte(text), 0o600))
		require.NoError(t, os.Rename(filepath.Join(dir, ".new"), filepath.Join(dir, name)))
	}
	jwk := func(id string, value []byte) string {
		text, err := json.Marshal(map[string]string{"kty": "oct", "alg": "HS256", "kid": id, "k": encode(string(value))})
		require.NoError(t, err)
		return string(text)
	}
	other := []byte("b6Xw0Yt4RmKc9Jq2Lf7Vg1Hs5Nd8PzAu")
	write("1.json", jwk("old", secret))
	write(".hidden", "not a key")
	errs := make(chan error, 100)
	ring, err := signet.OpenKeyring(dir, time.Second, func(err error) { errs <- err })
	require.NoError(t, err)
	defer ring.Close()
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer auth.Close()
	require.Equal(t, "old", ring.SigningKeyID())
	require.Error(t, ring.Rotate(signet.Secret(other)), "the files decide")
	token := func() string {
		tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		return tokens.AccessToken
	}()
	become := func(ids ...string) {
		t.Helper()
		require.Eventually(t, func() bool { return fmt.Sprint(ring.KeyIDs()) == fmt.Sprint(ids) }, 20*time.Second, 10*time.Millisecond)
	}
	write("2.json", `{"keys":[`+jwk("new", other)+`]}`)
	become("old", "new")
	require.Equal(t, "old", ring.SigningKeyID(), "published before it is used")
	write("0.json", jwk("new", other))
	require.Error(t, <-errs, "one id twice: reported, and nothing changed")
	become("old", "new")
	require.NoError(t, os.Remove(filepath.Join(dir, "2.json")))
	become("new", "old")
	require.Equal(t, "new", ring.SigningKeyID())
	_, err = auth.Verify(ctx, token)
	require.NoError(t, err)
	require.NoError(t, os.Remove(filepath.Join(dir, "1.json")))
	become("new")
	_, err = auth.Verify(ctx, token)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.NoError(t, ring.Close())
	require.NoError(t, ring.Close())

	for name, path := range map[string]string{"missing": filepath.Join(dir, "nothing"), "no key": filepath.Join(dir, ".hidden"), "empty": t.TempDir()} {
		_, err = signet.OpenKeyring(path, time.Second, nil)
		require.Error(t, err, name)
	}
	_, err = signet.OpenKeyring(dir, 0, nil)
	require.ErrorContains(t, err, "interval")
}

// contextSigner is a key behind a network, that gives up when it is told to.
type contextSigner struct {
	crypto.Signer
	asked atomic.Int64
}

func (s *contextSigner) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	s.asked.Add(1)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return s.Sign(nil, digest, opts)
}

func TestContextSigner(t *testing.T) {
	signer := &contextSigner{Signer: rsaKey()}
	store := newUsers(t)
	auth, err := signet.New(store, signet.Signer(signer), signet.WithPasswordHasher(cheap), quiet)
	require.NoError(t, err)
	defer auth.Close()
	user, err := store.FindByID(t.Context(), "1")
	require.NoError(t, err)
	tokens, err := auth.IssueFor(t.Context(), user)
	require.NoError(t, err)
	require.EqualValues(t, 3, signer.asked.Load(), "one try when it was made, two tokens")
	_, err = auth.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = auth.Refresh(gone, tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err, "a failed signature changes nothing")
}

// inProcess answers requests without a network, so that a test can own the clock.
type inProcess struct {
	handler http.Handler
	down    atomic.Bool
	fetches atomic.Int64
}

func (p *inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	p.fetches.Add(1)
	if p.down.Load() {
		return nil, io.ErrClosedPipe
	}
	rec := httptest.NewRecorder()
	p.handler.ServeHTTP(rec, r)
	return rec.Result(), nil
}

func TestJWKSKeyChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := t.Context()
		ring, err := signet.NewKeyring(signet.Signer(p256(t)))
		require.NoError(t, err)
		users := newUsers(t)
		auth, err := signet.New(users, ring, signet.WithPasswordHasher(cheap), signet.WithoutSessions(), quiet)
		require.NoError(t, err)
		defer auth.Close()
		network := &inProcess{handler: auth.JWKSHandler()}
		v, err := signet.NewVerifier(signet.JWKS("https://a.example/jwks.json", &http.Client{Transport: network}), quiet)
		require.NoError(t, err)
		defer v.Close()
		user, err := users.FindByID(ctx, "1")
		require.NoError(t, err)
		verify := func() error {
			tokens, err := auth.IssueFor(ctx, user)
			require.NoError(t, err)
			_, err = v.Verify(ctx, tokens.AccessToken)
			return err
		}
		require.NoError(t, verify())

		time.Sleep(time.Minute)
		require.NoError(t, ring.Rotate(signet.Signer(p256(t))))
		before := network.fetches.Load()
		require.NoError(t, verify(), "the first token after a key change")
		require.NoError(t, verify())
		require.Equal(t, before+1, network.fetches.Load())

		require.NoError(t, ring.Rotate(signet.Signer(p256(t))))
		require.ErrorIs(t, verify(), signet.ErrInvalidToken, "one fetch in ten seconds")
		time.Sleep(11 * time.Second)
		require.NoError(t, verify())

		time.Sleep(time.Minute)
		network.down.Store(true)
		require.NoError(t, verify(), "the keys that we have serve")
		require.NoError(t, ring.Rotate(signet.Signer(p256(t))))
		require.ErrorIs(t, verify(), signet.ErrUnavailable, "a key that cannot be had is no bad token")

		network.down.Store(false)
		before = network.fetches.Load()
		time.Sleep(time.Hour)
		require.GreaterOrEqual(t, network.fetches.Load(), before+6, "fetched every ten minutes")
		before = network.fetches.Load()
		require.NoError(t, verify())
		require.Equal(t, before, network.fetches.Load())
	})
}
