// Package browser drives Chromium on the page of the example, as a user does. The example is its real binary. In front of it
// is a proxy that counts the refreshes and can lose their answers.
package browser

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var binary string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "signet-browser-*")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "example")
	if out, err := exec.Command("go", "build", "-o", binary, "github.com/signet-go/signet/example").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the example: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// site is the example behind the proxy.
type site struct {
	url       string
	refreshes atomic.Int64     // that have reached the example
	lose      atomic.Int64     // how many of 100 answers to refreshes are lost
	refuse    atomic.Int64     // how many of the next requests for orders are answered 401
	events    http.HandlerFunc // answers /events
	notes     http.HandlerFunc // answers /notes
}

func start(t *testing.T, args ...string) *site {
	t.Helper()
	cmd := exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), "SIGNET_SECRET=Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	target, err := url.Parse(strings.TrimSpace(strings.TrimPrefix(line, "listening on ")))
	require.NoError(t, err)
	s := &site{}
	forward := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/refresh-token"):
			s.refreshes.Add(1)
			if rand.Int64N(100) < s.lose.Load() {
				forward.ServeHTTP(httptest.NewRecorder(), r) // the example has answered, and the answer is lost
				panic(http.ErrAbortHandler)
			}
		case r.URL.Path == "/events" && s.events != nil:
			s.events(w, r)
			return
		case r.URL.Path == "/notes" && s.notes != nil:
			s.notes(w, r)
			return
		case strings.HasSuffix(r.URL.Path, "/orders") && s.refuse.Add(-1) >= 0:
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("WWW-Authenticate", `Bearer realm="api", error="invalid_token"`)
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"code":"invalid_token","message":"the token is expired"}`)
			return
		}
		r.Host = strings.Replace(r.Host, "127.0.0.1", "localhost", 1)
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	s.url = strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	return s
}

// tab is one tab of a browser.
type tab struct {
	ctx    context.Context
	mu     sync.Mutex
	faults []string // what the console shows as errors
}

// openBrowser returns the first tab of a new browser. A later option takes the place of an earlier one.
func openBrowser(t *testing.T, options ...chromedp.ExecAllocatorOption) *tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		missing(t, "Chromium is not installed (apt-get install chromium)")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-features", "BackForwardCache,Translate"), // chromedp loses a page that comes from that cache
		chromedp.WSURLReadTimeout(time.Minute))
	allocator, cancel := chromedp.NewExecAllocator(t.Context(), append(opts, options...)...)
	t.Cleanup(cancel)
	return newTab(t, allocator)
}

// missing ends the test: skipped, or failed when everything is required.
func missing(t *testing.T, reason string) {
	t.Helper()
	if os.Getenv("SIGNET_REQUIRE_SERVERS") == "1" {
		t.Fatalf("%s; required by SIGNET_REQUIRE_SERVERS=1", reason)
	}
	t.Skipf("%s; skipped", reason)
}

func newTab(t *testing.T, parent context.Context) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	b := &tab{ctx: ctx}
	chromedp.ListenTarget(ctx, func(event any) {
		text := ""
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			text = e.ExceptionDetails.Error()
		case *log.EventEntryAdded:
			if e.Entry.Level == log.LevelError && !strings.HasPrefix(e.Entry.Text, "Failed to load resource") {
				text = e.Entry.Text
			}
		}
		if text != "" {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.faults = append(b.faults, text)
		}
	})
	require.NoError(t, chromedp.Run(ctx)) // the tab lives as long as the context of its first call
	t.Cleanup(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		require.Empty(t, b.faults, "errors in the console")
	})
	return b
}

// second opens another tab of the same browser.
func (b *tab) second(t *testing.T) *tab { return newTab(t, b.ctx) }

func (b *tab) do(t *testing.T, actions ...chromedp.Action) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	require.NoError(t, chromedp.Run(ctx, actions...))
}

// eval runs a script, which may be a promise, and returns its value.
func eval[T any](t *testing.T, b *tab, script string) (value T) {
	t.Helper()
	b.do(t, chromedp.Evaluate(script, &value, func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }))
	return value
}

// wait waits until a script is true.
func (b *tab) wait(t *testing.T, script string) {
	t.Helper()
	require.Eventually(t, func() bool {
		var ok bool
		ctx, cancel := context.WithTimeout(b.ctx, 10*time.Second)
		defer cancel()
		return chromedp.Run(ctx, chromedp.Evaluate(script, &ok)) == nil && ok
	}, 20*time.Second, 50*time.Millisecond, "%s", script)
}

const (
	signedIn  = `!document.getElementById("signed-in").hidden && document.querySelectorAll("#profile dd").length === 4`
	signedOut = `!document.getElementById("signed-out").hidden`
)

func says(text string) string {
	return fmt.Sprintf(`document.getElementById("status").textContent.includes(%q)`, text)
}

// open opens the page in a mode.
func (b *tab) open(t *testing.T, s *site, mode string) {
	t.Helper()
	b.do(t, chromedp.Navigate(s.url+"/"), chromedp.WaitReady("#sign-in"), chromedp.Click(`input[value="`+mode+`"]`))
}

// signIn signs john in.
func (b *tab) signIn(t *testing.T) {
	t.Helper()
	b.wait(t, signedOut)
	b.do(t, chromedp.Click("#sign-in button"))
	b.wait(t, signedIn)
}

// module is a client of its own in the page, which shares the storage with the page's.
func module(mode string) string {
	mount := map[string]string{"bearer": "/api/v1/auth", "cookie": "/web/auth"}[mode]
	return fmt.Sprintf(`const {createClient} = await import("/signet.js"); const c = createClient({baseURL: %q, mode: %q});`, mount, mode)
}
