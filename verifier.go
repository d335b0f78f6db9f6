package signet

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
)

// Verifier checks access tokens. It never changes and is safe for concurrent use. Each [Auth] has one. [NewVerifier]
// makes one for a service that only checks tokens.
type Verifier struct {
	verifierConfig
	issuers     map[string]*issuer
	patterns    []*issuer         // the issuers whose name is a pattern
	only        *issuer           // the issuer, if there is exactly one
	cache       *tokenCache       // nil: off
	revocations *revoked.View     // nil: the verifier sees no revocations
	proofs      *sessions.Manager // is told that an access token was used (Prove); nil: nobody is told
	maxToken    int               // bytes

	undated  *atomic.Bool // warns once that no token has an "auth_time"; nil: tokens have one, or others issue them
	refusals refusalLog

	_        [64]byte      // no request that finds its token in the cache waits for the counter's cache line
	verified atomic.Uint64 // access tokens that can be read, and whose signature the cache did not know
	_        [56]byte
}

// Format implements [fmt.Formatter], also for an [Auth]. It prints only a name, because a Verifier holds keys.
func (v *Verifier) Format(state fmt.State, _ rune) { fmt.Fprint(state, "signet.Verifier") }

// issuer is one party whose tokens are accepted. It never changes, but its keys may.
type issuer struct {
	name     string // "": tokens need no "iss"
	audience []string
	types    []string
	reader   *jws.Reader
	foreign  *foreign // nil: signet
}

// NewVerifier returns a Verifier for the tokens of a signet service that holds the keys: a *[keys.Key], *[keys.Ring],
// *[keys.Files], *[keys.Remote] or a Source of the host. The error joins all mistakes in the keys and the options. It
// starts no goroutine. Use [NewIssuersVerifier] for the tokens of other issuers.
//
// Without [WithRevocations] it does not see revocations: a token of a session that was revoked at the issuer is accepted
// here until it expires. Then use short access lifetimes at the issuer ([WithLifetimes]).
func NewVerifier(source keys.Source, opts ...VerifierOption) (*Verifier, error) {
	s := newVerifierSettings("NewVerifier", opts)
	if err := s.err(checkSource("NewVerifier", source)); err != nil {
		return nil, err
	}
	return newVerifier(s.verifierConfig, nil, s.own(source)), nil
}

// own is the issuer that is signet itself.
func (c *verifierConfig) own(source keys.Source) *issuer {
	iss := &issuer{name: c.issuer, audience: c.audience, types: c.types}
	iss.reader = jws.NewReader(source, jws.Rules{BeforeFetch: iss.beforeFetch}, c.signatures)
	return iss
}

// checkSource finds sources that can never have keys.
func checkSource(what string, source keys.Source) error {
	if isnil.Value(source) {
		return fmt.Errorf("signet.%s: the key is nil; pass keys.Secret(...) or another source of keys", what)
	}
	if made, ok := source.(interface{ Err() error }); ok {
		return made.Err()
	}
	return nil
}

func newVerifier(cfg verifierConfig, manager *sessions.Manager, issuers ...*issuer) *Verifier {
	v := &Verifier{verifierConfig: cfg, issuers: make(map[string]*issuer, len(issuers)), proofs: manager,
		maxToken: jws.MaxToken}
	switch {
	case manager != nil:
		v.revocations = manager.View
	case cfg.feed != nil:
		v.revocations = cfg.feed.View()
	}
	for _, iss := range issuers {
		if iss.foreign != nil {
			v.maxToken = jws.MaxForeignToken
		}
		if iss.foreign != nil && iss.foreign.pattern {
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

// Verify checks an access token and returns its claims. It makes the same checks as [Verifier.RequireAuth], for gRPC,
// WebSockets and command lines. The error is [ErrInvalidToken] ([ErrExpiredToken] or [ErrRevoked] if nothing else is
// wrong), or [ErrUnavailable] if the keys or the revocations are not available now. Its text names the rule that the
// token breaks.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	claims, err := v.verifyAccess(ctx, token)
	if err != nil {
		return nil, err
	}
	return claims.clone(), nil
}

// verifyAccess is Verify with claims that requests share. Nobody may change them, so callers of the package get copies.
func (v *Verifier) verifyAccess(ctx context.Context, token string) (*Claims, error) {
	var hash uint64
	if v.cache != nil {
		hash = v.cache.hash(token)
		if claims := v.cache.get(hash, token); claims != nil {
			if err := v.checkNow(ctx, claims, v.clock()); err != nil {
				return nil, err
			}
			return claims, nil
		}
	}
	claims, err := v.read(ctx, token, forAccess)
	if err != nil {
		return nil, err
	}
	now := v.clock()
	if err := v.checkNow(ctx, claims, now); err != nil {
		return nil, err
	}
	if v.cache != nil {
		v.cache.put(hash, token, claims, now)
	}
	return claims, nil
}

// checkNow checks what changes with time. It runs for every request, even if the token is in the cache.
func (v *Verifier) checkNow(ctx context.Context, claims *Claims, now time.Time) error {
	if err := v.checkTimes(claims, now); err != nil {
		return err
	}
	if v.revocations == nil {
		return nil
	}
	if claims.SessionID == "" {
		return errNoSession
	}
	if v.testClock { // the age of what is known of revocations is measured on the monotonic clock
		now = time.Now()
	}
	if err := v.revocations.Check(ctx, &claims.session, now); err != nil {
		return revocationError(err)
	}
	if v.proofs != nil {
		v.proofs.Prove(&claims.session)
	}
	return nil
}

// revocationError is the answer for an error of the revocations.
func revocationError(err error) error {
	switch err {
	case revoked.ErrRevoked:
		return ErrRevoked
	case revoked.ErrOutdated:
		return ErrUserChanged
	case revoked.ErrExpired:
		return ErrExpiredToken
	case revoked.ErrStale:
		return errStale
	}
	return unavailable(err)
}

// errStale is the answer while the revocations are unknown, because a revoked token could pass. It is made once, because
// every request meets it then.
var errStale = unavailable(revoked.ErrStale)

// checkTimes checks the claims that depend on the clock. The leeway is for clocks that differ. It does not extend
// "exp".
func (v *Verifier) checkTimes(c *Claims, now time.Time) error {
	seconds, leeway := now.Unix(), int64(v.leeway/time.Second)
	switch {
	case seconds >= c.ExpiresAt.Unix():
		return ErrExpiredToken
	case c.IssuedAt.Unix() > seconds+leeway, c.NotBefore.Unix() > seconds+leeway: // an absent "nbf" is the year 1
		return errNotYet
	}
	return nil
}

// refreshAudience is the audience of refresh tokens. Most verifiers ignore "typ". They would accept a refresh token
// with the audience of access tokens as an access token.
var refreshAudience = []string{"signet:refresh"}

// ticketAudience is the audience of tickets for connections.
var ticketAudience = []string{"signet:ticket"}

// use says what the caller needs a token for.
type use int

const (
	forAccess use = iota
	forRefresh
	forLogout     // an access or a refresh token
	forConnection // a ticket
)

// read checks everything about a token that does not change with time. If the signature is bad, the error reports only that.
// Before the signature is verified, claims are used only to choose among several issuers and to decide whether keys may be
// fetched: the "iss", and the claims that a pattern in [TrustedIssuer].Issuer names, such as "tid".
func (v *Verifier) read(ctx context.Context, text string, use use) (*Claims, error) {
	token, err := jws.Open(text, v.maxToken)
	if err != nil {
		return nil, v.logRefusal(ctx, badTokens, because(errMalformed, err))
	}
	defer token.Close()
	from, err := v.issuerOf(token)
	if err != nil {
		return nil, v.logRefusal(ctx, badTokens, err)
	}
	signed, err := from.reader.Verify(ctx, token)
	if use == forAccess && !signed.Remembered {
		v.verified.Add(1)
	}
	if err != nil {
		return nil, v.logRefusal(ctx, badTokens, signatureError(err))
	}
	audience, err := from.audienceOf(signed.Type, use)
	if err != nil {
		return nil, v.logRefusal(ctx, goodTokens, err)
	}
	claims, made, err := from.parse(ctx, v, signed.Payload)
	if err != nil {
		return nil, v.logRefusal(ctx, goodTokens, err)
	}
	if err := from.checkIdentity(claims, audience, signed.Signers); err != nil {
		return nil, v.logRefusal(ctx, goodTokens, err)
	}
	claims.from, claims.keys = from, signed.Keys
	if claims.revocations = v.revocations; v.revocations != nil {
		claims.session = v.revocations.Ref(claims.SessionID, claims.Subject, made.version, made.generation)
	}
	return claims, nil
}

// parse reads the payload by the rules for signet's own tokens or by the rules for the issuer.
func (i *issuer) parse(ctx context.Context, v *Verifier, payload string) (c *Claims, made origin, err error) {
	if i.foreign != nil {
		c, err = i.foreign.parse(ctx, v.logger, payload)
	} else {
		c, made, err = parseClaims(payload)
	}
	if err != nil {
		return nil, made, because(errMalformed, err)
	}
	return c, made, nil
}

// audienceOf checks the type of a token, and returns the audience that a token of this type must have. Refresh tokens
// have an audience of their own.
func (i *issuer) audienceOf(typ string, use use) ([]string, error) {
	isType := func(want string) bool { return jws.IsType(typ, want) }
	switch {
	case use == forConnection && isType(jws.TicketType):
		return ticketAudience, nil
	case (use == forRefresh || use == forLogout) && isType(jws.RefreshType):
		return refreshAudience, nil
	case (use == forAccess || use == forLogout) && slices.ContainsFunc(i.types, isType):
		return i.audience, nil
	}
	return nil, errWrongType
}

// signatureError is the answer if the signature of a token could not be verified.
func signatureError(err error) error {
	switch err {
	case jws.ErrSignature:
		return errSignature
	case jws.ErrUnknownKey:
		return errUnknownKey
	}
	switch err := err.(type) {
	case *jws.MalformedError:
		return because(errMalformed, err)
	case *Error: // of beforeFetch
		return err
	}
	return unavailable(err)
}

// issuerOf chooses the issuer. If there are several, the unverified "iss" selects the keys that must verify the token.
// Afterwards checkIdentity checks the claim.
func (v *Verifier) issuerOf(token jws.Token) (*issuer, error) {
	if v.only != nil {
		return v.only, nil
	}
	claims, err := unverifiedIssuer(token)
	if err != nil {
		return nil, because(errMalformed, err)
	}
	if from := v.issuers[claims.Issuer]; from != nil && claims.Issuer != "" {
		return from, nil
	}
	for _, from := range v.patterns {
		if from.named(claims) {
			return from, nil
		}
	}
	return nil, errIssuer
}

// beforeFetch refuses the tokens of other issuers. They must not make a service ask its issuer for keys, and it does not matter
// to them that these cannot be had.
func (i *issuer) beforeFetch(token jws.Token) error {
	if i.name == "" {
		return nil
	}
	claims, err := unverifiedIssuer(token)
	switch {
	case err != nil:
		return because(errMalformed, err)
	case !i.named(claims):
		return errIssuer
	}
	return nil
}

// unverifiedIssuer reads the "iss" of a token whose signature was not verified. The Claims also hold the payload, because a
// pattern ([foreign.fits]) needs other claims. The caller uses them only to choose an issuer.
func unverifiedIssuer(token jws.Token) (*Claims, error) {
	payload, err := token.UnverifiedPayload()
	if err != nil {
		return nil, err
	}
	c := &Claims{payload: payload}
	s := strictjson.Scan(payload)
	for s.Next() {
		if s.Name() == "iss" {
			c.Issuer = s.String()
		}
	}
	return c, s.Err()
}

// checkIdentity checks the claims "iss" and "aud". The signers are the keys that have signed the token.
func (i *issuer) checkIdentity(c *Claims, audience []string, signers []*keys.Key) error {
	maySign := func(k *keys.Key) bool { return maySignFor(k, c.Issuer) }
	switch {
	case i.name != "" && !i.named(c), i.foreign != nil && !slices.ContainsFunc(signers, maySign):
		return errIssuer
	case len(audience) > 0 && !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(c.Audience, a) }):
		return errAudience
	}
	return nil
}

// named reports whether the "iss" of a token is the name of the issuer.
func (i *issuer) named(c *Claims) bool {
	if i.foreign != nil && i.foreign.pattern {
		return i.foreign.fits(i.name, c)
	}
	return c.Issuer == i.name
}

// logRefusal logs why a token was refused, at the level Debug, and returns the error.
func (v *Verifier) logRefusal(ctx context.Context, topic logTopic, err error) error {
	if v.refusals[topic].Due() {
		v.logger.DebugContext(ctx, "signet: a token was refused; more such tokens are not logged for a minute", "error", err)
	}
	return err
}
