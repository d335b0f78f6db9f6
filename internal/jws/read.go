package jws

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
)

// Reader verifies the tokens of one issuer. It is safe for concurrent use.
type Reader struct {
	source  keys.Source
	rules   Rules
	good    *Signatures // nil: every signature is verified
	headers atomic.Pointer[headers]
	absent  absentKeys
}

// Rules say what a Reader accepts.
type Rules struct {
	Algorithms []keys.Algorithm // nil: the algorithms that the keys are made for
	// Foreign is for issuers other than signet. Then header members that ask to fetch or trust a key are ignored and
	// not refused, a header without a key id may mean one of several keys, and "Ed25519" is another name of EdDSA (RFC
	// 9864).
	Foreign bool
	// BeforeFetch is called before keys are fetched for a token, whose signature is not verified yet. An error refuses the token:
	// nothing is fetched, and Verify returns the error. nil: keys are fetched for every token.
	BeforeFetch func(Token) error
}

// NewReader returns a Reader that finds keys in the source. Several Readers can share the Signatures, which may be nil.
func NewReader(source keys.Source, rules Rules, good *Signatures) *Reader {
	return &Reader{source: source, rules: rules, good: good}
}

// Verified is a token whose signature is good. The claims in its payload are not verified yet.
type Verified struct {
	Type    string      // the header's "typ"
	Payload string      // decoded
	Keys    *keys.Set   // the set with the key that verified it
	Signers []*keys.Key // the keys of the set that have signed it: several if one key is there several times

	Remembered bool // its signature was known to be good, and was not checked again
}

// UnavailableError says that the keys are not available now.
type UnavailableError struct{ Cause error }

// Error describes the cause.
func (e *UnavailableError) Error() string { return "the keys are not available: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Current returns the keys that are in force, or nil if there are none yet.
func (r *Reader) Current() *keys.Set { return r.source.Current() }

// Verify checks the signature of a token. If the signature is bad, it reports only that, and nothing about the payload.
// The error is ErrSignature, ErrUnknownKey, a *MalformedError, an *UnavailableError or that of [Rules].BeforeFetch.
func (r *Reader) Verify(ctx context.Context, t Token) (Verified, error) {
	set, err := r.keySet(ctx, t)
	if err != nil {
		return Verified{}, err
	}
	head, secret := r.knownHeader(set, t.header)
	known := secret != nil
	if !known {
		if head, set, err = r.resolve(ctx, t, set); err != nil {
			return Verified{}, err
		}
	}
	verifiedWith, remember := set, known && r.good != nil && head.worthRemembering()
	var hash sum
	if remember {
		if hash = t.sum(secret); r.good.has(hash) {
			payload, err := t.UnverifiedPayload()
			return Verified{Type: head.typ, Payload: payload, Keys: set, Signers: head.keys, Remembered: true}, err
		}
	}
	signature, err := t.decodeSignature()
	if err != nil {
		return Verified{}, err
	}
	signers := head.signers(t.signingInput(), signature)
	// Without a key id, the set cannot tell that the key is new. So newer keys are tried too.
	if signers == nil && r.rules.Foreign && head.kid == "" {
		if head, set, signers, err = r.tryNewer(ctx, t, head, set); err != nil {
			return Verified{}, err
		}
	}
	if signers == nil {
		return Verified{}, ErrSignature
	}
	switch {
	case !known:
		r.remember(set, t.header, head)
	case remember && set == verifiedWith:
		r.good.add(hash)
	}
	payload, err := t.UnverifiedPayload()
	return Verified{Type: head.typ, Payload: payload, Keys: set, Signers: signers}, err
}

// tryNewer verifies a token with newer keys, if there are any. It is for tokens whose header names no key.
func (r *Reader) tryNewer(ctx context.Context, t Token, head header, set *keys.Set) (header, *keys.Set, []*keys.Key, error) {
	newer, err := r.refetch(ctx, t, set)
	if err != nil || newer == set {
		return head, set, nil, err
	}
	signature, err := t.decodeSignature() // again: meanwhile the buffer may have held another part
	if err != nil {
		return head, set, nil, err
	}
	head.keys, _ = newer.Find("", head.algorithm, r.rules.Algorithms)
	return head, newer, head.signers(t.signingInput(), signature), nil
}

func (r *Reader) keySet(ctx context.Context, t Token) (*keys.Set, error) {
	set := r.source.Current()
	if set.Empty() {
		return r.refetch(ctx, t, set)
	}
	return set, nil
}

// refetchTimeout is for the sources of hosts. Strangers can name keys that cause a fetch.
const refetchTimeout = 5 * time.Second

// refetch returns a newer set than the one that lacks the key of the token.
func (r *Reader) refetch(ctx context.Context, t Token, lacking *keys.Set) (*keys.Set, error) {
	if r.rules.BeforeFetch != nil {
		if err := r.rules.BeforeFetch(t); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, refetchTimeout)
	defer cancel()
	set, err := r.source.Refetch(ctx, lacking)
	if err == nil && set.Empty() {
		err = errors.New("the key source has none")
	}
	if err != nil {
		return nil, &UnavailableError{err}
	}
	r.absent.note(set, time.Now())
	return set, nil
}

// header holds the members of a protected header that matter.
type header struct {
	algorithm keys.Algorithm
	kid       string
	typ       string
	keys      []*keys.Key // those that may have signed the token, with the header's algorithm
}

// wanted names the key that the header asks for.
func (h *header) wanted() string { return h.kid + " " + string(h.algorithm) }

// signers returns the keys that have made the signature, or nil. If no key names an issuer, the first one is enough.
func (h *header) signers(input, signature []byte) (signers []*keys.Key) {
	for i, key := range h.keys {
		switch {
		case !key.Verify(input, signature):
		case !h.namesIssuers():
			return h.keys[i : i+1]
		default:
			signers = append(signers, key)
		}
	}
	return signers
}

// namesIssuers reports whether it matters which one of several keys has signed.
func (h *header) namesIssuers() bool {
	return len(h.keys) > 1 && slices.ContainsFunc(h.keys, func(k *keys.Key) bool { return k.Issuer() != "" })
}

// resolve reads a header that was not seen before, and finds its keys. If the current set does not have the key, it
// looks in a newer set, because the first token after a key change must verify.
func (r *Reader) resolve(ctx context.Context, t Token, set *keys.Set) (header, *keys.Set, error) {
	if !r.rules.Foreign && len(t.header) > maxHeader {
		return header{}, nil, errHeadSize
	}
	text, err := t.decodeHeader()
	if err != nil {
		return header{}, nil, err
	}
	head, err := r.parseHeader(string(text))
	if err != nil {
		return header{}, nil, err
	}
	found, known := set.Find(head.kid, head.algorithm, r.rules.Algorithms)
	// There are two tries, because the first newer set may be older than the key of this token.
	for tries := 0; !known; tries++ {
		lacking := set
		set, err = r.refetch(ctx, t, lacking)
		if errors.Is(err, keys.ErrTooSoon) && r.absent.has(head.wanted(), time.Now()) {
			return header{}, nil, ErrUnknownKey
		}
		if err != nil {
			return header{}, nil, err
		}
		found, known = set.Find(head.kid, head.algorithm, r.rules.Algorithms)
		if !known && (set == lacking || tries == 1) {
			r.absent.add(head.wanted(), set, time.Now())
			return header{}, nil, ErrUnknownKey
		}
	}
	if len(found) == 0 {
		return header{}, nil, ErrUnknownKey
	}
	head.keys = found
	return head, set, nil
}

// parseHeader reads a protected header. It refuses headers with members that could make another reader see another
// token (RFC 8725 sections 3.1, 3.6 and 3.10). It also refuses headers with members that hold a key or tell where to
// fetch one, unless the issuer is foreign. Such a key is never used, not even for a foreign issuer. Unknown members are
// ignored (RFC 7515 section 4).
func (r *Reader) parseHeader(text string) (h header, err error) {
	s := strictjson.Scan(text)
	for s.Next() {
		if r.rules.Foreign && s.Raw() == "null" {
			continue // absent
		}
		switch s.Name() {
		case "alg":
			h.algorithm = keys.Algorithm(s.String())
			if r.rules.Foreign && h.algorithm == "Ed25519" {
				h.algorithm = keys.EdDSA
			}
		case "kid":
			h.kid = s.String()
		case "typ":
			h.typ = s.String()
		case "jwk", "jku", "x5u", "x5c":
			if !r.rules.Foreign {
				return h, &MalformedError{fmt.Sprintf("its header has the member %q", s.Name())}
			}
		case "crit", "b64", "zip", "enc":
			// ForgeRock writes "zip": "NONE", which means that nothing is compressed.
			if !r.rules.Foreign || s.Name() != "zip" || s.Raw() != `"NONE"` {
				return h, &MalformedError{fmt.Sprintf("its header has the member %q", s.Name())}
			}
		}
	}
	switch err := s.Err(); {
	case err != nil:
		return h, &MalformedError{"its header: " + err.Error()}
	case h.algorithm == "":
		return h, &MalformedError{`its header has no "alg"`}
	}
	return h, nil
}

// headers are the parsed headers of tokens that one key set has verified. The key of the map is the encoded header: all
// tokens of one key and one type have the same one. Only headers of tokens with a good signature are stored, so nobody
// can fill the map without a key. A headers value never changes: a new header makes a new map, and a new key set begins
// with an empty map and another secret.
type headers struct {
	set    *keys.Set
	secret *[32]byte // for Signatures
	known  map[string]header
}

const maxHeaders = 256

// knownHeader returns a header that was seen before, and the secret of the set; nil if it was not seen.
func (r *Reader) knownHeader(set *keys.Set, encoded string) (header, *[32]byte) {
	h := r.headers.Load()
	if h == nil || h.set != set {
		return header{}, nil
	}
	head, ok := h.known[encoded]
	if !ok {
		return header{}, nil
	}
	return head, h.secret
}

func (r *Reader) remember(set *keys.Set, encoded string, head header) {
	old := r.headers.Load()
	next := &headers{set: set, known: map[string]header{}}
	if old != nil && old.set == set {
		next.known, next.secret = maps.Clone(old.known), old.secret
		if len(next.known) >= maxHeaders { // a set with more keys, or headers that change all the time
			for some := range next.known {
				delete(next.known, some)
				break
			}
		}
	} else {
		next.secret = new([32]byte)
		rand.Read(next.secret[:]) // never fails
	}
	next.known[strings.Clone(encoded)] = head
	r.headers.CompareAndSwap(old, next) // if another goroutine was first, the next token tries again
}
