package signet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Keyring holds one signing key and any number of keys that are accepted besides it, and changes both in a running
// service. It is safe for concurrent use, and one Keyring can serve several services.
//
// To change keys without refusing a single token: Announce the next key on every server, wait until all verifiers have
// fetched it (the max-age of JWKSHandler), Rotate to it on every server, wait for the access and refresh lifetimes, and
// Retire the old key.
type Keyring struct {
	mu    sync.Mutex // one writer at a time
	state atomic.Pointer[keySet]

	stop, stopped chan struct{} // of OpenKeyring's goroutine; nil on other rings
}

// keySet is one state of the keys. It never changes, so that whoever holds one sees keys that belong together, and a
// cached verdict can name the set that it was made under.
type keySet struct {
	signing *key // nil where tokens are only verified
	keys    []*key
	byID    map[string]*key
	headers headerCache
}

func newKeySet(signing *key, keys ...*key) (*keySet, error) {
	if err := checkDistinct(keys); err != nil {
		return nil, err
	}
	set := &keySet{signing: signing, keys: keys, byID: make(map[string]*key, len(keys))}
	for _, k := range keys {
		set.byID[k.id] = k
	}
	return set, nil
}

// find returns the key that a token's header names: the one with that id, or the only one there is if it names none.
func (s *keySet) find(kid string) *key {
	if kid == "" && len(s.keys) == 1 {
		return s.keys[0]
	}
	return s.byID[kid]
}

// NewKeyring returns a ring that signs with signing and accepts the others too. It returns an error when a key is bad, two
// keys have one id, or signing cannot sign.
func NewKeyring(signing Key, accepted ...Key) (*Keyring, error) {
	keys, err := checked(append([]Key{signing}, accepted...))
	if err != nil {
		return nil, err
	}
	if !keys[0].canSign() {
		return nil, fmt.Errorf("signet.NewKeyring: %w: %q cannot sign", errVerifyOnly, keys[0].id)
	}
	set, err := newKeySet(keys[0], keys...)
	if err != nil {
		return nil, fmt.Errorf("signet.NewKeyring: %w", err)
	}
	ring := &Keyring{}
	ring.state.Store(set)
	return ring, nil
}

func checked(keys []Key) ([]*key, error) {
	list := make([]*key, len(keys))
	var errs []error
	for i, k := range keys {
		errs = append(errs, k.Err())
		list[i] = k.key
	}
	return list, errors.Join(errs...)
}

// Announce accepts next and shows it in the JWKS, without signing with it yet.
func (r *Keyring) Announce(next Key) error {
	return r.change("Announce", func(set *keySet) (*keySet, error) {
		if err := next.Err(); err != nil {
			return nil, err
		}
		return newKeySet(set.signing, append(slices.Clone(set.keys), next.key)...)
	})
}

// Rotate signs with next from now on, whether it was announced or is new. Tokens of the key before it verify until that key
// is retired.
func (r *Keyring) Rotate(next Key) error {
	return r.change("Rotate", func(set *keySet) (*keySet, error) {
		if err := next.Err(); err != nil {
			return nil, err
		}
		if !next.key.canSign() {
			return nil, errVerifyOnly
		}
		if known := set.byID[next.key.id]; known != nil && known.print != next.key.print {
			return nil, fmt.Errorf("another key has the id %q, and its tokens would be refused", next.key.id)
		}
		others := slices.DeleteFunc(slices.Clone(set.keys), func(k *key) bool { return k.id == next.key.id })
		return newKeySet(next.key, append([]*key{next.key}, others...)...)
	})
}

// Retire stops accepting the key with that id: its tokens are invalid at once. It returns an error when the key is unknown
// or is the signing key.
func (r *Keyring) Retire(id string) error {
	return r.change("Retire", func(set *keySet) (*keySet, error) {
		switch {
		case set.byID[id] == nil:
			return nil, fmt.Errorf("no key has the id %q", id)
		case set.signing.id == id:
			return nil, fmt.Errorf("%q is the signing key; rotate first", id)
		}
		return newKeySet(set.signing, slices.DeleteFunc(slices.Clone(set.keys), func(k *key) bool { return k.id == id })...)
	})
}

func (r *Keyring) change(name string, next func(*keySet) (*keySet, error)) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stop != nil {
		return fmt.Errorf("signet.Keyring.%s: the keys come from files; change those", name)
	}
	if _, err := r.signingRing(); err != nil {
		return err
	}
	set, err := next(r.state.Load())
	if err != nil {
		return fmt.Errorf("signet.Keyring.%s: %w", name, err)
	}
	r.state.Store(set)
	return nil
}

// Format implements fmt.Formatter: a Keyring prints as its name alone.
func (r *Keyring) Format(state fmt.State, _ rune) { fmt.Fprint(state, "signet.Keyring") }

// SigningKeyID is the id of the key that signs now.
func (r *Keyring) SigningKeyID() string {
	if set := r.state.Load(); set != nil && set.signing != nil {
		return set.signing.id
	}
	return ""
}

// KeyIDs are the ids of all accepted keys, the signing key's among them.
func (r *Keyring) KeyIDs() []string {
	var ids []string
	set := r.state.Load()
	if set == nil {
		return nil
	}
	for _, k := range set.keys {
		ids = append(ids, k.id)
	}
	return ids
}

func (r *Keyring) signingRing() (*Keyring, error) {
	if r == nil || r.state.Load() == nil {
		return nil, errors.New("signet: the Keyring is nil or the zero value; make it with NewKeyring")
	}
	return r, nil
}

func (r *Keyring) sources(cfg *verifierConfig) ([]*issuer, error) {
	if _, err := r.signingRing(); err != nil {
		return nil, err
	}
	return []*issuer{{name: cfg.issuer, audience: cfg.audience, keys: r}}, nil
}

// keySource is where a Verifier finds keys. current never waits; refetch may ask the issuer for a key that current does
// not have, and returns the set to look in.
type keySource interface {
	current() *keySet
	refetch(ctx context.Context) (*keySet, error)
}

func (r *Keyring) current() *keySet                         { return r.state.Load() }
func (r *Keyring) refetch(context.Context) (*keySet, error) { return r.state.Load(), nil }
