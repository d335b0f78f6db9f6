package signet

import (
	"net"
	"net/http"
	"slices"
	"time"

	"github.com/signet-go/signet/session"
)

// WithSessionStore sets where sessions are kept: session/sqlstore or session/redisstore for services of several processes.
// New reads it, and fails when it does not answer. The host closes it, after Close. Default: a session.Memory, whose
// sessions end with the process, and its revocations with them: with a key that outlives the process, an access token that
// was revoked before a restart is good again until it expires.
func WithSessionStore(store session.Store) Option {
	return option(func(c *config) {
		if store == nil {
			c.verifier.mistake("WithSessionStore", "the store is nil; leave the option out for one in memory")
		}
		c.sessionStore = store
	})
}

// WithoutSessions makes the service stateless, as the documented API is: a refresh token is good until it expires, however
// often it was used. Lost with the sessions are logout, revocation, and any chance of noticing a stolen refresh token. For
// clients that keep their first refresh token for ever.
func WithoutSessions() Option { return option(func(c *config) { c.stateless = true }) }

// WithSessionLifetime sets how long a session lives at most, however often it is refreshed. Default: 90 days. How long it
// lives unused is WithRefreshLifetime.
func WithSessionLifetime(lifetime time.Duration) Option {
	return option(func(c *config) {
		c.rules.Absolute = c.lifetime("WithSessionLifetime", lifetime)
	})
}

// WithReuseWindow sets how long a superseded refresh token is honoured after its successor was seen to have arrived: what
// parallel tabs, and clients that repeat a request, need. 0 to 60 seconds, default 10. A thief who uses a stolen token
// within it stays unseen, for that one generation.
func WithReuseWindow(window time.Duration) Option {
	return option(func(c *config) {
		if window < 0 || window > time.Minute {
			c.verifier.mistake("WithReuseWindow", "%v is out of range; use 0 to 1m", window)
		}
		c.rules.Window = window
	})
}

// WithStrictRotation takes every refresh token but the newest for stolen at once. A lost answer, or two tabs that refresh
// together, then cost the session: only for clients that are known to do neither.
func WithStrictRotation() Option { return option(func(c *config) { c.rules.Strict = true }) }

// WithMaxStaleness sets for how long the session store may be out of reach before access tokens of sessions are refused
// with 503, because one that was revoked elsewhere could pass. Default: 30 seconds.
func WithMaxStaleness(bound time.Duration) Option {
	return option(func(c *config) {
		if bound < time.Second || bound > 24*time.Hour {
			c.verifier.mistake("WithMaxStaleness", "%v is out of range; use 1s to 24h", bound)
		}
		c.maxStaleness = bound
	})
}

// WithInsecureStaleRevocations lets access tokens pass, however long the session store is out of reach: a token that was
// revoked elsewhere meanwhile passes too.
func WithInsecureStaleRevocations() Option { return option(func(c *config) { c.lenient = true }) }

// WithRevocationPull sets how often revocations of other processes are read from the session store: a logout takes effect
// everywhere within it. 100 ms to one minute, and under WithMaxStaleness; default one second.
func WithRevocationPull(interval time.Duration) Option {
	return option(func(c *config) {
		if interval < 100*time.Millisecond || interval > time.Minute {
			c.verifier.mistake("WithRevocationPull", "%v is out of range; use 100ms to 1m", interval)
		}
		c.pullInterval = interval
	})
}

// WithClientAddress sets how the client's address is found, for the list of sessions. Default: the peer's address. Behind a
// proxy, read the header that this proxy sets, and only if no client can reach the service without it.
func WithClientAddress(address func(*http.Request) string) Option {
	return option(func(c *config) {
		if address == nil {
			c.verifier.mistake("WithClientAddress", "the function is nil; leave the option out for the peer's address")
		}
		c.clientAddress = address
	})
}

func remoteHost(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// finish completes the session rules from the other options, and checks what only together can be wrong.
func (c *config) finish() {
	c.rules.Idle, c.rules.AccessLifetime = c.refreshLifetime, c.accessLifetime
	if c.stateless && c.sessionStore != nil {
		c.verifier.mistake("WithoutSessions", "WithSessionStore is given too; leave one of them out")
	}
	if !slices.ContainsFunc(c.verifier.types, func(typ string) bool { return joseHeader{typ: typ}.isType(accessType) }) {
		c.verifier.mistake("WithTokenTypes", "%q is missing, which is what New issues", accessType)
	}
	if c.sessionStore == nil {
		c.sessionStore = &session.Memory{Clock: c.verifier.clock}
	}
	if c.pullInterval >= c.maxStaleness {
		c.verifier.mistake("WithRevocationPull", "%v is not under the %v of WithMaxStaleness", c.pullInterval, c.maxStaleness)
	}
}
