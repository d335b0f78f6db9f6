package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/userstore"
)

func (k kit) everyField() {
	users := []userstore.User{ann(), rene()}
	for i, change := range []func(u *userstore.User){
		func(u *userstore.User) { u.PasswordHash = "" },
		func(u *userstore.User) { u.PasswordHash = "\u00e9'\"\\%" + strings.Repeat("h", 200) },
		func(u *userstore.User) { u.Roles = nil },
		func(u *userstore.User) { u.Roles = []string{} },
		func(u *userstore.User) { u.Roles = []string{"b", "a", "c", "a"} },
		func(u *userstore.User) { u.Roles = []string{"a,b", "", " ", `"`, "\u00e9", "\U0001f600", "{}", "null"} },
		func(u *userstore.User) { u.Disabled = false },
		func(u *userstore.User) { u.Profile = nil },
		func(u *userstore.User) { u.Attributes = nil },
		func(u *userstore.User) { u.Attributes = map[string]any{} },
		func(u *userstore.User) { u.Profile, u.Attributes = u.Attributes, u.Profile },
		func(u *userstore.User) { u.Profile = map[string]any{} },
		func(u *userstore.User) { u.Email = fmt.Sprintf(" Mixed%d@Example.COM ", len(users)) },
	} {
		user := ann()
		user.ID, user.Email = fmt.Sprintf("v%d", i), fmt.Sprintf("v%d@example.com", i)
		change(&user)
		users = append(users, user)
	}
	for _, user := range users {
		k.mustAdd(user)
		k.requireUsers(adds, "as it was added", user)
	}
	k.requireUsers(adds, "after all were added", users...)
}

func (k kit) profile() {
	user := rene()
	k.mustAdd(user)
	for _, value := range []any{"text", "", "\u00e9 \U0001f600 </script> \u2028 \\ \" '", 0.0, -1.5, 1e100, 7,
		int64(1) << 53, true, false, nil, []any{}, []any{1.0, "two", nil, []any{3.0}, map[string]any{"four": 4.0}},
		map[string]any{},
		map[string]any{"a": map[string]any{"b": map[string]any{"c": []any{false}}}},
		[]string{"a", "b"}, map[string]int{"a": 1},
		strings.Repeat("long ", 2000)} {
		user.Profile = map[string]any{"value": value, "\u00e9 . ' \"": value, "": "no name"}
		user.Attributes = map[string]any{"attribute": value}
		conformance.NoError(k, k.store.Update(k.ctx, user), updates,
			"Update with the profile %.80q", fmt.Sprint(user.Profile))
		k.requireUsers(updates, fmt.Sprintf("with the profile %.80q", fmt.Sprint(user.Profile)), user)
	}
}

// Both are one byte too long.
var (
	tooLongID    = strings.Repeat("x", 1025)
	tooLongEmail = strings.Repeat("x", 1025-len("@example.com")) + "@example.com"
)

func (k kit) add() {
	k.filled()
	for _, tc := range []struct {
		name, sentence string
		user           userstore.User
		want           error
	}{
		{"the same user", addExists, ann(), userstore.ErrExists},
		{"the same id", addExists, userstore.User{ID: "u1", Email: "bob@example.com"}, userstore.ErrExists},
		{"the same address", addExists, userstore.User{ID: "u3", Email: "Ann@Example.com"}, userstore.ErrExists},
		{"the address in other case", addExists, userstore.User{ID: "u3", Email: "aNN@eXAMPLE.COM"}, userstore.ErrExists},
		{"the address with spaces", addExists, userstore.User{ID: "u3", Email: "\tann@example.com "}, userstore.ErrExists},
		{"the address in NFD, capitals", addExists, userstore.User{ID: "u3", Email: "RENE\u0301@example.com"},
			userstore.ErrExists},
		{"id of one, address of another", addExists, userstore.User{ID: "u1", Email: "ren\u00e9@example.com"},
			userstore.ErrExists},
		{"no id", addInvalid, userstore.User{Email: "bob@example.com"}, userstore.ErrInvalid},
		{"no address", addInvalid, userstore.User{ID: "u3"}, userstore.ErrInvalid},
		{"an address of spaces", addInvalid, userstore.User{ID: "u3", Email: " \t\u00a0"}, userstore.ErrInvalid},
		{"an id with a NUL byte", addNUL, userstore.User{ID: "a\x00b", Email: "bob@example.com"}, userstore.ErrInvalid},
		{"an id that is not UTF-8", addText, userstore.User{ID: "a\xffb", Email: "bob@example.com"}, userstore.ErrInvalid},
		{"an id of 1,025 bytes", addText, userstore.User{ID: tooLongID, Email: "bob@example.com"}, userstore.ErrInvalid},
		{"an address with a NUL byte", addControl, userstore.User{ID: "u3", Email: "ann\x00@example.com"},
			userstore.ErrInvalid},
		{"an address that is not UTF-8", addText, userstore.User{ID: "u3", Email: "ann\xff@example.com"},
			userstore.ErrInvalid},
		{"an address with a line end", addControl, userstore.User{ID: "u3", Email: "an\nn@example.com"},
			userstore.ErrInvalid},
		{"an address of 1,025 bytes", addText, userstore.User{ID: "u3", Email: tooLongEmail}, userstore.ErrInvalid},
	} {
		err := k.store.Add(k.ctx, tc.user)
		conformance.ErrorIs(k, err, tc.want, tc.sentence, "Add of %s", tc.name)
		k.requireUsers(changedNothing, "after Add of "+tc.name, ann(), rene())
		k.requireNoID(changedNothing, "after Add of "+tc.name, "u3", "")
		k.requireNoEmail(changedNothing, "after Add of "+tc.name, "bob@example.com", "")
		if tc.want == userstore.ErrInvalid {
			k.requireNoID(changedNothing, "after Add of "+tc.name, tc.user.ID)
			k.requireNoEmail(changedNothing, "after Add of "+tc.name, tc.user.Email)
		}
	}
}

// If many Adds of the same address, or of the same id, run at the same time, one succeeds.
func (k kit) addParallel() {
	const n = 16
	for _, tc := range []struct {
		what string
		user func(i int) userstore.User
	}{
		{"one address", func(i int) userstore.User {
			return userstore.User{ID: fmt.Sprintf("n%d", i),
				Email: []string{"Rene\u0301@example.com", "ren\u00c9@example.com "}[i%2]}
		}},
		{"one id", func(i int) userstore.User {
			return userstore.User{ID: "same", Email: fmt.Sprintf("n%d@example.com", i)}
		}},
	} {
		errs := conformance.Parallel(n, func(i int) error { return k.store.Add(k.ctx, tc.user(i)) })
		var won []userstore.User
		for i, err := range errs {
			if err == nil {
				won = append(won, tc.user(i))
			} else {
				conformance.ErrorIs(k, err, userstore.ErrExists, addExists, "%d Adds of %s at once", n, tc.what)
			}
		}
		conformance.Equal(k, 1, len(won), addExists, "%d Adds of %s at once: one succeeds", n, tc.what)
		k.requireUsers(adds, fmt.Sprintf("%d Adds of %s at once: the one that succeeded is there", n, tc.what), won[0])
	}
}

func (k kit) update() {
	for _, tc := range []struct {
		name, sentence string
		change         func(u *userstore.User)
		want           error
	}{
		{"nothing", updates, func(*userstore.User) {}, nil},
		{"all but the address, and another hash", updates, func(u *userstore.User) {
			u.PasswordHash, u.Roles, u.Disabled, u.Profile = "h3", nil, false, map[string]any{"age": 7}
		}, nil},
		{"to empty fields", updates, func(u *userstore.User) { *u = userstore.User{ID: u.ID, Email: u.Email} }, nil},
		{"the address", updates, func(u *userstore.User) { u.Email = "Anne@example.com" }, nil},
		{"the spelling of the address", updates, func(u *userstore.User) { u.Email = " ANN@example.com" }, nil},
		{"to another's address", updateExists, func(u *userstore.User) { u.Email = "ren\u00e9@example.com" },
			userstore.ErrExists},
		{"to another's address in NFD", updateExists, func(u *userstore.User) { u.Email = "RENE\u0301@example.com" },
			userstore.ErrExists},
		{"no such user", updateNotFound, func(u *userstore.User) { u.ID, u.Email = "u3", "bob@example.com" },
			userstore.ErrNotFound},
		{"id in other case", updateNotFound, func(u *userstore.User) { u.ID, u.Email = "U1", "bob@example.com" },
			userstore.ErrNotFound},
		{"no id", updateInvalid, func(u *userstore.User) { u.ID = "" }, userstore.ErrInvalid},
		{"no address", updateInvalid, func(u *userstore.User) { u.Email = "" }, userstore.ErrInvalid},
		{"an address of spaces", updateInvalid, func(u *userstore.User) { u.Email = " \t" }, userstore.ErrInvalid},
		{"an id with a NUL byte", updateInvalid, func(u *userstore.User) { u.ID = "a\x00b" }, userstore.ErrInvalid},
		{"an id that is not UTF-8", updateInvalid, func(u *userstore.User) { u.ID = "a\xffb" }, userstore.ErrInvalid},
		{"an id of 1,025 bytes", updateInvalid, func(u *userstore.User) { u.ID = tooLongID }, userstore.ErrInvalid},
		{"an address with a NUL byte", updateInvalid, func(u *userstore.User) { u.Email = "ann\x00@example.com" },
			userstore.ErrInvalid},
		{"an address that is not UTF-8", updateInvalid, func(u *userstore.User) { u.Email = "ann\xff@example.com" },
			userstore.ErrInvalid},
		{"an address with a line end", updateInvalid, func(u *userstore.User) { u.Email = "an\nn@example.com" },
			userstore.ErrInvalid},
		{"an address of 1,025 bytes", updateInvalid, func(u *userstore.User) { u.Email = tooLongEmail },
			userstore.ErrInvalid},
	} {
		for _, id := range []string{"u1", "u2"} {
			if err := k.store.Delete(k.ctx, id); !errors.Is(err, userstore.ErrNotFound) {
				conformance.NoError(k, err, deletes, "Delete(%q)", id)
			}
		}
		k.filled()
		changed := ann()
		tc.change(&changed)
		conformance.ErrorIs(k, k.store.Update(k.ctx, changed), tc.want, tc.sentence, "Update of %s", tc.name)
		k.requireUsers(updates, "another user after Update of "+tc.name, rene())
		k.requireNoID(changedNothing, "after Update of "+tc.name, "u3", "U1")
		k.requireNoEmail(changedNothing, "after Update of "+tc.name, "bob@example.com")
		if tc.want != nil {
			k.requireUsers(changedNothing, "after Update of "+tc.name, ann())
			if tc.want == userstore.ErrInvalid && changed.Email != ann().Email {
				k.requireNoEmail(changedNothing, "after Update of "+tc.name, changed.Email)
			}
			if changed.ID != ann().ID {
				k.requireNoID(changedNothing, "after Update of "+tc.name, changed.ID)
			}
			continue
		}
		changed.PasswordHash = ann().PasswordHash
		k.requireUsers(updates, "after Update of "+tc.name, changed)
		if userstore.NormalizeEmail(changed.Email) != userstore.NormalizeEmail(ann().Email) {
			k.requireNoEmail(findByEmail, "after Update to another address", ann().Email)
		}
	}
}

func (k kit) delete() {
	k.filled()
	for _, id := range []string{"", "u3", "U1", "u1 ", "u%", "*", "ann@example.com"} {
		conformance.ErrorIs(k, k.store.Delete(k.ctx, id), userstore.ErrNotFound, deleteNotFound, "Delete(%q)", id)
	}
	k.requireUsers(changedNothing, "after Delete of nobody", ann(), rene())
	conformance.NoError(k, k.store.Delete(k.ctx, "u1"), deletes, "Delete")
	k.requireNoID(deletes, "after Delete", "u1")
	k.requireNoEmail(deletes, "after Delete", ann().Email)
	k.requireUsers(deletes, "another user after Delete", rene())
	conformance.ErrorIs(k, k.store.Delete(k.ctx, "u1"), userstore.ErrNotFound, deleteNotFound, "Delete a second time")
	conformance.ErrorIs(k, k.store.Update(k.ctx, ann()), userstore.ErrNotFound, updateNotFound, "Update after Delete")
	conformance.NoError(k, k.store.UpdatePasswordHash(k.ctx, "u1", ann().PasswordHash, "h3"),
		swapsNothing, "UpdatePasswordHash after Delete")
	k.requireNoID(updateNotFound, "after Update of a deleted user", "u1")
	again := userstore.User{ID: "u3", Email: "ann@example.com"}
	k.mustAdd(again)
	other := userstore.User{ID: "u1", Email: "bob@example.com"}
	k.mustAdd(other)
	k.requireUsers(deletes, "with id and address of a deleted user", again, other)
}

func (k kit) copies() {
	given := ann()
	k.mustAdd(given)
	scribble(given)
	k.requireUsers(aCopy, "after the User that Add was given was changed", ann())
	given = ann()
	conformance.NoError(k, k.store.Update(k.ctx, given), updates, "Update")
	scribble(given)
	k.requireUsers(aCopy, "after the User that Update was given was changed", ann())
	k.copiesOf(ann())
	k.finder.parallel(ann())
}

func (k kit) passwordHash() {
	k.filled()
	old := ann().PasswordHash
	for _, tc := range []struct{ what, id, old string }{
		{"another hash", "u1", "h0"}, {"an empty one", "u1", ""}, {"the hash in other case", "u1", strings.ToUpper(old)},
		{"the hash and a space", "u1", old + " "}, {"the beginning of the hash", "u1", old[:20]},
		{"the hash of another user", "u1", "h2"},
		{"no such user", "u3", old}, {"the id in other case", "U1", old}, {"the address as the id", "ann@example.com", old},
		{"no id", "", old},
	} {
		err := k.store.UpdatePasswordHash(k.ctx, tc.id, tc.old, "h3")
		conformance.NoError(k, err, swapsNothing, "UpdatePasswordHash with %s", tc.what)
		k.requireUsers(swapsNothing, "after UpdatePasswordHash with "+tc.what, ann(), rene())
		k.requireNoID(swapsNothing, "after UpdatePasswordHash with "+tc.what, "u3", "U1")
	}
	changed := ann()
	changed.PasswordHash = "$argon2id$v=19$m=128,t=2,p=1$c2FsdA$" + strings.Repeat("x", 100)
	conformance.NoError(k, k.store.UpdatePasswordHash(k.ctx, "u1", old, changed.PasswordHash), swaps, "UpdatePasswordHash")
	k.requireUsers(swaps, "after UpdatePasswordHash", changed, rene())
	conformance.NoError(k, k.store.UpdatePasswordHash(k.ctx, "u1", old, "h3"),
		swapsNothing, "the same UpdatePasswordHash again")
	k.requireUsers(swaps, "after the same UpdatePasswordHash again", changed, rene())
}

// If many calls swap the same old hash, the first one succeeds. The others then find another hash and change nothing.
func (k kit) passwordHashParallel() {
	const n = 16
	user := rene()
	k.mustAdd(user)
	var possible []string
	for i := range n {
		possible = append(possible, fmt.Sprintf("writer %d", i))
	}
	errs := conformance.Parallel(n, func(i int) error {
		return k.store.UpdatePasswordHash(k.ctx, user.ID, user.PasswordHash, possible[i])
	})
	conformance.NoError(k, errors.Join(errs...), swapsNothing, "%d UpdatePasswordHash at once", n)
	got, err := k.store.FindByID(k.ctx, user.ID)
	conformance.NoError(k, err, findByID, "after %d UpdatePasswordHash at once", n)
	conformance.True(k, slices.Contains(possible, got.PasswordHash), swaps,
		"%d UpdatePasswordHash at once: the hash is %q", n, got.PasswordHash)
	user.PasswordHash = got.PasswordHash
	k.requireUsers(swaps, "the other fields after UpdatePasswordHash", user)
	k.passwordHashAppended()
}

// Many goroutines append their letter to the hash until it is in the hash. If two swaps of one old hash succeed, a letter
// can be lost for good, because its writer has stopped.
func (k kit) passwordHashAppended() {
	const letters = "ABCDEFGHIJKLMNOP"
	user := userstore.User{ID: "letters", Email: "letters@example.com", PasswordHash: "h"}
	k.mustAdd(user)
	errs := conformance.Parallel(len(letters), func(i int) error {
		for {
			got, err := k.store.FindByID(k.ctx, user.ID)
			if err != nil || strings.Contains(got.PasswordHash, letters[i:i+1]) {
				return err
			}
			err = k.store.UpdatePasswordHash(k.ctx, user.ID, got.PasswordHash, got.PasswordHash+letters[i:i+1])
			if err != nil {
				return err
			}
		}
	})
	conformance.NoError(k, errors.Join(errs...), safe, "%d goroutines swap and find", len(letters))
	got, err := k.store.FindByID(k.ctx, user.ID)
	conformance.NoError(k, err, findByID, "after many UpdatePasswordHash")
	conformance.Equal(k, 1+len(letters), len(got.PasswordHash), swaps, "hash %q: each letter once", got.PasswordHash)
	for _, letter := range letters {
		conformance.True(k, strings.ContainsRune(got.PasswordHash, letter), swaps,
			"the swap that added %c was lost: the hash is %q", letter, got.PasswordHash)
	}
}

func (k kit) canceled() {
	k.filled()
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	changed := ann()
	changed.Email = "anne@example.com"
	k.requireCanceled(k.store.Add(ctx, userstore.User{ID: "u3", Email: "bob@example.com"}), "Add")
	k.requireCanceled(k.store.Update(ctx, changed), "Update")
	k.requireCanceled(k.store.Delete(ctx, "u1"), "Delete")
	k.requireCanceled(k.store.Delete(ctx, "u3"), "Delete of nobody")
	k.requireCanceled(k.store.UpdatePasswordHash(ctx, "u1", ann().PasswordHash, "h3"), "UpdatePasswordHash")
	k.requireUsers(honoursContext, "after calls with a context that was canceled", ann(), rene())
	k.requireNoID(honoursContext, "after Add with a context that was canceled", "u3")
	k.finder.canceled(ann())
}
