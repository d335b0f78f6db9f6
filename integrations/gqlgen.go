package integrations

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/99designs/gqlgen/graphql"
	"github.com/99designs/gqlgen/graphql/handler"
	"github.com/99designs/gqlgen/graphql/handler/transport"
	"github.com/vektah/gqlparser/v2/gqlerror"

	"github.com/signet-go/signet"
)

// gqlgenServer serves a GraphQL schema. OptionalAuth stands outside, because one document can ask for public and for
// private fields: the resolvers decide. A token that is sent must be good, or the whole request is answered 401.
//
// Beware of the text of errors: that of a *signet.Error is for logs. Clients get its message and its code.
func gqlgenServer(auth *signet.Auth, schema graphql.ExecutableSchema) http.Handler {
	server := handler.New(schema)
	server.AddTransport(transport.Websocket{InitFunc: gqlgenInit(auth)})
	server.AddTransport(transport.POST{})
	server.SetErrorPresenter(func(ctx context.Context, err error) *gqlerror.Error {
		shown := graphql.DefaultErrorPresenter(ctx, err)
		var refused *signet.Error
		if errors.As(err, &refused) {
			shown.Message, shown.Extensions = refused.Message(), map[string]any{"code": refused.Code()}
		}
		return shown
	})
	return auth.OptionalAuth(server)
}

// gqlgenInit signs in the user of a WebSocket. Scripts cannot send a header with it, so the token is in the payload of
// connection_init. Without it the user is that of the handshake, which OptionalAuth has checked: its header, or the cookies of a
// browser. The connection ends with the session, and when the token expires.
func gqlgenInit(auth *signet.Auth) transport.WebsocketInitFunc {
	return func(ctx context.Context, payload transport.InitPayload) (context.Context, *transport.InitPayload, error) {
		signedIn := ctx
		if authorization := payload.Authorization(); authorization != "" {
			_, token, _ := strings.Cut(authorization, " ")
			claims, err := auth.Verify(ctx, token)
			if err != nil {
				return ctx, nil, errors.New(message(err))
			}
			signedIn = signet.ContextWithClaims(ctx, claims)
		}
		if signet.Subject(signedIn) == "" {
			return ctx, nil, nil
		}
		limited, cancel := signet.SessionContext(signedIn, signet.ErrExpiredToken)
		context.AfterFunc(ctx, cancel)
		return limited, nil, nil
	}
}

// resolveMe is a resolver of a field for everybody: it is null when nobody is signed in.
func resolveMe(ctx context.Context) (*string, error) {
	if subject := signet.Subject(ctx); subject != "" {
		return &subject, nil
	}
	return nil, nil
}

// resolveUsers is a resolver of a field for administrators.
func resolveUsers(ctx context.Context) (*string, error) {
	claims, ok := signet.ClaimsFromContext(ctx)
	switch {
	case !ok:
		return nil, signet.ErrNoToken
	case !claims.HasRole("admin"):
		return nil, signet.ErrInsufficientScope
	}
	users := "users for user " + claims.Subject
	return &users, nil
}
