package throttle

import (
	"context"
	"fmt"
	"hash/maphash"
	"math"
	"sync"
	"time"
)

// Memory is a [Store] in the memory of one process, and the default. It is safe for concurrent use, its zero value is
// ready to use, and it must not be copied. Its records end with the process.
//
// It is bounded. A record needs about 130 bytes. Records that mean nothing any more go as others come, a few at a time.
// No record goes while a failure in it has not decayed. If the memory is full, there are two cases:
//
//   - Fewer than half of the records have failures. Then a new key takes the place of the account whose owner has not
//     signed in for the longest time. That forgets its known places, which is all it had.
//   - Otherwise a new key gets a [*Delayed]: strangers must wait, and accounts that have a record go on.
type Memory struct {
	// Records is how many records there may be at most. 0 means 262,144, which are about 34 MB. From 90 % of them on,
	// some new keys are refused. Two for each user who signs in within 30 days are plenty.
	Records int
	// Clock is the store's clock; nil means time.Now. Set both fields before the first use.
	Clock func() time.Time

	once   sync.Once
	seed   maphash.Seed // so that nobody can choose names that fall into one shard
	shards []shard
}

const (
	defaultRecords = 1 << 18
	shardRecords   = 1 << 10 // a shard holds that many at least, so that the shards become full at about the same time
	maxShards      = 1 << 8

	sweepAlways = 4 // records that may be due, looked at in each call: more than one, so that the memory shrinks
	sweepFull   = 64
)

func (m *Memory) start() {
	records := m.Records
	if records <= 0 {
		records = defaultRecords
	}
	n := max(1, min(maxShards, records/shardRecords))
	m.seed = maphash.MakeSeed()
	m.shards = make([]shard, n)
	for i := range m.shards {
		m.shards[i].limit = min(math.MaxInt32, (records+i)/n) // together records
	}
}

func (m *Memory) now() time.Time {
	if m.Clock != nil {
		return m.Clock()
	}
	return time.Now()
}

// Update implements [Store]. It calls change once.
func (m *Memory) Update(ctx context.Context, key Key,
	change func(before Record, now time.Time) (after Record, until time.Time, err error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.once.Do(m.start)
	s := &m.shards[maphash.Bytes(m.seed, key[:])%uint64(len(m.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	now := m.now()
	s.sweep(now, sweepAlways)
	before := s.read(key)
	after, until, err := change(before, now)
	if err != nil || after == before {
		return err
	}
	return s.write(key, after, until, now)
}

// Format implements [fmt.Formatter]. It prints only the name of the type.
func (m *Memory) Format(state fmt.State, _ rune) { fmt.Fprint(state, "throttle.Memory") }

// shard is a part of the memory. Its rows are in one of two queues.
type shard struct {
	mu     sync.Mutex
	limit  int
	index  map[Key]int32
	rows   []row
	free   []int32  // rows that are not used
	queues [2]queue // failing, quiet
	_      [8]byte  // then a shard has 128 bytes in 64-bit programs: no two share a cache line of 64
}

const (
	failing = 0 // the record has failures; the row is due when the last has decayed
	quiet   = 1 // the record has only known places; the row is due when it means nothing any more
)

// row is a record. Its times are seconds since 1970, rounded up.
type row struct {
	key    Key
	record Record
	until  int64
	due    int64
	place  int32 // in its queue
	queue  uint8
}

func (s *shard) read(key Key) Record {
	if i, ok := s.index[key]; ok {
		return s.rows[i].record
	}
	return ""
}

func (s *shard) write(key Key, after Record, until, now time.Time) error {
	i, found := s.index[key]
	switch {
	case after == "":
		if found {
			s.remove(i)
		}
		return nil
	case !found:
		if len(s.index) >= s.limit {
			if err := s.makeRoom(now); err != nil {
				return err
			}
		}
		i = s.add(key)
	default:
		s.leave(i)
	}
	r := &s.rows[i]
	r.record, r.until = after, ceil(until)
	s.enter(i, now)
	return nil
}

// makeRoom removes one row, or says when there may be room.
func (s *shard) makeRoom(now time.Time) error {
	s.sweep(now, sweepFull)
	if len(s.index) < s.limit {
		return nil
	}
	if quietRows := s.queues[quiet]; len(quietRows) > 0 && 2*len(s.queues[failing]) < s.limit {
		s.remove(quietRows[0])
		return nil
	}
	wait := time.Unix(s.rows[s.queues[failing][0]].due, 0).Sub(now)
	return &Delayed{RetryAfter: max(time.Second, min(time.Hour, wait))}
}

// sweep looks at up to n rows that are due.
func (s *shard) sweep(now time.Time, n int) {
	for range n {
		i, ok := s.dueRow(floor(now))
		switch {
		case !ok:
			return
		case s.rows[i].until <= floor(now):
			s.remove(i)
		default:
			s.leave(i)
			s.enter(i, now)
		}
	}
}

func (s *shard) dueRow(now int64) (int32, bool) {
	for _, q := range s.queues {
		if len(q) > 0 && s.rows[q[0]].due <= now {
			return q[0], true
		}
	}
	return 0, false
}

// add returns an unused row for the key.
func (s *shard) add(key Key) (i int32) {
	if last := len(s.free) - 1; last >= 0 {
		i, s.free = s.free[last], s.free[:last]
	} else {
		i = int32(len(s.rows))
		s.rows = append(s.rows, row{})
	}
	if s.index == nil {
		s.index = map[Key]int32{}
	}
	s.index[key] = i
	s.rows[i].key = key
	return i
}

func (s *shard) remove(i int32) {
	s.leave(i)
	delete(s.index, s.rows[i].key)
	s.rows[i] = row{}
	s.free = append(s.free, i)
}

// enter puts a row into its queue.
func (s *shard) enter(i int32, now time.Time) {
	r := &s.rows[i]
	r.queue, r.due = failing, r.until
	if ends, ok := failuresEnd(r.record); ok {
		r.due = min(r.due, ceil(ends))
		if r.due <= floor(now) {
			r.queue, r.due = quiet, r.until
		}
	}
	s.queues[r.queue].push(s.rows, i)
}

func (s *shard) leave(i int32) { s.queues[s.rows[i].queue].remove(s.rows, i) }

// floor and ceil convert a time to seconds since 1970. ceil rounds up.
func floor(t time.Time) int64 { return max(0, t.Unix()) }

func ceil(t time.Time) int64 { return floor(t.Add(time.Second - 1)) }
