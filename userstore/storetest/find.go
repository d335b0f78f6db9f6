package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/userstore"
)

// RunReadOnly runs the checks for a store that cannot add users. existing is a user of the store, with the fields that the
// store returns. No user may have its id in another spelling, or its address with an "x" before or after it.
//
// If the store is a [userstore.PasswordUpdater], RunReadOnly also checks UpdatePasswordHash with the existing user. That
// user must then have a password hash, and nobody else may change it during the check. The check changes the hash and puts
// the old one back at its end.
//
// If the store is a [userstore.FactorStore], RunReadOnly writes values of the existing user under the name "storetest", and
// deletes them at the end. RunReadOnly writes nothing else.
func RunReadOnly(t *testing.T, store userstore.Store, existing userstore.User) {
	for _, check := range readOnly {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			check.run(finder{tester: t, ctx: ctx, store: store}, existing)
		})
	}
}

// readOnly are the checks of RunReadOnly.
var readOnly = []struct {
	name string
	run  func(f finder, existing userstore.User)
}{
	{"find", finder.find},
	{"email", finder.emailOf},
	{"not found", finder.notFoundBeside},
	{"copies", finder.copiesOf},
	{"parallel", finder.parallel},
	{"context", finder.canceled},
	{"password hash", finder.passwordOf},
	{"factor", finder.factorOf},
}

func (f finder) find(user userstore.User) { f.requireUsers(findByID, "the existing user", user) }

// emailOf requires that FindByEmail finds the user by every spelling that NormalizeEmail maps to the address.
func (f finder) emailOf(user userstore.User) {
	email := user.Email
	for _, spelling := range []string{email, strings.ToUpper(email), strings.ToLower(email), " " + email + "\t",
		"\r\n" + email,
		email + "\u00a0\u3000", norm.NFC.String(email), norm.NFD.String(email), strings.ToUpper(norm.NFD.String(email)),
		norm.NFD.String(strings.ToUpper(email)), userstore.NormalizeEmail(email)} {
		if userstore.NormalizeEmail(spelling) != userstore.NormalizeEmail(email) {
			continue // some letters do not come back from upper case
		}
		got, err := f.store.FindByEmail(f.ctx, spelling)
		conformance.NoError(f, err, findByEmail, "FindByEmail(%+q) for the address %+q", spelling, email)
		f.requireEqual(user, got, findByEmail, "FindByEmail(%+q) for the address %+q", spelling, email)
	}
}

// notFoundBeside looks for ids and addresses that are nearly those of the user.
func (f finder) notFoundBeside(user userstore.User) {
	id, what := user.ID, fmt.Sprintf("there is only a user with id %+q, address %+q", user.ID, user.Email)
	f.requireNoID(findByID, what, otherNumbers(id)...)
	f.requireNoEmail(notFound, what, "", " ", "%", "*", "_", "x"+user.Email, user.Email+"x", "%"+user.Email)
	f.requireNoID(notFound, what, "", " ", "%", "*", "_", id+" ", " "+id, id+"\x00", id+"x", "x"+id, id+"%", user.Email)
	otherCase := strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, id)
	if otherCase != id {
		f.requireNoID(findByID, what, otherCase)
	}
	if norm.NFD.String(id) != id {
		f.requireNoID(findByID, what, norm.NFD.String(id))
	}
}

// otherNumbers returns texts that a careless reader of numbers takes for the id. It returns none if the id is not a decimal
// number.
func otherNumbers(id string) []string {
	if id == "" || strings.Trim(id, "0123456789") != "" {
		return nil
	}
	fullwidth := strings.Map(func(digit rune) rune { return digit - '0' + '\uff10' }, id)
	return []string{"+" + id, "-" + id, "0" + id, "0x" + id, " " + id, id + " ", id + ".0", id + "e0", fullwidth}
}

// copiesOf changes what the store returned. The store must not change with it.
func (f finder) copiesOf(user userstore.User) {
	for _, find := range []func() (userstore.User, error){
		func() (userstore.User, error) { return f.store.FindByID(f.ctx, user.ID) },
		func() (userstore.User, error) { return f.store.FindByEmail(f.ctx, user.Email) },
	} {
		got, err := find()
		conformance.NoError(f, err, findByID, "the existing user")
		scribble(got)
		f.requireUsers(aCopy, "after all in a returned User was changed", user)
	}
}

// scribble changes everything that a User refers to.
func scribble(user userstore.User) {
	for i := range user.Roles {
		user.Roles[i] = "changed"
	}
	scribbleOn(user.Profile)
	scribbleOn(user.Attributes)
}

func scribbleOn(value any) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Collect(maps.Keys(value)) {
			scribbleOn(value[name])
			value[name] = "changed"
		}
		if value != nil {
			value["new"] = "changed"
		}
	case []any:
		for i := range value {
			scribbleOn(value[i])
			value[i] = "changed"
		}
	}
}

// parallel finds and changes users in many goroutines. The race detector sees what they share.
func (f finder) parallel(user userstore.User) {
	errs := conformance.Parallel(16, func(int) error {
		for range 10 {
			byID, err := f.store.FindByID(f.ctx, user.ID)
			if err != nil {
				return err
			}
			byEmail, err := f.store.FindByEmail(f.ctx, user.Email)
			if err != nil {
				return err
			}
			scribble(byID)
			scribble(byEmail)
		}
		return nil
	})
	conformance.NoError(f, errors.Join(errs...), safe, "16 goroutines that find one user")
	f.requireUsers(aCopy, "after 16 goroutines changed all in their copies", user)
}

// canceled accepts ErrNotFound for a user who does not exist: a store may know that without asking its database.
func (f finder) canceled(user userstore.User) {
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.FindByID(ctx, user.ID)
	f.requireCanceled(err, "FindByID of an existing user")
	_, err = f.store.FindByEmail(ctx, user.Email)
	f.requireCanceled(err, "FindByEmail of an existing user")
	_, err = f.store.FindByID(ctx, user.ID+"x")
	conformance.Error(f, err, honoursContext, "FindByID of nobody with a context that was canceled")
	_, err = f.store.FindByEmail(ctx, "x"+user.Email)
	conformance.Error(f, err, honoursContext, "FindByEmail of nobody with a context that was canceled")
}

func (f finder) requireCanceled(err error, what string) {
	f.Helper()
	conformance.Error(f, err, honoursContext, "%s with a context that was canceled", what)
	conformance.NotErrorIs(f, err, userstore.ErrNotFound, notFound, "%s with a context that was canceled", what)
}

// passwordOf changes the user's hash and puts the old one back, if the store is a PasswordUpdater.
func (f finder) passwordOf(user userstore.User) {
	store, ok := f.store.(userstore.PasswordUpdater)
	if !ok {
		return
	}
	old, changed := user.PasswordHash, user
	if old == "" {
		f.Fatalf("the store is a userstore.PasswordUpdater: give RunReadOnly a user who has a password hash")
	}
	changed.PasswordHash = otherEnd(old)
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), time.Minute)
		defer cancel()
		f := finder{tester: f.tester, ctx: ctx, store: f.store}
		got, err := f.store.FindByID(ctx, user.ID)
		if err == nil && got.PasswordHash != old {
			err = store.UpdatePasswordHash(ctx, user.ID, got.PasswordHash, old)
		}
		conformance.NoError(f, err, swaps, "UpdatePasswordHash back to the old hash")
		f.requireUsers(swaps, "after UpdatePasswordHash back to the old hash", user)
	})
	err := store.UpdatePasswordHash(f.ctx, user.ID+"x", old, changed.PasswordHash)
	conformance.NoError(f, err, swapsNothing, "UpdatePasswordHash with another id")
	f.requireUsers(swapsNothing, "after UpdatePasswordHash with another id", user) // before a store that forgets the id could do harm
	for _, tc := range []struct{ what, old string }{
		{"another hash", changed.PasswordHash}, {"an empty one", ""}, {"the hash in other case", strings.ToUpper(old)},
		{"the hash and a space", old + " "}, {"the beginning of the hash", old[:len(old)/2]},
	} {
		if tc.old == old {
			continue // it has no lower-case letters
		}
		err := store.UpdatePasswordHash(f.ctx, user.ID, tc.old, changed.PasswordHash)
		conformance.NoError(f, err, swapsNothing, "UpdatePasswordHash with %s", tc.what)
		f.requireUsers(swapsNothing, "after UpdatePasswordHash with "+tc.what, user)
	}
	err = store.UpdatePasswordHash(f.ctx, user.ID, old, changed.PasswordHash)
	conformance.NoError(f, err, swaps, "UpdatePasswordHash")
	f.requireUsers(swaps, "after UpdatePasswordHash", changed)
	f.takesLongHashes(store, changed)
}

// longHash is longer than the hashes of package password.
var longHash = "$argon2id$v=19$m=19456,t=2,p=1$" + strings.Repeat("A", 100)

// takesLongHashes requires that a hash is kept whole or refused. A database that cuts it would lock the user out.
func (f finder) takesLongHashes(store userstore.PasswordUpdater, user userstore.User) {
	long := user
	long.PasswordHash = longHash
	if err := store.UpdatePasswordHash(f.ctx, user.ID, user.PasswordHash, longHash); err != nil {
		f.Logf("the store refuses a hash of %d bytes (those of password.Default have 97): %v", len(longHash), err)
		long = user
	}
	f.requireUsers(swaps, "after UpdatePasswordHash to a long hash", long)
}

// otherEnd returns another hash. It fits wherever the given one fits.
func otherEnd(hash string) string {
	runes := []rune(hash)
	last := len(runes) - 1
	if runes[last] == 'A' {
		return string(runes[:last]) + "B"
	}
	return string(runes[:last]) + "A"
}

func (k kit) email() {
	for i, email := range []string{"Ann@Example.com", "ren\u00e9@example.com", "RENE\u0301E@example.com",
		" Bob@Example.com ",
		"a\u0323\u0302x@example.com", "\u212aim@example.com", "\u0391\u039d\u039d\u0391@example.com",
		"o'brien\"%_@example.com",
		"\U0001f600@example.com", "stra\u00dfe@example.com", strings.Repeat("L", 288) + "@example.com",
		strings.Repeat("\u00c9", 288) + "@example.com"} {
		user := userstore.User{ID: fmt.Sprintf("e%d", i), Email: email}
		k.mustAdd(user)
		k.requireUsers(findByEmail, "as it was added", user)
		k.emailOf(user)
	}
	// These addresses are nearly the same as some above, but they belong to other people.
	for i, email := range []string{"rene@example.com", "a.nn@example.com", "ann+x@example.com", "strasse@example.com",
		"\u0430nn@example.com", "a nn@example.com", "\uff41nn@example.com", "\U0001f601@example.com",
		"o'brien\"%x@example.com",
		strings.Repeat("L", 287) + "x@example.com"} {
		k.requireNoEmail(mailsAreDistant, "before it was added", email)
		user := userstore.User{ID: fmt.Sprintf("f%d", i), Email: email}
		k.mustAdd(user)
		k.requireUsers(mailsAreDistant, "as it was added", user)
	}
}

func (k kit) notFound() {
	k.requireNoEmail(notFound, "the store is empty", "", "ann@example.com")
	k.requireNoID(notFound, "the store is empty", "", "u1")
	user := ann()
	user.ID = "Us\u00e9r1"
	k.mustAdd(user)
	k.notFoundBeside(user)
	number := userstore.User{ID: "70", Email: "bob@example.com"}
	k.mustAdd(number)
	k.notFoundBeside(number)
}

func (k kit) id() {
	var users []userstore.User
	for i, id := range []string{"1", "01", "1.0", "A", "a", "a ", " a", "\u00e1", "a\u0301", "a\n", "a:b",
		"{a}", "%", "_", "*",
		"o'Brien", `"quoted"`, `back\slash`, "'; --", "$1", "?", "null", "stra\u00dfe", "strasse",
		"\u65e5\u672c", "\U0001f600",
		"\U0001f601", strings.Repeat("x", 199) + "y", strings.Repeat("x", 199) + "z", strings.Repeat("\u00e9", 200),
		"ann@example.com"} {
		user := userstore.User{ID: id, Email: fmt.Sprintf("user%d@example.com", i), PasswordHash: fmt.Sprint(i)}
		k.requireNoID(findByID, "before it was added", id)
		k.mustAdd(user)
		users = append(users, user)
	}
	k.requireUsers(findByID, "among ids that are nearly the same", users...)
	for i, user := range users {
		conformance.NoError(k, k.store.Delete(k.ctx, user.ID), deletes, "Delete(%+q)", user.ID)
		k.requireNoID(deletes, "after Delete", user.ID)
		k.requireUsers(deletes, fmt.Sprintf("after Delete(%+q)", user.ID), users[i+1:]...)
	}
}
