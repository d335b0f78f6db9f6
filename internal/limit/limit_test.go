package limit_test

import (
	"context"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/limit"
)

type key struct{}

func TestItEndsLikeATimeout(t *testing.T) {
	for name, asks := range map[string]bool{"somebody waits": true, "nobody waits": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, ctx := limit.New(context.WithValue(t.Context(), key{}, "value"), time.Second)
				if asks {
					ctx.Done()
				}
				require.NoError(t, ctx.Err())
				require.Equal(t, "value", ctx.Value(key{}))
				end, ok := ctx.Deadline()
				require.True(t, ok)
				require.Equal(t, time.Now().Add(time.Second), end)
				time.Sleep(time.Second)
				synctest.Wait()
				require.Equal(t, context.DeadlineExceeded, ctx.Err())
				ctx.Release()
				require.Equal(t, asks, ctx.Err() == context.DeadlineExceeded)
				requireDone(t, ctx)

				_, ctx = limit.New(t.Context(), time.Second)
				if asks {
					ctx.Done()
				}
				ctx.Release()
				require.Equal(t, context.Canceled, ctx.Err())
				requireDone(t, ctx)

				parent, cancel := context.WithCancel(t.Context())
				_, ctx = limit.New(parent, time.Second)
				defer ctx.Release()
				if asks {
					ctx.Done()
				}
				cancel()
				synctest.Wait()
				require.Equal(t, context.Canceled, ctx.Err())
				requireDone(t, ctx)
			})
		})
	}
}

// requireDone requires that the context has ended already.
func requireDone(t *testing.T, ctx context.Context) {
	t.Helper()
	select {
	case <-ctx.Done():
	default:
		t.Fatal("Done is still open")
	}
}

func TestAnEarlierDeadlineOfTheParentCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, ctx := limit.New(parent, time.Minute)
		defer ctx.Release()
		end, _ := ctx.Deadline()
		require.Equal(t, time.Now().Add(time.Second), end)
		<-ctx.Done()
		require.Equal(t, context.DeadlineExceeded, ctx.Err())
	})
}

// A Context within another one is made only if it ends earlier.
func TestOneLimitWithinAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, release := limit.New(t.Context(), time.Minute)
		defer release.Release()
		for _, d := range []time.Duration{time.Minute, time.Hour} {
			inner, none := limit.New(outer, d)
			require.Same(t, outer, inner, "the outer one ends first, or at the same time")
			require.Nil(t, none)
			none.Release()
		}
		inner, own := limit.New(outer, time.Second)
		defer own.Release()
		time.Sleep(time.Second)
		require.Equal(t, context.DeadlineExceeded, inner.Err())
		require.NoError(t, outer.Err())
	})
}

// A context that is derived from a Context needs no goroutine, and ends when the Context ends.
func TestContextsAreDerivedFromIt(t *testing.T) {
	before := runtime.NumGoroutine()
	_, ctx := limit.New(t.Context(), time.Minute)
	var derived []context.Context
	for range 100 {
		child, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		derived = append(derived, child)
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	ctx.Release()
	for _, child := range derived {
		<-child.Done()
	}
}

func TestItCostsLittleUntilSomebodyWaits(t *testing.T) {
	parent := t.Context()
	require.LessOrEqual(t, testing.AllocsPerRun(100, func() {
		_, ctx := limit.New(parent, time.Minute)
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
		ctx.Release()
	}), 2.0)
}
