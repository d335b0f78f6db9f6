package integration

import (
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// member is a service within the test's process, with a view of the revocations and connections of its own. So several
// members are several processes of one service. Unlike the example, it can run on every store.
type member struct {
	auth *signet.Auth
	url  string
	log  *lockedBuffer
	end  func() // ends it before the test ends
}

func startMember(t testing.TB, users signet.UserStore, sessions session.Store, opts ...signet.Option) *member {
	t.Helper()
	m := &member{log: &lockedBuffer{}}
	opts = append([]signet.Option{signet.WithSessionStore(sessions),
		signet.WithLogger(slog.New(slog.NewTextHandler(m.log, nil)))}, opts...)
	var err error
	m.auth, err = signet.New(users, keys.Secret([]byte(secret)), opts...)
	require.NoError(t, err)
	server := httptest.NewServer(m.auth.Handler("/api/v1/auth"))
	m.url = server.URL
	m.end = sync.OnceFunc(func() {
		server.Close()
		m.auth.Close()
	})
	t.Cleanup(m.end)
	return m
}

// startFollower starts a service that has no session store, and follows the feed of one.
func startFollower(t testing.TB, sessions session.Store) (url string) {
	t.Helper()
	source := keys.Secret([]byte(secret))
	handler, err := feed.NewHandler(sessions, source)
	require.NoError(t, err)
	issuer := httptest.NewServer(handler)
	t.Cleanup(issuer.Close)
	follower, err := feed.Open(issuer.URL, source, feed.WithLogger(silent))
	require.NoError(t, err)
	t.Cleanup(func() { follower.Close() })
	verifier, err := signet.NewVerifier(source, signet.WithRevocations(follower), signet.WithLogger(silent))
	require.NoError(t, err)
	server := httptest.NewServer(verifier.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
	})))
	t.Cleanup(server.Close)
	return server.URL
}

// crowd is the users of a service. Their sessions are the persons'.
type crowd struct{ users *userstore.Memory }

// person is a user with one session or more.
type person struct {
	id    string
	pairs []pair
}

func newCrowd() *crowd { return &crowd{users: userstore.NewMemory()} }

// add adds n users, and logs each of them in several times.
func (c *crowd) add(t testing.TB, auth *signet.Auth, n, logins int) []person {
	t.Helper()
	var added []person
	for range n {
		user := userstore.User{ID: freshName(), Roles: []string{"customer"}}
		user.Email = user.ID + "@mail.com"
		require.NoError(t, c.users.Add(t.Context(), user))
		p := person{id: user.ID}
		for range logins {
			tokens, err := auth.IssueFor(t.Context(), user)
			require.NoError(t, err)
			p.pairs = append(p.pairs, pair{tokens.AccessToken, tokens.RefreshToken})
		}
		added = append(added, p)
	}
	return added
}

// end logs a person out over HTTP: the one session that there is, or all of several. It repeats the request until the answer
// is 204. 503 and no answer are the only other ones that it accepts, and 401 for a request that was repeated: then an earlier
// one has been committed without an answer.
func (p person) end(urls ...string) (repeated int, err error) {
	path := logoutPath
	if len(p.pairs) > 1 {
		path = "/api/v1/auth/logout-all"
	}
	for limit := time.Now().Add(40 * time.Second); time.Now().Before(limit); repeated++ {
		a, err := call("POST", urls[repeated%len(urls)]+path, p.pairs[0].Access, nil)
		switch {
		case err == nil && (a.status == 204 || a.status == 401 && repeated > 0):
			return repeated, nil
		case err == nil && a.status != 503:
			return repeated, fmt.Errorf("%s: %d %s", path, a.status, a.body)
		}
		time.Sleep(50 * time.Millisecond)
	}
	return repeated, fmt.Errorf("%s: no 204", path)
}

// requireEnded checks that a service refuses all tokens of people: the access tokens within the bound, counted from began,
// and the refresh tokens as soon as that.
func requireEnded(t testing.TB, url string, people []person, began time.Time, bound time.Duration) (longest time.Duration) {
	t.Helper()
	for _, person := range people {
		for _, p := range person.pairs {
			for {
				a, err := callProfile(url, p.Access)
				require.NoError(t, err)
				took := time.Since(began)
				if a.status == 401 {
					break
				}
				require.Contains(t, []int{200, 503}, a.status, "%s", a.body)
				require.Less(t, took, bound, "an access token of a session that was ended with 204: %d", a.status)
				longest = took
				time.Sleep(5 * time.Millisecond)
			}
			a := patiently(t, func() (answer, error) { return callRefresh(url, p.Refresh) })
			require.Equal(t, 401, a.status, "a refresh token of a session that was ended with 204: %s", a.body)
		}
	}
	return longest
}

// requireGood checks that a service accepts all tokens of people.
func requireGood(t testing.TB, url string, people []person) {
	t.Helper()
	for _, person := range people {
		for i, p := range person.pairs {
			a := patiently(t, func() (answer, error) { return callProfile(url, p.Access) })
			require.Equal(t, 200, a.status, "a good access token: %s", a.body)
			a = patiently(t, func() (answer, error) { return callRefresh(url, p.Refresh) })
			require.Equal(t, 201, a.status, "a good refresh token: %s", a.body)
			person.pairs[i] = a.pair()
		}
	}
}

// patiently repeats a request until it is answered with another status than 503.
func patiently(t testing.TB, send func() (answer, error)) (a answer) {
	t.Helper()
	for limit := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		a, err := send()
		if err == nil && a.status != 503 {
			return a
		}
		require.True(t, time.Now().Before(limit), "%v %d %s", err, a.status, a.body)
	}
}

// watch asks services all the time with good access tokens until the returned function is called. Then it fails the test if
// an answer was neither 200 nor 503.
func watch(t testing.TB, people []person, urls ...string) (stop func()) {
	t.Helper()
	var tokens []string
	for _, person := range people {
		tokens = append(tokens, person.pairs[0].Access)
	}
	var running sync.WaitGroup
	done := make(chan struct{})
	for _, url := range urls {
		running.Go(func() {
			for i := 0; ; i++ {
				a, err := callProfile(url, tokens[i%len(tokens)])
				if err == nil && a.status != 200 && a.status != 503 {
					t.Errorf("a good access token: %d %s", a.status, a.body)
					return
				}
				select {
				case <-done:
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		})
	}
	stop = sync.OnceFunc(func() {
		close(done)
		running.Wait()
	})
	t.Cleanup(stop)
	return stop
}

// router is a TCP proxy in front of a primary. It can be pointed to another server, as a failover does.
type router struct {
	addr string

	mu     sync.Mutex
	server string
	open   map[net.Conn]bool
}

func startRouter(t testing.TB, server string) *router {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &router{addr: listener.Addr().String(), server: server, open: map[net.Conn]bool{}}
	t.Cleanup(func() {
		listener.Close()
		r.point("")
	})
	go func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			go r.serve(client)
		}
	}()
	return r
}

// point sends new connections to a server, and breaks those that there are.
func (r *router) point(server string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.server = server
	for conn := range r.open {
		conn.Close()
	}
}

// to returns the server to which new connections are sent.
func (r *router) to() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.server
}

func (r *router) serve(client net.Conn) {
	r.mu.Lock()
	server := r.server
	r.open[client] = true
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		delete(r.open, client)
		r.mu.Unlock()
		client.Close()
	}()
	upstream, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	go relay(client, upstream, func() {})
	relay(upstream, client, func() {})
}
