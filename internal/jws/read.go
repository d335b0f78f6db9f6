package jws

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
)

// Reader verifies the tokens of one issuer. It is safe for concurrent use.
type Reader struct {
	source     keys.Source
	algorithms []keys.Algorithm // nil: those of the keys
	headers    atomic.Pointer[headers]
}

// NewReader returns a Reader that finds keys in the source, and takes no signature with another algorithm than those of the list; nil
// allows whatever algorithms the keys have.
func NewReader(source keys.Source, algorithms []keys.Algorithm) *Reader {
	return &Reader{source: source, algorithms: slices.Clone(algorithms)}
}

// Verified is a token whose signature was verified. Nothing in its payload is.
type Verified struct {
	Type    string    // the header's "typ"
	Payload string    // decoded
	Keys    *keys.Set // the keys that verified it
}

// UnavailableError says that the keys cannot be had now.
type UnavailableError struct{ Cause error }

// Error describes the cause.
func (e *UnavailableError) Error() string { return "the keys cannot be had: " + e.Cause.Error() }

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Cause }

// Current returns the keys that are in force, nil if there are none yet.
func (r *Reader) Current() *keys.Set { return r.source.Current() }

// Verify checks the signature of a token. Of a token that has a bad signature it reports nothing else. The error is ErrSignature,
// ErrUnknownKey, a *MalformedError or an *UnavailableError.
func (r *Reader) Verify(ctx context.Context, t Token) (Verified, error) {
	set, err := r.keySet(ctx)
	if err != nil {
		return Verified{}, err
	}
	head, known := r.knownHeader(set, t.header)
	if !known {
		if head, set, err = r.resolve(ctx, t, set); err != nil {
			return Verified{}, err
		}
	}
	signature, err := t.decodeSignature()
	if err != nil {
		return Verified{}, err
	}
	if !head.key.Verify(t.signingInput(), signature) {
		return Verified{}, ErrSignature
	}
	if !known {
		r.remember(set, t.header, head)
	}
	payload, err := t.UnverifiedPayload()
	return Verified{Type: head.typ, Payload: payload, Keys: set}, err
}

func (r *Reader) keySet(ctx context.Context) (*keys.Set, error) {
	if set := r.source.Current(); set != nil {
		return set, nil
	}
	return r.refetch(ctx)
}

func (r *Reader) refetch(ctx context.Context) (*keys.Set, error) {
	set, err := r.source.Refetch(ctx)
	if err == nil && set == nil {
		err = errors.New("the key source has none")
	}
	if err != nil {
		return nil, &UnavailableError{err}
	}
	return set, nil
}

// header is what counts of a protected header.
type header struct {
	algorithm keys.Algorithm
	kid       string
	typ       string
	key       *keys.Key // the key that kid names; its algorithm is the header's
}

// resolve reads a header that was not seen before and finds its key. If the current set has no such key, it looks in a newer one: the
// first token after a key change must verify.
func (r *Reader) resolve(ctx context.Context, t Token, set *keys.Set) (header, *keys.Set, error) {
	text, err := t.decodeHeader()
	if err != nil {
		return header{}, nil, err
	}
	head, err := parseHeader(string(text))
	if err != nil {
		return header{}, nil, err
	}
	if head.key = set.Find(head.kid); head.key == nil {
		if set, err = r.refetch(ctx); err != nil {
			return header{}, nil, err
		}
		head.key = set.Find(head.kid)
	}
	if head.key == nil {
		return header{}, nil, ErrUnknownKey
	}
	if head.key.Algorithm() != head.algorithm || r.algorithms != nil && !slices.Contains(r.algorithms, head.algorithm) {
		return header{}, nil, ErrSignature
	}
	return head, set, nil
}

// parseHeader reads a protected header. Members that could make another reader see another token, or look for a key elsewhere,
// refuse it (RFC 8725 sections 3.1, 3.5 and 3.10). Unknown members mean nothing (RFC 7515 section 4).
func parseHeader(text string) (h header, err error) {
	s := strictjson.Scan(text)
	for s.Next() {
		switch s.Name() {
		case "alg":
			h.algorithm = keys.Algorithm(s.String())
		case "kid":
			h.kid = s.String()
		case "typ":
			h.typ = s.String()
		case "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc":
			return h, &MalformedError{fmt.Sprintf("its header has the member %q", s.Name())}
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

// headers are the parsed headers of tokens that one key set has verified, by their encoded form: all tokens of one key and one type share
// theirs. Only headers of tokens with a good signature enter, so nobody can fill it who does not hold a key. It never changes: a
// new header makes a new map, and a new key set begins with an empty one.
type headers struct {
	set   *keys.Set
	known map[string]header
}

const maxHeaders = 64

func (r *Reader) knownHeader(set *keys.Set, encoded string) (header, bool) {
	h := r.headers.Load()
	if h == nil || h.set != set {
		return header{}, false
	}
	head, ok := h.known[encoded]
	return head, ok
}

func (r *Reader) remember(set *keys.Set, encoded string, head header) {
	old := r.headers.Load()
	next := &headers{set: set, known: map[string]header{}}
	if old != nil && old.set == set {
		if len(old.known) >= maxHeaders {
			return
		}
		next.known = maps.Clone(old.known)
	}
	next.known[strings.Clone(encoded)] = head
	r.headers.CompareAndSwap(old, next) // whoever loses remembers it at the next token
}
