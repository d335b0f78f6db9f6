package integrations

import (
	"context"
	"net"
	"testing"

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

// shopService is what protoc would generate from a service with the methods Orders, Users and Watch.
var shopService = grpc.ServiceDesc{
	ServiceName: "shop.Shop",
	HandlerType: (*any)(nil),
	Methods:     []grpc.MethodDesc{{MethodName: "Orders", Handler: grpcUnary("Orders")}, {MethodName: "Users", Handler: grpcUnary("Users")}},
	Streams:     []grpc.StreamDesc{{StreamName: "Watch", Handler: grpcWatch, ServerStreams: true, ClientStreams: true}},
}

var shopRoles = map[string]string{"/shop.Shop/Users": "admin"}

// grpcUnary is a method that answers with the subject.
func grpcUnary(name string) grpc.MethodHandler {
	return func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
		in := new(emptypb.Empty)
		if err := decode(in); err != nil {
			return nil, err
		}
		info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/shop.Shop/" + name}
		return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) {
			return wrapperspb.String(signet.Subject(ctx)), nil
		})
	}
}

// grpcWatch answers each message with the subject.
func grpcWatch(_ any, stream grpc.ServerStream) error {
	for {
		if err := stream.RecvMsg(new(emptypb.Empty)); err != nil {
			return err
		}
		if err := stream.SendMsg(wrapperspb.String(signet.Subject(stream.Context()))); err != nil {
			return err
		}
	}
}

// dialShop starts a real server on loopback and connects to it.
func dialShop(t *testing.T, auth *signet.Auth) *grpc.ClientConn {
	t.Helper()
	server := grpcServer(auth, shopRoles)
	server.RegisterService(&shopService, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, conn.Close())
		server.Stop()
		require.NoError(t, <-done)
	})
	return conn
}

// withMetadata is the context of a client; values are those of "authorization".
func withMetadata(t *testing.T, values ...string) context.Context {
	ctx := t.Context()
	for _, value := range values {
		ctx = metadata.AppendToOutgoingContext(ctx, "authorization", value)
	}
	return ctx
}

func TestGRPCGuardsEveryMethod(t *testing.T) {
	auth := newAuth(t)
	conn := dialShop(t, auth)
	john, admin := "Bearer "+accessToken(t, auth, "john@mail.com", "changeme"), "bearer "+accessToken(t, auth, "admin@mail.com", "admin123")
	for name, tc := range map[string]struct {
		method        string
		authorization []string
		want          codes.Code
		subject       string
	}{
		"a user":              {"Orders", []string{john}, codes.OK, "1"},
		"an administrator":    {"Users", []string{admin}, codes.OK, "3"},
		"no token":            {"Orders", nil, codes.Unauthenticated, ""},
		"a bad token":         {"Orders", []string{john + "x"}, codes.Unauthenticated, ""},
		"another scheme":      {"Orders", []string{"Basic eDp5"}, codes.Unauthenticated, ""},
		"no scheme":           {"Orders", []string{john[7:]}, codes.Unauthenticated, ""},
		"two tokens":          {"Orders", []string{john, admin}, codes.Unauthenticated, ""},
		"without the role":    {"Users", []string{john}, codes.PermissionDenied, ""},
		"no token, with role": {"Users", nil, codes.Unauthenticated, ""},
	} {
		t.Run("unary, "+name, func(t *testing.T) {
			out := new(wrapperspb.StringValue)
			err := conn.Invoke(withMetadata(t, tc.authorization...), "/shop.Shop/"+tc.method, new(emptypb.Empty), out)
			require.Equal(t, tc.want, status.Code(err), "%v", err)
			require.Equal(t, tc.subject, out.GetValue())
			require.NotContains(t, status.Convert(err).Message(), "signet:", "the text is for clients")
		})
		if tc.method == "Users" {
			continue
		}
		t.Run("stream, "+name, func(t *testing.T) {
			out, err := watch(t, conn, tc.authorization...)()
			require.Equal(t, tc.want, status.Code(err), "%v", err)
			require.Equal(t, tc.subject, out)
		})
	}
}

// watch opens a stream. The returned function sends a message and waits for the answer.
func watch(t *testing.T, conn *grpc.ClientConn, authorization ...string) func() (string, error) {
	t.Helper()
	stream, err := conn.NewStream(withMetadata(t, authorization...), &shopService.Streams[0], "/shop.Shop/Watch")
	require.NoError(t, err)
	return func() (string, error) {
		_ = stream.SendMsg(new(emptypb.Empty)) // if the stream is over, RecvMsg knows why
		out := new(wrapperspb.StringValue)
		err := stream.RecvMsg(out)
		return out.GetValue(), err
	}
}

func TestAGRPCStreamEndsWithItsSession(t *testing.T) {
	auth := newAuth(t)
	token := accessToken(t, auth, "john@mail.com", "changeme")
	next := watch(t, dialShop(t, auth), "Bearer "+token)
	for range 2 {
		out, err := next()
		require.NoError(t, err)
		require.Equal(t, "1", out)
	}
	require.NoError(t, auth.Logout(t.Context(), token))
	_, err := next()
	require.Equal(t, codes.Unauthenticated, status.Code(err), "%v", err)
}

func TestGRPCIsUnavailableWhenSignetIs(t *testing.T) {
	auth := newAuth(t)
	token := accessToken(t, auth, "john@mail.com", "changeme")
	conn := dialShop(t, auth)
	require.NoError(t, auth.Close()) // nobody can tell any more whether a session is revoked
	err := conn.Invoke(withMetadata(t, "Bearer "+token), "/shop.Shop/Orders", new(emptypb.Empty), new(wrapperspb.StringValue))
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
	_, err = watch(t, conn, "Bearer "+token)()
	require.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
}

// A method that calls auth.Login answers with these.
func TestGRPCSaysWhyALoginFails(t *testing.T) {
	for err, want := range map[error]codes.Code{
		signet.ErrInvalidCredentials: codes.Unauthenticated, signet.ErrTooManyAttempts: codes.ResourceExhausted, signet.ErrInvalidRequest: codes.InvalidArgument,
		signet.ErrUnavailable: codes.Unavailable, signet.ErrInsufficientScope: codes.PermissionDenied, signet.NewError(500, "server_error", "internal server error"): codes.Internal,
		context.Canceled: codes.Canceled,
	} {
		require.Equal(t, want, status.Code(grpcStatus(err)), err.Error())
	}
}
