package servers

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Ports of a Galera node, relative to its port.
const (
	galeraGroup = 1 // messages of the cluster
	galeraLog   = 2 // what a node that joins has missed
	galeraCopy  = 3 // the data of a node that joins
)

// Galera starts a Galera cluster of MariaDB nodes on loopback. A client may write to any node. Each node has the database and
// the users of [MariaDB]. [Server.Start] does not work for the first node.
func Galera(t testing.TB, nodes int) []*Server {
	t.Helper()
	library := findGalera()
	if library == "" {
		Missing(t, "Galera is not installed (apt-get install galera-4)")
	}
	for _, name := range []string{"wsrep_sst_rsync", "rsync", "ss"} { // a node gets its data by these
		if _, ok := findProgram(name); !ok {
			Missing(t, name+" is not installed (apt-get install mariadb-server rsync iproute2)")
		}
	}
	var cluster []*Server
	for i := range nodes {
		s, install := newMariaDB(t)
		s.portOffsets = []int{galeraGroup, galeraLog, galeraCopy}
		plain := s.argv
		s.argv = func() []string {
			return append(plain(), galeraArgs(s, library, cluster)...)
		}
		// Until a node belongs to the cluster, it refuses all statements on tables.
		s.ready = func() error { return s.sql("SELECT user FROM mysql.user LIMIT 1") }
		if i == 0 { // the others get a copy of its folder when they join
			install()
		} else if err := s.tool("mkdir", "data"); err != nil {
			t.Fatalf("servers: %v", err)
		}
		s.begin()
		cluster = append(cluster, s)
	}
	cluster[0].addSignet()
	for _, s := range cluster {
		// USE itself does not wait for what the other nodes have written. A SELECT does.
		if err := s.sql("SET SESSION wsrep_sync_wait = 15; SELECT user FROM mysql.user LIMIT 1; USE signet"); err != nil {
			t.Fatalf("servers: %v", err)
		}
	}
	return cluster
}

// galeraArgs returns the arguments of a node that joins the others. Without others it begins a cluster.
func galeraArgs(s *Server, library string, others []*Server) []string {
	var group []string
	for _, other := range others {
		group = append(group, fmt.Sprintf("127.0.0.1:%d", other.port+galeraGroup))
	}
	return []string{
		"--wsrep-on=ON",
		"--wsrep-provider=" + library,
		"--wsrep-cluster-name=signet",
		"--wsrep-cluster-address=gcomm://" + strings.Join(group, ","),
		"--wsrep-node-address=127.0.0.1",
		fmt.Sprintf("--wsrep-provider-options=base_host=127.0.0.1;base_port=%d;gmcast.listen_addr=tcp://127.0.0.1:%[1]d;"+
			"ist.recv_addr=127.0.0.1:%d;gcache.size=16M", s.port+galeraGroup, s.port+galeraLog),
		"--wsrep-sst-method=rsync",
		fmt.Sprintf("--wsrep-sst-receive-address=127.0.0.1:%d", s.port+galeraCopy),
		"--binlog-format=ROW",
		"--innodb-autoinc-lock-mode=2",
	}
}

func findGalera() string {
	for _, path := range []string{"/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so"} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}
