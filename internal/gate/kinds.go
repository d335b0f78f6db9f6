package gate

import (
	"crypto/rand"
	"slices"
	"sync"
	"time"

	"github.com/signet-go/signet/password"
)

// kinds holds the kinds of hashes that users have, with a decoy for each. The first one is the kind that the hasher makes.
type kinds struct {
	mu   sync.Mutex
	list []kind
}

type kind struct {
	decoy
	cost   time.Duration // the shortest time that a hash took, so that load does not count
	broken bool          // the hasher cannot read the decoy
}

// decoy is a hash that matches nobody's password.
type decoy struct{ kind, hash string }

const (
	maxDecoys = 8                      // each of them costs one hash in every refusal
	maxKinds  = 2 * maxDecoys          // with those that are no decoys
	maxHash   = 1024                   // bytes: a longer hash is not learned
	dearTimes = 16                     // a kind that costs more than this many hashes of the first kind is no decoy,
	dearFloor = 200 * time.Millisecond // unless it costs no more than this
)

// start learns the kind that the hasher makes.
func (k *kinds) start(hasher password.Hasher) error {
	start := time.Now()
	hash, err := hasher.Hash(rand.Text())
	if err != nil {
		return err
	}
	k.list = []kind{{decoy: decoy{scramble(hash).kind, hash}, cost: time.Since(start)}}
	return nil
}

// first returns the decoy of the kind that the hasher makes.
func (k *kinds) first() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.list[0].hash
}

// learn returns the kind of a user's hash, and adds it if it is new. cost is what a hash took just now, or 0 if it was not
// measured.
func (k *kinds) learn(hash string, cost time.Duration) string {
	if len(hash) > maxHash {
		return ""
	}
	d := scramble(hash)
	k.mu.Lock()
	defer k.mu.Unlock()
	i := slices.IndexFunc(k.list, func(have kind) bool { return have.kind == d.kind })
	switch {
	case i >= 0:
		k.list[i].cost = shorter(k.list[i].cost, cost)
	case len(k.list) < maxKinds && cost > 0:
		k.list = append(k.list, kind{decoy: d, cost: cost})
	}
	return d.kind
}

// measured remembers what a decoy of this kind took.
func (k *kinds) measured(name string, cost time.Duration) {
	k.change(name, func(have *kind) { have.cost = shorter(have.cost, cost) })
}

// unusable says that the hasher cannot read the decoy of this kind.
func (k *kinds) unusable(name string) { k.change(name, func(have *kind) { have.broken = true }) }

func (k *kinds) change(name string, how func(*kind)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i := range k.list {
		if k.list[i].kind == name {
			how(&k.list[i])
		}
	}
}

// decoys returns a decoy of each kind but one.
func (k *kinds) decoys(without string) []decoy {
	k.mu.Lock()
	defer k.mu.Unlock()
	limit := max(dearFloor, dearTimes*k.list[0].cost)
	var list []decoy
	usable := 0
	for _, have := range k.list {
		if have.broken || have.cost > limit || usable == maxDecoys {
			continue
		}
		usable++
		if have.kind != without {
			list = append(list, have.decoy)
		}
	}
	return list
}

// shorter returns the shorter one of two times. 0 means that nothing was measured.
func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b > 0 && b < a {
		return b
	}
	return a
}
