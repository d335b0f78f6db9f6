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
//
// Token does not ask whether the service still accepts the token. If it does not (401, or Unauthenticated of gRPC), call
// [Client.TokenAfter].
func (c *Client) Token(ctx context.Context) (accessToken string, expiry time.Time, err error) {
	return c.TokenAfter(ctx, "")
}

// TokenAfter is [Client.Token] for a caller whose access token was refused: it returns another one, of the same user, or
// [ErrSignedOut] if the session has ended.
func (c *Client) TokenAfter(ctx context.Context, refused string) (accessToken string, expiry time.Time, err error) {
	pair, err := c.valid(ctx, refused)
	if user := positionOf(refused).Subject; err == nil && user != "" && user != positionOf(pair.RefreshToken).Subject {
		err = errOtherUser
	}
	if err != nil {
		return "", time.Time{}, err
	}
	return pair.AccessToken, pair.Expiry(), nil
}

// Wait waits for a refresh that goes on beside a call ([Client.Token]). A program that ends soon calls it before its end: otherwise
// the answer may be lost, and a service with strict rotation takes the next refresh for theft. The error is that of ctx.
func (c *Client) Wait(ctx context.Context) error {
	c.mu.Lock()
	f := c.flight
	c.mu.Unlock()
	if f == nil {
		return nil
	}
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flight is one refresh. Client.mu guards waiters. pair and err can be read when done is closed.
type flight struct {
	began   time.Time
	done    chan struct{}
	cancel  context.CancelFunc
	maxWait time.Duration // how long it waits for a service that is away
	waiters int
	late    *time.Timer // ends it some time after the last waiter has given up
	pair    current
	err     error
}

// backoff is a time in which no refresh is sent with a refresh token, because the last one failed.
type backoff struct {
	token       string
	from, until time.Time
	asked       *Error // the answer with the Retry-After; nil: there was none, and only refreshes that nobody waits for are held back
}

// backoffAfter returns the backoff after a refresh: up to a minute if the service asks for it, and otherwise a second.
func backoffAfter(token string, err error) backoff {
	if err == nil {
		return backoff{}
	}
	b := backoff{token: token, from: time.Now().Round(0)}
	b.until = b.from.Add(time.Second)
	if refused, ok := errors.AsType[*Error](err); ok && refused.RetryAfter > 0 {
		b.until, b.asked = b.from.Add(min(refused.RetryAfter, time.Minute)), refused
	}
	return b
}

func (b backoff) covers(token string) bool {
	now := time.Now()
	return token == b.token && now.Before(b.until) && !now.Before(b.from)
}

// refusal returns the answer in which the service has asked for the backoff. Its RetryAfter is the time that is left.
func (b backoff) refusal() error {
	left := *b.asked
	left.RetryAfter = time.Until(b.until)
	return &left
}

// valid returns a pair that can be used. refused is an access token that was answered 401, or "": valid does not return it
// again. If another user signs in while valid waits, it returns errOtherUser, because the caller wants to send a request of the
// earlier user.
func (c *Client) valid(ctx context.Context, refused string) (current, error) {
	before, err := c.first(ctx)
	if err != nil {
		return current{}, err
	}
	for again := false; ; {
		if err := ctx.Err(); err != nil {
			return current{}, err
		}
		pair, f := c.ready(ctx, refused)
		if f == nil {
			return pair, nil
		}
		select {
		case <-ctx.Done():
			c.leave(f)
			return current{}, ctx.Err()
		case <-f.done:
		}
		switch {
		case f.err == nil && otherUser(before, f.pair):
			return current{}, errOtherUser
		case f.err == nil && refused != "" && f.pair.AccessToken == refused && !again: // the refresh was over before the token was refused
			again = true
			continue
		case f.maxWait < c.maxWait && errors.Is(f.err, ErrUnavailable): // it began before somebody waited for it
			continue
		}
		return f.pair, f.err
	}
}

// first returns the pair in use. If there is none yet, it takes the stored one, without the lock: another process may hold that
// for long, and what is stored may be good.
func (c *Client) first(ctx context.Context) (pair current, err error) {
	c.mu.Lock()
	pair, loaded := c.pair, c.loaded
	c.mu.Unlock()
	if loaded {
		return pair, nil
	}
	defer recovered(&err)
	stored, err := c.store.Load(ctx)
	if err != nil {
		return current{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.loaded {
		c.pair, c.loaded = newCurrent(stored), true
	}
	return c.pair, nil
}

// recovered makes an error of a panic of the host's store or transport.
func recovered(err *error) {
	if reason := recover(); reason != nil {
		*err = fmt.Errorf("the token store or the transport panicked: %v", reason)
	}
}

// ready returns a pair that can be used now, or the refresh to wait for. The caller is one of those who wait for it.
func (c *Client) ready(ctx context.Context, refused string) (current, *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	usable := c.loaded && c.pair.AccessToken != refused
	switch {
	case usable && c.pair.notDue():
		return c.pair, nil
	case usable && c.pair.usable(): // the refresh goes on beside the request
		if c.flight == nil && c.locking == 0 && !c.backoff.covers(c.pair.RefreshToken) {
			c.start(ctx, refused, 0)
		}
		return c.pair, nil
	case c.flight == nil:
		c.start(ctx, refused, c.maxWait)
	}
	c.flight.waiters++
	return current{}, c.flight
}

// start begins a refresh that does not end with the context of one caller. c.mu is held.
func (c *Client) start(ctx context.Context, refused string, maxWait time.Duration) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{began: time.Now(), done: make(chan struct{}), cancel: cancel, maxWait: maxWait, err: errExited}
	c.flight = f
	go func() {
		defer c.land(f)
		f.pair, f.err = c.refresh(ctx, refused, maxWait)
	}()
}

// errExited stays the error of a refresh if the host's code has ended its goroutine, as FailNow of a test does.
var errExited = errors.New("the token store or the transport has ended its goroutine")

// land ends a refresh for those who wait for it.
func (c *Client) land(f *flight) {
	f.cancel()
	c.mu.Lock()
	if c.flight == f {
		c.flight = nil
	}
	if f.late != nil {
		f.late.Stop()
	}
	c.mu.Unlock()
	close(f.done)
}

// leave is for a caller that does not wait for a refresh any more. The refresh goes on for a while: otherwise callers with less time
// than a refresh needs would never get a token.
func (c *Client) leave(f *flight) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.waiters--; f.waiters > 0 {
		return
	}
	if f.late != nil {
		f.late.Stop()
	}
	f.late = time.AfterFunc(attemptTimeout, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endIdle(f)
	})
}

// endIdle ends a refresh if nobody waits for it. Its answer is lost then, which the service forgives. c.mu is held.
func (c *Client) endIdle(f *flight) {
	if f.waiters > 0 {
		return
	}
	if c.flight == f {
		c.flight = nil
	}
	f.cancel()
}

// idleTime is how long a refresh for which nobody else waits may take in all, while a step-up or a logout waits for the lock of
// the store.
const idleTime = 2 * time.Second

// lock takes the lock of the store. A refresh for which nobody waits may hold it. lock ends such a refresh that takes longer than
// mayTake, because its answer may never come. It also ends it when ctx ends. No other such refresh begins meanwhile.
func (c *Client) lock(ctx context.Context, mayTake time.Duration) (unlock func(), err error) {
	c.mu.Lock()
	c.locking++
	f := c.flight
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		c.locking--
		c.mu.Unlock()
	}()
	if f == nil {
		return c.store.Lock(ctx)
	}
	end := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.endIdle(f)
	}
	late := time.AfterFunc(mayTake-time.Since(f.began), end)
	defer late.Stop()
	if unlock, err = c.store.Lock(ctx); err != nil {
		end()
	}
	return unlock, err
}

func (c *Client) refresh(ctx context.Context, refused string, maxWait time.Duration) (pair current, err error) {
	defer recovered(&err) // in this goroutine nobody else recovers
	began := time.Now()
	unlock, err := c.store.Lock(ctx)
	if err != nil {
		return current{}, c.withoutLock(ctx, err)
	}
	defer unlock()
	return c.renew(ctx, refused, max(0, maxWait-time.Since(began))) // others have waited for the service meanwhile
}

// withoutLock returns the error after the lock was not to be had. A store that has no session may have no place for the lock either.
func (c *Client) withoutLock(ctx context.Context, err error) error {
	if ctx.Err() != nil || errors.Is(err, ErrUnavailable) {
		return err
	}
	if stored, loadErr := c.store.Load(ctx); loadErr == nil && stored.RefreshToken == "" {
		return ErrSignedOut
	}
	return err
}

// renew refreshes, unless another process has done so. The lock of the store is held.
func (c *Client) renew(ctx context.Context, refused string, maxWait time.Duration) (current, error) {
	tokens, err := c.reread(ctx)
	if err != nil {
		return current{}, err
	}
	if tokens.RefreshToken == "" {
		return current{}, ErrSignedOut
	}
	if tokens.notDue() && tokens.AccessToken != refused {
		return tokens, nil
	}
	if err := c.store.Save(ctx, tokens.Tokens); err != nil { // a store that cannot save must not cost the next pair
		return current{}, err
	}
	var pair Tokens
	err = patiently(ctx, maxWait, func() (err error) {
		c.mu.Lock()
		backoff := c.backoff
		c.mu.Unlock()
		if backoff.asked != nil && backoff.covers(tokens.RefreshToken) {
			return backoff.refusal()
		}
		pair, err = c.tokens(ctx, "/refresh-token", "", map[string]string{"refreshToken": tokens.RefreshToken})
		return err
	})
	c.mu.Lock()
	c.backoff = backoffAfter(tokens.RefreshToken, err)
	c.mu.Unlock()
	if isStatus(err, http.StatusUnauthorized) && !errors.Is(err, ErrUnavailable) {
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
	return c.pair, nil
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
	same := c.loaded && stored.AccessToken == c.pair.AccessToken && stored.RefreshToken == c.pair.RefreshToken
	if !same && !(stored.RefreshToken != "" && newer(c.pair.Tokens, stored)) {
		c.pair = newCurrent(stored)
	}
	c.loaded = true
	return c.pair, nil
}

// keep stores the pair before it can be used. So if storing fails, the old pair is still good everywhere. The lock of
// the store is held.
func (c *Client) keep(ctx context.Context, tokens Tokens) error {
	if err := c.store.Save(ctx, tokens); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pair, c.loaded = newCurrent(tokens), true
	return nil
}
