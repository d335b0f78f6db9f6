package signet

import (
	"hash/maphash"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
)

// tokenCache keeps verified tokens, so that the next request with the same token costs only a lookup. It holds only
// facts that do not change with time. Times, revocations and keys are checked at every hit. So a token that a miss
// would refuse is refused at a hit too.
//
// It is a set-associative cache, as in processors. The hash of a token, under a random seed of this process, selects a
// set. A set has four places and a budget of bytes. If the set is full, a token that comes a second time replaces others.
// So a flood of tokens can only push other tokens out, and tokens that come once do not push out those that come often.
// There is no lock.
type tokenCache struct {
	seed   maphash.Seed
	places []cachePlace
	sets   uint64          // a power of two
	once   []atomic.Uint32 // parts of the hashes of tokens that came lately and found a full set
}

// cachePlace is a place for one entry. The four places of a set are one line of the processor's cache. So it costs one
// access to the memory to find that a token is not there. The hash is only a hint: for a moment, it may belong to an entry that
// was replaced or removed.
type cachePlace struct {
	hash  atomic.Uint64
	entry atomic.Pointer[verifiedToken]
}

// verifiedToken is one entry. It never changes.
type verifiedToken struct {
	token  string
	claims *Claims
}

const (
	waysPerSet       = 4
	setBytes         = 4 << 10
	defaultCacheSize = 40 << 20 // bytes, for claims and for signatures
	minCacheSize     = 64 << 10
	oncePerSet       = 32
)

func newTokenCache(size int) *tokenCache {
	sets := 1
	for 2*sets*setBytes <= size {
		sets *= 2
	}
	places := make([]cachePlace, sets*waysPerSet)
	return &tokenCache{seed: maphash.MakeSeed(), places: places, sets: uint64(sets), once: make([]atomic.Uint32, sets*oncePerSet)}
}

// cost estimates the bytes of an entry: the token, its payload, and the parts of the claims.
func cost(token string) int { return 384 + len(token) + 3*len(token)/4 }

func (c *tokenCache) hash(token string) uint64 { return maphash.String(c.seed, token) }

func (c *tokenCache) set(hash uint64) []cachePlace {
	first := (hash & (c.sets - 1)) * waysPerSet
	return c.places[first : first+waysPerSet]
}

// get returns the claims of a token that was verified with the current keys, or nil.
func (c *tokenCache) get(hash uint64, token string) *Claims {
	set := c.set(hash)
	for i := range set {
		if set[i].hash.Load() != hash {
			continue
		}
		if e := set[i].entry.Load(); e != nil && e.token == token {
			if e.current() {
				return e.claims
			}
			return nil
		}
	}
	return nil
}

func (e *verifiedToken) current() bool { return e.claims.keys == e.claims.from.reader.Current() }

// cameBefore reports whether a token was here not long ago, and notes that it is here now.
func (c *tokenCache) cameBefore(hash uint64) bool {
	tag := uint32(hash>>16) | 1
	return c.once[hash%uint64(len(c.once))].Swap(tag) == tag
}

// put stores a token that was just verified, if the set has a free place or the token comes a second time. If possible it
// replaces an entry that has expired or was verified with old keys. Then it removes other entries until the set keeps its
// budget. It looks at the entries last, because each one may cost an access to the memory.
func (c *tokenCache) put(hash uint64, token string, claims *Claims, now time.Time) {
	room := setBytes - cost(token)
	if room < 0 {
		return // a token of over 2 kB is verified each time
	}
	set := c.set(hash)
	free := false
	for i := range set {
		free = free || set[i].entry.Load() == nil || set[i].hash.Load() == hash
	}
	if !free && !c.cameBefore(hash) {
		return
	}
	place := rand.Uint64N(waysPerSet)
	for i := range set {
		e := set[i].entry.Load()
		if e == nil || e.token == token || !e.claims.ExpiresAt.After(now) || !e.current() {
			place = uint64(i)
			break
		}
	}
	for i := range set {
		e := set[i].entry.Load()
		if e == nil || uint64(i) == place {
			continue
		}
		if room -= cost(e.token); room < 0 {
			set[i].entry.CompareAndSwap(e, nil)
			room += cost(e.token)
		}
	}
	// The token is a part of a header. Without the copy the entry would keep the whole header in memory.
	set[place].entry.Store(&verifiedToken{token: strings.Clone(token), claims: claims})
	set[place].hash.Store(hash)
}
