package gate

import (
	"runtime"
	"runtime/metrics"
)

// The memory of hashes. Argon2id fills 19 MiB anew for each hash, and afterwards these are garbage. With several hashes at one
// time, a small program would grow to twice their memory before the collector starts.
const (
	hashMemory   = 19 << 20
	smallProgram = 24 << 20 // what it holds beside hashes, at most
	spare        = 32 << 20 // with garbage, it may grow by so much beyond the hashes that may run
)

// collect runs the garbage collector, to get the memory of hashes back, when a small program has grown beyond its bound. In a
// program with more memory, the garbage of a few hashes makes no difference, and a collection would take long. A hash that
// needs little memory leaves little garbage, and then there is nothing to collect.
func (g *Gate) collect() {
	heap := [...]metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(heap[:])
	if heap[0].Value.Kind() != metrics.KindUint64 || heap[1].Value.Kind() != metrics.KindUint64 {
		return // another version of Go without these numbers
	}
	live, all := heap[0].Value.Uint64(), heap[1].Value.Uint64()
	running, most := uint64(g.Stats().Running)*hashMemory, uint64(g.queue.parallel)*hashMemory
	if live < running+smallProgram && all >= most+spare && all >= live+hashMemory/2 {
		runtime.GC()
	}
}
