package bench

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	golangjwt "github.com/golang-jwt/jwt/v5"
)

// The benchmark of a guard that lets everything pass, or refuses everything, would be a lie.
func TestEveryPeerAcceptsAndRefuses(t *testing.T) {
	for _, alg := range algs {
		k, err := newKeys(alg)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		valid := mustToken(t, k, now)
		// One guard gets all tokens in this order, so that a cache has every chance to confuse them.
		cases := []struct {
			name, token string
			passes      bool
		}{
			{"valid", valid, true},
			{"valid again", valid, true},
			{"flipped signature", flipped(valid), false},
			{"expired", mustToken(t, k, now.Add(-lifetime-time.Hour)), false},
			{"another", mustToken(t, k, now), true},
		}
		var tokens []string
		for _, c := range cases {
			tokens = append(tokens, c.token)
		}
		for _, l := range libs {
			if !l.supports(alg) {
				continue
			}
			t.Run(alg+"/"+l.name, func(t *testing.T) {
				send := sender(t, l, k, tokens)
				for i, c := range cases {
					if KindOf(l.name) == Floor && c.name == "expired" {
						continue // a floor checks no claim
					}
					if passed := send(i); passed != c.passes {
						t.Errorf("%s: passed is %t, want %t", c.name, passed, c.passes)
					}
				}
			})
		}
	}
}

// sender returns a function that reports whether token i reaches the handler. It fails if the status does not fit that.
func sender(t *testing.T, l lib, k *keyPair, tokens []string) func(i int) bool {
	t.Helper()
	if l.alone != nil {
		verify, err := l.alone(k, tokens)
		if err != nil {
			t.Fatal(err)
		}
		return verify
	}
	count := 0
	h, err := l.require(k, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		count++
		w.WriteHeader(http.StatusOK)
	}))
	if err != nil {
		t.Fatal(err)
	}
	rs, err := requests(tokens)
	if err != nil {
		t.Fatal(err)
	}
	return func(i int) bool {
		before, w := count, httptest.NewRecorder()
		h.ServeHTTP(w, rs[i])
		switch arrivals := count - before; {
		case arrivals == 1 && w.Code == http.StatusOK:
			return true
		case arrivals == 0 && w.Code == http.StatusUnauthorized:
			return false
		default:
			t.Fatalf("status %d with the handler reached %d times", w.Code, arrivals)
			return false
		}
	}
}

func TestEverySignerSigns(t *testing.T) {
	for _, alg := range algs {
		k, err := newKeys(alg)
		if err != nil {
			t.Fatal(err)
		}
		parser := golangjwt.NewParser(golangjwt.WithValidMethods([]string{alg}), golangjwt.WithExpirationRequired(),
			golangjwt.WithIssuer(issuer), golangjwt.WithAudience(audience), golangjwt.WithSubject("1"), golangjwt.WithIssuedAt())
		for _, s := range signers {
			t.Run(alg+"/"+s.name, func(t *testing.T) {
				issue, err := s.make(k)
				if err != nil {
					t.Fatal(err)
				}
				token, err := issue()
				if err != nil {
					t.Fatal(err)
				}
				parsed, err := parser.Parse(token, func(*golangjwt.Token) (any, error) { return k.verifyKey(), nil })
				if err != nil {
					t.Fatal(err)
				}
				if kid := parsed.Header["kid"]; kid != k.kid {
					t.Errorf("kid %v, want %s", kid, k.kid)
				}
				if got := len(parsed.Claims.(golangjwt.MapClaims)); got != 8 {
					t.Errorf("%d claims, want 8: %v", got, parsed.Claims)
				}
			})
		}
	}
}

func mustToken(t *testing.T, k *keyPair, issued time.Time) string {
	t.Helper()
	token, err := k.token(newClaims(issued))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// flipped changes a character inside the signature. It keeps the last one, because a lenient decoder ignores some of its
// bits.
func flipped(token string) string {
	b := []byte(token)
	at := len(b) - 20
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}
