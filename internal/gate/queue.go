package gate

import (
	"container/list"
	"context"
	"sync"
	"time"
)

// maxWait is how long a call waits for its turn. The hashes of other users may take any time, and a client that gets no answer
// tries again.
const maxWait = 5 * time.Second

// queue says whose turn it is to hash. Calls wait in one line for each key, and the keys take turns. A key of which a call runs
// already gives its turn to a key without one. So a client with many calls delays another client by about one hash only. No
// step takes longer when more calls wait. All are under one mutex, and no goroutine runs.
type queue struct {
	parallel, perKey, all int

	mu       sync.Mutex
	running  int
	runs     map[string]int // the running calls of each key
	waiting  int            // calls in all lines
	rejected uint64
	lines    map[string]*line
	turns    list.List   // of *line: the keys with waiting calls, the next one first
	bySize   []list.List // bySize[n] holds each *line with n waiting calls
	longest  int         // the size of the longest line
}

// line holds the waiting calls of one key, the oldest first.
type line struct {
	key     string
	waiters list.List // of *waiter
	turn    *list.Element
	size    *list.Element // in bySize
}

type waiter struct {
	line   *line
	place  *list.Element // in line.waiters; nil when it does not wait any more
	answer chan error    // gets one value: nil when the turn has come, or ErrBusy
}

func newQueue(parallel int) *queue {
	q := &queue{parallel: parallel, perKey: 16 * parallel, all: max(1024, 64*parallel), runs: map[string]int{}, lines: map[string]*line{}}
	q.bySize = make([]list.List, q.perKey+1)
	return q
}

// enter waits for the turn of the call. After nil, the caller must call leave with the key.
func (q *queue) enter(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	w, err := q.join(key)
	if w == nil {
		return err
	}
	late := time.NewTimer(maxWait)
	defer late.Stop()
	select {
	case err = <-w.answer:
	case <-ctx.Done():
		if q.giveUp(w, 0) {
			return ctx.Err()
		}
		err = <-w.answer
	case <-late.C:
		if q.giveUp(w, 1) {
			return ErrBusy
		}
		err = <-w.answer
	}
	if err == nil && ctx.Err() != nil { // the client went away when its turn came
		q.leave(key)
		return ctx.Err()
	}
	return err
}

// join returns nil and no error if the call may run at once. Otherwise it returns a waiter, or ErrBusy.
func (q *queue) join(key string) (*waiter, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running < q.parallel { // then no call waits
		q.running++
		q.runs[key]++
		return nil, nil
	}
	l := q.lines[key]
	size := 0
	if l != nil {
		size = l.waiters.Len()
	}
	full := q.waiting >= q.all
	if size >= q.perKey || full && size+1 >= q.longest {
		q.rejected++
		return nil, ErrBusy
	}
	if full { // the newest call of the longest line makes room: the line of the new call is shorter, even with the new call
		longest := q.bySize[q.longest].Back().Value.(*line)
		last := longest.waiters.Back().Value.(*waiter)
		q.remove(last)
		last.answer <- ErrBusy
		q.rejected++
	}
	if l == nil {
		l = &line{key: key}
		l.turn = q.turns.PushBack(l)
		q.lines[key] = l
	}
	w := &waiter{line: l, answer: make(chan error, 1)}
	w.place = l.waiters.PushBack(w)
	q.waiting++
	q.resized(l, size)
	return w, nil
}

// leave ends a call of the key that ran. Its place goes to the next waiting call.
func (q *queue) leave(key string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	var l *line
	if q.waiting > 0 {
		l = q.next() // as long as the key counts as one that runs: it does not follow itself if another one waits
	}
	q.runs[key]--
	if q.runs[key] == 0 {
		delete(q.runs, key)
	}
	if l == nil {
		q.running--
		return
	}
	w := l.waiters.Front().Value.(*waiter)
	q.runs[l.key]++
	q.remove(w)
	w.answer <- nil
}

// next returns the line whose turn it is: the first one of whose key no call runs, or the first one if there is none such. Each
// line that it passes goes to the back, and so does the line that it returns. It passes no more lines than calls may run.
func (q *queue) next() *line {
	var l *line
	for range q.turns.Len() + 1 { // after all of them, the first one comes again
		l = q.turns.Front().Value.(*line)
		q.turns.MoveToBack(l.turn)
		if q.runs[l.key] == 0 {
			break
		}
	}
	return l
}

// giveUp removes a waiter, and adds to the number of rejected calls. It returns false if the waiter has got its answer already.
func (q *queue) giveUp(w *waiter, rejected uint64) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if w.place == nil {
		return false
	}
	q.remove(w)
	q.rejected += rejected
	return true
}

// remove takes a waiter out of its line, and the line out of the queue if it was the last one.
func (q *queue) remove(w *waiter) {
	l := w.line
	size := l.waiters.Len()
	l.waiters.Remove(w.place)
	w.place = nil
	q.waiting--
	q.resized(l, size)
	if size == 1 {
		q.turns.Remove(l.turn)
		delete(q.lines, l.key)
	}
}

// resized keeps bySize right after a line grew or shrank by one.
func (q *queue) resized(l *line, before int) {
	if before > 0 {
		q.bySize[before].Remove(l.size)
	}
	now := l.waiters.Len()
	if now > 0 {
		l.size = q.bySize[now].PushBack(l)
	}
	if now > q.longest || before == q.longest && q.bySize[before].Len() == 0 {
		q.longest = now
	}
}
