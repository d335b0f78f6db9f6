package load

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	vegeta "github.com/tsenart/vegeta/v12/lib"
)

// pair is the pair of tokens of one session.
type pair struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
}

// traffic is the load. Each user has one session that lives on, and there are visits: sessions that end with a logout.
type traffic struct {
	url    string
	mu     sync.Mutex
	pairs  []pair   // by user; under mu
	free   chan int // users whose refresh token nobody uses at this moment
	visits chan pair
	next   [6]atomic.Int64 // by operation: whose turn it is
}

// operation is one kind of request.
type operation struct {
	name   string
	rate   int // per second
	status int // of the right answer
	target func(t *vegeta.Target) error
	took   func(r *vegeta.Result) // nil: the answer changes nothing
}

func newTraffic(t testing.TB, url string, users int) *traffic {
	l := &traffic{url: url, pairs: make([]pair, users), free: make(chan int, users), visits: make(chan pair, 1<<16)}
	for i := range users { // this also makes 127.0.0.1 a known place of each user
		l.pairs[i] = l.login(t, i)
		l.free <- i
	}
	for i := range 10 { // so that a logout need not wait for a login
		l.visits <- l.login(t, i)
	}
	return l
}

func credentials(user int, password string) string {
	return fmt.Sprintf(`{"email":%q,"password":%q}`, emailOf(user), password)
}

func (l *traffic) login(t testing.TB, user int) (p pair) {
	res, err := http.Post(l.url+"/api/v1/auth/login", "application/json", strings.NewReader(credentials(user, passwordOf)))
	require.NoError(t, err)
	defer res.Body.Close()
	require.Equal(t, 201, res.StatusCode)
	require.NoError(t, json.NewDecoder(res.Body).Decode(&p))
	return p
}

// turn is the user whose turn it is for an operation.
func (l *traffic) turn(operation int) int {
	return int(l.next[operation].Add(1)) % len(l.pairs)
}

func (l *traffic) access(user int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pairs[user].Access
}

// operations are what happens at the same time. Hashes of passwords cost most: five of them in a second are a tenth of a
// processor. No user has ten wrong passwords in a row, even without a login between them, in ten minutes.
func (l *traffic) operations() []operation {
	post := func(t *vegeta.Target, path, body string) error {
		t.Method, t.URL, t.Body = "POST", l.url+"/api/v1/auth/"+path, []byte(body)
		t.Header = http.Header{"Content-Type": {"application/json"}}
		return nil
	}
	get := func(t *vegeta.Target, path string, user int) error {
		t.Method, t.URL = "GET", l.url+"/api/v1/"+path
		t.Header = http.Header{"Authorization": {"Bearer " + l.access(user)}}
		return nil
	}
	return []operation{
		{"login", 4, 201, func(t *vegeta.Target) error {
			return post(t, "login", credentials(l.turn(0), passwordOf))
		}, func(r *vegeta.Result) {
			var p pair
			if json.Unmarshal(r.Body, &p) == nil && p.Refresh != "" {
				l.visits <- p
			}
		}},
		{"wrong password", 1, 401, func(t *vegeta.Target) error { return post(t, "login", credentials(l.turn(1), "wrong")) }, nil},
		{"refresh", 30, 201, func(t *vegeta.Target) error {
			user, err := take(l.free)
			if err != nil {
				return err
			}
			l.mu.Lock()
			token := l.pairs[user].Refresh
			l.mu.Unlock()
			return post(t, fmt.Sprintf("refresh-token?user=%d", user), fmt.Sprintf(`{"refreshToken":%q}`, token)) // for the answer
		}, l.refreshed},
		{"profile", 100, 200, func(t *vegeta.Target) error { return get(t, "auth/profile", l.turn(3)) }, nil},
		{"RequireAuth", 100, 200, func(t *vegeta.Target) error { return get(t, "orders", l.turn(4)) }, nil},
		{"logout", 4, 204, func(t *vegeta.Target) error {
			visit, err := take(l.visits)
			if err != nil {
				return err
			}
			return post(t, "logout", fmt.Sprintf(`{"refreshToken":%q}`, visit.Refresh))
		}, nil},
	}
}

// patience is how long a request may take, and how long one waits for the answer to another.
const patience = 15 * time.Second

// take waits for what an earlier answer brings.
func take[T any](from <-chan T) (value T, err error) {
	select {
	case value = <-from:
	case <-time.After(patience):
		err = errors.New("the answers that it needs have not come")
	}
	return value, err
}

// refreshed keeps the new pair of a user. After a refusal the user goes on with the old one, so each further refusal counts too.
func (l *traffic) refreshed(r *vegeta.Result) {
	_, text, _ := strings.Cut(r.URL, "?user=")
	user, err := strconv.Atoi(text)
	if err != nil {
		return
	}
	var p pair
	if r.Code == http.StatusCreated && json.Unmarshal(r.Body, &p) == nil {
		l.mu.Lock()
		l.pairs[user] = p
		l.mu.Unlock()
	}
	l.free <- user
}

// run sends all operations at the same time, each at its own rate. An answer that is late delays no other request.
func (l *traffic) run(length time.Duration) []*series {
	client := &http.Client{Timeout: patience, Transport: &http.Transport{MaxIdleConnsPerHost: 256,
		IdleConnTimeout: 3 * time.Second}} // the example closes what is unused for five seconds
	var all []*series
	var wait sync.WaitGroup
	for _, op := range l.operations() {
		s := &series{name: op.name, rate: op.rate, length: length, wrong: map[string]int{}}
		all = append(all, s)
		wait.Go(func() {
			attacker := vegeta.NewAttacker(vegeta.Client(client))
			pace := vegeta.Rate{Freq: op.rate, Per: time.Second}
			for r := range attacker.Attack(op.target, pace, length, op.name) {
				if op.took != nil {
					op.took(r)
				}
				s.add(r, op.status)
			}
			s.metrics.Close()
		})
	}
	wait.Wait()
	client.CloseIdleConnections()
	return all
}
