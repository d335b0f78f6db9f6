package otel

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/metric"

	"github.com/signet-go/signet"
)

// StatsSource is what [Observe] reads. *signet.Auth is one.
type StatsSource interface {
	// Stats returns the current numbers. It must be safe for concurrent use.
	Stats() signet.Stats
}

// Observe reports the numbers of source whenever OpenTelemetry collects; see the list of metrics of this package. It
// starts no goroutine. Call stop before another service takes the place of this one, and when the service is closed; a
// second call does nothing. The error is that of the provider if it refuses the metrics. Then nothing is reported. Observe
// panics if source is nil.
func Observe(source StatsSource, options ...Option) (stop func() error, err error) {
	if source == nil {
		panic("otel: Observe: the source is nil")
	}
	m := newSettings(options).meter()
	verified, err1 := m.Int64ObservableCounter(verifiedName, metric.WithUnit("{token}"),
		metric.WithDescription("Access tokens whose signature the cache did not know."))
	lag, err2 := m.Float64ObservableGauge(lagName, metric.WithUnit("s"),
		metric.WithDescription("Time since this process last read the revocations."))
	running, err3 := m.Int64ObservableGauge(runningName, metric.WithUnit("{hash}"),
		metric.WithDescription("Passwords that are hashed now."))
	waiting, err4 := m.Int64ObservableGauge(waitingName, metric.WithUnit("{hash}"),
		metric.WithDescription("Passwords that wait to be hashed."))
	refused, err5 := m.Int64ObservableCounter(refusedName, metric.WithUnit("{hash}"),
		metric.WithDescription("Passwords that were not hashed because too many waited."))
	dropped, err6 := m.Int64ObservableCounter(droppedName, metric.WithUnit("{event}"),
		metric.WithDescription("Events that the host's function did not get."))
	if err := errors.Join(err1, err2, err3, err4, err5, err6); err != nil {
		return nil, err
	}
	registration, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		s := source.Stats()
		o.ObserveInt64(verified, int64(s.TokensVerified))
		o.ObserveFloat64(lag, s.RevocationLag.Seconds())
		o.ObserveInt64(running, int64(s.HashesRunning))
		o.ObserveInt64(waiting, int64(s.HashesWaiting))
		o.ObserveInt64(refused, int64(s.HashQueueFull))
		o.ObserveInt64(dropped, int64(s.EventsDropped))
		return nil
	}, verified, lag, running, waiting, refused, dropped)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}
