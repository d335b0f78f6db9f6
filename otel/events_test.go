package otel_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/otel"
)

func TestEventsAreCountedByKindAndReason(t *testing.T) {
	tm := newTelemetry()
	count := otel.Events(tm.all...)
	before := tm.counts(t, "signet.events", "signet.event", "signet.reason")
	for _, rare := range []string{"theft a superseded refresh token was used", "store_lost other", "store_back ", "key_rotated other"} {
		n, there := before[rare]
		require.True(t, there && n == 0, "a series that begins with 1 shows no increase: %s", rare)
	}
	secret := "john.secret"
	for _, e := range []event.Event{
		{Kind: event.LoginOK}, {Kind: event.LoginOK},
		{Kind: event.LoginFailed, Reason: "wrong password"},
		{Kind: event.StoreLost, Reason: "dial tcp 10.0.0.7: " + secret},
		{Kind: event.KeyRotated, Reason: "key-of-" + secret},
		{Kind: event.Kind(secret)},
	} {
		e.Subject, e.SessionID, e.Address, e.UserAgent = secret, secret, secret, secret
		e.Method, e.Path, e.RequestID = secret, secret, secret
		count(t.Context(), e)
	}
	counts := tm.counts(t, "signet.events", "signet.event", "signet.reason")
	maps.DeleteFunc(counts, func(_ string, n int) bool { return n == 0 })
	require.Equal(t, map[string]int{"login_ok ": 2, "login_failed wrong password": 1, "store_lost other": 1,
		"key_rotated other": 1, "other ": 1}, counts)
	requireSilent(t, tm, secret)
}

// A kind that this package does not know is counted as "other", and nobody would notice. So each constant of package event
// needs a line in known.
func TestEveryKindOfEventIsCounted(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "../event/event.go", nil, 0)
	require.NoError(t, err)
	var kinds []string
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			if name, ok := spec.Type.(*ast.Ident); ok && name.Name == "Kind" {
				kind, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
				require.NoError(t, err)
				kinds = append(kinds, kind)
			}
		}
		return true
	})
	tm := newTelemetry()
	otel.Events(tm.all...)
	counted := map[string]bool{}
	for series := range tm.counts(t, "signet.events", "signet.event", "signet.reason") {
		kind, _, _ := strings.Cut(series, " ")
		counted[kind] = true
	}
	require.ElementsMatch(t, kinds, slices.Collect(maps.Keys(counted)))
}

type fixed signet.Stats

func (f fixed) Stats() signet.Stats { return signet.Stats(f) }

func TestObserveReportsEveryNumberUntilItIsStopped(t *testing.T) {
	tm := newTelemetry()
	stop, err := otel.Observe(fixed{TokensVerified: 1, RevocationLag: 2500 * time.Millisecond, HashesRunning: 3,
		HashesWaiting: 4, HashQueueFull: 5, EventsDropped: 6}, tm.all...)
	require.NoError(t, err)
	got := map[string]float64{}
	for name, m := range tm.metrics(t) {
		switch data := m.Data.(type) {
		case metricdata.Sum[int64]:
			require.True(t, data.IsMonotonic, name)
			got[name] = float64(data.DataPoints[0].Value)
		case metricdata.Gauge[int64]:
			got[name] = float64(data.DataPoints[0].Value)
		case metricdata.Gauge[float64]:
			got[name] = data.DataPoints[0].Value
		}
	}
	require.Equal(t, map[string]float64{"signet.tokens.verified": 1, "signet.revocation.lag": 2.5, "signet.hashes.running": 3,
		"signet.hashes.waiting": 4, "signet.hashes.refused": 5, "signet.events.dropped": 6}, got)
	require.NoError(t, stop())
	require.NoError(t, stop())
	require.Empty(t, tm.metrics(t))
}
