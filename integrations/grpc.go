package integrations

import (
	"context"
	"errors"
	"net/http"
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
// a stranger can make it read. And a stream can outlive its session: here its context ends with the session and with the
// token, and then it carries no message any more. A handler that waits for something else than messages must look at
// stream.Context(). A method that must be open, such as a health check, needs an exception here.
func grpcServer(auth *signet.Auth, roles map[string]string) *grpc.Server {
	unary := func(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
		claims, err := grpcCheck(ctx, auth, roles[info.FullMethod])
		if err != nil {
			return nil, err
		}
		return next(signet.ContextWithClaims(ctx, claims), req)
	}
	stream := func(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, next grpc.StreamHandler) error {
		claims, err := grpcCheck(stream.Context(), auth, roles[info.FullMethod])
		if err != nil {
			return err
		}
		ctx, cancel := signet.SessionContext(signet.ContextWithClaims(stream.Context(), claims), signet.ErrExpiredToken)
		defer cancel()
		own := grpcStream{stream, ctx}
		err = next(srv, own)
		if ended := own.ended(); ended != nil {
			return ended
		}
		return err
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
	case err != nil:
		return nil, grpcStatus(err)
	case role != "" && !claims.HasRole(role):
		return nil, status.Error(codes.PermissionDenied, message(signet.ErrInsufficientScope))
	}
	return claims, nil
}

// grpcStatus is the status for an error of signet, or of a context. It serves methods that call auth.Login or auth.Refresh too.
func grpcStatus(err error) error {
	var refused *signet.Error
	if !errors.As(err, &refused) {
		return status.FromContextError(err).Err()
	}
	code := codes.Internal
	switch refused.Status() {
	case http.StatusBadRequest:
		code = codes.InvalidArgument
	case http.StatusUnauthorized: // revoked and expired tokens, wrong passwords and codes
		code = codes.Unauthenticated
	case http.StatusForbidden:
		code = codes.PermissionDenied
	case http.StatusTooManyRequests:
		code = codes.ResourceExhausted
	case http.StatusServiceUnavailable:
		code = codes.Unavailable
	}
	return status.Error(code, message(err))
}

// grpcStream is a stream of a signed-in user. ctx ends with the session.
type grpcStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s grpcStream) Context() context.Context { return s.ctx }

func (s grpcStream) SendMsg(m any) error {
	if err := s.ended(); err != nil {
		return err
	}
	return s.ServerStream.SendMsg(m)
}

func (s grpcStream) RecvMsg(m any) error {
	err := s.ServerStream.RecvMsg(m)
	if ended := s.ended(); ended != nil {
		return ended
	}
	return err
}

// ended says why the stream has ended, or nil.
func (s grpcStream) ended() error {
	if s.ctx.Err() == nil {
		return nil
	}
	return grpcStatus(context.Cause(s.ctx))
}
