// Package jws reads and writes tokens in the compact form of a JWS (RFC 7515 section 7.1). [Reader] verifies
// signatures, and [Writer] makes them. This package does not know what the claims in a payload mean.
package jws

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"strings"
	"sync"
)

// The types of signet's own tokens (RFC 8725 section 3.11). They keep access and refresh tokens apart.
const (
	AccessType  = "at+jwt" // RFC 9068 section 2.1
	RefreshType = "rt+jwt"
	TicketType  = "ticket+jwt"
)

// The longest tokens, in bytes. Entra puts up to 200 groups into a token, each with 36 bytes.
const (
	MaxToken        = 8 << 10  // of signet
	MaxForeignToken = 16 << 10 // of other issuers
)

// maxHeader limits the length of an encoded protected header. The headers of signet have about 130 bytes.
const maxHeader = 1024

// The errors of tokens that are well formed.
var (
	// ErrSignature says that the named key has not made this signature over this token with its one algorithm.
	ErrSignature = errors.New("the signature does not verify")
	// ErrUnknownKey says that the key source has no key with the id that the header names.
	ErrUnknownKey = errors.New("the key that the header names is unknown")
)

// MalformedError says which rule the form of a token breaks. It never holds a part of the token.
type MalformedError struct{ Rule string }

// Error returns the rule.
func (e *MalformedError) Error() string { return e.Rule }

var (
	errLength    = &MalformedError{"it is longer than 8,192 bytes"}
	errTooLong   = &MalformedError{"it is longer than 16,384 bytes"}
	errLineBreak = &MalformedError{"it has a line break"}
	errParts     = &MalformedError{"it has not exactly three parts between two dots"}
	errHeadSize  = &MalformedError{"its header is longer than 1,024 bytes"}
	errBase64    = &MalformedError{"a part is not base64url without padding"}
)

// Token is a compact JWS that is cut into its parts. Nothing in it is verified. It uses pooled buffers until Close, and
// is not safe for concurrent use.
type Token struct {
	header, payload, signature string // still encoded
	buf                        *buffers
}

// buffers are the memory of one verification or signature.
type buffers struct {
	token   []byte // the encoded token
	decoded []byte // the part that is being decoded
	hash    hash.Hash
	sum     []byte
}

var pool = sync.Pool{New: func() any {
	return &buffers{token: make([]byte, 0, 1024), decoded: make([]byte, 0, 1024), hash: sha256.New(), sum: make([]byte, 0, sha256.Size)}
}}

// Open checks the outer form of a token. The token must not be longer than limit bytes, and exactly two dots must separate
// three parts that are not empty. So Open refuses the JSON forms of a JWS, and a JWE, which has four dots. The caller must
// call Close if there is no error.
//
// A token with an HMAC, RSA or Ed25519 signature has exactly one valid spelling. For an ECDSA signature (r, s), the
// signature (r, n-s) is valid too. So the text of a token must never be used to identify or to revoke it.
func Open(text string, limit int) (Token, error) {
	if len(text) > limit {
		if limit == MaxToken {
			return Token{}, errLength
		}
		return Token{}, errTooLong
	}
	// encoding/base64 ignores line breaks, so one token could be written in many ways.
	if contains(text, '\n') || contains(text, '\r') {
		return Token{}, errLineBreak
	}
	first := strings.IndexByte(text, '.')
	if first <= 0 {
		return Token{}, errParts
	}
	rest := text[first+1:]
	second := strings.IndexByte(rest, '.')
	if second <= 0 || second == len(rest)-1 || contains(rest[second+1:], '.') {
		return Token{}, errParts
	}
	buf := pool.Get().(*buffers)
	buf.token = append(buf.token[:0], text...)
	if cap(buf.decoded) < len(text) { // room for any part
		buf.decoded = make([]byte, 0, len(text))
	}
	return Token{header: text[:first], payload: rest[:second], signature: rest[second+1:], buf: buf}, nil
}

// contains is for single bytes. Every request calls it, and strings.ContainsAny is several times slower.
func contains(text string, c byte) bool { return strings.IndexByte(text, c) >= 0 }

// maxKept is up to how many bytes a buffer is kept. A long document must not hold memory for a long time.
const maxKept = 2 * MaxForeignToken

// Close gives the buffers back.
func (t Token) Close() {
	if cap(t.buf.token) <= maxKept { // and so the other buffer, which is never longer
		pool.Put(t.buf)
	}
}

// base64URL refuses padding, and a last character whose unused bits are not zero.
var base64URL = base64.RawURLEncoding.Strict()

// decode decodes the part of the token from start to end. The result is valid until the next call.
func (t Token) decode(start, end int) ([]byte, error) {
	n, err := base64URL.Decode(t.buf.decoded[:cap(t.buf.decoded)], t.buf.token[start:end])
	if err != nil {
		return nil, errBase64
	}
	return t.buf.decoded[:n], nil
}

func (t Token) decodeHeader() ([]byte, error) { return t.decode(0, len(t.header)) }

func (t Token) decodeSignature() ([]byte, error) {
	return t.decode(len(t.signingInput())+1, len(t.buf.token))
}

func (t Token) signingInput() []byte { return t.buf.token[:len(t.header)+1+len(t.payload)] }

// UnverifiedPayload returns the decoded payload, even if the signature is bad or was not checked.
func (t Token) UnverifiedPayload() (string, error) {
	payload, err := t.decode(len(t.header)+1, len(t.header)+1+len(t.payload))
	return string(payload), err
}

// IsType reports whether a "typ" is the wanted one (RFC 7515 section 4.1.9). It ignores case, and "application/" at the
// beginning.
func IsType(typ, want string) bool { return strings.EqualFold(shortType(typ), shortType(want)) }

func shortType(typ string) string {
	const prefix = "application/"
	if len(typ) > len(prefix) && strings.EqualFold(typ[:len(prefix)], prefix) {
		return typ[len(prefix):]
	}
	return typ
}
