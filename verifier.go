package signet

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
)

// Verifier checks access tokens. It never changes and is safe for concurrent use. An [Auth] has one inside; make one with
// [NewVerifier] for a service that checks tokens and does not issue them.
type Verifier struct {
	verifierConfig
	issuers  map[string]*issuer
	only     *issuer           // the one issuer, when there is one
	cache    *tokenCache       // nil: off
	sessions *sessions.Manager // nil where there are no sessions that could be revoked

	explained [2]atomic.Int64 // when a refusal was last explained in the log, in Unix seconds
}

// TrustedIssuer is one of several parties whose tokens a [Verifier] accepts.
type TrustedIssuer struct {
	Issuer     string           // exactly the "iss" of its tokens; must not be empty
	Keys       keys.Source      // usually a keys.Remote
	Audience   []string         // one of them must be in "aud"; nil: what WithAudience says
	Algorithms []keys.Algorithm // what its keys may be used with; nil: whatever they are made for
}

// issuer is one party whose tokens are accepted. It never changes; its keys may.
type issuer struct {
	name     string // "": tokens need no "iss"
	audience []string
	reader   *jws.Reader
}

// NewVerifier returns a Verifier for the tokens of whoever holds the keys: a *[keys.Key], *[keys.Ring], *[keys.Files], *[keys.Remote] or
// a Source of the host. It reports every mistake in the keys and the options in one joined error. It starts nothing.
//
// It learns of no revocation: a token of a session that was revoked at the issuer is accepted here until it expires. Where that
// matters, use short access lifetimes at the issuer ([WithLifetimes]), or an [Auth] on the same session store.
func NewVerifier(source keys.Source, opts ...VerifierOption) (*Verifier, error) {
	cfg := newVerifierConfig("NewVerifier", opts)
	err := checkSource("NewVerifier", source)
	if err := errors.Join(append(cfg.errs, err)...); err != nil {
		return nil, err
	}
	return newVerifier(cfg.verifierConfig, nil, &issuer{cfg.issuer, cfg.audience, jws.NewReader(source, nil)}), nil
}

// NewIssuersVerifier returns a [Verifier] for the tokens of several issuers, each with its own keys, audience and algorithms. A token's
// "iss" chooses the issuer by exact comparison before any key is looked at, so no issuer can speak for another one. The same
// subject at two issuers is two users: look at Issuer and Subject of the [Claims].
func NewIssuersVerifier(trusted []TrustedIssuer, opts ...VerifierOption) (*Verifier, error) {
	cfg := newVerifierConfig("NewIssuersVerifier", opts)
	if cfg.issuer != "" {
		cfg.mistake("NewIssuersVerifier", "WithIssuer is given too; the list says who the issuers are")
	}
	if len(trusted) == 0 {
		cfg.mistake("NewIssuersVerifier", "the list of issuers is empty")
	}
	var list []*issuer
	for i, t := range trusted {
		switch err := t.check(); {
		case err != nil:
			cfg.mistake("NewIssuersVerifier", "issuer %d: %w", i, err)
		case slices.ContainsFunc(list, func(other *issuer) bool { return other.name == t.Issuer }):
			cfg.mistake("NewIssuersVerifier", "issuer %d: %q is in the list twice", i, t.Issuer)
		default:
			audience := cfg.audience
			if t.Audience != nil {
				audience = slices.Clone(t.Audience)
			}
			list = append(list, &issuer{t.Issuer, audience, jws.NewReader(t.Keys, t.Algorithms)})
		}
	}
	if err := errors.Join(cfg.errs...); err != nil {
		return nil, err
	}
	return newVerifier(cfg.verifierConfig, nil, list...), nil
}

func (t TrustedIssuer) check() error {
	if t.Issuer == "" {
		return errors.New("field Issuer is empty")
	}
	if t.Audience != nil && len(t.Audience) == 0 || slices.Contains(t.Audience, "") {
		return errors.New("field Audience must be nil or hold values that are not empty")
	}
	for _, algorithm := range t.Algorithms {
		if !algorithm.Supported() {
			return fmt.Errorf("the algorithm %q is not supported", algorithm)
		}
	}
	return checkSource("TrustedIssuer.Keys", t.Keys)
}

// checkSource finds sources that can never have keys.
func checkSource(what string, source keys.Source) error {
	if isNil(source) {
		return fmt.Errorf("signet.%s: the key is nil; pass keys.Secret(...) or another source of keys", what)
	}
	if made, ok := source.(interface{ Err() error }); ok {
		return made.Err()
	}
	return nil
}

// isNil also finds nil pointers, which are a mistake wherever signet takes an interface.
func isNil(value any) bool {
	v := reflect.ValueOf(value)
	switch v.Kind() {
	case reflect.Invalid:
		return true
	case reflect.Pointer, reflect.Map, reflect.Func, reflect.Chan, reflect.Slice, reflect.Interface:
		return v.IsNil()
	}
	return false
}

func newVerifier(cfg verifierConfig, manager *sessions.Manager, issuers ...*issuer) *Verifier {
	v := &Verifier{verifierConfig: cfg, issuers: make(map[string]*issuer, len(issuers)), sessions: manager}
	for _, iss := range issuers {
		v.issuers[iss.name] = iss
	}
	if len(issuers) == 1 {
		v.only = issuers[0]
	}
	if cfg.cacheBytes > 0 {
		v.cache = newTokenCache(cfg.cacheBytes)
	}
	return v
}

// Verify checks an access token and returns its claims. It is what [Verifier.RequireAuth] does, for gRPC, WebSockets and command
// lines. The error is [ErrInvalidToken] ([ErrExpiredToken] or [ErrRevoked] if that is all that is wrong), or [ErrUnavailable] when the
// keys or the revocations cannot be had now. Its text names the rule that the token broke.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	claims, err := v.verifyAccess(ctx, token)
	if err != nil {
		return nil, err
	}
	return claims.clone(), nil
}

// verifyAccess returns claims that other requests may share: they must not be changed, nor given to a caller.
func (v *Verifier) verifyAccess(ctx context.Context, token string) (*Claims, error) {
	var hash uint64
	if v.cache != nil {
		hash = v.cache.hash(token)
		if claims := v.cache.get(hash, token); claims != nil {
			if err := v.checkNow(claims); err != nil {
				return nil, err
			}
			return claims, nil
		}
	}
	claims, err := v.read(ctx, token, v.types)
	if err != nil {
		return nil, err
	}
	if err := v.checkNow(claims); err != nil {
		return nil, err
	}
	if v.cache != nil {
		v.cache.put(hash, token, claims, v.clock())
	}
	return claims, nil
}

// checkNow checks what changes with time. Every request does it, whether its token was seen before or not.
func (v *Verifier) checkNow(claims *Claims) error {
	now := v.clock()
	if err := v.checkTimes(claims, now); err != nil {
		return err
	}
	if v.sessions == nil || claims.SessionID == "" {
		return nil
	}
	if v.testClock {
		now = time.Now()
	}
	switch v.sessions.Check(claims.session, now) {
	case nil:
		return nil
	case sessions.ErrRevoked:
		return ErrRevoked
	}
	return errStale
}

// errStale is the answer while revocations are not known, so that a revoked token could pass.
var errStale = unavailable(sessions.ErrStale)

// checkTimes checks the claims that a clock decides. The leeway is for clocks that differ, and not for lifetimes: "exp" is exact.
func (v *Verifier) checkTimes(c *Claims, now time.Time) error {
	seconds, leeway := now.Unix(), int64(v.leeway/time.Second)
	switch {
	case seconds >= c.ExpiresAt.Unix():
		return ErrExpiredToken
	case c.IssuedAt.Unix() > seconds+leeway, c.NotBefore.Unix() > seconds+leeway: // an absent "nbf" is long ago
		return errNotYet
	}
	return nil
}

// read checks everything about a token that does not change with time. Whatever is wrong, a bad signature is the only thing that
// is reported of a token that has one. With one issuer no claim is looked at before the signature is verified; with several,
// "iss" is, to choose the keys.
func (v *Verifier) read(ctx context.Context, text string, types []string) (*Claims, error) {
	token, err := jws.Open(text)
	if err != nil {
		return nil, v.explain(ctx, strangers, because(errMalformed, err))
	}
	defer token.Close()
	from, err := v.issuerOf(token)
	if err != nil {
		return nil, v.explain(ctx, strangers, err)
	}
	signed, err := from.reader.Verify(ctx, token)
	if err != nil {
		return nil, v.explain(ctx, strangers, readError(err))
	}
	if !slices.ContainsFunc(types, func(want string) bool { return jws.IsType(signed.Type, want) }) {
		return nil, v.explain(ctx, holders, errWrongType)
	}
	claims, generation, err := parseClaims(signed.Payload)
	if err != nil {
		return nil, v.explain(ctx, holders, because(errMalformed, err))
	}
	if err := from.checkIdentity(claims); err != nil {
		return nil, v.explain(ctx, holders, err)
	}
	claims.from, claims.keys = from, signed.Keys
	if v.sessions != nil {
		claims.session = v.sessions.Ref(claims.SessionID, generation)
	}
	return claims, nil
}

// readError is the answer to a token whose signature was not verified.
func readError(err error) error {
	switch err {
	case jws.ErrSignature:
		return errSignature
	case jws.ErrUnknownKey:
		return errUnknownKey
	}
	if _, malformed := err.(*jws.MalformedError); malformed {
		return because(errMalformed, err)
	}
	return unavailable(err)
}

// issuerOf chooses the issuer. With several, the unverified "iss" names the one whose keys must verify the token. The claim is checked
// again afterwards, like all others.
func (v *Verifier) issuerOf(token jws.Token) (*issuer, error) {
	if v.only != nil {
		return v.only, nil
	}
	payload, err := token.UnverifiedPayload()
	if err != nil {
		return nil, because(errMalformed, err)
	}
	name := ""
	s := strictjson.Scan(payload)
	for s.Next() {
		if s.Name() == "iss" {
			name = s.String()
		}
	}
	if s.Err() != nil {
		return nil, because(errMalformed, s.Err())
	}
	if from := v.issuers[name]; from != nil && name != "" {
		return from, nil
	}
	return nil, errIssuer
}

// checkIdentity checks the claims "iss" and "aud".
func (i *issuer) checkIdentity(c *Claims) error {
	switch {
	case i.name != "" && c.Issuer != i.name:
		return errIssuer
	case len(i.audience) > 0 && !slices.ContainsFunc(i.audience, func(a string) bool { return slices.Contains(c.Audience, a) }):
		return errAudience
	}
	return nil
}

// Refusals are explained in the log at most once a minute for tokens that anybody can make, and once a minute for tokens whose signature was good.
// So a stranger cannot hide what is wrong with the tokens of an issuer.
const (
	strangers = iota
	holders
)

const explainInterval = 60 // seconds

// explain logs at the level Debug why a token was refused, and returns the error.
func (v *Verifier) explain(ctx context.Context, kind int, err error) error {
	now := time.Now().Unix()
	last := v.explained[kind].Load()
	if now-last >= explainInterval && v.explained[kind].CompareAndSwap(last, now) {
		v.logger.DebugContext(ctx, "signet: a token was refused; more such tokens are not logged for a minute", "error", err)
	}
	return err
}
