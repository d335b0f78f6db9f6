// Package signet adds JWT login to net/http applications: handlers for login, refresh, profile and logout, and
// middleware that puts the verified user into the context of the request.
//
// The host supplies a [UserStore] and a key. [New] returns an [Auth]:
//
//	users := &userstore.Memory{} // or your own user table
//	auth, err := signet.New(users, keys.Secret(secret))
//
// # Mounting
//
// [Auth.Handler] serves the whole contract below a path, and other handlers serve its operations one by one.
// [Verifier.RequireAuth] and [Verifier.RequireRole] guard routes of your own. In a route, [Subject] is the id of the user and
// [ClaimsFromContext] has all claims. Most handlers have a method that does the same without HTTP: [Auth.Login],
// [Auth.Refresh], [Auth.Logout], [Verifier.Verify], and [Auth.IssueFor] for users that you have authenticated by other
// means.
//
// # Sessions and theft
//
// A login makes a session, and each refresh supersedes the refresh token. If a superseded token comes back later, it
// was stolen, and the session ends. Parallel tabs, repeated requests and lost answers do not end a session. The file
// docs/rotation.md has the rules. Logout, [Auth.RevokeUser] and a detected theft revoke access tokens too: at once in
// this process, and within about a second in other processes with the same session store.
//
// # What it does not do
//
// Sign-up, e-mail confirmation and password reset belong to the host. A service that only checks tokens ([NewVerifier])
// sees revocations with [WithRevocations] only. Without it, it accepts a revoked token until the token expires.
//
// # Concurrency
//
// Everything is safe for concurrent use unless its documentation says otherwise. An Auth and a [Verifier] never change
// after they were made. If a function starts a goroutine that outlives the call, its documentation says so. Close ends
// the goroutine.
package signet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/signet-go/signet/internal/flight"
	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/issued"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/internal/turns"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/userstore"
)

// UserStore finds the users that may log in. See [userstore.Store] for what it must do, [userstore.Memory] for one in
// memory, and [userstore.PasswordUpdater] for an optional method.
type UserStore = userstore.Store

// Auth is the login service. It is safe for concurrent use and does not change after [New]. It is a [Verifier] of its own access
// tokens too: auth.RequireAuth is [Verifier.RequireAuth].
type Auth struct {
	*Verifier
	authConfig
	users   UserStore
	keys    keys.Source
	access  *jws.Writer
	refresh *jws.Writer
	tickets *jws.Writer
	signing atomic.Pointer[keys.Key] // the key that signed last, or when New was called

	warnedProxy atomic.Bool
	warnedUsers atomic.Bool
	warnedPath  atomic.Bool

	attempts  turns.Turns // by account and network of the client
	accounts  seenAccounts
	events    *emitter
	gate      *gate.Gate
	sessions  *sessions.Manager    // nil: WithoutSessions
	refreshes flight.Group[Tokens] // by refresh token
}

// New returns a service for the users. It signs with the key: a *[keys.Key] such as keys.Secret(...), a *[keys.Ring], a
// *[keys.Files], or a source of the host. The error joins all mistakes in arguments and options.
//
// Unless [WithoutSessions] is given it makes sure that the session store answers, and starts a few goroutines that end in
// [Auth.Close]. They follow the log of revocations, remove expired sessions, and record which refresh tokens have reached
// their clients. New does not wait until the log was read: meanwhile a session that this process does not know is looked up
// once.
func New(users UserStore, source keys.Source, opts ...Option) (*Auth, error) {
	s := newSettings(opts)
	if isnil.Value(users) {
		s.mistake("New", "the user store is nil; pass &userstore.Memory{} or your own")
	}
	if err := s.err(checkSigning(source)); err != nil {
		return nil, err
	}
	a := &Auth{users: users, keys: source, access: jws.NewWriter(s.types[0]), refresh: jws.NewWriter(jws.RefreshType),
		tickets: jws.NewWriter(jws.TicketType), authConfig: s.authConfig, attempts: turns.Turns{AtOnce: 3}}
	key := source.Current().Signing()
	for _, w := range []*jws.Writer{a.access, a.refresh, a.tickets} {
		if err := w.Check(key); err != nil {
			return nil, fmt.Errorf("signet.New: no token of type %q could be read: %w; use a shorter keys.WithID or WithTokenTypes", w.Type(), err)
		}
	}
	a.signing.Store(key)
	var err error
	if a.gate, err = gate.New(s.hasher, s.policy.ParallelHashes); err != nil {
		return nil, fmt.Errorf("signet.WithPasswordHasher: %w", err)
	}
	if _, ok := users.(userstore.PasswordUpdater); !ok {
		s.logger.Info("signet: the user store is no userstore.PasswordUpdater: outdated password hashes are not replaced at login, and " +
			"SetPassword and ChangePassword fail")
	}
	if runtime.GOMAXPROCS(0) <= a.gate.Parallel() {
		s.logger.Info("signet: password hashes can hold all threads of the program, and requests then wait for them; set GOMAXPROCS to twice "+
			"the number of processors, or LoginPolicy.ParallelHashes below it", "GOMAXPROCS", runtime.GOMAXPROCS(0), "hashes", a.gate.Parallel())
	}
	if s.cookies != nil {
		s.cookies.log = s.logger
	}
	a.events = newEmitter(s.logger, s.clock, s.events)
	if !s.stateless {
		rules := rotation.Rules{Window: s.reuseWindow, Strict: s.strict, Access: s.lifetimes.Access, Idle: s.lifetimes.Refresh,
			Absolute: s.lifetimes.Session}
		a.sessions, err = sessions.Open(sessions.Config{Store: s.sessionStore, Rules: rules, Logger: s.logger,
			MaxStaleness: s.maxStaleness, Insecure: s.insecure, Bytes: s.memory, Report: a.events.storeState})
		if err != nil {
			a.events.close()
			return nil, fmt.Errorf("signet.WithSessionStore: %w", err)
		}
	}
	a.Verifier = newVerifier(s.verifierConfig, a.sessions, s.own(source))
	if s.refreshProof { // then no access token is a proof, not even one from before the option, which names a generation
		a.proofs = nil
	}
	if !s.policySet {
		a.undated = new(atomic.Bool)
	}
	return a, nil
}

// init gives package signettest a function that reads how an Auth makes tokens. It goes through internal/issued, so that hosts
// do not see the function.
func init() {
	issued.FormOf = func(auth any) issued.Form {
		a := auth.(*Auth)
		return issued.Form{Type: a.access.Type(), Issuer: a.issuer, Audience: a.audience, Now: a.clock}
	}
}

// checkSigning finds sources that cannot sign.
func checkSigning(source keys.Source) error {
	if err := checkSource("New", source); err != nil {
		return err
	}
	switch set := source.Current(); {
	case set == nil:
		return errors.New("signet.New: the key source has no keys yet; load its keys before New")
	case set.Signing() == nil:
		return errors.New("signet.New: the key has no private part, so it cannot sign; pass a private key or a secret")
	}
	return nil
}

// Close ends the goroutines that [New] started and waits for them. After it, requests with tokens of sessions are
// answered 503; with [WithInsecureStaleRevocations] they still pass, and revocations are not seen. Stores and keys stay open
// because they belong to the host. A second Close does nothing. It always returns nil.
func (a *Auth) Close() error {
	if a.sessions != nil {
		a.sessions.Close()
	}
	a.events.close()
	return nil
}

// storeTimeout is the time limit for one call of a store.
const storeTimeout = sessions.StoreTimeout

// findByEmail finds a user by e-mail address. If the store returns a user with another address, the answer is ErrNotFound.
// Attempts are counted by address, so with a store that compares loosely an account would have many addresses, each with its
// own limit.
func (a *Auth) findByEmail(ctx context.Context, email string) (userstore.User, error) {
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	user, err := a.users.FindByEmail(ctx, email)
	if err == nil && user.ID == "" {
		return user, internal(errors.New("the user store returned a user without an ID"))
	}
	if err == nil && userstore.NormalizeEmail(user.Email) != userstore.NormalizeEmail(email) {
		if !a.warnedUsers.Swap(true) {
			a.logger.ErrorContext(ctx, "signet: FindByEmail of the user store found a user with another e-mail address, who cannot log in so; "+
				"compare userstore.NormalizeEmail of both, with a column that tells accents apart", "user", user.ID)
		}
		return userstore.User{}, userstore.ErrNotFound
	}
	return user, err
}

// findByID finds a user. It refuses a store's answer with another ID, which would give one user the rights of another.
func (a *Auth) findByID(ctx context.Context, id string) (userstore.User, error) {
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	user, err := a.users.FindByID(ctx, id)
	if err == nil && user.ID != id {
		return userstore.User{}, internal(fmt.Errorf("the user store was asked for the user with ID %q and returned the one with ID %q",
			id, user.ID))
	}
	return user, err
}

// maxUserID is the longest user id, in bytes.
const maxUserID = 1024

var errUserID = internal(errors.New("the user's ID is empty, longer than 1,024 bytes, not UTF-8, or holds a NUL"))

// canBeUserID reports whether every store can hold the id. A user with any other id cannot log in.
func canBeUserID(id string) bool {
	return id != "" && len(id) <= maxUserID && utf8.ValidString(id) && !strings.Contains(id, "\x00")
}

// activeUser finds a user who may still use tokens.
func (a *Auth) activeUser(ctx context.Context, id string) (userstore.User, error) {
	user, err := a.findByID(ctx, id)
	switch {
	case errors.Is(err, userstore.ErrNotFound), err == nil && user.Disabled:
		return userstore.User{}, errNoUser
	case err != nil:
		return userstore.User{}, storeError(err)
	}
	return user, nil
}

// Profile returns the members of the contract's profile of a user: those of User.Profile, and id, email, role and
// roles. An id that is a decimal number up to 2^53-1 is a number. Members of User.Profile with the names "password" and
// "passwordHash" are left out. The error is [ErrInvalidToken] when the user is gone or disabled, or [ErrUnavailable].
func (a *Auth) Profile(ctx context.Context, subject string) (map[string]any, error) {
	user, err := a.activeUser(ctx, subject)
	if err != nil {
		return nil, err
	}
	profile := maps.Clone(user.Profile)
	if profile == nil {
		profile = map[string]any{}
	}
	delete(profile, "password")
	delete(profile, "passwordHash")
	role := ""
	if len(user.Roles) > 0 {
		role = user.Roles[0]
	}
	profile["id"] = jsonID(user.ID)
	profile["email"] = user.Email
	profile["role"] = role
	profile["roles"] = append([]string{}, user.Roles...)
	return profile, nil
}

// maxSafeID is the largest integer that every JSON parser reads exactly (RFC 8259 section 6).
const maxSafeID = 1<<53 - 1

// jsonID returns a decimal id as a number, because typed clients of the contract expect one.
func jsonID(id string) any {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 0 || n > maxSafeID || strconv.FormatInt(n, 10) != id {
		return id
	}
	return n
}
