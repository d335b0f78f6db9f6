package integration

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// silencer is a TCP proxy that lets connections fall silent, as a network does that loses packets: nothing comes through any more,
// and not the end of the connection either.
type silencer struct {
	addr string
	// silence looks at what one side of a connection has sent. It returns how much of it still comes through before the
	// connection falls silent, or -1 if all is well.
	silence atomic.Pointer[func(conn net.Conn, toServer bool, data []byte) int]

	mu    sync.Mutex
	conns []net.Conn
}

func startSilencer(t testing.TB, server string) *silencer {
	t.Helper()
	s := &silencer{}
	t.Cleanup(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, conn := range s.conns {
			conn.Close()
		}
	})
	s.addr = startProxy(t, server, func(client, upstream net.Conn) {
		s.mu.Lock()
		s.conns = append(s.conns, client, upstream)
		s.mu.Unlock()
		silent := new(atomic.Bool)
		go s.pass(upstream, client, true, silent)
		go s.pass(client, upstream, false, silent)
	})
	return s
}

func (s *silencer) pass(to, from net.Conn, toServer bool, silent *atomic.Bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if silent.Load() {
			return
		}
		if err != nil {
			to.Close()
			return
		}
		if look := s.silence.Load(); look != nil {
			if rest := (*look)(from, toServer, buf[:n]); rest >= 0 {
				silent.Store(true)
				n = rest
			}
		}
		to.Write(buf[:n])
	}
}

// loseAfter silences the first connection on which a text is sent to the server, after so many more chunks.
func (s *silencer) loseAfter(text string, chunks int) (lost chan struct{}) {
	var chosen net.Conn
	return s.lose(func(conn net.Conn, toServer bool, data []byte) int {
		if chosen == nil && toServer && bytes.Contains(data, []byte(text)) {
			chosen = conn
		}
		if conn != chosen {
			return -1
		}
		if chunks--; chunks >= 0 {
			return -1
		}
		return 0
	})
}

// loseEnd silences the first connection on which a text comes from the server, without the last bytes of it.
func (s *silencer) loseEnd(text string) (lost chan struct{}) {
	return s.lose(func(_ net.Conn, toServer bool, data []byte) int {
		if toServer || !bytes.Contains(data, []byte(text)) {
			return -1
		}
		return len(data) - 3
	})
}

// lose silences the first connection of which look says so, and then closes lost.
func (s *silencer) lose(look func(conn net.Conn, toServer bool, data []byte) int) (lost chan struct{}) {
	lost = make(chan struct{})
	var mu sync.Mutex
	done := false
	once := func(conn net.Conn, toServer bool, data []byte) int {
		mu.Lock()
		defer mu.Unlock()
		if done {
			return -1
		}
		rest := look(conn, toServer, data)
		if rest >= 0 {
			done = true
			close(lost)
		}
		return rest
	}
	s.silence.Store(&once)
	return lost
}

// behindSilencer returns a new database, and another way to it that leads through a silencer.
func behindSilencer(t *testing.T, kind store) (direct, behind database, s *silencer) {
	t.Helper()
	host := kind.host(t)
	direct = *host.fresh(t).database
	s = startSilencer(t, host.server.Addr())
	behind = direct
	behind.dsn = strings.Replace(direct.dsn, host.server.Addr(), s.addr, 1)
	require.NotEqual(t, direct.dsn, behind.dsn)
	return direct, behind, s
}

// TestSilentWhileNumbering lets the connection fall silent on which a process numbers revocations, each time a little later. The
// process goes on, and nobody waits for what it has not finished.
func TestSilentWhileNumbering(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			after := 0
			for lost := true; lost; after++ {
				direct, behind, silencer := behindSilencer(t, kind)
				a, b := sqlSessions(t, openSQL(t, behind), behind.dialect), sqlSessions(t, openSQL(t, direct), direct.dialect)
				readers := []*reader{newReader(a, 100), newReader(b, 100)}
				revokeAndCut := func() {
					require.NoError(t, revoke(t.Context(), b, create(t, b, "user")))
					for _, user := range []string{"user", ""} {
						require.NoError(t, cut(t.Context(), b, user))
					}
				}
				revokeAndCut()
				readers[0].requirePull(t)
				fell := silencer.loseAfter("NOWAIT", after)
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				readers[0].pull(ctx) // numbers what it has seen before
				cancel()
				select {
				case <-fell:
				default:
					lost = false // the connection had less to do
				}

				silencer.silence.Store(nil)
				began := time.Now()
				revokeAndCut()
				require.Less(t, time.Since(began), 8*time.Second, after) // a lock would be held for much longer
				for range 3 {
					for _, r := range readers {
						r.requirePull(t)
					}
				}
				require.Equal(t, readers[1].seen, readers[0].seen)
			}
			require.Greater(t, after, 2)
		})
	}
}

// TestSilentBeforeTheEnd loses the end of an answer behind the only row. The wait for it is bounded, and the session goes on.
func TestSilentBeforeTheEnd(t *testing.T) {
	for _, kind := range []store{postgres, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			direct, behind, silencer := behindSilencer(t, kind)
			people := newCrowd()
			a := startMember(t, people.users, sqlSessions(t, openSQL(t, behind), behind.dialect))
			b := startMember(t, people.users, sqlSessions(t, openSQL(t, direct), direct.dialect))
			user := people.add(t, b.auth, 1, 1)[0]
			lost := silencer.loseEnd(`"v":1`)
			answer, err := callRefresh(a.url, user.pairs[0].Refresh)
			require.NoError(t, err)
			require.Equal(t, 503, answer.status)
			<-lost
			answer, err = callRefresh(a.url, user.pairs[0].Refresh)
			require.NoError(t, err)
			require.Equal(t, 201, answer.status)
		})
	}
}
