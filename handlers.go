package signet

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/userstore"
)

// LoginHandler serves POST with {"email": ..., "password": ...} and answers 201 with a pair of tokens; see Login.
func (a *Auth) LoginHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		var email, pass string
		if err := a.readBody(w, r, field{"email", &email}, field{"password", &pass}); err != nil {
			return err
		}
		ctx := WithClient(r.Context(), Client{UserAgent: r.UserAgent(), Address: a.clientAddress(r)})
		tokens, err := a.Login(ctx, email, pass)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusCreated, tokens)
	}, http.MethodPost)
}

// RefreshHandler serves POST with {"refreshToken": ...} and answers 201 with a new pair of tokens; see Refresh.
func (a *Auth) RefreshHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		var token string
		if err := a.readBody(w, r, field{"refreshToken", &token}); err != nil {
			return err
		}
		tokens, err := a.Refresh(r.Context(), token)
		if err != nil {
			return err
		}
		return writeJSON(w, http.StatusCreated, tokens)
	}, http.MethodPost)
}

// ProfileHandler serves GET with an access token and answers with the user's profile; see Profile.
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
		return writeJSON(w, http.StatusOK, profile)
	}, http.MethodGet, http.MethodHead)
}

// Handler serves the whole contract below a path prefix, with and without a trailing slash:
//
//	POST prefix/login          LoginHandler
//	POST prefix/refresh-token  RefreshHandler
//	GET  prefix/profile        ProfileHandler
//	POST prefix/logout         LogoutHandler
//	POST prefix/logout-all     LogoutAllHandler
//	GET  prefix/sessions       SessionsHandler, and DELETE prefix/sessions/{id}
//
//	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
//
// It lets browsers of any origin call (CORS with "*", preflights included), which is safe because no credential is ever
// sent without the caller's doing; an Access-Control-Allow-Origin that an outer middleware has set is left alone. It never
// redirects, so that no password is sent twice.
func (a *Auth) Handler(prefix string) http.Handler {
	prefix = strings.TrimRight(prefix, "/") + "/"
	routes := map[string]http.Handler{
		"login":         a.LoginHandler(),
		"refresh-token": a.RefreshHandler(),
		"profile":       a.ProfileHandler(),
		"logout":        a.LogoutHandler(),
		"logout-all":    a.LogoutAllHandler(),
		"sessions":      a.handler(a.listSessions, http.MethodGet, http.MethodHead),
	}
	deleteSession := a.handler(a.deleteSession, http.MethodDelete)
	return anyOrigin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, below := strings.CutPrefix(r.URL.Path, prefix)
		name = strings.TrimSuffix(name, "/")
		route := routes[name]
		if id, ok := sessionID(name); ok {
			r.SetPathValue("id", id)
			route = deleteSession
		}
		if !below || route == nil {
			a.refuse(w, r, errNotFound)
			return
		}
		route.ServeHTTP(w, r)
	}))
}

// handler checks the method, and answers with the error that serve returns.
func (a *Auth) handler(serve func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	allow := strings.Join(methods, ", ")
	notAllowed := &Error{Status: http.StatusMethodNotAllowed, Code: "method_not_allowed", Message: "use " + allow, allow: allow,
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

// anyOrigin answers CORS (https://fetch.spec.whatwg.org/#http-cors-protocol) for a handler without ambient credentials.
func anyOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		if h.Get("Access-Control-Allow-Origin") == "" {
			h.Set("Access-Control-Allow-Origin", "*")
			h.Set("Access-Control-Expose-Headers", "WWW-Authenticate, Retry-After")
			if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
				h.Set("Access-Control-Allow-Methods", "GET, POST, DELETE")
				h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type")
				h.Set("Access-Control-Max-Age", "7200")
				w.WriteHeader(http.StatusNoContent)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// field is a string member that a request body must have, and where it goes.
type field struct {
	name  string
	value *string
}

// readBody reads a JSON object. Every named field must be there as a string that is not empty; other members are ignored.
func (a *Auth) readBody(w http.ResponseWriter, r *http.Request, want ...field) error {
	if err := checkMediaType(r); err != nil {
		return err
	}
	body, err := a.readAll(w, r)
	if err != nil {
		return err
	}
	return parseBody(body, want...)
}

func checkMediaType(r *http.Request) error {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || media != "application/json" || r.Header.Get("Content-Encoding") != "" {
		return &Error{Status: http.StatusUnsupportedMediaType, Code: "unsupported_media_type",
			Message: "send application/json", kind: ErrInvalidRequest}
	}
	return nil
}

// readAll reads a body of bounded length.
func (a *Auth) readAll(w http.ResponseWriter, r *http.Request) (string, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, a.maxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", &Error{Status: http.StatusRequestEntityTooLarge, Code: "body_too_large",
			Message: fmt.Sprintf("the body is longer than %d bytes", a.maxBody), kind: ErrInvalidRequest}
	case err != nil:
		return "", badRequest("the body could not be read")
	}
	return string(body), nil
}

func parseBody(body string, want ...field) error {
	s := strictjson.Scan(body)
	for s.Next() {
		for _, f := range want {
			if f.name == s.Name() {
				*f.value = s.String()
			}
		}
	}
	var mistyped *strictjson.MemberError
	switch err := s.Err(); {
	case errors.As(err, &mistyped): // the name is one of want's: it is ours, not the client's
		return badRequest(fmt.Sprintf("field %q must be %s", mistyped.Name, mistyped.Want))
	case err != nil:
		return badRequest("the body is malformed: " + err.Error())
	}
	for _, f := range want {
		if *f.value == "" {
			return badRequest(fmt.Sprintf("field %q is missing or empty", f.name))
		}
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, value any) error {
	var body bytes.Buffer
	if err := json.NewEncoder(&body).Encode(value); err != nil {
		return internal(fmt.Errorf("encode the answer: %w", err))
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(body.Bytes())
	return nil
}

// profileOf is the contract's profile: what the host put into it, except what could be a password, and the members that
// the contract defines.
func profileOf(user userstore.User) map[string]any {
	profile := maps.Clone(user.Profile)
	if profile == nil {
		profile = map[string]any{}
	}
	for name := range profile {
		if strings.HasPrefix(strings.ToLower(name), "password") {
			delete(profile, name)
		}
	}
	role := ""
	if len(user.Roles) > 0 {
		role = user.Roles[0]
	}
	profile["id"] = jsonID(user.ID)
	profile["email"] = user.Email
	profile["role"] = role
	profile["roles"] = append([]string{}, user.Roles...)
	return profile
}

// maxSafeID is the largest integer that every JSON reader reads exactly (RFC 8259 section 6).
const maxSafeID = 1<<53 - 1

// jsonID shows a decimal id as the number that typed clients of the contract expect.
func jsonID(id string) any {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || n < 0 || n > maxSafeID || strconv.FormatInt(n, 10) != id {
		return id
	}
	return n
}
