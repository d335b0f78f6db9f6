package integrations

import (
	"context"
	"errors"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/signet-go/signet"
)

// grpcServer guards every method of a gRPC server. roles says which methods need a role, by the full name, such as
// "/shop.Shop/Users". Clients send the access token as metadata: authorization: Bearer ACCESS_TOKEN.
//
// Beware of two things. gRPC decodes a request before it calls a unary interceptor, so grpc.MaxRecvMsgSize bounds what
// a stranger can make it read. And a stream can outlive its token: the interceptor here checks the token again before
// each message that it sends. A method that must be open, such as a health check, needs an exception here.
func grpcServer(auth *signet.Auth, roles map[string]string) *grpc.Server {
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		claims, err := grpcCheck(ctx, auth, roles[info.FullMethod])
		if err != nil {
			return nil, err
		}
		return next(signet.ContextWithClaims(ctx, claims), req)
	}
	stream := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		ctx := stream.Context()
		claims, err := grpcCheck(ctx, auth, roles[info.FullMethod])
		if err != nil {
			return err
		}
		check := func() error { _, err := grpcCheck(ctx, auth, roles[info.FullMethod]); return err }
		return next(srv, grpcStream{stream, signet.ContextWithClaims(ctx, claims), check})
	}
	return grpc.NewServer(grpc.UnaryInterceptor(unary), grpc.StreamInterceptor(stream))
}

// grpcCheck verifies the token of a call. The status tells a client that it must sign in, that it may not, or that it
// should try again.
func grpcCheck(ctx context.Context, auth *signet.Auth, role string) (*signet.Claims, error) {
	values := metadata.ValueFromIncomingContext(ctx, "authorization")
	if len(values) != 1 {
		return nil, status.Error(codes.Unauthenticated, "send exactly one authorization")
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return nil, status.Error(codes.Unauthenticated, "send a bearer token")
	}
	claims, err := auth.Verify(ctx, token)
	switch {
	case errors.Is(err, signet.ErrUnavailable):
		return nil, status.Error(codes.Unavailable, message(err))
	case err != nil:
		return nil, status.Error(codes.Unauthenticated, message(err))
	case role != "" && !claims.HasRole(role):
		return nil, status.Error(codes.PermissionDenied, message(signet.ErrInsufficientScope))
	}
	return claims, nil
}

// grpcStream is a stream of a signed-in user.
type grpcStream struct {
	grpc.ServerStream
	ctx   context.Context
	check func() error
}

func (s grpcStream) Context() context.Context { return s.ctx }

func (s grpcStream) SendMsg(m any) error {
	if err := s.check(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}
