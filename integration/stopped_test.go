package integration

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/userstore"
)

// guardedStaleness is how long the process of TestFaultsStopped accepts tokens without the store. The default would be 30
// seconds.
const guardedStaleness = 2 * time.Second

// TestFaultsStopped stops a process (SIGSTOP) for longer than its staleness bound, while sessions are revoked. When it
// continues, it answers 503 to everybody until it has caught up: never 200 for a token that was revoked meanwhile, and never
// 401 for a good one.
func TestFaultsStopped(t *testing.T) {
	for _, kind := range []store{postgres, redisOne} {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			host := kind.host(t)
			at := host.fresh(t)
			people := newCrowd()
			other := startMember(t, people.users, at.sessions(t))
			p := startGuarded(t, at)
			good, ending := people.add(t, other.auth, 20, 1), people.add(t, other.auth, 20, 1)
			require.Equal(t, map[int]int{200: 40}, statuses(t, p.url, good, ending))

			stop(t, p)
			stopped := time.Now()
			hanging := make(chan map[int]int)
			go func() { hanging <- statuses(t, p.url, good, ending) }()
			beginLogouts(ending, other.url).next(t, len(ending))
			time.Sleep(time.Until(stopped.Add(guardedStaleness + time.Second)))
			host.server.Pause() // so that it cannot catch up yet
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGCONT))
			took := time.Since(stopped)
			require.Equal(t, map[int]int{503: 40}, <-hanging, "requests that were sent while the process was stopped")
			require.Equal(t, map[int]int{503: 40}, statuses(t, p.url, good, ending), "it has not caught up")

			host.server.Resume()
			resumed := time.Now()
			for done := false; !done; {
				ofGood, ofEnded := statuses(t, p.url, good), statuses(t, p.url, ending)
				require.Zero(t, ofGood[401], "401 for a good token: %v", ofGood)
				require.Zero(t, ofEnded[200], "200 for a token that was revoked: %v", ofEnded)
				done = ofGood[200] == len(good) && ofEnded[401] == len(ending)
				require.Less(t, time.Since(resumed), 2*followBound, "%v %v", ofGood, ofEnded)
			}
			results.note(t, "%-12s a process stopped for %v, staleness bound %v: 503 until it has caught up, %v after it could",
				kind.name, took.Round(100*time.Millisecond), guardedStaleness, time.Since(resumed).Round(10*time.Millisecond))
		})
	}
}

// stop stops a process. It returns when all its threads have stopped.
func stop(t testing.TB, p *program) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGSTOP))
	require.Eventually(t, func() bool {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
		for _, thread := range threads {
			stat, errRead := os.ReadFile(thread)
			if errRead != nil || !strings.Contains(string(stat), ") T ") {
				return false
			}
		}
		return err == nil && len(threads) > 0
	}, 5*time.Second, time.Millisecond)
}

// statuses asks with all access tokens of people, and counts the statuses of the answers. 0 counts those without an answer.
func statuses(t testing.TB, url string, groups ...[]person) map[int]int {
	t.Helper()
	n := map[int]int{}
	for _, people := range groups {
		got := make(chan int)
		for _, p := range people {
			go func() {
				a, err := callProfile(url, p.pairs[0].Access)
				if err != nil {
					t.Log(err)
				}
				got <- a.status
			}()
		}
		for range people {
			n[<-got]++
		}
	}
	return n
}

// guardedPlace is the environment variable that makes the test binary such a process. It says where the sessions are.
const guardedPlace = "SIGNET_INTEGRATION_PLACE"

type guardedStore struct {
	Redis, Driver, DSN string
	Dialect            sqlstore.Dialect
}

// startGuarded starts a process that can be stopped, with one route behind RequireAuth.
func startGuarded(t testing.TB, at place) *program {
	t.Helper()
	var where guardedStore
	if at.database != nil {
		where = guardedStore{Driver: at.database.driver, DSN: at.database.dsn, Dialect: at.database.dialect}
	} else {
		where.Redis = at.args[1]
	}
	text, err := json.Marshal(where)
	require.NoError(t, err)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), guardedPlace+"="+string(text))
	p, await := launchCommand(t, cmd)
	t.Cleanup(func() { p.cmd.Process.Signal(syscall.SIGCONT) }) // so that it can end
	require.NoError(t, await())
	return p
}

func serveGuarded(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var where guardedStore
	if err := json.Unmarshal([]byte(text), &where); err != nil {
		return err
	}
	sessions, err := where.open()
	if err != nil {
		return err
	}
	auth, err := signet.New(userstore.NewMemory(), keys.Secret([]byte(secret)), signet.WithSessionStore(sessions),
		signet.WithMaxStaleness(guardedStaleness))
	if err != nil {
		return err
	}
	defer auth.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println("listening on http://" + listener.Addr().String())
	server := &http.Server{Handler: auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
	}))}
	go server.Serve(listener)
	<-ctx.Done()
	return server.Close()
}

func (g guardedStore) open() (session.Store, error) {
	if g.Redis != "" {
		options, err := redis.ParseURL(g.Redis)
		if err != nil {
			return nil, err
		}
		options.ContextTimeoutEnabled = true
		return redisstore.New(redis.NewClient(options))
	}
	db, err := sql.Open(g.Driver, g.DSN)
	if err != nil {
		return nil, err
	}
	return sqlstore.NewSessions(db, g.Dialect)
}
