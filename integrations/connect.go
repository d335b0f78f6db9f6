package integrations

import (
	"context"
	"errors"
	"net/http"

	"connectrpc.com/connect"

	"github.com/signet-go/signet"
)

// connectAuth guards every procedure of a Connect handler: pass connect.WithInterceptors(connectAuth{auth, roles}).
// roles says which procedures need a role, such as "/shop.Shop/Users".
//
// Beware of two things. Connect decodes a unary request before it calls an interceptor; auth.RequireAuth around the
// handler refuses strangers before that, and clients see the same codes. And an interceptor of the type
// connect.UnaryInterceptorFunc leaves streams open to everybody: all three methods are needed.
type connectAuth struct {
	auth  *signet.Auth
	roles map[string]string
}

func (a connectAuth) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		if req.Spec().IsClient {
			return next(ctx, req)
		}
		ctx, err := a.check(ctx, req.Header(), req.Spec().Procedure)
		if err != nil {
			return nil, err
		}
		return next(ctx, req)
	}
}

func (a connectAuth) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return func(ctx context.Context, conn connect.StreamingHandlerConn) error {
		ctx, err := a.check(ctx, conn.RequestHeader(), conn.Spec().Procedure)
		if err != nil {
			return err
		}
		return next(ctx, conn)
	}
}

func (a connectAuth) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return next
}

// check returns the context of a signed-in user. To check a bearer token, auth.Check needs only the header and the context of a
// request. To check a cookie it would need the whole request.
func (a connectAuth) check(ctx context.Context, header http.Header, procedure string) (context.Context, error) {
	bearer := http.Header{"Authorization": header.Values("Authorization")}
	claims, err := a.auth.Check((&http.Request{Header: bearer}).WithContext(ctx))
	if role := a.roles[procedure]; err == nil && role != "" && !claims.HasRole(role) {
		err = signet.ErrInsufficientScope
	}
	switch {
	case errors.Is(err, signet.ErrUnavailable):
		return nil, connect.NewError(connect.CodeUnavailable, errors.New(message(err)))
	case errors.Is(err, signet.ErrInsufficientScope):
		return nil, connect.NewError(connect.CodePermissionDenied, errors.New(message(err)))
	case err != nil:
		return nil, connect.NewError(connect.CodeUnauthenticated, errors.New(message(err)))
	}
	return signet.ContextWithClaims(ctx, claims), nil
}
