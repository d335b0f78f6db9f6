// Package servers starts real database servers for tests: PostgreSQL,
// MariaDB, Redis and Redis Cluster, each on a private loopback port with its
// data in a temporary folder.
//
// A server belongs to the test that started it. It is killed, and its folder
// removed, when that test ends, or when the test process dies in any way.
//
// A server that is not installed skips the test, unless the environment
// variable SIGNET_REQUIRE_SERVERS is 1: then the test fails. The package
// needs Linux; on another system it skips (or fails) in the same way.
package servers

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	// A loaded CI machine may need many times what a quiet one does.
	startLimit = 60 * time.Second
	toolLimit  = 120 * time.Second
	pollEvery  = 20 * time.Millisecond

	portAttempts = 5
	logLines     = 50
)

var (
	errPortTaken = errors.New("the port is taken")
	errExited    = errors.New("the server exited")
)

// Server is one running database server, owned by a test.
//
// Its methods may be called from any goroutine. A method that cannot do its
// work fails the owning test with Fatal, which ends the calling goroutine.
type Server struct {
	t           testing.TB
	kind        string
	dir         string
	owner       *account
	portOffsets []int // what else the server listens on, relative to its port

	// These differ between kinds of server. ready is asked again and again
	// until it returns nil.
	argv    func() []string
	ready   func() error
	url     func() string
	cleanup func()

	mu      sync.Mutex
	port    int
	release func() // gives the reserved ports back
	proc    *process
}

// URL returns what the database driver takes: a postgres:// or redis:// URL,
// or a go-sql-driver DSN for MariaDB.
func (s *Server) URL() string { return s.url() }

// Addr returns the TCP address of the server, 127.0.0.1:PORT. It stays the
// same through Kill and Start.
func (s *Server) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Kill kills all processes of the server with SIGKILL, as a power cut would,
// and returns when they are gone. Unlike a power cut it leaves what the
// server wrote but did not sync, because the system keeps that.
//
// Kill of a server that is down does nothing; a paused server is killed too.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		s.t.Fatalf("servers: kill %s: %v", s.kind, err)
	}
}

// Start starts a server again after Kill, with the same data and port, and
// returns when it accepts connections.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc.running() {
		s.t.Fatalf("servers: start %s: it is already running", s.kind)
	}
	// A server may also be down because it crashed.
	if err := s.kill(); err != nil {
		s.t.Fatalf("servers: start %s: %v", s.kind, err)
	}
	if err := s.launch(); err != nil {
		s.t.Fatalf("servers: start %s: %v\n%s", s.kind, err, s.logTail())
	}
}

// Pause stops all processes of the server with SIGSTOP: the server stalls.
// The system still completes new TCP connections to it, so a client hangs in
// its first exchange rather than in its dial.
//
// Pause of a paused server does nothing.
func (s *Server) Pause() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.proc.running() {
		s.t.Fatalf("servers: pause %s: it is not running", s.kind)
	}
	if err := s.proc.pause(); err != nil {
		s.t.Fatalf("servers: pause %s: %v", s.kind, err)
	}
}

// Resume lets a paused server go on. It does nothing when the server is not
// paused.
func (s *Server) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc.running() {
		s.proc.resume()
	}
}

// newServer makes the folder of a server. The folder is directly under /tmp,
// not under t.TempDir or TMPDIR: the server's own OS user must be able to
// reach it, and the path of a unix socket may have about 100 bytes only.
func newServer(t testing.TB, kind, short string, owner *account) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "signet-"+short+"-")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	s := &Server{t: t, kind: kind, dir: dir, owner: owner}

	// t.Cleanup does not run when the test process is killed, panics or
	// meets the time limit of go test. The sleep lets the server die first.
	disarm, err := atDeath(`sleep 1; rm -rf -- "$1"`, dir)
	if err != nil {
		disarm = func() {}
		t.Errorf("servers: %v", err)
	}
	t.Cleanup(func() {
		s.close()
		disarm()
	})
	if owner != nil {
		if err := os.Chown(dir, owner.uid, owner.gid); err != nil {
			t.Fatalf("servers: %v", err)
		}
	}
	return s
}

// begin is the first start. Only here may the port change.
func (s *Server) begin() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for attempt := 1; ; attempt++ {
		port, release, err := reservePorts(s.portOffsets)
		if err != nil {
			s.t.Fatalf("servers: find a free port for %s: %v", s.kind, err)
		}
		s.port, s.release = port, release
		err = s.launch()
		if err == nil {
			return
		}
		if attempt == portAttempts || !errors.Is(err, errPortTaken) {
			s.t.Fatalf("servers: start %s: %v\n%s", s.kind, err, s.logTail())
		}
		s.release()
		s.release = nil
	}
}

func (s *Server) launch() error {
	log, err := os.Create(s.logFile())
	if err != nil {
		return err
	}
	defer log.Close()

	argv := s.argv()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Dir = s.dir
	cmd.Env = environment()
	cmd.Stdout = log
	cmd.Stderr = log
	proc, err := startProcess(cmd, s.owner)
	if err != nil {
		return err
	}
	s.proc = proc
	err = s.waitReady()
	if err != nil {
		return errors.Join(err, s.kill())
	}
	return nil
}

func (s *Server) waitReady() error {
	var last error
	for limit := time.Now().Add(startLimit); time.Now().Before(limit); time.Sleep(pollEvery) {
		last = s.ready()
		if !s.proc.running() {
			if strings.Contains(s.logTail(), "ddress already in use") {
				return errPortTaken
			}
			return errExited
		}
		if last == nil {
			return nil
		}
	}
	return fmt.Errorf("not ready after %v: %w", startLimit, last)
}

func (s *Server) kill() error {
	if s.proc == nil {
		return nil
	}
	err := s.proc.kill()
	s.proc = nil
	return err
}

func (s *Server) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		s.t.Errorf("servers: kill %s: %v", s.kind, err)
	}
	if s.cleanup != nil {
		s.cleanup()
	}
	if s.release != nil {
		s.release()
	}
	if err := os.RemoveAll(s.dir); err != nil {
		s.t.Errorf("servers: %v", err)
	}
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "server.log") }

func (s *Server) logTail() string {
	log, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return tail(log)
}

// tool runs one of the server's own programs to its end, as the server's OS
// user. Its output is part of the error.
func (s *Server) tool(argv ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), toolLimit)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	cmd.Dir = s.dir
	cmd.Env = environment()
	cmd.Stdout = &out
	cmd.Stderr = &out
	proc, err := startProcess(cmd, s.owner)
	if err != nil {
		return err
	}
	if err := proc.wait(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(argv[0]), err, tail(out.Bytes()))
	}
	return nil
}

// environment is all a server sees of the caller's: a PGPORT or a HOME with
// option files must not change what the test runs.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func tail(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}

// findProgram looks in the folders of system programs too, because they are
// not on the PATH of an ordinary user on Debian.
func findProgram(name string) (string, bool) {
	if path, err := exec.LookPath(name); err == nil {
		return path, true
	}
	for _, dir := range systemDirs {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, true
		}
	}
	return "", false
}

var systemDirs = []string{"/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"}

// missing ends the test: skipped, or failed when the servers are required,
// so that a CI run cannot pass by having tested nothing.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("SIGNET_REQUIRE_SERVERS") == "1" {
		t.Fatalf("servers: %s; required by SIGNET_REQUIRE_SERVERS=1", reason)
	}
	t.Skipf("servers: %s; skipped", reason)
}

// needLinux is asked before anything else is done for a server.
func needLinux(t testing.TB, kind string) {
	t.Helper()
	if !supported {
		missing(t, kind+" can be started on Linux only")
	}
}

// ownerFor returns whom to run a server as: PostgreSQL refuses root. It is
// nil, for the present user, when that is not root.
func ownerFor(t testing.TB, kind, name string) *account {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := lookupAccount(name)
	if err != nil {
		missing(t, fmt.Sprintf("%s cannot run as root, and there is no OS user %s", kind, name))
	}
	return owner
}
