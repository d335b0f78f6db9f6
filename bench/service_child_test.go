package bench

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// childVariable holds the childSpec of a process that is a service and not a test.
const childVariable = "SIGNET_BENCH_SERVICE"

// childSpec says what a service is. The service runs in a process of its own, which is this test program again.
type childSpec struct {
	Kind string // guard, refresh, raw or login

	Lib, Alg        string // for guard
	Secret, Private []byte // for guard; one of them

	Store    storeSpec // for refresh and raw
	Sessions int       // for refresh and raw: how many sessions or rows it makes
	Answer   int       // for raw: the size of an answer, in bytes
	Clients  int       // for login: how many users there are

	alone bool // it has the core for itself
	core  int
}

// service is what a child serves. A child understands the commands cpu and, beyond that, those of its service. The
// answer to a command is written as JSON.
type service struct {
	handler  http.Handler
	greeting any // sent to the parent before the first command
	commands map[string]func(argument string) (any, error)
}

var services = map[string]func(childSpec) (*service, error){
	"guard":   guardService,
	"refresh": refreshService,
	"raw":     rawService,
	"login":   loginService,
}

func TestMain(m *testing.M) {
	text, isChild := os.LookupEnv(childVariable)
	if !isChild {
		os.Exit(m.Run())
	}
	if err := serveChild(text); err != nil {
		fmt.Fprintln(os.Stderr, "service:", err)
		os.Exit(1)
	}
}

// serveChild runs until the parent closes the standard input, which also happens when the parent dies.
func serveChild(text string) error {
	var spec childSpec
	if err := json.Unmarshal([]byte(text), &spec); err != nil {
		return err
	}
	s, err := services[spec.Kind](spec)
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go http.Serve(listener, s.handler) // ends with the process
	out := bufio.NewWriter(os.Stdout)
	answer := json.NewEncoder(out)
	if err := errors.Join(answer.Encode(listener.Addr().String()), answer.Encode(s.greeting), out.Flush()); err != nil {
		return err
	}
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, argument, _ := strings.Cut(lines.Text(), " ")
		var result any = cpuTime()
		if command := s.commands[name]; command != nil {
			if result, err = command(argument); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		if err := errors.Join(answer.Encode(result), out.Flush()); err != nil {
			return err
		}
	}
	return nil
}

// child is a running service, seen from the parent.
type child struct {
	t      testing.TB
	addr   string
	in     io.WriteCloser
	out    *json.Decoder
	errors bytes.Buffer
	cmd    *exec.Cmd
}

// startChild starts a service. It reads the greeting into greeting if that is not nil. The service ends with the
// test, or with stop.
func startChild(t testing.TB, spec childSpec, greeting any) *child {
	t.Helper()
	text, err := json.Marshal(spec)
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: exec.Command(program)}
	c.cmd.Env = append(os.Environ(), childVariable+"="+string(text))
	c.cmd.Stderr = &c.errors
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if spec.alone {
		c.cmd.Env = append(c.cmd.Env, "GOMAXPROCS=1")
		err = startOn(c.cmd, spec.core)
	} else {
		err = c.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.stop)
	c.out = json.NewDecoder(out)
	c.read(&c.addr)
	if greeting == nil {
		greeting = new(any)
	}
	c.read(greeting)
	return c
}

func (c *child) read(into any) {
	c.t.Helper()
	if err := c.out.Decode(into); err != nil {
		c.fail(err)
	}
}

// ask sends a command and reads the answer.
func (c *child) ask(command string, into any) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, command+"\n"); err != nil {
		c.fail(err)
	}
	c.read(into)
}

func (c *child) cpu() (used time.Duration) {
	c.t.Helper()
	c.ask("cpu", &used)
	return used
}

func (c *child) stop() {
	c.in.Close()
	_ = c.cmd.Wait() // an error was seen where it mattered: an answer was missing
}

// fail ends the test with what the service has written.
func (c *child) fail(err error) {
	c.t.Helper()
	c.stop()
	c.t.Fatalf("service: %v\n%s", err, c.errors.String())
}

// dial opens connections to the service. The caller hangs up.
func (c *child) dial(n int) []*conn {
	c.t.Helper()
	conns := make([]*conn, n)
	for i := range conns {
		stream, err := net.Dial("tcp", c.addr)
		if err != nil {
			c.t.Fatal(err)
		}
		conns[i] = &conn{stream: stream, reader: bufio.NewReaderSize(stream, 16<<10)}
	}
	return conns
}

func hangUp(conns []*conn) {
	for _, conn := range conns {
		conn.stream.Close()
	}
}

// conn is a client's connection. It understands only what the services here answer, because the generator must cost
// less than they do.
type conn struct {
	stream  net.Conn
	reader  *bufio.Reader
	request []byte
	body    []byte
}

// get asks for a route with a token and returns the status.
func (c *conn) get(path, token string) (status int, err error) {
	c.request = append(append(c.request[:0], "GET "...), path...)
	c.request = append(c.request, " HTTP/1.1\r\nHost: api.example\r\nAuthorization: Bearer "...)
	c.request = append(append(c.request, token...), "\r\n\r\n"...)
	return c.exchange()
}

// post sends a JSON body.
func (c *conn) post(path string, body ...string) (status int, err error) {
	size := 0
	for _, part := range body {
		size += len(part)
	}
	c.request = append(append(c.request[:0], "POST "...), path...)
	c.request = append(c.request, " HTTP/1.1\r\nHost: api.example\r\nContent-Type: application/json\r\n"...)
	c.request = append(c.request, "Content-Length: "...)
	c.request = append(strconv.AppendInt(c.request, int64(size), 10), "\r\n\r\n"...)
	for _, part := range body {
		c.request = append(c.request, part...)
	}
	return c.exchange()
}

// exchange sends the request and reads the answer. The body is valid until the next exchange.
func (c *conn) exchange() (status int, err error) {
	if _, err := c.stream.Write(c.request); err != nil {
		return 0, err
	}
	first, err := c.reader.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(first) < len("HTTP/1.1 200") {
		return 0, fmt.Errorf("the service sent %q", first)
	}
	if status, err = strconv.Atoi(string(first[9:12])); err != nil {
		return 0, err
	}
	size := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		if len(line) <= len("\r\n") {
			break
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if size, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		}
	}
	if size < 0 {
		return 0, errors.New("the service sent an answer without Content-Length")
	}
	c.body = slices.Grow(c.body[:0], size)[:size]
	_, err = io.ReadFull(c.reader, c.body)
	return status, err
}

// field copies a text out of the JSON object in the body.
func (c *conn) field(name string) string {
	_, after, _ := bytes.Cut(c.body, []byte(`"`+name+`":"`))
	value, _, _ := bytes.Cut(after, []byte(`"`))
	return string(value)
}

// quantile sorts the values.
func quantile(values []time.Duration, share float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return float64(values[int(share*float64(len(values)-1))])
}
