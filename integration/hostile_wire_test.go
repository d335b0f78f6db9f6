package integration

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// origins are requests of browsers.
func (w *attack) origins() (table []hostile) {
	anyOrigin := "Access-Control-Allow-Origin: *"
	add := func(name, method, path string, want outcome, headers ...string) {
		table = append(table, hostile{"origin: " + name, method, path, headers, "", want})
	}
	ask := func(method, headers string) []string {
		list := []string{"Origin: https://shop.example", "Access-Control-Request-Method: " + method}
		if headers != "" {
			list = append(list, "Access-Control-Request-Headers: "+headers)
		}
		return list
	}
	for _, path := range []string{loginPath, refreshPath, logoutPath, ticketPath, logoutPath + "-all"} {
		add("preflight of "+path, "OPTIONS", path, outcome{status: 204, headers: []string{anyOrigin,
			"Access-Control-Allow-Methods: POST", "Access-Control-Allow-Headers: content-type"}}, ask("POST", "content-type")...)
	}
	add("preflight of a route with a token", "OPTIONS", ordersPath, outcome{status: 204, headers: []string{anyOrigin,
		"Access-Control-Allow-Methods: GET", "Access-Control-Allow-Headers: authorization,traceparent,x-requested-with"}},
		ask("GET", "authorization,traceparent,x-requested-with")...)
	add("preflight of a session", "OPTIONS", sessionsPath+"/x", outcome{status: 204, headers: []string{anyOrigin,
		"Access-Control-Allow-Methods: DELETE"}}, ask("DELETE", "authorization")...)
	add("preflight for a method that no route has", "OPTIONS", loginPath, outcome{status: 204, headers: []string{
		"Access-Control-Allow-Origin: ", "Access-Control-Allow-Methods: "}}, ask("PATCH", "")...)
	add("preflight with a token of nobody", "OPTIONS", profilePath, outcome{status: 204, headers: []string{anyOrigin}},
		append(ask("GET", "authorization"), bearer("x"))...)
	add("refusal", "GET", profilePath, outcome{401, "missing_token", bare, []string{anyOrigin,
		"Access-Control-Expose-Headers: Www-Authenticate, Retry-After"}}, "Origin: https://evil.example")
	add("origin null", "GET", profilePath, outcome{401, "missing_token", bare, []string{anyOrigin}}, "Origin: null")
	add("origin of garbage", "GET", profilePath, outcome{401, "missing_token", bare, []string{anyOrigin}}, "Origin: \"<script>")
	add("profile", "GET", profilePath, outcome{status: 200, headers: []string{anyOrigin, "Cache-Control: no-store"}},
		"Origin: https://evil.example", bearer(w.john.Access))
	add("no preflight", "OPTIONS", profilePath, outcome{405, "method_not_allowed", "", []string{"Allow: GET, HEAD", anyOrigin}},
		"Origin: https://evil.example")
	return table
}

// wire is text on a connection and the statuses of all its answers.
type wire struct {
	name, text string
	want       []outcome
}

// checkWire sends the text and compares all answers. There is never an answer more.
func (w *attack) checkWire(c wire) {
	w.t.Helper()
	answers := w.send("", len(c.want)+1, "GET", c.text)
	if len(answers) != len(c.want) {
		w.t.Errorf("wire: %s: %d answers, want %d", c.name, len(answers), len(c.want))
		for _, a := range answers {
			w.t.Logf("%d %.200s", a.StatusCode, a.text)
		}
		return
	}
	for i, answer := range answers {
		w.compare("wire: "+c.name, c.want[i], answer)
	}
}

// wires are heads that two servers in a row could read in two ways (RFC 9112 sections 5, 6 and 11.2), and requests behind
// each other.
func (w *attack) wires() (table []wire) {
	add := func(name, text string, want ...outcome) {
		table = append(table, wire{name, strings.ReplaceAll(text, "\n", "\r\n"), want})
	}
	const host = "Host: api.example.org\n"
	get := "GET " + profilePath + " HTTP/1.1\n" + host
	last := get + "Connection: close\n\n"
	post := "POST " + loginPath + " HTTP/1.1\n" + host + asJSON + "\n"
	good := `{"email":"john@mail.com","password":"changeme"}`
	length := fmt.Sprintf("Content-Length: %d\n", len(good))
	hidden := "GET " + adminPath + " HTTP/1.1\nHost: x\n\n"

	add("a token is for its own request only", get+bearer(w.john.Access)+"\n\n"+last, ok, noToken)
	add("answers come in order", get+"\n"+post+length+"\n"+good+last, noToken, created, noToken)
	add("a refusal reads its whole body", post+"Content-Length: 9\n\n{\"email\":"+last, malformed, noToken)
	add("a refused type reads its whole body", strings.Replace(post, "json", "x", 1)+length+"\n"+good+last, unsupported, noToken)
	add("a body of a GET is no request", get+fmt.Sprintf("Content-Length: %d\n\n", len(hidden)+3)+hidden+last, noToken, noToken)
	add("two lengths", post+length+"Content-Length: 5\n\n"+good+last, refusedEarly)
	add("two lengths in one header", post+"Content-Length: 5, 6\n\n"+good+last, refusedEarly)
	add("length with a sign", post+"Content-Length: +5\n\n"+good+last, refusedEarly)
	add("length negative", post+"Content-Length: -1\n\n"+good+last, refusedEarly)
	add("length in hex", post+"Content-Length: 0x2f\n\n"+good+last, refusedEarly)
	add("length too large", post+"Content-Length: 99999999999999999999\n\n"+good, refusedEarly)
	add("length of 1 TB", post+"Content-Length: 1099511627776\n\n"+strings.Repeat(" ", maxBody+1), tooLarge)
	add("a coding that nobody knows", post+"Transfer-Encoding: xchunked\n\n"+good+last, outcome{status: 501})
	add("two codings", post+"Transfer-Encoding: gzip, chunked\n\n0\n\n"+last, outcome{status: 501})
	add("chunked twice", post+"Transfer-Encoding: chunked\nTransfer-Encoding: chunked\n\n0\n\n"+last, outcome{status: 501})
	add("space before a colon", post+"Transfer-Encoding : chunked\n\n0\n\n"+last, refusedEarly)
	add("a name with a space", get+"Author ization: x\n\n"+last, refusedEarly)
	add("a NUL in a header", get+"Authorization: Bearer a\x00b\n\n"+last, refusedEarly)
	add("no host", "GET "+profilePath+" HTTP/1.1\n\n"+last, refusedEarly)
	add("two hosts", get+"Host: x\n\n"+last, refusedEarly)
	add("a host of garbage", "GET "+profilePath+" HTTP/1.1\nHost: a b\n\n"+last, refusedEarly)
	add("a host with a path", "GET "+profilePath+" HTTP/1.1\nHost: a/b\n\n"+last, refusedEarly)
	add("an unknown version", "GET "+profilePath+" HTTP/3.0\n"+host+"\n"+last, outcome{status: 505})
	add("no version", "GET "+profilePath+"\n"+last, refusedEarly)
	add("a space in the path", "GET /api/v1/auth/pro file HTTP/1.1\n"+host+"\n"+last, refusedEarly)
	add("garbage", "\x16\x03\x01\x02\x00\x01\n\n", refusedEarly)
	add("HTTP/1.0 without a host", "GET "+profilePath+" HTTP/1.0\n"+bearer(w.john.Access)+"\n\n", ok)
	add("a head that is too long", get+"X: "+strings.Repeat("a", 64<<10)+"\n\n", outcome{status: 431})
	add("too many headers", get+strings.Repeat("X: a\n", 20_000)+"\n", outcome{status: 431})
	add("an expectation that nobody knows", get+"Expect: x\n\n", outcome{status: 417})
	add("an upgrade to another protocol", get+"Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABk\n\n"+last, noToken, noToken)
	chunked := post + "Transfer-Encoding: chunked\n"
	add("chunks", chunked+fmt.Sprintf("\n%x\n%s\n0\n\n", len(good), good)+last, created, noToken)
	add("a token in a trailer", get+"Transfer-Encoding: chunked\nTrailer: Authorization\n\n0\n"+bearer(w.john.Access)+"\n\n"+last, noToken, noToken)
	add("a chunk that is none", chunked+"\nzz\n"+good+"\n0\n\n"+last, malformed)
	add("a chunk with a sign", chunked+fmt.Sprintf("\n+%x\n%s\n0\n\n", len(good), good)+last, malformed)
	add("a chunk too large for a number", chunked+"\nffffffffffffffffff\n"+good, malformed)
	add("chunks that are too long", chunked+fmt.Sprintf("\n%x\n%s\n0\n\n", maxBody+1, strings.Repeat("a", maxBody+1))+last, tooLarge)
	// Of a length and chunks the chunks count (RFC 9112 section 6.3). net/http does not close the connection afterwards, as
	// section 6.1 wants; what follows the chunks is a request of its own.
	add("a length and chunks", chunked+"Content-Length: 4\n\n0\n\n"+last, malformed, noToken)
	return table
}

// Attackers with one IPv6 address count like all others.
func TestHostileIPv6(t *testing.T) {
	listener, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	listener.Close()
	w := &attack{program: start(t, "-addr", "[::1]:0", "-log-level", "debug"), t: t}
	for i := range 11 {
		c := posted(fmt.Sprintf("attempt %d", i+1), loginPath, `{"email":"john@mail.com","password":"`+w.hidden("Wr0ng-")+`"}`, badLogin,
			fmt.Sprintf("X-Forwarded-For: 2001:db8::%d", i))
		if i == 10 {
			c.want = outcome{status: 429, code: "too_many_attempts"}
		}
		w.check(c)
	}
	require.Empty(t, leak(w.log.String(), w.secrets))
}

// One address that tries a password on each of many accounts must wait after 100 failures, also for accounts that nobody has
// tried. Others need not.
func TestHostileAddress(t *testing.T) {
	w := &attack{program: start(t, "-log-level", "debug"), t: t}
	login(t, w.url) // makes 127.0.0.1 a known place of john
	spray := func(i int, want outcome, headers ...string) {
		c := posted("", loginPath, fmt.Sprintf(`{"email":"user%d@mail.com","password":"%s"}`, i, w.hidden("Wr0ng-")), outcome{}, headers...)
		answers := w.send("127.0.0.77", 1, "POST", request(c, "Connection: close"))
		require.Len(t, answers, 1)
		w.compare(fmt.Sprintf("account %d", i), want, answers[0])
	}
	for i := range 100 {
		spray(i, badLogin)
	}
	wait := outcome{status: 429, code: "too_many_attempts"}
	spray(100, wait)
	spray(101, wait, "X-Forwarded-For: 203.0.113.7")
	login(t, w.url)
	require.Empty(t, leak(w.log.String(), w.secrets))
}
