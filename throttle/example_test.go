package throttle_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/signet-go/signet/throttle"
)

func Example() {
	limiter := throttle.New(&throttle.Memory{}, throttle.Config{})
	signIn := func(password string) string {
		ctx := context.Background()
		attempt, err := limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
		var delayed *throttle.Delayed
		switch {
		case errors.As(err, &delayed):
			return fmt.Sprint("429, retry after ", delayed.RetryAfter.Round(time.Second))
		case err != nil:
			return "503"
		case password != "right":
			return "401" // the attempt stays counted
		}
		_ = attempt.Succeeded(ctx) // an error is one for the log: the password was right
		return "201"
	}
	fmt.Println(signIn("wrong"), signIn("right"))
	for range 10 {
		signIn("wrong")
	}
	fmt.Println(signIn("right"))
	// Output:
	// 401 201
	// 429, retry after 30s
}

// A password was changed. The failures with the old one do not matter any more.
func ExampleLimiter_Clear() {
	ctx := context.Background()
	limiter := throttle.New(nil, throttle.Config{})
	for range 10 {
		_, _ = limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
	}
	_, err := limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
	fmt.Println(errors.Is(err, throttle.ErrDelayed))
	_ = limiter.Clear(ctx, "ada@example.org")
	_, err = limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
	fmt.Println(err)
	// Output:
	// true
	// <nil>
}

// The password was right, but a second step is still to come. So the attempt is no failure, and no success yet.
func ExampleAttempt_Continued() {
	ctx := context.Background()
	limiter := throttle.New(nil, throttle.Config{})
	for range 15 {
		attempt, err := limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
		if err != nil {
			fmt.Println(err)
			return
		}
		_ = attempt.Continued(ctx)
	}
	attempt, _ := limiter.Begin(ctx, "ada@example.org", "192.0.2.1") // with the code of the second step
	fmt.Println(attempt.Known())
	_ = attempt.Succeeded(ctx)
	attempt, _ = limiter.Begin(ctx, "ada@example.org", "192.0.2.1")
	fmt.Println(attempt.Known())
	// Output:
	// false
	// true
}
