package integrations

import (
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/signet-go/signet"
)

// echo4Server mounts signet in echo v4. This version tells no pattern, so the prefix is relative: "auth", without a
// slash. echo.WrapMiddleware runs the route only if signet lets the request pass, so the middleware of net/http can be
// used as it is.
//
// Beware of the context: echo.Context is none. The claims are in c.Request().Context().
func echo4Server(auth *signet.Auth) http.Handler {
	e := echo.New()
	api := e.Group("/api/v1")
	api.Any("/auth/*", echo.WrapHandler(auth.Handler("auth")))
	api.GET("/orders", func(c echo.Context) error {
		return c.String(http.StatusOK, "orders of user "+signet.Subject(c.Request().Context())+"\n")
	}, echo.WrapMiddleware(auth.RequireAuth))
	api.GET("/admin/users", echo.WrapHandler(http.HandlerFunc(users)), echo.WrapMiddleware(auth.RequireRole("admin")))
	return e
}
