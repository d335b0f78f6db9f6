package servers

import (
	"fmt"
	"path/filepath"
	"strconv"
	"testing"
)

// MariaDB starts a MariaDB server. The server has an empty database signet, and a user signet, with the password signet, who
// has all rights on it. The user root may connect from loopback without a password.
func MariaDB(t testing.TB) *Server {
	t.Helper()
	s, install := newMariaDB(t)
	install()
	s.begin()
	s.addSignet()
	return s
}

// newMariaDB makes a server without data. install makes its data folder.
func newMariaDB(t testing.TB) (s *Server, install func()) {
	t.Helper()
	const kind = "MariaDB"
	needLinux(t, kind)
	programs := map[string]string{}
	for _, name := range []string{"mariadbd", "mariadb-install-db", "mariadb-admin", "mariadb"} {
		path, ok := findProgram(name)
		if !ok {
			Missing(t, kind+" is not installed (apt-get install mariadb-server)")
		}
		programs[name] = path
	}
	s = newServer(t, kind, "maria", ownerFor(t, kind, "mysql"))
	data := filepath.Join(s.dir, "data")
	socket := filepath.Join(s.dir, "socket")

	s.url = func() string {
		return fmt.Sprintf("signet:signet@tcp(%s)/signet?parseTime=true", s.Addr())
	}
	// --no-defaults must come first. Without it the option files of this machine would apply.
	s.argv = func() []string {
		return []string{
			programs["mariadbd"], "--no-defaults",
			"--datadir=" + data,
			"--tmpdir=" + s.dir,
			"--socket=" + socket,
			"--pid-file=" + filepath.Join(s.dir, "pid"),
			"--bind-address=127.0.0.1",
			"--port=" + strconv.Itoa(s.port),
			"--skip-name-resolve",
			"--max-connections=200",
			"--character-set-server=utf8mb4",
			"--collation-server=utf8mb4_general_ci",
			"--innodb-flush-log-at-trx-commit=1",
			"--innodb-buffer-pool-size=32M",
			"--innodb-log-file-size=16M",
		}
	}
	// The socket certainly belongs to this server, but a port might belong to another one. The server makes the socket after
	// it opens the TCP port.
	s.ready = func() error {
		return s.tool(programs["mariadb-admin"], "--no-defaults",
			"--socket="+socket, "--user=root", "--connect-timeout=5", "ping")
	}

	s.sql = func(statements string) error {
		return s.tool(programs["mariadb"], "--no-defaults", "--socket="+socket, "--user=root", "--execute", statements)
	}
	return s, func() {
		t.Helper()
		err := s.tool(programs["mariadb-install-db"], "--no-defaults",
			"--datadir="+data, "--tmpdir="+s.dir, "--skip-test-db", "--skip-name-resolve",
			"--auth-root-authentication-method=normal",
			"--innodb-buffer-pool-size=32M", "--innodb-log-file-size=16M")
		if err != nil {
			t.Fatalf("servers: %v", err)
		}
	}
}

func (s *Server) addSignet() {
	s.t.Helper()
	err := s.sql("CREATE DATABASE signet; " +
		"CREATE USER signet@'%' IDENTIFIED BY 'signet'; " +
		"GRANT ALL ON signet.* TO signet@'%'")
	if err != nil {
		s.t.Fatalf("servers: %v", err)
	}
}
