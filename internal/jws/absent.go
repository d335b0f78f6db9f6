package jws

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/keys"
)

// absentKeys remembers which keys a fetch has not found. A token of such a key is answered 401 even if the budget of fetches is
// spent. Otherwise strangers who use up the budget would turn the answer into 503, and clients with tokens of a retired key
// would not refresh: they do that only after a 401.
type absentKeys struct {
	slots   [256]atomic.Pointer[absentKey]
	fetched atomic.Pointer[fetch]
}

type absentKey struct {
	name  string
	set   *keys.Set // the set that lacks the key
	until time.Time
}

// fetch is the newest good fetch.
type fetch struct {
	set *keys.Set
	at  time.Time
}

// absentFor is how long a key counts as absent after a fetch. The issuer may publish it in the meantime.
const absentFor = time.Minute

var absentSeed = maphash.MakeSeed()

func (a *absentKeys) slot(name string) *atomic.Pointer[absentKey] {
	return &a.slots[maphash.String(absentSeed, name)%uint64(len(a.slots))]
}

// note is called after each good fetch.
func (a *absentKeys) note(set *keys.Set, now time.Time) { a.fetched.Store(&fetch{set, now}) }

// add is called for a key that a good fetch has not found.
func (a *absentKeys) add(name string, set *keys.Set, now time.Time) {
	a.slot(name).Store(&absentKey{name, set, now.Add(absentFor)})
}

func (a *absentKeys) has(name string, now time.Time) bool {
	key, last := a.slot(name).Load(), a.fetched.Load()
	if key == nil || key.name != name {
		return false
	}
	return now.Before(key.until) || last != nil && last.set == key.set && now.Before(last.at.Add(absentFor))
}
