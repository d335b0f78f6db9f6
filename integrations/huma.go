package integrations

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/signet-go/signet"
)

// humaAPI mounts the contract beside the API of huma, in the same router, and guards operations in groups.
//
// Beware of operations outside of the groups: nothing guards them. Security in the description of an operation is
// documentation only. The description itself (/openapi.json, /docs, /schemas) is open too: huma runs no middleware for
// it.
func humaAPI(auth *signet.Auth) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
	api := humago.NewWithPrefix(mux, "/api/v1", huma.DefaultConfig("Shop", "1.0.0"))
	guarded := huma.NewGroup(api)
	guarded.UseMiddleware(humaRequireAuth(auth))
	huma.Get(guarded, "/orders", func(ctx context.Context, _ *struct{}) (*struct{ Body string }, error) {
		return &struct{ Body string }{"orders of user " + signet.Subject(ctx)}, nil
	})
	admin := huma.NewGroup(api)
	admin.UseMiddleware(humaRequireAuth(auth, "admin"))
	huma.Get(admin, "/admin/users", func(ctx context.Context, _ *struct{}) (*struct{ Body string }, error) {
		return &struct{ Body string }{"users for user " + signet.Subject(ctx)}, nil
	})
	return mux
}

// humaRequireAuth is RequireAuth for huma, or RequireRole if it is given roles. With another router take the Unwrap of
// its adapter.
func humaRequireAuth(auth *signet.Auth, roles ...string) func(huma.Context, func(huma.Context)) {
	return func(ctx huma.Context, next func(huma.Context)) {
		r, w := humago.Unwrap(ctx)
		claims, err := auth.Check(r)
		if err == nil && len(roles) > 0 && !claims.HasRole(roles[0], roles[1:]...) {
			err = signet.ErrInsufficientScope
		}
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		next(huma.WithContext(ctx, signet.ContextWithClaims(ctx.Context(), claims)))
	}
}
