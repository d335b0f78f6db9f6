package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signet-go/signet/throttle"
)

// Throttle is a [throttle.Store] in Redis, for services that run as several processes. Each record has a key:
//
//	PREFIX:throttle:KEY  8 random bytes, and the record, which is empty for a minute after it was deleted
//
// A key expires when its record means nothing any more, by the server's clock. A write costs two round trips, an
// attempt that must wait costs one. No command uses more than one key, so in a Cluster each key can be anywhere. If the
// server loses its data, the failures are forgotten, and so are the known places. A Throttle is safe for concurrent use
// by any number of processes.
type Throttle struct {
	client redis.UniversalClient
	prefix string
}

// NewThrottle returns a [Throttle] on the client. The host closes the client. Set ContextTimeoutEnabled in the client's
// options, as for [New]. It may be the client of a [Store], with the same prefix. The error names a mistake in the arguments.
func NewThrottle(client redis.UniversalClient, opts ...ThrottleOption) (*Throttle, error) {
	t := &Throttle{client: client, prefix: "signet"}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("redisstore.NewThrottle: an option is nil")
		}
		opt.applyThrottle(t)
	}
	if err := check(client, t.prefix); err != nil {
		return nil, err
	}
	return t, nil
}

// markSize is the size of the random bytes before a record. They make a write different from that of another process
// that has changed the same record in the same way.
const markSize = 8

// deletedLife is how long the mark of a deleted record stays: longer than a client repeats a write whose answer was
// lost.
const deletedLife = time.Minute

var errShort = errors.New("the value of a key is none of signet's")

// Update implements [throttle.Store] by compare and swap.
func (t *Throttle) Update(ctx context.Context, key throttle.Key,
	change func(before throttle.Record, now time.Time) (after throttle.Record, until time.Time, err error)) error {
	name := t.prefix + ":throttle:" + key.String()
	for attempt := 0; ; attempt++ {
		value, now, err := t.read(ctx, name)
		if err != nil {
			return fmt.Errorf("redisstore: throttle: %w", err)
		}
		before := throttle.Record(value[min(markSize, len(value)):])
		after, until, err := change(before, now)
		if err != nil || after == before {
			return err
		}
		if after == "" {
			until = now.Add(deletedLife)
		}
		written, err := t.swap(ctx, name, value, after, until)
		if err == nil && !written { // another process changed the record first
			err = pause(ctx, attempt)
		}
		if err != nil {
			return fmt.Errorf("redisstore: throttle: %w", err)
		}
		if written {
			return nil
		}
	}
}

// read returns the value of a key and the server's time. The value is empty if there is none.
func (t *Throttle) read(ctx context.Context, name string) (value string, now time.Time, err error) {
	answer, err := throttleReadScript.Run(ctx, t.client, []string{name}).Slice()
	if err != nil {
		findMasters(ctx, t.client)
		return "", now, err
	}
	millis, _ := answer[0].(int64)
	if len(answer) > 1 {
		value, _ = answer[1].(string)
		if len(value) < markSize {
			return "", now, errShort
		}
	}
	return value, time.UnixMilli(millis), nil
}

// swap writes a record in place of the value that was read. It reports false if the value is another one now. If the
// record is empty, the mark alone stays for a while. Without it, nobody could tell this deletion from that of another
// process.
func (t *Throttle) swap(ctx context.Context, name, value string, after throttle.Record, until time.Time) (bool, error) {
	next := append(binary.BigEndian.AppendUint64(nil, rand.Uint64()), after...)
	return throttleSwapScript.Run(ctx, t.client, []string{name}, value, next, until.UnixMilli()).Bool()
}
