//go:build figures

package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// These tests print the figures of logins. Run them on a quiet machine: make figures-login. The service is a process of its
// own, so that its memory and its threads are its own.

// loginService is the environment variable that makes the test binary such a service.
const loginService = "SIGNET_LOGIN_SERVICE"

const loginPassword = "correct horse battery staple"

// TestLoginFiguresService is the service. It does nothing when it runs as a test.
func TestLoginFiguresService(t *testing.T) {
	if os.Getenv(loginService) == "" {
		return
	}
	hasher := password.Default()
	hash, err := hasher.Hash(loginPassword)
	require.NoError(t, err)
	users := userstore.NewMemory()
	for i := range 1000 {
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: fmt.Sprint("u", i), Email: fmt.Sprintf("u%d@mail.com", i), PasswordHash: hash}))
	}
	auth, err := signet.New(users, keys.Secret([]byte(secret)), signet.WithLogger(silent))
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.Handle("GET /guarded", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })))
	mux.HandleFunc("GET /bare", func(w http.ResponseWriter, _ *http.Request) { // bare hashes a second, without the gate
		fmt.Fprint(w, bareHashes(hasher, hash, min(runtime.NumCPU(), runtime.GOMAXPROCS(0)), 3*time.Second))
	})
	mux.HandleFunc("GET /memory", func(w http.ResponseWriter, r *http.Request) { // resident bytes now and at most since the last call
		if r.URL.Query().Has("free") {
			debug.FreeOSMemory()
		}
		now, most := resident()
		fmt.Fprint(w, now, " ", most)
		os.WriteFile("/proc/self/clear_refs", []byte("5"), 0) // begins a new maximum
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	fmt.Println(listener.Addr())
	server := &http.Server{Handler: mux, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() {
		io.Copy(io.Discard, os.Stdin) // ends with the parent
		server.Close()
	}()
	server.Serve(listener)
}

// bareHashes returns how many hashes a second this many goroutines verify.
func bareHashes(hasher password.Hasher, hash string, parallel int, during time.Duration) float64 {
	var done atomic.Int64
	var all sync.WaitGroup
	start := time.Now()
	for range parallel {
		all.Go(func() {
			for time.Since(start) < during {
				hasher.Verify(hash, loginPassword)
				done.Add(1)
			}
		})
	}
	all.Wait()
	return float64(done.Load()) / time.Since(start).Seconds()
}

// resident returns the memory of this process that is in RAM, now and at most.
func resident() (now, most int64) {
	text, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(text)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			now = kib << 10
		}
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			most = kib << 10
		}
	}
	return now, most
}

// startLogins starts a service and returns its address. If this process has a higher priority than others, the service has not:
// the clients of a service are on other machines, so it is not the service that makes them wait for a core.
func startLogins(t *testing.T, procs int) string {
	t.Helper()
	program := []string{os.Args[0], "-test.run=^TestLoginFiguresService$"}
	if own, err := syscall.Getpriority(syscall.PRIO_PROCESS, 0); err == nil && own > 20 { // the system call returns 20 - nice
		program = append([]string{"nice", "-n", strconv.Itoa(own - 20)}, program...)
	}
	cmd := exec.Command(program[0], program[1:]...)
	cmd.Env = append(os.Environ(), loginService+"=1", fmt.Sprint("GOMAXPROCS=", procs))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	address, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	return strings.TrimSpace(address)
}

// clientFrom returns an HTTP client with its own address, 127.0.0.n.
func clientFrom(n byte) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, n)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, MaxIdleConnsPerHost: 1000}}
}

// logIn logs a user in and returns the status and the access token.
func logIn(client *http.Client, address string, user int) (int, string) {
	body := fmt.Sprintf(`{"email":"u%d@mail.com","password":%q}`, user, loginPassword)
	answer, err := client.Post("http://"+address+"/auth/login", "application/json", strings.NewReader(body))
	if err != nil {
		return 0, ""
	}
	defer answer.Body.Close()
	var tokens map[string]any
	json.NewDecoder(answer.Body).Decode(&tokens)
	for _, name := range []string{"access_token", "accessToken", "token"} {
		if token, ok := tokens[name].(string); ok {
			return answer.StatusCode, token
		}
	}
	return answer.StatusCode, ""
}

func fetch(t *testing.T, address, path string) string {
	t.Helper()
	answer, err := http.Get("http://" + address + path)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return string(text)
}

func bareRate(t *testing.T, address string) float64 {
	t.Helper()
	rate, err := strconv.ParseFloat(fetch(t, address, "/bare"), 64)
	require.NoError(t, err)
	return rate
}

// keepLoggingIn logs in with this many clients until ctx ends. It returns how many got tokens. Clients that are told to come
// back later wait for a second.
func keepLoggingIn(ctx context.Context, client *http.Client, address string, clients int) (count *atomic.Int64, end func()) {
	count = new(atomic.Int64)
	ctx, cancel := context.WithCancel(ctx)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			for ctx.Err() == nil {
				if status, _ := logIn(client, address, i); status == http.StatusCreated || status == http.StatusOK {
					count.Add(1)
					continue
				}
				select {
				case <-ctx.Done():
				case <-time.After(time.Second):
				}
			}
		})
	}
	return count, func() { cancel(); all.Wait() }
}

// TestLoginFiguresRate compares logins with bare hashes, in turn.
func TestLoginFiguresRate(t *testing.T) {
	address := startLogins(t, runtime.NumCPU())
	var logins, bare []float64
	for range 5 {
		bare = append(bare, bareRate(t, address))
		count, end := keepLoggingIn(t.Context(), clientFrom(2), address, 16)
		time.Sleep(500 * time.Millisecond)
		before, start := count.Load(), time.Now()
		time.Sleep(3 * time.Second)
		logins = append(logins, float64(count.Load()-before)/time.Since(start).Seconds())
		end()
	}
	l, b := middle(logins), middle(bare)
	say(t, l >= 0.95*b, "16 clients: logins a second against bare hashes", "at least 95 %", "%.0f %% (%.1f of %.1f)", 100*l/b, l, b)
}

// middle returns the median.
func middle(list []float64) float64 {
	list = slices.Sorted(slices.Values(list))
	return list[len(list)/2]
}

// TestLoginFiguresFairness logs in from ten addresses at once, alone and while another address has 500 logins.
func TestLoginFiguresFairness(t *testing.T) {
	address := startLogins(t, runtime.NumCPU())
	hash := time.Duration(float64(time.Second) * float64(runtime.NumCPU()) / bareRate(t, address))
	var clients []*http.Client
	for i := range 10 {
		clients = append(clients, clientFrom(byte(10+i)))
	}
	tenLogins := func() (waits []time.Duration) {
		waits = make([]time.Duration, 10)
		var all sync.WaitGroup
		for i, client := range clients {
			all.Go(func() {
				start := time.Now()
				if status, token := logIn(client, address, 900+i); token == "" {
					t.Errorf("an honest login got %d", status)
				}
				waits[i] = time.Since(start)
			})
		}
		all.Wait()
		return waits
	}
	rounds := func() (mean, worst time.Duration) {
		var sum, last time.Duration
		for range 15 {
			waits := tenLogins()
			for _, wait := range waits {
				sum += wait
			}
			last += percentile(waits, 1)
			time.Sleep(5*hash + rand.N(4*hash))
		}
		return sum / 150, last / 15
	}
	tenLogins()
	meanAlone, lastAlone := rounds()
	_, end := keepLoggingIn(t.Context(), clientFrom(2), address, 500)
	time.Sleep(2 * time.Second)
	mean, last := rounds()
	end()
	longer := func(with, alone time.Duration) float64 { return float64(with-alone) / float64(hash) }
	say(t, longer(last, lastAlone) <= 3 && longer(mean, meanAlone) <= 3, "500 logins of one address: 10 of others wait longer by",
		"at most 3 hashes", "%.1f hashes, the last of ten %.1f (a hash takes %s)", longer(mean, meanAlone), longer(last, lastAlone), hash.Round(time.Millisecond/10))
}

// TestLoginFiguresMemory measures the memory that 500 parallel logins take.
func TestLoginFiguresMemory(t *testing.T) {
	address := startLogins(t, runtime.NumCPU())
	memory := func(query string) (now, most int64) {
		_, err := fmt.Sscan(fetch(t, address, "/memory"+query), &now, &most)
		require.NoError(t, err)
		return now, most
	}
	memory("?free")
	before, _ := memory("?free")
	_, end := keepLoggingIn(t.Context(), clientFrom(2), address, 500)
	time.Sleep(10 * time.Second)
	_, most := memory("")
	end()
	goal := int64(runtime.NumCPU())*19<<20 + 64<<20
	say(t, most-before <= goal, "500 parallel logins: resident memory over that of the idle service", fmt.Sprintf("at most %d MiB (cores x 19 + 64)", goal>>20),
		"%d MiB (%d idle)", (most-before)>>20, before>>20)
}

// TestLoginFiguresRequireAuth sends 1,000 guarded requests a second while people log in. A request's time counts from when it
// was due.
func TestLoginFiguresRequireAuth(t *testing.T) {
	type result struct {
		p50, p99, alone time.Duration
		logins          float64
	}
	measure := func(procs int) (r result) {
		address := startLogins(t, procs)
		_, token := logIn(http.DefaultClient, address, 1)
		require.NotEmpty(t, token)
		r.alone = percentile(paced(t, address, token, 3*time.Second), 0.99)
		count, end := keepLoggingIn(t.Context(), clientFrom(2), address, 16)
		defer end()
		time.Sleep(500 * time.Millisecond)
		before, start := count.Load(), time.Now()
		times := paced(t, address, token, 8*time.Second)
		r.logins = float64(count.Load()-before) / time.Since(start).Seconds()
		r.p50, r.p99 = percentile(times, 0.5), percentile(times, 0.99)
		return r
	}
	var few, many []result
	for range 3 {
		few, many = append(few, measure(runtime.NumCPU())), append(many, measure(2*runtime.NumCPU()))
	}
	of := func(list []result, what func(result) float64) float64 {
		var values []float64
		for _, r := range list {
			values = append(values, what(r))
		}
		return middle(values)
	}
	ms := func(d time.Duration) float64 { return float64(d) / 1e6 }
	p99 := func(r result) float64 { return ms(r.p99) }
	p50 := func(r result) float64 { return ms(r.p50) }
	logins := func(r result) float64 { return r.logins }
	alone := func(r result) float64 { return ms(r.alone) }
	results.note(t, "     RequireAuth while 16 clients log in, GOMAXPROCS = cores: p50 %.1f ms, p99 %.1f ms (alone %.1f); %.0f logins a second",
		of(few, p50), of(few, p99), of(few, alone), of(few, logins))
	share := of(many, logins) / of(few, logins)
	say(t, of(many, p99) <= 8 && share >= 0.8, "the same, GOMAXPROCS = 2 x cores", "p99 at most 8 ms, 80 % of the logins",
		"p50 %.1f ms, p99 %.1f ms (alone %.1f); %.0f logins a second, %.0f %%", of(many, p50), of(many, p99), of(many, alone), of(many, logins), 100*share)
}

// paced sends 1,000 requests a second and returns the time of each.
func paced(t *testing.T, address, token string, during time.Duration) []time.Duration {
	t.Helper()
	client := clientFrom(3)
	times := make([]time.Duration, int(during/time.Millisecond))
	var all sync.WaitGroup
	start := time.Now()
	for i := range times {
		due := start.Add(time.Duration(i) * time.Millisecond)
		time.Sleep(time.Until(due))
		all.Go(func() {
			r, _ := http.NewRequest("GET", "http://"+address+"/guarded", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			answer, err := client.Do(r)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Errorf("guarded request: %v", err)
				return
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			times[i] = time.Since(due)
		})
	}
	all.Wait()
	return times
}

// TestLoginFiguresEvenRefusals compares the times of refused logins. The hash is a cheap one, so that a difference of well
// under a microsecond would show.
func TestLoginFiguresEvenRefusals(t *testing.T) {
	hasher := password.Argon2id{Memory: 8, Iterations: 1}
	hash, err := hasher.Hash(loginPassword)
	require.NoError(t, err)
	users := userstore.NewMemory()
	for i := range 1000 {
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: fmt.Sprint("u", i), Email: fmt.Sprintf("known%03d@mail.com", i), PasswordHash: hash}))
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: fmt.Sprint("d", i), Email: fmt.Sprintf("other%03d@mail.com", i), PasswordHash: hash, Disabled: true}))
	}
	unlimited := throttle.New(nil, throttle.Config{InsecureOff: true})
	auth := newAuth(t, users, new(session.Memory), signet.WithPasswordHasher(hasher), signet.WithLogin(signet.LoginPolicy{Throttle: unlimited}))
	throttled := newAuth(t, users, new(session.Memory), signet.WithPasswordHasher(hasher))
	for range 11 {
		for _, email := range []string{"known001@mail.com", "nobod001@mail.com"} {
			_, _ = throttled.Login(t.Context(), email, "wrong") // the answers are checked below
		}
	}
	closed := func(email string) func(int) (string, string) {
		return func(int) (string, string) { return email, loginPassword }
	}
	refusals := map[string]func(i int) (email, pass string){
		"throttled unknown address": closed("nobod001@mail.com"),
		"throttled known address":   closed("known001@mail.com"),
		"unknown address":           func(i int) (string, string) { return fmt.Sprintf("nobod%03d@mail.com", i%1000), loginPassword },
		"wrong password": func(i int) (string, string) {
			return fmt.Sprintf("known%03d@mail.com", i%1000), "correct horse battery stable"
		},
		"disabled user": func(i int) (string, string) { return fmt.Sprintf("other%03d@mail.com", i%1000), loginPassword },
	}
	for _, pair := range [][2]string{{"throttled unknown address", "throttled known address"}, // first, because they are throttled for 30 s
		{"unknown address", "wrong password"}, {"unknown address", "disabled user"}, {"wrong password", "disabled user"}} {
		service, want := auth, signet.ErrInvalidCredentials
		if strings.HasPrefix(pair[0], "throttled") {
			service, want = throttled, signet.ErrTooManyAttempts
		}
		var times [2][]float64
		for i := range 20_000 {
			order := []int{0, 1}
			if rand.N(2) == 0 {
				order = []int{1, 0}
			}
			for _, side := range order {
				email, pass := refusals[pair[side]](i)
				start := time.Now()
				_, err := service.Login(t.Context(), email, pass)
				took := time.Since(start)
				require.ErrorIs(t, err, want)
				times[side] = append(times[side], float64(took))
			}
		}
		tt, a, b := welch(times[0], times[1])
		say(t, math.Abs(tt) < 4.5, fmt.Sprintf("%s against %s, 20,000 pairs", pair[0], pair[1]), "Welch |t| < 4.5", "t %.2f (%.2f and %.2f us)", tt, a/1e3, b/1e3)
	}
}

// welch returns Welch's t and the two means.
func welch(a, b []float64) (t, meanA, meanB float64) {
	of := func(list []float64) (mean, variance float64) {
		for _, x := range list {
			mean += x / float64(len(list))
		}
		for _, x := range list {
			variance += (x - mean) * (x - mean) / float64(len(list)-1)
		}
		return mean, variance
	}
	meanA, varA := of(a)
	meanB, varB := of(b)
	return (meanA - meanB) / math.Sqrt(varA/float64(len(a))+varB/float64(len(b))), meanA, meanB
}
