package otel_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/prometheus/otlptranslator"
	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/otel"
	"github.com/signet-go/signet/userstore"
)

type dashboard struct {
	UID, Title    string
	SchemaVersion int
	Templating    struct {
		List []struct {
			Name, Type string
			Query      any
		}
	}
	Panels []panel
}

type panel struct {
	ID          int
	Type, Title string
	Datasource  struct{ Type, UID string }
	GridPos     struct{ H, W, X, Y int }
	FieldConfig struct{ Defaults struct{ Unit string } }
	Targets     []struct{ RefID, Expr string }
}

func loadDashboard(t *testing.T) dashboard {
	t.Helper()
	file, err := os.ReadFile("dashboard.json")
	require.NoError(t, err)
	var d dashboard
	require.NoError(t, json.Unmarshal(file, &d))
	return d
}

// emitted returns the names that Prometheus gives to the metrics of this package, each with the labels of its series.
func emitted(t *testing.T) map[string][]string {
	t.Helper()
	tm := newTelemetry()
	otel.Events(tm.all...)(t.Context(), event.Event{Kind: event.LoginOK})
	otel.Handler("x", http.NotFoundHandler(), tm.all...).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	_, err := otel.UserStore(userstore.NewMemory(), tm.all...).FindByID(t.Context(), "x")
	require.Error(t, err)
	_, err = otel.Observe(fixed{}, tm.all...)
	require.NoError(t, err)

	namer := otlptranslator.NewMetricNamer("", otlptranslator.UnderscoreEscapingWithSuffixes)
	labeller := otlptranslator.LabelNamer{}
	names := map[string][]string{}
	for _, m := range tm.metrics(t) {
		as, set, suffixes := otlptranslator.MetricType(otlptranslator.MetricTypeGauge), attribute.NewSet(), []string{""}
		switch data := m.Data.(type) {
		case metricdata.Histogram[float64]:
			as, set = otlptranslator.MetricTypeHistogram, data.DataPoints[0].Attributes
			suffixes = []string{"_bucket", "_sum", "_count"}
		case metricdata.Sum[int64]:
			as, set = otlptranslator.MetricTypeMonotonicCounter, data.DataPoints[0].Attributes
		}
		name, err := namer.Build(otlptranslator.Metric{Name: m.Name, Unit: m.Unit, Type: as})
		require.NoError(t, err)
		labels := []string{"job", "instance", "le"}
		for _, kv := range set.ToSlice() {
			label, err := labeller.Build(string(kv.Key))
			require.NoError(t, err)
			labels = append(labels, label)
		}
		for _, suffix := range suffixes {
			names[name+suffix] = labels
		}
	}
	return names
}

var (
	metricName = regexp.MustCompile(`\bsignet_\w+\{`)
	matchers   = regexp.MustCompile(`\{[^}]*\}`)
	label      = regexp.MustCompile(`(\w+)(?:=~|!~|!=|=)"`)
	grouping   = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

func TestTheDashboardNamesOnlyMetricsThatExist(t *testing.T) {
	names, used := emitted(t), map[string]bool{}
	for _, p := range loadDashboard(t).Panels {
		for _, target := range p.Targets {
			found := metricName.FindAllString(target.Expr, -1)
			require.NotEmpty(t, found, "%s: %s", p.Title, target.Expr)
			require.Equal(t, strings.Count(target.Expr, "("), strings.Count(target.Expr, ")"), target.Expr)
			var labels []string
			for _, name := range found {
				name = strings.TrimSuffix(name, "{")
				require.Contains(t, names, name, "panel %q", p.Title)
				used[strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")] = true
				labels = append(labels, names[name]...)
			}
			for _, block := range matchers.FindAllString(target.Expr, -1) {
				for _, match := range label.FindAllStringSubmatch(block, -1) {
					require.Contains(t, labels, match[1], target.Expr)
				}
			}
			for _, match := range grouping.FindAllStringSubmatch(target.Expr, -1) {
				for _, name := range strings.Split(match[1], ", ") {
					require.Contains(t, labels, name, target.Expr)
				}
			}
		}
	}
	for name := range names {
		base := strings.TrimSuffix(strings.TrimSuffix(strings.TrimSuffix(name, "_bucket"), "_sum"), "_count")
		require.True(t, used[base], "no panel shows %s", base)
	}
}

func TestTheDashboardIsOneThatGrafanaLoads(t *testing.T) {
	d := loadDashboard(t)
	require.Equal(t, "signet", d.UID)
	require.NotEmpty(t, d.Title)
	require.Equal(t, 39, d.SchemaVersion, "Grafana 10 and later")
	require.Equal(t, "datasource", d.Templating.List[0].Type)
	require.Equal(t, "prometheus", d.Templating.List[0].Query)
	ids := map[int]bool{}
	taken := map[[2]int]string{}
	for _, p := range d.Panels {
		require.False(t, ids[p.ID], "two panels have the id %d", p.ID)
		ids[p.ID] = true
		require.NotEmpty(t, p.Title)
		for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				require.Less(t, x, 24, p.Title)
				require.Empty(t, taken[[2]int{x, y}], "%s covers another panel", p.Title)
				taken[[2]int{x, y}] = p.Title
			}
		}
		if p.Type == "row" {
			continue
		}
		require.Equal(t, "timeseries", p.Type)
		require.Contains(t, []string{"ops", "reqps", "s", "short", "percentunit"}, p.FieldConfig.Defaults.Unit, p.Title)
		require.Equal(t, "prometheus", p.Datasource.Type, p.Title)
		require.Equal(t, "${datasource}", p.Datasource.UID, p.Title)
		require.NotEmpty(t, p.Targets, p.Title)
	}
}
