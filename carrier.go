package signet

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// carrier is how tokens travel between a mount and its clients: in bodies, or in cookies.
type carrier struct {
	auth    *Auth
	cookies *cookieMode // nil: in bodies
	path    string      // of the refresh cookie
}

// give writes a pair of tokens.
func (c carrier) give(w http.ResponseWriter, r *http.Request, tokens Tokens) {
	if c.cookies == nil {
		writeTokens(w, tokens)
		return
	}
	// Both cookies live as long as the session does without a refresh. An access token that has expired is refused anyway.
	life := time.Duration(max(tokens.ExpiresIn, tokens.refreshIn)) * time.Second
	c.cookies.set(w, r, accessCookie, "/", tokens.AccessToken, life)
	c.cookies.set(w, r, refreshCookie, c.path, tokens.RefreshToken, life)
	b := strconv.AppendInt([]byte(`{"token_type":"Cookie","expires_in":`), tokens.ExpiresIn, 10)
	b = strconv.AppendInt(append(b, `,"refresh_expires_in":`...), tokens.refreshIn, 10)
	writeBody(w, http.StatusCreated, append(b, "}\n"...))
}

// clear takes the cookies away after a logout.
func (c carrier) clear(w http.ResponseWriter, r *http.Request) {
	if c.cookies != nil {
		c.cookies.remove(w, r, accessCookie, "/")
		c.cookies.remove(w, r, refreshCookie, c.path)
	}
}

// readBody reads the wanted fields of a body. A cookie mount takes no forms. If no field is needed, it takes an
// empty body too.
func (c carrier) readBody(w http.ResponseWriter, r *http.Request, want ...field) error {
	if c.cookies == nil {
		return readBody(w, r, want...)
	}
	body, err := readAll(w, r)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(body)
	if text == "" { // without a body, its type does not matter: browsers add one
		return present(want)
	}
	media, err := mediaType(r)
	switch {
	case err != nil:
		return err
	case media != mediaJSON:
		return unsupported("send application/json")
	case isNoObject(media, text):
		return present(want)
	}
	if err := parseBody(media, body, want...); err != nil {
		return err
	}
	return present(want)
}

// refreshToken returns the refresh token of a request: the field in the body, or the cookie. want are further fields.
func (c carrier) refreshToken(w http.ResponseWriter, r *http.Request, want ...field) (token string, err error) {
	if c.cookies == nil {
		err = readBody(w, r, append(want, field{names: refreshNames, value: &token})...)
		return token, err
	}
	if err := c.readBody(w, r, want...); err != nil {
		return "", err
	}
	return c.cookies.ownRefresh(r)
}

// logoutTokens finds the tokens whose sessions end. Of cookies it takes all: a neighbour may have set one of them.
func (c carrier) logoutTokens(w http.ResponseWriter, r *http.Request) ([]string, error) {
	if c.cookies == nil {
		token, err := tokenToEnd(w, r)
		return []string{token}, err
	}
	if err := c.readBody(w, r); err != nil {
		return nil, err
	}
	return c.cookies.all(r)
}

// isNoObject reports whether a body is JSON without members, such as the "[]" of a client in PHP.
func isNoObject(media, body string) bool {
	return media == mediaJSON && body[0] != '{' && json.Valid([]byte(body))
}

// refreshNames are the names of the refresh token in a request: the documented name, and the name in the answer.
var refreshNames = []string{"refreshToken", "refresh_token"}

// tokenToEnd finds the token of the session to end. A body in which no token can be found does not matter if the
// header has one: some clients send an empty object or a text with every POST.
func tokenToEnd(w http.ResponseWriter, r *http.Request) (token string, err error) {
	body, err := readAll(w, r)
	if err != nil {
		return "", err
	}
	inHeader := r.Header.Get("Authorization") != ""
	media, err := mediaType(r)
	switch text := strings.TrimSpace(body); {
	case text == "" || text == "null" || inHeader && (err != nil || isNoObject(media, text)):
		return bearerToken(r)
	case err != nil:
		return "", err
	}
	if err := parseBody(media, body, field{names: refreshNames, value: &token}); err != nil || token != "" {
		return token, err
	}
	if !inHeader {
		return "", badRequest(`field "refreshToken" is missing or empty`)
	}
	return bearerToken(r)
}
