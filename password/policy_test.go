package password_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

func TestPolicy(t *testing.T) {
	for _, tc := range []struct {
		name, password string
		least          int
		want           error
	}{
		{"8 bytes", "12345678", 0, nil},
		{"7 bytes", "1234567", 0, password.ErrTooShort},
		{"empty", "", 0, password.ErrTooShort},
		{"negative least", "1234567", -1, password.ErrTooShort},
		{"lower least", "1", 1, nil},
		{"higher least", strings.Repeat("a", 14), 15, password.ErrTooShort},
		{"bytes count, not characters", "éééé", 0, nil},
		{"7 bytes in NFC, 8 in NFD", "12345e\u0301", 0, password.ErrTooShort},
		{"only spaces", "        ", 0, nil},
		{"no digit, no capital", "correct horse battery staple", 0, nil},
		{"1,024 bytes", strings.Repeat("a", 1024), 0, nil},
		{"1,025 bytes", strings.Repeat("a", 1025), 0, password.ErrTooLong},
		{"1,024 bytes, NFC is longer", strings.Repeat("a", 1022) + "\u0344", 0, password.ErrTooLong},
		{"1,025 bytes, NFC is shorter", strings.Repeat("a", 1022) + "e\u0301", 0, password.ErrTooLong},
		{"NUL", "1234567\x008", 0, password.ErrInvalid},
		{"not UTF-8", "12345678\xff", 0, password.ErrInvalid},
		{"surrogate", "12345678\xed\xa0\x80", 0, password.ErrInvalid},
		{"not UTF-8 and short", "\xff", 0, password.ErrInvalid},
		{"a million bytes not UTF-8", strings.Repeat("\xff", 1_000_000), 0, password.ErrTooLong},
	} {
		t.Run(tc.name, func(t *testing.T) {
			asked := 0
			policy := password.Policy{MinLength: tc.least}
			require.ErrorIs(t, policy.Check(t.Context(), tc.password), tc.want)
			policy.Blocked = func(context.Context, string) (bool, error) { asked++; return false, nil }
			require.ErrorIs(t, policy.Check(t.Context(), tc.password), tc.want)
			require.Equal(t, tc.want == nil, asked == 1, "Blocked is called %d times", asked)
		})
	}
}

// TestPolicyBlocked tests what becomes of each answer of the hook.
func TestPolicyBlocked(t *testing.T) {
	broken := errors.New("broken")
	type hook = func(context.Context, string) (bool, error)
	for _, tc := range []struct {
		name           string
		hook           hook
		closed, opened error
		cause          string
	}{
		{"fine", func(context.Context, string) (bool, error) { return false, nil }, nil, nil, ""},
		{"blocked", func(context.Context, string) (bool, error) { return true, nil }, password.ErrBlocked, password.ErrBlocked, ""},
		{"blocked, with an error", func(context.Context, string) (bool, error) { return true, broken }, password.ErrBlocked, password.ErrBlocked, ""},
		{"error", func(context.Context, string) (bool, error) { return false, broken }, password.ErrNotChecked, nil, "broken"},
		{"panic", func(_ context.Context, p string) (bool, error) { panic("panic with " + p) }, password.ErrNotChecked, nil, "a string"},
		{"panic with an error", func(_ context.Context, p string) (bool, error) { panic(errors.New(p)) }, password.ErrNotChecked, nil, "errorString"},
		{"panic of the runtime", func(_ context.Context, p string) (bool, error) { return []bool{}[len(p)], nil },
			password.ErrNotChecked, nil, "index out of range"},
		{"exit of the goroutine", func(context.Context, string) (bool, error) { runtime.Goexit(); return false, nil }, password.ErrNotChecked, nil,
			"ended its goroutine"},
		{"ends with its context", func(ctx context.Context, _ string) (bool, error) { <-ctx.Done(); return false, ctx.Err() },
			password.ErrNotChecked, nil, "deadline"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := password.Policy{Blocked: tc.hook}
				for range 200 { // more than may run at one time: each gives its place back
					err := policy.Check(t.Context(), "secret password")
					require.ErrorIs(t, err, tc.closed)
					if err != nil {
						require.NotContains(t, err.Error(), "secret")
						require.Contains(t, err.Error(), tc.cause)
					}
					synctest.Wait()
				}
				policy.InsecureFailOpen = true
				require.ErrorIs(t, policy.Check(t.Context(), "secret password"), tc.opened)
			})
		})
	}
}

func TestPolicyHookGetsNFC(t *testing.T) {
	var got string
	policy := password.Policy{Blocked: func(_ context.Context, p string) (bool, error) { got = p; return false, nil }}
	require.NoError(t, policy.Check(t.Context(), "Ko\u0308nigin 1"))
	require.Equal(t, "K\u00f6nigin 1", got)
}

func TestPolicyHookGetsTheContext(t *testing.T) {
	type key struct{}
	var got any
	policy := password.Policy{Blocked: func(ctx context.Context, _ string) (bool, error) { got = ctx.Value(key{}); return false, nil }}
	require.NoError(t, policy.Check(context.WithValue(t.Context(), key{}, "value"), "12345678"))
	require.Equal(t, "value", got)
}

// TestPolicyTimeout: a hook that ignores its context holds the caller no longer than the timeout.
func TestPolicyTimeout(t *testing.T) {
	for _, tc := range []struct{ timeout, want time.Duration }{{0, 2 * time.Second}, {-1, 2 * time.Second}, {time.Minute, time.Minute}} {
		synctest.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			policy := password.Policy{Timeout: tc.timeout, Blocked: func(context.Context, string) (bool, error) { <-end; return false, nil }}
			for _, failOpen := range []bool{false, true} {
				policy.InsecureFailOpen = failOpen
				start := time.Now()
				err := policy.Check(t.Context(), "12345678")
				require.Equal(t, tc.want, time.Since(start))
				if failOpen {
					require.NoError(t, err)
				} else {
					require.ErrorIs(t, err, password.ErrNotChecked)
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
			}
			close(end)
		})
	}
}

// TestPolicyBound: of a hook that never ends, no more than 64 calls run. At the bound Check does not wait.
func TestPolicyBound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var running atomic.Int32
		end := make(chan struct{})
		policy := password.Policy{Blocked: func(context.Context, string) (bool, error) { running.Add(1); <-end; return false, nil }}
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { require.ErrorIs(t, policy.Check(t.Context(), "12345678"), password.ErrNotChecked) })
		}
		all.Wait()
		require.EqualValues(t, 64, running.Load())
		start := time.Now()
		require.ErrorContains(t, policy.Check(t.Context(), "12345678"), "too many calls")
		policy.InsecureFailOpen = true
		require.NoError(t, policy.Check(t.Context(), "12345678"))
		require.Zero(t, time.Since(start))

		close(end)
		synctest.Wait()
		policy.InsecureFailOpen = false
		require.NoError(t, policy.Check(t.Context(), "12345678"), "the places are free again")
	})
}

// TestPolicyCallerGone: a client that goes away does not skip the check.
func TestPolicyCallerGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		policy := password.Policy{InsecureFailOpen: true, Blocked: func(ctx context.Context, _ string) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}}
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		err := policy.Check(ctx, "12345678")
		require.ErrorIs(t, err, password.ErrNotChecked)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, time.Second, time.Since(start))
	})
}
