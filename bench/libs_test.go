package bench

import (
	"net/http"
	"slices"
	"strings"
)

// lib is one thing to measure. Exactly one of require and alone is set.
type lib struct {
	name string
	algs []string // nil: all
	// require puts the library's guard before next.
	require func(k *keyPair, next http.Handler) (http.Handler, error)
	// alone prepares the tokens before the measurement begins. It returns the work on token i, and nothing around it.
	alone func(k *keyPair, tokens []string) (func(i int) bool, error)
}

// libs are in the order of the tables.
var libs = slices.Concat(ours, middlewares, parsers, floors)

func (l lib) supports(alg string) bool { return l.algs == nil || slices.Contains(l.algs, alg) }

// guarded reports whether a library may run on several cores. The floors may not, because they share a hash on purpose.
func (l lib) guarded() bool {
	kind := KindOf(l.name)
	return kind == Ours || kind == Middleware
}

// runner returns the work on token i. The call has the same form for all libraries, so that its cost cancels out.
func (l lib) runner(k *keyPair, tokens []string) (func(w *sink, i int), error) {
	if l.alone != nil {
		verify, err := l.alone(k, tokens)
		return func(w *sink, i int) {
			if verify(i) {
				w.passed++
			}
		}, err
	}
	guard, err := l.require(k, empty)
	if err != nil {
		return nil, err
	}
	rs, err := requests(tokens)
	return func(w *sink, i int) { guard.ServeHTTP(w, rs[i]) }, err
}

// empty is the handler behind every guard. It writes the status 200, so that the sink can count how often it was reached.
var empty = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) })

// sink is a response writer that costs nothing and keeps no answer. Each goroutine has its own.
type sink struct {
	header http.Header
	passed int // 200
	others int // any other status
}

func (s *sink) Header() http.Header {
	if s.header == nil {
		s.header = make(http.Header)
	}
	return s.header
}

func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

func (s *sink) WriteHeader(status int) {
	if status == http.StatusOK {
		s.passed++
	} else {
		s.others++
	}
}

// guard makes a middleware of a parser in the cheapest way, so that parsers run the same loop as middlewares.
func guard(next http.Handler, verify func(token string) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if !ok || verify(token) != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
}
