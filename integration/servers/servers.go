// Package servers starts real database servers for tests: PostgreSQL, MariaDB, Redis, Redis Cluster, a primary with a replica,
// and a Galera cluster. Each has a private loopback port and keeps its data in a temporary folder.
//
// A server belongs to the test that started it. When that test ends, or when the test process dies in any way, the server is
// killed and its folder is removed.
//
// If a server is not installed, the test is skipped. If the environment variable SIGNET_REQUIRE_SERVERS is 1, the test fails
// instead. The package needs Linux. On another system tests are skipped, or fail, in the same way.
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
	// A busy CI machine may need many times as long as a quiet one.
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

// Server is one running database server. It belongs to a test.
//
// Its methods may be called from any goroutine. A method that cannot do its work fails the test of the server with Fatal,
// which ends the calling goroutine.
type Server struct {
	t           testing.TB
	kind        string
	dir         string
	owner       *account
	portOffsets []int // other ports that the server listens on, relative to its port

	// These differ between the kinds of servers. ready is called repeatedly until it returns nil.
	argv    func() []string
	ready   func() error
	url     func() string
	cleanup func()
	sql     func(statements string) error // runs statements as root; only for MariaDB

	mu      sync.Mutex
	port    int
	release func() // gives the reserved ports back
	proc    *process
}

// URL returns the text that the database driver needs: a postgres:// or redis:// URL, or a go-sql-driver DSN for MariaDB.
func (s *Server) URL() string { return s.url() }

// Addr returns the TCP address of the server, 127.0.0.1:PORT. [Server.Kill] and [Server.Start] do not change it.
func (s *Server) Addr() string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port))
}

// Kill kills all processes of the server with SIGKILL, as a power cut would, and returns when they are gone. Unlike a power
// cut, it does not lose what the server has written but not synced, because the system keeps that.
//
// Kill does nothing if the server is down. It also kills a paused server.
func (s *Server) Kill() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.kill(); err != nil {
		s.t.Fatalf("servers: kill %s: %v", s.kind, err)
	}
}

// Start starts a server again after [Server.Kill], with the same data and the same port. It returns when the server accepts
// connections.
func (s *Server) Start() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc.running() {
		s.t.Fatalf("servers: start %s: it is already running", s.kind)
	}
	// The server may also be down because it crashed.
	if err := s.kill(); err != nil {
		s.t.Fatalf("servers: start %s: %v", s.kind, err)
	}
	if err := s.launch(); err != nil {
		s.t.Fatalf("servers: start %s: %v\n%s", s.kind, err, s.logTail())
	}
}

// Pause stops all processes of the server with SIGSTOP, so that the server stalls. The system still completes new TCP
// connections to it. So a client hangs in its first exchange and not when it connects.
//
// Pause does nothing if the server is paused already.
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

// Resume lets a paused server continue. It does nothing if the server is not paused.
func (s *Server) Resume() {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc.running() {
		s.proc.resume()
	}
}

// newServer makes the folder of a server. The folder is directly under /tmp, not under t.TempDir or TMPDIR: the OS user of
// the server must be able to reach it, and the path of a unix socket can have only about 100 bytes.
func newServer(t testing.TB, kind, short string, owner *account) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "signet-"+short+"-")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	s := &Server{t: t, kind: kind, dir: dir, owner: owner}

	// t.Cleanup does not run if the test process is killed, panics or reaches the time limit of go test. The sleep lets the
	// server die before its folder is removed.
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

// begin starts the server for the first time. Only begin may change the port.
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

// tool runs one of the server's own programs to its end, as the OS user of the server. Its error contains the program's
// output.
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

// environment returns the environment of a server. It leaves out nearly everything: a PGPORT, or a HOME with option files,
// must not change what the test runs.
func environment() []string {
	return []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C", "TZ=UTC"}
}

func tail(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-logLines):], "\n")
}

// findProgram also looks in the folders of system programs, because on Debian they are not on the PATH of an ordinary user.
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

// Missing ends a test that needs a program that is not here. The test is skipped, or it fails if the servers are required. So a
// CI run that has tested nothing cannot pass.
func Missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("SIGNET_REQUIRE_SERVERS") == "1" {
		t.Fatalf("%s; required by SIGNET_REQUIRE_SERVERS=1", reason)
	}
	t.Skipf("%s; skipped", reason)
}

// needLinux must be called before anything else is done for a server.
func needLinux(t testing.TB, kind string) {
	t.Helper()
	if !supported {
		Missing(t, kind+" can be started on Linux only")
	}
}

// ownerFor returns the OS user that must run a server, because PostgreSQL refuses to run as root. It returns nil, which
// means the current user, if that user is not root.
func ownerFor(t testing.TB, kind, name string) *account {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	owner, err := lookupAccount(name)
	if err != nil {
		Missing(t, fmt.Sprintf("%s cannot run as root, and there is no OS user %s", kind, name))
	}
	return owner
}
