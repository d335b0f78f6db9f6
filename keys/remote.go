package keys

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Remote is a [Source] of the keys that another issuer publishes. It is safe for concurrent use. Make it with [OpenURL].
type Remote struct {
	url    string
	host   string // for the log
	client *http.Client
	logger *slog.Logger
	set    atomic.Pointer[Set]
	stop   context.CancelFunc
	follow sync.WaitGroup

	turn    chan struct{} // whoever has sent into it is the only one that fetches
	guarded fetches       // only for whoever has the turn
}

// fetches is what is known of the newest try to fetch the keys.
type fetches struct {
	tried  time.Time
	err    error         // of the newest try
	body   string        // of the newest good one
	maxAge time.Duration // of the newest good one
}

// RemoteOption is an option of [OpenURL].
type RemoteOption interface{ applyRemote(*remoteConfig) }

type remoteConfig struct {
	client *http.Client
	logger *slog.Logger
}

type remoteOption func(*remoteConfig)

func (o remoteOption) applyRemote(c *remoteConfig) { o(c) }

// WithClient sets the HTTP client that fetches the keys, for a proxy or for mutual TLS. A fetch takes at most 5 seconds whatever
// the client's own limit is. The default is a plain client.
func WithClient(client *http.Client) RemoteOption {
	return remoteOption(func(c *remoteConfig) { c.client = client })
}

const (
	fetchTimeout = 5 * time.Second
	fetchPause   = 10 * time.Second // between two fetches for unknown keys
	retryAfter   = time.Minute      // after a fetch that failed
	maxJWKS      = 256 << 10        // bytes

	// How long fetched keys serve: the max-age of the answer, within these bounds.
	defaultMaxAge = 10 * time.Minute
	minMaxAge     = time.Minute
	maxMaxAge     = time.Hour
)

// OpenURL trusts the keys of a JWK Set document (RFC 7517 section 5), usually ISSUER/.well-known/jwks.json. It starts a goroutine
// that fetches the document at once and then whenever the max-age of the answer is nearly over (1 minute to 1 hour; 10 minutes
// without one), until [Remote.Close]. The host closes it after the services that use it.
//
// A token of an unknown key makes one fetch, at most one in 10 seconds, so that the first token after a key change verifies. While
// the issuer is out of reach the last good keys serve. As long as there are no keys at all, tokens are answered 503.
//
// The URL must be https, or http on a loopback address; a redirect may not leave https. A document of more than 256 KiB, or with
// a weak or a symmetric key, is refused whole.
func OpenURL(address string, opts ...RemoteOption) (*Remote, error) {
	cfg := remoteConfig{client: &http.Client{}, logger: slog.Default()}
	for _, opt := range opts {
		if opt != nil {
			opt.applyRemote(&cfg)
		}
	}
	start, err := checkURL(address)
	switch {
	case err != nil:
		return nil, fmt.Errorf("keys.OpenURL: %w", err)
	case cfg.client == nil, cfg.logger == nil:
		return nil, errors.New("keys.OpenURL: the client or the logger is nil; leave the option out for the default")
	}
	client := *cfg.client // a copy: the caller's stays as it is
	client.CheckRedirect = checkRedirects(start, client.CheckRedirect)
	ctx, stop := context.WithCancel(context.Background())
	r := &Remote{url: address, host: start.Host, client: &client, logger: cfg.logger, stop: stop, turn: make(chan struct{}, 1)}
	r.follow.Go(func() { r.run(ctx) })
	return r, nil
}

// checkRedirects allows at most three redirects, and none from https to http.
func checkRedirects(start *url.URL, own func(*http.Request, []*http.Request) error) func(*http.Request, []*http.Request) error {
	return func(r *http.Request, via []*http.Request) error {
		_, err := checkURL(r.URL.String())
		if err != nil || len(via) > 3 || start.Scheme == "https" && r.URL.Scheme != "https" {
			return errors.New("the redirect is refused")
		}
		if own != nil {
			return own(r, via)
		}
		return nil
	}
}

// checkURL accepts https, and http where nobody can listen on the way.
func checkURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil, errors.New("the URL is not absolute")
	}
	if u.User != nil { // it would be logged
		return nil, errors.New("the URL holds credentials; give them to the client's transport")
	}
	loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return nil, fmt.Errorf("the URL's scheme %q is not https", u.Scheme)
	}
	return u, nil
}

// Close ends the goroutine of OpenURL and waits for it. The keys stay as they are. A second Close does nothing.
func (r *Remote) Close() error {
	if r.stop != nil {
		r.stop()
	}
	r.follow.Wait()
	return nil
}

// Current implements [Source]. It returns nil until the first good document was fetched.
func (r *Remote) Current() *Set {
	if r == nil {
		return nil
	}
	return r.set.Load()
}

// Refetch implements [Source]. A client that goes away does not fail the fetch for those that wait for it too.
func (r *Remote) Refetch(ctx context.Context) (*Set, error) {
	if r == nil {
		return nil, errors.New("keys: the Remote is nil; make it with keys.OpenURL")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	_, err := r.try(ctx)
	return r.set.Load(), err
}

// Format implements [fmt.Formatter]: a Remote prints without its URL, whose query may be a secret.
func (r *Remote) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "keys.Remote%q", r.Current().IDs())
}

// run keeps the keys fresh until ctx ends.
func (r *Remote) run(ctx context.Context) {
	for {
		bounded, cancel := context.WithTimeout(ctx, fetchTimeout)
		wait, err := r.try(bounded)
		cancel()
		if err != nil && ctx.Err() == nil {
			r.logger.Warn("keys: the issuer's keys cannot be fetched", "host", r.host, "error", err)
		}
		// The jitter keeps the services of a fleet from fetching at the same moment.
		next := time.NewTimer(wait - rand.N(wait/10))
		select {
		case <-ctx.Done():
			next.Stop()
			return
		case <-next.C:
		}
	}
}

// try fetches the keys unless that was tried a moment ago. Callers that come meanwhile wait for the one fetch. It returns how long to wait
// until the next one, and an error whenever the newest try failed, although there may still be keys.
func (r *Remote) try(ctx context.Context) (wait time.Duration, err error) {
	select {
	case r.turn <- struct{}{}:
		defer func() { <-r.turn }()
	case <-ctx.Done():
		return retryAfter, ctx.Err()
	}
	g := &r.guarded
	if g.tried.IsZero() || time.Since(g.tried) >= fetchPause {
		g.err = r.fetch(ctx)
		g.tried = time.Now()
	}
	if g.err != nil {
		return retryAfter, g.err
	}
	return g.maxAge, nil
}

// fetch asks the issuer once. The caller has the turn.
func (r *Remote) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := r.client.Do(req)
	var failed *url.Error
	if errors.As(err, &failed) {
		return failed.Err // without the URL, whose query may be a secret
	}
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("the issuer answered %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxJWKS+1))
	switch {
	case err != nil:
		return err
	case len(body) > maxJWKS:
		return fmt.Errorf("the issuer answered more than %d bytes", maxJWKS)
	}
	g := &r.guarded
	if r.set.Load() == nil || string(body) != g.body { // the same keys stay the same set: what was verified stays verified
		list, err := parseJWKS(body, false)
		if err != nil {
			return fmt.Errorf("the issuer's JWK Set: %w", err)
		}
		set, err := NewSet(nil, list...)
		if err != nil {
			return fmt.Errorf("the issuer's JWK Set: %w", err)
		}
		r.set.Store(set)
		g.body = string(body)
	}
	g.maxAge = maxAgeOf(res.Header)
	return nil
}

// maxAgeOf reads how long an answer may be kept (RFC 9111 section 5.2.2.1), within the bounds of this package.
func maxAgeOf(h http.Header) time.Duration {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !strings.EqualFold(name, "max-age") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			if err != nil {
				return defaultMaxAge
			}
			return min(max(time.Duration(seconds)*time.Second, minMaxAge), maxMaxAge)
		}
	}
	return defaultMaxAge
}
