package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// tester builds and runs tests.
type tester struct {
	packages []string
	tests    []string // flags of the test binaries
	dir      string   // for the changed files and the binaries
	binaries []binary // with all mutants that are not alone
}

// binary is the tests of one package.
type binary struct{ path, dir string }

// prepare builds the tests with all mutants. A mutant that does not compile among the others is tested alone. Without a mutant
// the tests must pass.
func (t *tester) prepare(sources []*source) error {
	for {
		replace := map[string]string{}
		for _, s := range sources {
			replace[s.path] = s.all()
			replace[filepath.Join(filepath.Dir(s.path), "mutate_support.go")] = fmt.Sprintf(support, s.pkg)
		}
		var out []byte
		var err error
		if t.binaries, out, err = t.build(replace); err == nil {
			break
		}
		if !isolate(sources, out) {
			return fmt.Errorf("build the tests: %w\n%s", err, out)
		}
	}
	if out, err := t.run(t.binaries, 0); err != nil {
		return fmt.Errorf("the tests fail without a mutant: %w\n%s", err, out)
	}
	return nil
}

// compileError is the place of an error. It has no column if the line is very long.
var compileError = regexp.MustCompile(`(?m)^(\S+\.go):(\d+)(?::\d+)?: `)

// isolate takes the mutants out that stand on the lines of compile errors: first those that compute values. It reports
// whether there were any.
func isolate(sources []*source, out []byte) bool {
	found := false
	for _, match := range compileError.FindAllSubmatch(out, -1) {
		line, _ := strconv.Atoi(string(match[2]))
		for _, onlyValues := range []bool{true, false} {
			here := false
			for _, s := range sources {
				for _, m := range s.mutants {
					first := 1 + strings.Count(s.text[:m.start], "\n")
					last := first + strings.Count(m.old, "\n")
					if filepath.Base(s.path) == filepath.Base(string(match[1])) && first <= line && line <= last && !m.alone &&
						(m.kind == value || !onlyValues) {
						m.alone, here = true, true
					}
				}
			}
			if found = found || here; here {
				break
			}
		}
	}
	return found
}

// build builds the tests of the packages with other texts for some files.
func (t *tester) build(replace map[string]string) ([]binary, []byte, error) {
	dir, err := os.MkdirTemp(t.dir, "build")
	if err != nil {
		return nil, nil, err
	}
	paths := map[string]string{}
	for path, text := range replace {
		whole, err := filepath.Abs(path)
		if err != nil {
			return nil, nil, err
		}
		changed := filepath.Join(dir, strconv.Itoa(len(paths)), filepath.Base(path)) // compile errors show this name
		if err := os.Mkdir(filepath.Dir(changed), 0o700); err != nil {
			return nil, nil, err
		}
		if err := os.WriteFile(changed, []byte(text), 0o600); err != nil {
			return nil, nil, err
		}
		paths[whole] = changed
	}
	overlay, err := json.Marshal(map[string]any{"Replace": paths})
	if err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
		return nil, nil, err
	}
	var list []binary
	for i, p := range t.packages {
		b := binary{path: filepath.Join(dir, strconv.Itoa(i)+".test")}
		out, err := exec.Command("go", "test", "-c", "-vet=off", "-gcflags=-e", "-ldflags=-s -w", "-overlay="+filepath.Join(dir, "overlay.json"),
			"-o", b.path, p).CombinedOutput()
		if err != nil {
			return nil, out, err
		}
		where, err := exec.Command("go", "list", "-f", "{{.Dir}}", p).Output()
		if err != nil {
			return nil, nil, err
		}
		b.dir = strings.TrimSpace(string(where))
		list = append(list, b)
	}
	return list, nil, nil
}

// mutant tests one mutant.
func (t *tester) mutant(s *source, m *mutant) (fate, error) {
	binaries, id := t.binaries, m.id
	if m.alone {
		built, out, err := t.build(map[string]string{s.path: s.text[:m.start] + m.new + s.text[m.end:]})
		if err != nil && compileError.Match(out) {
			return notViable, nil
		}
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		binaries, id = built, 0
	}
	out, err := t.run(binaries, id)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return survived, nil
	case !errors.As(err, &exit):
		return "", err
	case bytes.Contains(out, []byte("panic: test timed out")):
		return timedOut, nil
	}
	return killed, nil
}

// run runs the tests with one mutant. They end at the first failure.
func (t *tester) run(binaries []binary, id int) ([]byte, error) {
	for _, b := range binaries {
		cmd := exec.Command(b.path, t.tests...)
		cmd.Dir, cmd.Env = b.dir, append(os.Environ(), "MUTATE="+strconv.Itoa(id))
		if out, err := cmd.CombinedOutput(); err != nil {
			return out, err
		}
	}
	return nil, nil
}
