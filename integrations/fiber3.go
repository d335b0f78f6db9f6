package integrations

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"

	"github.com/signet-go/signet"
)

// fiber3App mounts signet in fiber v3, through the adaptor. What fiber2App says to beware of holds here too.
func fiber3App(auth *signet.Auth) *fiber.App {
	app := fiber.New()
	app.All("/api/v1/auth/*", adaptor.HTTPHandler(auth.Handler("/api/v1/auth")))
	app.Get("/api/v1/orders", fiber3RequireAuth(auth), func(c fiber.Ctx) error {
		return c.SendString("orders of user " + signet.Subject(c.Context()) + "\n")
	})
	app.Get("/api/v1/admin/users", fiber3RequireAuth(auth, "admin"), func(c fiber.Ctx) error {
		return c.SendString("users for user " + signet.Subject(c.Context()) + "\n")
	})
	return app
}

// fiber3RequireAuth is RequireAuth for fiber, or RequireRole if it is given roles. The claims are in c.Context().
//
// adaptor.HTTPMiddleware(auth.RequireAuth) guards a route too. But it copies the claims into c.RequestCtx():
// signet.Subject(c) finds them, and signet.Subject(c.Context()) finds nobody. With fiber3RequireAuth it is the other
// way round.
func fiber3RequireAuth(auth *signet.Auth, roles ...string) fiber.Handler {
	return func(c fiber.Ctx) error {
		r, err := adaptor.ConvertRequest(c, true) // whole, for the sake of cookies
		if err != nil {                           // a path that net/http does not read; the header is enough
			r = &http.Request{Method: c.Method(), URL: &url.URL{Path: "/"}, Header: http.Header{}}
		}
		if all := c.GetReqHeaders()["Authorization"]; len(all) > 0 { // of several the adaptor keeps the last one
			r.Header["Authorization"] = all
		}
		claims, err := auth.Check(r.WithContext(c.Context()))
		if err == nil && len(roles) > 0 && !claims.HasRole(roles[0], roles[1:]...) {
			err = signet.ErrInsufficientScope
		}
		if err != nil {
			return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) { signet.WriteError(w, err) })(c)
		}
		c.SetContext(signet.ContextWithClaims(c.Context(), claims))
		return c.Next()
	}
}
