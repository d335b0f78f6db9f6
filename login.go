package signet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// Login checks an e-mail address and a password and returns a first pair of tokens. The error is
// [ErrInvalidCredentials] for an unknown address, a wrong password or a disabled user, [ErrInvalidRequest] for values
// that no user can have, and [ErrUnavailable] when a store, the key or the password gate does not answer.
// [ContextWithClient] says what the session stores about the client.
func (a *Auth) Login(ctx context.Context, email, password string) (Tokens, error) {
	user, err := a.authenticate(ctx, email, password)
	if err != nil {
		return Tokens{}, err
	}
	return a.start(ctx, user, func(current userstore.User) error {
		if current.PasswordHash == user.PasswordHash {
			return nil
		}
		// The hash has changed during this login. The reason is a new password, or only a better hash of the same one.
		ok, _, err := a.gate.Verify(ctx, clientOf(ctx).Address, current.PasswordHash, password)
		return passwordError(current, ok, err)
	})
}

// IssueFor returns a first pair of tokens for a user that the host has authenticated by other means: social login, a
// magic link, a command line. It asks for no password. The user store must know the user: the tokens carry what the store
// knows, because every refresh looks the user up. The error is [ErrInvalidCredentials] for a disabled user and for one that the store does not know, or
// [ErrUnavailable]. Under [WithoutSessions] only the first refresh asks the store.
func (a *Auth) IssueFor(ctx context.Context, user userstore.User) (Tokens, error) {
	if user.Disabled {
		return Tokens{}, ErrInvalidCredentials
	}
	return a.start(ctx, user, func(userstore.User) error { return nil })
}

// HashPassword hashes a password for the user store, at sign-up or when a user changes it. A hash costs much time and
// memory by design, so only a few run at once and the others wait. The error is [ErrInvalidRequest] for a password that
// is empty or too long for the hasher, or [ErrUnavailable] when too many passwords wait.
func (a *Auth) HashPassword(ctx context.Context, password string) (string, error) {
	if err := checkPassword(password); err != nil {
		return "", err
	}
	hash, err := a.gate.Hash(ctx, clientOf(ctx).Address, password)
	if err != nil {
		return "", hashError(err)
	}
	return hash, nil
}

// maxEmail is the longest e-mail address, in bytes. User stores accept no longer one (userstore.User.Validate).
const maxEmail = 1024

// authenticate finds the user with these credentials. Every refusal takes the same time. So the time does not show who has
// an account.
func (a *Auth) authenticate(ctx context.Context, email, pass string) (userstore.User, error) {
	if strings.TrimSpace(email) == "" || len(email) > maxEmail || strings.ContainsFunc(email, unicode.IsControl) {
		return userstore.User{}, badRequest(`field "email" is not an e-mail address`)
	}
	if err := checkPassword(pass); err != nil {
		return userstore.User{}, err
	}
	user, err := a.findByEmail(ctx, email)
	if errors.Is(err, userstore.ErrNotFound) {
		user = userstore.User{}
	} else if err != nil {
		return userstore.User{}, storeError(err)
	}
	ok, outdated, err := a.gate.Check(ctx, clientOf(ctx).Address, user.PasswordHash, pass, user.Disabled)
	if errors.Is(err, password.ErrFormat) { // no password matches it
		a.verifier.logger.ErrorContext(ctx, "signet: the password hash of a user is in no known format", "user", user.ID)
	}
	if err := passwordError(user, ok, err); err != nil {
		return userstore.User{}, err
	}
	if outdated {
		user.PasswordHash = a.upgradeHash(ctx, user, pass)
	}
	return user, nil
}

// checkPassword refuses passwords that no user can have.
func checkPassword(pass string) error {
	switch {
	case pass == "":
		return badRequest(`field "password" is empty`)
	case len(pass) > password.MaxLength:
		return badRequest(`field "password" is too long`)
	}
	return nil
}

// passwordError is the answer after a password was verified. It is nil if the password is right and the user may log
// in.
func passwordError(user userstore.User, ok bool, err error) error {
	switch {
	case errors.Is(err, password.ErrTooLong), errors.Is(err, password.ErrFormat), err == nil && (!ok || user.Disabled):
		return ErrInvalidCredentials
	case err != nil:
		return unavailable(fmt.Errorf("verify the password of user %q: %w", user.ID, err))
	}
	return nil
}

// hashError is the answer when a password could not be hashed.
func hashError(err error) error {
	switch {
	case errors.Is(err, password.ErrTooLong):
		return badRequest(`field "password" is too long`)
	case errors.Is(err, gate.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unavailable(err)
	}
	return internal(err)
}

// upgradeHash replaces an outdated hash if the store has a method for it. It returns the hash that the user has
// afterwards. A failure is logged, and the login goes on.
func (a *Auth) upgradeHash(ctx context.Context, user userstore.User, pass string) string {
	store, ok := a.users.(userstore.PasswordUpdater)
	if !ok {
		return user.PasswordHash
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	hash, err := a.gate.Hash(ctx, clientOf(ctx).Address, pass)
	if err == nil {
		err = store.UpdatePasswordHash(ctx, user.ID, user.PasswordHash, hash)
	}
	if err != nil {
		a.verifier.logger.WarnContext(ctx, "signet: an outdated password hash was not replaced", "user", user.ID, "error", err)
		return user.PasswordHash
	}
	return hash
}

// start makes a session and its first tokens. It reads the user again, after it has read the cut-offs of the user and before
// the session is committed. So a password change or a ban during the login is seen here, or its cut-off ends the session. If
// mayStart refuses the user, nothing is stored.
func (a *Auth) start(ctx context.Context, user userstore.User, mayStart func(current userstore.User) error) (Tokens, error) {
	if a.sessions == nil { // no session could be revoked later
		return a.issueAlone(ctx, user)
	}
	if !canBeUserID(user.ID) {
		return Tokens{}, errUserID
	}
	ctx, limited := limit.New(ctx, storeTimeout) // also for the user, the claims and the signatures
	defer limited.Release()
	var tokens Tokens
	g := grant{secret: randomID()}
	err := a.sessions.Create(ctx, user.ID, g.secret, clientOf(ctx), func(row session.Session) (err error) {
		if end := row.EndsAt.Time(); !end.After(a.verifier.clock()) {
			return internal(fmt.Errorf("the session would end at once: the clock of the session store shows %v",
				row.CreatedAt.Time()))
		}
		if g.user, err = a.activeUser(ctx, user.ID); errors.Is(err, errNoUser) {
			return ErrInvalidCredentials
		} else if err != nil {
			return err
		}
		if err := mayStart(g.user); err != nil {
			return err
		}
		if g.claims, err = a.customClaims(ctx, g.user); err != nil {
			return err
		}
		g.sessionID, g.generation, g.notAfter, g.version = row.ID, row.Current, row.EndsAt.Time(), row.Born
		tokens, err = a.issue(ctx, g)
		return err
	})
	if err != nil {
		return Tokens{}, storeError(err)
	}
	return tokens, nil
}
