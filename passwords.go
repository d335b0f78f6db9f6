package signet

import (
	"context"
	"errors"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/gate"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/userstore"
)

// HashPassword hashes a new password for the user store, at sign-up. It checks [LoginPolicy].Passwords first, as
// [Auth.SetPassword] does. A hash costs much time and memory by design, so only a few run at once and the others wait. For a
// password of a script or a test, without rules, there is [password.Hash]. The error is [ErrPassword] for a password that the
// rules refuse or that is too long for the hasher, or [ErrUnavailable] when too many passwords wait. Clients take turns: ctx
// says who the client is ([Auth.ContextWithClient]).
func (a *Auth) HashPassword(ctx context.Context, password string) (string, error) {
	if err := a.policy.Passwords.Check(ctx, password); err != nil {
		return "", ruleError(err)
	}
	hash, err := a.gate.Hash(ctx, networkOf(ctx), password)
	if err != nil {
		return "", hashError(err)
	}
	return hash, nil
}

// SetPassword gives a user a new password, for example after a link in a mail or by an administrator, and ends all sessions of
// the user. It clears the delays of the account that wrong passwords have caused, and the limits of the day too if the user has no
// second factor. The user store must be a [userstore.PasswordUpdater]. The error is [ErrPassword] for a password that the rules
// refuse, [ErrNotFound] for an unknown user, or [ErrUnavailable]. If it is nil, the password is stored and the sessions have
// ended; after ErrUnavailable one of both may be missing, and the call can be repeated. Under [WithoutSessions] no token is
// revoked. A host that signs the user in afterwards ([Auth.IssueFor]) reads the user again first, because the hash is another one.
func (a *Auth) SetPassword(ctx context.Context, userID, password string) error {
	return a.setPassword(ctx, userID, password, "", func(userstore.User) error { return nil })
}

// ChangePassword is [Auth.SetPassword] for users who know their old password. The session keepSessionID goes on, usually
// [Claims].SessionID; "" keeps none. Wrong old passwords count as attempts to log in, so ctx must say who the client is
// ([Auth.ContextWithClient]); with a living session they count for that, so strangers cannot delay the change. The errors are
// those of SetPassword, [ErrInvalidCredentials] for a wrong old password, [ErrInvalidRequest] for an empty one or one that is
// too long, and [ErrTooManyAttempts]. After [ErrUnavailable] the new password may be stored already. Then the old one is
// wrong: repeat the call with the new one as both.
func (a *Auth) ChangePassword(ctx context.Context, userID, oldPassword, newPassword, keepSessionID string) error {
	user, err := a.userByID(ctx, userID)
	if err != nil {
		return err
	}
	sessionID := ""
	if keepSessionID != "" && a.sessions != nil {
		switch lives, err := a.sessions.Lives(ctx, userID, keepSessionID); {
		case err != nil:
			return unavailable(err)
		case lives:
			sessionID = keepSessionID
		}
	}
	attempt, err := a.checkAgain(ctx, user, sessionID, oldPassword)
	if err != nil {
		return err
	}
	defer a.cancelIfOpen(ctx, attempt) // after a panic of the second factor
	a.end(ctx, attempt, a.afterPassword(ctx, user.ID))
	err = a.setPassword(ctx, userID, newPassword, keepSessionID, a.stillRight(ctx, user, oldPassword))
	a.noteChange(ctx, userID, err)
	return err
}

// checkAgain checks the password of a user who is signed in, with a session if that is known.
func (a *Auth) checkAgain(ctx context.Context, user userstore.User, sessionID, pass string) (*attempt, error) {
	if err := checkPasswordForm(pass); err != nil {
		return nil, err
	}
	return a.try(ctx, guess{user.Email, user.ID, sessionID}, func(*attempt) error {
		_, err := a.verifyPassword(ctx, user, pass)
		return err
	})
}

// userByID finds a user whom the caller names.
func (a *Auth) userByID(ctx context.Context, id string) (userstore.User, error) {
	user, err := a.findByID(ctx, id)
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return userstore.User{}, ErrNotFound
	case err != nil:
		return userstore.User{}, storeError(err)
	}
	return user, nil
}

// setPasswordTries is how often a hash is stored and read back. A try fails if somebody else changes the hash meanwhile, or if
// the store does not keep the hash as it was given.
const setPasswordTries = 10

// setPassword stores the hash only if nobody else has changed it since may allowed it. Two changes at once both count, and the
// last one stays.
func (a *Auth) setPassword(ctx context.Context, userID, pass, keep string, may func(current userstore.User) error) error {
	store, ok := a.users.(userstore.PasswordUpdater)
	if !ok {
		return internal(errors.New("the user store cannot change passwords; give it the method UpdatePasswordHash (userstore.PasswordUpdater)"))
	}
	hash, err := a.HashPassword(ctx, pass)
	if err != nil {
		return err
	}
	for range setPasswordTries {
		user, err := a.userByID(ctx, userID)
		switch {
		case err != nil:
			return err
		case ctx.Err() != nil:
			return unavailable(ctx.Err())
		}
		if err := may(user); err != nil {
			return err
		}
		switch kept, err := a.replaceHash(ctx, store, user, hash); {
		case errors.Is(err, errCutHash):
			return internal(err)
		case err != nil:
			return storeError(err)
		case kept == hash:
			return a.passwordChanged(context.WithoutCancel(ctx), user, keep) // the new password is stored already
		}
	}
	return internal(errors.New("the user store has not stored a password hash as it was given, or others change it all the time"))
}

// passwordChanged ends what an old password had opened.
func (a *Auth) passwordChanged(ctx context.Context, user userstore.User, keep string) error {
	changed := event.Event{Kind: event.PasswordChanged, Subject: user.ID, SessionID: keep}
	if a.sessions != nil {
		if err := a.sessions.EndUser(ctx, user.ID, keep); err != nil {
			changed.Reason = "the sessions could not be ended"
			a.events.emit(ctx, changed)
			return unavailable(err)
		}
	}
	forgive := a.policy.Throttle.Clear
	if a.mayHaveFactor(ctx, user.ID) { // wrong codes count too, and the new password does not change the codes
		forgive = a.policy.Throttle.ClearDelays
	}
	bounded, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	for _, name := range accountsOf(user.Email, user.ID) {
		if err := forgive(bounded, name); err != nil {
			a.warnUnstored(ctx, "signet: the failures of an account were not cleared after a new password", "user", user.ID, "error", err)
		}
	}
	a.events.emit(ctx, changed)
	return nil
}

// ruleError is the answer for a password that the rules refuse, or that could not be checked.
func ruleError(err error) error {
	if errors.Is(err, password.ErrNotChecked) {
		return unavailable(err)
	}
	for _, rule := range []struct {
		err     error
		message string
	}{
		{password.ErrTooShort, "the password is too short"},
		{password.ErrTooLong, "the password is too long"},
		{password.ErrInvalid, "the password is not valid text"},
		{password.ErrBlocked, "the password is known from a breach or easy to guess; choose another one"},
	} {
		if errors.Is(err, rule.err) {
			e := because(ErrPassword, err)
			e.message = rule.message
			return e
		}
	}
	return internal(err)
}

// hashError is the answer when a password could not be hashed.
func hashError(err error) error {
	switch {
	case errors.Is(err, password.ErrTooLong): // bcrypt takes 72 bytes
		return ruleError(err)
	case errors.Is(err, gate.ErrBusy), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return unavailable(err)
	}
	return internal(err)
}
