// Package storetest is the conformance kit of userstore.Store: Run for stores that can write, RunReadOnly for those that only
// find. A check that fails prints the sentence of the contract that broke.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

// Store is a userstore.Store that can also write, as those of package userstore do. Every method honours ctx, and one that
// returns an error has changed nothing.
type Store interface {
	userstore.Store
	userstore.PasswordUpdater

	// Add stores a new user. It returns userstore.ErrInvalid when the id or the normalised e-mail address is empty, and
	// userstore.ErrExists when another user has one of them.
	Add(ctx context.Context, user userstore.User) error
	// Update replaces all fields of the user with that ID. It returns userstore.ErrNotFound when there is none,
	// userstore.ErrInvalid as Add does, and userstore.ErrExists when another user has the new address.
	Update(ctx context.Context, user userstore.User) error
	// Delete removes the user with exactly that ID, so that id and address are free again. It returns userstore.ErrNotFound
	// when there is none.
	Delete(ctx context.Context, id string) error
}

// Run runs every check on a store, each in a subtest of its own. newStore returns a store that is empty and nobody else's at
// every call; what must be closed afterwards goes to t.Cleanup.
//
// Roles and Profile may come back nil when they are empty, and the values of Profile as JSON would give them.
func Run(t *testing.T, newStore func(t *testing.T) Store) {
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
	} {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			store := newStore(t)
			check.run(kit{finder: finder{T: t, ctx: ctx, store: store}, store: store})
		})
	}
}

// kit is what every check of Run needs.
type kit struct {
	finder
	store Store
}

// finder is what every check of RunReadOnly needs.
type finder struct {
	*testing.T
	ctx   context.Context
	store userstore.Store
}

// The sentences of the contract that the checks quote, word for word; a test holds them against the source.
const (
	safe        = "MUST be safe for concurrent use"
	aCopy       = "MUST return a User that the caller may change without changing the store"
	notFound    = "MUST return an error that is ErrNotFound (errors.Is) when there is no such user, and only then"
	findByEmail = "FindByEmail returns the user whose NormalizeEmail(Email) equals NormalizeEmail(email)."
	findByID    = "FindByID returns the user with exactly that ID."

	adds       = "Add stores a new user."
	addInvalid = "It returns userstore.ErrInvalid when the id or the normalised e-mail address is empty"
	addExists  = "userstore.ErrExists when another user has one of them."

	updates         = "Update replaces all fields of the user with that ID."
	updateNotFound  = "It returns userstore.ErrNotFound when there is none"
	updateInvalid   = "userstore.ErrInvalid as Add does"
	updateExists    = "userstore.ErrExists when another user has the new address."
	deletes         = "Delete removes the user with exactly that ID, so that id and address are free again."
	deleteNotFound  = "It returns userstore.ErrNotFound when there is none."
	changedNothing  = "one that returns an error has changed nothing"
	honoursContext  = "Every method honours ctx"
	swaps           = "MUST store newHash only if the user's hash still is oldHash, in one atomic step"
	swapsNothing    = "return nil when it is not, having changed nothing"
	mailsAreDistant = "Addresses that differ in dots or +tags are different"
)

// broken is the message of a failed check: the sentence of the contract, and what was done.
func broken(sentence, format string, args ...any) string {
	return fmt.Sprintf("the contract says: %q\nhere: %s", sentence, fmt.Sprintf(format, args...))
}

// ann has every field set.
func ann() userstore.User {
	return userstore.User{ID: "u1", Email: "Ann@Example.com", PasswordHash: "$argon2id$v=19$m=64,t=1,p=1$c2FsdA$aGFzaA",
		Roles: []string{"staff", "admin", "customer"}, Disabled: true,
		Profile: map[string]any{"name": "Ann", "address": map[string]any{"city": "Ulm", "lines": []any{"1", "2"}}}}
}

func rene() userstore.User {
	return userstore.User{ID: "u2", Email: "ren\u00e9@example.com", PasswordHash: "h2"}
}

// filled adds both.
func (k kit) filled() {
	k.Helper()
	k.mustAdd(ann())
	k.mustAdd(rene())
}

func (k kit) mustAdd(user userstore.User) {
	k.Helper()
	require.NoError(k, k.store.Add(k.ctx, user), broken(adds, "Add of id %+q, address %+q", user.ID, user.Email))
}

// requireUsers wants both ways of finding to lead to these users.
func (f finder) requireUsers(sentence, what string, users ...userstore.User) {
	f.Helper()
	for _, want := range users {
		got, err := f.store.FindByID(f.ctx, want.ID)
		require.NoError(f, err, broken(sentence, "FindByID(%+q), %s", want.ID, what))
		f.requireEqual(want, got, broken(sentence, "FindByID(%+q), %s", want.ID, what))
		got, err = f.store.FindByEmail(f.ctx, want.Email)
		require.NoError(f, err, broken(sentence, "FindByEmail(%+q), %s", want.Email, what))
		f.requireEqual(want, got, broken(sentence, "FindByEmail(%+q), %s", want.Email, what))
	}
}

func (f finder) requireEqual(want, got userstore.User, message string) {
	f.Helper()
	require.Equal(f, asJSON(f, want.Profile), asJSON(f, got.Profile), message)
	want.Profile, got.Profile = nil, nil
	if len(want.Roles)+len(got.Roles) == 0 {
		want.Roles, got.Roles = nil, nil
	}
	require.Equal(f, want, got, message)
}

// asJSON is a profile as a client sees it.
func asJSON(t require.TestingT, profile map[string]any) any {
	if len(profile) == 0 {
		return nil
	}
	text, err := json.Marshal(profile)
	require.NoError(t, err)
	var value any
	require.NoError(t, json.Unmarshal(text, &value))
	return value
}

func (f finder) requireNoID(sentence, what string, ids ...string) {
	f.Helper()
	for _, id := range ids {
		_, err := f.store.FindByID(f.ctx, id)
		require.ErrorIs(f, err, userstore.ErrNotFound, broken(sentence, "FindByID(%+q), %s", id, what))
	}
}

func (f finder) requireNoEmail(sentence, what string, emails ...string) {
	f.Helper()
	for _, email := range emails {
		_, err := f.store.FindByEmail(f.ctx, email)
		require.ErrorIs(f, err, userstore.ErrNotFound, broken(sentence, "FindByEmail(%+q), %s", email, what))
	}
}

// parallel runs n functions at once and returns their errors.
func parallel(n int, run func(i int) error) []error {
	start, done := make(chan struct{}), make(chan struct{})
	errs := make([]error, n)
	for i := range n {
		go func() {
			<-start
			errs[i] = run(i)
			done <- struct{}{}
		}()
	}
	close(start)
	for range n {
		<-done
	}
	return errs
}
