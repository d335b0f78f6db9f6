package revoked

import (
	"math/bits"
	"slices"
	"sync/atomic"
)

// filter is the compact form of many hashes: a Bloom filter of a fixed size. It never says that a hash is absent which was
// added and has not expired. The fuller it is, the more often it says that an absent hash is there.
//
// A hash has one line, which is one cache line of memory. A line has one word for each generation, and a hash sets a
// few bits of one word. A generation is a range of expiry times. When its last hash has expired, its words are
// cleared, so hashes leave without a scan for them.
//
// The ranges follow the hashes: a generation that has many more hashes than the others is divided, and if no word is
// free for that, two other generations become one. So all words are about equally full, whatever the order in which
// expiry times come.
//
// Any number of goroutines may call has while one calls add and expire.
type filter struct {
	lines []line
	gens  []generation // by until
	total int          // hashes in all generations
	since int          // hashes that came after the last join of generations
}

type line [generations]atomic.Uint64

const (
	generations = 8
	lineBytes   = 8 * generations
)

// generation is the hashes that expire up to a minute, and later than those of the generation before it. A few stay
// longer than they must. None leaves early.
type generation struct {
	until uint32
	word  int // of each line
	count int
}

// newFilter returns an empty filter. sample is expiry times of hashes that will come; it may be empty.
func newFilter(size int, sample []uint32) *filter {
	f := &filter{lines: make([]line, max(size/lineBytes, 1))}
	if len(sample) < generations {
		return f
	}
	slices.Sort(sample)
	for i := range generations {
		f.gens = append(f.gens, generation{until: sample[(i+1)*len(sample)/generations-1], word: i})
	}
	return f
}

// place returns the line of a hash, and its bits of a word. The highest bits of the hash choose the line. The lowest
// seven bits are not used, because they are equal for all hashes of a segment of a set.
//
// Six bits are best for 8 to 16 bits of memory for each hash.
func (f *filter) place(hash uint64) (l *line, mask uint64) {
	i, _ := bits.Mul64(hash, uint64(len(f.lines)))
	h := hash >> 7
	mask = 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63) | 1<<(h>>18&63) | 1<<(h>>24&63) | 1<<(h>>30&63)
	return &f.lines[i], mask
}

// has reports whether the hash may be there. It reads the words upwards, and join moves hashes only upwards. So a
// hash that moves at the same time is seen.
func (f *filter) has(hash uint64) bool {
	l, mask := f.place(hash)
	for i := range l {
		if l[i].Load()&mask == mask {
			return true
		}
	}
	return false
}

// add adds a hash that expires in the minute until.
func (f *filter) add(hash uint64, until, now uint32) {
	l, mask := f.place(hash)
	for _, g := range f.gens[f.find(until):] {
		if l[g.word].Load()&mask == mask {
			return // has finds it until then already
		}
	}
	i := f.room(until)
	// It may stay longer, by half of its time. Of the words that this allows, the emptiest one is taken.
	late := uint64(until) + uint64(until-now)/2
	best, fill := i, bits.OnesCount64(l[f.gens[i].word].Load())
	for j := i + 1; j < len(f.gens) && uint64(f.gens[j].until) <= late; j++ {
		if n := bits.OnesCount64(l[f.gens[j].word].Load()); n < fill {
			best, fill = j, n
		}
	}
	g := &f.gens[best]
	l[g.word].Or(mask)
	g.count++
	f.total++
	f.since++
}

// find returns the index of the first generation that lasts until then, or len(f.gens).
func (f *filter) find(until uint32) int {
	i := 0
	for i < len(f.gens) && f.gens[i].until < until {
		i++
	}
	return i
}

// room returns the index of a generation that lasts until then. It makes a new one if that generation has too many
// hashes.
func (f *filter) room(until uint32) int {
	i := f.find(until)
	extend := i == len(f.gens)
	if extend {
		i--
	}
	if i >= 0 && !f.divide(i) {
		f.gens[i].until = max(f.gens[i].until, until)
		return i
	}
	i = f.find(until) // divide may have joined two others
	f.gens = slices.Insert(f.gens, i, generation{until: until, word: f.free()})
	return i
}

// divide reports whether the generation is to be divided, and makes sure that a word is free for that. The limits
// keep this rare, because a join passes over all lines.
func (f *filter) divide(i int) bool {
	count := f.gens[i].count
	if len(f.gens) < generations {
		return 2*count >= len(f.lines) && generations*count >= f.total
	}
	if count < len(f.lines) || 7*count < f.total || 32*f.since < f.total {
		return false
	}
	best, sum := 0, count+1
	for j := range generations - 1 {
		if n := f.gens[j].count + f.gens[j+1].count; n < sum {
			best, sum = j, n
		}
	}
	if sum > count {
		return false
	}
	f.join(best)
	f.since = 0
	return true
}

// join makes one generation from two neighbours. See has.
func (f *filter) join(i int) {
	from, to := f.gens[i].word, f.gens[i+1].word
	if from > to {
		from, to = to, from
	}
	for l := range f.lines {
		if word := f.lines[l][from].Load(); word != 0 {
			f.lines[l][to].Or(word)
			f.lines[l][from].Store(0)
		}
	}
	f.gens[i+1].word = to
	f.gens[i+1].count += f.gens[i].count
	f.gens = slices.Delete(f.gens, i, i+1)
}

// free returns a word that no generation has.
func (f *filter) free() int {
	word := 0
	for slices.ContainsFunc(f.gens, func(g generation) bool { return g.word == word }) {
		word++
	}
	return word
}

// expire removes the generations that are over. It reports whether none is left.
func (f *filter) expire(now uint32) (empty bool) {
	for len(f.gens) > 0 && f.gens[0].until <= now {
		for i := range f.lines {
			f.lines[i][f.gens[0].word].Store(0)
		}
		f.total -= f.gens[0].count
		f.gens = slices.Delete(f.gens, 0, 1)
	}
	return len(f.gens) == 0
}
