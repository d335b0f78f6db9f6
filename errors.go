package signet

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The errors of signet, for [errors.Is]. The methods of [Auth] and [Verifier] return them, or an [*Error] that wraps one of
// them, with three exceptions. An error of the host's functions ([NewError]) is returned as it is, or as a copy that
// [errors.Is] finds. A mistake of the host or of a store is an [*Error] with the status 500 and the code "server_error". A
// request from another site ([WithCookies]) is an [*Error] with the status 403 and the code "cross_site_request"
// ([Verifier.Check]). [WriteError] writes the whole answer for each.
var (
	// ErrNoToken says that the request carries no bearer token: 401 with a bare challenge (RFC 6750 section 3.1).
	ErrNoToken error = &Error{status: 401, code: "missing_token", message: "authentication is required", challenge: bareChallenge}
	// ErrInvalidRequest says that the request is malformed: 400 "invalid_request" (RFC 6750 section 3.1), or 405, 408, 413
	// or 415.
	ErrInvalidRequest error = &Error{status: 400, code: "invalid_request", message: "the request is malformed"}
	// ErrInvalidToken says that the token is malformed, forged, expired, revoked or of the wrong kind: 401 "invalid_token".
	ErrInvalidToken error = &Error{status: 401, code: "invalid_token", message: "the token is invalid", challenge: errorChallenge}
	// ErrExpiredToken says that the token was valid and has expired. It is an ErrInvalidToken too.
	ErrExpiredToken error = invalidToken("the token is expired")
	// ErrRevoked says that the session of the token was ended. It is an ErrInvalidToken too.
	ErrRevoked error = invalidToken("the token is revoked")
	// ErrUserChanged says that the user has changed since the token was issued ([Auth.UserChanged]): a refresh brings a
	// new token. It is an ErrInvalidToken too.
	ErrUserChanged error = invalidToken("the token's user has changed; refresh it")
	// ErrInvalidCredentials says that the e-mail address is unknown, the password is wrong, or the account is disabled:
	// 401. The answer does not say which. A wrong code ("invalid_code") and a ticket of a second step that cannot be used any
	// more ("invalid_ticket") are this error too.
	ErrInvalidCredentials error = &Error{status: 401, code: "invalid_credentials", message: "e-mail address or password is wrong",
		challenge: bareChallenge}
	// ErrSecondStepRequired says that the password was right, and that the user must show a code too: 401. The [*Error] has
	// the ticket for [Auth.SecondStep], and the answer has it as the member "ticket".
	ErrSecondStepRequired error = &Error{status: 401, code: "second_step_required", message: "a code is needed too",
		challenge: bareChallenge}
	// ErrTooManyAttempts says that too many passwords or codes were wrong: 429 with Retry-After. The answer is the same
	// whether the account exists or not. Running sessions go on.
	ErrTooManyAttempts error = &Error{status: 429, code: "too_many_attempts", message: "too many attempts; try again later",
		retryAfter: 30 * time.Second}
	// ErrPassword says that the rules refuse a new password: 422. The message says why.
	ErrPassword error = &Error{status: 422, code: "password_refused", message: "this password cannot be used"}
	// ErrInsufficientAuthentication says that the user must authenticate again, or with a second factor: 401 (RFC 9470
	// section 3).
	ErrInsufficientAuthentication error = &Error{status: 401, code: "insufficient_user_authentication",
		message: "more recent authentication is required", challenge: errorChallenge}
	// ErrInsufficientScope says that a valid token lacks the role or scope that is asked for: 403 "insufficient_scope".
	ErrInsufficientScope error = &Error{status: 403, code: "insufficient_scope", message: "you are not allowed to do this",
		challenge: errorChallenge}
	// ErrNotFound says that the route or the named thing does not exist: 404.
	ErrNotFound error = &Error{status: 404, code: "not_found", message: "not found"}
	// ErrUnavailable says that a store or a key source cannot answer now, or that too many passwords wait to be hashed: 503
	// with Retry-After. The same request may succeed later. It never says that a token or a session is bad.
	ErrUnavailable error = &Error{status: 503, code: "temporarily_unavailable", message: "temporarily unavailable; try again",
		retryAfter: time.Second}
	// ErrStateless says that the call needs sessions, and that there are none because of [WithoutSessions]: 501.
	ErrStateless error = &Error{status: 501, code: "not_implemented", message: "this service keeps no sessions"}
)

// Error is the answer to a refused request. The text for the client is separate from the internal cause. It never
// changes, so it is safe for concurrent use. [NewError] makes one for a host.
type Error struct {
	status     int
	code       string
	message    string
	retryAfter time.Duration
	challenge  challenge
	asks       string  // further parameters of the challenge
	ticket     *string // for the second step of a login; behind a pointer, so that no way to print an Error shows it
	allow      string  // for 405: the methods that are allowed
	kind       error   // the sentinel; nil for a sentinel itself, and for an error of the host
	cause      error   // what went wrong inside; nil if the client alone is at fault
	failure    bool    // a password or a code was wrong, so the attempt counts
}

// NewError returns an error of the host's own for [WriteError] and for functions that signet calls. status is an HTTP
// status code from 400 to 599; any other number becomes 500. code is stable text for programs, such as
// "address_not_confirmed". message is text for people; it must hold no secret.
func NewError(status int, code, message string) *Error {
	e := &Error{status: status, code: code, message: message}
	if status == http.StatusUnauthorized {
		e.challenge = bareChallenge // RFC 9110 section 15.5.2
	}
	return e
}

// Status returns the HTTP status code.
func (e *Error) Status() int {
	if e.status < 400 || e.status > 599 {
		return http.StatusInternalServerError
	}
	return e.status
}

// Code returns the stable, machine-readable code, such as "invalid_token".
func (e *Error) Code() string { return e.code }

// Message returns the text for the client. It holds no secret and no internal detail.
func (e *Error) Message() string { return e.message }

// RetryAfter returns the time after which the client should try again, or 0.
func (e *Error) RetryAfter() time.Duration { return e.retryAfter }

// Ticket returns the secret for [Auth.SecondStep] if the error is [ErrSecondStepRequired], and otherwise "". A handler of
// [WithErrorHandler] must give it to the client. Do not log it. It is not the ticket of [Auth.TicketHandler].
func (e *Error) Ticket() string {
	if e.ticket == nil {
		return ""
	}
	return *e.ticket
}

// Error describes the error for a log, with its cause.
func (e *Error) Error() string {
	if e == nil {
		return "signet: a nil *Error"
	}
	if e.cause == nil {
		return "signet: " + e.message
	}
	return "signet: " + e.message + ": " + e.cause.Error()
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e == nil {
		return nil
	}
	var wrapped []error
	for _, err := range []error{e.kind, e.cause} {
		if err != nil {
			wrapped = append(wrapped, err)
		}
	}
	return wrapped
}

// because returns a copy of the answer with the internal cause.
func because(answer, cause error) *Error {
	e := *answer.(*Error)
	if e.kind == nil {
		e.kind = answer
	}
	e.cause = cause
	return &e
}

// These errors are made once, because strangers can cause them at any rate. A message names the kind of fault and never
// contains a part of the token.
var (
	errNoBearer    = &Error{status: 401, code: "missing_token", message: `the Authorization header has no token of the scheme "Bearer"`, challenge: bareChallenge, kind: ErrNoToken}
	errMalformed   = invalidToken("the token is malformed")
	errSignature   = invalidToken("the token's signature is invalid")
	errUnknownKey  = invalidToken("no key has the token's key id and algorithm")
	errNotYet      = invalidToken("the token is not yet valid")
	errWrongType   = invalidToken("the token is of the wrong type")
	errIssuer      = invalidToken("the token is from another issuer")
	errAudience    = invalidToken("the token is for another audience")
	errNoUser      = invalidToken("the token's user is gone")
	errLoginTicket = &Error{status: 401, code: "invalid_ticket", message: "the ticket cannot be used any more; log in again",
		challenge: bareChallenge, kind: ErrInvalidCredentials} // of a second step
	errOlder     = invalidToken("the refresh token is not the current one; refresh first")
	errNoSession = invalidToken("the token names no session")
	errTwoTokens = &Error{status: 400, code: "invalid_request", challenge: errorChallenge, kind: ErrInvalidRequest,
		message: "send exactly one Authorization header with exactly one bearer token"}
)

// errCrowded is the cause of the answer 503 to a step-up that has to wait. Nothing is wrong with the server then.
var errCrowded = errors.New("a step-up needs a new generation, and too many windows are open")

// insufficientAuthentication is the answer of RFC 9470 section 3.
func insufficientAuthentication(maxAge time.Duration, acr []string) *Error {
	e := because(ErrInsufficientAuthentication, nil)
	if len(acr) > 0 {
		e.message = "a different authentication level is required"
		e.asks = `, acr_values="` + strings.Join(acr, " ") + `"`
	}
	if maxAge > 0 {
		e.asks += `, max_age="` + strconv.FormatInt(int64(maxAge/time.Second), 10) + `"`
	}
	return e
}

func invalidToken(message string) *Error {
	e := *ErrInvalidToken.(*Error)
	e.message, e.kind = message, ErrInvalidToken
	return &e
}

func badRequest(message string) *Error {
	return &Error{status: 400, code: "invalid_request", message: message, kind: ErrInvalidRequest}
}

// unavailable is the answer when a store, a key source or the password gate did not answer. Clients keep their session
// after a 503, and drop it after a 401.
func unavailable(cause error) *Error { return because(ErrUnavailable, cause) }

// internal is the answer when the host or signet has a fault that the same request will meet again.
func internal(cause error) *Error {
	return &Error{status: 500, code: "server_error", message: "internal server error", cause: cause}
}

// asError finds the [*Error] that err is or wraps. Any other error is a fault of the host or of signet: 500. The end of
// a context means that something took too long: 503.
func asError(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e) && e != nil:
		return e
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return unavailable(err)
	}
	return internal(err)
}

// errUnderWay is the cause when an attempt has waited too long for others of its account.
var errUnderWay = errors.New("other attempts of the account are under way")

// storeError is the answer when a store returned err: the [*Error] that err is or wraps, or else 503.
func storeError(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e != nil {
		return e
	}
	return unavailable(err)
}

// problem is the body of every error answer: RFC 9457, with a stable code, and message for clients of the contract.
type problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	Message string `json:"message"`
	Ticket  string `json:"ticket,omitempty"`
}

// WriteError writes the whole answer for err: the status, the challenge, Retry-After, Cache-Control, and an RFC 9457
// problem document. err is an [*Error], wraps one, or is one of the sentinels. If err says that a context has ended, the answer
// is 503. For any other error it is 500, also for those of packages userstore, password and totp: a host answers these with a
// [NewError] of its own. The client does not see the text of such an error. All handlers and middleware use WriteError unless
// [WithErrorHandler] replaces it.
func WriteError(w http.ResponseWriter, err error) {
	e := asError(err)
	setErrorHeaders(w.Header(), e)
	status := e.Status()
	body, _ := json.Marshal(problem{ // a struct of strings cannot fail
		Type: "about:blank", Title: http.StatusText(status), Status: status, Code: e.code, Detail: e.message, Message: e.message,
		Ticket: e.Ticket(),
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	w.Write(append(body, '\n'))
}

// setErrorHeaders sets the headers that an answer has even if the host writes its body.
func setErrorHeaders(h http.Header, e *Error) {
	// These are of the answer that is not sent. Content-Encoding stays: a middleware may have set it, and compresses what follows.
	for _, name := range []string{"Content-Length", "Etag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.retryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.retryAfter+time.Second-1)/time.Second), 10))
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	switch e.challenge {
	case bareChallenge:
		h.Set("WWW-Authenticate", bareBearer)
	case errorChallenge:
		description := strings.ReplaceAll(e.message, `"`, `'`)
		h.Set("WWW-Authenticate", bareBearer+`, error="`+e.code+`", error_description="`+description+`"`+e.asks)
	}
}

// challenge says which WWW-Authenticate header an answer has (RFC 6750 section 3).
type challenge int

const (
	noChallenge    challenge = iota
	bareChallenge            // to a request without a token, or with bad credentials
	errorChallenge           // with the code and the message
)

const bareBearer = `Bearer realm="api"`
