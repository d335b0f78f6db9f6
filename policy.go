package signet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// LoginPolicy says what stands between a password and the first tokens. The zero LoginPolicy is the default. Package
// throttle says which limits hold then.
type LoginPolicy struct {
	// Throttle limits the attempts to guess passwords and codes; nil: a limiter in the memory of this process. A service
	// of several processes uses one with a shared store, such as that of the package redisstore.
	Throttle *throttle.Limiter
	// Passwords are the rules for new passwords ([Auth.SetPassword], [Auth.ChangePassword]).
	Passwords password.Policy
	// ParallelHashes is how many passwords are hashed at one time; 0: as many as there are processors.
	ParallelHashes int
	// SecondFactor is asked for a code after the password of a user who has set it up; nil: there is none. Package totp
	// is one.
	SecondFactor SecondFactor
	// SecondStepACR is the "acr" (RFC 9068 section 2.2.1) of sessions whose user has shown a second factor; "": none.
	SecondStepACR string
	// Decide is called after the password was right and before a session exists; nil: every login begins a session with
	// the lifetimes of the service. remember is the member "remember" of the login's body. If Decide returns an [*Error],
	// such as one of [NewError], the client gets that answer; any other error is answered 503. It must be safe for
	// concurrent use, and must return when its context ends, which is after at most five seconds.
	Decide func(ctx context.Context, user userstore.User, remember bool) (LoginDecision, error)
}

// LoginDecision is what [LoginPolicy].Decide chooses for one login. The zero LoginDecision is the default.
type LoginDecision struct {
	// SecondStep asks for a code of the second factor even if the user has not set one up. Then no code is right, so offer
	// the user a way to set it up.
	SecondStep bool
	// Idle and Absolute are the lifetimes of this session in place of [Lifetimes].Refresh and Session; 0: those. They are
	// whole seconds, at most ten years.
	Idle, Absolute time.Duration
	// Facts are claims that stay with the session and return in each of its access tokens: "amr", "acr", "auth_time" and
	// "act" (RFC 9068 section 2.2.1, RFC 8693 section 4.1), and names of the host's own, such as "tenant". Names that
	// belong to signet ([WithClaims]) are refused. If WithClaims returns the same name, the fact is used. Together they
	// are at most 1,024 bytes of JSON. By default "auth_time" is now and "amr" is ["pwd"].
	Facts map[string]any
}

// SecondFactor checks codes that a user has beside the password. Implementations must be safe for concurrent use, by
// several processes too.
type SecondFactor interface {
	// Enrolled reports whether the user has set the factor up. An error is answered 503.
	Enrolled(ctx context.Context, userID string) (bool, error)
	// Verify uses up a code. It returns the methods (RFC 8176) that the code proves, such as "otp", or none if the code is
	// wrong or used. Of any number of calls with one code, at most one succeeds. An error is answered 503.
	Verify(ctx context.Context, userID, code string) (amr []string, err error)
}

// WithLogin sets what stands between a password and the first tokens.
func WithLogin(policy LoginPolicy) Option {
	return option(func(s *settings) {
		if policy.SecondFactor != nil && isNil(policy.SecondFactor) {
			s.mistake("WithLogin", "SecondFactor is a nil pointer; leave it out to have none")
		}
		if policy.ParallelHashes < 0 || policy.ParallelHashes > 1024 {
			s.mistake("WithLogin", "ParallelHashes: %d is out of range; use 0 to 1024", policy.ParallelHashes)
		}
		if policy.SecondStepACR != "" && policy.SecondFactor == nil {
			s.mistake("WithLogin", "SecondStepACR is set, and there is no SecondFactor")
		}
		s.login, s.loginSet = policy, true
	})
}

// decide asks the host about a login, and returns the terms of the session and whether a second step is needed.
func (a *Auth) decide(ctx context.Context, user userstore.User, remember bool) (terms rotation.Terms, pending bool, err error) {
	var d LoginDecision
	if a.policy.Decide != nil {
		if d, err = a.policy.Decide(ctx, user, remember); err != nil {
			return terms, false, storeError(err)
		}
	}
	if terms, err = a.terms(d); err != nil {
		return terms, false, err
	}
	if a.policy.SecondFactor == nil {
		if d.SecondStep {
			err = internal(errors.New("LoginPolicy.Decide asks for a second step, and there is no SecondFactor"))
		}
		return terms, false, err
	}
	enrolled, err := a.policy.SecondFactor.Enrolled(ctx, user.ID)
	if err != nil {
		return terms, false, storeError(err)
	}
	return terms, d.SecondStep || enrolled, nil
}

// terms checks a decision.
func (a *Auth) terms(d LoginDecision) (terms rotation.Terms, err error) {
	for _, lifetime := range []time.Duration{d.Idle, d.Absolute} {
		if badLifetime(lifetime) {
			return terms, internal(fmt.Errorf("a LoginDecision has the lifetime %v; use whole seconds, at most ten years", lifetime))
		}
	}
	terms = rotation.Terms{Idle: d.Idle, Absolute: d.Absolute}
	if a.policy.Decide == nil && a.policy.SecondFactor == nil && d.Facts == nil {
		return terms, nil
	}
	facts := map[string]any{"auth_time": a.clock().Unix(), "amr": []string{"pwd"}}
	maps.Copy(facts, d.Facts)
	terms.Facts, err = encodeFacts(facts)
	return terms, err
}

// maxFacts is how long the facts of a session may be, in bytes. A row of the session store holds them.
const maxFacts = 1024

// factNames are the reserved claims that facts may have.
var factNames = []string{"amr", "acr", "auth_time", "act"}

func encodeFacts[V any](facts map[string]V) (string, error) {
	members, err := encodeClaims("LoginDecision.Facts", facts, factNames)
	switch {
	case err != nil:
		return "", err
	case len(members) == 0:
		return "", nil
	case len(members)+1 > maxFacts:
		return "", internal(fmt.Errorf("the facts of a session have %d bytes, at most %d are allowed", len(members)+1, maxFacts))
	}
	return "{" + string(members[1:]) + "}", nil
}

// raise returns facts with the proof of a step: now, by these methods, at this level.
func (a *Auth) raise(facts string, methods []string, acr string) (string, error) {
	members := map[string]json.RawMessage{}
	if facts != "" {
		if err := json.Unmarshal([]byte(facts), &members); err != nil {
			return "", internal(fmt.Errorf("the facts of a session cannot be read: %w", err))
		}
	}
	var amr []string
	if json.Unmarshal(members["amr"], &amr) != nil {
		amr = nil // the host's own form
	}
	for _, method := range methods {
		if !slices.Contains(amr, method) {
			amr = append(amr, method)
		}
	}
	members["amr"], _ = json.Marshal(amr) // texts cannot fail
	members["auth_time"] = json.RawMessage(fmt.Sprint(a.clock().Unix()))
	if acr != "" {
		members["acr"], _ = json.Marshal(acr)
	}
	return encodeFacts(members)
}

// addFacts puts the facts of a session behind the members of WithClaims. Of two members with one name the fact stays.
func addFacts(members []byte, facts string) []byte {
	if facts == "" {
		return members
	}
	var b []byte
	if len(members) > 0 {
		var names []string
		for s := strictjson.Scan(facts); s.Next(); {
			names = append(names, s.Name())
		}
		for s := strictjson.Scan("{" + string(members[1:]) + "}"); s.Next(); {
			name := s.Name()
			if !slices.ContainsFunc(names, func(fact string) bool { return strings.EqualFold(fact, name) }) {
				b = append(append(strictjson.AppendString(append(b, ','), name), ':'), s.Raw()...)
			}
		}
	}
	return append(append(b, ','), facts[1:len(facts)-1]...)
}
