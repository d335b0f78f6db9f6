package gate

import (
	"runtime"
	"runtime/metrics"
)

// The memory of hashes. Argon2id fills 19 MiB anew for each hash, and afterwards these are garbage. A small program would grow to
// twice the memory of the running hashes before the collector starts.
const (
	hashMemory = 19 << 20
	smallHeap  = 32 << 20 // of the rest of a small program
)

// collect takes the memory of a hash back at once in a small program, where a collection takes less than a millisecond. In a
// program with more memory, the garbage of a few hashes makes no difference, and a collection would take long.
func (g *Gate) collect() {
	live := [1]metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(live[:])
	if v := live[0].Value; v.Kind() == metrics.KindUint64 && v.Uint64() < uint64(g.queue.parallel)*hashMemory+smallHeap {
		runtime.GC()
	}
}
