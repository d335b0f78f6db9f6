package bench

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/userstore"
)

// BenchmarkRefreshHandler measures the handler of a refresh without a network: 20,000 sessions of as many users, one after
// the other. The bare service does the same to a row.
func BenchmarkRefreshHandler(b *testing.B) {
	const n = 20_000
	b.Run("signet", func(b *testing.B) {
		users := userstore.NewMemory()
		auth, err := signet.New(users, secret, signet.WithLogger(silent))
		if err != nil {
			b.Fatal(err)
		}
		defer auth.Close()
		tokens := make([]string, n)
		for i := range tokens {
			id := strconv.Itoa(i + 1)
			user := userstore.User{ID: id, Email: "user" + id + "@mail.com", Roles: []string{"customer"}}
			if err := users.Add(context.Background(), user); err != nil {
				b.Fatal(err)
			}
			pair, err := auth.IssueFor(context.Background(), user)
			if err != nil {
				b.Fatal(err)
			}
			tokens[i] = pair.RefreshToken
		}
		mux := http.NewServeMux()
		mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
		refreshAll(b, mux, tokens, true)
	})
	b.Run("bare", func(b *testing.B) {
		s, err := rawService(childSpec{Store: storeSpec{Driver: "memory"}, Sessions: n, Answer: 620})
		if err != nil {
			b.Fatal(err)
		}
		ids := slices.Clone(s.greeting.([]string))
		for i := range ids {
			ids[i] += strings.Repeat("x", 250-len(ids[i]))
		}
		refreshAll(b, s.handler, ids, false)
	})
}

func refreshAll(b *testing.B, h http.Handler, tokens []string, rotate bool) {
	w := &answer{header: http.Header{}}
	c := conn{}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		token := &tokens[i%len(tokens)]
		r, _ := http.NewRequest(http.MethodPost, refreshPath, strings.NewReader(refreshStart+*token+refreshEnd))
		r.RequestURI, r.RemoteAddr = refreshPath, "127.0.0.1:40000"
		r.Header["Content-Type"] = []string{"application/json"}
		clear(w.header)
		w.body = w.body[:0]
		h.ServeHTTP(w, r)
		if w.status != http.StatusCreated {
			b.Fatal(w.status, string(w.body))
		}
		if rotate {
			c.body = w.body
			*token = c.field("refresh_token")
		}
	}
}

// answer is a ResponseWriter that keeps the body.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) WriteHeader(status int)      { a.status = status }
func (a *answer) Write(b []byte) (int, error) { a.body = append(a.body, b...); return len(b), nil }
