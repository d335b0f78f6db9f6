package turns

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &Turns{AtOnce: 3}
		var working, most atomic.Int64
		for range 50 {
			go func() {
				leave, err := turns.Enter(t.Context(), "a")
				if err != nil {
					return
				}
				most.Store(max(most.Load(), working.Add(1)))
				time.Sleep(time.Second)
				working.Add(-1)
				leave()
				leave()
			}()
		}
		synctest.Wait()
		require.EqualValues(t, 3, working.Load())
		other, err := turns.Enter(t.Context(), "b")
		require.NoError(t, err, "another key does not wait")
		other()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err = turns.Enter(ctx, "a")
		require.ErrorIs(t, err, context.DeadlineExceeded)
		time.Sleep(time.Minute)
		synctest.Wait()
		require.EqualValues(t, 3, most.Load())
		turns.mu.Lock()
		defer turns.mu.Unlock()
		require.Empty(t, turns.lanes, "nothing is left")
	})
}
