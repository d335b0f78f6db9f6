// Command mutate changes Go files in one small place at a time and runs tests. Tests that are good fail then: they kill the
// mutant. A mutant that survives shows a rule that no test holds, or a change that changes nothing.
//
//	go tool mutate [flags] file.go ...
//
// It writes nothing into the source tree: the go command reads the changed file by its flag -overlay. Unlike other tools it
// takes the conditions of switch cases too, which the coverage profiles of Go do not show.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// fate is what became of a mutant.
type fate string

const (
	killed    fate = "killed"
	timedOut  fate = "timed out" // a loop without an end is found too
	survived  fate = "survived"
	notViable fate = "does not compile"
)

func main() {
	packages := flag.String("packages", ".", "the packages whose tests must kill the mutants, separated by spaces")
	run := flag.String("run", "", "only these tests, as in go test")
	skip := flag.String("skip", "", "not these tests, as in go test")
	short := flag.Bool("short", false, "go test -short")
	timeout := flag.Duration("timeout", 30*time.Second, "for the tests of one mutant")
	least := flag.Float64("least", 95, "the percentage of mutants that must be killed")
	verbose := flag.Bool("v", false, "print every mutant, and not only those that survive")
	flag.Parse()

	args := []string{"test", "-vet=off", "-count=1", "-failfast", "-ldflags=-s -w", "-timeout=" + timeout.String(), "-run=" + *run, "-skip=" + *skip}
	if *short {
		args = append(args, "-short")
	}
	t := tester{args: args, packages: strings.Fields(*packages)}
	ok, err := t.all(flag.Args(), *least, *verbose)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

// tester runs the tests.
type tester struct {
	args     []string
	packages []string
	dir      string // for the changed file and the overlay
}

// all tests every mutant of the files. It reports whether enough of them were killed.
func (t *tester) all(files []string, least float64, verbose bool) (bool, error) {
	var err error
	if t.dir, err = os.MkdirTemp("", "mutate"); err != nil {
		return false, err
	}
	defer os.RemoveAll(t.dir)
	if out, err := t.test(); err != nil {
		return false, fmt.Errorf("the tests fail without a mutant: %w\n%s", err, out)
	}
	total := map[fate]int{}
	for _, file := range files {
		list, err := mutantsOf(file)
		if err != nil {
			return false, err
		}
		count := map[fate]int{}
		for _, m := range list {
			f, err := t.mutant(m)
			if err != nil {
				return false, err
			}
			count[f]++
			total[f]++
			if verbose || f == survived {
				fmt.Printf("%s:%d:%d: %s: %q for %q\n", m.file, m.at.Line, m.at.Column, f, m.new, m.old)
			}
		}
		report(file, count)
	}
	return report("all", total) >= least, nil
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

// mutant tests one mutant.
func (t *tester) mutant(m mutant) (fate, error) {
	text, err := os.ReadFile(m.file)
	if err != nil {
		return "", err
	}
	path, err := filepath.Abs(m.file)
	if err != nil {
		return "", err
	}
	changed, overlay := filepath.Join(t.dir, "changed.go"), filepath.Join(t.dir, "overlay.json")
	replace, err := json.Marshal(map[string]map[string]string{"Replace": {path: changed}})
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(changed, m.apply(text), 0o600); err != nil {
		return "", err
	}
	if err := os.WriteFile(overlay, replace, 0o600); err != nil {
		return "", err
	}
	out, err := t.test("-overlay=" + overlay)
	switch {
	case err == nil:
		return survived, nil
	case bytes.Contains(out, []byte("[build failed]")):
		return notViable, nil
	case bytes.Contains(out, []byte("panic: test timed out")):
		return timedOut, nil
	}
	return killed, nil
}

func (t *tester) test(more ...string) ([]byte, error) {
	args := append(append(append([]string{}, t.args...), more...), t.packages...)
	return exec.Command("go", args...).CombinedOutput()
}
