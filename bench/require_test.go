package bench

import (
	"runtime"
	"sync/atomic"
	"testing"
)

var paths = []string{"cold", "repeat"}

func BenchmarkRequireAuth(b *testing.B) {
	each(b, algs, func(b *testing.B, c *corpus, path string) {
		tokens := c.on(path)
		for _, l := range libs {
			if !l.supports(c.keys.alg) || !l.isCold(c.keys.alg, path) {
				continue
			}
			b.Run(l.name, func(b *testing.B) {
				run, err := l.runner(c.keys, tokens)
				if err != nil {
					b.Fatal(err)
				}
				var w sink
				i := 0
				b.ReportAllocs()
				for b.Loop() {
					run(&w, i)
					if i++; i == len(tokens) {
						i = 0
					}
				}
				check(b, w.passed, w.others)
			})
		}
	})
}

// ballast gives the program a heap like that of a service. An empty program has a heap of 4 MB. With so little, the garbage
// collector runs every few milliseconds, and a benchmark of anything that allocates mostly measures the collector. The
// ballast is the same for all libraries.
var ballast = make([]byte, 64<<20)

// BenchmarkParallel shows the cost of shared locks and of garbage. Neither shows on one core.
func BenchmarkParallel(b *testing.B) {
	each(b, []string{"HS256", "EdDSA"}, func(b *testing.B, c *corpus, path string) {
		tokens := c.on(path)
		for _, l := range libs {
			if !l.guarded() || !l.supports(c.keys.alg) || !l.isCold(c.keys.alg, path) {
				continue
			}
			b.Run(l.name, func(b *testing.B) {
				run, err := l.runner(c.keys, tokens)
				if err != nil {
					b.Fatal(err)
				}
				var started, passed, others atomic.Int64
				b.ReportAllocs()
				b.ResetTimer()
				runtime.KeepAlive(ballast)
				b.RunParallel(func(pb *testing.PB) {
					var w sink
					// The goroutines start apart from each other. Otherwise the second one finds what the first one has just
					// put into a cache.
					i := int(started.Add(1)-1) * len(tokens) / runtime.GOMAXPROCS(0)
					for pb.Next() {
						run(&w, i)
						if i++; i == len(tokens) {
							i = 0
						}
					}
					passed.Add(int64(w.passed))
					others.Add(int64(w.others))
				})
				check(b, int(passed.Load()), int(others.Load()))
			})
		}
	})
}

func each(b *testing.B, algs []string, measure func(b *testing.B, c *corpus, path string)) {
	for _, alg := range algs {
		b.Run(alg, func(b *testing.B) {
			c, err := corpora[alg]()
			if err != nil {
				b.Fatal(err)
			}
			for _, path := range paths {
				b.Run(path, func(b *testing.B) { measure(b, c, path) })
			}
		})
	}
}

// check fails a benchmark if not every request reached the handler. The speed of such a run means nothing.
func check(b *testing.B, passed, others int) {
	b.Helper()
	if passed != b.N || others != 0 {
		b.Fatalf("handler reached %d times in %d requests, %d refused", passed, b.N, others)
	}
}
