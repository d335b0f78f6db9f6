package keys_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// document is an issuer's answer that a test changes.
type document struct {
	text    atomic.Value
	fetches atomic.Int64
	takes   atomic.Int64 // nanoseconds
}

func (d *document) RoundTrip(r *http.Request) (*http.Response, error) {
	d.fetches.Add(1)
	time.Sleep(time.Duration(d.takes.Load()))
	text, _ := d.text.Load().(string)
	body := io.NopCloser(strings.NewReader(text))
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: body, Request: r}, nil
}

// published is the public half of a key as a JWK, with changes: nil takes a member away.
func published(t testing.TB, k *keys.Key, changes map[string]any) string {
	t.Helper()
	set, err := keys.NewSet(nil, k)
	require.NoError(t, err)
	text, err := set.JWKS()
	require.NoError(t, err)
	var document struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(text, &document))
	for name, value := range changes {
		document.Keys[0][name] = value
		if value == nil {
			delete(document.Keys[0], name)
		}
	}
	one, err := json.Marshal(document.Keys[0])
	require.NoError(t, err)
	return string(one)
}

func setOf(members ...string) string { return `{"keys":[` + strings.Join(members, ",") + `]}` }

// fetched returns the keys of a document, and what was logged.
func fetched(t testing.TB, text string) (*keys.Set, string, error) {
	t.Helper()
	var log syncBuffer
	d := &document{}
	d.text.Store(text)
	client := &http.Client{Transport: d}
	source, err := keys.OpenURL("https://keys.example/", keys.WithClient(client), keys.WithLogger(log.logger()))
	require.NoError(t, err)
	set, err := source.Refetch(t.Context(), source.Current())
	require.NoError(t, source.Close()) // its goroutine may have fetched, and it logs when others have the keys already
	return set, log.String(), err
}

// A bad key causes a warning, and the other keys of the issuer stay usable.
func TestOddKeysAreLeftOut(t *testing.T) {
	good := keys.Private(p256(t), keys.WithID("good"))
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	require.NoError(t, err)
	n := encode(string(weak.N.Bytes()))
	smallOrder := encode("\x01" + strings.Repeat("\x00", 31))
	for name, tc := range map[string]struct {
		odd    string
		warned bool
	}{
		"a weak RSA key":      {`{"kty":"RSA","kid":"weak","n":"` + n + `","e":"AQAB"}`, true},
		"RSA without n":       {`{"kty":"RSA","e":"AQAB"}`, true},
		"RSA with an empty n": {`{"kty":"RSA","n":"","e":"AQAB"}`, true},
		"an unknown curve":    {`{"kty":"EC","crv":"BP-256","x":"AA","y":"AA"}`, true},
		"EC without a curve":  {`{"kty":"EC","x":"AA","y":"AA"}`, true},
		"off the curve": {published(t, keys.Public(p256(t).Public()),
			map[string]any{"x": encode(strings.Repeat("x", 32))}), true},
		"Ed25519 of small order":     {`{"kty":"OKP","crv":"Ed25519","x":"` + smallOrder + `"}`, true},
		"a member twice":             {`{"kty":"EC","kty":"RSA","crv":"P-256"}`, true},
		"a number for a curve":       {`{"kty":"XYZ","crv":7}`, true},
		"not an object":              {`7`, true},
		"null":                       {`null`, false},
		"an array":                   {`[]`, true},
		"for encryption":             {published(t, keys.Public(p256(t).Public()), map[string]any{"use": "enc"}), false},
		"a secret without its bytes": {`{"kty":"oct","kid":"h","alg":"A256GCM","use":"enc"}`, false},
		"private parts of null": {strings.Replace(published(t, keys.Public(p256(t).Public()), nil),
			"{", `{"d":null,"k":"",`, 1), false},
		"an unknown type":      {`{"kty":"AKP","alg":"ML-DSA-44","pub":"AA"}`, false},
		"an unknown algorithm": {published(t, keys.Public(p256(t).Public()), map[string]any{"alg": "ES256K"}), false},
		"secp256k1":            {`{"kty":"EC","crv":"secp256k1","x":"AA","y":"AA"}`, false},
		"X25519":               {`{"kty":"OKP","crv":"X25519","x":"AA"}`, false},
		"another curve's alg":  {published(t, keys.Public(p256(t).Public()), map[string]any{"alg": "ES384"}), true},
		"a very long id": {published(t, keys.Public(p256(t).Public()),
			map[string]any{"kid": strings.Repeat("x", 300)}), true},
		"only for signing": {published(t, keys.Public(p256(t).Public()),
			map[string]any{"key_ops": []string{"sign"}}), false},
		"a broken certificate": {published(t, keys.Public(p256(t).Public()),
			map[string]any{"x5c": []string{"%"}}), true},
		"the same key once more":   {published(t, good, nil), false},
		"an id that is a number":   {published(t, keys.Public(p256(t).Public()), map[string]any{"kid": 7}), true},
		"use that is no text":      {published(t, keys.Public(p256(t).Public()), map[string]any{"use": 7}), true},
		"an alg that is no text":   {published(t, keys.Public(p256(t).Public()), map[string]any{"alg": 7}), true},
		"members that are null":    {`{"kty":null,"crv":null}`, false},
		"an exponent of one":       {`{"kty":"RSA","n":"` + encode(string(rsaKey().N.Bytes())) + `","e":"AQ"}`, true},
		"nested too deeply inside": {`{"kty":"XYZ","x":` + strings.Repeat("[", 40) + strings.Repeat("]", 40) + `}`, false},
	} {
		for order, text := range map[string]string{"before": setOf(tc.odd, published(t, good, nil)),
			"behind": setOf(published(t, good, nil), tc.odd)} {
			t.Run(name+", "+order, func(t *testing.T) {
				set, log, err := fetched(t, text)
				require.NoError(t, err)
				require.Contains(t, set.IDs(), "good")
				found, known := set.Find("good", keys.ES256, nil)
				require.True(t, known)
				require.True(t, verifies(t, good, found[0]))
				if tc.warned && name != "a broken certificate" {
					require.Equal(t, []string{"good"}, set.IDs())
					require.Contains(t, log, "is left out")
				}
			})
		}
	}
}

func TestDocumentsThatAreRefused(t *testing.T) {
	good := published(t, keys.Private(p256(t)), nil)
	for name, text := range map[string]string{
		"nothing": "", "HTML": "<html>", "an array": "[" + good + "]", "no keys": "{}",
		"keys of another type":   `{"keys":{}}`,
		"null":                   "null",
		"keys twice":             `{"keys":[` + good + `],"keys":[]}`,
		"keys in other case":     `{"KEYS":[` + good + `]}`,
		"keys of no kind":        `{"keys":null}`,
		"a secret of no type":    setOf(good, `{"kty":1,"k":"`+encode(string(secret))+`"}`),
		"a secret of two types":  setOf(good, `{"kty":"oct","kty":"EC","k":"`+encode(string(secret))+`"}`),
		"a prime":                strings.Replace(setOf(good), `"kty"`, `"P":"AQAB","kty"`, 1),
		"a private part, odd":    setOf(good, `{"kty":1,"crv":"Ed25519","D":"AQAB"}`),
		"a secret":               setOf(good, `{"kty":"oct","k":"`+encode(string(secret))+`"}`),
		"a private key":          setOf(strings.Replace(good, "{", `{"d":"AQAB",`, 1)),
		"a private AKP key":      setOf(good, `{"kty":"AKP","alg":"ML-DSA-44","priv":"`+encode(string(secret))+`"}`),
		"a secret in other case": setOf(good, `{"KTY":"oct","k":"`+encode(string(secret))+`"}`),
	} {
		_, _, err := fetched(t, text)
		require.Error(t, err, name)
		require.NotContains(t, err.Error(), encode(string(secret)), name)
	}
}

func TestKeysWithoutAnAlgorithm(t *testing.T) {
	private := func(algorithm keys.Algorithm) *keys.Key {
		return keys.Private(rsaKey(), keys.WithAlgorithm(algorithm))
	}
	set, _, err := fetched(t, setOf(published(t, private(keys.RS256), map[string]any{"alg": nil, "kid": "a"}),
		published(t, private(keys.RS256), map[string]any{"alg": "RS256", "kid": "b"}),
		published(t, private(keys.PS256), map[string]any{"kid": "b"}),
		published(t, keys.Private(p256(t)), map[string]any{"alg": nil, "kid": "c"})))
	require.NoError(t, err)
	_, known := set.Find("a", keys.PS256, nil)
	require.True(t, known, "a newer set does not help: the host has to allow the algorithm")
	_, known = set.Find("a", keys.ES256, nil)
	require.False(t, known, "the issuer may have put another key under this id")
	for _, tc := range []struct {
		id        string
		algorithm keys.Algorithm
		allowed   []keys.Algorithm
		want      bool
	}{
		{"a", keys.RS256, nil, true}, {"a", keys.PS256, nil, false}, {"a", keys.PS256, []keys.Algorithm{keys.PS256}, true},
		{"a", keys.RS256, []keys.Algorithm{keys.PS256}, false},
		{"a", keys.RS512, []keys.Algorithm{keys.RS256, keys.RS512}, true},
		{"a", keys.HS256, []keys.Algorithm{keys.HS256}, false}, {"a", keys.ES256, []keys.Algorithm{keys.ES256}, false},
		{"b", keys.RS256, nil, true}, {"b", keys.PS256, nil, true}, {"b", keys.PS512, []keys.Algorithm{keys.PS512}, false},
		{"c", keys.ES256, nil, true}, {"c", keys.ES384, []keys.Algorithm{keys.ES384}, false},
	} {
		found, _ := set.Find(tc.id, tc.algorithm, tc.allowed)
		require.Equal(t, tc.want, len(found) == 1, "%v", tc)
		if tc.want && tc.id != "c" {
			require.True(t, verifies(t, private(tc.algorithm), found[0]), "%v", tc)
		}
	}
}

func TestKeysWithoutIDs(t *testing.T) {
	var members []string
	signers := map[keys.Algorithm][]*keys.Key{}
	for range 6 {
		k := keys.Private(p256(t))
		signers[keys.ES256] = append(signers[keys.ES256], k)
		members = append(members, published(t, k, map[string]any{"kid": nil}))
	}
	set, _, err := fetched(t, setOf(members...))
	require.NoError(t, err)
	found, known := set.Find("", keys.ES256, nil)
	require.True(t, known)
	require.Len(t, found, 4, "at most four are tried")
	_, known = set.Find("", keys.RS256, nil)
	require.False(t, known, "there may be one in a newer set")
	for _, algorithm := range []keys.Algorithm{"none", "", keys.HS256} {
		found, known = set.Find("another", algorithm, nil)
		require.True(t, known && len(found) == 0, "no newer set of public keys has one for %q", algorithm)
	}
}

// RFC 9864 calls EdDSA with the curve Ed25519 "Ed25519".
func TestEd25519IsEdDSA(t *testing.T) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	require.NoError(t, err)
	k := keys.Private(private)
	set, _, err := fetched(t, setOf(published(t, k, map[string]any{"alg": "Ed25519", "kid": "x"})))
	require.NoError(t, err)
	found, _ := set.Find("x", keys.EdDSA, nil)
	require.Len(t, found, 1)
	require.True(t, verifies(t, k, found[0]))
}

// A key that the issuer has removed from its document is refused, even if the other keys of the document are bad.
func TestAWithdrawnKeyIsWithdrawn(t *testing.T) {
	old, next := keys.Private(p256(t), keys.WithID("old")), keys.Private(p256(t), keys.WithID("next"))
	for name, text := range map[string]string{
		"nothing is left":             setOf(),
		"a new key beside a weak one": setOf(published(t, next, nil), `{"kty":"RSA","n":"AQAB","e":"AQAB"}`),
		"only weak ones":              setOf(`{"kty":"RSA","n":"AQAB","e":"AQAB"}`),
	} {
		synctest.Test(t, func(t *testing.T) {
			d := &document{}
			d.text.Store(setOf(published(t, old, nil)))
			source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: d}), silent)
			require.NoError(t, err)
			defer source.Close()
			synctest.Wait()
			require.Equal(t, []string{"old"}, source.Current().IDs())
			d.text.Store(text)
			time.Sleep(11 * time.Minute)
			require.NotContains(t, source.Current().IDs(), "old", name)
			require.NotNil(t, source.Current(), name)
			d.text.Store("<html>")
			time.Sleep(11 * time.Minute)
			require.NotNil(t, source.Current(), "an answer that is no document changes nothing")
		})
	}
}

func TestUnknownKeysHaveABudgetOfFetches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &document{}
		d.text.Store(setOf(published(t, keys.Private(p256(t), keys.WithID("one")), nil)))
		source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: d}), silent)
		require.NoError(t, err)
		defer source.Close()
		synctest.Wait()
		time.Sleep(time.Minute)
		before := d.fetches.Load()
		for i := range 20 {
			time.Sleep(time.Millisecond)
			_, err := source.Refetch(t.Context(), source.Current())
			if i < 5 {
				require.NoError(t, err)
			} else {
				require.ErrorIs(t, err, keys.ErrTooSoon)
			}
		}
		require.Equal(t, before+5, d.fetches.Load())
		time.Sleep(10 * time.Second)
		_, err = source.Refetch(t.Context(), source.Current())
		require.NoError(t, err, "one more every ten seconds")
		time.Sleep(time.Millisecond)
		_, err = source.Refetch(t.Context(), source.Current())
		require.ErrorIs(t, err, keys.ErrTooSoon)

		for i := range 10 { // real key changes do not use the budget up
			time.Sleep(10 * time.Second)
			d.text.Store(setOf(published(t, keys.Private(p256(t), keys.WithID(fmt.Sprint(i))), nil)))
			set, err := source.Refetch(t.Context(), source.Current())
			require.NoError(t, err)
			require.Equal(t, []string{fmt.Sprint(i)}, set.IDs())
		}
		time.Sleep(time.Hour)
		before = d.fetches.Load()
		d.takes.Store(int64(50 * time.Millisecond))
		var wg sync.WaitGroup
		for range 500 {
			wg.Go(func() {
				if _, err := source.Refetch(context.Background(), source.Current()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.LessOrEqual(t, d.fetches.Load(), before+2, "calls at the same time share a fetch")
	})
}

func TestPlainHTTP(t *testing.T) {
	_, err := keys.OpenURL("http://keycloak:8080/certs")
	require.ErrorContains(t, err, "not https")
	d := &document{}
	d.text.Store(setOf(published(t, keys.Private(p256(t), keys.WithID("x")), nil)))
	client := &http.Client{Transport: d}
	source, err := keys.OpenURL("http://keycloak:8080/certs", keys.WithInsecureHTTP(), keys.WithClient(client), silent)
	require.NoError(t, err)
	defer source.Close()
	set, err := source.Refetch(t.Context(), source.Current())
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, set.IDs())
	for _, address := range []string{"ftp://keycloak/", "http://user:x@keycloak/", "keycloak:8080", ""} {
		_, err = keys.OpenURL(address, keys.WithInsecureHTTP())
		require.Error(t, err, address)
	}
}

// issuerSite serves metadata and keys.
type issuerSite struct {
	*httptest.Server
	metadata atomic.Value // by path
	key      crypto.Signer
}

func newIssuerSite(t *testing.T) *issuerSite {
	site := &issuerSite{key: p256(t)}
	site.metadata.Store(map[string]string{})
	keySet := setOf(published(t, keys.Private(site.key, keys.WithID("x")), nil))
	site.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := site.metadata.Load().(map[string]string)[r.URL.EscapedPath()]
		switch {
		case ok:
			io.WriteString(w, strings.ReplaceAll(text, "SITE", site.URL))
		case r.URL.Path == "/keys":
			io.WriteString(w, keySet)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)
	return site
}

func TestDiscover(t *testing.T) {
	const oidc, oauth = "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"
	for name, tc := range map[string]struct {
		issuer   string // behind the site's URL
		path     string
		metadata string
		want     string // of the error
	}{
		"OpenID Connect": {"", oidc, `{"issuer":"SITE","jwks_uri":"SITE/keys"}`, ""},
		"with a path": {"/realms/shop", "/realms/shop" + oidc,
			`{"issuer":"SITE/realms/shop","jwks_uri":"SITE/keys","more":{}}`, ""},
		"with a trailing slash":  {"/", oidc, `{"issuer":"SITE/","jwks_uri":"SITE/keys"}`, ""},
		"RFC 8414":               {"", oauth, `{"issuer":"SITE","jwks_uri":"SITE/keys"}`, ""},
		"RFC 8414 with a path":   {"/tenant", oauth + "/tenant", `{"issuer":"SITE/tenant","jwks_uri":"SITE/keys"}`, ""},
		"RFC 8414 with %2F":      {"/a%2Fb", oauth + "/a%2Fb", `{"issuer":"SITE/a%2Fb","jwks_uri":"SITE/keys"}`, ""},
		"RFC 8414 with %2F last": {"/a%2F", oauth + "/a%2F", `{"issuer":"SITE/a%2F","jwks_uri":"SITE/keys"}`, ""},
		"names in capitals":      {"", oidc, `{"issuer":"SITE","jwks_uri":"SITE/keys","ISSUER":"x","JWKS_URI":1}`, ""},
		"another issuer":         {"", oidc, `{"issuer":"https://evil.example","jwks_uri":"SITE/keys"}`, "another issuer"},
		"a slash more":           {"", oidc, `{"issuer":"SITE/","jwks_uri":"SITE/keys"}`, "another issuer"},
		"no issuer":              {"", oidc, `{"jwks_uri":"SITE/keys"}`, "another issuer"},
		"no keys":                {"", oidc, `{"issuer":"SITE"}`, "jwks_uri"},
		"keys on another scheme": {"", oidc, `{"issuer":"SITE","jwks_uri":"file:///etc/passwd"}`, "jwks_uri"},
		"keys on plain http":     {"", oidc, `{"issuer":"SITE","jwks_uri":"http://keys.example/"}`, "jwks_uri"},
		"not JSON":               {"", oidc, `<html>`, "not a JSON object"},
		"nothing there":          {"", "/elsewhere", `{}`, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			site := newIssuerSite(t)
			site.metadata.Store(map[string]string{tc.path: tc.metadata})
			source, err := keys.Discover(site.URL+tc.issuer, silent)
			require.NoError(t, err)
			defer source.Close()
			set, err := source.Refetch(t.Context(), source.Current())
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			require.Equal(t, []string{"x"}, set.IDs())
		})
	}
	for _, issuer := range []string{"", "shop", "http://issuer.example", "https://user:x@issuer.example",
		"https://issuer.example?x=1", "https://issuer.example/?", "https://issuer.example/#a",
		"https://issuer.example/.well-known/openid-configuration"} {
		_, err := keys.Discover(issuer)
		require.ErrorContains(t, err, "keys.Discover", issuer)
	}
}

// What a program writes as null, or as empty, is absent.
func TestAbsentMembersOfAPublishedKey(t *testing.T) {
	key := keys.Private(rsaKey(), keys.WithID("r"))
	for _, absent := range []string{`"d":null`, `"d":""`, `"oth":[]`, `"use":null,"key_ops":null,"x5c":null`, `"use":"jwt-svid"`} {
		text := strings.Replace(published(t, key, map[string]any{"use": nil}), `,"use":null`, "", 1)
		list, err := keys.ParseSet([]byte(setOf(strings.Replace(text, "{", "{"+absent+",", 1))))
		require.NoError(t, err, absent)
		require.Equal(t, "r", list[0].ID())
		require.False(t, list[0].CanSign())
	}
}

// The names of members are case-sensitive (RFC 7517 section 4), for each way to read a key.
func TestMembersWithNamesInCapitals(t *testing.T) {
	key := keys.Private(p256(t), keys.WithID("x"))
	text := published(t, key, map[string]any{"ALG": "none", "Kty": "x", "Crv": 1})
	require.NoError(t, keys.JWK([]byte(text)).Err())
	list, err := keys.ParseSet([]byte(setOf(text)))
	require.NoError(t, err)
	require.True(t, list[0].Equal(keys.JWK([]byte(text))))
	set, log, err := fetched(t, setOf(text))
	require.NoError(t, err)
	require.Equal(t, []string{"x"}, set.IDs())
	require.Empty(t, log)
}

// A key of the host's own that is missing by a typo would go unnoticed.
func TestATypoInTheHostsOwnSet(t *testing.T) {
	set := func(alg string) string {
		return setOf(published(t, keys.Public(p256(t).Public()), map[string]any{"alg": alg, "kid": "next"}), published(t, keys.Private(p256(t)), nil))
	}
	for alg, known := range map[string]bool{"es256": false, "ES265": false, "ES256K": true, "ECDH-ES+A128KW": true, "RSA-OAEP-256": true, "dir": true} {
		list, err := keys.ParseSet([]byte(set(alg)))
		if known {
			require.NoError(t, err, alg)
			require.Len(t, list, 1, alg)
		} else {
			require.ErrorContains(t, err, alg)
		}
	}
	for _, other := range []string{`{"kty":"OKP","crv":"X25519","x":"AA","use":"enc","alg":"ECDH-1PU+A256KW"}`, `{"kty":"oct","k":"AA","use":"enc","alg":"C20PKW"}`,
		`{"kty":"EC","crv":"P-256","x":"AA","y":"AA","use":"enc","alg":"HPKE-0"}`, `{"kty":"AKP","pub":"AA","alg":"ML-DSA-44"}`,
		`{"kty":"oct","k":"AA","key_ops":["wrapKey","unwrapKey"],"alg":"C20PKW"}`, `{"kty":"X","alg":"X1"}`} {
		list, err := keys.ParseSet([]byte(setOf(other, published(t, keys.Private(p256(t)), nil))))
		require.NoError(t, err, other)
		require.Len(t, list, 1, other)
	}
}
