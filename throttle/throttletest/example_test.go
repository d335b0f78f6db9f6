package throttletest_test

import (
	"testing"

	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/throttle/throttletest"
)

// The kit checks a store of the host. In your program the function is a TestThrottle.
func ExampleRun() {
	testThrottle := func(t *testing.T) {
		throttletest.Run(t, func(t *testing.T) throttle.Store {
			return &throttle.Memory{} // your store, empty; t.Cleanup closes it
		})
	}
	_ = testThrottle
}
