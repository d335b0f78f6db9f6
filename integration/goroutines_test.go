package integration

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/integration/servers"
)

// TestFaultsGoroutines kills or stalls the store while an Auth uses it, and then closes everything. No goroutine may be
// left.
func TestFaultsGoroutines(t *testing.T) {
	for _, kind := range []store{postgres, redisOne} {
		for name, fault := range map[string]func(*servers.Server){
			"killed":  (*servers.Server).Kill,
			"stalled": (*servers.Server).Pause,
		} {
			t.Run(kind.name+"/"+name, func(t *testing.T) {
				host := kind.host(t)
				at := host.fresh(t)
				httpClient.CloseIdleConnections()
				before := settledGoroutines()
				var took time.Duration
				t.Run("work", func(t *testing.T) { // the end of this subtest closes the store's connections
					auth := newAuth(t, onlyJohn(t), at.sessions(t))
					stop := traffic(t, auth)
					time.Sleep(300 * time.Millisecond)
					fault(host.server)
					time.Sleep(1500 * time.Millisecond) // reading the revocations fails too
					stop()
					began := time.Now()
					require.NoError(t, auth.Close())
					took = time.Since(began)
					host.server.Resume() // drivers close connections politely, which takes long if the server is stalled
				})
				after := runtime.NumGoroutine()
				for limit := time.Now().Add(30 * time.Second); after > before && time.Now().Before(limit); after = runtime.NumGoroutine() {
					time.Sleep(20 * time.Millisecond)
				}
				results.note(t, "%s %s under traffic, Close took %v: goroutines before %d, after %d", kind.name, name,
					took.Round(time.Millisecond), before, after)
				if after > before {
					stacks := make([]byte, 1<<20)
					t.Fatalf("goroutines left:\n%s", stacks[:runtime.Stack(stacks, true)])
				}
			})
		}
	}
}

// settledGoroutines counts the goroutines when those of earlier tests have ended.
func settledGoroutines() int {
	least := runtime.NumGoroutine()
	for range 20 {
		time.Sleep(10 * time.Millisecond)
		least = min(least, runtime.NumGoroutine())
	}
	return least
}

// traffic refreshes and verifies until it is stopped. Only failures of the store are allowed.
func traffic(t *testing.T, auth *signet.Auth) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	for range 8 {
		tokens, err := auth.IssueFor(t.Context(), john)
		require.NoError(t, err)
		running.Go(func() {
			for ctx.Err() == nil {
				next, err := auth.Refresh(ctx, tokens.RefreshToken)
				if err == nil {
					tokens = next
				} else if !errors.Is(err, signet.ErrUnavailable) {
					t.Errorf("refresh: %v", err)
					return
				}
				if _, err := auth.Verify(ctx, tokens.AccessToken); err != nil {
					t.Errorf("verify: %v", err)
					return
				}
			}
		})
	}
	return func() {
		cancel()
		running.Wait()
	}
}
