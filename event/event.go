// Package event says what a login service has to tell operators and users: who signed in, who was refused and why, which
// sessions ended. Signet logs every [Event], and gives it to the function of signet.WithEvents.
package event

import (
	"log/slog"
	"time"
)

// Kind says what happened. The text of a kind never changes, so programs may compare it.
type Kind string

// The kinds of events.
const (
	LoginOK            Kind = "login_ok"             // a session began
	LoginFailed        Kind = "login_failed"         // a password was wrong, or the account is unknown or disabled
	LoginThrottled     Kind = "login_throttled"      // too many attempts: the password or code was not looked at
	LoginRefused       Kind = "login_refused"        // the password was right, and a function of the host (Decide, WithClaims) refused the user
	SecondStepRequired Kind = "second_step_required" // the password was right, and a code is asked for
	SecondStepFailed   Kind = "second_step_failed"   // the code was wrong or came too late, or the ticket cannot be used any more
	SteppedUp          Kind = "stepped_up"           // a session was raised by a second factor or a password
	Refreshed          Kind = "refreshed"            // a session got new tokens
	Recovered          Kind = "recovered"            // a client had lost an answer, and got new tokens with the token before it
	Theft              Kind = "theft"                // a superseded refresh token was used: the session was ended
	LoggedOut          Kind = "logged_out"           // the user ended a session
	Revoked            Kind = "revoked"              // the host ended a session, all of a user's, or everybody's (no subject); or a user is missing or disabled
	UserChanged        Kind = "user_changed"         // the user's roles or claims have changed
	PasswordChanged    Kind = "password_changed"     // a new password was stored
	KeyRotated         Kind = "key_rotated"          // another key signs; Reason is its id. It is noticed at the next token
	StoreLost          Kind = "store_lost"           // the session store does not answer: two reads of the log in a row have failed
	StoreBack          Kind = "store_back"           // the session store answers again
)

// Event is one thing that happened. It never holds a secret. Every text is at most 256 bytes long and has only printable
// characters, so it cannot forge a line of a log. A field that is not known is empty. LoginThrottled of a login has a subject
// if an earlier login at this process has found the user lately: nobody is looked up for an attempt that must wait.
type Event struct {
	Kind      Kind
	Time      time.Time // by the clock of this process
	Subject   string    // the user's id
	SessionID string    // empty if the event is of no single session
	Address   string    // of the client, as the service sees it
	UserAgent string    // of the client, as it says itself
	Reason    string    // a short text or a code, such as "wrong password"
	Method    string    // of the request; empty for calls without HTTP
	Path      string    // of the request
	RequestID string    // of the request, from its header X-Request-Id
	// NewPlace says of LoginOK that the account has not signed in from this address within 30 days (package throttle), as far
	// as the throttle's store knows; without a throttle it is always true. It is false for tokens that the host has asked for
	// by itself (signet.Auth.IssueFor).
	NewPlace bool
}

// Level is the level at which signet logs the event. Of several LoginThrottled in one second only the first has it; the others are
// logged at the level Debug.
func (e Event) Level() slog.Level {
	switch e.Kind {
	case Theft, LoginThrottled, StoreLost:
		return slog.LevelWarn
	case Refreshed:
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

// LogValue implements [slog.LogValuer]. It leaves out what is empty.
func (e Event) LogValue() slog.Value { return slog.GroupValue(e.Attrs()...) }

// Attrs returns the event for a log, without its time and without what is empty.
func (e Event) Attrs() []slog.Attr {
	attrs := []slog.Attr{slog.String("event", string(e.Kind))}
	for _, field := range []struct{ name, value string }{
		{"user", e.Subject}, {"session", e.SessionID}, {"address", e.Address}, {"agent", e.UserAgent}, {"reason", e.Reason},
		{"method", e.Method}, {"path", e.Path}, {"request", e.RequestID},
	} {
		if field.value != "" {
			attrs = append(attrs, slog.String(field.name, field.value))
		}
	}
	if e.NewPlace {
		attrs = append(attrs, slog.Bool("new_place", true))
	}
	return attrs
}
