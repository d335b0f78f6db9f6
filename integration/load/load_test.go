// Package load puts a mixed load on the example with PostgreSQL, and writes what was measured.
//
//	go test ./integration/load/ -load 5m -md docs/load.md -svg docs/load.svg
//
// Without flags it is a test of two seconds.
package load

import (
	"bufio"
	"database/sql"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/userstore"
)

var (
	length   = flag.Duration("load", 2*time.Second, "how long the load lasts")
	users    = flag.Int("users", 0, "how many users log in; 0: 10, or 150 for a load of a minute and more")
	markdown = flag.String("md", "", "where to write the report; relative to the repository")
	drawing  = flag.String("svg", "", "where to write the plot; relative to the repository")
)

// root is the repository, seen from this package.
const root = "../.."

// TestLoad fails if a single request has another answer than the right one.
func TestLoad(t *testing.T) {
	if *users == 0 {
		*users = 10
		if *length >= time.Minute {
			*users = 150
		}
	}
	server := servers.Postgres(t)
	addUsers(t, server.URL(), *users)
	traffic := newTraffic(t, startExample(t, "-db", server.URL()), *users)
	t.Logf("%d users have logged in", *users)
	results := traffic.run(*length)
	r := newReport(results, *length, *users)
	t.Log("\n" + r.table())
	for _, s := range r.series {
		require.NotZero(t, s.metrics.Requests, s.name)
	}
	if *markdown != "" {
		require.NoError(t, os.WriteFile(filepath.Join(root, *markdown), []byte(r.markdown()), 0o644))
	}
	if *drawing != "" {
		svg, err := r.draw()
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(root, *drawing), svg, 0o644))
	}
	require.Empty(t, r.failures())
}

// passwordOf is the password of all users of the load.
const passwordOf = "correct horse battery"

func emailOf(user int) string { return fmt.Sprintf("user%d@mail.com", user) }

// addUsers adds users that all have the same hash, which saves time.
func addUsers(t testing.TB, url string, count int) {
	db, err := sql.Open("pgx", url)
	require.NoError(t, err)
	defer db.Close()
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.PostgreSQL))
	store, err := sqlstore.NewUsers(db, sqlstore.PostgreSQL)
	require.NoError(t, err)
	hash, err := password.Hash(passwordOf)
	require.NoError(t, err)
	for i := range count {
		user := userstore.User{ID: fmt.Sprint(1000 + i), Email: emailOf(i), PasswordHash: hash, Roles: []string{"customer"}}
		require.NoError(t, store.Add(t.Context(), user))
	}
}

// startExample builds and starts the example, and returns its URL.
func startExample(t testing.TB, args ...string) string {
	binary := filepath.Join(t.TempDir(), "example")
	build := exec.Command("go", "build", "-o", binary, ".")
	build.Dir = filepath.Join(root, "example")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Stderr = new(strings.Builder)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	disarm, err := servers.KillAtDeath(cmd.Process.Pid)
	require.NoError(t, err)
	lines := bufio.NewScanner(stdout)
	lines.Scan()
	first := lines.Text()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
		}
	}()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		err := cmd.Wait()
		disarm()
		log := cmd.Stderr.(*strings.Builder).String()
		if err != nil || strings.Contains(log, "level=ERROR") || strings.Contains(log, "panic") {
			t.Errorf("the example ended with %v; log: %.2000s", err, log)
		}
	})
	url, ok := strings.CutPrefix(first, "listening on ")
	require.True(t, ok, "the example did not start: %q", first)
	return url
}
