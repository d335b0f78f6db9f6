package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
)

// plainQueue is a queue that anybody can read: slices, and no bound on what a step costs.
type plainQueue struct {
	parallel, perKey, all int

	running []string // the key of each running call
	turns   []string // the keys with waiting calls
	lines   map[string][]*waiter
}

func (p *plainQueue) runs(key string) bool { return slices.Contains(p.running, key) }

func (p *plainQueue) waiting() (n int) {
	for _, l := range p.lines {
		n += len(l)
	}
	return n
}

func (p *plainQueue) longest() (n int) {
	for _, l := range p.lines {
		n = max(n, len(l))
	}
	return n
}

func (p *plainQueue) drop(w *waiter) {
	key := w.line.key
	p.lines[key] = slices.DeleteFunc(p.lines[key], func(have *waiter) bool { return have == w })
	if len(p.lines[key]) == 0 {
		delete(p.lines, key)
		p.turns = slices.DeleteFunc(p.turns, func(have string) bool { return have == key })
	}
}

func (p *plainQueue) turnOver() (key string) {
	key = p.turns[0]
	p.turns = append(p.turns[1:], key)
	return key
}

// leave returns who runs next, or nil.
func (p *plainQueue) leave(key string) *waiter {
	i := slices.Index(p.running, key)
	if len(p.turns) == 0 {
		p.running = slices.Delete(p.running, i, i+1)
		return nil
	}
	for range p.turns {
		if key = p.turnOver(); !p.runs(key) {
			break
		}
	}
	if p.runs(key) { // all of them do
		key = p.turnOver()
	}
	w := p.lines[key][0]
	p.running[i] = key
	p.drop(w)
	return w
}

// answered returns the answer of a waiter, and whether there is one already.
func answered(w *waiter) (err error, ok bool) {
	select {
	case err = <-w.answer:
		return err, true
	default:
		return nil, false
	}
}

// Random histories of calls: the queue does what plainQueue does.
func TestQueueModel(t *testing.T) {
	for seed := range uint64(300) {
		rng := rand.New(rand.NewPCG(seed, 1))
		parallel, keys := 1+rng.IntN(4), 1+rng.IntN(8)
		q := newQueue(parallel)
		q.perKey, q.all = 4, 10
		p := plainQueue{parallel: parallel, perKey: q.perKey, all: q.all, lines: map[string][]*waiter{}}
		var rejected uint64
		for step := range 400 {
			what := fmt.Sprintf("seed %d, step %d", seed, step)
			key := fmt.Sprint(rng.IntN(1 + rng.IntN(keys)))
			switch rng.IntN(5) {
			case 0, 1, 2:
				size, longest, full := len(p.lines[key]), p.longest(), p.waiting() >= p.all
				idle := len(p.running) < p.parallel
				w, err := q.join(key)
				switch {
				case idle:
					require.True(t, w == nil && err == nil, "%s: the call may run at once", what)
					p.running = append(p.running, key)
				case size >= p.perKey || full && size+1 >= longest:
					require.Equal(t, ErrBusy, err, what)
					require.Nil(t, w, what)
					rejected++
				default:
					require.NoError(t, err, what)
					if full { // the newest call of one of the longest lines has made room
						var out *waiter
						for _, l := range p.lines {
							if err, ok := answered(l[len(l)-1]); ok {
								require.Nil(t, out, "%s: two calls were dropped", what)
								require.Equal(t, ErrBusy, err, what)
								require.Len(t, l, longest, what)
								out = l[len(l)-1]
							}
						}
						require.NotNil(t, out, what)
						p.drop(out)
						rejected++
					}
					if len(p.lines[key]) == 0 {
						p.turns = append(p.turns, key)
					}
					p.lines[key] = append(p.lines[key], w)
				}
			case 3:
				if len(p.running) > 0 {
					key := p.running[rng.IntN(len(p.running))]
					q.leave(key)
					if next := p.leave(key); next != nil {
						err, ok := answered(next)
						require.True(t, ok, "%s: it was another one's turn", what)
						require.NoError(t, err, what)
						require.False(t, q.giveUp(next, 1), what)
					}
				}
			case 4:
				if l := p.lines[key]; len(l) > 0 {
					w, busy := l[rng.IntN(len(l))], uint64(rng.IntN(2))
					require.True(t, q.giveUp(w, busy), what)
					require.False(t, q.giveUp(w, busy), what)
					rejected += busy
					p.drop(w)
				}
			}
			require.Equal(t, []int{len(p.running), p.waiting(), len(p.turns), p.longest()},
				[]int{q.running, q.waiting, len(q.lines), q.longest}, "%s: running, waiting, lines, the longest", what)
			require.Equal(t, rejected, q.rejected, what)
			for _, l := range p.lines {
				for _, w := range l {
					_, ok := answered(w)
					require.False(t, ok, "%s: a waiting call has got an answer", what)
				}
			}
			for _, key := range p.running {
				require.Positive(t, q.runs[key], what)
			}
		}
		for len(p.running) > 0 {
			key := p.running[0]
			q.leave(key)
			p.leave(key)
		}
		require.Zero(t, len(q.runs)+len(q.lines)+q.running+q.waiting, "seed %d", seed)
	}
}

// With many processors more calls may wait.
func TestQueueBounds(t *testing.T) {
	for parallel, want := range map[int][2]int{1: {16, 1024}, 16: {256, 1024}, 17: {272, 1088}} {
		q := newQueue(parallel)
		require.Equal(t, want, [2]int{q.perKey, q.all}, "%d parallel", parallel)
	}
}

// lateContext ends without a word: its Done never closes.
type lateContext struct {
	context.Context
	over atomic.Bool
}

func (c *lateContext) Done() <-chan struct{} { return nil }

func (c *lateContext) Err() error {
	if c.over.Load() {
		return context.Canceled
	}
	return nil
}

// A client that went away just before its turn came does not hash, and the turn goes to the next one.
func TestQueueTurnOfOneWhoIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newQueue(1)
		require.NoError(t, q.enter(t.Context(), "a"))
		gone, errs := &lateContext{Context: t.Context()}, make(chan error, 2)
		go func() { errs <- q.enter(gone, "b") }()
		synctest.Wait()
		go func() { errs <- q.enter(t.Context(), "c") }()
		synctest.Wait()
		gone.over.Store(true)
		q.leave("a")
		synctest.Wait()
		require.Equal(t, context.Canceled, <-errs)
		require.NoError(t, <-errs)
		q.leave("c")
		require.Zero(t, q.running)
	})
}
