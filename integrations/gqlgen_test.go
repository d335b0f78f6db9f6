package integrations

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/99designs/gqlgen/graphql"
	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"github.com/vektah/gqlparser/v2"
	"github.com/vektah/gqlparser/v2/ast"

	"github.com/signet-go/signet"
)

// shopSchema does by hand what gqlgen would generate for these two fields.
type shopSchema struct{}

var parsedSchema = gqlparser.MustLoadSchema(&ast.Source{Input: `type Query { me: String, users: String }`})

func (shopSchema) Schema() *ast.Schema { return parsedSchema }

func (shopSchema) Complexity(context.Context, string, string, int, map[string]any) (int, bool) {
	return 0, false
}

func (shopSchema) Exec(ctx context.Context) graphql.ResponseHandler {
	done := false
	return func(ctx context.Context) *graphql.Response {
		if done {
			return nil
		}
		done = true
		operation := graphql.GetOperationContext(ctx)
		data := map[string]any{}
		for _, field := range graphql.CollectFields(operation, operation.Operation.SelectionSet, []string{"Query"}) {
			resolve := map[string]func(context.Context) (*string, error){"me": resolveMe, "users": resolveUsers}[field.Name]
			value, err := resolve(ctx)
			if err != nil {
				graphql.AddError(ctx, err)
			}
			data[field.Alias] = value
		}
		text, err := json.Marshal(data)
		if err != nil {
			panic(err)
		}
		return &graphql.Response{Data: text}
	}
}

func TestResolversOfGQLGenKnowTheSubject(t *testing.T) {
	auth := newAuth(t)
	url := serve(t, gqlgenServer(auth, shopSchema{}))
	john, admin := accessToken(t, auth, "john@mail.com", "changeme"), accessToken(t, auth, "admin@mail.com", "admin123")
	ask := func(token string) answer {
		var headers []string
		if token != "" {
			headers = []string{"Authorization", "Bearer " + token}
		}
		return send(t, "POST", url, `{"query":"{me users}"}`, headers...)
	}
	for name, tc := range map[string]struct{ token, want string }{
		"nobody": {"", `{"data":{"me":null,"users":null},"errors":[{"message":"authentication is required","extensions":{"code":"missing_token"}}]}`},
		"a user": {john, `{"data":{"me":"1","users":null},"errors":[{"message":"you are not allowed to do this",
			"extensions":{"code":"insufficient_scope"}}]}`},
		"an administrator": {admin, `{"data":{"me":"3","users":"users for user 3"}}`},
	} {
		got := ask(tc.token)
		require.Equal(t, 200, got.StatusCode, name)
		require.JSONEq(t, tc.want, got.body, name)
	}
	requireRefused(t, ask(john+"x"), 401, "invalid_token", `error="invalid_token"`)
	require.NoError(t, auth.Close())
	require.Equal(t, 503, ask(john).StatusCode)
}

func TestAWebSocketOfGQLGenEndsWithItsToken(t *testing.T) {
	auth := newAuth(t, signet.WithLifetimes(signet.Lifetimes{Access: 2 * time.Second}))
	url := serve(t, gqlgenServer(auth, shopSchema{}))
	token := accessToken(t, auth, "john@mail.com", "changeme")
	for _, tc := range []struct{ name, header, payload, want string }{
		{"nobody", "", `{}`, `{"data":{"me":null}}`},
		{"a user", "", `{"Authorization":"Bearer ` + token + `"}`, `{"data":{"me":"1"}}`},
		{"a user of the handshake", "Bearer ", `{}`, `{"data":{"me":"1"}}`},
	} {
		if tc.header != "" {
			token = accessToken(t, auth, "john@mail.com", "changeme")
			tc.header += token
		}
		socket := dialWebSocket(t, url, tc.payload, tc.header)
		require.Equal(t, "connection_ack", socket.receive().Type, tc.name)
		socket.send(`{"type":"subscribe","id":"1","payload":{"query":"{me}"}}`)
		next := socket.receive()
		require.Equal(t, "next", next.Type, tc.name)
		require.JSONEq(t, tc.want, string(next.Payload), tc.name)
		require.Equal(t, "complete", socket.receive().Type, tc.name)
		if tc.name == "nobody" {
			continue
		}
		_, _, err := socket.Read(socket.ctx)
		require.Error(t, err)
		require.NoError(t, socket.ctx.Err(), "the server has closed it")
		_, err = auth.Verify(t.Context(), token)
		require.ErrorIs(t, err, signet.ErrExpiredToken, "when the token was over, and not before")
	}
	refused := dialWebSocket(t, url, `{"Authorization":"Bearer x"}`, "")
	require.Contains(t, refused.closeReason(), "terminated")
}

// webSocket is the client's side of the protocol graphql-transport-ws.
type webSocket struct {
	*websocket.Conn
	t   *testing.T
	ctx context.Context
}

type webSocketMessage struct {
	Type    string          `json:"type"`
	Payload json.RawMessage `json:"payload"`
}

// dialWebSocket opens a WebSocket, with that Authorization header if it is not empty, and sends the payload of connection_init.
func dialWebSocket(t *testing.T, url, payload, authorization string) webSocket {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	header := http.Header{}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"graphql-transport-ws"}, HTTPHeader: header})
	require.NoError(t, err)
	t.Cleanup(func() { conn.CloseNow() })
	s := webSocket{conn, t, ctx}
	s.send(`{"type":"connection_init","payload":` + payload + `}`)
	return s
}

func (s webSocket) send(text string) {
	s.t.Helper()
	require.NoError(s.t, s.Write(s.ctx, websocket.MessageText, []byte(text)))
}

func (s webSocket) receive() (m webSocketMessage) {
	s.t.Helper()
	_, text, err := s.Read(s.ctx)
	require.NoError(s.t, err)
	require.NoError(s.t, json.Unmarshal(text, &m))
	return m
}

// closeReason reads until the server closes the connection.
func (s webSocket) closeReason() string {
	s.t.Helper()
	for {
		_, text, err := s.Read(s.ctx)
		if err != nil {
			return err.Error()
		}
		require.NotContains(s.t, string(text), "connection_ack")
		require.NotContains(s.t, string(text), "signet:", "the text is for clients")
	}
}
