//go:build figures

package integration

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/feed"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/userstore"
)

// These tests print figures of what docs/rotation.md calls "How a revocation reaches everybody". Run them on a quiet machine:
// make figures-revocation.

// say prints a figure beside its goal, and fails the test if the goal is missed.
func say(t *testing.T, good bool, what, goal, format string, args ...any) {
	t.Helper()
	results.note(t, "%-4s %-66s goal: %-34s %s", map[bool]string{true: "ok", false: "MISS"}[good], what, goal, fmt.Sprintf(format, args...))
	if !good {
		t.Errorf("%s: the goal is missed", what)
	}
}

func percentile(list []time.Duration, p float64) time.Duration {
	list = slices.Sorted(slices.Values(list))
	return list[min(len(list)-1, int(float64(len(list))*p))]
}

// generated is a store in which n sessions were revoked before the service started. It makes their entries when the log is
// read.
type generated struct {
	session.Memory
	n       int
	read    chan struct{} // closed when they were read
	lookups atomic.Int64
}

func (s *generated) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	from := 0
	if after == "made all" {
		return s.Memory.ReadLog(ctx, session.Start, limit, each)
	}
	if after != session.Start {
		if n, err := fmt.Sscanf(string(after), "made %d", &from); n != 1 || err != nil {
			return s.Memory.ReadLog(ctx, after, limit, each)
		}
	}
	now := session.MillisOf(time.Now())
	to := min(from+limit, s.n)
	for i := from; i < to; i++ {
		each(session.RevokedEntry(fmt.Sprint("revoked-", i), now+session.Millis(i%(20*24))*3_600_000+3_600_000))
	}
	if to < s.n {
		return session.Page{Next: session.Cursor(fmt.Sprintf("made %d", to)), More: true, Now: now}, ctx.Err()
	}
	close(s.read)
	return session.Page{Next: "made all", More: true, Now: now}, ctx.Err()
}

func (s *generated) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	s.lookups.Add(1)
	return s.Memory.Update(ctx, id, change)
}

// heap returns the memory that is in use.
func heap() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapInuse
}

func manyUsers(t testing.TB, n int) (*userstore.Memory, []userstore.User) {
	t.Helper()
	users := userstore.NewMemory()
	var list []userstore.User
	for i := range n {
		u := userstore.User{ID: fmt.Sprint("u", i), Email: fmt.Sprintf("u%d@mail.com", i), Roles: []string{"old"}}
		require.NoError(t, users.Add(t.Context(), u))
		list = append(list, u)
	}
	return users, list
}

func issue(t testing.TB, auth *signet.Auth, user userstore.User) signet.Tokens {
	t.Helper()
	tokens, err := auth.IssueFor(t.Context(), user)
	require.NoError(t, err)
	return tokens
}

func TestFiguresHundredMillion(t *testing.T) {
	const revoked, live, dead, memory = 100_000_000, 100_000, 10_000, 200_000_000
	users, list := manyUsers(t, 2000)
	open := func(n int, before func(store *generated)) (*signet.Auth, *generated) {
		store := &generated{n: n, read: make(chan struct{})}
		before(store)
		auth := newAuth(t, users, store, signet.WithRevocationMemory(memory))
		<-store.read
		return auth, store
	}
	none, _ := open(0, func(*generated) {})
	var gone []string // tokens of sessions that were revoked before the service started
	revokeSome := func(store *generated) {
		earlier := newAuth(t, users, &store.Memory)
		for i := range dead {
			gone = append(gone, issue(t, earlier, list[i%len(list)]).AccessToken)
			claims, err := earlier.Verify(t.Context(), gone[i])
			require.NoError(t, err)
			require.NoError(t, earlier.RevokeSession(t.Context(), claims.SessionID))
		}
		require.NoError(t, earlier.Close())
	}
	before := heap()
	auth, store := open(revoked, revokeSome)
	used := heap() - before
	say(t, used <= memory, "10^8 live revocations, bound 200 MB: memory", "at most 200 MB", "%.1f MB", float64(used)/1e6)

	var tokens, others []string
	for i := range live {
		tokens = append(tokens, issue(t, auth, list[i%len(list)]).AccessToken)
		others = append(others, issue(t, none, list[i%len(list)]).AccessToken)
	}
	time.Sleep(2 * time.Second)
	store.lookups.Store(0)
	refused := 0
	for _, token := range tokens {
		if _, err := auth.Verify(t.Context(), token); err != nil {
			refused++
		}
	}
	looked := store.lookups.Load()
	say(t, refused == 0, "the same: valid tokens refused, of 100,000", "0", "%d (%d looked up once, %.1f %%)", refused, looked, float64(looked)/live*100)
	for i, token := range tokens { // again: what was looked up is remembered
		auth.Verify(t.Context(), token)
		none.Verify(t.Context(), others[i])
	}
	say(t, store.lookups.Load()-looked < looked/50+1, "the same, a second time: look-ups", "none", "%d", store.lookups.Load()-looked)
	passed := 0
	for i := range dead {
		claims, err := auth.Verify(t.Context(), tokens[i])
		require.NoError(t, err)
		require.NoError(t, auth.RevokeSession(t.Context(), claims.SessionID))
		for _, token := range []string{tokens[i], gone[i]} {
			if _, err := auth.Verify(t.Context(), token); err == nil {
				passed++
			}
		}
	}
	say(t, passed == 0, "the same: revoked tokens that pass, of 20,000, half of them from before the start", "0", "%d", passed)

	for name, n := range map[string]int{"one token": 1, "1,000 tokens at random": 1000} {
		guard := func(a *signet.Auth, tokens []string) func() time.Duration {
			h := a.RequireAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			var requests []*http.Request
			for _, token := range tokens {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("Authorization", "Bearer "+token)
				requests = append(requests, r)
			}
			w := httptest.NewRecorder()
			return func() time.Duration {
				began := time.Now()
				for i := range 200_000 {
					h.ServeHTTP(w, requests[i*7919%len(requests)])
				}
				return time.Since(began) / 200_000
			}
		}
		with, without := guard(auth, tokens[dead:dead+n]), guard(none, others[dead:dead+n])
		with()
		without()
		var ratios []float64
		var times [2][]time.Duration
		for range 7 {
			a, b := without(), with()
			times[0], times[1] = append(times[0], a), append(times[1], b)
			ratios = append(ratios, float64(b)/float64(a))
		}
		slices.Sort(ratios)
		say(t, ratios[len(ratios)/2] <= 1.3, "RequireAuth with 10^8 revocations against none, "+name, "at most 1.3x", "%.2fx (%v, %v; 7 rounds in turn)",
			ratios[len(ratios)/2], percentile(times[0], .5), percentile(times[1], .5))
	}
}

// lines tells when a line with a text was logged.
type lines struct {
	slog.Handler
	text string
	seen chan time.Time
}

func (l lines) Enabled(context.Context, slog.Level) bool { return true }
func (l lines) Handle(_ context.Context, r slog.Record) error {
	if strings.Contains(r.Message, l.text) {
		select {
		case l.seen <- time.Now():
		default:
		}
	}
	return nil
}

func TestFiguresTenMillionInPostgreSQL(t *testing.T) {
	const rows = 10_000_000
	d := *postgres.host(t).fresh(t).database
	db := openSQL(t, d)
	db.SetMaxOpenConns(4)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
	var indexes []string // made again when the rows are there, which is faster
	found, err := db.QueryContext(t.Context(), `SELECT indexname, indexdef FROM pg_indexes
		WHERE tablename = 'signet_sessions' AND schemaname = current_schema() AND indexdef NOT LIKE '%UNIQUE%'`)
	require.NoError(t, err)
	var names []string
	for found.Next() {
		var name, def string
		require.NoError(t, found.Scan(&name, &def))
		names, indexes = append(names, name), append(indexes, def)
	}
	require.NotEmpty(t, names)
	for _, name := range names {
		_, err := db.ExecContext(t.Context(), "DROP INDEX "+name)
		require.NoError(t, err)
	}
	for from := 0; from < rows; from += rows / 20 {
		_, err := db.ExecContext(t.Context(), `INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, pos, data)
			SELECT '0' || md5(g::text), 'u' || g % 100000, 2, extract(epoch FROM now()) * 1000 + 86400000 * (1 + g % 20),
				extract(epoch FROM now()) * 1000, (g / 10000 + 1) * 10000, '{"v":1,"id":"0' || md5(g::text) || '","revoked":1}'
			FROM generate_series($1::bigint, $2::bigint) g`, from, from+rows/20-1)
		require.NoError(t, err)
	}
	for _, index := range indexes {
		_, err := db.ExecContext(t.Context(), index)
		require.NoError(t, err)
	}
	_, err = db.ExecContext(t.Context(), `UPDATE signet_log SET head = $1`, rows)
	require.NoError(t, err)
	_, err = db.ExecContext(t.Context(), `ANALYZE signet_sessions`)
	require.NoError(t, err)
	store, err := sqlstore.NewSessions(db, d.dialect)
	require.NoError(t, err)
	for _, memory := range []int{64 << 20, 512 << 20} {
		read := lines{slog.DiscardHandler, "the revocations were read", make(chan time.Time, 1)}
		began := time.Now()
		auth := newAuth(t, onlyJohn(t), store, signet.WithLogger(slog.New(read)), signet.WithRevocationMemory(memory))
		took := time.Since(began)
		_, err = auth.Verify(t.Context(), issue(t, auth, john).AccessToken)
		require.NoError(t, err, "a new session works at once")
		name := fmt.Sprintf("10^7 revocations in PostgreSQL, %d MiB: ", memory>>20)
		say(t, took <= time.Second, name+"New", "at most 1 s", "%v", took.Round(time.Millisecond))
		local := (<-read.seen).Sub(began)
		say(t, local <= 15*time.Second, name+"until the list is local", "at most 15 s", "%v", local.Round(10*time.Millisecond))
		require.NoError(t, auth.Close())
	}
}

// counted counts the entries that a process reads, and its calls.
type counted struct {
	session.Store
	entries, calls *atomic.Int64
}

func (c counted) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	return c.Store.ReadLog(ctx, after, limit, func(e session.Entry) {
		c.entries.Add(1)
		each(e)
	})
}

func (c counted) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	c.calls.Add(1)
	return c.Store.Update(ctx, id, change)
}

func (c counted) List(ctx context.Context, userID string, limit int) ([]session.Session, session.Moment, error) {
	c.calls.Add(1)
	return c.Store.List(ctx, userID, limit)
}

func (c counted) Cut(ctx context.Context, userID string, change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	c.calls.Add(1)
	return c.Store.Cut(ctx, userID, change)
}

// everySoOften calls work n times, at a rate of 100 a second.
func everySoOften(n int, work func(i int)) {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for i := range n {
		<-tick.C
		work(i)
	}
}

func TestFiguresRowsRead(t *testing.T) {
	const processes, revocations = 100, 2000
	d := *postgres.host(t).fresh(t).database
	db := openSQL(t, d)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
	users, list := manyUsers(t, 100)
	one := newAuth(t, users, sqlSessions(t, db, d.dialect))
	var ids []string
	for i := range revocations {
		claims, err := one.Verify(t.Context(), issue(t, one, list[i%len(list)]).AccessToken)
		require.NoError(t, err)
		ids = append(ids, claims.SessionID)
	}
	var entries, calls atomic.Int64
	for range processes {
		newAuth(t, users, counted{sqlSessions(t, db, d.dialect), &entries, &calls})
	}
	time.Sleep(5 * time.Second)
	entries.Store(0)
	began := time.Now()
	everySoOften(revocations, func(i int) { require.NoError(t, one.RevokeSession(t.Context(), ids[i])) })
	rate := float64(entries.Load()) / processes / time.Since(began).Seconds()
	say(t, rate <= 300, "rows read at 100 revocations/s, per process and second, 100 processes", "at most 300", "%.0f", rate)
}

func TestFiguresLag(t *testing.T) {
	for _, kind := range []store{postgres, redisOne} {
		t.Run(kind.name, func(t *testing.T) {
			at := kind.host(t).fresh(t)
			users, list := manyUsers(t, 100)
			here := newAuth(t, users, at.sessions(t))
			others := []verifier{newAuth(t, users, at.sessions(t)), newAuth(t, users, at.sessions(t))}
			lags := measureLag(t, here, others, list)
			bound, what := 1100*time.Millisecond, "pull, "+kind.name
			if _, pushes := at.sessions(t).(*redisstore.Store); pushes {
				bound, what = 50*time.Millisecond, "push, "+kind.name
			}
			p99 := percentile(lags, .99)
			say(t, p99 <= bound, "revoked here, refused there; 3 processes, 100 a second; "+what, fmt.Sprintf("p99 at most %v", bound),
				"p50 %v, p99 %v, max %v of %d", percentile(lags, .5).Round(time.Millisecond), p99.Round(time.Millisecond),
				slices.Max(lags).Round(time.Millisecond), len(lags))
		})
	}
}

type verifier interface {
	Verify(ctx context.Context, token string) (*signet.Claims, error)
}

// measureLag revokes 100 sessions a second, and measures how long the others accept their tokens.
func measureLag(t *testing.T, here *signet.Auth, others []verifier, users []userstore.User) (lags []time.Duration) {
	const revocations = 1500
	type revoked struct {
		token string
		at    time.Time
	}
	var tokens, ids []string
	for i := range revocations {
		tokens = append(tokens, issue(t, here, users[i%len(users)]).AccessToken)
		claims, err := here.Verify(t.Context(), tokens[i])
		require.NoError(t, err)
		ids = append(ids, claims.SessionID)
	}
	time.Sleep(2 * time.Second)
	for _, other := range others {
		for _, token := range tokens {
			_, err := other.Verify(t.Context(), token)
			require.NoError(t, err)
		}
	}
	var mu sync.Mutex
	var group sync.WaitGroup
	queues := make([]chan revoked, len(others))
	for i, other := range others {
		queues[i] = make(chan revoked, revocations)
		group.Go(func() {
			var waiting []revoked
			open := true
			for open || len(waiting) > 0 {
				for more := open; more; {
					select {
					case r, ok := <-queues[i]:
						if open = ok; ok {
							waiting = append(waiting, r)
						}
						more = ok
					default:
						more = false
					}
				}
				waiting = slices.DeleteFunc(waiting, func(r revoked) bool {
					_, err := other.Verify(t.Context(), r.token)
					if err == nil {
						return false
					}
					mu.Lock()
					defer mu.Unlock()
					lags = append(lags, time.Since(r.at))
					return true
				})
				time.Sleep(time.Millisecond)
			}
		})
	}
	everySoOften(revocations, func(i int) {
		require.NoError(t, here.RevokeSession(t.Context(), ids[i]))
		for _, queue := range queues {
			queue <- revoked{tokens[i], time.Now()}
		}
	})
	for _, queue := range queues {
		close(queue)
	}
	group.Wait()
	return lags
}

func TestFiguresCutOffs(t *testing.T) {
	const sessions, many = 10_000, 3000
	d := *postgres.host(t).fresh(t).database
	db := openSQL(t, d)
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
	open := func() session.Store {
		s, err := sqlstore.NewSessions(db, d.dialect, sqlstore.WithMaxPerUser(2*sessions))
		require.NoError(t, err)
		return s
	}
	users, list := manyUsers(t, many)
	var entries, calls atomic.Int64
	here := newAuth(t, users, counted{open(), &entries, &calls})
	others := []*signet.Auth{newAuth(t, users, open()), newAuth(t, users, open())}
	begin := func(n int, user func(i int) userstore.User) (tokens []string) {
		tokens = make([]string, n)
		var group sync.WaitGroup
		for worker := range 8 {
			group.Go(func() {
				for i := worker; i < n; i += 8 {
					tokens[i] = issue(t, here, user(i)).AccessToken
				}
			})
		}
		group.Wait()
		return tokens
	}
	seen := func(name string, tokens []string, cut func() error) {
		calls.Store(0)
		began := time.Now()
		require.NoError(t, cut())
		took, writes := time.Since(began), calls.Load()
		for _, other := range others {
			for _, token := range tokens {
				for {
					_, err := other.Verify(t.Context(), token)
					if err != nil {
						require.ErrorIs(t, err, signet.ErrRevoked)
						break
					}
					require.Less(t, time.Since(began), 10*time.Second)
					time.Sleep(time.Millisecond)
				}
			}
		}
		all := time.Since(began)
		say(t, writes == 1 && all <= 1100*time.Millisecond, name, "1 write, seen by all in 1.1 s",
			"%d write in %v, all refused everywhere after %v", writes, took.Round(time.Millisecond), all.Round(time.Millisecond))
	}
	tokens := begin(sessions, func(int) userstore.User { return list[0] })
	seen("RevokeUser with 10,000 sessions", tokens, func() error { return here.RevokeUser(t.Context(), list[0].ID) })
	tokens = begin(many, func(i int) userstore.User { return list[i] })
	seen("RevokeAll with 3,000 users", tokens, func() error { return here.RevokeAll(t.Context()) })
}

func TestFiguresUserChanged(t *testing.T) {
	const changed = 1000
	at := postgres.host(t).fresh(t)
	users, list := manyUsers(t, changed)
	var entries, calls atomic.Int64
	var processes []*signet.Auth
	for range 3 {
		processes = append(processes, newAuth(t, users, counted{at.sessions(t), &entries, &calls}))
	}
	var tokens []signet.Tokens
	for _, user := range list {
		tokens = append(tokens, issue(t, processes[0], user))
	}
	time.Sleep(2 * time.Second)
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	var requests atomic.Int64
	for _, process := range processes {
		load.Go(func() {
			for ctx.Err() == nil {
				for _, pair := range tokens {
					process.Verify(context.Background(), pair.AccessToken)
					requests.Add(1)
				}
				time.Sleep(10 * time.Millisecond)
			}
		})
	}
	var slowest time.Duration
	var times []time.Time
	calls.Store(0)
	for _, user := range list {
		user.Roles = []string{"new"}
		require.NoError(t, users.Update(t.Context(), user))
		require.NoError(t, processes[0].UserChanged(t.Context(), user.ID))
		times = append(times, time.Now())
	}
	for i, pair := range tokens {
		for _, process := range processes {
			for {
				_, err := process.Verify(t.Context(), pair.AccessToken)
				if err != nil {
					require.ErrorIs(t, err, signet.ErrUserChanged)
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		slowest = max(slowest, time.Since(times[i]))
	}
	io := calls.Load() - changed
	stop()
	load.Wait()
	ended := 0
	for i, pair := range tokens {
		next, err := processes[i%3].Refresh(t.Context(), pair.RefreshToken)
		if err != nil {
			ended++
			continue
		}
		claims, err := processes[(i+1)%3].Verify(t.Context(), next.AccessToken)
		require.NoError(t, err)
		require.Equal(t, []string{"new"}, claims.Roles)
	}
	say(t, ended == 0 && io == 0, "UserChanged for 1,000 users under load: sessions ended, store calls of RequireAuth", "0, 0",
		"%d, %d in %d requests", ended, io, requests.Load())
	single := slowestChange(t, processes, users)
	say(t, single <= 1100*time.Millisecond, "UserChanged: old tokens are 401 in all of 3 processes", "within 1.1 s",
		"%v, the slowest of 20; %v for the last of the 1,000, until all were checked", single.Round(time.Millisecond), slowest.Round(time.Millisecond))
}

// slowestChange changes 20 users one after the other, and returns the longest time until all processes refused an old token.
func slowestChange(t *testing.T, processes []*signet.Auth, users *userstore.Memory) (longest time.Duration) {
	for i := range 20 {
		user, err := users.FindByID(t.Context(), fmt.Sprint("u", i))
		require.NoError(t, err)
		token := issue(t, processes[0], user).AccessToken
		began := time.Now()
		require.NoError(t, processes[0].UserChanged(t.Context(), user.ID))
		for _, process := range processes {
			for {
				if _, err := process.Verify(t.Context(), token); err != nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
		}
		longest = max(longest, time.Since(began))
	}
	return longest
}

func TestFiguresFeed(t *testing.T) {
	const bound = 3 * time.Second
	at := postgres.host(t).fresh(t)
	users, list := manyUsers(t, 100)
	store := at.sessions(t)
	auth := newAuth(t, users, store)
	key := keys.Secret([]byte(secret))
	handler, err := feed.NewHandler(store, key)
	require.NoError(t, err)
	var down atomic.Bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	defer server.Close()
	follower, err := feed.Open(server.URL, key, feed.WithLogger(silent), feed.WithMaxStaleness(bound))
	require.NoError(t, err)
	defer follower.Close()
	v, err := signet.NewVerifier(key, signet.WithRevocations(follower))
	require.NoError(t, err)
	probe := issue(t, auth, list[0]).AccessToken
	require.Eventually(t, func() bool { _, err := v.Verify(t.Context(), probe); return err == nil }, 20*time.Second, 10*time.Millisecond)
	lags := measureLag(t, auth, []verifier{v}, list)
	p99 := percentile(lags, .99)
	say(t, p99 <= 1200*time.Millisecond, "a NewVerifier service that follows the feed: lag", "p99 at most 1.2 s", "p50 %v, p99 %v, max %v of %d",
		percentile(lags, .5).Round(time.Millisecond), p99.Round(time.Millisecond), slices.Max(lags).Round(time.Millisecond), len(lags))

	victim := issue(t, auth, list[1]).AccessToken
	_, err = v.Verify(t.Context(), victim)
	require.NoError(t, err)
	down.Store(true)
	began := time.Now()
	require.NoError(t, auth.RevokeUser(t.Context(), list[1].ID))
	var until time.Duration
	passes := 0
	for time.Since(began) < 3*bound {
		_, err := v.Verify(t.Context(), victim)
		switch {
		case err == nil && time.Since(began) > bound+100*time.Millisecond:
			passes++
		case err != nil && until == 0:
			require.ErrorIs(t, err, signet.ErrUnavailable)
			until = time.Since(began)
		}
		time.Sleep(time.Millisecond)
	}
	down.Store(false)
	back := time.Now()
	for {
		if _, err := v.Verify(t.Context(), probe); err == nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	_, err = v.Verify(t.Context(), victim)
	require.ErrorIs(t, err, signet.ErrRevoked)
	say(t, passes == 0 && until <= bound+100*time.Millisecond, "the same while the feed is down, MaxStaleness 3 s", "503 after it, never a pass",
		"503 after %v, %d passes of a revoked token; works again after %v", until.Round(time.Millisecond), passes, time.Since(back).Round(time.Millisecond))
}

// learning notes when a process reads the entry of a session for the first time.
type learning struct {
	session.Store
	at *sync.Map
}

func (l learning) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	return l.Store.ReadLog(ctx, after, limit, func(e session.Entry) {
		l.at.LoadOrStore(e.ID, time.Now())
		each(e)
	})
}

func TestFiguresStreams(t *testing.T) {
	const streams, some = 10_000, 1000
	at := postgres.host(t).fresh(t)
	users, list := manyUsers(t, streams/50)
	var learned sync.Map // when the other process read the entry of a session
	here, there := newAuth(t, users, at.sessions(t)), newAuth(t, users, learning{at.sessions(t), &learned})
	guard := there.RequireAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		*r.Context().Value(contextOf{}).(*context.Context) = r.Context()
	}))
	var tokens []signet.Tokens
	var ids []string
	var contexts []context.Context
	ended := make([]atomic.Int64, streams)
	for i := range streams {
		tokens = append(tokens, issue(t, here, list[i%len(list)]))
		claims, err := here.Verify(t.Context(), tokens[i].AccessToken)
		require.NoError(t, err)
		ids = append(ids, claims.SessionID)
	}
	time.Sleep(3 * time.Second)
	before := runtime.NumGoroutine()
	for i := range streams {
		var ctx context.Context
		r := httptest.NewRequest("GET", "/", nil).WithContext(context.WithValue(t.Context(), contextOf{}, &ctx))
		r.Header.Set("Authorization", "Bearer "+tokens[i].AccessToken)
		w := httptest.NewRecorder()
		guard.ServeHTTP(w, r)
		require.NotNil(t, ctx, "%d", w.Code)
		watched, cancel := signet.SessionContext(ctx)
		t.Cleanup(cancel)
		contexts = append(contexts, watched)
		context.AfterFunc(watched, func() { ended[i].Store(time.Now().UnixNano()) })
	}
	grown := runtime.NumGoroutine() - before
	for i := range some {
		_, err := here.Refresh(t.Context(), tokens[streams-1-i].RefreshToken)
		require.NoError(t, err)
	}
	for i := range some {
		require.NoError(t, here.RevokeSession(t.Context(), ids[i]))
	}
	var after []time.Duration
	for i := range some {
		require.Eventually(t, func() bool { return ended[i].Load() > 0 }, 10*time.Second, time.Millisecond, "a stream goes on")
		at, known := learned.Load(ids[i])
		require.True(t, known, "a stream ended before its entry was read")
		after = append(after, time.Unix(0, ended[i].Load()).Sub(at.(time.Time)))
	}
	time.Sleep(2 * time.Second) // so that others could end too
	wrong := 0
	for i, ctx := range contexts {
		if (ctx.Err() != nil) != (i < some) {
			wrong++
		}
	}
	p99 := percentile(after, .99)
	say(t, wrong == 0 && p99 <= 100*time.Millisecond && grown <= 0, "10,000 open streams, 1,000 sessions revoked, 1,000 refreshed",
		"exactly these end, p99 100 ms, no goroutine", "%d wrong; p99 %v after the process learned of it; %d goroutines more", wrong, p99, grown)
}

// contextOf is the key of a place for the context behind the middleware.
type contextOf struct{}
