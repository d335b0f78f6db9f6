// Package kittest is the part that the tests of the conformance kits share.
package kittest

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"runtime"
	"strconv"
	"strings"

	"github.com/signet-go/signet/internal/conformance"
)

// Sentences requires that every constant of the kit's file stands in a comment of one of the sources, word for word.
func Sentences(t conformance.T, kit string, sources ...string) {
	t.Helper()
	var comments strings.Builder
	for _, name := range sources {
		for _, comment := range parse(t, name).Comments {
			comments.WriteString(strings.Join(strings.Fields(comment.Text()), " ") + "\n")
		}
	}
	found := 0
	for _, decl := range parse(t, kit).Decls {
		decl, ok := decl.(*ast.GenDecl)
		if !ok || decl.Tok != token.CONST {
			continue
		}
		for _, spec := range decl.Specs {
			spec := spec.(*ast.ValueSpec)
			for _, value := range spec.Values {
				sentence, ok := text(value)
				if !ok || sentence == "" {
					t.Fatalf("%s: the constant %s is not a text", kit, spec.Names[0])
				}
				if !strings.Contains(comments.String(), sentence) {
					t.Fatalf("%s: the constant %s stands in no comment of %q: %q", kit, spec.Names[0], sources, sentence)
				}
				found++
			}
		}
	}
	if found == 0 {
		t.Fatalf("%s has no constants", kit)
	}
}

func parse(t conformance.T, name string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
	if err != nil {
		t.Fatalf("parse: %v", err)
	}
	return file
}

// text returns the value of a string literal, or of several literals that are joined with +.
func text(value ast.Expr) (sentence string, ok bool) {
	switch value := value.(type) {
	case *ast.BasicLit:
		unquoted, err := strconv.Unquote(value.Value)
		return unquoted, err == nil
	case *ast.BinaryExpr:
		left, leftOK := text(value.X)
		right, rightOK := text(value.Y)
		return left + right, leftOK && rightOK && value.Op == token.ADD
	}
	return "", false
}

// Recorder takes the place of a [testing.T], so that a test can see a check fail.
type Recorder struct {
	failures []string
	cleanups []func()
}

// Failures runs a check and then its cleanups. It returns the messages of those that failed.
func Failures(check func(r *Recorder)) []string {
	r := new(Recorder)
	r.run(func() { check(r) })
	for len(r.cleanups) > 0 {
		last := len(r.cleanups) - 1
		cleanup := r.cleanups[last]
		r.cleanups = r.cleanups[:last]
		r.run(cleanup)
	}
	return r.failures
}

// run runs a step in its own goroutine, because Fatalf ends the goroutine.
func (r *Recorder) run(step func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		step()
	}()
	<-done
}

// Helper does nothing.
func (r *Recorder) Helper() {}

// Cleanup notes a function that runs after the check.
func (r *Recorder) Cleanup(cleanup func()) { r.cleanups = append(r.cleanups, cleanup) }

// Logf does nothing.
func (r *Recorder) Logf(string, ...any) {}

// Fatalf notes the message and ends the check.
func (r *Recorder) Fatalf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
	runtime.Goexit()
}
