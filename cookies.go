package signet

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/seldom"
	"github.com/signet-go/signet/internal/strictjson"
)

// Cookies configures browsers that keep their tokens in cookies, where scripts cannot read them. The zero Cookies is good for
// pages of the same origin.
type Cookies struct {
	// TrustedOrigins are other origins whose pages may send requests that change something, such as
	// "https://app.example.com". They must be of the same site, because the cookies are SameSite=Lax.
	// The browser asks whether they may, so a CORS middleware of the host must allow these origins too, with credentials.
	TrustedOrigins []string
	// Service stands in the names of the cookies; "": nothing. Of two services on one host each needs its own, because the
	// cookie of the access token is sent to both. It has up to 32 letters, digits and hyphens. If you set or change it later,
	// everybody must sign in again. Stop all old processes first: beside the new ones, one browser can be signed in as two
	// users. The older sessions are not revoked; they expire. A logout takes away only the cookies with the present name. If
	// you change it back, people who have signed out may be signed in again: so call RevokeAll with each change.
	Service string
}

// cookieMode reads and writes tokens in cookies.
type cookieMode struct {
	protection *http.CrossOriginProtection
	service    string
	log        *slog.Logger
	warned     atomic.Bool // about cookies that the browser will not keep
	lostCookie seldom.Line // about a cookie that the browser does not send
}

// isOrigin reports whether a browser can write an origin so: in lower case and ASCII, without the port that goes without saying,
// without a user, and without a pattern. The pages of apps and extensions have schemes of their own.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	if err != nil || u.Scheme == "ws" || u.Scheme == "wss" {
		return false
	}
	usual := map[string]string{"https": "443", "http": "80"}[u.Scheme]
	port := u.Port()
	if strings.HasSuffix(u.Host, ":") || port != "" && (port == usual || port[0] == '0') {
		return false
	}
	if address, err := netip.ParseAddr(u.Hostname()); err == nil && address.String() != u.Hostname() {
		return false
	}
	foreign := func(c rune) bool { return c > '~' || c == '*' || c >= 'A' && c <= 'Z' }
	return text == u.Scheme+"://"+u.Host && !strings.ContainsFunc(text, foreign)
}

// cookieName returns the name of a cookie of this service, without the prefix that makes it secure.
func (m *cookieMode) cookieName(cookie string) string {
	if m.service == "" {
		return cookie
	}
	return m.service + "-" + cookie
}

func (m *cookieMode) secureName(cookie string) string {
	return securePrefixes[cookie] + m.cookieName(cookie)
}

const (
	accessCookie  = "access_token"
	refreshCookie = "refresh_token"
	// maxCookie is the longest token that fits into a cookie, in bytes. Browsers keep cookies up to 4,096 bytes with their
	// names and attributes.
	maxCookie = 3800
)

var (
	errCrossSite = &Error{status: 403, code: "cross_site_request", message: "the request comes from another site"}
	errTwoValues = &Error{status: 400, code: "invalid_request", message: "a cookie has two values", kind: ErrInvalidRequest}
)

// accessToken returns the access token of the cookie, or ErrNoToken.
func (m *cookieMode) accessToken(r *http.Request) (string, error) {
	cookies := m.named(r, accessCookie)
	switch {
	case len(cookies) == 0 || len(cookies) == 1 && cookies[0].Value == "":
		return "", ErrNoToken
	case len(cookies) > 1:
		return "", errTwoValues
	}
	return cookies[0].Value, nil
}

// ownRefresh returns the refresh token of the session that the access token belongs to. Another host of the same site (a
// neighbour) can set the cookie of the refresh token, but not that of the access token. So ownRefresh ignores refresh tokens of
// another user or session: with one of them the browser would be signed in as somebody else. It also ignores a refresh token
// that is older than the access token, because the browser then has a newer one for another path.
func (m *cookieMode) ownRefresh(r *http.Request) (string, error) {
	access, err := m.accessToken(r)
	if err != nil {
		return "", err
	}
	own := unverified(access)
	token, newest := "", own.number
	for _, cookie := range m.named(r, refreshCookie) { // of the own ones there may be two, if the path of the mount has changed
		if other := unverified(cookie.Value); other.whose == own.whose && other.number >= newest {
			token, newest = cookie.Value, other.number
		}
	}
	if token == "" {
		return "", ErrNoToken
	}
	return token, nil
}

// cookieOwner says whose the token in a cookie is.
type cookieOwner struct {
	whose  string // the user and the session; "": the token cannot be read
	number int64  // rises with each refresh
}

// unverified reads a token without any check. It only chooses between cookies: what is chosen is verified.
func unverified(text string) (owner cookieOwner) {
	token, err := jws.Open(text, maxCookie)
	if err != nil {
		return owner
	}
	defer token.Close()
	payload, _ := token.UnverifiedPayload()
	var sub, sid string
	s := strictjson.Scan(payload)
	for s.Next() {
		switch s.Name() {
		case "sub":
			sub = s.String()
		case "sid":
			sid = s.String()
		case "gen":
			owner.number = s.Int()
		}
	}
	if s.Err() != nil {
		return cookieOwner{}
	}
	owner.whose = sub + "\x00" + sid
	return owner
}

// named returns the cookies with that name. There are several if a neighbour, such as another host of the same site, has set one
// too.
func (m *cookieMode) named(r *http.Request, name string) []*http.Cookie {
	cookies := r.CookiesNamed(m.secureName(name))
	if len(cookies) == 0 && isDevelopment(r) {
		cookies = r.CookiesNamed(m.cookieName(name))
	}
	return cookies
}

// plain reports whether the browser gets cookies that need no https. A browser that sends secure ones gets secure ones again:
// otherwise the old ones would go on to count.
func (m *cookieMode) plain(r *http.Request) bool {
	sent := func(name string) bool { return len(r.CookiesNamed(m.secureName(name))) > 0 }
	return isDevelopment(r) && !sent(accessCookie) && !sent(refreshCookie)
}

// sentForDevelopment reports whether the request has a development cookie: it came over http to a loopback host. If a page of
// another site has sent it, isDevelopment is false and the cookie is not read. Then the answer must still be that for another
// site (403), and not that for a request without a token (401).
func (m *cookieMode) sentForDevelopment(r *http.Request) bool {
	given := func(c *http.Cookie) bool { return c.Value != "" }
	return r.TLS == nil && isLoopback(r.Host) && slices.ContainsFunc(r.CookiesNamed(m.cookieName(accessCookie)), given)
}

// maxEnded is how many tokens of one request a logout looks at.
const maxEnded = 8

// all returns the tokens of all cookies, but at most maxEnded. The access token comes first, because no neighbour can set its
// cookie.
func (m *cookieMode) all(r *http.Request) (tokens []string, err error) {
	for _, cookie := range append(m.named(r, accessCookie), m.named(r, refreshCookie)...) {
		if cookie.Value != "" {
			tokens = append(tokens, cookie.Value)
		}
	}
	if len(tokens) == 0 {
		return nil, ErrNoToken
	}
	return tokens[:min(len(tokens), maxEnded)], nil
}

// sameSite refuses requests that another site has made with the user's cookies.
func (m *cookieMode) sameSite(r *http.Request) error {
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") { // a GET that opens a connection in both directions
		r = asPost(r)
	}
	if err := m.protection.Check(r); err != nil {
		return because(errCrossSite, fmt.Errorf("%w: the page is of %q, and the request is for %q; see Cookies.TrustedOrigins, or let the proxy pass Host on",
			err, label(r.Header.Get("Origin")), label(r.Host)))
	}
	return nil
}

// asPost returns a copy of the request with the method POST, because sameSite lets safe methods pass.
func asPost(r *http.Request) *http.Request {
	post := *r
	post.Method = http.MethodPost
	return &post
}

// securePrefixes begin the names of the cookies. They let only secure pages set them. The cookie of the access token can be set by
// this host alone. That of the refresh token can be set by any host of the site, because it has a path.
var securePrefixes = map[string]string{accessCookie: "__Host-", refreshCookie: "__Secure-"}

// isDevelopment reports whether the browser asks a program on its own machine, without TLS. The page must be there too: behind a
// proxy the Host of a request may be that of the program behind it.
func isDevelopment(r *http.Request) bool {
	if r.TLS != nil || !isLoopback(r.Host) || r.Header["Forwarded"] != nil || r.Header["X-Forwarded-For"] != nil ||
		r.Header["X-Forwarded-Proto"] != nil {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true // a GET, or no browser: browsers send it with every POST
	}
	page, err := url.Parse(origin)
	return err == nil && isLoopback(page.Host)
}

func isLoopback(host string) bool {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	address, err := netip.ParseAddr(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.IsLoopback()
}

// set gives a cookie to the browser, which keeps it for maxAge seconds.
func (m *cookieMode) set(w http.ResponseWriter, r *http.Request, name, path, value string, maxAge int) {
	if !isLoopback(r.Host) && strings.EqualFold(r.Header.Get("Origin"), "http://"+r.Host) && !m.warned.Swap(true) {
		m.log.Warn("signet: over http a browser keeps no cookies of this service, so nobody stays signed in; it needs https, or localhost")
	}
	http.SetCookie(w, m.cookie(name, path, value, maxAge, m.plain(r)))
}

// remove takes a cookie away, in each form that counts here.
func (m *cookieMode) remove(w http.ResponseWriter, r *http.Request, name, path string) {
	plain := m.plain(r)
	http.SetCookie(w, m.cookie(name, path, "", -1, plain))
	if !plain && isDevelopment(r) && len(r.CookiesNamed(m.cookieName(name))) > 0 {
		http.SetCookie(w, m.cookie(name, path, "", -1, true))
	}
}

func (m *cookieMode) cookie(name, path, value string, maxAge int, plain bool) *http.Cookie {
	full := m.secureName(name)
	if plain {
		full = m.cookieName(name)
	}
	return &http.Cookie{Name: full, Value: value, Path: path, HttpOnly: true, Secure: !plain,
		SameSite: http.SameSiteLaxMode, MaxAge: maxAge}
}
