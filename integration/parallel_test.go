package integration

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFaultsParallelRefreshes sends one refresh token 200 times at the same time to two processes. There must be one
// successor, and every client must end with tokens that work.
func TestFaultsParallelRefreshes(t *testing.T) {
	const clients = 200
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			f := startFleet(t, 2, kind.host(t).fresh(t).args...)
			first := login(t, f.pick())
			row := figure{scenario: fmt.Sprintf("%d parallel refreshes with one token, %s", clients, kind.name)}

			got := together(clients, func() timed { return timedRefresh(f.pick(), first) })
			successors := row.count(t, got)
			for _, one := range got { // each client continues with what it got
				requireProfile(t, f.pick(), one.pair())
				row.requests++
			}
			next := row.count(t, together(clients, func() timed {
				return timedRefresh(f.pick(), got[rand.IntN(clients)].pair())
			}))
			for _, one := range got {
				refresh(t, f.pick(), one.pair())
				row.requests++
			}
			row.doubled, row.rotations = len(successors)+len(next)-2, len(successors)+len(next)
			row.alarms = f.count("event=theft")
			results.add(row)
			require.Len(t, successors, 1, "successors of one token")
			require.Len(t, next, 1, "successors of the successor")
			require.NotContains(t, successors, generation(first.Refresh))
			require.Zero(t, row.alarms, "false alarms")
			require.Zero(t, row.unauthorized+row.unavailable+row.unanswered, "refreshes without tokens")
		})
	}
}

// timed is an answer, or an error, and how long it took.
type timed struct {
	answer
	err  error
	took time.Duration
}

func timedRefresh(url string, p pair) timed {
	began := time.Now()
	a, err := callRefresh(url, p.Refresh)
	return timed{a, err, time.Since(began)}
}

// count adds refreshes to the figure. It returns the generations in the answers.
func (f *figure) count(t *testing.T, all []timed) (generations map[int64]bool) {
	generations = map[int64]bool{}
	for _, one := range all {
		f.requests++
		f.outage = max(f.outage, one.took)
		switch {
		case one.err != nil:
			f.unanswered++
		case one.status == 201:
			generations[generation(one.pair().Refresh)] = true
		case one.status == 401:
			f.unauthorized++
			f.lost++
		case one.status == 503:
			f.unavailable++
		default:
			t.Errorf("refresh: %d %s", one.status, one.body)
		}
	}
	return generations
}

// together makes n calls at the same moment.
func together[T any](n int, call func() T) []T {
	got := make([]T, n)
	ready := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			<-ready
			got[i] = call()
		})
	}
	close(ready)
	all.Wait()
	return got
}
