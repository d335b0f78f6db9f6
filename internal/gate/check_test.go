package gate_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/password"
)

// fake is a Hasher. Its hashes are "kind$salt$key", as stored makes them, and each kind takes its own time.
type fake struct {
	takes    map[string]time.Duration
	outdated bool
	err      error
	calls    *[]string // "kind form" of each Verify
}

// stored returns the hash of a password.
func stored(kind, pass string) string {
	return fmt.Sprintf("%s$salt$%x", kind, sha256.Sum256([]byte(pass)))
}

func newFake() fake {
	return fake{takes: map[string]time.Duration{"new": 20 * time.Millisecond}, calls: new([]string)}
}

func (f fake) Hash(pass string) (string, error) {
	time.Sleep(f.takes["new"])
	return stored("new", pass), f.err
}

func (f fake) Verify(hash, pass string) (ok, outdated bool, err error) {
	kind, _, _ := strings.Cut(hash, "$")
	if f.calls != nil {
		*f.calls = append(*f.calls, kind+" "+pass)
	}
	switch took, known := f.takes[kind]; {
	case !known:
		return false, false, password.ErrFormat
	case len(pass) > password.MaxLength:
		return false, false, password.ErrTooLong
	default:
		time.Sleep(took)
	}
	ok = hash == stored(kind, pass)
	return ok, ok && f.outdated, f.err
}

// verified returns the calls of Verify since the last one, sorted.
func (f fake) verified() []string {
	calls := slices.Sorted(slices.Values(*f.calls))
	*f.calls = nil
	return calls
}

func check(t *testing.T, g *gate.Gate, hash, pass string, refuse bool) bool {
	t.Helper()
	ok, outdated, err := g.Check(t.Context(), "", hash, pass, refuse)
	require.NoError(t, err)
	require.False(t, outdated)
	return ok
}

// Every refusal costs one hash of each kind. A success costs its own hash only.
func TestCheckRefusesAlike(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes["old"], f.takes["older"] = 300*time.Millisecond, time.Millisecond
		g := gateOf(t, 1, f)
		require.False(t, check(t, g, "", "x", false))
		require.Equal(t, []string{"new x"}, f.verified(), "an unknown user, and no other kind was seen")

		require.True(t, check(t, g, stored("old", "right"), "right", false))
		require.Equal(t, []string{"old right"}, f.verified(), "a success teaches the kind and costs its own hash")
		require.True(t, check(t, g, stored("older", "right"), "right", false))
		f.verified()

		for _, tc := range []struct {
			name, hash, pass string
			refuse           bool
		}{
			{"unknown", "", "x", false},
			{"unknown, to be refused", "", "x", true},
			{"new, wrong", stored("new", "right"), "x", false},
			{"old, wrong", stored("old", "right"), "x", false},
			{"older, wrong", stored("older", "right"), "x", false},
			{"new, disabled", stored("new", "x"), "x", true},
			{"old, disabled", stored("old", "x"), "x", true},
			{"old, disabled and wrong", stored("old", "right"), "x", true},
		} {
			start := time.Now()
			require.False(t, check(t, g, tc.hash, tc.pass, tc.refuse), tc.name)
			require.Equal(t, []string{"new x", "old x", "older x"}, f.verified(), tc.name)
			require.Equal(t, 321*time.Millisecond, time.Since(start), tc.name)
		}
		require.False(t, check(t, g, "", "right", false), "a decoy has a user's password")
	})
}

// A hash that the hasher cannot read costs as much as an unknown user.
func TestCheckUnreadableHash(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes["old"] = time.Millisecond
		g := gateOf(t, 1, f)
		check(t, g, stored("old", "right"), "right", false)
		f.verified()
		for _, hash := range []string{"!locked", stored("odd", "x"), "$", "}{", "{", ":", "{}", strings.Repeat("$", 100_000)} {
			ok, outdated, err := g.Check(t.Context(), "", hash, "x", false)
			require.ErrorIs(t, err, password.ErrFormat, "%.50q", hash)
			require.False(t, ok || outdated, "%.50q", hash)
			require.Subset(t, f.verified(), []string{"new x", "old x"}, "%.50q", hash)
			check(t, g, "", "x", false)
			require.Equal(t, []string{"new x", "old x"}, f.verified(), "%.50q was learned", hash)
		}
	})
}

// A kind that is much dearer than the hasher's own is no decoy. Load does not decide, because the shortest time counts.
func TestCheckDearKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes["dear"] = 321 * time.Millisecond // over 16 times 20 ms
		g := gateOf(t, 1, f)
		for range 3 {
			check(t, g, stored("dear", "right"), "x", false)
			require.Equal(t, []string{"dear x", "new x"}, f.verified())
			check(t, g, "", "x", false)
			require.Equal(t, []string{"new x"}, f.verified())
		}
		f.takes["dear"] = 320 * time.Millisecond // the machine is quiet now
		check(t, g, stored("dear", "right"), "x", false)
		f.verified()
		f.takes["dear"] = time.Second
		check(t, g, "", "x", false)
		require.Equal(t, []string{"dear x", "new x"}, f.verified())
		check(t, g, "", "x", false)
		require.Equal(t, []string{"dear x", "new x"}, f.verified(), "one slow decoy changes nothing")

		cheap := newFake()
		cheap.takes["new"], cheap.takes["old"] = time.Microsecond, 200*time.Millisecond
		g = gateOf(t, 1, cheap)
		check(t, g, stored("old", "right"), "x", false)
		cheap.verified()
		check(t, g, "", "x", false)
		require.Equal(t, []string{"new x", "old x"}, cheap.verified(), "over 16 times the hasher's own, but no more than 200 ms")
	})
}

// The shortest time counts, of decoys too: what was learned under load is no dear kind when the load is gone. A password that no
// hasher takes tells nothing about the time.
func TestCheckMeasuresDecoys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.takes["new"], f.takes["old"], f.takes["dear"] = 40*time.Millisecond, 600*time.Millisecond, 2*time.Second
		g := gateOf(t, 1, f)
		check(t, g, stored("dear", "right"), "x", false)
		check(t, g, stored("old", "right"), "x", false)
		f.takes["old"] = 300 * time.Millisecond
		f.verified()
		for range 2 {
			check(t, g, "", "x", false)
			require.Equal(t, []string{"new x", "old x"}, f.verified())
			f.takes["new"] = 20 * time.Millisecond
		}

		long := strings.Repeat("x", password.MaxLength+1)
		f.takes["other"] = time.Millisecond
		check(t, g, stored("old", "right"), long, false)
		check(t, g, stored("other", "right"), long, false)
		require.Equal(t, 3, gate.Kinds(g), "a kind was learned without its cost")
		f.takes["old"] = time.Second // a load again
		for range 2 {
			f.verified()
			check(t, g, "", "x", false)
			require.Equal(t, []string{"new x", "old x"}, f.verified())
		}
	})
}

// Users with many kinds of hashes do not make refusals ever slower.
func TestCheckBoundsKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		g := gateOf(t, 1, f)
		for i := range 30 {
			kind := strings.Repeat("k", i+1)
			f.takes[kind] = time.Millisecond
			check(t, g, stored(kind, "right"), "right", false)
			require.LessOrEqual(t, gate.Kinds(g), 16)
		}
		f.verified()
		check(t, g, "", "x", false)
		require.Len(t, f.verified(), 8)
		check(t, g, stored("kk", "right"), "x", false)
		require.Len(t, f.verified(), 8)
	})
}

// A decoy that the hasher cannot read is not tried again.
func TestCheckUnreadableDecoy(t *testing.T) {
	f := newFake()
	strict := strictFake{f, stored("odd", "right")}
	g := gateOf(t, 1, strict)
	check(t, g, strict.only, "right", false)
	check(t, g, "", "x", false)
	f.verified()
	check(t, g, "", "x", false)
	require.Equal(t, []string{"new x"}, f.verified())
	require.Equal(t, 1, gate.Decoys(g))
}

// strictFake reads one hash more, but no other of its kind.
type strictFake struct {
	fake
	only string
}

func (f strictFake) Verify(hash, pass string) (ok, outdated bool, err error) {
	if hash == f.only {
		return true, false, nil
	}
	return f.fake.Verify(hash, pass)
}

// The hasher's faults are not refusals.
func TestCheckHasherFails(t *testing.T) {
	fault := errors.New("broken")
	f := newFake()
	_, err := gate.New(fake{err: fault}, 1)
	require.Equal(t, fault, err)
	g := gateOf(t, 1, failing{f, fault})
	for _, hash := range []string{"", stored("new", "x")} {
		ok, _, err := g.Check(t.Context(), "", hash, "x", false)
		require.Equal(t, fault, err, hash)
		require.False(t, ok, hash)
	}
	_, _, err = g.Verify(t.Context(), "", stored("new", "x"), "x")
	require.Equal(t, fault, err)
}

// failing can hash but not verify.
type failing struct {
	fake
	fault error
}

func (f failing) Verify(string, string) (ok, outdated bool, err error) { return true, true, f.fault }

func TestVerifyAndHash(t *testing.T) {
	f := newFake()
	g := gateOf(t, 1, f)
	hash, err := g.Hash(t.Context(), "", "secret")
	require.NoError(t, err)
	require.Equal(t, stored("new", "secret"), hash)
	for pass, want := range map[string]bool{"secret": true, "x": false} {
		ok, outdated, err := g.Verify(t.Context(), "", hash, pass)
		require.NoError(t, err)
		require.Equal(t, []bool{want, false}, []bool{ok, outdated}, pass)
	}
	require.Len(t, f.verified(), 2, "Verify costs one hash")
	ok, _, err := g.Verify(t.Context(), "", "!locked", "x")
	require.ErrorIs(t, err, password.ErrFormat)
	require.False(t, ok)
	f.outdated = true
	g = gateOf(t, 1, f)
	_, outdated, err := g.Verify(t.Context(), "", hash, "secret")
	require.NoError(t, err)
	require.True(t, outdated)
	_, outdated, err = g.Check(t.Context(), "", hash, "secret", false)
	require.NoError(t, err)
	require.True(t, outdated)
}

// A password in another form than NFC is tried in both, NFC first. Refusals cost the same for all.
func TestCheckForms(t *testing.T) {
	const nfc, nfd = "pässword", "pa\u0308ssword"
	f := newFake()
	g := gateOf(t, 1, f)
	for _, tc := range []struct {
		name, has, pass string
		refuse          bool
		ok, outdated    bool
		verified        []string
	}{
		{"NFC, typed NFC", nfc, nfc, false, true, false, []string{"new " + nfc}},
		{"NFC, typed NFD", nfc, nfd, false, true, false, []string{"new " + nfc}},
		{"NFD, typed NFD", nfd, nfd, false, true, true, []string{"new " + nfc, "new " + nfd}},
		{"NFD, typed NFC", nfd, nfc, false, false, false, []string{"new " + nfc}},
		{"wrong, typed NFD", "x", nfd, false, false, false, []string{"new " + nfc, "new " + nfd}},
		{"unknown, typed NFD", "", nfd, false, false, false, []string{"new " + nfc, "new " + nfd}},
		{"disabled, NFC, typed NFD", nfc, nfd, true, false, false, []string{"new " + nfc, "new " + nfd}},
		{"disabled, NFD, typed NFD", nfd, nfd, true, false, false, []string{"new " + nfc, "new " + nfd}},
		{"not UTF-8", "\xff\xfe", "\xff\xfe", false, true, false, []string{"new \xff\xfe"}},
		{"compatible only", "ﬁ", "fi", false, false, false, []string{"new fi"}},
	} {
		hash := ""
		if tc.has != "" {
			hash = stored("new", tc.has)
		}
		ok, outdated, err := g.Check(t.Context(), "", hash, tc.pass, tc.refuse)
		require.NoError(t, err, tc.name)
		require.Equal(t, []bool{tc.ok, tc.outdated}, []bool{ok, outdated}, "%s: ok and outdated", tc.name)
		slices.Sort(tc.verified)
		require.Equal(t, tc.verified, f.verified(), tc.name)
	}
	hash, err := g.Hash(t.Context(), "", nfd)
	require.NoError(t, err)
	require.Equal(t, stored("new", nfc), hash)
}

// A password that is too long matches nobody.
func TestCheckTooLong(t *testing.T) {
	g := gateOf(t, 1, newFake())
	require.False(t, check(t, g, stored("new", "x"), strings.Repeat("x", password.MaxLength+1), false))
	ok, _, err := g.Verify(t.Context(), "", stored("new", "x"), strings.Repeat("x", password.MaxLength+1))
	require.NoError(t, err)
	require.False(t, ok)
	// U+1D160 has 4 bytes, and its normal form 12: the bytes as they are may still match.
	long := strings.Repeat("\U0001D160", 100)
	require.True(t, func() bool { ok, _, _ := g.Check(t.Context(), "", stored("new", long), long, false); return ok }())
}

// Calls may come from many goroutines while kinds are learned. The race detector watches.
func TestCheckParallel(t *testing.T) {
	g := gateOf(t, 4, fake{takes: map[string]time.Duration{"new": 0, "old": 0}})
	hash := stored("old", "secret")
	errs := make(chan error, 40)
	for i := range 40 {
		go func() {
			_, _, err := g.Check(context.Background(), "", []string{"", hash}[i%2], "x", i%3 == 0)
			errs <- err
		}()
	}
	for range 40 {
		require.NoError(t, <-errs)
	}
	require.Equal(t, 2, gate.Decoys(g))
}
