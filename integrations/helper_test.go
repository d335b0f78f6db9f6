package integrations

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

const (
	johnLogin  = `{"email":"john@mail.com","password":"changeme"}`
	adminLogin = `{"email":"admin@mail.com","password":"admin123"}`
)

// cheap keeps tests fast.
var cheap = password.Argon2id{Memory: 64, Iterations: 1}

// newAuth is a service with two users in memory.
func newAuth(t *testing.T, opts ...signet.Option) *signet.Auth {
	t.Helper()
	store := userstore.NewMemory()
	for pass, user := range map[string]userstore.User{
		"changeme": {ID: "1", Email: "john@mail.com", Roles: []string{"customer"}},
		"admin123": {ID: "3", Email: "admin@mail.com", Roles: []string{"admin"}},
	} {
		var err error
		user.PasswordHash, err = cheap.Hash(pass)
		require.NoError(t, err)
		require.NoError(t, store.Add(context.Background(), user))
	}
	opts = append([]signet.Option{signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	auth, err := signet.New(store, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close()) })
	return auth
}

// accessToken logs a user in without HTTP.
func accessToken(t *testing.T, auth *signet.Auth, email, pass string) string {
	t.Helper()
	tokens, err := auth.Login(context.Background(), email, pass)
	require.NoError(t, err)
	return tokens.AccessToken
}

// serve starts a real server on loopback and returns its address.
func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

// answer is a response that was read.
type answer struct {
	*http.Response
	body string
	json map[string]any
}

// send asks a server. It follows no redirect, so a redirect is seen. headers are names and values in turn.
func send(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Add(headers[i], headers[i+1])
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	got := answer{Response: res, body: string(text)}
	json.Unmarshal(text, &got.json)
	return got
}

// get asks with an access token, or without one if token is empty.
func get(t *testing.T, url, token string) answer {
	t.Helper()
	if token == "" {
		return send(t, "GET", url, "")
	}
	return send(t, "GET", url, "", "Authorization", "Bearer "+token)
}

// login logs a user in over HTTP.
func login(t *testing.T, url, body string) (access, refresh string) {
	t.Helper()
	got := send(t, "POST", url, body, "User-Agent", "phone")
	require.Equal(t, 201, got.StatusCode, got.body)
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
	return got.json["access_token"].(string), got.json["refresh_token"].(string)
}

// requireShop runs the checks that every framework must pass.
func requireShop(t *testing.T, url string) {
	t.Helper()
	t.Run("The contract is served with and without a trailing slash", func(t *testing.T) {
		base := url + "/api/v1/auth"
		for _, slash := range []string{"", "/"} {
			access, refresh := login(t, base+"/login"+slash, johnLogin)
			profile := get(t, base+"/profile"+slash, access)
			require.Equal(t, 200, profile.StatusCode, profile.body)
			require.Equal(t, "john@mail.com", profile.json["email"])
			refreshed := send(t, "POST", base+"/refresh-token"+slash, `{"refreshToken":"`+refresh+`"}`)
			require.Equal(t, 201, refreshed.StatusCode, refreshed.body)
			require.NotEqual(t, refresh, refreshed.json["refresh_token"])
		}
		wrong := send(t, "POST", base+"/login", `{"email":"john@mail.com","password":"wrong"}`)
		require.Equal(t, 401, wrong.StatusCode)
		require.Equal(t, "invalid_credentials", wrong.json["code"])
		long := send(t, "POST", base+"/login", `{"email":"`+strings.Repeat("x", 70_000)+`"}`)
		require.Equal(t, 413, long.StatusCode)
	})

	t.Run("Browsers of other origins may call the contract", func(t *testing.T) {
		for _, path := range []string{"/login", "/profile", "/sessions/x"} {
			preflight := send(t, "OPTIONS", url+"/api/v1/auth"+path, "", "Origin", "https://shop.example", "Access-Control-Request-Method", "POST",
				"Access-Control-Request-Headers", "authorization,content-type")
			require.Equal(t, 204, preflight.StatusCode, path)
			require.Equal(t, []string{"*"}, preflight.Header.Values("Access-Control-Allow-Origin"))
			require.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), "Authorization")
			require.Contains(t, preflight.Header.Get("Access-Control-Allow-Methods"), "DELETE")
		}
		denied := send(t, "GET", url+"/api/v1/auth/profile", "", "Origin", "https://shop.example")
		require.Equal(t, 401, denied.StatusCode)
		require.Equal(t, []string{"*"}, denied.Header.Values("Access-Control-Allow-Origin"))
	})

	t.Run("Another method is answered 405 by signet", func(t *testing.T) {
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			got := send(t, method, url+"/api/v1/auth/login", "")
			require.Equal(t, 405, got.StatusCode, method)
			require.Equal(t, "POST", got.Header.Get("Allow"))
			require.Equal(t, "method_not_allowed", got.json["code"])
		}
	})

	t.Run("An operation has one path", func(t *testing.T) {
		for _, path := range []string{"/unknown", "/x/login", "/login/x", "/auth/login", "/Login"} {
			got := send(t, "POST", url+"/api/v1/auth"+path, johnLogin)
			require.Equal(t, 404, got.StatusCode, path)
			require.Equal(t, "not_found", got.json["code"], path)
		}
		for _, path := range []string{"/auth/login", "/login", "/api/v1/login", "/api/v1/auth//login", "/api/v1/auth/%6cogin", "/api/v1/%61uth/login",
			"/api/v1/auth/login%2f", "/api//v1/auth/login", "//api/v1/auth/login", "/api/v1/x/../auth/login", "/api/v1/./auth/login",
			"/API/v1/auth/login", "/api/v1/AUTH/login", "/x/api/v1/auth/login"} {
			got := send(t, "POST", url+path, johnLogin)
			require.NotEqual(t, 201, got.StatusCode, path)
			require.Less(t, got.StatusCode, 500, path)
		}
	})

	t.Run("A user lists sessions and ends one", func(t *testing.T) {
		base := url + "/api/v1/auth"
		admin, _ := login(t, base+"/login", adminLogin)
		other, _ := login(t, base+"/login", adminLogin)
		list := get(t, base+"/sessions", admin)
		require.Equal(t, 200, list.StatusCode, list.body)
		sessions := list.json["sessions"].([]any)
		require.Len(t, sessions, 2)
		for _, entry := range sessions {
			session := entry.(map[string]any)
			require.Equal(t, "phone", session["user_agent"])
			require.Equal(t, "127.0.0.1", session["address"])
			if session["current"] == true {
				continue
			}
			path := base + "/sessions/" + session["id"].(string)
			require.Equal(t, 401, send(t, "DELETE", path, "").StatusCode)
			require.Equal(t, 204, send(t, "DELETE", path, "", "Authorization", "Bearer "+admin).StatusCode)
		}
		require.Equal(t, 401, get(t, base+"/profile", other).StatusCode)
		require.Equal(t, 200, get(t, base+"/profile", admin).StatusCode)
		require.Len(t, get(t, base+"/sessions", admin).json["sessions"], 1)
		require.Equal(t, 404, send(t, "DELETE", base+"/sessions/unknown", "", "Authorization", "Bearer "+admin).StatusCode)
	})

	t.Run("A guarded route runs for those who may", func(t *testing.T) {
		john, _ := login(t, url+"/api/v1/auth/login", johnLogin)
		admin, _ := login(t, url+"/api/v1/auth/login", adminLogin)
		for token, subject := range map[string]string{john: "1", admin: "3"} {
			got := get(t, url+"/api/v1/orders", token)
			require.Equal(t, 200, got.StatusCode, got.body)
			require.Equal(t, "orders of user "+subject, strings.Trim(got.body, "\"\n"))
		}
		for _, path := range []string{"/api/v1/orders", "/api/v1/admin/users"} {
			requireRefused(t, get(t, url+path, ""), 401, "missing_token", `Bearer realm="api"`)
			requireRefused(t, get(t, url+path, john+"x"), 401, "invalid_token", `Bearer realm="api", error="invalid_token"`)
		}
		twice := send(t, "GET", url+"/api/v1/orders", "", "Authorization", "Bearer x", "Authorization", "Bearer "+john)
		requireRefused(t, twice, 400, "invalid_request", `error="invalid_request"`)
		requireRefused(t, get(t, url+"/api/v1/admin/users", john), 403, "insufficient_scope", `Bearer realm="api", error="insufficient_scope"`)
		got := get(t, url+"/api/v1/admin/users", admin)
		require.Equal(t, 200, got.StatusCode, got.body)
		require.Equal(t, "users for user 3", strings.Trim(got.body, "\"\n"))
	})

	t.Run("A logout reaches the access token", func(t *testing.T) {
		access, refresh := login(t, url+"/api/v1/auth/login", johnLogin)
		logout := send(t, "POST", url+"/api/v1/auth/logout", "", "Authorization", "Bearer "+access)
		require.Equal(t, 204, logout.StatusCode, logout.body)
		require.Equal(t, 401, get(t, url+"/api/v1/auth/profile", access).StatusCode)
		requireRefused(t, get(t, url+"/api/v1/orders", access), 401, "invalid_token", `error="invalid_token"`)
		require.Equal(t, 401, send(t, "POST", url+"/api/v1/auth/refresh-token", `{"refreshToken":"`+refresh+`"}`).StatusCode)
	})
}

// requireRefused wants the answer of signet and nothing behind it: the route did not run.
func requireRefused(t *testing.T, got answer, status int, code, challenge string) {
	t.Helper()
	require.Equal(t, status, got.StatusCode, got.body)
	require.Equal(t, code, got.json["code"], "the body is one document: %s", got.body)
	require.Equal(t, "application/problem+json", got.Header.Get("Content-Type"))
	require.Contains(t, got.Header.Get("WWW-Authenticate"), challenge)
	require.Equal(t, "no-store", got.Header.Get("Cache-Control"))
}
