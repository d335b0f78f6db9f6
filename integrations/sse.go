package integrations

import (
	"fmt"
	"net/http"
	"time"

	"github.com/signet-go/signet"
)

// serverSentEvents sends events until the session ends, and then one that says why. A refresh does not end the stream. It
// ends when its own access token expires; without signet.ErrExpiredToken it would go on for as long as the session.
//
// EventSource in browsers cannot set the Authorization header: its script asks auth.TicketHandler for a ticket and puts that
// into the address, or cookies are used (signet.WithCookies). Whoever reads the stream
// should refresh the token after the event "end", before the next attempt. The deadline is for clients that do not read: a
// Write waits for them, whatever the context says.
func serverSentEvents(auth *signet.Auth, next feed) http.Handler {
	return auth.RequireTicket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := signet.SessionContext(r.Context(), signet.ErrExpiredToken)
		defer cancel()
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		client := http.NewResponseController(w)
		send := func(event, line string) error {
			client.SetWriteDeadline(time.Now().Add(10 * time.Second))
			fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, line)
			return client.Flush()
		}
		client.Flush() // the client learns that the stream is open
		for {
			event, err := next(ctx)
			if err != nil {
				send("end", message(err)) // a client that has left does not read it
				return
			}
			if send("order", event) != nil {
				return
			}
		}
	}))
}
