package gate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/password"
)

// held is a Hasher whose calls last until the test releases them.
type held struct {
	release chan struct{}
	end     func() // releases all calls

	mu            sync.Mutex
	started       bool
	running, most int
	done          int
	order         []string // the passwords, as they were hashed
}

func newHeld() *held {
	h := &held{release: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.release) })
	return h
}

func (h *held) Hash(pass string) (string, error) {
	if !h.started { // by New
		h.started = true
		return "hash", nil
	}
	h.hold(pass)
	return "hash", nil
}

func (h *held) Verify(_, pass string) (ok, outdated bool, err error) {
	h.hold(pass)
	return true, true, nil
}

func (h *held) hold(pass string) {
	h.mu.Lock()
	h.order = append(h.order, pass)
	h.running++
	h.most = max(h.most, h.running)
	h.mu.Unlock()
	<-h.release
	h.mu.Lock()
	h.running--
	h.done++
	h.mu.Unlock()
}

// counts returns how many calls run now, how many ever ran at one time, and how many are over.
func (h *held) counts() [3]int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return [3]int{h.running, h.most, h.done}
}

// gateOf returns a Gate for the test.
func gateOf(t *testing.T, parallel int, hasher password.Hasher) *gate.Gate {
	t.Helper()
	g, err := gate.New(hasher, parallel)
	require.NoError(t, err)
	return g
}

// call calls Hash, Verify or Check in a goroutine, in turn by number, and sends the error to errs.
func call(ctx context.Context, g *gate.Gate, key string, number int, errs chan<- error) {
	go func() {
		var err error
		switch number % 3 {
		case 0:
			_, err = g.Hash(ctx, key, key)
		case 1:
			_, _, err = g.Verify(ctx, key, "hash", key)
		case 2:
			_, _, err = g.Check(ctx, key, "hash", key, false)
		}
		errs <- err
	}()
}

// requireBusy requires that each method refuses a call of this key.
func requireBusy(t *testing.T, g *gate.Gate, key string) {
	t.Helper()
	before := g.Stats().Busy
	hash, err := g.Hash(t.Context(), key, "secret")
	require.Equal(t, gate.ErrBusy, err, "Hash")
	require.Empty(t, hash)
	ok, outdated, err := g.Verify(t.Context(), key, "hash", "secret")
	require.Equal(t, gate.ErrBusy, err, "Verify")
	require.False(t, ok || outdated)
	ok, outdated, err = g.Check(t.Context(), key, "hash", "secret", false)
	require.Equal(t, gate.ErrBusy, err, "Check")
	require.False(t, ok || outdated)
	require.Equal(t, before+3, g.Stats().Busy, "calls that got ErrBusy")
}

func TestGateBoundsOneKey(t *testing.T) {
	for _, parallel := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			hasher := newHeld()
			defer hasher.end()
			g := gateOf(t, parallel, hasher)
			all := parallel + 16*parallel // this many calls run or wait
			errs := make(chan error, all+1)
			for i := range all {
				call(t.Context(), g, "a", i, errs)
			}
			synctest.Wait()
			require.Equal(t, [3]int{parallel, parallel, 0}, hasher.counts(), "%d parallel: running, most, done", parallel)
			require.Empty(t, errs, "%d parallel: calls answered before any was let go", parallel)
			requireBusy(t, g, "a")
			require.Equal(t, gate.Stats{Running: parallel, Waiting: 16 * parallel, Busy: 3}, g.Stats(), "%d parallel", parallel)

			hasher.release <- struct{}{} // one call ends: one waiting call runs, and one place in the queue is free
			synctest.Wait()
			require.Equal(t, [3]int{parallel, parallel, 1}, hasher.counts(), "%d parallel: running, most, done", parallel)
			call(t.Context(), g, "a", 0, errs)
			synctest.Wait()
			require.Len(t, errs, 1, "%d parallel: the place that came free was not given", parallel)
			requireBusy(t, g, "a")

			hasher.end()
			for range all + 1 {
				require.NoError(t, <-errs, "%d parallel", parallel)
			}
			require.Equal(t, [3]int{0, parallel, all + 1}, hasher.counts(), "%d parallel: running, most, done", parallel)
			require.Equal(t, gate.Stats{Busy: 6}, g.Stats(), "%d parallel", parallel)
		})
	}
}

// Keys take turns, and each key's calls run in the order in which they came.
func TestGateTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHeld()
		defer hasher.end()
		g := gateOf(t, 1, hasher)
		errs := make(chan error, 20)
		start := func(keys ...string) {
			for _, key := range keys {
				call(t.Context(), g, key, 1, errs)
				synctest.Wait()
			}
		}
		start("a", "a", "a", "a", "b", "b", "c") // the first one runs at once
		hasher.release <- struct{}{}
		synctest.Wait()
		start("d", "b")
		hasher.end()
		for range 9 {
			require.NoError(t, <-errs)
		}
		require.Equal(t, []string{"a", "b", "c", "a", "b", "d", "a", "b", "a"}, hasher.order)
	})
}

// A key of which a call runs, or ends just now, gives its turn to the keys without one, and is behind them then. It gets turns
// all the same.
func TestGateTurnsOfKeysThatRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHeld()
		defer hasher.end()
		g := gateOf(t, 2, hasher)
		errs := make(chan error, 20)
		start := func(keys ...string) {
			for _, key := range keys {
				call(t.Context(), g, key, 1, errs)
				synctest.Wait()
			}
		}
		release := func(n int) {
			for range n {
				hasher.release <- struct{}{}
				synctest.Wait()
			}
		}
		start("a", "a", "a", "a", "a", "b", "c", "b") // two of a run at once
		release(3)                                    // b, c and a
		start("d")
		release(6)
		require.Len(t, errs, 9)
		require.Equal(t, []string{"a", "a", "b", "c", "a", "b", "d", "a", "a"}, hasher.order)
		require.Equal(t, gate.Stats{}, g.Stats())
		require.Zero(t, gate.Running(g), "keys that are still known as running")
	})
}

// A client with a full line delays another one by about one hash.
func TestGateFloodDelaysOthersByOneHash(t *testing.T) {
	for _, parallel := range []int{1, 2, 4} {
		synctest.Test(t, func(t *testing.T) {
			g := gateOf(t, parallel, slow{})
			ctx, cancel := context.WithCancel(t.Context())
			var flood sync.WaitGroup
			for range 500 {
				flood.Go(func() {
					for ctx.Err() == nil {
						if _, _, err := g.Verify(ctx, "flood", "hash", "x"); errors.Is(err, gate.ErrBusy) {
							time.Sleep(slowHash / 4)
						}
					}
				})
			}
			time.Sleep(10*slowHash + slowHash/2)
			for range 10 {
				start := time.Now()
				_, _, err := g.Verify(t.Context(), "honest", "hash", "x")
				require.NoError(t, err)
				require.LessOrEqual(t, time.Since(start), 2*slowHash, "%d parallel: one hash ends, then its own", parallel)
			}
			cancel()
			flood.Wait()
			require.Zero(t, g.Stats().Waiting)
		})
	}
}

const slowHash = 20 * time.Millisecond

// slow is a Hasher whose calls take slowHash.
type slow struct{}

func (slow) Hash(string) (string, error) { time.Sleep(slowHash); return "hash", nil }

func (slow) Verify(string, string) (ok, outdated bool, err error) {
	time.Sleep(slowHash)
	return true, false, nil
}

// When the queue is full, a key with fewer calls takes the place of the newest call of the key with the most.
func TestGateBoundsAllKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHeld()
		defer hasher.end()
		g := gateOf(t, 1, hasher)
		errs := map[string]chan error{}
		start := func(key string, calls int) {
			if errs[key] == nil {
				errs[key] = make(chan error, 2000)
			}
			for range calls {
				call(t.Context(), g, key, 1, errs[key])
				synctest.Wait()
			}
		}
		start("running", 1)
		for i := range 60 { // 16 calls each for 60 keys, then 64 keys with one
			start(fmt.Sprint("many", i), 16)
		}
		for i := range 64 {
			start(fmt.Sprint("one", i), 1)
		}
		require.Equal(t, gate.Stats{Running: 1, Waiting: 1024}, g.Stats())

		busy := func() (n int) {
			for i := range 60 {
				n += len(errs[fmt.Sprint("many", i)])
			}
			return n
		}
		start("new", 1)
		require.Empty(t, errs["new"], "a new key gets a place")
		require.Equal(t, 1, busy(), "one call of a key with many was dropped")
		start("new", 13)
		require.Empty(t, errs["new"])
		require.Equal(t, 14, busy())
		start("new", 1) // 15 would be as many as the others have after that
		require.Empty(t, errs["new"])
		start("new", 1)
		require.Equal(t, gate.ErrBusy, <-errs["new"], "not fewer than the others")
		require.Equal(t, gate.Stats{Running: 1, Waiting: 1024, Busy: 16}, g.Stats())
		for i := range 64 {
			require.Empty(t, errs[fmt.Sprint("one", i)], "a key with one call keeps its place")
		}
	})
}

// Many keys with one call each: first come, first served. Then there is no place left.
func TestGateManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHeld()
		defer hasher.end()
		g := gateOf(t, 2, hasher)
		errs := make(chan error, 100_000)
		var want []string
		for i := range 1026 {
			call(t.Context(), g, fmt.Sprint(i), 1, errs)
			want = append(want, fmt.Sprint(i))
			synctest.Wait()
		}
		for i := 1026; i < 100_000; i++ {
			_, err := g.Hash(t.Context(), fmt.Sprint(i), "secret")
			require.Equal(t, gate.ErrBusy, err)
		}
		require.Equal(t, gate.Stats{Running: 2, Waiting: 1024, Busy: 98_974}, g.Stats())
		require.Equal(t, 1024, gate.Lines(g))
		for range 1026 { // one after the other, so that the order is known
			hasher.release <- struct{}{}
			require.NoError(t, <-errs)
			synctest.Wait()
		}
		require.ElementsMatch(t, want[:2], hasher.order[:2])
		require.Equal(t, want[2:], hasher.order[2:])
		require.Equal(t, gate.Stats{Busy: 98_974}, g.Stats())
		require.Zero(t, gate.Lines(g), "lines that are empty")
	})
}

// When the context of a waiting call ends, another call gets its place in the queue.
func TestGateCancel(t *testing.T) {
	for number, name := range []string{"Hash", "Verify", "Check"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hasher := newHeld()
				defer hasher.end()
				g := gateOf(t, 1, hasher)
				errs := make(chan error, 17)
				for i := range 16 { // one runs, 15 wait
					call(t.Context(), g, "a", i, errs)
				}
				synctest.Wait()

				for range 20 { // more calls than the queue has places: none may be lost
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					call(ctx, g, "a", number, ended)
					synctest.Wait()
					require.Empty(t, ended, "answered while it should wait")
					_, err := g.Hash(t.Context(), "a", "secret")
					require.ErrorIs(t, err, gate.ErrBusy, "the queue is full")
					cancel()
					require.Equal(t, context.Canceled, <-ended)
				}
				call(t.Context(), g, "a", number, errs)
				synctest.Wait()
				require.Empty(t, errs, "the place that the cancelled calls left was not given")

				hasher.end()
				for range 17 {
					require.NoError(t, <-errs)
				}
				require.Equal(t, [3]int{0, 1, 17}, hasher.counts(), "running, most, done: cancelled calls never ran")
				require.Zero(t, gate.Lines(g))
			})
		})
	}
}

// A call waits for five seconds, and then another one gets its place.
func TestGateTimeLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newHeld()
		defer hasher.end()
		g := gateOf(t, 1, hasher)
		errs, start := make(chan error, 2), time.Now()
		call(t.Context(), g, "a", 0, errs)
		synctest.Wait()
		call(t.Context(), g, "a", 1, errs)
		require.Equal(t, gate.ErrBusy, <-errs)
		require.Equal(t, 5*time.Second, time.Since(start))
		require.Equal(t, gate.Stats{Running: 1, Busy: 1}, g.Stats())
		call(t.Context(), g, "b", 2, errs)
		time.Sleep(4 * time.Second)
		hasher.end()
		require.NoError(t, <-errs)
		require.NoError(t, <-errs)
		require.Zero(t, gate.Lines(g))
	})
}

// A call whose context has ended does not run, even if there is a place.
func TestGateEndedContext(t *testing.T) {
	g := gateOf(t, 1, newHeld())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := g.Hash(ctx, "", "secret") // a call would hang
	require.Equal(t, context.Canceled, err)
	require.Zero(t, g.Stats())
}

// Calls come, go and are cancelled in any order. No place is lost, and no line stays.
func TestGateRandomCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := gateOf(t, 3, slow{})
		var calls sync.WaitGroup
		for i := range 5000 {
			calls.Go(func() {
				rng := rand.New(rand.NewPCG(1, uint64(i)))
				time.Sleep(time.Duration(rng.IntN(5000)) * time.Millisecond)
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rng.IntN(300))*time.Millisecond)
				defer cancel()
				_, err := g.Hash(ctx, fmt.Sprint(rng.IntN(1+rng.IntN(40))), "secret")
				if err != nil && !errors.Is(err, gate.ErrBusy) && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			})
		}
		calls.Wait()
		stats := g.Stats()
		require.Zero(t, stats.Running)
		require.Zero(t, stats.Waiting)
		require.Zero(t, gate.Lines(g))
		for range 3 { // all three places are there
			calls.Go(func() { _, _ = g.Hash(t.Context(), "a", "secret") })
		}
		synctest.Wait()
		require.Equal(t, 3, g.Stats().Running)
		calls.Wait()
	})
}

// panics is a Hasher that panics while left is above 0.
type panics struct{ left *int }

func (p panics) Hash(string) (string, error) {
	if *p.left > 0 {
		*p.left--
		panic("fault")
	}
	return "hash", nil
}

func (p panics) Verify(string, string) (ok, outdated bool, err error) {
	_, err = p.Hash("")
	return true, false, err
}

// A panic must not lose a place. If it did, the gate would block, and synctest would report a deadlock.
func TestGatePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 0
		g := gateOf(t, 2, panics{&left})
		left = 15
		for range 5 {
			require.PanicsWithValue(t, "fault", func() { _, _ = g.Hash(t.Context(), "", "secret") })
			require.PanicsWithValue(t, "fault", func() { _, _, _ = g.Verify(t.Context(), "", "hash", "secret") })
			require.PanicsWithValue(t, "fault", func() { _, _, _ = g.Check(t.Context(), "", "hash", "secret", false) })
		}
		hash, err := g.Hash(t.Context(), "", "secret")
		require.NoError(t, err)
		require.Equal(t, "hash", hash)
		require.Zero(t, g.Stats())
	})
}

// A number in the environment is that of threads. It is no number of processors.
func TestProcessors(t *testing.T) {
	if os.Getenv("SIGNET_TEST_PROCESSORS") != "" {
		fmt.Println("processors:", gate.Processors, runtime.GOMAXPROCS(0))
		return
	}
	seen := func(setting string) (processors, threads int) {
		cmd := exec.Command(os.Args[0], "-test.run=^TestProcessors$")
		cmd.Env = append(os.Environ(), "SIGNET_TEST_PROCESSORS=1", "GOMAXPROCS="+setting)
		out, err := cmd.Output()
		require.NoError(t, err)
		_, err = fmt.Sscanf(string(out), "processors: %d %d", &processors, &threads)
		require.NoError(t, err, "%s", out)
		return processors, threads
	}
	own, threads := seen("")
	require.Equal(t, own, threads)
	for _, want := range []int{1, 50} {
		processors, threads := seen(strconv.Itoa(want))
		require.Equal(t, own, processors)
		require.Equal(t, want, threads)
	}
}

func TestGateDefaultParallel(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	for _, procs := range []int{1, 2 * runtime.NumCPU()} {
		runtime.GOMAXPROCS(procs)
		synctest.Test(t, func(t *testing.T) {
			hasher := newHeld()
			defer hasher.end()
			g := gateOf(t, 0, hasher)
			errs := make(chan error, procs+1)
			for range procs + 1 {
				call(t.Context(), g, "", 1, errs)
			}
			synctest.Wait()
			require.Equal(t, min(procs, runtime.NumCPU(), gate.Processors), g.Stats().Running, "GOMAXPROCS %d", procs)
		})
	}
}
