package signet_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

var secret = []byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")

// cheap keeps the tests fast. The costs of a hash are the business of package password.
var cheap = password.Chain(password.Argon2id{Memory: 64, Iterations: 1}, password.Bcrypt{Cost: 4})

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_800_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newUsers(t testing.TB) *userstore.Memory {
	t.Helper()
	users := userstore.NewMemory()
	add := func(u userstore.User, pass string) {
		var err error
		u.PasswordHash, err = cheap.Hash(pass)
		require.NoError(t, err)
		require.NoError(t, users.Add(context.Background(), u))
	}
	add(userstore.User{ID: "1", Email: "john@mail.com", Roles: []string{"customer"},
		Profile: map[string]any{"name": "Jhon", "avatar": "https://example.com/a.png", "password": "changeme"}}, "changeme")
	add(userstore.User{ID: "3", Email: "admin@mail.com", Roles: []string{"admin"}}, "admin123")
	return users
}

// newAuth is an Auth without a server.
func newAuth(t testing.TB, users userstore.Store, opts ...signet.Option) *signet.Auth {
	t.Helper()
	auth, err := signet.New(users, keys.Secret(secret), append([]signet.Option{signet.WithPasswordHasher(cheap),
		signet.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, auth.Close()) })
	return auth
}

// service is an Auth on a real server, with its handlers mounted as in the contract.
type service struct {
	*signet.Auth
	users *userstore.Memory
	clock *clock
	url   string
}

func newService(t testing.TB, opts ...signet.Option) *service {
	t.Helper()
	s := &service{users: newUsers(t), clock: newClock()}
	auth := newAuth(t, s.users, append([]signet.Option{signet.WithClock(s.clock.Now)}, opts...)...)
	s.Auth = auth
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth.Handler("/auth"))
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "subject="+signet.Subject(r.Context()))
	})
	mux.Handle("/orders", auth.RequireAuth(show))
	mux.Handle("/optional", auth.OptionalAuth(show))
	mux.Handle("/admin", auth.RequireRole("admin", "root")(show))
	mux.Handle("/nobody", auth.RequireRole("nobody")(show))
	mux.Handle("/scoped", auth.RequireScope("orders:read", "orders:write")(show))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *service) login(t testing.TB) signet.Tokens {
	t.Helper()
	tokens, err := s.Login(context.Background(), "john@mail.com", "changeme")
	require.NoError(t, err)
	return tokens
}

// answer is a response with its whole body.
type answer struct {
	*http.Response
	body string
	json map[string]any
}

// do sends a request, with a JSON body if there is one.
func (s *service) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	contentType := ""
	if body != "" {
		contentType = "application/json"
	}
	return s.send(t, method, path, body, contentType, headers...)
}

func (s *service) send(t testing.TB, method, path, body, contentType string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	require.NoError(t, err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
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

func bearer(token string) []string { return []string{"Authorization", "Bearer " + token} }

func encode(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

func decode(t testing.TB, segment string) string {
	t.Helper()
	text, err := base64.RawURLEncoding.DecodeString(segment)
	require.NoError(t, err)
	return string(text)
}

// part returns a decoded part of a token: 0 is the header, 1 is the payload.
func part(t testing.TB, token string, i int) map[string]any {
	t.Helper()
	var members map[string]any
	require.NoError(t, json.Unmarshal([]byte(decode(t, strings.Split(token, ".")[i])), &members))
	return members
}

// lines is a log that goroutines write while a test reads it.
type lines struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *lines) count(part string) int { return strings.Count(l.String(), part) }

// serve sends a request with a token to a handler.
func serve(t testing.TB, h http.Handler, token string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// TestMain silences the default logger. Otherwise one test that fails prints the log lines of all the others.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}
