package signet

import (
	"errors"
	"net/http"
	"strings"
)

// Check decides about a request without answering it: it returns the claims of its access token, or an error that is
// ErrNoToken, ErrInvalidRequest, ErrInvalidToken or ErrUnavailable. RequireAuth answers for you.
func (v *Verifier) Check(r *http.Request) (*Claims, error) {
	claims, err := v.check(r)
	if err != nil {
		return nil, err
	}
	return claims.clone(), nil
}

// check is Check with claims that other requests may share.
func (v *Verifier) check(r *http.Request) (*Claims, error) {
	token, err := bearerToken(r)
	if err != nil {
		return nil, err
	}
	return v.verifyAccess(r.Context(), token)
}

// RequireAuth lets a request pass to next only with a valid access token in its Authorization header (RFC 6750 section
// 2.1), and puts the claims into its context: see Subject and ClaimsFromContext. It answers 401, 400 or 503 otherwise. It
// does not answer CORS preflights, which carry no token: put a CORS middleware outside.
func (v *Verifier) RequireAuth(next http.Handler) http.Handler {
	return v.require(next, nil)
}

// RequireRole is RequireAuth for users that have any of the roles; others get 403. Without a role it lets nobody pass.
func (v *Verifier) RequireRole(anyOf ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return v.require(next, func(c *Claims) bool { return c.HasRole(anyOf...) })
	}
}

// RequireScope is RequireAuth for tokens that carry all of the scopes; others get 403 (RFC 6750 section 3.1).
func (v *Verifier) RequireScope(allOf ...string) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return v.require(next, func(c *Claims) bool { return c.HasScope(allOf...) })
	}
}

func (v *Verifier) require(next http.Handler, permits func(*Claims) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := v.check(r)
		if err == nil && permits != nil && !permits(claims) {
			err = errForbidden
		}
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, withClaims(r, claims))
	})
}

// OptionalAuth is RequireAuth that lets requests without any token pass too, with no claims in their context. A token that
// is sent must be valid: a client whose token has expired must learn it, and not be served as a stranger.
func (v *Verifier) OptionalAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, err := v.check(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, withClaims(r, claims))
		case errors.Is(err, ErrNoToken):
			next.ServeHTTP(w, r)
		default:
			v.refuse(w, r, err)
		}
	})
}

// bearerToken takes the token out of the Authorization header. Another scheme is no token for us; the Bearer scheme
// without exactly one token, or a second header, is a mistake that must not be guessed around.
func bearerToken(r *http.Request) (string, error) {
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		return "", errNoToken
	case 1:
	default:
		return "", errTwoTokens
	}
	scheme, token, _ := strings.Cut(strings.TrimSpace(headers[0]), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", errNoToken
	}
	token = strings.TrimLeft(token, " ")
	if token == "" || contains(token, ' ') || contains(token, '\t') || contains(token, ',') {
		return "", errTwoTokens
	}
	return token, nil
}

// contains is several times faster than strings.ContainsAny, and this is on the path of every request.
func contains(text string, c byte) bool {
	return strings.IndexByte(text, c) >= 0
}

// refuse answers a request that failed. What is our own failure is logged; what is the client's is not.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	if e.Status >= 500 && r.Context().Err() == nil {
		v.logger.ErrorContext(r.Context(), "signet: request failed", "method", r.Method, "status", e.Status, "error", err)
	}
	setErrorHeaders(w.Header(), e, v.realm)
	v.errorHandler(w, r, e)
}
