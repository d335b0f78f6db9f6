// Package integration tests signet against real servers and between real processes: the example program, built from
// this workspace, on PostgreSQL, MariaDB, SQLite, Redis and Redis Cluster. Tests skip where a server is not installed.
package integration

import (
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/redis/go-redis/v9/logging"
)

// workspace is where the example's binary goes, for the run of this test process.
var workspace string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "signet-integration")
	if err != nil {
		panic(err)
	}
	workspace = dir
	logging.Disable() // the drivers tell of every connection that a fault breaks
	mysql.SetLogger(log.New(io.Discard, "", 0))
	code := m.Run()
	os.RemoveAll(dir)
	results.print(os.Stdout)
	os.Exit(code)
}

// buildExample builds the example once, for the first test that asks: benchmarks need none.
var buildExample = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(workspace, "example")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", "example")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the example: %w\n%s", err, out)
	}
	return binary, nil
})
