package integration

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestOneService runs two copies of the example on one store. No client may notice that there are two.
func TestOneService(t *testing.T) {
	for _, kind := range shared {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			oneService(t, kind.host(t).fresh(t).args)
		})
	}
	t.Run("users in PostgreSQL, sessions in Redis", func(t *testing.T) {
		t.Parallel()
		oneService(t, append(postgres.host(t).fresh(t).args, redisOne.host(t).fresh(t).args...))
	})
}

func oneService(t *testing.T, args []string) {
	a, b := start(t, args...), start(t, args...)

	// The steps go to both copies in turn.
	p := login(t, a.url)
	p = refresh(t, b.url, p)
	requireProfile(t, a.url, p)
	requireProfile(t, b.url, p)
	p = refresh(t, a.url, p)
	p = refresh(t, b.url, p)
	requireProfile(t, a.url, p)
	logout(t, b.url, p)
	refusedWithin(t, a.url, p, 2*time.Second)
	for _, copy := range []*program{a, b} {
		refused, err := callRefresh(copy.url, p.Refresh)
		require.NoError(t, err)
		require.Equal(t, 401, refused.status, "a refresh after the logout")
	}

	// A proxy gives the requests to both copies in turn, and several clients work at the same time.
	proxy := roundRobin(t, a.url, b.url)
	done := together(6, func() bool {
		p := login(t, proxy)
		for range 6 {
			requireProfile(t, proxy, p)
			p = refresh(t, proxy, p)
		}
		logout(t, proxy, p)
		refusedWithin(t, a.url, p, 2*time.Second)
		refusedWithin(t, b.url, p, 2*time.Second)
		return true
	})
	require.NotContains(t, done, false)

	// logout-all ends all sessions of a user, whichever copy made them. An id that some databases cannot hold names no
	// session.
	one, other := login(t, a.url), login(t, b.url)
	nobody, err := call("DELETE", proxy+"/api/v1/auth/sessions/x%00", one.Access, nil)
	require.NoError(t, err)
	require.Equal(t, 404, nobody.status, "%s", nobody.body)
	everywhere, err := call("POST", proxy+"/api/v1/auth/logout-all", one.Access, nil)
	require.NoError(t, err)
	require.Equal(t, 204, everywhere.status)
	for _, copy := range []*program{a, b} {
		refusedWithin(t, copy.url, one, 2*time.Second)
		refusedWithin(t, copy.url, other, 2*time.Second)
	}
	for _, copy := range []*program{a, b} {
		require.NotContains(t, copy.log.String(), "event=theft")
		require.NotContains(t, copy.log.String(), "level=ERROR")
	}
}

// roundRobin starts a proxy that gives each request to the next one of the backends.
func roundRobin(t *testing.T, backends ...string) (address string) {
	t.Helper()
	targets := make([]*url.URL, len(backends))
	for i, backend := range backends {
		var err error
		targets[i], err = url.Parse(backend)
		require.NoError(t, err)
	}
	var next atomic.Uint64
	server := httptest.NewServer(&httputil.ReverseProxy{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: idleTime},
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(targets[next.Add(1)%uint64(len(targets))])
		},
	})
	t.Cleanup(server.Close)
	return server.URL
}
