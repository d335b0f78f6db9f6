package integrations

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
)

// A browser without a script: what the server sends it. In package integration/browser Chromium runs the page.
func TestPagesOfASignedInUser(t *testing.T) {
	var late atomic.Int64
	auth := newAuth(t, signet.WithCookies(signet.Cookies{}),
		signet.WithClock(func() time.Time { return time.Now().Add(time.Duration(late.Load())) }))
	pages := signedInPages(auth, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, signet.Subject(r.Context()), " wrote ", r.PostFormValue("text"))
	}))
	ask := func(method, body string, headers ...string) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, "https://shop.example/notes?discount=100%&a;b", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		pages.ServeHTTP(w, r)
		require.Equal(t, "no-store", w.Header().Get("Cache-Control"))
		return w
	}
	login := httptest.NewRecorder()
	r := httptest.NewRequest("POST", "https://shop.example/web/auth/login", strings.NewReader(`{"email":"john@mail.com","password":"changeme"}`))
	r.Header.Set("Content-Type", "application/json")
	auth.CookieHandler("/web/auth").ServeHTTP(login, r)
	require.Equal(t, 201, login.Code)
	var cookies []string
	for _, cookie := range login.Result().Cookies() {
		cookies = append(cookies, cookie.Name+"="+cookie.Value)
	}
	cookie := strings.Join(cookies, "; ")

	w := ask("GET", "")
	require.Equal(t, []any{303, "/login"}, []any{w.Code, w.Header().Get("Location")})
	const text = `<b>"hello"</b>` + "\nand more"
	form := url.Values{"text": {text}, "submit": {"a", "b"}}.Encode()
	require.Equal(t, "1 wrote "+text, ask("POST", form, "Cookie", cookie, "Sec-Fetch-Site", "same-origin").Body.String())
	require.Equal(t, 403, ask("POST", form, "Cookie", cookie, "Sec-Fetch-Site", "cross-site").Code)

	late.Store(int64(21 * 24 * time.Hour))
	require.Equal(t, 403, ask("POST", form, "Cookie", cookie, "Sec-Fetch-Site", "cross-site").Code)
	w = ask("GET", "", "Cookie", cookie)
	require.Equal(t, 401, w.Code)
	require.Contains(t, w.Body.String(), "createClient")
	require.NotContains(t, w.Body.String(), "<form")
	w = ask("POST", form, "Cookie", cookie, "Sec-Fetch-Site", "same-origin")
	require.Equal(t, 401, w.Code)
	page := html.UnescapeString(w.Body.String())
	for _, field := range []string{`name="text" value="` + text + `"`, `name="submit" value="a"`, `name="submit" value="b"`} {
		require.Contains(t, page, field)
	}
	require.NotContains(t, w.Body.String(), "<b>")
	multipart := "--x\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nof a multipart form\r\n--x--\r\n"
	w = ask("POST", multipart, "Cookie", cookie, "Sec-Fetch-Site", "same-origin", "Content-Type", "multipart/form-data; boundary=x")
	require.Contains(t, w.Body.String(), `name="text" value="of a multipart form"`)
	require.Equal(t, 415, ask("POST", "{}", "Cookie", cookie, "Sec-Fetch-Site", "same-origin", "Content-Type", "application/json").Code)
	require.Equal(t, 400, ask("POST", "text=%zz", "Cookie", cookie, "Sec-Fetch-Site", "same-origin").Code)
	require.Equal(t, 400, ask("POST", "text="+strings.Repeat("x", 2<<20), "Cookie", cookie, "Sec-Fetch-Site", "same-origin").Code)
}
