package keys_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

var silent = keys.WithLogger(slog.New(slog.DiscardHandler))

func TestOpenURLChecksTheURL(t *testing.T) {
	for url, want := range map[string]string{"http://keys.example/": "not https",
		"": "not absolute", "/jwks": "not absolute",
		"ftp://127.0.0.1/": "not https", "http://127.0.0.1.example/": "not https", "http://localhost.example/": "not https",
		"https://user:pass@keys.example/": "credentials"} {
		_, err := keys.OpenURL(url)
		require.ErrorContains(t, err, want, url)
	}
	for _, url := range []string{"https://keys.example/", "http://localhost:1/", "http://[::1]:1/", "http://127.9.9.9:1/"} {
		source, err := keys.OpenURL(url, keys.WithClient(&http.Client{Transport: noTransport{}}), silent)
		require.NoError(t, err, url)
		require.NoError(t, source.Close())
	}
}

// noTransport keeps a test from using the network.
type noTransport struct{}

func (noTransport) RoundTrip(*http.Request) (*http.Response, error) { return nil, io.ErrClosedPipe }

func TestCloseEndsTheFetching(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 10 {
		source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: noTransport{}}), silent)
		require.NoError(t, err)
		require.NoError(t, source.Close())
		require.NoError(t, source.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// publisher answers with the JWK Set of a ring. It uses no network, so that a test can control the clock.
type publisher struct {
	ring    *keys.Ring
	header  http.Header
	fetches atomic.Int64
	hang    atomic.Bool
}

func (p *publisher) RoundTrip(r *http.Request) (*http.Response, error) {
	p.fetches.Add(1)
	if p.hang.Load() { // it sends the head of an answer, and then nothing
		return &http.Response{StatusCode: 200, Body: hangingBody{r.Context()}, Request: r}, nil
	}
	body, err := p.ring.Current().JWKS()
	if err != nil {
		return nil, err
	}
	answer := io.NopCloser(strings.NewReader(string(body)))
	return &http.Response{StatusCode: 200, Header: p.header, Body: answer, Request: r}, nil
}

type hangingBody struct{ ctx context.Context }

func (b hangingBody) Read([]byte) (int, error) {
	<-b.ctx.Done()
	return 0, b.ctx.Err()
}

func (hangingBody) Close() error { return nil }

func publish(t *testing.T) *publisher {
	ring, err := keys.NewRing(keys.Private(p256(t)))
	require.NoError(t, err)
	return &publisher{ring: ring, header: http.Header{}}
}

// An issuer that hangs once must not block all later fetches, even if the client has no time limit of its own.
func TestAnIssuerThatHangsOnceIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t)
		p.hang.Store(true)
		source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: p}), silent)
		require.NoError(t, err)
		defer source.Close()
		time.Sleep(time.Second)
		_, err = source.Refetch(t.Context(), source.Current())
		require.Error(t, err)
		require.Nil(t, source.Current())
		p.hang.Store(false)
		time.Sleep(11 * time.Second)
		set, err := source.Refetch(t.Context(), source.Current())
		require.NoError(t, err)
		require.Len(t, set.Keys(), 1)

		p.hang.Store(true) // when there are keys already, a hang must not freeze them either
		time.Sleep(11 * time.Minute)
		require.NotNil(t, source.Current())
		p.hang.Store(false)
		next := keys.Private(p256(t))
		require.NoError(t, p.ring.Announce(next))
		time.Sleep(2 * time.Minute)
		require.Contains(t, source.Current().IDs(), next.ID())
	})
}

func TestKeysAreFetchedAgainWithinTheirMaxAge(t *testing.T) {
	for header, want := range map[string]time.Duration{
		"public, max-age=300": 5 * time.Minute, "MAX-AGE=\"120\"": 2 * time.Minute,
		"": 10 * time.Minute, "no-store": 10 * time.Minute,
		"max-age=1": time.Minute, "max-age=0": time.Minute, "max-age=99999999": time.Hour, "max-age=99999999999": time.Hour, "max-age=x": 10 * time.Minute,
		"max-age=600|Age:420": 3 * time.Minute, "max-age=600|Age:700": time.Minute, "max-age=600|Age:x": 10 * time.Minute,
	} {
		synctest.Test(t, func(t *testing.T) {
			p := publish(t)
			control, age, _ := strings.Cut(header, "|Age:")
			p.header.Set("Cache-Control", control)
			p.header.Set("Age", age)
			source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: p}), silent)
			require.NoError(t, err)
			defer source.Close()
			synctest.Wait()
			require.EqualValues(t, 1, p.fetches.Load(), header)
			time.Sleep(want*9/10 - time.Second)
			require.EqualValues(t, 1, p.fetches.Load(), "%q: too early", header)
			time.Sleep(want/10 + 2*time.Second)
			require.EqualValues(t, 2, p.fetches.Load(), "%q: too late", header)
		})
	}
}

// It is the max-age of the last answer that counts, also if a token has caused that fetch. A failed fetch is no answer.
func TestTheMaxAgeOfTheLastAnswerCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t)
		p.header.Set("Cache-Control", "max-age=3600")
		source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: p}), silent)
		require.NoError(t, err)
		defer source.Close()
		time.Sleep(5 * time.Minute)
		fetch := func(hang bool, maxAge string) {
			synctest.Wait()
			p.hang.Store(hang)
			p.header = http.Header{"Cache-Control": {maxAge}}
			_, err := source.Refetch(t.Context(), source.Current())
			require.Equal(t, hang, err != nil)
			p.hang.Store(false)
		}
		fetch(false, "max-age=60")
		require.EqualValues(t, 2, p.fetches.Load())
		time.Sleep(time.Minute)
		require.EqualValues(t, 3, p.fetches.Load())
		time.Sleep(20 * time.Second)
		fetch(false, "max-age=3600")
		time.Sleep(50 * time.Minute)
		require.EqualValues(t, 4, p.fetches.Load())
		fetch(true, "max-age=3600")
		time.Sleep(61 * time.Second)
		require.EqualValues(t, 6, p.fetches.Load())
		for range 30 { // tokens cause fetches that fail, but the goroutine's own fetch is not put off
			fetch(true, "max-age=3600")
			time.Sleep(20 * time.Second)
		}
		require.Greater(t, p.fetches.Load(), int64(6+30))
	})
}

// The processes of a fleet can start at the same moment. They must not fetch the keys at the same moment for ever.
func TestFetchesAreJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := map[time.Duration]bool{}
		start := time.Now()
		for range 5 {
			p := publish(t)
			client := &http.Client{Transport: recorder{p, func() { at[time.Since(start)] = true }}}
			source, err := keys.OpenURL("https://keys.example/", keys.WithClient(client), silent)
			require.NoError(t, err)
			synctest.Wait()
			time.Sleep(11 * time.Minute)
			require.NoError(t, source.Close())
			start = time.Now()
		}
		require.Greater(t, len(at), 3, "times of fetches after the start: %v", at)
	})
}

type recorder struct {
	http.RoundTripper
	note func()
}

func (r recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	r.note()
	return r.RoundTripper.RoundTrip(req)
}

// The same document keeps the same set. So tokens that were verified with the set stay verified.
func TestTheSameDocumentIsTheSameSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := publish(t)
		source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: p}), silent)
		require.NoError(t, err)
		defer source.Close()
		synctest.Wait()
		set := source.Current()
		time.Sleep(time.Hour)
		require.Greater(t, p.fetches.Load(), int64(5))
		require.Same(t, set, source.Current())
	})
}

// A URL with https must not lead to a service that listens only on loopback.
func TestRedirectsDoNotLeaveHTTPS(t *testing.T) {
	var asked atomic.Bool
	inside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Store(true)
		io.WriteString(w, `{"keys":[]}`)
	}))
	defer inside.Close()
	outside := httptest.NewTLSServer(http.RedirectHandler(inside.URL+"/admin?x=1", http.StatusFound))
	defer outside.Close()
	source, err := keys.OpenURL(outside.URL, keys.WithClient(outside.Client()), silent)
	require.NoError(t, err)
	defer source.Close()
	_, err = source.Refetch(t.Context(), source.Current())
	require.ErrorContains(t, err, "redirect is refused")
	require.False(t, asked.Load())
}

func TestARemoteDoesNotPrintItsURL(t *testing.T) {
	client := &http.Client{Transport: noTransport{}}
	source, err := keys.OpenURL("https://keys.example/jwks?token=SECRET", keys.WithClient(client), silent)
	require.NoError(t, err)
	defer source.Close()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		require.NotContains(t, fmt.Sprintf(verb, source), "SECRET", verb)
		require.NotContains(t, fmt.Sprintf(verb, struct{ Keys keys.Source }{source}), "SECRET", verb)
	}
}

// shuffler serves the same keys in another order each time, as the nodes of a cluster may do.
type shuffler struct {
	a, b    string
	fetches atomic.Int64
}

func (s *shuffler) RoundTrip(*http.Request) (*http.Response, error) {
	text := setOf(s.a, s.b)
	if s.fetches.Add(1)%2 == 0 {
		text = setOf(s.b, s.a)
	}
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(text))}, nil
}

func TestTheOrderOfTheKeysDoesNotMatter(t *testing.T) {
	s := &shuffler{a: published(t, keys.Private(p256(t)), nil), b: published(t, keys.Private(p256(t)), nil)}
	source, err := keys.OpenURL("https://keys.example/", keys.WithClient(&http.Client{Transport: s}))
	require.NoError(t, err)
	defer source.Close()
	first, err := source.Refetch(t.Context(), nil)
	require.NoError(t, err)
	later := 0
	for range 100 {
		set, err := source.Refetch(t.Context(), source.Current())
		if errors.Is(err, keys.ErrTooSoon) {
			later++
			continue
		}
		require.NoError(t, err)
		require.Same(t, first, set)
	}
	require.Greater(t, later, 90, "strangers have a budget")
	require.Less(t, s.fetches.Load(), int64(10))
}

// site is an issuer whose metadata can be changed and can be down.
type site struct {
	jwksURI      string
	metadataDown atomic.Bool
	hangs        bool // while the metadata is down, it does not answer
	slow         time.Duration
	slowKeys     time.Duration
	keysDown     atomic.Bool
	gone         atomic.Pointer[string] // the path of keys that have moved
	keys         atomic.Pointer[string]

	metadataAsked, keysAsked atomic.Int32
}

// serve makes the issuer serve one key, with this id.
func (s *site) serve(t *testing.T, id string) {
	text := setOf(published(t, keys.Private(p256(t), keys.WithID(id)), nil))
	s.keys.Store(&text)
}

// discover returns the keys of the issuer. They are closed when the test ends.
func (s *site) discover(t *testing.T) *keys.Remote {
	source, err := keys.Discover("https://i.example", keys.WithClient(&http.Client{Transport: s}))
	require.NoError(t, err)
	t.Cleanup(func() { source.Close() })
	return source
}

func (s *site) RoundTrip(r *http.Request) (*http.Response, error) {
	status, text := 200, *s.keys.Load()
	if gone := s.gone.Load(); gone != nil && r.URL.Path == *gone {
		status = 404
	}
	if strings.Contains(r.URL.Path, ".well-known") {
		s.metadataAsked.Add(1)
		select {
		case <-time.After(s.slow):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		text = `{"issuer":"https://i.example","jwks_uri":"` + s.jwksURI + `"}`
		if s.gone.Load() != nil {
			text = strings.Replace(text, "/jwks", "/v2/jwks", 1)
		}
		if s.metadataDown.Load() {
			status = 503
			if s.hangs {
				<-r.Context().Done()
				return nil, r.Context().Err()
			}
		}
	} else {
		s.keysAsked.Add(1)
		select {
		case <-time.After(s.slowKeys):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
		if s.keysDown.Load() {
			status = 503
		}
	}
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: http.Header{},
		Body: io.NopCloser(strings.NewReader(text))}, nil
}

func TestKeysOfAnHTTPSIssuerComeByHTTPS(t *testing.T) {
	s := &site{jwksURI: "http://127.0.0.1:1/admin"}
	text := setOf(published(t, keys.Private(p256(t)), nil))
	s.keys.Store(&text)
	source := s.discover(t)
	_, err := source.Refetch(t.Context(), nil)
	require.ErrorContains(t, err, "not https")
	require.Nil(t, source.Current())
}

// An issuer whose metadata is down can still change its keys.
func TestMetadataThatIsDownDoesNotFreezeTheKeys(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		testMetadataThatIsDown(t, hangs)
	}
}

func testMetadataThatIsDown(t *testing.T, hangs bool) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{jwksURI: "https://i.example/jwks", hangs: hangs}
		s.serve(t, "k1")
		source := s.discover(t)
		time.Sleep(62 * time.Minute)
		s.metadataDown.Store(true)
		s.serve(t, "k2")
		time.Sleep(70 * time.Minute)
		require.Equal(t, []string{"k2"}, source.Current().IDs())
	})
}

// Metadata that hangs for hours does not freeze the keys, even after a bad answer of the keys.
func TestMetadataHangsAndTheKeysFailOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{jwksURI: "https://i.example/jwks", hangs: true}
		s.serve(t, "k1")
		source := s.discover(t)
		time.Sleep(time.Minute)
		s.metadataDown.Store(true)
		s.keysDown.Store(true)
		time.Sleep(20 * time.Minute)
		s.keysDown.Store(false)
		s.serve(t, "k2")
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"k2"}, source.Current().IDs())
	})
}

// The place of the keys is known for a minute, unless the keys cannot be had there.
func TestMetadataIsAskedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{jwksURI: "https://i.example/jwks"}
		s.serve(t, "k1")
		source := s.discover(t)
		time.Sleep(time.Second)
		asked := func(metadata, of int) {
			require.Equal(t, []int32{int32(metadata), int32(of)}, []int32{s.metadataAsked.Load(), s.keysAsked.Load()})
		}
		asked(1, 1)
		for range 2 {
			_, err := source.Refetch(t.Context(), source.Current())
			require.NoError(t, err)
		}
		asked(1, 3)
		s.keysDown.Store(true)
		_, err := source.Refetch(t.Context(), source.Current())
		require.Error(t, err)
		asked(1, 4)
		s.keysDown.Store(false)
		_, err = source.Refetch(t.Context(), source.Current())
		require.NoError(t, err)
		asked(2, 5)
	})
}

// The metadata and the keys have 5 seconds each, at the start and later.
func TestMetadataAndKeysThatAreSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{jwksURI: "https://i.example/jwks", slow: 4 * time.Second, slowKeys: 4 * time.Second}
		s.serve(t, "k1")
		source := s.discover(t)
		time.Sleep(10 * time.Second)
		require.Equal(t, []string{"k1"}, source.Current().IDs())
		for i := range 5 {
			id := fmt.Sprint("next", i)
			s.serve(t, id)
			time.Sleep(40 * time.Minute)
			require.Equal(t, []string{id}, source.Current().IDs())
		}
	})
}

// Metadata that takes 3 seconds is still read when the keys have moved.
func TestSlowMetadataOfKeysThatHaveMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &site{jwksURI: "https://i.example/jwks", slow: 3 * time.Second}
		s.serve(t, "k1")
		source := s.discover(t)
		time.Sleep(time.Minute)
		require.Equal(t, []string{"k1"}, source.Current().IDs())
		next, old := setOf(published(t, keys.Private(p256(t), keys.WithID("k2")), nil)), "/jwks"
		s.keys.Store(&next)
		s.gone.Store(&old)
		time.Sleep(70 * time.Minute)
		require.Equal(t, []string{"k2"}, source.Current().IDs())
	})
}

// An issuer moves its keys, and the old place goes on to answer, with the old keys or with none. A key of the new place is found
// within a minute.
func TestTheOldPlaceOfTheKeysGoesOnToAnswer(t *testing.T) {
	k1, k2 := setOf(published(t, keys.Private(p256(t), keys.WithID("k1")), nil)), setOf(published(t, keys.Private(p256(t), keys.WithID("k2")), nil))
	for _, left := range []string{k1, `{"keys":[]}`} {
		synctest.Test(t, func(t *testing.T) {
			var moved atomic.Bool
			client := &http.Client{Transport: roundTrip(func(r *http.Request) string {
				switch r.URL.Path {
				case "/v1/jwks":
					if moved.Load() {
						return left
					}
					return k1
				case "/v2/jwks":
					return k2
				}
				version := "v1"
				if moved.Load() {
					version = "v2"
				}
				return `{"issuer":"https://i.example","jwks_uri":"https://i.example/` + version + `/jwks"}`
			})}
			source, err := keys.Discover("https://i.example", keys.WithClient(client), silent)
			require.NoError(t, err)
			defer source.Close()
			synctest.Wait()
			require.Equal(t, []string{"k1"}, source.Current().IDs())
			moved.Store(true)
			time.Sleep(time.Minute)
			set, err := source.Refetch(t.Context(), source.Current()) // a token of k2
			require.NoError(t, err)
			require.Equal(t, []string{"k2"}, set.IDs())
		})
	}
}

// roundTrip answers 200 with a text.
type roundTrip func(*http.Request) string

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(f(r)))}, nil
}

// The algorithm of a published key can appear and disappear.
func TestTheAlgorithmOfAPublishedKeyChanges(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	set, err := keys.NewSet(keys.Private(private, keys.WithID("r")))
	require.NoError(t, err)
	with, err := set.JWKS()
	require.NoError(t, err)
	without := strings.Replace(string(with), `"alg":"RS256",`, "", 1)
	require.NotEqual(t, string(with), without)
	var document atomic.Pointer[string]
	text := string(with)
	document.Store(&text)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, *document.Load()) }))
	defer server.Close()
	source, err := keys.OpenURL(server.URL, silent)
	require.NoError(t, err)
	defer source.Close()
	found := (*keys.Set)(nil)
	for _, next := range []string{text, without, text} {
		document.Store(&next)
		found, err = source.Refetch(t.Context(), found)
		require.NoError(t, err)
		candidates, _ := found.Find("r", keys.PS256, []keys.Algorithm{keys.RS256, keys.PS256})
		require.Equal(t, next == without, len(candidates) == 1)
	}
}

// answering is a transport made of a function.
type answering func(*http.Request) string

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(f(r))), Request: r}, nil
}

// A panic of the host's client is an error of that fetch. In the goroutine of OpenURL nobody else could recover.
func TestAClientThatPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var broken atomic.Bool
		broken.Store(true)
		source, err := keys.OpenURL("https://keys.example/", silent, keys.WithClient(&http.Client{Transport: answering(func(*http.Request) string {
			if broken.Load() {
				panic("a fault of the transport")
			}
			return `{"keys":[` + goodKey + `]}`
		})}))
		require.NoError(t, err)
		defer source.Close()
		synctest.Wait()
		_, err = source.Refetch(t.Context(), nil)
		require.ErrorContains(t, err, "panicked: a fault of the transport")
		broken.Store(false)
		time.Sleep(2 * time.Minute)
		require.Equal(t, []string{"good"}, source.Current().IDs())
	})
}

const goodKey = `{"kty":"OKP","crv":"Ed25519","kid":"good","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`

// A logger that waits holds up the keys of nobody.
func TestALoggerThatWaitsHoldsNoKeysUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source, err := keys.OpenURL("https://keys.example/", keys.WithLogger(slog.New(hourly{slog.DiscardHandler})),
			keys.WithClient(&http.Client{Transport: answering(func(*http.Request) string {
				return `{"keys":[{"kty":"RSA","kid":"bad","n":"AQAB","e":"AQAB"},` + goodKey + `]}`
			})}))
		require.NoError(t, err)
		synctest.Wait()
		start := time.Now()
		require.Equal(t, []string{"good"}, source.Current().IDs())
		_, err = source.Refetch(t.Context(), source.Current())
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		time.Sleep(2 * time.Hour)
		require.NoError(t, source.Close())
	})
}

// hourly is a log handler that takes an hour for a line.
type hourly struct{ slog.Handler }

func (hourly) Enabled(context.Context, slog.Level) bool { return true }

func (hourly) Handle(context.Context, slog.Record) error { time.Sleep(time.Hour); return nil }
