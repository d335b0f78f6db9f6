package bench

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// foreignAlgs are the algorithms that most other issuers sign with.
var foreignAlgs = []string{"RS256", "ES256"}

// foreignSides are the ways to read one token: as signet's own, as that of the only trusted issuer, and as that of one in
// ten. With several issuers the claim "iss" is read first, to choose the keys.
var foreignSides = []struct {
	name string
	make func(tb testing.TB, k *keyPair) *signet.Verifier
}{
	{"own", func(tb testing.TB, k *keyPair) *signet.Verifier {
		v, err := signet.NewVerifier(signetKey(k), signet.WithIssuer(issuer), signet.WithAudience(audience),
			signet.WithTokenCache(0))
		if err != nil {
			tb.Fatal(err)
		}
		return v
	}},
	{"foreign", func(tb testing.TB, k *keyPair) *signet.Verifier { return foreignVerifier(tb, k, 1) }},
	{"foreign-of-ten", func(tb testing.TB, k *keyPair) *signet.Verifier { return foreignVerifier(tb, k, 10) }},
}

// foreignVerifier trusts n issuers. The last one signs the tokens, and its keys come from a JWK Set.
func foreignVerifier(tb testing.TB, k *keyPair, n int) *signet.Verifier {
	set, err := keys.NewSet(signetKey(k))
	if err != nil {
		tb.Fatal(err)
	}
	document, err := set.JWKS()
	if err != nil {
		tb.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write(document) }))
	tb.Cleanup(server.Close)
	source, err := keys.OpenURL(server.URL)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { source.Close() })
	if _, err := source.Refetch(context.Background(), nil); err != nil { // the measurement begins with the keys at hand
		tb.Fatal(err)
	}
	var trusted []signet.TrustedIssuer
	for i := range n {
		name := issuer
		if i < n-1 {
			name = fmt.Sprintf("https://issuer-%d.example", i)
		}
		trusted = append(trusted, signet.TrustedIssuer{Issuer: name, Keys: source, Audience: []string{audience}})
	}
	v, err := signet.NewIssuersVerifier(trusted, signet.WithTokenCache(0))
	if err != nil {
		tb.Fatal(err)
	}
	return v
}

// BenchmarkForeign compares a token of another issuer with the same token, read as signet's own. There is no cache, and the
// tokens are those of the cold path. The rules for other issuers should cost at most 30 % more time.
func BenchmarkForeign(b *testing.B) {
	for _, alg := range foreignAlgs {
		b.Run(alg, func(b *testing.B) {
			c, err := corpora[alg]()
			if err != nil {
				b.Fatal(err)
			}
			rs, err := requests(c.tokens)
			if err != nil {
				b.Fatal(err)
			}
			for _, side := range foreignSides {
				b.Run(side.name, func(b *testing.B) {
					guard := side.make(b, c.keys).RequireAuth(empty)
					var w sink
					i := 0
					b.ReportAllocs()
					for b.Loop() {
						guard.ServeHTTP(&w, rs[i])
						if i++; i == len(rs) {
							i = 0
						}
					}
					check(b, w.passed, w.others)
				})
			}
		})
	}
}

// A side that reads less than the others would win without a reason.
func TestEverySideReadsTheSame(t *testing.T) {
	for _, alg := range foreignAlgs {
		k, err := newKeys(alg)
		if err != nil {
			t.Fatal(err)
		}
		token, expired := mustToken(t, k, time.Now()), mustToken(t, k, time.Now().Add(-lifetime-time.Hour))
		var want *signet.Claims
		for _, side := range foreignSides {
			t.Run(alg+"/"+side.name, func(t *testing.T) {
				v := side.make(t, k)
				got, err := v.Verify(t.Context(), token)
				if err != nil {
					t.Fatal(err)
				}
				if want == nil {
					want = got
				}
				if got.Subject != want.Subject || got.Issuer != want.Issuer || !got.ExpiresAt.Equal(want.ExpiresAt) ||
					got.ID != want.ID || !slices.Equal(got.Roles, want.Roles) || !slices.Equal(got.Audience, want.Audience) {
					t.Errorf("claims %+v, want %+v", got, want)
				}
				for _, bad := range []string{flipped(token), expired} {
					if _, err := v.Verify(t.Context(), bad); !errors.Is(err, signet.ErrInvalidToken) {
						t.Errorf("a bad token is answered %v", err)
					}
				}
			})
		}
	}
}
