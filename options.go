package signet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// Option configures New. The options that fit NewVerifier too are VerifierOptions.
type Option interface{ applyAuth(*config) }

// VerifierOption configures New and NewVerifier.
type VerifierOption interface {
	Option
	applyVerifier(*verifierConfig)
}

type option func(*config)

func (o option) applyAuth(c *config) { o(c) }

type verifierOption func(*verifierConfig)

func (o verifierOption) applyAuth(c *config)             { o(&c.verifier) }
func (o verifierOption) applyVerifier(c *verifierConfig) { o(c) }

// verifierConfig is what a Verifier needs. After New it never changes.
type verifierConfig struct {
	issuer       string
	audience     []string
	types        []string
	leeway       time.Duration
	clock        func() time.Time
	maxToken     int
	realm        string
	errorHandler func(http.ResponseWriter, *http.Request, error)
	logger       *slog.Logger
	cacheEntries int
	errs         []error // every mistake found, for one joined error
}

// config is what an Auth needs besides. After New it never changes.
type config struct {
	verifier        verifierConfig
	accessLifetime  time.Duration
	refreshLifetime time.Duration
	hasher          password.Hasher
	extraClaims     func(context.Context, userstore.User) (map[string]any, error)
	maxBody         int64
	clientAddress   func(*http.Request) string

	stateless    bool
	sessionStore session.Store // nil: in memory
	rules        session.Rules
	maxStaleness time.Duration
	pullInterval time.Duration
	lenient      bool
}

func defaultVerifierConfig() verifierConfig {
	return verifierConfig{
		types:        []string{accessType},
		leeway:       30 * time.Second,
		clock:        time.Now,
		maxToken:     8 << 10,
		realm:        "api",
		errorHandler: func(w http.ResponseWriter, _ *http.Request, err error) { WriteError(w, err) },
		logger:       slog.Default(),
		cacheEntries: defaultCacheSize,
	}
}

func defaultConfig() config {
	return config{
		verifier:        defaultVerifierConfig(),
		accessLifetime:  20 * 24 * time.Hour,
		refreshLifetime: 10 * time.Hour,
		hasher:          password.Default(),
		maxBody:         64 << 10,
		clientAddress:   remoteHost,
		rules:           session.Rules{Window: 10 * time.Second, Absolute: 90 * 24 * time.Hour},
		maxStaleness:    30 * time.Second,
		pullInterval:    time.Second,
	}
}

// mistake records what is wrong with an option, and the remedy.
func (c *verifierConfig) mistake(option, format string, args ...any) {
	c.errs = append(c.errs, fmt.Errorf("signet.%s: %s", option, fmt.Sprintf(format, args...)))
}

// WithIssuer sets the issuer ("iss"), usually the service's URL: issued tokens carry it, and verified ones must have
// exactly it (RFC 8725 section 3.8). Default: tokens carry none, and none is asked for.
func WithIssuer(issuer string) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if issuer == "" {
			c.mistake("WithIssuer", "the issuer is empty; leave the option out to have none")
		}
		c.issuer = issuer
	})
}

// WithAudience sets the audience ("aud"): issued tokens carry all values, verified ones must have at least one of them
// (RFC 8725 section 3.9). Default: none carried, none asked for.
func WithAudience(audience ...string) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		for _, a := range audience {
			if a == "" {
				c.mistake("WithAudience", "an audience is empty; leave it out")
			}
		}
		if len(audience) == 0 {
			c.mistake("WithAudience", "there is no audience; leave the option out to have none")
		}
		c.audience = append([]string(nil), audience...)
	})
}

// WithTokenTypes sets the "typ" values that count as access tokens, without regard to case. Default: "at+jwt" (RFC 9068
// section 2.1), which is what signet issues. For issuers that type their access tokens "JWT" only; make sure that they
// have no other kind of token for the same audience. New refuses "rt+jwt", the type of refresh tokens.
func WithTokenTypes(types ...string) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		c.types = append([]string(nil), types...)
		if len(types) == 0 {
			c.mistake("WithTokenTypes", "there is no type; leave the option out for at+jwt")
		}
		for _, typ := range types {
			if typ == "" || (joseHeader{typ: typ}).isType(refreshType) {
				c.mistake("WithTokenTypes", "%q cannot be the type of an access token", typ)
			}
		}
	})
}

// WithLeeway sets by how much the clocks of issuer and verifier may differ when "nbf" and "iat" are checked, at most two
// minutes, in whole seconds. "exp" is checked without it. Default: 30 seconds.
func WithLeeway(leeway time.Duration) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if leeway < 0 || leeway > 2*time.Minute {
			c.mistake("WithLeeway", "%v is out of range; use 0 to 2m", leeway)
		}
		c.leeway = leeway
	})
}

// WithClock sets the clock by which tokens are issued and checked, for tests. It must be safe for concurrent use.
// Default: time.Now.
func WithClock(now func() time.Time) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if now == nil {
			c.mistake("WithClock", "the clock is nil; leave the option out for time.Now")
		}
		c.clock = now
	})
}

// WithLogger sets where failures of stores and key sources, and what happens to sessions, are logged. No password, token,
// hash or key is ever logged. Default: slog.Default.
func WithLogger(logger *slog.Logger) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if logger == nil {
			c.mistake("WithLogger", "the logger is nil; use slog.New(slog.DiscardHandler) for silence")
		}
		c.logger = logger
	})
}

// WithErrorHandler replaces WriteError for every refused request, so that a host can answer in its own format. The status
// is that of the *Error that err wraps (errors.As). WWW-Authenticate, Retry-After, Allow and Cache-Control are set
// already. The handler must be safe for concurrent use.
func WithErrorHandler(handler func(w http.ResponseWriter, r *http.Request, err error)) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if handler == nil {
			c.mistake("WithErrorHandler", "the handler is nil; leave the option out for signet.WriteError")
		}
		c.errorHandler = handler
	})
}

// WithRealm sets the realm of the WWW-Authenticate challenge (RFC 9110 section 11.5): printable ASCII without quotes.
// Default: "api".
func WithRealm(realm string) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if strings.ContainsFunc(realm, func(r rune) bool { return r < ' ' || r > '~' || r == '"' || r == '\\' }) {
			c.mistake("WithRealm", "%q is not printable ASCII without quotes", realm)
		}
		c.realm = realm
	})
}

// WithMaxTokenBytes sets how long a token may be, in bytes; longer ones are refused unread. 256 to 65,536; default 8,192.
func WithMaxTokenBytes(limit int) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if limit < 256 || limit > 64<<10 {
			c.mistake("WithMaxTokenBytes", "%d is out of range; use 256 to 65536", limit)
		}
		c.maxToken = limit
	})
}

// WithTokenCache sets how many verified tokens are remembered, so that the next request with the same token needs no
// signature check; times, revocations and keys are checked again each time. 0 turns it off; at most 4,194,304. An entry
// takes about 1 KiB with usual tokens, and at most 5 KiB. Default: 8,192.
func WithTokenCache(entries int) VerifierOption {
	return verifierOption(func(c *verifierConfig) {
		if entries < 0 || entries > 4<<20 {
			c.mistake("WithTokenCache", "%d is out of range; use 0 to 4194304", entries)
		}
		c.cacheEntries = entries
	})
}

// WithAccessLifetime sets how long access tokens are valid, in whole seconds. Default: 20 days, as the contract says;
// most hosts should set minutes, because an access token that leaks is good until then. See the README.
func WithAccessLifetime(lifetime time.Duration) Option {
	return option(func(c *config) {
		c.accessLifetime = c.lifetime("WithAccessLifetime", lifetime)
	})
}

// WithRefreshLifetime sets how long refresh tokens are valid, in whole seconds. Every refresh starts it anew. Default: 10
// hours.
func WithRefreshLifetime(lifetime time.Duration) Option {
	return option(func(c *config) {
		c.refreshLifetime = c.lifetime("WithRefreshLifetime", lifetime)
	})
}

func (c *config) lifetime(option string, lifetime time.Duration) time.Duration {
	if lifetime < time.Second || lifetime%time.Second != 0 || lifetime > 10*365*24*time.Hour {
		c.verifier.mistake(option, "%v is out of range; use whole seconds, at least 1s and at most ten years", lifetime)
	}
	return lifetime
}

// WithPasswordHasher sets how passwords are hashed and verified. Default: password.Default().
func WithPasswordHasher(hasher password.Hasher) Option {
	return option(func(c *config) {
		if hasher == nil {
			c.verifier.mistake("WithPasswordHasher", "the hasher is nil; leave the option out for password.Default()")
		}
		c.hasher = hasher
	})
}

// WithClaims adds claims to access tokens, at login and again at every refresh; read them with CustomClaims. The function
// must be safe for concurrent use and must not call back into the Auth; its context ends after five seconds; its values must be JSON-encodable; "scope", a space-separated string, becomes
// Claims.Scopes. The names that signet sets itself (sub, iss, aud, exp, iat, nbf, jti, sid, gen, roles) are an error.
// Access tokens can be read by whoever holds them: put no secret into one.
func WithClaims(claims func(ctx context.Context, user userstore.User) (map[string]any, error)) Option {
	return option(func(c *config) {
		if claims == nil {
			c.verifier.mistake("WithClaims", "the function is nil; leave the option out to add no claims")
		}
		c.extraClaims = claims
	})
}

// WithMaxBodyBytes sets how long a request body may be, in bytes; longer ones are answered 413. 1,024 to 1 MiB; default
// 64 KiB.
func WithMaxBodyBytes(limit int64) Option {
	return option(func(c *config) {
		if limit < 1<<10 || limit > 1<<20 {
			c.verifier.mistake("WithMaxBodyBytes", "%d is out of range; use 1024 to 1048576", limit)
		}
		c.maxBody = limit
	})
}

// err joins what options and New found.
func (c *config) err(others ...error) error {
	return errors.Join(append(c.verifier.errs, others...)...)
}
