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
			if !l.supports(c.keys.alg) {
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

// ballast gives the program a heap like a service's. With the 4 MB of an empty one the garbage collector runs every few
// milliseconds, and is what a benchmark of anything that allocates measures. The same for all.
var ballast = make([]byte, 64<<20)

// BenchmarkParallel is for shared locks and for garbage: neither shows on one core.
func BenchmarkParallel(b *testing.B) {
	each(b, []string{"HS256", "EdDSA"}, func(b *testing.B, c *corpus, path string) {
		tokens := c.on(path)
		for _, l := range libs {
			if !l.guarded() || !l.supports(c.keys.alg) {
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
					// Apart from each other, else the second goroutine finds what the first has just put into a cache.
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

// check refuses to report the speed of something that let nobody in.
func check(b *testing.B, passed, others int) {
	b.Helper()
	if passed != b.N || others != 0 {
		b.Fatalf("handler reached %d times in %d requests, %d refused", passed, b.N, others)
	}
}
