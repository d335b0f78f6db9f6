package interop

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

// TestLibrariesFollowAKeyChange takes every library through key changes by Announce, Rotate and Retire.
func TestLibrariesFollowAKeyChange(t *testing.T) {
	type change struct {
		name        string
		first, next *keys.Key
	}
	rsaKey := signers()[keys.RS256][0]
	changes := []change{
		{"from RS256 to ES256", signingKey(keys.RS256, 0), signingKey(keys.ES256, 0)},
		{"from RS256 to PS256 with the same RSA key", keys.Private(rsaKey), keys.Private(rsaKey, keys.WithAlgorithm(keys.PS256))},
	}
	for _, algorithm := range algorithms {
		if algorithm != keys.HS256 { // no key set shows a secret
			changes = append(changes, change{string(algorithm), signingKey(algorithm, 0), signingKey(algorithm, 1)})
		}
	}
	for _, c := range changes {
		t.Run(c.name, func(t *testing.T) {
			for _, lib := range libraries {
				t.Run(lib.name, func(t *testing.T) {
					lib.needs(t, c.first.Algorithm(), c.next.Algorithm())
					lib.followsKeyChange(t, c.first, c.next)
				})
			}
		})
	}
}

func (lib library) followsKeyChange(t *testing.T, first, next *keys.Key) {
	ring, err := keys.NewRing(first)
	require.NoError(t, err)
	s := newService(t, ring)
	from := s.source(first.Algorithm(), next.Algorithm())
	from.cooldown = 100 * time.Millisecond

	early := lib.open(t, from) // fetches the key set before the next key is in it
	before := s.token(t, first)
	accepts(t, early, before)

	require.NoError(t, ring.Announce(next))
	late := lib.open(t, from)
	announced := s.token(t, first)
	for _, v := range []verifier{early, late} {
		accepts(t, v, before)
		accepts(t, v, announced)
	}

	require.NoError(t, ring.Rotate(next))
	rotated := s.token(t, next)
	accepts(t, late, rotated)
	learns(t, early, rotated)
	for _, v := range []verifier{early, late, lib.open(t, from)} {
		accepts(t, v, before)
		accepts(t, v, announced)
		accepts(t, v, rotated)
	}

	require.NoError(t, ring.Retire(first.ID()))
	fresh := lib.open(t, from)
	lib.refused(t, fresh, before, retired)
	accepts(t, fresh, rotated)
	lib.refused(t, fresh, announced, retired)
	accepts(t, early, rotated)
	if _, err := late.verify(before); err == nil { // how long it remembers keys is its own affair
		t.Log("a running verifier remembers the retired key")
	}
}

// token returns an access token, which a certain key must have signed.
func (s *service) token(t testing.TB, key *keys.Key) string {
	t.Helper()
	token := s.login(t).AccessToken
	require.Equal(t, key.ID(), part(t, token, 0)["kid"])
	require.EqualValues(t, key.Algorithm(), part(t, token, 0)["alg"])
	return token
}

func accepts(t testing.TB, v verifier, token string) {
	t.Helper()
	_, err := v.verify(token)
	require.NoError(t, err)
}

// learns wants a running verifier to accept the token of a key that it has not seen: at once, after its cooldown, or when it
// is told to fetch the key set again.
func learns(t testing.TB, v verifier, token string) {
	t.Helper()
	accepted := func() bool {
		_, err := v.verify(token)
		return err == nil
	}
	switch {
	case accepted():
		t.Log("a running verifier accepts the next key at once")
	case v.refresh != nil:
		require.NoError(t, v.refresh())
		accepts(t, v, token)
		t.Log("a running verifier accepts the next key when it is told to fetch the key set")
	default:
		require.Eventually(t, accepted, 5*time.Second, 50*time.Millisecond)
		t.Log("a running verifier accepts the next key after its cooldown")
	}
}
