package totp

import (
	"bytes"
	"context"
	"encoding/base32"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

// secondFactor is signet.SecondFactor.
type secondFactor interface {
	Enrolled(ctx context.Context, userID string) (bool, error)
	Verify(ctx context.Context, userID, code string) (amr []string, err error)
}

var _ secondFactor = (*Factor)(nil)

// clock is a clock that tests set. It is at the beginning of a time step.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func key(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }

func users(t testing.TB) *userstore.Memory {
	t.Helper()
	m := userstore.NewMemory()
	for _, id := range []string{"u1", "u2"} {
		require.NoError(t, m.Add(t.Context(), userstore.User{ID: id, Email: id + "@example.com"}))
	}
	return m
}

func factor(t testing.TB, store userstore.FactorStore, k []byte, options ...Option) *Factor {
	t.Helper()
	f, err := New(store, k, options...)
	require.NoError(t, err)
	return f
}

// appCode returns what an app shows at a time.
func appCode(t testing.TB, e Enrolment, at time.Time) string {
	t.Helper()
	secret, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(e.Secret)
	require.NoError(t, err)
	uri, err := url.Parse(e.URI)
	require.NoError(t, err)
	r := record{Algorithm: uri.Query().Get("algorithm"), Digits: 6, Secret: secret}
	if uri.Query().Get("digits") == "8" {
		r.Digits = 8
	}
	code, err := r.code(at.Unix() / period)
	require.NoError(t, err)
	return code
}

// enrol enrols u1. The code of the current step is used up.
func enrol(t testing.TB, f *Factor, c *clock) (e Enrolment, codes []string) {
	t.Helper()
	e, err := f.Begin(t.Context(), "u1", "ann@example.com")
	require.NoError(t, err)
	codes, err = f.Confirm(t.Context(), "u1", appCode(t, e, c.Now()))
	require.NoError(t, err)
	return e, codes
}

func requireRight(t testing.TB, f *Factor, code, what string) {
	t.Helper()
	amr, err := f.Verify(t.Context(), "u1", code)
	require.NoError(t, err, what)
	require.Equal(t, []string{"otp"}, amr, what)
}

func requireWrong(t testing.TB, f *Factor, code, what string) {
	t.Helper()
	amr, err := f.Verify(t.Context(), "u1", code)
	require.NoError(t, err, what)
	require.Nil(t, amr, what)
}

// put stores a record of u1, as an enrolment would.
func put(t testing.TB, f *Factor, r record) {
	t.Helper()
	require.NoError(t, f.change(t.Context(), "u1", func(old *record) error { *old = r; return nil }))
}

// The vectors of RFC 6238, appendix B. The 6 digits are the last of the 8.
func TestVectors(t *testing.T) {
	secret := []byte("12345678901234567890123456789012")
	for _, tc := range []struct {
		at           int64
		sha1, sha256 string
	}{
		{59, "94287082", "46119246"}, {1111111109, "07081804", "68084774"}, {1111111111, "14050471", "67062674"},
		{1234567890, "89005924", "91819424"}, {2000000000, "69279037", "90698825"}, {20000000000, "65353130", "77737706"},
	} {
		for _, digits := range []int{8, 6} {
			for _, one := range []record{
				{Version: 1, Algorithm: "SHA1", Digits: digits, Secret: secret[:20], Confirmed: true},
				{Version: 1, Algorithm: "SHA256", Digits: digits, Secret: secret, Confirmed: true},
			} {
				code := map[string]string{"SHA1": tc.sha1, "SHA256": tc.sha256}[one.Algorithm][8-digits:]
				what := fmt.Sprintf("%s at %d: %s", one.Algorithm, tc.at, code)
				f := factor(t, users(t), key(1), WithClock(func() time.Time { return time.Unix(tc.at, 0) }))
				put(t, f, one)
				requireWrong(t, f, code[1:], what)
				requireWrong(t, f, "0"+code, what)
				requireRight(t, f, code, what)
				requireWrong(t, f, code, what)
			}
		}
	}
}

// A code is good in its own step of 30 seconds, and in one before and after it.
func TestWindow(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	for _, tc := range []struct {
		at    time.Duration // from the beginning of the step of the code
		right bool
	}{
		{-30*time.Second - 1, false}, {-30 * time.Second, true}, {-1, true}, {0, true}, {30*time.Second - 1, true},
		{30 * time.Second, true}, {60*time.Second - 1, true}, {60 * time.Second, false}, {90 * time.Second, false},
		{24 * time.Hour, false}, {-24 * time.Hour, false},
	} {
		c := newClock()
		f := factor(t, users(t), key(1), WithClock(c.Now))
		e, _ := enrol(t, f, c)
		c.add(100 * period * time.Second)
		code := appCode(t, e, c.Now())
		c.add(tc.at)
		if tc.right {
			requireRight(t, f, code, tc.at.String())
		} else {
			requireWrong(t, f, code, tc.at.String())
		}
	}
	f := factor(t, users(t), key(1), WithClock(func() time.Time { return time.Unix(-100, 0) }))
	put(t, f, record{Version: 1, Algorithm: "SHA1", Digits: 6, Secret: make([]byte, 20), Confirmed: true})
	requireWrong(t, f, "328482", "before 1970")
}

// A code works once, and no code of an earlier step works after it.
func TestReuse(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	c := newClock()
	f := factor(t, users(t), key(1), WithClock(c.Now))
	e, _ := enrol(t, f, c)
	begin := c.Now()
	requireWrong(t, f, appCode(t, e, begin), "the code of Confirm")
	c.add(period * time.Second)
	code := func(steps int) string { return appCode(t, e, begin.Add(time.Duration(steps)*period*time.Second)) }
	requireRight(t, f, code(2), "of an app whose clock is ahead")
	requireWrong(t, f, code(2), "again")
	requireWrong(t, f, code(1), "of an older step")
	requireWrong(t, f, code(0), "of a still older step")
	c.add(period * time.Second)
	requireWrong(t, f, code(2), "again in its own step")
	requireRight(t, f, code(3), "of the next step")

	other := factor(t, f.store, key(1), WithClock(c.Now))
	requireWrong(t, other, code(3), "again in another process")
}

// People type codes in many ways. What is not a code is a wrong code and never an error.
func TestSpelling(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	c := newClock()
	f := factor(t, users(t), key(1), WithClock(c.Now))
	e, codes := enrol(t, f, c)
	for i, spell := range []func(code string) string{
		func(s string) string { return s[:3] + " " + s[3:] }, func(s string) string { return " " + s + "\r\n" },
		func(s string) string { return s[:3] + "-" + s[3:] }, func(s string) string { return s[:3] + "\u00a0\u202f" + s[3:] },
		func(s string) string { return strings.Join(strings.Split(s, ""), " ") },
		func(s string) string { return "\ufeff" + s + "\u200b" },
	} {
		c.add(period * time.Second)
		requireRight(t, f, spell(appCode(t, e, c.Now())), fmt.Sprint("a code of the app, spelling ", i))
	}
	for i, spell := range []func(code string) string{
		strings.ToUpper, func(s string) string { return strings.ReplaceAll(s, "-", "") },
		func(s string) string { return strings.ReplaceAll(s, "-", " ") }, func(s string) string { return "\t" + s + " " },
		func(s string) string { return strings.ReplaceAll(s, "-", "\u2013") },
		func(s string) string { return strings.NewReplacer("0", "O", "1", "l").Replace(s) },
		func(s string) string { return strings.NewReplacer("0", "o", "1", "I").Replace(strings.ToUpper(s)) },
	} {
		requireRight(t, f, spell(codes[i]), fmt.Sprint("a recovery code, spelling ", i))
		requireWrong(t, f, codes[i], "the same recovery code as it was shown")
	}
	c.add(period * time.Second)
	code := appCode(t, e, c.Now())
	for _, wrong := range []string{"", " ", "-", code[:5], code + "0", code + "\x00", "\xff" + code, code[:5] + "\u0661",
		"\u0661\u0662\u0663\u0664\u0665\u0666",
		"0x" + code, "+" + code, code + ".", code[:5] + "a", strings.Repeat(code, 1000), strings.Repeat(" ", 130) + code,
		"'; DROP TABLE signet_factors; --",
		codes[8][:len(codes[8])-1], codes[8] + "0", codes[8] + codes[9], strings.Repeat("0", 24),
		strings.ReplaceAll(codes[8], "-", "_"), "u" + codes[8][1:], strings.Repeat("z", 24), strings.Repeat("=", 24)} {
		requireWrong(t, f, wrong, wrong)
	}
	requireRight(t, f, code, "after all that")
	requireRight(t, f, codes[8], "after all that")
}

func TestRecoveryCodes(t *testing.T) {
	c := newClock()
	f := factor(t, users(t), key(1), WithClock(c.Now))
	_, codes := enrol(t, f, c)
	require.Len(t, codes, 10)
	seen := map[string]bool{}
	for _, code := range codes {
		require.Regexp(t, regexp.MustCompile(`^[0-9a-hjkmnp-tv-z]{4}(-[0-9a-hjkmnp-tv-z]{4}){5}$`), code)
		require.False(t, seen[code])
		seen[code] = true
	}
	left := func() int {
		n, err := f.RecoveryCodesLeft(t.Context(), "u1")
		require.NoError(t, err)
		return n
	}
	require.Equal(t, 10, left())
	requireRight(t, f, codes[3], "first use")
	requireWrong(t, f, codes[3], "second use")
	require.Equal(t, 9, left())
	fresh, err := f.NewRecoveryCodes(t.Context(), "u1")
	require.NoError(t, err)
	require.Len(t, fresh, 10)
	for i, code := range codes {
		requireWrong(t, f, code, "an old code")
		requireRight(t, f, fresh[i], "a new code")
	}
	for _, code := range fresh {
		requireWrong(t, f, code, "all are used")
	}
	require.Zero(t, left())
	n, err := f.RecoveryCodesLeft(t.Context(), "nobody")
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestEnrolment(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	c := newClock()
	f := factor(t, users(t), key(1), WithClock(c.Now))
	requireEnrolled := func(want bool) {
		t.Helper()
		got, err := f.Enrolled(t.Context(), "u1")
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	ctx := t.Context()
	_, err := f.Confirm(ctx, "u1", "123456")
	require.ErrorIs(t, err, ErrNotEnrolled)
	_, err = f.NewRecoveryCodes(ctx, "u1")
	require.ErrorIs(t, err, ErrNotEnrolled)
	require.NoError(t, f.Remove(ctx, "u1"))
	requireWrong(t, f, "123456", "not enrolled")
	requireEnrolled(false)

	first, err := f.Begin(ctx, "u1", "ann@example.com")
	require.NoError(t, err)
	second, err := f.Begin(ctx, "u1", "ann@example.com")
	require.NoError(t, err)
	require.NotEqual(t, first.Secret, second.Secret)
	requireEnrolled(false)
	requireWrong(t, f, appCode(t, second, c.Now()), "not confirmed")
	_, err = f.NewRecoveryCodes(ctx, "u1")
	require.ErrorIs(t, err, ErrNotEnrolled)
	for _, wrong := range []string{appCode(t, first, c.Now()), "", "abc", appCode(t, second, c.Now().Add(time.Hour))} {
		codes, err := f.Confirm(ctx, "u1", wrong)
		require.ErrorIs(t, err, ErrWrongCode)
		require.Nil(t, codes)
	}
	requireEnrolled(false)
	codes, err := f.Confirm(ctx, "u1", appCode(t, second, c.Now()))
	require.NoError(t, err)
	requireEnrolled(true)
	_, err = f.Begin(ctx, "u1", "ann@example.com")
	require.ErrorIs(t, err, ErrEnrolled)
	_, err = f.Confirm(ctx, "u1", appCode(t, second, c.Now()))
	require.ErrorIs(t, err, ErrEnrolled)
	requireRight(t, f, codes[0], "after a refused Begin")
	enrolled, err := f.Enrolled(ctx, "u2")
	require.NoError(t, err)
	require.False(t, enrolled)

	require.NoError(t, f.Remove(ctx, "u1"))
	require.NoError(t, f.Remove(ctx, "u1"))
	requireEnrolled(false)
	requireWrong(t, f, codes[1], "removed")
	enrol(t, f, c)
	requireEnrolled(true)

	_, err = f.Begin(ctx, "u3", "bob@example.com")
	require.ErrorIs(t, err, userstore.ErrNotFound)
	enrolled, err = f.Enrolled(ctx, "u3")
	require.NoError(t, err)
	require.False(t, enrolled)
	require.NoError(t, f.Remove(ctx, "u3"))
	for _, account := range []string{"", "a\nb", "\xff", strings.Repeat("a", 1025)} {
		_, err := f.Begin(ctx, "u2", account)
		require.Error(t, err)
	}
}

func TestURI(t *testing.T) {
	for _, tc := range []struct {
		options []Option
		account string
		want    string
	}{
		{nil, "ann@example.com", "otpauth://totp/ann%40example.com?secret=S&algorithm=SHA1&digits=6&period=30"},
		{[]Option{WithIssuer("Big Shop & Söhne"), WithSHA256(), WithEightDigits()}, "a:b c/d?e#f%+ü",
			"otpauth://totp/Big%20Shop%20%26%20S%C3%B6hne:a%3Ab%20c%2Fd%3Fe%23f%25%2B%C3%BC?secret=S" +
				"&issuer=Big%20Shop%20%26%20S%C3%B6hne&algorithm=SHA256&digits=8&period=30"},
	} {
		c := newClock()
		f := factor(t, users(t), key(1), append(tc.options, WithClock(c.Now))...)
		e, err := f.Begin(t.Context(), "u1", tc.account)
		require.NoError(t, err)
		require.Equal(t, strings.Replace(tc.want, "=S&", "="+e.Secret+"&", 1), e.URI)
		require.Regexp(t, `^([A-Z2-7]{32}|[A-Z2-7]{52})$`, e.Secret)
		_, err = f.Confirm(t.Context(), "u1", appCode(t, e, c.Now()))
		require.NoError(t, err)
	}
}

// Users who are enrolled stay with what they have when the options change.
func TestOptionsChange(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	c := newClock()
	store := users(t)
	e, _ := enrol(t, factor(t, store, key(1), WithClock(c.Now)), c)
	c.add(time.Hour)
	f := factor(t, store, key(1), WithClock(c.Now), WithSHA256(), WithEightDigits(), WithIssuer("Shop"))
	requireRight(t, f, appCode(t, e, c.Now()), "a code of SHA-1 with 6 digits")
}

func TestNew(t *testing.T) {
	for _, tc := range []struct {
		name    string
		store   userstore.FactorStore
		key     []byte
		options []Option
		want    []string
	}{
		{"no store", nil, key(1), nil, []string{"store is nil"}},
		{"no key", users(t), nil, nil, []string{"key 0 has 0 bytes"}},
		{"short key", users(t), key(1)[:31], nil, []string{"key 0 has 31 bytes"}},
		{"AES-128", users(t), key(1)[:16], nil, []string{"key 0 has 16 bytes"}},
		{"long key", users(t), append(key(1), 1), nil, []string{"key 0 has 33 bytes"}},
		{"no key", users(t), make([]byte, 32), nil, []string{"key 0 has only zeros"}},
		{"base64", users(t), bytes.Repeat([]byte("a"), 44), nil, []string{"decode it"}},
		{"nil pointer", (*userstore.Memory)(nil), key(1), nil, []string{"store is nil"}},
		{"old key", users(t), key(1), []Option{WithOldKeys(key(2), nil)}, []string{"key 2 has 0 bytes"}},
		{"issuers", users(t), key(1), []Option{WithIssuer("")}, []string{"WithIssuer"}},
		{"colon", users(t), key(1), []Option{WithIssuer("a:b")}, []string{"WithIssuer"}},
		{"control", users(t), key(1), []Option{WithIssuer("a\n")}, []string{"WithIssuer"}},
		{"long issuer", users(t), key(1), []Option{WithIssuer(strings.Repeat("a", 65))}, []string{"WithIssuer"}},
		{"all", nil, nil, []Option{WithIssuer("\xff"), WithClock(nil), nil},
			[]string{"option is nil", "store is nil", "key 0", "WithIssuer", "WithClock"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, err := New(tc.store, tc.key, tc.options...)
			require.Nil(t, f)
			for _, want := range tc.want {
				require.ErrorContains(t, err, want)
			}
		})
	}
}

// Of 300 tries with one code in three processes, one succeeds. The same holds for a recovery code, and for Confirm.
func TestParallel(t *testing.T) {
	cryptotest.SetGlobalRandom(t, 1) // no code is right by chance
	c := newClock()
	store := users(t)
	var factors []*Factor
	for range 3 {
		factors = append(factors, factor(t, store, key(1), WithClock(c.Now)))
	}
	e, err := factors[0].Begin(t.Context(), "u1", "ann@example.com")
	require.NoError(t, err)
	count := func(try func(f *Factor) (bool, error)) (right int) {
		results := make(chan bool, 300)
		var all sync.WaitGroup
		start := make(chan struct{})
		for i := range cap(results) {
			all.Go(func() {
				<-start
				ok, err := try(factors[i%3])
				if err != nil {
					t.Error(err)
				}
				results <- ok
			})
		}
		close(start)
		all.Wait()
		close(results)
		for ok := range results {
			if ok {
				right++
			}
		}
		return right
	}
	var codes []string
	confirmed := count(func(f *Factor) (bool, error) {
		got, err := f.Confirm(t.Context(), "u1", appCode(t, e, c.Now()))
		if errors.Is(err, ErrEnrolled) {
			return false, nil
		}
		if err == nil {
			codes = got // only one succeeds, or the race detector complains
		}
		return err == nil, err
	})
	require.Equal(t, 1, confirmed)
	c.add(time.Hour)
	for _, code := range []string{appCode(t, e, c.Now()), codes[0], codes[1]} {
		require.Equal(t, 1, count(func(f *Factor) (bool, error) {
			amr, err := f.Verify(t.Context(), "u1", code)
			return amr != nil, err
		}))
	}
}
