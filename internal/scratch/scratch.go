// Package scratch lends buffers for the bodies of requests and answers. A buffer is used for one body and then given back.
package scratch

import (
	"bytes"
	"sync"
)

// maxKept is the largest capacity of a buffer that is lent again, in bytes. Otherwise a few long bodies would hold memory for
// a long time.
const maxKept = 16 << 10

var pool = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// Get returns an empty buffer. The caller gives it back with Put, and then keeps nothing of its memory.
func Get() *bytes.Buffer { return pool.Get().(*bytes.Buffer) }

// Put takes a buffer back.
func Put(b *bytes.Buffer) {
	if b.Cap() <= maxKept {
		b.Reset()
		pool.Put(b)
	}
}
