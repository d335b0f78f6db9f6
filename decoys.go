package signet

import (
	"hash/maphash"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// decoys are hashes that nobody's password has, to be verified when there is no user to log in. There is one for each kind
// of hash that was seen, and an unknown address always meets the same one: otherwise the time that a refusal takes would
// tell who has an account whose hash is older, and costs more or less, than those of today.
type decoys struct {
	seed  maphash.Seed
	known atomic.Pointer[[]decoy]
}

type decoy struct{ kind, hash string }

const maxDecoys = 8

func newDecoys(hasher password.Hasher) (*decoys, error) {
	hash, err := hasher.Hash(randomID())
	if err != nil {
		return nil, err
	}
	d := &decoys{seed: maphash.MakeSeed()}
	d.known.Store(&[]decoy{{kindOf(hash), hash}})
	return d, nil
}

// pick returns the decoy of an address.
func (d *decoys) pick(email string) string {
	known := *d.known.Load()
	return known[maphash.String(d.seed, userstore.NormalizeEmail(email))%uint64(len(known))].hash
}

// learn makes a decoy of a kind of hash that was not seen before.
func (d *decoys) learn(hash string) {
	old := d.known.Load()
	kind := kindOf(hash)
	if len(*old) >= maxDecoys || slices.ContainsFunc(*old, func(have decoy) bool { return have.kind == kind }) {
		return
	}
	next := append(slices.Clone(*old), decoy{kind, kind + scramble(hash[len(kind):])})
	d.known.CompareAndSwap(old, &next) // whoever is second learns the next time
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

// scramble changes the salt and the key, all but the last character of each, which may not be any one.
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
