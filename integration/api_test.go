package integration

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	loginPath   = "/api/v1/auth/login"
	refreshPath = "/api/v1/auth/refresh-token"
	profilePath = "/api/v1/auth/profile"
	logoutPath  = "/api/v1/auth/logout"
)

// patience is how long a client waits for an answer. It is longer than signet waits for a store.
const patience = 8 * time.Second

// idleTime is how long clients keep a connection without a request. The example closes it after five seconds.
const idleTime = 3 * time.Second

var httpClient = &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: idleTime}}

// pair is the pair of tokens that a client holds.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// answer is a response with its whole body.
type answer struct {
	status     int
	retryAfter string
	body       []byte
}

func (a answer) pair() pair {
	var p pair
	json.Unmarshal(a.body, &p)
	return p
}

// call sends a request. The error means that there was no answer.
func call(method, url, token string, body any) (answer, error) {
	var text []byte
	if body != nil {
		text, _ = json.Marshal(body)
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(text))
	if err != nil {
		return answer{}, err
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := httpClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	return answer{res.StatusCode, res.Header.Get("Retry-After"), got}, err
}

func callRefresh(url, refreshToken string) (answer, error) {
	return call("POST", url+refreshPath, "", map[string]string{"refreshToken": refreshToken})
}

func callProfile(url, accessToken string) (answer, error) {
	return call("GET", url+profilePath, accessToken, nil)
}

// login logs in as the documented user.
func login(t testing.TB, url string) pair {
	t.Helper()
	a, err := call("POST", url+loginPath, "", map[string]string{"email": "john@mail.com", "password": "changeme"})
	require.NoError(t, err)
	require.Equal(t, 201, a.status, "login: %s", a.body)
	return a.pair()
}

func refresh(t testing.TB, url string, p pair) pair {
	t.Helper()
	a, err := callRefresh(url, p.Refresh)
	require.NoError(t, err)
	require.Equal(t, 201, a.status, "refresh: %s", a.body)
	return a.pair()
}

func requireProfile(t testing.TB, url string, p pair) {
	t.Helper()
	a, err := callProfile(url, p.Access)
	require.NoError(t, err)
	require.Equal(t, 200, a.status, "profile: %s", a.body)
	require.Contains(t, string(a.body), "john@mail.com")
}

// generation returns the claim "gen" of a refresh token.
func generation(refreshToken string) int64 {
	parts := strings.Split(refreshToken, ".")
	if len(parts) != 3 {
		return 0
	}
	text, _ := base64.RawURLEncoding.DecodeString(parts[1])
	var claims struct{ Gen int64 }
	json.Unmarshal(text, &claims)
	return claims.Gen
}
