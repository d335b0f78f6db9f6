package totp

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

// requireUnreadable requires an error from every method that must read the state, and never "not enrolled".
func requireUnreadable(t *testing.T, f *Factor, userID, what string) {
	t.Helper()
	ctx := t.Context()
	_, err := f.Enrolled(ctx, userID)
	require.Error(t, err, what)
	amr, err := f.Verify(ctx, userID, "123456")
	require.Error(t, err, what)
	require.Nil(t, amr, what)
	_, err = f.Begin(ctx, userID, "ann@example.com")
	require.Error(t, err, what)
	require.NotErrorIs(t, err, ErrEnrolled, what)
	_, err = f.Confirm(ctx, userID, "123456")
	require.Error(t, err, what)
	require.NotErrorIs(t, err, ErrNotEnrolled, what)
	_, err = f.NewRecoveryCodes(ctx, userID)
	require.Error(t, err, what)
	require.NotErrorIs(t, err, ErrNotEnrolled, what)
}

// replace stores a value, whatever was there.
func replace(t testing.TB, store userstore.FactorStore, userID string, value []byte) {
	t.Helper()
	old, err := store.Factor(t.Context(), userID, factorName)
	if !errors.Is(err, userstore.ErrNotFound) {
		require.NoError(t, err)
	}
	require.NoError(t, store.ReplaceFactor(t.Context(), userID, factorName, old, value))
}

func stored(t testing.TB, store userstore.FactorStore, userID string) []byte {
	t.Helper()
	value, err := store.Factor(t.Context(), userID, factorName)
	require.NoError(t, err)
	return value
}

// A row that is copied to another user, or changed in one bit, is not read.
func TestForeignState(t *testing.T) {
	c := newClock()
	store := users(t)
	f := factor(t, store, key(1), WithClock(c.Now))
	_, codes := enrol(t, f, c)
	value := stored(t, store, "u1")
	replace(t, store, "u2", value)
	requireUnreadable(t, f, "u2", "the state of another user")
	amr, err := f.Verify(t.Context(), "u2", codes[0])
	require.Error(t, err)
	require.Nil(t, amr)
	for i := range value {
		changed := bytes.Clone(value)
		changed[i] ^= 1
		replace(t, store, "u1", changed)
		_, err := f.Enrolled(t.Context(), "u1")
		require.Error(t, err, "bit of byte %d", i)
		if i < len(value)-1 {
			replace(t, store, "u1", value[:i+1])
			_, err := f.Enrolled(t.Context(), "u1")
			require.Error(t, err, "only %d bytes", i+1)
		}
	}
	requireUnreadable(t, f, "u1", "a changed state")
	replace(t, store, "u1", value)
	requireRight(t, f, codes[0], "the state is back")

	require.NoError(t, f.Remove(t.Context(), "u2"))
	enrolled, err := f.Enrolled(t.Context(), "u2")
	require.NoError(t, err)
	require.False(t, enrolled, "Remove removes what cannot be read")
}

func TestKeyRotation(t *testing.T) {
	c := newClock()
	store := users(t)
	_, codes := enrol(t, factor(t, store, key(1), WithClock(c.Now)), c)
	requireUnreadable(t, factor(t, store, key(2)), "u1", "without the old key")
	next := factor(t, store, key(2), WithOldKeys(key(3), key(1)))
	before := stored(t, store, "u1")
	requireWrong(t, next, "abc", "a wrong code changes nothing")
	require.Equal(t, before, stored(t, store, "u1"))
	requireRight(t, next, codes[0], "with the old key")
	requireUnreadable(t, factor(t, store, key(1)), "u1", "with the old key alone")
	requireRight(t, factor(t, store, key(2)), codes[1], "with the new key alone")
	requireWrong(t, next, codes[1], "used")
}

// The same state never has the same stored form twice.
func TestNonces(t *testing.T) {
	v, err := newVault([][]byte{key(1)})
	require.NoError(t, err)
	one, err := v.seal("u1", record{})
	require.NoError(t, err)
	two, err := v.seal("u1", record{})
	require.NoError(t, err)
	require.NotEqual(t, one[:13], two[:13])
}

// State of a later version, or of another form, is an error.
func TestUnknownState(t *testing.T) {
	good := record{Version: 1, Algorithm: "SHA1", Digits: 6, Secret: make([]byte, 20), Confirmed: true,
		Codes: [][]byte{make([]byte, sha256.Size)}}
	require.NoError(t, good.check())
	store := users(t)
	f := factor(t, store, key(1))
	sealed, err := f.vault.seal("u1", good)
	require.NoError(t, err)
	replace(t, store, "u1", sealed)
	enrolled, err := f.Enrolled(t.Context(), "u1")
	require.NoError(t, err)
	require.True(t, enrolled)
	for what, change := range map[string]func(r *record){
		"version 0": func(r *record) { r.Version = 0 }, "version 2": func(r *record) { r.Version = 2 },
		"algorithm": func(r *record) { r.Algorithm = "SHA512" }, "digits": func(r *record) { r.Digits = 7 },
		"no secret": func(r *record) { r.Secret = nil }, "long secret": func(r *record) { r.Secret = make([]byte, 65) },
		"step": func(r *record) { r.Last = -1 }, "codes": func(r *record) { r.Codes = make([][]byte, 11) },
		"short hash": func(r *record) { r.Codes = [][]byte{{1}} },
	} {
		r := good
		change(&r)
		sealed, err := f.vault.seal("u1", r)
		require.NoError(t, err)
		replace(t, store, "u1", sealed)
		requireUnreadable(t, f, "u1", what)
	}
	for _, text := range []string{"", "{", "null", "[]", `{"v":1} x`, `{"v":"1"}`} {
		replace(t, store, "u1", f.vault[0].Seal([]byte{sealVersion}, nil, []byte(text), additionalData("u1")))
		requireUnreadable(t, f, "u1", text)
	}
}

// broken is a store that does not answer, or that always has a conflict.
type broken struct {
	userstore.FactorStore
	read, write error
}

func (b broken) Factor(ctx context.Context, userID, name string) ([]byte, error) {
	if b.read != nil {
		return nil, b.read
	}
	return b.FactorStore.Factor(ctx, userID, name)
}

func (b broken) ReplaceFactor(context.Context, string, string, []byte, []byte) error { return b.write }

func TestStoreFails(t *testing.T) {
	c := newClock()
	store := users(t)
	e, codes := enrol(t, factor(t, store, key(1), WithClock(c.Now)), c)
	down := errors.New("down")
	f := factor(t, broken{store, down, nil}, key(1), WithClock(c.Now))
	requireUnreadable(t, f, "u1", "a store that cannot read")
	require.ErrorIs(t, f.Remove(t.Context(), "u1"), down)
	c.add(time.Hour)
	for _, failure := range []error{down, userstore.ErrConflict, context.Canceled} {
		f := factor(t, broken{store, nil, failure}, key(1), WithClock(c.Now))
		for _, code := range []string{codes[0], appCode(t, e, c.Now())} {
			amr, err := f.Verify(t.Context(), "u1", code)
			require.ErrorIs(t, err, failure)
			require.Nil(t, amr)
		}
		fresh, err := f.NewRecoveryCodes(t.Context(), "u1")
		require.ErrorIs(t, err, failure)
		require.Nil(t, fresh)
		_, err = f.Begin(t.Context(), "u2", "bob@example.com")
		require.ErrorIs(t, err, failure)
		require.ErrorIs(t, f.Remove(t.Context(), "u1"), failure)
	}
	gone := factor(t, broken{store, nil, userstore.ErrNotFound}, key(1), WithClock(c.Now))
	requireWrong(t, gone, codes[0], "the user was deleted meanwhile")
}

// FuzzCode gives any text as a code, and any bytes as stored state, encrypted and not. Nothing panics, a wrong code is never
// an error, and a code that is right works once.
func FuzzCode(f *testing.F) {
	c := newClock()
	store := users(f)
	fac := factor(f, store, key(1), WithClock(c.Now))
	hash := sha256.Sum256([]byte("fifteen bytes!!")) // the workers of the fuzzer must have the same state, so it is not random
	state := record{Version: 1, Algorithm: sha1Name, Digits: 6, Secret: []byte("12345678901234567890"), Confirmed: true,
		Codes: [][]byte{hash[:]}}
	enrolled, err := fac.vault.seal("u1", state)
	require.NoError(f, err)
	plain, err := json.Marshal(state)
	require.NoError(f, err)
	right, err := state.code(c.Now().Unix() / period)
	require.NoError(f, err)
	recovery := crockford.EncodeToString([]byte("fifteen bytes!!"))
	for _, code := range []string{right, right[:3] + " " + right[3:], recovery, strings.ToUpper(recovery) + " ", "", "000000",
		"1234567", "\xff\x00", "\u0661\u0662\u0663", "oooo-llll-iiii-0000-1111-zzzz", "\u2003\u00ad-"} {
		f.Add(code, plain)
	}
	secret := `"secret":"MTIzNDU2Nzg5MDEyMzQ1Njc4OTA=","confirmed":true`
	for _, text := range []string{"", "{}", "null", `{"v":1,"alg":"SHA256","digits":8,` + secret + `}`,
		`{"v":1,"alg":"SHA1","digits":6,` + secret + `,"last":9223372036854775807,"codes":[null]}`,
		`{"v":1e99,"secret":"="}`, "\x01" + strings.Repeat("x", 60)} {
		f.Add(right, []byte(text))
	}
	f.Fuzz(func(t *testing.T, code string, state []byte) {
		if len(state) > 3000 {
			return
		}
		replace(t, store, "u1", enrolled)
		amr, err := fac.Verify(t.Context(), "u1", code)
		require.NoError(t, err)
		if amr != nil {
			requireWrong(t, fac, code, "a second time")
		}
		if len(state) > 0 {
			replace(t, store, "u1", state)
			amr, err := fac.Verify(t.Context(), "u1", code)
			require.Error(t, err, "nobody can make up encrypted state")
			require.Nil(t, amr)
		}
		replace(t, store, "u1", fac.vault[0].Seal([]byte{sealVersion}, nil, state, additionalData("u1")))
		var r record
		known := json.Unmarshal(state, &r) == nil && r.check() == nil
		amr, err = fac.Verify(t.Context(), "u1", code)
		require.Equal(t, known, err == nil, "%v", err)
		if amr != nil {
			require.True(t, r.Confirmed)
			requireWrong(t, fac, code, "a second time")
		}
	})
}

// This secret has the same code in two steps in a row. The code works once nevertheless.
func TestSameCodeInTwoSteps(t *testing.T) {
	c := newClock()
	f := factor(t, users(t), key(1), WithClock(c.Now))
	put(t, f, record{Version: 1, Algorithm: sha1Name, Digits: 6, Secret: []byte("00000000000000008284"), Confirmed: true})
	requireRight(t, f, "753327", "in the first step")
	c.add(period * time.Second)
	requireWrong(t, f, "753327", "in the second step")
}

// While processes with the old and the new configuration run side by side, all of them read what any of them writes.
func TestAChangeOfKeys(t *testing.T) {
	c, store := newClock(), users(t)
	enrol(t, factor(t, store, key(1), WithClock(c.Now)), c)
	configurations := []*Factor{factor(t, store, key(1)), factor(t, store, key(1), WithOldKeys(key(2))),
		factor(t, store, key(2), WithOldKeys(key(1))), factor(t, store, key(2))}
	for i := range 3 {
		for _, writer := range configurations[i : i+2] {
			require.NoError(t, writer.Reseal(t.Context(), "u1"))
			require.NoError(t, writer.Reseal(t.Context(), "u2"), "has no state")
			require.NoError(t, writer.Reseal(t.Context(), "nobody"))
			for _, reader := range configurations[i : i+2] {
				enrolled, err := reader.Enrolled(t.Context(), "u1")
				require.NoError(t, err)
				require.True(t, enrolled)
			}
		}
	}
	require.Error(t, configurations[0].Reseal(t.Context(), "u1"), "it cannot read the state")
}
