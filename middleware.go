package signet

import (
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/keys"
)

// Check checks a request and writes no answer. It returns the claims of its access token, or an error that is [ErrNoToken],
// [ErrInvalidRequest], [ErrInvalidToken] or [ErrUnavailable], or that of a request from another site ([WithCookies]), with the
// code "cross_site_request". [WriteError] writes the answer for each. Check sets no Vary header: an answer that a cache may
// keep needs "Vary: Authorization, Cookie".
func (v *Verifier) Check(r *http.Request) (*Claims, error) {
	claims, err := v.check(r)
	if err != nil {
		return nil, err
	}
	return claims.clone(), nil
}

// check is Check with claims that requests share.
func (v *Verifier) check(r *http.Request) (*Claims, error) {
	token, err := v.credentials(r)
	if err != nil {
		return nil, err
	}
	return v.verifyAccess(r.Context(), token)
}

// credentials returns the access token of a request: that of the Authorization header, or that of the cookie if that header has
// nothing for signet.
func (v *Verifier) credentials(r *http.Request) (string, error) {
	token, err := bearerToken(r)
	if err == nil || err == errTwoTokens || v.cookies == nil || hasBearer(r) {
		return token, err
	}
	if token, err = v.cookies.accessToken(r); err == nil || v.cookies.sentForDevelopment(r) {
		if crossSite := v.cookies.sameSite(r); crossSite != nil {
			return "", crossSite
		}
	}
	return token, err
}

// RequireAuth calls next only for requests with a valid access token in the Authorization header (RFC 6750 section 2.1) or in
// its cookie ([WithCookies]). It puts the claims into the context of the request; see [Subject] and [ClaimsFromContext].
// Otherwise it answers 401, 400 or 503, or 403 to a request with cookies from another site. A CORS preflight carries no token,
// so put a CORS middleware outside of RequireAuth. It panics if next is nil.
//
// Do not wrap RequireAuth for a framework whose middleware calls the next handler by itself, as gin does: there the
// next handler would run after a refusal too. Use [Verifier.Check] and [WriteError] there, and stop after an error.
func (v *Verifier) RequireAuth(next http.Handler) http.Handler {
	return v.require("RequireAuth", next, nil)
}

// RequireRole is RequireAuth for users that have one of the roles. Others get 403. It panics if a role is empty, and the function
// that it returns panics if next is nil.
func (v *Verifier) RequireRole(role string, or ...string) func(http.Handler) http.Handler {
	mustHaveName("RequireRole", role, or)
	return func(next http.Handler) http.Handler {
		return v.require("RequireRole", next, func(c *Claims) error { return permitted(c.HasRole(role, or...)) })
	}
}

// RequireScope is RequireAuth for tokens that carry all of the scopes. Others get 403 (RFC 6750 section 3.1). It panics if a
// scope is empty, and the function that it returns panics if next is nil.
func (v *Verifier) RequireScope(scope string, and ...string) func(http.Handler) http.Handler {
	mustHaveName("RequireScope", scope, and)
	return func(next http.Handler) http.Handler {
		return v.require("RequireScope", next, func(c *Claims) error { return permitted(c.HasScope(scope, and...)) })
	}
}

func permitted(ok bool) error {
	if !ok {
		return ErrInsufficientScope
	}
	return nil
}

func (v *Verifier) require(name string, next http.Handler, permit func(*Claims) error) http.Handler {
	mustHaveNext(name, next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if v.cookies != nil {
			w.Header().Add("Vary", v.carriers())
		}
		claims, err := v.check(r)
		if err == nil && permit != nil {
			err = permit(claims)
		}
		if err != nil {
			v.refuse(w, r, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(withClaims(r.Context(), claims)))
	})
}

// carriers are the headers in which a token may be.
func (v *Verifier) carriers() string {
	if v.cookies != nil {
		return "Authorization, Cookie"
	}
	return "Authorization"
}

// mustHaveNext panics while the host sets up its routes. Without it the first valid request would panic.
func mustHaveNext(name string, next http.Handler) {
	if isnil.Value(next) {
		panic("signet." + name + ": the handler is nil")
	}
}

// mustHaveName panics while the host sets up its routes. A role or scope without a name is a setting that somebody forgot.
func mustHaveName(guard, first string, more []string) {
	if first == "" || slices.Contains(more, "") {
		panic("signet." + guard + ": a role or scope is empty")
	}
}

// OptionalAuth is RequireAuth that also calls next for requests without a token, with no claims in their context. A
// token that is sent must be valid: a client with an expired token gets 401 and not the answer for anonymous users. A cookie
// ([WithCookies]) with a bad token counts as none, because a browser sends it without being asked. The answers have a Vary
// header, so that no cache gives the answer for one user to another. It panics if next is nil.
func (v *Verifier) OptionalAuth(next http.Handler) http.Handler {
	mustHaveNext("OptionalAuth", next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", v.carriers())
		claims, err := v.check(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r.WithContext(withClaims(r.Context(), claims)))
		case errors.Is(err, ErrNoToken), !hasBearer(r) && (errors.Is(err, ErrInvalidToken) || err == errTwoValues):
			if others := sharedClaims(r.Context()); others != nil && !v.mayHaveMade(others) { // a guard of another service stands outside
				r = r.WithContext(withClaims(r.Context(), nil))
			}
			next.ServeHTTP(w, r)
		default:
			v.refuse(w, r, err)
		}
	})
}

// mayHaveMade reports whether claims are from a token that this Verifier could have accepted, or from the host itself
// ([ContextWithClaims]).
func (v *Verifier) mayHaveMade(c *Claims) bool {
	if c.from == nil {
		return true
	}
	for _, own := range append(slices.Collect(maps.Values(v.issuers)), v.patterns...) {
		if own == c.from || own.name != "" && own.name == c.from.name || own.reader.Current() == c.keys {
			return true
		}
	}
	return false
}

// hasBearer reports whether the Authorization header says something to signet, even if that is no token. A browser sends the
// password for a proxy with the scheme Basic in each request.
func hasBearer(r *http.Request) bool {
	for _, header := range r.Header["Authorization"] {
		for part := range strings.SplitSeq(header, ",") { // a proxy may have joined two headers
			scheme := strings.TrimLeft(part, " \t")
			if end := strings.IndexAny(scheme, " \t"); end >= 0 {
				scheme = scheme[:end]
			}
			if strings.EqualFold(scheme, "Bearer") {
				return true
			}
		}
	}
	return false
}

// bearerToken returns the token of the Authorization header. Another scheme is no token, and neither is the Bearer
// scheme alone. If there are two tokens or two headers, nobody can know which one is meant, so the request is refused.
func bearerToken(r *http.Request) (string, error) {
	headers := r.Header["Authorization"]
	switch len(headers) {
	case 0:
		return "", ErrNoToken
	case 1:
	default:
		return "", errTwoTokens
	}
	scheme, token, _ := strings.Cut(strings.Trim(headers[0], " \t"), " ") // RFC 9110 section 5.5: no other white space
	token = strings.TrimLeft(token, " ")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", errNoBearer
	}
	if strings.IndexByte(token, ' ') >= 0 || strings.IndexByte(token, '\t') >= 0 || strings.IndexByte(token, ',') >= 0 {
		return "", errTwoTokens
	}
	return token, nil
}

// refuse answers a failed request, and logs it. Failures of the server are errors in the log. But strangers can cause some of
// them at any rate: tokens of unknown keys while the keys cannot be had, too many passwords at one time, and requests that need a
// store that is away. Of each of these kinds only one in a minute is an error in the log. Everything else is logged at the level
// Debug: the rest of these, mistakes of clients, and requests that only have to wait.
func (v *Verifier) refuse(w http.ResponseWriter, r *http.Request, err error) {
	e := asError(err)
	level := slog.LevelDebug
	if e.Status() >= 500 && r.Context().Err() == nil && !errors.Is(err, keys.ErrTooSoon) && !errors.Is(err, errCrowded) &&
		!v.refusals.silences(err) {
		level = slog.LevelError
	}
	if v.logger.Enabled(r.Context(), level) {
		v.logger.Log(r.Context(), level, "signet: request failed", "method", label(r.Method), "path", label(r.URL.Path),
			"request", label(r.Header.Get("X-Request-Id")), "status", e.Status(), "code", e.code, "error", err)
	}
	if v.errorHandler == nil {
		WriteError(w, e)
		return
	}
	setErrorHeaders(w.Header(), e)
	v.errorHandler(w, r, because(e, e.cause)) // a copy, which the host may change
}
