package otel

import (
	"context"
	"time"

	"github.com/signet-go/signet/throttle"
)

// ThrottleStore returns a [throttle.Store] that does what store does, with a span and a measurement of
// signet.store.duration for each call. A login makes several calls. Use it for a store on a server, and give the result to
// throttle.New. It is safe for concurrent use, and it panics if store is nil.
//
// An attempt that is refused because there were too many failures is no error of the store.
func ThrottleStore(store throttle.Store, options ...Option) throttle.Store {
	if store == nil {
		panic("otel: ThrottleStore: the store is nil")
	}
	return throttles{store, newCalls("throttle", options).method("Update")}
}

type throttles struct {
	inner  throttle.Store
	update *method
}

func (t throttles) Update(ctx context.Context, key throttle.Key,
	change func(before throttle.Record, now time.Time) (throttle.Record, time.Time, error)) error {
	var own error
	return t.update.run(ctx, &own, func(ctx context.Context) error {
		return t.inner.Update(ctx, key, func(before throttle.Record, now time.Time) (after throttle.Record, until time.Time, err error) {
			after, until, own = change(before, now)
			return after, until, own
		})
	})
}
