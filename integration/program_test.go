package integration

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
)

// program is a running example program, or another program of this package.
type program struct {
	url   string
	cmd   *exec.Cmd
	log   *lockedBuffer
	ended chan struct{}
	err   error // how it ended; can be read after ended is closed
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// launch starts the example and returns at once. await waits until the example listens.
func launch(t testing.TB, args ...string) (p *program, await func() error) {
	t.Helper()
	binary, err := buildExample()
	require.NoError(t, err)
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "SIGNET_SECRET="+secret)
	return launchCommand(t, cmd)
}

// launchCommand starts a program that says on which URL it listens, as the example does.
func launchCommand(t testing.TB, cmd *exec.Cmd) (p *program, await func() error) {
	t.Helper()
	p = &program{cmd: cmd, log: &lockedBuffer{}, ended: make(chan struct{})}
	p.cmd.Stderr = p.log
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	disarm, err := servers.KillAtDeath(p.cmd.Process.Pid)
	require.NoError(t, err)
	listens := make(chan string, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if url, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
				listens <- url
			}
		}
		close(listens)
		p.err = p.cmd.Wait()
		disarm()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.cmd.Process.Signal(syscall.SIGTERM)
		<-p.ended
		if strings.Contains(p.log.String(), "panic") || p.err != nil && p.err.Error() != "signal: killed" {
			t.Errorf("the example ended with %v; log: %s", p.err, p.log)
		}
	})
	return p, func() error {
		url, ok := <-listens
		if !ok {
			<-p.ended
			return &startError{p.err, p.log.String()}
		}
		p.url = url
		return nil
	}
}

type startError struct {
	err error
	log string
}

func (e *startError) Error() string {
	return "the example did not start: " + e.err.Error() + "; log: " + e.log
}

func start(t testing.TB, args ...string) *program {
	t.Helper()
	p, await := launch(t, args...)
	require.NoError(t, await())
	return p
}

// kill does the same as kill -9.
func (p *program) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}
