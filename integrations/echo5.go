package integrations

import (
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/signet-go/signet"
)

// echo5Server mounts signet in echo v5. It is echo4Server with the new types. This version tells its pattern, so
// "/auth" and "/api/v1/auth" would work too.
//
// Beware of the context: *echo.Context is none. The claims are in c.Request().Context().
func echo5Server(auth *signet.Auth) http.Handler {
	e := echo.New()
	api := e.Group("/api/v1")
	api.Any("/auth/*", echo.WrapHandler(auth.Handler("auth")))
	api.GET("/orders", func(c *echo.Context) error {
		return c.String(http.StatusOK, "orders of user "+signet.Subject(c.Request().Context())+"\n")
	}, echo.WrapMiddleware(auth.RequireAuth))
	api.GET("/admin/users", echo.WrapHandler(http.HandlerFunc(users)), echo.WrapMiddleware(auth.RequireRole("admin")))
	return e
}
