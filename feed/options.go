package feed

import (
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/keys"
)

// Option configures [Open]. The options that [NewHandler] takes too are HandlerOptions.
type Option interface{ applyFeed(*config) }

// HandlerOption configures [NewHandler] and [Open].
type HandlerOption interface {
	Option
	applyHandler(*config)
}

type option func(*config)

func (o option) applyFeed(c *config) { o(c) }

type handlerOption func(*config)

func (o handlerOption) applyFeed(c *config)    { o(c) }
func (o handlerOption) applyHandler(c *config) { o(c) }

// config holds the options, and all mistakes in them and in the arguments. The mistakes become one joined error.
type config struct {
	issuer       string
	logger       *slog.Logger
	client       *http.Client
	insecureHTTP bool
	maxStaleness time.Duration
	insecure     bool
	memory       int
	errs         []error
}

func defaults() config {
	return config{logger: slog.Default(), maxStaleness: 30 * time.Second, memory: 64 << 20}
}

func (c *config) mistake(what, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("feed.%s: %w", what, fmt.Errorf(format, args...)))
}

// checkSource finds sources that can never have keys.
func (c *config) checkSource(what string, source keys.Source) {
	if isnil.Value(source) {
		c.mistake(what, "the source of keys is nil")
	} else if made, ok := source.(interface{ Err() error }); ok && made.Err() != nil {
		c.errs = append(c.errs, made.Err())
	}
}

// WithIssuer sets the issuer ("iss") of the documents. A follower refuses those of another issuer. Without this option, the
// documents must be without an issuer. Change it at the service and its followers together: meanwhile the followers answer 503.
func WithIssuer(issuer string) HandlerOption {
	return handlerOption(func(c *config) { c.issuer = issuer })
}

// WithLogger sets the logger. The default is [slog.Default].
func WithLogger(logger *slog.Logger) HandlerOption {
	return handlerOption(func(c *config) {
		if logger == nil {
			c.mistake("WithLogger", "the logger is nil; use slog.New(slog.DiscardHandler) for silence")
		}
		c.logger = logger
	})
}

// WithClient sets the HTTP client, for example one with mutual TLS, or with a transport that adds credentials. Such a transport
// gets redirected requests too: let it add them for the host of the feed only. A request takes at most 5 seconds, even if the
// client's own limit is longer. The default client gives up a connection on which nothing comes for ten seconds. For a client
// of your own, set SendPingTimeout and PingTimeout of [http.HTTP2Config].
func WithClient(client *http.Client) Option {
	return option(func(c *config) {
		if client == nil {
			c.mistake("WithClient", "the client is nil; leave the option out for the default")
		}
		c.client = client
	})
}

// WithInsecureHTTP allows plain http for the host in the given URL. The documents are signed, so nobody in between can
// forge one. But everybody in between can read them, and the ids of sessions and users that are to be confirmed.
func WithInsecureHTTP() Option { return option(func(c *config) { c.insecureHTTP = true }) }

// WithMaxStaleness sets how old the newest document may be before tokens are answered 503. It is from 1 second to 24 hours;
// the default is 30 seconds. The feed is read every second, and at least four times in this time.
func WithMaxStaleness(bound time.Duration) Option {
	return option(func(c *config) {
		if bound < time.Second || bound > 24*time.Hour {
			c.mistake("WithMaxStaleness", "%v is out of range; use 1s to 24h", bound)
		}
		c.maxStaleness = bound
	})
}

// WithInsecureStaleRevocations accepts tokens however long the service is unreachable. A token that was revoked in the
// meantime is accepted too. A process that has not read the whole log yet still asks about each session, and answers 503 if it
// gets no answer.
func WithInsecureStaleRevocations() Option { return option(func(c *config) { c.insecure = true }) }

// WithMemory sets how many bytes of memory the revocations may use: from 1 MiB to 16 GiB. The default is 64 MiB, which holds
// about three million revocations of sessions exactly, and nearly all cut-offs of about 40,000 users (signet.Auth.RevokeUser
// and UserChanged). More of them are kept in a compact form. Then the service must confirm a few sessions, each once, and users
// with a cut-off, of whom about 16,000 are remembered at a time.
func WithMemory(bytes int) Option {
	return option(func(c *config) {
		if bytes < 1<<20 || int64(bytes) > 16<<30 {
			c.mistake("WithMemory", "%d bytes are out of range; use 1048576 to 17179869184", bytes)
		}
		c.memory = bytes
	})
}
