package feed_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// A read is at most a second after the one before it, and a document may be 100 milliseconds old.
const (
	soon   = 1100 * time.Millisecond
	settle = 3 * time.Second // until the whole log was read
)

func TestWhatAFollowerKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		early := s.login("early")
		s.revoke(early)
		f := s.follow()
		time.Sleep(settle)
		require.ErrorIs(t, f.check(early), revoked.ErrRevoked)

		one, other, third := s.login("u1"), s.login("u1"), s.login("u2")
		s.revoke(one)
		time.Sleep(soon)
		require.ErrorIs(t, f.check(one), revoked.ErrRevoked)
		require.NoError(t, f.check(other))

		s.endAll("u2", third.id)
		after := s.login("u2")
		ended := token{session.NewID("u2"), "u2", third.version}
		time.Sleep(soon)
		require.NoError(t, f.check(third), "it was spared")
		require.ErrorIs(t, f.check(ended), revoked.ErrRevoked)
		require.NoError(t, f.check(after))
		require.NoError(t, f.check(other), "another user")

		s.change("u1")
		time.Sleep(soon)
		require.ErrorIs(t, f.check(other), revoked.ErrOutdated)
		require.NoError(t, f.check(s.login("u1")))

		s.endAll("", "")
		last := s.login("u2")
		time.Sleep(soon)
		require.ErrorIs(t, f.check(after), revoked.ErrRevoked)
		require.NoError(t, f.check(last))
		require.Zero(t, s.posts.Load(), "memory knows everything")
		require.Empty(t, f.log.String())
	})
}

func TestDocumentsHoldNoIDs(t *testing.T) {
	s := newService(t)
	var ids []string
	for i := range 20 {
		user := fmt.Sprintf("user-%d@example.com", i)
		tok, spared := s.login(user), s.login(user)
		s.revoke(tok)
		s.endAll(user, spared.id)
		s.change(user)
		ids = append(ids, user, tok.id, spared.id)
	}
	body := fmt.Sprintf(`{"session":%q,"user":%q}`, ids[1], ids[0])
	req := httptest.NewRequest("POST", "/", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, req)
	require.Equal(t, 200, recorder.Code)
	for _, document := range []string{s.get(session.Start), recorder.Body.String()} {
		text := payload(t, document)
		require.Contains(t, text, `"spared":"`)
		require.True(t, json.Valid([]byte(text)))
		var members struct{ Sessions string }
		require.NoError(t, json.Unmarshal([]byte(text), &members))
		records, err := base64.RawURLEncoding.DecodeString(members.Sessions)
		require.NoError(t, err)
		for _, id := range ids {
			for _, form := range []string{id, id[1:], base64.RawURLEncoding.EncodeToString([]byte(id))} {
				require.NotContains(t, text, form)
				require.False(t, bytes.Contains(records, []byte(form)))
			}
			random, err := base64.RawURLEncoding.DecodeString(id[1:])
			require.False(t, err == nil && bytes.Contains(records, random))
		}
	}
}

var tooLong = sync.OnceValue(func() string { return strings.Repeat("A", 16<<20+1) })

// A follower accepts nothing but documents of its issuer that answer its requests.
func TestBadDocuments(t *testing.T) {
	other := newKey(t, "first")
	now := func(shift time.Duration) json.Number {
		return json.Number(fmt.Sprint(time.Now().Add(shift).UnixMilli()))
	}
	for name, tc := range map[string]struct {
		tamper func(s *service, r *http.Request, answer *http.Response, document string) string
		want   string
	}{
		"unsigned": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"revocations+jwt"}`))
			return header + "." + strings.Split(document, ".")[1] + "."
		}, "three parts"},
		"forged": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			parts := strings.Split(document, ".")
			parts[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(payload(t, document), `"more":false`, `"more":true`, 1)))
			return strings.Join(parts, ".")
		}, "signature"},
		"key of somebody else": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return sign(t, other, "revocations+jwt", payload(t, document))
		}, "signature"},
		"unknown key": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return sign(t, newKey(t, "unknown"), "revocations+jwt", payload(t, document))
		}, "unknown"},
		"access token": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return sign(t, s.ring.Current().Signing(), "at+jwt", payload(t, document))
		}, "another type"},
		"status": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return sign(t, s.ring.Current().Signing(), "revocation-status+jwt", payload(t, document))
		}, "another type"},
		"other issuer": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { m["iss"] = "https://staging.example" })
		}, "another issuer"},
		"other cursor": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { m["after"] = "7" })
		}, "another request"},
		"future": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { m["time"] = now(3 * time.Minute) })
		}, "from the future"},
		"no end": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { m["next"], m["more"] = m["after"], true })
		}, "leads nowhere"},
		"missing member": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { delete(m, "users") })
		}, "missing"},
		"half a record": {func(s *service, _ *http.Request, _ *http.Response, document string) string {
			return s.edited("revocations+jwt", document, func(m map[string]any) { m["sessions"] = "AAAA" })
		}, "whole records"},
		"error": {func(_ *service, _ *http.Request, answer *http.Response, document string) string {
			answer.StatusCode, answer.Status = 500, "500 Internal Server Error"
			return document
		}, "answered 500"},
		"redirect": {func(_ *service, _ *http.Request, answer *http.Response, document string) string {
			answer.StatusCode = 302
			answer.Header.Set("Location", "http://login.example/")
			return ""
		}, "redirect is refused"},
		"too long": {func(_ *service, _ *http.Request, answer *http.Response, document string) string {
			return tooLong()
		}, "more than"},
		"empty": {func(*service, *http.Request, *http.Response, string) string { return "" }, "three parts"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				tok := s.login("u")
				f := s.follow(feed.WithMaxStaleness(10 * time.Second))
				time.Sleep(settle)
				require.NoError(t, f.check(tok))
				s.set(func() {
					s.tamper = func(r *http.Request, answer *http.Response, body string) string { return tc.tamper(s, r, answer, body) }
				})
				time.Sleep(8 * time.Second)
				require.NoError(t, f.check(tok))
				time.Sleep(2*time.Second + 1)
				require.ErrorIs(t, f.check(tok), revoked.ErrStale)
				require.Contains(t, f.log.String(), tc.want)
				require.Equal(t, 1, strings.Count(f.log.String(), "cannot be read"), "it is logged once: %s", f.log)
				s.set(func() { s.tamper = nil })
				s.revoke(tok)
				time.Sleep(settle)
				require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
				require.NoError(t, f.check(s.login("u")))
			})
		})
	}
}

// An address that is gone is not asked more often than another one. The answer may be that of a proxy, so it ends nothing before
// its time.
func TestGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		f := s.follow(feed.WithMaxStaleness(10 * time.Second))
		known := s.login("u")
		time.Sleep(settle)
		handler := s.handler
		s.set(func() {
			s.handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
		})
		gets := s.gets.Load()
		time.Sleep(5 * time.Second)
		require.NoError(t, f.check(known))
		time.Sleep(6 * time.Second)
		require.Less(t, s.gets.Load()-gets, int64(20))
		require.Equal(t, 2, strings.Count(f.log.String(), "\n"), "each is logged once: %s", f.log)
		tok := s.login("u")
		require.ErrorIs(t, f.check(tok), revoked.ErrStale)
		s.set(func() { s.handler = handler })
		time.Sleep(settle)
		require.NoError(t, f.check(tok))
	})
}

// A cache that serves one document for ever does not make a follower look fresh, whatever the clocks show. An older document
// changes nothing.
func TestReplayedDocuments(t *testing.T) {
	for _, ahead := range []time.Duration{0, 90 * time.Second, -5 * time.Second} {
		t.Run(ahead.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				shifted := func(_ *http.Request, _ *http.Response, document string) string {
					return s.edited("revocations+jwt", document, func(m map[string]any) {
						made, err := m["time"].(json.Number).Int64()
						require.NoError(t, err)
						m["time"] = made + ahead.Milliseconds()
					})
				}
				s.set(func() { s.tamper = shifted })
				tok := s.login("u")
				f := s.follow()
				time.Sleep(settle)
				require.NoError(t, f.check(tok))
				var old, older string
				s.set(func() {
					s.tamper = func(r *http.Request, answer *http.Response, document string) string {
						if old == "" {
							old = shifted(r, answer, document)
						}
						return old
					}
				})
				time.Sleep(soon)
				began := time.Now()
				s.revoke(tok)
				time.Sleep(23 * time.Second)
				require.NoError(t, f.check(tok), "the bound is 30 seconds")
				time.Sleep(time.Until(began.Add(30 * time.Second)))
				require.ErrorIs(t, f.check(tok), revoked.ErrStale)
				require.Equal(t, 1, strings.Count(f.log.String(), "not newer"), "it is logged once: %s", f.log)

				older = old
				s.set(func() { s.tamper = shifted })
				time.Sleep(soon)
				require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
				fresh := s.login("u")
				s.set(func() {
					s.tamper = func(r *http.Request, _ *http.Response, _ string) string {
						return s.edited("revocations+jwt", older, func(m map[string]any) { m["after"], m["next"] = r.URL.Query().Get("after"), "0" })
					}
				})
				time.Sleep(20 * time.Second)
				require.NoError(t, f.check(fresh), "it does not set freshness back")
				time.Sleep(10 * time.Second)
				require.ErrorIs(t, f.check(fresh), revoked.ErrStale, "nor forward")
				s.set(func() { s.tamper = shifted })
				time.Sleep(soon)
				require.NoError(t, f.check(fresh))
			})
		})
	}
}

// The first page of the log is from a cache, and the log has more entries now. No entry between it and the end is missed.
func TestAnOldFirstPage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		old := s.get(session.Start)
		time.Sleep(time.Second)
		tok := s.login("u")
		s.revoke(tok)
		s.set(func() {
			s.tamper = func(r *http.Request, _ *http.Response, document string) string {
				if r.URL.Query().Get("after") == string(session.Start) {
					return old
				}
				return document
			}
		})
		f := s.follow()
		time.Sleep(settle)
		posts := s.posts.Load()
		require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
		require.Equal(t, posts, s.posts.Load(), "from memory")
	})
}

func TestAwayAndBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		tok, gone := s.login("u"), s.login("u")
		s.set(func() { s.away = true })
		f, careless := s.follow(feed.WithMaxStaleness(5*time.Second)), s.follow(feed.WithInsecureStaleRevocations())
		time.Sleep(time.Minute)
		require.ErrorIs(t, f.check(tok), revoked.ErrStale)
		require.Equal(t, 1, strings.Count(f.log.String(), "\n"), "it is logged once: %s", f.log)
		s.set(func() { s.away = false })
		time.Sleep(settle)
		require.NoError(t, f.check(tok))
		s.set(func() { s.away = true })
		s.revoke(gone)
		time.Sleep(3900 * time.Millisecond) // the newest document may be 1.1 seconds old
		require.NoError(t, f.check(tok))
		time.Sleep(1100 * time.Millisecond)
		require.ErrorIs(t, f.check(tok), revoked.ErrStale)
		require.NoError(t, careless.check(tok))
		s.set(func() { s.away = false })
		time.Sleep(settle)
		require.NoError(t, f.check(tok))
		for _, each := range []*follower{f, careless} {
			require.ErrorIs(t, each.check(gone), revoked.ErrRevoked)
		}
		require.NoError(t, f.Close())
		require.NoError(t, f.Close())
		require.ErrorIs(t, f.check(tok), revoked.ErrClosed)
	})
}

func TestALongLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var list []token
		for i := range 25_000 {
			tok := s.login(fmt.Sprint("user", i))
			if i%10 == 0 {
				s.endAll(tok.userID, "")
			} else {
				s.revoke(tok)
			}
			list = append(list, tok)
		}
		f := s.follow(feed.WithMemory(16 << 20))
		time.Sleep(settle)
		require.GreaterOrEqual(t, s.gets.Load(), int64(5))
		posts := s.posts.Load()
		for _, tok := range list {
			require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
		}
		require.NoError(t, f.check(s.login("u")))
		require.Equal(t, posts, s.posts.Load(), "from memory")
	})
}

// So much is revoked at a time that a page of it is too long for the link. The follower asks for smaller pages, and catches up.
func TestASlowLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		f := s.follow(feed.WithMaxStaleness(5*time.Second), feed.WithMemory(16<<20))
		tok := s.login("u")
		time.Sleep(settle)
		s.set(func() { s.rate = 125_000 })
		var gone []token
		for i := range 10_000 {
			gone = append(gone, s.login(fmt.Sprint("user", i)))
			s.endAll(gone[i].userID, "")
		}
		time.Sleep(time.Minute)
		require.NoError(t, f.check(tok))
		for _, tok := range gone {
			require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
		}
	})
}

// Much was revoked while the service was away. The follower begins with small pages, and soon asks for large ones again.
func TestMuchIsRevokedWhileTheServiceIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		f := s.follow(feed.WithMaxStaleness(5*time.Second), feed.WithMemory(16<<20))
		tok := s.login("u")
		time.Sleep(settle)
		s.set(func() { s.away = true })
		time.Sleep(time.Minute)
		require.ErrorIs(t, f.check(tok), revoked.ErrStale)
		for i := range 20_000 {
			s.endAll(fmt.Sprint("user", i), "")
		}
		before := s.gets.Load()
		s.set(func() { s.away, s.rate = false, 10_000_000 })
		time.Sleep(3 * time.Second)
		require.NoError(t, f.check(tok))
		require.Less(t, s.gets.Load()-before, int64(20))
	})
}

// The query of the host stays as it is.
func TestTheQueryOfTheURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		queries := make(chan string, 100)
		s.tamper = func(r *http.Request, _ *http.Response, body string) string {
			queries <- r.URL.RawQuery
			return body
		}
		f, err := feed.Open(address+"?key=a+b&flag", s.ring, feed.WithClient(&http.Client{Transport: s}), feed.WithIssuer(issuerName))
		require.NoError(t, err)
		time.Sleep(settle)
		require.NoError(t, f.Close())
		require.Equal(t, "key=a+b&flag&after=end&limit=5000", <-queries)
	})
	for _, query := range []string{"?key=a;b", "?key=100%", "?after=end", "?limit=1"} {
		_, err := feed.Open(address+query, newService(t).ring)
		require.ErrorContains(t, err, "the query of the URL is malformed", query)
	}
}

// The service has lost its log.
func TestALogThatDoesNotGoOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		first := s.login("u")
		s.revoke(first)
		s.revoke(s.login("u"))
		f := s.follow()
		time.Sleep(settle)
		require.ErrorIs(t, f.check(first), revoked.ErrRevoked)
		s.begin()
		second, good := s.login("u"), s.login("u")
		s.revoke(second)
		time.Sleep(soon + settle)
		require.ErrorIs(t, f.check(first), revoked.ErrRevoked)
		require.ErrorIs(t, f.check(second), revoked.ErrRevoked)
		require.NoError(t, f.check(good))
		require.Equal(t, 1, strings.Count(f.log.String(), "\n"), "it is logged once: %s", f.log)
		require.Contains(t, f.log.String(), "it is read again")
	})
}

// The service confirms what does not fit into the memory of the follower. When it is away, nothing passes unchecked.
func TestConfirmation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var ended, good []token
		for i := range 70_000 {
			tok := s.login(fmt.Sprint("user", i%3500))
			if i%700 == 7 {
				good = append(good, s.login(tok.userID))
			}
			s.revoke(tok)
			if i%70 == 0 {
				ended = append(ended, tok)
			}
		}
		f := s.follow()
		time.Sleep(settle)
		require.Zero(t, s.posts.Load())
		for range 2 {
			for _, tok := range ended[:500] {
				require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
			}
		}
		require.Equal(t, int64(500), s.posts.Load(), "each once")
		for _, tok := range good {
			require.NoError(t, f.check(tok))
		}
		require.Less(t, s.posts.Load(), int64(560), "few good ones are asked about")
		s.set(func() { s.away = true })
		for _, tok := range ended[500:] {
			err := f.check(tok)
			require.ErrorIs(t, err, errAway)
			require.NotErrorIs(t, err, revoked.ErrRevoked)
		}
		for _, tok := range ended[:500] {
			require.ErrorIs(t, f.check(tok), revoked.ErrRevoked, "it was asked about before")
		}
	})
}

// Before the whole log was read, the service confirms every session. A wrong answer confirms nothing.
func TestBadConfirmations(t *testing.T) {
	for name, edit := range map[string]func(m map[string]any){
		"nonce":      func(m map[string]any) { m["nonce"] = "of another request" },
		"session":    func(m map[string]any) { m["session"] = "AAAAAAAAAAAAAAAAAAAAAA" },
		"user":       func(m map[string]any) { m["users"].([]any)[0].(map[string]any)["key"] = "AAAAAAAAAAAAAAAAAAAAAA" },
		"two users":  func(m map[string]any) { m["users"] = append(m["users"].([]any), m["users"].([]any)[0]) },
		"everybody":  func(m map[string]any) { m["all"] = []any{} },
		"group":      func(m map[string]any) { m["all"].([]any)[0].(map[string]any)["group"] = -1 },
		"no group":   func(m map[string]any) { m["all"].([]any)[0].(map[string]any)["group"] = 16 },
		"old":        func(m map[string]any) { m["time"] = time.Now().Add(-31 * time.Second).UnixMilli() },
		"future":     func(m map[string]any) { m["time"] = time.Now().Add(3 * time.Minute).UnixMilli() },
		"issuer":     func(m map[string]any) { m["iss"] = "" },
		"not said":   func(m map[string]any) { delete(m, "revoked") },
		"not true":   func(m map[string]any) { m["revoked"] = 0 },
		"half a key": func(m map[string]any) { m["session"] = "AAAA" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newService(t)
				tok := s.login("u")
				s.set(func() {
					s.tamper = func(r *http.Request, answer *http.Response, document string) string {
						switch {
						case r.Method == http.MethodPost:
							return s.edited("revocation-status+jwt", document, edit)
						case r.URL.Query().Get("after") == "":
							answer.StatusCode, answer.Status = 503, "503 Service Unavailable"
						}
						return document
					}
				})
				f := s.follow()
				time.Sleep(settle)
				err := f.check(tok)
				require.ErrorContains(t, err, "look up the session")
				require.NotErrorIs(t, err, revoked.ErrRevoked)
				tampered := s.tamper
				s.set(func() {
					s.tamper = func(r *http.Request, answer *http.Response, document string) string {
						if r.Method == http.MethodPost {
							return document
						}
						return tampered(r, answer, document)
					}
				})
				require.NoError(t, f.check(tok))
				gone := s.login("u")
				s.endAll("u", tok.id)
				require.ErrorIs(t, f.check(gone), revoked.ErrRevoked)
				require.NoError(t, f.check(tok))
				lost := token{session.NewID("v"), "v", session.Version{}}
				require.NoError(t, f.check(lost), "the store does not know it")
				s.endAll("", "")
				lost.id = session.NewID("v")
				require.ErrorIs(t, f.check(lost), revoked.ErrRevoked)
			})
		})
	}
}

// The issuer changes its key while a service follows.
func TestKeyRotation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		jwks := func(*http.Request) (*http.Response, error) {
			body, err := s.ring.Current().JWKS()
			return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body))}, err
		}
		published, err := keys.OpenURL("https://login.example/jwks", keys.WithClient(&http.Client{Transport: transport(jwks)}))
		require.NoError(t, err)
		defer published.Close()
		log := &syncBuffer{}
		opened, err := feed.Open(address, published, feed.WithClient(&http.Client{Transport: s}), feed.WithIssuer(issuerName),
			feed.WithLogger(log.logger()))
		require.NoError(t, err)
		defer opened.Close()
		f := &follower{opened, t, log}
		time.Sleep(settle)
		for i := range 3 {
			require.NoError(t, s.ring.Rotate(newKey(t, fmt.Sprint("next", i))))
			tok := s.login("u")
			s.revoke(tok)
			time.Sleep(soon)
			require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
			require.NoError(t, f.check(s.login("u")))
		}
		require.Empty(t, log.String())
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(r *http.Request) (*http.Response, error) { return t(r) }

func TestManyFollowersCostFewReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var all []*follower
		for range 100 {
			all = append(all, s.follow())
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(settle)
		gets, reads := s.gets.Load(), s.store.reads.Load()
		time.Sleep(20 * time.Second)
		require.Greater(t, s.gets.Load()-gets, int64(1900))
		require.LessOrEqual(t, s.store.reads.Load()-reads, int64(200), "10 a second")
		tok := s.login("u")
		s.revoke(tok)
		time.Sleep(soon)
		for _, f := range all {
			require.ErrorIs(t, f.check(tok), revoked.ErrRevoked)
		}
	})
}

// TestOverTheNetwork uses a real server and the default client. Nothing is left after Close.
func TestOverTheNetwork(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newService(t)
	server := httptest.NewServer(s.handler)
	tok, good := s.login("u"), s.login("u")
	f, err := feed.Open(server.URL+"/revocations?secret=x", s.ring, feed.WithIssuer(issuerName), feed.WithMaxStaleness(time.Second))
	require.NoError(t, err)
	require.Equal(t, "feed.Feed", fmt.Sprintf("%+v", f))
	opened := &follower{f, t, nil}
	require.Eventually(t, func() bool { return opened.check(tok) == nil }, 10*time.Second, 10*time.Millisecond)
	s.revoke(tok)
	require.Eventually(t, func() bool { return opened.check(tok) == revoked.ErrRevoked }, 10*time.Second, 10*time.Millisecond)
	require.Eventually(t, func() bool { return opened.check(good) == nil }, 10*time.Second, 10*time.Millisecond)
	require.NoError(t, f.Close())
	server.Close()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before\n%s", runtime.NumGoroutine(), before, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestOpenChecksItsArguments(t *testing.T) {
	ring := newService(t).ring
	for url, want := range map[string]string{"http://login.example/": "not https", "": "not absolute", "/x": "not absolute",
		"http://127.0.0.1.example/": "not https", "https://user:pass@login.example/": "credentials", "https://[": "malformed"} {
		_, err := feed.Open(url, ring)
		require.ErrorContains(t, err, want, url)
		require.NotContains(t, err.Error(), "pass@")
	}
	_, err := feed.Open("", nil, nil, feed.WithMaxStaleness(0), feed.WithMemory(1), feed.WithClient(nil), feed.WithLogger(nil))
	for _, want := range []string{"feed.Open: the URL", "source of keys is nil", "option is nil", "feed.WithMaxStaleness: 0s", "feed.WithMemory: 1 ",
		"feed.WithClient", "feed.WithLogger"} {
		require.ErrorContains(t, err, want)
	}
	_, err = feed.Open(address, (*keys.Ring)(nil))
	require.ErrorContains(t, err, "nil")
	_, err = feed.Open(address, &keys.Ring{})
	require.ErrorContains(t, err, "NewRing")
	f, err := feed.Open("http://login.example/", ring, feed.WithInsecureHTTP(), feed.WithClient(&http.Client{Transport: newService(t)}))
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// The clock of the service's store is behind. Followers know for how long a revocation matters in spite of it.
func TestAStoreWhoseClockIsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.store.Store = &session.Memory{Clock: func() time.Time { return time.Now().Add(-36 * time.Hour) }}
		f := s.follow()
		time.Sleep(3 * time.Minute)
		ended, cut := s.login("ann"), s.login("bob")
		s.revoke(ended)
		s.endAll("bob", "")
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, f.check(ended), revoked.ErrRevoked)
		require.ErrorIs(t, f.check(cut), revoked.ErrRevoked)
	})
}
