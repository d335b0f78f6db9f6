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
	patterns []*issuer         // those whose name is a pattern
	only     *issuer           // the one issuer, when there is one
	cache    *tokenCache       // nil: off
	sessions *sessions.Manager // nil where there are no sessions that could be revoked

	explained [2]atomic.Int64 // when a refusal was last explained in the log, in Unix seconds
}

// issuer is one party whose tokens are accepted. It never changes; its keys may.
type issuer struct {
	name     string // "": tokens need no "iss"
	audience []string
	types    []string
	reader   *jws.Reader
	foreign  *foreign // nil: signet
}

// NewVerifier returns a Verifier for the tokens of a signet service that holds the keys: a *[keys.Key], *[keys.Ring], *[keys.Files],
// *[keys.Remote] or a Source of the host. It reports every mistake in the keys and the options in one joined error. It starts nothing. Use
// [NewIssuersVerifier] for the tokens of other issuers.
//
// It learns of no revocation: a token of a session that was revoked at the issuer is accepted here until it expires. Where that
// matters, use short access lifetimes at the issuer ([WithLifetimes]), or an [Auth] on the same session store.
func NewVerifier(source keys.Source, opts ...VerifierOption) (*Verifier, error) {
	s := newVerifierConfig("NewVerifier", opts)
	err := checkSource("NewVerifier", source)
	if err := errors.Join(append(s.errs, err)...); err != nil {
		return nil, err
	}
	return newVerifier(s.verifierConfig, nil, s.own(source)), nil
}

// own is the issuer that is signet itself.
func (c *verifierConfig) own(source keys.Source) *issuer {
	return &issuer{name: c.issuer, audience: c.audience, types: c.types, reader: jws.NewReader(source, jws.Rules{})}
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
		if iss.foreign != nil && iss.foreign.pattern != nil {
			v.patterns = append(v.patterns, iss)
			continue
		}
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
	claims, err := v.read(ctx, token, accessToken)
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

// use says what a token is read for.
type use int

const (
	accessToken use = iota
	refreshToken
	anyToken // for a logout
)

// read checks everything about a token that does not change with time. Whatever is wrong, a bad signature is the only thing that
// is reported of a token that has one. With one issuer no claim is looked at before the signature is verified; with several,
// "iss" is, to choose the keys.
func (v *Verifier) read(ctx context.Context, text string, use use) (*Claims, error) {
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
	audience, err := from.audienceOf(signed.Type, use)
	if err != nil {
		return nil, v.explain(ctx, holders, err)
	}
	claims, generation, err := from.parse(ctx, v, signed.Payload)
	if err != nil {
		return nil, v.explain(ctx, holders, err)
	}
	if err := from.checkIdentity(claims, audience); err != nil {
		return nil, v.explain(ctx, holders, err)
	}
	claims.from, claims.keys = from, signed.Keys
	if v.sessions != nil {
		claims.session = v.sessions.Ref(claims.SessionID, generation)
	}
	return claims, nil
}

// parse reads the payload by the rules for signet's own tokens, or by those for its issuer.
func (i *issuer) parse(ctx context.Context, v *Verifier, payload string) (c *Claims, generation int64, err error) {
	if i.foreign != nil {
		c, err = i.foreign.parse(ctx, v.logger, payload)
	} else {
		c, generation, err = parseClaims(payload)
	}
	if err != nil {
		return nil, 0, because(errMalformed, err)
	}
	return c, generation, nil
}

// audienceOf checks the type of a token, and returns the audience that such a token must have: refresh tokens have one of their own.
func (i *issuer) audienceOf(typ string, use use) ([]string, error) {
	isType := func(want string) bool { return jws.IsType(typ, want) }
	switch {
	case use != accessToken && isType(jws.RefreshType):
		return refreshAudience, nil
	case use != refreshToken && slices.ContainsFunc(i.types, isType):
		return i.audience, nil
	}
	return nil, errWrongType
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
	name, err := issuerName(payload)
	if err != nil {
		return nil, because(errMalformed, err)
	}
	if from := v.issuers[name]; from != nil && name != "" {
		return from, nil
	}
	for _, from := range v.patterns {
		if from.foreign.matches(name) {
			return from, nil
		}
	}
	return nil, errIssuer
}

func issuerName(payload string) (name string, err error) {
	s := strictjson.Scan(payload)
	for s.Next() {
		if s.Name() == "iss" {
			name = s.String()
		}
	}
	return name, s.Err()
}

// checkIdentity checks the claims "iss" and "aud".
func (i *issuer) checkIdentity(c *Claims, audience []string) error {
	exact := i.foreign == nil || i.foreign.pattern == nil
	switch {
	case exact && i.name != "" && c.Issuer != i.name, !exact && !i.foreign.named(c):
		return errIssuer
	case len(audience) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(c.Audience, a) }):
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
