package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/signet-go/signet/bench"
)

func render(res *results, date, svg string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Benchmark results\n\n%s, %s/%s, %s, GOMAXPROCS %s, %s. Medians of %s per benchmark; spread is (max - min) / median.\n",
		runtime.Version(), res.goos, res.goarch, res.cpu, res.procs, date, runs(res))
	b.WriteString("Best peer is the fastest of the others, parsers without a middleware included. Below 1 is faster.\n\n")
	fmt.Fprintf(&b, "![RequireAuth, time per request](%s)\n", filepath.Base(svg))
	summary(&b, res)
	for _, group := range res.groups {
		rows := res.rows[group]
		fmt.Fprintf(&b, "\n## %s\n\n", group)
		switch rows[0].family {
		case "RequireAuth":
			requireTable(&b, rows, group)
		case "Parallel":
			parallelTable(&b, res, rows, group)
		case "Issue":
			issueTable(&b, rows)
		default:
			plainTable(&b, rows)
		}
	}
	return b.String()
}

func runs(res *results) string {
	low, high := 0, 0
	for _, rows := range res.rows {
		for _, r := range rows {
			if low == 0 || r.runs < low {
				low = r.runs
			}
			high = max(high, r.runs)
		}
	}
	switch {
	case high == 1:
		return "1 run"
	case low != high:
		return fmt.Sprintf("%d to %d runs", low, high)
	}
	return fmt.Sprintf("%d runs", high)
}

// summary writes the numbers by which signet is judged. It writes nothing if signet is not in the run.
func summary(b *strings.Builder, res *results) {
	head := "\n## signet\n\n" +
		"| | | ns/op | allocs/op | best peer | times faster than it | x signature alone | x signature + base64 + json |\n" +
		"| --- | --- | ---: | ---: | --- | ---: | ---: | ---: |\n"
	for _, group := range res.groups {
		rows := res.rows[group]
		if rows[0].family != "RequireAuth" {
			continue
		}
		peer, _ := bestPeer(rows)
		alone, decoded := floorsOf(rows, group)
		for _, r := range rows {
			if r.kind() != bench.Ours {
				continue
			}
			b.WriteString(head)
			head = ""
			fmt.Fprintf(b, "| %s | %s | %s | %.0f | %s, %s ns | %s | %s | %s |\n", strings.TrimPrefix(group, "RequireAuth/"), r.name,
				number(r.ns), r.allocs, peer.name, number(peer.ns), ratio(peer.ns, r.ns), ratio(r.ns, alone), ratio(r.ns, decoded))
		}
	}
}

func requireTable(b *strings.Builder, rows []row, group string) {
	peer, _ := bestPeer(rows)
	alone, decoded := floorsOf(rows, group)
	b.WriteString("| library | kind | ns/op | spread | B/op | allocs/op | x best peer | x signature alone | x signature + base64 + json |\n")
	b.WriteString("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range sorted(rows) {
		fmt.Fprintf(b, "| %s | %s | %s | %.0f%% | %.0f | %.0f | %s | %s | %s |\n", marked(r, peer), r.kind(),
			number(r.ns), r.spread*100, r.bytes, r.allocs, ratio(r.ns, peer.ns), ratio(r.ns, alone), ratio(r.ns, decoded))
	}
}

// parallelTable compares each row with the same work in one goroutine of the same run.
func parallelTable(b *strings.Builder, res *results, rows []row, group string) {
	peer, _ := bestPeer(rows)
	b.WriteString("| library | ns/op | spread | B/op | allocs/op | x best peer | times one goroutine |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range sorted(rows) {
		single, _ := res.find("RequireAuth"+strings.TrimPrefix(group, "Parallel"), r.name)
		fmt.Fprintf(b, "| %s | %s | %.0f%% | %.0f | %.0f | %s | %s |\n", marked(r, peer),
			number(r.ns), r.spread*100, r.bytes, r.allocs, ratio(r.ns, peer.ns), ratio(single.ns, r.ns))
	}
}

func issueTable(b *strings.Builder, rows []row) {
	peer, _ := bestPeer(rows)
	b.WriteString("| library | ns/op | spread | B/op | allocs/op | x best peer |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range sorted(rows) {
		fmt.Fprintf(b, "| %s | %s | %.0f%% | %.0f | %.0f | %s |\n", marked(r, peer),
			number(r.ns), r.spread*100, r.bytes, r.allocs, ratio(r.ns, peer.ns))
	}
}

// plainTable is for series such as a number of live tokens. It compares each row with the first one.
func plainTable(b *strings.Builder, rows []row) {
	b.WriteString("| | ns/op | spread | B/op | allocs/op | x first row |\n| --- | ---: | ---: | ---: | ---: | ---: |\n")
	for _, r := range rows {
		fmt.Fprintf(b, "| %s | %s | %.0f%% | %.0f | %.0f | %s |\n",
			r.name, number(r.ns), r.spread*100, r.bytes, r.allocs, ratio(r.ns, rows[0].ns))
	}
}

func floorsOf(rows []row, group string) (alone, decoded float64) {
	parts := strings.Split(group, "/")
	if len(parts) < 2 {
		return 0, 0
	}
	signature, json := bench.FloorOf(parts[1])
	for _, r := range rows {
		switch r.name {
		case signature:
			alone = r.ns
		case json:
			decoded = r.ns
		}
	}
	return alone, decoded
}

func marked(r, peer row) string {
	switch {
	case r.kind() == bench.Ours:
		return "**" + r.name + "**"
	case r.name == peer.name:
		return r.name + " (best peer)"
	}
	return r.name
}

func ratio(a, b float64) string {
	if a == 0 || b == 0 {
		return "-"
	}
	switch r := a / b; {
	case r < 0.1:
		return fmt.Sprintf("%.3f", r)
	case r < 10:
		return fmt.Sprintf("%.2f", r)
	default:
		return fmt.Sprintf("%.1f", r)
	}
}

// number groups the thousands, because a column of nanoseconds is hard to read without that.
func number(v float64) string {
	if v < 100 {
		return fmt.Sprintf("%.1f", v)
	}
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
