package signet_test

import (
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDependencies holds the list of modules that a user of the shipped packages gets. A new one needs a reason, written
// beside it in testdata/dependencies.txt.
func TestDependencies(t *testing.T) {
	golden, err := os.ReadFile("testdata/dependencies.txt")
	require.NoError(t, err)
	var want []string
	for line := range strings.Lines(string(golden)) {
		if module, _, _ := strings.Cut(line, "#"); strings.TrimSpace(module) != "" {
			want = append(want, strings.TrimSpace(module))
		}
	}
	var shipped []string
	for _, pkg := range goList(t, "{{.ImportPath}}", "./...") {
		if !strings.HasSuffix(pkg, "test") { // the conformance kits, which only tests import
			shipped = append(shipped, pkg)
		}
	}
	seen := map[string]bool{"github.com/signet-go/signet": true}
	var got []string
	for _, module := range goList(t, "{{with .Module}}{{.Path}}{{end}}", append([]string{"-deps"}, shipped...)...) {
		if !seen[module] {
			seen[module] = true
			got = append(got, module)
		}
	}
	require.ElementsMatch(t, want, got)
}

func goList(t *testing.T, format string, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-f", format}, args...)...)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	out, err := cmd.Output()
	require.NoError(t, err)
	return strings.Fields(string(out))
}
