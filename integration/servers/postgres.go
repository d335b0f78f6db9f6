package servers

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Postgres starts a PostgreSQL server with an empty database signet, owned by
// the role signet, which is no superuser. Every role, the superuser postgres
// too, may connect from loopback without a password.
func Postgres(t testing.TB) *Server {
	t.Helper()
	const kind = "PostgreSQL"
	needLinux(t, kind)
	bin, ok := findPostgres()
	if !ok {
		missing(t, kind+" is not installed (apt-get install postgresql)")
	}
	s := newServer(t, kind, "pg", ownerFor(t, kind, "postgres"))
	data := filepath.Join(s.dir, "data")

	// A killed server leaves a segment of shared memory, which the next start
	// on the same folder would remove. Here there is none. It has a few bytes,
	// so that a system without ipcrm is not worth an error.
	s.cleanup = func() {
		if id, ok := postgresSharedMemory(data); ok {
			_ = s.tool("ipcrm", "-m", id)
		}
	}
	s.url = func() string {
		return fmt.Sprintf("postgres://signet@%s/signet?sslmode=disable", s.Addr())
	}
	s.argv = func() []string {
		return []string{
			filepath.Join(bin, "postgres"), "-D", data,
			"-p", strconv.Itoa(s.port),
			"-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=" + s.dir,
			"-c", "max_connections=200",
			"-c", "shared_buffers=32MB",
			"-c", "fsync=on",
			"-c", "synchronous_commit=on",
			"-c", "full_page_writes=on",
			// The default would leave files in /dev/shm after a kill.
			"-c", "dynamic_shared_memory_type=mmap",
		}
	}
	// The socket in the folder is surely this server's; a port might not be.
	// It is made after the TCP port is open.
	s.ready = func() error {
		return s.tool(filepath.Join(bin, "pg_isready"), "-q", "-t", "5",
			"-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", "postgres")
	}

	// --no-sync: a server is killed here, but the system never is.
	err := s.tool(filepath.Join(bin, "initdb"), "-D", data, "-U", "postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	s.begin()
	err = s.tool(filepath.Join(bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1",
		"-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", "postgres",
		"-c", "CREATE ROLE signet LOGIN", "-c", "CREATE DATABASE signet OWNER signet")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	return s
}

// findPostgres returns the folder with the programs of PostgreSQL. Debian
// keeps it off the PATH, and puts wrappers for some of the programs there, so
// all programs are taken from the one folder that has them.
func findPostgres() (dir string, ok bool) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil && hasPostgres(filepath.Dir(path)) {
			return filepath.Dir(path), true
		}
	}
	dirs, _ := filepath.Glob(postgresDirs)
	best := -1.0
	for _, d := range dirs {
		version, err := strconv.ParseFloat(filepath.Base(filepath.Dir(d)), 64)
		if err == nil && version > best && hasPostgres(d) {
			best, dir = version, d
		}
	}
	return dir, dir != ""
}

// postgresDirs is where Debian has each version, as VERSION/bin.
var postgresDirs = "/usr/lib/postgresql/*/bin"

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_isready", "psql"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// postgresSharedMemory reads the number of the server's segment: the second
// word of line 7 of postmaster.pid.
func postgresSharedMemory(data string) (id string, ok bool) {
	text, err := os.ReadFile(filepath.Join(data, "postmaster.pid"))
	if err != nil {
		return "", false
	}
	lines := strings.Split(string(text), "\n")
	if len(lines) < 7 {
		return "", false
	}
	words := strings.Fields(lines[6])
	if len(words) != 2 {
		return "", false
	}
	return words[1], true
}
