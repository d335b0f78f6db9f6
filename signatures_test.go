package signet_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	mathrand "math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

func ecKey(t testing.TB, id string) *keys.Key {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return keys.Private(private, keys.WithID(id))
}

// many returns a service that signs with a ring, and a verifier whose cache of claims holds only a few tokens. So nearly
// every request meets the memory of good signatures.
func many(t testing.TB, key *keys.Key) (*signet.Auth, *keys.Ring) {
	t.Helper()
	ring, err := keys.NewRing(key)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithoutSessions(), signet.WithTokenCache(1<<20))
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	return auth, ring
}

func issueMany(t testing.TB, auth *signet.Auth, n int) (tokens []string) {
	t.Helper()
	user, err := newUsers(t).FindByID(t.Context(), "1")
	require.NoError(t, err)
	for range n {
		pair, err := auth.IssueFor(t.Context(), user)
		require.NoError(t, err)
		tokens = append(tokens, pair.AccessToken)
	}
	return tokens
}

// A token whose signature was good is not verified again, although the cache of claims has lost it. Whatever is changed in the
// token is found.
func TestManyLiveTokens(t *testing.T) {
	auth, _ := many(t, ecKey(t, "a"))
	tokens := issueMany(t, auth, 500)
	verify := func() {
		for _, token := range tokens {
			claims, err := auth.Verify(t.Context(), token)
			require.NoError(t, err)
			require.Equal(t, "1", claims.Subject)
		}
	}
	allocated := func(run func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		run()
		runtime.ReadMemStats(&after)
		return after.Mallocs - before.Mallocs
	}
	first := allocated(verify)
	second := allocated(verify)
	require.Less(t, second, first*2/3, "an ECDSA verification allocates, and a look-up does not")
	for i, token := range tokens[:50] {
		for _, forged := range forgeries(token) {
			_, err := auth.Verify(t.Context(), forged)
			require.ErrorIs(t, err, signet.ErrInvalidToken, "token %d", i)
		}
	}
}

// forgeries are a good token with one part changed, and with the other spelling of an ECDSA signature cut off.
func forgeries(token string) (list []string) {
	parts := strings.Split(token, ".")
	for i := range parts {
		for _, at := range []int{0, len(parts[i]) / 2} {
			changed := strings.Clone(parts[i])
			c := byte('A')
			if changed[at] == c {
				c = 'B'
			}
			changed = changed[:at] + string(c) + changed[at+1:]
			list = append(list, strings.Join(append(append(append([]string{}, parts[:i]...), changed), parts[i+1:]...), "."))
		}
	}
	return append(list, token+"A", token[:len(token)-1], token+"=", " "+token)
}

// A model: whatever the order of rotations, retirements, requests and forgeries, the answer is that of a verifier without a
// cache. Several goroutines ask at the same time.
func TestGoodSignaturesFollowTheKeys(t *testing.T) {
	first := ecKey(t, "0")
	auth, ring := many(t, first)
	plain, err := signet.NewVerifier(ring, signet.WithTokenCache(0))
	require.NoError(t, err)
	random := mathrand.New(mathrand.NewPCG(1, 2))
	tokens := map[string][]string{"0": issueMany(t, auth, 40)}
	live := []string{"0"}
	for round := range 12 {
		var wg sync.WaitGroup
		var wrong atomic.Int64
		for worker := range 4 {
			wg.Go(func() {
				for id := range tokens {
					for i, token := range tokens[id] {
						if i%4 != worker && round%2 == 0 {
							continue
						}
						_, got := auth.Verify(t.Context(), token)
						_, want := plain.Verify(t.Context(), token)
						if (got == nil) != (want == nil) {
							wrong.Add(1)
						}
					}
				}
			})
		}
		wg.Wait()
		require.Zero(t, wrong.Load(), "round %d", round)
		switch id := fmt.Sprint(round + 1); {
		case random.IntN(2) == 0:
			require.NoError(t, ring.Rotate(ecKey(t, id)))
			live = append(live, id)
			tokens[id] = issueMany(t, auth, 20)
		case len(live) > 1:
			retired := live[0]
			live = live[1:]
			require.NoError(t, ring.Retire(retired))
			for _, token := range tokens[retired] {
				_, err := auth.Verify(t.Context(), token)
				require.ErrorIs(t, err, signet.ErrInvalidToken, "a good signature of a key that is gone")
			}
		}
	}
}

// An attacker who has one good token cannot make the memory accept another one.
func TestTheOtherSpellingOfASignature(t *testing.T) {
	auth, _ := many(t, ecKey(t, "a"))
	token := issueMany(t, auth, 1)[0]
	for range 3 {
		_, err := auth.Verify(t.Context(), token)
		require.NoError(t, err)
	}
	at := strings.LastIndexByte(token, '.') + 1
	raw := []byte(decode(t, token[at:]))
	n := elliptic.P256().Params().N
	s := new(big.Int).Sub(n, new(big.Int).SetBytes(raw[32:]))
	other := token[:at] + encode(string(raw[:32])+string(s.FillBytes(make([]byte, 32))))
	claims, err := auth.Verify(t.Context(), other) // a valid spelling, which is verified by itself
	require.NoError(t, err)
	require.Equal(t, "1", claims.Subject)
}

// A remembered signature is no verdict: what changes with time is checked at each use, as for a token in the cache of claims.
func TestARememberedSignatureIsNoVerdict(t *testing.T) {
	c := newClock()
	ring, err := keys.NewRing(ecKey(t, "a"))
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithClock(c.Now), signet.WithTokenCache(64<<10),
		signet.WithLifetimes(signet.Lifetimes{Access: time.Hour, Refresh: 2 * time.Hour}), signet.WithLogger(slog.New(slog.DiscardHandler)),
		signet.WithSessionStore(&session.Memory{MaxPerUser: 1000, Clock: c.Now}))
	require.NoError(t, err)
	defer auth.Close()
	var tokens []string // more than the cache of claims holds
	for i := range 300 {
		pair, err := auth.IssueFor(t.Context(), userstore.User{ID: []string{"1", "3"}[i%2]})
		require.NoError(t, err)
		tokens = append(tokens, pair.AccessToken)
	}
	verify := func(want func(i int) error) {
		t.Helper()
		for i, token := range tokens {
			_, err := auth.Verify(t.Context(), token)
			require.ErrorIs(t, err, want(i), i)
		}
	}
	good := func(int) error { return nil }
	verify(good)
	checked := auth.Stats().TokensVerified
	verify(good)
	require.Less(t, auth.Stats().TokensVerified-checked, uint64(20), "the signatures are remembered")

	require.NoError(t, auth.RevokeUser(t.Context(), "3"))
	half := func(i int) error { return []error{nil, signet.ErrRevoked}[i%2] }
	verify(half)
	c.advance(-5 * time.Minute)
	verify(func(i int) error { return signet.ErrInvalidToken }) // not yet valid
	c.advance(5 * time.Minute)
	verify(half)
	c.advance(time.Hour)
	verify(func(i int) error { return []error{signet.ErrExpiredToken, signet.ErrInvalidToken}[i%2] })
	c.advance(-time.Minute)
	verify(half)
	require.NoError(t, ring.Rotate(ecKey(t, "b")))
	require.NoError(t, ring.Retire("a"))
	verify(func(int) error { return signet.ErrInvalidToken })
}
