package signet

import (
	"hash/maphash"
	"strings"
	"sync/atomic"
	"time"
)

// tokenCache remembers tokens that were verified, so that the next request with the same token costs a lookup. It holds
// only what no time can change: whoever finds an entry checks the times, the revocations and the keys again, so that a hit
// is never better than a miss.
//
// Its size is fixed: every token has four places, by its hash under a seed of this process, and takes one from another
// token when all are in use. A flood of tokens can push others out, and nothing more. There is no lock.
type tokenCache struct {
	seed   maphash.Seed
	places []atomic.Pointer[verifiedToken]
	sets   uint64 // a power of two
}

// verifiedToken is one entry; it never changes.
type verifiedToken struct {
	hash   uint64
	token  string
	claims *Claims
}

const (
	waysPerSet       = 4
	maxCachedToken   = 2048 // bytes: longer tokens are verified each time, so that the entries bound the memory too
	defaultCacheSize = 8192 // entries; about 10 MiB with usual tokens, 40 MiB with the longest
)

func newTokenCache(entries int) *tokenCache {
	sets := 1
	for sets*waysPerSet < entries {
		sets *= 2
	}
	return &tokenCache{seed: maphash.MakeSeed(), places: make([]atomic.Pointer[verifiedToken], sets*waysPerSet), sets: uint64(sets)}
}

func (c *tokenCache) hash(token string) uint64 { return maphash.String(c.seed, token) }

func (c *tokenCache) set(hash uint64) []atomic.Pointer[verifiedToken] {
	first := (hash & (c.sets - 1)) * waysPerSet
	return c.places[first : first+waysPerSet]
}

// get returns the claims of a token that was verified with the keys that are in force, nil if there is none.
func (c *tokenCache) get(hash uint64, token string) *Claims {
	set := c.set(hash)
	for i := range set {
		if e := set[i].Load(); e != nil && e.hash == hash && e.token == token {
			if e.claims.keys == e.claims.from.keys.current() {
				return e.claims
			}
			return nil
		}
	}
	return nil
}

// put remembers a token that has just been verified, in place of one that is of no more use if there is one.
//
// The token is copied: it is a part of a header that may be far longer, and would be kept whole.
func (c *tokenCache) put(hash uint64, token string, claims *Claims, now time.Time) {
	if len(token) > maxCachedToken {
		return
	}
	set := c.set(hash)
	place := &set[hash>>62]
	for i := range set {
		e := set[i].Load()
		if e == nil || e.token == token || !e.claims.ExpiresAt.After(now) || e.claims.keys != e.claims.from.keys.current() {
			place = &set[i]
			break
		}
	}
	place.Store(&verifiedToken{hash: hash, token: strings.Clone(token), claims: claims})
}
