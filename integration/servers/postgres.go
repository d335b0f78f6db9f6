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

// Postgres starts a PostgreSQL server. The server has an empty database signet, which belongs to the role signet. That role
// is not a superuser. Every role, even the superuser postgres, may connect from loopback without a password.
func Postgres(t testing.TB) *Server {
	t.Helper()
	s, bin := newPostgres(t)
	// --no-sync is safe here: the tests kill servers, but never the system.
	err := s.tool(filepath.Join(bin, "initdb"), "-D", filepath.Join(s.dir, "data"), "-U", "postgres",
		"--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	s.begin()
	if err := s.psql(bin, "CREATE ROLE signet LOGIN", "CREATE DATABASE signet OWNER signet"); err != nil {
		t.Fatalf("servers: %v", err)
	}
	return s
}

// newPostgres makes a server without data. It also returns the folder with the programs of PostgreSQL.
func newPostgres(t testing.TB) (s *Server, bin string) {
	t.Helper()
	const kind = "PostgreSQL"
	needLinux(t, kind)
	bin, ok := findPostgres()
	if !ok {
		Missing(t, kind+" is not installed (apt-get install postgresql)")
	}
	s = newServer(t, kind, "pg", ownerFor(t, kind, "postgres"))
	data := filepath.Join(s.dir, "data")

	// A killed server leaves a segment of shared memory. The next start on the same folder would remove it, but here there
	// is no next start. The segment has only a few bytes, so it is no error if the system has no ipcrm.
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
	// The socket in the folder certainly belongs to this server, but a port might belong to another one. The server makes
	// the socket after it opens the TCP port.
	s.ready = func() error {
		return s.tool(filepath.Join(bin, "pg_isready"), "-q", "-t", "5",
			"-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", "postgres")
	}
	return s, bin
}

// psql runs statements as the superuser.
func (s *Server) psql(bin string, statements ...string) error {
	argv := []string{filepath.Join(bin, "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1",
		"-h", s.dir, "-p", strconv.Itoa(s.port), "-U", "postgres", "-d", "postgres"}
	for _, statement := range statements {
		argv = append(argv, "-c", statement)
	}
	return s.tool(argv...)
}

// findPostgres returns the folder with the programs of PostgreSQL. On Debian this folder is not on the PATH, and the PATH
// has wrappers for some of the programs. So all programs must come from the one folder that has them all.
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

// postgresDirs is where Debian keeps the versions, as VERSION/bin.
var postgresDirs = "/usr/lib/postgresql/*/bin"

func hasPostgres(dir string) bool {
	for _, name := range []string{"initdb", "postgres", "pg_isready", "psql", "pg_basebackup"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// postgresSharedMemory reads the number of the server's shared memory segment. It is the second word of line 7 of
// postmaster.pid.
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
