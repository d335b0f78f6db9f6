package signet

import (
	"hash/maphash"
	"math"
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
// set. A set has four places and a budget of bytes. If the set is full, only a token that comes often replaces others.
// So a flood of tokens can only push other tokens out, and tokens that come once do not push out those that come often.
// There is no lock.
type tokenCache struct {
	seed   maphash.Seed
	places []cachePlace
	sets   uint64          // a power of two
	drawn  []atomic.Uint32 // by a part of the hash: the tag of the token that admit drew last
}

// cachePlace is a place for one entry. The four places of a set are one line of the processor's cache. So it costs one
// access to the memory to find that a token is not there, and whether the set has room.
type cachePlace struct {
	label atomic.Uint64 // a cacheLabel
	entry atomic.Pointer[verifiedToken]
}

// cacheLabel says what is in a place. Its highest 40 bits are those of the hash. Then come 16 bits for the minute in which the
// token expires, and 8 bits for the cost. A label is only a hint: for a moment, it may belong to an entry that was replaced or
// removed.
type cacheLabel uint64

func labelOf(hash uint64, expires minute, cost int) cacheLabel {
	return cacheLabel(hash>>24<<24 | uint64(expires)<<8 | uint64(cost))
}

func (l cacheLabel) isOf(hash uint64) bool      { return uint64(l)>>24 == hash>>24 }
func (l cacheLabel) hasExpired(now minute) bool { return minute(l>>8)-now > maxMinutes }
func (l cacheLabel) cost() int                  { return int(l & 0xff) }

// minute is a time in minutes, without its higher bits. So only times that are less than 22 days apart can be compared.
type minute uint16

const maxMinutes = math.MaxInt16

func minuteOf(t time.Time) minute { return minute(t.Unix() / 60) }

// expiryOf is the minute in which a token expires that was verified now, or the last one that can be compared.
func expiryOf(claims *Claims, now time.Time) minute {
	return minuteOf(now) + minute(min(max(claims.ExpiresAt.Sub(now)/time.Minute, 0), maxMinutes))
}

// verifiedToken is one entry. It never changes.
type verifiedToken struct {
	token  string
	claims *Claims
}

const (
	placesPerSet     = 4
	setBytes         = 4 << 10
	defaultCacheSize = 40 << 20 // bytes, for claims and for signatures
	minCacheSize     = 64 << 10
	drawnPerSet      = 32
	setCost          = 256 // the budget of a set, in units; so a cost is one byte
	costUnit         = setBytes / setCost
	drawOneIn        = 8 // of so many tokens that find a full set, one is drawn
)

func newTokenCache(size int) *tokenCache {
	sets := 1
	for 2*sets*setBytes <= size {
		sets *= 2
	}
	places := make([]cachePlace, sets*placesPerSet)
	return &tokenCache{seed: maphash.MakeSeed(), places: places, sets: uint64(sets), drawn: make([]atomic.Uint32, sets*drawnPerSet)}
}

// cost estimates the bytes of an entry, in units: the token, its payload, and the parts of the claims.
func cost(token string) int { return (384 + len(token) + 3*len(token)/4) / costUnit }

func (c *tokenCache) hash(token string) uint64 { return maphash.String(c.seed, token) }

func (c *tokenCache) set(hash uint64) []cachePlace {
	first := (hash & (c.sets - 1)) * placesPerSet
	return c.places[first : first+placesPerSet]
}

// get returns the claims of a token that was verified with the current keys, or nil.
func (c *tokenCache) get(hash uint64, token string) *Claims {
	set := c.set(hash)
	for i := range set {
		if !cacheLabel(set[i].label.Load()).isOf(hash) {
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

// admit reports whether a token that finds a full set may replace another one. One of eight such tokens is drawn by chance, and
// the cache notes which one was drawn last. A token may enter if it is drawn twice and no other one in between. So a token that
// comes often enters soon. If there are many more tokens than places, nearly all of them stay out. Each one that enters would
// only push out another one that comes as often.
func (c *tokenCache) admit(hash uint64) bool {
	if rand.Uint32N(drawOneIn) != 0 {
		return false
	}
	tag := uint32(hash>>16) | 1
	return c.drawn[hash%uint64(len(c.drawn))].Swap(tag) == tag
}

// put stores a token that was just verified. It does so only if the set has room, or if admit lets the token in. If possible the
// token replaces an entry that has expired or was verified with old keys. Then put removes other entries until the set keeps its
// budget. To look at an entry may cost an access to the memory, so put first looks at the labels alone.
func (c *tokenCache) put(hash uint64, token string, claims *Claims, now time.Time) {
	own := cost(token)
	if own >= setCost {
		return // a token of over 2 kB is verified each time
	}
	set, present := c.set(hash), minuteOf(now)
	free, used := false, own
	for i := range set {
		l := cacheLabel(set[i].label.Load())
		if set[i].entry.Load() == nil || l.isOf(hash) || l.hasExpired(present) {
			free = true
		} else {
			used += l.cost()
		}
	}
	if (!free || used > setCost) && !c.admit(hash) {
		return
	}
	place := rand.Uint64N(placesPerSet)
	for i := range set {
		e := set[i].entry.Load()
		if e == nil || e.token == token || !e.claims.ExpiresAt.After(now) || !e.current() {
			place = uint64(i)
			break
		}
	}
	room := setCost - own
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
	set[place].label.Store(uint64(labelOf(hash, expiryOf(claims, now), own)))
}
