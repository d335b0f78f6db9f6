package integration

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/signet-go/signet/integration/servers"
)

// TestNPM runs HTTP clients from npm against the example, and checks the package of client/js with tools from npm.
func TestNPM(t *testing.T) {
	installNPM(t, "npm")
	runNode(t, "npm", "SIGNET_URL="+start(t).url+"/api/v1")
}

// installNPM installs the npm packages of a folder, unless they are there.
func installNPM(t testing.TB, dir string) {
	t.Helper()
	npm, err := exec.LookPath("npm")
	if err != nil {
		servers.Missing(t, "npm is not installed (apt-get install nodejs npm)")
	}
	done, err := os.Stat(filepath.Join(dir, "node_modules", ".package-lock.json"))
	lock, lockErr := os.Stat(filepath.Join(dir, "package-lock.json"))
	if err == nil && lockErr == nil && !done.ModTime().Before(lock.ModTime()) {
		return
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		servers.Missing(t, "npm ci in integration/"+dir+": "+err.Error()+"\n"+string(out))
	}
}
