package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/userstore"
)

// accounts serves the routes for users beside the login: sign-up, and reading and changing one's own data. It is code
// of the host, and shows how a host adds such routes.
type accounts struct {
	users userstore.Writer
	auth  *signet.Auth
	limit limiter
}

// mount adds the routes.
func (a *accounts) mount(mux *http.ServeMux) {
	mux.Handle("POST /api/v1/users", a.limited(a.signUp))
	mux.Handle("POST /api/v1/users/{$}", a.limited(a.signUp)) // clients of the documented API send both
	mux.Handle("POST /api/v1/users/is-available", a.limited(a.isAvailable))
	mux.Handle("GET /api/v1/users/{id}", a.auth.RequireAuth(answer(a.show)))
	mux.Handle("PUT /api/v1/users/{id}", a.auth.RequireAuth(a.limited(a.change)))
}

// answer returns a handler that writes the value of a function, or the answer for its error.
func answer(serve func(w http.ResponseWriter, r *http.Request) (status int, value any, err error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status, value, err := serve(w, r)
		if err != nil {
			signet.WriteError(w, err)
			return
		}
		writeJSON(w, status, value)
	})
}

// limited guards the routes that tell who has an account.
func (a *accounts) limited(serve func(http.ResponseWriter, *http.Request) (int, any, error)) http.Handler {
	return answer(func(w http.ResponseWriter, r *http.Request) (int, any, error) {
		if !a.limit.allow(r.RemoteAddr, time.Now()) {
			w.Header().Set("Retry-After", "60")
			return 0, nil, signet.NewError(http.StatusTooManyRequests, "too_many_requests",
				"too many requests; try again in a minute")
		}
		return serve(w, r)
	})
}

// signUp makes a customer. The fields are taken one by one: a body cannot give itself a role.
func (a *accounts) signUp(w http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := readFields(w, r)
	if err != nil {
		return 0, nil, err
	}
	email, password := strings.TrimSpace(body["email"]), body["password"]
	if err := checkEmail(email); err != nil {
		return 0, nil, err
	}
	if len(password) < 8 {
		return 0, nil, invalid("the password must have at least 8 characters")
	}
	hash, err := a.auth.HashPassword(a.auth.ContextWithClient(r), password) // checks the rules, and waits for its turn, as logins do
	if err != nil {
		return 0, nil, err
	}
	user := userstore.User{ID: newID(), Email: email, PasswordHash: hash, Roles: []string{"customer"},
		Profile: map[string]any{"name": body["name"], "avatar": body["avatar"]}}
	if err := a.users.Add(r.Context(), user); err != nil {
		return 0, nil, storeError(err)
	}
	profile, err := a.auth.Profile(r.Context(), user.ID)
	return http.StatusCreated, profile, err
}

func (a *accounts) isAvailable(w http.ResponseWriter, r *http.Request) (int, any, error) {
	body, err := readFields(w, r)
	if err != nil {
		return 0, nil, err
	}
	if err := checkEmail(body["email"]); err != nil {
		return 0, nil, err
	}
	_, err = a.users.FindByEmail(r.Context(), body["email"])
	if err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return 0, nil, storeError(err)
	}
	return http.StatusOK, map[string]bool{"isAvailable": err != nil}, nil
}

// show answers the users themselves and administrators. For others the user does not exist.
func (a *accounts) show(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	if err := mayTouch(r.Context(), r.PathValue("id")); err != nil {
		return 0, nil, err
	}
	profile, err := a.auth.Profile(r.Context(), r.PathValue("id"))
	if errors.Is(err, signet.ErrInvalidToken) { // an administrator asks for nobody
		err = signet.ErrNotFound
	}
	return http.StatusOK, profile, err
}

// change takes the e-mail address, the name and the avatar, and nothing else.
func (a *accounts) change(w http.ResponseWriter, r *http.Request) (int, any, error) {
	if err := mayTouch(r.Context(), r.PathValue("id")); err != nil {
		return 0, nil, err
	}
	body, err := readFields(w, r)
	if err != nil {
		return 0, nil, err
	}
	user, err := a.users.FindByID(r.Context(), r.PathValue("id"))
	if err != nil {
		return 0, nil, storeError(err)
	}
	if email, ok := body["email"]; ok {
		if err := checkEmail(email); err != nil {
			return 0, nil, err
		}
		user.Email = strings.TrimSpace(email)
	}
	if user.Profile == nil {
		user.Profile = map[string]any{}
	}
	for _, name := range []string{"name", "avatar"} {
		if value, ok := body[name]; ok {
			user.Profile[name] = value
		}
	}
	if err := a.users.Update(r.Context(), user); err != nil {
		return 0, nil, storeError(err)
	}
	profile, err := a.auth.Profile(r.Context(), user.ID)
	return http.StatusOK, profile, err
}

func mayTouch(ctx context.Context, id string) error {
	claims, _ := signet.ClaimsFromContext(ctx)
	if claims.Subject != id && !claims.HasRole("admin") {
		return signet.ErrNotFound
	}
	return nil
}

func invalid(message string) error {
	return signet.NewError(http.StatusBadRequest, "invalid_request", message)
}

func checkEmail(email string) error {
	name, domain, ok := strings.Cut(strings.TrimSpace(email), "@")
	if !ok || name == "" || !strings.Contains(domain, ".") || strings.ContainsAny(email, " \t\r\n") || len(email) > 254 {
		return invalid("the e-mail address is not valid")
	}
	return nil
}

func storeError(err error) error {
	switch {
	case errors.Is(err, userstore.ErrExists):
		return signet.NewError(http.StatusConflict, "email_taken", "this e-mail address has an account already")
	case errors.Is(err, userstore.ErrInvalid):
		return invalid("the e-mail address is not valid")
	case errors.Is(err, userstore.ErrNotFound):
		return signet.ErrNotFound
	}
	return signet.ErrUnavailable
}

// newID is a number, which typed clients of the documented API expect, and which nobody can guess.
func newID() string {
	n, err := rand.Int(rand.Reader, big.NewInt(1<<53-1<<20))
	if err != nil {
		panic(err) // there is no randomness
	}
	return n.Add(n, big.NewInt(1<<20)).String()
}

// readFields reads the texts of a JSON object or a form, as strictly as the login does: whoever signs up must be able to log in.
func readFields(w http.ResponseWriter, r *http.Request) (map[string]string, error) {
	media, _, err := mime.ParseMediaType(strings.Join(r.Header["Content-Type"], ", "))
	encoding := strings.Join(r.Header["Content-Encoding"], ", ")
	if err != nil || encoding != "" && !strings.EqualFold(encoding, "identity") || media != "application/json" && media != "application/x-www-form-urlencoded" {
		return nil, signet.NewError(http.StatusUnsupportedMediaType, "unsupported_media_type", "send application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, signet.NewError(http.StatusRequestEntityTooLarge, "body_too_large", "the body is too long")
	case errors.Is(err, os.ErrDeadlineExceeded): // the server's ReadTimeout
		return nil, signet.NewError(http.StatusRequestTimeout, "request_timeout", "the body came too slowly")
	case err != nil:
		return nil, invalid("the body could not be read")
	}
	values, err := readJSON(body)
	if media != "application/json" {
		values, err = url.ParseQuery(string(body))
	}
	fields := map[string]string{}
	for name, list := range values {
		if len(list) != 1 || strings.ContainsRune(list[0], utf8.RuneError) { // also for what is half a character
			return nil, invalid("the body is malformed: a field appears twice, or is no text")
		}
		fields[name] = list[0]
	}
	if err != nil {
		return nil, invalid("the body is malformed, or a field is not a text")
	}
	return fields, nil
}

// readJSON reads the members of an object that this program knows.
func readJSON(body []byte) (url.Values, error) {
	values := url.Values{}
	d := json.NewDecoder(bytes.NewReader(body))
	if start, err := d.Token(); err != nil || start != json.Delim('{') || !json.Valid(body) || !utf8.Valid(body) {
		return nil, errors.New("no JSON object")
	}
	for d.More() {
		name, _ := d.Token() // the text is valid
		var member any
		if err := d.Decode(&member); err != nil {
			return nil, err
		}
		switch name {
		case "email", "password", "name", "avatar", "code":
			if text, ok := member.(string); ok {
				values.Add(name.(string), text)
			} else if member != nil {
				return nil, errors.New("a member is no text")
			}
		}
	}
	return values, nil
}

// limiter allows each client address a number of requests in a minute. It starts again every minute, so it needs little
// memory. If it is full, it refuses new addresses until the next minute. A real program behind a proxy reads the
// address from the header that its proxy sets.
type limiter struct {
	mu     sync.Mutex
	minute time.Time
	counts map[netip.Prefix]int
}

const (
	perMinute    = 20
	maxAddresses = 10_000
)

func (l *limiter) allow(remote string, now time.Time) bool {
	host, _, _ := net.SplitHostPort(remote)
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	bits := addr.BitLen()
	if addr.Is6() && !addr.Is4In6() {
		bits = 64 // one household or one server
	}
	prefix, err := addr.Prefix(bits)
	if err != nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if minute := now.Truncate(time.Minute); !minute.Equal(l.minute) {
		l.minute, l.counts = minute, map[netip.Prefix]int{}
	}
	if _, known := l.counts[prefix]; !known && len(l.counts) >= maxAddresses {
		return false
	}
	l.counts[prefix]++
	return l.counts[prefix] <= perMinute
}
