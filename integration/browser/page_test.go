package browser

import (
	"fmt"
	"html"
	"html/template"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
)

var modes = []string{"bearer", "cookie"}

func TestSignInAndOut(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	for _, mode := range modes {
		b.open(t, s, mode)
		b.wait(t, signedOut)
		b.do(t, chromedp.SetValue("#password", "wrong"), chromedp.Click("#sign-in button"))
		b.wait(t, says("E-mail address or password is wrong"))
		b.do(t, chromedp.SetValue("#password", "changeme"))
		b.signIn(t)
		require.Equal(t, "john@mail.com", eval[string](t, b, `document.querySelectorAll("#profile dd")[1].textContent`))
		b.wait(t, `document.querySelectorAll("#sessions li").length > 0 && document.querySelectorAll("#tokens pre").length > 0`)
		require.Equal(t, mode == "cookie", eval[bool](t, b, `!JSON.stringify(localStorage).includes("eyJ")`), "a token in the storage")
		require.Empty(t, eval[string](t, b, `document.cookie`), "no script reads a cookie")
		b.do(t, chromedp.Click("#orders"))
		b.wait(t, says("Classic mug"))
		b.do(t, chromedp.Reload())
		b.wait(t, signedIn)
		b.do(t, chromedp.Click("#sign-out"))
		b.wait(t, signedOut)
	}
}

// The tokens are renewed by themselves, also by two tabs at once.
func TestRefreshesByThemselves(t *testing.T) {
	s := start(t, "-access-ttl", "3s", "-refresh-ttl", "10m")
	b := openBrowser(t)
	for _, mode := range modes {
		b.open(t, s, mode)
		b.signIn(t)
		other := b.second(t)
		other.open(t, s, mode)
		other.wait(t, signedIn)
		before := s.refreshes.Load()
		time.Sleep(3500 * time.Millisecond) // the access token has expired
		for _, tab := range []*tab{b, other} {
			tab.do(t, chromedp.Click("#orders"))
		}
		for _, tab := range []*tab{b, other} {
			tab.wait(t, says("Classic mug"))
			tab.wait(t, signedIn)
		}
		require.Positive(t, s.refreshes.Load()-before, mode)
		other.do(t, chromedp.Click("#sign-out-all"))
		b.wait(t, signedOut)
		other.wait(t, signedOut)
	}
}

func TestFiveCallsThatMeet401MakeOneRefresh(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	for _, mode := range modes {
		b.open(t, s, mode)
		b.signIn(t)
		before := s.refreshes.Load()
		s.refuse.Store(5)
		got := eval[string](t, b, `(async () => { `+module(mode)+`
			const all = await Promise.all([1, 2, 3, 4, 5].map(() => c.fetch("/api/v1/orders")));
			return all.map((r) => r.status).join() })()`)
		require.Equal(t, "200,200,200,200,200", got, mode)
		require.EqualValues(t, 1, s.refreshes.Load()-before, mode)
		s.refuse.Store(0)
		b.do(t, chromedp.Click("#sign-out"))
		b.wait(t, signedOut)
	}
}

// The EventSource of docs/browsers.md opens one stream after the other, each with a ticket of its own.
func TestTheEventSourceOfTheDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/browsers.md")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "## WebSocket and EventSource")
	_, rest, _ = strings.Cut(rest, "```js\n")
	script, _, found := strings.Cut(rest, "```")
	require.True(t, found)

	s := start(t)
	var mu sync.Mutex
	tickets := map[string]int{}
	live, most := 0, 0
	s.events = func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		tickets[r.URL.Query().Get("ticket")]++
		live++
		most = max(most, live)
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, "retry: 100\ndata: hello\n\n")
		http.NewResponseController(w).Flush()
		mu.Unlock()
		time.Sleep(200 * time.Millisecond) // then a proxy ends the stream
		mu.Lock()
		live--
	}
	b := openBrowser(t)
	b.open(t, s, "bearer")
	b.signIn(t)
	shown := eval[int](t, b, `(async () => { `+module("bearer")+` const client = c; let shown = 0; const show = () => shown++;
		`+script+`
		while (shown < 3) await new Promise((done) => setTimeout(done, 50)); return shown })()`)
	require.GreaterOrEqual(t, shown, 3)
	mu.Lock()
	defer mu.Unlock()
	require.Equal(t, 1, most)
	require.GreaterOrEqual(t, len(tickets), 3)
	for ticket, times := range tickets {
		require.NotEmpty(t, ticket)
		require.Equal(t, 1, times)
	}
}

// The page of integrations/pages.go, which a browser gets when its access token has expired: it asks again after a refresh, also
// with the form that was sent. Without a session it goes to the login page.
func TestThePageThatRenews(t *testing.T) {
	text, err := os.ReadFile("../../integrations/pages.go")
	require.NoError(t, err)
	_, rest, _ := strings.Cut(string(text), "template.New(\"\").Parse(`")
	page, _, found := strings.Cut(rest, "`))")
	require.True(t, found)
	renewing := template.Must(template.New("").Parse(page))

	s := start(t)
	var expired atomic.Bool
	s.notes = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_ = r.ParseForm()
		if expired.CompareAndSwap(true, false) {
			w.WriteHeader(http.StatusUnauthorized)
			_ = renewing.Execute(w, r)
			return
		}
		fmt.Fprintf(w, `<p id="got">%s %s %q</p><form method="post"><textarea name="text"></textarea><button name="submit" value="x">Save</button></form>`,
			r.Method, html.EscapeString(fmt.Sprintf("%q", r.PostForm["text"])), r.PostForm["submit"]) // a field called "submit" hides form.submit
	}
	b := openBrowser(t)
	b.open(t, s, "cookie")
	b.signIn(t)
	shows := func(what string) string {
		return fmt.Sprintf(`document.getElementById("got")?.textContent === %q`, what)
	}
	later := func() { b.do(t, chromedp.Evaluate("sessionStorage.clear()", nil)) } // the page renews once a second
	for i := range 2 {
		later()
		before := s.refreshes.Load()
		expired.Store(true)
		b.do(t, chromedp.Navigate(s.url+"/notes"))
		b.wait(t, shows(`GET [] []`))
		require.EqualValues(t, 1, s.refreshes.Load()-before)
		later()
		expired.Store(true)
		b.do(t, chromedp.SetValue("textarea", "<b>\"one\"\nand two"), chromedp.Click("button"))
		b.wait(t, shows(`POST ["<b>\"one\"\r\nand two"] ["x"]`))
		require.EqualValues(t, 2, s.refreshes.Load()-before, i)
	}
	later()
	before, own := s.refreshes.Load(), s.notes
	s.notes = func(w http.ResponseWriter, r *http.Request) { expired.Store(true); own(w, r) } // this one refuses each token
	b.do(t, chromedp.Navigate(s.url+"/notes"))
	b.wait(t, `document.body.lastChild.textContent.startsWith("The service does not answer")`)
	require.EqualValues(t, 1, s.refreshes.Load()-before)
	s.notes = own

	b.open(t, s, "cookie")
	b.wait(t, signedIn)
	b.do(t, chromedp.Click("#sign-out"))
	b.wait(t, signedOut)
	later()
	expired.Store(true)
	b.do(t, chromedp.Navigate(s.url+"/notes"))
	b.wait(t, `location.pathname === "/login"`)
}

func TestBackAndForward(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	b.open(t, s, "cookie")
	b.signIn(t)
	b.do(t, chromedp.Navigate(s.url+"/page.css"))
	for _, step := range []struct{ move, path string }{{"back", "/"}, {"forward", "/page.css"}, {"back", "/"}} {
		b.do(t, chromedp.Evaluate("setTimeout(() => history."+step.move+"())", nil))
		b.wait(t, fmt.Sprintf("location.pathname === %q", step.path))
	}
	b.wait(t, signedIn)
	b.do(t, chromedp.Click("#orders"))
	b.wait(t, says("Classic mug"))
}

// The browser keeps a page for the button "back". When the page comes back, it learns that another tab has signed out.
func TestAPageThatHasSlept(t *testing.T) {
	s := start(t)
	said, left, back := make(chan string, 4), make(chan struct{}), make(chan struct{})
	s.events = func(w http.ResponseWriter, r *http.Request) {
		what := r.FormValue("what")
		if what != "left" {
			said <- what
			return
		}
		close(left)
		<-back
	}
	s.notes = func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<script type="module">
			import {createClient} from "/signet.js";
			const tell = (what) => fetch("/events?what=" + what);
			if (location.search) {
				await tell("left");
				history.back();
			} else {
				const client = createClient({baseURL: "/api/v1/auth"});
				await client.login("john@mail.com", "changeme");
				client.subscribe(() => tell(client.signedIn ? "signed in" : "signed out"));
				addEventListener("pageshow", ({persisted}) => persisted && tell("back"));
				if (document.readyState !== "complete") await new Promise((done) => addEventListener("load", done));
				await new Promise((done) => setTimeout(done)); // before, the next page would take the place of this one in the history
				location = "/notes?next";
			}
		</script>`)
	}
	b := openBrowser(t, chromedp.Flag("disable-features", "Translate")) // with the cache
	other := b.second(t)                                                // chromedp loses the first tab when its page comes back
	other.do(t, chromedp.Navigate(s.url+"/"))
	b.do(t, chromedp.Navigate(s.url+"/notes"))
	select {
	case <-left:
	case <-time.After(30 * time.Second):
		require.FailNow(t, "the page does nothing")
	}
	require.Empty(t, said)
	other.do(t, chromedp.Evaluate("localStorage.clear()", nil))
	close(back)
	require.Eventually(t, func() bool { return len(said) == 2 }, 30*time.Second, 10*time.Millisecond)
	require.ElementsMatch(t, []string{"back", "signed out"}, []string{<-said, <-said})
}

// A form of another site cannot use the cookies.
func TestAFormOfAnotherSite(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	b.open(t, s, "cookie")
	b.signIn(t)
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { // 127.0.0.1 is another site than localhost
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" enctype="text/plain" action="%s/web/auth/logout-all"><button>x</button></form>`, s.url)
	}))
	defer evil.Close()
	b.do(t, chromedp.Navigate(evil.URL), chromedp.Click("button"), chromedp.WaitReady("body"))
	b.wait(t, `location.pathname === "/web/auth/logout-all"`)
	require.Contains(t, eval[string](t, b, `document.body.textContent`), "cross_site_request")
	b.open(t, s, "cookie")
	b.wait(t, signedIn)
}

// A fifth of the answers to refreshes is lost, and nobody is signed out.
func TestLostAnswersSignNobodyOut(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	for _, mode := range modes {
		b.open(t, s, mode)
		b.signIn(t)
		other := b.second(t)
		other.open(t, s, mode)
		other.wait(t, signedIn)
		s.lose.Store(20)
		done := make(chan string, 2)
		for _, tab := range []*tab{b, other} {
			go func() {
				done <- eval[string](t, tab, `(async () => { `+module(mode)+`
					for (let i = 0; i < 25; i++) if (!await c.refresh()) return "signed out at " + i;
					return "signed in" })()`)
			}()
		}
		require.Equal(t, "signed in", <-done, mode)
		require.Equal(t, "signed in", <-done, mode)
		s.lose.Store(0)
		b.do(t, chromedp.Click("#sign-out-all"))
		other.wait(t, signedOut)
	}
}

func TestThrottlingIsShown(t *testing.T) {
	s := start(t)
	b := openBrowser(t)
	b.open(t, s, "bearer")
	b.wait(t, signedOut)
	got := eval[int](t, b, `(async () => { let status; for (let i = 0; i < 11; i++) status = (await fetch("/api/v1/auth/login",
		{method: "POST", headers: {"Content-Type": "application/json"}, body: '{"email":"john@mail.com","password":"wrong"}'})).status; return status })()`)
	require.Equal(t, 429, got)
	b.do(t, chromedp.Click("#sign-in button"))
	b.wait(t, says("Try again in"))
	require.True(t, eval[bool](t, b, `document.querySelector("#sign-in button").disabled`))
}

// axe-core finds nothing to mend, in light and dark, signed in and out.
func TestAccessibility(t *testing.T) {
	axe, err := os.ReadFile("../npm/node_modules/axe-core/axe.min.js")
	if err != nil {
		missing(t, "axe-core is not installed (npm ci in integration/npm)")
	}
	s := start(t)
	b := openBrowser(t)
	check := func(state string) {
		t.Helper()
		b.do(t, chromedp.Evaluate(string(axe), nil))
		found := eval[[]string](t, b, `axe.run().then((r) => r.violations.map((v) => v.id + ": " + v.nodes.map((n) => n.html).join(" ")))`)
		require.Empty(t, found, "%s:\n%s", state, strings.Join(found, "\n"))
	}
	for _, scheme := range []string{"light", "dark"} {
		b.open(t, s, "bearer")
		b.do(t, emulate(scheme, 1200, 900))
		b.wait(t, signedOut)
		check(scheme + ", signed out")
		b.signIn(t)
		check(scheme + ", signed in")
		b.do(t, chromedp.Click("#sign-out"))
		b.wait(t, signedOut)
	}
}
