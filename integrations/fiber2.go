package integrations

import (
	"net/http"
	"net/url"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/signet-go/signet"
)

// fiber2App mounts signet in fiber v2, through the adaptor.
//
// Beware of four things. The prefix must be the whole path: fiber ignores case in its routes, so with Handler("auth")
// the path /API/v1/auth/login would be an alias. Of several headers with one name the adaptor keeps the last, so the
// contract does not notice a second Authorization header; fiber2RequireAuth does. fiber reads a body of up to its
// BodyLimit before signet can refuse it. And Prefork makes several processes: they need a session store of their own,
// in SQL or Redis.
func fiber2App(auth *signet.Auth) *fiber.App {
	app := fiber.New()
	app.All("/api/v1/auth/*", adaptor.HTTPHandler(auth.Handler("/api/v1/auth")))
	app.Get("/api/v1/orders", fiber2RequireAuth(auth), func(c *fiber.Ctx) error {
		return c.SendString("orders of user " + signet.Subject(c.UserContext()) + "\n")
	})
	app.Get("/api/v1/admin/users", fiber2RequireAuth(auth, "admin"), func(c *fiber.Ctx) error {
		return c.SendString("users for user " + signet.Subject(c.UserContext()) + "\n")
	})
	return app
}

// fiber2RequireAuth is RequireAuth for fiber, or RequireRole if it is given roles. The claims are in c.UserContext().
//
// adaptor.HTTPMiddleware(auth.RequireAuth) guards a route too. But it copies the claims into c.Context():
// signet.Subject(c.Context()) finds them, and signet.Subject(c.UserContext()), which is what one passes on to a
// database, finds nobody.
func fiber2RequireAuth(auth *signet.Auth, roles ...string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		r, err := adaptor.ConvertRequest(c, true) // whole, for the sake of cookies
		if err != nil {                           // a path that net/http does not read; the header is enough
			r = &http.Request{Method: c.Method(), URL: &url.URL{Path: "/"}, Header: http.Header{}}
		}
		if all := c.GetReqHeaders()["Authorization"]; len(all) > 0 { // of several the adaptor keeps the last one
			r.Header["Authorization"] = all
		}
		claims, err := auth.Check(r.WithContext(c.UserContext()))
		if err == nil && len(roles) > 0 && !claims.HasRole(roles[0], roles[1:]...) {
			err = signet.ErrInsufficientScope
		}
		if err != nil {
			return adaptor.HTTPHandlerFunc(func(w http.ResponseWriter, _ *http.Request) { signet.WriteError(w, err) })(c)
		}
		c.SetUserContext(signet.ContextWithClaims(c.UserContext(), claims))
		return c.Next()
	}
}
