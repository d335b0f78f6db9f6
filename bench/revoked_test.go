package bench

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	sessions "github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// revokedStore is a store in which n sessions were revoked before the service started. It makes their entries when the log
// is read.
type revokedStore struct {
	sessions.Memory
	n    int
	read chan struct{} // closed when they were read
}

func newRevokedStore(n int) *revokedStore { return &revokedStore{n: n, read: make(chan struct{})} }

// ReadLog has cursors "made N" for the entries that it makes. Then those of Memory follow.
func (s *revokedStore) ReadLog(ctx context.Context, after sessions.Cursor, limit int, each func(sessions.Entry)) (sessions.Page, error) {
	from := 0
	if after == "made all" {
		return s.Memory.ReadLog(ctx, sessions.Start, limit, each)
	}
	if after != sessions.Start {
		if n, err := fmt.Sscanf(string(after), "made %d", &from); n != 1 || err != nil {
			return s.Memory.ReadLog(ctx, after, limit, each)
		}
	}
	now := sessions.MillisOf(time.Now())
	to := min(from+limit, s.n)
	for i := from; i < to; i++ {
		each(sessions.RevokedEntry("revoked-"+strconv.Itoa(i), now+sessions.Millis(i%(20*24))*3_600_000+60_000))
	}
	if to < s.n {
		return sessions.Page{Next: sessions.Cursor(fmt.Sprintf("made %d", to)), More: true, Now: now}, ctx.Err()
	}
	close(s.read)
	return sessions.Page{Next: "made all", More: true, Now: now}, ctx.Err()
}

// BenchmarkRevoked measures a request with one of 1,000 live tokens while N other sessions are revoked. The token is chosen
// at random, so that no cache line stays warm.
func BenchmarkRevoked(b *testing.B) {
	for _, n := range append([]int{0}, crowds...) {
		b.Run(short(n), func(b *testing.B) { withRevoked(b, n) })
	}
}

func withRevoked(b *testing.B, n int) {
	users := &userstore.Memory{}
	user := userstore.User{ID: "1", Email: "john@mail.com", Roles: []string{"customer"}}
	if err := users.Add(b.Context(), user); err != nil {
		b.Fatal(err)
	}
	store := newRevokedStore(n)
	store.MaxPerUser = 2000
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")), signet.WithSessionStore(store))
	if err != nil {
		b.Fatal(err)
	}
	defer auth.Close()
	<-store.read
	requests := make([]*http.Request, 1000)
	for i := range requests {
		tokens, err := auth.IssueFor(b.Context(), user)
		if err != nil {
			b.Fatal(err)
		}
		requests[i], err = http.NewRequest(http.MethodGet, "http://api.example/orders", nil)
		if err != nil {
			b.Fatal(err)
		}
		requests[i].Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	}
	guard := auth.RequireAuth(empty)
	var w sink
	draw := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		guard.ServeHTTP(&w, requests[draw.IntN(len(requests))])
	}
	check(b, w.passed, w.others)
}
