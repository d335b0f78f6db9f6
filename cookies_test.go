package signet_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// browser is a client with a jar of cookies, on a service with a cookie mount at /web/auth.
type browser struct {
	*signet.Auth
	client *http.Client
	server *httptest.Server
	clock  *clock
}

func newBrowser(t *testing.T, opts ...signet.Option) *browser {
	t.Helper()
	b := &browser{clock: newClock()}
	auth := newAuth(t, newUsers(t), append([]signet.Option{signet.WithClock(b.clock.Now), signet.WithCookies(signet.Cookies{
		TrustedOrigins: []string{"https://app.example.com"}}), signet.WithReuseWindow(time.Second)}, opts...)...)
	b.Auth = auth
	mux := http.NewServeMux()
	mux.Handle("/web/auth/", auth.CookieHandler("/web/auth"))
	mux.Handle("/auth/", auth.Handler("/auth"))
	show := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "subject="+signet.Subject(r.Context()))
	})
	mux.Handle("/orders", auth.RequireAuth(show))
	mux.Handle("/optional", auth.OptionalAuth(show))
	mux.Handle("/socket", auth.RequireTicket(show))
	b.server = httptest.NewTLSServer(mux)
	t.Cleanup(b.server.Close)
	b.client = b.server.Client()
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	b.client.Jar = jar
	return b
}

func (b *browser) do(t *testing.T, method, path, body string, headers ...string) answer {
	t.Helper()
	r, err := http.NewRequest(method, b.server.URL+path, strings.NewReader(body))
	require.NoError(t, err)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Del(headers[i])
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	res, err := b.client.Do(r)
	require.NoError(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	got := answer{Response: res, body: string(text)}
	_ = json.Unmarshal(text, &got.json) // some answers are no JSON
	return got
}

// A router may cut the beginning of the path off, and the host may put back what a proxy has cut off. The prefix is the path that
// the browser sees.
func TestACookieMountBehindCutPaths(t *testing.T) {
	b := newBrowser(t)
	mounted := b.CookieHandler("/app/web/auth")
	putBack := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = "/app" + r.URL.Path
		mounted.ServeHTTP(w, r)
	})
	for name, tc := range map[string]struct {
		handler http.Handler
		path    string
		want    int
	}{
		"StripPrefix":                   {http.StripPrefix("/app", muxed("/web/auth/", mounted)), "/app/web/auth/login", 201},
		"put back":                      {putBack, "/web/auth/login", 201},
		"cut off":                       {mounted, "/web/auth/login", 404},
		"another path that ends so":     {http.StripPrefix("/x", mounted), "/x/app/web/auth/login", 404},
		"an escape, behind StripPrefix": {http.StripPrefix("/app", mounted), "/app/web/auth/%6cogin", 404},
	} {
		require.Equal(t, tc.want, post(tc.handler, tc.path), name)
	}
}

// Two services on one host have cookies of their own.
func TestTwoServicesOnOneHost(t *testing.T) {
	jar, err := cookiejar.New(nil)
	require.NoError(t, err)
	mux := http.NewServeMux()
	for _, name := range []string{"shop", "blog"} {
		auth, err := signet.New(newUsers(t), keys.Secret([]byte(name+string(secret))), signet.WithPasswordHasher(cheap),
			signet.WithCookies(signet.Cookies{Service: name}))
		require.NoError(t, err)
		defer auth.Close()
		mux.Handle("/"+name+"/auth/", auth.CookieHandler("/"+name+"/auth"))
	}
	server := httptest.NewTLSServer(mux)
	defer server.Close()
	b := &browser{client: server.Client(), server: server}
	b.client.Jar = jar
	for _, path := range []string{"/shop/auth", "/blog/auth"} {
		got := b.do(t, "POST", path+"/login", johnsLogin)
		require.Equal(t, 201, got.StatusCode, got.body)
		require.Equal(t, "__Host-"+path[1:5]+"-access_token", got.Cookies()[0].Name)
		require.Equal(t, "__Secure-"+path[1:5]+"-refresh_token", got.Cookies()[1].Name)
	}
	for range 2 {
		for _, path := range []string{"/shop/auth", "/blog/auth"} {
			require.Equal(t, 200, b.do(t, "GET", path+"/profile", "").StatusCode)
			require.Equal(t, 201, b.do(t, "POST", path+"/refresh-token", "").StatusCode)
		}
	}
	_, err = signet.New(newUsers(t), keys.Secret(secret), signet.WithCookies(signet.Cookies{Service: "a b"}))
	require.ErrorContains(t, err, "Service")
}

// The answer depends on the cookie, and caches must know that.
func TestCachesLearnThatAnswersVary(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
	for _, path := range []string{"/orders", "/optional"} {
		require.Equal(t, "Authorization, Cookie", b.do(t, "GET", path, "").Header.Get("Vary"), path)
	}
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
	two := b.do(t, "GET", "/optional", "", "Cookie", "__Host-access_token=x; __Host-access_token=y")
	require.Equal(t, 200, two.StatusCode, "a browser sends cookies without being asked")
	s := newService(t)
	public := s.OptionalAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	require.Equal(t, "Authorization", serve(t, public, "").Header().Get("Vary"))
}

func TestABrowserKeepsItsTokensInCookies(t *testing.T) {
	b := newBrowser(t)
	got := b.do(t, "POST", "/web/auth/login", johnsLogin)
	require.Equal(t, 201, got.StatusCode, got.body)
	require.JSONEq(t, `{"token_type":"Cookie","expires_in":1728000,"refresh_expires_in":36000,"sub":"1"}`, got.body)
	require.Empty(t, got.Header.Get("Access-Control-Allow-Origin"))
	cookies := got.Cookies()
	require.Len(t, cookies, 2)
	for i, want := range []struct{ name, path string }{{"__Host-access_token", "/"}, {"__Secure-refresh_token", "/web/auth"}} {
		c := cookies[i]
		require.Equal(t, want.name, c.Name)
		require.Equal(t, want.path, c.Path)
		require.True(t, c.Secure && c.HttpOnly && c.SameSite == http.SameSiteLaxMode && c.Domain == "")
		require.Equal(t, 20*24*3600, c.MaxAge)
	}
	require.Equal(t, "subject=1", b.do(t, "GET", "/orders", "").body)
	require.Equal(t, 200, b.do(t, "GET", "/web/auth/profile", "").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/orders", "", "Authorization", "Bearer garbage").StatusCode, "the header alone counts")
	for _, path := range []string{"/orders", "/web/auth/profile", "/optional"} {
		require.Equal(t, 401, b.do(t, "GET", path, "", "Authorization", "bearer garbage").StatusCode, path)
		require.Equal(t, 200, b.do(t, "GET", path, "", "Authorization", "Basic c3RhZ2luZzpwYXNz").StatusCode, "the password for a proxy")
	}
	for _, header := range []string{"Bearer", "Bearer\tgarbage", "Bearer,", "Basic c3RhZ2luZzpwYXNz, Bearer garbage"} {
		require.Equal(t, 401, b.do(t, "GET", "/orders", "", "Authorization", header).StatusCode, header)
	}
	require.Equal(t, 400, b.do(t, "GET", "/orders", "", "Authorization", "Basic x", "Authorization", "Basic y").StatusCode, "which one?")

	for _, body := range []string{"", "{}"} {
		got = b.do(t, "POST", "/web/auth/refresh-token", body)
		require.Equal(t, 201, got.StatusCode, got.body)
		require.Len(t, got.Cookies(), 2)
	}
	require.Equal(t, 415, b.do(t, "POST", "/web/auth/login", "email=john@mail.com&password=changeme",
		"Content-Type", "application/x-www-form-urlencoded").StatusCode)
	require.Equal(t, 415, b.do(t, "POST", "/web/auth/refresh-token", "a=b", "Content-Type", "application/x-www-form-urlencoded").StatusCode)
	require.Equal(t, 415, b.do(t, "POST", "/web/auth/logout", "a=b", "Content-Type", "text/plain").StatusCode)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/refresh-token", "", "Content-Type", "text/plain;charset=UTF-8").StatusCode, "as browsers send it")

	got = b.do(t, "POST", "/web/auth/logout", "")
	require.Equal(t, 204, got.StatusCode)
	for _, c := range got.Cookies() {
		require.Negative(t, c.MaxAge)
	}
	require.Equal(t, 401, b.do(t, "GET", "/orders", "").StatusCode)
	require.Equal(t, 401, b.do(t, "POST", "/web/auth/refresh-token", "{}").StatusCode)
	require.Equal(t, 401, b.do(t, "POST", "/web/auth/logout", "{}").StatusCode)
	require.Equal(t, 201, b.do(t, "POST", "/auth/login", johnsLogin).StatusCode, "the other mount is for bearer clients")
}

func TestOtherSitesCannotUseTheCookies(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
	for _, path := range []string{"/orders", "/web/auth/logout", "/web/auth/refresh-token", "/web/auth/login"} {
		for _, headers := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"},
			{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}} {
			got := b.do(t, "POST", path, "{}", headers...)
			require.Equal(t, 403, got.StatusCode, "%s %v", path, headers)
			require.Equal(t, "cross_site_request", got.json["code"])
		}
	}
	require.Equal(t, 200, b.do(t, "POST", "/orders", "{}", "Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com").StatusCode)
	require.Equal(t, 200, b.do(t, "GET", "/orders", "", "Sec-Fetch-Site", "cross-site").StatusCode, "a link from another site")
	upgrade := []string{"Upgrade", "WebSocket", "Connection", "Upgrade"}
	require.Equal(t, 403, b.do(t, "GET", "/orders", "", append(upgrade, "Sec-Fetch-Site", "", "Origin", "https://evil.example")...).StatusCode)
	require.Equal(t, 403, b.do(t, "GET", "/socket", "", append(upgrade, "Sec-Fetch-Site", "cross-site")...).StatusCode)
	require.Equal(t, 200, b.do(t, "GET", "/orders", "", append(upgrade, "Sec-Fetch-Site", "", "Origin", b.server.URL)...).StatusCode)
	require.Equal(t, 200, b.do(t, "GET", "/orders", "", "Sec-Fetch-Site", "same-origin").StatusCode, "the session has survived all that")
	tokens, err := b.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	require.Equal(t, 200, b.do(t, "POST", "/orders", "{}", "Sec-Fetch-Site", "cross-site", "Authorization", "Bearer "+tokens.AccessToken).StatusCode,
		"a header is no cookie")
}

// A program under development refuses other sites with the same answer, though it takes no cookie then.
func TestOtherSitesOfAProgramUnderDevelopment(t *testing.T) {
	b := newBrowser(t)
	tokens, err := b.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	guarded := b.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, host := range []string{"127.0.0.1:8080", "localhost", "foo.localhost"} {
		for header, want := range map[[2]string]int{{"Origin", "https://evil.example"}: 403, {"Sec-Fetch-Site", "cross-site"}: 403,
			{"Origin", "http://" + host}: 200, {"Sec-Fetch-Site", "same-origin"}: 200} {
			r := httptest.NewRequest("POST", "http://"+host+"/orders", nil)
			r.AddCookie(&http.Cookie{Name: "access_token", Value: tokens.AccessToken})
			r.Header.Set(header[0], header[1])
			w := httptest.NewRecorder()
			guarded.ServeHTTP(w, r)
			require.Equal(t, want, w.Code, "%s %v", host, header)
		}
	}
}

// Over http, a host that is not this machine cannot keep anybody signed in. The log says so, once.
func TestALoginWithCookiesOverHTTP(t *testing.T) {
	var log lines
	b := newBrowser(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	login := func(host, origin string) {
		r := httptest.NewRequest("POST", "http://"+host+"/web/auth/login", strings.NewReader(johnsLogin))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", origin)
		w := httptest.NewRecorder()
		b.CookieHandler("/web/auth").ServeHTTP(w, r)
		require.Equal(t, 201, w.Code)
	}
	login("localhost:8080", "http://localhost:8080")
	login("shop.example", "https://shop.example") // behind a proxy with TLS
	require.NotContains(t, log.String(), "nobody stays signed in")
	for range 3 {
		login("192.168.1.5:8080", "http://192.168.1.5:8080")
	}
	require.Equal(t, 1, strings.Count(log.String(), "nobody stays signed in"))
}

// JSON without members is no body.
func TestBodiesWithoutMembersInACookieMount(t *testing.T) {
	b := newBrowser(t)
	for _, body := range []string{"", "{}", "null", "[]", " [] "} {
		require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
		require.Equal(t, 201, b.do(t, "POST", "/web/auth/refresh-token", body).StatusCode, body)
		require.Equal(t, 204, b.do(t, "POST", "/web/auth/logout", body).StatusCode, body)
	}
	require.Equal(t, 400, b.do(t, "POST", "/web/auth/login", "[]").StatusCode)
	require.Equal(t, 415, b.do(t, "POST", "/web/auth/logout", "[]", "Content-Type", "text/plain").StatusCode)
}

// A bad cookie is no statement of the client, so public pages go on.
func TestABadCookieOnAPublicPage(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
	require.Equal(t, "subject=1", b.do(t, "GET", "/optional", "").body)
	require.NoError(t, b.RevokeUser(t.Context(), "1"))
	require.Equal(t, "subject=", b.do(t, "GET", "/optional", "").body)
	require.Equal(t, 401, b.do(t, "GET", "/optional", "", "Authorization", "Bearer garbage").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/orders", "").StatusCode)
	got := b.do(t, "POST", "/web/auth/refresh-token", "{}")
	require.Equal(t, 401, got.StatusCode)
	require.Empty(t, got.Cookies(), "a late refusal must not destroy newer cookies")
}

func TestTwoCookiesOfOneName(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 400, b.do(t, "GET", "/orders", "", "Cookie", "__Host-access_token=a; __Host-access_token=b").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/orders", "", "Cookie", "__Host-access_token=").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/orders", "", "Cookie", "access_token=a").StatusCode)
}

// Another host of the same site can plant a cookie. A logout ends the session that is the user's all the same.
func TestALogoutWithAPlantedCookie(t *testing.T) {
	for name, cookies := range map[string]string{
		"beside the own one":      "__Secure-refresh_token=THEIRS; __Secure-refresh_token=REFRESH; __Host-access_token=ACCESS",
		"in place of the own one": "__Secure-refresh_token=THEIRS; __Host-access_token=ACCESS",
		"that is no token":        "__Secure-refresh_token=x; __Secure-refresh_token=; __Host-access_token=ACCESS",
		"and no access token":     "__Secure-refresh_token=x; __Secure-refresh_token=REFRESH",
		"and many more":           strings.Repeat("__Secure-refresh_token=THEIRS; ", 12) + "__Secure-refresh_token=REFRESH; __Host-access_token=ACCESS",
	} {
		b := newBrowser(t)
		mine, err := b.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		theirs, err := b.Login(t.Context(), "admin@mail.com", "admin123")
		require.NoError(t, err)
		cookies = strings.NewReplacer("THEIRS", theirs.RefreshToken, "REFRESH", mine.RefreshToken, "ACCESS", mine.AccessToken).Replace(cookies)
		got := b.do(t, "POST", "/web/auth/logout", "", "Cookie", cookies)
		require.Equal(t, 204, got.StatusCode, name)
		require.Len(t, got.Cookies(), 2, name)
		_, err = b.Refresh(t.Context(), mine.RefreshToken)
		require.ErrorIs(t, err, signet.ErrRevoked, name)
	}
	b := newBrowser(t)
	require.Equal(t, 401, b.do(t, "POST", "/web/auth/logout", "", "Cookie", "__Secure-refresh_token=x; __Host-access_token=y").StatusCode)
	require.Equal(t, 401, b.do(t, "POST", "/web/auth/logout", "", "Cookie", "__Secure-refresh_token=").StatusCode)
}

// Nor does a planted cookie sign the browser in as somebody else, or keep the user from refreshing.
func TestARefreshWithAPlantedCookie(t *testing.T) {
	for name, tc := range map[string]struct {
		cookies string
		want    int
	}{
		"beside the own one":       {"__Secure-refresh_token=THEIRS; __Secure-refresh_token=REFRESH; __Host-access_token=ACCESS", 201},
		"behind the own one":       {"__Secure-refresh_token=REFRESH; __Secure-refresh_token=THEIRS; __Host-access_token=ACCESS", 201},
		"that is no token":         {"__Secure-refresh_token=x; __Secure-refresh_token=; __Secure-refresh_token=REFRESH; __Host-access_token=ACCESS", 201},
		"of another path":          {"__Secure-refresh_token=REFRESH; __Secure-refresh_token=OLD; __Host-access_token=ACCESS", 201},
		"in place of the own one":  {"__Secure-refresh_token=THEIRS; __Host-access_token=ACCESS", 401},
		"of another session":       {"__Secure-refresh_token=OTHER; __Host-access_token=ACCESS", 401},
		"beside another session":   {"__Secure-refresh_token=OTHER; __Secure-refresh_token=REFRESH; __Host-access_token=ACCESS", 201},
		"for nobody":               {"__Secure-refresh_token=THEIRS", 401},
		"for a token that is none": {"__Secure-refresh_token=x; __Host-access_token=y", 401},
	} {
		b := newBrowser(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Minute, Refresh: time.Hour}))
		old, err := b.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		mine, err := b.Refresh(t.Context(), old.RefreshToken)
		require.NoError(t, err)
		theirs, err := b.Login(t.Context(), "admin@mail.com", "admin123")
		require.NoError(t, err)
		other, err := b.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		for range 3 { // so its generation is above that of the own one
			other, err = b.Refresh(t.Context(), other.RefreshToken)
			require.NoError(t, err)
		}
		b.clock.advance(time.Hour / 2) // the access token has expired, and still tells whose it is
		cookies := strings.NewReplacer("OTHER", other.RefreshToken, "THEIRS", theirs.RefreshToken, "REFRESH", mine.RefreshToken, "OLD", old.RefreshToken,
			"ACCESS", mine.AccessToken).Replace(tc.cookies)
		got := b.do(t, "POST", "/web/auth/refresh-token", "{}", "Cookie", cookies)
		require.Equal(t, tc.want, got.StatusCode, name)
		if tc.want == 201 {
			require.Equal(t, "1", part(t, got.Cookies()[0].Value, 1)["sub"], name)
			require.Equal(t, part(t, mine.AccessToken, 1)["sid"], part(t, got.Cookies()[0].Value, 1)["sid"], name)
		}
		_, err = b.Refresh(t.Context(), theirs.RefreshToken)
		require.NoError(t, err, "%s: the other session goes on", name)
	}
}

// On a loopback host without TLS the cookies have other names, and production does not read these.
func TestCookiesForDevelopment(t *testing.T) {
	b := newBrowser(t)
	request := func(host string) *http.Response {
		r := httptest.NewRequest("POST", "http://"+host+"/web/auth/login", strings.NewReader(johnsLogin))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		b.CookieHandler("/web/auth").ServeHTTP(w, r)
		require.Equal(t, 201, w.Code)
		return w.Result()
	}
	for _, host := range []string{"localhost:8080", "127.0.0.1", "[::1]:80", "app.localhost"} {
		for _, c := range request(host).Cookies() {
			require.False(t, c.Secure, host)
			require.False(t, strings.HasPrefix(c.Name, "__"), host)
		}
	}
	r := httptest.NewRequest("POST", "http://localhost:8080/web/auth/login", strings.NewReader(johnsLogin))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", "https://shop.example") // the page behind a proxy that does not pass the Host on
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	w := httptest.NewRecorder()
	b.CookieHandler("/web/auth").ServeHTTP(w, r)
	require.Equal(t, 201, w.Code)
	read := httptest.NewRequest("GET", "http://localhost:8080/web/auth/profile", nil)
	for _, c := range w.Result().Cookies() {
		require.True(t, c.Secure && strings.HasPrefix(c.Name, "__"), c.Name)
		read.AddCookie(c)
	}
	w = httptest.NewRecorder()
	b.CookieHandler("/web/auth").ServeHTTP(w, read)
	require.Equal(t, 200, w.Code, "and they are read there too")
	planted, err := b.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	refresh := httptest.NewRequest("POST", "http://localhost:8080/web/auth/refresh-token", nil)
	refresh.Header = http.Header{"Origin": r.Header["Origin"], "Sec-Fetch-Site": r.Header["Sec-Fetch-Site"], "Cookie": {"refresh_token=" + planted.RefreshToken}}
	w = httptest.NewRecorder()
	b.CookieHandler("/web/auth").ServeHTTP(w, refresh)
	require.Equal(t, 401, w.Code, "and no others: anybody on the way could have set them")
	for _, proxy := range []string{"X-Forwarded-For", "X-Forwarded-Proto", "Forwarded"} {
		r := httptest.NewRequest("GET", "http://127.0.0.1:8080/web/auth/profile", nil)
		r.Header = http.Header{"Cookie": {"access_token=" + planted.AccessToken}}
		w := httptest.NewRecorder()
		b.CookieHandler("/web/auth").ServeHTTP(w, r)
		require.Equal(t, 200, w.Code)
		r.Header.Set(proxy, "x")
		w = httptest.NewRecorder()
		b.CookieHandler("/web/auth").ServeHTTP(w, r)
		require.Equal(t, 401, w.Code, proxy)
	}
	for _, host := range []string{"example.com", "localhost.example.com", "10.0.0.1:8080", "notlocalhost"} {
		for _, c := range request(host).Cookies() {
			require.True(t, c.Secure, host)
			require.True(t, strings.HasPrefix(c.Name, "__"), host)
		}
	}
}

func TestATokenThatNoCookieHolds(t *testing.T) {
	b := newBrowser(t, signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
		return map[string]any{"x": strings.Repeat("x", 3000)}, nil
	}))
	require.Equal(t, 500, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
	list, err := b.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Empty(t, list, "no session was begun")
	require.Equal(t, 201, b.do(t, "POST", "/auth/login", johnsLogin).StatusCode, "a header holds it")
}

// A host that has authenticated the user by itself, such as in the callback of a social login, gives the browser the same cookies
// as the mount does.
func TestSetCookies(t *testing.T) {
	b := newBrowser(t)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /callback", func(w http.ResponseWriter, r *http.Request) {
		tokens, err := b.IssueFor(b.ContextWithClient(r), userstore.User{ID: "1"})
		if err == nil {
			err = b.SetCookies(w, r, "/web/auth/", tokens)
		}
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		http.Redirect(w, r, "/orders", http.StatusSeeOther)
	})
	mux.Handle("/", b.server.Config.Handler)
	b.server.Config.Handler = mux
	got := b.do(t, "GET", "/callback", "", "Sec-Fetch-Site", "cross-site")
	require.Equal(t, "subject=1", got.body)
	require.Equal(t, "no-store", got.Request.Response.Header.Get("Cache-Control"))
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/refresh-token", "").StatusCode)
	require.Equal(t, 204, b.do(t, "POST", "/web/auth/logout", "").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/orders", "").StatusCode)
}

// A page without a script signs out by a form of the host, below any path.
func TestLogoutCookies(t *testing.T) {
	b := newBrowser(t, signet.WithLifetimes(signet.Lifetimes{Access: time.Minute}))
	mux := http.NewServeMux()
	mux.HandleFunc("POST /sign-out", func(w http.ResponseWriter, r *http.Request) {
		if err := b.LogoutCookies(w, r, "/web/auth"); err != nil {
			signet.WriteError(w, err)
			return
		}
		http.Redirect(w, r, "/goodbye", http.StatusSeeOther)
	})
	mux.HandleFunc("GET /goodbye", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "bye") })
	mux.Handle("/", b.server.Config.Handler)
	b.server.Config.Handler = mux
	require.Equal(t, "bye", b.do(t, "POST", "/sign-out", "", "Sec-Fetch-Site", "same-origin").body, "nobody was signed in")
	for _, status := range []int{200, 200, 401} {
		require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode)
		if status == 401 { // the access token has expired
			b.clock.advance(time.Hour)
		}
		require.Equal(t, 403, b.do(t, "POST", "/sign-out", "", "Sec-Fetch-Site", "cross-site").StatusCode)
		require.Equal(t, status, b.do(t, "GET", "/orders", "").StatusCode)
		list, err := b.Sessions(t.Context(), "1")
		require.NoError(t, err)
		require.Len(t, list, 1)
		require.Equal(t, "bye", b.do(t, "POST", "/sign-out", "", "Sec-Fetch-Site", "same-origin").body)
		at, err := url.Parse(b.server.URL + "/web/auth/")
		require.NoError(t, err)
		require.Empty(t, b.client.Jar.Cookies(at))
		list, err = b.Sessions(t.Context(), "1")
		require.NoError(t, err)
		require.Empty(t, list)
	}
	store := &switchedStore{}
	auth := newAuth(t, newUsers(t), signet.WithCookies(signet.Cookies{}), signet.WithSessionStore(store))
	signOut := func(cookies string) (*httptest.ResponseRecorder, error) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("POST", "https://shop.example/sign-out", nil)
		r.Header.Set("Cookie", cookies)
		return w, auth.LogoutCookies(w, r, "/web/auth")
	}
	link := httptest.NewRequest("GET", "https://shop.example/sign-out", nil)
	link.Header.Set("Sec-Fetch-Site", "cross-site")
	err := auth.LogoutCookies(httptest.NewRecorder(), link, "/web/auth")
	refused, ok := errors.AsType[*signet.Error](err)
	require.True(t, ok, "a link of another site: %v", err)
	require.Equal(t, 403, refused.Status())
	link.Header.Set("Sec-Fetch-Site", "none") // typed in
	require.NoError(t, auth.LogoutCookies(httptest.NewRecorder(), link, "/web/auth"))
	w, err := signOut("__Host-access_token=garbage; __Secure-refresh_token=garbage")
	require.NoError(t, err, "tokens that cannot be read")
	require.Len(t, w.Result().Cookies(), 2)
	require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	store.down.Store(true)
	w, err = signOut("__Host-access_token=" + tokens.AccessToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	require.Empty(t, w.Result().Cookies(), "the session goes on, and so the cookies stay")
	store.down.Store(false)
	w = httptest.NewRecorder()
	require.ErrorContains(t, newService(t).LogoutCookies(w, httptest.NewRequest("POST", "https://shop.example/sign-out", nil), "/web/auth"),
		"WithCookies is not set")
}

// The cookies of a login take the place of older ones, so nobody could end the session of those in this browser.
func TestALoginEndsTheOlderSessionOfTheBrowser(t *testing.T) {
	store := &switchedStore{}
	log := &lines{}
	b := newBrowser(t, signet.WithSessionStore(store), signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	at, err := url.Parse(b.server.URL + "/web/auth/")
	require.NoError(t, err)
	access := func() string {
		cookies := b.client.Jar.Cookies(at)
		i := slices.IndexFunc(cookies, func(c *http.Cookie) bool { return c.Name == "__Host-access_token" })
		require.GreaterOrEqual(t, i, 0)
		return cookies[i].Value
	}
	ended := func(token string) bool {
		_, err := b.Verify(t.Context(), token)
		return errors.Is(err, signet.ErrRevoked)
	}
	john := func() { require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", johnsLogin).StatusCode) }
	john()
	first := access()
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/refresh-token", "{}").StatusCode)
	require.Equal(t, 201, b.do(t, "POST", "/auth/login", johnsLogin).StatusCode, "for another client")
	require.Equal(t, 401, b.do(t, "POST", "/web/auth/login", `{"email":"john@mail.com","password":"wrong"}`).StatusCode)
	require.False(t, ended(first))
	second := access()
	john()
	require.True(t, ended(second))
	third := access()
	b.clock.advance(30 * 24 * time.Hour)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", adminsLogin).StatusCode)
	require.NoError(t, b.RevokeUser(t.Context(), "1"))
	require.Equal(t, 200, b.do(t, "GET", "/orders", "").StatusCode)

	set := func(cookie string, tokens signet.Tokens) {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "https://shop.example/callback", nil)
		r.Header.Set("Cookie", "__Host-access_token="+cookie)
		require.NoError(t, b.SetCookies(w, r, "/web/auth", tokens))
		require.Len(t, w.Result().Cookies(), 2)
	}
	fourth := access()
	tokens, err := b.IssueFor(t.Context(), userstore.User{ID: "1"})
	require.NoError(t, err)
	set("garbage", tokens)
	set(tokens.AccessToken, tokens)
	require.False(t, ended(tokens.AccessToken))
	set(third, tokens)
	require.False(t, ended(fourth))
	set(fourth, tokens)
	require.True(t, ended(fourth))
	other, err := b.IssueFor(t.Context(), userstore.User{ID: "3"})
	require.NoError(t, err)
	store.down.Store(true)
	set(tokens.AccessToken, other)
	store.down.Store(false)
	require.False(t, ended(tokens.AccessToken))
	require.Equal(t, 1, strings.Count(log.String(), "the session that a browser had before goes on"))
}

// A browser whose cookie of the refresh token has another path than the mount can log in, and cannot refresh.
func TestACookieThatTheBrowserDoesNotSend(t *testing.T) {
	log := &lines{}
	b := newBrowser(t, signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	refresh := func(cookies string) int {
		return b.do(t, "POST", "/web/auth/refresh-token", "{}", "Cookie", cookies).StatusCode
	}
	tokens, err := b.IssueFor(t.Context(), userstore.User{ID: "1"})
	require.NoError(t, err)
	require.Equal(t, 401, refresh(""))
	require.Equal(t, 401, refresh("__Secure-refresh_token="+tokens.RefreshToken))
	require.Equal(t, 401, refresh("__Host-access_token="+tokens.AccessToken+"; __Secure-refresh_token=garbage"))
	require.Equal(t, 401, refresh("__Host-access_token=garbage"), "anybody can send that")
	require.NotContains(t, log.String(), "the prefix of CookieHandler")
	for range 2 {
		require.Equal(t, 401, refresh("__Host-access_token="+tokens.AccessToken))
	}
	require.Equal(t, 1, strings.Count(log.String(), "the prefix of CookieHandler"))
}

func TestSetCookiesThatCannotWork(t *testing.T) {
	s, b := newService(t), newBrowser(t)
	tokens, err := b.IssueFor(t.Context(), userstore.User{ID: "1"})
	require.NoError(t, err)
	long := tokens
	long.AccessToken = strings.Repeat("x", 3801)
	for want, set := range map[string]func(http.ResponseWriter, *http.Request) error{
		"WithCookies is not set": func(w http.ResponseWriter, r *http.Request) error { return s.SetCookies(w, r, "/web/auth", tokens) },
		"is not a path":          func(w http.ResponseWriter, r *http.Request) error { return b.SetCookies(w, r, "/{tenant}", tokens) },
		"there are no tokens": func(w http.ResponseWriter, r *http.Request) error {
			return b.SetCookies(w, r, "/web/auth", signet.Tokens{AccessToken: tokens.AccessToken})
		},
		"more than 3800 bytes": func(w http.ResponseWriter, r *http.Request) error { return b.SetCookies(w, r, "/web/auth", long) },
	} {
		w := httptest.NewRecorder()
		require.ErrorContains(t, set(w, httptest.NewRequest("GET", "https://shop.example/callback", nil)), want)
		require.Empty(t, w.Header())
	}
}

func TestCookieMountsThatCannotWork(t *testing.T) {
	s := newService(t)
	require.PanicsWithValue(t, "signet.CookieHandler: WithCookies is not set", func() { s.CookieHandler("/web/auth") })
	b := newBrowser(t)
	for _, prefix := range []string{"", "auth", "/a b", "/{tenant}", "/a;b"} {
		require.Panics(t, func() { b.CookieHandler(prefix) }, prefix)
	}
	// The browser would not send the cookie for /auth to /web/auth.
	for name, mount := range map[string]http.Handler{
		"a pattern with more in front": muxed("/web/auth/", b.CookieHandler("/auth")),
		"StripPrefix":                  muxed("/web/auth/", http.StripPrefix("/web", b.CookieHandler("/auth"))),
	} {
		require.Equal(t, 404, post(mount, "/web/auth/login"), name)
	}
	require.Equal(t, 201, post(muxed("/web/auth/", b.CookieHandler("/web/auth/")), "/web/auth/login"))
	_, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithCookies(signet.Cookies{TrustedOrigins: []string{"app.example.com"}}))
	require.ErrorContains(t, err, "signet.WithCookies")
	for origin, good := range map[string]bool{"https://app.example.com": true, "http://localhost:5173": true, "https://xn--bcher-kva.example:8443": true,
		"http://[::1]:80": false, "chrome-extension://abcdefghijklmnopabcdefghijklmnop": true, "capacitor://localhost": true, "https://app.example.com:": false, "https://app.example.com:0443": false, "https://[2001:0db8::1]": false, "http://[::1]:8080": true, "https://a.example:80": true,
		"https://app.example.com:443": false, "HTTPS://app.example.com": false, "https://App.example.com": false, "https://*.example.com": false,
		"https://user@app.example.com": false, "ws://app.example.com": false, "https://bücher.example": false, "null": false,
		"https://app.example.com/": false, "*": false} {
		_, err := signet.NewVerifier(keys.Secret(secret), signet.WithCookies(signet.Cookies{TrustedOrigins: []string{origin}}))
		require.Equal(t, good, err == nil, "%s: %v", origin, err)
	}
}

func TestTickets(t *testing.T) {
	b := newBrowser(t)
	tokens, err := b.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	ticket := func() string {
		got := b.do(t, "POST", "/auth/ticket", "", bearer(tokens.AccessToken)...)
		require.Equal(t, 201, got.StatusCode, got.body)
		require.EqualValues(t, 30, got.json["expires_in"])
		return got.json["ticket"].(string)
	}
	open := func(ticket string) answer { return b.do(t, "GET", "/socket?a=1&ticket="+url.QueryEscape(ticket), "") }
	first, second := ticket(), ticket()
	require.Equal(t, "subject=1", open(second).body, "in any order")
	require.Equal(t, "subject=1", open(first).body)
	got := open(first)
	require.Equal(t, 401, got.StatusCode, "once")
	require.Contains(t, got.json["message"], "used before")

	late := ticket()
	b.clock.advance(30 * time.Second)
	require.Equal(t, 401, open(late).StatusCode)
	old := ticket()
	for range 64 {
		ticket()
	}
	require.Equal(t, 401, open(old).StatusCode, "64 newer ones were made")

	for _, other := range []string{"", "x", tokens.AccessToken, tokens.RefreshToken} {
		require.Equal(t, 401, open(other).StatusCode)
	}
	require.Equal(t, 400, b.do(t, "GET", "/socket?ticket=a&ticket=b", "").StatusCode)
	require.Equal(t, 401, b.do(t, "GET", "/socket", "").StatusCode)
	require.Equal(t, 200, b.do(t, "GET", "/socket", "", bearer(tokens.AccessToken)...).StatusCode, "a token will do")
	last := ticket()
	require.Equal(t, 401, b.do(t, "GET", "/orders", "", bearer(last)...).StatusCode, "a ticket is no token")
	_, err = b.Refresh(t.Context(), last)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
	require.ErrorIs(t, b.Logout(t.Context(), last), signet.ErrInvalidToken)
	require.NoError(t, b.RevokeUser(t.Context(), "1"))
	require.Equal(t, 401, open(last).StatusCode)
}

// While a mount moves to a path below the old one, the old path sees only the old refresh cookie, beside the new access cookie. It
// is no theft.
func TestACookieMountThatMoves(t *testing.T) {
	b := newBrowser(t)
	mux := http.NewServeMux()
	mux.Handle("/web/auth/", b.CookieHandler("/web/auth"))
	mux.Handle("/web/auth/v2/", b.CookieHandler("/web/auth/v2"))
	b.server = httptest.NewTLSServer(mux)
	t.Cleanup(b.server.Close)
	b.client = b.server.Client()
	b.client.Jar, _ = cookiejar.New(nil)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", loginBody).StatusCode)
	for range 2 {
		b.clock.advance(time.Hour)
		require.Equal(t, 201, b.do(t, "POST", "/web/auth/v2/refresh-token", "").StatusCode)
		require.Equal(t, 200, b.do(t, "GET", "/web/auth/v2/profile", "").StatusCode)
	}
	b.clock.advance(time.Hour)
	got := b.do(t, "POST", "/web/auth/refresh-token", "")
	require.Equal(t, 401, got.StatusCode)
	require.Equal(t, "missing_token", got.json["code"])
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/v2/refresh-token", "").StatusCode)
}

// A browser that sends secure cookies to localhost gets secure ones again, also if they came from a time with a proxy. A logout takes
// all of them away.
func TestCookiesOfLocalhostChangeTheirKind(t *testing.T) {
	b := newBrowser(t)
	handler := b.CookieHandler("/web/auth")
	jar := map[string]string{}
	do := func(method, path, body string, proxied bool) int {
		r := httptest.NewRequest(method, "http://localhost:8080"+path, strings.NewReader(body))
		r.Header.Set("Origin", "http://localhost:8080")
		r.Header.Set("Content-Type", "application/json")
		if proxied {
			r.Header.Set("X-Forwarded-For", "127.0.0.1")
		}
		for name, value := range jar {
			r.AddCookie(&http.Cookie{Name: name, Value: value})
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		for _, cookie := range w.Result().Cookies() {
			if jar[cookie.Name] = cookie.Value; cookie.MaxAge < 0 {
				delete(jar, cookie.Name)
			}
		}
		return w.Code
	}
	admin := strings.NewReplacer("john@mail.com", "admin@mail.com", "changeme", "admin123").Replace(loginBody)
	require.Equal(t, 201, do("POST", "/web/auth/login", loginBody, true))
	jar["access_token"], jar["refresh_token"] = "old", "old" // of a time without the proxy
	require.Equal(t, 201, do("POST", "/web/auth/login", admin, false))
	claims, err := b.Verify(t.Context(), jar["__Host-access_token"])
	require.NoError(t, err)
	require.Equal(t, "3", claims.Subject)
	require.Equal(t, 200, do("GET", "/web/auth/profile", "", false))
	require.Equal(t, 204, do("POST", "/web/auth/logout", "", false))
	require.Empty(t, jar)
	require.Equal(t, 201, do("POST", "/web/auth/login", loginBody, false))
	require.Contains(t, jar, "access_token")
	require.Equal(t, 200, do("GET", "/web/auth/profile", "", false))
}

// A logout with tokens of another issuer is refused, and takes the cookies away: after a rollback they would be good again.
func TestALogoutWithTokensOfAnotherIssuer(t *testing.T) {
	b := newBrowser(t)
	require.Equal(t, 201, b.do(t, "POST", "/web/auth/login", loginBody).StatusCode)
	before := b.server
	other := newBrowser(t, signet.WithIssuer("https://shop.example"))
	before.Config.Handler = other.server.Config.Handler
	got := b.do(t, "POST", "/web/auth/logout", "")
	require.Equal(t, 401, got.StatusCode)
	require.Len(t, got.Cookies(), 2)
	require.Equal(t, "missing_token", b.do(t, "GET", "/web/auth/profile", "").json["code"])
}

// With WithRefreshProof the access tokens from before the option prove nothing.
func TestRefreshProofIsSetLater(t *testing.T) {
	store, clock := &session.Memory{}, newClock()
	store.Clock = clock.Now
	before := newService(t, signet.WithSessionStore(store), signet.WithClock(clock.Now))
	after := newService(t, signet.WithSessionStore(store), signet.WithClock(clock.Now), signet.WithRefreshProof())
	tokens := before.login(t)
	tokens, err := before.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
	lost, err := before.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, 200, after.do(t, "GET", "/orders", "", bearer(lost.AccessToken)...).StatusCode)
	time.Sleep(500 * time.Millisecond) // a proof would be stored now
	clock.advance(5 * time.Minute)
	_, err = after.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
}

// A server that renders a page refreshes, uses the new access token and loses the pair. With WithRefreshProof the old refresh token
// is good until the new one is used.
func TestARendererThatCannotStoreThePair(t *testing.T) {
	for _, proof := range []bool{false, true} {
		store := &session.Memory{}
		clock := newClock()
		store.Clock = clock.Now
		opts := []signet.Option{signet.WithSessionStore(store)}
		if proof {
			opts = append(opts, signet.WithRefreshProof())
		}
		s := newService(t, append(opts, signet.WithClock(clock.Now))...)
		tokens := s.login(t)
		tokens, err := s.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
		lost, err := s.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
		require.Equal(t, 200, s.do(t, "GET", "/orders", "", bearer(lost.AccessToken)...).StatusCode)
		if !proof {
			require.Eventually(t, func() bool {
				rows, _, err := store.List(t.Context(), "1", 1)
				return err == nil && rows[0].ConfirmedAt != 0
			}, 10*time.Second, time.Millisecond, "the proof is stored")
		}
		clock.advance(5 * time.Minute)
		next, err := s.Refresh(t.Context(), tokens.RefreshToken)
		if !proof {
			require.ErrorIs(t, err, signet.ErrRevoked)
			continue
		}
		require.NoError(t, err)
		_, err = s.Refresh(t.Context(), next.RefreshToken)
		require.NoError(t, err)
		clock.advance(5 * time.Minute)
		_, err = s.Refresh(t.Context(), tokens.RefreshToken)
		require.ErrorIs(t, err, signet.ErrRevoked, "theft is found when the new token was used")
	}
}
