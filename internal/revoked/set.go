package revoked

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/signet-go/signet/session"
)

// answer says whether what was asked for is there, as far as memory knows.
type answer uint8

const (
	no    answer = iota
	yes          // certainly
	maybe        // only the store knows
)

// set holds the revoked sessions until their last token has expired. Every request makes a look-up. A look-up takes
// no lock and reads a few words of memory, however many sessions are revoked.
//
// The entries are 64-bit hashes, with a random seed for each process. The set has segments by the first bits of the
// hash. A segment is exact as long as it fits into its share of the memory: a hash table with open addressing, of 12
// bytes for each slot, of which two thirds are used. So 64 MiB hold 3.7 million entries. If more come, the segment
// becomes a [filter], which has the same share, and a look-up answers maybe instead of yes. When all that is in the
// filter has expired, the segment is exact again. Each segment changes by itself, so no change needs more memory
// than one share.
//
// If two sessions had the same hash, one that is not revoked would get yes. With a million entries the chance is
// 2^-43 for a session, and nobody can cause it on purpose.
type set struct {
	segments [segments]atomic.Pointer[segment]

	mu    sync.Mutex // one writer at a time
	share int        // bytes for each segment
	now   uint32     // in minutes; what has expired then is not needed
}

const (
	segments    = 64
	segmentBits = 6
	slotBytes   = 12
	minBytes    = 1 << 20
)

// newSet returns an empty set that will use up to so many bytes, but at least 1 MiB.
func newSet(bytes int) *set {
	return &set{share: max(bytes, minBytes) / segments}
}

// minutes rounds up, so nothing expires early.
func minutes(t session.Millis) uint32 {
	m := t / 60_000
	if t%60_000 > 0 {
		m++
	}
	return uint32(min(max(m, 0), math.MaxUint32))
}

// minutesPast rounds down.
func minutesPast(t session.Millis) uint32 {
	return uint32(min(max(t/60_000, 0), math.MaxUint32-1))
}

// rotate moves the bits of a hash that have chosen the segment to the end.
func rotate(hash uint64) uint64 { return bits.RotateLeft64(hash, segmentBits) }

// has reports whether the session with that hash is revoked. It answers no or yes of an exact segment, and no or
// maybe of a compact one. A session whose last token has expired may be there a while longer.
func (s *set) has(hash uint64) answer {
	part := s.segments[hash>>(64-segmentBits)].Load()
	switch {
	case part == nil:
		return no
	case part.filter == nil:
		return part.has(rotate(hash))
	case part.filter.has(rotate(hash)):
		return maybe
	}
	return no
}

// add marks the session with that hash as revoked until its tokens have expired. The hash is not 0. If it is there
// already, the later time is valid.
func (s *set) add(hash uint64, until session.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	end := minutes(until)
	if end <= s.now {
		return
	}
	place := &s.segments[hash>>(64-segmentBits)]
	switch part := place.Load(); {
	case part == nil:
		place.Store(s.rebuild(&segment{}, rotate(hash), end))
	case part.filter != nil:
		part.filter.add(rotate(hash), end, s.now)
	case !part.add(rotate(hash), end):
		place.Store(s.rebuild(part, rotate(hash), end))
	}
}

// expire removes what has expired from compact segments, and rebuilds an exact segment of which at least a third has expired.
// If now is not later than at the last call, nothing is removed, and what is added from then on is judged by now.
func (s *set) expire(now session.Millis) {
	s.mu.Lock()
	defer s.mu.Unlock()
	notLater := minutesPast(now) <= s.now
	if s.now = minutesPast(now); notLater {
		return
	}
	for i := range s.segments {
		place := &s.segments[i]
		switch part := place.Load(); {
		case part == nil:
		case part.filter != nil:
			if part.filter.expire(s.now) {
				place.Store(nil)
			}
		case part.latest <= s.now:
			place.Store(nil)
		case 3*part.expired(s.now) >= part.used:
			place.Store(s.rebuild(part, 0, 0))
		}
	}
}

// stats returns the number of entries, the memory in bytes, and whether a segment is compact.
func (s *set) stats() (entries, bytes int, compact bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.segments {
		if part := s.segments[i].Load(); part == nil {
			continue
		} else if part.filter != nil {
			entries += part.filter.total
			bytes += len(part.filter.lines) * lineBytes
			compact = true
		} else {
			entries += part.used
			bytes += len(part.hashes) * slotBytes
		}
	}
	return entries, bytes, compact
}

// segment is a part of a set, in one of two forms. The exact form is a hash table. Its size is the share divided by
// a power of two.
type segment struct {
	filter *filter // the compact form, or nil
	hashes []atomic.Uint64
	until  []uint32 // of the hashes, in minutes

	used    int
	latest  uint32 // of until
	base    uint32 // the smallest until that is in the first bucket
	width   uint32 // of a bucket, in minutes
	buckets [64]uint32
}

func (p *segment) has(hash uint64) answer {
	i, _ := bits.Mul64(hash, uint64(len(p.hashes)))
	for {
		switch p.hashes[i].Load() {
		case hash:
			return yes
		case 0:
			return no
		}
		if i++; i == uint64(len(p.hashes)) {
			i = 0
		}
	}
}

// bucket returns the counter of the entries that expire at about that time. The last one counts all that are later.
func (p *segment) bucket(until uint32) *uint32 {
	i := (max(until, p.base) - p.base) / p.width
	return &p.buckets[min(i, uint32(len(p.buckets)-1))]
}

// expired returns how many entries have expired, to the accuracy of a bucket.
func (p *segment) expired(now uint32) (n int) {
	for i, count := range p.buckets[:len(p.buckets)-1] {
		if uint64(p.base)+uint64(i+1)*uint64(p.width) > uint64(now)+1 {
			break
		}
		n += int(count)
	}
	return n
}

// add reports whether there was room.
func (p *segment) add(hash uint64, until uint32) bool {
	i, _ := bits.Mul64(hash, uint64(len(p.hashes)))
	for {
		switch p.hashes[i].Load() {
		case hash:
			if until > p.until[i] {
				*p.bucket(p.until[i])--
				*p.bucket(until)++
				p.until[i] = until
				p.latest = max(p.latest, until)
			}
			return true
		case 0:
			if 3*(p.used+1) > 2*len(p.hashes) {
				return false
			}
			p.until[i] = until
			p.hashes[i].Store(hash)
			p.used++
			*p.bucket(until)++
			p.latest = max(p.latest, until)
			return true
		}
		if i++; i == uint64(len(p.hashes)) {
			i = 0
		}
	}
}

// rebuild returns a segment with the entries of p that have not expired, and with one more if hash is not 0. An
// exact segment has room for half as many again. If that does not fit into the share, the segment is compact.
func (s *set) rebuild(p *segment, hash uint64, until uint32) *segment {
	live, first, latest := 0, uint32(math.MaxUint32), p.latest
	var sample []uint32
	if hash != 0 {
		live, first, latest = 1, until, max(latest, until)
	}
	for _, until := range p.until {
		if until <= s.now { // or the slot is free
			continue
		}
		if live++; len(sample) < 1024 {
			sample = append(sample, until)
		}
		first = min(first, until)
	}
	next := &segment{base: first}
	add := func(hash uint64, until uint32) { next.add(hash, until) }
	size := s.share / slotBytes &^ 1023 // so that Go needs no more memory than the arrays have
	if 9*live > 4*size {
		next.filter = newFilter(s.share, append(sample, latest))
		add = func(hash uint64, until uint32) { next.filter.add(hash, until, s.now) }
	} else {
		for size >= 64 && 9*live <= 4*(size/2) {
			size /= 2
		}
		next.hashes, next.until = make([]atomic.Uint64, size), make([]uint32, size)
		next.width = max(60, (latest-first)/uint32(len(next.buckets)-1)+1)
	}
	for i, until := range p.until {
		if until > s.now {
			add(p.hashes[i].Load(), until)
		}
	}
	if hash != 0 {
		add(hash, until)
	}
	return next
}
