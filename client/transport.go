package client

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// Transport returns a RoundTripper that adds the access token to requests to the origins of the client, and refreshes it when
// needed. A request that is answered 401 is sent once more with a new token of the same user. An answer 401 that asks for
// another proof of who the user is (RFC 9470; see [Client.StepUp]), or is about a wrong password or code, is for the caller.
// base sends the requests; nil is [http.DefaultTransport].
//
// If another user signs in while a request waits for a refresh, the request is not sent: the error is [ErrSignedOut].
//
// A request to another origin, also after a redirect, and a request with an Authorization header of its own are sent as
// they are. Answers 429 and 503 of other requests than a refresh are for the caller. Errors are [ErrSignedOut],
// [ErrUnavailable], [*NotReplayableError], those of [Client.Token] and those of base.
func (c *Client) Transport(base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return &transport{c, base}
}

// HTTPClient returns a client with [Client.Transport] over the default of [WithTransport], which gives dead connections up.
func (c *Client) HTTPClient() *http.Client {
	return &http.Client{Transport: c.Transport(ownTransport())}
}

// maxRefusal is how much of an answer 401 is kept, in bytes.
const maxRefusal = 64 << 10

type transport struct {
	client *Client
	base   http.RoundTripper
}

// RoundTrip never changes the request. It closes the body in every case.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.URL == nil || !t.client.origins[originOf(req.URL)] || len(req.Header.Values("Authorization")) > 0 {
		return t.base.RoundTrip(req)
	}
	pair, err := t.client.valid(req.Context(), "")
	if err != nil {
		closeBody(req)
		return nil, ownError{err}
	}
	resp, err := t.base.RoundTrip(withToken(req, pair.AccessToken))
	if err != nil || resp.StatusCode != http.StatusUnauthorized || asksForProof(resp.Header) {
		return resp, err
	}
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal)) // the rest, and an error, do not matter
	resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(data))
	if isWrongAnswer(resp.Header, unzipped(resp.Header, data)) {
		return resp, nil
	}
	return t.again(req, resp, pair)
}

// CloseIdleConnections is for [http.Client.CloseIdleConnections].
func (t *transport) CloseIdleConnections() { (&http.Client{Transport: t.base}).CloseIdleConnections() }

// anotherProof is the code of an answer 401 to a good token (RFC 9470).
const anotherProof = "insufficient_user_authentication"

// asksForProof reports whether an answer 401 asks for another proof of who the user is. A new token would not help.
func asksForProof(header http.Header) bool {
	return errorOf(header) == anotherProof
}

// isWrongAnswer reports whether the body of an answer 401 says that a password or a code was wrong, or that another proof is
// needed (also if a gateway has taken the challenge away), and so that a new token would not help.
func isWrongAnswer(header http.Header, body []byte) bool {
	var problem struct{ Code string }
	mediaType, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	if !strings.EqualFold(strings.TrimSpace(mediaType), "application/problem+json") || json.Unmarshal(body, &problem) != nil {
		return false
	}
	switch problem.Code {
	case anotherProof, "invalid_credentials", "invalid_code", "invalid_ticket", "second_step_required":
		return true
	}
	return false
}

// unzipped returns the text of a body. A caller that asks for gzip itself gets compressed answers.
func unzipped(header http.Header, data []byte) []byte {
	if !strings.EqualFold(header.Get("Content-Encoding"), "gzip") {
		return data
	}
	reader, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return data
	}
	text, _ := io.ReadAll(io.LimitReader(reader, maxRefusal)) // an error does not matter: then it is no JSON
	return text
}

// again refreshes after the answer 401, and sends the request a second time if its body allows that. A request of one user is
// never sent for another, who has signed in meanwhile. If a new token was refused too, the next refresh is not before some seconds:
// some routes accept no token of this service.
func (t *transport) again(req *http.Request, resp *http.Response, refused current) (*http.Response, error) {
	if f := t.client.futile.Load(); f != nil && f.token == refused.AccessToken && time.Since(f.at).Abs() < futileTime {
		return resp, nil
	}
	pair, err := t.client.valid(req.Context(), refused.AccessToken)
	if errors.Is(err, errOtherUser) || err == nil && otherUser(refused, pair) {
		return resp, nil
	}
	if err != nil {
		return nil, ownError{err}
	}
	second := withToken(req, pair.AccessToken)
	if req.Body != nil && req.Body != http.NoBody {
		if req.GetBody == nil {
			return nil, &NotReplayableError{resp}
		}
		if second.Body, err = req.GetBody(); err != nil {
			return nil, err
		}
	}
	if resp, err = t.base.RoundTrip(second); err == nil && resp.StatusCode == http.StatusUnauthorized {
		t.client.futile.Store(&futile{pair.AccessToken, time.Now()})
	}
	return resp, err
}

// futile is an access token that was new and was refused.
type futile struct {
	token string
	at    time.Time
}

const futileTime = 10 * time.Second

func withToken(req *http.Request, token string) *http.Request {
	clone := req.Clone(req.Context())
	if clone.Header == nil { // only http.Client makes one
		clone.Header = http.Header{}
	}
	clone.Header.Set("Authorization", "Bearer "+token)
	return clone
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}
