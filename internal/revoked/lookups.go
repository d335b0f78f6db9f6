package revoked

import "sync/atomic"

// lookUps tell whether the log has named a hash while it was being looked up. There are fewer counters than hashes,
// so a lookUp may also be void for the sake of another hash. Then what was found is used once, and not kept.
//
// begin and none may be called at any time. The caller of the other methods holds a lock.
type lookUps struct {
	counts atomic.Pointer[[lookUpCounts]atomic.Uint32] // nil: there was no lookUp yet
}

// lookUpCounts is so large that few lookUps are void while a process reads a long log at its start.
const lookUpCounts = 1 << 16

// lookUp is what begin of one look-up returns. It belongs to one counter, and is void when that has changed.
type lookUp struct {
	hash   uint64
	counts *[lookUpCounts]atomic.Uint32
	count  uint32
}

func (t *lookUps) begin(hash uint64) lookUp {
	counts := t.counts.Load()
	if counts == nil {
		t.counts.CompareAndSwap(nil, new([lookUpCounts]atomic.Uint32))
		counts = t.counts.Load()
	}
	if counts == nil { // voidAll came in between; this lookUp is void
		return lookUp{hash: hash}
	}
	return lookUp{hash, counts, counts[hash>>40%lookUpCounts].Load()}
}

func (t *lookUps) valid(v lookUp) bool {
	return v.counts != nil && v.counts == t.counts.Load() && v.counts[v.hash>>40%lookUpCounts].Load() == v.count
}

func (t *lookUps) void(hash uint64) {
	if counts := t.counts.Load(); counts != nil {
		counts[hash>>40%lookUpCounts].Add(1)
	}
}

// none reports whether there was no lookUp yet. A lookUp that begins later belongs to a look-up that begins later.
func (t *lookUps) none() bool { return t.counts.Load() == nil }

func (t *lookUps) voidAll() { t.counts.Store(nil) }
