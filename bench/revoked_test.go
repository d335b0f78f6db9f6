package bench

import (
	"context"
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

// revokedStore is a store in which n sessions were revoked before the service started.
type revokedStore struct {
	sessions.Memory
	n int
}

func (s *revokedStore) RevokedSince(ctx context.Context, since sessions.Millis, each func(string, sessions.Millis)) (sessions.Millis, error) {
	if since == 0 {
		until := sessions.MillisOf(time.Now().Add(24 * time.Hour))
		for i := range s.n {
			each("revoked-"+strconv.Itoa(i), until)
		}
	}
	return s.Memory.RevokedSince(ctx, since, each)
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
	store := &revokedStore{n: n}
	store.MaxPerUser = 2000
	auth, err := signet.New(users, keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")), signet.WithSessionStore(store))
	if err != nil {
		b.Fatal(err)
	}
	defer auth.Close()
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
