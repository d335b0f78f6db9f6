package revoked

import (
	"container/heap"
	"context"
	"errors"
	"maps"
	"math"
	"sync"
	"time"
)

// ErrExpired is the reason of a watch whose token has expired.
var ErrExpired = errors.New("the token has expired")

// Watch says what ends a watched context, beside the end of its session.
type Watch struct {
	Expires time.Time // the end of the token; zero: it does not matter
	Changes bool      // a change of the user (UserChanged)
}

// watches are the open connections. A connection needs no goroutine and no timer: the goroutine that reads the log ends those
// whose session has ended.
type watches struct {
	mu        sync.Mutex
	bySession byHash
	byUser    byHash
	expiries  expiries
}

// byHash has the watches of each session, or of each user.
type byHash map[uint64]map[*watch]struct{}

type watch struct {
	Watch
	ref   Ref
	end   func(reason error) // it must not block
	index int                // in expiries; -1: not there
}

// Watch calls end once when the session of a token has ended, or for the other reasons in what. stop frees the watch.
//
// The watch is added first, and then the session is checked. So a revocation between the check of the request and the watch
// ends it too.
func (v *View) Watch(ctx context.Context, ref Ref, what Watch, end func(reason error)) (stop func()) {
	w := &watch{Watch: what, ref: ref, index: -1}
	var once sync.Once
	w.end = func(reason error) { once.Do(func() { end(reason) }) }
	v.watches.add(w)
	goesOn := false
	defer func() {
		if !goesOn { // also if a store that looks the session up has panicked
			v.watches.remove(w)
		}
	}()
	if err := v.over(ctx, ref, what); err != nil {
		w.end(err)
		return func() {}
	}
	goesOn = true
	return func() { v.watches.remove(w) }
}

// over returns the reason why a watch has to end at once, or nil.
func (v *View) over(ctx context.Context, ref Ref, what Watch) error {
	err := v.Check(ctx, &ref, time.Now())
	if err == ErrOutdated && !what.Changes {
		ref.Version.User = math.MaxInt64 // what remains is whether the session has ended
		err = v.Check(ctx, &ref, time.Now())
	}
	if err == nil && v.freshUntil.Load() == closed { // an insecure view is never stale
		return ErrClosed
	}
	return err
}

func (s *watches) add(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bySession == nil {
		s.bySession, s.byUser = byHash{}, byHash{}
	}
	s.bySession.insert(w.ref.session, w)
	s.byUser.insert(w.ref.user, w)
	if !w.Expires.IsZero() {
		heap.Push(&s.expiries, w)
	}
}

func (m byHash) insert(hash uint64, w *watch) {
	if m[hash] == nil {
		m[hash] = map[*watch]struct{}{}
	}
	m[hash][w] = struct{}{}
}

func (m byHash) erase(hash uint64, w *watch) {
	delete(m[hash], w)
	if len(m[hash]) == 0 {
		delete(m, hash)
	}
}

func (s *watches) remove(w *watch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drop(w)
}

// drop forgets a watch. The caller holds the lock.
func (s *watches) drop(w *watch) {
	s.bySession.erase(w.ref.session, w)
	s.byUser.erase(w.ref.user, w)
	if w.index >= 0 {
		heap.Remove(&s.expiries, w.index)
	}
}

// endSession ends the watches of a session that was revoked.
func (s *watches) endSession(hash uint64) {
	s.endAmong(func() map[*watch]struct{} { return s.bySession[hash] }, func(*watch) error { return ErrRevoked })
}

// endUser ends the watches of a user that the cut-off concerns.
func (s *watches) endUser(hash uint64, cut cutoff) {
	s.endAmong(func() map[*watch]struct{} { return s.byUser[hash] }, func(w *watch) error {
		if err := cut.refuses(&w.ref); err != ErrOutdated || w.Changes {
			return err
		}
		return nil
	})
}

// end ends the watches for which reason returns an error.
func (s *watches) end(reason func(*watch) error) {
	s.endAmong(func() map[*watch]struct{} {
		all := map[*watch]struct{}{}
		for _, list := range s.bySession {
			maps.Copy(all, list)
		}
		return all
	}, reason)
}

// expire ends the watches whose token has expired.
func (s *watches) expire(now time.Time) {
	s.endAmong(func() map[*watch]struct{} {
		over := map[*watch]struct{}{}
		for len(s.expiries) > 0 && !now.Before(s.expiries[0].Expires) {
			over[heap.Pop(&s.expiries).(*watch)] = struct{}{}
		}
		return over
	}, func(*watch) error { return ErrExpired })
}

// endAmong ends those watches of a list for which reason returns an error. It calls their functions without the lock.
func (s *watches) endAmong(list func() map[*watch]struct{}, reason func(*watch) error) {
	var reasons map[*watch]error
	s.mu.Lock()
	for w := range list() {
		if err := reason(w); err != nil {
			if reasons == nil {
				reasons = map[*watch]error{}
			}
			reasons[w] = err
		}
	}
	for w := range reasons {
		s.drop(w)
	}
	s.mu.Unlock()
	for w, err := range reasons {
		w.end(err)
	}
}

// expiries is a heap of watches. The token that expires first is at the top.
type expiries []*watch

func (e expiries) Len() int           { return len(e) }
func (e expiries) Less(i, j int) bool { return e[i].Expires.Before(e[j].Expires) }
func (e expiries) Swap(i, j int) {
	e[i], e[j] = e[j], e[i]
	e[i].index, e[j].index = i, j
}
func (e *expiries) Push(w any) {
	w.(*watch).index = len(*e)
	*e = append(*e, w.(*watch))
}
func (e *expiries) Pop() any {
	i := len(*e) - 1
	last := (*e)[i]
	last.index = -1
	(*e)[i] = nil // or the array would keep it
	*e = (*e)[:i]
	return last
}
