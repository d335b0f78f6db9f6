package signet

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
)

// The handlers read the request, call the service and write the answer. The rules are in the methods that they call. Only
// deleteSession has a rule of its own: users can end only their own sessions.

// LoginHandler serves POST with {"email": ..., "password": ...} and answers 201 with a pair of tokens; see
// [Auth.Login]. The body may be a form with the same fields. [LoginPolicy].Decide learns whether the member "remember" is true.
func (a *Auth) LoginHandler() http.Handler { return carrier{auth: a}.login() }

func (c carrier) login() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		var email, pass, remember string
		if err := c.readBody(w, r, textField("email", &email), textField("password", &pass),
			field{names: []string{"remember"}, value: &remember, optional: true}); err != nil {
			return err
		}
		tokens, err := c.auth.login(c.context(r), email, pass, isYes(remember))
		return c.signIn(w, r, tokens, err)
	}, http.MethodPost)
}

// RefreshHandler serves POST with {"refreshToken": ...} and answers 201 with a new pair of tokens; see [Auth.Refresh].
// The member may also have the name "refresh_token", as in the answer. The body may be a form.
func (a *Auth) RefreshHandler() http.Handler { return carrier{auth: a}.refresh() }

func (c carrier) refresh() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		token, err := c.refreshToken(w, r)
		if err != nil {
			return err
		}
		tokens, err := c.auth.Refresh(c.context(r), token)
		return c.answer(w, r, tokens, err)
	}, http.MethodPost)
}

// SecondStepHandler serves POST with {"ticket": ..., "code": ...} and answers 201 with a pair of tokens; see [Auth.SecondStep].
// The body may be a form.
func (a *Auth) SecondStepHandler() http.Handler { return carrier{auth: a}.secondStep() }

func (c carrier) secondStep() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		var ticket, code string
		if err := c.readBody(w, r, textField("ticket", &ticket), textField("code", &code)); err != nil {
			return err
		}
		tokens, err := c.auth.SecondStep(c.context(r), ticket, code)
		return c.signIn(w, r, tokens, err)
	}, http.MethodPost)
}

// StepUpHandler serves POST with an access token and {"refreshToken": ..., "code": ...}, or "password" in place of "code" for
// users without a second factor. It answers 201 with a new pair of tokens; see [Auth.StepUp]. The body may be a form.
func (a *Auth) StepUpHandler() http.Handler { return carrier{auth: a}.stepUp() }

func (c carrier) stepUp() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		access, err := c.auth.credentials(r)
		if err != nil {
			return err
		}
		var answer string
		token, err := c.refreshToken(w, r, field{names: []string{"code", "password"}, value: &answer})
		if err != nil {
			return err
		}
		tokens, err := c.auth.StepUp(c.context(r), access, token, answer)
		return c.answer(w, r, tokens, err)
	}, http.MethodPost)
}

// answer gives a pair of tokens to the client, or returns the error.
func (c carrier) answer(w http.ResponseWriter, r *http.Request, tokens Tokens, err error) error {
	if err == nil {
		c.give(w, r, tokens)
	}
	return err
}

// signIn is answer for the tokens of a new session.
func (c carrier) signIn(w http.ResponseWriter, r *http.Request, tokens Tokens, err error) error {
	if err == nil {
		c.endOlder(r, tokens)
	}
	return c.answer(w, r, tokens, err)
}

// ProfileHandler serves GET with an access token and answers with the user's profile; see [Auth.Profile].
func (a *Auth) ProfileHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		claims, err := a.check(r)
		if err != nil {
			return err
		}
		profile, err := a.Profile(r.Context(), claims.Subject)
		if err != nil {
			return err
		}
		return writeJSON(w, profile)
	}, http.MethodGet, http.MethodHead)
}

// LogoutHandler serves POST and ends one session: the session of {"refreshToken": ...} in the body, or that of the
// access token in the Authorization header if the body names no token. Expired tokens are accepted. It answers 204
// after the store has committed, and also if the session had already ended; see [Auth.Logout].
func (a *Auth) LogoutHandler() http.Handler { return carrier{auth: a}.logout() }

func (c carrier) logout() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		tokens, err := c.logoutTokens(w, r)
		if err != nil {
			return err
		}
		err = c.end(w, r, tokens)
		if err == nil {
			noContent(w)
		}
		return err
	}, http.MethodPost)
}

// end ends the sessions of the tokens and takes the cookies away, if there are any.
func (c carrier) end(w http.ResponseWriter, r *http.Request, tokens []string) error {
	err := c.auth.logoutEach(c.context(r), tokens)
	if err == nil || errors.Is(err, ErrInvalidToken) { // also an invalid token: it is good again if the host puts an old key or issuer back
		c.clear(w, r)
	}
	return err
}

// LogoutAllHandler serves POST with an access token and ends all sessions of the user, including this one. It answers
// 204.
func (a *Auth) LogoutAllHandler() http.Handler { return carrier{auth: a}.logoutAll() }

func (c carrier) logoutAll() http.Handler {
	return c.auth.handler(func(w http.ResponseWriter, r *http.Request) error {
		claims, err := c.auth.check(r)
		if err != nil {
			return err
		}
		out := event.Event{Kind: event.LoggedOut, Reason: "everywhere"}
		if err := c.auth.endUser(c.context(r), claims.Subject, "", out); err != nil {
			return err
		}
		c.clear(w, r)
		noContent(w)
		return nil
	}, http.MethodPost)
}

// SessionsHandler serves the sessions of the user of an access token. GET lists them (see [SessionInfo]). DELETE with
// an id ends one and answers 204. The id is the path value "id", as in
//
//	mux.Handle("GET /sessions", auth.SessionsHandler())
//	mux.Handle("DELETE /sessions/{id}", auth.SessionsHandler())
//
// Behind a router that does not set path values, such as gorilla/mux, gin or echo v4, call r.SetPathValue("id", ...) first.
func (a *Auth) SessionsHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		if r.Method == http.MethodDelete {
			return a.deleteSession(w, r)
		}
		return a.listSessions(w, r)
	}, http.MethodGet, http.MethodHead, http.MethodDelete)
}

func (a *Auth) listSessions(w http.ResponseWriter, r *http.Request) error {
	claims, err := a.check(r)
	if err != nil {
		return err
	}
	list, err := a.Sessions(r.Context(), claims.Subject)
	if err != nil {
		return err
	}
	for i := range list {
		s := &list[i]
		s.Current = s.ID == claims.SessionID
		for _, at := range []*time.Time{&s.CreatedAt, &s.LastUsedAt, &s.ExpiresAt} {
			*at = at.Truncate(time.Second) // some clients read no fractions of a second, or need them always
		}
	}
	return writeJSON(w, map[string]any{"sessions": list})
}

func (a *Auth) deleteSession(w http.ResponseWriter, r *http.Request) error {
	claims, err := a.check(r)
	if err != nil {
		return err
	}
	id := r.PathValue("id")
	if id == "" && !a.warnedPath.Swap(true) {
		a.logger.WarnContext(r.Context(), `signet: a session is to be ended, and the request has no path value "id"; call r.SetPathValue before SessionsHandler`)
	}
	found, err := a.revoke(a.ContextWithClient(r), id, session.ReasonLogout, func(row session.Session) error {
		if row.UserID != claims.Subject {
			return ErrNotFound
		}
		return nil
	})
	switch {
	case err != nil:
		return err
	case !found && id != claims.SessionID: // the same answer as for a session of another user
		return ErrNotFound
	case !found: // the store has lost the caller's own session
		a.forget(id, claims.ExpiresAt)
	}
	noContent(w)
	return nil
}

// JWKSHandler serves the public keys as a JWK Set (RFC 7517 section 5), usually at /.well-known/jwks.json: the signing
// key, and the announced and the accepted ones. It never contains secrets: a service that signs only with a secret
// serves an empty set. Caches may keep an answer for 300 seconds. Answers have an ETag.
func (a *Auth) JWKSHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		set, err := a.currentKeys()
		if err != nil {
			return err
		}
		body, err := set.JWKS()
		if err != nil {
			return internal(err)
		}
		servePublic(w, r, "application/jwk-set+json", body)
		return nil
	}, http.MethodGet, http.MethodHead)
}

// MetadataHandler serves the metadata of this service (OpenID Connect Discovery 1.0). Mount it at
// ISSUER/.well-known/openid-configuration. There go-oidc, Spring, .NET and Kubernetes find the keys of an issuer. jwksURI is
// the public URL of [Auth.JWKSHandler]. The document names no endpoint for login, because the login of the contract is not one
// of OpenID Connect. It panics if the issuer ([WithIssuer]) is no URL without query and fragment (RFC 8414 section 2), and if
// jwksURI is no absolute URL.
func (a *Auth) MetadataHandler(jwksURI string) http.Handler {
	issuer := a.Verifier.issuer
	if !isURL(issuer) || strings.ContainsAny(issuer, "?#") {
		panic(fmt.Sprintf("signet.MetadataHandler: the issuer %q is no URL without query and fragment; set WithIssuer", issuer))
	}
	if !isURL(jwksURI) {
		panic(fmt.Sprintf("signet.MetadataHandler: %q is not the URL of the keys", jwksURI))
	}
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		set, err := a.currentKeys()
		if err != nil {
			return err
		}
		algorithms := []string{}
		for _, key := range set.Keys() {
			if name := string(key.Algorithm()); key.Published() && !slices.Contains(algorithms, name) {
				algorithms = append(algorithms, name)
			}
		}
		body, err := json.Marshal(map[string]any{
			"issuer":                                issuer,
			"jwks_uri":                              jwksURI,
			"response_types_supported":              []string{},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": algorithms,
		})
		if err != nil {
			return internal(err)
		}
		servePublic(w, r, "application/json", body)
		return nil
	}, http.MethodGet, http.MethodHead)
}

func isURL(text string) bool {
	u, err := url.Parse(text)
	return err == nil && u.Host != "" && (u.Scheme == "https" || u.Scheme == "http")
}

func (a *Auth) currentKeys() (*keys.Set, error) {
	if set := a.keys.Current(); set != nil {
		return set, nil
	}
	return nil, unavailable(errors.New("the key source has no keys"))
}

// servePublic serves a document that everybody may read. Caches may keep it for 300 seconds.
func servePublic(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	h := w.Header()
	if h.Get("Access-Control-Allow-Origin") == "" { // of an outer middleware
		h.Set("Access-Control-Allow-Origin", "*")
	}
	h.Set("Cache-Control", "public, max-age=300")
	h.Set("Content-Type", contentType)
	h.Set("ETag", `"`+base64.RawURLEncoding.EncodeToString(sum[:16])+`"`)
	h.Set("X-Content-Type-Options", "nosniff")
	// Without these headers ServeContent never answers 206, 412 or 416. Its refusals are plain text and no problem documents.
	whole := *r
	whole.Header = r.Header.Clone()
	for _, name := range []string{"Range", "If-Match", "If-Unmodified-Since"} {
		whole.Header.Del(name)
	}
	http.ServeContent(w, &whole, "", time.Time{}, bytes.NewReader(body))
}

// context is the context of a request, with its client and the way that tokens travel.
func (c carrier) context(r *http.Request) context.Context {
	from := c.auth.caller(r)
	from.cookies = c.cookies != nil
	return context.WithValue(r.Context(), callerKey{}, from)
}

// handler checks the method, and answers with the error that serve returns.
func (a *Auth) handler(serve func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	allow := strings.Join(methods, ", ")
	notAllowed := &Error{status: http.StatusMethodNotAllowed, code: "method_not_allowed", message: "use " + allow, allow: allow,
		kind: ErrInvalidRequest}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !slices.Contains(methods, r.Method) {
			a.refuse(w, r, notAllowed)
			return
		}
		if err := serve(w, r); err != nil {
			a.refuse(w, r, err)
		}
	})
}
