package integrations

import (
	"net/http"

	"github.com/gorilla/mux"

	"github.com/signet-go/signet"
)

// gorillaRouter mounts signet in gorilla/mux. The router tells no pattern and changes no path, so the prefix is the
// whole path, in subrouters too.
//
// Beware of PathPrefix without a slash at its end: it takes "/api/v1/authors" too. And the router redirects paths that
// are not clean, such as "//api/v1/auth/login"; with SkipClean(true) it answers 404.
func gorillaRouter(auth *signet.Auth) http.Handler {
	r := mux.NewRouter().SkipClean(true)
	api := r.PathPrefix("/api/v1").Subrouter()
	api.PathPrefix("/auth/").Handler(auth.Handler("/api/v1/auth"))
	api.Handle("/admin/users", auth.RequireRole("admin")(http.HandlerFunc(users))).Methods("GET")
	guarded := api.NewRoute().Subrouter()
	guarded.Use(auth.RequireAuth)
	guarded.HandleFunc("/orders", orders).Methods("GET")
	return r
}
