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
//
// It holds up to 1,024 keys, four in each group. In a full group, a new key can only take the place of a key for which there were
// fewer questions than new keys. So the keys that strangers make up take the places of each other. A retired key is pushed out
// only if about a thousand of them come between two questions of its clients.
type absentKeys struct {
	groups  [256][4]atomic.Pointer[absentKey]
	fetched atomic.Pointer[fetch]
}

type absentKey struct {
	name  string
	set   *keys.Set // the set that lacks the key
	until time.Time
	asked atomic.Int32 // rises when a token asks for the key, up to maxAsked; falls when a new key finds the group full
}

// fetch is the newest good fetch.
type fetch struct {
	set *keys.Set
	at  time.Time
}

// absentFor is how long a key counts as absent after a fetch. The issuer may publish it in the meantime.
const absentFor = time.Minute

const maxAsked = 255

var absentSeed = maphash.MakeSeed()

func (a *absentKeys) group(name string) *[4]atomic.Pointer[absentKey] {
	return &a.groups[maphash.String(absentSeed, name)%uint64(len(a.groups))]
}

// note is called after each good fetch.
func (a *absentKeys) note(set *keys.Set, now time.Time) { a.fetched.Store(&fetch{set, now}) }

// add is called for a key that a good fetch has not found.
func (a *absentKeys) add(name string, set *keys.Set, now time.Time) {
	const (
		same   = iota // the place of this key
		free          // nothing is there, or its time is over
		seldom        // its key was asked for less often than new keys have come
		taken         // its key stays
	)
	added := &absentKey{name: name, set: set, until: now.Add(absentFor)}
	group := a.group(name)
	var place *atomic.Pointer[absentKey]
	best := taken
	for i := range group {
		rank := taken
		switch key := group[i].Load(); {
		case key != nil && key.name == name:
			rank = same
			added.asked.Store(key.asked.Load())
			added.ask()
		case !a.counts(key, now):
			rank = free
		case key.asked.Load() <= 0:
			rank = seldom
		}
		if rank < best || rank == best && rank == seldom { // of several such places, the newest key makes room: new keys come at the end
			place, best = &group[i], rank
		}
	}
	if place != nil {
		place.Store(added)
		return
	}
	for i := range group {
		group[i].Load().asked.Add(-1)
	}
}

func (k *absentKey) ask() {
	if k.asked.Load() < maxAsked {
		k.asked.Add(1)
	}
}

// has reports whether a key counts as absent.
func (a *absentKeys) has(name string, now time.Time) bool {
	group := a.group(name)
	for i := range group {
		if key := group[i].Load(); key != nil && key.name == name {
			key.ask()
			return a.counts(key, now)
		}
	}
	return false
}

// counts reports whether the entry of a key still says that the key is absent.
func (a *absentKeys) counts(key *absentKey, now time.Time) bool {
	if key == nil {
		return false
	}
	last := a.fetched.Load()
	return now.Before(key.until) || last != nil && last.set == key.set && now.Before(last.at.Add(absentFor))
}
