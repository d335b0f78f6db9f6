package client_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/client"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// newHandler is a service whose access tokens live for two seconds.
func newHandler(t *testing.T, opts ...signet.Option) (*signet.Auth, http.Handler) {
	cheap := password.Argon2id{Memory: 64, Iterations: 1}
	hash, err := cheap.Hash("changeme")
	require.NoError(t, err)
	users := userstore.NewMemory()
	for id, email := range map[string]string{"1": "john@mail.com", "2": "mary@mail.com"} {
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: id, Email: email, PasswordHash: hash}))
	}
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")), append([]signet.Option{
		signet.WithPasswordHasher(cheap), signet.WithSessionStore(&session.Memory{}),
		signet.WithLifetimes(signet.Lifetimes{Access: 2 * time.Second}), signet.WithLogger(slog.New(slog.DiscardHandler))}, opts...)...)
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/auth/", auth.Handler("/auth"))
	mux.Handle("/pay", auth.RequireRecentAuth(time.Minute)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	mux.Handle("/echo", auth.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })))
	return auth, mux
}

// direct sends requests to a handler without a network, so that a bubble of synctest can sleep. before can
// take an answer.
type direct struct {
	handler   http.Handler
	refreshes atomic.Int64
	before    func(*http.Request) (*http.Response, error)
	lose      func(*http.Request) bool
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	if strings.HasSuffix(r.URL.Path, "/refresh-token") {
		d.refreshes.Add(1)
	}
	if d.before != nil {
		if resp, err := d.before(r); resp != nil || err != nil {
			return resp, err
		}
	}
	rec := httptest.NewRecorder()
	in := r.Clone(r.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	in.RemoteAddr, in.RequestURI = "127.0.0.1:1", r.URL.RequestURI()
	d.handler.ServeHTTP(rec, in)
	if d.lose != nil && d.lose(r) {
		return nil, errors.New("the connection broke")
	}
	return rec.Result(), nil
}

// bubble runs a test on a signed-in client in a bubble. All goroutines must have ended at its end.
func bubble(t *testing.T, test func(t *testing.T, c *client.Client, d *direct), opts ...signet.Option) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t, opts...)
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		test(t, c, d)
		time.Sleep(20 * time.Second) // a refresh for which nobody waits any more ends then
		synctest.Wait()
	})
}

func get(c *client.Client, d *direct, url string) (int, error) {
	resp, err := (&http.Client{Transport: c.Transport(d)}).Get(url)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, resp.Body.Close()
}

func TestOneRefreshForAThousandGoroutines(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		for round := range int64(5) {
			require.Equal(t, round, d.refreshes.Load())
			time.Sleep(3 * time.Second)
			var wg sync.WaitGroup
			var good atomic.Int64
			for range 1000 {
				wg.Go(func() {
					if status, err := get(c, d, "http://service/echo"); err == nil && status == 200 {
						good.Add(1)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1000, good.Load())
		}
	})
}

// A token store that panics gives an error: nobody could recover in the goroutine of the refresh.
func TestAStoreThatPanics(t *testing.T) {
	c, err := client.New("http://service/auth", client.WithStore(brokenStore{}))
	require.NoError(t, err)
	for range 2 {
		_, _, err = c.Token(t.Context())
		require.ErrorContains(t, err, "panicked")
	}
}

type brokenStore struct{ client.TokenStore }

func (brokenStore) Load(context.Context) (client.Tokens, error) {
	return client.Tokens{RefreshToken: "r"}, nil
}

func TestACancelledCallerStopsNobody(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		time.Sleep(3 * time.Second)
		d.before = func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(time.Second):
				return nil, nil
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		wg.Go(func() {
			_, _, err := c.Token(ctx)
			require.ErrorIs(t, err, context.DeadlineExceeded)
		})
		time.Sleep(time.Microsecond)
		_, _, err := c.Token(t.Context())
		require.NoError(t, err)
		wg.Wait()
		require.EqualValues(t, 1, d.refreshes.Load())

		time.Sleep(3 * time.Second) // nobody waits any more: the refresh ends, and the next one succeeds
		ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _, err = c.Token(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
	})
}

func TestAServiceThatIsAway(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		time.Sleep(3 * time.Second)
		start := time.Now()
		d.before = func(r *http.Request) (*http.Response, error) {
			switch away := time.Since(start); {
			case away < 5*time.Second:
				return nil, errors.New("connection refused")
			case away < 15*time.Second:
				rec := httptest.NewRecorder()
				rec.Header().Set("Retry-After", "7")
				rec.WriteHeader(503)
				return rec.Result(), nil
			}
			return nil, nil
		}
		require.NoError(t, c.Profile(t.Context(), &map[string]any{}))
		require.Less(t, time.Since(start), 25*time.Second)

		d.before = func(*http.Request) (*http.Response, error) { return nil, errors.New("connection refused") }
		time.Sleep(3 * time.Second)
		_, _, err := c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.NotErrorIs(t, err, client.ErrSignedOut)
		d.before = nil
		require.NoError(t, c.Profile(t.Context(), &map[string]any{}))
	})
}

func TestLostAnswersSignNobodyOut(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		n := 0
		d.lose = func(r *http.Request) bool { n++; return n%5 == 0 && strings.HasSuffix(r.URL.Path, "/refresh-token") }
		for i := range 1000 {
			time.Sleep(2 * time.Second)
			_, _, err := c.Token(t.Context())
			require.NoError(t, err, "refresh %d", i)
		}
	})
}

func TestTheftSignsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t)
		defer auth.Close()
		store, d := &client.Memory{}, &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		stolen, err := store.Load(t.Context())
		require.NoError(t, err)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v %s", stolen, stolen, stolen, stolen), "eyJ")
		time.Sleep(3 * time.Second)
		status, err := get(c, d, "http://service/echo") // proves that the new pair arrived
		require.NoError(t, err)
		require.Equal(t, 200, status)
		time.Sleep(time.Minute)
		_, err = auth.Refresh(t.Context(), stolen.RefreshToken)
		require.ErrorIs(t, err, signet.ErrRevoked)
		_, err = get(c, d, "http://service/echo")
		require.ErrorIs(t, err, client.ErrSignedOut)
		require.NotContains(t, err.Error(), "eyJ")
		_, _, err = c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrSignedOut)
	})
}

func TestBodiesAndOrigins(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		refuse := true
		var other http.Header
		d.before = func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "other" {
				other = r.Header
				return httptest.NewRecorder().Result(), nil
			}
			rec := httptest.NewRecorder()
			switch {
			case r.URL.Path == "/away":
				http.Redirect(rec, r, "http://other/", http.StatusFound)
			case r.URL.Path == "/echo" && refuse:
				refuse = false
				rec.WriteHeader(401)
				rec.WriteString("no")
			default:
				return nil, nil
			}
			return rec.Result(), nil
		}
		hc := &http.Client{Transport: c.Transport(d)}
		resp, err := hc.Post("http://service/echo", "text/plain", strings.NewReader("hello"))
		require.NoError(t, err)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.Equal(t, "hello", string(body))

		refuse = true
		_, err = hc.Post("http://service/echo", "text/plain", io.MultiReader(strings.NewReader("hello")))
		var failed *client.NotReplayableError
		require.ErrorAs(t, err, &failed)
		require.ErrorIs(t, err, client.ErrNotReplayable)
		require.Equal(t, 401, failed.Response.StatusCode)
		require.EqualValues(t, 2, d.refreshes.Load())

		_, err = get(c, d, "http://service/away")
		require.NoError(t, err)
		require.NotNil(t, other)
		require.Empty(t, other.Get("Authorization"))
	})
}

// A wrong password in a request is no reason to send the request again, which would be a second wrong one.
func TestAWrongPasswordIsSentOnce(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		calls := 0
		for answer, again := range map[string]bool{
			"application/problem+json invalid_credentials": false, "application/problem+json invalid_code": false,
			"application/problem+json insufficient_user_authentication": false, "application/problem+json invalid_token": true,
			"Application/Problem+JSON;charset=utf-8 invalid_credentials": false, "application/problem+jsonx invalid_code": true,
			"application/problem+json;gzip invalid_code": false,
		} {
			media, code, _ := strings.Cut(answer, " ")
			d.before = func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != "/echo" {
					return nil, nil
				}
				calls++
				rec := httptest.NewRecorder()
				rec.Header().Set("Content-Type", media)
				body := fmt.Sprintf(`{"code":%q}`, code)
				if strings.HasSuffix(media, "gzip") {
					rec.Header().Set("Content-Encoding", "gzip")
					var zipped bytes.Buffer
					w := gzip.NewWriter(&zipped)
					io.WriteString(w, body)
					w.Close()
					body = zipped.String()
				}
				rec.WriteHeader(401)
				io.WriteString(rec, body)
				return rec.Result(), nil
			}
			calls = 0
			resp, err := (&http.Client{Transport: c.Transport(d)}).Post("http://service/echo", "text/plain", strings.NewReader("x"))
			require.NoError(t, err)
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.True(t, strings.Contains(string(body), code) || strings.HasSuffix(media, "gzip"), "the caller gets the answer as it is")
			require.Equal(t, again, calls == 2, answer)
			time.Sleep(10 * time.Second) // before, a new token that was refused is not replaced
		}
		require.EqualValues(t, 2, d.refreshes.Load())
	}, signet.WithLifetimes(signet.Lifetimes{Access: time.Hour}))
}

// A route that accepts no token costs one refresh in ten seconds, and not one for each request.
func TestARouteThatAcceptsNoToken(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		sent, odd := 0, true
		d.before = func(r *http.Request) (*http.Response, error) {
			if r.URL.Path != "/echo" || !odd {
				return nil, nil
			}
			sent++
			return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {`Bearer error="invalid_token"`}}, Body: http.NoBody}, nil
		}
		ask := func() int {
			status, err := get(c, d, "http://service/echo")
			require.NoError(t, err)
			return status
		}
		for range 200 {
			require.Equal(t, 401, ask())
		}
		require.EqualValues(t, 1, d.refreshes.Load())
		require.Equal(t, 201, sent)
		time.Sleep(10 * time.Second)
		require.Equal(t, 401, ask())
		require.EqualValues(t, 2, d.refreshes.Load())
		odd = false
		require.Equal(t, 200, ask())
	}, signet.WithLifetimes(signet.Lifetimes{Access: time.Hour}))
}

// Callers that have less time than a refresh needs share one, and the next of them gets its token.
func TestCallersWithLittleTime(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		d.before = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/refresh-token") {
				select {
				case <-r.Context().Done():
					return nil, r.Context().Err()
				case <-time.After(1500 * time.Millisecond):
				}
			}
			return nil, nil
		}
		time.Sleep(3 * time.Hour)
		ask := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, _, err := c.Token(ctx)
			return err
		}
		require.ErrorIs(t, ask(), context.DeadlineExceeded)
		require.NoError(t, ask())
		require.EqualValues(t, 1, d.refreshes.Load())
	}, signet.WithLifetimes(signet.Lifetimes{Access: time.Hour}))
}

// Who cannot use the transport asks for another token after a refusal.
func TestTokenAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t)
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		first, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.NoError(t, auth.UserChanged(t.Context(), "1"))
		again, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, first, again, "nobody has asked the service")
		second, expiry, err := c.TokenAfter(t.Context(), first)
		require.NoError(t, err)
		require.NotEqual(t, first, second)
		require.True(t, expiry.After(time.Now()))
		_, err = auth.Verify(t.Context(), second)
		require.NoError(t, err)
		same, _, err := c.TokenAfter(t.Context(), first)
		require.NoError(t, err)
		require.Equal(t, second, same)
		require.EqualValues(t, 1, d.refreshes.Load())
		require.NoError(t, auth.RevokeUser(t.Context(), "1"))
		_, _, err = c.TokenAfter(t.Context(), second)
		require.ErrorIs(t, err, client.ErrSignedOut)
	})
}

// The tokens of another user, who has signed in with the same store, are not for this caller.
func TestTokenAfterOfAnotherUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t)
		defer auth.Close()
		c, err := client.New("http://service/auth", client.WithTransport(&direct{handler: handler}))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		johns, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "mary@mail.com", "changeme"))
		_, _, err = c.TokenAfter(t.Context(), johns)
		require.ErrorIs(t, err, client.ErrSignedOut)
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
	})
}

// A program that ends soon waits for the refresh beside its last call.
func TestWait(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		require.NoError(t, c.Wait(t.Context()), "there is none")
		d.before = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/refresh-token") {
				time.Sleep(time.Second)
			}
			return nil, nil
		}
		before, _, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Hour - 20*time.Second)
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, c.Wait(short), context.DeadlineExceeded)
		require.NoError(t, c.Wait(t.Context()))
		after, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, before, after)
		require.EqualValues(t, 1, d.refreshes.Load())
	}, signet.WithLifetimes(signet.Lifetimes{Access: time.Hour}))
}

// A password that somebody has put in front of the service for a while ends no session.
func TestA401OfAProxy(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		challenge := `Basic realm="staging"`
		d.before = func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {challenge}}, Body: http.NoBody}, nil
		}
		token, _, err := c.Token(t.Context())
		require.NoError(t, err)
		_, _, err = c.TokenAfter(t.Context(), token)
		require.ErrorIs(t, err, client.ErrUnavailable)
		require.NotErrorIs(t, err, client.ErrSignedOut)
		d.before = nil
		time.Sleep(2 * time.Second)
		_, _, err = c.TokenAfter(t.Context(), token)
		require.NoError(t, err)
		for _, own := range []string{"", "Bearer", `Basic realm="x", bearer realm="api"`} {
			require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
			token, _, err := c.Token(t.Context())
			require.NoError(t, err)
			challenge = own
			d.before = func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: 401, Header: http.Header{"Www-Authenticate": {challenge}}, Body: http.NoBody}, nil
			}
			_, _, err = c.TokenAfter(t.Context(), token)
			require.ErrorIs(t, err, client.ErrSignedOut, own)
			d.before = nil
		}
	})
}

// A wrong base URL is an error that names it.
func TestErrorsOfAWrongBaseURL(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/moved/", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://login.example"+r.URL.Path+"?secret", http.StatusMovedPermanently)
	})
	mux.HandleFunc("/busy/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "42")
		w.WriteHeader(429)
		io.WriteString(w, `{"code":"too_many_attempts","message":"too many attempts"}`)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	for prefix, want := range map[string]string{
		"/none":  "client: the service answered 404: Not Found, for POST " + server.URL + "/none/login",
		"/moved": "client: the service answered 301: Moved Permanently, for POST " + server.URL + "/moved/login; it redirects to https://login.example/moved/login",
		"/busy":  "client: the service answered 429 too_many_attempts: too many attempts; try again in 42s",
	} {
		c, err := client.New(server.URL + prefix)
		require.NoError(t, err)
		require.EqualError(t, c.Login(t.Context(), "john@mail.com", "changeme"), want)
	}
}

func TestLogout(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		require.NoError(t, c.Logout(t.Context()))
		require.NoError(t, c.Logout(t.Context()))
		_, _, err := c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrSignedOut)
		require.ErrorIs(t, c.StepUp(t.Context(), "1"), client.ErrSignedOut)
	})
}

// While the service is away, requests use the token that is due but still good, and nobody waits. When it has expired, the error comes
// at once as long as the service has asked to wait.
func TestADueTokenIsUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t, slow)
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		away := true
		d.before = func(r *http.Request) (*http.Response, error) {
			if !away || !strings.HasSuffix(r.URL.Path, "/refresh-token") {
				return nil, nil
			}
			return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"45"}}, Body: http.NoBody}, nil
		}
		time.Sleep(91 * time.Second)
		start := time.Now()
		for range 20 {
			status, err := get(c, d, "http://service/echo")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			synctest.Wait()
		}
		require.EqualValues(t, 1, d.refreshes.Load())
		require.Zero(t, time.Since(start))
		time.Sleep(5 * time.Second)
		for range 3 {
			_, _, err = c.Token(t.Context())
			require.ErrorIs(t, err, client.ErrUnavailable)
		}
		require.EqualValues(t, 1, d.refreshes.Load())
		away = false
		time.Sleep(40 * time.Second)
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(92 * time.Second)
		_, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		synctest.Wait()
		_, next, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Greater(t, next.Sub(expiry), 90*time.Second, "the refresh was beside the first call")
	})
}

// slow makes tokens that are due for a while before they expire.
var slow = signet.WithLifetimes(signet.Lifetimes{Access: 100 * time.Second})

// A refresh for which nobody waits holds nobody up for long, and asks once: the next one is sent when somebody needs it.
func TestARefreshBesideTheCall(t *testing.T) {
	for name, act := range map[string]func(context.Context, *client.Client) error{
		"login":  func(ctx context.Context, c *client.Client) error { return c.Login(ctx, "john@mail.com", "changeme") },
		"logout": func(ctx context.Context, c *client.Client) error { return c.Logout(ctx) },
	} {
		for _, answer := range []string{"503", "nothing"} {
			bubble(t, func(t *testing.T, c *client.Client, d *direct) {
				_, expiry, err := c.Token(t.Context())
				require.NoError(t, err)
				time.Sleep(time.Until(expiry) - 10*time.Second) // it is due, and good
				before := d.refreshes.Load()
				d.before = func(r *http.Request) (*http.Response, error) {
					if answer == "503" && isRefresh(r) {
						return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"20"}}, Body: http.NoBody}, nil
					}
					return hangingRefresh(r)
				}
				status, err := get(c, d, "http://service/echo")
				require.NoError(t, err)
				require.Equal(t, 200, status)
				synctest.Wait()
				start := time.Now()
				require.NoError(t, act(t.Context(), c), name+answer)
				want := time.Duration(0)
				if name == "logout" && answer == "nothing" {
					want = 2 * time.Second
				}
				require.Equal(t, want, time.Since(start), name+answer)
				require.EqualValues(t, 1, d.refreshes.Load()-before, name+answer)
			}, slow)
		}
	}
}

func isRefresh(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/refresh-token") }

// hangingRefresh gives no answer to a refresh. Other requests go on.
func hangingRefresh(r *http.Request) (*http.Response, error) {
	if !isRefresh(r) {
		return nil, nil
	}
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// beginHangingRefresh waits until the token is due, and uses it. So a refresh begins for which nobody waits, and gets no answer.
func beginHangingRefresh(t *testing.T, c *client.Client, d *direct) {
	t.Helper()
	_, expiry, err := c.Token(t.Context())
	require.NoError(t, err)
	time.Sleep(time.Until(expiry) - 10*time.Second)
	d.before = hangingRefresh
	_, _, err = c.Token(t.Context())
	require.NoError(t, err)
	synctest.Wait()
}

// A caller with little time ends such a refresh too, so the next try is good.
func TestALogoutWithADeadlineBesideARefresh(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		beginHangingRefresh(t, c, d)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, c.Logout(ctx), context.DeadlineExceeded)
		start := time.Now()
		require.NoError(t, c.Logout(t.Context()))
		require.Zero(t, time.Since(start))
	}, slow)
}

// The two seconds of such a refresh begin with it, and not with the logout.
func TestALogoutLateInARefresh(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		beginHangingRefresh(t, c, d)
		time.Sleep(1500 * time.Millisecond)
		start := time.Now()
		require.NoError(t, c.Logout(t.Context()))
		require.Equal(t, 500*time.Millisecond, time.Since(start))
	}, slow)
}

// The message of an error is cut between two characters.
func TestALongMessage(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		d.before = func(*http.Request) (*http.Response, error) {
			body := io.NopCloser(strings.NewReader(`{"code":"no","message":"a` + strings.Repeat("ж", 200) + `"}`))
			return &http.Response{StatusCode: 403, Header: http.Header{}, Body: body}, nil
		}
		var refused *client.Error
		require.ErrorAs(t, c.Login(t.Context(), "john@mail.com", "changeme"), &refused)
		require.Equal(t, "a"+strings.Repeat("ж", 149), refused.Message)
	})
}

// A step-up and a logout that fails use the answer of such a refresh: a service with strict rotation sends it only once.
func TestStrictRotationAndARefreshBesideTheCall(t *testing.T) {
	for name, act := range map[string]func(*testing.T, *client.Client){
		"step-up": func(t *testing.T, c *client.Client) { require.NoError(t, c.StepUp(t.Context(), "changeme")) },
		"logout":  func(t *testing.T, c *client.Client) { require.ErrorIs(t, c.Logout(t.Context()), client.ErrUnavailable) },
	} {
		bubble(t, func(t *testing.T, c *client.Client, d *direct) {
			_, expiry, err := c.Token(t.Context())
			require.NoError(t, err)
			time.Sleep(time.Until(expiry) - 8*time.Second)
			d.before = func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, "/logout") {
					return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"90"}}, Body: http.NoBody}, nil
				}
				return nil, nil
			}
			d.lose = func(r *http.Request) bool { // the service has refreshed, and its answer takes a while
				if strings.HasSuffix(r.URL.Path, "/refresh-token") {
					select {
					case <-time.After(300 * time.Millisecond):
					case <-r.Context().Done():
						return true
					}
				}
				return false
			}
			status, err := get(c, d, "http://service/echo")
			require.NoError(t, err)
			require.Equal(t, 200, status)
			time.Sleep(100 * time.Millisecond)
			act(t, c)
			time.Sleep(10 * time.Second)
			_, _, err = c.Token(t.Context())
			require.NoError(t, err, name)
		}, slow, signet.WithStrictRotation(), signet.WithLogin(signet.LoginPolicy{
			Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
				return signet.LoginDecision{}, nil
			}}))
	}
}

// countedStore counts who wants its lock.
type countedStore struct {
	client.Memory
	locks atomic.Int64
}

func (s *countedStore) Lock(ctx context.Context) (unlock func(), err error) {
	s.locks.Add(1)
	return s.Memory.Lock(ctx)
}

// While a logout waits for another process that holds the store, no such refresh begins: it could come first and hold up the logout.
func TestNoRefreshBesideACallThatWaitsForTheStore(t *testing.T) {
	store := &countedStore{}
	synctest.Test(t, func(t *testing.T) {
		auth, handler := newHandler(t, slow)
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d), client.WithStore(store))
		require.NoError(t, err)
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		token, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry) - 8*time.Second)
		unlock, err := store.Lock(t.Context())
		require.NoError(t, err)
		ended := make(chan error)
		go func() { ended <- c.Logout(t.Context()) }()
		synctest.Wait()
		same, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, token, same, "it is due, and good")
		synctest.Wait()
		require.EqualValues(t, 3, store.locks.Load(), "the login, the other process and the logout")
		unlock()
		require.NoError(t, <-ended)
		_, _, err = c.Token(t.Context())
		require.ErrorIs(t, err, client.ErrSignedOut)
	})
}

// Who needs a new token while such a refresh is under way waits as ever.
func TestWhoJoinsARefreshBesideTheCall(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		token, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry) - 7*time.Second)
		away := time.Now().Add(8 * time.Second)
		d.before = func(r *http.Request) (*http.Response, error) {
			if strings.HasSuffix(r.URL.Path, "/refresh-token") && time.Now().Before(away) {
				time.Sleep(3 * time.Second)
				return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody}, nil
			}
			return nil, nil
		}
		same, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, token, same)
		time.Sleep(2500 * time.Millisecond) // now it is no longer good, and the refresh goes on
		next, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, token, next)
	}, slow)
}

// Who needs a new token waits out a Retry-After of such a refresh, if it is not too long.
func TestARetryAfterOfARefreshBesideTheCall(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		token, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry) - 5200*time.Millisecond)
		away := true
		d.before = func(r *http.Request) (*http.Response, error) {
			if away && strings.HasSuffix(r.URL.Path, "/refresh-token") {
				away = false
				return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {"2"}}, Body: http.NoBody}, nil
			}
			return nil, nil
		}
		same, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.Equal(t, token, same)
		time.Sleep(time.Second)
		start := time.Now()
		next, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.NotEqual(t, token, next)
		require.InDelta(t, time.Second, time.Since(start), float64(200*time.Millisecond))
	}, slow)
}

// However long the service wants to be left alone, it is.
func TestAHugeRetryAfter(t *testing.T) {
	for _, seconds := range []string{"2147483647", "2147483648", "99999999999999999999"} {
		bubble(t, func(t *testing.T, c *client.Client, d *direct) {
			calls := 0
			d.before = func(*http.Request) (*http.Response, error) {
				calls++
				return &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {seconds}}, Body: http.NoBody}, nil
			}
			require.ErrorIs(t, c.Logout(t.Context()), client.ErrUnavailable)
			require.Equal(t, 1, calls, seconds)
		})
	}
}

// A Retry-After is about the session whose refresh was refused. The error of a later call says how long is left.
func TestARestIsOfOneSession(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		_, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry))
		refused := true
		d.before = func(r *http.Request) (*http.Response, error) {
			if refused && strings.HasSuffix(r.URL.Path, "/refresh-token") {
				return &http.Response{StatusCode: 429, Header: http.Header{"Retry-After": {"60"}}, Body: http.NoBody}, nil
			}
			return nil, nil
		}
		var no *client.Error
		_, _, err = c.Token(t.Context())
		require.ErrorAs(t, err, &no)
		require.Equal(t, time.Minute, no.RetryAfter)
		time.Sleep(20 * time.Second)
		_, _, err = c.Token(t.Context())
		require.ErrorAs(t, err, &no)
		require.Equal(t, 40*time.Second, no.RetryAfter)
		refused = false
		require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
		_, expiry, err = c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry))
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
	})
}

// A client closes no connections of the program, and gives up its own if they are silent.
func TestTheConnectionsOfAClient(t *testing.T) {
	var conns atomic.Int64
	other := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	other.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			conns.Add(1)
		}
	}
	other.Start()
	defer other.Close()
	away, err := client.New("http://127.0.0.1:1/auth", client.WithMaxWait(0))
	require.NoError(t, err)
	for range 10 {
		require.ErrorIs(t, away.Login(t.Context(), "john@mail.com", "changeme"), client.ErrUnavailable)
		resp, err := http.Get(other.URL)
		require.NoError(t, err)
		_, _ = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	require.EqualValues(t, 1, conns.Load())
}

// The error of an http.Client says whether the time of the caller was over.
func TestTimeoutsOfTransport(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		_, expiry, err := c.Token(t.Context())
		require.NoError(t, err)
		time.Sleep(time.Until(expiry))
		d.before = func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, "GET", "http://service/echo", nil)
		require.NoError(t, err)
		_, err = (&http.Client{Transport: c.Transport(d)}).Do(req)
		var failed net.Error
		require.ErrorAs(t, err, &failed)
		require.True(t, failed.Timeout())
	})
}

// A logout that the service does not know, or that finds no session, removes the tokens. A host's own check before it does not.
func TestLogoutThatEndsNothing(t *testing.T) {
	for answer, signedOut := range map[string]bool{
		`401 {"code":"invalid_token"}`: true, `404 {"code":"not_found"}`: true, `501 {"code":"not_implemented"}`: true,
		`401 Bearer realm="api", error="invalid_token"`:      true, // with a body of the host's own
		`401 Basic realm="proxy"|Bearer error=invalid_token`: true, `401 Bearer Error = "invalid_token"`: true,
		`401 Bearer error_description="send no error=invalid_token", error="insufficient_scope"`: false,
		`401 Bearer x.error="invalid_token", error="insufficient_scope"`:                         false,
		`401 Basic realm="see \", error=invalid_token"`:                                          false,
		`401 Bearer error_description="invalid_token"`:                                           false, `401 Basic realm="proxy"|Bearer`: false,
		`401 {"code":"insufficient_user_authentication"}`: false, `401 {"code":"missing_token"}`: false, `403 {}`: false,
		`401 Bearer realm="api"`: false, `401 {}`: false, `404 default backend`: false, `405 {}`: false,
	} {
		bubble(t, func(t *testing.T, c *client.Client, d *direct) {
			d.before = func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/logout") {
					return nil, nil
				}
				status, _ := strconv.Atoi(answer[:3])
				header := http.Header{}
				if answer[4] == 'B' {
					header["Www-Authenticate"] = strings.Split(answer[4:], "|")
				}
				return &http.Response{StatusCode: status, Header: header, Body: io.NopCloser(strings.NewReader(answer[4:]))}, nil
			}
			err := c.Logout(t.Context())
			require.Equal(t, signedOut, err == nil, answer)
			_, _, err = c.Token(t.Context())
			require.Equal(t, signedOut, errors.Is(err, client.ErrSignedOut), answer)
		})
	}
}

// What is no missing answer is returned at once, by Profile as by Token.
func TestProfileReturnsErrorsAsTheyAre(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		time.Sleep(2 * time.Second)
		d.before = func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 403, Header: http.Header{}, Body: http.NoBody}, nil
		}
		for _, call := range []func() error{
			func() error { _, _, err := c.Token(t.Context()); return err },
			func() error { return c.Profile(t.Context(), new(any)) },
		} {
			start := time.Now()
			err := call()
			var refused *client.Error
			require.ErrorAs(t, err, &refused)
			require.Equal(t, 403, refused.Status)
			require.NotErrorIs(t, err, client.ErrUnavailable)
			require.Zero(t, time.Since(start))
		}
	})
	bubble(t, func(t *testing.T, c *client.Client, d *direct) { // a target of another type: no other answer would help
		start, requests := time.Now(), 0
		d.before = func(*http.Request) (*http.Response, error) { requests++; return nil, nil }
		for _, target := range []any{new(int), nil} {
			err := c.Profile(t.Context(), target)
			require.Error(t, err)
			require.NotErrorIs(t, err, client.ErrUnavailable)
		}
		var mistyped *json.UnmarshalTypeError
		require.ErrorAs(t, c.Profile(t.Context(), new(int)), &mistyped)
		require.Zero(t, time.Since(start))
		require.Equal(t, 3, requests)
	})
	broken, err := client.New("http://service/auth", client.WithStore(brokenStore{}))
	require.NoError(t, err)
	err = broken.Profile(t.Context(), new(any))
	require.ErrorContains(t, err, "panicked")
	require.NotErrorIs(t, err, client.ErrUnavailable)
}

// The times of a pair come from the wall clock alone: the monotonic clock stands still while a machine sleeps.
func TestTimesOfThePair(t *testing.T) {
	auth, handler := newHandler(t)
	defer auth.Close()
	store := &client.Memory{}
	c, err := client.New("http://service/auth", client.WithStore(store), client.WithTransport(&direct{handler: handler}))
	require.NoError(t, err)
	require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
	tokens, err := store.Load(t.Context())
	require.NoError(t, err)
	require.True(t, tokens.Received == tokens.Received.Round(0))
}

// An answer that quotes the request shows no secret, also if it is long, or if JSON writes the secret in another way. 408 is
// tried again.
func TestErrorsQuoteNoSecrets(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		d.before = func(r *http.Request) (*http.Response, error) {
			body, _ := io.ReadAll(r.Body)
			quoted, _ := json.Marshal(map[string]string{"message": "blocked: " + string(body)})
			return &http.Response{StatusCode: 400, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(quoted))}, nil
		}
		require.NotContains(t, c.Login(t.Context(), "john@mail.com", `a"b<c&d`).Error(), "003c")
		time.Sleep(2 * time.Second)
		_, _, err := c.Token(t.Context())
		require.NotContains(t, err.Error(), "eyJ")
		timeouts := 1
		d.before = func(*http.Request) (*http.Response, error) {
			if timeouts--; timeouts == 0 {
				return &http.Response{StatusCode: 408, Header: http.Header{}, Body: http.NoBody}, nil
			}
			return nil, nil
		}
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
	})
}

// codes is a second factor that everybody has. Its codes are the numbers from 1 on, and each works once.
type codes struct{ used int }

func (c *codes) Enrolled(context.Context, string) (bool, error) { return true, nil }

func (c *codes) Verify(_ context.Context, _, code string) ([]string, error) {
	if code != strconv.Itoa(c.used+1) {
		return nil, nil
	}
	c.used++
	return []string{"otp"}, nil
}

func TestSecondStepAndStepUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		remembered := false
		auth, handler := newHandler(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &codes{},
			Decide: func(_ context.Context, _ userstore.User, remember bool) (signet.LoginDecision, error) {
				remembered = remember
				return signet.LoginDecision{}, nil
			}}))
		defer auth.Close()
		d := &direct{handler: handler}
		c, err := client.New("http://service/auth", client.WithTransport(d))
		require.NoError(t, err)
		var second *client.SecondStepError
		require.ErrorAs(t, c.Login(t.Context(), "john@mail.com", "changeme"), &second)
		require.False(t, remembered)
		require.ErrorAs(t, c.Login(t.Context(), "john@mail.com", "changeme", client.Remember()), &second)
		require.True(t, remembered)
		require.NotContains(t, fmt.Sprintf("%v %+v %#v", second, second, second), second.Ticket())
		var refused *client.Error
		require.ErrorAs(t, c.SecondStep(t.Context(), second.Ticket(), "7"), &refused)
		require.Equal(t, "invalid_code", refused.Code)
		require.NoError(t, c.SecondStep(t.Context(), second.Ticket(), "1"))

		pay := func() int {
			t.Helper()
			status, err := get(c, d, "http://service/pay")
			require.NoError(t, err)
			return status
		}
		require.Equal(t, 200, pay())
		time.Sleep(2 * time.Minute)
		require.Equal(t, 401, pay())
		before := d.refreshes.Load()
		require.Equal(t, 401, pay())
		require.Equal(t, before, d.refreshes.Load(), "new tokens would not help")
		require.ErrorAs(t, c.StepUp(t.Context(), "7"), &refused)
		require.Equal(t, "invalid_code", refused.Code)
		require.NoError(t, c.StepUp(t.Context(), "2"))
		require.Equal(t, 200, pay())

		time.Sleep(2 * time.Minute)
		d.lose = func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/step-up") }
		require.ErrorIs(t, c.StepUp(t.Context(), "3"), client.ErrUnavailable)
		d.lose = nil
		require.Equal(t, 401, pay(), "the session is kept")
		require.NoError(t, c.StepUp(t.Context(), "4"), "the tokens are not the newest ones any more")
		require.Equal(t, 200, pay())

		d.before = func(r *http.Request) (*http.Response, error) {
			rec := httptest.NewRecorder()
			rec.WriteHeader(400)
			body, _ := io.ReadAll(r.Body)
			fmt.Fprintf(rec, `{"message":%q}`, r.Header.Get("Authorization")+string(body))
			return rec.Result(), nil
		}
		access, _, err := c.Token(t.Context())
		require.NoError(t, err)
		require.ErrorAs(t, c.StepUp(t.Context(), "code-5"), &refused)
		require.NotContains(t, refused.Message, access)
		require.NotContains(t, refused.Message, "code-5")
		synctest.Wait()
	})
}

// A request of one user is never sent again for another, who has signed in meanwhile.
func TestAnotherUserSignsInMeanwhile(t *testing.T) {
	pair := func(user string) client.Tokens {
		mark := base64.RawURLEncoding.EncodeToString([]byte(`{"sid":"` + user + `","sub":"` + user + `","gen":1}`))
		return client.Tokens{AccessToken: "access of " + user, RefreshToken: "a." + mark + ".b", ExpiresIn: 600, Received: time.Now()}
	}
	store := &client.Memory{}
	require.NoError(t, store.Save(t.Context(), pair("john")))
	c, err := client.New("http://service/auth", client.WithStore(store))
	require.NoError(t, err)
	sent := 0
	d := &direct{handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent++
		require.Equal(t, "Bearer access of john", r.Header.Get("Authorization"))
		require.NoError(t, store.Save(t.Context(), pair("admin")))
		w.WriteHeader(401)
		io.WriteString(w, "expired")
	})}
	resp, err := (&http.Client{Transport: c.Transport(d)}).Get("http://service/mine")
	require.NoError(t, err)
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.Equal(t, "401 expired", fmt.Sprint(resp.StatusCode, " ", string(body)))
	require.Equal(t, 1, sent)
	token, _, err := c.Token(t.Context())
	require.NoError(t, err)
	require.Equal(t, "access of admin", token)
}

// What waits for a refresh is not sent as another user, who signs in meanwhile.
func TestAnotherUserSignsInWhileACallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pair := func(user string) client.Tokens {
			mark := base64.RawURLEncoding.EncodeToString([]byte(`{"sid":"` + user + `","sub":"` + user + `","gen":1}`))
			return client.Tokens{AccessToken: "access of " + user, RefreshToken: "a." + mark + ".b", ExpiresIn: 600, Received: time.Now()}
		}
		store := &client.Memory{}
		sent := 0
		d := &direct{handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) { sent++ })}
		c, err := client.New("http://service/auth", client.WithStore(store), client.WithTransport(d))
		require.NoError(t, err)
		for name, call := range map[string]func() error{
			"request": func() error { _, err := get(c, d, "http://service/mine"); return err },
			"StepUp":  func() error { return c.StepUp(t.Context(), "the password of john") },
			"Token":   func() error { _, _, err := c.Token(t.Context()); return err },
		} {
			require.NoError(t, store.Save(t.Context(), pair("john")))
			_, _, _ = c.Token(t.Context())
			time.Sleep(15 * time.Minute) // the token is old
			unlock, err := store.Lock(t.Context())
			require.NoError(t, err)
			done := make(chan error)
			go func() { done <- call() }()
			synctest.Wait()
			require.NoError(t, store.Save(t.Context(), pair("admin")))
			unlock()
			require.ErrorIs(t, <-done, client.ErrSignedOut, name)
			require.Zero(t, sent, name)
			token, _, err := c.Token(t.Context())
			require.NoError(t, err)
			require.Equal(t, "access of admin", token)
			time.Sleep(15 * time.Minute)
		}
	})
}

// TestTwoProcesses runs this test binary twice on one token file. Each refreshes 200 times, by refusing its token.
func TestTwoProcesses(t *testing.T) {
	path := os.Getenv("SIGNET_CLIENT_FILE")
	if path != "" {
		count := &countRefreshes{}
		c, err := client.New(os.Getenv("SIGNET_CLIENT_URL")+"/auth", client.WithStore(client.NewFile(path)),
			client.WithTransport(count))
		require.NoError(t, err)
		hc := &http.Client{Transport: c.Transport(&refuseFirst{})}
		for count.n < 200 {
			resp, err := hc.Get(os.Getenv("SIGNET_CLIENT_URL") + "/echo")
			require.NoError(t, err)
			resp.Body.Close()
			require.Equal(t, 200, resp.StatusCode)
		}
		return
	}
	auth, handler := newHandler(t)
	defer auth.Close()
	server := httptest.NewServer(handler)
	defer server.Close()
	path = filepath.Join(t.TempDir(), "tokens.json")
	c, err := client.New(server.URL+"/auth", client.WithStore(client.NewFile(path)))
	require.NoError(t, err)
	require.NoError(t, c.Login(t.Context(), "john@mail.com", "changeme"))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			cmd := exec.Command(os.Args[0], "-test.run=^TestTwoProcesses$")
			cmd.Env = append(os.Environ(), "SIGNET_CLIENT_FILE="+path, "SIGNET_CLIENT_URL="+server.URL)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
	wg.Wait()
	require.NoError(t, os.Chmod(path, 0o644))
	_, err = client.NewFile(path).Load(t.Context())
	require.ErrorContains(t, err, "0600")
}

// refuseFirst answers 401 to every first try, so that each request needs another token.
type refuseFirst struct{ tried bool }

func (t *refuseFirst) RoundTrip(r *http.Request) (*http.Response, error) {
	if t.tried = !t.tried; t.tried {
		return &http.Response{StatusCode: 401, Body: http.NoBody, Header: http.Header{}, Request: r}, nil
	}
	return http.DefaultTransport.RoundTrip(r)
}

// countRefreshes counts the refreshes that this process sends.
type countRefreshes struct{ n int }

func (t *countRefreshes) RoundTrip(r *http.Request) (*http.Response, error) {
	if strings.HasSuffix(r.URL.Path, "/refresh-token") {
		t.n++
	}
	return http.DefaultTransport.RoundTrip(r)
}

// A transport that ends its goroutine, as FailNow of a test does, leaves nobody waiting.
func TestATransportThatEndsItsGoroutine(t *testing.T) {
	bubble(t, func(t *testing.T, c *client.Client, d *direct) {
		time.Sleep(time.Hour) // the access token has expired
		d.before = func(*http.Request) (*http.Response, error) {
			runtime.Goexit()
			return nil, nil
		}
		_, _, err := c.Token(t.Context())
		require.ErrorContains(t, err, "has ended its goroutine")
		d.before = nil
		_, _, err = c.Token(t.Context())
		require.NoError(t, err)
	})
}
