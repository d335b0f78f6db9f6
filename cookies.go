package signet

import (
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"
)

// Cookies configures browsers that keep their tokens in cookies, where scripts cannot read them. The zero Cookies is good for
// pages of the same origin.
type Cookies struct {
	// TrustedOrigins are other origins whose pages may send requests that change something, such as
	// "https://app.example.com". They must be of the same site, because the cookies are SameSite=Lax.
	TrustedOrigins []string
}

// cookieMode reads and writes tokens in cookies.
type cookieMode struct{ protection *http.CrossOriginProtection }

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

// token returns the token in the cookie with that name, or ErrNoToken.
func (m *cookieMode) token(r *http.Request, name string) (string, error) {
	cookies := r.CookiesNamed(cookieName(r, name))
	switch {
	case len(cookies) == 0 || len(cookies) == 1 && cookies[0].Value == "":
		return "", ErrNoToken
	case len(cookies) > 1:
		return "", errTwoValues
	}
	return cookies[0].Value, nil
}

// sameSite refuses requests that another site has made with the user's cookies.
func (m *cookieMode) sameSite(r *http.Request) error {
	checked := r
	if strings.EqualFold(r.Header.Get("Upgrade"), "websocket") { // a GET that opens a connection in both directions
		unsafe := *r
		unsafe.Method = http.MethodPost
		checked = &unsafe
	}
	if err := m.protection.Check(checked); err != nil {
		return errCrossSite
	}
	return nil
}

// cookieName is the name of a cookie in a request and in its answer.
func cookieName(r *http.Request, name string) string {
	switch {
	case isDevelopment(r):
		return name
	case name == accessCookie:
		return "__Host-" + name
	}
	return "__Secure-" + name
}

// isDevelopment reports whether the request is plain http to a loopback host. A client that lies about the host gets cookies that
// work for no other host.
func isDevelopment(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	address, err := netip.ParseAddr(host)
	return r.TLS == nil && (host == "localhost" || strings.HasSuffix(host, ".localhost") || err == nil && address.IsLoopback())
}

// set gives a cookie to the browser. With an empty value it takes the cookie away.
func (m *cookieMode) set(w http.ResponseWriter, r *http.Request, name, path, value string, life time.Duration) {
	cookie := &http.Cookie{Name: cookieName(r, name), Value: value, Path: path, HttpOnly: true, Secure: !isDevelopment(r),
		SameSite: http.SameSiteLaxMode, MaxAge: int(life / time.Second)}
	if value == "" {
		cookie.MaxAge = -1
	}
	http.SetCookie(w, cookie)
}
