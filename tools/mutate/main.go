// Command mutate changes Go files in one small place at a time and runs tests. Good tests fail then: they kill the mutant. A
// mutant that survives shows a rule that no test holds, or a change that changes nothing.
//
//	go tool mutate [flags] file.go ...
//
// It writes nothing into the source tree: the go command reads changed files by its flag -overlay. It compiles nearly all
// mutants into one test binary and switches them on one by one, so a mutant costs no more than a run of the tests. It takes
// the conditions of switch cases too; tools that ask the coverage profile leave them out, because no profile shows them.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

func main() {
	packages := flag.String("packages", ".", "the packages whose tests must kill the mutants, separated by spaces")
	run := flag.String("run", "", "only these tests, as in go test")
	skip := flag.String("skip", "", "not these tests, as in go test")
	short := flag.Bool("short", false, "as in go test")
	timeout := flag.Duration("timeout", 30*time.Second, "for the tests of one package")
	least := flag.Float64("least", 95, "the percentage of mutants that must be killed")
	only := flag.String("only", "", "only the mutants with these numbers, separated by commas")
	verbose := flag.Bool("v", false, "print every mutant, and not only those that survive")
	flag.Parse()

	t := tester{packages: strings.Fields(*packages), tests: []string{"-test.failfast", "-test.timeout=" + timeout.String(),
		"-test.run=" + *run, "-test.skip=" + *skip, fmt.Sprintf("-test.short=%t", *short)}}
	wanted := func(m *mutant) bool {
		return *only == "" || slices.Contains(strings.Split(*only, ","), strconv.Itoa(m.id))
	}
	rate, err := t.files(flag.Args(), wanted, func(m *mutant, f fate) {
		if *verbose || f == survived {
			fmt.Printf("%s:%d: %d %s: %q becomes %q\n", m.file, m.line, m.id, f, m.old, m.new)
		}
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if rate < *least {
		os.Exit(1)
	}
}

// fate is what became of a mutant.
type fate string

const (
	killed    fate = "killed"
	timedOut  fate = "timed out" // a loop without an end is found too
	survived  fate = "survived"
	notViable fate = "does not compile"
)

// files tests the wanted mutants of the files, and calls done for each. It returns the percentage that was killed.
func (t *tester) files(paths []string, wanted func(*mutant) bool, done func(*mutant, fate)) (float64, error) {
	var sources []*source
	id := 0
	for _, path := range paths {
		s, err := readSource(path)
		if err != nil {
			return 0, err
		}
		for _, m := range s.mutants {
			id++
			m.id = id
		}
		sources = append(sources, s)
	}
	var err error
	if t.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return 0, err
	}
	defer os.RemoveAll(t.dir)
	if err := t.prepare(sources); err != nil {
		return 0, err
	}
	total := map[fate]int{}
	for _, s := range sources {
		count := map[fate]int{}
		for _, m := range s.mutants {
			if !wanted(m) {
				continue
			}
			f, err := t.mutant(s, m)
			if err != nil {
				return 0, err
			}
			count[f]++
			total[f]++
			done(m, f)
		}
		report(s.path, count)
	}
	return report("all", total), nil
}

// report prints a line, and returns the percentage of mutants that were killed.
func report(name string, count map[fate]int) float64 {
	dead := count[killed] + count[timedOut]
	viable := dead + count[survived]
	rate := 100.0
	if viable > 0 {
		rate = 100 * float64(dead) / float64(viable)
	}
	fmt.Printf("%s: %d of %d mutants killed (%.1f %%), %d of them by a time-out; %d more do not compile\n",
		name, dead, viable, rate, count[timedOut], count[notViable])
	return rate
}
