package signet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/strictjson"
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
	c.setCookies(w, r, tokens)
	b := strconv.AppendInt([]byte(`{"token_type":"Cookie","expires_in":`), tokens.ExpiresIn, 10)
	b = strconv.AppendInt(append(b, `,"refresh_expires_in":`...), tokens.refreshIn, 10)
	b = strictjson.AppendString(append(b, `,"sub":`...), tokens.subject)
	writeBody(w, http.StatusCreated, append(b, "}\n"...))
}

// setCookies writes a pair of tokens into cookies. Both cookies live as long as the token that lives longer. A token that has
// expired is refused anyway.
func (c carrier) setCookies(w http.ResponseWriter, r *http.Request, tokens Tokens) {
	seconds := int(max(tokens.ExpiresIn, tokens.refreshIn))
	c.cookies.set(w, r, accessCookie, "/", tokens.AccessToken, seconds)
	c.cookies.set(w, r, refreshCookie, c.path, tokens.RefreshToken, seconds)
}

// endOlder ends the session of the cookies that the browser has sent, if these tokens are of another one. The new cookies take their
// place, so nobody could end that session in this browser any more. A neighbour cannot set the cookie of the access token.
func (c carrier) endOlder(r *http.Request, tokens Tokens) {
	if c.cookies == nil || c.auth.sessions == nil {
		return
	}
	older, err := c.cookies.accessToken(r)
	if err != nil || unverified(older).whose == unverified(tokens.AccessToken).whose {
		return
	}
	ctx, limited := limit.New(context.WithoutCancel(c.context(r)), asideTimeout)
	defer limited.Release()
	if err := c.auth.Logout(ctx, older); errors.Is(err, ErrUnavailable) {
		c.auth.warnUnstored(ctx, "signet: the session that a browser had before goes on, because the session store did not answer", "error", err)
	}
}

// SetCookies gives a pair of tokens to a browser in the cookies of [Auth.CookieHandler]. It is for hosts that sign users in by
// themselves: with [Auth.IssueFor] after a social login, or with [Auth.Login] after a form of their own. Both need a context of
// [Auth.ContextWithClient]. prefix is that of CookieHandler. Call it before you write the answer:
//
//	tokens, err := auth.IssueFor(auth.ContextWithClient(r), user)
//	if err == nil {
//		err = auth.SetCookies(w, r, "/web/auth", tokens)
//	}
//	if err != nil {
//		signet.WriteError(w, err)
//		return
//	}
//	http.Redirect(w, r, "/", http.StatusSeeOther)
//
// A handler for a form of your own must refuse forms of other sites ([http.CrossOriginProtection]). A proxy must pass on the
// Host header of the browser: otherwise the cookies can be those of development, which later requests do not count
// (docs/browsers.md). If the browser had cookies of another session, that session ends. SetCookies also sets "Cache-Control:
// no-store". The error says that [WithCookies] is not set, that the prefix is not a path, that there are no tokens, or that a
// token is longer than 3,800 bytes, which fits into no cookie. Then no cookie is set, and the session of the tokens goes on:
// end it with [Auth.Logout].
func (a *Auth) SetCookies(w http.ResponseWriter, r *http.Request, prefix string, tokens Tokens) error {
	prefix, err := a.cookiePath(prefix)
	switch {
	case err != nil:
	case tokens.AccessToken == "" || tokens.RefreshToken == "":
		err = errors.New("there are no tokens")
	case max(len(tokens.AccessToken), len(tokens.RefreshToken)) > maxCookie:
		err = fmt.Errorf("a token has more than %d bytes, so it fits into no cookie; use fewer claims in WithClaims", maxCookie)
	}
	if err != nil {
		return internal(fmt.Errorf("SetCookies: %w", err))
	}
	w.Header().Set("Cache-Control", "no-store")
	c := carrier{auth: a, cookies: a.cookies, path: prefix}
	c.endOlder(r, tokens)
	c.setCookies(w, r, tokens)
	return nil
}

// LogoutCookies ends the session of a browser that keeps its tokens in cookies, and takes the cookies away. It is the
// counterpart of [Auth.SetCookies], for hosts with a form or a link of their own for the logout. prefix is that of
// [Auth.CookieHandler]; the form may have any path. A request from another site is refused, also a GET. The access token may have
// expired. If there are no cookies, or if the session has ended before, LogoutCookies returns nil. Other errors are those of
// [Auth.Logout], and then the cookies stay.
func (a *Auth) LogoutCookies(w http.ResponseWriter, r *http.Request, prefix string) error {
	prefix, err := a.cookiePath(prefix)
	if err != nil {
		return internal(fmt.Errorf("LogoutCookies: %w", err))
	}
	if err := a.cookies.sameSite(asPost(r)); err != nil { // a GET changes something here too
		return err
	}
	tokens, _ := a.cookies.all(r) // without tokens there is nothing to end
	err = carrier{auth: a, cookies: a.cookies, path: prefix}.end(w, r, tokens)
	if err != nil && !errors.Is(err, ErrInvalidToken) {
		return err
	}
	w.Header().Set("Cache-Control", "no-store")
	return nil
}

// cookiePath returns the prefix of a cookie mount without a slash at its end.
func (a *Auth) cookiePath(prefix string) (string, error) {
	path := strings.TrimRight(prefix, "/")
	switch {
	case a.cookies == nil:
		return "", errors.New("WithCookies is not set")
	case !strings.HasPrefix(path, "/"), (&url.URL{Path: path}).EscapedPath() != path, strings.ContainsAny(path, ";,{}* "):
		return "", fmt.Errorf("%q is not a path such as /web/auth", path)
	}
	return path, nil
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
	token, err = c.cookies.ownRefresh(r)
	if err == ErrNoToken {
		c.noteLostCookie(r)
	}
	return token, err
}

// noteLostCookie logs that a browser has the cookie of the access token and not that of the refresh token. It got both, for the same
// time.
func (c carrier) noteLostCookie(r *http.Request) {
	access, err := c.cookies.accessToken(r)
	if err != nil || len(c.cookies.named(r, refreshCookie)) > 0 {
		return
	}
	if _, err := c.auth.read(r.Context(), access, forLogout); err == nil && c.cookies.lostCookie.Due() {
		c.cookies.log.Warn("signet: a browser has sent the cookie of the access token without that of the refresh token, so it cannot refresh; " +
			"the prefix of CookieHandler and SetCookies must be the path that the browser sees")
	}
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
// header has one: some clients send an empty object or a text with every POST. Malformed JSON is refused.
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
		return "", mislabeled(media, body, badRequest(`field "refreshToken" is missing or empty`))
	}
	return bearerToken(r)
}
