package signet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/clientip"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// A login that waits for its second step is a row in the session store that no token can name yet. Its ticket is the row's id
// and a secret. So a ticket works in every process, a cut-off of the user ends it, and only one request can use it.

var (
	// errCode is the answer to a wrong code.
	errCode = &Error{status: 401, code: "invalid_code", message: "the code is wrong", challenge: bareChallenge,
		kind: ErrInvalidCredentials, failure: true}
	errTwoSessions = invalidToken("the two tokens are of different sessions")
)

// SecondStep ends a login that [Auth.Login] answered with [ErrSecondStepRequired]: ticket is [Error.Ticket], and code is one
// of the [SecondFactor]. A ticket can be used once, within five minutes, and for five codes. The error is
// [ErrInvalidCredentials] for a wrong code ("invalid_code") and for a ticket that cannot be used any more ("invalid_ticket"),
// [ErrInvalidRequest] for an empty code, [ErrTooManyAttempts], [ErrStateless] under [WithoutSessions], or [ErrUnavailable].
// After ErrUnavailable the same ticket may still be good, but the code may be used up: the user takes the next one.
func (a *Auth) SecondStep(ctx context.Context, ticket, code string) (Tokens, error) {
	switch {
	case a.sessions == nil:
		return Tokens{}, ErrStateless
	case a.policy.SecondFactor == nil:
		return Tokens{}, errLoginTicket // as for one that was given out before the host took the factor away
	case code == "":
		return Tokens{}, errNoCode
	}
	id, secret, _ := strings.Cut(ticket, loginTicketSeparator)
	if _, ok := session.GroupOfID(id); !ok || len(secret) != randomIDLength { // no store needs to be asked
		return Tokens{}, errLoginTicket
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	row, err := a.sessions.Pending(ctx, id, secret)
	if err != nil {
		return Tokens{}, a.stepError(ctx, row, err)
	}
	user, err := a.activeUser(ctx, row.UserID)
	if err != nil {
		return Tokens{}, a.stepError(ctx, row, err)
	}
	if err := a.keyReady(ctx); err != nil {
		return Tokens{}, err
	}
	var amr []string
	attempt, err := a.try(ctx, guess{email: user.Email, userID: user.ID}, func(*attempt) (err error) { // an attempt that must wait is no try of the ticket
		// It goes on if the client goes away. Otherwise nobody would know whether the try was counted.
		if row, err = a.sessions.Try(context.WithoutCancel(ctx), id, secret); err != nil {
			return err
		}
		checked := false
		defer func() {
			if !checked { // also after a panic of the factor
				a.sessions.TakeBack(context.WithoutCancel(ctx), id, secret)
			}
		}()
		if err := ctx.Err(); err != nil { // so the code is not used up
			return unavailable(err)
		}
		amr, err = a.checkCode(ctx, user, code)
		checked = err == nil || asError(err).failure
		return err
	})
	if err != nil {
		return Tokens{}, a.stepError(ctx, row, err)
	}
	defer a.cancelIfOpen(ctx, attempt)
	tokens, waited, err := a.complete(ctx, row, secret, amr)
	switch {
	case err == nil:
	case errors.Is(err, sessions.ErrTicket), errors.Is(err, errNoUser):
		err = a.stepError(ctx, row, err)
	default: // the code was right
		err = storeError(err)
		a.noteRefused(ctx, row.UserID, err)
	}
	result := verdictOf(err)
	if err == nil && clientip.Network(row.Address) == networkOf(ctx) { // the first step was counted for the same place
		result = completedAfter(waited)
	}
	a.end(ctx, attempt, result)
	if err != nil {
		return Tokens{}, err
	}
	a.signedIn(ctx, row.UserID, tokens, !attempt.Known())
	return tokens, nil
}

// complete begins the session of a login whose second step was right. waited is the time since its first step.
func (a *Auth) complete(ctx context.Context, row session.Session, ticket string, amr []string) (tokens Tokens, waited time.Duration,
	err error) {
	facts, err := a.raise(row.Facts, withSecondStep(amr), a.policy.SecondStepACR, false)
	if err != nil {
		return Tokens{}, 0, err
	}
	g := grant{secret: randomID()}
	err = a.sessions.Complete(ctx, row.ID, ticket, g.secret, facts, clientOf(ctx),
		func(row session.Session, version session.Version) (err error) {
			if err := a.load(ctx, &g, row.UserID); err != nil {
				return err
			}
			waited = time.Duration(row.LastUsedAt-row.CreatedAt) * time.Millisecond
			tokens, err = a.issue(ctx, g.of(row, row.Current, version))
			return err
		})
	return tokens, waited, err
}

// stepError is the answer to a second step that failed. It is an event only for a ticket that was given out in the last minutes:
// strangers can send any other one at any rate.
func (a *Auth) stepError(ctx context.Context, row session.Session, err error) error {
	answer := storeError(err)
	if errors.Is(err, sessions.ErrTicket) || errors.Is(err, errNoUser) {
		answer = errLoginTicket
	}
	if e := asError(answer); row.ID != "" && e.Status() < 500 && !errors.Is(e, ErrTooManyAttempts) {
		a.events.emit(ctx, event.Event{Kind: event.SecondStepFailed, Subject: row.UserID, SessionID: row.ID, Reason: e.code})
	}
	return answer
}

var errNoCode = badRequest(`field "code" is missing or empty`)

// checkCode checks a code of the second factor.
func (a *Auth) checkCode(ctx context.Context, user userstore.User, code string) (amr []string, err error) {
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	amr, err = a.policy.SecondFactor.Verify(ctx, user.ID, code)
	switch {
	case err != nil:
		e := storeError(err)
		if e.Status() < 500 && e.Status() != http.StatusRequestTimeout && e.Status() != http.StatusTooManyRequests {
			e = asFailure(e) // a factor may have an answer of its own for wrong codes
		}
		return nil, e
	case len(amr) == 0:
		return nil, errCode
	}
	return amr, nil
}

// StepUp raises a session whose user authenticates again (RFC 9470): the access tokens of the session get a new "auth_time"
// and, if it was a second factor, [LoginPolicy].SecondStepACR. Without that, the session keeps its "acr" only if the user has
// shown again how the session began: all methods of its "amr", or a second factor in place of a password. answer is a code of
// the second factor if the user has set it up, and the password otherwise. Both tokens must be of one session, and the refresh
// token must be its current one. The session keeps its id, and rotates. Whoever uses an older refresh token afterwards gets
// tokens without the new facts, and the session loses them: so a token that was stolen before is not raised, and a lost answer
// costs no session.
//
// The error is [ErrInvalidCredentials] for a wrong answer, [ErrInvalidToken] for tokens that do not fit, [ErrInvalidRequest] for
// an empty answer or one that is too long, [ErrTooManyAttempts], [ErrStateless] under [WithoutSessions], or [ErrUnavailable]. It
// is ErrUnavailable too for a session that was raised and refreshed so often within one reuse window that the store can remember
// no more of its older tokens. Then [Error.RetryAfter] says when it can.
func (a *Auth) StepUp(ctx context.Context, accessToken, refreshToken, answer string) (Tokens, error) {
	if a.sessions == nil {
		return Tokens{}, ErrStateless
	}
	access, err := a.verifyAccess(ctx, accessToken)
	if err != nil {
		return Tokens{}, err
	}
	claims, err := a.verifyRefresh(ctx, refreshToken)
	if err != nil {
		return Tokens{}, err
	}
	if access.SessionID != claims.SessionID || access.Subject != claims.Subject {
		return Tokens{}, errTwoSessions
	}
	if err := a.mayStepUp(ctx, claims); err != nil {
		return Tokens{}, err
	}
	if err := a.keyReady(ctx); err != nil {
		return Tokens{}, err
	}
	user, err := a.activeUser(ctx, claims.Subject)
	if err != nil {
		return Tokens{}, err
	}
	amr, acr, attempt, err := a.checkAnswer(ctx, user, claims.SessionID, answer)
	if err != nil {
		if e := asError(err); e.failure && err != errWrongPassword { // a wrong password has an event already
			a.events.emit(ctx, event.Event{Kind: event.SecondStepFailed, Subject: user.ID, SessionID: claims.SessionID, Reason: e.code})
		}
		return Tokens{}, err
	}
	defer a.cancelIfOpen(ctx, attempt)
	tokens, err := a.rotate(ctx, claims, func(row session.Session) (string, error) {
		return a.raise(rotation.Facts(row), amr, acr, true)
	})
	a.end(ctx, attempt, verdictOf(err))
	if err != nil {
		return Tokens{}, err
	}
	a.events.emit(ctx, event.Event{Kind: event.SteppedUp, Subject: user.ID, SessionID: claims.SessionID})
	return tokens, nil
}

// mayStepUp refuses a refresh token that cannot step up, before the answer is checked: a code works only once, and must not be
// used up for nothing.
func (a *Auth) mayStepUp(ctx context.Context, claims *Claims) error {
	out, err := a.sessions.MayStepUp(ctx, claims.SessionID, claims.Subject, a.presented(ctx, claims))
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return unavailable(err)
	}
	if out.Generation == 0 {
		return refusal(out)
	}
	return nil
}

// checkAnswer checks a code of the second factor, or the password of a user who has none.
func (a *Auth) checkAnswer(ctx context.Context, user userstore.User, sessionID, answer string) (amr []string, acr string,
	right *attempt, err error) {
	enrolled, err := a.enrolled(ctx, user.ID)
	switch {
	case err != nil:
		return nil, "", nil, storeError(err)
	case !enrolled:
		right, err = a.checkAgain(ctx, user, sessionID, answer)
		return []string{byPassword}, "", right, err
	case answer == "":
		return nil, "", nil, errNoCode
	}
	right, err = a.try(ctx, guess{user.Email, user.ID, sessionID}, func(*attempt) error { // wrong codes count as attempts to log in
		amr, err = a.checkCode(ctx, user, answer)
		return err
	})
	return withSecondStep(amr), a.policy.SecondStepACR, right, err
}

// RequireRecentAuth is RequireAuth for users who have authenticated within maxAge ("auth_time"), at one of the levels ("acr")
// if any are given. Others get 401 "insufficient_user_authentication" with the challenge of RFC 9470 section 3, which tells the
// client what to ask for: [Auth.StepUp] or a new login. A maxAge of 0 asks for no time. A token without these claims does not
// pass. Tokens have "auth_time" if [WithLogin] sets LoginPolicy.Decide or LoginPolicy.SecondFactor, after a step-up, and if a
// decision of [Auth.IssueFor] has Facts. They have "acr" if it is one of LoginDecision.Facts, or after a second step or a
// step-up if LoginPolicy.SecondStepACR is set. It panics if nothing is asked for, if maxAge is not in whole seconds, or if an
// acr is empty or cannot be written into a challenge.
func (v *Verifier) RequireRecentAuth(maxAge time.Duration, acr ...string) func(http.Handler) http.Handler {
	switch {
	case maxAge < 0, maxAge%time.Second != 0:
		panic(fmt.Sprintf("signet.RequireRecentAuth: the maxAge %v is not a number of whole seconds", maxAge))
	case maxAge == 0 && len(acr) == 0:
		panic("signet.RequireRecentAuth: it asks for nothing; give a maxAge or an acr")
	case slices.ContainsFunc(acr, isNoACR):
		panic(fmt.Sprintf("signet.RequireRecentAuth: one of %q is no acr: it must be ASCII without spaces, quotes and backslashes", acr))
	}
	refused := insufficientAuthentication(maxAge, acr)
	return func(next http.Handler) http.Handler {
		return v.require("RequireRecentAuth", next, func(c *Claims) error {
			authTime, level := authenticationOf(c.payload)
			if v.isRecent(authTime, maxAge) && (len(acr) == 0 || slices.Contains(acr, level)) {
				return nil
			}
			if authTime == 0 && v.undated != nil && !v.undated.Swap(true) {
				v.warnUndated()
			}
			return refused
		})
	}
}

// isRecent reports whether a user has authenticated within maxAge; a maxAge of 0 asks for no time. authTime is in Unix seconds,
// and 0 if it is not known.
func (v *Verifier) isRecent(authTime int64, maxAge time.Duration) bool {
	if maxAge == 0 {
		return true
	}
	age := v.clock().Unix() - authTime
	return authTime != 0 && age <= int64(maxAge/time.Second) && age >= -int64(v.leeway/time.Second)
}

func (v *Verifier) warnUndated() {
	v.logger.Warn("signet: RequireRecentAuth refuses every token, because none says when the user has authenticated; " +
		"set LoginPolicy.Decide or LoginPolicy.SecondFactor")
}
