package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
)

// Source is where a service finds its keys. [Key], [Ring], [Files] and [Remote] are Sources. A host may write its own.
// Implementations MUST be safe for concurrent use.
type Source interface {
	// Current returns the keys that are in force, or nil if there are none yet. It MUST NOT wait, because every request
	// calls it. It MUST return the same pointer as long as the keys stay the same, because verified tokens are verified
	// again when the pointer changes.
	Current() *Set
	// Refetch is called for a token whose key is not in lacking, the set that Current has returned (nil if there was none).
	// Refetch may fetch newer keys, and returns the set to look in. It MUST limit how often it fetches, because strangers can
	// send such tokens as often as they like. An error means that the keys are not available now, and the request is
	// answered 503.
	Refetch(ctx context.Context, lacking *Set) (*Set, error)
}

// Set is the state of a [Source] at one time: the key that signs, if there is one, and all keys that verify. It never
// changes and is safe for concurrent use. Make it with [NewSet].
type Set struct {
	signing *Key
	keys    []*Key
	byID    map[string][]*Key
	foreign bool // from another issuer: ids may be missing, or several keys may have the same id
	jwks    func() ([]byte, error)
}

// NewSet returns a set that signs with signing and also accepts the other keys. If signing is nil, the set can only
// verify. NewSet returns an error if a key is bad ([Key.Err]), if two keys have the same id, or if signing cannot sign.
func NewSet(signing *Key, accepted ...*Key) (*Set, error) {
	list := slices.Clone(accepted)
	if signing != nil {
		list = append([]*Key{signing}, accepted...)
		if signing.Err() == nil && !signing.CanSign() {
			return nil, fmt.Errorf("%w: %q cannot sign", errVerifyOnly, signing.id)
		}
	}
	var errs []error
	seen := map[string]bool{}
	for _, k := range list {
		if err := k.Err(); err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[k.id] {
			errs = append(errs, fmt.Errorf("two keys have the id %q", k.id))
		}
		seen[k.id] = true
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return index(&Set{signing: signing, keys: list}), nil
}

// newForeignSet returns a set of the good keys of another issuer's document.
func newForeignSet(list []*Key) *Set { return index(&Set{keys: list, foreign: true}) }

func index(s *Set) *Set {
	s.byID = make(map[string][]*Key, len(s.keys))
	for _, k := range s.keys {
		s.byID[k.id] = append(s.byID[k.id], k)
	}
	s.jwks = sync.OnceValues(func() ([]byte, error) { return publicJWKS(s.keys) })
	return s
}

// Signing returns the key that signs, or nil if the set only verifies.
func (s *Set) Signing() *Key {
	if s == nil {
		return nil
	}
	return s.signing
}

// Keys returns all keys of the set, including the signing key.
func (s *Set) Keys() []*Key {
	if s == nil {
		return nil
	}
	return slices.Clone(s.keys)
}

// Empty reports whether there is no key in the set. A nil set is empty.
func (s *Set) Empty() bool { return s == nil || len(s.keys) == 0 }

// IDs returns the ids of all keys of the set.
func (s *Set) IDs() []string {
	var ids []string
	for _, k := range s.Keys() {
		ids = append(ids, k.id)
	}
	return ids
}

// maxTries limits how many keys are tried for one token.
const maxTries = 4

// Find returns the keys that may have signed a token. If the token's header has an id, they are the keys with that id.
// If it has none, they are the only key of the set, or up to four keys of a set from another issuer. Find leaves out
// keys that may not be used with the algorithm. allowed lists the algorithms that the issuer may use. If it is nil,
// each key may be used only with the algorithm that it is made for. known is false if a newer set may have a key for
// the token.
func (s *Set) Find(id string, algorithm Algorithm, allowed []Algorithm) (candidates []*Key, known bool) {
	if s == nil {
		return nil, false
	}
	named := s.byID[id]
	if id == "" && (len(s.keys) == 1 || s.foreign) {
		named = s.keys
	}
	if allowed != nil && !slices.Contains(allowed, algorithm) || s.foreign && !algorithm.asymmetric() {
		return nil, true // no newer key can have it
	}
	known = len(named) > 0 && !s.foreign
	for _, k := range named {
		variant := k.with(algorithm)
		known = known || variant != nil && id != "" // newer keys do not help if only allowed is missing
		if variant != nil && (variant == k || allowed != nil) && len(candidates) < maxTries {
			candidates = append(candidates, variant)
		}
	}
	return candidates, known || len(candidates) > 0
}

// has reports whether the set holds exactly these keys, in any order.
func (s *Set) has(list []*Key) bool {
	if s == nil || len(s.keys) != len(list) {
		return false
	}
	for _, k := range list {
		if !slices.ContainsFunc(s.keys, k.Equal) {
			return false
		}
	}
	return true
}

// JWKS returns the JWK Set document of the public keys (RFC 7517 section 5). It never contains secrets. The caller must not
// change the bytes, because all callers get the same ones. Only a nil Set, or one that was not made by this package, returns an
// error: it has no document.
func (s *Set) JWKS() ([]byte, error) {
	if s == nil || s.jwks == nil {
		return nil, errors.New("keys: there are no keys")
	}
	return s.jwks()
}

// Format implements [fmt.Formatter]: a Set prints as its keys' ids.
func (s *Set) Format(state fmt.State, _ rune) { fmt.Fprintf(state, "keys.Set%q", s.IDs()) }

// Ring is a [Source] whose keys change while the service runs. One key signs, and any number of other keys are
// accepted. It is safe for concurrent use, and one Ring can serve several services. Make it with [NewRing].
//
// To change keys without refusing any token:
//
//  1. Announce the next key on every server.
//  2. Wait until everybody who verifies the tokens has fetched it. A verifier of this package fetches it after 5 minutes
//     at the latest, which is the max-age of signet's JWKSHandler. Other libraries keep keys for longer than the max-age
//     says: jwx for 15 minutes, and keyfunc for an hour.
//  3. Rotate to the next key on every server.
//  4. Wait until the last token of the old key has expired. This takes as long as the longest one of these: the access and
//     the refresh lifetime (also those of earlier deploys, if you have shortened them), and LoginDecision.Idle of the logins
//     that have one, such as those of "remember me".
//  5. Retire the old key.
type Ring struct {
	mu    sync.Mutex // one writer at a time
	state atomic.Pointer[Set]
}

// NewRing returns a ring that signs with signing and also accepts the other keys. It returns an error if signing is
// nil, and the errors of [NewSet].
func NewRing(signing *Key, accepted ...*Key) (*Ring, error) {
	if err := signing.Err(); err != nil {
		return nil, fmt.Errorf("keys.NewRing: %w", err)
	}
	set, err := NewSet(signing, accepted...)
	if err != nil {
		return nil, fmt.Errorf("keys.NewRing: %w", err)
	}
	r := &Ring{}
	r.state.Store(set)
	return r, nil
}

// Announce accepts next and shows it in the JWK Set, but does not sign with it yet. It returns an error if next is bad,
// or if a key of the ring already has its id.
func (r *Ring) Announce(next *Key) error {
	return r.change("Announce", func(set *Set) (*Set, error) {
		return NewSet(set.signing, append(without(set.keys, set.signing.id), next)...)
	})
}

// Rotate signs with next from now on. next may be a new key or an announced one. Tokens of the previous signing key
// stay valid until [Ring.Retire] is called for that key. Rotate returns an error if next is bad or cannot sign, or if
// another key has the id of next. The same key with another algorithm counts as another key, because the tokens of the
// old algorithm would be refused at once. Such a key needs another id.
func (r *Ring) Rotate(next *Key) error {
	return r.change("Rotate", func(set *Set) (*Set, error) {
		if err := next.Err(); err != nil {
			return nil, err
		}
		known := set.byID[next.id]
		if len(known) > 0 && (known[0].thumbprint != next.thumbprint || known[0].algorithm != next.algorithm) {
			return nil, fmt.Errorf("another key has the id %q, and its tokens would be refused", next.id)
		}
		return NewSet(next, without(set.keys, next.id)...)
	})
}

// Retire stops accepting the key with that id. This process refuses its tokens at once. Other processes refuse them
// after they have fetched the keys again. Retire returns an error if no key has that id, or if it is the id of the
// signing key.
func (r *Ring) Retire(id string) error {
	return r.change("Retire", func(set *Set) (*Set, error) {
		switch {
		case len(set.byID[id]) == 0:
			return nil, fmt.Errorf("no key has the id %q", id)
		case set.signing.id == id:
			return nil, fmt.Errorf("%q is the signing key; rotate first", id)
		}
		others := without(set.keys, id)
		return NewSet(set.signing, without(others, set.signing.id)...)
	})
}

func without(list []*Key, id string) []*Key {
	return slices.DeleteFunc(slices.Clone(list), func(k *Key) bool { return k.id == id })
}

func (r *Ring) change(name string, next func(*Set) (*Set, error)) error {
	if r.Current() == nil {
		return fmt.Errorf("keys.Ring.%s: %w", name, errNoRing)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	set, err := next(r.state.Load())
	if err != nil {
		return fmt.Errorf("keys.Ring.%s: %w", name, err)
	}
	r.state.Store(set)
	return nil
}

var errNoRing = errors.New("the Ring is nil or the zero value; make it with keys.NewRing")

// Current implements [Source]. It returns nil for a nil Ring and for the zero value.
func (r *Ring) Current() *Set {
	if r == nil {
		return nil
	}
	return r.state.Load()
}

// Refetch implements [Source]. It returns the same set as Current, because only the methods of the ring change its
// keys.
func (r *Ring) Refetch(context.Context, *Set) (*Set, error) { return r.Current(), r.Err() }

// Err returns an error for a nil Ring and for the zero value. A ring that [NewRing] made has no error.
func (r *Ring) Err() error {
	if r.Current() == nil {
		return fmt.Errorf("keys: %w", errNoRing)
	}
	return nil
}

// Format implements [fmt.Formatter]: a Ring prints as its keys' ids.
func (r *Ring) Format(state fmt.State, _ rune) { fmt.Fprintf(state, "keys.Ring%q", r.Current().IDs()) }
