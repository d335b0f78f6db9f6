package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/signet-go/signet/bench"
)

// The numbers are round on purpose.
var aService = bench.ServiceRun{
	Go: "go1.99", OS: "linux", Arch: "amd64", CPU: "Some CPU", Cores: 2,
	Rounds: 3, Seconds: 1, Connections: 32, Pinned: true,
	Guards: []bench.GuardRun{
		{Alg: "HS256", Name: "ServeMux", Router: "ServeMux", Tokens: 1, Rate: []float64{100}, CPU: []float64{10e3}},
		{Alg: "HS256", Name: "signet", Router: "ServeMux", Tokens: 1_000_000, Rate: []float64{50},
			CPU: []float64{11e3, 12e3, 15e3}},
		{Alg: "ES256", Name: "ServeMux", Router: "ServeMux", Tokens: 1, Rate: []float64{1000}},
		{Alg: "ES256", Name: "signet", Router: "ServeMux", Tokens: 1, Rate: []float64{800}},
		{Alg: "ES256", Name: "signet", Router: "ServeMux", Tokens: 100_000, Rate: []float64{400}},
	},
	Stores: []bench.StoreRun{{
		Name: "PostgreSQL", Refresh: []float64{600, 500, 700}, Raw: []float64{1000}, P50: []float64{2e6}, P99: []float64{9e6},
		RawP50: []float64{1e6}, RawP99: []float64{8e6}, RefreshCPU: []float64{5e3}, RawCPU: []float64{4e3},
		Rotated: 1, Proved: []float64{300}, Checked: []float64{400}, Stored: []float64{0.5}, HOT: 0.25,
	}},
	Missing: []string{"MariaDB"},
	Login: bench.LoginRun{
		Clients: 16, PerSecond: 1000, Hashes: []float64{100}, Logins: []float64{90}, LoginsBeside: []float64{80},
		Alone50: []float64{1e6}, Alone99: []float64{2e6}, AloneMax: []float64{3e6}, AloneRate: []float64{1000},
		Beside50: []float64{4e6}, Beside99: []float64{5e6}, BesideMax: []float64{6e6}, BesideRate: []float64{999},
	},
}

func TestServicePage(t *testing.T) {
	dir := t.TempDir()
	in, md, svg := filepath.Join(dir, "run.json"), filepath.Join(dir, "page.md"), filepath.Join(dir, "page.svg")
	text, err := json.Marshal(aService)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(in, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runService(in, md, svg); err != nil {
		t.Fatal(err)
	}
	for file, wants := range map[string][]string{
		md: {
			"go1.99, linux/amd64, Some CPU, cores: 2. Medians; rounds: 3,",
			"](page.svg)",
			"| ES256, 100,000 live tokens: requests/s, of those with one token | 50% | 0% |",
			"| HS256, 1,000,000 live tokens: CPU time over a bare request | +20% | 33% |",
			"| PostgreSQL: refreshes/s, of those of a bare service | 0.60 | 33% |",
			"| PostgreSQL: proofs of delivery that are stored within 2 s | 50% | 0% |",
			"| PostgreSQL: HOT updates, of all updates | 25% | |",
			"| logins/s, of bare hashes/s | 0.90 | 0% |",
			"| ServeMux, bare | - | 0% | 10.00 | 100 | 0, 0 |",
			"| signet on ServeMux, 1,000,000 | +20% | 33% | 12.00 | 50.0 | 0, 0 |",
			"| signet on ServeMux, 100,000 | +150% | 0% | - | 400 | 0, 0 |",
			"| PostgreSQL | 0.60 | 33% | 600 | 1,000 | 2.0, 9.0 | 1.0, 8.0 | 5, 4 | 0 |",
			"| PostgreSQL | 50% | 0% | 0.75 | 300 | 400 |",
			"not measured: MariaDB.",
			"| logins and requests | 0.80 | 80.0 | 0% | 4.0, 5.0, 6.0 | 999 |",
		},
		svg: {"Login check, HS256", "signet on ServeMux, 1,000,000", "+20%", "PostgreSQL", "0.60"},
	} {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range wants {
			if !strings.Contains(string(got), want) {
				t.Errorf("no %q in\n%s", want, got)
			}
		}
	}
}

func TestMedianAndSpread(t *testing.T) {
	for _, c := range []struct {
		values         []float64
		median, spread float64
	}{
		{nil, 0, 0},
		{[]float64{4}, 4, 0},
		{[]float64{3, 1}, 2, 1},
		{[]float64{9, 1, 4}, 4, 2},
	} {
		if median, spread := bench.Median(c.values), bench.Spread(c.values); median != c.median || spread != c.spread {
			t.Errorf("%v: median %g, spread %g", c.values, median, spread)
		}
	}
}
