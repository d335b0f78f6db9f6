package signet

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// LoginPolicy says what stands between a password and the first tokens. The zero LoginPolicy is the default. Package
// throttle says which limits hold then.
type LoginPolicy struct {
	// Throttle limits the attempts to guess passwords and codes; nil: a limiter in the memory of this process. A service of
	// several processes uses one with a shared store, such as sqlstore.NewThrottle: otherwise each process has limits of its
	// own. Services whose users are others must not share one: it counts by address and by user id. Counting an attempt does
	// not end with the context of the call, so that it can be taken back; with a slow store it takes up to ten seconds.
	Throttle *throttle.Limiter
	// Passwords are the rules for new passwords ([Auth.HashPassword], [Auth.SetPassword], [Auth.ChangePassword]).
	Passwords password.Policy
	// ParallelHashes is how many passwords are hashed at one time, at most 1,024; 0: as many as there are processors.
	ParallelHashes int
	// SecondFactor is asked for a code after the password of a user who has set it up; nil: there is none. Package totp
	// is one. Every service with the same key, issuer and session store needs it: a refresh token of one is good at the others.
	SecondFactor SecondFactor
	// SecondStepACR is the "acr" (RFC 9068 section 2.2.1) of sessions whose user has shown a second factor; "": none. It has at
	// most 128 bytes of ASCII, without spaces, quotes and backslashes. Older sessions keep theirs when it changes. If a weaker factor
	// takes the place of another one, use another acr and ask for it in the routes, or end the older sessions ([Auth.RevokeAll]).
	SecondStepACR string
	// Decide is called after the password was right and before a session exists; nil: every login begins a session with the
	// lifetimes of the service. remember is the member "remember" of the login's body, and false for [Auth.Login]: a host with
	// a form of its own puts it into the context, which Decide gets. If Decide returns an [*Error], such as one of [NewError],
	// the client gets that answer; any other error is answered 503. It must be safe for concurrent use, and must return when
	// its context ends, which is after at most five seconds.
	Decide func(ctx context.Context, user userstore.User, remember bool) (LoginDecision, error)
}

// LoginDecision is what [LoginPolicy].Decide chooses for one login. The zero LoginDecision is the default.
type LoginDecision struct {
	// SecondStep asks for a code of the second factor even if the user has not set one up. Such a user cannot log in: let the
	// user set it up first ([Auth.Authenticate] checks the password).
	SecondStep bool
	// Idle and Absolute are the lifetimes of this session in place of [Lifetimes].Refresh and Session; 0 means the values of
	// Lifetimes. They are whole seconds, at most ten years. No access token of the session lives longer than a third of Idle.
	Idle, Absolute time.Duration
	// Facts are claims that stay with the session and return in each of its access tokens: "amr", "acr", "auth_time" and "act"
	// (RFC 9068 section 2.2.1, RFC 8693 section 4.1), and names of the host's own, such as "tenant". Names that belong to
	// signet ([WithClaims]) are refused. If WithClaims returns the same name, the fact is used. Together, and with those that
	// signet adds by default, they are at most 1,024 bytes of JSON. "auth_time" is a number of seconds since 1970, "acr" a
	// text, "amr" a list of texts, and "act" an object. Facts stay as they were, except that a second step and [Auth.StepUp]
	// change "amr", "auth_time" and "acr". What else may change comes from [WithClaims]. By default "amr" is ["pwd"] after a
	// password, and "auth_time" is now. In a decision for [Auth.IssueFor] there is no "auth_time" beside an "act": somebody who
	// acts for the user does not pass [Verifier.RequireRecentAuth].
	Facts map[string]any
}

// maxACR is how long SecondStepACR may be, in bytes.
const maxACR = 128

// SecondFactor checks codes that a user has beside the password. Implementations must be safe for concurrent use, by
// several processes too.
type SecondFactor interface {
	// Enrolled reports whether the user has set the factor up. An error is answered 503, or as it says ([NewError]).
	Enrolled(ctx context.Context, userID string) (bool, error)
	// Verify uses up a code. It returns the methods (RFC 8176) that the code proves, such as "otp", or none if the code is
	// wrong or used. Of any number of calls with one code, at most one succeeds. An error says that the code could not be
	// checked. It is answered 503, or as it says ([NewError]). One whose status is below 500, and neither 408 nor 429, counts as
	// a wrong code.
	Verify(ctx context.Context, userID, code string) (amr []string, err error)
}

// isNoACR reports whether a text cannot be an "acr" in a challenge, which is a list with spaces in quotes.
func isNoACR(level string) bool {
	return level == "" || strings.ContainsFunc(level, func(c rune) bool { return c <= ' ' || c > '~' || c == '"' || c == '\\' })
}

// decide asks the host about a login, and returns the terms of the session and whether a second step is needed.
func (a *Auth) decide(ctx context.Context, user userstore.User, remember bool) (terms rotation.Terms, pending bool, err error) {
	ctx, limited := limit.New(ctx, storeTimeout) // for the host's function and the second factor together
	defer limited.Release()
	var d LoginDecision
	if a.policy.Decide != nil {
		if d, err = a.policy.Decide(ctx, user, remember); err != nil {
			return terms, false, storeError(err)
		}
	}
	if terms, err = a.terms(d, []string{byPassword}); err != nil {
		return terms, false, err
	}
	if d.SecondStep && a.policy.SecondFactor == nil {
		return terms, false,
			internal(errors.New("LoginPolicy.Decide asks for a second step, and there is no SecondFactor; set LoginPolicy.SecondFactor"))
	}
	enrolled, err := a.enrolled(ctx, user.ID)
	if err != nil {
		return terms, false, storeError(err)
	}
	return terms, d.SecondStep || enrolled, nil
}

// enrolled reports whether a user has set a second factor up.
func (a *Auth) enrolled(ctx context.Context, userID string) (bool, error) {
	if a.policy.SecondFactor == nil {
		return false, nil
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	return a.policy.SecondFactor.Enrolled(ctx, userID)
}

// mayHaveFactor reports whether a user has set a second factor up, or nobody can tell.
func (a *Auth) mayHaveFactor(ctx context.Context, userID string) bool {
	enrolled, err := a.enrolled(ctx, userID)
	return enrolled || err != nil
}
