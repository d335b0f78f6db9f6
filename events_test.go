package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// record collects events.
type record struct {
	mu   sync.Mutex
	list []event.Event
}

func (r *record) add(_ context.Context, e event.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

// A function that ends its goroutine gets the next events too.
func TestAnEventFunctionThatEndsItsGoroutine(t *testing.T) {
	var got atomic.Int64
	s := newService(t, signet.WithEvents(func(context.Context, event.Event) {
		got.Add(1)
		runtime.Goexit()
	}))
	for range 3 {
		s.login(t)
	}
	require.Eventually(t, func() bool { return got.Load() == 3 }, 10*time.Second, time.Millisecond)
	require.NoError(t, s.Close())
}

// take waits for an event of that kind, and forgets all events so far.
func (r *record) take(t testing.TB, kind event.Kind) (found event.Event) {
	t.Helper()
	require.Eventually(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.list {
			if e.Kind == kind {
				found, r.list = e, nil
				return true
			}
		}
		return false
	}, 10*time.Second, time.Millisecond, "no event %s", kind)
	return found
}

// count returns how many events of a kind have come since the last take.
func (r *record) count(kind event.Kind) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.list {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

// requireKinds waits for the last of these kinds, requires that no others came, and forgets all events so far.
func (r *record) requireKinds(t testing.TB, want ...event.Kind) {
	t.Helper()
	kinds := func() (kinds []event.Kind) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range r.list {
			kinds = append(kinds, e.Kind)
		}
		return kinds
	}
	require.Eventually(t, func() bool { return slices.Contains(kinds(), want[len(want)-1]) }, 10*time.Second, time.Millisecond)
	require.Equal(t, want, kinds())
	r.take(t, want[0])
}

func TestEvents(t *testing.T) {
	var got record
	log := &lines{}
	s := newService(t, signet.WithEvents(got.add), signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	s.do(t, "POST", "/auth/login", `{"email":"john@mail.com","password":"Wr0ng-Passw0rd"}`, "User-Agent", "Phone\u202elevel=ERROR", "X-Request-Id", "req-1")
	e := got.take(t, event.LoginFailed)
	require.Equal(t, event.Event{Kind: event.LoginFailed, Time: s.clock.Now(), Subject: "1", Address: "127.0.0.1", UserAgent: "Phonelevel=ERROR",
		Reason: "wrong password", Method: "POST", Path: "/auth/login", RequestID: "req-1"}, e)
	s.do(t, "POST", "/auth/login", `{"email":"nobody@mail.com","password":"Wr0ng-Passw0rd"}`)
	require.Equal(t, "unknown account", got.take(t, event.LoginFailed).Reason)
	tokens := s.login(t)
	sid := part(t, tokens.AccessToken, 1)["sid"]
	require.Equal(t, sid, got.take(t, event.LoginOK).SessionID)
	next, err := s.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err)
	require.Equal(t, "rotated", got.take(t, event.Refreshed).Reason)
	_, err = s.Verify(t.Context(), next.AccessToken)
	require.NoError(t, err)
	next, err = s.Refresh(t.Context(), next.RefreshToken)
	require.NoError(t, err)
	s.clock.advance(time.Minute)
	next, err = s.Refresh(t.Context(), next.RefreshToken)
	require.NoError(t, err)
	s.clock.advance(time.Minute)
	_, err = s.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
	require.Equal(t, sid, got.take(t, event.Theft).SessionID)
	require.NoError(t, s.UserChanged(t.Context(), "1"))
	require.Equal(t, "1", got.take(t, event.UserChanged).Subject)
	require.NoError(t, s.RevokeUser(t.Context(), "1"))
	require.Equal(t, "1", got.take(t, event.Revoked).Subject)
	require.NoError(t, s.RevokeAll(t.Context()))
	require.Empty(t, got.take(t, event.Revoked).Subject)
	tokens = s.login(t)
	require.NoError(t, s.Logout(t.Context(), tokens.RefreshToken))
	got.take(t, event.LoggedOut)
	require.NoError(t, s.SetPassword(t.Context(), "1", "a new password"))
	got.take(t, event.PasswordChanged)
	for range 10 {
		s.do(t, "POST", "/auth/login", `{"email":"nobody@mail.com","password":"Wr0ng-Passw0rd"}`)
	}
	require.Empty(t, got.take(t, event.LoginThrottled).Subject)
	for range 11 {
		s.do(t, "POST", "/auth/login", `{"email":" John@mail.com","password":"Wr0ng-Passw0rd"}`)
	}
	require.Equal(t, "1", got.take(t, event.LoginThrottled).Subject)
	for _, secret := range []string{"Wr0ng-Passw0rd", tokens.AccessToken, tokens.RefreshToken, "a new password", "changeme"} {
		require.NotContains(t, log.String(), secret)
	}
	require.Contains(t, log.String(), `msg="signet: login_failed" event=login_failed user=1 address=127.0.0.1`)
	require.Equal(t, strings.Count(log.String(), "\n"), strings.Count(log.String(), "time="), "one line for each record")
}

func TestTheKeyRotatesEvent(t *testing.T) {
	var got record
	first, second := keys.Private(p256(t)), keys.Private(p256(t))
	ring, err := keys.NewRing(first)
	require.NoError(t, err)
	auth, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithEvents(got.add))
	require.NoError(t, err)
	defer auth.Close()
	var idle record
	other, err := signet.New(newUsers(t), ring, signet.WithPasswordHasher(cheap), signet.WithEvents(idle.add)) // has signed nothing yet
	require.NoError(t, err)
	defer other.Close()
	_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	require.NoError(t, ring.Rotate(second))
	_, err = other.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	require.Equal(t, second.ID(), idle.take(t, event.KeyRotated).Reason)
	_, err = auth.Login(signet.ContextWithClient(t.Context(), "agent", "192.0.2.1"), "john@mail.com", "changeme")
	require.NoError(t, err)
	rotated := got.take(t, event.KeyRotated)
	require.Equal(t, second.ID(), rotated.Reason)
	require.Empty(t, rotated.Address+rotated.UserAgent, "the client has not rotated the key")
}

// builtAnew is a host's source of keys that makes its keys again, as keys.Files does after each change of a file.
type builtAnew struct{ atomic.Pointer[keys.Key] }

func (b *builtAnew) Current() *keys.Set { return b.Load().Current() }

func (b *builtAnew) Refetch(context.Context, *keys.Set) (*keys.Set, error) { return b.Current(), nil }

func TestTheSameKeyInANewSetIsNoKeyRotation(t *testing.T) {
	var got record
	source := &builtAnew{}
	source.Store(keys.Secret(secret))
	auth, err := signet.New(newUsers(t), source, signet.WithPasswordHasher(cheap), signet.WithEvents(got.add))
	require.NoError(t, err)
	defer auth.Close()
	for _, key := range []*keys.Key{keys.Secret(secret), keys.Secret(secret, keys.WithID("next"))} {
		_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		source.Store(key)
	}
	_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	require.Equal(t, "next", got.take(t, event.KeyRotated).Reason, "it is the first one")
}

// A host's function that hangs holds no request up, and Close does not wait for it longer than its grace. One that panics ends
// nothing.
func TestAFunctionThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		called := 0
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
			signet.WithEvents(func(ctx context.Context, e event.Event) {
				called++
				if called == 1 {
					panic("fault")
				}
				<-ctx.Done()
			}))
		require.NoError(t, err)
		for range 2000 {
			require.NoError(t, auth.UserChanged(t.Context(), "1"))
		}
		synctest.Wait()
		require.Equal(t, 2, called)
		require.Positive(t, auth.Stats().EventsDropped)
		began := time.Now()
		require.NoError(t, auth.Close())
		require.LessOrEqual(t, time.Since(began), 2*time.Second)
	})
}

// lostStore is a session store that a test takes away.
type lostStore struct {
	*session.Memory
	mu   sync.Mutex
	lost bool
}

func (s *lostStore) away() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return errors.New("connection refused")
	}
	return nil
}

func (s *lostStore) set(lost bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lost = lost
}

func (s *lostStore) ReadLog(ctx context.Context, from session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	if err := s.away(); err != nil {
		return session.Page{}, err
	}
	return s.Memory.ReadLog(ctx, from, limit, each)
}

func (s *lostStore) List(ctx context.Context, userID string, limit int) ([]session.Session, session.Moment, error) {
	if err := s.away(); err != nil {
		return nil, session.Moment{}, err
	}
	return s.Memory.List(ctx, userID, limit)
}

// Strangers who fail many times push no other event out.
func TestAFloodOfFailuresDropsNoOtherEvent(t *testing.T) {
	goOn, got := make(chan struct{}), &record{}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}), signet.WithEvents(func(ctx context.Context, e event.Event) {
		<-goOn
		got.add(ctx, e)
	}))
	for range 600 {
		_, _ = s.Login(t.Context(), "nobody@mail.com", "wrong")
		_, _ = s.SecondStep(t.Context(), "x.y", "1")
	}
	tokens := s.login(t)
	for range 600 { // a session ends once
		require.NoError(t, s.Logout(t.Context(), tokens.RefreshToken))
	}
	again := s.login(t)
	for range 600 { // inside of the window
		_, err := s.Refresh(t.Context(), again.RefreshToken)
		require.NoError(t, err)
	}
	require.NoError(t, s.RevokeUser(t.Context(), "1"))
	close(goOn)
	require.NoError(t, s.Close())
	require.Equal(t, event.Revoked, got.list[len(got.list)-1].Kind)
	require.Greater(t, len(got.list), 500)
	kinds := map[event.Kind]int{}
	for _, e := range got.list {
		kinds[e.Kind]++
	}
	require.Equal(t, 2, kinds[event.LoginOK])
	require.LessOrEqual(t, kinds[event.LoggedOut], 1)
	require.EqualValues(t, 600+2+1+600+1-len(got.list), s.Stats().EventsDropped, "a ticket that nobody has got is no event")
	require.LessOrEqual(t, len(got.list), 800)
}

type lostThrottle struct{}

func (lostThrottle) Update(context.Context, throttle.Key, func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	return errors.New("connection refused")
}

func TestReadyAndTheStoreThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got record
		store := &lostStore{Memory: &session.Memory{}}
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithSessionStore(store),
			signet.WithEvents(got.add), signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		require.NoError(t, auth.Ready(t.Context()))
		store.set(true)
		time.Sleep(3 * time.Second)
		require.Contains(t, got.take(t, event.StoreLost).Reason, "connection refused")
		require.ErrorIs(t, auth.Ready(t.Context()), signet.ErrUnavailable)
		require.Greater(t, auth.Stats().RevocationLag, time.Second)
		store.set(false)
		time.Sleep(3 * time.Second)
		got.take(t, event.StoreBack)
		require.NoError(t, auth.Ready(t.Context()))
		require.Less(t, auth.Stats().RevocationLag, 2*time.Second)
		require.NoError(t, auth.Close())
		require.ErrorIs(t, auth.Ready(t.Context()), signet.ErrUnavailable, "after Close")
		require.ErrorContains(t, auth.Ready(t.Context()), "the service is closed")
	})
	for insecure, want := range map[bool]error{false: signet.ErrUnavailable, true: nil} {
		limiter := throttle.New(lostThrottle{}, throttle.Config{InsecureFailOpen: insecure})
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithLogin(signet.LoginPolicy{Throttle: limiter}))
		require.NoError(t, err)
		require.ErrorIs(t, auth.Ready(t.Context()), want)
		require.NoError(t, auth.Close())
	}
	source := &builtAnew{}
	source.Store(keys.Private(p256(t)))
	keyless, err := signet.New(newUsers(t), source, signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer keyless.Close()
	require.NoError(t, keyless.Ready(t.Context()))
	source.Store(keys.Public(p256(t).Public()))
	require.ErrorIs(t, keyless.Ready(t.Context()), signet.ErrUnavailable)
	require.ErrorContains(t, keyless.Ready(t.Context()), "no key that can sign")
	failing, err := signet.New(failingUsers{}, keys.Secret(secret))
	require.NoError(t, err)
	defer failing.Close()
	require.ErrorContains(t, failing.Ready(t.Context()), "the user store")
}

func TestRefusedRequestsAreFoundInTheLog(t *testing.T) {
	log := &lines{}
	s := newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	s.do(t, "GET", "/orders?secret=1", "", append(bearer("garbage"), "X-Request-Id", "req-7")...)
	require.Contains(t, log.String(), `msg="signet: request failed" method=GET path=/orders request=req-7 status=401 code=invalid_token`)
	require.NotContains(t, log.String(), "secret=1")
}

// What the function did not get is counted, also at Close and after it.
func TestEventsThatAreLostAtClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
			signet.WithEvents(func(ctx context.Context, _ event.Event) { calls++; <-ctx.Done() }))
		require.NoError(t, err)
		for range 100 {
			require.NoError(t, auth.RevokeUser(t.Context(), "1"))
		}
		require.NoError(t, auth.Close())
		for range 100 {
			_ = auth.RevokeUser(t.Context(), "1")
		}
		require.EqualValues(t, 200-calls, auth.Stats().EventsDropped)
	})
}

// answersLost is a session store whose answers to writes can be lost.
type answersLost struct {
	session.Memory
	lost atomic.Bool
}

func (a *answersLost) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	if err := a.Memory.Update(ctx, id, change); err != nil {
		return err
	}
	if a.lost.Load() {
		return errors.New("the answer was lost")
	}
	return nil
}

// A theft is an event also if the answer of the store was lost: afterwards the session is only one that has ended.
func TestATheftWhoseAnswerIsLost(t *testing.T) {
	var got record
	store := &answersLost{}
	s := newService(t, signet.WithSessionStore(store), signet.WithReuseWindow(0), signet.WithEvents(got.add))
	stolen := s.login(t)
	next, err := s.Refresh(t.Context(), stolen.RefreshToken)
	require.NoError(t, err)
	_, err = s.Refresh(t.Context(), next.RefreshToken)
	require.NoError(t, err)
	time.Sleep(2 * time.Millisecond) // the window of 0 ms is over
	store.lost.Store(true)
	_, err = s.Refresh(t.Context(), stolen.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	require.NotEmpty(t, got.take(t, event.Theft).SessionID)
	store.lost.Store(false)
	_, err = s.Refresh(t.Context(), stolen.RefreshToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
}

// A refusal is an event also if the user or the password changes during the login.
func TestTheEventOfAChangeMeanwhile(t *testing.T) {
	ctx := t.Context()
	var got record
	var meanwhile func(s *service)
	var s *service
	s = newService(t, signet.WithEvents(got.add), signet.WithLogin(signet.LoginPolicy{
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			meanwhile(s)
			return signet.LoginDecision{}, nil
		}}))
	for name, change := range map[string]func(s *service){
		"disabled": func(s *service) {
			user, err := s.users.FindByID(ctx, "1")
			require.NoError(t, err)
			user.Disabled = true
			require.NoError(t, s.users.Update(ctx, user))
		},
		"another password": func(s *service) { require.NoError(t, s.SetPassword(ctx, "3", "n3w-passw0rd-of-admin")) },
	} {
		meanwhile = change
		body, id := johnsLogin, "1"
		if name != "disabled" {
			body, id = adminsLogin, "3"
		}
		require.Equal(t, 401, s.do(t, "POST", loginPath, body).StatusCode, name)
		e := got.take(t, event.LoginFailed)
		require.Equal(t, []string{id, "the user or the password was changed meanwhile"}, []string{e.Subject, e.Reason}, name)
	}
}

// cutsFail is a store that does not take cut-offs.
type cutsFail struct{ session.Memory }

func (*cutsFail) Cut(context.Context, string, func(session.Cutoff, session.Millis, session.Millis) (session.Cutoff, error)) error {
	return errDown
}

// A password that was stored is an event, also if the sessions could not be ended.
func TestTheEventOfAPasswordWhoseSessionsGoOn(t *testing.T) {
	var got record
	s := newService(t, signet.WithSessionStore(&cutsFail{}), signet.WithEvents(got.add))
	require.ErrorIs(t, s.SetPassword(t.Context(), "1", "another password"), signet.ErrUnavailable)
	e := got.take(t, event.PasswordChanged)
	require.Equal(t, []string{"1", "the sessions could not be ended"}, []string{e.Subject, e.Reason})
	_, err := s.Login(t.Context(), "john@mail.com", "another password")
	require.NoError(t, err)
}

// A login whose password was right is an event too if the function of WithClaims refuses the user.
func TestALoginThatWithClaimsRefuses(t *testing.T) {
	var got record
	s := newService(t, signet.WithEvents(got.add), signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
		return nil, signet.NewError(403, "tenant_closed", "the shop is closed")
	}))
	require.Equal(t, 403, s.do(t, "POST", loginPath, johnsLogin).StatusCode)
	e := got.take(t, event.LoginRefused)
	require.Equal(t, []string{"1", "tenant_closed"}, []string{e.Subject, e.Reason})

	s = newService(t, signet.WithEvents(got.add), signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}}),
		signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
			return nil, signet.NewError(403, "tenant_closed", "the shop is closed")
		}))
	require.Equal(t, 403, s.complete(t, 100).StatusCode)
	e = got.take(t, event.LoginRefused)
	require.Equal(t, []string{"1", "tenant_closed"}, []string{e.Subject, e.Reason}, "after a right code")
}

// Each kind of event that a login, a step-up and a logout can make comes once, for its user and its session.
func TestTheEventsOfALogin(t *testing.T) {
	var got record
	refuse := false
	s := newService(t, signet.WithEvents(got.add), signet.WithLogin(signet.LoginPolicy{
		SecondFactor: &onceCodes{next: map[string]int{"1": 100}},
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			if refuse {
				return signet.LoginDecision{}, signet.NewError(403, "not_confirmed", "confirm your e-mail address first")
			}
			return signet.LoginDecision{}, nil
		}}))
	refuse = true
	require.Equal(t, 403, s.do(t, "POST", loginPath, johnsLogin).StatusCode)
	e := got.take(t, event.LoginRefused)
	require.Equal(t, []string{"1", "not_confirmed"}, []string{e.Subject, e.Reason})
	refuse = false

	for i, newPlace := range []bool{true, false} { // the second login is from a known place
		ticket := s.ticket(t)
		asked := got.take(t, event.SecondStepRequired)
		require.Equal(t, "1", asked.Subject)
		require.Empty(t, asked.Reason)
		tokensOf(t, s.do(t, "POST", secondStepPath, fmt.Sprintf(`{"ticket":"%s","code":"%d"}`, ticket, 100+i)))
		e = got.take(t, event.LoginOK)
		require.Equal(t, event.Event{Kind: event.LoginOK, Time: s.clock.Now(), Subject: "1", SessionID: asked.SessionID, Address: "127.0.0.1",
			UserAgent: "Go-http-client/1.1", Method: "POST", Path: secondStepPath, NewPlace: newPlace}, e)
	}
	for _, newPlace := range []bool{true, false} {
		tokensOf(t, s.do(t, "POST", loginPath, adminsLogin))
		require.Equal(t, newPlace, got.take(t, event.LoginOK).NewPlace, "a login with a password alone")
	}

	tokens := tokensOf(t, s.complete(t, 102))
	e = got.take(t, event.LoginOK)
	_, err := s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "103")
	require.NoError(t, err)
	raised := got.take(t, event.SteppedUp)
	require.Equal(t, []string{"1", e.SessionID}, []string{raised.Subject, raised.SessionID})
	s.clock.advance(time.Minute)
	_, err = s.Refresh(t.Context(), tokens.RefreshToken) // the client has not got the answer
	require.NoError(t, err)
	require.Equal(t, e.SessionID, got.take(t, event.Recovered).SessionID)

	for path, reason := range map[string]string{"/auth/logout": "", "/auth/logout-all": "everywhere"} {
		tokens := tokensOf(t, s.do(t, "POST", loginPath, adminsLogin))
		require.Equal(t, 204, s.do(t, "POST", path, "", bearer(tokens.AccessToken)...).StatusCode, path)
		e = got.take(t, event.LoggedOut)
		require.Equal(t, []string{"3", reason}, []string{e.Subject, e.Reason}, path)
	}
}

// No text of an event is long or can forge a line, wherever it comes from. The same holds for the line of a failed request.
func TestTheTextsOfEvents(t *testing.T) {
	const bad = "a\u202eb\nlevel=ERROR"
	long := strings.Repeat(bad, 50)
	var got record
	log := &lines{}
	s := newService(t, signet.WithEvents(got.add), signet.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		signet.WithLogin(signet.LoginPolicy{Decide: func(_ context.Context, user userstore.User, _ bool) (signet.LoginDecision, error) {
			if user.ID == "3" {
				return signet.LoginDecision{}, errors.New("broken")
			}
			return signet.LoginDecision{}, signet.NewError(403, "no", "no")
		}}))
	hash, err := cheap.Hash("password")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(t.Context(), userstore.User{ID: long, Email: "long@mail.com", PasswordHash: hash}))
	for _, email := range []string{"long@mail.com", "admin@mail.com"} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(fmt.Sprintf(`{"email":"%s","password":"%s"}`, email,
			map[string]string{"long@mail.com": "password", "admin@mail.com": "admin123"}[email])))
		r.Method, r.URL.Path = "POST", "/"+long
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("User-Agent", long)
		r.Header.Set("X-Request-Id", long)
		r.RemoteAddr = long
		s.LoginHandler().ServeHTTP(httptest.NewRecorder(), r)
	}
	e := got.take(t, event.LoginRefused)
	for name, text := range map[string]string{"subject": e.Subject, "address": e.Address, "agent": e.UserAgent, "path": e.Path, "request": e.RequestID} {
		require.NotEmpty(t, text, name)
		require.LessOrEqual(t, len(text), 256, name)
		require.NotContains(t, text, "\u202e", name)
		require.NotContains(t, text, "\n", name)
	}
	require.Equal(t, 1, log.count("level=ERROR msg="), "the failure of the host's function")
	for line := range strings.Lines(log.String()) {
		require.Regexp(t, "^time=", line)
		require.Less(t, len(line), 2500)
		require.NotContains(t, line, "\\u202e")
	}
}

// Events beside Close are handled or counted.
func TestEventsBesideClose(t *testing.T) {
	for range 300 {
		var sent, handled atomic.Uint64
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
			signet.WithEvents(func(context.Context, event.Event) { handled.Add(1) }))
		require.NoError(t, err)
		var senders sync.WaitGroup
		var closed atomic.Bool
		for range 8 {
			senders.Go(func() {
				for !closed.Load() {
					if auth.RevokeUser(context.Background(), "1") == nil {
						sent.Add(1)
					}
				}
			})
		}
		time.Sleep(time.Millisecond)
		require.NoError(t, auth.Close())
		closed.Store(true)
		senders.Wait()
		require.Equal(t, sent.Load(), handled.Load()+auth.Stats().EventsDropped)
	}
}
