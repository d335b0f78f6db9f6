package signet_test

import (
	"context"
	"crypto"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// issuer is a login service whose keys are served over HTTP.
type issuer struct {
	*signet.Auth
	ring    *keys.Ring
	server  *httptest.Server
	fetches atomic.Int64
	answer  atomic.Value // an http.HandlerFunc that answers in place of the keys
}

func newIssuer(t testing.TB, name string, key *keys.Key, opts ...signet.Option) *issuer {
	t.Helper()
	ring, err := keys.NewRing(key)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, append([]signet.Option{signet.WithPasswordHasher(cheap), signet.WithIssuer(name)}, opts...)...)
	require.NoError(t, err)
	i := &issuer{Auth: auth, ring: ring}
	document := auth.JWKSHandler()
	i.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.fetches.Add(1)
		if answer, ok := i.answer.Load().(http.HandlerFunc); ok && answer != nil {
			answer(w, r)
			return
		}
		document.ServeHTTP(w, r)
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

var (
	quiet  = signet.WithLogger(slog.New(slog.DiscardHandler))
	silent = keys.WithLogger(slog.New(slog.DiscardHandler))
)

func remote(t testing.TB, url string, opts ...signet.VerifierOption) *signet.Verifier {
	t.Helper()
	v, err := signet.NewVerifier(open(t, url), append(opts, quiet)...)
	require.NoError(t, err)
	return v
}

// open follows the keys at a URL until the test ends.
func open(t testing.TB, url string, opts ...keys.RemoteOption) *keys.Remote {
	t.Helper()
	source, err := keys.OpenURL(url, append(opts, silent)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, source.Close()) })
	return source
}

func TestJWKSVerifies(t *testing.T) {
	i := newIssuer(t, "https://a.example", keys.Private(p256(t)))
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
	i := newIssuer(t, "https://a.example", keys.Private(p256(t)))
	v := remote(t, i.server.URL)
	_, err := v.Verify(context.Background(), i.token(t))
	require.NoError(t, err)
	unknown, later, began := 0, 0, time.Now()
	for range 30 {
		stranger := newIssuer(t, "https://a.example", keys.Private(p256(t)))
		_, err := v.Verify(context.Background(), stranger.token(t))
		switch {
		case errors.Is(err, signet.ErrInvalidToken):
			unknown++
		case errors.Is(err, signet.ErrUnavailable):
			later++
		}
		_, err = v.Verify(context.Background(), i.token(t))
		require.NoError(t, err, "tokens of known keys notice nothing")
	}
	require.Equal(t, 30, unknown+later)
	earned := int(time.Since(began) / (10 * time.Second)) // on a slow machine the budget grows meanwhile
	require.GreaterOrEqual(t, unknown, 4, "the issuer was asked, and does not know the key")
	require.LessOrEqual(t, unknown, 5+earned)
	require.LessOrEqual(t, int(i.fetches.Load()), 6+earned, "strangers have a budget")
}

// Strangers use up the budget. The clients of a retired key still learn that they must refresh.
func TestTheClientsOfARetiredKeyAreNotKeptWaiting(t *testing.T) {
	i := newIssuer(t, "https://a.example", keys.Private(p256(t)))
	v := remote(t, i.server.URL)
	retired := newIssuer(t, "https://a.example", keys.Private(p256(t))).token(t)
	_, err := v.Verify(t.Context(), retired)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	refused := error(nil)
	for range 10 {
		_, refused = v.Verify(t.Context(), newIssuer(t, "https://a.example", keys.Private(p256(t))).token(t))
	}
	require.ErrorIs(t, refused, signet.ErrUnavailable, "the budget is spent")
	for range 10 {
		_, err := v.Verify(t.Context(), retired)
		require.ErrorIs(t, err, signet.ErrInvalidToken)
	}
}

func TestJWKSServesFromTheLastGoodSet(t *testing.T) {
	i := newIssuer(t, "https://a.example", keys.Private(p256(t)))
	v := remote(t, i.server.URL)
	token := i.token(t)
	_, err := v.Verify(context.Background(), token)
	require.NoError(t, err)
	i.server.Close()
	_, err = v.Verify(context.Background(), i.token(t))
	require.NoError(t, err)
}

func TestJWKSNeverHad(t *testing.T) {
	i := newIssuer(t, "https://a.example", keys.Private(p256(t)))
	token := i.token(t)
	jwk := func() string {
		rec := httptest.NewRecorder()
		i.JWKSHandler().ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		return rec.Body.String()
	}()
	oct := `{"kty":"oct","k":"` + encode(string(secret)) + `"}`
	for name, answer := range map[string]http.HandlerFunc{
		"500":           func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) },
		"not JSON":      func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "<html>") },
		"an empty body": func(http.ResponseWriter, *http.Request) {},
		"no usable key": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}`)
		},
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
			require.Equal(t, 503, rec.Code, "missing keys are not the client's fault")
			require.NotEmpty(t, rec.Header().Get("Retry-After"))
		})
	}
}

func TestIssuersSpeakForThemselvesOnly(t *testing.T) {
	ctx := context.Background()
	a := newIssuer(t, "https://a.example", keys.Private(p256(t)), signet.WithAudience("one"))
	b := newIssuer(t, "https://b.example", keys.Private(rsaKey()), signet.WithAudience("two"))
	mallory := newIssuer(t, "https://a.example", keys.Private(rsaKey()), signet.WithAudience("one")) // b's key, a's name
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{
		{Issuer: "https://a.example", Keys: open(t, a.server.URL), Audience: []string{"one"}},
		{Issuer: "https://b.example", Keys: open(t, b.server.URL), Audience: []string{"two"}, Algorithms: []keys.Algorithm{keys.RS256}},
	}, quiet)
	require.NoError(t, err)
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
		require.Equal(t, "the token is from another issuer", e.Message(), name)
	}
	require.Equal(t, fetches, a.fetches.Load()+b.fetches.Load(), "the issuer is chosen before any key is fetched")

	narrow, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{{Issuer: "https://b.example",
		Keys: keys.Public(rsaKey().Public()), Algorithms: []keys.Algorithm{keys.PS256}}})
	require.NoError(t, err)
	_, err = narrow.Verify(ctx, b.token(t))
	require.ErrorIs(t, err, signet.ErrInvalidToken, "an algorithm that this issuer may not use")
}

// What one issuer may do must not depend on what another one did before with the same keys.
func TestIssuersWithOneKeyring(t *testing.T) {
	ring, err := keys.NewRing(keys.Private(rsaKey()), keys.Private(p256(t)))
	require.NoError(t, err)
	trust := func(name string, algorithms ...keys.Algorithm) signet.TrustedIssuer {
		return signet.TrustedIssuer{Issuer: name, Keys: ring, Algorithms: algorithms}
	}
	v, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{trust("narrow", keys.ES256), trust("wide")})
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
	key := keys.Public(p256(t).Public())
	for name, list := range map[string][]signet.TrustedIssuer{
		"empty list":     nil,
		"no name":        {{Keys: key}},
		"no keys":        {{Issuer: "a"}},
		"nil ring":       {{Issuer: "a", Keys: (*keys.Ring)(nil)}},
		"twice":          {{Issuer: "a", Keys: key}, {Issuer: "a", Keys: key}},
		"bad key":        {{Issuer: "a", Keys: &keys.Key{}}},
		"no audience":    {{Issuer: "a", Keys: key, Audience: []string{}}},
		"empty audience": {{Issuer: "a", Keys: key, Audience: []string{""}}},
		"unknown alg":    {{Issuer: "a", Keys: key, Algorithms: []keys.Algorithm{"none"}}},
	} {
		_, err := signet.NewIssuersVerifier(list)
		require.Error(t, err, name)
	}
}

// contextSigner is a key on another machine. It gives up when its context ends.
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
	auth, err := signet.New(store, keys.Private(signer), signet.WithPasswordHasher(cheap), quiet)
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

// inProcess answers requests without a network, so that a test can control the clock.
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
		ring, err := keys.NewRing(keys.Private(p256(t)))
		require.NoError(t, err)
		users := newUsers(t)
		auth, err := signet.New(users, ring, signet.WithPasswordHasher(cheap), signet.WithoutSessions(), quiet)
		require.NoError(t, err)
		defer auth.Close()
		network := &inProcess{handler: auth.JWKSHandler()}
		source, err := keys.OpenURL("https://a.example/jwks.json", keys.WithClient(&http.Client{Transport: network}), silent)
		require.NoError(t, err)
		defer source.Close()
		v, err := signet.NewVerifier(source, quiet)
		require.NoError(t, err)
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
		require.NoError(t, ring.Rotate(keys.Private(p256(t))))
		before := network.fetches.Load()
		require.NoError(t, verify(), "the first token after a key change")
		require.NoError(t, verify())
		require.Equal(t, before+1, network.fetches.Load())

		require.NoError(t, ring.Rotate(keys.Private(p256(t))))
		require.NoError(t, verify(), "never 401, however soon the next change comes")

		time.Sleep(time.Minute)
		network.down.Store(true)
		require.NoError(t, verify(), "the keys that we have serve")
		require.NoError(t, ring.Rotate(keys.Private(p256(t))))
		require.ErrorIs(t, verify(), signet.ErrUnavailable, "a key that is not available makes no token bad")

		network.down.Store(false)
		before = network.fetches.Load()
		time.Sleep(time.Hour)
		require.GreaterOrEqual(t, network.fetches.Load(), before+6, "fetched every ten minutes")
		before = network.fetches.Load()
		require.NoError(t, verify())
		require.Equal(t, before, network.fetches.Load())
	})
}
