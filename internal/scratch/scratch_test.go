package scratch_test

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/scratch"
)

func TestBuffersAreEmpty(t *testing.T) {
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 1000 {
				b := scratch.Get()
				if b.Len() != 0 {
					t.Errorf("a buffer begins with %q", b)
				}
				text := strings.Repeat(string(rune('a'+worker)), i)
				b.WriteString(text)
				if b.String() != text {
					t.Errorf("another goroutine has written into the buffer")
				}
				scratch.Put(b)
			}
		})
	}
	all.Wait()
}

func TestLongBuffersAreNotKept(t *testing.T) {
	b := scratch.Get()
	b.Grow(1 << 20)
	scratch.Put(b)
	for range 100 {
		require.Less(t, scratch.Get().Cap(), 1<<20)
	}
}
