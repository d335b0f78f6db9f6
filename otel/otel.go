// Package otel shows OpenTelemetry what signet does: counts of events, times of requests and of store calls, what a
// service knows about itself, and spans around store calls. The file dashboard.json is a Grafana dashboard of these
// metrics.
//
// Wrap what you give to signet.New, and what it gives to you:
//
//	sessions := otel.SessionStore(sessions)
//	users := otel.UserStore(users)
//	attempts := otel.ThrottleStore(attempts) // if they are on a server
//	auth, err := signet.New(..., signet.WithEvents(otel.Events()))
//	stop, err := otel.Observe(auth)
//	mux.Handle("/api/v1/auth/", otel.AuthHandler(auth.Handler("/api/v1/auth")))
//	mux.Handle("GET /orders", otel.Handler("orders", auth.RequireAuth(orders)))
//
// # Metrics
//
//	signet.events                  counter of events, by kind and reason
//	signet.http.duration           histogram of requests in seconds, by operation and outcome
//	signet.store.duration          histogram of store calls in seconds, by store, method and outcome
//	signet.tokens.verified         counter of access tokens that can be read, and whose signature the cache did not know
//	signet.revocation.lag          gauge in seconds: how old the list of revocations of this process is
//	signet.hashes.running          gauge of password hashes that run
//	signet.hashes.waiting          gauge of password hashes that wait for their turn
//	signet.hashes.refused          counter of password hashes that were refused: the queue was full, or one had waited for 5 seconds
//	signet.events.dropped          counter of events that the host's own function was too slow for
//
// The share of requests that the token cache answered is 1 minus signet.tokens.verified over the requests with a good token.
//
// No attribute of a metric or a span names a user, an address, a session or a token, and each has only a few values.
package otel

import (
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

const scope = "github.com/signet-go/signet/otel"

// Names of the metrics.
const (
	eventsName        = "signet.events"
	httpDurationName  = "signet.http.duration"
	storeDurationName = "signet.store.duration"
	verifiedName      = "signet.tokens.verified"
	lagName           = "signet.revocation.lag"
	runningName       = "signet.hashes.running"
	waitingName       = "signet.hashes.waiting"
	refusedName       = "signet.hashes.refused"
	droppedName       = "signet.events.dropped"
)

// Option changes where the telemetry goes. All functions of this package take the same options. A nil option does nothing.
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

// WithMeterProvider sets where metrics go. Without it, or with nil, they go to the global provider
// (otel.GetMeterProvider).
func WithMeterProvider(provider metric.MeterProvider) Option {
	return option(func(s *settings) {
		if provider != nil {
			s.meters = provider
		}
	})
}

// WithTracerProvider sets where spans go. Without it, or with nil, they go to the global provider
// (otel.GetTracerProvider).
func WithTracerProvider(provider trace.TracerProvider) Option {
	return option(func(s *settings) {
		if provider != nil {
			s.tracers = provider
		}
	})
}

type settings struct {
	meters  metric.MeterProvider
	tracers trace.TracerProvider
}

func newSettings(options []Option) settings {
	s := settings{meters: otel.GetMeterProvider(), tracers: otel.GetTracerProvider()}
	for _, o := range options {
		if o != nil {
			o.apply(&s)
		}
	}
	return s
}

func (s settings) meter() metric.Meter { return s.meters.Meter(scope) }

// durations makes a histogram of seconds. If the provider refuses it, which no SDK does for a valid name, the error
// goes to the error handler of OpenTelemetry, and nothing is measured: telemetry never stops a login service.
func (s settings) durations(name, description string, buckets ...float64) metric.Float64Histogram {
	h, err := s.meter().Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
		metric.WithExplicitBucketBoundaries(buckets...))
	if err != nil {
		otel.Handle(err)
	}
	return h
}
