package keys

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/safeurl"
)

// ErrTooSoon says that a [Remote] has asked its issuer for newer keys too often in the last seconds. So it cannot tell
// whether a key is unknown, and the request is answered 503. Test with errors.Is.
var ErrTooSoon = errors.New("keys: the issuer was asked for newer keys too often a moment ago")

// Remote is a [Source] of the keys that another issuer publishes. It is safe for concurrent use. Make it with [OpenURL]
// or [Discover].
type Remote struct {
	place  place
	client *http.Client
	logger *slog.Logger
	set    atomic.Pointer[Set]
	begun  atomic.Int64 // how many fetches have begun

	waiting atomic.Int64 // calls of Refetch
	closed  atomic.Bool
	stop    context.CancelFunc
	end     func() // closes the connections that belong to the client
	follow  sync.WaitGroup

	turn    chan struct{} // has room for one value; only the goroutine that has sent it may fetch
	guarded fetches       // only for the goroutine that holds the turn
	fetched chan struct{} // has room for one value: there was a fetch, so run looks again when the next one is due
}

// place is where the keys are.
type place struct {
	url    string // of the JWK Set; "": the metadata of the issuer names it
	issuer string // for Discover
	rule   safeurl.Rule
}

// fetches is what a Remote knows about its fetches.
type fetches struct {
	err  error     // of the newest fetch
	body string    // the newest good document
	due  time.Time // when the goroutine fetches the next time

	notes []func() // what the log gets when the turn is over, because a logger may wait

	url   string    // of the JWK Set, from the issuer's metadata
	askAt time.Time // when the metadata is read again, even if the keys are still there

	budget   int // how many fetches for unknown keys are left
	budgetAt time.Time
}

// RemoteOption is an option of [OpenURL] and [Discover].
type RemoteOption interface{ applyRemote(*remoteConfig) }

type remoteConfig struct {
	client    *http.Client
	ownClient bool // no client was given
	logger    *slog.Logger
	insecure  bool
}

type remoteOption func(*remoteConfig)

func (o remoteOption) applyRemote(c *remoteConfig) { o(c) }

// WithClient sets the HTTP client that fetches the keys, for example one with a proxy or with mutual TLS. The keys must arrive
// within 5 seconds, and so must the metadata of [Discover], even if the client's own limit is longer. The default client gives
// up a connection on which nothing comes for ten seconds. For a client of your own, set SendPingTimeout and PingTimeout of
// [http.HTTP2Config]: otherwise HTTP/2 sends all requests on such a connection for as long as the system believes that it is
// there.
func WithClient(client *http.Client) RemoteOption {
	return remoteOption(func(c *remoteConfig) { c.client, c.ownClient = client, false })
}

// WithInsecureHTTP allows plain http for the host in the given URL. It is for an issuer inside a private network, such
// as http://keycloak:8080. Everybody who can change the answers in that network can make valid tokens.
func WithInsecureHTTP() RemoteOption {
	return remoteOption(func(c *remoteConfig) { c.insecure = true })
}

const (
	fetchTimeout = 5 * time.Second // for the metadata, and again for the keys: if one hangs, the other has its time
	retryAfter   = time.Minute     // after a fetch that failed
	maxDocument  = 256 << 10       // bytes
	metadataAge  = time.Minute     // for how long the URL from the metadata is used; the old one may go on to answer

	// The document is fetched again after the max-age of the answer, within these limits.
	defaultMaxAge = 10 * time.Minute
	minMaxAge     = time.Minute
	maxMaxAge     = time.Hour

	// Anybody can send tokens that name unknown keys. These tokens can cause fetchBudget fetches at once, and then one
	// in each fetchInterval.
	fetchBudget   = 5
	maxWaiting    = 4096 // calls of Refetch that wait at one time
	fetchInterval = 10 * time.Second
)

// OpenURL trusts the keys of a JWK Set document (RFC 7517 section 5), usually ISSUER/.well-known/jwks.json. It starts a
// goroutine that fetches the document at once, and again whenever the max-age of the last answer is nearly over. The max-age
// counts as at least 1 minute and at most 1 hour, and as 10 minutes if there is none. [Remote.Close] ends the
// goroutine. The host must close the services that use the keys first.
//
// If a token names an unknown key, the document is fetched once more. So the first token after a key change verifies if the new
// key has a new id. Otherwise it verifies after the max-age. Tokens that come at the same time share one fetch. A token waits
// at most 5 seconds for the fetch of another one, and is then answered 503.
//
// Strangers can send such tokens as often as they like, so there is a budget: five fetches, and one more every ten seconds.
// When the budget is spent, a token that names an unknown key is answered 503 ([ErrTooSoon]), because its key may be new. If a
// fetch of the last minute has not found the key, the answer is 401. Tokens of known keys are not affected.
//
// While the issuer cannot be reached, the last good keys stay in use. While there are no keys at all, tokens are
// answered 503.
//
// The URL must be https, or http on a loopback address (see also [WithInsecureHTTP]). A redirect must not lead from
// https to http. A document is refused if it has more than 256 KiB or holds a secret. Other keys that cannot be used
// are left out, and logged if they are bad.
//
// The error says which argument is wrong. OpenURL waits for no answer: what goes wrong later is in the log ([WithLogger]), and the
// error of [Remote.Refetch].
func OpenURL(address string, opts ...RemoteOption) (*Remote, error) {
	return open("OpenURL", place{url: address}, opts)
}

func open(function string, p place, opts []RemoteOption) (*Remote, error) {
	cfg := remoteConfig{ownClient: true, logger: slog.Default()}
	for _, opt := range opts {
		if opt == nil {
			return nil, fmt.Errorf("keys.%s: an option is nil", function)
		}
		opt.applyRemote(&cfg)
	}
	if cfg.client == nil && !cfg.ownClient || cfg.logger == nil {
		return nil, fmt.Errorf("keys.%s: the client or the logger is nil; leave the option out for the default", function)
	}
	configured, err := url.Parse(p.url + p.issuer)
	if err != nil {
		return nil, fmt.Errorf("keys.%s: the URL is not absolute", function)
	}
	p.rule = safeurl.Rule{Host: configured.Host, Insecure: cfg.insecure}
	if err := p.rule.Check(configured); err != nil {
		return nil, fmt.Errorf("keys.%s: %w", function, err)
	}
	if strings.ContainsAny(p.issuer, "?#") {
		return nil, fmt.Errorf("keys.%s: an issuer has no query and no fragment", function) // RFC 8414 section 2
	}
	client, end := p.rule.Client(cfg.client)
	ctx, stop := context.WithCancel(context.Background())
	r := &Remote{place: p, client: client, end: end, logger: cfg.logger, stop: stop, turn: make(chan struct{}, 1), fetched: make(chan struct{}, 1)}
	r.follow.Go(func() { r.run(ctx) })
	return r, nil
}

// Close ends the goroutine of OpenURL or Discover and waits for it. The keys stay as they are. A second Close does nothing. Close
// always returns nil.
func (r *Remote) Close() error {
	r.closed.Store(true)
	if r.stop != nil {
		r.stop()
		defer r.end()
	}
	r.follow.Wait()
	return nil
}

// Current implements [Source]. It returns nil until the first good document has been fetched.
func (r *Remote) Current() *Set {
	if r == nil {
		return nil
	}
	return r.set.Load()
}

// Refetch implements [Source]. It returns a set that is newer than lacking, or the set after a fetch that began after
// the call. The fetch continues when ctx ends, because other callers may wait for it. If the newest fetch failed,
// Refetch returns its error, even if older keys are still in use. The error is [ErrTooSoon] if the budget is spent.
func (r *Remote) Refetch(ctx context.Context, lacking *Set) (*Set, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	if r.closed.Load() {
		return r.set.Load(), nil
	}
	defer r.waiting.Add(-1)
	if r.waiting.Add(1) > maxWaiting { // the fetch that runs may bring the key for the next try
		return nil, ErrTooSoon
	}
	begun := r.begun.Load()
	waiting, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if err := r.takeTurn(waiting); err != nil {
		return nil, err
	}
	defer r.leaveTurn()
	g := &r.guarded
	switch {
	case r.set.Load() != lacking: // another fetch has brought newer keys
		return r.set.Load(), nil
	case r.begun.Load() > begun: // another caller has fetched since this call began
	case !g.spend(time.Now()):
		return nil, ErrTooSoon
	default:
		r.fetch(context.WithoutCancel(ctx))
	}
	if g.err != nil {
		return nil, g.err
	}
	return r.set.Load(), nil
}

// Err returns an error if the Remote was not made by [OpenURL] or [Discover].
func (r *Remote) Err() error {
	if r == nil || r.turn == nil {
		return errors.New("keys: the Remote is empty; make it with keys.OpenURL")
	}
	return nil
}

// spend takes one fetch from the budget. It returns false if the budget is empty.
func (g *fetches) spend(now time.Time) bool {
	if g.budgetAt.IsZero() {
		g.budget, g.budgetAt = fetchBudget, now
	}
	if earned := int(now.Sub(g.budgetAt) / fetchInterval); earned > 0 {
		g.budget = min(g.budget+earned, fetchBudget)
		g.budgetAt = g.budgetAt.Add(time.Duration(earned) * fetchInterval)
	}
	if g.budget == 0 {
		return false
	}
	g.budget--
	return true
}

func (r *Remote) takeTurn(ctx context.Context) error {
	select {
	case r.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *Remote) leaveTurn() {
	notes := r.guarded.notes
	r.guarded.notes = nil
	<-r.turn
	for _, log := range notes {
		log()
	}
}

// warn notes a line for the log. The caller must hold the turn.
func (r *Remote) warn(message, name string, value any) {
	r.guarded.notes = append(r.guarded.notes, func() { r.logger.Warn(message, "host", r.place.rule.Host, name, value) })
}

// Format implements [fmt.Formatter]: a Remote prints without its URL, because the query of the URL may hold a secret.
func (r *Remote) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "keys.Remote%q", r.Current().IDs())
}

// run keeps the keys fresh until ctx ends.
func (r *Remote) run(ctx context.Context) {
	for {
		wait, err := r.refresh(ctx)
		if err != nil && ctx.Err() == nil {
			r.logger.Warn("keys: the issuer's keys cannot be fetched", "host", r.place.rule.Host, "error", err)
		}
		next := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-next.C:
		case <-r.fetched:
		}
		if next.Stop(); ctx.Err() != nil {
			return
		}
	}
}

// refresh fetches if that is due, and returns how long to wait until the next time. The error is that of its own fetch.
func (r *Remote) refresh(ctx context.Context) (wait time.Duration, err error) {
	waiting, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	if err := r.takeTurn(waiting); err != nil {
		return retryAfter, err
	}
	defer r.leaveTurn()
	g := &r.guarded
	if !time.Now().Before(g.due) {
		r.fetch(ctx)
		err = g.err
	}
	return time.Until(g.due), err
}

// fetch asks the issuer once and notes the result. The caller must hold the turn.
func (r *Remote) fetch(ctx context.Context) {
	r.begun.Add(1)
	g, from := &r.guarded, time.Now()
	wait, err := r.tryLoad(ctx)
	if err != nil {
		from, wait = time.Now(), retryAfter
	}
	// The time is random, so that the services of a fleet do not all fetch at the same moment.
	due := from.Add(wait - rand.N(wait/10))
	if err == nil || !from.Before(g.due) || due.Before(g.due) { // if a fetch for a token fails, the next regular fetch is not put off
		g.due = due
	}
	g.err = err
	select {
	case r.fetched <- struct{}{}:
	default:
	}
}

// tryLoad is load. It makes an error of a panic of the host's HTTP client, because a panic in a goroutine of signet would end the
// program.
func (r *Remote) tryLoad(ctx context.Context) (maxAge time.Duration, err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("the HTTP client panicked: %v", reason)
		}
	}()
	return r.load(ctx)
}

// load fetches the keys, and stores them if they have changed. It returns the max-age of the answer. The caller must hold the
// turn.
func (r *Remote) load(ctx context.Context) (maxAge time.Duration, err error) {
	address, err := r.locate(ctx)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	body, header, err := r.get(ctx, address)
	if err != nil {
		return 0, err
	}
	g := &r.guarded
	// The same keys keep the same set, in any order, so that verified tokens stay verified.
	if r.set.Load() == nil || string(body) != g.body {
		list, skipped, err := parsePublished(body)
		if err != nil {
			return 0, fmt.Errorf("the issuer's JWK Set: %w", err)
		}
		for _, reason := range skipped[:min(len(skipped), 10)] {
			r.warn("keys: a key of the issuer is left out", "reason", reason)
		}
		if !r.set.Load().has(list) {
			r.set.Store(newForeignSet(list))
		}
		g.body = string(body)
	}
	return maxAgeOf(header), nil
}

// get returns a document of limited length.
func (r *Remote) get(ctx context.Context, address string) ([]byte, http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("Cache-Control", "no-cache") // a cache in between may not have the new key yet
	res, err := safeurl.Do(r.client, req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, nil, fmt.Errorf("the issuer answered %s", res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err == nil && len(body) > maxDocument {
		err = fmt.Errorf("the issuer answered more than %d bytes", maxDocument)
	}
	return bytes.TrimPrefix(body, []byte("\ufeff")), res.Header, err
}

// maxAgeOf returns how long an answer may be kept (RFC 9111 section 5.2.2.1), within the limits of this package.
func maxAgeOf(h http.Header) time.Duration {
	for _, line := range h.Values("Cache-Control") {
		for directive := range strings.SplitSeq(line, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(directive), "=")
			if !strings.EqualFold(name, "max-age") {
				continue
			}
			seconds, err := strconv.ParseUint(strings.Trim(value, `"`), 10, 31)
			switch {
			case errors.Is(err, strconv.ErrRange): // RFC 9111 section 1.2.2
				seconds = math.MaxInt32
			case err != nil:
				return defaultMaxAge
			}
			age, _ := strconv.ParseUint(h.Get("Age"), 10, 31) // how long a cache has kept the answer already
			return min(max(time.Duration(seconds)*time.Second-time.Duration(age)*time.Second, minMaxAge), maxMaxAge)
		}
	}
	return defaultMaxAge
}
