// Package backoff spaces out the attempts of writers that collide.
package backoff

import (
	"context"
	"math/rand/v2"
	"time"
)

// Wait pauses for a random time, up to a millisecond for each attempt so far and at most 20 ms, so that two that have
// collided do not collide again. It returns ctx's error if ctx ends first.
func Wait(ctx context.Context, attempt int) error {
	longest := time.Duration(1+min(attempt, 19)) * time.Millisecond
	pause := time.NewTimer(rand.N(longest))
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-pause.C:
		return nil
	}
}
