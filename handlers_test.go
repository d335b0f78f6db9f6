package signet_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/userstore"
)

func TestContract(t *testing.T) {
	s := newService(t)
	for _, slash := range []string{"", "/"} {
		login := s.do(t, "POST", "/auth/login"+slash, `{"email":"john@mail.com","password":"changeme","remember":true}`)
		require.Equal(t, 201, login.StatusCode, login.body)
		require.Equal(t, "application/json; charset=utf-8", login.Header.Get("Content-Type"))
		require.Equal(t, "no-store", login.Header.Get("Cache-Control"))
		require.Equal(t, "*", login.Header.Get("Access-Control-Allow-Origin"))
		require.Equal(t, "Bearer", login.json["token_type"])
		require.Equal(t, 1728000.0, login.json["expires_in"])

		profile := s.do(t, "GET", "/auth/profile"+slash, "", bearer(login.json["access_token"].(string))...)
		require.Equal(t, 200, profile.StatusCode, profile.body)
		require.Equal(t, map[string]any{"id": 1.0, "email": "john@mail.com", "name": "Jhon", "role": "customer",
			"roles": []any{"customer"}, "avatar": "https://example.com/a.png"}, profile.json)

		refresh := s.do(t, "POST", "/auth/refresh-token"+slash, fmt.Sprintf(`{"refreshToken":%q}`, login.json["refresh_token"]))
		require.Equal(t, 201, refresh.StatusCode, refresh.body)
		require.Equal(t, 200, s.do(t, "GET", "/orders", "", bearer(refresh.json["access_token"].(string))...).StatusCode)
	}
}

func TestRequestBodies(t *testing.T) {
	s := newService(t)
	long := strings.Repeat("a", 1025)
	for name, tc := range map[string]struct {
		path, body  string
		contentType string
		status      int
		code, says  string
	}{
		"wrong password":       {"login", `{"email":"john@mail.com","password":"x"}`, "", 401, "invalid_credentials", ""},
		"unknown":              {"login", `{"email":"x@mail.com","password":"x"}`, "", 401, "invalid_credentials", ""},
		"empty":                {"login", ``, "application/json", 400, "invalid_request", "malformed"},
		"null":                 {"login", `null`, "", 400, "invalid_request", "malformed"},
		"array":                {"login", `[]`, "", 400, "invalid_request", "malformed"},
		"string":               {"login", `"x"`, "", 400, "invalid_request", "malformed"},
		"cut":                  {"login", `{"email":"john@mail.com"`, "", 400, "invalid_request", "malformed"},
		"trailing":             {"login", `{"email":"john@mail.com","password":"changeme"}{}`, "", 400, "invalid_request", "bytes follow"},
		"duplicate":            {"login", `{"email":"a","email":"john@mail.com","password":"changeme"}`, "", 400, "invalid_request", "twice"},
		"not UTF-8":            {"login", "{\"email\":\"\xff\",\"password\":\"x\"}", "", 400, "invalid_request", "UTF-8"},
		"email missing":        {"login", `{"password":"x"}`, "", 400, "invalid_request", `"email" is missing`},
		"email null":           {"login", `{"email":null,"password":"x"}`, "", 400, "invalid_request", `"email" is missing or empty`},
		"email a number":       {"login", `{"email":1,"password":"x"}`, "", 400, "invalid_request", `"email" must be a string`},
		"email an object":      {"login", `{"email":{"$ne":""},"password":"x"}`, "", 400, "invalid_request", `"email" must be a string`},
		"email empty":          {"login", `{"email":"","password":"x"}`, "", 400, "invalid_request", `"email" is missing or empty`},
		"email blank":          {"login", `{"email":" ","password":"x"}`, "", 400, "invalid_request", `"email"`},
		"email with NUL":       {"login", `{"email":"john@mail.com\u0000","password":"x"}`, "", 400, "invalid_request", `"email"`},
		"email too long":       {"login", `{"email":"` + long + `","password":"x"}`, "", 400, "invalid_request", `"email"`},
		"password missing":     {"login", `{"email":"john@mail.com"}`, "", 400, "invalid_request", `"password" is missing`},
		"password an array":    {"login", `{"email":"john@mail.com","password":["changeme"]}`, "", 400, "invalid_request", `"password" must be a string`},
		"password too long":    {"login", `{"email":"john@mail.com","password":"` + long + `"}`, "", 400, "invalid_request", `"password" is too long`},
		"longest password":     {"login", `{"email":"john@mail.com","password":"` + long[1:] + `"}`, "", 401, "invalid_credentials", ""},
		"too large":            {"login", `{"email":"john@mail.com","x":"` + strings.Repeat("a", 64<<10) + `"}`, "", 413, "body_too_large", "65536"},
		"a form":               {"login", "email=john%40mail.com&password=changeme&remember=on", "application/x-www-form-urlencoded", 201, "", ""},
		"a form with charset":  {"login", "email=john@mail.com&password=changeme", "application/x-www-form-urlencoded; charset=UTF-8", 201, "", ""},
		"a form, field twice":  {"login", "email=a@mail.com&email=john@mail.com&password=changeme", "application/x-www-form-urlencoded", 400, "invalid_request", "twice"},
		"a form, field empty":  {"login", "email=john@mail.com&password=", "application/x-www-form-urlencoded", 400, "invalid_request", `"password" is missing`},
		"a form, bad escape":   {"login", "email=john%4&password=x", "application/x-www-form-urlencoded", 400, "invalid_request", "malformed"},
		"a form, not UTF-8":    {"login", "email=%ff&password=x", "application/x-www-form-urlencoded", 400, "invalid_request", "UTF-8"},
		"a form as JSON":       {"login", "email=john@mail.com&password=changeme", "application/json", 400, "invalid_request", "malformed"},
		"JSON as a form":       {"login", `{"email":"john@mail.com","password":"changeme"}`, "application/x-www-form-urlencoded", 400, "invalid_request", `"email" is missing or empty; the body is JSON`},
		"refresh as a form":    {"refresh-token", ` {"refreshToken":"x"}`, "application/x-www-form-urlencoded", 400, "invalid_request", "send application/json"},
		"logout as a form":     {"logout", `{"refreshToken":"x"}`, "application/x-www-form-urlencoded", 400, "invalid_request", "send application/json"},
		"fields in the query":  {"login?email=john@mail.com&password=changeme", "x=1", "application/x-www-form-urlencoded", 400, "invalid_request", `"email" is missing`},
		"multipart":            {"login", "x", "multipart/form-data; boundary=x", 415, "unsupported_media_type", ""},
		"text":                 {"login", `{}`, "text/plain", 415, "unsupported_media_type", ""},
		"bad content type":     {"login", `{}`, "application/json;;", 415, "unsupported_media_type", ""},
		"with charset":         {"login", `{"email":"john@mail.com","password":"changeme"}`, "Application/JSON; charset=utf-8", 201, "", ""},
		"refresh missing":      {"refresh-token", `{}`, "", 400, "invalid_request", `"refreshToken" is missing`},
		"refresh in snakecase": {"refresh-token", `{"refresh_token":"x"}`, "", 401, "invalid_token", "malformed"},
		"refresh in a form":    {"refresh-token", `refreshToken=x`, "application/x-www-form-urlencoded", 401, "invalid_token", "malformed"},
		"refresh by two names": {"refresh-token", `{"refresh_token":"x","refreshToken":"y"}`, "", 400, "invalid_request", "twice"},
		"refresh a number":     {"refresh-token", `{"refreshToken":1}`, "", 400, "invalid_request", `"refreshToken" must be a string`},
		"refresh garbage":      {"refresh-token", `{"refreshToken":"x"}`, "", 401, "invalid_token", "malformed"},
		"unknown route":        {"signup", `{}`, "", 404, "not_found", ""},
		"route below":          {"login/x", `{}`, "", 404, "not_found", ""},
		"double slash":         {"login//", `{}`, "", 404, "not_found", ""},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{}
			if tc.contentType != "" {
				headers = []string{"Content-Type", tc.contentType}
			}
			req, err := http.NewRequest("POST", "/auth/"+tc.path, strings.NewReader(tc.body))
			require.NoError(t, err)
			req.Header.Set("Content-Type", "application/json")
			if len(headers) > 0 {
				req.Header.Set(headers[0], headers[1])
			}
			rec := httptest.NewRecorder()
			s.Handler("/auth/").ServeHTTP(rec, req)
			require.Equal(t, tc.status, rec.Code, rec.Body.String())
			if tc.code == "" {
				return
			}
			require.Equal(t, "application/problem+json", rec.Header().Get("Content-Type"))
			require.Contains(t, rec.Body.String(), fmt.Sprintf(`"code":%q`, tc.code))
			require.Contains(t, strings.ReplaceAll(rec.Body.String(), `\"`, `"`), tc.says)
			require.Equal(t, "no-store", rec.Header().Get("Cache-Control"))
			require.Equal(t, "*", rec.Header().Get("Access-Control-Allow-Origin"))
		})
	}
}

func TestAuthorizationHeader(t *testing.T) {
	s := newService(t)
	access := s.login(t).AccessToken
	const bare = `Bearer realm="api"`
	for name, tc := range map[string]struct {
		headers   []string
		status    int
		challenge string
	}{
		"good":                   {[]string{"Bearer " + access}, 200, ""},
		"lower case":             {[]string{"bearer " + access}, 200, ""},
		"upper case":             {[]string{"BEARER " + access}, 200, ""},
		"two spaces":             {[]string{"Bearer  " + access}, 200, ""},
		"nothing":                {nil, 401, bare},
		"empty":                  {[]string{""}, 401, bare},
		"another scheme":         {[]string{"Basic am9objpjaGFuZ2VtZQ=="}, 401, bare},
		"token without a scheme": {[]string{access}, 401, bare},
		"scheme alone":           {[]string{"Bearer"}, 401, bare},
		"scheme and space":       {[]string{"Bearer "}, 401, bare},
		"two tokens":             {[]string{"Bearer " + access + " " + access}, 400, "invalid_request"},
		"tokens with a comma":    {[]string{"Bearer " + access + ",Bearer"}, 400, "invalid_request"},
		"tab inside":             {[]string{"Bearer a\tb"}, 400, "invalid_request"},
		"two headers":            {[]string{"Bearer " + access, "Bearer " + access}, 400, "invalid_request"},
		"garbage":                {[]string{"Bearer x"}, 401, "invalid_token"},
	} {
		t.Run(name, func(t *testing.T) {
			var headers []string
			for _, value := range tc.headers {
				headers = append(headers, "Authorization", value)
			}
			for _, path := range []string{"/orders", "/auth/profile", "/optional"} {
				got := s.do(t, "GET", path, "", headers...)
				if path == "/optional" && tc.challenge == bare {
					require.Equal(t, 200, got.StatusCode)
					require.Equal(t, "subject=", got.body)
					continue
				}
				require.Equal(t, tc.status, got.StatusCode, path)
				challenge := got.Header.Get("WWW-Authenticate")
				switch tc.challenge {
				case bare:
					require.Equal(t, bare, challenge, path)
					require.Equal(t, len(headers) > 0, strings.Contains(fmt.Sprint(got.json["message"]), `scheme "Bearer"`), path)
				case "":
					require.Empty(t, challenge, path)
				default:
					require.Contains(t, challenge, fmt.Sprintf(`error=%q`, tc.challenge), path)
				}
			}
		})
	}
}

func TestRolesAndScopes(t *testing.T) {
	s := newService(t)
	customer := bearer(s.login(t).AccessToken)
	tokens, err := s.Login(t.Context(), "admin@mail.com", "admin123")
	require.NoError(t, err)
	admin := bearer(tokens.AccessToken)
	for _, tc := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/orders", customer, 200}, {"/orders", admin, 200}, {"/admin", admin, 200},
		{"/admin", customer, 403}, {"/admin", nil, 401}, {"/nobody", admin, 403}, {"/nobody", nil, 401},
		{"/scoped", admin, 403}, {"/scoped", nil, 401},
	} {
		got := s.do(t, "GET", tc.path, "", tc.headers...)
		require.Equal(t, tc.status, got.StatusCode, tc.path)
		if tc.status == 403 {
			require.Contains(t, got.Header.Get("WWW-Authenticate"), `error="insufficient_scope"`)
			require.Equal(t, "you are not allowed to do this", got.json["message"])
		}
	}
	require.Equal(t, "subject=3", s.do(t, "GET", "/admin", "", admin...).body)
}

func TestMethods(t *testing.T) {
	s := newService(t)
	for path, allow := range map[string]string{"login": "POST", "refresh-token": "POST", "profile": "GET, HEAD",
		"logout": "POST", "logout-all": "POST", "sessions": "GET, HEAD", "sessions/x": "DELETE"} {
		for _, method := range []string{"GET", "PUT", "DELETE", "POST", "PATCH", "OPTIONS", "TRACE"} {
			if strings.Contains(allow, method) {
				continue
			}
			got := s.do(t, method, "/auth/"+path, "")
			require.Equal(t, 405, got.StatusCode, method+" "+path)
			require.Equal(t, allow, got.Header.Get("Allow"))
			require.Equal(t, "method_not_allowed", got.json["code"])
		}
	}
	head := s.do(t, "HEAD", "/auth/profile", "", bearer(s.login(t).AccessToken)...)
	require.Equal(t, 200, head.StatusCode)
	require.Empty(t, head.body)
}

func TestCORS(t *testing.T) {
	s := newService(t)
	preflight := s.do(t, "OPTIONS", "/auth/login", "", "Origin", "https://shop.example",
		"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
	require.Equal(t, 204, preflight.StatusCode)
	require.Equal(t, "*", preflight.Header.Get("Access-Control-Allow-Origin"))
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Methods"), "POST")
	require.Contains(t, preflight.Header.Get("Access-Control-Allow-Headers"), "Authorization")
	require.Empty(t, preflight.Header.Get("Access-Control-Allow-Credentials"))

	outer := httptest.NewRecorder()
	outer.Header().Set("Access-Control-Allow-Origin", "https://shop.example")
	s.Handler("/auth").ServeHTTP(outer, httptest.NewRequest("GET", "/auth/profile", nil))
	require.Equal(t, []string{"https://shop.example"}, outer.Header().Values("Access-Control-Allow-Origin"))
	require.Empty(t, outer.Header().Get("Access-Control-Expose-Headers"))
}

func TestProfileID(t *testing.T) {
	for id, want := range map[string]string{
		"0": `0`, "1": `1`, "9007199254740991": `9007199254740991`, "9007199254740992": `"9007199254740992"`,
		"01": `"01"`, "-1": `"-1"`, "+1": `"+1"`, "1.0": `"1.0"`, "a": `"a"`, "1e3": `"1e3"`,
	} {
		s := newService(t)
		user, err := s.users.FindByID(t.Context(), "1")
		require.NoError(t, err)
		user.ID, user.Email = id, "other@mail.com"
		if id == "1" {
			user.Email = "john@mail.com"
			require.NoError(t, s.users.Delete(t.Context(), "1"))
		}
		require.NoError(t, s.users.Add(t.Context(), user))
		tokens, err := s.IssueFor(t.Context(), user)
		require.NoError(t, err)
		got := s.do(t, "GET", "/auth/profile", "", bearer(tokens.AccessToken)...)
		require.Contains(t, got.body, `"id":`+want+`,`)
		require.Equal(t, id, part(t, tokens.AccessToken, 1)["sub"])
	}
}

func FuzzLoginBody(f *testing.F) {
	s := newService(f)
	handler := s.LoginHandler()
	for _, seed := range []string{`{"email":"john@mail.com","password":"changeme"}`, `{}`, `null`, `{"email":"a","email":"b"}`,
		`{"email":"\ud800","password":"x"}`, "{\"email\":\"\x00\"}", `[[[[[[`, `{"email":1e999}`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		req := httptest.NewRequest("POST", "/", strings.NewReader(body))
		req.Header.Set("Content-Type", "application/json")
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		require.Contains(t, []int{201, 400, 401, 413, 429}, rec.Code, body) // 429: the fuzzer guesses too many passwords
	})
}

func FuzzAuthorizationHeader(f *testing.F) {
	s := newService(f)
	good := s.login(f).AccessToken
	for _, seed := range []string{"Bearer " + good, "bearer", "Basic x", "", "Bearer \t x", "Bearer a,b"} {
		f.Add(seed)
	}
	handler := s.RequireAuth(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if signet.Subject(r.Context()) == "" {
			panic("passed without a subject")
		}
	}))
	f.Fuzz(func(t *testing.T, value string) {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header["Authorization"] = []string{value}
		rec := httptest.NewRecorder()
		handler.ServeHTTP(rec, req)
		require.Contains(t, []int{200, 400, 401}, rec.Code, value)
	})
}

// A body that says that it is too long is refused before it is read.
func TestADeclaredLength(t *testing.T) {
	s := newService(t)
	r := httptest.NewRequest("POST", "/auth/login", unread{t})
	r.ContentLength = 1 << 40
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.Handler("/auth").ServeHTTP(w, r)
	require.Equal(t, 413, w.Code)
}

// unread is a body that nobody may read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, io.EOF
}

// A body and its type are what one reader and the next one read: two lines of a header are one list.
func TestTwoLinesOfAHeader(t *testing.T) {
	s := newService(t)
	for _, lines := range []http.Header{
		{"Content-Type": {"application/json", "text/plain"}}, {"Content-Type": {"application/json, text/plain"}},
		{"Content-Type": {"application/json"}, "Content-Encoding": {"identity", "gzip"}},
	} {
		r := httptest.NewRequest("POST", "/auth/login", strings.NewReader(johnsLogin))
		r.Header = lines
		w := httptest.NewRecorder()
		s.LoginHandler().ServeHTTP(w, r)
		require.Equal(t, 415, w.Code, lines)
	}
}

// A form may have an input for each name of a field, and leave one empty.
func TestAnEmptyTwinOfAField(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
		return signet.LoginDecision{}, nil
	}}))
	for i, body := range []string{`"code":"","password":"changeme"`, `"password":"changeme","code":""`, `"code":null,"password":"changeme"`} {
		tokens := s.login(t)
		got := s.do(t, "POST", stepUpPath, `{"refreshToken":"`+tokens.RefreshToken+`",`+body+`}`, bearer(tokens.AccessToken)...)
		require.Equal(t, 201, got.StatusCode, "%d: %s", i, got.body)
	}
	tokens := s.login(t)
	form := "refreshToken=" + tokens.RefreshToken + "&code=&password=changeme"
	require.Equal(t, 201, s.send(t, "POST", stepUpPath, form, "application/x-www-form-urlencoded", bearer(tokens.AccessToken)...).StatusCode)
	got := s.do(t, "POST", stepUpPath, `{"refreshToken":"x","code":"1","password":"2"}`, bearer(tokens.AccessToken)...)
	require.Equal(t, 400, got.StatusCode)
	require.Contains(t, got.body, `\"code\" or \"password\" appears twice`)
}

// Nobody needs a part of a key set, and a refusal would be no problem document.
func TestAKeySetIsServedWhole(t *testing.T) {
	s := newService(t)
	for name, value := range map[string]string{"Range": "bytes=999-", "If-Match": `"x"`} {
		r := httptest.NewRequest("GET", "/jwks", nil)
		r.Header.Set(name, value)
		w := httptest.NewRecorder()
		w.Header().Set("Access-Control-Allow-Origin", "https://app.example")
		s.JWKSHandler().ServeHTTP(w, r)
		require.Equal(t, 200, w.Code, name)
		require.Equal(t, value, r.Header.Get(name))
		require.Equal(t, []string{"https://app.example"}, w.Header()["Access-Control-Allow-Origin"])
	}
}

// A middleware may have read a form before.
func TestAFormThatWasRead(t *testing.T) {
	s := newService(t)
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		require.NoError(t, r.ParseForm())
		s.LoginHandler().ServeHTTP(w, r)
	})
	for body, want := range map[string]int{"email=john@mail.com&password=changeme": 201, "email=john@mail.com&password=a&password=b": 400} {
		r := httptest.NewRequest("POST", "/login", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		w := httptest.NewRecorder()
		read.ServeHTTP(w, r)
		require.Equal(t, want, w.Code, body)
	}
}

// A body that stops half way is answered 408, after which clients try again.
func TestABodyThatStops(t *testing.T) {
	s := newService(t)
	server := httptest.NewUnstartedServer(s.LoginHandler())
	server.Config.ReadTimeout = 200 * time.Millisecond
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
	require.NoError(t, err)
	got, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	got.Body.Close()
	require.Equal(t, 408, got.StatusCode)
}
