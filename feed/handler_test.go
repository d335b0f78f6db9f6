package feed_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// brokenStore answers every call with an error.
type brokenStore struct {
	session.Store
	err error
}

func (b brokenStore) ReadLog(context.Context, session.Cursor, int, func(session.Entry)) (session.Page, error) {
	return session.Page{}, b.err
}

func (b brokenStore) Update(context.Context, string, func(session.Session, session.Moment) (session.Session, error)) error {
	return b.err
}

func TestRefusals(t *testing.T) {
	s := newService(t)
	log := &syncBuffer{}
	broken, err := feed.NewHandler(brokenStore{err: errors.New("the password of the database is x")}, s.ring, feed.WithLogger(log.logger()))
	require.NoError(t, err)
	const question = `{"session":"s","user":"u"}`
	for _, tc := range []struct {
		name, method, query, body, media string
		status                           int
		code                             string
		handler                          http.Handler
	}{
		{"put", "PUT", "", question, "application/json", 405, "method_not_allowed", nil},
		{"head", "HEAD", "", "", "", 405, "method_not_allowed", nil},
		{"semicolon", "GET", "?after=1;2", "", "", 400, "invalid_request", nil},
		{"escape", "GET", "?after=%zz", "", "", 400, "invalid_request", nil},
		{"two cursors", "GET", "?after=1&after=2", "", "", 400, "invalid_request", nil},
		{"limit 0", "GET", "?limit=0", "", "", 400, "invalid_request", nil},
		{"negative limit", "GET", "?limit=-1", "", "", 400, "invalid_request", nil},
		{"two limits", "GET", "?limit=1&limit=2", "", "", 400, "invalid_request", nil},
		{"long cursor", "GET", "?after=" + strings.Repeat("1", 2049), "", "", 400, "invalid_request", nil},
		{"no text", "GET", "?after=%ff", "", "", 400, "invalid_request", nil},
		{"unknown cursor", "GET", "?after=77", "", "", 410, "unknown_cursor", nil},
		{"bad cursor", "GET", "?after=x", "", "", 410, "unknown_cursor", nil},
		{"form", "POST", "", "session=s&user=u", "application/x-www-form-urlencoded", 415, "unsupported_media_type", nil},
		{"no type", "POST", "", question, "", 415, "unsupported_media_type", nil},
		{"long body", "POST", "", `{"session":"` + strings.Repeat("s", 8192) + `","user":"u"}`, "application/json", 413, "body_too_large", nil},
		{"no user", "POST", "", `{"session":"s"}`, "application/json", 400, "invalid_request", nil},
		{"empty", "POST", "", ``, "application/json", 400, "invalid_request", nil},
		{"twice", "POST", "", `{"session":"s","user":"u","user":"v"}`, "application/json", 400, "invalid_request", nil},
		{"two types", "POST", "", question, "application/json, text/plain", 415, "unsupported_media_type", nil},
		{"no body at all", "POST", "", "nil", "application/json", 400, "invalid_request", nil},
		{"slow body", "POST", "", "slow", "application/json", 408, "request_timeout", nil},
		{"number", "POST", "", `{"session":1,"user":"u"}`, "application/json", 400, "invalid_request", nil},
		{"long nonce", "POST", "", `{"session":"s","user":"u","nonce":"` + strings.Repeat("n", 65) + `"}`, "application/json", 400, "invalid_request", nil},
		{"store away", "GET", "", "", "", 503, "temporarily_unavailable", broken},
		{"store away", "POST", "", question, "application/json; charset=utf-8", 503, "temporarily_unavailable", broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			req := httptest.NewRequest(tc.method, "/"+tc.query, strings.NewReader(tc.body))
			if tc.media != "" {
				req.Header["Content-Type"] = strings.Split(tc.media, ", ")
			}
			switch tc.body {
			case "nil":
				req.Body = nil
			case "slow":
				req.Body = io.NopCloser(iotest.ErrReader(os.ErrDeadlineExceeded))
			}
			if tc.handler == nil {
				tc.handler = s.handler
			}
			recorder := httptest.NewRecorder()
			tc.handler.ServeHTTP(recorder, req)
			require.Equal(t, tc.status, recorder.Code)
			h := recorder.Header()
			require.Equal(t, "application/problem+json", h.Get("Content-Type"))
			require.Equal(t, "no-store", h.Get("Cache-Control"))
			require.Equal(t, tc.status == 405, h.Get("Allow") == "GET, POST")
			require.Equal(t, tc.status == 503, h.Get("Retry-After") == "1")
			var problem struct {
				Code    string
				Status  int
				Message string
			}
			require.NoError(t, json.Unmarshal(recorder.Body.Bytes(), &problem))
			require.Equal(t, tc.code, problem.Code)
			require.Equal(t, tc.status, problem.Status)
			require.NotContains(t, recorder.Body.String(), "password")
		})
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), "it is logged once: %s", log)
}

func TestAnswers(t *testing.T) {
	s := newService(t)
	tok, gone := s.login("u"), s.login("u")
	s.revoke(gone)
	answer := func(method, query, body string) (*http.Response, map[string]any) {
		req := httptest.NewRequest(method, "/"+query, strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		recorder := httptest.NewRecorder()
		s.handler.ServeHTTP(recorder, req)
		require.Equal(t, 200, recorder.Code)
		require.Equal(t, "no-store", recorder.Header().Get("Cache-Control"))
		var members map[string]any
		require.NoError(t, json.Unmarshal([]byte(payload(t, recorder.Body.String())), &members))
		require.Equal(t, issuerName, members["iss"])
		require.InDelta(t, time.Now().UnixMilli(), members["time"], 60_000)
		return recorder.Result(), members
	}
	res, members := answer("GET", "?other=1", "")
	require.Equal(t, "application/revocations+jwt", res.Header.Get("Content-Type"))
	require.Equal(t, "", members["after"])
	require.Len(t, members["sessions"], 27, "20 bytes")
	_, members = answer("GET", "?after=end", "")
	require.Empty(t, members["sessions"])
	require.NotEqual(t, "end", members["next"])
	for _, tc := range []struct {
		tok     token
		revoked bool
	}{{tok, false}, {gone, true}, {token{id: session.NewID("u"), userID: "u"}, false}} {
		res, members = answer("POST", "", fmt.Sprintf(`{"session":%q,"user":%q,"nonce":"n"}`, tc.tok.id, tc.tok.userID))
		require.Equal(t, "application/revocation-status+jwt", res.Header.Get("Content-Type"))
		require.Equal(t, tc.revoked, members["revoked"])
		require.Equal(t, "n", members["nonce"])
	}
	// What the document says about a user is about that user, whoever has the session.
	s.endAll("v", "")
	_, members = answer("POST", "", fmt.Sprintf(`{"session":%q,"user":"v"}`, tok.id))
	require.NotZero(t, members["users"].([]any)[0].(map[string]any)["ended"])
	require.Equal(t, "feed.Handler", fmt.Sprintf("%+v", s.handler))
}

// emptyStore has an empty log, and knows every cursor.
type emptyStore struct{ session.Store }

func (emptyStore) ReadLog(_ context.Context, after session.Cursor, _ int, _ func(session.Entry)) (session.Page, error) {
	return session.Page{Next: after}, nil
}

// A document is kept for a moment, and a few of them at most.
func TestDocumentsAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		s.store.Store = emptyStore{}
		reads := func(cursors int, wait time.Duration) int64 {
			before := s.store.reads.Load()
			for range 3 {
				for i := range cursors {
					s.get(session.Cursor(fmt.Sprint(i)))
				}
			}
			time.Sleep(wait)
			return s.store.reads.Load() - before
		}
		require.Equal(t, int64(1), reads(1, 0))
		require.Equal(t, int64(0), reads(1, 99*time.Millisecond))
		require.Equal(t, int64(0), reads(1, time.Millisecond))
		require.Equal(t, int64(32), reads(32, time.Second))
		require.Equal(t, int64(32+3*8), reads(40, time.Second), "32 are kept")
		require.Equal(t, int64(1), reads(1, 0))
	})
}

// A list has as many entries as the follower has asked for, and 10,000 at most.
func TestTheLimitOfAList(t *testing.T) {
	s := newService(t)
	for i := range 10_100 {
		s.endAll(fmt.Sprint("user", i), "")
	}
	for query, want := range map[string]int{"": 10_000, "?limit=100": 100, "?limit=1000000": 10_000} {
		recorder := httptest.NewRecorder()
		s.handler.ServeHTTP(recorder, httptest.NewRequest("GET", "/"+query, nil))
		require.Equal(t, 200, recorder.Code)
		var list struct{ Users []any }
		require.NoError(t, json.Unmarshal([]byte(payload(t, recorder.Body.String())), &list))
		require.Len(t, list.Users, want, query)
	}
}

func TestNewHandlerChecksItsArguments(t *testing.T) {
	ring := newService(t).ring
	_, err := feed.NewHandler(nil, nil, nil, feed.WithLogger(nil))
	for _, want := range []string{"session store is nil", "source of keys is nil", "option is nil", "feed.WithLogger"} {
		require.ErrorContains(t, err, want)
	}
	_, err = feed.NewHandler((*session.Memory)(nil), ring)
	require.ErrorContains(t, err, "session store is nil")
	public, err := keys.ParseSet(must(ring.Current().JWKS()))
	require.NoError(t, err)
	_, err = feed.NewHandler(&session.Memory{}, public[0])
	require.ErrorContains(t, err, "no key that signs")
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}
