package signet_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// walls says which packages of this module a package may import. Arrows point only down. No internal package knows the root.
var walls = map[string][]string{
	"":                             {"event", "feed", "internal/clientip", "internal/flight", "internal/gate", "internal/isnil", "internal/issued", "internal/jws", "internal/limit", "internal/revoked", "internal/rotation", "internal/scratch", "internal/seldom", "internal/sessions", "internal/strictjson", "internal/turns", "keys", "password", "session", "throttle", "userstore"},
	"client":                       {},
	"client/js":                    {},
	"event":                        {},
	"feed":                         {"internal/flight", "internal/isnil", "internal/jws", "internal/limit", "internal/revoked", "internal/safeurl", "internal/seldom", "internal/strictjson", "keys", "session"},
	"keys":                         {"internal/isnil", "internal/safeurl", "internal/strictjson"},
	"password":                     {},
	"session":                      {"internal/strictjson"},
	"session/sessiontest":          {"internal/conformance", "internal/rotation", "session"},
	"throttle":                     {"internal/clientip", "internal/isnil", "internal/limit"},
	"throttle/throttletest":        {"internal/conformance", "throttle"},
	"userstore":                    {},
	"userstore/storetest":          {"internal/conformance", "userstore"},
	"signettest":                   {"", "internal/issued", "internal/jws", "keys", "password", "session", "userstore"},
	"sqlstore":                     {"session", "userstore", "throttle"},
	"internal/clientip":            {},
	"internal/conformance":         {},
	"internal/conformance/kittest": {"internal/conformance"},
	"internal/flight":              {},
	"internal/gate":                {"password"},
	"internal/isnil":               {},
	"internal/issued":              {},
	"internal/jws":                 {"internal/strictjson", "keys"},
	"internal/limit":               {},
	"internal/rotation":            {"session"},
	"internal/revoked":             {"internal/flight", "internal/limit", "internal/seldom", "session"},
	"internal/safeurl":             {},
	"internal/scratch":             {},
	"internal/seldom":              {},
	"internal/sessions":            {"internal/limit", "internal/revoked", "internal/rotation", "session"},
	"internal/strictjson":          {},
	"internal/turns":               {},
}

const module = "github.com/signet-go/signet"

// TestWalls checks who imports whom. Only package keys knows jwx. Nothing that only tests need reaches a user.
func TestWalls(t *testing.T) {
	outside := map[string]string{"github.com/lestrrat-go/jwx": "keys", "golang.org/x/crypto": "password", "golang.org/x/text": "userstore"}
	seen := map[string]bool{}
	for _, line := range goList(t, "{{.ImportPath}}{{range .Imports}},{{.}}{{end}}", "./...") {
		list := strings.Split(line, ",")
		pkg := strings.TrimPrefix(strings.TrimPrefix(list[0], module), "/")
		allowed, known := walls[pkg]
		require.True(t, known, "package %q is new: say in this test what it may import", pkg)
		seen[pkg] = true
		for _, imported := range list[1:] {
			if inside, ok := strings.CutPrefix(imported, module+"/"); ok {
				require.Contains(t, allowed, inside, "package %q imports %q", pkg, inside)
				continue
			}
			if imported == module {
				require.Contains(t, allowed, "", "package %q imports the root", pkg)
			}
			for prefix, owner := range outside {
				if strings.HasPrefix(imported, prefix) && !(prefix == "golang.org/x/text" && (pkg == "password" || strings.HasSuffix(pkg, "test"))) {
					require.Equal(t, owner, pkg, "package %q imports %q", pkg, imported)
				}
			}
			require.False(t, strings.Contains(imported, "testify"), "package %q imports testify", pkg)
			if imported == "testing" {
				require.True(t, strings.HasSuffix(pkg, "test"), "package %q imports testing", pkg)
			}
		}
	}
	for pkg := range walls {
		require.True(t, seen[pkg], "package %q is gone", pkg)
	}
}

// A nested module uses the version of this module that its go.mod names. If it imported an internal package, that package
// would be a promise.
func TestNestedModulesImportNoInternalPackage(t *testing.T) {
	var files []string
	for _, pattern := range []string{"*/go.mod", "*/*/go.mod"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		require.NotEmpty(t, found)
		files = append(files, found...)
	}
	for _, file := range files {
		cmd := exec.Command("go", "list", "-test", "-f", "{{range .Imports}}{{.}} {{end}}", "./...")
		cmd.Dir = filepath.Dir(file)
		out, err := cmd.Output()
		require.NoError(t, err, file)
		for imported := range strings.FieldsSeq(string(out)) {
			require.False(t, strings.HasPrefix(imported, module+"/internal/"), "%s: imports %s", file, imported)
		}
	}
}

// TestTheSizeOfTheAPI counts the functions and methods that go doc -all shows. Each of them is a promise for years.
func TestTheSizeOfTheAPI(t *testing.T) {
	out, err := exec.Command("go", "doc", "-all", ".").Output()
	require.NoError(t, err)
	names := 0
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "func ") {
			names++
		}
	}
	require.Greater(t, names, 50)
	require.LessOrEqual(t, names, 92, "the root has more functions and methods than agreed: can this one be a field, or be elsewhere?")
}

// TestDependencies checks the list of modules that a user of the shipped packages gets. A new module needs a reason, which
// is written beside it in testdata/dependencies.txt.
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
		if !strings.HasSuffix(pkg, "test") { // all but the conformance kits, which only tests import
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
