package signet

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// Sentinels for errors.Is. Every error that a method of Auth or Verifier returns for a refused request is an *Error that
// wraps one of these.
var (
	// ErrNoToken: the request carries no bearer token. 401 with a bare challenge (RFC 6750 section 3.1).
	ErrNoToken = errors.New("signet: no access token")
	// ErrInvalidRequest: the request is malformed. 400 "invalid_request" (RFC 6750 section 3.1), or 405, 413 or 415.
	ErrInvalidRequest = errors.New("signet: invalid request")
	// ErrInvalidToken: the token is malformed, forged, expired, revoked or of the wrong kind. 401 "invalid_token".
	ErrInvalidToken = errors.New("signet: invalid token")
	// ErrExpiredToken: the token was good and its time is over. It is an ErrInvalidToken too.
	ErrExpiredToken = fmt.Errorf("%w: expired", ErrInvalidToken)
	// ErrInvalidCredentials: unknown e-mail address, wrong password or disabled account; nothing tells which. 401.
	ErrInvalidCredentials = errors.New("signet: invalid credentials")
	// ErrInsufficientScope: a valid token without the role or scope that is asked for. 403 "insufficient_scope".
	ErrInsufficientScope = errors.New("signet: insufficient scope")
	// ErrNotFound: the route or the thing that was named does not exist. 404.
	ErrNotFound = errors.New("signet: not found")
	// ErrUnavailable: a store, a key source or the password gate cannot answer now; the same request may succeed later.
	// 503 with Retry-After. It never means that a token or a session is bad.
	ErrUnavailable = errors.New("signet: temporarily unavailable")
	// ErrInternal: a mistake of the host that no repetition cures, such as a claim that cannot be encoded. 500.
	ErrInternal = errors.New("signet: internal error")
	// ErrStateless: there are no sessions to revoke, because of WithoutSessions. 501.
	ErrStateless = errors.New("signet: there are no sessions")
)

// Error is a refused request: what to tell the client, kept apart from what went wrong inside.
type Error struct {
	Status     int           // HTTP status code
	Code       string        // stable, machine-readable, such as "invalid_token"
	Message    string        // for the client; holds no secret and no internal detail
	RetryAfter time.Duration // for 429 and 503: when to try again; whole seconds

	allow string // for 405: the methods that are allowed
	kind  error  // the sentinel
	cause error  // what went wrong inside, nil if the client alone is at fault
}

// Error describes the error for a log, with its cause.
func (e *Error) Error() string {
	if e.cause == nil {
		return "signet: " + e.Message
	}
	return "signet: " + e.Message + ": " + e.cause.Error()
}

// Unwrap returns the sentinel and the cause.
func (e *Error) Unwrap() []error {
	if e.cause == nil {
		return []error{e.kind}
	}
	return []error{e.kind, e.cause}
}

// Token faults are made once: a flood of bad tokens must not cost an allocation each. The messages say which kind of
// fault it is, never which byte.
var (
	errNoToken   = &Error{Status: 401, Code: "missing_token", Message: "authentication is required", kind: ErrNoToken}
	errExpired   = &Error{Status: 401, Code: "invalid_token", Message: "the token is expired", kind: ErrExpiredToken}
	errMalformed = invalidToken("the token is malformed")
	errSignature = invalidToken("the token's signature is invalid")
	errNotYet    = invalidToken("the token is not yet valid")
	errWrongType = invalidToken("the token is of the wrong type")
	errIssuer    = invalidToken("the token is from another issuer")
	errRevoked   = invalidToken("the token is revoked")
	errAudience  = invalidToken("the token is for another audience")
	errTwoTokens = badRequest("send exactly one Authorization header with exactly one bearer token")

	errCredentials = &Error{Status: 401, Code: "invalid_credentials", Message: "e-mail address or password is wrong",
		kind: ErrInvalidCredentials}
	// errStale: revocations cannot be had, so that a revoked token could pass.
	errStale     = unavailable(errors.New("the session store was not reached for longer than WithMaxStaleness"))
	errForbidden = &Error{Status: 403, Code: "insufficient_scope", Message: "you are not allowed to do this",
		kind: ErrInsufficientScope}
	errStateless = &Error{Status: 501, Code: "not_implemented", Message: "this service keeps no sessions", kind: ErrStateless}
	errNotFound  = &Error{Status: 404, Code: "not_found", Message: "there is nothing here", kind: ErrNotFound}
)

func invalidToken(message string) *Error {
	return &Error{Status: 401, Code: "invalid_token", Message: message, kind: ErrInvalidToken}
}

func badRequest(message string) *Error {
	return &Error{Status: 400, Code: "invalid_request", Message: message, kind: ErrInvalidRequest}
}

// unavailable is for a part that did not answer. Clients keep their session on 503, and drop it on 401.
func unavailable(cause error) *Error {
	return &Error{Status: 503, Code: "temporarily_unavailable", Message: "the service is busy; try again",
		RetryAfter: time.Second, kind: ErrUnavailable, cause: cause}
}

// internal is for a mistake of the host that no repetition of the request cures.
func internal(cause error) *Error {
	return &Error{Status: 500, Code: "server_error", Message: "the server made a mistake", kind: ErrInternal,
		cause: cause}
}

// asError gives every error its answer. What is not an *Error came out of some part that failed.
func asError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return unavailable(err)
}

// problem is the body of every error answer: RFC 9457, with a stable code and, for clients of the contract, message.
type problem struct {
	Type    string `json:"type"`
	Title   string `json:"title"`
	Status  int    `json:"status"`
	Code    string `json:"code"`
	Detail  string `json:"detail"`
	Message string `json:"message"`
}

// WriteError answers with an RFC 9457 problem document for err, with the status of the *Error that it is or wraps, 503 if
// it is none. It is what handlers and middleware use unless WithErrorHandler replaces it.
func WriteError(w http.ResponseWriter, err error) {
	e := asError(err)
	body, _ := json.Marshal(problem{ // a struct of strings cannot fail
		Type: "about:blank", Title: http.StatusText(e.Status), Status: e.Status, Code: e.Code,
		Detail: e.Message, Message: e.Message,
	})
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(e.Status)
	w.Write(append(body, '\n'))
}

// setErrorHeaders sets what belongs to an answer whoever writes its body.
func setErrorHeaders(h http.Header, e *Error, realm string) {
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if e.RetryAfter > 0 {
		h.Set("Retry-After", strconv.FormatInt(int64((e.RetryAfter+time.Second-1)/time.Second), 10))
	}
	if e.allow != "" {
		h.Set("Allow", e.allow)
	}
	if challenge := e.challenge(realm); challenge != "" {
		h.Set("WWW-Authenticate", challenge)
	}
}

// challenge is the WWW-Authenticate value of RFC 6750 section 3. A request without a token, or with bad credentials,
// gets it bare.
func (e *Error) challenge(realm string) string {
	bare := fmt.Sprintf(`Bearer realm="%s"`, realm)
	switch {
	case e.Status == 401 && e.Code != "invalid_token":
		return bare
	case e.Status == 401, e.Status == 403, e == errTwoTokens:
		return fmt.Sprintf(`%s, error="%s", error_description="%s"`, bare, e.Code, e.Message)
	}
	return ""
}
