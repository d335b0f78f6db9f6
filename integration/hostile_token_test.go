package integration

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"strings"
	"time"
)

const (
	sessionsPath = "/api/v1/auth/sessions"
	ticketPath   = "/api/v1/auth/ticket"
	ordersPath   = "/api/v1/orders"
	adminPath    = "/api/v1/admin/users"
)

func jsonText(text string) string {
	b, _ := json.Marshal(text)
	return string(b)
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func b64(text string) string { return base64.RawURLEncoding.EncodeToString([]byte(text)) }

// sign signs any header and payload with a secret. alg chooses the hash.
func sign(header, payload, alg, key string) string {
	h := map[string]func() hash.Hash{"HS384": sha512.New384, "HS512": sha512.New}[alg]
	if h == nil {
		h = sha256.New
	}
	mac := hmac.New(h, []byte(key))
	input := b64(header) + "." + b64(payload)
	mac.Write([]byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// change is a member with another value. A nil value takes the member away.
type change map[string]any

// altered is a token with changed members of the header and the payload, signed with key.
func altered(token, key string, header, claims change) string {
	texts := make([]string, 2)
	for i, changes := range []change{header, claims} {
		members := part(token, i)
		for name, value := range changes {
			if members[name] = value; value == nil {
				delete(members, name)
			}
		}
		b, _ := json.Marshal(members)
		texts[i] = string(b)
	}
	alg, _ := header["alg"].(string)
	return sign(texts[0], texts[1], alg, key)
}

// badAccess are tokens that are not valid as access tokens, each for another reason.
func (w *attack) badAccess() map[string]string {
	good := w.john.Access
	parts := strings.Split(good, ".")
	now := time.Now().Unix()
	none := func(alg string) string {
		return b64(fmt.Sprintf(`{"alg":%q,"typ":"at+jwt"}`, alg)) + "." + parts[1] + "."
	}
	payload := func(text string) string { return sign(decoded(parts[0]), text, "", secret) }
	claims := func(c change) string { return altered(good, secret, nil, c) }
	header := func(c change) string { return altered(good, secret, c, nil) }
	stranger := w.hidden("a key of somebody else ")
	jwk := map[string]any{"kty": "oct", "k": b64(stranger)}
	bad := map[string]string{
		"alg none":                     none("none"),
		"alg None":                     none("None"),
		"alg nOnE":                     none("nOnE"),
		"alg none and a signature":     none("none") + parts[2],
		"alg none in four parts":       none("none") + ".",
		"alg empty":                    none("") + parts[2],
		"alg in small letters":         header(change{"alg": "hs256"}),
		"no alg":                       header(change{"alg": nil}),
		"alg a number":                 header(change{"alg": 256}),
		"alg a list":                   header(change{"alg": []string{"HS256", "none"}}),
		"HS384 with the right key":     header(change{"alg": "HS384"}),
		"HS512 with the right key":     header(change{"alg": "HS512"}),
		"RS256 on a secret":            header(change{"alg": "RS256"}),
		"ES256 on a secret":            header(change{"alg": "ES256"}),
		"EdDSA on a secret":            header(change{"alg": "EdDSA"}),
		"the empty key":                altered(good, "", nil, nil),
		"the key of another issuer":    altered(good, stranger, nil, change{"iss": "https://other.example"}),
		"the key in base64":            altered(good, b64(secret), nil, nil),
		"a key in the header":          altered(good, stranger, change{"jwk": jwk}, nil),
		"a key set in the header":      altered(good, stranger, change{"jku": "http://127.0.0.1:1/jwks.json"}, nil),
		"a certificate in the header":  altered(good, stranger, change{"x5u": "http://127.0.0.1:1/x.pem", "x5c": []string{"AAAA"}}, nil),
		"a file as key id":             altered(good, "", change{"kid": "../../../../dev/null"}, nil),
		"SQL as key id":                altered(good, "x", change{"kid": "x' UNION SELECT 'x' --"}, nil),
		"key id a number":              header(change{"kid": 1}),
		"critical header":              header(change{"crit": []string{"exp"}, "exp": now + 60}),
		"unencoded payload":            header(change{"crit": []string{"b64"}, "b64": false}),
		"compressed":                   header(change{"zip": "DEF", "crit": []string{"zip"}}),
		"refresh token":                w.john.Refresh,
		"ticket":                       w.ticket,
		"another type":                 header(change{"typ": "dpop+jwt"}),
		"ID token":                     header(change{"typ": "id+jwt"}),
		"logout token":                 header(change{"typ": "logout+jwt"}),
		"expired":                      claims(change{"exp": now - 1, "iat": now - 100}),
		"expires now":                  claims(change{"exp": now, "iat": now - 100}),
		"no exp":                       claims(change{"exp": nil}),
		"exp null":                     payload(`{"sub":"1","exp":null,"iat":1}`),
		"exp a text":                   claims(change{"exp": "9999999999"}),
		"exp too large":                claims(change{"exp": 1e300}),
		"exp negative":                 claims(change{"exp": -1}),
		"exp true":                     claims(change{"exp": true}),
		"issued in the future":         claims(change{"iat": now + 3600}),
		"not yet valid":                claims(change{"nbf": now + 3600}),
		"no subject":                   claims(change{"sub": nil}),
		"empty subject":                claims(change{"sub": ""}),
		"subject a list":               claims(change{"sub": []string{"1"}}),
		"no session":                   claims(change{"sid": nil}),
		"a claim twice":                payload(strings.Replace(decoded(parts[1]), "{", `{"sub":"3",`, 1)),
		"a list as payload":            payload("[]"),
		"an empty payload":             payload(""),
		"text behind the payload":      payload(decoded(parts[1]) + "{}"),
		"payload that is no UTF-8":     payload(strings.Replace(decoded(parts[1]), "{", "{\"x\":\"\xff\",", 1)),
		"alg twice in the header":      sign(strings.Replace(decoded(parts[0]), "{", `{"alg":"none",`, 1), decoded(parts[1]), "", secret),
		"roles of an administrator":    parts[0] + "." + b64(strings.Replace(decoded(parts[1]), "customer", "admin", 1)) + "." + parts[2],
		"subject of another user":      parts[0] + "." + b64(strings.Replace(decoded(parts[1]), `"sub":"1"`, `"sub":"3"`, 1)) + "." + parts[2],
		"header of another token":      b64(`{"alg":"HS256","typ":"at+jwt","x":1}`) + "." + parts[1] + "." + parts[2],
		"signature of another token":   parts[0] + "." + parts[1] + w.eve.Access[strings.LastIndexByte(w.eve.Access, '.'):],
		"signature of zeros":           parts[0] + "." + parts[1] + "." + strings.Repeat("A", 43),
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"short signature":              parts[0] + "." + parts[1] + "." + parts[2][:20],
		"signature with trailing bits": good[:len(good)-1] + nextBit(good[len(good)-1]),
		"padding":                      good + "=",
		"a dot behind it":              good + ".",
		"two parts":                    parts[0] + "." + parts[1],
		"five parts":                   "a.b.c.d.e",
		"only dots":                    "..",
		"capitals":                     strings.ToUpper(good),
		"twice":                        good + good,
		"in quotes":                    `"` + good + `"`,
		"URL-coded":                    strings.ReplaceAll(good, ".", "%2E"),
		"20 KiB":                       strings.Repeat("A", 20<<10),
		"8,000 dots":                   strings.Repeat(".", 8000),
		"null":                         "null",
		"undefined":                    "undefined",
		"bytes that are no text":       "\x80\xff",
		"path":                         "../../etc/passwd",
		"session that was logged out":  w.ended.Access,
	}
	for _, token := range bad {
		if strings.Count(token, ".") == 2 && len(token) > 100 {
			w.hide(token)
		}
	}
	return bad
}

func decoded(part string) string {
	text, _ := base64.RawURLEncoding.DecodeString(part)
	return string(text)
}

// nextBit changes the last bit of a character of base64, which means nothing at the end of 32 bytes.
func nextBit(c byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, c)^1])
}

// accessTokens are bad tokens on routes that need an access token.
func (w *attack) accessTokens() (table []hostile) {
	for name, token := range w.badAccess() {
		table = append(table, hostile{"access token: " + name, "GET", profilePath, []string{bearer(token)}, "", badToken})
	}
	table = append(table,
		hostile{"access token: signed by the test", "GET", profilePath, []string{bearer(altered(w.john.Access, secret, nil, nil))}, "", ok},
		hostile{"access token: unknown claims", "GET", profilePath,
			[]string{bearer(altered(w.john.Access, secret, nil, change{"x": []any{1, nil}}))}, "", ok},
		hostile{"access token: the host's route", "GET", ordersPath, []string{bearer(w.ended.Access)}, "", badToken},
		hostile{"access token: refresh token on the host's route", "GET", ordersPath, []string{bearer(w.john.Refresh)}, "", badToken},
		hostile{"role: of an administrator", "GET", adminPath, []string{bearer(w.john.Access)}, "", noScope},
		hostile{"role: no token", "GET", adminPath, nil, "", noToken},
		hostile{"role: logged out", "GET", adminPath, []string{bearer(w.ended.Access)}, "", badToken},
		hostile{"role: as a header", "GET", adminPath, []string{bearer(w.john.Access), "X-Role: admin"}, "", noScope},
	)
	return table
}

// headers are Authorization headers.
func (w *attack) headers() (table []hostile) {
	good := w.john.Access
	add := func(name string, want outcome, headers ...string) {
		table = append(table, hostile{"header: " + name, "GET", ordersPath, headers, "", want})
	}
	add("none", noToken)
	add("empty", noToken, "Authorization:")
	add("the scheme alone", noToken, "Authorization: Bearer")
	add("the scheme and spaces", noToken, "Authorization: Bearer   ")
	add("Basic", noToken, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("john@mail.com:changeme")))
	add("Digest", noToken, `Authorization: Digest username="john@mail.com"`)
	add("no scheme", noToken, "Authorization: "+good)
	add("scheme with a colon", noToken, "Authorization: Bearer: "+good)
	add("Bearer without a space", noToken, "Authorization: Bearer"+good)
	add("a tab behind the scheme", noToken, "Authorization: Bearer\t"+good)
	add("DPoP", noToken, "Authorization: DPoP "+good)
	add("X-Authorization", noToken, "X-Authorization: Bearer "+good)
	add("Proxy-Authorization", noToken, "Proxy-Authorization: Bearer "+good)
	add("a cookie of development on a public host", noToken, "Cookie: access_token="+good)
	add("a cookie", ok, "Cookie: __Host-access_token="+good)
	add("a cookie with two values", malformed, "Cookie: __Host-access_token="+good+"; __Host-access_token="+good)
	add("a cookie with a refresh token", badToken, "Cookie: __Host-access_token="+w.john.Refresh)
	add("a cookie beside a bad header", badToken, "Cookie: __Host-access_token="+good, bearer(w.ended.Access))
	add("the scheme in small letters", ok, "authorization: bearer "+good)
	add("the scheme in capitals", ok, "AUTHORIZATION: BEARER "+good)
	add("spaces around the token", ok, "Authorization:   Bearer   "+good+"  ")
	add("two tokens", twoTokens, "Authorization: Bearer "+good+" "+good)
	add("two tokens with a comma", twoTokens, "Authorization: Bearer "+good+","+good)
	add("two headers", twoTokens, bearer(good), bearer(good))
	add("two headers, one of another scheme", twoTokens, "Authorization: Basic eDp5", bearer(good))
	add("two headers, one empty", twoTokens, bearer(good), "Authorization:")
	add("JSON serialization", twoTokens, `Authorization: Bearer {"payload":"x","signature":"`+good[strings.LastIndexByte(good, '.')+1:]+`"}`)
	add("parameters", twoTokens, "Authorization: Bearer "+good+", realm=x")
	add("token in quotes with a key", badToken, `Authorization: Bearer token="`+good+`"`)
	for _, query := range []string{"access_token=", "ticket=", "token="} { // RFC 6750 section 2.3 is not supported
		table = append(table, hostile{"header: in the query as " + query, "GET", ordersPath + "?" + query + good, nil, "", noToken})
	}
	table = append(table, hostile{"header: in a form", "POST", logoutPath + "-all", []string{asForm}, "access_token=" + good, noToken})
	return table
}

// refreshes are bodies of a refresh.
func (w *attack) refreshes() (table []hostile) {
	add := func(name, body string, want outcome) {
		table = append(table, posted("refresh: "+name, refreshPath, body, want))
	}
	token := func(name, token string, want outcome) { add(name, `{"refreshToken":`+jsonText(token)+`}`, want) }
	good := w.eve.Refresh
	parts := strings.Split(good, ".")
	now := time.Now().Unix()
	for name, text := range map[string]string{
		"access token":                   w.eve.Access,
		"access token, typed as refresh": altered(w.eve.Access, secret, change{"typ": "refresh+jwt"}, nil),
		"ticket":                         w.ticket,
		"alg none":                       b64(`{"alg":"none","typ":"rt+jwt"}`) + "." + parts[1] + ".",
		"another key":                    altered(good, strings.Repeat("k", 32), nil, nil),
		"HS512":                          altered(good, secret, change{"alg": "HS512"}, nil),
		"expired":                        altered(good, secret, nil, change{"exp": now - 1}),
		"no exp":                         altered(good, secret, nil, change{"exp": nil}),
		"unknown session":                altered(good, secret, nil, change{"sid": "AAAAAAAAAAAAAAAAAAAAAA"}),
		"session an SQL text":            altered(good, secret, nil, change{"sid": "' OR '1'='1"}),
		"session a NUL":                  altered(good, secret, nil, change{"sid": "\x00"}),
		"session empty":                  altered(good, secret, nil, change{"sid": ""}),
		"session of another user":        altered(good, secret, nil, change{"sid": claimsOf(w.john.Access)["sid"]}),
		"subject of another user":        altered(good, secret, nil, change{"sub": "3"}),
		"another audience":               altered(good, secret, nil, change{"aud": "x"}),
		"no audience":                    altered(good, secret, nil, change{"aud": nil}),
		"generation a text":              altered(good, secret, nil, change{"gen": "1"}),
		"generation 0":                   altered(good, secret, nil, change{"gen": 0}),
		"generation negative":            altered(good, secret, nil, change{"gen": -1}),
		"session that was logged out":    w.ended.Refresh,
		"tampered":                       parts[0] + "." + parts[1] + "." + strings.Repeat("A", len(parts[2])),
		"garbage":                        w.hidden("garbage-"),
		"a NUL":                          "\x00",
		"20 KiB":                         strings.Repeat("A", 20<<10),
	} {
		token(name, text, badToken)
	}
	token("empty", "", malformed)
	add("null", `{"refreshToken":null}`, malformed)
	add("a number", `{"refreshToken":1}`, malformed)
	add("a list", `{"refreshToken":[`+jsonText(good)+`]}`, malformed)
	add("both names", `{"refreshToken":`+jsonText(good)+`,"refresh_token":`+jsonText(good)+`}`, malformed)
	add("twice", `{"refreshToken":"x","refreshToken":`+jsonText(good)+`}`, malformed)
	add("another name", `{"RefreshToken":`+jsonText(good)+`}`, malformed)
	add("no body", "", malformed)
	add("the token alone", jsonText(good), malformed)
	add("too long", `{"refreshToken":"`+strings.Repeat("A", maxBody)+`"}`, tooLarge)
	table = append(table,
		hostile{"refresh: in the header only", "POST", refreshPath, []string{bearer(good), asJSON}, "{}", malformed},
		hostile{"refresh: in the query only", "POST", refreshPath + "?refreshToken=" + good, []string{asForm}, "x=1", malformed},
		hostile{"refresh: in a cookie only", "POST", refreshPath, []string{asJSON, "Cookie: refresh_token=" + good}, "{}", malformed},
		hostile{"refresh: text/plain", "POST", refreshPath, []string{"Content-Type: text/plain"}, good, unsupported},
	)
	token("the right one", good, created)
	token("the right one again, at once", good, created) // within the reuse window
	table = append(table, hostile{"refresh: a form with the other name", "POST", refreshPath, []string{asForm}, "refresh_token=" + good, created})
	return table
}

// sessionsOf are the sessions of others.
func (w *attack) sessionsOf() (table []hostile) {
	remove := func(name, id string, want outcome, headers ...string) {
		table = append(table, hostile{"session: " + name, "DELETE", sessionsPath + "/" + id, headers, "", want})
	}
	john := bearer(w.john.Access)
	remove("of another user", w.evesID, notFound, john)
	remove("of another user, as an administrator by header", w.evesID, notFound, john, "X-Role: admin")
	remove("no token", w.evesID, noToken)
	remove("refresh token", w.evesID, badToken, bearer(w.eve.Refresh))
	remove("unknown", "AAAAAAAAAAAAAAAAAAAAAA", notFound, john)
	remove("SQL", "'%20OR%20'1'='1", notFound, john)
	remove("star", "*", notFound, john)
	remove("percent", "%25", notFound, john)
	remove("NUL", "%00", notFound, john)
	remove("no UTF-8", "%ff", notFound, john)
	remove("escaped slash", w.evesID+"%2f", notFound, john)
	remove("escaped letter", fmt.Sprintf("%%%02x", w.evesID[0])+w.evesID[1:], notFound, john)
	remove("two segments", w.evesID+"/x", notFound, john)
	remove("dots", "..%2f..", notThere, john)
	remove("long", strings.Repeat("a", 8000), notFound, john)
	remove("empty", "", outcome{status: 405, code: "method_not_allowed", headers: []string{"Allow: GET, HEAD"}}, john)
	remove("in another spelling", strings.ToLower(w.evesID)+"A", notFound, bearer(w.eve.Access))
	deleteOnly := outcome{status: 405, code: "method_not_allowed", headers: []string{"Allow: DELETE"}}
	for _, method := range []string{"GET", "POST", "PUT"} {
		table = append(table, hostile{"session: " + method + " of one", method, sessionsPath + "/" + w.evesID, []string{john}, "", deleteOnly})
	}
	table = append(table,
		hostile{"session: the list without a token", "GET", sessionsPath, nil, "", noToken},
		hostile{"session: the list with a refresh token", "GET", sessionsPath, []string{bearer(w.john.Refresh)}, "", badToken},
		hostile{"session: the list of another user is not asked for", "GET", sessionsPath + "?user=1", []string{bearer(w.eve.Access)}, "", ok},
		hostile{"session: eve's still lives", "GET", profilePath, []string{bearer(w.eve.Access)}, "", ok},
		hostile{"ticket: no token", "POST", ticketPath, nil, "", noToken},
		hostile{"ticket: refresh token", "POST", ticketPath, []string{bearer(w.john.Refresh)}, "", badToken},
		hostile{"ticket: a ticket", "POST", ticketPath, []string{bearer(w.ticket)}, "", badToken},
		hostile{"ticket: logged out", "POST", ticketPath, []string{bearer(w.ended.Access)}, "", badToken},
		hostile{"ticket: a body does not matter", "POST", ticketPath, []string{bearer(w.john.Access), asJSON}, "{", created},
		hostile{"user: of another user", "GET", "/api/v1/users/1", []string{bearer(w.eve.Access)}, "", notFound},
		hostile{"user: no token", "GET", "/api/v1/users/1", nil, "", noToken},
		hostile{"user: a role for oneself", "PUT", "/api/v1/users/1", []string{bearer(w.john.Access), asJSON}, `{"role":"admin","roles":["admin"]}`, ok},
		hostile{"user: no new role", "GET", adminPath, []string{bearer(w.john.Access)}, "", noScope},
	)
	return table
}

// logouts end sessions that were begun for it.
func (w *attack) logouts() (table []hostile) {
	add := func(name, path, body string, want outcome, headers ...string) {
		table = append(table, hostile{"logout: " + name, "POST", path, headers, body, want})
	}
	add("nothing", logoutPath, "", noToken)
	add("garbage in the header", logoutPath, "", badToken, bearer(w.hidden("garbage-")))
	add("garbage in the body", logoutPath, `{"refreshToken":"`+w.hidden("garbage-")+`"}`, badToken, asJSON)
	add("another key", logoutPath, "", badToken, bearer(altered(w.john.Access, strings.Repeat("k", 32), nil, nil)))
	add("alg none", logoutPath, "", badToken, bearer(b64(`{"alg":"none","typ":"at+jwt"}`)+"."+strings.Split(w.john.Access, ".")[1]+"."))
	add("a ticket", logoutPath, "", badToken, bearer(w.ticket))
	add("two headers", logoutPath, "", twoTokens, bearer(w.john.Access), bearer(w.john.Access))
	add("an empty object", logoutPath, "{}", malformed, asJSON)
	add("two names", logoutPath, `{"refreshToken":"a","refresh_token":"b"}`, malformed, asJSON, bearer(w.john.Access))
	add("too long", logoutPath, strings.Repeat(" ", maxBody+1), tooLarge, asJSON, bearer(w.john.Access))
	add("a session that has ended", logoutPath, "", done, bearer(w.ended.Access))
	add("its refresh token", logoutPath, `{"refreshToken":"`+w.ended.Refresh+`"}`, done, asJSON)
	add("all, without a token", logoutPath+"-all", "", noToken)
	add("all, with a refresh token", logoutPath+"-all", "", badToken, bearer(w.john.Refresh))
	add("all, of a session that has ended", logoutPath+"-all", "", badToken, bearer(w.ended.Access))
	live := hostile{"logout: john's session still lives", "GET", profilePath, []string{bearer(w.john.Access)}, "", ok}
	table = append(table, live)

	one := login(w.t, w.url)
	w.hideToken(one.Access)
	w.hideToken(one.Refresh)
	add("the body wins over the header", logoutPath, `{"refreshToken":"`+one.Refresh+`"}`, done, asJSON, bearer(w.john.Access))
	table = append(table, hostile{"logout: the session of the body is over", "GET", profilePath, []string{bearer(one.Access)}, "", badToken},
		posted("logout: so is its refresh token", refreshPath, `{"refreshToken":"`+one.Refresh+`"}`, badToken))
	live.name = "logout: the session of the header lives"
	table = append(table, live)
	add("all of eve", logoutPath+"-all", "", done, bearer(w.eve.Access))
	table = append(table, hostile{"logout: eve is out", "GET", profilePath, []string{bearer(w.eve.Access)}, "", badToken},
		posted("logout: eve's refresh token is out", refreshPath, `{"refreshToken":"`+w.eve.Refresh+`"}`, badToken))
	live.name = "logout: john is not eve"
	return append(table, live)
}

// cookies are requests to the mount for browsers, and requests of other sites with the cookies of a user.
func (w *attack) cookies() (table []hostile) {
	crossSite := outcome{status: 403, code: "cross_site_request"}
	add := func(name, path, body string, want outcome, headers ...string) {
		table = append(table, posted("cookie: "+name, path, body, want, headers...))
	}
	access, refresh := "Cookie: __Host-access_token="+w.john.Access, "Cookie: __Secure-refresh_token="+w.john.Refresh
	good := creds("john@mail.com", "changeme")
	add("login from another site", "/web/auth/login", good, crossSite, "Sec-Fetch-Site: cross-site")
	add("login from another origin of the site", "/web/auth/login", good, crossSite, "Sec-Fetch-Site: same-site")
	add("login from another origin", "/web/auth/login", good, crossSite, "Origin: https://evil.example")
	add("login from the origin null", "/web/auth/login", good, crossSite, "Origin: null")
	add("refresh from another site", "/web/auth/refresh-token", "", crossSite, refresh, "Sec-Fetch-Site: cross-site")
	add("logout from another site", "/web/auth/logout", "", crossSite, refresh, "Sec-Fetch-Site: cross-site")
	add("ticket from another site", ticketPath, "", crossSite, access, "Sec-Fetch-Site: cross-site")
	add("logout of all from another site", logoutPath+"-all", "", crossSite, access, "Origin: https://evil.example")
	add("refresh without a cookie", "/web/auth/refresh-token", "{}", noToken)
	add("refresh with a token in the body only", "/web/auth/refresh-token", `{"refreshToken":`+jsonText(w.john.Refresh)+`}`, noToken)
	add("refresh with an access token", "/web/auth/refresh-token", "", badToken, access+"; __Secure-refresh_token="+w.john.Access)
	add("refresh without the access token's cookie", "/web/auth/refresh-token", "", noToken, refresh)
	add("refresh with another user's cookie", "/web/auth/refresh-token", "", noToken, access+"; __Secure-refresh_token="+w.eve.Refresh)
	add("refresh with planted cookies", "/web/auth/refresh-token", "", noToken, access+"; __Secure-refresh_token=x; __Secure-refresh_token="+w.eve.Refresh)
	add("refresh with two access cookies", "/web/auth/refresh-token", "", malformed, access+"; __Host-access_token=x", refresh)
	table = append(table, hostile{"cookie: a form", "POST", "/web/auth/login", []string{asForm}, "email=john@mail.com&password=changeme",
		unsupported})
	badTicket := outcome{status: 401, code: "invalid_ticket", challenge: bare}
	for name, ticket := range map[string]string{"garbage": w.hidden("x."), "a ticket of another kind": w.ticket, "a NUL": "\x00", "dots": "..."} {
		body := `{"ticket":` + jsonText(ticket) + `,"code":"000000"}`
		table = append(table, posted("second step: "+name, loginPath+"/second-step", body, badTicket))
	}
	return table
}
