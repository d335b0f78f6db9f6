package signet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// guess says whose password or code is looked at.
type guess struct {
	email     string // "": the user has none
	userID    string // "": it is not known
	sessionID string // of a user who is signed in; "": it is a login
}

// try calls check, which looks at a password or a code of an account, unless too many were wrong before. If check returns an error,
// the attempt has ended. Otherwise the caller ends it.
func (a *Auth) try(ctx context.Context, of guess, check func(*attempt) error) (*attempt, error) {
	attempt, err := a.begin(ctx, of)
	if err != nil {
		return nil, err
	}
	given := false
	defer func() {
		if !given { // after a panic of the host's code, or of the throttle's store
			a.cancelIfOpen(ctx, attempt)
		}
	}()
	if err := check(attempt); err != nil {
		a.end(ctx, attempt, verdictOf(err))
		return nil, err
	}
	bounded, limited := limit.New(context.WithoutCancel(ctx), storeTimeout)
	defer limited.Release()
	_ = attempt.Passed(bounded) // after an error the attempt stays counted for its address, which is safe
	given = true
	return attempt, nil
}

// begin counts an attempt, or refuses it because there were too many.
//
// In this process at most three attempts of one account and one network run at one time, and further ones wait. An attempt
// counts as a failure while it runs, so without this limit eleven right passwords at once would look like ten wrong ones. Each
// network, and each session, has its own limit, so strangers do not keep the owner waiting.
func (a *Auth) begin(ctx context.Context, of guess) (*attempt, error) {
	names := accountsOf(of.email, of.userID)
	bounded, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	leave, err := a.attempts.Enter(bounded, names[0]+"\x00"+cmp.Or(of.sessionID, networkOf(ctx)))
	if err != nil {
		return nil, unavailable(fmt.Errorf("%w: %w", errUnderWay, err))
	}
	begun := false
	defer func() {
		if !begun { // also after a panic of the throttle's store
			leave()
		}
	}()
	counted, err := a.count(ctx, names, of.sessionID)
	if err != nil {
		return nil, a.throttled(ctx, cmp.Or(of.userID, a.accounts.userOf(of.email)), err)
	}
	begun = true
	started := &attempt{Attempt: counted, leave: leave}
	if err := ctx.Err(); err != nil { // the client went away meanwhile: no code must be used up
		a.end(ctx, started, cancelled)
		return nil, unavailable(err)
	}
	return started, nil
}

// countTimeout is for the calls of the throttle's store that count one attempt. Each of them has a limit of five seconds, and
// after that the Limiter decides whether the attempt passes.
const countTimeout = 2 * storeTimeout

// count counts an attempt for an account with one or two names, and for a session if there is one. If the first name must
// wait, count tries the other one: a place that one name knows is a known place. So an owner with a new e-mail address still
// gets in from a known place.
//
// It goes on if the client goes away. Otherwise nobody would know whether the attempt was counted, and it could not be taken back.
func (a *Auth) count(ctx context.Context, names []string, sessionID string) (*throttle.Attempt, error) {
	ctx, limited := limit.New(context.WithoutCancel(ctx), countTimeout)
	defer limited.Release()
	attempt, err := a.countAs(ctx, names, sessionID)
	if len(names) < 2 || sessionID != "" || !errors.Is(err, throttle.ErrDelayed) {
		return attempt, err
	}
	second, secondErr := a.countAs(ctx, []string{names[1], names[0]}, "")
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

func (a *Auth) countAs(ctx context.Context, names []string, sessionID string) (attempt *throttle.Attempt, err error) {
	if sessionID == "" {
		attempt, err = a.policy.Throttle.Begin(ctx, names[0], clientOf(ctx).Address)
	} else {
		attempt, err = a.policy.Throttle.BeginSession(ctx, names[0], sessionID)
	}
	if err == nil && len(names) > 1 {
		err = attempt.Also(ctx, names[1])
	}
	return attempt, err
}

// countAlso counts an attempt for a second name of its account. It goes on if the client goes away, as count does.
func (a *Auth) countAlso(ctx context.Context, attempt *attempt, name string) error {
	ctx, limited := limit.New(context.WithoutCancel(ctx), countTimeout)
	defer limited.Release()
	return attempt.Also(ctx, name)
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

// verdict ends an attempt in the throttle. If it is nil, the attempt stays a failure.
type verdict func(*throttle.Attempt, context.Context) error

var (
	succeeded verdict = (*throttle.Attempt).Succeeded // all were right
	continued verdict = (*throttle.Attempt).Continued // they were right so far
	cancelled verdict = (*throttle.Attempt).Cancelled // the attempt does not count
)

// completedAfter is the verdict on the second step of a login, if both steps were right. waited is the time between the two by
// the session store. The throttle has counted the first step a little earlier, and hears of the second one a little later, so
// completedSlack is added.
func completedAfter(waited time.Duration) verdict {
	return func(attempt *throttle.Attempt, ctx context.Context) error {
		return attempt.Completed(ctx, waited+completedSlack)
	}
}

const completedSlack = 30 * time.Second

// verdictOf returns the verdict on an attempt that ended with err. Only a wrong password or code is a failure. All other errors
// say that nobody could tell, or that the answer was right and something else refused it.
func verdictOf(err error) verdict {
	switch {
	case err == nil:
		return succeeded
	case asError(err).failure:
		return nil
	case errors.Is(err, ErrSecondStepRequired):
		return continued
	}
	return cancelled
}

// cancelIfOpen ends an attempt that a panic of the host's code has cut off.
func (a *Auth) cancelIfOpen(ctx context.Context, attempt *attempt) {
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
		a.warnUnstored(ctx, "signet: an attempt to log in counts as a failure, because the throttle's store did not answer", "error", err)
	}
}
