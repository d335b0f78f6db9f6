package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"image/color"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/signet-go/signet/bench"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// runService makes the page of a whole service.
func runService(in, md, svg string) error {
	text, err := os.ReadFile(in)
	if err != nil {
		return err
	}
	var run bench.ServiceRun
	if err := json.Unmarshal(text, &run); err != nil {
		return err
	}
	var picture bytes.Buffer
	if err := drawService(&picture, &run); err != nil {
		return err
	}
	return publish(renderService(&run, svg), picture.Bytes(), md, svg)
}

// The texts of the page.
const (
	serviceHead = `# A whole service

%s, %s/%s, %s, cores: %d. Medians; rounds: %d, in which all services take their turn; %g s a measurement.
Spread is (max - min) / median. Nothing else ran. %d clients on loopback with keep-alive. Every process holds 64 MB.

How to read it: the first column of numbers is a ratio: to the same service without a login check, to a bare service
that writes the same, or to bare hashes. Only numbers of one table can be compared. ` + "`make bench-service`" + `
writes this page.

![a whole service](%s)
`
	guardHead = `
## Login check, %s

| service, live tokens | CPU over the same router bare | spread | CPU µs/request | requests/s | p50, p99 µs |
| --- | ---: | ---: | ---: | ---: | ---: |
`
	guardFoot = `
CPU is the time of the service's process (getrusage). p50 and p99 are those of a closed loop, so they are mostly time in
a queue. Tokens are drawn at random, and signet has seen each of them before. It has its default options, with sessions.
`
	pinned   = "The service had one core for itself, and the clients another one.\n"
	unpinned = "The service and the clients shared the cores, because this system cannot keep them apart.\n"
	noCPU    = "This system does not tell the CPU time, so the ratio is that of the time of a request.\n"

	storeHead = `
## Refreshes

| store | of the bare one | spread | refreshes/s | bare/s | p50, p99 ms | bare p50, p99 ms | CPU, bare CPU µs | lost |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
`
	storeFoot = `
Every session is refreshed once in a round, and its token rotates. The bare service gets and sends bodies of the same
size. It reads a row of 400 bytes and writes it if its version is the same. Signet remembers the rows that it wrote last,
so a refresh here is a write alone: all of them come to one process. CPU is that of the service's process, for one
refresh. Service, clients and database share the cores. The pools have 16 connections, and that of SQLite has one. Every
commit reaches the disk, but for Redis everysec.

## Proofs of delivery

| store | stored within 2 s | spread | refreshes/s, of those without proofs | refreshes/s | without proofs |
| --- | ---: | ---: | ---: | ---: | ---: |
`
	proofFoot = `
A request with the new access token follows each refresh. It proves that the tokens have arrived. Without proofs, a
Verifier answers the request. It costs the same and records nothing.
`
	loginHead = `
## Logins, and requests beside them

%d clients log in, with the default password hash. Beside them come %s requests a second, whose latency counts from when
each was due. Service and clients share the cores.

| | of bare hashes/s | logins/s | spread | requests: p50, p99, max ms | requests/s |
| --- | ---: | ---: | ---: | ---: | ---: |
`
)

func renderService(run *bench.ServiceRun, svg string) string {
	var b strings.Builder
	fmt.Fprintf(&b, serviceHead, run.Go, run.OS, run.Arch, run.CPU, run.Cores, run.Rounds, run.Seconds, run.Connections,
		filepath.Base(svg))
	serviceFigures(&b, run)
	guardTables(&b, run)
	storeTables(&b, run)
	loginTable(&b, &run.Login)
	return b.String()
}

// serviceFigures writes the numbers that have a goal.
func serviceFigures(b *strings.Builder, run *bench.ServiceRun) {
	b.WriteString("\n## Figures\n\n| figure | ratio | spread |\n| --- | ---: | ---: |\n")
	one, many := guardOf(run, "ES256", "signet", 1), guardOf(run, "ES256", "signet", 100_000)
	if one != nil && many != nil {
		fmt.Fprintf(b, "| ES256, 100,000 live tokens: requests/s, of those with one token | %s | %s |\n",
			percent(bench.Median(many.Rate)/bench.Median(one.Rate)), spread(many.Rate))
	}
	if million := guardOf(run, "HS256", "signet", 1_000_000); million != nil {
		fmt.Fprintf(b, "| HS256, 1,000,000 live tokens: CPU time over a bare request | %s | %s |\n", over(run, million),
			spread(cost(million)))
	}
	for _, s := range run.Stores {
		fmt.Fprintf(b, "| %s: refreshes/s, of those of a bare service | %s | %s |\n", s.Name, of(s.Refresh, s.Raw),
			spread(s.Refresh))
	}
	for _, s := range run.Stores {
		fmt.Fprintf(b, "| %s: proofs of delivery that are stored within 2 s | %s | %s |\n", s.Name,
			percent(bench.Median(s.Stored)), spread(s.Stored))
		fmt.Fprintf(b, "| %s: refreshes/s with proofs of delivery, of those without | %s | %s |\n", s.Name, of(s.Proved, s.Checked),
			spread(s.Proved))
		if s.Name == "PostgreSQL" {
			fmt.Fprintf(b, "| %s: HOT updates, of all updates | %s | |\n", s.Name, percent(s.HOT))
		}
	}
	fmt.Fprintf(b, "| logins/s, of bare hashes/s | %s | %s |\n", of(run.Login.Logins, run.Login.Hashes),
		spread(run.Login.Logins))
}

func guardTables(b *strings.Builder, run *bench.ServiceRun) {
	for _, alg := range algsOf(run) {
		fmt.Fprintf(b, guardHead, alg)
		for i := range run.Guards {
			g := &run.Guards[i]
			if g.Alg != alg {
				continue
			}
			cpu := "-"
			if len(g.CPU) > 0 {
				cpu = fmt.Sprintf("%.2f", bench.Median(g.CPU)/1e3)
			}
			fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %.0f, %.0f |\n", label(g), over(run, g), spread(cost(g)), cpu,
				number(bench.Median(g.Rate)), bench.Median(g.P50)/1e3, bench.Median(g.P99)/1e3)
		}
	}
	b.WriteString(guardFoot)
	if run.Pinned {
		b.WriteString(pinned)
	} else {
		b.WriteString(unpinned)
	}
	if len(run.Guards) > 0 && len(run.Guards[0].CPU) == 0 {
		b.WriteString(noCPU)
	}
}

func storeTables(b *strings.Builder, run *bench.ServiceRun) {
	b.WriteString(storeHead)
	for _, s := range run.Stores {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s | %s | %.0f, %.0f | %d |\n", s.Name, of(s.Refresh, s.Raw),
			spread(s.Refresh), number(bench.Median(s.Refresh)), number(bench.Median(s.Raw)), millis(s.P50, s.P99),
			millis(s.RawP50, s.RawP99), bench.Median(s.RefreshCPU)/1e3, bench.Median(s.RawCPU)/1e3, s.Lost)
	}
	b.WriteString(storeFoot)
	for _, s := range run.Stores {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", s.Name, percent(bench.Median(s.Stored)), spread(s.Stored),
			of(s.Proved, s.Checked), number(bench.Median(s.Proved)), number(bench.Median(s.Checked)))
	}
	b.WriteString(proofFoot)
	if len(run.Missing) > 0 {
		fmt.Fprintf(b, "Not installed, and so not measured: %s.\n", strings.Join(run.Missing, ", "))
	}
}

func loginTable(b *strings.Builder, l *bench.LoginRun) {
	fmt.Fprintf(b, loginHead, l.Clients, whole(l.PerSecond))
	perSecond := func(values []float64) string {
		return fmt.Sprintf("%s | %.1f | %s", of(values, l.Hashes), bench.Median(values), spread(values))
	}
	fmt.Fprintf(b, "| bare hashes | %s | | |\n", perSecond(l.Hashes))
	fmt.Fprintf(b, "| logins | %s | | |\n", perSecond(l.Logins))
	fmt.Fprintf(b, "| requests | | | | %s | %s |\n", millis(l.Alone50, l.Alone99, l.AloneMax),
		number(bench.Median(l.AloneRate)))
	fmt.Fprintf(b, "| logins and requests | %s | %s | %s |\n", perSecond(l.LoginsBeside),
		millis(l.Beside50, l.Beside99, l.BesideMax), number(bench.Median(l.BesideRate)))
}

// of is the ratio of two medians.
func of(a, b []float64) string { return ratio(bench.Median(a), bench.Median(b)) }

func spread(values []float64) string { return percent(bench.Spread(values)) }

func algsOf(run *bench.ServiceRun) (algs []string) {
	for _, g := range run.Guards {
		if !slices.Contains(algs, g.Alg) {
			algs = append(algs, g.Alg)
		}
	}
	return algs
}

func guardOf(run *bench.ServiceRun, alg, name string, tokens int) *bench.GuardRun {
	i := slices.IndexFunc(run.Guards, func(g bench.GuardRun) bool {
		return g.Alg == alg && g.Name == name && g.Tokens == tokens
	})
	if i < 0 {
		return nil
	}
	return &run.Guards[i]
}

// cost is the CPU time of a request, or the time of one if the CPU time is not known.
func cost(g *bench.GuardRun) []float64 {
	if len(g.CPU) > 0 {
		return g.CPU
	}
	times := make([]float64, len(g.Rate))
	for i, rate := range g.Rate {
		times[i] = 1e9 / rate
	}
	return times
}

// overhead is 0.5 if a request costs half as much more as one to the same router without a guard.
func overhead(run *bench.ServiceRun, g *bench.GuardRun) (share float64, ok bool) {
	bare := guardOf(run, g.Alg, g.Router, 1)
	if bare == nil || bare == g {
		return 0, false
	}
	return bench.Median(cost(g))/bench.Median(cost(bare)) - 1, true
}

func over(run *bench.ServiceRun, g *bench.GuardRun) string {
	share, ok := overhead(run, g)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%+.0f%%", share*100)
}

// label names a service with its router and the number of live tokens.
func label(g *bench.GuardRun) string {
	if g.Name == g.Router {
		return g.Name + ", bare"
	}
	return fmt.Sprintf("%s on %s, %s", g.Name, g.Router, whole(g.Tokens))
}

func whole(n int) string { return strings.TrimSuffix(number(float64(n)), ".0") }

func percent(share float64) string { return fmt.Sprintf("%.0f%%", share*100) }

// millis writes the medians in milliseconds.
func millis(series ...[]float64) string {
	var texts []string
	for _, values := range series {
		texts = append(texts, fmt.Sprintf("%.1f", bench.Median(values)/1e6))
	}
	return strings.Join(texts, ", ")
}

// serviceBar is one bar of the picture.
type serviceBar struct {
	name, text string
	value      float64
	colour     color.Color
}

// drawService draws one panel for each algorithm, and one for the stores.
func drawService(w io.Writer, run *bench.ServiceRun) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	type panelOf struct {
		title, axis string
		bars        []serviceBar
	}
	var panels []panelOf
	for _, alg := range algsOf(run) {
		var list []serviceBar
		for i := range run.Guards {
			g := &run.Guards[i]
			if share, ok := overhead(run, g); ok && g.Alg == alg {
				list = append(list, serviceBar{label(g), over(run, g), max(share*100, 0), colours[bench.KindOf(g.Name)]})
			}
		}
		title := "Login check, " + alg + ", by live tokens"
		panels = append(panels, panelOf{title, "% CPU time over the same router bare", list})
	}
	var list []serviceBar
	for _, s := range run.Stores {
		share := bench.Median(s.Refresh) / bench.Median(s.Raw)
		list = append(list, serviceBar{s.Name, of(s.Refresh, s.Raw), share, colours[bench.Ours]})
	}
	panels = append(panels, panelOf{"Refreshes", "of a bare service that reads and writes a row", list})

	var height vg.Length
	for _, p := range panels {
		height += panelExtra + vg.Length(len(p.bars))*rowHeight
	}
	canvas := vgsvg.New(panelWidth*1.4, height)
	page := vgdraw.New(canvas)
	page.FillPolygon(color.White, corners(page.Min.X, page.Min.Y, page.Max.X, page.Max.Y))
	top := page.Max.Y
	for _, p := range panels {
		size := panelExtra + vg.Length(len(p.bars))*rowHeight
		servicePanel(p.title, p.axis, p.bars).Draw(vgdraw.Crop(page, 6, -12, top-size+6-page.Min.Y, top-6-page.Max.Y))
		top -= size
	}
	_, err := canvas.WriteTo(w)
	return err
}

func servicePanel(title, axis string, list []serviceBar) *plot.Plot {
	list = slices.Clone(list)
	slices.Reverse(list) // the first one belongs on top
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 13
	p.Title.TextStyle.Font.Weight = 3 // bold
	p.X.Label.Text = axis
	p.X.Label.TextStyle.Font.Size = 9
	p.X.Tick.Label.Font.Size = 9
	p.Y.Tick.Label.Font.Size = 10
	var names []string
	for _, bar := range list {
		names = append(names, bar.name)
		p.X.Max = max(p.X.Max, bar.value*1.15) // room for the number after the longest bar
	}
	p.X.Min, p.X.Max = 0, max(p.X.Max, 0.01)
	p.NominalY(names...)
	p.Y.Min, p.Y.Max = -0.6, float64(len(list))-0.4
	p.Add(serviceBars{list, p.X.Tick.Label})
	return p
}

type serviceBars struct {
	list  []serviceBar
	label vgdraw.TextStyle
}

// Plot implements plot.Plotter.
func (b serviceBars) Plot(c vgdraw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	b.label.XAlign, b.label.YAlign = vgdraw.XLeft, vgdraw.YCenter
	for i, bar := range b.list {
		end, middle, half := x(bar.value), y(float64(i)), rowHeight*0.36
		c.FillPolygon(bar.colour, corners(x(0), middle-half, end, middle+half))
		c.FillText(b.label, vg.Point{X: end + 4, Y: middle}, bar.text)
	}
}
