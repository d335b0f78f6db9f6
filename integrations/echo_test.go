package integrations

import (
	"testing"

	"github.com/labstack/echo/v5"
)

func TestEcho4ServesTheShop(t *testing.T) {
	requireShop(t, serve(t, echo4Server(newAuth(t))))
}

func TestEcho5ServesTheShop(t *testing.T) {
	requireShop(t, serve(t, echo5Server(newAuth(t))))
}

func TestEcho5TellsItsPattern(t *testing.T) {
	for _, prefix := range []string{"auth", "/auth", "/api/v1/auth", ""} {
		auth := newAuth(t)
		e := echo.New()
		e.Group("/api/v1").Any("/auth/*", echo.WrapHandler(auth.Handler(prefix)))
		login(t, serve(t, e)+"/api/v1/auth/login", johnLogin)
	}
}
