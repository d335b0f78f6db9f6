package integrations

import (
	"net/http"

	"github.com/gin-gonic/gin"

	"github.com/signet-go/signet"
)

// ginEngine mounts signet in gin. gin tells no pattern, so the prefix is relative: "auth", without a slash.
func ginEngine(auth *signet.Auth) http.Handler {
	engine := gin.New()
	api := engine.Group("/api/v1")
	api.Any("/auth/*operation", gin.WrapH(auth.Handler("auth")))
	api.GET("/orders", ginRequireAuth(auth), func(c *gin.Context) {
		c.String(http.StatusOK, "orders of user %s\n", signet.Subject(c.Request.Context()))
	})
	api.GET("/admin/users", ginRequireAuth(auth, "admin"), func(c *gin.Context) {
		c.String(http.StatusOK, "users for user %s\n", signet.Subject(c.Request.Context()))
	})
	return engine
}

// ginRequireAuth is RequireAuth for gin, or RequireRole if it is given roles.
//
// Beware of gin.WrapH(auth.RequireAuth(...)) as a middleware: gin runs the next handler by itself, so a request without
// a token would get a 401 AND THE ROUTE WOULD STILL RUN. Only c.Abort keeps it from running. The claims are in the
// context of the request: ask signet.Subject(c.Request.Context()), and not signet.Subject(c), unless the engine has
// ContextWithFallback.
func ginRequireAuth(auth *signet.Auth, roles ...string) gin.HandlerFunc {
	return func(c *gin.Context) {
		claims, err := auth.Check(c.Request)
		if err == nil && len(roles) > 0 && !claims.HasRole(roles[0], roles[1:]...) {
			err = signet.ErrInsufficientScope
		}
		if err != nil {
			signet.WriteError(c.Writer, err)
			c.Abort()
			return
		}
		c.Request = c.Request.WithContext(signet.ContextWithClaims(c.Request.Context(), claims))
	}
}
