package signet

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/session"
)

// revocationSet holds the ids of revoked sessions until their last access token has expired. A lookup takes no lock and
// no more than a few words of memory, however many there are: it is on the path of every request.
//
// It is a hash table with open addressing of the ids' 64-bit hashes under a seed of this process. Two ids with one hash
// would revoke a session that is not: with a million entries the chance is 2^-43 a lookup, and nobody can aim for it.
type revocationSet struct {
	seed  maphash.Seed
	table atomic.Pointer[[]atomic.Uint64] // a power of two long, at most half full; 0 is free

	full atomic.Bool // more are revoked than fit: it cannot be said any more which

	mu    sync.Mutex // one writer at a time
	until map[uint64]session.Millis
}

// maxRevoked bounds the set: about 250 MB. Beyond it every token of a session is answered like one whose revocation is not
// known (WithMaxStaleness).
const maxRevoked = 1 << 22

func newRevocationSet() *revocationSet {
	set := &revocationSet{seed: maphash.MakeSeed(), until: map[uint64]session.Millis{}}
	set.rebuild()
	return set
}

// hash is what lookups take; it is never 0.
func (set *revocationSet) hash(sessionID string) uint64 {
	return maphash.String(set.seed, sessionID) | 1
}

// has reports whether the session with that hash is revoked.
func (set *revocationSet) has(hash uint64) bool {
	table := *set.table.Load()
	mask := uint64(len(table) - 1)
	for i := hash >> 1 & mask; ; i = (i + 1) & mask {
		switch table[i].Load() {
		case hash:
			return true
		case 0:
			return false
		}
	}
}

// add revokes a session until its tokens have expired.
func (set *revocationSet) add(sessionID string, until session.Millis) {
	set.mu.Lock()
	defer set.mu.Unlock()
	hash := set.hash(sessionID)
	_, known := set.until[hash]
	if !known && len(set.until) >= maxRevoked {
		set.full.Store(true)
		return
	}
	set.until[hash] = max(set.until[hash], until)
	switch {
	case known:
	case 2*len(set.until) > len(*set.table.Load()):
		set.rebuild()
	default:
		insert(*set.table.Load(), hash)
	}
}

// prune forgets the sessions whose tokens have expired.
func (set *revocationSet) prune(now session.Millis) {
	set.mu.Lock()
	defer set.mu.Unlock()
	before := len(set.until)
	for hash, until := range set.until {
		if until <= now {
			delete(set.until, hash)
		}
	}
	if len(set.until) < before {
		set.rebuild()
		set.full.Store(false) // what did not fit comes with the next reload
	}
}

// rebuild makes a table with room to double, and swaps it in whole: a lookup sees the old one or the new.
func (set *revocationSet) rebuild() {
	size := 64
	for size < 4*len(set.until) {
		size *= 2
	}
	table := make([]atomic.Uint64, size)
	for hash := range set.until {
		insert(table, hash)
	}
	set.table.Store(&table)
}

func insert(table []atomic.Uint64, hash uint64) {
	mask := uint64(len(table) - 1)
	i := hash >> 1 & mask
	for table[i].Load() != 0 {
		i = (i + 1) & mask
	}
	table[i].Store(hash)
}

// freshness tells whether the set was brought up to date recently enough. A timer turns it, so that requests read one
// word, and a store call that never returns cannot keep it fresh.
type freshness struct {
	stale atomic.Bool
	bound time.Duration
	timer *time.Timer
}

func newFreshness(bound time.Duration) *freshness {
	f := &freshness{bound: bound}
	f.timer = time.AfterFunc(bound, func() { f.stale.Store(true) })
	return f
}

// renew is called with the time at which the pull began: what was revoked after that is not in it.
func (f *freshness) renew(began time.Time) {
	left := f.bound - time.Since(began)
	if left <= 0 {
		return
	}
	f.stale.Store(false) // first: a timer that fires in between must win
	f.timer.Reset(left)
}

// stop leaves the set stale: nothing keeps it up to date any more.
func (f *freshness) stop() {
	f.timer.Stop()
	f.stale.Store(true)
}
