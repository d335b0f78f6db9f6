package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// Token returns an access token that is valid for a while, and when it expires by the clock of this machine. In the last minute
// of a token, Token starts a refresh beside the call and returns the old token, so nobody waits for a service that is away for
// a moment. If the token has less than five seconds left (or less than a tenth of its life, if that is shorter), Token waits
// for the refresh. After an answer 429 or 503 with Retry-After, the client sends no refresh for that time, but for a minute at
// most. The error is [ErrSignedOut], [ErrUnavailable], an [*Error], or that of ctx or the store.
func (c *Client) Token(ctx context.Context) (accessToken string, expiry time.Time, err error) {
	now, err := c.valid(ctx, "")
	if err != nil {
		return "", time.Time{}, err
	}
	return now.AccessToken, now.Expiry(), nil
}

// flight is one refresh. The counter belongs to Client.mu; now and err can be read when done is closed.
type flight struct {
	done    chan struct{}
	cancel  context.CancelFunc
	waiters int
	now     current
	err     error
}

// rest is a time in which no refresh is sent, because the last one failed.
type rest struct {
	from, until time.Time
	asked       error // the answer whose Retry-After asks for the rest; nil: none, and then a call that needs a new token may refresh
}

// restAfter returns the rest after a refresh: up to a minute if the service asks for it, and otherwise a second.
func restAfter(err error) rest {
	if err == nil {
		return rest{}
	}
	r := rest{from: time.Now().Round(0)}
	r.until = r.from.Add(time.Second)
	if refused, ok := errors.AsType[*Error](err); ok && refused.RetryAfter > 0 {
		r.until, r.asked = r.from.Add(min(refused.RetryAfter, time.Minute)), err
	}
	return r
}

func (r rest) covers(now time.Time) bool { return now.Before(r.until) && !now.Before(r.from) }

// valid returns a pair that can be used. refused is an access token that was answered 401, or "": valid does not return it
// again. If another user signs in while valid waits, it returns errOtherUser, because the caller wants to send a request of the
// earlier user.
func (c *Client) valid(ctx context.Context, refused string) (current, error) {
	if err := ctx.Err(); err != nil {
		return current{}, err
	}
	c.mu.Lock()
	before := c.now
	usable := c.loaded && before.AccessToken != refused
	if usable && before.fresh() {
		defer c.mu.Unlock()
		return before, nil
	}
	if usable && before.good() { // the refresh goes on beside the request
		defer c.mu.Unlock()
		if c.flight == nil && !c.rest.covers(time.Now()) {
			c.start(ctx, refused)
		}
		return before, nil
	}
	f := c.flight
	if f == nil {
		f = c.start(ctx, refused)
	}
	f.waiters++
	c.mu.Unlock()
	select {
	case <-f.done:
		if f.err == nil && otherUser(before, f.now) {
			return current{}, errOtherUser
		}
		return f.now, f.err
	case <-ctx.Done():
		c.leave(f)
		return current{}, ctx.Err()
	}
}

// start begins a refresh that does not end with the context of one caller. c.mu is held.
func (c *Client) start(ctx context.Context, refused string) *flight {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{done: make(chan struct{}), cancel: cancel}
	c.flight = f
	go func() {
		defer cancel()
		f.now, f.err = c.refresh(ctx, refused)
		c.mu.Lock()
		if c.flight == f {
			c.flight = nil
		}
		c.mu.Unlock()
		close(f.done)
	}()
	return f
}

// leave ends a refresh for which nobody waits any more. Its answer is lost then, which the service forgives.
func (c *Client) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters == 0 {
		if c.flight == f {
			c.flight = nil
		}
		f.cancel()
	}
}

func (c *Client) refresh(ctx context.Context, refused string) (now current, err error) {
	defer func() {
		if reason := recover(); reason != nil { // in this goroutine nobody else recovers
			now, err = current{}, fmt.Errorf("the token store or the transport panicked: %v", reason)
		}
	}()
	unlock, err := c.store.Lock(ctx)
	if err != nil {
		return current{}, err
	}
	defer unlock()
	return c.renew(ctx, refused)
}

// renew refreshes, unless another process has done so. The lock of the store is held.
func (c *Client) renew(ctx context.Context, refused string) (current, error) {
	tokens, err := c.reread(ctx)
	if err != nil {
		return current{}, err
	}
	if tokens.RefreshToken == "" {
		return current{}, ErrSignedOut
	}
	if tokens.fresh() && tokens.AccessToken != refused {
		return tokens, nil
	}
	c.mu.Lock()
	rest := c.rest
	c.mu.Unlock()
	if rest.asked != nil && rest.covers(time.Now()) {
		return current{}, rest.asked
	}
	var pair Tokens
	err = c.patiently(ctx, func() (err error) {
		pair, err = c.tokens(ctx, "/refresh-token", "", map[string]string{"refreshToken": tokens.RefreshToken})
		return err
	})
	c.mu.Lock()
	c.rest = restAfter(err)
	c.mu.Unlock()
	if isStatus(err, http.StatusUnauthorized) {
		return current{}, errors.Join(fmt.Errorf("%w: %w", ErrSignedOut, err), c.keep(ctx, Tokens{}))
	}
	if err != nil {
		return current{}, err
	}
	if err := c.keep(ctx, pair); err != nil {
		return current{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now, nil
}

// reread takes over what the store has. The lock of the store is held. Only an older pair of the same session, in a
// store that has lost a write, does not count.
func (c *Client) reread(ctx context.Context) (current, error) {
	stored, err := c.store.Load(ctx)
	if err != nil {
		return current{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	same := c.loaded && stored.AccessToken == c.now.AccessToken && stored.RefreshToken == c.now.RefreshToken
	if !same && !(stored.RefreshToken != "" && newer(c.now.Tokens, stored)) {
		c.now = use(stored)
	}
	c.loaded = true
	return c.now, nil
}

// keep stores the pair before it can be used. So if storing fails, the old pair is still good everywhere. The lock of
// the store is held.
func (c *Client) keep(ctx context.Context, tokens Tokens) error {
	if err := c.store.Save(ctx, tokens); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.loaded = use(tokens), true
	return nil
}
