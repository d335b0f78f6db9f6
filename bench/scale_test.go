package bench

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

const million = 1_000_000

// crowd makes the Authorization headers of a million clients, once. They need about half a gigabyte.
var crowd = sync.OnceValues(func() (*corpus, error) {
	c, err := newCorpus("HS256", million)
	if err != nil {
		return nil, err
	}
	for i, token := range c.tokens {
		c.tokens[i] = "Bearer " + token
	}
	return c, nil
})

var crowds = []int{1_000, 100_000, million}

// BenchmarkLiveTokens chooses at random from N live tokens. The cache is the default one.
func BenchmarkLiveTokens(b *testing.B) {
	for _, n := range crowds {
		b.Run(short(n), func(b *testing.B) { liveTokens(b, n) })
	}
}

func liveTokens(b *testing.B, n int) {
	c, err := crowd()
	if err != nil {
		b.Fatal(err)
	}
	guard, err := requireSignet(c.keys, empty)
	if err != nil {
		b.Fatal(err)
	}
	// There is one request whose header changes. A million requests would measure the memory and not the guard.
	r, err := http.NewRequest(http.MethodGet, "http://api.example/orders", nil)
	if err != nil {
		b.Fatal(err)
	}
	authorization := []string{""}
	r.Header["Authorization"] = authorization
	var warm, w sink
	for _, authorization[0] = range c.tokens[:n] {
		guard.ServeHTTP(&warm, r)
	}
	if warm.passed != n {
		b.Fatalf("handler reached %d times in %d requests", warm.passed, n)
	}
	draw := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		authorization[0] = c.tokens[draw.IntN(n)]
		guard.ServeHTTP(&w, r)
	}
	check(b, w.passed, w.others)
}

// short writes 1k, 100k, 1M.
func short(n int) string {
	s := strconv.Itoa(n)
	if cut, ok := strings.CutSuffix(s, "000000"); ok {
		return cut + "M"
	}
	if cut, ok := strings.CutSuffix(s, "000"); ok {
		return cut + "k"
	}
	return s
}
