package integration

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// hostile is a request that nobody sends in good faith, or one at the edge of what is allowed, and its one right answer.
type hostile struct {
	name         string
	method, path string
	headers      []string
	body         string
	want         outcome
}

// outcome is the right answer to a request.
type outcome struct {
	status    int
	code      string   // of the problem document; "": the body does not matter
	challenge string   // bare, withError or ""
	headers   []string // further headers, such as "Allow: POST"
}

const (
	bare      = `Bearer realm="api"` // RFC 6750 section 3
	withError = `Bearer realm="api", error="`
)

// The answers of the contract. The package and RFC 6750 section 3.1 name their codes.
var (
	created      = outcome{status: 201}
	ok           = outcome{status: 200}
	done         = outcome{status: 204}
	malformed    = outcome{status: 400, code: "invalid_request"}
	twoTokens    = outcome{status: 400, code: "invalid_request", challenge: withError}
	noToken      = outcome{status: 401, code: "missing_token", challenge: bare}
	badLogin     = outcome{status: 401, code: "invalid_credentials", challenge: bare}
	badToken     = outcome{status: 401, code: "invalid_token", challenge: withError}
	noScope      = outcome{status: 403, code: "insufficient_scope", challenge: withError}
	notFound     = outcome{status: 404, code: "not_found"}
	notThere     = outcome{status: 404} // by the example itself
	postOnly     = outcome{status: 405, code: "method_not_allowed", headers: []string{"Allow: POST"}}
	tooLarge     = outcome{status: 413, code: "body_too_large"}
	unsupported  = outcome{status: 415, code: "unsupported_media_type"}
	refusedEarly = outcome{status: 400} // by net/http, before any handler
)

const asJSON, asForm = "Content-Type: application/json", "Content-Type: application/x-www-form-urlencoded"

// TestHostile sends the table to the real program on each store. Nothing that was sent may be in the log, which is at the
// level debug.
func TestHostile(t *testing.T) {
	for _, kind := range []store{{name: "memory"}, postgres, redisOne} {
		t.Run(kind.name, func(t *testing.T) {
			args := []string{"-log-level", "debug"}
			if kind.host != nil {
				args = append(args, kind.host(t).fresh(t).args...)
			}
			w := newAttack(t, start(t, args...))
			began := time.Now()
			table := slices.Concat(w.logins(), w.badBodies(), w.types(), w.forms(), w.headers(), w.methods(), w.accessTokens(),
				w.refreshes(), w.sessionsOf(), w.cookies(), w.logouts(), w.origins())
			names := map[string]bool{}
			for _, c := range table {
				require.False(t, names[c.name], "two cases have the name %q", c.name)
				names[c.name] = true
				w.check(c)
			}
			wires := w.wires()
			for _, c := range wires {
				w.checkWire(c)
			}
			throttled := w.throttling()
			w.secondSteps()
			requireProfile(t, w.url, login(t, w.url)) // it still works
			w.searchLog()
			t.Logf("%d cases in %v", len(table)+len(wires)+throttled, time.Since(began).Round(time.Millisecond))
			require.Greater(t, len(table)+len(wires)+throttled, 138)
		})
	}
}

// attack is a running program under attack, and what the attackers have.
type attack struct {
	*program
	t       testing.TB
	john    pair     // a customer
	eve     pair     // another customer
	evesID  string   // of eve's session
	ticket  string   // of john
	ended   pair     // of a session that was logged out
	secrets []string // all that must not be logged
}

func newAttack(t testing.TB, p *program) *attack {
	w := &attack{program: p, t: t, john: login(t, p.url)}
	w.hide(secret, "changeme", "admin123", "$argon2")
	password := w.hidden("correct horse ")
	a, err := call("POST", p.url+"/api/v1/users", "", map[string]string{"email": "eve@mail.com", "password": password, "name": "Eve"})
	require.NoError(t, err)
	require.Equal(t, 201, a.status, "%s", a.body)
	a, err = call("POST", p.url+loginPath, "", map[string]string{"email": "eve@mail.com", "password": password})
	require.NoError(t, err)
	require.Equal(t, 201, a.status, "%s", a.body)
	w.eve = a.pair()
	w.evesID, _ = claimsOf(w.eve.Access)["sid"].(string)
	require.NotEmpty(t, w.evesID)
	a, err = call("POST", p.url+"/api/v1/auth/ticket", w.john.Access, nil)
	require.NoError(t, err)
	require.Equal(t, 201, a.status, "%s", a.body)
	var made struct{ Ticket string }
	require.NoError(t, json.Unmarshal(a.body, &made))
	w.ticket = made.Ticket
	w.ended = login(t, p.url)
	a, err = call("POST", p.url+logoutPath, w.ended.Access, nil)
	require.NoError(t, err)
	require.Equal(t, 204, a.status, "%s", a.body)
	for _, token := range []string{w.john.Access, w.john.Refresh, w.eve.Access, w.eve.Refresh, w.ended.Access, w.ended.Refresh, w.ticket} {
		w.hideToken(token)
	}
	return w
}

// hide notes secrets that must not be in the log.
func (w *attack) hide(secrets ...string) { w.secrets = append(w.secrets, secrets...) }

// hidden returns text with a random end, and notes it.
func (w *attack) hidden(text string) string {
	text += rand.Text()
	w.hide(text)
	return text
}

// hideToken notes a token, its signature, and the secret of a refresh token.
func (w *attack) hideToken(token string) {
	w.hide(token, token[strings.LastIndexByte(token, '.')+1:])
	if id, _ := claimsOf(token)["jti"].(string); len(id) > 8 {
		w.hide(id)
	}
}

// check sends the request of a case on a connection of its own.
func (w *attack) check(c hostile) {
	w.t.Helper()
	answers := w.send("", 1, c.method, request(c, "Connection: close"))
	if len(answers) != 1 {
		w.t.Errorf("%s: %d answers", c.name, len(answers))
		return
	}
	w.compare(c.name, c.want, answers[0])
}

// request is the text of a request.
func request(c hostile, headers ...string) string {
	headers = append(headers, c.headers...)
	has := func(name string) bool {
		return slices.ContainsFunc(headers, func(h string) bool { return strings.HasPrefix(strings.ToLower(h), name+":") })
	}
	if c.body != "" && !has("content-length") && !has("transfer-encoding") {
		headers = append(headers, fmt.Sprintf("Content-Length: %d", len(c.body)))
	}
	if !has("host") {
		headers = append(headers, "Host: api.example.org")
	}
	return c.method + " " + c.path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n" + c.body
}

// wireAnswer is a response with its body.
type wireAnswer struct {
	*http.Response
	text []byte
}

// send writes text to a new connection from an address, and reads at most so many answers.
func (w *attack) send(from string, most int, method, text string) (answers []wireAnswer) {
	w.t.Helper()
	dialer := net.Dialer{Timeout: patience}
	if from != "" {
		dialer.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	conn, err := dialer.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	require.NoError(w.t, err)
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * patience))
	go io.WriteString(conn, text) // the server may answer and close before it has read all
	in := bufio.NewReader(conn)
	for len(answers) < most {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return answers
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode >= 200 {
			answers = append(answers, wireAnswer{res, body})
		}
	}
	return answers
}

// describable are the characters of an error_description (RFC 6750 section 3).
var describable = regexp.MustCompile(`^[a-z_]+", error_description="[\x20-\x21\x23-\x5b\x5d-\x7e]+"$`)

// compare finds all differences between an answer and the right one.
func (w *attack) compare(name string, want outcome, got wireAnswer) {
	w.t.Helper()
	var faults []string
	fault := func(format string, args ...any) { faults = append(faults, fmt.Sprintf(format, args...)) }
	if got.StatusCode != want.status {
		fault("status %d, want %d", got.StatusCode, want.status)
	}
	challenge := strings.Join(got.Header.Values("WWW-Authenticate"), " | ")
	rest, found := strings.CutPrefix(challenge, withError)
	switch {
	case want.challenge != withError && challenge != want.challenge:
		fault("challenge %q, want %q", challenge, want.challenge)
	case want.challenge == withError && (!found || !strings.HasPrefix(rest, want.code+`"`) || !describable.MatchString(rest)):
		fault("challenge %q, want the error %s", challenge, want.code)
	}
	if want.code != "" {
		var p struct {
			Type, Title, Code, Detail, Message string
			Status                             int
		}
		if err := json.Unmarshal(got.text, &p); err != nil {
			fault("no problem document: %v", err)
		}
		if p.Code != want.code || p.Status != want.status || p.Message == "" || p.Detail != p.Message || p.Type == "" || p.Title == "" {
			fault("problem %+v, want the code %s", p, want.code)
		}
		want.headers = append([]string{"Content-Type: application/problem+json", "Cache-Control: no-store",
			"X-Content-Type-Options: nosniff"}, want.headers...)
	}
	for _, header := range want.headers {
		name, value, _ := strings.Cut(header, ": ")
		if got := strings.Join(got.Header.Values(name), " | "); got != value {
			fault("%s %q, want %q", name, got, value)
		}
	}
	for _, never := range []string{"Set-Cookie", "Location", "Access-Control-Allow-Credentials"} {
		if got.Header.Get(never) != "" {
			fault("it has the header %s", never)
		}
	}
	if got.StatusCode == 201 {
		w.hideTokens(got.text)
	} else if secret := leak(string(got.text), w.secrets); secret != "" {
		fault("the body has the secret %.12q", secret)
	}
	if len(faults) > 0 {
		w.t.Errorf("%s: %s\n\tbody: %.300s", name, strings.Join(faults, "; "), got.text)
	}
}

func (w *attack) hideTokens(body []byte) {
	var made struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
		Ticket  string
	}
	json.Unmarshal(body, &made)
	for _, token := range []string{made.Access, made.Refresh, made.Ticket} {
		if token != "" {
			w.hideToken(token)
		}
	}
}

// searchLog looks for every secret in the log.
func (w *attack) searchLog() {
	w.t.Helper()
	log := w.log.String()
	require.Contains(w.t, log, "level=DEBUG", "the log is not at the level debug")
	require.NotContains(w.t, log, "level=ERROR")
	require.Greater(w.t, len(w.secrets), 50)
	if secret := leak(log, w.secrets); secret != "" {
		w.t.Errorf("the log has the secret %.12q in some form", secret)
	}
}

// leak returns a secret that text has: as it is, quoted, URL-coded, in hex, or in base64, where it may stand between
// other bytes.
func leak(text string, secrets []string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		quoted, _ := json.Marshal(secret)
		forms := []string{secret, string(bytes.Trim(quoted, `"`)), url.QueryEscape(secret), url.PathEscape(secret),
			hex.EncodeToString([]byte(secret))}
		for before := range 3 {
			shifted := append(make([]byte, before), secret...)
			for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				// The characters at both ends depend on the neighbours of the secret.
				coded := encoding.EncodeToString(shifted)
				forms = append(forms, coded[(before*8+5)/6:len(shifted)*8/6])
			}
		}
		for _, form := range forms {
			if strings.Contains(text, form) {
				return secret
			}
		}
	}
	return ""
}

// The search finds each form.
func TestLeakFindsEveryForm(t *testing.T) {
	const hidden = "a\"b c/+?äöü"
	for _, text := range []string{hidden, `{"password":"a\"b c/+?äöü"}`, url.QueryEscape(hidden), url.PathEscape(hidden),
		base64.StdEncoding.EncodeToString([]byte(hidden)), base64.URLEncoding.EncodeToString([]byte("x" + hidden + "y")),
		base64.StdEncoding.EncodeToString([]byte("xx" + hidden + "yyy")), hex.EncodeToString([]byte(hidden))} {
		require.Equal(t, hidden, leak("log: "+text+" end", []string{"other secret", hidden}), text)
	}
	require.Empty(t, leak("nothing is here", []string{hidden, ""}))
}

// claimsOf reads the claims of a token without any check.
func claimsOf(token string) map[string]any { return part(token, 1) }

func part(token string, i int) (members map[string]any) {
	parts := strings.Split(token, ".")
	if len(parts) == 3 {
		text, _ := base64.RawURLEncoding.DecodeString(parts[i])
		json.Unmarshal(text, &members)
	}
	return members
}
