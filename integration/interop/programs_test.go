package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// answerLimit is long because a loaded machine may need many times what a quiet one does.
const answerLimit = 30 * time.Second

// missing ends the test: skipped, or failed when everything is required, so that a CI run cannot pass by having tested
// nothing.
func missing(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("SIGNET_REQUIRE_SERVERS") == "1" {
		t.Fatalf("%s; required by SIGNET_REQUIRE_SERVERS=1", reason)
	}
	t.Skipf("%s; skipped", reason)
}

// program is a running script that answers each line of JSON with one line of JSON. It ends when its input ends, so it ends
// with this process, however that dies.
type program struct {
	mu     sync.Mutex // one request at a time
	failed error      // an answer did not come: a later one could be taken for that of another request
	cmd    *exec.Cmd
	input  io.WriteCloser
	lines  chan []byte // closed when the program has no more to say
	stderr *bytes.Buffer
}

// startProgram starts a script and reads the first line that it writes.
func startProgram(interpreter, script string) (*program, []byte, error) {
	p := &program{cmd: exec.Command(interpreter, filepath.Base(script)), lines: make(chan []byte), stderr: &bytes.Buffer{}}
	p.cmd.Dir = filepath.Dir(script)
	// A proxy of the caller's must not stand between a library and the loopback address.
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8"}
	p.cmd.Stderr = p.stderr
	p.cmd.WaitDelay = time.Second
	var err error
	if p.input, err = p.cmd.StdinPipe(); err != nil {
		return nil, nil, err
	}
	output, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, nil, err
	}
	go func() {
		defer close(p.lines)
		scanner := bufio.NewScanner(output)
		scanner.Buffer(nil, 1<<20)
		for scanner.Scan() {
			p.lines <- bytes.Clone(scanner.Bytes())
		}
	}()
	first, err := p.read()
	if err != nil {
		p.stop()
		return nil, nil, fmt.Errorf("%w\n%s", err, p.stderr)
	}
	return p, first, nil
}

func (p *program) read() ([]byte, error) {
	select {
	case line, ok := <-p.lines:
		if !ok {
			return nil, errors.New("the program ended")
		}
		return line, nil
	case <-time.After(answerLimit):
		return nil, fmt.Errorf("no answer within %v", answerLimit)
	}
}

// ask sends one request and reads the answer.
func (p *program) ask(request, answer any) error {
	line, err := json.Marshal(request)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failed != nil {
		return p.failed
	}
	if _, p.failed = p.input.Write(append(line, '\n')); p.failed != nil {
		return p.failed
	}
	text, err := p.read()
	if err != nil {
		p.failed = err
		return err
	}
	return json.Unmarshal(text, answer)
}

// stop ends the program: its input ends, and it is killed if that does not help.
func (p *program) stop() {
	p.input.Close()
	kill := time.AfterFunc(5*time.Second, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	for range p.lines { // ends when the program does
	}
	p.cmd.Wait()
}

// The programs of this test process, each started for the first test that asks.
var (
	node   = sync.OnceValues(startNode)
	python = sync.OnceValues(startPython)

	runningMu sync.Mutex
	running   []*program
)

func TestMain(m *testing.M) {
	code := m.Run()
	for _, p := range running {
		p.stop()
	}
	os.Exit(code)
}

// verifying starts a script of this folder that verifies tokens.
func verifying(interpreter, script string) (*program, error) {
	p, first, err := startProgram(interpreter, script)
	if err != nil {
		return nil, err
	}
	runningMu.Lock()
	running = append(running, p)
	runningMu.Unlock()
	fmt.Printf("%s: %s\n", filepath.Base(script), first)
	return p, nil
}

// absent says what is not installed.
type absent string

func (a absent) Error() string { return string(a) }

// findNode finds node and the npm packages.
func findNode() (string, error) {
	path, err := exec.LookPath("node")
	if err != nil {
		return "", absent("node is not installed (apt-get install nodejs npm)")
	}
	version, err := exec.Command(path, "-p", "process.versions.node").Output()
	if err != nil {
		return "", fmt.Errorf("node: %w", err)
	}
	var major, minor int
	if _, err := fmt.Sscanf(string(version), "%d.%d", &major, &minor); err != nil {
		return "", fmt.Errorf("node: version %q: %w", version, err)
	}
	if major < 20 || major == 20 && minor < 19 {
		return "", absent(fmt.Sprintf("node is %s, and the npm packages need 20.19 or newer", bytes.TrimSpace(version)))
	}
	if _, err := os.Stat(filepath.Join("node", "node_modules", "jose")); err != nil {
		return "", absent("the npm packages are not installed (npm ci in integration/interop/node)")
	}
	return path, nil
}

func startNode() (*program, error) {
	path, err := findNode()
	if err != nil {
		return nil, err
	}
	return verifying(path, filepath.Join("node", "verify.mjs"))
}

// startPython looks for a Python that has PyJWT: the first one on the PATH need not be the one that apt-get installs
// packages for.
func startPython() (*program, error) {
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		path, err := exec.LookPath(filepath.Join(dir, "python3"))
		if err == nil && exec.Command(path, "-c", "import jwt, cryptography").Run() == nil {
			return verifying(path, filepath.Join("python", "verify.py"))
		}
	}
	return nil, absent("no python3 on the PATH has PyJWT (apt-get install python3-jwt python3-cryptography)")
}

// need returns the program, or ends the test when it is not installed.
func need(t testing.TB, start func() (*program, error)) *program {
	t.Helper()
	p, err := start()
	var reason absent
	if errors.As(err, &reason) {
		missing(t, reason.Error())
	}
	require.NoError(t, err)
	return p
}

// request is what verify.mjs and verify.py read.
type request struct {
	Library    string         `json:"library"`
	Verifier   string         `json:"verifier"`
	Token      string         `json:"token"`
	JWKS       string         `json:"jwks,omitempty"`
	Secret     []byte         `json:"secret,omitempty"` // in base64
	Issuer     string         `json:"issuer"`
	Audience   string         `json:"audience"`
	Algorithms []string       `json:"algorithms"`
	Options    requestOptions `json:"options"`
}

type requestOptions struct {
	Type     string `json:"typ,omitempty"`
	Cooldown int64  `json:"cooldown,omitempty"` // milliseconds
	Discover bool   `json:"discover,omitempty"`
}

// inProgram makes verifiers of a library that a program knows under that name.
func inProgram(start func() (*program, error), name string) func(testing.TB, source) verifier {
	return func(t testing.TB, from source) verifier {
		p := need(t, start)
		ask := request{Library: name, Verifier: from.unique(), JWKS: from.jwks, Secret: from.secret, Issuer: from.issuer,
			Audience: from.audience, Algorithms: from.algorithms,
			Options: requestOptions{from.typ, from.cooldown.Milliseconds(), from.discover}}
		return verifier{verify: func(token string) (map[string]any, error) {
			ask := ask
			ask.Token = token
			var answer struct {
				Claims          map[string]any
				Refused, Broken string
			}
			switch err := p.ask(ask, &answer); {
			case err != nil:
				return nil, fmt.Errorf("%s: %w", name, err)
			case answer.Claims == nil:
				return nil, fmt.Errorf("%s: %s%s", name, answer.Refused, answer.Broken)
			}
			return answer.Claims, nil
		}}
	}
}
