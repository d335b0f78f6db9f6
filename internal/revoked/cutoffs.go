package revoked

import (
	"math/bits"
	"sync"
	"sync/atomic"

	"github.com/signet-go/signet/session"
)

// cutoff is what the log says about a user. See [session.Cutoff].
type cutoff struct {
	ended, changed int64
	spared         uint64 // the hash of the session that did not end; 0: none
	until          session.Millis
}

func (c cutoff) version() int64 { return max(c.ended, c.changed) }

// cutoffs holds the cut-offs of users. As long as there was none, a look-up costs one atomic load. No look-up takes
// a lock.
//
// It is a hash table of buckets, for what the log has named. When it cannot grow any more, the record that expires first leaves
// its full bucket, and leaves its hash in a [filter]. A look-up answers maybe from then on. What the store answers is kept in a
// second table, in which any record may go at any time. So memory is bounded: a quarter of it is for the filter, and an eighth
// for the answers.
type cutoffs struct {
	table   atomic.Pointer[[]cutBucket]
	left    atomic.Pointer[filter]      // the hashes of records that have left
	answers atomic.Pointer[[]cutBucket] // what look-ups have found, of users who are not in table

	lookUps lookUps
	clock   atomic.Int64 // the time of the last expire; look-ups read it too
	mu      sync.Mutex   // one writer at a time
	bytes   int
	newest  int64 // the newest version that has left
	next    int   // the slot of a full bucket of answers that is used next
	swept   session.Millis
}

// cutBucket holds the hashes of records, and the records. A record never changes. A look-up compares the hash of the
// record too, because the slot may get another record at any time.
type cutBucket struct {
	hashes  [8]atomic.Uint64
	records [8]atomic.Pointer[record]
}

type record struct {
	cutoff
	hash uint64
}

const (
	recordBytes    = 48
	cutBucketBytes = 8 * (16 + recordBytes)
	sweepEvery     = 10 * 60_000 // milliseconds; between two scans for expired records
)

// newCutoffs returns cutoffs that will use up to so many bytes, but at least 1 MiB.
func newCutoffs(bytes int) *cutoffs { return &cutoffs{bytes: max(bytes, minBytes)} }

func (c *cutoffs) now() session.Millis { return session.Millis(c.clock.Load()) }

// get returns the cut-off of the user with that hash, if it is known. It may be the zero cut-off that remember has
// kept. The answer is maybe if only the store knows.
func (c *cutoffs) get(hash uint64) (cutoff, answer) {
	r := find(&c.table, hash)
	if r == nil {
		r = find(&c.answers, hash)
	}
	if r != nil {
		if r.until <= c.now() { // the store may have deleted it
			return cutoff{}, yes
		}
		return r.cutoff, yes
	}
	// A record that has left meanwhile was added to the filter first.
	if left := c.left.Load(); left != nil && left.has(hash) {
		return cutoff{}, maybe
	}
	return cutoff{}, no
}

func find(table *atomic.Pointer[[]cutBucket], hash uint64) *record {
	if buckets := table.Load(); buckets != nil {
		return cutBucketOf(*buckets, hash).get(hash)
	}
	return nil
}

// put takes a cut-off from the log. If a newer one is known, that one stays. put then forgets the store's answer about the
// user, because it would be out of date when the record leaves the table.
func (c *cutoffs) put(hash uint64, cut cutoff) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookUps.void(hash)
	answer := find(&c.answers, hash)
	if cut.until > c.now() {
		if answer != nil {
			cut = cut.with(answer.cutoff)
		}
		c.set(&record{cut, hash})
	}
	if answer != nil {
		cutBucketOf(*c.answers.Load(), hash).forget(hash)
	}
}

// with returns the newer one of two cut-offs, which is kept for as long as both.
func (c cutoff) with(other cutoff) cutoff {
	newer := c
	if c.version() < other.version() {
		newer = other
	}
	newer.until = max(c.until, other.until)
	return newer
}

// begin must be called before a look-up in the store whose result will be given to remember.
func (c *cutoffs) begin(hash uint64) lookUp { return c.lookUps.begin(hash) }

// remember keeps what a look-up in the store has found, also that there is no cut-off. It does nothing if put was
// called with the same hash after begin: the record of put may have left already, and what was found may be older.
func (c *cutoffs) remember(t lookUp, cut cutoff) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.lookUps.valid(t) {
		return
	}
	if logged := find(&c.table, t.hash); logged != nil {
		if cut.version() > logged.version() {
			c.set(&record{cut.with(logged.cutoff), t.hash})
		}
		return
	}
	table := c.answers.Load()
	if table == nil {
		made := make([]cutBucket, max(1, c.bytes/8/cutBucketBytes))
		table = &made
		c.answers.Store(table)
	}
	b := cutBucketOf(*table, t.hash)
	slot := b.slot(t.hash, -1) // an answer "no cut-off" has the time 0, and counts as one that has not expired
	if slot < 0 {
		slot = c.next % len(b.records)
	}
	c.next++
	b.store(slot, &record{cut, t.hash})
}

// reset forgets what look-ups have found, and what those will find that have begun.
func (c *cutoffs) reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lookUps.voidAll()
	c.answers.Store(nil)
}

// set stores a record of the log, unless a newer one is there.
func (c *cutoffs) set(r *record) {
	table := c.table.Load()
	if table == nil {
		made := make([]cutBucket, 1)
		table = &made
		c.table.Store(table)
	}
	if old := cutBucketOf(*table, r.hash).get(r.hash); old != nil {
		r = &record{r.cutoff.with(old.cutoff), r.hash}
	} else if left := c.left.Load(); r.version() < c.newest && left != nil && left.has(r.hash) {
		c.leave(r) // a newer one may have left
		return
	}
	for {
		b := cutBucketOf(*c.table.Load(), r.hash)
		if i := b.slot(r.hash, c.now()); i >= 0 {
			b.store(i, r)
			return
		}
		if !c.grow() {
			i := b.victim()
			c.leave(b.records[i].Load())
			b.store(i, r)
			return
		}
	}
}

// grow makes a table of at least twice as many buckets, if the limit allows it. A record leaves only if the limit forces it.
func (c *cutoffs) grow() bool {
	old := *c.table.Load()
	limit := c.bytes * 5 / 8 / cutBucketBytes
	if 2*len(old) > limit {
		return false
	}
	size := limit
	for size/2 > len(old) {
		size /= 2
	}
	table, over := c.spread(old, size)
	for len(over) > 0 && 2*size <= limit {
		size *= 2
		table, over = c.spread(old, size)
	}
	for _, r := range over {
		b := cutBucketOf(table, r.hash)
		k := b.victim()
		c.leave(b.records[k].Load())
		b.store(k, r)
	}
	c.table.Store(&table)
	return true
}

// spread puts the records of a table into a new one, and returns those whose bucket is full.
func (c *cutoffs) spread(old []cutBucket, size int) (table []cutBucket, over []*record) {
	table = make([]cutBucket, size)
	for i := range old {
		for j := range old[i].records {
			r := old[i].records[j].Load()
			if r == nil {
				continue
			}
			b := cutBucketOf(table, r.hash)
			if k := b.slot(r.hash, c.now()); k >= 0 {
				b.store(k, r)
			} else {
				over = append(over, r)
			}
		}
	}
	return table, over
}

// leave is called before a record is removed.
func (c *cutoffs) leave(r *record) {
	if r.until <= c.now() {
		return
	}
	left := c.left.Load()
	if left == nil {
		left = newFilter(c.bytes/4, nil)
		c.left.Store(left)
	}
	left.add(r.hash, minutes(r.until), minutesPast(c.now()))
	c.newest = max(c.newest, r.version())
}

// expire removes records that have expired. Every ten minutes it scans the tables, and then also removes the answers "no
// cut-off", whose until is 0. The first call begins the ten minutes. If now is not later than at the last call, nothing is
// removed, and what is added from then on is judged by now.
func (c *cutoffs) expire(now session.Millis) {
	c.mu.Lock()
	defer c.mu.Unlock()
	notLater := now <= c.now()
	if c.clock.Store(int64(now)); notLater {
		c.swept = min(c.swept, now)
		return
	}
	if left := c.left.Load(); left != nil && left.expire(minutesPast(now)) {
		c.left.Store(nil)
	}
	if c.swept == 0 {
		c.swept = now
	}
	if now < c.swept+sweepEvery {
		return
	}
	c.swept = now
	if sweep(c.answers.Load(), now) == 0 {
		c.answers.Store(nil)
	}
	if sweep(c.table.Load(), now) == 0 && c.left.Load() == nil {
		c.table.Store(nil)
	}
}

// sweep removes the records of a table that have expired, and returns how many remain.
func sweep(table *[]cutBucket, now session.Millis) (used int) {
	if table == nil {
		return 0
	}
	for i := range *table {
		b := &(*table)[i]
		for j := range b.records {
			if r := b.records[j].Load(); r != nil && r.until <= now {
				b.clear(j)
			} else if r != nil {
				used++
			}
		}
	}
	return used
}

func cutBucketOf(table []cutBucket, hash uint64) *cutBucket {
	i, _ := bits.Mul64(hash, uint64(len(table)))
	return &table[i]
}

func (b *cutBucket) get(hash uint64) *record {
	for i := range b.hashes {
		if b.hashes[i].Load() == hash {
			if r := b.records[i].Load(); r != nil && r.hash == hash {
				return r
			}
		}
	}
	return nil
}

// slot returns the slot of the hash, or else one that is free or has expired, or else -1.
func (b *cutBucket) slot(hash uint64, now session.Millis) int {
	free := -1
	for i := range b.records {
		switch r := b.records[i].Load(); {
		case r == nil:
			free = i
		case r.hash == hash:
			return i
		case r.until <= now:
			free = i
		}
	}
	return free
}

// victim returns the slot of a full bucket whose record expires first.
func (b *cutBucket) victim() int {
	best := 0
	for i := range b.records {
		if b.records[i].Load().until < b.records[best].Load().until {
			best = i
		}
	}
	return best
}

// forget removes the record of a hash, if there is one.
func (b *cutBucket) forget(hash uint64) {
	for i := range b.records {
		if r := b.records[i].Load(); r != nil && r.hash == hash {
			b.clear(i)
		}
	}
}

func (b *cutBucket) clear(i int) {
	b.hashes[i].Store(0)
	b.records[i].Store(nil)
}

// store writes the record first. A look-up that sees the new hash sees the record too.
func (b *cutBucket) store(i int, r *record) {
	b.records[i].Store(r)
	b.hashes[i].Store(r.hash)
}
