package signet

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/strictjson"
)

// Claims are what a verified token says. Those that signet hands out belong to the caller.
type Claims struct {
	Subject   string    // "sub": the user's id; never empty
	Issuer    string    // "iss"
	Audience  []string  // "aud"
	ID        string    // "jti": this token's own id
	SessionID string    // "sid": the session that a login made; empty without sessions
	Roles     []string  // "roles" (RFC 9068 section 2.2.3.1)
	Scopes    []string  // "scope" (RFC 8693 section 4.2), split at its spaces
	IssuedAt  time.Time // "iat"
	NotBefore time.Time // "nbf"; zero if absent
	ExpiresAt time.Time // "exp"

	generation  int64        // "gen": of the refresh token that this one is, or came with
	noted       *atomic.Bool // whether the proof that generation is was told; nil without one
	sessionHash uint64       // of SessionID, for the set of revoked sessions
	has         seen         // the required claims that were present
	payload     string       // the whole payload, for CustomClaims
	from        *issuer      // who made the token
	keys        *keySet      // what verified it
}

// seen tells an absent claim from a zero one.
type seen struct{ exp, iat, nbf bool }

// HasRole reports whether the subject has any of the roles.
func (c *Claims) HasRole(anyOf ...string) bool {
	return slices.ContainsFunc(anyOf, func(role string) bool { return slices.Contains(c.Roles, role) })
}

// HasScope reports whether the token carries all of the scopes.
func (c *Claims) HasScope(allOf ...string) bool {
	return !slices.ContainsFunc(allOf, func(scope string) bool { return !slices.Contains(c.Scopes, scope) })
}

// clone gives a caller claims of its own: the verified ones are shared between requests.
func (c *Claims) clone() *Claims {
	own := *c
	own.Audience = slices.Clone(c.Audience)
	own.Roles = slices.Clone(c.Roles)
	own.Scopes = slices.Clone(c.Scopes)
	return &own
}

// CustomClaims decodes the payload of a verified token into T, usually a struct with json tags for the claims that
// WithClaims adds. It returns an error when a claim has another type than T's field.
func CustomClaims[T any](c *Claims) (T, error) {
	var custom T
	if err := json.Unmarshal([]byte(c.payload), &custom); err != nil {
		return custom, fmt.Errorf("signet: decode custom claims: %w", err)
	}
	return custom, nil
}

// Subject returns the id of the signed-in user, "" when nobody is signed in: outside RequireAuth, or in a request that
// OptionalAuth let pass without a token.
func Subject(ctx context.Context) string {
	if c := sharedClaims(ctx); c != nil {
		return c.Subject
	}
	return ""
}

// ClaimsFromContext returns a copy of the claims that RequireAuth, RequireRole, RequireScope or OptionalAuth verified,
// and false when there are none. Subject is cheaper where the id is all that is needed.
func ClaimsFromContext(ctx context.Context) (*Claims, bool) {
	if c := sharedClaims(ctx); c != nil {
		return c.clone(), true
	}
	return nil, false
}

func sharedClaims(ctx context.Context) *Claims {
	c, _ := ctx.Value(claimsKey{}).(*Claims)
	return c
}

type claimsKey struct{}

// claimsContext is context.WithValue without boxing a key and a value: it is made once per request.
type claimsContext struct {
	context.Context
	claims *Claims
}

func (c *claimsContext) Value(key any) any {
	if _, ok := key.(claimsKey); ok {
		return c.claims
	}
	return c.Context.Value(key)
}

func withClaims(r *http.Request, claims *Claims) *http.Request {
	return r.WithContext(&claimsContext{r.Context(), claims})
}

// maxTime is the last second of the year 9999, beyond which RFC 3339 ends and time arithmetic is somebody's mistake.
const maxTime = 253402300799

// parseClaims reads a payload whose signature was verified. It checks form only: presence and time are rules of the
// Verifier.
func parseClaims(payload string) (*Claims, error) {
	c := &Claims{payload: payload}
	s := strictjson.Scan(payload)
	for s.Next() {
		switch s.Name() {
		case "sub":
			c.Subject = s.String()
		case "iss":
			c.Issuer = s.String()
		case "aud":
			c.Audience = s.Strings()
		case "jti":
			c.ID = s.String()
		case "sid":
			c.SessionID = s.String()
		case "roles":
			c.Roles = s.Strings()
		case "scope":
			c.Scopes = strings.Fields(s.String())
		case "exp":
			c.ExpiresAt, c.has.exp = numericDate(&s), true
		case "iat":
			c.IssuedAt, c.has.iat = numericDate(&s), true
		case "nbf":
			c.NotBefore, c.has.nbf = numericDate(&s), true
		case "gen":
			c.generation, c.noted = s.Int(), new(atomic.Bool)
		}
	}
	return c, s.Err()
}

// numericDate reads a time in whole seconds (RFC 7519 section 2 allows fractions; no issuer that we take tokens from
// needs them, and readers differ in how they round).
func numericDate(s *strictjson.Scanner) time.Time {
	n := s.Int()
	if n < 0 || n > maxTime {
		s.Mistyped("a time in seconds")
	}
	return time.Unix(n, 0).UTC()
}
