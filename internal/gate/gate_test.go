package gate_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/password"
)

// held is a Hasher whose calls last until the test releases them.
type held struct {
	release chan struct{}
	end     func() // releases all calls

	mu            sync.Mutex
	running, most int
	done          int
}

func newHeld() *held {
	h := &held{release: make(chan struct{})}
	h.end = sync.OnceFunc(func() { close(h.release) })
	return h
}

func (h *held) Hash(string) (string, error) {
	h.hold()
	return "hash", nil
}

func (h *held) Verify(string, string) (ok, outdated bool, err error) {
	h.hold()
	return true, true, nil
}

func (h *held) hold() {
	h.mu.Lock()
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

// gateOf returns a Gate as New makes it on a machine with that many cores.
func gateOf(t *testing.T, cores int, hasher password.Hasher) *gate.Gate {
	t.Helper()
	before := runtime.GOMAXPROCS(cores)
	defer runtime.GOMAXPROCS(before)
	return gate.New(hasher)
}

// call calls Hash for an even number and Verify for an odd one, in a goroutine, and sends the error to errs.
func call(ctx context.Context, g *gate.Gate, number int, errs chan<- error) {
	go func() {
		var err error
		if number%2 == 0 {
			_, err = g.Hash(ctx, "secret")
		} else {
			_, _, err = g.Verify(ctx, "hash", "secret")
		}
		errs <- err
	}()
}

func TestGateBounds(t *testing.T) {
	for _, cores := range []int{1, 2, 3} {
		synctest.Test(t, func(t *testing.T) {
			hasher := newHeld()
			defer hasher.end()
			g := gateOf(t, cores, hasher)
			all := cores + 16*cores // this many calls run or wait
			errs := make(chan error, all+1)
			for i := range all {
				call(t.Context(), g, i, errs)
			}
			synctest.Wait()
			require.Equal(t, [3]int{cores, cores, 0}, hasher.counts(), "%d cores: running, most, done", cores)
			require.Empty(t, errs, "%d cores: calls answered before any was let go", cores)

			hash, err := g.Hash(t.Context(), "secret")
			require.ErrorIs(t, err, gate.ErrBusy, "%d cores: Hash beyond the queue", cores)
			require.Empty(t, hash, "%d cores: Hash beyond the queue", cores)
			ok, outdated, err := g.Verify(t.Context(), "hash", "secret")
			require.ErrorIs(t, err, gate.ErrBusy, "%d cores: Verify beyond the queue", cores)
			require.False(t, ok || outdated, "%d cores: Verify beyond the queue", cores)

			hasher.release <- struct{}{} // one call ends: one waiting call runs, and one place in the queue is free
			synctest.Wait()
			require.Equal(t, [3]int{cores, cores, 1}, hasher.counts(), "%d cores: running, most, done", cores)
			call(t.Context(), g, 0, errs)
			synctest.Wait()
			require.Len(t, errs, 1, "%d cores: the place that came free was not given", cores)
			_, err = g.Hash(t.Context(), "secret")
			require.ErrorIs(t, err, gate.ErrBusy, "%d cores: only one place came free", cores)

			hasher.end()
			for range all + 1 {
				require.NoError(t, <-errs, "%d cores", cores)
			}
			require.Equal(t, [3]int{0, cores, all + 1}, hasher.counts(), "%d cores: running, most, done", cores)
		})
	}
}

// When the context of a waiting call ends, another call gets its place in the queue.
func TestGateCancel(t *testing.T) {
	for _, tc := range []struct {
		name   string
		number int // even: Hash, odd: Verify
	}{{"Hash", 0}, {"Verify", 1}} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hasher := newHeld()
				defer hasher.end()
				g := gateOf(t, 1, hasher)
				errs := make(chan error, 17)
				for i := range 16 { // one runs, 15 wait
					call(t.Context(), g, i, errs)
				}
				synctest.Wait()

				for range 20 { // more calls than the queue has places: none may be lost
					ctx, cancel := context.WithCancel(t.Context())
					ended := make(chan error, 1)
					call(ctx, g, tc.number, ended)
					synctest.Wait()
					require.Empty(t, ended, "answered while it should wait")
					_, err := g.Hash(t.Context(), "secret")
					require.ErrorIs(t, err, gate.ErrBusy, "the queue is full")
					cancel()
					require.Equal(t, context.Canceled, <-ended)
				}
				call(t.Context(), g, tc.number, errs)
				synctest.Wait()
				require.Empty(t, errs, "the place that the cancelled calls left was not given")

				hasher.end()
				for range 17 {
					require.NoError(t, <-errs)
				}
				require.Equal(t, [3]int{0, 1, 17}, hasher.counts(), "running, most, done: cancelled calls never ran")
			})
		})
	}
}

// panics is a Hasher that panics while after is above 0.
type panics struct{ after *int }

func (p panics) Hash(string) (string, error) {
	if *p.after > 0 {
		*p.after--
		panic("fault")
	}
	return "hash", nil
}

func (p panics) Verify(string, string) (ok, outdated bool, err error) {
	_, err = p.Hash("")
	return true, false, err
}

// A panic must not lose a slot. If it did, the gate would block, and synctest would report a deadlock.
func TestGatePanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		left := 10
		g := gateOf(t, 2, panics{&left})
		for range 5 {
			require.PanicsWithValue(t, "fault", func() { _, _ = g.Hash(t.Context(), "secret") })
			require.PanicsWithValue(t, "fault", func() { _, _, _ = g.Verify(t.Context(), "hash", "secret") })
		}
		hash, err := g.Hash(t.Context(), "secret")
		require.NoError(t, err)
		require.Equal(t, "hash", hash)
		ok, _, err := g.Verify(t.Context(), "hash", "secret")
		require.NoError(t, err)
		require.True(t, ok)
	})
}

// echo is a Hasher whose results show what it was given.
type echo struct{ err error }

func (e echo) Hash(pass string) (string, error) { return "hash of " + pass, e.err }

func (e echo) Verify(hash, pass string) (ok, outdated bool, err error) {
	return hash == "hash of "+pass, pass == "old", e.err
}

func TestGatePassesOn(t *testing.T) {
	for _, want := range []error{nil, password.ErrTooLong, errors.New("broken")} {
		g := gate.New(echo{want})
		hash, err := g.Hash(t.Context(), "secret")
		require.Equal(t, want, err)
		require.Equal(t, "hash of secret", hash)
		for _, tc := range []struct {
			hash, pass   string
			ok, outdated bool
		}{{"hash of secret", "secret", true, false}, {"hash of old", "old", true, true}, {"hash of x", "secret", false, false}} {
			ok, outdated, err := g.Verify(t.Context(), tc.hash, tc.pass)
			require.Equal(t, want, err, "%q, %q", tc.hash, tc.pass)
			require.Equal(t, []bool{tc.ok, tc.outdated}, []bool{ok, outdated}, "%q, %q: ok and outdated", tc.hash, tc.pass)
		}
	}
}
