package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const program = `package p

const limit = 2 * 5

func Sum(list []int, most int) (sum int, ok bool) {
	for i := 0; i < len(list); i++ {
		if list[i] < 0 {
			continue
		}
		sum += list[i]
	}
	switch {
	case sum > most && most != limit,
		sum > 1000: // a comment
		return 0, false
	}
	return sum, !(sum == 13)
}

func Name(s string) string { return s + "!" }
`

const tests = `package p

import "testing"

func TestSum(t *testing.T) {
	for _, tc := range []struct {
		list      []int
		most, sum int
		ok        bool
	}{{nil, 5, 0, true}, {[]int{1, -1, 3}, 5, 4, true}, {[]int{5}, 5, 5, true}, {[]int{6}, 5, 0, false}, {[]int{13}, 20, 13, false},
		{[]int{11}, limit, 11, true}, {[]int{1001}, 10, 0, false}} {
		if sum, ok := Sum(tc.list, tc.most); sum != tc.sum || ok != tc.ok {
			t.Fatal(tc, sum, ok)
		}
	}
	if limit != 10 {
		t.Fatal(limit)
	}
}
`

// The mutants of a small program are found and compiled together. The tests kill all but two: one changes nothing, and one is
// at a bound that no test meets.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"go.mod": "module p\n\ngo 1.26\n", "p.go": program, "p_test.go": tests} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("GOWORK", "off")
	s, err := readSource("p.go")
	if err != nil {
		t.Fatal(err)
	}
	if text := s.all(); strings.Count(text, "\n") != strings.Count(program, "\n") {
		t.Fatalf("the lines have other numbers:\n%s", text)
	}
	var changes []string
	got := map[fate]int{}
	test := tester{packages: []string{"."}, tests: []string{"-test.timeout=5s", "-test.failfast"}}
	all := func(*mutant) bool { return true }
	rate, err := test.files([]string{"p.go"}, all, func(m *mutant, f fate) {
		got[f]++
		if f == survived || f == notViable {
			changes = append(changes, string(f)+": "+m.old+" becomes "+m.new)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `survived: list[i] < 0 becomes list[i] <= 0
survived: sum > 1000 becomes sum >= 1000
does not compile: s + "!" becomes s - "!"`
	if text := strings.Join(changes, "\n"); text != want {
		t.Fatalf("got:\n%s\nwant:\n%s", text, want)
	}
	if rate < 88 || rate > 89 || got[killed]+got[timedOut] != 15 {
		t.Fatalf("%.1f %%, %v", rate, got)
	}
}
