package integrations

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/signet-go/signet"
)

// longPoll waits for one event, or answers 204 when there is none for a while. If the session ends meanwhile, the answer is
// the one that the next request would get: 401, or 503 when the service closes.
//
// Beware of http.Server.WriteTimeout: it must be longer than patience.
func longPoll(auth *signet.Auth, next feed, patience time.Duration) http.Handler {
	return auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := signet.SessionContext(r.Context(), signet.ErrExpiredToken)
		defer cancel()
		ctx, done := context.WithTimeout(ctx, patience)
		defer done()
		event, err := next(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			w.WriteHeader(http.StatusNoContent)
		case err != nil:
			signet.WriteError(w, err)
		default:
			fmt.Fprintln(w, event)
		}
	}))
}
