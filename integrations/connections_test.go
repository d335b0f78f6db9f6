package integrations

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/signet-go/signet"
)

// news is a feed. It says when somebody waits, and why nobody waits any more.
type news struct {
	waiting chan struct{}
	events  chan string
	causes  chan error
}

func newNews() news { return news{make(chan struct{}, 10), make(chan string), make(chan error, 10)} }

func (n news) next(ctx context.Context) (event string, err error) {
	n.waiting <- struct{}{}
	select {
	case event = <-n.events:
	case <-ctx.Done():
		n.causes <- context.Cause(ctx)
	}
	return event, context.Cause(ctx)
}

// opened is a connection, as its client sees it. next waits for an event. If the server ends the connection, ended says why.
type opened struct {
	next  func() (event, ended string)
	leave func()
}

// kinds are the kinds of connections. Each starts a real server.
var kinds = map[string]func(t *testing.T, auth *signet.Auth, next feed) (open func(token string) opened, stop func()){
	"server-sent events": func(t *testing.T, auth *signet.Auth, next feed) (func(string) opened, func()) {
		return overHTTP(serverSentEvents(auth, next), func(url, token string, client *http.Client) (func() (string, string), func()) {
			res, err := client.Do(request(t, url, token))
			require.NoError(t, err)
			require.Equal(t, 200, res.StatusCode)
			require.Equal(t, "text/event-stream", res.Header.Get("Content-Type"))
			text := bufio.NewScanner(res.Body)
			line := func(prefix string) string {
				if !text.Scan() {
					return "" // the client has left
				}
				require.True(t, strings.HasPrefix(text.Text(), prefix), "%q, want %q (%v)", text.Text(), prefix, text.Err())
				return text.Text()[len(prefix):]
			}
			return func() (string, string) {
				name, data := line("event: "), line("data: ")
				line("")
				if name == "order" {
					return data, ""
				}
				if name == "end" {
					require.False(t, text.Scan(), "it is the last event")
					require.NoError(t, text.Err())
				}
				return "", data
			}, func() { res.Body.Close() }
		})
	},
	"long poll": func(t *testing.T, auth *signet.Auth, next feed) (func(string) opened, func()) {
		return overHTTP(longPoll(auth, next, time.Minute), func(url, token string, client *http.Client) (func() (string, string), func()) {
			ctx, leave := context.WithCancel(t.Context())
			return func() (string, string) {
				res, err := client.Do(request(t, url, token).WithContext(ctx))
				if err != nil { // the client has left
					return "", err.Error()
				}
				defer res.Body.Close()
				text, _ := io.ReadAll(res.Body)
				if res.StatusCode == 200 {
					return strings.TrimSpace(string(text)), ""
				}
				return "", res.Status + " " + string(text)
			}, leave
		})
	},
	"WebSocket": func(t *testing.T, auth *signet.Auth, next feed) (func(string) opened, func()) {
		return overHTTP(webSocketEvents(auth, next), func(url, token string, client *http.Client) (func() (string, string), func()) {
			conn, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: client, HTTPHeader: request(t, url, token).Header})
			require.NoError(t, err)
			return func() (string, string) {
				_, text, err := conn.Read(t.Context())
				var closed websocket.CloseError
				if errors.As(err, &closed) {
					want := statusUnauthorized
					if strings.Contains(closed.Reason, "unavailable") {
						want = websocket.StatusTryAgainLater
					}
					require.Equal(t, want, closed.Code)
					return "", closed.Reason
				}
				if err != nil { // the client has left
					return "", err.Error()
				}
				return string(text), ""
			}, func() { conn.CloseNow() }
		})
	},
	"gRPC stream": func(t *testing.T, auth *signet.Auth, next feed) (func(string) opened, func()) {
		server := grpcServer(auth, nil)
		changes := grpc.StreamDesc{StreamName: "Changes", ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
				return err
			}
			for {
				event, err := next(stream.Context())
				if err != nil {
					return err // the interceptor makes a status of it
				}
				if err := stream.SendMsg(wrapperspb.String(event)); err != nil {
					return err
				}
			}
		}}
		server.RegisterService(&grpc.ServiceDesc{ServiceName: "shop.Shop", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{changes}}, nil)
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		go server.Serve(listener)
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
		require.NoError(t, err)
		return func(token string) opened {
			ctx, leave := context.WithCancel(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token))
			stream, err := conn.NewStream(ctx, &changes, "/shop.Shop/Changes")
			require.NoError(t, err)
			require.NoError(t, stream.SendMsg(new(emptypb.Empty)))
			require.NoError(t, stream.CloseSend())
			return opened{func() (string, string) {
				out := new(wrapperspb.StringValue)
				err := stream.RecvMsg(out)
				if err == nil {
					return out.GetValue(), ""
				}
				if strings.Contains(err.Error(), "unavailable;") {
					require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
				} else if ctx.Err() == nil {
					require.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
				}
				return "", status.Convert(err).Message()
			}, leave}
		}, func() { conn.Close(); server.Stop() }
	},
}

// overHTTP starts a server, and gives every connection a client of its own.
func overHTTP(handler http.Handler, connect func(url, token string, client *http.Client) (next func() (event, ended string), leave func()),
) (open func(token string) opened, stop func()) {
	server := httptest.NewServer(handler)
	return func(token string) opened {
		transport := &http.Transport{}
		next, leave := connect(server.URL, token, &http.Client{Transport: transport})
		return opened{next, func() { leave(); transport.CloseIdleConnections() }}
	}, server.Close
}

func request(t *testing.T, url, token string) *http.Request {
	t.Helper()
	req, err := http.NewRequest("GET", url, nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	return req
}

func TestOpenConnectionsEndWithTheirSession(t *testing.T) {
	for name, tc := range map[string]struct {
		meanwhile func(t *testing.T, auth *signet.Auth, tokens signet.Tokens) error
		ended     string // a part of the reason; "": the connection goes on
	}{
		"refresh": {func(t *testing.T, auth *signet.Auth, tokens signet.Tokens) error {
			_, err := auth.Refresh(t.Context(), tokens.RefreshToken)
			return err
		}, ""},
		"a change of the user": {func(t *testing.T, auth *signet.Auth, _ signet.Tokens) error {
			return auth.UserChanged(t.Context(), "1")
		}, ""},
		"RevokeSession": {func(t *testing.T, auth *signet.Auth, tokens signet.Tokens) error {
			claims, err := auth.Verify(t.Context(), tokens.AccessToken)
			require.NoError(t, err)
			return auth.RevokeSession(t.Context(), claims.SessionID)
		}, "revoked"},
		"RevokeUser": {func(t *testing.T, auth *signet.Auth, _ signet.Tokens) error {
			return auth.RevokeUser(t.Context(), "1")
		}, "revoked"},
		"the token expires": {func(*testing.T, *signet.Auth, signet.Tokens) error { return nil }, "expired"},
		"Close": {func(_ *testing.T, auth *signet.Auth, _ signet.Tokens) error {
			return auth.Close()
		}, "unavailable"},
		"the client leaves": {nil, ""},
	} {
		for kind, start := range kinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				before := runtime.NumGoroutine()
				lifetimes := signet.Lifetimes{Refresh: time.Hour}
				if tc.ended == "expired" {
					lifetimes.Access = 2 * time.Second
				}
				auth := newAuth(t, signet.WithLifetimes(lifetimes))
				news := newNews()
				open, stop := start(t, auth, news.next)
				tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
				require.NoError(t, err)
				connection := open(tokens.AccessToken)
				type result struct{ event, ended string }
				got := make(chan result, 1)
				ask := func() {
					go func() { event, ended := connection.next(); got <- result{event, ended} }()
					within(t, news.waiting)
				}
				ask()
				news.events <- "first"
				require.Equal(t, result{event: "first"}, within(t, got))
				ask()
				switch {
				case tc.meanwhile == nil:
					connection.leave()
					require.ErrorIs(t, within(t, news.causes), context.Canceled)
					within(t, got)
				case tc.ended == "":
					require.NoError(t, tc.meanwhile(t, auth, tokens))
					news.events <- "second"
					require.Equal(t, result{event: "second"}, within(t, got))
				default:
					require.NoError(t, tc.meanwhile(t, auth, tokens))
					last := within(t, got)
					require.Empty(t, last.event)
					require.Contains(t, last.ended, tc.ended)
					require.NotContains(t, last.ended, "signet:", "the text is for clients")
				}
				connection.leave()
				stop()
				require.NoError(t, auth.Close())
				requireGoroutines(t, before)
			})
		}
	}
}

func TestALongPollEndsWithoutAnEvent(t *testing.T) {
	auth := newAuth(t)
	got := get(t, serve(t, longPoll(auth, newNews().next, 50*time.Millisecond)), accessToken(t, auth, "john@mail.com", "changeme"))
	require.Equal(t, 204, got.StatusCode)
	require.Empty(t, got.body)
}

func TestConnectionsAreForSignedInUsers(t *testing.T) {
	auth := newAuth(t)
	for name, handler := range map[string]http.Handler{
		"server-sent events": serverSentEvents(auth, newNews().next),
		"long poll":          longPoll(auth, newNews().next, time.Minute),
		"WebSocket":          webSocketEvents(auth, newNews().next),
	} {
		t.Run(name, func(t *testing.T) {
			requireRefused(t, get(t, serve(t, handler), ""), 401, "missing_token", `Bearer realm="api"`)
		})
	}
}

func within[T any](t *testing.T, from <-chan T) (value T) {
	t.Helper()
	select {
	case value = <-from:
	case <-time.After(10 * time.Second):
		require.FailNow(t, "nothing came")
	}
	return value
}

// requireGoroutines waits until no more than so many goroutines are left.
func requireGoroutines(t *testing.T, most int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > most; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			require.FailNow(t, "goroutines are left", "%s", stacks[:runtime.Stack(stacks, true)])
		}
	}
}
