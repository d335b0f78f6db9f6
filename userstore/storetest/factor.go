package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/userstore"
)

// factors is what the checks of a [userstore.FactorStore] need.
type factors struct {
	finder
	store userstore.FactorStore
}

// factors adds ann and rene. It reports whether the store is a FactorStore.
func (k kit) factors() (f factors, ok bool) {
	k.Helper()
	store, ok := k.store.(userstore.FactorStore)
	if ok {
		k.filled()
	}
	return factors{k.finder, store}, ok
}

// requireValue requires a value. An empty one means that there is none.
func (f factors) requireValue(sentence, what, userID, name string, want []byte) {
	f.Helper()
	got, err := f.store.Factor(f.ctx, userID, name)
	if len(want) == 0 {
		conformance.ErrorIs(f, err, userstore.ErrNotFound, sentence, "Factor(%+q, %q), %s", userID, name, what)
		return
	}
	conformance.NoError(f, err, sentence, "Factor(%+q, %q), %s", userID, name, what)
	conformance.True(f, bytes.Equal(want, got), sentence, "Factor(%+q, %q), %s: the value has %d bytes, not these %d",
		userID, name, what, len(got), len(want))
}

// replace changes a value, and requires what follows from it.
func (f factors) replace(what, userID, name string, oldValue, newValue []byte) {
	f.Helper()
	err := f.store.ReplaceFactor(f.ctx, userID, name, oldValue, newValue)
	conformance.NoError(f, err, replaces, "ReplaceFactor(%+q, %q), %s", userID, name, what)
	f.requireValue(replaces, "after "+what, userID, name, newValue)
}

// everyByte returns a value of the greatest length.
func everyByte() []byte {
	value := make([]byte, 4096)
	for i := range value {
		value[i] = byte(i)
	}
	return value
}

// factorOf checks the store with a user who exists. At the end that user has no value, as before.
func (f finder) factorOf(user userstore.User) {
	store, ok := f.store.(userstore.FactorStore)
	if !ok {
		return
	}
	const name = "storetest"
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(f.ctx), time.Minute)
		defer cancel()
		if value, err := store.Factor(ctx, user.ID, name); err == nil {
			err = store.ReplaceFactor(ctx, user.ID, name, value, nil)
			conformance.NoError(f, err, replaceEmpty, "ReplaceFactor that deletes the value of the check")
		}
	})
	factors{f, store}.swaps(user.ID, name)
}

func (k kit) factor() {
	f, ok := k.factors()
	if !ok {
		return
	}
	f.swaps("u1", "factor")
	f.names()
	f.requireUsers(replaces, "after ReplaceFactor", ann(), rene())
}

// swaps requires that a value changes only if the old one is the right one.
func (f factors) swaps(userID, name string) {
	long := everyByte()
	f.requireValue(factorNotFound, "at first", userID, name, nil)
	var old []byte
	for i, value := range [][]byte{{0}, []byte("text"), []byte("Text"), []byte("text "), []byte("text\x00"), {0xff, 0, 0xfe},
		[]byte("'\\\"%_?$1"), []byte("\u00e9"), []byte("e\u0301"), long, long[:4095], nil, []byte("again"), nil} {
		what := fmt.Sprintf("value %d of the check", i)
		for _, wrong := range [][]byte{nil, []byte("another"), append(bytes.Clone(old), ' '), append(bytes.Clone(old), 0),
			bytes.ToUpper(append(bytes.Clone(old), 'x')), old[:len(old)/2]} {
			if bytes.Equal(wrong, old) || len(wrong) > len(long) {
				continue
			}
			for _, next := range [][]byte{value, wrong, old, {7}, nil} {
				err := f.store.ReplaceFactor(f.ctx, userID, name, wrong, next)
				conformance.ErrorIs(f, err, userstore.ErrConflict, replaces,
					"ReplaceFactor with a wrong old value of %d bytes, before %s", len(wrong), what)
				f.requireValue(replaceNothing, "after a wrong old value, before "+what, userID, name, old)
			}
		}
		f.replace("the same value again, before "+what, userID, name, old, old)
		f.replace(what, userID, name, old, value)
		old = value
	}
	f.replace("no value in place of none", userID, name, nil, nil)
	f.replace("a value", userID, name, nil, []byte("kept"))
	f.invalid(userID, name)
	f.copied(userID, name)
	f.replace("the end", userID, name, []byte("kept"), nil)
}

// invalid requires that what cannot be stored changes nothing.
func (f factors) invalid(userID, name string) {
	err := f.store.ReplaceFactor(f.ctx, userID, name, []byte("kept"), append(everyByte(), 0))
	conformance.ErrorIs(f, err, userstore.ErrInvalidFactor, replaceInvalid, "ReplaceFactor with a value of 4,097 bytes")
	for _, bad := range []string{"", "A", "a b", "a\x00", "\xff", "a_b", "\u00e9", strings.Repeat("a", 65)} {
		err := f.store.ReplaceFactor(f.ctx, userID, bad, nil, []byte("value"))
		conformance.ErrorIs(f, err, userstore.ErrInvalidFactor, replaceInvalid, "ReplaceFactor with the name %+q", bad)
		f.requireValue(replaceNothing, "after ReplaceFactor with that name", userID, bad, nil)
	}
	f.requireValue(replaceNothing, "after calls with bad names and values", userID, name, []byte("kept"))
}

// copied requires that the store shares no bytes with its caller.
func (f factors) copied(userID, name string) {
	given := []byte("given")
	conformance.NoError(f, f.store.ReplaceFactor(f.ctx, userID, name, []byte("kept"), given), replaces, "ReplaceFactor")
	given[0] = 'G'
	f.requireValue(factorCopy, "after its caller changed what it had given", userID, name, []byte("given"))
	got, err := f.store.Factor(f.ctx, userID, name)
	conformance.NoError(f, err, replaces, "Factor")
	got[0] = 'G'
	f.requireValue(factorCopy, "after its caller changed what it had got", userID, name, []byte("given"))
	f.replace("its first value", userID, name, []byte("given"), []byte("kept"))
}

// names requires that values of other names and other users are other values.
func (f factors) names() {
	longest := strings.Repeat("n", 64)
	own := []struct{ userID, name string }{{"u1", "a"}, {"u1", "a-"}, {"u1", "0"}, {"u1", longest}, {"u1", longest[1:]},
		{"u2", "a"}}
	for i, one := range own {
		f.replace("a value of its own", one.userID, one.name, nil, []byte{byte(i), 1})
	}
	for i, one := range own {
		f.requireValue(factorNames, "beside other names and users", one.userID, one.name, []byte{byte(i), 1})
	}
	f.replace("no value", "u1", "a", []byte{0, 1}, nil)
	f.requireValue(factorNames, "after another user's was deleted", "u2", "a", []byte{5, 1})
	for _, name := range []string{"A", "a ", "a\x00", "\xff", ""} {
		f.requireValue(factorNames, "which nobody stored", "u1", name, nil)
	}
}

// factorUser requires that values end with their user.
func (k kit) factorUser() {
	f, ok := k.factors()
	if !ok {
		return
	}
	for _, id := range []string{"", "u3", "U1", " u1", "ann@example.com", "a\x00b", "a\xffb", tooLongID} {
		for _, oldValue := range [][]byte{nil, []byte("old")} {
			for _, newValue := range [][]byte{nil, []byte("old"), []byte("new")} {
				err := f.store.ReplaceFactor(f.ctx, id, "a", oldValue, newValue)
				conformance.ErrorIs(f, err, userstore.ErrNotFound, replaceNoUser, "ReplaceFactor of the user %.20q", id)
			}
		}
		f.requireValue(factorNotFound, "of nobody", id, "a", nil)
	}
	for _, name := range []string{"a", "b"} {
		f.replace("a value", "u1", name, nil, []byte("of ann"))
		f.replace("a value", "u2", name, nil, []byte("of rene"))
	}
	changed := ann()
	changed.Email, changed.PasswordHash = "anne@example.com", "h3"
	conformance.NoError(f, k.store.Update(f.ctx, changed), updates, "Update")
	f.requireValue(replaces, "after Update of the user", "u1", "a", []byte("of ann"))

	conformance.NoError(f, k.store.Delete(f.ctx, "u1"), deletes, "Delete")
	for _, what := range []string{"after Delete of the user", "after Add of a user with the same id"} {
		f.requireValue(factorGone, what, "u1", "a", nil)
		f.requireValue(factorGone, what, "u1", "b", nil)
		f.requireValue(factorGone, "which is another user's", "u2", "a", []byte("of rene"))
		if what == "after Delete of the user" {
			err := f.store.ReplaceFactor(f.ctx, "u1", "a", []byte("of ann"), []byte("new"))
			conformance.ErrorIs(f, err, userstore.ErrNotFound, replaceNoUser, "ReplaceFactor %s", what)
			k.mustAdd(ann())
		}
	}
	f.replace("a value of the new user", "u1", "a", nil, []byte("new"))
}

// If many calls replace one old value, one of them succeeds.
func (k kit) factorParallel() {
	const n = 16
	f, ok := k.factors()
	if !ok {
		return
	}
	var old []byte
	for _, what := range []string{"make a value", "replace a value", "delete a value"} {
		values := make([][]byte, n)
		for i := range values {
			if what != "delete a value" {
				values[i] = fmt.Appendf(nil, "writer %d to %s", i, what)
			}
		}
		errs := conformance.Parallel(n, func(i int) error { return f.store.ReplaceFactor(f.ctx, "u2", "a", old, values[i]) })
		won := -1
		for i, err := range errs {
			if err == nil {
				conformance.True(f, won < 0, replaces, "%d calls %s at once: two succeed", n, what)
				won = i
				continue
			}
			conformance.ErrorIs(f, err, userstore.ErrConflict, replaces, "%d calls %s at once", n, what)
		}
		conformance.True(f, won >= 0, replaces, "%d calls %s at once: none succeeds", n, what)
		f.requireValue(replaces, "after many calls at once", "u2", "a", values[won])
		old = values[won]
	}
	errs := conformance.Parallel(n, func(i int) error {
		return f.store.ReplaceFactor(f.ctx, "u1", fmt.Sprint("n", i), nil, []byte{1})
	})
	conformance.NoError(f, errors.Join(errs...), safe, "%d ReplaceFactor of other names at once", n)
}

func (k kit) factorCanceled() {
	f, ok := k.factors()
	if !ok {
		return
	}
	f.replace("a value", "u1", "a", nil, []byte("value"))
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	_, err := f.store.Factor(ctx, "u1", "a")
	conformance.Error(f, err, factorContext, "Factor with a context that was canceled")
	conformance.NotErrorIs(f, err, userstore.ErrNotFound, factorNotFound, "Factor with a context that was canceled")
	for _, value := range [][]byte{[]byte("value"), []byte("new"), nil} {
		err = f.store.ReplaceFactor(ctx, "u1", "a", []byte("value"), value)
		conformance.Error(f, err, factorContext, "ReplaceFactor with a context that was canceled")
		conformance.NotErrorIs(f, err, userstore.ErrConflict, factorContext, "ReplaceFactor with a context that was canceled")
		f.requireValue(factorContext, "after a context that was canceled", "u1", "a", []byte("value"))
	}
}
