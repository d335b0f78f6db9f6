package integrations

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"github.com/signet-go/signet"
)

// chiRouter mounts signet in chi. chi sets the pattern of the request, so the prefix is that of the innermost Mount,
// whatever Route is around it, also Route("/{tenant}"). In a Route behind http.StripPrefix write it without the slash:
// "auth".
//
// Beware of r.Use(auth.RequireAuth) beside the Mount: then nobody could log in. Put the guarded routes into a Group of
// their own. A middleware that answers CORS for your own routes must stand before RequireAuth, because preflights carry
// no token.
func chiRouter(auth *signet.Auth) http.Handler {
	r := chi.NewRouter()
	r.Route("/api/v1", func(r chi.Router) {
		r.Mount("/auth", auth.Handler("/auth"))
		r.Group(func(r chi.Router) {
			r.Use(auth.RequireAuth)
			r.Get("/orders", orders)
		})
		r.With(auth.RequireRole("admin")).Get("/admin/users", users) // includes RequireAuth
	})
	return r
}
