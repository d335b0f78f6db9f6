package signet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// Option configures [New]. The options that [NewVerifier] takes too are VerifierOptions.
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

// verifierConfig holds the options that a Verifier keeps.
type verifierConfig struct {
	issuer       string
	audience     []string
	types        []string
	leeway       time.Duration
	clock        func() time.Time
	testClock    bool                                            // clock is not time.Now
	errorHandler func(http.ResponseWriter, *http.Request, error) // nil: WriteError
	logger       *slog.Logger
	cacheBytes   int             // for claims
	signatures   *jws.Signatures // nil: every signature is verified
	feed         *feed.Feed      // nil: a verifier learns of no revocation
	cookies      *cookieMode     // nil: only the Authorization header is read
}

// verifierSettings collect the options of a Verifier, and all mistakes in them. The mistakes become one joined error.
type verifierSettings struct {
	verifierConfig
	cacheSize int // bytes, for claims and signatures
	errs      []error
}

// authConfig holds the options that an Auth keeps.
type authConfig struct {
	lifetimes    Lifetimes
	claims       func(context.Context, userstore.User) (map[string]any, error)
	proxies      []netip.Prefix
	withoutCORS  bool
	refreshProof bool
	policy       LoginPolicy
	policySet    bool
}

// settings collect the options of New.
type settings struct {
	verifierSettings
	authConfig
	hasher password.Hasher
	events func(context.Context, event.Event)

	stateless     bool
	needsSessions string        // the last option that means nothing without sessions; "": there is none
	sessionStore  session.Store // nil: in memory
	reuseWindow   time.Duration
	windowSet     bool
	strict        bool
	maxStaleness  time.Duration
	insecure      bool
	memory        int // bytes for revocations
}

// sessionOption returns an option that means nothing without sessions.
func sessionOption(name string, apply func(*settings)) Option {
	return option(func(s *settings) {
		s.needsSessions = name
		apply(s)
	})
}

func defaultVerifierSettings() verifierSettings {
	return verifierSettings{verifierConfig: verifierConfig{
		types:  []string{jws.AccessType},
		leeway: 30 * time.Second,
		clock:  time.Now,
		logger: slog.Default(),
	}, cacheSize: defaultCacheSize}
}

// newVerifierSettings collects options for the function with that name.
func newVerifierSettings(function string, opts []VerifierOption) verifierSettings {
	s := defaultVerifierSettings()
	for _, opt := range opts {
		if isnil.Value(opt) {
			s.mistake(function, "an option is nil")
			continue
		}
		opt.applyVerifier(&s)
	}
	s.shareCache()
	return s
}

// newSettings collects options for New.
func newSettings(opts []Option) settings {
	s := settings{
		verifierSettings: defaultVerifierSettings(),
		hasher:           password.Default(),
		reuseWindow:      10 * time.Second,
		maxStaleness:     30 * time.Second,
		memory:           defaultRevocationMemory,
	}
	for _, opt := range opts {
		if isnil.Value(opt) {
			s.mistake("New", "an option is nil")
			continue
		}
		opt.applyAuth(&s)
	}
	s.complete()
	s.shareCache()
	return s
}

// complete sets the values that depend on several options, and finds options that are wrong only in combination.
func (s *settings) complete() {
	if s.stateless && s.needsSessions != "" {
		s.mistake("WithoutSessions", "%s is given too; leave one of them out", s.needsSessions)
	}
	if s.stateless && s.cookies != nil {
		s.mistake("WithCookies", "WithoutSessions is given too: then nobody could sign out, because scripts cannot take the cookies away")
	}
	if own := len(strictjson.AppendString(nil, s.issuer)) + len(strictjson.AppendString(nil, strings.Join(s.audience, `","`))); own > maxNames {
		s.mistake("WithAudience", "the issuer and the audiences have %d bytes in each token, at most %d are allowed", own, maxNames)
	}
	if s.strict && s.windowSet {
		s.mistake("WithStrictRotation", "WithReuseWindow is given too; leave one of them out")
	}
	if s.feed != nil {
		s.mistake("WithRevocations", "it is for NewVerifier; New follows its session store")
	}
	if s.stateless && (s.policy.SecondFactor != nil || s.policy.Decide != nil) {
		s.mistake("WithLogin", "SecondFactor and Decide need sessions; leave WithoutSessions out")
	}
	if s.policy.Throttle == nil {
		s.policy.Throttle = throttle.New(&throttle.Memory{Clock: s.clock}, throttle.Config{})
	}
	if s.sessionStore == nil {
		s.sessionStore = &session.Memory{Clock: s.clock}
	}
	// The contract's own lifetimes are so too. They are no reason for the warning.
	set := s.lifetimes
	s.lifetimes = set.orContract()
	chosen := set.Access != 0 || s.lifetimes.Refresh < Lifetimes{}.orContract().Refresh
	if l := s.lifetimes; chosen && min(l.Access, l.Session) > l.Refresh && s.logger != nil {
		s.logger.Warn("signet: the access lifetime is longer than the refresh lifetime: "+
			"clients stay signed in after their session can no longer be refreshed", "access", l.Access, "refresh", l.Refresh)
	}
}

// shareCache divides the cache between claims and signatures.
func (s *verifierSettings) shareCache() {
	s.cacheBytes = s.cacheSize / 5
	s.signatures = jws.NewSignatures(s.cacheSize - s.cacheBytes)
}

// mistake records what is wrong with an option, and what to do about it.
func (s *verifierSettings) mistake(option, format string, args ...any) {
	s.errs = append(s.errs, fmt.Errorf("signet.%s: %w", option, fmt.Errorf(format, args...)))
}

// err joins the mistakes in the options with another error, which may be nil.
func (s *verifierSettings) err(other error) error { return errors.Join(append(s.errs, other)...) }

// The greatest lengths of texts that each token carries, in bytes.
const (
	maxName = 1024
	// maxNames is how long the issuer and all audiences may be together, in bytes of JSON: each token carries them.
	maxNames = 4096
	maxType  = 128
)

// checkTexts finds texts with which no token could be read back.
func (s *verifierSettings) checkTexts(option string, longest int, texts ...string) {
	for _, text := range texts {
		switch {
		case len(text) > longest:
			s.mistake(option, "a text has %d bytes, at most %d are allowed", len(text), longest)
		case !utf8.ValidString(text):
			s.mistake(option, "%q is not UTF-8", text)
		}
	}
}

// WithIssuer sets the issuer ("iss"), usually the service's URL. Issued tokens carry it, and verified tokens must have
// exactly this issuer (RFC 8725 section 3.8). By default issued tokens carry no issuer, and verified tokens may have
// any. A service that sets or changes it signs everybody out: the older refresh tokens have another issuer. Stop all old processes
// first: one that runs beside the new ones signs out again those who refresh there.
func WithIssuer(issuer string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if issuer == "" {
			s.mistake("WithIssuer", "the issuer is empty; leave the option out to have none")
		}
		s.checkTexts("WithIssuer", maxName, issuer)
		s.issuer = issuer
	})
}

// WithAudience sets the audience ("aud"). Issued tokens carry all values, and verified tokens must have at least one of
// them (RFC 8725 section 3.9). By default issued tokens carry no audience, and verified tokens may have any.
//
// To change it while several processes run, deploy twice: first the old audience and the new one together, then the new one
// alone. The first audience of a service cannot be set in two steps: as long as an old process runs, the new ones refuse the
// access tokens that it makes, and their clients must refresh. Nor can the last audience be taken away in two steps: as long as
// an old process runs, it refuses the access tokens of the new ones. The audience is of access tokens only. A refresh token or
// a ticket is good at every service with the same key, issuer and session store. So two services with different rules for the
// login must not share these: one would open the other.
func WithAudience(audience ...string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if slices.Contains(audience, "") {
			s.mistake("WithAudience", "an audience is empty; leave it out")
		}
		if len(audience) == 0 {
			s.mistake("WithAudience", "there is no audience; leave the option out to have none")
		}
		s.checkTexts("WithAudience", maxName, audience...)
		s.audience = slices.Clone(audience)
	})
}

// WithTokenTypes sets the "typ" values of access tokens. Upper and lower case are the same. The first one is what [New]
// issues. The default is "at+jwt" (RFC 9068 section 2.1). Use "JWT" for verifiers that accept nothing else, such as
// Spring Security in its default configuration. "rt+jwt" and "ticket+jwt" are errors, because they are the types of refresh
// tokens and tickets. To change it while several processes run, deploy both values first, with the old one in front, then with the
// new one in front, and then the new one alone.
func WithTokenTypes(types ...string) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if len(types) == 0 {
			s.mistake("WithTokenTypes", "there is no type; leave the option out for at+jwt")
		}
		for _, typ := range types {
			if typ == "" || jws.IsType(typ, jws.RefreshType) || jws.IsType(typ, jws.TicketType) {
				s.mistake("WithTokenTypes", "%q cannot be the type of an access token", typ)
			}
		}
		s.checkTexts("WithTokenTypes", maxType, types...)
		s.types = slices.Clone(types)
	})
}

// WithLeeway sets by how much the clocks of issuer and verifier may differ when "nbf" and "iat" are checked: at most
// two minutes, in whole seconds. It does not extend "exp". The default is 30 seconds.
func WithLeeway(leeway time.Duration) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if leeway < 0 || leeway > 2*time.Minute || leeway%time.Second != 0 {
			s.mistake("WithLeeway", "%v is out of range; use whole seconds from 0 to 2m", leeway)
		}
		s.leeway = leeway
	})
}

// WithClock sets the clock for issuing and checking tokens. It is for tests. It must be safe for concurrent use. The default is
// [time.Now]. The session store and the throttle in memory use it too, unless you give them to signet yourself. A store that
// has a clock of its own, such as a database, says by that clock when a session ends. So moving only this clock ends access
// tokens and no session. If this clock is ahead of that of the store by more than the lifetime of a session, every login fails.
func WithClock(now func() time.Time) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if now == nil {
			s.mistake("WithClock", "the clock is nil; leave the option out for time.Now")
		}
		s.clock, s.testClock = now, true
	})
}

// WithLogger sets the logger for failures of stores and key sources, for refused tokens, and for the events of
// sessions. Signet never logs a password, a token, a hash or a key. The default is [slog.Default]. The logger's handler must not
// panic: signet logs in goroutines of its own too, where a panic would end the program.
func WithLogger(logger *slog.Logger) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if logger == nil {
			s.mistake("WithLogger", "the logger is nil; use slog.New(slog.DiscardHandler) for silence")
		}
		s.logger = logger
	})
}

// WithErrorHandler replaces [WriteError] for every refused request, so that a host can answer in a format of its own.
// The status is that of the [*Error] that err is or wraps ([errors.As]). Signet has already set the headers
// WWW-Authenticate, Retry-After, Allow and Cache-Control. The handler must be safe for concurrent use. For
// [ErrSecondStepRequired] the answer must have the ticket ([Error.Ticket]): without it nobody can go on with the login.
//
// The handler answers for the login and the refresh too. There the status must stay: with a redirect to a login page in its
// place a client does not learn that a password was wrong or that a session has ended. For pages of the host, whose paths are
// others, it may redirect: to the login page after [ErrNoToken] or [ErrInvalidToken], and to a form for the second proof after a
// refusal of [Verifier.RequireRecentAuth], whose code is "insufficient_user_authentication" ([Error.Code]).
func WithErrorHandler(handler func(w http.ResponseWriter, r *http.Request, err error)) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if handler == nil {
			s.mistake("WithErrorHandler", "the handler is nil; leave the option out for signet.WriteError")
		}
		s.errorHandler = handler
	})
}

// WithTokenCache sets how many bytes of memory the cache of verified tokens may use. A request with a cached token
// needs no signature check. Times, revocations and keys are checked at every request. The value 0 turns the cache off;
// any other value must be from 64 KiB to 4 GiB. The default is 40 MiB.
//
// A fifth of it keeps the claims of the tokens that come most often; a usual token takes about 1 KiB there. One of more than
// about 2,000 bytes does not fit: it is read anew at each request, and an HMAC is verified. The rest remembers good signatures,
// for keys that are no HMAC secrets: 16 bytes a token, so 32 MiB are enough for a million live tokens. That part takes no
// memory before it is used.
func WithTokenCache(bytes int) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if bytes != 0 && (bytes < minCacheSize || int64(bytes) > 4<<30) {
			s.mistake("WithTokenCache", "%d bytes are out of range; use 0, or 65536 to 4294967296", bytes)
		}
		s.cacheSize = bytes
	})
}

// WithCookies lets [Verifier.RequireAuth] and the other middleware find the access token in a cookie when a request has no
// "Authorization: Bearer" header, and it is needed for [Auth.CookieHandler]. A request that is authenticated by a cookie must
// not come from another site: requests with an unsafe method are checked by [http.CrossOriginProtection], and WebSocket
// upgrades by the same rules. Others are answered 403 "cross_site_request".
//
// The cookies are __Host-access_token and __Secure-refresh_token (with [Cookies].Service __Host-SERVICE-access_token and so on),
// both Secure, HttpOnly and SameSite=Lax (RFC 6265bis section 4.1.3). For http on a loopback host they have the names access_token
// and refresh_token and are not Secure, so that a program under development needs no TLS. On other hosts browsers keep no such
// cookie that comes over http.
func WithCookies(cookies Cookies) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if s.cookies != nil {
			s.mistake("WithCookies", "it is given twice; name all origins in one")
		}
		mode := &cookieMode{protection: http.NewCrossOriginProtection(), service: cookies.Service}
		if strings.Trim(cookies.Service, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") != "" || len(cookies.Service) > 32 {
			s.mistake("WithCookies", "Service: %q must have letters, digits and hyphens only, and at most 32", cookies.Service)
		}
		for _, origin := range cookies.TrustedOrigins {
			if err := mode.protection.AddTrustedOrigin(origin); err != nil {
				s.mistake("WithCookies", "%w", err)
			} else if !isOrigin(origin) {
				s.mistake("WithCookies", "TrustedOrigins: no browser sends the origin %q; write one as browsers do, such as https://app.example.com", origin)
			}
		}
		s.cookies = mode
	})
}

// WithRevocations lets a verifier of [NewVerifier] follow the revocations of the service that issues the tokens. Then a
// revoked token is refused within about a second, and a token is answered 503 if the feed was not read for too long
// ([feed.WithMaxStaleness]). The host closes the feed. [New] does not take this option, because it follows its session store.
func WithRevocations(f *feed.Feed) VerifierOption {
	return verifierOption(func(s *verifierSettings) {
		if f == nil {
			s.mistake("WithRevocations", "the feed is nil; leave the option out to follow none")
		}
		s.feed = f
	})
}

// Lifetimes says how long tokens and sessions live, in whole seconds: at least 1 second and at most ten years. A field
// that is 0 gets the default of the documented API, which existing clients of that API expect. Hosts without such
// clients should set all three: 10 minutes, 7 days and 30 days are usual.
type Lifetimes struct {
	// Access is how long an access token is valid; 0: 20 days. A stolen access token can be used for that long. If it
	// is longer than Refresh, clients stay signed in after their session can no longer be refreshed.
	Access time.Duration
	// Refresh is how long a refresh token is valid; 0: 10 hours. Every refresh starts this time again, so a session ends after
	// that time without a refresh. With sessions a shorter time counts at once, also for the tokens that are out; a longer one
	// does not make these live longer. As long as an old process with a shorter time runs,
	// it refuses after that time.
	Refresh time.Duration
	// Session is how long a session lives at most, however often it is refreshed; 0: 90 days. No token of the session
	// lives longer. It holds for the sessions that begin from now on; [Auth.RevokeAll] ends the older ones.
	Session time.Duration
}

func (l Lifetimes) orContract() Lifetimes {
	return Lifetimes{Access: cmp.Or(l.Access, sessions.DefaultAccess), Refresh: cmp.Or(l.Refresh, 10*time.Hour),
		Session: cmp.Or(l.Session, 90*24*time.Hour)}
}

func badLifetime(d time.Duration) bool {
	return d < 0 || d%time.Second != 0 || d > 10*365*24*time.Hour
}

// WithLifetimes sets how long tokens and sessions live. See [Lifetimes] for the defaults. A revocation is kept until the last
// token of its sessions has expired. If the store has lost these sessions, as a [session.Memory] does at a restart, it is kept
// for 20 days, or for [Lifetimes].Access if that is longer. So if Access was longer than 20 days, and you make it shorter with
// such a store, change the key first: an older token could be valid for longer than its revocation is kept.
func WithLifetimes(lifetimes Lifetimes) Option {
	return option(func(s *settings) {
		for _, field := range []struct {
			name  string
			value time.Duration
		}{{"Access", lifetimes.Access}, {"Refresh", lifetimes.Refresh}, {"Session", lifetimes.Session}} {
			if badLifetime(field.value) {
				s.mistake("WithLifetimes", "%s: %v is out of range; use whole seconds, at least 1s and at most ten years",
					field.name, field.value)
			}
		}
		s.lifetimes = lifetimes
	})
}

// WithLogin sets what stands between a password and the first tokens.
func WithLogin(policy LoginPolicy) Option {
	return option(func(s *settings) {
		if policy.SecondFactor != nil && isnil.Value(policy.SecondFactor) {
			s.mistake("WithLogin", "SecondFactor is a nil pointer; leave it out to have none")
		}
		if policy.ParallelHashes < 0 || policy.ParallelHashes > 1024 {
			s.mistake("WithLogin", "ParallelHashes: %d is out of range; use 0 to 1024", policy.ParallelHashes)
		}
		if policy.SecondStepACR != "" && policy.SecondFactor == nil {
			s.mistake("WithLogin", "SecondStepACR is set, and there is no SecondFactor; set one, or leave SecondStepACR out")
		}
		if len(policy.SecondStepACR) > maxACR {
			s.mistake("WithLogin", "SecondStepACR has more than %d bytes", maxACR)
		} else if policy.SecondStepACR != "" && isNoACR(policy.SecondStepACR) {
			s.mistake("WithLogin", "SecondStepACR must be ASCII without spaces, quotes and backslashes")
		}
		if s.policySet {
			s.mistake("WithLogin", "it is given twice; put all fields into one LoginPolicy")
		}
		s.policy, s.policySet = policy, true
	})
}

// WithPasswordHasher sets how passwords are hashed and verified. The default is [password.Default]. To change it while several
// processes run, see [password.Chain]: a process that cannot read a hash refuses the right password.
func WithPasswordHasher(hasher password.Hasher) Option {
	return option(func(s *settings) {
		if isnil.Value(hasher) {
			s.mistake("WithPasswordHasher", "the hasher is nil; leave the option out for password.Default()")
		}
		s.hasher = hasher
	})
}

// WithClaims adds claims to access tokens, at login and again at every refresh. Read them with [CustomClaims]. The function
//
//   - must be safe for concurrent use, and must not call methods of the Auth;
//   - must return when its context ends, which is after at most five seconds;
//   - returns values that can be encoded as JSON; "scope", a string with spaces between the scopes, becomes Claims.Scopes;
//   - must not use the names that belong to signet: sub, iss, aud, exp, iat, nbf, jti, sid, gen, ver, roles, acr, amr,
//     auth_time, act, cnf and client_id, in upper or lower case.
//
// Simultaneous requests with one refresh token share one call, so the result must depend on the user and not on the
// request. If the function returns an [*Error], the client gets that answer; any other error is answered 503. Everybody
// who holds an access token can read it, so put no secret into it. A whole access token has at most 8,192 bytes, or 3,800 in a
// cookie; a longer one is answered 500, and the log says why.
func WithClaims(claims func(ctx context.Context, user userstore.User) (map[string]any, error)) Option {
	return option(func(s *settings) {
		if claims == nil {
			s.mistake("WithClaims", "the function is nil; leave the option out to add no claims")
		}
		if s.claims != nil {
			s.mistake("WithClaims", "it is given twice; merge both functions into one")
		}
		s.claims = claims
	})
}

// WithSessionStore sets the store of the sessions. A service of several processes uses a store of the package sqlstore
// or redisstore. [New] reads the store, and fails if the store does not answer. The host closes the store after
// [Auth.Close].
//
// The default is a [session.Memory]. Its sessions and revocations end with the process. If the key is the same after a restart,
// an access token that was revoked before the restart is valid again until it expires. The same holds for a move to another
// store: change the key with it, and do not run processes on both stores at one time. Restart the services that follow the
// revocations (package feed) too, after the move: they know cut-offs of the old store, and would refuse new tokens. If you go
// back to the old store, its sessions go on as they were, also those that have ended meanwhile: call [Auth.RevokeAll] there
// first.
//
// All services on one store must have the same users, because a session belongs to a user's id: user 1 of another service
// would see and end the sessions of user 1 here. Services with users of their own, such as tenants, need stores of their own (a
// schema or a database in SQL, redisstore.WithPrefix), or ids that are unique over all of them.
func WithSessionStore(store session.Store) Option {
	return sessionOption("WithSessionStore", func(s *settings) {
		if isnil.Value(store) {
			s.mistake("WithSessionStore", "the store is nil; leave the option out for one in memory")
			return
		}
		s.sessionStore = store
	})
}

// WithoutSessions makes the service stateless, as the documented API is: a refresh token can be used any number of times until
// it expires. Then there is no logout and no revocation, and a stolen refresh token is not detected. The methods and handlers
// for sessions answer [ErrStateless]. The option is for clients that always send their first refresh token.
//
// A service that had sessions before accepts the tokens of revoked ones again, until they expire: change the key too, and
// accept the old one no more. If you take this option away later, everybody who has logged in under it must log in again. Stop
// all old processes before you set it or take it away: one with sessions refuses the tokens of one without, so people are
// signed out again. If you go back to an older session store, and to the key of that time, its sessions go on, also those of
// people who have got a new password meanwhile: call [Auth.RevokeAll] before anybody can use them.
func WithoutSessions() Option { return option(func(s *settings) { s.stateless = true }) }

// WithReuseWindow sets how long a superseded refresh token is still accepted after the client has used its successor. Parallel
// tabs and clients that repeat a request need this time. It is from 0 to 60 seconds; the default is 10 seconds. A thief who
// uses a stolen token within this time is not detected by this use. If processes with different windows run beside each other,
// only the shortest window holds. With [WithStrictRotation] there is none.
func WithReuseWindow(window time.Duration) Option {
	return sessionOption("WithReuseWindow", func(s *settings) {
		if window < 0 || window > time.Minute {
			s.mistake("WithReuseWindow", "%v is out of range; use 0 to 1m", window)
		}
		s.reuseWindow, s.windowSet = window, true
	})
}

// WithStrictRotation treats every use of a superseded refresh token as theft, at once. Then a lost answer or two tabs
// that refresh together end the session. Use it only for clients that repeat no request and have one tab.
func WithStrictRotation() Option {
	return sessionOption("WithStrictRotation", func(s *settings) { s.strict = true })
}

// WithRefreshProof makes only the use of a new refresh token a proof that the client has received it. By default the use of the
// new access token is a proof too. The option is for clients that may use the new access token, lose the pair, and come back with
// the old refresh token. There are two kinds. A server that refreshes while it renders a page may be unable to store the pair. A
// browser whose machine loses power often writes cookies and storage to the disk some seconds late. See docs/browsers.md.
//
// The option costs time: a thief who uses the old token after the owner has refreshed is noticed only when the owner refreshes
// again, and the thief's access token is good until it expires.
func WithRefreshProof() Option {
	return sessionOption("WithRefreshProof", func(s *settings) { s.refreshProof = true })
}

// WithMaxStaleness sets how long the session store may be unreachable before requests with access tokens of sessions are
// answered 503. After that time a token that another process revoked could pass. It is from 1 second to 24 hours; the default
// is 30 seconds. Signet reads the revocations of other processes every second, or four times within this time if that is more
// often.
func WithMaxStaleness(bound time.Duration) Option {
	return sessionOption("WithMaxStaleness", func(s *settings) {
		if bound < time.Second || bound > 24*time.Hour {
			s.mistake("WithMaxStaleness", "%v is out of range; use 1s to 24h", bound)
		}
		s.maxStaleness = bound
	})
}

// WithInsecureStaleRevocations accepts access tokens however long the session store is unreachable. A token that
// another process has revoked in the meantime is accepted too.
func WithInsecureStaleRevocations() Option {
	return sessionOption("WithInsecureStaleRevocations", func(s *settings) { s.insecure = true })
}

// The memory for revocations, in bytes.
const (
	defaultRevocationMemory = 64 << 20
	minRevocationMemory     = 1 << 20
)

// WithRevocationMemory sets how many bytes of memory the revocations may use: from 1 MiB to 16 GiB. The default is 64 MiB,
// which holds about three million revocations of sessions exactly, and nearly all cut-offs of about 40,000 users
// ([Auth.RevokeUser], [Auth.UserChanged], new passwords). More of them are kept in a compact form. Then some tokens need one
// look-up in the session store. The answer is remembered; answers about cut-offs are remembered for about 16,000 users at a
// time. No valid token is refused, and no revoked one passes.
func WithRevocationMemory(bytes int) Option {
	return sessionOption("WithRevocationMemory", func(s *settings) {
		if bytes < minRevocationMemory || int64(bytes) > 16<<30 {
			s.mistake("WithRevocationMemory", "%d bytes are out of range; use 1048576 to 17179869184", bytes)
		}
		s.memory = bytes
	})
}

// WithTrustedProxies names the addresses of proxies in front of the service. A request from one of them has the address of the
// client in X-Forwarded-For, which is read from the right: the first address there that is no trusted proxy is the client.
// By default no proxy is trusted, and the client is the connection. The address is shown in the list of sessions, and the
// limits for attempts to log in count by it. So behind a proxy that is not named here, all clients count as one. Name only
// proxies that set the header or add to it, and that no client can go around. A connection through a Unix socket, which only a
// program on the same machine can make, is one from a trusted proxy if any are named.
func WithTrustedProxies(prefixes ...netip.Prefix) Option {
	return option(func(s *settings) {
		for _, prefix := range prefixes {
			if !prefix.IsValid() {
				s.mistake("WithTrustedProxies", "a prefix is not valid")
			}
		}
		if len(prefixes) == 0 {
			s.mistake("WithTrustedProxies", "there is no prefix; leave the option out to trust no proxy")
		}
		if s.proxies != nil {
			s.mistake("WithTrustedProxies", "it is given twice; name all prefixes in one")
		}
		s.proxies = slices.Clone(prefixes)
	})
}

// WithEvents calls a function for each [event.Event], for example to send a mail after a login from a new device. It is called
// in one goroutine of the service, one event after the other, and never holds a request up: when 1,024 events wait, further
// ones are dropped, counted in [Stats] and still logged. Events that strangers can cause at will (failed and throttled attempts)
// are dropped when 512 wait, and those that users can cause at will when 768 wait. So nobody can crowd out a theft or a new
// password. [Auth.Close] gives the function two seconds for what waits,
// and then ends its context. The function must return when its context ends, and must not call Close, which waits for it.
func WithEvents(handle func(ctx context.Context, e event.Event)) Option {
	return option(func(s *settings) {
		if handle == nil {
			s.mistake("WithEvents", "the function is nil; leave the option out to have none")
		}
		if s.events != nil {
			s.mistake("WithEvents", "it is given twice; call both functions in one")
		}
		s.events = handle
	})
}

// WithoutCORS makes [Auth.Handler] answer no CORS requests. It is for hosts with a CORS middleware of their own, and
// for services that no browser calls from another origin.
func WithoutCORS() Option { return option(func(s *settings) { s.withoutCORS = true }) }
