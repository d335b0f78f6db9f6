// Package feed lets other services follow the revocations of a signet service. A service that has only the keys accepts
// the token of a session that was revoked until it expires. A service that follows the feed refuses it about a second
// after the revocation, and it needs no access to the session store.
//
// The service that issues the tokens serves the feed of its session store:
//
//	revocations, err := feed.NewHandler(store, ring, feed.WithIssuer("https://login.example"))
//	...
//	mux.Handle("/auth/revocations", revocations)
//
// Every other service follows it:
//
//	follower, err := feed.Open("https://login.example/auth/revocations", published, feed.WithIssuer("https://login.example"))
//	...
//	defer follower.Close()
//
// A follower knows the same as the issuer itself: the sessions that were revoked, the users whose sessions have all
// ended or who have changed, and the end of the sessions of everybody.
//
// # What is sent
//
// A document is a JWS that is signed with the keys of the tokens, so caches and proxies cannot change it. It holds the
// first 16 bytes of the SHA-256 of each id, and no id itself. Ids of sessions are random, so nobody can find them from
// their hashes. Ids of users can often be guessed, and whoever guesses one can see in the feed that this user was cut
// off. So let only your own services reach the handler, where that matters: with mutual TLS, a network, or credentials
// that a middleware checks.
//
// A follower asks the service about single sessions in two cases: it has just started and has not read the whole log
// yet, or more was revoked than its memory holds exactly. Then it sends the ids of the session and of the user.
//
// # Staleness
//
// The documents tell when they were made. When the newest one is older than [WithMaxStaleness], tokens are answered
// 503, and never accepted unchecked. A document that a cache has kept does not make a follower look fresh. The clocks
// of both machines are compared for that: if the clock of the service is late, documents look older than they are. If
// it is more than two minutes early, they are refused. If it was set back, they are refused until it shows the old time
// again.
package feed

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/safeurl"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

const (
	pullInterval = time.Second
	maxDocument  = 16 << 20        // bytes
	maxAhead     = 2 * time.Minute // how far the clock of the service may be ahead
)

// Feed follows the revocations of another service. It is safe for concurrent use. Make it with [Open].
type Feed struct {
	remote *remote
	view   *revoked.View
}

// Open follows the feed at a URL. The keys are those that verify the tokens: usually the [keys.Remote] of
// [keys.OpenURL]. The error joins all mistakes in the arguments. Open does not wait for the service: until the first
// document has come, tokens are answered 503. It starts three goroutines that [Feed.Close] ends: one reads the end of the
// log, one reads the old part of it, and one looks at the time.
//
// The URL must be https, or http on a loopback address (see also [WithInsecureHTTP]). A redirect must not lead from https to
// http, and must keep the method (307 or 308): sessions are looked up by POST.
func Open(address string, source keys.Source, opts ...Option) (*Feed, error) {
	cfg := defaults()
	for _, opt := range opts {
		if isnil.Value(opt) {
			cfg.mistake("Open", "an option is nil")
			continue
		}
		opt.applyFeed(&cfg)
	}
	cfg.checkSource("Open", source)
	r := &remote{config: cfg}
	if err := r.locate(address); err != nil {
		r.mistake("Open", "%w", err)
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	r.reader = jws.NewReader(source, jws.Rules{}, nil)
	r.client, r.end = r.rule.Client(r.client)
	view, err := revoked.Open(revoked.Config{Source: r, Name: "the feed of " + r.url.Host, Logger: r.logger, Timeout: timeout,
		Interval: min(pullInterval, r.maxStaleness/4), MaxStaleness: r.maxStaleness, Insecure: r.insecure, Bytes: r.memory,
		Remote: true, NameOf: name})
	if err != nil {
		return nil, fmt.Errorf("feed.Open: %w", err)
	}
	return &Feed{remote: r, view: view}, nil
}

// Close ends the goroutines that [Open] started and waits for them. Then tokens are answered 503; with
// [WithInsecureStaleRevocations] they still pass, and revocations are not seen. The source of the keys stays open. A second
// Close does nothing. It always returns nil.
func (f *Feed) Close() error {
	f.view.Close()
	f.remote.end()
	return nil
}

// View is for package signet, which asks it about every token. Its type is internal.
func (f *Feed) View() *revoked.View { return f.view }

// Format implements [fmt.Formatter]. A Feed prints only its name, because the query of its URL may hold a secret.
func (f *Feed) Format(state fmt.State, _ rune) { fmt.Fprint(state, "feed.Feed") }

// remote is the handler of the other service. It implements [revoked.Source].
type remote struct {
	config
	url    *url.URL
	rule   safeurl.Rule // which URLs may be fetched
	reader *jws.Reader
	end    func() // closes the connections that belong to the client
}

func (r *remote) locate(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errors.New("the URL is malformed")
	}
	if query, err := url.ParseQuery(u.RawQuery); err != nil || query.Has("after") || query.Has("limit") {
		return errors.New("the query of the URL is malformed, or has one of the parameters after and limit")
	}
	r.url = u
	r.rule = safeurl.Rule{Host: u.Host, Insecure: r.insecureHTTP}
	return r.rule.Check(u)
}

// ReadLog implements [session.Log].
func (r *remote) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	u := *r.url
	asked := url.Values{"after": {string(after)}, "limit": {strconv.Itoa(limit)}}.Encode()
	u.RawQuery = strings.TrimPrefix(u.RawQuery+"&"+asked, "&") // what the host has written there stays as it is
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return session.Page{}, err
	}
	payload, err := r.ask(req, listType)
	if err != nil {
		if errors.Is(err, errGone) && after != session.Start && after != session.End {
			err = session.ErrCursor
		}
		return session.Page{}, err
	}
	l, err := parseList(payload)
	if err == nil {
		err = r.checkOrigin(l.issuer, l.time)
	}
	switch {
	case err != nil:
		return session.Page{}, fmt.Errorf("the document: %w", err)
	case l.after != after:
		return session.Page{}, errors.New("the document: it is the answer to another request")
	}
	for _, e := range l.entries {
		each(e)
	}
	return session.Page{Next: l.next, More: l.more, Now: l.time}, nil
}

// Lookup implements [revoked.Source]. The answer cannot be an old one, because it repeats a random text of the request.
func (r *remote) Lookup(ctx context.Context, id, userID string) (revoked.Status, error) {
	nonce := rand.Text()
	body, err := json.Marshal(map[string]string{"session": id, "user": userID, "nonce": nonce})
	if err != nil {
		return revoked.Status{}, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url.String(), bytes.NewReader(body))
	if err != nil {
		return revoked.Status{}, err
	}
	req.Header.Set("Content-Type", "application/json")
	payload, err := r.ask(req, statusType)
	if err != nil {
		return revoked.Status{}, err
	}
	s, err := parseStatus(payload)
	if err == nil {
		err = r.checkOrigin(s.issuer, s.time)
	}
	switch {
	case err != nil:
		return revoked.Status{}, fmt.Errorf("the document: %w", err)
	case s.nonce != nonce || s.session != name(id) || s.User.ID != name(userID) || s.All.Group != session.GroupOfUser(userID):
		return revoked.Status{}, errors.New("the document: it is the answer to another request")
	case s.time < session.MillisOf(time.Now().Add(-r.maxStaleness)):
		return revoked.Status{}, errors.New("the document: it is too old")
	}
	return s.Status, nil
}

// checkOrigin checks what all documents say about themselves.
func (r *remote) checkOrigin(issuer string, made session.Millis) error {
	switch {
	case issuer != r.issuer:
		return fmt.Errorf("it is from another issuer: %q, and not %q (feed.WithIssuer)", issuer, r.issuer)
	case made > session.MillisOf(time.Now().Add(maxAhead)):
		return errors.New("it is from the future")
	}
	return nil
}

var errGone = errors.New("the service answered 410 Gone")

// ask sends a request and returns the payload of the signed answer.
func (r *remote) ask(req *http.Request, typ string) (string, error) {
	req.Header.Set("Accept", "application/"+typ)
	res, err := safeurl.Do(r.client, req)
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusOK:
	case http.StatusGone:
		return "", errGone
	default:
		return "", fmt.Errorf("the service answered %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	switch {
	case err != nil:
		return "", err
	case len(body) > maxDocument:
		return "", fmt.Errorf("the service answered more than %d bytes", maxDocument)
	}
	return r.verify(req.Context(), string(body), typ)
}

// verify checks the signature and the type of a document.
func (r *remote) verify(ctx context.Context, document, typ string) (string, error) {
	token, err := jws.Open(document, maxDocument)
	if err != nil {
		return "", fmt.Errorf("the document: %w", err)
	}
	defer token.Close()
	verified, err := r.reader.Verify(ctx, token)
	if err != nil {
		return "", fmt.Errorf("the document: %w", err)
	}
	if !jws.IsType(verified.Type, typ) {
		return "", errors.New("the document: it is of another type")
	}
	return verified.Payload, nil
}
