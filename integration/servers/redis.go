package servers

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Redis starts a Redis server. Before the server answers, it writes every change to its append-only file and syncs that
// file. The extra arguments, such as "--maxmemory", "10mb", come after all other arguments of redis-server.
func Redis(t testing.TB, extra ...string) *Server {
	t.Helper()
	s := newRedis(t, extra)
	s.begin()
	return s
}

func newRedis(t testing.TB, extra []string) *Server {
	t.Helper()
	const kind = "Redis"
	needLinux(t, kind)
	program, ok := findProgram("redis-server")
	if !ok {
		Missing(t, kind+" is not installed (apt-get install redis-server)")
	}
	s := newServer(t, kind, "redis", nil)
	s.url = func() string { return fmt.Sprintf("redis://%s/0", s.Addr()) }
	s.argv = func() []string {
		return append([]string{
			program,
			"--port", strconv.Itoa(s.port),
			"--bind", "127.0.0.1",
			"--dir", s.dir,
			"--daemonize", "no",
			"--appendonly", "yes",
			"--appendfsync", "always",
			"--save", "",
		}, extra...)
	}
	s.ready = func() error {
		pong, err := redisCall(s.Addr(), "PING")
		// Extra arguments may set a password. A server that asks for the password has loaded its data and answers.
		if err != nil && strings.HasPrefix(err.Error(), "NOAUTH") {
			return nil
		}
		if err != nil {
			return err
		}
		if pong != "PONG" {
			return fmt.Errorf("PING: %q", pong)
		}
		// Redis can be asked only through its port, and the port might belong to another server.
		info, err := redisCall(s.Addr(), "INFO", "server")
		if err != nil {
			return err
		}
		if mine := fmt.Sprintf("process_id:%d\r\n", s.proc.pid()); !strings.Contains(info, mine) {
			return errors.New("another Redis answers on the port")
		}
		return nil
	}
	return s
}

const (
	redisSlots = 16384
	// A node listens for the other nodes on its own port plus this number.
	redisBusOffset = 10000
)

// Cluster is a running Redis Cluster. It belongs to a test.
type Cluster struct {
	nodes []*Server
}

// Addrs returns the address of each node, 127.0.0.1:PORT.
func (c *Cluster) Addrs() []string {
	addrs := make([]string, len(c.nodes))
	for i, node := range c.nodes {
		addrs[i] = node.Addr()
	}
	return addrs
}

// Nodes returns the servers of the cluster.
func (c *Cluster) Nodes() []*Server { return c.nodes }

// RedisCluster starts a Redis Cluster with this number of masters and without replicas. The masters serve all slots, in
// ranges of about equal size. RedisCluster returns when every node sees the whole cluster.
func RedisCluster(t testing.TB, masters int) *Cluster {
	t.Helper()
	if masters < 1 {
		t.Fatalf("servers: a Redis Cluster of %d masters", masters)
	}
	c := &Cluster{}
	for range masters {
		c.addNode(t)
	}
	if node, err := c.form(); err != nil {
		t.Fatalf("servers: Redis Cluster, node %s: %v\n%s", node.Addr(), err, node.logTail())
	}
	return c
}

func (c *Cluster) addNode(t testing.TB) *Server {
	node := newRedis(t, []string{
		"--cluster-enabled", "yes",
		"--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "5000",
	})
	node.portOffsets = []int{redisBusOffset}
	node.begin()
	c.nodes = append(c.nodes, node)
	return node
}

// AddReplica adds a replica of a master, which takes the master's place some seconds after that was killed. It returns when the
// replica has all data, and every node knows it.
func (c *Cluster) AddReplica(t testing.TB, master *Server) *Server {
	t.Helper()
	replica := c.addNode(t)
	join := func() error {
		if _, err := redisCall(replica.Addr(), "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(master.port)); err != nil {
			return err
		}
		if _, err := c.awaitAll(c.knowsAll); err != nil {
			return err
		}
		id, err := redisCall(master.Addr(), "CLUSTER", "MYID")
		if err != nil {
			return err
		}
		if _, err := redisCall(replica.Addr(), "CLUSTER", "REPLICATE", id); err != nil {
			return err
		}
		if _, err := c.awaitAll(func(node *Server) (string, bool, error) {
			nodes, err := redisCall(node.Addr(), "CLUSTER", "NODES")
			return nodes, strings.Contains(nodes, "slave "+id), err
		}); err != nil {
			return err
		}
		return c.await(replica, func(*Server) (string, bool, error) {
			info, err := redisCall(replica.Addr(), "INFO", "replication")
			return info, strings.Contains(info, "master_link_status:up"), err
		})
	}
	if err := join(); err != nil {
		t.Fatalf("servers: replica of %s: %v\n%s", master.Addr(), err, replica.logTail())
	}
	return replica
}

// form makes one cluster of the nodes. The nodes get their slots only when they all know each other. A node that knows
// masters but cannot reach them believes that it is cut off, and then stays down for some seconds. form returns the node
// that failed.
func (c *Cluster) form() (*Server, error) {
	for i, node := range c.nodes {
		// Nodes with equal epochs would first have to agree on other ones.
		if _, err := redisCall(node.Addr(), "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return node, err
		}
	}
	for i, node := range c.nodes {
		for _, other := range c.nodes[:i] {
			if _, err := redisCall(node.Addr(), "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(other.port)); err != nil {
				return node, err
			}
		}
	}
	if node, err := c.awaitAll(c.knowsAll); err != nil {
		return node, err
	}
	for i, node := range c.nodes {
		slots := []string{"CLUSTER", "ADDSLOTS"}
		for slot := i * redisSlots / len(c.nodes); slot < (i+1)*redisSlots/len(c.nodes); slot++ {
			slots = append(slots, strconv.Itoa(slot))
		}
		if _, err := redisCall(node.Addr(), slots...); err != nil {
			return node, err
		}
	}
	return c.awaitAll(c.servesAll)
}

func (c *Cluster) knowsAll(node *Server) (string, bool, error) {
	nodes, err := redisCall(node.Addr(), "CLUSTER", "NODES")
	known := strings.Count(nodes, " connected") == len(c.nodes)
	return nodes, known && !strings.Contains(nodes, "handshake"), err
}

func (c *Cluster) servesAll(node *Server) (string, bool, error) {
	info, err := redisCall(node.Addr(), "CLUSTER", "INFO")
	for _, line := range []string{
		"cluster_state:ok",
		fmt.Sprintf("cluster_slots_ok:%d", redisSlots),
		fmt.Sprintf("cluster_known_nodes:%d", len(c.nodes)),
		fmt.Sprintf("cluster_size:%d", len(c.nodes)),
	} {
		if !strings.Contains(info, line+"\r\n") {
			return info, false, err
		}
	}
	return info, true, err
}

// awaitAll is await for each node. It returns the node that failed.
func (c *Cluster) awaitAll(holds func(*Server) (said string, ok bool, err error)) (*Server, error) {
	for _, node := range c.nodes {
		if err := c.await(node, holds); err != nil {
			return node, err
		}
	}
	return nil, nil
}

// await asks a node until a condition holds. Its error contains the last answer of the node.
func (c *Cluster) await(node *Server, holds func(*Server) (said string, ok bool, err error)) error {
	for limit := time.Now().Add(startLimit); ; time.Sleep(pollEvery) {
		said, ok, err := holds(node)
		if ok || err != nil {
			return err
		}
		if time.Now().After(limit) {
			return fmt.Errorf("not ready after %v:\n%s", startLimit, said)
		}
	}
}

// redisCall sends one command on its own connection.
func redisCall(addr string, args ...string) (string, error) {
	const limit = 5 * time.Second
	conn, err := net.DialTimeout("tcp", addr, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	var command strings.Builder
	fmt.Fprintf(&command, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&command, "$%d\r\n%s\r\n", len(arg), arg)
	}
	if _, err := io.WriteString(conn, command.String()); err != nil {
		return "", err
	}
	return redisReply(bufio.NewReader(conn))
}

// redisReply reads the kinds of replies that the commands of this package get. Arrays are not among them.
func redisReply(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return "", errors.New("Redis sent an empty line")
	}
	switch line[0] {
	case '+', ':':
		return line[1:], nil
	case '-':
		return "", errors.New(line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", fmt.Errorf("Redis sent %q", line)
		}
		text := make([]byte, size)
		_, err = io.ReadFull(r, text)
		return string(text), err
	}
	return "", fmt.Errorf("Redis sent %q", line)
}
