// Package integrations shows how to mount signet in frameworks. Each file is one framework: copy what you need. There
// is nothing here to import.
//
// The examples are the same small shop. The contract is mounted at /api/v1/auth, GET /api/v1/orders is for signed-in
// users, and GET /api/v1/admin/users is for the role "admin". The tests run the same checks against each of them, on a
// real server.
package integrations

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/signet-go/signet"
)

// orders is a route for signed-in users, for frameworks that take an http.Handler.
func orders(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "orders of user", signet.Subject(r.Context()))
}

// users is a route for administrators.
func users(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintln(w, "users for user", signet.Subject(r.Context()))
}

// message is what the client of an RPC may learn of an error. Error is for logs: it tells the cause too.
func message(err error) string {
	var refused *signet.Error
	if errors.As(err, &refused) {
		return refused.Message()
	}
	return "internal error"
}

// feed waits for the next event of the user in ctx, as a query of a queue does. When ctx ends, it returns the cause.
type feed func(ctx context.Context) (event string, err error)
