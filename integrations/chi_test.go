package integrations

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

func TestChiServesTheShop(t *testing.T) {
	requireShop(t, serve(t, chiRouter(newAuth(t))))
}

func TestChiMountsInOtherWays(t *testing.T) {
	for name, wrap := range map[string]func(*signet.Auth) http.Handler{
		"the whole path": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Mount("/api/v1/auth", auth.Handler("/api/v1/auth"))
			return r
		},
		"a router in a router": func(auth *signet.Auth) http.Handler {
			inner, outer := chi.NewRouter(), chi.NewRouter()
			inner.Mount("/auth", auth.Handler("/auth"))
			outer.Mount("/api/v1", inner)
			return outer
		},
		"in a ServeMux": func(auth *signet.Auth) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/", chiRouter(auth))
			return mux
		},
		"clean paths and no slashes": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.CleanPath, middleware.StripSlashes)
			r.Mount("/api/v1/auth", auth.Handler("/auth"))
			return r
		},
		"below a wildcard": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Route("/{tenant}/v1", func(r chi.Router) { r.Mount("/auth", auth.Handler("/auth")) })
			return r
		},
		"below a wildcard, by the pattern": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Route("/{tenant}/{version:v[0-9]+}", func(r chi.Router) { r.Mount("/auth", auth.Handler("")) })
			return r
		},
		"a Route behind StripPrefix": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Route("/v1", func(r chi.Router) { r.Mount("/auth", auth.Handler("auth")) })
			return http.StripPrefix("/api", r)
		},
		"behind StripPrefix": func(auth *signet.Auth) http.Handler {
			r := chi.NewRouter()
			r.Mount("/auth", auth.Handler("/auth"))
			return http.StripPrefix("/api/v1", r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, wrap(newAuth(t)))
			login(t, url+"/api/v1/auth/login", johnLogin)
			login(t, url+"/api/v1/auth/login/", johnLogin)
			require.NotEqual(t, 201, send(t, "POST", url+"/api/v1/auth/auth/login", johnLogin).StatusCode)
			require.NotEqual(t, 201, send(t, "POST", url+"/api/v1//auth/login", johnLogin).StatusCode)
		})
	}
}

func TestAGuardBesideTheMountLocksEverybodyOut(t *testing.T) {
	auth := newAuth(t)
	r := chi.NewRouter()
	r.Use(auth.RequireAuth)
	r.Mount("/auth", auth.Handler("/auth"))
	require.Equal(t, 401, send(t, "POST", serve(t, r)+"/auth/login", johnLogin).StatusCode)
}
