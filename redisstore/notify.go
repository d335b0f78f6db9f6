package redisstore

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// quiet is how long a subscription may be silent. Then Notify asks the server whether it is still there.
const quiet = 10 * time.Second

// Notify implements [session.Notifier] by publish and subscribe, on a connection of its own. The server's access rules must
// allow the channel PREFIX:revoked, to publish and to subscribe. If they do not, nothing is lost but the time until the next
// pull.
func (s *Store) Notify(ctx context.Context, wake func()) error {
	subscription := s.client.Subscribe(ctx, s.channel)
	defer subscription.Close()
	defer context.AfterFunc(ctx, func() { subscription.Close() })() // Receive does not look at ctx while it waits
	for asked := false; ; {
		message, err := subscription.ReceiveTimeout(ctx, quiet)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var timeout net.Error
		if errors.As(err, &timeout) && timeout.Timeout() && !asked {
			asked, err = true, subscription.Ping(ctx)
		} else {
			asked = false
		}
		if err != nil {
			return fmt.Errorf("redisstore: notify: %w", err)
		}
		switch message.(type) {
		case *redis.Subscription, *redis.Message: // messages may have been missed before the subscription
			wake()
		}
	}
}
