package otel

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// Outcomes of a store call.
const (
	outcomeOK        = "ok"
	outcomeNotFound  = "not_found" // the store answered: there is no such row
	outcomeConflict  = "conflict"  // the store answered: the value was changed in the meantime
	outcomeUnchanged = "unchanged" // the caller's own function returned an error, and nothing was written
	outcomeCanceled  = "canceled"  // the caller went away
	outcomeTimeout   = "timeout"   // the caller's time was over
	outcomeError     = "error"     // the store could not answer
	outcomePanic     = "panic"     // the store or the caller's own function panicked
)

var callOutcomes = []string{
	outcomeOK, outcomeNotFound, outcomeConflict, outcomeUnchanged, outcomeCanceled, outcomeTimeout, outcomeError, outcomePanic,
}

// method measures the calls of one method of a store. The attributes of all outcomes are made once.
type method struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	span     string
	start    []trace.SpanStartOption
	results  map[string]result
}

type result struct {
	measured []metric.RecordOption
	span     attribute.KeyValue
}

// calls makes the methods of one store.
type calls struct {
	tracer   trace.Tracer
	duration metric.Float64Histogram
	store    string
}

func newCalls(store string, options []Option) calls {
	s := newSettings(options)
	return calls{
		tracer: s.tracers.Tracer(scope), store: store,
		duration: s.durations(storeDurationName, "Time of calls of the stores of signet.",
			.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5),
	}
}

func (c calls) method(name string) *method {
	m := &method{tracer: c.tracer, duration: c.duration, span: "signet." + c.store + "." + name, results: map[string]result{}}
	about := []attribute.KeyValue{attribute.String("signet.store", c.store), attribute.String("signet.method", name)}
	for _, o := range callOutcomes {
		outcome := attribute.String("signet.outcome", o)
		set := attribute.NewSet(append([]attribute.KeyValue{outcome}, about...)...)
		m.results[o] = result{[]metric.RecordOption{metric.WithAttributeSet(set)}, outcome}
	}
	m.start = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(about...)}
	return m
}

// run makes a call with a span and a measurement, also if do panics. own is the error that the caller's function returned to the
// store, or nil.
func (m *method) run(ctx context.Context, own *error, do func(ctx context.Context) error) error {
	ctx, span := m.tracer.Start(ctx, m.span, m.start...)
	if own == nil {
		own = new(error)
	}
	begin, err := time.Now(), errPanic
	defer func() { m.end(ctx, span, begin, outcome(err, *own)) }()
	err = do(ctx)
	return err
}

// errPanic stands for the error of a call that has not returned.
var errPanic = errors.New("panic")

// end notes how a call ended. The text of an error is left out of the span: the text of a database's error may hold the row.
func (m *method) end(ctx context.Context, span trace.Span, begin time.Time, outcome string) {
	took := time.Since(begin).Seconds()
	r := m.results[outcome]
	m.duration.Record(ctx, took, r.measured...)
	span.SetAttributes(r.span)
	switch outcome {
	case outcomeError, outcomeTimeout, outcomePanic:
		span.SetStatus(codes.Error, outcome)
	}
	span.End()
}

// outcome names how a call ended. The store answered well if own, the error of the caller's function, is the reason.
func outcome(err, own error) string {
	switch {
	case err == nil:
		return outcomeOK
	case err == errPanic:
		return outcomePanic
	case own != nil && errors.Is(err, own), errors.Is(err, throttle.ErrDelayed): // a full throttle has answered too
		return outcomeUnchanged
	case errors.Is(err, session.ErrNotFound), errors.Is(err, userstore.ErrNotFound):
		return outcomeNotFound
	case errors.Is(err, userstore.ErrConflict):
		return outcomeConflict
	case errors.Is(err, context.Canceled):
		return outcomeCanceled
	case errors.Is(err, context.DeadlineExceeded):
		return outcomeTimeout
	}
	return outcomeError
}
