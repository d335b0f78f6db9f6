package signet

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/strictjson"
)

// terms checks a decision. methods are how the user has authenticated, if signet knows.
func (a *Auth) terms(d LoginDecision, methods []string) (terms rotation.Terms, err error) {
	for _, lifetime := range []time.Duration{d.Idle, d.Absolute} {
		if badLifetime(lifetime) {
			return terms, internal(fmt.Errorf("a LoginDecision has the lifetime %v; use whole seconds, at most ten years", lifetime))
		}
	}
	terms = rotation.Terms{Idle: d.Idle, Absolute: d.Absolute}
	if a.policy.Decide == nil && a.policy.SecondFactor == nil && d.Facts == nil {
		return terms, nil
	}
	facts := map[string]any{}
	if methods != nil || d.Facts["act"] == nil { // else somebody acts for the user, who has not authenticated
		facts["auth_time"] = a.clock().Unix()
	}
	if methods != nil {
		facts["amr"] = methods
	}
	maps.Copy(facts, d.Facts)
	members, err := encodeClaims("LoginDecision.Facts", facts, factNames)
	if err != nil {
		return terms, err
	}
	terms.Facts = "{" + string(members[1:]) + "}"
	return terms, checkFacts(terms.Facts)
}

// checkFacts checks the length of the facts of a decision, and the form of those that have a meaning.
func checkFacts(facts string) error {
	if err := checkLength(facts, maxFacts); err != nil {
		return err
	}
	s := strictjson.Scan(facts)
	for s.Next() {
		switch name := s.Name(); {
		case s.Raw() == "null": // absent
		case name == "auth_time":
			numericDate(&s)
		case name == "acr":
			_ = s.String()
		case name == "amr" && s.Raw()[0] != '[':
			s.Mistyped("an array of strings")
		case name == "amr":
			_ = s.Strings()
		case name == "act" && s.Raw()[0] != '{':
			s.Mistyped("an object")
		}
	}
	if err := s.Err(); err != nil {
		return internal(fmt.Errorf("LoginDecision.Facts: %w", err))
	}
	return nil
}

// maxFacts is how long the facts of a decision may be, in bytes. A row of the session store holds them. maxRaised leaves room for
// what a second step and a step-up add, so that a login does not fail at its second step.
const (
	maxFacts  = 1024
	maxRaised = 2048
)

// factNames are the reserved claims that facts may have.
var factNames = []string{"amr", "acr", "auth_time", "act"}

func checkLength(facts string, most int) error {
	if len(facts) > most {
		return internal(fmt.Errorf("the facts of a session have %d bytes, at most %d are allowed", len(facts), most))
	}
	return nil
}

// The methods that signet gives a session itself (RFC 8176).
const (
	byPassword = "pwd"
	secondStep = "mfa" // the user has shown a second factor
)

// withSecondStep adds that method to those of a second factor. The slice may belong to the host.
func withSecondStep(methods []string) []string { return slices.Concat(methods, []string{secondStep}) }

// repeats reports whether the methods of a step-up have all that a session has. A second factor stands for the password too. If
// the session has none, nobody knows how its user has authenticated.
func repeats(methods, earlier []string) bool {
	missing := func(method string) bool {
		return !slices.Contains(methods, method) && (method != byPassword || !slices.Contains(methods, secondStep))
	}
	return len(earlier) > 0 && !slices.ContainsFunc(earlier, missing)
}

// raise returns facts with the proof of a step: its time is now, and it has these methods and this level. again says that it is a
// step-up and not a part of the login. What such a step does not repeat would look new beside its "auth_time": then the session
// loses its level and its methods.
func (a *Auth) raise(facts string, methods []string, acr string, again bool) (string, error) {
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
	if again && !repeats(methods, amr) {
		amr = nil
		delete(members, "acr")
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
	raised, _ := json.Marshal(members) // what was read from JSON cannot fail
	return string(raised), checkLength(string(raised), maxRaised)
}

// authenticationOf reads "auth_time" and "acr" of a payload, or of the facts of a session. A claim in another form counts as
// absent.
func authenticationOf(payload string) (authTime int64, acr string) {
	for s := strictjson.Scan(payload); s.Next(); {
		switch s.Name() {
		case "auth_time":
			value := valueOf(s.Raw())
			if at := foreignDate(&value, math.Floor); value.Err() == nil {
				authTime = at.Unix()
			}
		case "acr":
			if level, ok := textOf(s.Raw()); ok {
				acr = level
			}
		}
	}
	return authTime, acr
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

// reserved are the claims that only signet sets, now or in a later version.
var reserved = []string{"sub", "iss", "aud", "exp", "iat", "nbf", "jti", "sid", "gen", "ver", "roles", "acr", "amr", "auth_time",
	"act", "cnf", "client_id"}

// encodeClaims returns claims of the host as members of a JSON object, each with a comma before it. Names that belong to signet
// are errors, unless they are allowed.
func encodeClaims(source string, claims map[string]any, allowed []string) ([]byte, error) {
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(claims)) {
		// A parser that ignores case must not read the host's "Roles" as signet's "roles".
		if !slices.Contains(allowed, name) && slices.ContainsFunc(reserved, func(own string) bool { return strings.EqualFold(own, name) }) {
			return nil, internal(fmt.Errorf("%s: the claim %q belongs to signet; choose another name", source, name))
		}
		value, err := json.Marshal(claims[name])
		if err != nil {
			return nil, internal(fmt.Errorf("%s: %q: %w", source, name, err))
		}
		b = append(append(strictjson.AppendString(append(b, ','), name), ':'), value...)
	}
	if len(b) == 0 {
		return nil, nil
	}
	// Refuse now what parseClaims would refuse in the token.
	if err := checkClaims("{" + string(b[1:]) + "}"); err != nil {
		return nil, internal(fmt.Errorf("%s: %w", source, err))
	}
	return b, nil
}
