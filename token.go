package signet

import (
	"encoding/base64"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/signet-go/signet/internal/strictjson"
)

// The strict reader of compact JWS (RFC 7515 section 7.1). It accepts one spelling of a token and no other, looks at
// the signature before the claims, and takes nothing from the header but the name of a key that was configured.

// maxHeader bounds the encoded protected header. Ours have about 130 bytes; those that carry certificates are refused.
const maxHeader = 1024

// compactJWS is a token cut into its parts, still encoded.
type compactJWS struct {
	header, payload, signature string
	signingInput               string // header.payload
}

// splitJWS checks the outer form: its length first, then exactly two dots around three non-empty parts. The JSON forms
// of a JWS, and a JWE with its four dots, end here.
func splitJWS(token string, limit int) (parts compactJWS, ok bool) {
	// encoding/base64 passes over line breaks, which would give one token many spellings.
	if len(token) > limit || contains(token, '\n') || contains(token, '\r') {
		return parts, false
	}
	first := strings.IndexByte(token, '.')
	if first <= 0 || first > maxHeader {
		return parts, false
	}
	rest := token[first+1:]
	second := strings.IndexByte(rest, '.')
	if second <= 0 || second == len(rest)-1 || contains(rest[second+1:], '.') {
		return parts, false
	}
	return compactJWS{
		header:       token[:first],
		payload:      rest[:second],
		signature:    rest[second+1:],
		signingInput: token[:first+1+second],
	}, true
}

// base64URL refuses padding and non-zero bits after the last character.
var base64URL = base64.RawURLEncoding.Strict()

// decodeSegment decodes a part of a token that splitJWS accepted into buf, which has room for it.
func decodeSegment(buf, segment []byte) ([]byte, bool) {
	n, err := base64URL.Decode(buf[:cap(buf)], segment)
	return buf[:n], err == nil
}

// scratch are the buffers of one verification.
type scratch struct {
	token   []byte // the encoded token
	decoded []byte // the part being decoded
}

var scratches = sync.Pool{New: func() any {
	return &scratch{token: make([]byte, 0, 1024), decoded: make([]byte, 0, 1024)}
}}

// load copies the token, and makes room for any of its parts.
func (s *scratch) load(token string) {
	s.token = append(s.token[:0], token...)
	if cap(s.decoded) < len(token) {
		s.decoded = make([]byte, 0, len(token))
	}
}

// joseHeader is what counts of a protected header.
type joseHeader struct {
	alg Algorithm
	kid string
	typ string
	key *key // the key that kid names; its algorithm equals alg
}

// parseHeader reads a protected header. Members that could make another reader see another token, or look for a key
// elsewhere, refuse it (RFC 8725 sections 3.1, 3.5 and 3.10); unknown ones mean nothing (RFC 7515 section 4).
func parseHeader(text string) (h joseHeader, ok bool) {
	s := strictjson.Scan(text)
	for s.Next() {
		switch s.Name() {
		case "alg":
			h.alg = Algorithm(s.String())
		case "kid":
			h.kid = s.String()
		case "typ":
			h.typ = s.String()
		case "crit", "b64", "jwk", "jku", "x5u", "x5c", "zip", "enc":
			return h, false
		}
	}
	return h, s.Err() == nil && h.alg != ""
}

// isType compares a "typ" with the wanted one (RFC 7515 section 4.1.9: no case, "application/" may be left out).
func (h joseHeader) isType(want string) bool {
	const prefix = "application/"
	typ := h.typ
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		typ = typ[len(prefix):]
	}
	return strings.EqualFold(typ, want)
}

// headerCache remembers parsed headers by their encoded form: all tokens of one key and kind share theirs. Only headers
// of tokens with a good signature enter, and only a few, so nobody can fill it who does not hold a key.
type headerCache struct {
	mu    sync.Mutex // one writer at a time
	known atomic.Pointer[map[string]joseHeader]
}

const maxKnownHeaders = 64

func (c *headerCache) get(encoded string) (joseHeader, bool) {
	known := c.known.Load()
	if known == nil {
		return joseHeader{}, false
	}
	h, ok := (*known)[encoded]
	return h, ok
}

func (c *headerCache) add(encoded string, h joseHeader) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := map[string]joseHeader{}
	if known := c.known.Load(); known != nil {
		if len(*known) >= maxKnownHeaders {
			return
		}
		for k, v := range *known {
			next[k] = v
		}
	}
	next[strings.Clone(encoded)] = h
	c.known.Store(&next)
}
