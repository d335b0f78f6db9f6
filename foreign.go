package signet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
)

// TrustedIssuer is another issuer whose access tokens a [Verifier] accepts, such as Keycloak, Auth0, Okta, Entra or
// Cognito. The file docs/issuers.md has the fields for each.
//
// The checks against forgery are as strict as for signet's own tokens. Only these claims can make a token invalid: iss,
// aud, exp, nbf, iat, sub, cnf and those in Require; and JSON that two readers could read differently, such as a member that
// appears twice, a number out of range, or more than 32 levels. Roles, scopes and ids that cannot be read are empty, so
// [Verifier.RequireRole] refuses the token and other routes accept it. A token that is bound to a key ("cnf") is
// refused, because a bearer token does not show that its sender has the key.
type TrustedIssuer struct {
	// Issuer is exactly the "iss" of the tokens. It must not be empty. A name in braces stands for the value of that
	// claim, which may have up to 64 letters, digits, hyphens and underscores. This is for issuers with many tenants, such as
	// "https://login.microsoftonline.com/{tid}/v2.0". Name your tenant in Require, or check Claims.Issuer.
	Issuer string
	// Keys are the keys of the issuer, usually a [keys.Remote].
	Keys keys.Source
	// Audience lists the names of this service. At least one of them must be in "aud". nil: those of [WithAudience].
	Audience []string
	// Algorithms are the algorithms that the keys may be used with. nil: for each key the algorithm that the key names,
	// or RS256 for an RSA key that names none.
	Algorithms []keys.Algorithm
	// Types are the "typ" values of the access tokens. Upper and lower case are the same. nil: those of
	// [WithTokenTypes]. "" stands for a token without "typ"; it needs Audience or Require, because otherwise an ID
	// token of the issuer would pass.
	Types []string
	// Require lists claims that must be present with exactly this text, such as {"token_use": "access"} or {"tid":
	// "..."}.
	Require map[string]string
	// SubjectClaim names the claim that is the subject if "sub" is missing or empty, such as "client_id" in the tokens of a
	// client without a user. A client with the id of a user would count as that user (RFC 9700 section 4.15): make sure that
	// there is none.
	SubjectClaim string
	// NumericSubject accepts a "sub" or SubjectClaim that is a whole number up to 2^53-1. The subject is its decimal text.
	NumericSubject bool
	// Roles and Scopes say where the roles and scopes are. nil: in "roles" and in "scope". Each path has one name for
	// each level: {"realm_access", "roles"} is the member "roles" of the claim "realm_access". A dot in a name is a
	// part of the name. A value may be an array of texts or one text; a text of scopes is split at its spaces. The
	// token has the values of all paths.
	Roles, Scopes [][]string
}

// NewIssuersVerifier returns a [Verifier] for the tokens of one or several issuers other than signet. The "iss" of a
// token selects the issuer, and only the keys of this issuer can verify the token. So no issuer can issue tokens for
// another one. The same subject at two issuers is two users: use Issuer and Subject of the [Claims] together. SessionID
// is empty, because only signet's own "sid" names a session here. The Verifier sees no revocations. So check tokens of signet by
// their own [Auth] or [NewVerifier] first (docs/issuers.md). The error joins all mistakes in the list and the
// options. It starts no goroutine.
func NewIssuersVerifier(trusted []TrustedIssuer, opts ...VerifierOption) (*Verifier, error) {
	s := newVerifierSettings("NewIssuersVerifier", opts)
	if s.issuer != "" {
		s.mistake("NewIssuersVerifier", "WithIssuer is given too; the list says who the issuers are")
	}
	if s.feed != nil {
		s.mistake("NewIssuersVerifier", "WithRevocations is given too; it is for NewVerifier: check the tokens of signet there, and those of others here")
	}
	if len(trusted) == 0 {
		s.mistake("NewIssuersVerifier", "the list of issuers is empty")
	}
	var list []*issuer
	for i, t := range trusted {
		iss, err := t.build(&s.verifierConfig)
		if err == nil && slices.ContainsFunc(list, func(other *issuer) bool { return other.name == t.Issuer }) {
			err = fmt.Errorf("%q is in the list twice", t.Issuer)
		}
		if err != nil {
			s.mistake("NewIssuersVerifier", "issuer %d: %w", i, err)
			continue
		}
		list = append(list, iss)
	}
	if err := s.err(nil); err != nil {
		return nil, err
	}
	return newVerifier(s.verifierConfig, nil, list...), nil
}

// build makes the issuer. Its error names a field that is wrong.
func (t TrustedIssuer) build(cfg *verifierConfig) (*issuer, error) {
	if t.Issuer == "" {
		return nil, errors.New("field Issuer is empty")
	}
	if t.Audience != nil && len(t.Audience) == 0 || slices.Contains(t.Audience, "") {
		return nil, errors.New("field Audience must be nil or hold values that are not empty")
	}
	if t.Algorithms != nil && len(t.Algorithms) == 0 {
		return nil, errors.New("field Algorithms must be nil or hold algorithms")
	}
	for _, algorithm := range t.Algorithms {
		if !algorithm.Supported() {
			return nil, fmt.Errorf("the algorithm %q is not supported", algorithm)
		}
	}
	if err := checkSource("TrustedIssuer.Keys", t.Keys); err != nil {
		return nil, err
	}
	for _, path := range append(slices.Clone(t.Roles), t.Scopes...) {
		if len(path) == 0 || len(path) > 8 || slices.Contains(path, "") {
			return nil, errors.New("a path in Roles or Scopes must have 1 to 8 names that are not empty")
		}
	}
	iss := &issuer{name: t.Issuer, audience: cfg.audience, types: cfg.types}
	iss.reader = jws.NewReader(t.Keys, jws.Rules{Algorithms: slices.Clone(t.Algorithms), Foreign: true, BeforeFetch: iss.beforeFetch},
		cfg.signatures)
	if t.Audience != nil {
		iss.audience = slices.Clone(t.Audience)
	}
	if t.Types != nil {
		iss.types = slices.Clone(t.Types)
	}
	isOwn := func(typ string) bool { return jws.IsType(typ, jws.RefreshType) || jws.IsType(typ, jws.TicketType) }
	if len(iss.types) == 0 || slices.ContainsFunc(iss.types, isOwn) {
		return nil, fmt.Errorf("field Types must be nil or hold values other than %q and %q", jws.RefreshType, jws.TicketType)
	}
	if slices.Contains(iss.types, "") && len(iss.audience) == 0 && len(t.Require) == 0 {
		return nil, errors.New(`field Types holds "": then set Audience or Require, or every ID token of the issuer would pass`)
	}
	var err error
	iss.foreign, err = newForeign(t)
	return iss, err
}

// foreign has the rules for the claims of another issuer: a copy of what the host has said, which never changes.
type foreign struct {
	TrustedIssuer
	pattern bool // the issuer's name has names of claims in braces
}

// placeholder matches the name of a claim, in braces, in the name of an issuer, and placeholderValue what stands in its place.
var (
	placeholder      = regexp.MustCompile(`\{[A-Za-z0-9_:./-]+\}`)
	placeholderValue = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

func newForeign(t TrustedIssuer) (*foreign, error) {
	f := &foreign{TrustedIssuer: t}
	f.Require, f.Roles, f.Scopes = maps.Clone(t.Require), clonePaths(t.Roles, "roles"), clonePaths(t.Scopes, "scope")
	if f.pattern = strings.ContainsAny(t.Issuer, "{}"); f.pattern {
		rest := placeholder.ReplaceAllString(t.Issuer, "")
		if rest == t.Issuer || strings.ContainsAny(rest, "{}") {
			return nil, fmt.Errorf("field Issuer: %q has a brace that is not around the name of a claim", t.Issuer)
		}
	}
	return f, nil
}

// clonePaths returns a copy of the paths, or the claim that counts by default if there are none.
func clonePaths(paths [][]string, usual string) [][]string {
	if paths == nil {
		return [][]string{{usual}}
	}
	clone := make([][]string, len(paths))
	for i, path := range paths {
		clone[i] = slices.Clone(path)
	}
	return clone
}

// fits reports whether the issuer's name in a token is the pattern with the values of the token's own claims.
func (f *foreign) fits(pattern string, c *Claims) bool {
	known := true
	name := placeholder.ReplaceAllStringFunc(pattern, func(braces string) string {
		value, ok := claimText(c.payload, strings.Trim(braces, "{}"))
		known = known && ok && placeholderValue.MatchString(value)
		return value
	})
	return known && name == c.Issuer
}

// maySignFor reports whether a key may sign the tokens of an issuer: the key of one tenant must not sign tokens of another one
// (Entra). A key without an issuer may, and so may a key for every tenant, whose issuer has "{tenantid}" in its path. Another
// key's issuer must be this one, or each segment of its path must be in the path of this one. The hosts are not compared,
// because they differ between the versions of Entra, and neither is the version.
func maySignFor(k *keys.Key, issuer string) bool {
	own := strings.TrimRight(k.Issuer(), "/")
	if own == "" || strings.Contains(own, "{") || own == strings.TrimRight(issuer, "/") {
		return true
	}
	tenant, path := segmentsOf(own), segmentsOf(issuer)
	return len(tenant) > 0 && !slices.ContainsFunc(tenant, func(s string) bool { return !slices.Contains(path, s) })
}

// versionSegment matches the segment of a path that is a version, such as v2.0.
var versionSegment = regexp.MustCompile(`^v[0-9.]+$`)

// segmentsOf returns the segments of the path of a URL, without versions.
func segmentsOf(address string) (segments []string) {
	u, err := url.Parse(address)
	if err != nil {
		return nil
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment != "" && !versionSegment.MatchString(segment) {
			segments = append(segments, segment)
		}
	}
	return segments
}

// parse reads the payload of another issuer's token, whose signature was verified. The error names the claim and the
// rule, but never a value.
func (f *foreign) parse(ctx context.Context, logger *slog.Logger, payload string) (*Claims, error) {
	c := &Claims{payload: payload}
	missing := maps.Clone(f.Require)
	var substitute string // the JSON value of SubjectClaim
	var fault bool
	s := strictjson.Scan(payload)
	for s.Next() {
		name, raw := s.Name(), s.Raw()
		if raw == "null" {
			continue // absent
		}
		f.read(c, &s)
		if name == f.SubjectClaim {
			substitute = raw
		}
		if want, ok := f.Require[name]; ok {
			delete(missing, name)
			if got, ok := textOf(raw); !ok || got != want {
				s.Mistyped("the value that TrustedIssuer.Require asks for")
			}
		}
		fault = f.collect(c, name, raw) || fault
	}
	switch {
	case s.Err() != nil:
		return nil, s.Err()
	case c.ExpiresAt.IsZero():
		return nil, errNoExpiry
	}
	if len(missing) > 0 {
		first := slices.Min(slices.Collect(maps.Keys(missing)))
		return nil, &strictjson.MemberError{Name: first, Want: "present: TrustedIssuer.Require asks for it"}
	}
	if c.Subject == "" && f.SubjectClaim != "" && substitute != "" {
		c.Subject = f.otherSubject(substitute)
	}
	if c.Subject == "" {
		return nil, errNoSubject
	}
	if fault {
		logger.DebugContext(ctx, "signet: a token has roles or scopes in a form that cannot be read; they are empty",
			"issuer", label(c.Issuer))
	}
	return c, nil
}

// read reads a registered claim (RFC 7519 section 4.1).
func (f *foreign) read(c *Claims, s *strictjson.Scanner) {
	switch s.Name() {
	case "sub":
		c.Subject = f.subject(s)
	case "iss":
		c.Issuer = s.String()
	case "aud":
		c.Audience = s.Strings()
	case "exp":
		c.ExpiresAt = foreignDate(s, math.Floor)
	case "iat":
		c.IssuedAt = foreignDate(s, ceilSince1970)
	case "nbf":
		c.NotBefore = foreignDate(s, ceilSince1970)
	case "jti":
		c.ID, _ = textOf(s.Raw())
	case "cnf":
		refuseBound(s)
	}
}

// collect adds the roles and scopes of a claim. It returns true if one of them cannot be read.
func (f *foreign) collect(c *Claims, claim, raw string) (fault bool) {
	textsAt := func(paths [][]string) (texts []string) {
		for _, path := range paths {
			if path[0] == claim {
				found, ok := listAt(raw, path[1:])
				texts, fault = append(texts, found...), fault || !ok
			}
		}
		return texts
	}
	c.Roles = append(c.Roles, textsAt(f.Roles)...)
	for _, text := range textsAt(f.Scopes) {
		c.Scopes = append(c.Scopes, splitScope(text)...)
	}
	return fault
}

// subject reads "sub": a text, or a whole number if the host says so.
func (f *foreign) subject(s *strictjson.Scanner) string {
	if !f.NumericSubject || s.Raw()[0] == '"' {
		return s.String()
	}
	n := s.Int()
	if n < 0 || n > maxSafeID {
		s.Mistyped("a text, or a whole number up to 2^53-1")
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// otherSubject reads the JSON value of the claim that stands for "sub". It returns "" if the value names nobody.
func (f *foreign) otherSubject(raw string) string {
	value := valueOf(raw)
	subject := f.subject(&value)
	if value.Err() != nil {
		return ""
	}
	return subject
}

// ceilSince1970 is for a time that must be past. One before 1970 is, and some programs write their zero time so.
func ceilSince1970(n float64) float64 { return max(0, math.Ceil(n)) }

// foreignDate reads a time in seconds, which may have a fraction (RFC 7519 section 2). round moves a fraction to the
// side that makes the token valid for less time.
func foreignDate(s *strictjson.Scanner, round func(float64) float64) time.Time {
	n, err := strconv.ParseFloat(s.Raw(), 64)
	if n = round(n); err != nil || n < 0 || n > maxTime {
		s.Mistyped("a time in seconds")
		n = 0
	}
	return time.Unix(int64(n), 0).UTC()
}

// valueOf returns a Scanner that has read one JSON value.
func valueOf(raw string) strictjson.Scanner {
	s := strictjson.Scan(`{"value":` + raw + `}`)
	s.Next()
	return s
}

// textOf reads a JSON text.
func textOf(raw string) (string, bool) {
	s := valueOf(raw)
	value := s.String()
	return value, s.Err() == nil
}

// claimText reads a claim that is a text.
func claimText(payload, claim string) (value string, ok bool) {
	s := strictjson.Scan(payload)
	for s.Next() {
		if s.Name() == claim {
			value, ok = textOf(s.Raw())
		}
	}
	return value, ok && s.Err() == nil
}

// listAt reads a text or an array of texts at a path in a JSON value. If the path does not exist, the list is empty.
func listAt(value string, path []string) (list []string, ok bool) {
	if len(path) > 0 {
		if value[0] != '{' {
			return nil, false
		}
		s := strictjson.Scan(value)
		for s.Next() {
			if s.Name() == path[0] && s.Raw() != "null" {
				return listAt(s.Raw(), path[1:])
			}
		}
		return nil, s.Err() == nil
	}
	s := valueOf(value)
	list = s.Strings()
	return list, s.Err() == nil
}
