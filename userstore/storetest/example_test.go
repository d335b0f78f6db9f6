package storetest_test

import (
	"testing"

	"github.com/signet-go/signet/userstore"
	"github.com/signet-go/signet/userstore/storetest"
)

// The kit checks a store of the host that can write. In your program the function is a TestUsers.
func ExampleRun() {
	testUsers := func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) userstore.Writer {
			return userstore.NewMemory() // your store with an empty table; t.Cleanup closes it
		})
	}
	_ = testUsers
}

// The kit checks a store that only finds users. It needs one user that exists.
func ExampleRunReadOnly() {
	var open func(t *testing.T) userstore.Store // your store
	testUsers := func(t *testing.T) {
		storetest.RunReadOnly(t, open(t), userstore.User{ID: "42", Email: "ann@example.com", Roles: []string{"employee"}})
	}
	_ = testUsers
}
