package integrations

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"
	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/signet-go/signet"
)

// connectShop has the procedures Orders, Users and Watch, as a generated handler has.
func connectShop(options ...connect.HandlerOption) http.Handler {
	unary := func(ctx context.Context, _ *connect.Request[emptypb.Empty]) (*connect.Response[wrapperspb.StringValue], error) {
		return connect.NewResponse(wrapperspb.String(signet.Subject(ctx))), nil
	}
	stream := func(ctx context.Context, _ *connect.Request[emptypb.Empty], stream *connect.ServerStream[wrapperspb.StringValue]) error {
		return stream.Send(wrapperspb.String(signet.Subject(ctx)))
	}
	mux := http.NewServeMux()
	for _, name := range []string{"/shop.Shop/Orders", "/shop.Shop/Users"} {
		mux.Handle(name, connect.NewUnaryHandler(name, unary, options...))
	}
	mux.Handle("/shop.Shop/Watch", connect.NewServerStreamHandler("/shop.Shop/Watch", stream, options...))
	return mux
}

// serveH2C starts a real server that speaks HTTP/1.1 and HTTP/2 without TLS, and returns a client for HTTP/2.
func serveH2C(t *testing.T, handler http.Handler) (url string, client *http.Client) {
	t.Helper()
	protocols, second := new(http.Protocols), new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	second.SetUnencryptedHTTP2(true)
	server := httptest.NewUnstartedServer(handler)
	server.Config.Protocols = protocols
	server.Start()
	t.Cleanup(server.Close)
	transport := &http.Transport{Protocols: second}
	t.Cleanup(transport.CloseIdleConnections)
	return server.URL, &http.Client{Transport: transport}
}

// connectCall calls a procedure and returns the subject that it answers with.
func connectCall(t *testing.T, client *http.Client, url, procedure string, authorization []string, options ...connect.ClientOption) (string, error) {
	t.Helper()
	shop := connect.NewClient[emptypb.Empty, wrapperspb.StringValue](client, url+procedure, options...)
	req := connect.NewRequest(new(emptypb.Empty))
	req.Header()["Authorization"] = authorization
	if procedure != "/shop.Shop/Watch" {
		res, err := shop.CallUnary(t.Context(), req)
		if err != nil {
			return "", err
		}
		return res.Msg.GetValue(), nil
	}
	stream, err := shop.CallServerStream(t.Context(), req)
	require.NoError(t, err)
	defer stream.Close()
	if !stream.Receive() {
		return "", stream.Err()
	}
	return stream.Msg().GetValue(), nil
}

var connectProtocols = map[string]connect.ClientOption{
	"connect": connect.WithProtoJSON(), "gRPC": connect.WithGRPC(), "gRPC-Web": connect.WithGRPCWeb(),
}

func TestConnectGuardsEveryProcedure(t *testing.T) {
	auth := newAuth(t)
	url, client := serveH2C(t, connectShop(connect.WithInterceptors(connectAuth{auth, shopRoles})))
	john, admin := "Bearer "+accessToken(t, auth, "john@mail.com", "changeme"), "Bearer "+accessToken(t, auth, "admin@mail.com", "admin123")
	for name, tc := range map[string]struct {
		procedure     string
		authorization []string
		want          connect.Code // 0: none
		subject       string
	}{
		"a user":             {"/shop.Shop/Orders", []string{john}, 0, "1"},
		"an administrator":   {"/shop.Shop/Users", []string{admin}, 0, "3"},
		"a stream":           {"/shop.Shop/Watch", []string{john}, 0, "1"},
		"no token":           {"/shop.Shop/Orders", nil, connect.CodeUnauthenticated, ""},
		"no token, stream":   {"/shop.Shop/Watch", nil, connect.CodeUnauthenticated, ""},
		"a bad token":        {"/shop.Shop/Orders", []string{john + "x"}, connect.CodeUnauthenticated, ""},
		"bad token, stream":  {"/shop.Shop/Watch", []string{john + "x"}, connect.CodeUnauthenticated, ""},
		"two tokens":         {"/shop.Shop/Orders", []string{john, admin}, connect.CodeUnauthenticated, ""},
		"without the role":   {"/shop.Shop/Users", []string{john}, connect.CodePermissionDenied, ""},
		"no token, the role": {"/shop.Shop/Users", nil, connect.CodeUnauthenticated, ""},
	} {
		for protocol, option := range connectProtocols {
			t.Run(name+", "+protocol, func(t *testing.T) {
				subject, err := connectCall(t, client, url, tc.procedure, tc.authorization, option)
				require.Equal(t, tc.subject, subject)
				if tc.want == 0 {
					require.NoError(t, err)
					return
				}
				require.Equal(t, tc.want, connect.CodeOf(err), "%v", err)
				require.NotContains(t, err.Error(), "signet:", "the text is for clients")
			})
		}
	}
}

func TestConnectIsUnavailableWhenSignetIs(t *testing.T) {
	auth := newAuth(t)
	token := accessToken(t, auth, "john@mail.com", "changeme")
	url, client := serveH2C(t, connectShop(connect.WithInterceptors(connectAuth{auth, shopRoles})))
	require.NoError(t, auth.Close()) // nobody can tell any more whether a session is revoked
	for _, procedure := range []string{"/shop.Shop/Orders", "/shop.Shop/Watch"} {
		_, err := connectCall(t, client, url, procedure, []string{"Bearer " + token})
		require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err), "%v", err)
	}
}

func TestRequireAuthAroundConnectHasTheSameCodes(t *testing.T) {
	auth := newAuth(t)
	token := "Bearer " + accessToken(t, auth, "john@mail.com", "changeme")
	mux := http.NewServeMux()
	mux.Handle("/", auth.RequireAuth(connectShop()))
	mux.Handle("/shop.Shop/Users", auth.RequireRole("admin")(connectShop()))
	url, client := serveH2C(t, mux)
	for protocol, option := range connectProtocols {
		t.Run(protocol, func(t *testing.T) {
			for _, procedure := range []string{"/shop.Shop/Orders", "/shop.Shop/Watch"} {
				subject, err := connectCall(t, client, url, procedure, []string{token}, option)
				require.NoError(t, err)
				require.Equal(t, "1", subject)
				_, err = connectCall(t, client, url, procedure, nil, option)
				require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err), "%v", err)
			}
			_, err := connectCall(t, client, url, "/shop.Shop/Users", []string{token}, option)
			require.Equal(t, connect.CodePermissionDenied, connect.CodeOf(err), "%v", err)
		})
	}
	require.NoError(t, auth.Close())
	for protocol, option := range connectProtocols {
		_, err := connectCall(t, client, url, "/shop.Shop/Orders", []string{token}, option)
		require.Equal(t, connect.CodeUnavailable, connect.CodeOf(err), "%s: %v", protocol, err)
	}
}

func TestAUnaryInterceptorFuncLeavesStreamsOpen(t *testing.T) {
	auth := newAuth(t)
	url, client := serveH2C(t, connectShop(connect.WithInterceptors(connect.UnaryInterceptorFunc(connectAuth{auth: auth}.WrapUnary))))
	_, err := connectCall(t, client, url, "/shop.Shop/Orders", nil)
	require.Equal(t, connect.CodeUnauthenticated, connect.CodeOf(err))
	_, err = connectCall(t, client, url, "/shop.Shop/Watch", nil)
	require.NoError(t, err, "nobody has looked at it")
}
