package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/signet-go/signet/bench"
	"golang.org/x/perf/benchfmt"
	"golang.org/x/perf/benchmath"
)

// results are the medians of one run.
type results struct {
	cpu, goos, goarch, procs string

	groups []string // in the order of the input: RequireAuth/HS256/cold, Issue/EdDSA, LiveTokens, ...
	rows   map[string][]row
}

// row is one benchmark, with the medians over all its runs.
type row struct {
	name          string // the last part of the benchmark's name
	ns, bytes     float64
	allocs        float64
	spread        float64 // (max-min)/median of ns
	runs          int
	group, family string
}

func (r row) kind() bench.Kind { return bench.KindOf(r.name) }

// read refuses a run with a failure in it. A library that failed would be missing from a table, as if it had been left out.
func read(source io.Reader) (*results, error) {
	text, err := io.ReadAll(source)
	if err != nil {
		return nil, err
	}
	if err := failures(text); err != nil {
		return nil, err
	}
	res := &results{rows: make(map[string][]row)}
	values := make(map[string]map[string][]float64)
	var order []string
	reader := benchfmt.NewReader(bytes.NewReader(text), "benchmark output")
	for reader.Scan() {
		switch rec := reader.Result().(type) {
		case *benchfmt.SyntaxError:
			return nil, rec
		case *benchfmt.Result:
			name, procs := split(rec.Name)
			res.cpu, res.goos, res.goarch = rec.GetConfig("cpu"), rec.GetConfig("goos"), rec.GetConfig("goarch")
			res.procs = procs
			if values[name] == nil {
				values[name] = make(map[string][]float64)
				order = append(order, name)
			}
			for _, unit := range []string{"sec/op", "B/op", "allocs/op"} {
				if v, ok := rec.Value(unit); ok {
					values[name][unit] = append(values[name][unit], v)
				}
			}
		}
	}
	if err := reader.Err(); err != nil {
		return nil, err
	}
	if len(order) == 0 {
		return nil, errors.New("no benchmark in the input")
	}
	for _, name := range order {
		res.add(name, values[name])
	}
	return res, nil
}

func failures(text []byte) error {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if line := strings.TrimSpace(lines.Text()); strings.HasPrefix(line, "--- FAIL") || strings.HasPrefix(line, "FAIL") {
			return fmt.Errorf("the run failed: %s", line)
		}
	}
	return lines.Err()
}

// split removes GOMAXPROCS from the name. go test writes none if it is 1.
func split(name benchfmt.Name) (plain, procs string) {
	base, parts := name.Parts()
	var b strings.Builder
	b.Write(base)
	procs = "1"
	for _, part := range parts {
		if part[0] == '-' {
			procs = string(part[1:])
			continue
		}
		b.Write(part)
	}
	return b.String(), procs
}

func (res *results) add(name string, values map[string][]float64) {
	cut := strings.LastIndexByte(name, '/')
	group, last := name[:max(cut, 0)], name[cut+1:]
	if cut < 0 {
		group = name
	}
	family, _, _ := strings.Cut(group, "/")
	seconds := values["sec/op"]
	r := row{
		name: last, group: group, family: family, runs: len(seconds),
		ns: median(seconds) * 1e9, bytes: median(values["B/op"]), allocs: median(values["allocs/op"]),
	}
	if r.ns > 0 {
		r.spread = (slices.Max(seconds) - slices.Min(seconds)) * 1e9 / r.ns
	}
	if _, seen := res.rows[group]; !seen {
		res.groups = append(res.groups, group)
	}
	res.rows[group] = append(res.rows[group], r)
}

func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sample := benchmath.NewSample(values, &benchmath.DefaultThresholds)
	return benchmath.AssumeNothing.Summary(sample, 0.95).Center
}

// find returns one row of a group.
func (res *results) find(group, name string) (row, bool) {
	i := slices.IndexFunc(res.rows[group], func(r row) bool { return r.name == name })
	if i < 0 {
		return row{}, false
	}
	return res.rows[group][i], true
}

// bestPeer returns the fastest row that is neither signet nor a floor.
func bestPeer(rows []row) (best row, found bool) {
	for _, r := range rows {
		if k := r.kind(); k != bench.Middleware && k != bench.Parse {
			continue
		}
		if !found || r.ns < best.ns {
			best, found = r, true
		}
	}
	return best, found
}

// sorted puts signet first, then the peers from fast to slow, then the floors.
func sorted(rows []row) []row {
	rank := map[bench.Kind]int{bench.Ours: 0, bench.Middleware: 1, bench.Parse: 1, bench.Floor: 2}
	out := slices.Clone(rows)
	slices.SortStableFunc(out, func(a, b row) int {
		if d := rank[a.kind()] - rank[b.kind()]; d != 0 {
			return d
		}
		switch {
		case a.ns < b.ns:
			return -1
		case a.ns > b.ns:
			return 1
		}
		return 0
	})
	return out
}
