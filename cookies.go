package signet

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
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

// WithCookies lets [Verifier.RequireAuth] and the other middleware find the access token in a cookie when a request has no
// Authorization header, and it is needed for [Auth.CookieHandler]. A request that is authenticated by a cookie must not come from
// another site: requests with an unsafe method are checked by [http.CrossOriginProtection], and WebSocket upgrades by the
// same rules. Others are answered 403 "cross_site_request".
//
// The cookies are __Host-access_token and __Secure-refresh_token, both Secure, HttpOnly and SameSite=Lax (RFC 6265bis section
// 4.1.3). For http on a loopback host they have the names access_token and refresh_token and are not Secure, so that a program
// under development needs no TLS.
func WithCookies(cookies Cookies) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		mode := &cookieMode{protection: http.NewCrossOriginProtection()}
		for _, origin := range cookies.TrustedOrigins {
			if err := mode.protection.AddTrustedOrigin(origin); err != nil {
				s.mistake("WithCookies", "%w", err)
			}
		}
		s.cookies = mode
	})
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

// carrier is how tokens travel between a mount and its clients: in bodies, or in cookies.
type carrier struct {
	auth    *Auth
	cookies *cookieMode // nil: in bodies
	path    string      // of the refresh cookie
}

// CookieHandler serves what [Auth.Handler] serves to browsers that keep their tokens in cookies: no body has a token, login,
// second-step, refresh-token and step-up answer 201 with {"token_type": "Cookie", "expires_in": seconds}, and refresh-token and
// logout need no body. Forms are refused with 415, and requests from other sites with 403. There is no CORS.
//
//	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
//
// The prefix must be the path that the browser sees, because the refresh cookie is sent to this path only. The script of the
// page refreshes: it sends POST prefix/refresh-token before expires_in is over, or after an answer 401 (package client/js does
// it). A navigation never refreshes, because two navigations at once would both do it. An answer takes the cookies away only
// after a logout: a late refusal must not destroy the newer cookies of another tab. CookieHandler panics without [WithCookies],
// and if the prefix is not a path.
func (a *Auth) CookieHandler(prefix string) http.Handler {
	prefix = strings.TrimRight(prefix, "/")
	if a.cookies == nil {
		panic("signet.CookieHandler: WithCookies is not set")
	}
	if !strings.HasPrefix(prefix, "/") || (&url.URL{Path: prefix}).EscapedPath() != prefix || strings.ContainsAny(prefix, ";,{}* ") {
		panic(fmt.Sprintf("signet.CookieHandler: %q is not a path such as /web/auth", prefix))
	}
	m := a.mount(prefix, carrier{auth: a, cookies: a.cookies, path: prefix})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := a.cookies.sameSite(r); err != nil {
			a.refuse(w, r, err)
			return
		}
		m.ServeHTTP(w, r)
	})
}

// give writes a pair of tokens.
func (c carrier) give(w http.ResponseWriter, r *http.Request, tokens Tokens) {
	if c.cookies == nil {
		writeTokens(w, tokens)
		return
	}
	// Both cookies live as long as the session does without a refresh. An access token that has expired is refused anyway.
	life := time.Duration(max(tokens.ExpiresIn, tokens.refreshIn)) * time.Second
	c.cookies.set(w, r, accessCookie, "/", tokens.AccessToken, life)
	c.cookies.set(w, r, refreshCookie, c.path, tokens.RefreshToken, life)
	b := append([]byte(`{"token_type":"Cookie","expires_in":`), strconv.FormatInt(tokens.ExpiresIn, 10)...)
	writeBody(w, http.StatusCreated, append(b, "}\n"...))
}

// clear takes the cookies away after a logout.
func (c carrier) clear(w http.ResponseWriter, r *http.Request) {
	if c.cookies != nil {
		c.cookies.set(w, r, accessCookie, "/", "", 0)
		c.cookies.set(w, r, refreshCookie, c.path, "", 0)
	}
}

// readBody reads the wanted fields of a body. A cookie mount takes no forms, and an empty body if nothing must be in it.
func (c carrier) readBody(w http.ResponseWriter, r *http.Request, want ...field) error {
	if c.cookies == nil {
		return readBody(w, r, want...)
	}
	body, err := readAll(w, r)
	if err != nil {
		return err
	}
	if strings.TrimSpace(body) != "" {
		media, err := mediaType(r)
		if err != nil {
			return err
		}
		if media != mediaJSON {
			return unsupported("send application/json")
		}
		if err := parseBody(media, body, want...); err != nil {
			return err
		}
	}
	return present(want)
}

// refreshToken returns the refresh token of a request: the field in the body, or the cookie. want are further fields.
func (c carrier) refreshToken(w http.ResponseWriter, r *http.Request, want ...field) (token string, err error) {
	if c.cookies == nil {
		err = readBody(w, r, append(want, field{names: refreshNames, value: &token})...)
		return token, err
	}
	if err := c.readBody(w, r, want...); err != nil {
		return "", err
	}
	return c.cookies.token(r, refreshCookie)
}

// logoutToken finds the token of the session to end.
func (c carrier) logoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if c.cookies == nil {
		return logoutToken(w, r)
	}
	token, err := c.refreshToken(w, r)
	if errors.Is(err, ErrNoToken) {
		return c.cookies.token(r, accessCookie)
	}
	return token, err
}
