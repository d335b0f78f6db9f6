package integrations

import (
	"errors"
	"html/template"
	"mime"
	"net/http"

	"github.com/signet-go/signet"
)

// signedInPages guards the pages that a server renders for browsers that keep their tokens in cookies (signet.WithCookies and
// auth.CookieHandler("/web/auth")). auth.RequireAuth would answer them with JSON. Without a token the browser goes to the login
// page. After the access token has expired it gets a page whose script refreshes and then asks again: the cookie of the refresh
// token is sent to the mount only, so a page cannot refresh by itself. A form that was sent meanwhile is sent again with all its
// fields, but without files.
//
// signet.js is the module of client/js. If your pages have a Content-Security-Policy, it must allow the script.
func signedInPages(auth *signet.Auth, page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		claims, err := auth.Check(r) // for unsafe methods it refuses other sites, whatever the token is
		switch {
		case err == nil:
			page.ServeHTTP(w, r.WithContext(signet.ContextWithClaims(r.Context(), claims)))
		case errors.Is(err, signet.ErrNoToken):
			http.Redirect(w, r, "/login", http.StatusSeeOther)
		case errors.Is(err, signet.ErrInvalidToken):
			if r.Method == http.MethodPost {
				media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
				if media != "application/x-www-form-urlencoded" && media != "multipart/form-data" {
					http.Error(w, "send a form", http.StatusUnsupportedMediaType) // the page could not send anything else again
					return
				}
				r = r.Clone(r.Context())
				r.URL.RawQuery = "" // the browser keeps the query; one that Go cannot read, such as "q=100%", is no error of the form
				r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
				err := r.ParseForm()
				if more := r.ParseMultipartForm(1 << 20); err == nil && !errors.Is(more, http.ErrNotMultipart) {
					err = more
				}
				if err != nil {
					http.Error(w, "the form cannot be read", http.StatusBadRequest)
					return
				}
			}
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(http.StatusUnauthorized)
			renewing.Execute(w, r)
		default:
			signet.WriteError(w, err)
		}
	})
}

var renewing = template.Must(template.New("").Parse(`<!doctype html>
<title>One moment</title>
<body>
{{if eq .Method "POST"}}<form method="post">
{{range $name, $values := .PostForm}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}</form>{{end}}
<script type="module">
import { createClient } from "/signet.js"
try {
  const last = sessionStorage.renewed
  sessionStorage.renewed = Date.now()
  if (Date.now() - last < 1000) throw "the new token is refused too"
  if (!(await createClient({ baseURL: "/web/auth", mode: "cookie" }).refresh())) location.replace("/login")
  else if (document.forms[0]) HTMLFormElement.prototype.submit.call(document.forms[0])
  else location.reload()
} catch { document.body.append("The service does not answer. Load this page again.") }
</script>
`))
