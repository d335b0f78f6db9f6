package integrations

import (
	"net/http"

	"github.com/signet-go/signet"
)

// serveMux mounts signet in http.ServeMux. The pattern of the mount has no method: "POST /api/v1/auth/" would keep
// preflights, GET and DELETE from it. Your own routes may have one.
//
// Beware of a catch-all with a method: "GET /" conflicts with the mount, and the mux panics. Write "/". And the mux
// redirects paths that are not clean, such as "//api/v1/auth/login", by itself; the shop in the folder example shows
// how to answer 404 instead.
func serveMux(auth *signet.Auth) http.Handler {
	mux := http.NewServeMux()
	contract := auth.Handler("/api/v1/auth")
	mux.Handle("/api/v1/auth/", contract)
	mux.Handle("/api/v1/auth", contract) // or the mux would redirect it
	mux.Handle("GET /api/v1/orders", auth.RequireAuth(http.HandlerFunc(orders)))
	mux.Handle("GET /api/v1/admin/users", auth.RequireRole("admin")(http.HandlerFunc(users)))
	return mux
}

// serveMuxStripped mounts a whole API behind http.StripPrefix. The API does not know what is in front of it, so the
// prefix is what is left of the path.
func serveMuxStripped(auth *signet.Auth) http.Handler {
	api := http.NewServeMux()
	api.Handle("/auth/", auth.Handler("/auth"))
	api.Handle("GET /orders", auth.RequireAuth(http.HandlerFunc(orders)))
	api.Handle("GET /admin/users", auth.RequireRole("admin")(http.HandlerFunc(users)))
	mux := http.NewServeMux()
	mux.Handle("/api/v1/", http.StripPrefix("/api/v1", api))
	return mux
}
