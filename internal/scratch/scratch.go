// Package scratch lends buffers for bodies and tokens that are built or read and then copied.
package scratch

import (
	"bytes"
	"sync"
)

// maxKept is the capacity, in bytes, up to which a buffer is lent again. A few long bodies must not hold memory for ever.
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
