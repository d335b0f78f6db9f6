package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// support is what a package with mutants needs. The environment switches one mutant on.
const support = `package %s

import (
	"os"
	"strconv"
)

var mutateActive, _ = strconv.Atoi(os.Getenv("MUTATE"))

func mutateIs(id int) bool { return mutateActive == id }

func mutatePick[T any](id int, plain, mutated T) T {
	if mutateActive == id {
		return mutated
	}
	return plain
}
`

// all returns the text with every mutant that is not alone.
func (s *source) all() string {
	var list []*mutant
	for _, m := range s.mutants {
		if !m.alone {
			list = append(list, m)
		}
	}
	// An outer one comes before those in it. Of several with the same bytes, the last one is the innermost.
	slices.SortStableFunc(list, func(a, b *mutant) int { return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(b.end, a.end)) })
	text, rest := s.render(list, 0, len(s.text))
	if len(rest) > 0 {
		panic("mutate: two mutants overlap")
	}
	return text
}

// render returns the text from start to end with the mutants that lie in it, and the mutants that follow.
func (s *source) render(list []*mutant, start, end int) (string, []*mutant) {
	var b strings.Builder
	for len(list) > 0 && list[0].end <= end {
		m := list[0]
		b.WriteString(s.text[start:m.start])
		var inner string
		inner, list = s.render(list[1:], m.start, m.end)
		b.WriteString(m.with(inner))
		start = m.end
	}
	b.WriteString(s.text[start:end])
	return b.String(), list
}

// with returns the text of the mutant that can be switched on. plain is the text without it.
func (m *mutant) with(plain string) string {
	mutated := strings.ReplaceAll(m.new, "\n", " ")
	switch m.kind {
	case truth:
		return fmt.Sprintf("func() bool { if mutateIs(%d) { return %s }; return %s }()", m.id, mutated, plain)
	case value:
		return fmt.Sprintf("mutatePick(%d, %s, %s)", m.id, plain, mutated)
	case statement:
		return fmt.Sprintf("func() { if mutateIs(%d) { %s } else { %s } }()", m.id, mutated, plain)
	}
	return fmt.Sprintf("if !mutateIs(%d) { %s }", m.id, plain)
}
