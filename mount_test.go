package signet_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

const loginBody = `{"email":"john@mail.com","password":"changeme"}`

// post sends a request to a handler. As on a server, RequestURI has the path as it was sent.
func post(handler http.Handler, path string) int {
	req := httptest.NewRequest("POST", path, strings.NewReader(loginBody))
	req.Header.Set("Content-Type", "application/json")
	rec := httptest.NewRecorder()
	handler.ServeHTTP(rec, req)
	return rec.Code
}

// group stands for the routers that pass on the requests below a path but set no pattern, as gin and echo do.
func group(path string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, path) {
			http.Error(w, "not routed", http.StatusTeapot)
			return
		}
		handler.ServeHTTP(w, r)
	})
}

// telling stands for the routers that set the pattern, as chi does.
func telling(pattern string, handler http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Pattern = pattern
		handler.ServeHTTP(w, r)
	})
}

func muxed(pattern string, handler http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle(pattern, handler)
	return mux
}

func TestHandlerMountsAnywhereAndHasNoAlias(t *testing.T) {
	s := newService(t)
	for name, tc := range map[string]struct {
		handler http.Handler
		path    string
		others  []string // must be refused
	}{
		"alone":                  {s.Handler("/auth"), "/auth/login", []string{"/login", "/x/auth/login", "/auth/auth/login"}},
		"slashes around":         {s.Handler("/auth//"), "/auth/login", []string{"/login", "/auth//login"}},
		"at the root":            {s.Handler("/"), "/login", []string{"/auth/login", "//login"}},
		"empty":                  {s.Handler(""), "/login", []string{"/auth/login"}},
		"ServeMux":               {muxed("/api/v1/auth/", s.Handler("/api/v1/auth")), "/api/v1/auth/login", []string{"/api/v1/auth/x/login", "/login"}},
		"ServeMux, short":        {muxed("/api/v1/auth/", s.Handler("/auth")), "/api/v1/auth/login", []string{"/api/v1/auth/auth/login"}},
		"ServeMux, empty":        {muxed("/api/v1/auth/", s.Handler("")), "/api/v1/auth/login", []string{"/api/v1/auth/auth/login", "/api/v1/auth/api/v1/auth/login"}},
		"ServeMux, method":       {muxed("POST /api/v1/auth/", s.Handler("")), "/api/v1/auth/login", nil},
		"ServeMux, host":         {muxed("example.com/api/v1/auth/", s.Handler("")), "/api/v1/auth/login", nil},
		"ServeMux, rest":         {muxed("/api/v1/auth/{rest...}", s.Handler("/auth")), "/api/v1/auth/login", nil},
		"ServeMux, one route":    {muxed("POST /api/v1/auth/login", s.Handler("/api/v1/auth")), "/api/v1/auth/login", nil},
		"ServeMux, catch all":    {muxed("/", s.Handler("/api/v1/auth")), "/api/v1/auth/login", []string{"/x/api/v1/auth/login", "/login", "/auth/login"}},
		"catch all, short":       {muxed("/", s.Handler("/auth")), "/auth/login", []string{"/x/auth/login", "/login"}},
		"StripPrefix":            {muxed("/api/v1/auth/", http.StripPrefix("/api/v1/auth", s.Handler(""))), "/api/v1/auth/login", []string{"/api/v1/auth/api/v1/auth/login"}},
		"StripPrefix, half":      {muxed("/api/v1/auth/", http.StripPrefix("/api/v1", s.Handler("/auth"))), "/api/v1/auth/login", []string{"/api/v1/auth/auth/login", "/api/v1/auth/api/v1/auth/login"}},
		"chi, Route and Mount":   {telling("/api/v1/auth/*", s.Handler("/auth")), "/api/v1/auth/login", []string{"/api/v1/auth/auth/login", "/auth/login"}},
		"chi, Mount and slash":   {telling("/api/v1/auth/*", s.Handler("/")), "/api/v1/auth/login", []string{"/login"}},
		"chi, full path":         {telling("/api/v1/auth/*", s.Handler("/api/v1/auth")), "/api/v1/auth/login", nil},
		"gin, group":             {group("/api/v1/auth/", s.Handler("auth")), "/api/v1/auth/login", []string{"/api/v1/auth/auth/login", "/api/v1/auth/x/auth/login"}},
		"gin, full path":         {group("/api/v1/auth/", s.Handler("/api/v1/auth")), "/api/v1/auth/login", []string{"/api/v1/auth/x/login"}},
		"gin, two words":         {group("/api/v1/auth/", s.Handler("v1/auth")), "/api/v1/auth/login", nil},
		"a word that begins so":  {group("/myauth/", s.Handler("/myauth")), "/myauth/login", []string{"/auth/login"}},
		"a pattern that ends so": {telling("/myauth/*", s.Handler("/auth")), "/auth/login", []string{"/myauth/login"}},
		"ServeMux, wildcard":     {muxed("/{tenant}/auth/", s.Handler("/auth")), "/acme/auth/login", []string{"/acme/auth/auth/login", "/a/b/auth/login"}},
		"wildcard, empty":        {muxed("/{tenant}/auth/", s.Handler("")), "/acme/auth/login", []string{"/acme/login", "/a/b/auth/login"}},
		"wildcard in between":    {muxed("/t/{tenant}/auth/{rest...}", s.Handler("/auth")), "/t/acme/auth/login", []string{"/t/acme/x/login"}},
		"a wildcard's own word":  {muxed("/{tenant}/auth/", s.Handler("/auth")), "/auth/auth/login", []string{"/auth/login", "/auth/auth/auth/login"}},
		"wildcards only":         {muxed("/{a}/", s.Handler("/auth")), "/auth/login", []string{"/x/auth/login"}},
		"a name with signs":      {muxed("/{tenant}/auth/", s.Handler("/auth")), "/o'neill(b)!*/auth/login", []string{"/o%2fneill/auth/login", "/%61cme/auth/login"}},
		"a name with escapes":    {muxed("/{tenant}/auth/", s.Handler("/auth")), "/o%27neill%c3%a9/auth/login", nil},
		"a prefix with signs":    {muxed("/", s.Handler("/api(beta)/auth")), "/api(beta)/auth/login", []string{"/%61pi(beta)/auth/login"}},
		"chi, wildcard":          {telling("/{tenant:[a-z]+}/auth/*", s.Handler("/auth")), "/acme/auth/login", []string{"/acme/auth/auth/login"}},
	} {
		t.Run(name, func(t *testing.T) {
			require.Equal(t, 201, post(tc.handler, tc.path), tc.path)
			if name != "ServeMux, one route" {
				require.Equal(t, 201, post(tc.handler, tc.path+"/"), "with a trailing slash")
			}
			base := strings.TrimSuffix(tc.path, "login")
			for _, path := range append(tc.others, tc.path+"/x", base+"x/login", base+"%6cogin", base+"login%2f", base+"Login", base+"login;x", base) {
				require.NotEqual(t, 201, post(tc.handler, path), path)
			}
			if name != "ServeMux, one route" && name != "ServeMux, method" {
				req := httptest.NewRequest("OPTIONS", tc.path, nil)
				req.Header.Set("Access-Control-Request-Method", "POST")
				rec := httptest.NewRecorder()
				tc.handler.ServeHTTP(rec, req)
				require.Equal(t, 204, rec.Code, "preflight")
			}
		})
	}
}

func TestAMountThatServesNothingSaysSo(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix, path string
		want         int
	}{"a group's handler with a slash": {"/auth", "/api/v1/auth/login", 1}, "right": {"/auth", "/auth/login", 0}, "right, unknown operation": {"/auth", "/auth/x", 0}} {
		var log lines
		s := newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		handler := s.Handler(tc.prefix)
		for range 3 {
			post(handler, tc.path)
		}
		require.Equal(t, tc.want, log.count("not below its prefix"), name)
	}
}

func TestPreflightsAllowWhatTheyAskFor(t *testing.T) {
	s := newService(t)
	for asked, want := range map[string]string{
		"":                                   "Authorization, Content-Type",
		"authorization,content-type":         "Authorization, Content-Type",
		"x-requested-with":                   "Authorization, Content-Type, x-requested-with",
		"baggage, sentry-trace ,traceparent": "Authorization, Content-Type, baggage, sentry-trace, traceparent",
		"x y":                                "Authorization, Content-Type",
		"a\r\nSet-Cookie: x":                 "Authorization, Content-Type",
		"(":                                  "Authorization, Content-Type",
		"a," + strings.Repeat("b", 2000):     "Authorization, Content-Type",
	} {
		req := httptest.NewRequest("OPTIONS", "/auth/login", nil)
		req.Header["Access-Control-Request-Method"] = []string{"POST"}
		if asked != "" {
			req.Header["Access-Control-Request-Headers"] = []string{asked}
		}
		rec := httptest.NewRecorder()
		s.Handler("/auth").ServeHTTP(rec, req)
		require.Equal(t, 204, rec.Code)
		require.Equal(t, want, rec.Header().Get("Access-Control-Allow-Headers"), "%q", asked)
		require.Contains(t, rec.Header().Values("Vary"), "Access-Control-Request-Headers")
	}
}

// A host that restricts CORS turns signet's CORS off. Its own middleware sets nothing for an origin that it refuses.
func TestWithoutCORS(t *testing.T) {
	s := newService(t, signet.WithoutCORS())
	for _, method := range []string{"GET", "OPTIONS"} {
		got := s.do(t, method, "/auth/profile", "", "Origin", "https://evil.example", "Access-Control-Request-Method", "GET")
		for name := range got.Header {
			require.False(t, strings.HasPrefix(name, "Access-Control-"), name)
		}
	}
	require.Equal(t, 405, s.do(t, "OPTIONS", "/auth/login", "", "Access-Control-Request-Method", "POST").StatusCode)
}

func TestLogoutBodies(t *testing.T) {
	const form = "application/x-www-form-urlencoded"
	for name, tc := range map[string]struct {
		body, contentType string // %q or %s: the refresh token
		header            bool   // send the access token in the header
		want              int
	}{
		"refresh token":              {`{"refreshToken":%q}`, "application/json", false, 204},
		"by the answer's name":       {`{"refresh_token":%q}`, "application/json", false, 204},
		"a form":                     {`refreshToken=%s`, form, false, 204},
		"nothing, access token":      {``, "", true, 204},
		"empty object, access token": {`{}`, "application/json", true, 204},
		"spaces in it":               {` { } `, "application/json", true, 204},
		"null":                       {`null`, "application/json", true, 204},
		"other members":              {`{"all":true}`, "application/json", true, 204},
		"an empty form":              {`x=`, form, true, 204},
		"nothing at all":             {``, "", false, 401},
		"an empty object alone":      {`{}`, "application/json", false, 400},
		"an empty token, header":     {`{"refreshToken":""}`, "application/json", true, 204},
		"a number":                   {`{"refreshToken":1}`, "application/json", true, 400},
		"an array":                   {`[]`, "application/json", true, 204}, // an empty body in PHP
		"an empty text":              {`""`, "application/json", true, 204},
		"an array, no header":        {`[]`, "application/json", false, 400},
		"no JSON":                    {`[`, "application/json", true, 400},
		"a null token":               {`{"refreshToken":null}`, "application/json", true, 204},
		"text":                       {`x`, "text/plain", true, 204},
		"text without a header":      {`x`, "text/plain", false, 415},
		"garbage in the body":        {`{"refreshToken":"x"}`, "application/json", true, 401},
	} {
		t.Run(name, func(t *testing.T) {
			s := newService(t)
			tokens := s.login(t)
			body := tc.body
			if strings.Contains(body, "%") {
				body = fmt.Sprintf(body, tokens.RefreshToken)
			}
			var headers []string
			if tc.header {
				headers = bearer(tokens.AccessToken)
			}
			got := s.send(t, "POST", "/auth/logout", body, tc.contentType, headers...)
			require.Equal(t, tc.want, got.StatusCode, got.body)
			require.Equal(t, tc.want == 204, s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken)...).StatusCode == 401)
		})
	}
}

// A prefix has one spelling.
func TestAPrefixHasOneSpelling(t *testing.T) {
	s := newService(t)
	for prefix, paths := range map[string]map[string]int{
		"/v1:auth":   {"/v1:auth/login": 201, "/v1%3Aauth/login": 404},
		"/a@b,c/x":   {"/a@b,c/x/login": 201, "/a%40b,c/x/login": 404, "/a@b%2Cc/x/login": 404},
		"/a b":       {"/a%20b/login": 201},
		"/api(beta)": {"/api(beta)/login": 201},
		"/o'brien":   {"/o'brien/login": 201, "/%6f'brien/login": 404},
	} {
		handler := s.Handler(prefix)
		for path, want := range paths {
			require.Equal(t, want, post(handler, path), path)
			if !strings.Contains(prefix, " ") {
				require.Equal(t, want, post(muxed(prefix+"/", handler), path), "behind a mux: %s", path)
			}
		}
	}
}

// Two wildcards fit "/auth/login/" too. It must not be a second path of the login.
func TestAWildcardMakesNoAlias(t *testing.T) {
	handler := muxed("/{a}/{b}/", newService(t).Handler("/auth"))
	require.Equal(t, 201, post(handler, "/x/auth/login"))
	require.Equal(t, 404, post(handler, "/auth/login/"))
}

// A pattern may name the operation by a wildcard: it is of the whole path.
func TestAWildcardForTheOperation(t *testing.T) {
	auth := newService(t, signet.WithCookies(signet.Cookies{}))
	for _, pattern := range []string{"POST /api/v1/auth/{op}", "/api/v1/auth/{op}", "/{a}/{b}/{c}/{d}", "/api/{v}/auth/login", "/api/v1/auth/{op...}"} {
		require.Equal(t, 201, post(muxed(pattern, auth.Handler("/api/v1/auth")), "/api/v1/auth/login"), pattern)
	}
}

// Tests of hosts and some adapters make requests without a body. No server does.
func TestARequestWithoutABody(t *testing.T) {
	handler := newService(t).Handler("/auth")
	for path, want := range map[string]int{"/auth/login": 400, "/auth/refresh-token": 400, "/auth/logout": 401} {
		req, err := http.NewRequest("POST", path, nil)
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		require.Equal(t, want, rec.Code, path)
	}
}

func TestCompressedBodies(t *testing.T) {
	s := newService(t)
	for encoding, want := range map[string]string{"gzip": "Content-Encoding", "br": "Content-Encoding", "identity": "", "Identity": ""} {
		got := s.do(t, "POST", "/auth/login", loginBody, "Content-Encoding", encoding)
		if want == "" {
			require.Equal(t, 201, got.StatusCode)
			continue
		}
		require.Equal(t, 415, got.StatusCode)
		require.Contains(t, got.json["message"], want)
	}
}

// stalling is a log handler that waits at the lines with a text.
type stalling struct {
	slog.Handler
	text           string
	waits, release chan struct{}
}

func stallAt(text string) *stalling {
	return &stalling{Handler: slog.DiscardHandler, text: text, waits: make(chan struct{}), release: make(chan struct{})}
}

func (stalling) Enabled(context.Context, slog.Level) bool { return true }

func (s *stalling) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, s.text) {
		s.waits <- struct{}{}
		<-s.release
	}
	return nil
}

// A logger that waits holds up the request that it logs, and no other one.
func TestALoggerThatWaitsHoldsUpOneRequestOnly(t *testing.T) {
	for text, routes := range map[string]func(*signet.Auth, signet.Tokens) (first, second func() int){
		"not below its prefix": func(auth *signet.Auth, _ signet.Tokens) (first, second func() int) {
			h := auth.Handler("/auth")
			return func() int { return post(h, "/favicon.ico") }, func() int { return post(h, "/auth/login") }
		},
		"RequireRecentAuth refuses": func(auth *signet.Auth, tokens signet.Tokens) (first, second func() int) {
			h := auth.RequireRecentAuth(time.Minute)(http.NotFoundHandler())
			ask := func() int { return serve(t, h, tokens.AccessToken).Code }
			return ask, ask
		},
	} {
		t.Run(text, func(t *testing.T) {
			log := stallAt(text)
			auth := newAuth(t, newUsers(t), signet.WithLogger(slog.New(log)))
			tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
			require.NoError(t, err)
			first, second := routes(auth, tokens)
			firstDone, secondDone := make(chan int), make(chan int)
			go func() { firstDone <- first() }()
			<-log.waits
			go func() { secondDone <- second() }()
			select {
			case <-secondDone:
			case <-time.After(10 * time.Second):
				t.Error("the second request waits for the line of the first one")
			}
			close(log.release)
			<-firstDone
			if t.Failed() {
				<-secondDone
			}
		})
	}
}
