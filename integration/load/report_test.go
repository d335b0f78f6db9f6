package load

import (
	"bytes"
	"fmt"
	"image/color"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	vegeta "github.com/tsenart/vegeta/v12/lib"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	_ "gonum.org/v1/plot/vg/vgsvg" // the format "svg"
)

// slots is into how many parts the plot divides the time.
const slots = 60

// series are the answers to one operation.
type series struct {
	name    string
	rate    int
	length  time.Duration
	metrics vegeta.Metrics
	right   int
	wrong   map[string]int // what came instead of the right answer, and how often
	slots   [slots][]time.Duration
	began   time.Time
}

func (s *series) add(r *vegeta.Result, status int) {
	s.metrics.Add(r)
	if s.began.IsZero() {
		s.began = r.Timestamp
	}
	slot := int(r.Timestamp.Sub(s.began) * slots / s.length)
	slot = min(max(slot, 0), slots-1)
	s.slots[slot] = append(s.slots[slot], r.Latency)
	switch {
	case int(r.Code) == status:
		s.right++
	case r.Code == 0:
		s.wrong["no answer: "+lastPart(r.Error)]++
	default:
		s.wrong[fmt.Sprintf("status %d", r.Code)]++
	}
}

// lastPart is an error without the addresses in front of it.
func lastPart(text string) string { return strings.TrimSpace(text[strings.LastIndex(text, ": ")+1:]) }

// report is what was measured.
type report struct {
	series []*series
	length time.Duration
	users  int
}

func newReport(all []*series, length time.Duration, users int) *report {
	return &report{all, length, users}
}

// failures are all answers that were not the right ones.
func (r *report) failures() (list []string) {
	for _, s := range r.series {
		for what, count := range s.wrong {
			list = append(list, fmt.Sprintf("%s: %s, %d times", s.name, what, count))
		}
	}
	slices.Sort(list)
	return list
}

func (r *report) table() string {
	var b strings.Builder
	b.WriteString("| operation | requests per second | requests | failed | median | 95 % | 99 % | longest |\n")
	b.WriteString("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, s := range r.series {
		l := s.metrics.Latencies
		fmt.Fprintf(&b, "| %s | %.1f | %d | %d | %s | %s | %s | %s |\n", s.name, s.metrics.Rate, s.metrics.Requests,
			int(s.metrics.Requests)-s.right, ms(l.P50), ms(l.P95), ms(l.P99), ms(l.Max))
	}
	return b.String()
}

func ms(d time.Duration) string {
	v := float64(d) / float64(time.Millisecond)
	if v < 10 {
		return fmt.Sprintf("%.1f ms", v)
	}
	return fmt.Sprintf("%.0f ms", v)
}

func (r *report) markdown() string {
	requests, right := uint64(0), 0
	for _, s := range r.series {
		requests += s.metrics.Requests
		right += s.right
	}
	failures := "Every request got the right answer."
	if list := r.failures(); len(list) > 0 {
		failures = "Requests failed:\n\n- " + strings.Join(list, "\n- ")
	}
	return fmt.Sprintf(`# A mixed load

%d users of the example on PostgreSQL, for %v, all operations at the same time: %d requests, %d failed.
`+"`make load`"+` writes this file.

%s
%s

How to read it:

- The example, PostgreSQL and the load generator share one machine: %s, %s/%s, %d processors. So the latencies include
  their competition for the processors.
- Each operation is sent at its own rate (vegeta, open model). A late answer delays no other request, and time that a
  request waits in the generator counts.
- "login" and "wrong password" include a hash with argon2id. The right answer to a wrong password is 401, below the limits of
  the throttle.
- "RequireAuth" is a route of the host behind the middleware. It asks no store. "profile" reads the user.
- "refresh" rotates the token of a session, each user's one after the other. "logout" ends a session of the logins.

![latencies of each operation over time](load.svg)
`, r.users, r.length, requests, int(requests)-right, r.table(), failures, runtime.Version(), runtime.GOOS, runtime.GOARCH,
		runtime.NumCPU())
}

var colours = []color.RGBA{{0xd9, 0x5f, 0x02, 0xff}, {0xe7, 0x29, 0x8a, 0xff}, {0x1f, 0x60, 0xa8, 0xff},
	{0x1b, 0x9e, 0x77, 0xff}, {0x75, 0x70, 0xb3, 0xff}, {0x66, 0x66, 0x66, 0xff}}

// draw draws a line for each operation: the latency that 95 of 100 requests keep, over time.
func (r *report) draw() ([]byte, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	p := plot.New()
	p.Title.Text = "95 % of the requests were faster"
	p.X.Label.Text, p.Y.Label.Text = "seconds", "milliseconds, logarithmic"
	p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
	p.Legend.Top = true
	p.Legend.YOffs = 4
	p.Add(plotter.NewGrid())
	for i, s := range r.series {
		var points plotter.XYs
		for slot, latencies := range s.slots {
			if len(latencies) > 0 {
				slices.Sort(latencies)
				at := (float64(slot) + 0.5) / slots * s.length.Seconds()
				points = append(points, plotter.XY{X: at, Y: float64(latencies[(len(latencies)-1)*95/100]) / float64(time.Millisecond)})
			}
		}
		if len(points) == 0 {
			continue
		}
		line, err := plotter.NewLine(points)
		if err != nil {
			return nil, err
		}
		line.Color, line.Width = colours[i], vg.Points(1.5)
		p.Add(line)
		p.Legend.Add(s.name, line)
	}
	p.Y.Min = p.Y.Min / 2
	p.Y.Max = p.Y.Max * 8 // room for the legend
	writer, err := p.WriterTo(720, 400, "svg")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	_, err = writer.WriteTo(&b)
	return b.Bytes(), err
}

// A failure is in the table, in the text and in the list.
func TestReportNamesFailures(t *testing.T) {
	s := &series{name: "refresh", rate: 2, length: time.Second, wrong: map[string]int{}}
	now := time.Now()
	for i, code := range []uint16{201, 201, 503, 0} {
		at := now.Add(time.Duration(i) * 250 * time.Millisecond)
		s.add(&vegeta.Result{Code: code, Error: "timeout", Timestamp: at, Latency: time.Duration(i+1) * time.Millisecond}, 201)
	}
	s.metrics.Close()
	r := newReport([]*series{s}, time.Second, 1)
	require.Equal(t, []string{"refresh: no answer: timeout, 1 times", "refresh: status 503, 1 times"}, r.failures())
	require.Contains(t, r.table(), "| 4 | 2 |")
	require.Contains(t, r.markdown(), "4 requests, 2 failed")
	require.Contains(t, r.markdown(), "- refresh: status 503, 1 times")
	svg, err := r.draw()
	require.NoError(t, err)
	require.Contains(t, string(svg), "<svg")
	require.Contains(t, string(svg), "refresh")
}
