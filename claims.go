package signet

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// Claims are the claims of a verified token. The functions of signet return copies, which the caller may change.
type Claims struct {
	Subject   string    // "sub": the user's id; never empty
	Issuer    string    // "iss"
	Audience  []string  // "aud"
	ID        string    // "jti": this token's own id
	SessionID string    // "sid": the session that a login made; empty without sessions
	Roles     []string  // "roles" (RFC 9068 section 2.2.3.1)
	Scopes    []string  // "scope" (RFC 8693 section 4.2), split at its spaces
	IssuedAt  time.Time // "iat"; zero if absent
	NotBefore time.Time // "nbf"; zero if absent
	ExpiresAt time.Time // "exp"

	payload     string        // the whole payload, for CustomClaims; empty if the host made the claims
	from        *issuer       // who issued the token
	keys        *keys.Set     // the keys that verified it
	session     revoked.Ref   // zero if the verifier sees no revocations
	revocations *revoked.View // nil if the verifier sees no revocations
}

// origin is what a token says about how it was made, for signet alone.
type origin struct {
	generation int64           // "gen"
	version    session.Version // "ver"
}

// HasRole reports whether the subject has one of the roles. Nobody has the role "".
func (c *Claims) HasRole(role string, or ...string) bool {
	has := func(role string) bool { return role != "" && slices.Contains(c.Roles, role) }
	return has(role) || slices.ContainsFunc(or, has)
}

// HasScope reports whether the token carries all of the scopes.
func (c *Claims) HasScope(scope string, and ...string) bool {
	lacks := func(scope string) bool { return !slices.Contains(c.Scopes, scope) }
	return !lacks(scope) && !slices.ContainsFunc(and, lacks)
}

// clone returns a copy for a caller. Requests share the original.
func (c *Claims) clone() *Claims {
	own := *c
	own.Audience = slices.Clone(c.Audience)
	own.Roles = slices.Clone(c.Roles)
	own.Scopes = slices.Clone(c.Scopes)
	return &own
}

// Subject returns the id of the signed-in user. It returns "" if nobody is signed in: outside of [Verifier.RequireAuth], or
// in a request that [Verifier.OptionalAuth] let pass without a token. With several trusted issuers a user is the pair of
// issuer and subject; see [ClaimsFromContext].
//
// ctx must be the context of the request. In gin that is c.Request.Context(), and not c, which is a context of its own.
func Subject(ctx context.Context) string {
	if c := sharedClaims(ctx); c != nil {
		return c.Subject
	}
	return ""
}

// ClaimsFromContext returns a copy of the claims that [Verifier.RequireAuth] and the other middleware verified, or that
// [ContextWithClaims] put there. It returns false when there are none. [Subject] is cheaper if only the id is needed.
func ClaimsFromContext(ctx context.Context) (*Claims, bool) {
	if c := sharedClaims(ctx); c != nil {
		return c.clone(), true
	}
	return nil, false
}

// ContextWithClaims returns a context in which [Subject] and [ClaimsFromContext] find a copy of the claims. It is for
// hosts that verify a token by themselves ([Verifier.Verify]), as in gRPC or for a WebSocket, and for tests of handlers.
// With nil nobody is signed in.
func ContextWithClaims(ctx context.Context, claims *Claims) context.Context {
	if claims != nil {
		claims = claims.clone()
		claims.from = nil // they are the host's now
	}
	return withClaims(ctx, claims)
}

type claimsKey struct{}

// claimsContext is what context.WithValue would return, in half the memory. Its fields have the names and the order of those
// in package context, because the adaptors of fiber copy values by these names.
type claimsContext struct {
	context.Context
	key claimsKey
	val *Claims
}

func (c *claimsContext) Value(key any) any {
	if key == c.key {
		return c.val
	}
	return c.Context.Value(key)
}

func withClaims(ctx context.Context, claims *Claims) context.Context {
	return &claimsContext{Context: ctx, val: claims}
}

func sharedClaims(ctx context.Context) *Claims {
	c, _ := ctx.Value(claimsKey{}).(*Claims)
	return c
}

// maxTime is the last second of the year 9999. RFC 3339 ends there, so a later time is a mistake.
const maxTime = 253402300799

// parseClaims reads a payload whose signature was verified. It checks the form of the claims, and that the required
// ones are there. Identity and time are checked elsewhere. The error names the claim and the rule, but never a value.
func parseClaims(payload string) (c *Claims, made origin, err error) {
	c = &Claims{payload: payload}
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
			c.Scopes = splitScope(s.String())
		case "exp":
			c.ExpiresAt = numericDate(&s)
		case "iat":
			c.IssuedAt = numericDate(&s)
		case "nbf":
			c.NotBefore = numericDate(&s)
		case "gen":
			made.generation = s.Int()
		case "ver":
			made.version = versionOf(&s)
		case "cnf":
			refuseBound(&s)
		}
	}
	switch {
	case s.Err() != nil:
		return nil, made, s.Err()
	case c.Subject == "":
		return nil, made, errNoSubject
	case c.ExpiresAt.IsZero():
		return nil, made, errNoExpiry
	case c.IssuedAt.IsZero():
		return nil, made, errNoIssueTime
	}
	return c, made, nil
}

var (
	errNoSubject   = &strictjson.MemberError{Name: "sub", Want: "present and not empty"}
	errNoExpiry    = &strictjson.MemberError{Name: "exp", Want: "present"}
	errNoIssueTime = &strictjson.MemberError{Name: "iat", Want: "present"}
)

// refuseBound refuses a token that is bound to a key (RFC 7800). Here nothing shows that the sender of the token has that key.
func refuseBound(s *strictjson.Scanner) {
	if s.Raw() != "null" {
		s.Mistyped("absent: the token is bound to a key, and is no bearer token")
	}
}

// versionOf reads the version of a token: one number for everybody, and one for the user.
func versionOf(s *strictjson.Scanner) session.Version {
	both := s.Ints()
	if len(both) != 2 {
		s.Mistyped("an array of two numbers")
		return session.Version{}
	}
	return session.Version{All: both[0], User: both[1]}
}

// splitScope splits the text of a scope at its spaces, and only there (RFC 6749 section 3.3).
func splitScope(scope string) []string {
	return slices.DeleteFunc(strings.Split(scope, " "), func(s string) bool { return s == "" })
}

// checkClaims checks the form of the claims from WithClaims. The only one that parseClaims reads is "scope".
func checkClaims(payload string) error {
	s := strictjson.Scan(payload)
	for s.Next() {
		if s.Name() == "scope" {
			_ = s.String()
		}
	}
	return s.Err()
}

// numericDate reads a time in whole seconds. RFC 7519 section 2 allows fractions, but readers differ in how they round
// them, and signet issues none.
func numericDate(s *strictjson.Scanner) time.Time {
	n := s.Int()
	if n < 0 || n > maxTime {
		s.Mistyped("a time in seconds")
	}
	return time.Unix(n, 0).UTC()
}
