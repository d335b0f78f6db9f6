package main

import (
	"errors"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/signet-go/signet/bench"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	vgdraw "gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

const (
	panelWidth vg.Length = 520 // points
	rowHeight  vg.Length = 19
	panelExtra vg.Length = 74 // title, ticks, axis label
	legend     vg.Length = 26
)

var colours = map[bench.Kind]color.RGBA{
	bench.Ours:       {R: 0xd9, G: 0x5f, B: 0x02, A: 0xff},
	bench.Middleware: {R: 0x1f, G: 0x60, B: 0xa8, A: 0xff},
	bench.Parse:      {R: 0x8f, G: 0xb8, B: 0xde, A: 0xff},
	bench.Floor:      {R: 0xa8, G: 0xa8, B: 0xa8, A: 0xff},
}

// draw makes one panel for each algorithm and each path of RequireAuth. The paths cold and repeat are side by side.
func draw(w io.Writer, res *results) error {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	panels := make(map[string]map[string][]row) // algorithm, path
	var algs, paths []string
	tallest := 0
	for _, group := range res.groups {
		parts := strings.Split(group, "/")
		if parts[0] != "RequireAuth" || len(parts) != 3 {
			continue
		}
		alg, path := parts[1], parts[2]
		if panels[alg] == nil {
			panels[alg] = make(map[string][]row)
			algs = append(algs, alg)
		}
		if !slices.Contains(paths, path) {
			paths = append(paths, path)
		}
		panels[alg][path] = sorted(res.rows[group])
		tallest = max(tallest, len(res.rows[group]))
	}
	if len(algs) == 0 {
		return errors.New("no RequireAuth benchmark in the input: nothing to draw")
	}
	height := panelExtra + vg.Length(tallest)*rowHeight
	canvas := vgsvg.New(panelWidth*vg.Length(len(paths)), height*vg.Length(len(algs))+legend)
	whole := vgdraw.New(canvas)
	whole.FillPolygon(color.White, corners(whole.Min.X, whole.Min.Y, whole.Max.X, whole.Max.Y))
	key(vgdraw.Crop(whole, 0, 0, whole.Max.Y-legend, 0))

	tiles := vgdraw.Tiles{Rows: len(algs), Cols: len(paths), PadX: 8, PadY: 8, PadLeft: 6, PadRight: 6, PadBottom: 4}
	plots := make([][]*plot.Plot, len(algs))
	for i, alg := range algs {
		plots[i] = make([]*plot.Plot, len(paths))
		low, high := extent(panels[alg]) // the same for both paths, so that cold and repeat can be compared by eye
		for j, path := range paths {
			if rows := panels[alg][path]; len(rows) > 0 {
				plots[i][j] = panel(alg+" "+path, rows, low, high)
			}
		}
	}
	for i, line := range plot.Align(plots, tiles, vgdraw.Crop(whole, 0, 0, 0, -legend)) {
		for j, tile := range line {
			if plots[i][j] != nil {
				plots[i][j].Draw(tile)
			}
		}
	}
	_, err := canvas.WriteTo(w)
	return err
}

func extent(paths map[string][]row) (low, high float64) {
	low, high = math.Inf(1), 0
	for _, rows := range paths {
		for _, r := range rows {
			low, high = min(low, r.ns), max(high, r.ns)
		}
	}
	return low, high
}

func panel(title string, rows []row, low, high float64) *plot.Plot {
	rows = slices.Clone(rows)
	slices.Reverse(rows) // the first row belongs on top
	names := make([]string, len(rows))
	for i, r := range rows {
		names[i] = r.name
	}
	p := plot.New()
	p.Title.Text = title
	p.Title.TextStyle.Font.Size = 13
	p.Title.TextStyle.Font.Weight = 3 // bold
	p.Title.Padding = 4
	p.X.Label.Text = "per request, logarithmic"
	p.X.Label.TextStyle.Font.Size = 9
	p.X.Scale = plot.LogScale{}
	p.X.Tick.Marker = plot.TickerFunc(decades)
	p.X.Min, p.X.Max = low/2, high*3 // room for the number after the longest bar
	p.NominalY(names...)
	p.Y.Tick.Label.Font.Size = 10
	p.X.Tick.Label.Font.Size = 9
	p.Y.Min, p.Y.Max = -0.6, float64(len(rows))-0.4
	p.Add(bars{rows: rows, label: p.X.Tick.Label})
	return p
}

// bars takes the place of plotter.BarChart, which begins at 0. A logarithmic axis has no 0.
type bars struct {
	rows  []row
	label vgdraw.TextStyle
}

// Plot implements plot.Plotter.
func (b bars) Plot(c vgdraw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	b.label.XAlign, b.label.YAlign = vgdraw.XLeft, vgdraw.YCenter
	half := rowHeight * 0.36
	for i, r := range b.rows {
		end, middle := x(r.ns), y(float64(i))
		c.FillPolygon(colours[r.kind()], corners(c.Min.X, middle-half, end, middle+half))
		c.FillText(b.label, vg.Point{X: end + 4, Y: middle}, duration(r.ns))
	}
}

func corners(left, bottom, right, top vg.Length) []vg.Point {
	return []vg.Point{{X: left, Y: bottom}, {X: right, Y: bottom}, {X: right, Y: top}, {X: left, Y: top}}
}

func key(c vgdraw.Canvas) {
	style := plot.New().Legend.TextStyle
	style.Font.Size = 11
	style.YAlign = vgdraw.YCenter
	x, y := c.Min.X+12, (c.Min.Y+c.Max.Y)/2
	for _, kind := range []bench.Kind{bench.Ours, bench.Middleware, bench.Parse, bench.Floor} {
		c.FillPolygon(colours[kind], corners(x, y-5, x+14, y+5))
		c.FillText(style, vg.Point{X: x + 20, Y: y}, string(kind))
		x += 36 + style.Width(string(kind))
	}
}

// decades labels the powers of ten, and also 2 and 5 if there are few powers. The other digits only get marks.
func decades(low, high float64) []plot.Tick {
	narrow := high/low < 200
	var ticks []plot.Tick
	for power := 1.0; power <= high; power *= 10 {
		for digit := 1.0; digit < 10; digit++ {
			v := power * digit
			if v < low || v > high {
				continue
			}
			tick := plot.Tick{Value: v}
			if digit == 1 || narrow && (digit == 2 || digit == 5) {
				tick.Label = duration(v)
			}
			ticks = append(ticks, tick)
		}
	}
	return ticks
}

func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.3g ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	default:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	}
}
