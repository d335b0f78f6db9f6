package signet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/signet-go/signet/internal/strictjson"
)

// The types of our own tokens (RFC 8725 section 3.11): they keep access and refresh tokens apart.
const (
	accessType  = "at+jwt" // RFC 9068 section 2.1
	refreshType = "rt+jwt"
)

// Verifier checks access tokens. It is safe for concurrent use. Auth has one inside; make one with NewVerifier for a
// service that checks tokens and does not issue them.
type Verifier struct {
	verifierConfig
	issuers map[string]*issuer
	only    *issuer // the one issuer, when there is one

	cache    *tokenCache // nil: off
	sessions *sessions   // nil where there are none to be revoked

	stop context.CancelFunc // of the goroutines that fetch keys
	done sync.WaitGroup
}

// issuer is one party whose tokens are accepted. It never changes; its key source may.
type issuer struct {
	name       string // "": tokens need no "iss"
	audience   []string
	algorithms []Algorithm // nil: those of its keys
	keys       keySource
}

// NewVerifier returns a Verifier for the tokens of whoever holds the keys. It reports every mistake in keys and options in
// one joined error.
func NewVerifier(keys VerificationKeys, opts ...VerifierOption) (*Verifier, error) {
	cfg := defaultVerifierConfig()
	for _, opt := range opts {
		if opt == nil {
			cfg.mistake("NewVerifier", "an option is nil")
			continue
		}
		opt.applyVerifier(&cfg)
	}
	return newVerifier(keys, cfg)
}

func newVerifier(keys VerificationKeys, cfg verifierConfig) (*Verifier, error) {
	if keys == nil {
		return nil, errors.Join(append(cfg.errs, errors.New("signet: the key is nil; pass signet.Secret(...) or another key"))...)
	}
	issuers, err := keys.sources(&cfg)
	if err := errors.Join(append(cfg.errs, err)...); err != nil {
		return nil, err
	}
	v := &Verifier{verifierConfig: cfg, issuers: make(map[string]*issuer, len(issuers))}
	for _, iss := range issuers {
		v.issuers[iss.name] = iss
	}
	if len(issuers) == 1 {
		v.only = issuers[0]
	}
	if cfg.cacheEntries > 0 {
		v.cache = newTokenCache(cfg.cacheEntries)
	}
	ctx, stop := context.WithCancel(context.Background())
	v.stop = stop
	for _, iss := range issuers {
		if remote, ok := iss.keys.(*remoteKeys); ok {
			v.done.Go(func() { remote.run(ctx) })
		}
	}
	return v, nil
}

// Format implements fmt.Formatter: a Verifier prints as its name alone.
func (v *Verifier) Format(state fmt.State, _ rune) { fmt.Fprint(state, "signet.Verifier") }

// Close ends the goroutines that fetch keys, and waits for them: one for each JWKS that NewVerifier was given.
func (v *Verifier) Close() error {
	v.stop()
	v.done.Wait()
	return nil
}

// Verify checks an access token and returns its claims. The error is ErrInvalidToken (ErrExpiredToken if that is all that
// is wrong), or ErrUnavailable when the keys or the revocations cannot be had now. It is what RequireAuth does, for
// gRPC, WebSockets and command lines.
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
			return claims, v.checkNow(claims)
		}
	}
	claims, err := v.verifySigned(ctx, token, v.types)
	if err == nil {
		err = v.checkNow(claims)
	}
	if err == nil && v.cache != nil {
		v.cache.put(hash, token, claims, v.clock())
	}
	return claims, err
}

// checkNow checks what changes with time: every request does it, whether its token was seen before or not.
func (v *Verifier) checkNow(claims *Claims) error {
	if err := v.checkTimes(claims); err != nil {
		return err
	}
	if v.sessions != nil && claims.SessionID != "" {
		return v.sessions.check(claims)
	}
	return nil
}

// verifySigned checks everything about a token that does not change with time. Whatever is wrong, a bad signature is the
// only thing that is reported of a token that has one.
func (v *Verifier) verifySigned(ctx context.Context, token string, types []string) (*Claims, error) {
	parts, ok := splitJWS(token, v.maxToken)
	if !ok {
		return nil, errMalformed
	}
	buf := scratches.Get().(*scratch)
	defer scratches.Put(buf)
	buf.load(token)

	from, err := v.issuerOf(buf, parts)
	if err != nil {
		return nil, err
	}
	set, err := currentKeys(ctx, from.keys)
	if err != nil {
		return nil, err
	}
	header, known := set.headers.get(parts.header)
	if !known {
		if header, set, err = resolveHeader(ctx, buf, parts, from, set); err != nil {
			return nil, err
		}
	}
	if from.algorithms != nil && !slices.Contains(from.algorithms, header.alg) {
		return nil, errSignature
	}
	signature, ok := decodeSegment(buf.decoded, buf.token[len(parts.signingInput)+1:])
	if !ok {
		return nil, errMalformed
	}
	if !header.key.verify(buf.token[:len(parts.signingInput)], signature) {
		return nil, errSignature
	}
	if !known {
		set.headers.add(parts.header, header)
	}
	if !slices.ContainsFunc(types, header.isType) {
		return nil, errWrongType
	}
	payload, ok := decodeSegment(buf.decoded, buf.token[len(parts.header)+1:len(parts.signingInput)])
	if !ok {
		return nil, errMalformed
	}
	claims, err := parseClaims(string(payload))
	if err != nil {
		return nil, errMalformed
	}
	claims.from, claims.keys = from, set
	if v.sessions != nil {
		claims.sessionHash = v.sessions.revoked.hash(claims.SessionID)
	}
	return claims, from.checkIdentity(claims)
}

// issuerOf chooses the issuer. With several, the still unverified "iss" names the one whose keys must verify the token;
// the claim is checked again afterwards, like all others.
func (v *Verifier) issuerOf(buf *scratch, parts compactJWS) (*issuer, error) {
	if v.only != nil {
		return v.only, nil
	}
	payload, ok := decodeSegment(buf.decoded, buf.token[len(parts.header)+1:len(parts.signingInput)])
	if !ok {
		return nil, errMalformed
	}
	name := ""
	s := strictjson.Scan(string(payload))
	for s.Next() {
		if s.Name() == "iss" {
			name = s.String()
		}
	}
	if s.Err() != nil {
		return nil, errMalformed
	}
	if from := v.issuers[name]; from != nil && name != "" {
		return from, nil
	}
	return nil, errIssuer
}

func currentKeys(ctx context.Context, source keySource) (*keySet, error) {
	if set := source.current(); set != nil {
		return set, nil
	}
	set, err := source.refetch(ctx)
	if err == nil && set == nil {
		err = errors.New("the key source has no keys")
	}
	if err != nil {
		return nil, unavailable(err)
	}
	return set, nil
}

// resolveHeader reads a header that was not seen before and finds its key, in a newer set if the current one has none: the
// first token after a key roll must verify.
func resolveHeader(ctx context.Context, buf *scratch, parts compactJWS, from *issuer, set *keySet) (joseHeader, *keySet,
	error) {
	text, ok := decodeSegment(buf.decoded, buf.token[:len(parts.header)])
	if !ok {
		return joseHeader{}, nil, errMalformed
	}
	header, ok := parseHeader(string(text))
	if !ok {
		return joseHeader{}, nil, errMalformed
	}
	if header.key = set.find(header.kid); header.key == nil {
		newer, err := from.keys.refetch(ctx)
		if err != nil {
			return joseHeader{}, nil, unavailable(err)
		}
		set = newer
		header.key = set.find(header.kid)
	}
	if header.key == nil || header.key.alg != header.alg {
		return joseHeader{}, nil, errSignature
	}
	return header, set, nil
}

// checkIdentity checks the claims that say who made the token, for whom, and of whom it speaks.
func (i *issuer) checkIdentity(c *Claims) error {
	switch {
	case c.Subject == "", !c.has.exp, !c.has.iat:
		return errMalformed
	case i.name != "" && c.Issuer != i.name:
		return errIssuer
	case len(i.audience) > 0 && !slices.ContainsFunc(i.audience, func(a string) bool { return slices.Contains(c.Audience, a) }):
		return errAudience
	}
	return nil
}

// checkTimes checks the claims that a clock decides. The leeway is for clocks that differ, not for lifetimes: "exp" is
// exact.
func (v *Verifier) checkTimes(c *Claims) error {
	now, leeway := v.clock().Unix(), int64(v.leeway/time.Second)
	switch {
	case now >= c.ExpiresAt.Unix():
		return errExpired
	case c.IssuedAt.Unix() > now+leeway, c.has.nbf && c.NotBefore.Unix() > now+leeway:
		return errNotYet
	}
	return nil
}
