package bench

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

var (
	serviceOut    = flag.String("service", "", "where TestService writes a whole measurement; with -short, a short one")
	serviceRounds = flag.Int("service-rounds", 5, "rounds of that measurement")
	serviceTime   = flag.Duration("service-time", 3*time.Second, "how long one measurement of it takes")
)

// connections is how many clients a service has.
const connections = 32

// serviceSize says how much is measured.
type serviceSize struct {
	rounds   int
	time     time.Duration
	settle   time.Duration // how long a store has time for the proofs of delivery of a round
	sessions int
	logins   int              // clients that log in at the same time
	tokens   map[string][]int // by algorithm: how many live tokens there are
}

// TestService measures whole services. Without the flag -service, or with -short, it does so for a moment, so that
// the bench stays correct.
func TestService(t *testing.T) {
	size := serviceSize{rounds: 1, time: 50 * time.Millisecond, settle: 200 * time.Millisecond, sessions: 64,
		logins: 4, // a slow machine answers 503 to clients that wait for many hashes of others
		tokens: map[string][]int{"HS256": {1, 20, 100}, "ES256": {1, 20, 100}}}
	if *serviceOut != "" && !testing.Short() {
		size = serviceSize{rounds: *serviceRounds, time: *serviceTime, settle: proofLimit + 100*time.Millisecond,
			sessions: 12_000, logins: 16,
			tokens: map[string][]int{"HS256": {1, 10_000, 1_000_000}, "ES256": {1, 10_000, 100_000, 1_000_000}}}
	}
	run := ServiceRun{Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: cpuName(),
		Cores: runtime.NumCPU(), Rounds: size.rounds, Seconds: size.time.Seconds(), Connections: connections}
	for _, alg := range []string{"HS256", "ES256"} {
		t.Run(alg, func(t *testing.T) {
			var rows []GuardRun
			rows, run.Pinned = measureGuards(t, size, alg)
			run.Guards = append(run.Guards, rows...)
		})
	}
	t.Run("stores", func(t *testing.T) { run.Stores, run.Missing = measureStores(t, size) })
	t.Run("login", func(t *testing.T) { run.Login = measureLogin(t, size) })
	text, err := json.MarshalIndent(run, "", "\t")
	if err != nil {
		t.Fatal(err)
	}
	file := *serviceOut
	if file == "" {
		file = filepath.Join(t.TempDir(), "run.json")
	}
	if err := os.WriteFile(file, text, 0o644); err != nil {
		t.Fatal(err)
	}
	if t.Failed() {
		t.Fatalf("a part failed; what was measured is in %s", file) // minutes of measurements are not thrown away
	}
	checkService(t, run)
}

// checkService finds measurements that mean nothing.
func checkService(t *testing.T, run ServiceRun) {
	for _, g := range run.Guards {
		if Median(g.Rate) <= 0 || Median(g.P99) < Median(g.P50) || len(g.Rate) != run.Rounds {
			t.Errorf("%s %s with %d tokens: %+v", g.Alg, g.Name, g.Tokens, g)
		}
	}
	for _, s := range run.Stores {
		if s.Lost != 0 {
			t.Errorf("%s: %d sessions were lost", s.Name, s.Lost)
		}
		if s.Rotated < 0.99 {
			t.Errorf("%s: only %.3f of the refreshes rotated", s.Name, s.Rotated)
		}
		if Median(s.Refresh) <= 0 || Median(s.Raw) <= 0 || Median(s.Proved) <= 0 || Median(s.Checked) <= 0 {
			t.Errorf("%s: %+v", s.Name, s)
		}
	}
	if l := run.Login; Median(l.Logins) <= 0 || Median(l.Hashes) <= 0 || Median(l.BesideMax) < Median(l.Beside99) {
		t.Errorf("%+v", l)
	}
}

// A server that is not installed must not skip what needs no server.
func TestMissingStore(t *testing.T) {
	for _, missing := range []bool{true, false} {
		_, ok := ifInstalled(t, func(t testing.TB) storeSpec {
			if missing {
				t.Skipf("not installed")
			}
			return storeSpec{}
		})
		if ok == missing {
			t.Errorf("missing is %t, and the store is here: %t", missing, ok)
		}
	}
}
