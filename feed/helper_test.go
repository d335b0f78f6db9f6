package feed_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

const (
	issuerName = "https://login.example"
	address    = "https://login.example/auth/revocations"
)

func newKey(t testing.TB, id string) *keys.Key {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	return keys.Private(k, keys.WithID(id))
}

// service is the one that issues tokens. Its RoundTrip answers without a network, so that a test can control the clock.
type service struct {
	t     testing.TB
	store *countedStore
	ring  *keys.Ring

	mu      sync.Mutex
	handler http.Handler
	tamper  func(r *http.Request, answer *http.Response, body string) string // nil: answers arrive as they are
	away    bool
	rate    int // of the link, in bytes a second; 0: it takes no time

	gets, posts atomic.Int64
}

// countedStore counts the reads of the log.
type countedStore struct {
	session.Store
	reads atomic.Int64
}

func (s *countedStore) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	s.reads.Add(1)
	return s.Store.ReadLog(ctx, after, limit, each)
}

func newService(t testing.TB) *service {
	t.Helper()
	ring, err := keys.NewRing(newKey(t, "first"))
	require.NoError(t, err)
	s := &service{t: t, ring: ring}
	s.begin()
	return s
}

// begin gives the service a new store.
func (s *service) begin() {
	s.store = &countedStore{Store: &session.Memory{MaxPerUser: 1_000_000}}
	handler, err := feed.NewHandler(s.store, s.ring, feed.WithIssuer(issuerName))
	require.NoError(s.t, err)
	s.set(func() { s.handler = handler })
}

func (s *service) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

var errAway = errors.New("the service is away")

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	s.mu.Lock()
	handler, tamper, away, rate := s.handler, s.tamper, s.away, s.rate
	s.mu.Unlock()
	if away {
		return nil, errAway
	}
	switch r.Method {
	case http.MethodGet:
		s.gets.Add(1)
	case http.MethodPost:
		s.posts.Add(1)
	}
	recorder := httptest.NewRecorder()
	handler.ServeHTTP(recorder, r)
	answer := recorder.Result()
	answer.Request = r
	if tamper != nil {
		body := tamper(r, answer, recorder.Body.String())
		answer.Body = io.NopCloser(strings.NewReader(body))
	}
	if rate > 0 {
		answer.Body = slowBody{answer.Body, r.Context(), rate}
	}
	return answer, nil
}

// slowBody is a body behind a slow link.
type slowBody struct {
	io.ReadCloser
	ctx  context.Context
	rate int // bytes a second
}

func (b slowBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	select {
	case <-time.After(time.Duration(n) * time.Second / time.Duration(b.rate)):
		return n, err
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
}

// get returns what the service answers now.
func (s *service) get(after session.Cursor) string {
	s.t.Helper()
	recorder := httptest.NewRecorder()
	s.handler.ServeHTTP(recorder, httptest.NewRequest("GET", "/?after="+string(after), nil))
	require.Equal(s.t, 200, recorder.Code)
	return recorder.Body.String()
}

// payload returns the decoded payload of a document.
func payload(t testing.TB, document string) string {
	t.Helper()
	parts := strings.Split(document, ".")
	require.Len(t, parts, 3)
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	require.NoError(t, err)
	return string(text)
}

// sign signs a payload.
func sign(t testing.TB, key *keys.Key, typ, payload string) string {
	t.Helper()
	document, err := jws.NewWriter(typ).Sign(t.Context(), key, []byte(payload))
	require.NoError(t, err)
	return document
}

// edited returns a document of the service with other members.
func (s *service) edited(typ, document string, edit func(members map[string]any)) string {
	s.t.Helper()
	var members map[string]any
	decoder := json.NewDecoder(strings.NewReader(payload(s.t, document)))
	decoder.UseNumber()
	require.NoError(s.t, decoder.Decode(&members))
	edit(members)
	text, err := json.Marshal(members)
	require.NoError(s.t, err)
	return sign(s.t, s.ring.Current().Signing(), typ, string(text))
}

// login makes a session.
func (s *service) login(userID string) token {
	s.t.Helper()
	made := token{id: session.NewID(userID), userID: userID}
	err := s.store.Create(s.t.Context(), userID, func(at session.Moment) (session.Session, error) {
		made.version = at.Version()
		return session.Session{ID: made.id, UserID: userID, Born: at.Version(), CreatedAt: at.Now, LastUsedAt: at.Now, Current: 1, Next: 2,
			KeepUntil: at.Now.Add(24 * time.Hour), EndsAt: at.Now.Add(24 * time.Hour)}, nil
	})
	require.NoError(s.t, err)
	return made
}

func (s *service) revoke(tok token) {
	s.t.Helper()
	require.NoError(s.t, s.store.Update(s.t.Context(), tok.id, func(row session.Session, at session.Moment) (session.Session, error) {
		return row.Revoke(session.ReasonLogout, at.Now), nil
	}))
}

func (s *service) cut(userID string, change func(before session.Cutoff, keep, now session.Millis) session.Cutoff) {
	s.t.Helper()
	require.NoError(s.t, s.store.Cut(s.t.Context(), userID, func(before session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
		return change(before, now.Add(24*time.Hour), now), nil
	}))
}

func (s *service) endAll(userID, spared string) {
	s.t.Helper()
	s.cut(userID, func(before session.Cutoff, keep, now session.Millis) session.Cutoff {
		return before.End(spared, keep, now)
	})
}

func (s *service) change(userID string) {
	s.t.Helper()
	s.cut(userID, func(before session.Cutoff, keep, now session.Millis) session.Cutoff { return before.Change(keep, now) })
}

// token is what a verified token says.
type token struct {
	id, userID string
	version    session.Version
}

// follower follows a service.
type follower struct {
	*feed.Feed
	t   testing.TB
	log *syncBuffer
}

func (s *service) follow(opts ...feed.Option) *follower {
	s.t.Helper()
	log := &syncBuffer{}
	opts = append([]feed.Option{feed.WithClient(&http.Client{Transport: s}), feed.WithIssuer(issuerName), feed.WithLogger(log.logger()),
		feed.WithMemory(1 << 20)}, opts...)
	f, err := feed.Open(address, s.ring, opts...)
	require.NoError(s.t, err)
	s.t.Cleanup(func() { require.NoError(s.t, f.Close()) })
	return &follower{f, s.t, log}
}

// check returns what the follower says about a token.
func (f *follower) check(tok token) error {
	f.t.Helper()
	ref := f.View().Ref(tok.id, tok.userID, tok.version, 0)
	return f.View().Check(f.t.Context(), &ref, time.Now())
}

// syncBuffer is a log that a goroutine writes while a test reads it.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) logger() *slog.Logger { return slog.New(slog.NewTextHandler(s, nil)) }
