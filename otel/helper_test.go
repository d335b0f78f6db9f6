package otel_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/signet-go/signet/otel"
)

// telemetry keeps in memory what a program reports.
type telemetry struct {
	reader *sdkmetric.ManualReader
	spans  *tracetest.SpanRecorder
	all    []otel.Option
}

func newTelemetry() *telemetry {
	reader, spans := sdkmetric.NewManualReader(), tracetest.NewSpanRecorder()
	return &telemetry{reader, spans, []otel.Option{
		otel.WithMeterProvider(sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader))),
		otel.WithTracerProvider(trace.NewTracerProvider(trace.WithSpanProcessor(spans))),
	}}
}

func (tm *telemetry) metrics(t testing.TB) map[string]metricdata.Metrics {
	t.Helper()
	var all metricdata.ResourceMetrics
	require.NoError(t, tm.reader.Collect(context.Background(), &all))
	found := map[string]metricdata.Metrics{}
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			found[m.Name] = m
		}
	}
	return found
}

// counts returns how often each set of the attributes' values was measured.
func (tm *telemetry) counts(t testing.TB, name string, keys ...string) map[string]int {
	t.Helper()
	m, ok := tm.metrics(t)[name]
	require.True(t, ok, name)
	counts := map[string]int{}
	switch data := m.Data.(type) {
	case metricdata.Histogram[float64]:
		for _, p := range data.DataPoints {
			counts[values(t, p.Attributes, keys)] += int(p.Count)
		}
	case metricdata.Sum[int64]:
		for _, p := range data.DataPoints {
			counts[values(t, p.Attributes, keys)] += int(p.Value)
		}
	default:
		require.Fail(t, "neither a histogram nor a counter", name)
	}
	return counts
}

func values(t testing.TB, set attribute.Set, keys []string) string {
	t.Helper()
	require.Equal(t, len(keys), set.Len(), "attributes: %v", set.Encoded(attribute.DefaultEncoder()))
	var texts []string
	for _, key := range keys {
		value, ok := set.Value(attribute.Key(key))
		require.True(t, ok, key)
		texts = append(texts, value.AsString())
	}
	return strings.Join(texts, " ")
}
