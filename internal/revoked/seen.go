package revoked

import (
	"sync"
	"sync/atomic"
)

// seen holds the hashes of sessions that were looked up in the store, so that each is looked up once. Its memory is bounded: a
// new session takes the place of another one, which is then looked up again. Nothing is allocated before the first look-up.
//
// A View has two: one for sessions that were good, and one for those that were revoked. A revoked session stays revoked, so
// forget is never called for the second one. The following is about the first one.
//
// It never holds a session that the log has named. The look-up may find a session good just before it is revoked,
// and the log may tell that at any time, so there are three cases. If forget was called before begin, the revocation
// was committed before the look-up, which has found it. If forget is called between begin and finish, the lookUp is
// void. If forget is called after finish, it removes the session.
type seen struct {
	bytes   int // of the table
	table   atomic.Pointer[[]seenBucket]
	lookUps lookUps

	mu   sync.Mutex // for finish, forget and reset
	next int        // the slot of a full bucket that is used next
}

// seenBucket is one cache line of hashes. 0: free.
type seenBucket [8]atomic.Uint64

const seenBucketBytes = 64

func (s *seen) bucket(table []seenBucket, hash uint64) *seenBucket {
	return &table[hash>>32%uint64(len(table))]
}

// has reports whether the session with that hash was looked up, and was not forgotten since. It takes no lock.
func (s *seen) has(hash uint64) bool {
	table := s.table.Load()
	if table == nil {
		return false
	}
	b := s.bucket(*table, hash)
	for i := range b {
		if b[i].Load() == hash {
			return true
		}
	}
	return false
}

// begin must be called before the look-up.
func (s *seen) begin(hash uint64) lookUp { return s.lookUps.begin(hash) }

// finish keeps a session. The caller has looked it up since begin, and found what this seen is for.
func (s *seen) finish(t lookUp) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lookUps.valid(t) {
		return
	}
	table := s.table.Load()
	if table == nil {
		made := make([]seenBucket, max(1, s.bytes/seenBucketBytes))
		table = &made
		s.table.Store(table)
	}
	b := s.bucket(*table, t.hash)
	slot := s.next % len(b)
	for i := range b {
		if have := b[i].Load(); have == t.hash {
			return
		} else if have == 0 {
			slot = i
		}
	}
	s.next++
	b[slot].Store(t.hash)
}

// forget is called when the log says that the session with that hash is revoked.
func (s *seen) forget(hash uint64) {
	if s.lookUps.none() { // and so nothing was noted
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookUps.void(hash)
	table := s.table.Load()
	if table == nil {
		return
	}
	b := s.bucket(*table, hash)
	for i := range b {
		if b[i].Load() == hash {
			b[i].Store(0)
		}
	}
}

// reset forgets all sessions, those too that are being looked up.
func (s *seen) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lookUps.voidAll()
	s.table.Store(nil)
}
