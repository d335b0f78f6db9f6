package integration

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// A storm lasts about stormTime.
const (
	stormClients  = 40
	stormSessions = 7 // of each client; no user may have more sessions than a store allows
	stormTime     = 10 * time.Second
)

// reuseWindow is signet's default.
const reuseWindow = 10 * time.Second

// storm is many honest clients that refresh all the time. A session rotates only a few times in a window, because the rules
// coalesce the other refreshes. So every client has several sessions, and rotations are under way at any moment.
type storm struct {
	fleet   *fleet
	clients [][]*browser
	stop    chan struct{}
	running sync.WaitGroup

	requests, unavailable, unanswered, unauthorized atomic.Int64
	bare                                            atomic.Int64 // 503 without Retry-After
	outage                                          atomic.Int64 // the longest outage, in nanoseconds
	mu                                              sync.Mutex
	odd                                             []string // the first answers that no fault may cause
}

// browser is one session. Its tabs share their storage.
type browser struct {
	storm *storm

	mu       sync.Mutex
	held     pair
	lost     bool
	attempts []attempt
}

// attempt is one refresh. If it was not answered with tokens, its outcome is unknown.
type attempt struct {
	presented, got int64 // generations; 0: no tokens
	sent, received time.Time
}

func newStorm(t testing.TB, f *fleet, sessions session.Store) *storm {
	t.Helper()
	// These are the users of the example, but without password hashes, which take long.
	users := userstore.NewMemory()
	three := []userstore.User{john, {ID: "2", Email: "maria@mail.com"}, {ID: "3", Email: "admin@mail.com"}}
	for _, user := range three {
		require.NoError(t, users.Add(t.Context(), user))
	}
	auth := newAuth(t, users, sessions)
	s := &storm{fleet: f, stop: make(chan struct{}), clients: make([][]*browser, stormClients)}
	for i := range s.clients {
		for range stormSessions {
			tokens, err := auth.IssueFor(t.Context(), three[i%len(three)])
			require.NoError(t, err)
			s.clients[i] = append(s.clients[i], &browser{storm: s, held: pair{tokens.AccessToken, tokens.RefreshToken}})
		}
	}
	return s
}

func (s *storm) begin() {
	for _, browsers := range s.clients {
		s.running.Go(func() {
			for {
				select {
				case <-s.stop:
					return
				case <-time.After(rand.N(400 * time.Millisecond)):
					browsers[rand.IntN(len(browsers))].page(time.Now().Add(time.Minute))
				}
			}
		})
	}
}

func (s *storm) end() {
	close(s.stop)
	s.running.Wait()
}

// page does what a web page does when its access token has expired. It refreshes, sometimes from several tabs at once, and
// continues with the new token. Sometimes a tab that slept sends the old refresh token a moment later, when the new one is
// in use.
func (b *browser) page(limit time.Time) {
	began, old := time.Now(), b.token()
	var tabs sync.WaitGroup
	for range 1 + rand.IntN(3)/2*2 { // one, or three
		tabs.Go(func() { b.refresh(limit) })
	}
	tabs.Wait()
	b.profile(limit)
	if rand.IntN(3) == 0 && time.Since(began) < time.Second { // well within the reuse window, even if the store stalls then
		b.storm.running.Go(func() {
			time.Sleep(rand.N(time.Second))
			b.refreshWith(old, limit)
		})
	}
}

func (b *browser) token() pair {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

func (b *browser) refresh(limit time.Time) (ok bool) { return b.refreshWith(b.token(), limit) }

// refreshWith presents a token. When it must try again, it presents the token that the browser holds at that time. If
// several tabs refresh, the first one stores its answer.
func (b *browser) refreshWith(presented pair, limit time.Time) (ok bool) {
	return b.persist(limit, 201, func(url string) (answer, error) {
		sent := time.Now()
		a, err := callRefresh(url, presented.Refresh)
		got := a.pair()
		b.mu.Lock()
		defer b.mu.Unlock()
		b.attempts = append(b.attempts, attempt{generation(presented.Refresh), generation(got.Refresh), sent, time.Now()})
		if err == nil && a.status == 201 && b.held == presented {
			b.held = got
		}
		presented = b.held
		return a, err
	})
}

func (b *browser) profile(limit time.Time) (ok bool) {
	return b.persist(limit, 200, func(url string) (answer, error) { return callProfile(url, b.token().Access) })
}

// persist repeats a request until the answer has the wanted status, as the contract tells clients. After 503 it waits for
// the time in Retry-After, and after no answer it waits a moment. 401 is final: the session is lost.
func (b *browser) persist(limit time.Time, want int, send func(url string) (answer, error)) (ok bool) {
	s := b.storm
	for began := time.Now(); time.Now().Before(limit); {
		s.requests.Add(1)
		a, err := send(s.fleet.pick())
		switch {
		case err != nil:
			s.unanswered.Add(1)
			time.Sleep(100 * time.Millisecond)
		case a.status == want:
			for took := int64(time.Since(began)); ; {
				longest := s.outage.Load()
				if took <= longest || s.outage.CompareAndSwap(longest, took) {
					return true
				}
			}
		case a.status == 503:
			s.unavailable.Add(1)
			seconds, err := strconv.Atoi(a.retryAfter)
			if err != nil || seconds < 1 {
				s.bare.Add(1)
			}
			time.Sleep(time.Duration(max(1, seconds)) * time.Second)
		default:
			if a.status == 401 {
				s.unauthorized.Add(1)
			}
			s.mu.Lock()
			if len(s.odd) < 5 {
				s.odd = append(s.odd, strconv.Itoa(a.status)+" "+string(a.body))
			}
			s.mu.Unlock()
			b.mu.Lock()
			b.lost = true
			b.mu.Unlock()
			return false
		}
	}
	return false
}

// settle lets every session load one more page, counts the results, and adds the scenario to the table.
func (s *storm) settle(t *testing.T, scenario string) figure {
	t.Helper()
	var last sync.WaitGroup
	var stranded atomic.Int64
	for _, browsers := range s.clients {
		last.Go(func() {
			for _, b := range browsers {
				limit := time.Now().Add(20 * time.Second)
				if !b.refresh(limit) || !b.profile(limit) {
					stranded.Add(1)
				}
			}
		})
	}
	last.Wait()
	row := figure{scenario: scenario, requests: int(s.requests.Load()), unavailable: int(s.unavailable.Load()),
		unanswered: int(s.unanswered.Load()), unauthorized: int(s.unauthorized.Load()), outage: time.Duration(s.outage.Load()),
		alarms: s.fleet.count("event=theft")}
	for _, b := range slices.Concat(s.clients...) {
		if b.lost {
			row.lost++
		}
		row.rotations += b.rotations()
		doubled, movedOn := b.doubled()
		row.doubled, row.movedOn = row.doubled+doubled, row.movedOn+movedOn
	}
	results.add(row)
	t.Logf("%+v; recovered %d, carried forward %d", row, s.fleet.count("event=recovered"), s.fleet.count("carried forward"))
	require.Empty(t, s.odd, "answers that no fault may cause")
	require.Zero(t, row.lost, "sessions lost")
	require.Zero(t, stranded.Load(), "sessions that could not go on after the fault")
	require.Zero(t, row.alarms, "false alarms")
	require.Zero(t, row.doubled, "doubled successors")
	require.Zero(t, row.unauthorized, "401 because of the fault")
	require.Zero(t, s.bare.Load(), "503 without Retry-After")
	require.Greater(t, row.rotations, 2*stormClients*stormSessions, "the storm must have refreshed")
	return row
}

func (b *browser) rotations() int {
	generations := map[int64]bool{}
	for _, a := range b.attempts {
		if a.got != 0 {
			generations[a.got] = true
		}
	}
	return len(generations)
}

// doubled counts pairs of answers to one presented token that name different successors and certainly fell into one window.
// If the later successor descends from the earlier one, the pair counts as movedOn. That is correct: a superseded token is
// answered with the current generation, and another tab may have rotated in between. All other pairs are forks.
func (b *browser) doubled() (forks, movedOn int) {
	for _, one := range b.attempts {
		for _, other := range b.attempts {
			if one.presented != other.presented || one.got <= one.presented || other.got <= one.got ||
				!within(reuseWindow, one, other) {
				continue
			}
			if b.descends(other.got, one.got) {
				movedOn++
			} else {
				forks++
			}
		}
	}
	return forks, movedOn
}

// within reports whether two attempts were certainly decided within one window. An attempt is decided at some moment between
// sending and receipt.
func within(window time.Duration, one, other attempt) bool {
	return one.received.Sub(other.sent) <= window && other.received.Sub(one.sent) <= window &&
		one.received.Sub(one.sent) <= window && other.received.Sub(other.sent) <= window
}

// descends reports whether refreshes of this browser reached a generation from an older one, or may have reached it.
func (b *browser) descends(generation, from int64) bool {
	for _, a := range b.attempts {
		if a.presented != from || a.got == from {
			continue
		}
		if a.got == 0 || a.got == generation || a.got < generation && b.descends(generation, a.got) {
			return true
		}
	}
	return false
}
