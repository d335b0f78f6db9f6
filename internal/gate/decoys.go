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

// Decoys holds hashes that match nobody's password. When a login finds no hash to verify, a decoy is verified instead. So a
// refusal takes as long for an unknown address as for a known one. There is one decoy for each kind of hash that was seen,
// and an unknown address always gets the same decoy. Otherwise the time would tell which addresses have an account with an
// old kind of hash. Decoys is safe for concurrent use.
type Decoys struct {
	seed  maphash.Seed
	known atomic.Pointer[[]decoy]
}

type decoy struct{ kind, hash string }

const maxDecoys = 8

// NewDecoys returns Decoys with one decoy, of the kind that the hasher makes. It returns the error of the hasher.
func NewDecoys(hasher password.Hasher) (*Decoys, error) {
	hash, err := hasher.Hash(rand.Text())
	if err != nil {
		return nil, err
	}
	d := &Decoys{seed: maphash.MakeSeed()}
	d.known.Store(&[]decoy{{kindOf(hash), hash}})
	return d, nil
}

// Pick returns the decoy for an address.
func (d *Decoys) Pick(email string) string {
	known := *d.known.Load()
	return known[maphash.String(d.seed, userstore.NormalizeEmail(email))%uint64(len(known))].hash
}

// Learn adds a decoy for the kind of this hash, if that kind was not seen before.
func (d *Decoys) Learn(hash string) {
	old := d.known.Load()
	kind := kindOf(hash)
	if len(*old) >= maxDecoys || slices.ContainsFunc(*old, func(have decoy) bool { return have.kind == kind }) {
		return
	}
	next := append(slices.Clone(*old), decoy{kind, kind + scramble(hash[len(kind):])})
	d.known.CompareAndSwap(old, &next) // if another request was faster, a later login learns this kind
}

// kindOf returns the part of a hash before its salt, such as "$2b$12$" or "$argon2id$v=19$m=19456,t=2,p=1$".
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

// scramble changes the salt and the key of a hash. It keeps the last character of each, because base64 allows only some
// characters there.
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
