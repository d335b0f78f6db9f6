package signet_test

import (
	"context"
	"database/sql"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/signettest"
	"github.com/signet-go/signet/sqlstore"
)

// The functions below hold the snippets of README.md and docs/, word for word, so that the compiler reads them. TestSnippets compares.

func storesSnippet(ctx context.Context, users signet.UserStore, key *keys.Key) error {
	db, err := sql.Open("pgx", "postgres://...?connect_timeout=5") // your driver; signet imports none
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(16)                                                 // 1 with SQLite
	db.SetMaxIdleConns(16)                                                 // the same number: the default of 2 opens and closes connections all the time
	if err := sqlstore.Migrate(ctx, db, sqlstore.PostgreSQL); err != nil { // any number of processes may
		return err
	}
	sessions, err := sqlstore.NewSessions(db, sqlstore.PostgreSQL) // or SQLite, MariaDB
	if err != nil {
		return err
	}
	auth, err := signet.New(users, key, signet.WithSessionStore(sessions))
	if err != nil {
		return err
	}
	return auth.Close()
}

func verifierSnippet(mux *http.ServeMux, reports http.Handler) error {
	source, err := keys.OpenURL("https://login.example/.well-known/jwks.json")
	if err != nil {
		return err
	}
	defer source.Close()
	verifier, err := signet.NewVerifier(source, signet.WithIssuer("https://login.example"), signet.WithAudience("https://api.example"))
	if err != nil {
		return err
	}
	mux.Handle("GET /reports", verifier.RequireScope("reports:read")(reports))
	return nil
}

func issuersSnippet() error {
	source, err := keys.Discover("https://login.example/realms/shop") // finds the keys by OpenID Connect discovery
	if err != nil {
		return err
	}
	defer source.Close()
	verifier, err := signet.NewIssuersVerifier([]signet.TrustedIssuer{keycloak(source)})
	_ = verifier
	return err
}

func testSnippet(t *testing.T, routes func(*signet.Auth) http.Handler) {
	auth := signettest.New(t)
	rec := httptest.NewRecorder()
	routes(auth.Auth).ServeHTTP(rec, auth.AsUser(httptest.NewRequest("GET", "/orders", nil), "7", "admin"))
	require.Equal(t, 200, rec.Code)
}

var (
	_ = []any{storesSnippet, verifierSnippet, issuersSnippet, throttleSnippet, cookiesSnippet}
	_ = []signet.Option{processorsSnippet(), decideSnippet, passwordsSnippet, eventsSnippet}
)

func TestTheTestSnippet(t *testing.T) {
	testSnippet(t, func(auth *signet.Auth) http.Handler {
		return auth.RequireRole("admin")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	})
}

var goBlock = regexp.MustCompile("(?s)```go\n(.*?)```")

// TestSnippets wants every Go snippet of the documents in a file that the compiler reads. The README's program is run by TestTheFirstProgram.
func TestSnippets(t *testing.T) {
	var compiled strings.Builder
	for _, pattern := range []string{"*_test.go", "signettest/*_test.go", "totp/*_test.go", "integration/*_test.go"} {
		files, err := filepath.Glob(pattern)
		require.NoError(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			compiled.WriteString(plainLines(string(text)))
		}
	}
	found := 0
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".md") {
			return err
		}
		if top, _, _ := strings.Cut(path, string(filepath.Separator)); path != "README.md" && top != "docs" {
			return nil
		}
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, block := range goBlock.FindAllStringSubmatch(string(text), -1) {
			found++
			if !strings.HasPrefix(block[1], "package ") {
				require.True(t, strings.Contains(compiled.String(), plainLines(block[1])),
					"%s: no test compiles this snippet:\n%s", path, block[1])
			}
		}
		return nil
	}))
	require.Greater(t, found, 15)
}

// plainLines is text without empty lines, and with one space where text has several.
func plainLines(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if words := strings.Fields(line); len(words) > 0 {
			b.WriteString(strings.Join(words, " ") + "\n")
		}
	}
	return b.String()
}

// TestTheFirstProgram pastes the README's program, runs it, and pastes the commands below it.
func TestTheFirstProgram(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	program := goBlock.FindStringSubmatch(string(readme))[1]
	commands := regexp.MustCompile("(?s)```sh\n(.*?)```").FindStringSubmatch(string(readme))[1]
	require.Equal(t, 3, strings.Count(commands, "\n"))

	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.Contains(t, program, "127.0.0.1:8080")
	dir := t.TempDir()
	main := filepath.Join(dir, "main.go")
	require.NoError(t, os.WriteFile(main, []byte(strings.ReplaceAll(program, "127.0.0.1:8080", address)), 0o600))
	binary := filepath.Join(dir, "program")
	out, err := exec.Command("go", "build", "-o", binary, main).CombinedOutput()
	require.NoError(t, err, string(out))
	require.NoError(t, listener.Close())

	cmd := exec.Command(binary)
	cmd.Env = append(os.Environ(), "SIGNET_SECRET="+string(secret))
	var log lines
	cmd.Stderr = &log
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	if _, err := exec.LookPath("curl"); err == nil {
		paste := strings.ReplaceAll(commands, "localhost:8080", address) + `echo "$LOGIN"`
		out, err := exec.Command("sh", "-c", paste).Output()
		require.NoError(t, err)
		require.Contains(t, string(out), "orders of user 1\n")
		require.Regexp(t, `{"access_token":"eyJ.*","refresh_token":"eyJ.*","token_type":"Bearer","expires_in":600}`, string(out))
	} else {
		require.NotEqual(t, "1", os.Getenv("SIGNET_REQUIRE_SERVERS"), "curl is missing")
	}
	res, err := http.Post("http://"+address+"/api/v1/auth/login", "application/json", strings.NewReader(loginBody))
	require.NoError(t, err)
	res.Body.Close()
	require.Equal(t, 201, res.StatusCode)
	require.NoError(t, cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, cmd.Wait(), "it ends with status 0; log: %s", log.String())

	weak := exec.Command(binary)
	weak.Env = append(os.Environ(), "SIGNET_SECRET=")
	out, err = weak.CombinedOutput()
	require.Error(t, err)
	require.Contains(t, string(out), "openssl rand", "the error says what to do")
}
