package gate

import (
	"crypto/rand"
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// Decoys are hashes that nobody's password has. One of them is verified when there is no user to log in, so that a refusal takes as
// long for an unknown address as for a known one. There is one decoy for each kind of hash that was seen, and an unknown address
// always meets the same one: otherwise the time would tell who has an account whose hash is older than those of
// today. It is safe for concurrent use.
type Decoys struct {
	seed  maphash.Seed
	known atomic.Pointer[[]decoy]
}

type decoy struct{ kind, hash string }

const maxDecoys = 8

// NewDecoys returns the decoy of the hasher's own kind. Its error is the hasher's.
func NewDecoys(hasher password.Hasher) (*Decoys, error) {
	hash, err := hasher.Hash(rand.Text())
	if err != nil {
		return nil, err
	}
	d := &Decoys{seed: maphash.MakeSeed()}
	d.known.Store(&[]decoy{{kindOf(hash), hash}})
	return d, nil
}

// Pick returns the decoy of an address.
func (d *Decoys) Pick(email string) string {
	known := *d.known.Load()
	return known[maphash.String(d.seed, userstore.NormalizeEmail(email))%uint64(len(known))].hash
}

// Learn makes a decoy of a kind of hash that was not seen before.
func (d *Decoys) Learn(hash string) {
	old := d.known.Load()
	kind := kindOf(hash)
	if len(*old) >= maxDecoys || slices.ContainsFunc(*old, func(have decoy) bool { return have.kind == kind }) {
		return
	}
	next := append(slices.Clone(*old), decoy{kind, kind + scramble(hash[len(kind):])})
	d.known.CompareAndSwap(old, &next) // if another request was first, the next login learns it
}

// kindOf is what a hash says before its salt: "$2b$12$", or "$argon2id$v=19$m=19456,t=2,p=1$".
func kindOf(hash string) string {
	fields := strings.SplitAfter(hash, "$")
	switch {
	case len(fields) == 4: // "$" "2b$" "12$" salt and key
		return strings.Join(fields[:3], "")
	case len(fields) == 6: // "$" "argon2id$" "v=19$" costs salt key
		return strings.Join(fields[:4], "")
	}
	return hash
}

// scramble changes the salt and the key. It leaves the last character of each: base64 allows only some characters there.
func scramble(text string) string {
	b := []byte(text)
	for i := range len(b) - 1 {
		switch {
		case b[i] == '$' || b[i+1] == '$':
		case b[i] == 'a':
			b[i] = 'b'
		default:
			b[i] = 'a'
		}
	}
	return string(b)
}
