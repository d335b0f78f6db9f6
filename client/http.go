package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const maxAnswer = 1 << 20

// tokens sends a request whose answer is a pair. accessToken may be empty.
func (c *Client) tokens(ctx context.Context, path, accessToken string, body map[string]string) (Tokens, error) {
	sent := time.Now().Round(0) // the life of the token cannot have begun earlier; only the wall clock goes on while a machine sleeps
	data, err := c.post(ctx, path, accessToken, body)
	if err != nil {
		return Tokens{}, err
	}
	tokens := Tokens{}
	if json.Unmarshal(data, &tokens) != nil || tokens.AccessToken == "" || tokens.RefreshToken == "" || tokens.ExpiresIn <= 0 {
		return Tokens{}, &Error{Status: http.StatusBadGateway, Code: "bad_answer", Message: "the answer is no pair of tokens"}
	}
	tokens.Received = sent
	return tokens, nil
}

func (c *Client) post(ctx context.Context, path, accessToken string, body map[string]string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	data, err := json.Marshal(body)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+path, bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if accessToken != "" {
		req.Header.Set("Authorization", "Bearer "+accessToken)
	}
	var answer json.RawMessage
	err = do(c.send, req, &answer, append(slices.Collect(maps.Values(body)), accessToken)...)
	return answer, err
}

// do sends a request, and reads the JSON of the answer into target. An error does not quote the secrets.
func do(hc *http.Client, req *http.Request, target any, secrets ...string) error {
	resp, err := hc.Do(req)
	if err != nil {
		return unanswered(req.Context(), err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return unanswered(req.Context(), err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return refusal(resp, data, secrets)
	}
	if resp.StatusCode == http.StatusNoContent {
		return nil
	}
	if len(data) > maxAnswer || json.Unmarshal(data, target) != nil {
		return &Error{Status: http.StatusBadGateway, Code: "bad_answer", Message: "the answer is not the expected JSON"}
	}
	return nil
}

// unanswered keeps the errors of this package as they are. Everything else means that there was no answer.
func unanswered(ctx context.Context, err error) error {
	timedOut := errors.Is(err, context.DeadlineExceeded) && context.Cause(ctx) == ErrUnavailable // and not the time of the caller
	if own, ok := errors.AsType[ownError](err); ok && !timedOut {
		return own.error
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// ownTransport is that of all clients without another one.
var ownTransport = sync.OnceValue(func() http.RoundTripper {
	shared, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // the program has replaced it
		return http.DefaultTransport
	}
	own := shared.Clone()
	if own.HTTP2 == nil {
		own.HTTP2 = &http.HTTP2Config{}
	}
	own.HTTP2.SendPingTimeout, own.HTTP2.PingTimeout = 5*time.Second, 5*time.Second
	return own
})

// refusal is the error for an answer that is no success. A server or a proxy may quote the request, as it is or in JSON.
func refusal(resp *http.Response, data []byte, secrets []string) error {
	var problem struct{ Code, Message, Ticket string }
	_ = json.Unmarshal(data, &problem) // a proxy may answer with anything
	if resp.StatusCode == http.StatusUnauthorized && problem.Code == "second_step_required" && problem.Ticket != "" {
		return &SecondStepError{problem.Ticket}
	}
	if resp.Request != nil { // Transport has added the access token
		secrets = append(secrets, strings.TrimPrefix(resp.Request.Header.Get("Authorization"), "Bearer "))
	}
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) }) // one may be a part of another one
	for _, secret := range secrets {
		if len(secret) < 4 {
			continue
		}
		inJSON, _ := json.Marshal(secret)
		for _, form := range []string{secret, strings.Trim(string(inJSON), `"`)} {
			problem.Message = strings.ReplaceAll(problem.Message, form, "(hidden)")
		}
	}
	code := problem.Code
	if code == "" { // a host may write other bodies
		code = errorOf(resp.Header)
	}
	return &Error{Status: resp.StatusCode, Code: cut(code), Message: cut(problem.Message), RetryAfter: retryAfter(resp.Header),
		hint: hintOf(resp), foreign: code == "" && asksForOther(resp)}
}

// asksForOther reports whether an answer asks for credentials, and not for a token.
func asksForOther(resp *http.Response) bool {
	challenges := strings.ToLower(strings.Join(resp.Header.Values("WWW-Authenticate"), ", "))
	return resp.StatusCode == http.StatusUnauthorized && challenges != "" && !strings.Contains(challenges, "bearer")
}

// hintOf says what a mistake in the base URL of the client looks like.
func hintOf(resp *http.Response) string {
	hint := http.StatusText(resp.StatusCode)
	if asked := resp.Request; asked != nil {
		hint += fmt.Sprintf(", for %s %s://%s%s", asked.Method, asked.URL.Scheme, asked.URL.Host, asked.URL.Path)
	}
	if to, err := resp.Location(); err == nil {
		hint += fmt.Sprintf("; it redirects to %s://%s%s", to.Scheme, to.Host, to.Path)
	}
	return cut(hint)
}

// challengeError finds the first error code in challenges. The code is a token or a quoted string (RFC 9110 section 11.2). Other
// texts in quotes, such as a description, are skipped.
var challengeError = regexp.MustCompile(`(?i)^(?:"(?:[^"\\]|\\.)*"|[^"])*?[\s,]error\s*=\s*"?([^",]+)`)

// errorOf returns the first error code of the challenges. There may be several, in several lines (RFC 9110 section 11.6.1).
func errorOf(header http.Header) string {
	if found := challengeError.FindStringSubmatch(strings.Join(header.Values("WWW-Authenticate"), ", ")); found != nil {
		return found[1]
	}
	return ""
}

func cut(text string) string { return strings.ToValidUTF8(text[:min(len(text), 300)], "") }

// retryAfter reads both forms of Retry-After (RFC 9110 section 10.2.3). A date counts from the Date of the
// answer, so the clock of this machine does not matter.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	seconds, err := strconv.ParseUint(text, 10, 31) // 68 years, if there are more
	if err == nil || errors.Is(err, strconv.ErrRange) && strings.Trim(text, "0123456789") == "" {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return max(at.Sub(from), 0)
}

// patiently repeats what failed because the service is away, until maxWait is over or ctx ends. A Retry-After beyond
// maxWait is not waited for.
func patiently(ctx context.Context, maxWait time.Duration, try func() error) error {
	end := time.Now().Add(maxWait)
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 4*time.Second) {
		err := try()
		if err == nil || !errors.Is(err, ErrUnavailable) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		wait := pause/2 + rand.N(pause)
		if refused, ok := errors.AsType[*Error](err); ok && refused.RetryAfter > 0 {
			wait = refused.RetryAfter + rand.N(100*time.Millisecond)
		}
		if time.Now().Add(wait).After(end) {
			return err
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
