package sessiontest_test

import (
	"testing"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/session/sessiontest"
)

// The kit checks a store of the host. In your program the function is a TestSessions.
func ExampleRun() {
	testSessions := func(t *testing.T) {
		sessiontest.Run(t, func(t *testing.T) session.Store {
			return &session.Memory{} // your store with a new and empty namespace; t.Cleanup closes it
		})
	}
	_ = testSessions
}
