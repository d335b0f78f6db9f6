package client

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// Sentinels for [errors.Is].
var (
	// ErrSignedOut says that there is no session: nobody has signed in, or the service answered a refresh with
	// 401. Sign in again.
	ErrSignedOut = errors.New("client: signed out")
	// ErrUnavailable says that the service did not answer in time. The session is kept; try again later.
	ErrUnavailable = errors.New("client: the service is not available")
	// ErrNotReplayable is what a [*NotReplayableError] is.
	ErrNotReplayable = errors.New("client: the body of the request cannot be sent again")
)

// errOtherUser is for a call that waited while another user signed in.
var errOtherUser = fmt.Errorf("%w: another user has signed in", ErrSignedOut)

// Error is a refusal of the service, or of something in front of it. A success without the expected JSON counts as status 502 with
// the code "bad_answer". It has no token in it.
type Error struct {
	Status     int           // the HTTP status
	Code       string        // the code of the problem document (RFC 9457), such as "invalid_credentials"
	Message    string        // the text for the user; it may be empty
	RetryAfter time.Duration // when to try again; 0: the service did not say

	hint    string // where the answer came from, if it says nothing itself
	foreign bool   // a 401 that asks for other credentials than a token, as that of a proxy with a password
}

// Error describes the refusal.
func (e *Error) Error() string {
	text := strings.TrimSpace(fmt.Sprintf("client: the service answered %d %s", e.Status, e.Code)) + ": " + cmp.Or(e.Message, e.hint)
	if e.RetryAfter > 0 {
		text += fmt.Sprintf("; try again in %v", e.RetryAfter.Round(time.Second))
	}
	return text
}

// Is reports true for [ErrUnavailable] if the same request can succeed later: 408, 429, and 500 and above, but not 501, and for a
// 401 that asks for other credentials than a token.
func (e *Error) Is(target error) bool { return target == ErrUnavailable && e.later() }

func (e *Error) later() bool {
	return e.foreign || e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests || e.Status >= 500 && e.Status != 501
}

// SecondStepError says that the password was right and that the service wants a code: call [Client.SecondStep].
type SecondStepError struct{ ticket string }

// Ticket returns the secret of this login, for [Client.SecondStep].
func (e *SecondStepError) Ticket() string { return e.ticket }

// Error does not show the ticket.
func (e *SecondStepError) Error() string { return "client: the login needs a second step" }

// Format does not show the ticket.
func (e *SecondStepError) Format(s fmt.State, _ rune) { fmt.Fprint(s, e.Error()) }

// NotReplayableError says that a request was answered 401, and that its body cannot be sent a second time, because the
// request has no GetBody. The tokens were refreshed, so the same request with a new body can succeed.
type NotReplayableError struct {
	// Response is the answer 401. Its body is in memory, and has at most 64 KiB. It needs no Close.
	Response *http.Response
}

// Error says what to do.
func (e *NotReplayableError) Error() string {
	return ErrNotReplayable.Error() + " after the answer 401: set GetBody, or send the request again"
}

// Unwrap returns [ErrNotReplayable].
func (e *NotReplayableError) Unwrap() error { return ErrNotReplayable }

// ownError marks an error of this package that an [http.Client] returns. It does not mean that the service gave no answer.
type ownError struct{ error }

func (e ownError) Unwrap() error { return e.error }

// Timeout is for url.Error.Timeout, which does not unwrap.
func (e ownError) Timeout() bool {
	timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](e.error)
	return ok && timeout.Timeout()
}

func isStatus(err error, status int) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && e.Status == status
}
