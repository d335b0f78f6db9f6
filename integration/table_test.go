package integration

import (
	"fmt"
	"io"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

// results are the figures of the run. They are printed at its end.
var results figures

type figures struct {
	mu    sync.Mutex
	rows  []figure
	notes []string
}

// figure is one line of the table of faults.
type figure struct {
	scenario     string
	requests     int
	rotations    int           // new generations that reached a client
	unavailable  int           // 503 with Retry-After; the client tried again
	unanswered   int           // connection refused or broken, or no answer within the client's patience; tried again
	lost         int           // sessions that were lost
	alarms       int           // theft events in the processes' logs
	doubled      int           // forks: successors of one token within one window, of which none descends from another
	movedOn      int           // as doubled, but one descends from the other: the session had rotated in between (T8)
	unauthorized int           // answers with 401
	outage       time.Duration // the longest time from a first attempt to its success, with failures or without
}

func (f *figures) add(row figure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rows = append(f.rows, row)
}

// note adds a line below the table, and to the test's log.
func (f *figures) note(t testing.TB, format string, args ...any) {
	t.Helper()
	line := fmt.Sprintf(format, args...)
	t.Log(line)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.notes = append(f.notes, line)
}

func (f *figures) print(w io.Writer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.rows) > 0 {
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(table, "\nrequests\trotations\t503 retried\tno answer, retried\tsessions lost\tfalse alarms\tdoubled\tmoved on\t401 by fault\tlongest outage\t  scenario")
		for _, r := range f.rows {
			fmt.Fprintf(table, "%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t%v\t  %s\n", r.requests, r.rotations, r.unavailable, r.unanswered,
				r.lost, r.alarms, r.doubled, r.movedOn, r.unauthorized, r.outage.Round(10*time.Millisecond), r.scenario)
		}
		table.Flush()
	}
	if len(f.notes) > 0 {
		fmt.Fprintln(w)
	}
	for _, line := range f.notes {
		fmt.Fprintln(w, line)
	}
}
