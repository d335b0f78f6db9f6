//go:build linux

package servers

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// client is the command-line client of a database, and how to talk to one server with it.
type client struct {
	start func(testing.TB) *Server
	argv  func(t testing.TB, s *Server) []string // the statement comes last

	ping  string
	pong  string
	write string
	read  string
}

var clients = map[string]client{
	"PostgreSQL": {
		start: Postgres,
		argv: func(t testing.TB, s *Server) []string {
			bin, ok := findPostgres()
			if !ok {
				t.Fatal("no psql")
			}
			return []string{filepath.Join(bin, "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", s.URL(), "-c"}
		},
		ping:  "SELECT 41+1",
		pong:  "42",
		write: "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')",
		read:  "SELECT word FROM kept",
	},
	"MariaDB": {
		start: func(t testing.TB) *Server { return MariaDB(t) },
		argv: func(_ testing.TB, s *Server) []string {
			host, port, _ := net.SplitHostPort(s.Addr())
			return []string{"mariadb", "--no-defaults", "--protocol=tcp", "--host=" + host, "--port=" + port,
				"--user=signet", "--password=signet", "--skip-column-names", "--batch", "signet", "--execute"}
		},
		ping:  "SELECT 41+1",
		pong:  "42",
		write: "CREATE TABLE kept (word text); INSERT INTO kept VALUES ('still here')",
		read:  "SELECT word FROM kept",
	},
	"Redis": {
		start: func(t testing.TB) *Server { return Redis(t) },
		argv: func(_ testing.TB, s *Server) []string {
			return []string{"sh", "-c", `redis-cli -u "$0" $1`, s.URL()}
		},
		ping:  "PING",
		pong:  "PONG",
		write: "SET kept still-here",
		read:  "GET kept",
	},
}

func (c client) ask(t testing.TB, s *Server, statement string, limit time.Duration) (string, error) {
	t.Helper()
	return runClient(limit, append(c.argv(t, s), statement)...)
}

func runClient(limit time.Duration, argv ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		err = ctx.Err()
	}
	return strings.TrimSpace(string(out)), err
}

func (c client) mustAsk(t testing.TB, s *Server, statement string) string {
	t.Helper()
	out, err := c.ask(t, s, statement, 20*time.Second)
	if err != nil {
		t.Fatalf("%s: %v: %s", statement, err, out)
	}
	return out
}

func TestServers(t *testing.T) {
	for name, c := range clients {
		t.Run(name, func(t *testing.T) {
			began := time.Now()
			s := c.start(t)
			t.Logf("first start: %v", time.Since(began).Round(time.Millisecond))
			if !strings.HasPrefix(s.Addr(), "127.0.0.1:") {
				t.Errorf("address %s is not on loopback", s.Addr())
			}
			if got := c.mustAsk(t, s, c.ping); got != c.pong {
				t.Fatalf("%s: got %q, want %q", c.ping, got, c.pong)
			}
			c.mustAsk(t, s, c.write)
			kept := c.mustAsk(t, s, c.read)

			for round := range 3 {
				url := s.URL()
				root := s.proc.pid()
				tree, err := descendants(root)
				if err != nil || len(tree) == 0 {
					t.Fatalf("processes of the server: %v, %v", tree, err)
				}
				began = time.Now()
				s.Kill()
				t.Logf("kill of %d processes: %v", len(tree), time.Since(began).Round(time.Millisecond))
				for _, p := range tree {
					if stat, ok := readStat(p.pid); ok && stat.state != 'Z' {
						t.Errorf("process %d is left, in state %c", p.pid, stat.state)
					}
				}
				if conn, err := net.DialTimeout("tcp", s.Addr(), time.Second); err == nil {
					conn.Close()
					t.Error("the port is open after Kill")
				}
				s.Kill()

				began = time.Now()
				s.Start()
				t.Logf("start %d after kill: %v", round+1, time.Since(began).Round(time.Millisecond))
				if s.URL() != url {
					t.Errorf("the URL was %s, is %s", url, s.URL())
				}
				if got := c.mustAsk(t, s, c.read); got != kept {
					t.Errorf("after kill: got %q, want %q", got, kept)
				}
			}

			s.Pause()
			s.Pause()
			if out, err := c.ask(t, s, c.ping, 700*time.Millisecond); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the paused server answered: %q, %v", out, err)
			}
			s.Resume()
			s.Resume()
			if got := c.mustAsk(t, s, c.read); got != kept {
				t.Errorf("after pause: got %q, want %q", got, kept)
			}

			s.Pause()
			s.Kill()
			s.Start()
			if got := c.mustAsk(t, s, c.read); got != kept {
				t.Errorf("after kill of the paused server: got %q, want %q", got, kept)
			}
		})
	}
}

// A request that is under way when the server is paused is not lost. It waits, because the process that serves it is stopped
// too.
func TestPostgresPauseHoldsBackends(t *testing.T) {
	c := clients["PostgreSQL"]
	s := Postgres(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.ask(t, s, "SELECT pg_sleep(3)", 20*time.Second)
		done <- err
	}()
	time.Sleep(250 * time.Millisecond)
	s.Pause()
	select {
	case err := <-done:
		t.Fatalf("the request ended while the server was paused: %v", err)
	case <-time.After(4 * time.Second):
	}
	s.Resume()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// Kill ends a request that is under way.
func TestPostgresKillEndsBackends(t *testing.T) {
	c := clients["PostgreSQL"]
	s := Postgres(t)
	done := make(chan error, 1)
	go func() {
		_, err := c.ask(t, s, "SELECT pg_sleep(60)", 20*time.Second)
		done <- err
	}()
	time.Sleep(250 * time.Millisecond)
	s.Kill()
	if err := <-done; err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("the request ended with %v", err)
	}
	s.Start()
	c.mustAsk(t, s, c.ping)
}

func TestRedisExtraArguments(t *testing.T) {
	c := clients["Redis"]
	s := Redis(t, "--maxmemory", "10mb", "--requirepass", "secret")
	if got := c.mustAsk(t, s, "--no-auth-warning -a secret CONFIG GET maxmemory"); got != "maxmemory\n10485760" {
		t.Errorf("got %q", got)
	}
}

func TestRedisCluster(t *testing.T) {
	for _, masters := range []int{1, 3, 6} {
		t.Run(fmt.Sprint(masters), func(t *testing.T) {
			began := time.Now()
			c := RedisCluster(t, masters)
			t.Logf("start: %v", time.Since(began).Round(time.Millisecond))
			if len(c.Addrs()) != masters {
				t.Fatalf("addresses: %v", c.Addrs())
			}
			host, port, _ := net.SplitHostPort(c.Addrs()[0])
			cli := func(args ...string) string {
				out, err := runClient(10*time.Second, append([]string{"redis-cli", "-c", "-h", host, "-p", port}, args...)...)
				if err != nil {
					t.Fatalf("%v: %v: %s", args, err, out)
				}
				return out
			}
			for i := range 20 {
				key, value := fmt.Sprintf("key%d", i), fmt.Sprintf("value%d", i)
				if got := cli("SET", key, value); got != "OK" {
					t.Errorf("SET %s: %s", key, got)
				}
				if got := cli("GET", key); got != value {
					t.Errorf("GET %s: %s", key, got)
				}
			}
			for _, addr := range c.Addrs() {
				if n, err := redisCall(addr, "DBSIZE"); err != nil || n == "0" {
					t.Errorf("node %s holds %s keys, %v", addr, n, err)
				}
			}
		})
	}
}

// Two servers of one kind do not disturb each other.
func TestSideBySide(t *testing.T) {
	a, b := Redis(t), Redis(t)
	if a.Addr() == b.Addr() {
		t.Fatal("two servers have one port")
	}
	a.Kill()
	c := clients["Redis"]
	c.mustAsk(t, b, c.ping)
}

// While a server is down, nobody else gets its port.
func TestPortIsHeld(t *testing.T) {
	s := Redis(t)
	s.Kill()
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		defer l.Close()
		if l.Addr().String() == s.Addr() {
			t.Error("the port was given to another")
		}
	}
	for range 200 {
		if conn, err := net.Dial("tcp", s.Addr()); err == nil {
			t.Fatalf("dialled %s from %s while it is down", conn.RemoteAddr(), conn.LocalAddr())
		}
	}
	s.Start()
}

// If another server has the port, the first start tries another port.
func TestTakenPort(t *testing.T) {
	s := newRedis(t, nil)
	argv := s.argv
	var held net.Listener
	s.argv = func() []string {
		if held == nil {
			var err error
			if held, err = net.Listen("tcp", s.Addr()); err != nil {
				t.Error(err)
			}
			go func() {
				for {
					conn, err := held.Accept()
					if err != nil {
						return
					}
					conn.Close()
				}
			}()
		}
		return argv()
	}
	s.begin()
	defer held.Close()
	if held.Addr().String() == s.Addr() {
		t.Errorf("the server claims the taken port")
	}
	c := clients["Redis"]
	c.mustAsk(t, s, c.ping)
}

func TestFolderIsRemoved(t *testing.T) {
	for name, c := range clients {
		var dir string
		var pid int
		t.Run(name, func(t *testing.T) {
			s := c.start(t)
			dir, pid = s.dir, s.proc.pid()
			s.Pause()
		})
		if dir == "" {
			continue // skipped
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the folder is left: %v", name, err)
		}
		if _, ok := readStat(pid); ok {
			t.Errorf("%s: process %d is left", name, pid)
		}
	}
}

// verdict is a test that only notes how it ended.
type verdict struct {
	testing.TB
	skipped, failed string
}

func (v *verdict) Skipf(format string, args ...any) {
	v.skipped = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) Fatalf(format string, args ...any) {
	v.failed = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

func (v *verdict) of(f func(testing.TB)) *verdict {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(v)
	}()
	<-done
	return v
}

func TestMissing(t *testing.T) {
	dirs, debian := systemDirs, postgresDirs
	systemDirs, postgresDirs = nil, ""
	t.Cleanup(func() { systemDirs, postgresDirs = dirs, debian })
	t.Setenv("PATH", t.TempDir())

	for name, start := range map[string]func(testing.TB){
		"postgresql":     func(t testing.TB) { Postgres(t) },
		"mariadb-server": func(t testing.TB) { MariaDB(t) },
		"redis-server":   func(t testing.TB) { Redis(t) },
	} {
		t.Setenv("SIGNET_REQUIRE_SERVERS", "")
		got := (&verdict{TB: t}).of(start)
		if !strings.Contains(got.skipped, "not installed (apt-get install "+name+"); skipped") || got.failed != "" {
			t.Errorf("%s: skipped %q, failed %q", name, got.skipped, got.failed)
		}
		t.Setenv("SIGNET_REQUIRE_SERVERS", "1")
		got = (&verdict{TB: t}).of(start)
		if !strings.Contains(got.failed, "not installed") || got.skipped != "" {
			t.Errorf("%s, required: skipped %q, failed %q", name, got.skipped, got.failed)
		}
	}
}

func TestStartFailureShowsLog(t *testing.T) {
	clients["Redis"].start(t) // skips when it is not installed
	got := (&verdict{TB: t}).of(func(t testing.TB) { Redis(t, "--no-such-option", "1") })
	if !strings.Contains(got.failed, "no-such-option") {
		t.Errorf("failed %q", got.failed)
	}
}

const victimVariable = "SIGNET_SERVERS_VICTIM"

// TestVictim is the process that TestNothingSurvives kills.
func TestVictim(t *testing.T) {
	if os.Getenv(victimVariable) == "" {
		t.Skip("part of TestNothingSurvives")
	}
	report := func(s *Server) {
		tree, err := descendants(s.proc.pid())
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range tree {
			fmt.Printf("victim %d %s\n", p.pid, s.dir)
		}
	}
	report(Redis(t))
	report(MariaDB(t))
	report(Postgres(t))
	paused := Postgres(t)
	paused.Pause()
	report(paused)
	fmt.Println("victim ready")
	select {}
}

func TestNothingSurvives(t *testing.T) {
	for _, c := range clients {
		c.start(t) // skips when it is not installed
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$")
	cmd.Env = append(os.Environ(), victimVariable+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dirs := map[string]bool{}
	var pids []int
	ready := false
	for lines := bufio.NewScanner(out); !ready && lines.Scan(); {
		var pid int
		var dir string
		if n, _ := fmt.Sscanf(lines.Text(), "victim %d %s", &pid, &dir); n == 2 {
			pids = append(pids, pid)
			dirs[dir] = true
		}
		ready = lines.Text() == "victim ready"
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait()
	if !ready || len(dirs) != 4 {
		t.Fatalf("the victim did not start its servers: %v", dirs)
	}

	left := func() (what []string) {
		for _, pid := range pids {
			if stat, ok := readStat(pid); ok && stat.state != 'Z' {
				what = append(what, fmt.Sprintf("process %d in state %c", pid, stat.state))
			}
		}
		for dir := range dirs {
			if _, err := os.Stat(dir); err == nil {
				what = append(what, "folder "+dir)
			}
		}
		return what
	}
	for limit := time.Now().Add(15 * time.Second); len(left()) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(limit) {
			t.Fatalf("left: %v", left())
		}
	}
}

// A replica has what was written to its primary, and takes over.
func TestPairs(t *testing.T) {
	for name, start := range map[string]func(testing.TB) *Pair{"PostgreSQL": PostgresPair, "Redis": RedisPair} {
		t.Run(name, func(t *testing.T) {
			c := clients[name]
			began := time.Now()
			pair := start(t)
			t.Logf("start: %v", time.Since(began).Round(time.Millisecond))
			c.mustAsk(t, pair.Primary, c.write)
			kept := c.mustAsk(t, pair.Primary, c.read)
			if name == "Redis" {
				time.Sleep(time.Second) // it does not wait for its replica
			}
			pair.Primary.Kill()
			pair.Promote()
			if got := c.mustAsk(t, pair.Replica, c.read); got != kept {
				t.Errorf("after the promotion: got %q, want %q", got, kept)
			}
			if name == "PostgreSQL" {
				c.mustAsk(t, pair.Replica, "DROP TABLE kept")
			} else {
				c.mustAsk(t, pair.Replica, "DEL kept")
			}
		})
	}
}

// Every node of a Galera cluster accepts writes, and the others have them.
func TestGalera(t *testing.T) {
	c := clients["MariaDB"]
	began := time.Now()
	nodes := Galera(t, 3)
	t.Logf("start: %v", time.Since(began).Round(time.Millisecond))
	for i, writer := range nodes {
		c.mustAsk(t, writer, fmt.Sprintf("CREATE TABLE kept%d (word text) ENGINE=InnoDB; INSERT INTO kept%[1]d VALUES ('x')", i))
		for _, reader := range nodes {
			if got := c.mustAsk(t, reader, fmt.Sprintf("SET wsrep_sync_wait=1; SELECT word FROM kept%d", i)); got != "x" {
				t.Errorf("got %q", got)
			}
		}
	}
}
