package integration

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// TestJavaScriptClient runs the tests of client/js against a real server. They need node alone, and no npm package.
func TestJavaScriptClient(t *testing.T) {
	server := startShop(t)
	runNode(t, filepath.Join("..", "client", "js", "test"), "SIGNET_URL="+server+"/api/auth",
		"SIGNET_COOKIE_URL="+server+"/web/auth", "SIGNET_PLAIN_URL="+server+"/plain/auth")
}

// startShop starts a server with the accounts of the example and a route that answers with the request. Superseded refresh
// tokens are good for one second, so that a test can be a thief.
func startShop(t testing.TB) (url string) {
	t.Helper()
	users := userstore.NewMemory()
	for id, account := range map[string][2]string{"1": {"john@mail.com", "changeme"}, "2": {"maria@mail.com", "12345"},
		"3": {"otto@mail.com", "changeme"}} {
		hash, err := password.Hash(account[1])
		require.NoError(t, err)
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: id, Email: account[0], PasswordHash: hash}))
	}
	auth, err := signet.New(users, keys.Secret([]byte(secret)), signet.WithReuseWindow(time.Second),
		signet.WithLifetimes(signet.Lifetimes{Access: 10 * time.Minute}), signet.WithCookies(signet.Cookies{}),
		signet.WithLogin(signet.LoginPolicy{SecondFactor: codeOfOtto{}}), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	plain, err := signet.New(users, keys.Secret([]byte(secret)), signet.WithoutSessions(), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	t.Cleanup(func() { plain.Close() })
	mux := http.NewServeMux()
	mux.Handle("/plain/auth/", plain.Handler("/plain/auth"))
	mux.Handle("/api/auth/", auth.Handler("/api/auth"))
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
	mux.Handle("/api/echo", auth.RequireAuth(http.HandlerFunc(echo)))
	mux.Handle("/api/recent", auth.RequireRecentAuth(5*time.Second)(http.HandlerFunc(echo)))
	mux.HandleFunc("/social", func(w http.ResponseWriter, r *http.Request) { // a page of the host that signs Maria in
		user, err := users.FindByID(r.Context(), "2")
		if err == nil {
			var tokens signet.Tokens
			if tokens, err = auth.IssueFor(auth.ContextWithClient(r), user); err == nil {
				err = auth.SetCookies(w, r, "/web/auth", tokens)
			}
		}
		if err != nil {
			signet.WriteError(w, err)
		}
	})
	mux.Handle("/api/events", auth.RequireTicket(http.HandlerFunc(echo)))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// codeOfOtto is a second factor that one user has set up.
type codeOfOtto struct{}

func (codeOfOtto) Enrolled(_ context.Context, userID string) (bool, error) { return userID == "3", nil }

func (codeOfOtto) Verify(_ context.Context, _, code string) (amr []string, err error) {
	if code != "123456" {
		return nil, nil
	}
	return []string{"otp"}, nil
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"method": r.Method, "body": string(body)})
}

// runNode runs the tests of a folder with node's own runner. The variables are added to the environment.
func runNode(t testing.TB, dir string, variables ...string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		servers.Missing(t, "node is not installed (apt-get install nodejs npm)")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	files, err := filepath.Glob(filepath.Join(dir, "*.test.mjs"))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files { // one after the other: a test that ends all sessions of a user would end those of another file
		cmd := exec.CommandContext(ctx, node, "--experimental-vm-modules", "--no-warnings", "--test", "--test-reporter=spec", filepath.Base(file))
		cmd.Dir = dir
		// A proxy of the caller's must not stand between a client and the loopback address.
		cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "LC_ALL=C.UTF-8"}, variables...)
		out, err := cmd.CombinedOutput()
		t.Logf("%s", out)
		require.NoError(t, err, "node --test %s in %s", filepath.Base(file), dir)
	}
}
