package integrations

import (
	"errors"
	"net/http"

	"github.com/coder/websocket"

	"github.com/signet-go/signet"
)

// statusUnauthorized closes a WebSocket as 401 ends a request. The numbers from 4000 are for applications.
const statusUnauthorized websocket.StatusCode = 4401

// webSocketEvents sends events until the session ends, and then closes the connection with a status and a reason. The token
// is in the Authorization header of the handshake, or in a cookie (signet.WithCookies). A browser cannot set the header:
// with bearer tokens its script asks auth.TicketHandler for a ticket and puts that into the address, which auth.RequireTicket
// reads. Do not put a token into the address, because addresses are logged.
//
// Beware of the context of a Read: when it ends, the connection breaks without a status. So the reads have the context of
// the request, which the end of the session does not end. CloseRead is for clients that send nothing.
func webSocketEvents(auth *signet.Auth, next feed) http.Handler {
	return auth.RequireTicket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, nil)
		if err != nil {
			return // Accept has answered
		}
		defer conn.CloseNow()
		ctx, cancel := signet.SessionContext(conn.CloseRead(r.Context()), signet.ErrExpiredToken)
		defer cancel()
		for {
			event, err := next(ctx)
			switch {
			case errors.Is(err, signet.ErrUnavailable):
				conn.Close(websocket.StatusTryAgainLater, message(err))
				return
			case errors.Is(err, signet.ErrInvalidToken): // revoked or expired
				conn.Close(statusUnauthorized, message(err))
				return
			case err != nil: // the client has left, or the feed has failed
				conn.Close(websocket.StatusInternalError, message(err))
				return
			}
			if conn.Write(ctx, websocket.MessageText, []byte(event)) != nil {
				return
			}
		}
	}))
}
