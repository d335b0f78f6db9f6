package integration

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// servedStores are the shared stores with a server that can be killed.
var servedStores = []store{postgres, redisOne, mariadb}

// TestFaultsKillProcess kills the two processes of the service one after the other, and replaces each by a new one.
func TestFaultsKillProcess(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			underStorm(t, kind.host(t).fresh(t), "kill -9 a process, on "+kind.name, func(f *fleet) {
				for i := range 2 {
					f.member(i).kill()
					time.Sleep(500 * time.Millisecond)
					f.restart(t, i)
					time.Sleep(stormTime / 4)
				}
			})
		})
	}
}

// TestFaultsKillStore kills the store twice, and starts it again with its data.
func TestFaultsKillStore(t *testing.T) {
	for _, kind := range servedStores {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			host := kind.host(t)
			underStorm(t, host.fresh(t), "kill -9 "+kind.name, func(*fleet) {
				for range 2 {
					host.server.Kill()
					time.Sleep(time.Second)
					host.server.Start()
					time.Sleep(stormTime / 4)
				}
			})
		})
	}
}

// TestFaultsStall stops the store for ten seconds. Then the store continues as if nothing had happened.
func TestFaultsStall(t *testing.T) {
	const stall = 10 * time.Second
	for _, kind := range []store{postgres, redisOne} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			host := kind.host(t)
			row := underStorm(t, host.fresh(t), fmt.Sprintf("%s stalls %v", kind.name, stall), func(*fleet) {
				host.server.Pause()
				time.Sleep(stall)
				host.server.Resume()
				time.Sleep(stormTime / 4)
			})
			require.NotZero(t, row.unavailable, "requests during the stall")
			require.Zero(t, row.unanswered, "requests without an answer within %v: they must get 503", patience)
		})
	}
}

// underStorm causes a fault in the middle of a storm on a service of two processes.
func underStorm(t *testing.T, at place, scenario string, fault func(*fleet)) figure {
	t.Helper()
	f := startFleet(t, 2, at.args...)
	s := newStorm(t, f, at.sessions(t))
	began := time.Now()
	s.begin()
	time.Sleep(stormTime / 4)
	fault(f)
	time.Sleep(time.Until(began.Add(stormTime)))
	s.end()
	return s.settle(t, scenario)
}
