package bench

import (
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/labstack/echo/v4"

	"github.com/signet-go/signet"
	sessions "github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// guards are the services with one route, each with the library's own router. A bare service checks nothing.
var guards = []struct {
	name, router string
	algs         []string // nil: all
	route        wrapper
}{
	{name: "ServeMux", router: "ServeMux", route: onServeMux(unguarded)},
	{name: "signet", router: "ServeMux", route: onServeMux(requireAuth)},
	{name: "auth0-v3", router: "ServeMux", route: onServeMux(requireAuth0v3)},
	{name: "echo", router: "echo", route: bareEcho},
	{name: "echo-jwt", router: "echo", route: requireEcho},
	{name: "gin", router: "gin", algs: []string{"HS256"}, route: bareGin},
	{name: "gin-jwt", router: "gin", algs: []string{"HS256"}, route: requireGin},
	{name: "chi", router: "chi", route: onChi(unguarded)},
	{name: "jwtauth", router: "chi", route: onChi(requireJWTAuth)},
}

type wrapper func(k *keyPair, next http.Handler) (http.Handler, error)

func unguarded(_ *keyPair, next http.Handler) (http.Handler, error) { return next, nil }

// requireAuth is signet with default options, sessions included. The tokens are those of the other libraries.
func requireAuth(k *keyPair, next http.Handler) (http.Handler, error) {
	auth, err := signet.New(userstore.NewMemory(), signetKey(k), signet.WithIssuer(issuer), signet.WithAudience(audience),
		signet.WithLogger(silent))
	if err != nil {
		return nil, err
	}
	return auth.RequireAuth(next), nil
}

func bareEcho(_ *keyPair, next http.Handler) (http.Handler, error) {
	e := echo.New()
	e.GET("/orders", echo.WrapHandler(next))
	return e, nil
}

func bareGin(_ *keyPair, next http.Handler) (http.Handler, error) {
	gin.SetMode(gin.ReleaseMode)
	e := gin.New()
	e.GET("/orders", gin.WrapH(next))
	return e, nil
}

func onServeMux(wrap wrapper) wrapper {
	return func(k *keyPair, next http.Handler) (http.Handler, error) {
		guarded, err := wrap(k, next)
		mux := http.NewServeMux()
		mux.Handle("GET /orders", guarded)
		return mux, err
	}
}

func onChi(wrap wrapper) wrapper {
	return func(k *keyPair, next http.Handler) (http.Handler, error) {
		guarded, err := wrap(k, next)
		router := chi.NewRouter()
		router.Method(http.MethodGet, "/orders", guarded)
		return router, err
	}
}

// orders is the handler of all services.
var orders = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	w.Header()["Content-Type"] = []string{"application/json"}
	w.Write([]byte(`{"orders":[]}`))
})

func guardService(spec childSpec) (*service, error) {
	k := &keyPair{alg: spec.Alg, secret: spec.Secret}
	if spec.Private != nil {
		key, err := x509.ParsePKCS8PrivateKey(spec.Private)
		if err != nil {
			return nil, err
		}
		k.private = key.(crypto.Signer)
	}
	for _, g := range guards {
		if g.name == spec.Lib {
			handler, err := g.route(k, orders)
			return &service{handler: handler}, err
		}
	}
	return nil, fmt.Errorf("no library %q here", spec.Lib)
}

// crowdOf makes the tokens of n users on all cores. Each user has a session.
func crowdOf(t testing.TB, k *keyPair, n int) []string {
	tokens := make([]string, n)
	now := time.Now()
	err := together(runtime.GOMAXPROCS(0), n, func(_, i int) (err error) {
		c := newClaims(now)
		c.Subject = strconv.Itoa(i + 1)
		c.Session = sessions.NewID(c.Subject)
		tokens[i], err = k.token(c)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

// together calls work for each i below n, from several workers. It stops at the first error.
func together(workers, n int, work func(worker, i int) error) error {
	var next atomic.Int64
	errs := make([]error, workers)
	var wg sync.WaitGroup
	for worker := range workers {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[worker] = work(worker, i); errs[worker] != nil {
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// measureGuards measures the services of one algorithm in turn. All of them live for all rounds, because a service
// that gets no request costs nothing.
func measureGuards(t *testing.T, size serviceSize, alg string) (rows []GuardRun, pinned bool) {
	k, err := newKeys(alg)
	if err != nil {
		t.Fatal(err)
	}
	spec := childSpec{Kind: "guard", Alg: alg, Secret: k.secret}
	if k.private != nil {
		if spec.Private, err = x509.MarshalPKCS8PrivateKey(k.private); err != nil {
			t.Fatal(err)
		}
	}
	counts := size.tokens[alg]
	tokens := crowdOf(t, k, counts[len(counts)-1])
	serviceCore, generatorCore, pinned := cores()
	if pinned {
		pinSelf(t, generatorCore)
		spec.core, spec.alone = serviceCore, true
	}
	var services []*child
	for _, g := range guards {
		if g.algs != nil && !slices.Contains(g.algs, alg) {
			continue
		}
		for i, n := range counts {
			// A bare service does not look at tokens. The peers keep nothing, and with ES256 the memory that the tokens come
			// from is no part of their cost.
			if i > 0 && (g.name == g.router || alg != "HS256" && g.name != "signet") {
				break
			}
			spec.Lib = g.name
			c := startChild(t, spec, nil)
			c.warm(tokens[:n], g.name == "signet", g.name != g.router)
			services = append(services, c)
			rows = append(rows, GuardRun{Alg: alg, Name: g.name, Router: g.router, Tokens: n})
		}
	}
	for range size.rounds {
		for i := range rows {
			services[i].measure(size, tokens[:rows[i].Tokens], &rows[i])
		}
	}
	return rows, pinned
}

// warm sends each token once if the service keeps something of them, and otherwise a few. It also checks that a
// guarded service refuses a forged token.
func (c *child) warm(tokens []string, keeps, guarded bool) {
	c.t.Helper()
	n := len(tokens)
	if !keeps {
		n = min(n, 10_000)
	}
	conns := c.dial(connections)
	defer hangUp(conns)
	err := together(connections, n, func(worker, i int) error {
		return want(http.StatusOK)(conns[worker].get("/orders", tokens[i]))
	})
	status, forged := conns[0].get("/orders", flipped(tokens[0]))
	if err := errors.Join(err, forged); err != nil {
		c.fail(err)
	}
	if guarded != (status == http.StatusUnauthorized) {
		c.t.Fatalf("a forged token was answered %d", status)
	}
}

// want makes an error of an answer with another status.
func want(status int) func(got int, err error) error {
	return func(got int, err error) error {
		if err == nil && got != status {
			err = fmt.Errorf("the service answered %d, want %d", got, status)
		}
		return err
	}
}

// measure runs a closed loop: each connection sends its next request when it has the answer. The tokens are drawn at
// random. The first part of the loop is not measured.
func (c *child) measure(size serviceSize, tokens []string, row *GuardRun) {
	c.t.Helper()
	conns := c.dial(connections)
	defer hangUp(conns)
	var done atomic.Int64
	var measuring, stop atomic.Bool
	latencies := make([][]time.Duration, connections)
	loops := make(chan error, 1)
	go func() {
		loops <- together(connections, connections, func(_, worker int) error {
			draw := rand.New(rand.NewPCG(uint64(worker), 1))
			for !stop.Load() {
				began := time.Now()
				if err := want(http.StatusOK)(conns[worker].get("/orders", tokens[draw.IntN(len(tokens))])); err != nil {
					return err
				}
				done.Add(1)
				if measuring.Load() {
					latencies[worker] = append(latencies[worker], time.Since(began))
				}
			}
			return nil
		})
	}()
	time.Sleep(size.time / 5)
	used, before, began := c.cpu(), done.Load(), time.Now()
	measuring.Store(true)
	time.Sleep(size.time)
	for done.Load() == before && len(loops) == 0 { // a short measurement on a busy machine
		time.Sleep(time.Millisecond)
	}
	used, n, took := c.cpu()-used, float64(done.Load()-before), time.Since(began)
	stop.Store(true)
	if err := <-loops; err != nil {
		c.fail(err)
	}
	all := slices.Concat(latencies...)
	row.Rate = append(row.Rate, n/took.Seconds())
	if used > 0 {
		row.CPU = append(row.CPU, float64(used.Nanoseconds())/n)
	}
	row.P50 = append(row.P50, quantile(all, 0.5))
	row.P99 = append(row.P99, quantile(all, 0.99))
}
