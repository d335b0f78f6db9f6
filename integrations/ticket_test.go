package integrations

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
)

// A script of a browser gets a ticket, and opens a connection that cannot have a header. The end of the session ends it.
func TestATicketOpensAConnection(t *testing.T) {
	auth := newAuth(t)
	next := func(events ...string) feed {
		return func(ctx context.Context) (string, error) {
			if len(events) == 0 {
				<-ctx.Done()
				return "", context.Cause(ctx)
			}
			event := events[0]
			events = events[1:]
			return event, nil
		}
	}
	ticket := func() string {
		r := httptest.NewRequest("POST", "/ticket", nil)
		r.Header.Set("Authorization", "Bearer "+accessToken(t, auth, "john@mail.com", "changeme"))
		w := httptest.NewRecorder()
		auth.TicketHandler().ServeHTTP(w, r)
		require.Equal(t, 201, w.Code)
		var answer struct{ Ticket string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		return "?ticket=" + url.QueryEscape(answer.Ticket)
	}

	socket := serve(t, webSocketEvents(auth, next("first")))
	query := ticket()
	conn, _, err := websocket.Dial(t.Context(), socket+query, nil)
	require.NoError(t, err)
	_, text, err := conn.Read(t.Context())
	require.NoError(t, err)
	require.Equal(t, "first", string(text))
	_, res, err := websocket.Dial(t.Context(), socket+query, nil)
	require.Error(t, err)
	require.Equal(t, 401, res.StatusCode, "a ticket works once")
	require.NoError(t, auth.RevokeUser(t.Context(), "1"))
	_, _, err = conn.Read(t.Context())
	require.Equal(t, statusUnauthorized, websocket.CloseStatus(err))

	stream := serve(t, serverSentEvents(auth, next("second")))
	answer, err := http.Get(stream + ticket())
	require.NoError(t, err)
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	require.True(t, lines.Scan(), "the event")
	require.True(t, lines.Scan(), "its data")
	require.Equal(t, "data: second", lines.Text())
}
