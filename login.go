package signet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/clientip"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// Login checks an e-mail address and a password and returns a first pair of tokens. The error is
// [ErrInvalidCredentials] for an unknown address, a wrong password or a disabled user, [ErrTooManyAttempts] when too many
// passwords were wrong before, [ErrSecondStepRequired] when the user must show a code too ([Auth.SecondStep]),
// [ErrInvalidRequest] for values that no user can have, and [ErrUnavailable] when a store, the key or the password gate does
// not answer. [LoginPolicy].Decide can add errors of the host. [ContextWithClient] says what the session stores about the
// client.
func (a *Auth) Login(ctx context.Context, email, password string) (Tokens, error) {
	return a.login(ctx, email, password, false)
}

func (a *Auth) login(ctx context.Context, email, password string, remember bool) (Tokens, error) {
	user, attempt, err := a.authenticate(ctx, email, password)
	if err != nil {
		return Tokens{}, err
	}
	defer a.drop(ctx, attempt) // after a panic of the host's function
	terms, pending, err := a.decide(ctx, user, remember)
	if err != nil {
		a.end(ctx, attempt, cancelled) // the password was right
		if e := asError(err); e.Status() < 500 {
			a.events.emit(ctx, event.Event{Kind: event.LoginRefused, Subject: user.ID, Reason: e.Code()})
		}
		return Tokens{}, err
	}
	tokens, err := a.start(ctx, user, terms, pending, a.stillRight(ctx, user, password))
	a.end(ctx, attempt, verdictOf(err, true))
	if err == nil {
		a.signedIn(ctx, user.ID, tokens, !attempt.Known())
	}
	return tokens, err
}

// signedIn reports a login.
func (a *Auth) signedIn(ctx context.Context, userID string, tokens Tokens, newPlace bool) {
	a.events.emit(ctx, event.Event{Kind: event.LoginOK, Subject: userID, SessionID: tokens.sessionID, NewPlace: newPlace})
}

// stillRight returns a function that checks the password of a user again if the hash is another one than that of before. The
// reason is a new password, or only a better hash of the same one.
func (a *Auth) stillRight(ctx context.Context, before userstore.User, pass string) func(current userstore.User) error {
	return func(current userstore.User) error {
		if current.PasswordHash == before.PasswordHash {
			return nil
		}
		ok, _, err := a.gate.Verify(ctx, networkOf(ctx), current.PasswordHash, pass)
		return passwordError(current.ID, ok && !current.Disabled, err)
	}
}

// Authenticate checks an e-mail address and a password and returns the user. It begins no session and issues nothing: it is
// for a host with tokens or steps of its own. It counts attempts as [Auth.Login] does, and has the same errors, except
// [ErrSecondStepRequired]: it asks for no code, and does not call [LoginPolicy].Decide. For a user with a second factor a right
// password is only the first step: give [Auth.IssueFor] the client's address ([Auth.ContextWithClient]), so that the place becomes
// known. Without a SecondFactor a right password makes the place known: a host with a second step of its own should set one.
func (a *Auth) Authenticate(ctx context.Context, email, password string) (userstore.User, error) {
	user, attempt, err := a.authenticate(ctx, email, password)
	if err != nil {
		return userstore.User{}, err
	}
	defer a.drop(ctx, attempt) // after a panic of the second factor
	a.end(ctx, attempt, a.afterPassword(ctx, user.ID))
	return user, nil
}

// IssueFor returns a first pair of tokens for a user that the host has authenticated by other means: social login, a magic
// link, a command line. [Auth.SetCookies] gives the pair to a browser in cookies. IssueFor asks for no password and no second step. The user store must know the user: the tokens carry what
// the store knows, because every refresh looks the user up. There is at most one decision. Its lifetimes and facts hold for the
// session; its SecondStep is ignored. The error is [ErrInvalidCredentials] for a disabled user, for one that the store does not
// know, and for one whose password hash has changed since (a user of [Auth.Authenticate] has the hash that was right),
// [ErrStateless] for a decision under [WithoutSessions], or [ErrUnavailable]. Under [WithoutSessions] only the first refresh asks
// the store.
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

// rememberPlace is for a host with steps of its own. [Auth.Authenticate] is only the first one of a user with a second factor, and
// the tokens say that the others were right.
func (a *Auth) rememberPlace(ctx context.Context, user userstore.User) {
	address := clientOf(ctx).Address
	if a.policy.SecondFactor == nil || address == "" {
		return
	}
	ctx, limited := limit.New(context.WithoutCancel(ctx), storeTimeout)
	defer limited.Release()
	for _, name := range accountsOf(user.Email, user.ID) {
		if err := a.policy.Throttle.Remember(ctx, name, address); err != nil {
			a.logger.WarnContext(ctx, "signet: the place of a sign-in is not remembered, because the throttle's store did not answer",
				"user", user.ID, "error", err)
		}
	}
}

// maxEmail is the longest e-mail address, in bytes. User stores accept no longer one (userstore.User.Validate).
const maxEmail = 1024

// authenticate finds the user with these credentials. Every refusal takes the same time. So the time does not show who has an
// account. The attempt counts as a failure until the caller says otherwise.
func (a *Auth) authenticate(ctx context.Context, email, pass string) (userstore.User, *attempt, error) {
	if trimmed := strings.TrimSpace(email); trimmed == "" || len(email) > maxEmail || strings.ContainsFunc(trimmed, unicode.IsControl) {
		return userstore.User{}, nil, badRequest(`field "email" is not an e-mail address`)
	}
	if err := checkPassword(pass); err != nil {
		return userstore.User{}, nil, err
	}
	var user userstore.User
	attempt, err := a.try(ctx, email, "", func(attempt *attempt) (err error) {
		also := "" // for an unknown account, which must take the same time
		switch user, err = a.findByEmail(ctx, email); {
		case errors.Is(err, userstore.ErrNotFound):
			user = userstore.User{} // whatever the store returned
		case err != nil:
			return storeError(err)
		default:
			also = accountOfID(user.ID)
		}
		if err := attempt.Also(ctx, also); err != nil {
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
		a.failed(ctx, user, err)
	}
	return outdated, refusal
}

// failed notes why a password was refused. err is that of the gate, and user is zero for an unknown account.
func (a *Auth) failed(ctx context.Context, user userstore.User, err error) {
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

// networkOf is the network of the client. It takes turns with others to hash passwords.
func networkOf(ctx context.Context) string { return clientip.Network(clientOf(ctx).Address) }

// try calls check, which looks at a password or a code of an account, unless too many were wrong before. userID is "" if it is
// not known. If check returns an error, the attempt has ended. Otherwise the caller ends it.
func (a *Auth) try(ctx context.Context, email, userID string, check func(*attempt) error) (*attempt, error) {
	attempt, err := a.begin(ctx, email, userID)
	if err != nil {
		return nil, err
	}
	right := false
	defer func() {
		if !right { // also after a panic of the host's code
			attempt.leave()
		}
	}()
	if err := check(attempt); err != nil {
		a.end(ctx, attempt, verdictOf(err, false))
		return nil, err
	}
	right = true
	bounded, limited := limit.New(context.WithoutCancel(ctx), storeTimeout)
	defer limited.Release()
	_ = attempt.Passed(bounded) // after an error the end of the attempt tries again
	return attempt, nil
}

// begin counts an attempt, or refuses it because there were too many.
//
// Of one account and one network a few attempts are under way at one time in this process, and further ones wait. An attempt
// counts as a failure while it is under way, so without this limit eleven right passwords at once would look like ten wrong ones.
// Each network waits for itself, so that strangers do not keep the owner waiting.
func (a *Auth) begin(ctx context.Context, email, userID string) (*attempt, error) {
	names := accountsOf(email, userID)
	bounded, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	leave, err := a.attempts.Enter(bounded, names[0]+"\x00"+networkOf(ctx))
	if err != nil {
		return nil, unavailable(fmt.Errorf("%w: %w", errUnderWay, err))
	}
	begun := false
	defer func() {
		if !begun { // also after a panic of the throttle's store
			leave()
		}
	}()
	counted, err := a.count(ctx, names)
	if err != nil {
		return nil, a.throttled(ctx, userID, err)
	}
	begun = true
	return &attempt{Attempt: counted, leave: leave}, nil
}

// count counts an attempt for the one or two names of an account. A place that one of them knows counts for the other one: so a
// new e-mail address does not keep the owner out of it.
func (a *Auth) count(ctx context.Context, names []string) (*throttle.Attempt, error) {
	attempt, err := a.countAs(ctx, names)
	if len(names) < 2 || !errors.Is(err, throttle.ErrDelayed) {
		return attempt, err
	}
	second, secondErr := a.countAs(ctx, []string{names[1], names[0]})
	switch {
	case secondErr != nil:
		return nil, sooner(err, secondErr)
	case !second.Known(): // the first delay has passed only just now
		_ = second.Cancelled(ctx)
		return nil, err
	}
	return second, nil
}

// sooner returns the error with the shorter delay, which is that of a known place. Others may come back too early.
func sooner(err, other error) error {
	var first, second *throttle.Delayed
	if errors.As(err, &first) && errors.As(other, &second) && second.RetryAfter < first.RetryAfter {
		return other
	}
	return err
}

func (a *Auth) countAs(ctx context.Context, names []string) (*throttle.Attempt, error) {
	attempt, err := a.policy.Throttle.Begin(ctx, names[0], clientOf(ctx).Address)
	if err == nil && len(names) > 1 {
		err = attempt.Also(ctx, names[1])
	}
	return attempt, err
}

// throttled is the answer to an attempt that was not counted, because there were too many or because nobody could tell.
func (a *Auth) throttled(ctx context.Context, userID string, err error) error {
	var delayed *throttle.Delayed
	if !errors.As(err, &delayed) {
		return unavailable(err)
	}
	a.events.emit(ctx, event.Event{Kind: event.LoginThrottled, Subject: userID})
	e := because(ErrTooManyAttempts, nil)
	e.retryAfter = delayed.RetryAfter
	return e
}

// accountsOf returns the one or two names of an account for the throttle: the address if there is one, and the id if it is known.
// Some users have no address, and others can change theirs.
func accountsOf(email, userID string) (names []string) {
	if account := userstore.NormalizeEmail(email); account != "" {
		names = append(names, account)
	}
	if userID != "" {
		names = append(names, accountOfID(userID))
	}
	return names
}

func accountOfID(userID string) string { return "\x00" + userID } // no address has a control character

// attempt is an attempt that is under way. It ends by Auth.end.
type attempt struct {
	*throttle.Attempt
	leave func()
	ended bool
}

// verdict is what the answers of an attempt were; nil: it stays a failure.
type verdict func(*throttle.Attempt, context.Context) error

var (
	succeeded verdict = (*throttle.Attempt).Succeeded // all were right
	continued verdict = (*throttle.Attempt).Continued // they were right so far
	cancelled verdict = (*throttle.Attempt).Cancelled // the attempt does not count
)

// verdictOf returns the verdict on an attempt that ended with err. right says that the password or the code was right. The attempt does
// not count if nobody can tell (5xx), if nothing was checked (errTicket), or if a right answer was refused for another reason.
func verdictOf(err error, right bool) verdict {
	switch {
	case err == nil:
		return succeeded
	case errors.Is(err, ErrSecondStepRequired):
		return continued
	case err == errTicket, isFault(err), right && !errors.Is(err, ErrInvalidCredentials):
		return cancelled
	}
	return nil
}

// isFault reports whether an error says that nobody could tell, and not that the client was wrong.
func isFault(err error) bool { return asError(err).Status() >= 500 }

// drop ends an attempt whose password or code was right, if a panic of the host's code has cut it off.
func (a *Auth) drop(ctx context.Context, attempt *attempt) {
	if !attempt.ended {
		a.end(ctx, attempt, cancelled)
	}
}

// afterPassword returns the verdict on an attempt whose password was right. A user with a second factor has shown only the first
// of two proofs then.
func (a *Auth) afterPassword(ctx context.Context, userID string) verdict {
	if a.mayHaveFactor(ctx, userID) {
		return continued
	}
	return succeeded
}

// end ends an attempt, also if the client has gone away. Otherwise attempts would be counted wrongly.
func (a *Auth) end(ctx context.Context, attempt *attempt, result verdict) {
	defer attempt.leave()
	attempt.ended = true
	if result == nil {
		return
	}
	ctx, limited := limit.New(context.WithoutCancel(ctx), storeTimeout)
	defer limited.Release()
	if err := result(attempt.Attempt, ctx); err != nil {
		a.logger.WarnContext(ctx, "signet: an attempt to log in counts as a failure, because the throttle's store did not answer",
			"error", err)
	}
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
			return internal(fmt.Errorf("the session would end at once: the clock of the session store shows %v",
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

// ticketSeparator stands between the id of a pending session and the secret of its ticket.
const ticketSeparator = "."

// codeNeeded is the answer to a login that needs a second step.
func codeNeeded(id, secret string) error {
	e := because(ErrSecondStepRequired, nil)
	ticket := id + ticketSeparator + secret
	e.ticket = &ticket
	return e
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

// passwordError is the answer after a password was checked. It is nil if the password is right and the user may log in. No
// password matches a hash that cannot be read.
func passwordError(userID string, ok bool, err error) error {
	switch {
	case errors.Is(err, password.ErrFormat), err == nil && !ok:
		return ErrInvalidCredentials
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
		a.logger.WarnContext(ctx, "signet: an outdated password hash was not replaced", "user", user.ID, "error", err)
		return user.PasswordHash
	}
	return hash
}

// replaceHash stores a hash unless somebody else has changed it. It reads back which one the user has then, because the store
// answers nil in both cases. If the store has kept only the beginning of the hash, with which nobody could log in, replaceHash
// puts the old one back.
func (a *Auth) replaceHash(ctx context.Context, store userstore.PasswordUpdater, user userstore.User, hash string) (kept string, err error) {
	if err := a.updateHash(ctx, store, user, hash); err != nil {
		return "", err
	}
	now, err := a.findByID(ctx, user.ID)
	kept = now.PasswordHash
	if err != nil || kept == hash || kept == "" || !strings.HasPrefix(hash, kept) {
		return kept, err
	}
	err = a.updateHash(ctx, store, now, user.PasswordHash)
	return "", errors.Join(fmt.Errorf("%w: %d of its %d bytes; is its column too short?", errCutHash, len(kept), len(hash)), err)
}

var errCutHash = errors.New("the user store has kept only the beginning of a password hash")

func (a *Auth) updateHash(ctx context.Context, store userstore.PasswordUpdater, user userstore.User, hash string) error {
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	return store.UpdatePasswordHash(ctx, user.ID, user.PasswordHash, hash)
}
