package signet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// Option configures [New]. The options that fit [NewVerifier] too are VerifierOptions.
type Option interface{ applyAuth(*settings) }

// VerifierOption configures [New], [NewVerifier] and [NewIssuersVerifier].
type VerifierOption interface {
	Option
	applyVerifier(*verifierSettings)
}

type option func(*settings)

func (o option) applyAuth(s *settings) { o(s) }

type verifierOption func(*verifierSettings)

func (o verifierOption) applyAuth(s *settings)             { o(&s.verifierSettings) }
func (o verifierOption) applyVerifier(s *verifierSettings) { o(s) }

// verifierConfig is what a Verifier keeps of its options.
type verifierConfig struct {
	issuer       string
	audience     []string
	types        []string
	leeway       time.Duration
	clock        func() time.Time
	testClock    bool                                            // clock is not time.Now
	errorHandler func(http.ResponseWriter, *http.Request, error) // nil: WriteError
	logger       *slog.Logger
	cacheBytes   int
}

// verifierSettings collect the options of a Verifier, and every mistake in them for one joined error.
type verifierSettings struct {
	verifierConfig
	errs []error
}

// settings collect the options of New.
type settings struct {
	verifierSettings
	lifetimes     Lifetimes
	hasher        password.Hasher
	claims        func(context.Context, userstore.User) (map[string]any, error)
	clientAddress func(*http.Request) string
	withoutCORS   bool

	stateless    bool
	sessionStore session.Store // nil: in memory
	reuseWindow  time.Duration
	strict       bool
	maxStaleness time.Duration
	insecure     bool
}

// newVerifierConfig collects options for the function with that name.
func newVerifierConfig(function string, opts []VerifierOption) verifierSettings {
	s := verifierSettings{verifierConfig: verifierConfig{
		types:      []string{jws.AccessType},
		leeway:     30 * time.Second,
		clock:      time.Now,
		logger:     slog.Default(),
		cacheBytes: defaultCacheSize,
	}}
	for _, opt := range opts {
		if isNil(opt) {
			s.mistake(function, "an option is nil")
			continue
		}
		opt.applyVerifier(&s)
	}
	return s
}

func newSettings(opts []Option) settings {
	s := settings{
		verifierSettings: newVerifierConfig("New", nil),
		hasher:           password.Default(),
		clientAddress:    remoteHost,
		reuseWindow:      10 * time.Second,
		maxStaleness:     30 * time.Second,
	}
	for _, opt := range opts {
		if isNil(opt) {
			s.mistake("New", "an option is nil")
			continue
		}
		opt.applyAuth(&s)
	}
	s.validate()
	return s
}

// validate fills in what depends on several options, and checks what only together can be wrong.
func (s *settings) validate() {
	if s.stateless && s.sessionStore != nil {
		s.mistake("WithoutSessions", "WithSessionStore is given too; leave one of them out")
	}
	if s.sessionStore == nil {
		s.sessionStore = &session.Memory{Clock: s.clock}
	}
	if set := s.lifetimes.Access; set > s.lifetimes.orContract().Refresh && s.logger != nil {
		s.logger.Warn("signet: the access lifetime is longer than the refresh lifetime: clients stay signed in after their session can no longer be refreshed",
			"access", set, "refresh", s.lifetimes.orContract().Refresh)
	}
	s.lifetimes = s.lifetimes.orContract()
}

// accessType is the type of the access tokens that New issues.
func (s *settings) accessType() string {
	if len(s.types) == 0 { // a mistake, which is reported
		return jws.AccessType
	}
	return s.types[0]
}

// mistake records what is wrong with an option, and the remedy.
func (s *verifierSettings) mistake(option, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("signet.%s: %w", option, fmt.Errorf(format, args...)))
}

// WithIssuer sets the issuer ("iss"), usually the service's URL. Issued tokens carry it, and verified tokens must have exactly it (RFC
// 8725 section 3.8). By default tokens carry none, and none is asked for.
func WithIssuer(issuer string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if issuer == "" {
			s.mistake("WithIssuer", "the issuer is empty; leave the option out to have none")
		}
		s.issuer = issuer
	})
}

// WithAudience sets the audience ("aud"). Issued tokens carry all values, and verified tokens must have at least one of them (RFC 8725
// section 3.9). By default tokens carry none, and none is asked for.
func WithAudience(audience ...string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if slices.Contains(audience, "") {
			s.mistake("WithAudience", "an audience is empty; leave it out")
		}
		if len(audience) == 0 {
			s.mistake("WithAudience", "there is no audience; leave the option out to have none")
		}
		s.audience = slices.Clone(audience)
	})
}

// WithTokenTypes sets the "typ" values that count as access tokens, without regard to case. The first one is what [New] issues. The default is "at+jwt" (RFC
// 9068 section 2.1). Use "JWT" where a verifier accepts nothing else, as Spring Security does unless it is told otherwise. "rt+jwt" is an error: it is the
// type of refresh tokens.
func WithTokenTypes(types ...string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if len(types) == 0 {
			s.mistake("WithTokenTypes", "there is no type; leave the option out for at+jwt")
		}
		for _, typ := range types {
			if typ == "" || jws.IsType(typ, jws.RefreshType) {
				s.mistake("WithTokenTypes", "%q cannot be the type of an access token", typ)
			}
		}
		s.types = slices.Clone(types)
	})
}

// WithLeeway sets by how much the clocks of issuer and verifier may differ when "nbf" and "iat" are checked: at most two minutes, in
// whole seconds. "exp" is checked without it. The default is 30 seconds.
func WithLeeway(leeway time.Duration) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if leeway < 0 || leeway > 2*time.Minute {
			s.mistake("WithLeeway", "%v is out of range; use 0 to 2m", leeway)
		}
		s.leeway = leeway
	})
}

// WithClock sets the clock by which tokens are issued and checked, for tests. It must be safe for concurrent use. The default is
// [time.Now]. The session store in memory follows it too. A store on a database has a clock of its own: when the two differ by more than a
// session lives, no login succeeds.
func WithClock(now func() time.Time) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if now == nil {
			s.mistake("WithClock", "the clock is nil; leave the option out for time.Now")
		}
		s.clock, s.testClock = now, true
	})
}

// WithLogger sets where failures of stores and key sources, refused tokens, and what happens to sessions are logged. No password, token,
// hash or key is ever logged. The default is [slog.Default].
func WithLogger(logger *slog.Logger) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if logger == nil {
			s.mistake("WithLogger", "the logger is nil; use slog.New(slog.DiscardHandler) for silence")
		}
		s.logger = logger
	})
}

// WithErrorHandler replaces [WriteError] for every refused request, so that a host can answer in a format of its own. The status is that of
// the [*Error] that err is or wraps ([errors.As]). The headers WWW-Authenticate, Retry-After, Allow and Cache-Control are set
// already. The handler must be safe for concurrent use.
func WithErrorHandler(handler func(w http.ResponseWriter, r *http.Request, err error)) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if handler == nil {
			s.mistake("WithErrorHandler", "the handler is nil; leave the option out for signet.WriteError")
		}
		s.errorHandler = handler
	})
}

// WithTokenCache sets how many bytes of memory the cache of verified tokens may take. The next request with a cached token needs no
// signature check; times, revocations and keys are checked again each time. 0 turns it off; otherwise at least 64 KiB and at most 4 GiB. A
// usual token takes about 1 KiB. The default is 8 MiB.
func WithTokenCache(bytes int) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if bytes != 0 && (bytes < minCacheSize || bytes > 4<<30) {
			s.mistake("WithTokenCache", "%d bytes are out of range; use 0, or 65536 to 4294967296", bytes)
		}
		s.cacheBytes = bytes
	})
}

// Lifetimes says how long tokens and sessions live, in whole seconds: at least 1 second and at most ten years. A field that is 0 stands
// for the value of the contract, which existing clients of the documented API expect. Hosts without such clients should set all three:
// 10 minutes, 7 days and 30 days are usual.
type Lifetimes struct {
	// Access is how long an access token is valid; 0: 20 days. An access token that leaks is good for that long. If it is longer
	// than Refresh, clients stay signed in after their session can no longer be refreshed.
	Access time.Duration
	// Refresh is how long a refresh token is valid; 0: 10 hours. Every refresh starts it anew, so it is how long a session may
	// be unused.
	Refresh time.Duration
	// Session is how long a session lives at most, however often it is refreshed; 0: 90 days. No token of it lives longer.
	Session time.Duration
}

func (l Lifetimes) orContract() Lifetimes {
	const day = 24 * time.Hour
	for _, field := range []struct {
		value    *time.Duration
		contract time.Duration
	}{{&l.Access, 20 * day}, {&l.Refresh, 10 * time.Hour}, {&l.Session, 90 * day}} {
		if *field.value == 0 {
			*field.value = field.contract
		}
	}
	return l
}

// WithLifetimes sets how long tokens and sessions live. See [Lifetimes] for the defaults.
func WithLifetimes(lifetimes Lifetimes) Option {
	return option(func(s *settings) {
		for name, lifetime := range map[string]time.Duration{"Access": lifetimes.Access, "Refresh": lifetimes.Refresh, "Session": lifetimes.Session} {
			if lifetime < 0 || lifetime%time.Second != 0 || lifetime > 10*365*24*time.Hour {
				s.mistake("WithLifetimes", "%s: %v is out of range; use whole seconds, at least 1s and at most ten years", name, lifetime)
			}
		}
		s.lifetimes = lifetimes
	})
}

// WithPasswordHasher sets how passwords are hashed and verified. The default is [password.Default].
func WithPasswordHasher(hasher password.Hasher) Option {
	return option(func(s *settings) {
		if isNil(hasher) {
			s.mistake("WithPasswordHasher", "the hasher is nil; leave the option out for password.Default()")
		}
		s.hasher = hasher
	})
}

// WithClaims adds claims to access tokens, at login and again at every refresh. Read them with [CustomClaims]. The function
//
//   - must be safe for concurrent use, and must not call back into the Auth;
//   - must give up when its context ends, which is after five seconds at the latest;
//   - returns values that can be encoded as JSON; "scope", a string with spaces between the scopes, becomes Claims.Scopes;
//   - must not use the names that belong to signet: sub, iss, aud, exp, iat, nbf, jti, sid, gen, ver, roles, acr, amr, auth_time, act, cnf
//     and client_id, in upper or lower case.
//
// Requests with the same refresh token that come at the same time share one call. An [*Error] that the function returns is the answer to the
// request; any other error is answered 503. Whoever holds an access token can read it: put no secret into one.
func WithClaims(claims func(ctx context.Context, user userstore.User) (map[string]any, error)) Option {
	return option(func(s *settings) {
		if claims == nil {
			s.mistake("WithClaims", "the function is nil; leave the option out to add no claims")
		}
		s.claims = claims
	})
}

// WithSessionStore sets where sessions are kept: a store of the package sqlstore or redisstore for services of several processes. [New]
// reads it, and fails when it does not answer. The host closes it, after [Auth.Close].
//
// The default is a [session.Memory]. Its sessions end with the process, and its revocations with them: if the key outlives the
// process, an access token that was revoked before a restart is good again until it expires.
func WithSessionStore(store session.Store) Option {
	return option(func(s *settings) {
		if isNil(store) {
			s.mistake("WithSessionStore", "the store is nil; leave the option out for one in memory")
			return
		}
		s.sessionStore = store
	})
}

// WithoutSessions makes the service stateless, as the documented API is: a refresh token is good until it expires, however often it
// was used. There is no logout then, no revocation, and no chance to notice a stolen refresh token: methods and handlers for them
// answer [ErrStateless]. It is for clients that keep their first refresh token for ever.
func WithoutSessions() Option { return option(func(s *settings) { s.stateless = true }) }

// WithReuseWindow sets how long a superseded refresh token is honoured after its successor was seen to have arrived. Parallel tabs, and
// clients that repeat a request, need that. 0 to 60 seconds; the default is 10. A thief who uses a stolen token within the window
// stays unseen, for that one generation.
func WithReuseWindow(window time.Duration) Option {
	return option(func(s *settings) {
		if window < 0 || window > time.Minute {
			s.mistake("WithReuseWindow", "%v is out of range; use 0 to 1m", window)
		}
		s.reuseWindow = window
	})
}

// WithStrictRotation takes every refresh token but the newest for stolen at once. A lost answer, or two tabs that refresh together, then
// cost the session. It is only for clients that are known to do neither.
func WithStrictRotation() Option { return option(func(s *settings) { s.strict = true }) }

// WithMaxStaleness sets for how long the session store may be out of reach before access tokens of sessions are answered 503, because one
// that was revoked elsewhere could pass. From 1 second to 24 hours; the default is 30 seconds. The revocations of other
// processes are read every second, and at least four times in this span.
func WithMaxStaleness(bound time.Duration) Option {
	return option(func(s *settings) {
		if bound < time.Second || bound > 24*time.Hour {
			s.mistake("WithMaxStaleness", "%v is out of range; use 1s to 24h", bound)
		}
		s.maxStaleness = bound
	})
}

// WithInsecureStaleRevocations lets access tokens pass, however long the session store is out of reach. A token that was revoked elsewhere in
// the meantime passes too.
func WithInsecureStaleRevocations() Option { return option(func(s *settings) { s.insecure = true }) }

// WithClientAddress sets how the client's address is found, for the list of sessions. The default is the address of the connection. Behind a
// proxy, read the header that this proxy sets, and only if no client can reach the service without it. The function must be safe for
// concurrent use.
func WithClientAddress(address func(*http.Request) string) Option {
	return option(func(s *settings) {
		if address == nil {
			s.mistake("WithClientAddress", "the function is nil; leave the option out for the address of the connection")
		}
		s.clientAddress = address
	})
}

// WithoutCORS takes the answers to CORS out of [Auth.Handler]: for hosts that put a CORS middleware of their own around it, and for
// services without browsers of other origins.
func WithoutCORS() Option { return option(func(s *settings) { s.withoutCORS = true }) }

func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// err joins what options and New found.
func (s *settings) err(other error) error { return errors.Join(append(s.errs, other)...) }
