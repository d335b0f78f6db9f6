package flight_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/flight"
)

func TestCallersShareOnePieceOfWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[int]
		var runs atomic.Int64
		release := make(chan struct{})
		work := func(context.Context) (int, error) {
			<-release
			return int(runs.Add(1)), errors.New("and its error")
		}
		results := make(chan int, 100)
		for range 100 {
			go func() {
				n, err := group.Do(t.Context(), "a", work)
				if err == nil || err.Error() != "and its error" {
					t.Errorf("error %v", err)
				}
				results <- n
			}()
		}
		synctest.Wait()
		n, err := group.Do(t.Context(), "b", func(context.Context) (int, error) { return 7, nil })
		require.NoError(t, err, "another key waits for nobody")
		require.Equal(t, 7, n)
		close(release)
		for range 100 {
			require.Equal(t, 1, <-results)
		}
		n, _ = group.Do(t.Context(), "a", work)
		require.Equal(t, 2, n, "work that has ended is not shared")
	})
}

func TestACallerThatGoesAwayLeavesTheOthersAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[string]
		release := make(chan struct{})
		first, leave := context.WithCancel(t.Context())
		done := make(chan error, 2)
		go func() {
			_, err := group.Do(first, "a", func(ctx context.Context) (string, error) {
				<-release
				return "result", ctx.Err()
			})
			done <- err
		}()
		synctest.Wait()
		go func() {
			result, err := group.Do(t.Context(), "a", nil)
			if result != "result" {
				t.Errorf("result %q", result)
			}
			done <- err
		}()
		waiter, cancel := context.WithCancel(t.Context())
		gone := make(chan error)
		go func() {
			_, err := group.Do(waiter, "a", nil)
			gone <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-gone, context.Canceled, "a waiter gives up alone")
		leave()
		close(release)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		_, err := group.Do(first, "a", nil)
		require.ErrorIs(t, err, context.Canceled, "no work begins for a caller that has gone")
	})
}

func TestAPanicLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var group flight.Group[int]
		release := make(chan struct{})
		waiter := make(chan error)
		go func() {
			defer func() { recover() }()
			group.Do(t.Context(), "a", func(context.Context) (int, error) { <-release; panic("fault") })
		}()
		synctest.Wait()
		go func() {
			_, err := group.Do(t.Context(), "a", nil)
			waiter <- err
		}()
		synctest.Wait()
		close(release)
		require.ErrorContains(t, <-waiter, "panicked")
		n, err := group.Do(t.Context(), "a", func(context.Context) (int, error) { return 1, nil })
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}
