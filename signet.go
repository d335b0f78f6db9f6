// Package signet adds JWT login to net/http applications: handlers for login, refresh, profile and logout, and middleware
// that puts the verified subject into the request's context.
//
// The host supplies a UserStore and a key; New returns an Auth whose handlers and middleware are mounted where the host
// likes, or all at once with Auth.Handler. A service that only checks tokens uses NewVerifier. Everything is safe for
// concurrent use.
package signet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// UserStore finds the users that may log in: see userstore.Store for what it must do, userstore.Memory for one, and
// userstore.PasswordUpdater for what it may do besides.
type UserStore = userstore.Store

// Auth is the login service. It is safe for concurrent use and does not change after New. Its Verifier's methods (Check,
// RequireAuth, OptionalAuth, RequireRole, RequireScope, Verify) are its own too.
type Auth struct {
	*Verifier
	config
	users   UserStore
	keyring *Keyring
	gate    *password.Gate
	decoys  *decoys
}

// New returns a service for the users, that signs with the key: Secret(...), another Key that can sign, or a *Keyring. It
// reports every mistake in arguments and options in one joined error. Unless WithoutSessions is given it reads the revoked
// sessions, and starts two goroutines that end in Close: one keeps up with revocations and removes expired sessions, one
// notes which refresh tokens have arrived.
func New(users UserStore, key SigningKeys, opts ...Option) (*Auth, error) {
	cfg := defaultConfig()
	for _, opt := range opts {
		if opt == nil {
			cfg.verifier.mistake("New", "an option is nil")
			continue
		}
		opt.applyAuth(&cfg)
	}
	cfg.finish()
	if users == nil {
		cfg.verifier.mistake("New", "the user store is nil; pass userstore.NewMemory() or your own")
	}
	ring, err := ringOf(key)
	if err := cfg.err(err); err != nil {
		return nil, err
	}
	verifier, err := newVerifier(ring, cfg.verifier)
	if err != nil {
		return nil, err
	}
	a := &Auth{Verifier: verifier, config: cfg, users: users, keyring: ring, gate: password.NewGate(cfg.hasher)}
	if a.decoys, err = newDecoys(cfg.hasher); err != nil {
		return nil, fmt.Errorf("signet.WithPasswordHasher: %w", err)
	}
	if !cfg.stateless {
		if a.sessions, err = newSessions(&cfg); err != nil {
			return nil, err // nothing was started
		}
	}
	return a, nil
}

func ringOf(key SigningKeys) (*Keyring, error) {
	if key == nil {
		return nil, errors.New("signet.New: the key is nil; pass signet.Secret(...) or another key")
	}
	return key.signingRing()
}

// Close ends what New started and waits for it. The handlers must not be called after it; stores and keys stay open: they
// are the host's. A second Close does nothing.
func (a *Auth) Close() error {
	if a.sessions != nil {
		a.sessions.close()
	}
	return a.Verifier.Close()
}

// Format implements fmt.Formatter: an Auth prints as its name alone.
func (a Auth) Format(state fmt.State, _ rune) { fmt.Fprint(state, "signet.Auth") }

// Login checks an e-mail address and a password and returns a first pair of tokens. The error is ErrInvalidCredentials
// for an unknown address, a wrong password and a disabled user alike, ErrInvalidRequest for values that no user can
// have, and ErrUnavailable when the user store or the password gate does not answer. See WithClient for what a session
// should remember of the client.
func (a *Auth) Login(ctx context.Context, email, pass string) (Tokens, error) {
	user, err := a.authenticate(ctx, email, pass)
	if err != nil {
		return Tokens{}, err
	}
	if a.sessions == nil {
		return a.IssueFor(ctx, user)
	}
	tokens, sessionID, err := a.begin(ctx, user)
	if err == nil {
		err = a.recheck(ctx, user, pass, sessionID)
	}
	if err != nil {
		return Tokens{}, err
	}
	return tokens, nil
}

// maxEmail is longer than any address may be (RFC 5321 section 4.5.3.1), in bytes.
const maxEmail = 512

// authenticate finds the user with these credentials. Every refusal costs one password hash, so that the time does not
// tell who has an account.
func (a *Auth) authenticate(ctx context.Context, email, pass string) (userstore.User, error) {
	switch {
	case strings.TrimSpace(email) == "" || len(email) > maxEmail || strings.ContainsFunc(email, unicode.IsControl):
		return userstore.User{}, badRequest(`field "email" is not an e-mail address`)
	case pass == "":
		return userstore.User{}, badRequest(`field "password" is empty`)
	case len(pass) > password.MaxLength:
		return userstore.User{}, badRequest(`field "password" is too long`)
	}
	user, err := a.findByEmail(ctx, email)
	unknown := errors.Is(err, userstore.ErrNotFound)
	if err != nil && !unknown {
		return userstore.User{}, unavailable(err)
	}
	hash := user.PasswordHash
	if unknown || hash == "" {
		unknown, hash = true, a.decoys.pick(email)
	}
	ok, outdated, err := a.gate.Verify(ctx, hash, pass)
	if errors.Is(err, password.ErrFormat) { // the store holds something else: nobody can log in with it
		a.logger.ErrorContext(ctx, "signet: the password hash of a user is in no known format", "user", user.ID)
		unknown = true
		ok, outdated, err = a.gate.Verify(ctx, a.decoys.pick(email), pass)
	}
	if err != nil && !errors.Is(err, password.ErrTooLong) {
		return userstore.User{}, unavailable(fmt.Errorf("verify the password of user %q: %w", user.ID, err))
	}
	if !unknown {
		a.decoys.learn(hash)
	}
	if !ok || unknown || user.Disabled {
		return userstore.User{}, errCredentials
	}
	if outdated {
		user.PasswordHash = a.upgradeHash(ctx, user, pass)
	}
	return user, nil
}

// upgradeHash replaces an outdated hash now that the password is known, if the store can take it, and returns the hash that
// the user has then. A failure is logged and does not keep anybody from logging in.
func (a *Auth) upgradeHash(ctx context.Context, user userstore.User, pass string) string {
	store, ok := a.users.(userstore.PasswordUpdater)
	if !ok {
		return user.PasswordHash
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	hash, err := a.gate.Hash(ctx, pass)
	if err == nil {
		err = store.UpdatePasswordHash(ctx, user.ID, user.PasswordHash, hash)
	}
	if err != nil {
		a.logger.WarnContext(ctx, "signet: outdated password hash not replaced", "user", user.ID, "error", err)
		return user.PasswordHash
	}
	return hash
}

// IssueFor returns a first pair of tokens for a user that the host has authenticated by other means: social login, a
// magic link, a command line. It asks for no password. Refresh will look the user up in the store. The error is
// ErrInvalidCredentials for a disabled user, or ErrUnavailable.
func (a *Auth) IssueFor(ctx context.Context, user userstore.User) (Tokens, error) {
	if user.Disabled {
		return Tokens{}, errCredentials
	}
	if a.sessions == nil {
		return a.issue(ctx, grant{user: user, secret: randomID(), now: a.clock()})
	}
	tokens, sessionID, err := a.begin(ctx, user)
	if err != nil {
		return Tokens{}, err
	}
	// As in recheck: a ban that was under way has not seen this session.
	now, err := a.findByID(ctx, user.ID)
	switch {
	case errors.Is(err, userstore.ErrNotFound): // a user that the host keeps elsewhere
		return tokens, nil
	case err == nil && now.Disabled:
		err = errCredentials
	case err != nil:
		err = unavailable(err)
	}
	if err := a.keepIf(ctx, sessionID, err); err != nil {
		return Tokens{}, err
	}
	return tokens, nil
}

// Refresh takes a refresh token and returns a new pair. The user is looked up again: changed roles show in the new access
// token, and a deleted or disabled user is refused. The token that was presented is superseded: it is honoured for a short
// while (WithReuseWindow), and after that it is taken for stolen, and ends the session. The error is ErrInvalidToken
// (ErrExpiredToken), or ErrUnavailable when a store does not answer: the same token works again then.
func (a *Auth) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	claims, err := a.verifyRefresh(ctx, refreshToken)
	if err != nil {
		return Tokens{}, err
	}
	if a.sessions != nil {
		return a.rotate(ctx, claims)
	}
	user, err := a.activeUser(ctx, claims.Subject)
	if err != nil {
		return Tokens{}, err
	}
	return a.issue(ctx, grant{user: user, secret: randomID(), now: a.clock()})
}

func (a *Auth) verifyRefresh(ctx context.Context, token string) (*Claims, error) {
	claims, err := a.verifySigned(ctx, token, refreshTypes)
	if err != nil {
		return nil, err
	}
	return claims, a.checkTimes(claims)
}

var refreshTypes = []string{refreshType}

// errNoUser: the token was good, and its user is gone.
var errNoUser = invalidToken("the token's user is gone")

// storeTimeout is how long a store may take: one that takes longer is down, and the client is told to come back.
const storeTimeout = 5 * time.Second

func (a *Auth) findByEmail(ctx context.Context, email string) (userstore.User, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return a.users.FindByEmail(ctx, email)
}

func (a *Auth) findByID(ctx context.Context, id string) (userstore.User, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return a.users.FindByID(ctx, id)
}

// activeUser finds a user who may still use tokens.
func (a *Auth) activeUser(ctx context.Context, id string) (userstore.User, error) {
	user, err := a.findByID(ctx, id)
	switch {
	case errors.Is(err, userstore.ErrNotFound), err == nil && user.Disabled:
		return userstore.User{}, errNoUser
	case err != nil:
		return userstore.User{}, unavailable(err)
	}
	return user, nil
}

// Profile returns the members of the contract's profile of a user: those of User.Profile, and id, email, role and roles.
// An id that is a decimal number up to 2^53-1 is a number. Members of User.Profile whose name begins with "password" are
// left out. The error is ErrInvalidToken when the user is gone or disabled, or ErrUnavailable.
func (a *Auth) Profile(ctx context.Context, subject string) (map[string]any, error) {
	user, err := a.activeUser(ctx, subject)
	if err != nil {
		return nil, err
	}
	return profileOf(user), nil
}
