package jws

import (
	"hash/maphash"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/keys"
)

// absentKeys remembers which keys a fetch has not found. Without it, strangers who use up the budget of fetches could keep the
// clients of a retired key from being answered 401, and only after a 401 do these clients refresh. A key has one slot, which
// another key can take. Only a fetch adds a key, so strangers add few. It is safe for concurrent use.
//
// A key counts as absent for a minute. It counts longer as long as fetches go on and bring the same set: strangers cause them,
// and each of them shows that the key is still missing.
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
