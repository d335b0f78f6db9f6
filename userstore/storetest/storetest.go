// Package storetest is the conformance kit of [userstore.Store]. [Run] is for stores that can write, and [RunReadOnly] for
// those that can only find users. A check that fails prints the sentence of the contract that the store broke.
package storetest

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/userstore"
)

// Run runs every check on a store, each in its own subtest. At every call newStore must return an empty store that nobody
// else uses, and it must close with t.Cleanup what it opens.
//
// If the store is a [userstore.FactorStore], Run also checks that.
//
// A store may return nil for empty Roles, Profile and Attributes. It may return the values in Profile and Attributes as JSON
// decodes them.
func Run(t *testing.T, newStore func(t *testing.T) userstore.Writer) {
	for _, check := range []struct {
		name string
		run  func(k kit)
	}{
		{"every field", kit.everyField},
		{"profile", kit.profile},
		{"id", kit.id},
		{"email", kit.email},
		{"not found", kit.notFound},
		{"add", kit.add},
		{"add/parallel", kit.addParallel},
		{"update", kit.update},
		{"delete", kit.delete},
		{"copies", kit.copies},
		{"password hash", kit.passwordHash},
		{"password hash/parallel", kit.passwordHashParallel},
		{"context", kit.canceled},
		{"factor", kit.factor},
		{"factor/user", kit.factorUser},
		{"factor/parallel", kit.factorParallel},
		{"factor/context", kit.factorCanceled},
	} {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			store := newStore(t)
			check.run(kit{finder: finder{tester: t, ctx: ctx, store: store}, store: store})
		})
	}
}

// kit is what every check of Run needs.
type kit struct {
	finder
	store userstore.Writer
}

// finder is what every check of RunReadOnly needs.
type finder struct {
	tester
	ctx   context.Context
	store userstore.Store
}

// tester is the part of [testing.T] that the checks use.
type tester interface {
	conformance.T
	Cleanup(func())
	Logf(format string, args ...any)
}

// The sentences of the contract that the checks quote, word for word. TestSentences compares them with the source.
const (
	safe        = "MUST be safe for concurrent use"
	aCopy       = "MUST return a User that the caller may change without changing the store"
	notFound    = "MUST return an error that is ErrNotFound (errors.Is) when there is no such user, and only then"
	findByEmail = "FindByEmail returns the user whose NormalizeEmail(Email) equals NormalizeEmail(email)."
	findByID    = "FindByID returns the user with exactly that ID."

	adds       = "Add stores a new user."
	addInvalid = "The id and the normalised e-mail address must be 1 to 1,024 bytes of UTF-8."
	addText    = "The id and the normalised e-mail address must be 1 to 1,024 bytes of UTF-8."
	addNUL     = "The id must not hold a NUL"
	addControl = "and the address must not hold a control character."
	addExists  = "ErrExists when another user has its id or its normalised e-mail address."

	updates         = "Update replaces all fields of the user with that ID but PasswordHash"
	updateNotFound  = "It returns ErrNotFound when there is none"
	updateInvalid   = "ErrInvalid as Add does"
	updateExists    = "ErrExists when another user has the new address."
	deletes         = "Delete removes the user with exactly that ID, so that id and address are free again."
	deleteNotFound  = "It returns ErrNotFound when there is none."
	changedNothing  = "A method that returns an error has changed nothing."
	honoursContext  = "Every method honours ctx"
	swaps           = "MUST store newHash only if the user's hash still is oldHash, in one atomic step"
	swapsNothing    = "If the user's hash is another one, it MUST change nothing and return nil."
	mailsAreDistant = "Addresses that differ in dots or +tags are different"

	factorBytes    = "It has 1 to 4,096 bytes of any kind"
	factorCopy     = "MUST return a value that the caller may change without changing the store"
	factorNames    = "Names are compared byte by byte."
	factorGone     = "When a user is deleted, the user's values MUST be gone too"
	factorContext  = "Both methods honour ctx."
	factorNotFound = "It returns ErrNotFound when there is no such value, or no such user, and only then."
	replaces       = "ReplaceFactor stores newValue, but only if the stored value still is oldValue, in one atomic step."
	replaceEmpty   = "An empty oldValue says that there is no value yet, and an empty newValue deletes the value."
	replaceNoUser  = "It returns ErrNotFound when there is no such user"
	replaceInvalid = "ErrInvalidFactor for what ValidateFactor refuses."
	replaceNothing = "A call that returns one of these errors has changed nothing."
)

// ann returns a user with every field set.
func ann() userstore.User {
	return userstore.User{ID: "u1", Email: "Ann@Example.com", PasswordHash: "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA",
		Roles: []string{"staff", "admin", "customer"}, Disabled: true,
		Profile:    map[string]any{"name": "Ann", "address": map[string]any{"city": "Ulm", "lines": []any{"1", "2"}}},
		Attributes: map[string]any{"tenant": "acme", "plan": map[string]any{"seats": 7.0}}}
}

func rene() userstore.User {
	return userstore.User{ID: "u2", Email: "ren\u00e9@example.com", PasswordHash: "h2"}
}

// filled adds ann and rene to the store.
func (k kit) filled() {
	k.Helper()
	k.mustAdd(ann())
	k.mustAdd(rene())
}

func (k kit) mustAdd(user userstore.User) {
	k.Helper()
	conformance.NoError(k, k.store.Add(k.ctx, user), adds, "Add of id %+q, address %+q", user.ID, user.Email)
}

// requireUsers requires that FindByID and FindByEmail return these users.
func (f finder) requireUsers(sentence, what string, users ...userstore.User) {
	f.Helper()
	for _, want := range users {
		got, err := f.store.FindByID(f.ctx, want.ID)
		conformance.NoError(f, err, sentence, "FindByID(%+q), %s", want.ID, what)
		f.requireEqual(want, got, sentence, "FindByID(%+q), %s", want.ID, what)
		got, err = f.store.FindByEmail(f.ctx, want.Email)
		conformance.NoError(f, err, sentence, "FindByEmail(%+q), %s", want.Email, what)
		f.requireEqual(want, got, sentence, "FindByEmail(%+q), %s", want.Email, what)
	}
}

func (f finder) requireEqual(want, got userstore.User, sentence, format string, args ...any) {
	f.Helper()
	conformance.Equal(f, f.asJSON(want.Profile), f.asJSON(got.Profile), sentence, format+", the profile", args...)
	conformance.Equal(f, f.asJSON(want.Attributes), f.asJSON(got.Attributes), sentence, format+", the attributes", args...)
	want.Profile, got.Profile, want.Attributes, got.Attributes = nil, nil, nil, nil
	if len(want.Roles)+len(got.Roles) == 0 {
		want.Roles, got.Roles = nil, nil
	}
	conformance.Equal(f, want, got, sentence, format, args...)
}

// asJSON returns a profile as a client sees it.
func (f finder) asJSON(profile map[string]any) (value any) {
	f.Helper()
	if len(profile) == 0 {
		return nil
	}
	text, err := json.Marshal(profile)
	if err == nil {
		err = json.Unmarshal(text, &value)
	}
	if err != nil {
		f.Fatalf("the profile %#v: %v", profile, err)
	}
	return value
}

func (f finder) requireNoID(sentence, what string, ids ...string) {
	f.Helper()
	for _, id := range ids {
		_, err := f.store.FindByID(f.ctx, id)
		conformance.ErrorIs(f, err, userstore.ErrNotFound, sentence, "FindByID(%+q), %s", id, what)
	}
}

func (f finder) requireNoEmail(sentence, what string, emails ...string) {
	f.Helper()
	for _, email := range emails {
		_, err := f.store.FindByEmail(f.ctx, email)
		conformance.ErrorIs(f, err, userstore.ErrNotFound, sentence, "FindByEmail(%+q), %s", email, what)
	}
}
