package integration

import (
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// meter is a TCP proxy that counts round trips: how often the client sends after the server has sent.
type meter struct {
	addr  string
	trips atomic.Int64
}

func startMeter(t testing.TB, server string) *meter {
	t.Helper()
	m := &meter{}
	m.addr = startProxy(t, server, func(client, upstream net.Conn) {
		var asked atomic.Bool // it is the server's turn
		go relay(upstream, client, func() {
			if !asked.Swap(true) {
				m.trips.Add(1)
			}
		})
		go relay(client, upstream, func() { asked.Store(false) })
	})
	return m
}

// startProxy starts a TCP proxy in front of a server, and returns its address. serve gets the two ends of each connection. It
// starts what passes the data on, and returns.
func startProxy(t testing.TB, server string, serve func(client, upstream net.Conn)) (addr string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				client.Close()
				continue
			}
			serve(client, upstream)
		}
	}()
	return listener.Addr().String()
}

// relay copies what one side sends. It calls heard before it passes the data on.
func relay(to io.WriteCloser, from io.Reader, heard func()) {
	defer to.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			heard()
			if _, err := to.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}
