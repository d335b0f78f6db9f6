package integration

import (
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// TestFaultsRevocationLag logs out at one process and waits until the other one refuses the access token. That may take two
// seconds at most.
func TestFaultsRevocationLag(t *testing.T) {
	const bound, rounds = 2 * time.Second, 5
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			args := kind.host(t).fresh(t).args
			a, b := start(t, args...), start(t, args...)
			var longest, sum time.Duration
			for range rounds {
				p := login(t, a.url)
				requireProfile(t, b.url, p)
				time.Sleep(rand.N(time.Second)) // at any time between two reads of the revocations
				logout(t, a.url, p)
				lag := refusedWithin(t, b.url, p, bound)
				longest, sum = max(longest, lag), sum+lag
			}
			results.note(t, "revocation lag between two processes, %-10s  longest %v, mean %v of %d; bound %v", kind.name,
				longest.Round(time.Millisecond), (sum / rounds).Round(time.Millisecond), rounds, bound)
		})
	}
}

func logout(t testing.TB, url string, p pair) {
	t.Helper()
	a, err := call("POST", url+logoutPath, p.Access, nil)
	require.NoError(t, err)
	require.Equal(t, 204, a.status, "logout: %s", a.body)
}

// refusedWithin waits until a process refuses an access token, and returns how long that took. It does not count the time in
// which this machine stood still.
func refusedWithin(t testing.TB, url string, p pair, bound time.Duration) (lag time.Duration) {
	t.Helper()
	for last := time.Now(); ; time.Sleep(5 * time.Millisecond) {
		a, err := callProfile(url, p.Access)
		now := time.Now()
		lag += min(now.Sub(last), 100*time.Millisecond)
		last = now
		require.NoError(t, err)
		if a.status == 401 {
			require.LessOrEqual(t, lag, bound, "revocation lag")
			return lag
		}
		require.Equal(t, 200, a.status, "%s", a.body)
		require.Less(t, lag, bound, "the revoked access token still passes")
	}
}

// TestFaultsStaleness kills the store for longer than the bound. Access tokens are then answered with 503. They pass again
// when the store is back.
func TestFaultsStaleness(t *testing.T) {
	for _, kind := range []store{postgres, redisOne} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			const bound = 2 * time.Second
			host := kind.host(t)
			auth := newAuth(t, onlyJohn(t), host.fresh(t).sessions(t), signet.WithMaxStaleness(bound))
			server := httptest.NewServer(auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(200)
			})))
			defer server.Close()
			tokens, err := auth.IssueFor(t.Context(), john)
			require.NoError(t, err)
			ask := func() answer {
				a, err := call("GET", server.URL, tokens.AccessToken, nil)
				require.NoError(t, err)
				require.Contains(t, []int{200, 503}, a.status, "%s", a.body)
				return a
			}
			until := func(status int, limit time.Duration) (took time.Duration, last answer) {
				for began := time.Now(); ; time.Sleep(10 * time.Millisecond) {
					last = ask()
					if took = time.Since(began); last.status == status {
						return took, last
					}
					require.Less(t, took, limit, "no %d", status)
				}
			}
			until(200, 20*time.Second)
			time.Sleep(bound + time.Second)
			until(200, 20*time.Second) // the store is there: nothing is stale for long

			killed := time.Now()
			host.server.Kill()
			_, a := until(503, 20*time.Second)
			refused := time.Since(killed)
			require.Equal(t, "1", a.retryAfter)
			require.Greater(t, refused, bound/4, "the bound is not over")
			time.Sleep(bound)
			require.Equal(t, 503, ask().status)

			host.server.Start()
			passed, _ := until(200, 20*time.Second)
			results.note(t, "%s gone, staleness bound %v: 503 with Retry-After after %v; back: passes after %v", kind.name, bound,
				refused.Round(10*time.Millisecond), passed.Round(10*time.Millisecond))
		})
	}
}
