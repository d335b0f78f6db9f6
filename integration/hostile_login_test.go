package integration

import (
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"
)

// posted is a POST of JSON.
func posted(name, path, body string, want outcome, headers ...string) hostile {
	return hostile{name, "POST", path, append([]string{asJSON}, headers...), body, want}
}

const maxBody = 64 << 10 // of the package

// creds is the body of a login.
func creds(email, password string) string {
	return fmt.Sprintf(`{"email":%s,"password":%s}`, jsonText(email), jsonText(password))
}

// logins are good bodies of a login, with right and wrong credentials. No account gets ten wrong passwords in a row, so the
// throttle stays away.
func (w *attack) logins() (table []hostile) {
	add := func(name, body string, want outcome) {
		table = append(table, posted("login: "+name, loginPath, body, want))
	}
	pass := func() string { return w.hidden("Wr0ng-") }
	add("the documented one", creds("john@mail.com", "changeme"), created)
	add("unknown members are ignored", `{"email":"john@mail.com","password":"changeme","x":{"y":[1,{"password":"z"}]},"role":"admin"}`, created)
	add("names with escapes are the same names", `{"\u0065mail":"john@mail.com","p\u0061ssword":"changeme"}`, created)
	add("white space around the body", " \r\n\t"+creds("john@mail.com", "changeme")+"\n\n", created)
	add("case and spaces of the address do not matter", creds("  JOHN@Mail.COM ", "changeme"), created)
	add("remember of any type is a wish", `{"email":"john@mail.com","password":"changeme","remember":{"a":1}}`, created)

	add("wrong password", creds("john@mail.com", pass()), badLogin)
	add("unknown account", creds("nobody@mail.com", pass()), badLogin)
	add("the case of a password matters", creds("john@mail.com", "CHANGEME"), badLogin)
	add("a space behind a password matters", creds("john@mail.com", "changeme "), badLogin)
	add("a prefix of the password", creds("john@mail.com", "changem"), badLogin)
	add("the password and a NUL", creds("john@mail.com", "changeme\x00x"), badLogin)
	add("the password of another user", creds("eve@mail.com", "changeme"), badLogin)
	add("the id is no address", creds("1", pass()), badLogin)
	add("SQL in the address", creds("' OR '1'='1' --", pass()), badLogin)
	add("SQL wildcard in the address", creds("john@mail.co_", "changeme"), badLogin)
	add("SQL percent in the address", creds("%", pass()), badLogin)
	add("LDAP and shell in the address", creds("*)(uid=*))(|(uid=*$(id)`id`", pass()), badLogin)
	add("template in the address", creds("${jndi:ldap://127.0.0.1/a}{{7*7}}", pass()), badLogin)
	add("full-width letters are others", creds("ｊｏｈｎ@mail.com", "changeme"), badLogin)
	add("Cyrillic o is another letter", creds("jоhn@mail.com", "changeme"), badLogin)
	add("zero-width space is a character", creds("john\u200b@mail.com", "changeme"), badLogin)
	add("right-to-left override is a character", creds("\u202ejohn@mail.com", "changeme"), badLogin)
	add("names are case-sensitive, so Password is another one", `{"email":"john@mail.com","Password":"changeme"}`, malformed)
	return table
}

// badBodies are bodies of a login that say nothing, or that two parsers could read in two ways.
func (w *attack) badBodies() (table []hostile) {
	add := func(name, body string, want outcome) {
		table = append(table, posted("login: "+name, loginPath, body, want))
	}
	add("empty", "", malformed)
	add("null", "null", malformed)
	add("a list", `[{"email":"john@mail.com","password":"changeme"}]`, malformed)
	add("a text", `"john@mail.com"`, malformed)
	add("a number", "1", malformed)
	add("an empty object", "{}", malformed)
	add("cut off", `{"email":"john@mail.com","password":"changeme"`, malformed)
	add("two objects", creds("john@mail.com", "changeme")+creds("john@mail.com", "changeme"), malformed)
	add("something behind the object", creds("john@mail.com", "changeme")+"x", malformed)
	add("a comma too many", `{"email":"john@mail.com","password":"changeme",}`, malformed)
	add("a comment", `{"email":"john@mail.com",/* */"password":"changeme"}`, malformed)
	add("single quotes", `{'email':'john@mail.com','password':'changeme'}`, malformed)
	add("a byte order mark", "\ufeff"+creds("john@mail.com", "changeme"), malformed)
	add("UTF-16", "\xff\xfe{\x00}\x00", malformed)
	add("a raw control character", "{\"email\":\"john@mail.com\",\"password\":\"change\nme\"}", malformed)
	add("a NUL behind the body", creds("john@mail.com", "changeme")+"\x00", malformed)
	add("address twice", `{"email":"john@mail.com","email":"admin@mail.com","password":"changeme"}`, malformed)
	add("password twice", `{"email":"john@mail.com","password":"x","password":"changeme"}`, malformed)
	add("twice, once with an escape", `{"email":"john@mail.com","password":"x","pass\u0077ord":"changeme"}`, malformed)
	add("no address", `{"password":"changeme"}`, malformed)
	add("no password", `{"email":"john@mail.com"}`, malformed)
	add("address null", `{"email":null,"password":"changeme"}`, malformed)
	add("password null", `{"email":"john@mail.com","password":null}`, malformed)
	add("password true", `{"email":"john@mail.com","password":true}`, malformed)
	add("password a number", `{"email":"john@mail.com","password":12345678}`, malformed)
	add("password a list", `{"email":"john@mail.com","password":["changeme"]}`, malformed)
	add("address an operator", `{"email":{"$ne":null},"password":{"$ne":null}}`, malformed)
	add("a number out of range", `{"email":1e999,"password":"changeme"}`, malformed)
	add("address empty", creds("", "changeme"), malformed)
	add("address of white space", creds(" \t ", "changeme"), malformed)
	add("password empty", creds("john@mail.com", ""), malformed)
	add("a NUL in the address", creds("john@mail.com\x00", "changeme"), malformed)
	add("a line break in the address", creds("john@mail.com\r\nBcc: x", "changeme"), malformed)
	add("a lone surrogate", `{"email":"\ud800john@mail.com","password":"changeme"}`, malformed)
	add("a lone surrogate in the password", `{"email":"john@mail.com","password":"\udfff"}`, malformed)
	add("bytes that are no UTF-8", "{\"email\":\"john@mail.com\",\"password\":\"\xff\xfe\"}", malformed)
	add("overlong UTF-8", "{\"email\":\"john@mail.com\",\"password\":\"\xc0\xaf\"}", malformed)
	add("a bad escape", `{"email":"john@mail.com","password":"\x41"}`, malformed)
	add("a bad Unicode escape", `{"email":"john@mail.com","password":"\u00g0"}`, malformed)
	add("lists in lists", strings.Repeat("[", 30_000), malformed)
	add("objects in objects", strings.Repeat(`{"a":`, 10_000), malformed)
	add("depth in an ignored member", `{"x":`+strings.Repeat("[", 15_000)+strings.Repeat("]", 15_000)+`,"email":"john@mail.com","password":"changeme"}`, malformed)
	add("address too long", creds(strings.Repeat("a", 1025)+"@mail.com", "changeme"), malformed)
	add("password too long", creds("john@mail.com", w.hidden(strings.Repeat("p", 20_000))), malformed)
	add("body too long", `{"x":"`+strings.Repeat("a", maxBody)+`"}`, tooLarge)
	full := creds("john@mail.com", "changeme")
	add("a body of the longest length", full+strings.Repeat(" ", maxBody-len(full)), created)
	add("one byte longer", full+strings.Repeat(" ", maxBody-len(full)+1), tooLarge)
	return table
}

// types are what a client can say about the body of a login.
func (w *attack) types() (table []hostile) {
	full := creds("john@mail.com", "changeme")
	typed := func(name string, want outcome, headers ...string) {
		table = append(table, hostile{"login: " + name, "POST", loginPath, headers, full, want})
	}
	typed("no Content-Type", unsupported)
	typed("text/plain", unsupported, "Content-Type: text/plain")
	typed("text/plain that hints at JSON", unsupported, "Content-Type: text/plain; application/json")
	typed("application/json5", unsupported, "Content-Type: application/json5")
	typed("problem+json", unsupported, "Content-Type: application/problem+json")
	typed("XML", unsupported, "Content-Type: application/xml")
	typed("multipart", unsupported, "Content-Type: multipart/form-data; boundary=x")
	typed("Content-Type that cannot be read", unsupported, "Content-Type: /;;=")
	typed("Content-Type in capitals", created, "Content-Type: APPLICATION/JSON; Charset=UTF-8")
	typed("gzip", unsupported, asJSON, "Content-Encoding: gzip")
	typed("identity", created, asJSON, "Content-Encoding: identity")
	typed("an encoding that nobody knows", unsupported, asJSON, "Content-Encoding: x")
	typed("an Authorization header does not matter", created, asJSON, "Authorization: Bearer "+w.hidden("garbage"))
	typed("Expect: 100-continue", created, asJSON, "Expect: 100-continue")
	typed("another Host", created, asJSON, "Host: evil.example")
	typed("an Origin of anybody", outcome{status: 201, headers: []string{"Access-Control-Allow-Origin: *"}}, asJSON, "Origin: null")
	typed("credentials in the query are not read", created, asJSON)
	table[len(table)-1].path += "?email=x&password=y"
	return table
}

// forms are bodies of forms, which many clients of the contract send.
func (w *attack) forms() (table []hostile) {
	add := func(name, body string, want outcome) {
		table = append(table, hostile{"form: " + name, "POST", loginPath, []string{asForm}, body, want})
	}
	add("the right one", "email=john%40mail.com&password=changeme", created)
	add("plus is a space", "email=+john@mail.com+&password=changeme", created)
	add("further fields", "email=john@mail.com&password=changeme&grant_type=password&x", created)
	add("wrong password", "email=john@mail.com&password="+url.QueryEscape(w.hidden("Wr0ng &=%")), badLogin)
	add("address twice", "email=john@mail.com&email=admin@mail.com&password=changeme", malformed)
	add("password twice", "email=john@mail.com&password=x&password=changeme", malformed)
	add("list names are others", "email[]=john@mail.com&password[$ne]=x", malformed)
	add("semicolons", "email=john@mail.com;password=changeme", malformed)
	add("a bad escape", "email=john@mail.com&password=%zz", malformed)
	add("bytes that are no UTF-8", "email=john@mail.com&password=%ff%fe", malformed)
	add("a NUL in the address", "email=john@mail.com%00&password=changeme", malformed)
	add("empty", "", malformed)
	add("JSON", `{"email":"john@mail.com","password":"changeme"}`, malformed)
	add("too long", "email=john@mail.com&password="+strings.Repeat("a", maxBody), tooLarge)
	table = append(table, hostile{"form: the fields in the query only", "POST", loginPath + "?email=john@mail.com&password=changeme",
		[]string{asForm}, "x=1", malformed})
	return table
}

// methods are methods and paths.
func (w *attack) methods() (table []hostile) {
	add := func(name, method, path string, want outcome, headers ...string) {
		table = append(table, hostile{"method: " + name, method, path, headers, "", want})
	}
	for _, method := range []string{"GET", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "post", "OPTIONS"} {
		add(method+" of the login", method, loginPath, postOnly)
	}
	add("GET with an override", "GET", loginPath, postOnly, "X-HTTP-Method-Override: POST")
	add("HEAD of the login", "HEAD", loginPath, outcome{status: 405, headers: []string{"Allow: POST"}})
	add("GET of the refresh", "GET", refreshPath, postOnly)
	add("GET of the logout", "GET", logoutPath, postOnly, "Authorization: Bearer "+w.john.Access) // a link must not log out
	add("GET of the logout of all", "GET", logoutPath+"-all", postOnly, "Authorization: Bearer "+w.john.Access)
	add("GET of the ticket", "GET", ticketPath, postOnly, "Authorization: Bearer "+w.john.Access)
	readOnly := outcome{status: 405, code: "method_not_allowed", headers: []string{"Allow: GET, HEAD"}}
	add("POST of the profile", "POST", profilePath, readOnly, "Authorization: Bearer "+w.john.Access)
	add("DELETE of all sessions", "DELETE", sessionsPath, readOnly, "Authorization: Bearer "+w.john.Access)
	add("HEAD of the profile", "HEAD", profilePath, ok, "Authorization: Bearer "+w.john.Access)
	add("HEAD of the profile without a token", "HEAD", profilePath, outcome{status: 401, challenge: bare})
	add("a method with a slash", "GE/T", profilePath, refusedEarly)

	body := `{"email":"john@mail.com","password":"changeme"}`
	for path, want := range map[string]outcome{
		loginPath + "/":                              created, // as clients of the contract send it
		loginPath + "//":                             notThere,
		loginPath + "/x":                             notFound,
		loginPath + ".json":                          notFound,
		loginPath + ";x=1":                           notFound,
		loginPath + "%2f":                            notFound,
		loginPath + "%00":                            notFound,
		loginPath + "%20":                            notFound,
		"/api/v1/auth/%6cogin":                       notFound,
		"/api/v1/auth/LOGIN":                         notFound,
		"/api/v1/auth/":                              notFound,
		"/api/v1/auth":                               notFound,
		"/API/v1/auth/login":                         notThere,
		"//api/v1/auth/login":                        notThere,
		"/api/v1//auth/login":                        notThere,
		"/api/v1/auth/../auth/login":                 notThere,
		"/api/v1/auth/./login":                       notThere,
		"/api/v1/auth/x/%2e%2e/login":                notThere,
		"/api/v1/auth/second-step":                   notFound,
		"/api/v1/auth/login/second-step":             malformed, // no ticket
		"/api/v1/auth/step-up":                       noToken,
		"http://evil.example/api/v1/auth/x":          notFound,
		"http://evil.example" + loginPath:            created, // the form for proxies (RFC 9112 section 3.2.2)
		"/api/v1/auth/login%zz":                      refusedEarly,
		"api/v1/auth/login":                          refusedEarly,
		"/api/v1/auth/login?x=%zz&y=;":               created,
		"/api/v1/auth/" + strings.Repeat("a/", 5000): notFound,
	} {
		table = append(table, posted("path: "+strconv.Quote(path[:min(len(path), 60)]), path, body, want))
	}
	return table
}

// throttling fails to log in until it must wait. It returns how many cases it has checked.
func (w *attack) throttling() (cases int) {
	attempt := func(from, email, password string, headers ...string) wireAnswer {
		w.t.Helper()
		cases++
		c := posted("", loginPath, creds(email, password), outcome{}, headers...)
		answers := w.send(from, 1, "POST", request(c, "Connection: close"))
		require.Len(w.t, answers, 1)
		return answers[0]
	}
	wait := outcome{status: 429, code: "too_many_attempts"}
	refused := map[string]wireAnswer{}
	for who, email := range map[string]string{"known": "admin@mail.com", "unknown": "who@mail.com"} {
		const from = "127.0.0.9" // no account has signed in from here
		for i := range 10 {
			w.compare(fmt.Sprintf("throttle: failure %d of the %s account", i+1, who), badLogin, attempt(from, email, w.hidden("Wr0ng-")))
		}
		refused[who] = attempt(from, email, w.hidden("Wr0ng-"))
		requireWait(w.t, refused[who])
		for name, headers := range map[string][]string{
			"as before":            nil,
			"X-Forwarded-For":      {"X-Forwarded-For: 203.0.113.7"},
			"many X-Forwarded-For": {"X-Forwarded-For: 203.0.113.8, 10.0.0.1", "X-Forwarded-For: 127.0.0.1"},
			"Forwarded":            {`Forwarded: for="[2001:db8::1]";proto=https`},
			"X-Real-IP":            {"X-Real-IP: 203.0.113.9", "True-Client-IP: 203.0.113.9", "CF-Connecting-IP: 203.0.113.9"},
			"another user agent":   {"User-Agent: " + strings.Repeat("x", 1000)},
		} {
			w.compare("throttle: "+who+", "+name, wait, attempt(from, email, w.hidden("Wr0ng-"), headers...))
		}
		w.compare("throttle: "+who+", another address", wait, attempt("127.0.0.10", email, w.hidden("Wr0ng-")))
		w.compare("throttle: "+who+", in capitals", wait, attempt(from, " "+strings.ToUpper(email)+" ", w.hidden("Wr0ng-")))
		w.compare("throttle: "+who+", the right password", wait, attempt(from, email, "admin123"))
	}
	known, unknown := refused["known"], refused["unknown"]
	require.Equal(w.t, string(known.text), string(unknown.text), "the answers must not tell who has an account")
	for _, h := range []wireAnswer{known, unknown} {
		h.Header.Del("Date")
		h.Header.Del("Retry-After")
	}
	require.Equal(w.t, known.Header, unknown.Header)

	// An attack on john does not lock john out where he has signed in, nor end his sessions.
	for range 12 {
		attempt("127.0.0.11", "john@mail.com", w.hidden("Wr0ng-"))
	}
	requireWait(w.t, attempt("127.0.0.11", "john@mail.com", "changeme"))
	w.compare("throttle: the owner at a known place", created, attempt("", "john@mail.com", "changeme"))
	w.compare("throttle: a known place, as a header says", wait, attempt("127.0.0.11", "john@mail.com", "changeme",
		"X-Forwarded-For: 127.0.0.1"))
	w.check(hostile{"throttle: sessions go on", "GET", profilePath, []string{"Authorization: Bearer " + w.john.Access}, "", ok})
	w.check(posted("throttle: refreshes go on", refreshPath, `{"refreshToken":"`+w.john.Refresh+`"}`, created))
	return cases + 2
}

// requireWait checks the answer at once after the tenth failure: 30 seconds are left since then, less what has passed.
func requireWait(t testing.TB, got wireAnswer) {
	t.Helper()
	require.Equal(t, 429, got.StatusCode, "%s", got.text)
	seconds, err := strconv.Atoi(got.Header.Get("Retry-After"))
	require.NoError(t, err)
	require.LessOrEqual(t, seconds, 30)
	require.Positive(t, seconds)
}

// secondSteps lets a user live through everything that has secrets of its own: setting up a second factor, tickets, right and
// wrong codes, recovery codes and a step-up.
func (w *attack) secondSteps() {
	w.t.Helper()
	send := func(want int, method, path, token string, body any) (got struct {
		Access       string `json:"access_token"`
		Refresh      string `json:"refresh_token"`
		Ticket       string
		Secret, URI  string
		RecoveryList []string `json:"recovery_codes"`
	}) {
		w.t.Helper()
		a, err := call(method, w.url+path, token, body)
		require.NoError(w.t, err)
		require.Equal(w.t, want, a.status, "%s %s: %s", method, path, a.body)
		w.hideTokens(a.body)
		_ = json.Unmarshal(a.body, &got)
		return got
	}
	type fields = map[string]string
	const email = "mallory@mail.com"
	password := w.hidden("correct horse ")
	send(201, "POST", "/api/v1/users", "", fields{"email": email, "password": password, "name": "Mallory"})
	tokens := send(201, "POST", loginPath, "", fields{"email": email, "password": password})
	begun := send(201, "POST", "/api/v1/second-factor", tokens.Access, nil)
	w.hide(begun.Secret, begun.URI)
	code, err := totp.GenerateCode(begun.Secret, time.Now())
	require.NoError(w.t, err)
	recovery := send(201, "POST", "/api/v1/second-factor/confirm", tokens.Access, fields{"code": code}).RecoveryList
	require.Len(w.t, recovery, 10)
	w.hide(recovery...)

	asked := send(401, "POST", loginPath, "", fields{"email": email, "password": password})
	require.NotEmpty(w.t, asked.Ticket)
	send(401, "POST", loginPath+"/second-step", "", fields{"ticket": asked.Ticket, "code": w.hidden("Wr0ng-")})
	tokens = send(201, "POST", loginPath+"/second-step", "", fields{"ticket": asked.Ticket, "code": recovery[0]})
	send(401, "POST", loginPath+"/second-step", "", fields{"ticket": asked.Ticket, "code": recovery[1]})
	stepUp := func(want int, code string) {
		w.t.Helper()
		send(want, "POST", "/api/v1/auth/step-up", tokens.Access, fields{"refreshToken": tokens.Refresh, "code": code})
	}
	stepUp(401, w.hidden("Wr0ng-"))
	stepUp(401, recovery[0])
	stepUp(201, recovery[1])
}
