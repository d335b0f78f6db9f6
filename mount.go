package signet

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
)

// Handler serves the whole contract below a path, with and without a trailing slash:
//
//	POST prefix/login              LoginHandler
//	POST prefix/login/second-step  SecondStepHandler, if LoginPolicy.SecondFactor is set
//	POST prefix/refresh-token      RefreshHandler
//	GET  prefix/profile            ProfileHandler
//	POST prefix/logout             LogoutHandler
//	POST prefix/logout-all         LogoutAllHandler
//	GET  prefix/sessions           SessionsHandler, and DELETE prefix/sessions/{id}
//	POST prefix/ticket             TicketHandler
//	POST prefix/step-up            StepUpHandler, if WithLogin is given
//
//	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
//
// Under [WithoutSessions] only login, refresh-token and profile exist. Each operation has exactly one path, so nobody can
// bypass a rule that a proxy has for a path.
//
// The prefix has one of three forms:
//
//   - With a slash in front, as in the line above, it is the whole path of the mount. Behind [http.StripPrefix] it is
//     the path that is left. If the router sets [http.Request.Pattern], as [http.ServeMux] and chi do, the pattern may
//     have more path in front of the prefix: chi's Route("/api/v1") with Mount("/auth", auth.Handler("/auth")) works,
//     and "/{tenant}/auth/" too.
//   - An empty prefix stands for the pattern of such a router.
//   - Without a slash, as in Handler("auth"), the contract is below the first "auth" in the path, and the router alone
//     decides what may stand in front of it. It is the form for groups of gin and echo, which set no pattern, and for a
//     router behind [http.StripPrefix].
//
// Browsers of any origin may call it (CORS with "*", with preflights). That is safe because a browser sends no
// credentials by itself: they are in the body or in a header that the page sets. If an outer middleware has set
// Access-Control-Allow-Origin, Handler does not change it. [WithoutCORS] turns CORS off. Handler never redirects, so no
// client sends a password twice.
func (a *Auth) Handler(prefix string) http.Handler {
	m := a.mount(strings.TrimRight(prefix, "/"), carrier{auth: a})
	if a.withoutCORS {
		return m
	}
	return anyOrigin(m)
}

// CookieHandler serves the operations of [Auth.Handler] for browsers that keep their tokens in cookies. No body has a token.
// Login, second-step, refresh-token and step-up answer 201 with {"token_type": "Cookie", "expires_in": seconds,
// "refresh_expires_in": seconds, "sub": the user's id}. Refresh-token and logout need no body. Forms with fields are refused with
// 415, and requests from other sites with 403. There is no CORS.
//
//	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
//
// The prefix must be the path that the browser sees, because the refresh cookie is sent to this path only. For the same reason
// a prefix that changes signs everybody out. The script of the page refreshes: it sends POST prefix/refresh-token before
// expires_in is over, or after an answer 401 (package client/js does it). A router may cut off the beginning of the path. If a
// proxy does, the host must put it back in front of r.URL.Path: otherwise the answer is 404. A navigation never refreshes,
// because two navigations at the same time would both do it. Only the answer to a logout takes the cookies away: a late refusal
// must not destroy the newer cookies of another tab. CookieHandler panics without [WithCookies], and if the prefix is not a
// path.
func (a *Auth) CookieHandler(prefix string) http.Handler {
	prefix, err := a.cookiePath(prefix)
	if err != nil {
		panic("signet.CookieHandler: " + err.Error())
	}
	m := a.mount(prefix, carrier{auth: a, cookies: a.cookies, path: prefix})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked := askedURL(r)
		if strings.HasSuffix(r.URL.Path, asked.Path) { // the host has put back what a proxy had cut off
			asked = r.URL
		}
		name, below := strings.CutPrefix(asked.Path, prefix+"/") // else the browser would not send the cookie of the refresh token
		if below {
			if err := a.cookies.sameSite(r); err != nil {
				a.refuse(w, r, err)
				return
			}
		}
		m.operate(w, r, name, below && !hasNeedlessEscapes(asked.RawPath))
	})
}

// askedURL returns the URL that the client has asked for, whatever routers have done to its path. It is empty for a request that
// names no path.
func askedURL(r *http.Request) *url.URL {
	if r.RequestURI == "" || r.RequestURI == r.URL.Path { // nearly always
		return r.URL
	}
	asked, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		return &url.URL{}
	}
	return asked
}

func (a *Auth) mount(prefix string, c carrier) *mount {
	m := &mount{auth: a, prefix: prefix, routes: map[string]http.Handler{
		"login":         c.login(),
		"refresh-token": c.refresh(),
		"profile":       a.ProfileHandler(),
	}}
	if a.sessions == nil {
		return m
	}
	m.routes["logout"] = c.logout()
	m.routes["logout-all"] = c.logoutAll()
	m.routes["sessions"] = a.handler(a.listSessions, http.MethodGet, http.MethodHead)
	m.routes["ticket"] = a.TicketHandler()
	if a.policy.SecondFactor != nil {
		m.routes["login/second-step"] = c.secondStep()
	}
	if a.policySet {
		m.routes["step-up"] = c.stepUp()
	}
	m.deleteSession = a.handler(a.deleteSession, http.MethodDelete)
	return m
}

// mount serves the contract below a path.
type mount struct {
	auth          *Auth
	prefix        string
	routes        map[string]http.Handler // by the path below the prefix
	deleteSession http.Handler
	asked         atomic.Bool // the first request tells whether the prefix is right
}

// ServeHTTP implements [http.Handler].
func (m *mount) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	base, ok := m.base(r)
	name, below := strings.CutPrefix(r.URL.Path, base+"/")
	m.operate(w, r, name, below && ok)
}

// operate serves an operation. below says whether the path is below the prefix.
func (m *mount) operate(w http.ResponseWriter, r *http.Request, name string, below bool) {
	if !m.asked.Load() && !m.asked.Swap(true) && !below {
		m.warnOfPrefix(r)
	}
	name = strings.TrimSuffix(name, "/")
	route := m.routes[name]
	if id, ok := sessionInPath(name); ok && m.deleteSession != nil {
		r.SetPathValue("id", id)
		route = m.deleteSession
	}
	if !below || route == nil {
		m.auth.refuse(w, r, ErrNotFound)
		return
	}
	route.ServeHTTP(w, r)
}

// base returns the part of the request's path in front of the operations. A path with unnecessary escapes has no base,
// because "%6cogin" must not be a second name of "login".
func (m *mount) base(r *http.Request) (base string, ok bool) {
	if hasNeedlessEscapes(r.URL.RawPath) {
		return "", false
	}
	base, wild, known := matched(r)
	switch {
	case m.prefix == "":
		return base, true
	case !strings.HasPrefix(m.prefix, "/"):
		at := strings.Index(r.URL.Path, "/"+m.prefix+"/")
		if at < 0 {
			return "", false
		}
		return r.URL.Path[:at] + "/" + m.prefix, true
	case known && strings.HasSuffix(base, m.prefix):
		return base, wild || isPlain(r, base)
	case wild && (base != r.URL.Path || !strings.HasPrefix(base, m.prefix+"/")):
		// The mount is somewhere else. A pattern such as /auth/{operation} is no such case, because it names the whole path.
		return "", false
	}
	return m.prefix, isPlain(r, m.prefix)
}

// isPlain reports whether a path was sent without escapes, if it needs none.
func isPlain(r *http.Request, path string) bool {
	return (&url.URL{Path: path}).EscapedPath() != path || strings.HasPrefix(r.URL.EscapedPath(), path)
}

// hasNeedlessEscapes reports whether an escaped path has an escape for a slash, or for a character that needs none (RFC 3986
// section 2.3).
func hasNeedlessEscapes(path string) bool {
	_, escaped, found := strings.Cut(path, "%")
	for ; found; _, escaped, found = strings.Cut(escaped, "%") {
		code, err := strconv.ParseUint(escaped[:min(2, len(escaped))], 16, 8)
		c := byte(code)
		if err != nil || c|0x20 >= 'a' && c|0x20 <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("-._~/", c) >= 0 {
			return true
		}
	}
	return false
}

// matched returns the beginning of the request's path that the router's pattern names, without a slash at its end:
// "/acme/auth" for the pattern "/{tenant}/auth/". It is not known if the router tells no pattern, or if something
// between the router and the mount has changed the path. wild says whether a wildcard of the pattern is in it.
func matched(r *http.Request) (base string, wild, known bool) {
	start := strings.IndexByte(r.Pattern, '/') // a method and a host may stand in front
	if start < 0 || askedURL(r).Path != r.URL.Path {
		return "", false, false
	}
	pattern := r.Pattern[start+1:]
	if !strings.ContainsAny(pattern, "{*") && !strings.Contains(pattern, "//") { // nearly always
		return strings.TrimSuffix(r.Pattern[start:], "/"), false, true
	}
	rest := strings.TrimPrefix(r.URL.Path, "/")
	for segment := range strings.SplitSeq(pattern, "/") {
		if segment == "" || segment == "*" || strings.HasSuffix(segment, "...}") { // all that follows
			break
		}
		var given string
		given, rest, _ = strings.Cut(rest, "/")
		if strings.Contains(segment, "{") {
			wild = true
		} else {
			given = segment
		}
		base += "/" + given
	}
	return base, wild, true
}

// warnOfPrefix logs that the path of the first request is not below the prefix. Most likely the prefix is wrong then.
func (m *mount) warnOfPrefix(r *http.Request) {
	m.auth.logger.WarnContext(r.Context(),
		"signet: auth.Handler or CookieHandler answers 404 to a path that is not below its prefix; its documentation says how to mount it",
		"prefix", m.prefix, "pattern", r.Pattern, "path", label(r.URL.Path))
}

// sessionInPath returns the id of the session that a path below the prefix names.
func sessionInPath(name string) (id string, ok bool) {
	id, ok = strings.CutPrefix(name, "sessions/")
	return id, ok && id != "" && !strings.Contains(id, "/")
}

// anyOrigin answers CORS (https://fetch.spec.whatwg.org/#http-cors-protocol) for a handler that reads no cookies.
func anyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") != "" {
			next.ServeHTTP(w, r)
			return
		}
		setHeaders(h, [][2]string{
			{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After"}})
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Add("Vary", "Access-Control-Request-Headers")
			h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
			h.Set("Access-Control-Allow-Headers", allowedHeaders(r.Header.Values("Access-Control-Request-Headers")))
			h.Set("Access-Control-Max-Age", "7200")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// allowedHeaders allows the headers that a preflight asks for, because tracing and monitoring add their own. If the
// preflight has no valid list of header names, only the headers of the contract are allowed.
func allowedHeaders(asked []string) string {
	const needed = "Authorization, Content-Type"
	list := strings.Join(asked, ",")
	if len(list) > 1024 {
		return needed
	}
	allowed := needed
	for name := range strings.SplitSeq(list, ",") {
		name = strings.Trim(name, " \t")
		switch {
		case name == "", strings.EqualFold(name, "Authorization"), strings.EqualFold(name, "Content-Type"):
		case !isToken(name):
			return needed
		default:
			allowed += ", " + name
		}
	}
	return allowed
}

// isToken reports whether text, which is not empty, is a token (RFC 9110 section 5.6.2), as header names are.
func isToken(text string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	for i := range len(text) {
		c := text[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte(marks, c) >= 0) {
			return false
		}
	}
	return true
}
