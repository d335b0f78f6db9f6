package integrations

import (
	"net"
	"net/http"
	"strings"
	"testing"

	fiber2 "github.com/gofiber/fiber/v2"
	adaptor2 "github.com/gofiber/fiber/v2/middleware/adaptor"
	fiber3 "github.com/gofiber/fiber/v3"
	adaptor3 "github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// serveFiber2 starts a real server of fiber on loopback.
func serveFiber2(t *testing.T, app *fiber2.App) string {
	t.Helper()
	return serveFiber(t, app.Listener, app.Shutdown)
}

func serveFiber3(t *testing.T, app *fiber3.App) string {
	t.Helper()
	listen := func(l net.Listener) error { return app.Listener(l, fiber3.ListenConfig{DisableStartupMessage: true}) }
	return serveFiber(t, listen, app.Shutdown)
}

func serveFiber(t *testing.T, listen func(net.Listener) error, shutdown func() error) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan error, 1)
	go func() { done <- listen(listener) }()
	t.Cleanup(func() {
		require.NoError(t, shutdown())
		require.NoError(t, <-done)
	})
	return "http://" + listener.Addr().String()
}

func TestFiber2ServesTheShop(t *testing.T) {
	requireShop(t, serveFiber2(t, fiber2App(newAuth(t))))
}

func TestFiber3ServesTheShop(t *testing.T) {
	requireShop(t, serveFiber3(t, fiber3App(newAuth(t))))
}

func TestFiberHasAnAliasUnlessThePrefixIsTheWholePath(t *testing.T) {
	for prefix, want := range map[string]int{"auth": 201, "/api/v1/auth": 404} {
		auth := newAuth(t)
		app2, app3 := fiber2.New(), fiber3.New()
		app2.All("/api/v1/auth/*", adaptor2.HTTPHandler(auth.Handler(prefix)))
		app3.All("/api/v1/auth/*", adaptor3.HTTPHandler(auth.Handler(prefix)))
		for _, url := range []string{serveFiber2(t, app2), serveFiber3(t, app3)} {
			login(t, url+"/api/v1/auth/login", johnLogin)
			require.Equal(t, want, send(t, "POST", url+"/API/v1/auth/login", johnLogin).StatusCode, prefix)
		}
	}
}

func TestFiberNoticesASecondAuthorizationHeaderInTheGuardOnly(t *testing.T) {
	auth := newAuth(t)
	token := accessToken(t, auth, "john@mail.com", "changeme")
	for _, url := range []string{serveFiber2(t, fiber2App(auth)), serveFiber3(t, fiber3App(auth))} {
		twice := func(path string) int {
			return send(t, "GET", url+path, "", "Authorization", "Bearer x", "Authorization", "Bearer "+token).StatusCode
		}
		require.Equal(t, 400, twice("/api/v1/orders"))
		require.Equal(t, 200, twice("/api/v1/auth/profile"), "the adaptor has kept the last one")
	}
}

func TestFiberGuardsTakeCookies(t *testing.T) {
	auth := newAuth(t, signet.WithCookies(signet.Cookies{}))
	app2, app3 := fiber2App(auth), fiber3App(auth)
	app2.All("/web/auth/*", adaptor2.HTTPHandler(auth.CookieHandler("/web/auth")))
	app3.All("/web/auth/*", adaptor3.HTTPHandler(auth.CookieHandler("/web/auth")))
	app2.Post("/orders", fiber2RequireAuth(auth), func(c *fiber2.Ctx) error { return c.SendStatus(204) })
	app3.Post("/orders", fiber3RequireAuth(auth), func(c fiber3.Ctx) error { return c.SendStatus(204) })
	for _, url := range []string{serveFiber2(t, app2), serveFiber3(t, app3)} {
		resp, err := http.Post(url+"/web/auth/login", "application/json", strings.NewReader(johnLogin))
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Len(t, resp.Cookies(), 2)
		cookies := resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
		require.Equal(t, 200, send(t, "GET", url+"/api/v1/orders", "", "Cookie", cookies).StatusCode)
		require.Equal(t, 204, send(t, "POST", url+"/orders", "", "Cookie", cookies, "Sec-Fetch-Site", "same-origin").StatusCode)
		require.Equal(t, 403, send(t, "POST", url+"/orders", "", "Cookie", cookies, "Sec-Fetch-Site", "cross-site").StatusCode)
	}
}

func TestHTTPMiddlewareOfFiberPutsTheSubjectElsewhere(t *testing.T) {
	auth := newAuth(t)
	app2, app3 := fiber2.New(), fiber3.New()
	app2.Get("/", adaptor2.HTTPMiddleware(auth.OptionalAuth), func(c *fiber2.Ctx) error {
		return c.SendString("Context " + signet.Subject(c.Context()) + ", UserContext " + signet.Subject(c.UserContext()))
	})
	app2.Get("/handler", adaptor2.HTTPMiddleware(auth.RequireAuth), adaptor2.HTTPHandlerFunc(orders))
	app3.Get("/", adaptor3.HTTPMiddleware(auth.OptionalAuth), func(c fiber3.Ctx) error {
		return c.SendString("Ctx " + signet.Subject(c) + ", Context " + signet.Subject(c.Context()))
	})
	app3.Get("/handler", adaptor3.HTTPMiddleware(auth.RequireAuth), adaptor3.HTTPHandlerFunc(orders))
	token := accessToken(t, auth, "john@mail.com", "changeme")
	url2, url3 := serveFiber2(t, app2), serveFiber3(t, app3)
	for range 3 { // fiber uses its contexts again
		require.Equal(t, "Context 1, UserContext ", get(t, url2, token).body)
		require.Equal(t, "Context , UserContext ", get(t, url2, "").body)
		require.Equal(t, "Ctx 1, Context ", get(t, url3, token).body)
		require.Equal(t, "Ctx , Context ", get(t, url3, "").body)
	}
	for _, url := range []string{url2, url3} {
		requireRefused(t, get(t, url, "x"), 401, "invalid_token", `error="invalid_token"`)
		require.Equal(t, "orders of user 1\n", get(t, url+"/handler", token).body)
		requireRefused(t, get(t, url+"/handler", ""), 401, "missing_token", `Bearer realm="api"`)
	}
}

// fiber uses the memory of a request again, so nothing of a request may be kept without a copy.
func TestFiberChangesNoSessionAfterItsRequest(t *testing.T) {
	for name, serve := range map[string]func(*testing.T, *signet.Auth) string{
		"v2": func(t *testing.T, auth *signet.Auth) string { return serveFiber2(t, fiber2App(auth)) },
		"v3": func(t *testing.T, auth *signet.Auth) string { return serveFiber3(t, fiber3App(auth)) },
	} {
		t.Run(name, func(t *testing.T) {
			url := serve(t, newAuth(t)) + "/api/v1/auth"
			_, refresh := login(t, url+"/login", johnLogin)
			refreshed := send(t, "POST", url+"/refresh-token", `{"refreshToken":"`+refresh+`"}`, "User-Agent", "phone")
			require.Equal(t, 201, refreshed.StatusCode)
			access := refreshed.json["access_token"].(string)
			for range 20 {
				send(t, "GET", url+"/profile", "", "User-Agent", "other")
			}
			session := get(t, url+"/sessions", access).json["sessions"].([]any)[0].(map[string]any)
			require.Equal(t, "phone", session["user_agent"])
		})
	}
}
