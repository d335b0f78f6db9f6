package signet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"time"
)

// TrustedIssuer is one of several parties whose tokens a Verifier accepts.
type TrustedIssuer struct {
	Issuer     string           // exactly the "iss" of its tokens; must not be empty
	Keys       VerificationKeys // JWKS(...), or a Key
	Audience   []string         // one of them must be in "aud"; nil: what WithAudience says
	Algorithms []Algorithm      // what its keys may be used with; nil: whatever they are pinned to
}

// Issuers trusts several issuers, each for its own keys, audience and algorithms. A token's "iss" chooses the issuer by
// exact comparison before any key is looked at or fetched, so that no issuer can speak for another.
func Issuers(list ...TrustedIssuer) VerificationKeys { return issuerList(list) }

type issuerList []TrustedIssuer

func (list issuerList) sources(cfg *verifierConfig) ([]*issuer, error) {
	var all []*issuer
	var errs []error
	if len(list) == 0 {
		errs = append(errs, errors.New("signet.Issuers: the list is empty"))
	}
	for i, trusted := range list {
		one, err := trusted.source(cfg)
		if err == nil && slices.ContainsFunc(all, func(other *issuer) bool { return other.name == one.name }) {
			err = fmt.Errorf("%q is in the list twice", trusted.Issuer)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("signet.Issuers: issuer %d: %w", i, err))
			continue
		}
		all = append(all, one)
	}
	return all, errors.Join(errs...)
}

func (t TrustedIssuer) source(cfg *verifierConfig) (*issuer, error) {
	if t.Issuer == "" {
		return nil, errors.New("field Issuer is empty")
	}
	if _, nested := t.Keys.(issuerList); nested || t.Keys == nil {
		return nil, errors.New("field Keys must be a Key, a Keyring or JWKS")
	}
	if t.Audience != nil && len(t.Audience) == 0 || slices.Contains(t.Audience, "") {
		return nil, errors.New("field Audience must be nil or hold values that are not empty")
	}
	own := *cfg
	own.issuer = t.Issuer
	if t.Audience != nil {
		own.audience = slices.Clone(t.Audience)
	}
	sources, err := t.Keys.sources(&own)
	if err != nil {
		return nil, err
	}
	for _, alg := range t.Algorithms {
		if _, known := hashes[alg]; !known {
			return nil, fmt.Errorf("the algorithm %q is not supported", alg)
		}
	}
	sources[0].algorithms = slices.Clone(t.Algorithms)
	return sources[0], nil
}

// JWKS trusts the keys of a JWK Set document (RFC 7517 section 5), usually ISSUER/.well-known/jwks.json. NewVerifier starts
// a goroutine that fetches it at once and then every 10 minutes, until Verifier.Close. A token of an unknown key makes one
// fetch, at most one in 10 seconds, so that the first token after a key change verifies. While the issuer is out of reach
// the last good keys serve; tokens whose key cannot be had are answered 503, never 401.
//
// The URL must be https, except on a loopback address. A document of more than 256 KiB, or with a weak or symmetric key, is
// refused whole. client is what fetches; nil means one with a time limit of 5 seconds.
func JWKS(url string, client *http.Client) VerificationKeys { return jwksURL{url, client} }

type jwksURL struct {
	url    string
	client *http.Client
}

func (j jwksURL) sources(cfg *verifierConfig) ([]*issuer, error) {
	if err := checkURL(j.url); err != nil {
		return nil, fmt.Errorf("signet.JWKS: %w", err)
	}
	client := http.Client{Timeout: fetchTimeout}
	if j.client != nil {
		client = *j.client // a copy: the caller's stays as it is
	}
	redirected := client.CheckRedirect
	client.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		if err := checkURL(r.URL.String()); err != nil || len(via) > 3 {
			return errors.New("the redirect is refused")
		}
		if redirected != nil {
			return redirected(r, via)
		}
		return nil
	}
	parsed, _ := url.Parse(j.url) // checkURL has
	keys := &remoteKeys{url: j.url, host: parsed.Host, client: &client, logger: cfg.logger, turn: make(chan struct{}, 1)}
	return []*issuer{{name: cfg.issuer, audience: cfg.audience, keys: keys}}, nil
}

// checkURL accepts https, and http where nobody can listen on the way.
func checkURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return errors.New("the URL is not absolute")
	}
	if u.User != nil { // it would be logged
		return errors.New("the URL holds credentials; give them to the client's transport")
	}
	loopback := u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()
	if u.Scheme != "https" && !(u.Scheme == "http" && loopback) {
		return fmt.Errorf("the URL's scheme %q is not https", u.Scheme)
	}
	return nil
}

const (
	fetchTimeout    = 5 * time.Second
	refreshInterval = 10 * time.Minute
	fetchPause      = 10 * time.Second // between two fetches for unknown keys
	maxJWKS         = 256 << 10        // bytes
)

// remoteKeys are keys that an issuer publishes.
type remoteKeys struct {
	url    string
	host   string // for the log
	client *http.Client
	logger *slog.Logger
	set    atomic.Pointer[keySet]

	turn  chan struct{} // one fetch at a time; what follows belongs to whoever holds it
	tried time.Time
	err   error  // of the last try
	body  string // of the last good one
}

func (k *remoteKeys) current() *keySet { return k.set.Load() }

// run keeps the keys fresh until ctx ends.
func (k *remoteKeys) run(ctx context.Context) {
	ticker := time.NewTicker(refreshInterval)
	defer ticker.Stop()
	for {
		if _, err := k.try(ctx); err != nil && ctx.Err() == nil {
			k.logger.Warn("signet: the issuer's keys cannot be fetched", "host", k.host, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// refetch is for a request. A client that goes away must not fail the fetch for those that wait.
func (k *remoteKeys) refetch(ctx context.Context) (*keySet, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	defer cancel()
	return k.try(ctx)
}

// try fetches the keys unless that was tried a moment ago; callers that come meanwhile wait for the one fetch. It returns an
// error whenever the newest try failed, although current may still have keys.
func (k *remoteKeys) try(ctx context.Context) (*keySet, error) {
	select {
	case k.turn <- struct{}{}:
		defer func() { <-k.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if k.tried.IsZero() || time.Since(k.tried) >= fetchPause {
		k.err = k.fetch(ctx)
		k.tried = time.Now()
	}
	return k.set.Load(), k.err
}

func (k *remoteKeys) fetch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, k.url, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := k.client.Do(req)
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
	case k.set.Load() != nil && string(body) == k.body:
		return nil // the same keys: what was verified with them stays verified
	}
	keys, err := parseJWKS(body, false)
	if err != nil {
		return fmt.Errorf("the issuer's JWK Set: %w", err)
	}
	set, err := newKeySet(nil, keys...)
	if err != nil {
		return fmt.Errorf("the issuer's JWK Set: %w", err)
	}
	k.set.Store(set)
	k.body = string(body)
	return nil
}
