package servers

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Pair is a running primary and its replica. Both belong to a test.
type Pair struct {
	Primary, Replica *Server

	promote func()
}

// Promote makes the replica a server that accepts writes. It does not stop the primary. A test that kills the primary does
// not start it again: it would be a second primary.
func (p *Pair) Promote() {
	p.Replica.t.Helper()
	p.promote()
}

// PostgresPair starts a PostgreSQL server as [Postgres] does, and a hot standby that follows it by streaming replication. The
// standby is synchronous: a commit waits until the standby has written it to its disk. A promoted standby waits for nobody.
func PostgresPair(t testing.TB) *Pair {
	t.Helper()
	primary := Postgres(t)
	standby, bin := newPostgres(t)
	// -R lets the copy start as a standby of the server that was copied.
	err := standby.tool(filepath.Join(bin, "pg_basebackup"), "-D", filepath.Join(standby.dir, "data"), "-R",
		"-h", "127.0.0.1", "-p", strconv.Itoa(primary.port), "-U", "postgres", "--checkpoint=fast", "--no-sync")
	if err != nil {
		t.Fatalf("servers: %v", err)
	}
	standby.begin()
	err = primary.psql(bin, "ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
	for limit := time.Now().Add(startLimit); err == nil; time.Sleep(pollEvery) {
		err = primary.psql(bin, `DO $$ BEGIN
			IF NOT EXISTS (SELECT FROM pg_stat_replication WHERE sync_state = 'sync') THEN RAISE 'no synchronous standby'; END IF;
		END $$`)
		if err == nil {
			break
		}
		if time.Now().Before(limit) {
			err = nil
		}
	}
	if err != nil {
		t.Fatalf("servers: %v\n%s", err, standby.logTail())
	}
	return &Pair{primary, standby, func() {
		standby.t.Helper()
		err := standby.psql(bin, `DO $$ BEGIN IF NOT pg_promote() THEN RAISE 'not promoted'; END IF; END $$`)
		if err != nil {
			standby.t.Fatalf("servers: %v", err)
		}
	}}
}

// RedisPair starts a Redis server as [Redis] does, and a replica of it. A write is answered before the replica has it; the
// command WAIT tells when it does.
func RedisPair(t testing.TB) *Pair {
	t.Helper()
	primary := Redis(t)
	replica := Redis(t)
	call := func(args ...string) string {
		t.Helper()
		said, err := redisCall(replica.Addr(), args...)
		if err != nil {
			t.Fatalf("servers: Redis, %v: %v\n%s", args, err, replica.logTail())
		}
		return said
	}
	call("REPLICAOF", "127.0.0.1", strconv.Itoa(primary.port))
	for limit := time.Now().Add(startLimit); ; time.Sleep(pollEvery) {
		info := call("INFO", "replication")
		if strings.Contains(info, "master_link_status:up\r\n") {
			break
		}
		if time.Now().After(limit) {
			t.Fatalf("servers: Redis: no replica after %v:\n%s", startLimit, info)
		}
	}
	return &Pair{primary, replica, func() {
		t.Helper()
		call("REPLICAOF", "NO", "ONE")
	}}
}
