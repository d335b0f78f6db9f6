// Package client is a client of a signet service. It signs in, adds the access token to requests, and refreshes it by
// itself, so that a session is never lost by accident:
//
//   - One refresh serves any number of requests that wait at the same time, in any number of processes that share a [File].
//   - A refresh without an answer is repeated with the same refresh token. The service then sends the successor again.
//   - A new pair is stored before it is used. So a crash between the two loses nothing.
//   - Only one thing ends the session on this side: the service answers a refresh with 401 ([ErrSignedOut]).
//
// The package uses only the standard library. It does not verify tokens; use package signet for that.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Client is a session with one service. All methods are safe for concurrent use. A Client starts a goroutine for a refresh. It
// starts another one to end a session if the context of its login ends before the tokens are stored. The goroutine of a
// refresh ends with the refresh, or 20 seconds after everybody who waited for it has given up. A refresh for which nobody has
// waited sends one request, and no second one. A refresh for which nobody waits ends at once when a login begins. While
// a step-up or a logout waits for its end, it may take two seconds in all.
type Client struct {
	base    string // without a slash at the end
	send    *http.Client
	store   TokenStore
	origins map[string]bool
	maxWait time.Duration
	futile  atomic.Pointer[futile] // the last new token that was refused; nil: none

	mu      sync.Mutex
	pair    current
	loaded  bool
	flight  *flight // the running refresh; nil: none
	locking int     // how many calls wait in lock
	backoff backoff
}

// Format implements [fmt.Formatter]. It prints only the name of the type, because a Client holds tokens.
func (c *Client) Format(s fmt.State, _ rune) { fmt.Fprint(s, "client.Client") }

const (
	attemptTimeout = 20 * time.Second // for one request to the service
	abandonTimeout = 2 * time.Second  // for the end of a session whose tokens could not be kept
)

// Option configures [New].
type Option interface{ apply(*Client) error }

type option func(*Client) error

func (o option) apply(c *Client) error { return o(c) }

// WithStore sets where the tokens are kept. The default is a [Memory] of this client.
func WithStore(store TokenStore) Option {
	return option(func(c *Client) error {
		if store == nil {
			return errors.New("client.WithStore: the store is nil; leave the option out for one in memory")
		}
		c.store = store
		return nil
	})
}

// WithTransport sets what sends the requests for login, second step, step-up, refresh, logout and profile. It must not add tokens.
// The default is a copy of [http.DefaultTransport] that gives up a connection on which nothing comes for ten seconds. HTTP/2 would
// send all requests on such a connection for as long as the system believes that it is there. For a transport of your own, set
// SendPingTimeout and PingTimeout of [http.HTTP2Config].
func WithTransport(base http.RoundTripper) Option {
	return option(func(c *Client) error {
		if base == nil {
			return errors.New("client.WithTransport: the transport is nil; leave the option out for the default")
		}
		c.send.Transport = base
		return nil
	})
}

// WithOrigins adds origins that get the access token, such as "https://api.example.com". The origin of the service is
// always one of them. Requests to other origins are sent without the token.
func WithOrigins(origins ...string) Option {
	return option(func(c *Client) error {
		for _, text := range origins {
			u, err := parseURL(text)
			if err != nil || strings.Trim(u.Path, "/") != "" {
				return errors.New("client.WithOrigins: an origin has a scheme and a host, and no path: https://api.example.com")
			}
			c.origins[originOf(u)] = true
		}
		return nil
	})
}

// WithMaxWait sets for how long a refresh, a logout or a profile is tried again while the service is away or answers 429 or
// 503: from 0 to one minute. The default is 30 seconds. After the last try, which takes at most 20 seconds, the caller gets
// [ErrUnavailable], and the session is kept. The wait for the lock of the store comes before that.
func WithMaxWait(limit time.Duration) Option {
	return option(func(c *Client) error {
		if limit < 0 || limit > time.Minute {
			return fmt.Errorf("client.WithMaxWait: %v is out of range; use 0 to 1m", limit)
		}
		c.maxWait = limit
		return nil
	})
}

// New returns a client for the service below baseURL, which includes the prefix of its routes: https://host/api/v1/auth. Over
// http everybody on the way can read the tokens. New sends nothing. Its error joins all mistakes in the arguments.
func New(baseURL string, opts ...Option) (*Client, error) {
	c := &Client{
		// A login or a refresh never follows a redirect: the body has secrets.
		send: &http.Client{Transport: ownTransport(),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		store:   &Memory{},
		origins: map[string]bool{},
		maxWait: 30 * time.Second,
	}
	var errs []error
	if u, err := parseURL(baseURL); err != nil {
		errs = append(errs, err)
	} else {
		c.base = strings.TrimRight(u.String(), "/")
		c.origins[originOf(u)] = true
	}
	for _, opt := range opts {
		if opt == nil {
			errs = append(errs, errors.New("client.New: an option is nil"))
			continue
		}
		errs = append(errs, opt.apply(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return c, nil
}

func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return nil, errors.New("client.New: the URL must be http or https, with a host and without user, query or fragment")
	}
	return u, nil
}

// originOf returns scheme, host and port in one form (RFC 6454 section 4).
func originOf(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[strings.ToLower(u.Scheme)]
	}
	return strings.ToLower(u.Scheme + "://" + u.Hostname() + ":" + port)
}

// LoginOption is an option of [Client.Login].
type LoginOption interface{ applyLogin(body map[string]string) }

type loginOption func(body map[string]string)

func (o loginOption) applyLogin(body map[string]string) { o(body) }

// Remember asks for the longer life that the service may give to a session ("remember me").
func Remember() LoginOption {
	return loginOption(func(body map[string]string) { body["remember"] = "true" })
}

// Login signs in and keeps the tokens in the store. It does not wait if the service answers 429 or 503. The error is a
// [*SecondStepError] if the service wants a second step, an [*Error] if it refuses, [ErrUnavailable] if it does not answer, or
// that of ctx or the store. If the store has the tokens of another session, they are replaced, and that session goes on at the
// service: call [Client.Logout] first.
func (c *Client) Login(ctx context.Context, email, password string, opts ...LoginOption) error {
	body := map[string]string{"email": email, "password": password}
	for _, opt := range opts {
		if opt != nil {
			opt.applyLogin(body)
		}
	}
	return c.signIn(ctx, "/login", body)
}

// SecondStep finishes a login with the ticket of a [*SecondStepError] and the code of the user. The errors are those of
// [Client.Login].
func (c *Client) SecondStep(ctx context.Context, ticket, code string) error {
	return c.signIn(ctx, "/login/second-step", map[string]string{"ticket": ticket, "code": code})
}

func (c *Client) signIn(ctx context.Context, path string, body map[string]string) error {
	tokens, err := c.tokens(ctx, path, "", body)
	if err != nil {
		return err
	}
	err = c.begin(ctx, tokens)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		go c.abandon(ctx, tokens)
	default:
		c.abandon(ctx, tokens)
	}
	return err
}

// begin replaces the pair in use by that of a new session.
func (c *Client) begin(ctx context.Context, tokens Tokens) error {
	unlock, err := c.lock(ctx, 0) // the answer of a refresh would be for a pair that goes
	if err != nil {
		return err
	}
	defer unlock()
	return c.keep(ctx, tokens)
}

// abandon ends a session whose tokens were not kept. Perhaps nobody has them.
func (c *Client) abandon(ctx context.Context, tokens Tokens) {
	var err error
	defer recovered(&err) // it may be in a goroutine of its own
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abandonTimeout)
	defer cancel()
	_, err = c.post(ctx, "/logout", "", map[string]string{"refreshToken": tokens.RefreshToken})
}

// StepUp shows the service once more who the user is, after an answer 401 with "insufficient_user_authentication" (RFC 9470).
// answer is a code of the second factor, or the password of a user who has none. Afterwards the refused request can be sent
// again. Only the newest tokens can do it, so StepUp may refresh them first, and waits for that as [Client.Token] does. It does
// not wait if the service answers 429 or 503 to the step-up itself. A wrong answer is an [*Error], and does not end the
// session. The other errors are those of [Client.Token].
func (c *Client) StepUp(ctx context.Context, answer string) error {
	c.mu.Lock()
	before := c.pair
	c.mu.Unlock()
	unlock, err := c.lock(ctx, idleTime)
	if err != nil {
		return err
	}
	defer unlock()
	pair, used, err := c.stepUp(ctx, before, answer, "")
	if no, ok := errors.AsType[*Error](err); ok && no.Code == "invalid_token" && used != "" { // an answer before this one was lost
		pair, _, err = c.stepUp(ctx, before, answer, used)
	}
	if err != nil {
		return err
	}
	return c.keep(ctx, pair)
}

// stepUp returns a raised pair, and the access token that it used. The answer is of the user of the pair before. The lock of the
// store is held.
func (c *Client) stepUp(ctx context.Context, before current, answer, refused string) (raised Tokens, used string, err error) {
	pair, err := c.renew(ctx, refused, c.maxWait)
	if err == nil && otherUser(before, pair) {
		err = errOtherUser
	}
	if err != nil {
		return Tokens{}, "", err
	}
	if err := c.store.Save(ctx, pair.Tokens); err != nil { // as before a refresh
		return Tokens{}, "", err
	}
	body := map[string]string{"refreshToken": pair.RefreshToken, "code": answer}
	raised, err = c.tokens(ctx, "/step-up", pair.AccessToken, body)
	return raised, pair.AccessToken, err
}

// Logout ends the session at the service, and then removes the tokens. If the service does not answer in time, the
// error is [ErrUnavailable] and the tokens stay, so that Logout can be called again. Without a session it does
// nothing. At a service without sessions it only removes the tokens.
func (c *Client) Logout(ctx context.Context) error {
	unlock, err := c.lock(ctx, idleTime)
	if err != nil {
		if err = c.withoutLock(ctx, err); err == ErrSignedOut {
			return nil
		}
		return err
	}
	defer unlock()
	tokens, err := c.reread(ctx)
	if err != nil || tokens.RefreshToken == "" {
		return err
	}
	err = patiently(ctx, c.maxWait, func() error {
		_, err := c.post(ctx, "/logout", "", map[string]string{"refreshToken": tokens.RefreshToken})
		return err
	})
	if err != nil && !nothingToEnd(err) {
		return err
	}
	return c.keep(ctx, Tokens{})
}

// nothingToEnd reports whether a logout was refused because the session has ended already, or because the service has no
// sessions. It is false for the answer of a proxy, and for that of a check that the host has put in front.
func nothingToEnd(err error) bool {
	refused, ok := errors.AsType[*Error](err)
	if !ok {
		return false
	}
	switch refused.Code {
	case "invalid_token":
		return refused.Status == http.StatusUnauthorized
	case "not_found", "not_implemented":
		return true
	}
	return false
}

// Profile reads the profile of the user into target, as [encoding/json.Unmarshal] does. It waits like a refresh if the service
// is away. The error is [ErrSignedOut], [ErrUnavailable], an [*Error], or that of ctx, the store, or Unmarshal.
func (c *Client) Profile(ctx context.Context, target any) error {
	hc := &http.Client{Transport: c.Transport(c.send.Transport), CheckRedirect: c.send.CheckRedirect}
	var answer json.RawMessage
	err := patiently(ctx, c.maxWait, func() error {
		ctx, cancel := context.WithTimeoutCause(ctx, attemptTimeout+c.maxWait, ErrUnavailable)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/profile", nil)
		if err != nil {
			return err
		}
		return do(hc, req, &answer)
	})
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, target) // a target of another type is a mistake of the caller: no other answer would help
}
