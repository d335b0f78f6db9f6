package main_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var binary string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "signet-example")
	if err != nil {
		panic(err)
	}
	binary = filepath.Join(dir, "example")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build the example: %v\n%s", err, out)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// app is a running example program.
type app struct {
	url     string
	cmd     *exec.Cmd
	log     *lockedBuffer
	welcome *lockedBuffer // what it prints behind its first line
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const secret = "Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"

func start(t *testing.T, env []string, args ...string) *app {
	t.Helper()
	a := &app{log: &lockedBuffer{}, welcome: &lockedBuffer{}}
	a.cmd = exec.Command(binary, append([]string{"-addr", "127.0.0.1:0"}, args...)...)
	a.cmd.Env = append(os.Environ(), env...)
	a.cmd.Stderr = a.log
	out, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, a.cmd.Start())
	lines := bufio.NewScanner(out)
	require.True(t, lines.Scan(), "no first line; log: %s", a.log)
	url, ok := strings.CutPrefix(lines.Text(), "listening on ")
	require.True(t, ok, lines.Text())
	a.url = url
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		for lines.Scan() {
			fmt.Fprintln(a.welcome, lines.Text())
		}
	}()
	t.Cleanup(func() {
		a.cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		require.NoError(t, a.cmd.Wait(), "the example must end with status 0 on SIGTERM; log: %s", a.log)
		require.NotContains(t, a.log.String(), "panic")
	})
	return a
}

type reply struct {
	*http.Response
	body string
	json map[string]any
}

var noRedirect = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func (a *app) send(t *testing.T, method, path, body string, headers map[string]string) reply {
	t.Helper()
	req, err := http.NewRequest(method, a.url+path, strings.NewReader(body))
	require.NoError(t, err)
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	res, err := noRedirect.Do(req)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	r := reply{Response: res, body: string(text)}
	json.Unmarshal(text, &r.json)
	return r
}

func (a *app) post(t *testing.T, path, body string) reply {
	t.Helper()
	return a.send(t, "POST", path, body, map[string]string{"Content-Type": "application/json"})
}

func (a *app) get(t *testing.T, path, token string) reply {
	t.Helper()
	return a.send(t, "GET", path, "", map[string]string{"Authorization": "Bearer " + token})
}

func (a *app) login(t *testing.T, email, password string) (access, refresh string) {
	t.Helper()
	r := a.post(t, "/api/v1/auth/login", fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
	require.Equal(t, 201, r.StatusCode, r.body)
	return r.json["access_token"].(string), r.json["refresh_token"].(string)
}

func claims(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	require.Len(t, parts, 3)
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	var c map[string]any
	require.NoError(t, json.Unmarshal(text, &c))
	return c
}

// TestContract tests every exchange of the documented API on the real program.
func TestContract(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	for _, slash := range []string{"", "/"} {
		login := a.post(t, "/api/v1/auth/login"+slash, `{"email":"john@mail.com","password":"changeme","extra":1}`)
		require.Equal(t, 201, login.StatusCode)
		require.Equal(t, "application/json; charset=utf-8", login.Header.Get("Content-Type"))
		access, refresh := login.json["access_token"].(string), login.json["refresh_token"].(string)
		ac, rc := claims(t, access), claims(t, refresh)
		require.Equal(t, 1728000.0, ac["exp"].(float64)-ac["iat"].(float64))
		require.Equal(t, 36000.0, rc["exp"].(float64)-rc["iat"].(float64))
		require.Equal(t, "1", ac["sub"])

		profile := a.get(t, "/api/v1/auth/profile"+slash, access)
		require.Equal(t, 200, profile.StatusCode)
		require.Equal(t, 1.0, profile.json["id"])
		require.Equal(t, "john@mail.com", profile.json["email"])
		require.Equal(t, "Jhon", profile.json["name"])
		require.Equal(t, "customer", profile.json["role"])
		require.Regexp(t, `^https://`, profile.json["avatar"])
		require.NotContains(t, strings.ToLower(profile.body), "password")

		again := a.post(t, "/api/v1/auth/refresh-token"+slash, fmt.Sprintf(`{"refreshToken":%q}`, refresh))
		require.Equal(t, 201, again.StatusCode, again.body)
		require.Equal(t, 200, a.get(t, "/api/v1/auth/profile", again.json["access_token"].(string)).StatusCode)
		require.NotEmpty(t, again.json["refresh_token"])

		require.Equal(t, 401, a.get(t, "/api/v1/auth/profile", refresh).StatusCode, "a refresh token is no access token")
		require.Equal(t, 401, a.post(t, "/api/v1/auth/refresh-token", fmt.Sprintf(`{"refreshToken":%q}`, access)).StatusCode)
	}
	wrong := a.post(t, "/api/v1/auth/login", `{"email":"john@mail.com","password":"wrong"}`)
	require.Equal(t, 401, wrong.StatusCode)
	require.IsType(t, "", wrong.json["message"])
}

func TestRolesOfTheShop(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	john, _ := a.login(t, "john@mail.com", "changeme")
	maria, _ := a.login(t, "Maria@mail.com ", "12345")
	admin, _ := a.login(t, "admin@mail.com", "admin123")
	for _, token := range []string{john, maria, admin} {
		require.Equal(t, 200, a.get(t, "/api/v1/orders", token).StatusCode)
	}
	require.Equal(t, 403, a.get(t, "/api/v1/admin/users", john).StatusCode)
	users := a.get(t, "/api/v1/admin/users", admin)
	require.Equal(t, 200, users.StatusCode)
	require.Contains(t, users.body, "maria@mail.com")
	require.NotContains(t, users.body, "argon2")
	require.Equal(t, 401, a.send(t, "GET", "/api/v1/orders", "", nil).StatusCode)
	require.Equal(t, 3.0, a.get(t, "/api/v1/auth/profile", admin).json["id"])
}

func TestBrowsersOfOtherOrigins(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	origin := map[string]string{"Origin": "https://shop.example"}
	for _, path := range []string{"/api/v1/auth/profile", "/api/v1/orders"} {
		denied := a.send(t, "GET", path, "", origin)
		require.Equal(t, 401, denied.StatusCode)
		require.Equal(t, []string{"*"}, denied.Header.Values("Access-Control-Allow-Origin"))
		preflight := a.send(t, "OPTIONS", path, "", map[string]string{"Origin": "https://shop.example",
			"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"})
		require.Less(t, preflight.StatusCode, 300)
		require.Equal(t, "*", preflight.Header.Get("Access-Control-Allow-Origin"))
		require.Contains(t, strings.ToLower(preflight.Header.Get("Access-Control-Allow-Headers")), "authorization")
	}
}

func TestLifetimesFromFlags(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret}, "-access-ttl", "1s", "-refresh-ttl", "1h")
	access, refresh := a.login(t, "john@mail.com", "changeme")
	require.Equal(t, 1.0, claims(t, access)["exp"].(float64)-claims(t, access)["iat"].(float64))
	require.Eventually(t, func() bool { return a.get(t, "/api/v1/orders", access).StatusCode == 401 }, 10*time.Second, 100*time.Millisecond)
	r := a.post(t, "/api/v1/auth/refresh-token", fmt.Sprintf(`{"refreshToken":%q}`, refresh))
	require.Equal(t, 201, r.StatusCode)
}

func TestSecretOfTheEnvironment(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	b := start(t, []string{"SIGNET_SECRET=" + secret})
	access, _ := a.login(t, "john@mail.com", "changeme")
	require.Equal(t, 200, b.get(t, "/api/v1/orders", access).StatusCode, "one secret, one service")

	cmd := exec.Command(binary, "-addr", "127.0.0.1:0")
	cmd.Env = append(os.Environ(), "SIGNET_SECRET=short")
	out, err := cmd.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "5 bytes, at least 32")
}

func TestSecretMadeForTheRun(t *testing.T) {
	var env []string
	for _, variable := range os.Environ() {
		if !strings.HasPrefix(variable, "SIGNET_SECRET=") {
			env = append(env, variable)
		}
	}
	os.Unsetenv("SIGNET_SECRET")
	a := start(t, env)
	a.login(t, "john@mail.com", "changeme")
	require.Contains(t, a.log.String(), "SIGNET_SECRET is not set")
}

// TestHostileRequests sends hostile requests. The answer is always one of the documented statuses, nothing panics, and the
// log contains no secret.
func TestHostileRequests(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	access, refresh := a.login(t, "john@mail.com", "changeme")
	parts := strings.Split(access, ".")
	forged := fmt.Sprintf(`{"sub":"3","roles":["admin"],"exp":9999999999,"iat":1,"payload":%q,"protected":%q,"signature":%q}`,
		parts[1], parts[0], parts[2])
	long := strings.Repeat("A", 20<<10)
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt"}`))
	tokens := []string{"x", "..", "...", ".", forged, base64.RawURLEncoding.EncodeToString([]byte(forged)), none + "." + parts[1] + ".",
		none + "." + parts[1] + "." + parts[2], access + "=", access + ".", access[:len(access)-1], access[1:], long, parts[0] + "." + long + "." + parts[2],
		strings.ToUpper(access), refresh, parts[0] + ".." + parts[2], access + access, "null", "undefined", "%00", "' OR 1=1 --", "{}", "\x80"}
	bodies := []string{"", "null", "[]", "{}", "1", `"x"`, "{", `{"email":null}`, `{"email":{},"password":[]}`, `{"email":"john@mail.com"}`,
		`{"email":"john@mail.com","password":"x"}`, `{"email":"a","email":"b","password":"c"}`, `{"email":"john@mail.com\u0000","password":"changeme"}`,
		`{"email":"\ud800","password":"x"}`, "{\"email\":\"\xff\",\"password\":\"x\"}", strings.Repeat("[", 10000), strings.Repeat(`{"a":`, 5000),
		`{"email":"` + long + `","password":"x"}`, `{"email":"john@mail.com","password":"` + long + `"}`, `{"x":"` + strings.Repeat(long, 8) + `"}`,
		`{"refreshToken":1}`, `{"refreshToken":""}`, `{"refreshToken":"` + access + `"}`, `{"refreshToken":"` + long + `"}`,
		`{"email":"' OR '1'='1","password":"' OR '1'='1"}`, `{"__proto__":{"email":"x"},"password":"x"}`, `{"email":1e999,"password":"x"}`}
	allowed := map[int]bool{400: true, 401: true, 403: true, 404: true, 405: true, 413: true, 415: true, 431: true}
	count := 0
	check := func(r reply, what string) {
		count++
		require.True(t, allowed[r.StatusCode], "%s: %d %s", what, r.StatusCode, r.body)
		require.NotContains(t, r.body, secret)
	}
	for _, token := range tokens {
		for _, path := range []string{"/api/v1/auth/profile", "/api/v1/orders", "/api/v1/admin/users"} {
			check(a.raw(t, "GET", path, "Authorization: Bearer "+token), "token "+token[:min(len(token), 40)])
		}
		if token == refresh {
			continue // the refresh token is valid there
		}
		check(a.post(t, "/api/v1/auth/refresh-token", mustJSON(map[string]string{"refreshToken": token})), "refresh "+token[:min(len(token), 40)])
	}
	for _, body := range bodies {
		for _, path := range []string{"/api/v1/auth/login", "/api/v1/auth/refresh-token/"} {
			check(a.post(t, path, body), path+" "+body[:min(len(body), 40)])
		}
	}
	for _, path := range []string{"/", "/api/v1/auth/", "/api/v1/auth", "/api/v1/auth/login/x", "//api/v1/auth/login", "/api/v1//auth/login",
		"/api/v1/auth/../auth/login", "/api/v1/auth/login%2f", "/api/v1/auth/%6cogin%00", "/api/v1/orders/../admin/users"} {
		check(a.post(t, path, `{"email":"john@mail.com","password":"wrong"}`), path)
	}
	for _, headers := range [][]string{{"Authorization: Bearer " + access, "Authorization: Bearer " + access}, {"Authorization: Basic eDp5"},
		{"Authorization: Bearer"}, {"Authorization: Bearer a b"}, {"Authorization:"}, {"Authorization: Digest x"}, {"X: " + strings.Repeat("a", 64<<10)}} {
		check(a.raw(t, "GET", "/api/v1/orders", headers...), headers[0][:min(len(headers[0]), 40)])
	}
	require.Greater(t, count, 100)
	log := a.log.String()
	for _, leak := range []string{secret, access, refresh, "changeme", "argon2", "panic", "level=ERROR"} {
		require.False(t, strings.Contains(log, leak), "the log holds %q", leak[:min(len(leak), 12)])
	}
	t.Logf("%d hostile requests", count)
}

func mustJSON(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}

// raw sends headers that the client of net/http would refuse or change.
func (a *app) raw(t *testing.T, method, path string, headers ...string) reply {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(a.url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n\r\n", method, path, strings.Join(headers, "\r\n"))
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return reply{Response: res, body: string(text)}
}

// What the example prints can be pasted as it is.
func TestThePrintedCommands(t *testing.T) {
	if _, err := exec.LookPath("curl"); err != nil {
		if os.Getenv("SIGNET_REQUIRE_SERVERS") == "1" {
			t.Fatal("curl is missing")
		}
		t.Skip("curl is missing")
	}
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	require.Eventually(t, func() bool { return strings.Count(a.welcome.String(), "curl") == 7 }, 10*time.Second, 10*time.Millisecond)
	var commands strings.Builder
	for line := range strings.Lines(a.welcome.String()) {
		if command, ok := strings.CutPrefix(line, "  "); ok {
			commands.WriteString(command)
		}
	}
	out, err := exec.Command("sh", "-c", commands.String()).Output()
	require.NoError(t, err)
	for _, want := range []string{`"access_token":"`, `"email":"john@mail.com"`, `"item":"Classic mug"`, `"current":true`, "\n204\n", `"message":"the token is revoked"`} {
		require.Contains(t, string(out), want)
	}
	require.Equal(t, 2, strings.Count(string(out), `"refresh_token":"`), "login and refresh")
}

func TestSignUpAndItsNeighbours(t *testing.T) {
	a := start(t, []string{"SIGNET_SECRET=" + secret})
	const users = "/api/v1/users"
	for email, want := range map[string]string{"new@mail.com": "true", "john@mail.com": "false", "JOHN@mail.com": "false"} {
		got := a.post(t, users+"/is-available", fmt.Sprintf(`{"email":%q}`, email))
		require.Equal(t, 200, got.StatusCode)
		require.Equal(t, `{"isAvailable":`+want+"}\n", got.body)
	}
	made := a.post(t, users+"/", `{"name":"New","email":"new@mail.com","password":"correct horse","avatar":"https://x.example/a.png","role":"admin","roles":["admin"],"id":1}`)
	require.Equal(t, 201, made.StatusCode, made.body)
	require.Equal(t, "customer", made.json["role"], "nobody gives himself a role")
	require.IsType(t, 1.0, made.json["id"])
	require.NotEqual(t, 1.0, made.json["id"])
	require.NotContains(t, made.body, "assword")
	own := fmt.Sprintf("%s/%.0f", users, made.json["id"])
	access, _ := a.login(t, "new@mail.com", "correct horse")

	for body, want := range map[string]int{`{"email":"new@mail.com","password":"correct horse"}`: 409, `{"email":"NEW@mail.com","password":"correct horse"}`: 409,
		`{"email":"x","password":"correct horse"}`: 400, `{"email":"y@mail.com","password":"short"}`: 400, `{"email":7,"password":"correct horse"}`: 400, `[]`: 400, `{`: 400,
		`{"email":"a\u0000@mail.com","password":"correct horse"}`: 400} {
		require.Equal(t, want, a.post(t, users, body).StatusCode, body)
	}
	form := a.send(t, "POST", users, "email=form@mail.com&password=correct+horse&name=Form", map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
	require.Equal(t, 201, form.StatusCode, form.body)

	require.Equal(t, "New", a.get(t, own, access).json["name"])
	put := func(path, body, token string) reply {
		return a.send(t, "PUT", path, body, map[string]string{"Content-Type": "application/json", "Authorization": "Bearer " + token})
	}
	changed := put(own, `{"name":"Newer","role":"admin","password":"x","disabled":true}`, access)
	require.Equal(t, 200, changed.StatusCode, changed.body)
	require.Equal(t, "Newer", changed.json["name"])
	require.Equal(t, "customer", changed.json["role"])
	require.Equal(t, 409, put(own, `{"email":"john@mail.com"}`, access).StatusCode)
	require.Equal(t, 400, put(own, `{"email":"x"}`, access).StatusCode)
	for _, path := range []string{users + "/1", users + "/999"} {
		require.Equal(t, 404, a.get(t, path, access).StatusCode, "others do not exist for a customer")
		require.Equal(t, 404, put(path, `{"name":"x"}`, access).StatusCode)
	}
	require.Equal(t, 401, a.get(t, own, "").StatusCode)
	admin, _ := a.login(t, "admin@mail.com", "admin123")
	require.Equal(t, 200, a.get(t, own, admin).StatusCode)
	require.Equal(t, 404, a.get(t, users+"/999", admin).StatusCode)

	limited := false
	for range 40 {
		got := a.post(t, users+"/is-available", `{"email":"z@mail.com"}`)
		if got.StatusCode == 429 {
			limited = true
			require.NotEmpty(t, got.Header.Get("Retry-After"))
		}
	}
	require.True(t, limited, "the routes that tell who has an account are limited")
}
