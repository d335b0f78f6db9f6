// Package integration tests signet with real servers and between real processes. The processes run the example program,
// which is built from this workspace, on PostgreSQL, MariaDB, SQLite, Redis and Redis Cluster. A test is skipped if its
// server is not installed.
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

// workspace is the folder for the example's binary during this test run.
var workspace string

func TestMain(m *testing.M) {
	if at := os.Getenv(guardedPlace); at != "" {
		if err := serveGuarded(at); err != nil {
			log.Fatal(err)
		}
		return
	}
	dir, err := os.MkdirTemp("", "signet-integration")
	if err != nil {
		panic(err)
	}
	workspace = dir
	logging.Disable() // the drivers log every connection that a fault breaks
	mysql.SetLogger(log.New(io.Discard, "", 0))
	code := m.Run()
	os.RemoveAll(dir)
	results.print(os.Stdout)
	os.Exit(code)
}

// buildExample builds the example once, when the first test asks for it. Benchmarks do not need it.
var buildExample = sync.OnceValues(func() (string, error) {
	binary := filepath.Join(workspace, "example")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Dir = filepath.Join("..", "example")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the example: %w\n%s", err, out)
	}
	return binary, nil
})
