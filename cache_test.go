package signet_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

// A cached token must be refused as soon as a token that was never seen would be.

func TestACachedTokenEndsOnTime(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	token := sign(goodHeader, goodPayload(c, ""))
	for range 60 {
		_, err := v.Verify(context.Background(), token)
		require.NoError(t, err)
		c.advance(time.Second)
	}
	_, err := v.Verify(context.Background(), token)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
	c.advance(-40 * time.Second)
	_, err = v.Verify(context.Background(), token)
	require.NoError(t, err)
	c.advance(-60 * time.Second)
	_, err = v.Verify(context.Background(), token)
	require.ErrorIs(t, err, signet.ErrInvalidToken, "not yet valid by a clock that was set back")
}

func TestACachedTokenEndsWithItsKeyAndSession(t *testing.T) {
	ctx := context.Background()
	first, second := keys.Secret(secret), keys.Private(p256(t))
	ring, err := keys.NewRing(first)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer auth.Close()
	login := func() signet.Tokens {
		tokens, err := auth.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err)
		_, err = auth.Verify(ctx, tokens.AccessToken)
		require.NoError(t, err)
		return tokens
	}
	revoked, retired := login(), login()
	require.NoError(t, auth.Logout(ctx, revoked.RefreshToken))
	_, err = auth.Verify(ctx, revoked.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)

	require.NoError(t, ring.Rotate(second))
	_, err = auth.Verify(ctx, retired.AccessToken)
	require.NoError(t, err, "the old key is still accepted")
	require.NoError(t, ring.Retire(first.ID()))
	_, err = auth.Verify(ctx, retired.AccessToken)
	require.ErrorIs(t, err, signet.ErrInvalidToken)
}

func TestAFloodOfTokensCannotGrowTheCache(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c, signet.WithTokenCache(5*256<<10))
	kept := sign(goodHeader, goodPayload(c, `,"jti":"kept"`))
	flood := func(round int) {
		for i := range 2_000 {
			claims, err := v.Verify(context.Background(), sign(goodHeader, goodPayload(c, fmt.Sprintf(`,"jti":"%d-%d"`, round, i))))
			require.NoError(t, err)
			require.Equal(t, fmt.Sprintf("%d-%d", round, i), claims.ID, "a token must never get another's claims")
		}
	}
	flood(0)
	before := heap()
	for round := range 10 {
		flood(round + 1)
	}
	require.Less(t, heap(), before+256<<10, "20,000 tokens more than fit")
	_, err := v.Verify(context.Background(), kept)
	require.NoError(t, err)
}

func TestTheCacheKeepsNoHeaders(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c)
	guard := v.RequireAuth(http.NotFoundHandler())
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range 100 {
		req := httptest.NewRequest("GET", "/", nil)
		req.Header.Set("Authorization", "Bearer"+strings.Repeat(" ", 500<<10)+sign(goodHeader, goodPayload(c, fmt.Sprintf(`,"jti":"%d"`, i))))
		rec := httptest.NewRecorder()
		guard.ServeHTTP(rec, req)
		require.Equal(t, 404, rec.Code)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	require.Less(t, after.HeapAlloc, before.HeapAlloc+10<<20, "100 headers of 500 KiB")
	runtime.KeepAlive(v)
}

func TestTheCacheUnderParallelUse(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c, signet.WithTokenCache(64<<10))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 2_000 {
				id := fmt.Sprint((worker + i) % 40)
				claims, err := v.Verify(context.Background(), sign(goodHeader, goodPayload(c, `,"jti":"`+id+`"`)))
				if err != nil || claims.ID != id {
					t.Errorf("got %v, %v; want claims with jti %s", claims, err, id)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestTheCacheCanBeOff(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c, signet.WithTokenCache(0))
	for range 3 {
		_, err := v.Verify(context.Background(), sign(goodHeader, goodPayload(c, "")))
		require.NoError(t, err)
	}
	_, err := signet.NewVerifier(keys.Secret(secret), signet.WithTokenCache(-1))
	require.ErrorContains(t, err, "WithTokenCache")
	_, err = signet.NewVerifier(keys.Secret(secret), signet.WithTokenCache(1000))
	require.ErrorContains(t, err, "65536")
}

// nothing is a response writer that costs nothing.
type nothing struct{ header http.Header }

func (n nothing) Header() http.Header         { return n.header }
func (n nothing) Write(p []byte) (int, error) { return len(p), nil }
func (n nothing) WriteHeader(int)             {}

// Two allocations come from the way in which net/http passes values: the context and the copy of the request. The race
// detector makes pools forget, and so adds some allocations. So `make test` also runs this test without it.
func TestRequireAuthAllocates(t *testing.T) {
	c := newClock()
	info, _ := debug.ReadBuildInfo()
	racing := slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
	for name, tc := range map[string]struct {
		opts []signet.VerifierOption
		want float64
	}{"repeat": {nil, 2}, "cold": {[]signet.VerifierOption{signet.WithTokenCache(0)}, 6}} {
		v := newVerifier(t, c, tc.opts...)
		passed := 0
		guard := v.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if signet.Subject(r.Context()) == "1" {
				passed++
			}
		}))
		req := httptest.NewRequest("GET", "/", nil)
		req.Header.Set("Authorization", "Bearer "+sign(goodHeader, goodPayload(c, `,"iss":"i","aud":["a"],"jti":"j","sid":"s","roles":["customer"]`)))
		w := nothing{http.Header{}}
		got := testing.AllocsPerRun(100, func() { guard.ServeHTTP(w, req) })
		if racing && name == "cold" {
			require.LessOrEqual(t, got, tc.want+4, name)
		} else {
			require.Equal(t, tc.want, got, name)
		}
		require.Equal(t, 101, passed)
	}
}

// The limit is in bytes: a long token takes the place of several short ones.
func TestLongTokensShareTheBytesOfTheCache(t *testing.T) {
	c := newClock()
	v := newVerifier(t, c, signet.WithTokenCache(5<<20)) // of which a fifth is for claims
	flood := func(round int) {
		for i := range 3000 {
			_, err := v.Verify(context.Background(), sign(goodHeader, goodPayload(c, fmt.Sprintf(`,"jti":"%d-%d","x":%q`, round, i, strings.Repeat("x", 1200)))))
			require.NoError(t, err)
		}
	}
	before := heap()
	flood(0)
	flood(1)
	used := heap() - before
	require.Less(t, used, int64(5<<19), "a cache of 1 MiB")
	runtime.KeepAlive(v)
}

// heap is how many bytes the program holds.
func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the first one leaves the pools of earlier tests
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// Tokens that come once do not push out those that come often, and a token that begins to come often gets in.
func TestAFloodLeavesTheTokensThatComeOften(t *testing.T) {
	for name, pad := range map[string]int{"four tokens in a set": 0, "three, because they are longer": 150} {
		t.Run(name, func(t *testing.T) {
			c := newClock()
			crowd := crowdAt(newVerifier(t, c, signet.WithTokenCache(5*256<<10)), c, pad) // 64 sets
			crowd.flood("first", 1000)                                                    // the cache is full before they come
			for round := range 40 {
				crowd.cached()
				crowd.flood(fmt.Sprint(round, "-"), 1000)
			}
			require.Greater(t, crowd.cached(), 10, "of 30, about 22; without that rule it would be none")
		})
	}
}

// Tokens that have expired hold no place. So the next ones need not come often. This is so for as long as the process runs.
func TestExpiredTokensMakeRoomInTheCache(t *testing.T) {
	c := newClock()
	verifier := newVerifier(t, c, signet.WithTokenCache(5*256<<10))
	for day := range 100 {
		crowd := crowdAt(verifier, c, 0)
		crowd.flood("first", 1000)
		crowd.cached()
		require.Less(t, crowd.cached(), 10, "of 30; the cache is full (day %d)", day)
		c.advance(10 * time.Minute)
		crowd = crowdAt(verifier, c, 0)
		crowd.cached()
		require.Greater(t, crowd.cached(), 20, "of 30; some share a set (day %d)", day)
		c.advance(24 * time.Hour)
	}
}

// crowd is 30 tokens that come often, and others that come once.
type crowd struct {
	verifier *signet.Verifier
	guard    http.Handler
	request  func(id string) *http.Request
	often    []*http.Request
}

func crowdAt(v *signet.Verifier, c *clock, pad int) *crowd {
	crowd := &crowd{verifier: v, guard: v.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})),
		request: func(id string) *http.Request {
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Authorization",
				"Bearer "+sign(goodHeader, goodPayload(c, fmt.Sprintf(`,"jti":%q,"x":%q`, id, strings.Repeat("x", pad)))))
			return r
		}}
	for i := range 30 {
		crowd.often = append(crowd.often, crowd.request(fmt.Sprint("often", i)))
	}
	return crowd
}

func (c *crowd) flood(name string, n int) {
	for i := range n {
		c.guard.ServeHTTP(nothing{http.Header{}}, c.request(fmt.Sprint(name, i)))
	}
}

// cached sends the tokens that come often once, and returns how many of them were in the cache.
func (c *crowd) cached() (n int) {
	w := nothing{http.Header{}}
	for _, r := range c.often {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		c.guard.ServeHTTP(w, r)
		runtime.ReadMemStats(&after)
		if after.Mallocs-before.Mallocs <= 3 { // a verification makes six and more
			n++
		}
	}
	return n
}
