package integrations

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

func TestServeMuxServesTheShop(t *testing.T) {
	requireShop(t, serve(t, serveMux(newAuth(t))))
}

func TestServeMuxServesTheShopBehindStripPrefix(t *testing.T) {
	requireShop(t, serve(t, serveMuxStripped(newAuth(t))))
}

func TestServeMuxRefusesACatchAllWithAMethod(t *testing.T) {
	auth := newAuth(t)
	mux := http.NewServeMux()
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
	require.Panics(t, func() { mux.Handle("GET /", http.NotFoundHandler()) })
	require.NotPanics(t, func() { mux.Handle("/", http.NotFoundHandler()) })
}

func TestAMethodInTheMountKeepsPreflightsOut(t *testing.T) {
	auth := newAuth(t)
	mux := http.NewServeMux()
	mux.Handle("POST /api/v1/auth/", auth.Handler("/api/v1/auth"))
	url := serve(t, mux) + "/api/v1/auth"
	login(t, url+"/login", johnLogin)
	preflight := send(t, "OPTIONS", url+"/login", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST")
	require.Equal(t, 405, preflight.StatusCode)
	require.Empty(t, preflight.Header.Get("Access-Control-Allow-Origin"))
}

func TestAMountBelowAWildcard(t *testing.T) {
	auth := newAuth(t)
	mux := http.NewServeMux()
	mux.Handle("/{tenant}/auth/", auth.Handler("/auth"))
	url := serve(t, mux)
	login(t, url+"/acme/auth/login", johnLogin)
	require.Equal(t, 404, send(t, "POST", url+"/acme/x/auth/login", johnLogin).StatusCode)
}

// Where the operations have patterns of their own, each is one handler.
func TestServeMuxServesTheOperationsOneByOne(t *testing.T) {
	auth := newAuth(t)
	mux := http.NewServeMux()
	mux.Handle("POST /login", auth.LoginHandler())
	mux.Handle("GET /me", auth.ProfileHandler())
	mux.Handle("GET /devices", auth.SessionsHandler())
	mux.Handle("DELETE /devices/{id}", auth.SessionsHandler())
	url := serve(t, mux)
	access, _ := login(t, url+"/login", johnLogin)
	require.Equal(t, 200, get(t, url+"/me", access).StatusCode)
	id := get(t, url+"/devices", access).json["sessions"].([]any)[0].(map[string]any)["id"].(string)
	require.Equal(t, 204, send(t, "DELETE", url+"/devices/"+id, "", "Authorization", "Bearer "+access).StatusCode)
	require.Equal(t, 401, get(t, url+"/me", access).StatusCode)
	_, err := auth.Verify(t.Context(), access)
	require.ErrorIs(t, err, signet.ErrRevoked)
}
