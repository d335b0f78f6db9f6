package jws

import (
	"hash/maphash"
	"sync/atomic"
	"time"
)

// absentKeys remembers which keys a fetch has just not found. Without it, strangers who use up the budget of fetches could
// keep the clients of a retired key from being answered 401, and only after a 401 do these clients refresh. A key has one
// slot, which another key can take. Only a fetch adds a key, so strangers add few. It is safe for concurrent use.
type absentKeys struct {
	slots [256]atomic.Pointer[absentKey]
}

type absentKey struct {
	name  string
	until time.Time
}

// absentFor is how long a key counts as absent. The issuer may publish it in the meantime.
const absentFor = time.Minute

var absentSeed = maphash.MakeSeed()

func (a *absentKeys) slot(name string) *atomic.Pointer[absentKey] {
	return &a.slots[maphash.String(absentSeed, name)%uint64(len(a.slots))]
}

func (a *absentKeys) add(name string, now time.Time) {
	a.slot(name).Store(&absentKey{name, now.Add(absentFor)})
}

func (a *absentKeys) has(name string, now time.Time) bool {
	key := a.slot(name).Load()
	return key != nil && key.name == name && now.Before(key.until)
}
