package integrations

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A line of a snippet must be a line of an example, so that what is read is what is tested.
func TestTheSnippetsOfTheREADMEAreInTheExamples(t *testing.T) {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	known := map[string]bool{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		for line := range strings.Lines(string(text)) {
			known[strings.TrimSpace(line)] = true
		}
	}
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	snippet, lines := false, 0
	for line := range strings.Lines(string(readme)) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "```"):
			snippet = line == "```go"
		case snippet:
			require.True(t, known[line], "no example has the line %q", line)
			lines++
		}
	}
	require.Greater(t, lines, 40)
}
