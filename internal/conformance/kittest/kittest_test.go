package kittest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/conformance/kittest"
)

func TestSentences(t *testing.T) {
	for _, tc := range []struct{ name, kit, source, want string }{
		{"one", `const a = "Find finds it."`, "// Find finds it.", ""},
		{"over two lines", `const a = "Find finds it, or not."`, "// Find\n// finds it,\n// or not. And so on.", ""},
		{"a sum", `const a = "Find " + "finds it."`, "// Find finds it.", ""},
		{"not there", `const a = "Find finds it."`, "// Find found it.", "stands in no comment"},
		{"only in code", `const a = "Find finds it."`, `const b = "Find finds it."`, "stands in no comment"},
		{"from two comments", `const a = "Find finds it."`, "// Find\n\n// finds it.", "stands in no comment"},
		{"the second", "const (\n\ta = \"Find\"\n\tb = \"Lose\"\n)", "// Find finds it.", "stands in no comment"},
		{"empty", `const a = ""`, "// Find finds it.", "is not a text"},
		{"a number", `const a = 1`, "// Find finds it. 1", "is not a text"},
		{"no constants", "var a = 1", "// Find finds it.", "has no constants"},
		{"not Go", "const", "// Find finds it.", "parse"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			kit, source := filepath.Join(t.TempDir(), "kit.go"), filepath.Join(t.TempDir(), "source.go")
			require.NoError(t, os.WriteFile(kit, []byte("package kit\n\n"+tc.kit+"\n"), 0o600))
			require.NoError(t, os.WriteFile(source, []byte("package source\n\n"+tc.source+"\n"), 0o600))
			failures := kittest.Failures(func(r *kittest.Recorder) { kittest.Sentences(r, kit, source) })
			if tc.want == "" {
				require.Empty(t, failures)
				return
			}
			require.Len(t, failures, 1)
			require.Contains(t, failures[0], tc.want)
		})
	}
}

func TestFailures(t *testing.T) {
	var order []string
	failures := kittest.Failures(func(r *kittest.Recorder) {
		r.Cleanup(func() { order = append(order, "first") })
		r.Cleanup(func() {
			r.Fatalf("cleanup %d", 1)
			order = append(order, "never")
		})
		r.Cleanup(func() { order = append(order, "last") })
		r.Fatalf("check %d", 1)
		order = append(order, "never")
	})
	require.Equal(t, []string{"check 1", "cleanup 1"}, failures)
	require.Equal(t, []string{"last", "first"}, order)
}
