package signet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// Login checks an e-mail address and a password and returns a first pair of tokens. The error is [ErrInvalidCredentials] for an
// unknown address, a wrong password or a disabled user, [ErrTooManyAttempts] when too many passwords were wrong before,
// [ErrSecondStepRequired] when the user must show a code too ([Auth.SecondStep]), [ErrInvalidRequest] for values that no user
// can have, and [ErrUnavailable] when a store or the key does not answer, or when too many passwords wait to be hashed.
// [LoginPolicy].Decide can add errors of the host. [ContextWithClient] says who the client is: the session stores it, and the
// throttle counts by its address. Without an address no place is known, so an attacker could lock the owner of an account out.
func (a *Auth) Login(ctx context.Context, email, password string) (Tokens, error) {
	return a.login(ctx, email, password, false)
}

func (a *Auth) login(ctx context.Context, email, password string, remember bool) (Tokens, error) {
	user, attempt, err := a.authenticate(ctx, email, password)
	if err != nil {
		return Tokens{}, err
	}
	defer a.cancelIfOpen(ctx, attempt) // after a panic of the host's function
	terms, pending, err := a.decide(ctx, user, remember)
	if err != nil {
		a.end(ctx, attempt, cancelled) // the password was right
		a.noteRefused(ctx, user.ID, err)
		return Tokens{}, err
	}
	stillRight := a.stillRight(ctx, user, password)
	tokens, err := a.start(ctx, user, terms, pending, func(current userstore.User) error {
		if err := stillRight(current); err != nil || pending {
			return err
		}
		return a.stillWithoutFactor(ctx, user.ID)
	})
	a.end(ctx, attempt, verdictOf(err))
	switch {
	case err == nil:
		a.signedIn(ctx, user.ID, tokens, !attempt.Known())
	case errors.Is(err, ErrInvalidCredentials):
		a.noteChange(ctx, user.ID, err)
	case !errors.Is(err, ErrSecondStepRequired):
		a.noteRefused(ctx, user.ID, err) // by the function of WithClaims
	}
	return tokens, err
}

// noteRefused reports that a function of the host has refused a user whose password was right.
func (a *Auth) noteRefused(ctx context.Context, userID string, err error) {
	if e := asError(err); e.Status() < 500 {
		a.events.emit(ctx, event.Event{Kind: event.LoginRefused, Subject: userID, Reason: e.Code()})
	}
}

// noteChange reports that a user was refused whose password was right a moment before.
func (a *Auth) noteChange(ctx context.Context, userID string, err error) {
	if errors.Is(err, ErrInvalidCredentials) {
		a.events.emit(ctx, event.Event{Kind: event.LoginFailed, Subject: userID, Reason: "the user or the password was changed meanwhile"})
	}
}

// signedIn reports a login.
func (a *Auth) signedIn(ctx context.Context, userID string, tokens Tokens, newPlace bool) {
	a.events.emit(ctx, event.Event{Kind: event.LoginOK, Subject: userID, SessionID: tokens.sessionID, NewPlace: newPlace})
}

// stillRight returns a function that checks the password again if the user's hash has changed since before was read. The user
// may have a new password, or only a better hash of the same one.
func (a *Auth) stillRight(ctx context.Context, before userstore.User, pass string) func(current userstore.User) error {
	return func(current userstore.User) error {
		if current.PasswordHash == before.PasswordHash {
			return nil
		}
		ok, _, err := a.gate.Verify(ctx, networkOf(ctx), current.PasswordHash, pass)
		return passwordError(current.ID, ok && !current.Disabled, err)
	}
}

// stillWithoutFactor refuses a login without a code if its user has set a second factor up meanwhile. The next login asks for one.
func (a *Auth) stillWithoutFactor(ctx context.Context, userID string) error {
	enrolled, err := a.enrolled(ctx, userID)
	if err == nil && enrolled {
		return ErrInvalidCredentials
	}
	return err
}

// Authenticate checks an e-mail address and a password and returns the user. It begins no session and issues no tokens. It is
// for a host with tokens or login steps of its own. It counts attempts as [Auth.Login] does, and has the same errors. But it
// asks for no code, does not call [LoginPolicy].Decide, and so never returns [ErrSecondStepRequired].
//
// The throttle knows the addresses from which an account has signed in ("known places", package throttle), and lets them in
// while it delays strangers. Without a SecondFactor, a right password makes the client's address a known place. With one, the
// password is only the first step of a user who has set it up: then [Auth.IssueFor] makes the place known, if its ctx has the
// client's address ([Auth.ContextWithClient]). So a host with a second step of its own should set a SecondFactor.
func (a *Auth) Authenticate(ctx context.Context, email, password string) (userstore.User, error) {
	user, attempt, err := a.authenticate(ctx, email, password)
	if err != nil {
		return userstore.User{}, err
	}
	defer a.cancelIfOpen(ctx, attempt) // after a panic of the second factor
	a.end(ctx, attempt, a.afterPassword(ctx, user.ID))
	return user, nil
}

// IssueFor returns a first pair of tokens for a user that the host has authenticated by other means: social login, a magic
// link, a command line. It asks for no password and no second step, and does not call [LoginPolicy].Decide. [Auth.SetCookies]
// gives the pair to a browser in cookies. A host that answers with the JSON of the pair sets "Cache-Control: no-store".
//
// The user store must know the user: the tokens carry what the store knows, because every refresh looks the user up. There is
// at most one decision. Its lifetimes and facts hold for the session; its SecondStep is ignored. The error is
// [ErrInvalidCredentials] for a disabled user, for one that the store does not know, and if the password hash was changed after
// the host has read the user, also to a better one of the same password (a user of [Auth.Authenticate] has the hash that was
// right), [ErrStateless] for a decision under [WithoutSessions], or [ErrUnavailable]. Under [WithoutSessions] only the first
// refresh asks the store.
func (a *Auth) IssueFor(ctx context.Context, user userstore.User, decision ...LoginDecision) (Tokens, error) {
	if user.Disabled {
		return Tokens{}, ErrInvalidCredentials
	}
	var d LoginDecision
	switch {
	case len(decision) > 1:
		return Tokens{}, internal(errors.New("IssueFor takes at most one decision"))
	case len(decision) == 1 && a.sessions == nil: // nothing would keep it
		return Tokens{}, ErrStateless
	case len(decision) == 1:
		d = decision[0]
	}
	terms, err := a.terms(d, nil)
	if err != nil {
		return Tokens{}, err
	}
	var known userstore.User
	tokens, err := a.start(ctx, user, terms, false, func(current userstore.User) error {
		known = current
		if user.PasswordHash != "" && user.PasswordHash != current.PasswordHash { // it was changed since the user was authenticated
			return ErrInvalidCredentials
		}
		return nil
	})
	if err == nil {
		if d.Facts["act"] == nil { // otherwise it is the place of somebody who acts for the user
			a.rememberPlace(ctx, known)
		}
		a.signedIn(ctx, user.ID, tokens, false)
	}
	return tokens, err
}

// asideTimeout is for what a sign-in does beside: it must not wait long for a place that is remembered, or for an older session.
const asideTimeout = time.Second

// rememberPlace makes the client's address a known place of the user, for a host that calls [Auth.Authenticate] and then makes
// steps of its own. For a user with a second factor, Authenticate does not do it. IssueFor does, because it is called when all
// steps were right.
func (a *Auth) rememberPlace(ctx context.Context, user userstore.User) {
	address := clientOf(ctx).Address
	if a.policy.SecondFactor == nil || address == "" {
		return
	}
	ctx, limited := limit.New(context.WithoutCancel(ctx), asideTimeout)
	defer limited.Release()
	for _, name := range accountsOf(user.Email, user.ID) {
		if err := a.policy.Throttle.Remember(ctx, name, address); err != nil {
			a.warnUnstored(ctx, "signet: the place of a sign-in is not remembered, because the throttle's store did not answer",
				"user", user.ID, "error", err)
			if !errors.Is(err, throttle.ErrDelayed) { // a store that is full may still know the other name
				return
			}
		}
	}
}

// maxEmail is the longest e-mail address, in bytes. User stores refuse a longer one (userstore.User.Validate).
const maxEmail = 1024

// authenticate finds the user with these credentials. Every refusal takes the same time. So the time does not show who has an
// account. The attempt counts as a failure until the caller says otherwise.
func (a *Auth) authenticate(ctx context.Context, email, pass string) (userstore.User, *attempt, error) {
	if trimmed := strings.TrimSpace(email); trimmed == "" || len(email) > maxEmail || strings.ContainsFunc(trimmed, unicode.IsControl) {
		return userstore.User{}, nil, badRequest(`field "email" is not an e-mail address`)
	}
	if err := checkPasswordForm(pass); err != nil {
		return userstore.User{}, nil, err
	}
	var user userstore.User
	attempt, err := a.try(ctx, guess{email: email}, func(attempt *attempt) (err error) {
		also := "" // for an unknown account, which must take the same time
		switch user, err = a.findByEmail(ctx, email); {
		case errors.Is(err, userstore.ErrNotFound):
			user = userstore.User{} // whatever the store returned
		case err != nil:
			return storeError(err)
		default:
			also = accountOfID(user.ID)
		}
		a.accounts.add(email, user.ID)
		if err := a.countAlso(ctx, attempt, also); err != nil {
			return a.throttled(ctx, user.ID, err)
		}
		outdated, err := a.verifyPassword(ctx, user, pass)
		if err == nil && outdated {
			user.PasswordHash = a.upgradeHash(ctx, user, pass)
		}
		return err
	})
	return user, attempt, err
}

// verifyPassword checks the password of a user, who is zero for an unknown account, and notes why it was refused.
func (a *Auth) verifyPassword(ctx context.Context, user userstore.User, pass string) (outdated bool, err error) {
	ok, outdated, err := a.gate.Check(ctx, networkOf(ctx), user.PasswordHash, pass, user.Disabled)
	refusal := passwordError(user.ID, ok, err)
	if refusal != nil {
		a.noteRefusal(ctx, user, err)
	}
	return outdated, refusal
}

// noteRefusal notes why a password was refused. err is that of the gate, and user is zero for an unknown account.
func (a *Auth) noteRefusal(ctx context.Context, user userstore.User, err error) {
	reason := "wrong password"
	switch {
	case errors.Is(err, password.ErrFormat):
		reason = "unreadable hash"
		a.logger.ErrorContext(ctx, "signet: the password hash of a user is in no known format", "user", user.ID)
	case err != nil:
		return // it was not checked
	case user.ID == "":
		reason = "unknown account"
	case user.Disabled:
		reason = "disabled"
	case user.PasswordHash == "":
		reason = "no password"
	}
	a.events.emit(ctx, event.Event{Kind: event.LoginFailed, Subject: user.ID, Reason: reason})
}

// start makes a session and its first tokens. It reads the user again, after it has read the cut-offs of the user and before
// the session is committed. So a password change or a ban during the login is seen here, or its cut-off ends the session. If
// mayStart refuses the user, nothing is stored. If the login is pending, the error has the ticket for its second step.
func (a *Auth) start(ctx context.Context, user userstore.User, terms rotation.Terms, pending bool,
	mayStart func(current userstore.User) error) (Tokens, error) {
	if a.sessions == nil { // no session could be revoked later
		return a.issueAlone(ctx, user)
	}
	if !canBeUserID(user.ID) {
		return Tokens{}, errUserID
	}
	ctx, limited := limit.New(ctx, storeTimeout) // also for the user, the claims and the signatures
	defer limited.Release()
	var tokens Tokens
	var id string
	g := grant{secret: randomID()}
	login := sessions.Login{UserID: user.ID, Secret: g.secret, Terms: terms, Client: clientOf(ctx), Pending: pending}
	err := a.sessions.Create(ctx, login, func(row session.Session) (err error) {
		id = row.ID
		if end := row.EndsAt.Time(); !end.After(a.clock()) {
			return internal(fmt.Errorf("the session would end at once: the clock of the session store shows %v; set it, or the clock of this machine",
				row.CreatedAt.Time()))
		}
		if g.user, err = a.activeUser(ctx, user.ID); errors.Is(err, errNoUser) {
			return ErrInvalidCredentials
		} else if err != nil {
			return err
		}
		if err := mayStart(g.user); err != nil || pending {
			return err
		}
		if g.claims, err = a.customClaims(ctx, g.user); err != nil {
			return err
		}
		tokens, err = a.issue(ctx, g.of(row, row.Current, row.Born))
		return err
	})
	if err != nil {
		return Tokens{}, storeError(err)
	}
	if pending {
		a.events.emit(ctx, event.Event{Kind: event.SecondStepRequired, Subject: user.ID, SessionID: id})
		return Tokens{}, codeNeeded(id, g.secret)
	}
	return tokens, nil
}

// loginTicketSeparator stands between the id of a pending session and the secret of its ticket.
const loginTicketSeparator = "."

// codeNeeded is the answer to a login that needs a second step.
func codeNeeded(id, secret string) error {
	e := because(ErrSecondStepRequired, nil)
	ticket := id + loginTicketSeparator + secret
	e.ticket = &ticket
	return e
}

// checkPasswordForm refuses passwords that no user can have.
func checkPasswordForm(pass string) error {
	switch {
	case pass == "":
		return badRequest(`field "password" is empty`)
	case len(pass) > password.MaxLength:
		return badRequest(`field "password" is too long`)
	}
	return nil
}

// errWrongPassword is [ErrInvalidCredentials] of a password that was checked, and not of a function of the host.
var errWrongPassword error = asFailure(ErrInvalidCredentials)

// asFailure returns a copy of an answer that counts as a wrong password or code.
func asFailure(answer error) *Error {
	e := because(answer, nil)
	e.failure = true
	return e
}

// passwordError is the answer after a password was checked. It is nil if the password is right and the user may log in. No
// password matches a hash that cannot be read.
func passwordError(userID string, ok bool, err error) error {
	switch {
	case errors.Is(err, password.ErrFormat), err == nil && !ok:
		return errWrongPassword
	case err != nil:
		return unavailable(fmt.Errorf("verify the password of user %q: %w", userID, err))
	}
	return nil
}

// upgradeHash replaces an outdated hash if the store has a method for it. It returns the hash that the user has
// afterwards. A failure is logged, and the login goes on.
func (a *Auth) upgradeHash(ctx context.Context, user userstore.User, pass string) string {
	store, ok := a.users.(userstore.PasswordUpdater)
	if !ok {
		return user.PasswordHash
	}
	hash, err := a.gate.Hash(ctx, networkOf(ctx), pass)
	if err == nil {
		hash, err = a.replaceHash(ctx, store, user, hash)
	}
	if err != nil {
		a.warnUnstored(ctx, "signet: an outdated password hash was not replaced", "user", user.ID, "error", err)
		return user.PasswordHash
	}
	return hash
}

// replaceHash stores a hash unless somebody else has changed it. It reads back which one the user has then, because the store
// answers nil in both cases. If the store has kept only the beginning of the hash, with which nobody could log in, replaceHash
// puts the old one back.
func (a *Auth) replaceHash(ctx context.Context, store userstore.PasswordUpdater, user userstore.User, hash string) (kept string, err error) {
	ctx = context.WithoutCancel(ctx) // if the client goes away between two steps, half a hash must not stay
	if err := a.updateHash(ctx, store, user, hash); err != nil {
		return "", err
	}
	stored, err := a.findByID(ctx, user.ID)
	kept = stored.PasswordHash
	if err != nil || kept == hash || kept == "" || !strings.HasPrefix(hash, kept) {
		return kept, err
	}
	err = a.updateHash(ctx, store, stored, user.PasswordHash)
	return "", errors.Join(fmt.Errorf("%w: %d of its %d bytes; is its column too short?", errCutHash, len(kept), len(hash)), err)
}

var errCutHash = errors.New("the user store has kept only the beginning of a password hash")

func (a *Auth) updateHash(ctx context.Context, store userstore.PasswordUpdater, user userstore.User, hash string) error {
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	return store.UpdatePasswordHash(ctx, user.ID, user.PasswordHash, hash)
}
