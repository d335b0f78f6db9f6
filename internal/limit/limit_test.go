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
				<-ctx.Done()

				_, ctx = limit.New(t.Context(), time.Second)
				if asks {
					ctx.Done()
				}
				ctx.Release()
				require.Equal(t, context.Canceled, ctx.Err())
				<-ctx.Done()

				parent, cancel := context.WithCancel(t.Context())
				_, ctx = limit.New(parent, time.Second)
				defer ctx.Release()
				if asks {
					ctx.Done()
				}
				cancel()
				synctest.Wait()
				require.Equal(t, context.Canceled, ctx.Err())
				<-ctx.Done()
			})
		})
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
