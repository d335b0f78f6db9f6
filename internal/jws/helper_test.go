package jws

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// source is a source of keys that a test controls. Each Refetch moves on to the next of the newer sets.
type source struct {
	set   *keys.Set
	newer []*keys.Set
	err   error
	asked int // calls of Refetch
}

func (s *source) Current() *keys.Set { return s.set }

func (s *source) Refetch(context.Context, *keys.Set) (*keys.Set, error) {
	s.asked++
	if s.err != nil {
		return nil, s.err
	}
	if len(s.newer) > 0 {
		s.set, s.newer = s.newer[0], s.newer[1:]
	}
	return s.set, nil
}

// edKey is an Ed25519 key that depends only on its id.
func edKey(id string) *keys.Key {
	seed := [ed25519.SeedSize]byte{}
	copy(seed[:], id)
	return keys.Private(ed25519.NewKeyFromSeed(seed[:]), keys.WithID(id))
}

func setOf(t testing.TB, list ...*keys.Key) *keys.Set {
	t.Helper()
	set, err := keys.NewSet(nil, list...)
	require.NoError(t, err)
	return set
}

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign makes a token with any header.
func sign(t testing.TB, key *keys.Key, header, payload string) string {
	t.Helper()
	input := encode(header) + "." + encode(payload)
	signature, err := key.Sign(context.Background(), []byte(input))
	require.NoError(t, err)
	return input + "." + encode(string(signature))
}

// edHeader is the header of an access token of an Ed25519 key.
func edHeader(kid string) string { return `{"alg":"EdDSA","kid":"` + kid + `","typ":"at+jwt"}` }

// damaged returns the token with another signature.
func damaged(token string) string {
	dot := strings.LastIndexByte(token, '.')
	return token[:dot+1] + strings.Repeat("A", len(token)-dot-1)
}

func verify(t testing.TB, r *Reader, text string) (Verified, error) {
	t.Helper()
	token, err := Open(text, MaxForeignToken)
	if err != nil {
		return Verified{}, err
	}
	defer token.Close()
	return r.Verify(context.Background(), token)
}
