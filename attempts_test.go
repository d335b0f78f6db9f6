package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// storeWithFaults is a user store with a fault of its own.
type storeWithFaults struct {
	*userstore.Memory
	byEmail, byID func() error
}

func (s storeWithFaults) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	if err := s.byEmail(); err != nil {
		return userstore.User{}, err
	}
	return s.Memory.FindByEmail(ctx, email)
}

func (s storeWithFaults) FindByID(ctx context.Context, id string) (userstore.User, error) {
	if err := s.byID(); err != nil {
		return userstore.User{}, err
	}
	return s.Memory.FindByID(ctx, id)
}

// A fault of the host's code is no wrong password: after twelve of them the right one is good.
func TestFaultsOfTheHostAreNoFailures(t *testing.T) {
	maintenance, suspended := signet.NewError(503, "maintenance", "come back later"), signet.NewError(403, "suspended", "you are suspended")
	for _, place := range []string{"byEmail", "byEmail forbids", "byEmail panics", "byID", "decide", "decide panics", "claims", "claims panic",
		"claims are wrong"} {
		t.Run(place, func(t *testing.T) {
			broken := true
			fault := func(here string) func() error {
				return func() error {
					switch {
					case !broken:
					case here == place && (here == "claims" || here == "decide"), here+" forbids" == place:
						return suspended
					case here+" are wrong" == place:
						return signet.ErrInvalidCredentials
					case here == place:
						return maintenance
					case here+" panics" == place || here+" panic" == place:
						panic("a mistake of the host")
					}
					return nil
				}
			}
			users := storeWithFaults{newUsers(t), fault("byEmail"), fault("byID")}
			auth := newAuth(t, users, signet.WithLogin(signet.LoginPolicy{
				Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
					return signet.LoginDecision{}, fault("decide")()
				},
			}), signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) { return nil, fault("claims")() }))
			ctx := signet.ContextWithClient(t.Context(), "", "192.0.2.1")
			logIn := func() (err error) {
				defer func() {
					if reason := recover(); reason != nil {
						err = fmt.Errorf("panic: %v", reason)
					}
				}()
				_, err = auth.Login(ctx, "john@mail.com", "changeme")
				return err
			}
			for range 12 {
				err := logIn()
				require.Error(t, err)
				require.NotErrorIs(t, err, signet.ErrTooManyAttempts)
			}
			broken = false
			require.NoError(t, logIn())
		})
	}
}

// A second factor that is away makes no failure either, whatever its error is. The ticket stays good.
func TestFaultsOfTheSecondFactor(t *testing.T) {
	for _, away := range []error{signet.NewError(503, "sms_down", "no message can be sent"), signet.NewError(429, "sms_limit", "no message can be sent"),
		errors.New("no message can be sent")} {
		testFaultOfTheSecondFactor(t, away)
	}
}

// A factor may have an answer of its own for wrong codes. It counts as any wrong code: the ticket dies after five.
func TestAFactorWithAnAnswerOfItsOwn(t *testing.T) {
	for _, answer := range []error{signet.NewError(401, "wrong_code", "try again"), signet.ErrSecondStepRequired} {
		factor := &awayCodes{onceCodes: onceCodes{next: map[string]int{"1": 100}}, away: answer}
		var got record
		auth := newAuth(t, newUsers(t), signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}), signet.WithEvents(got.add))
		_, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		var asked *signet.Error
		require.ErrorAs(t, err, &asked)
		for range 5 {
			_, err = auth.SecondStep(t.Context(), asked.Ticket(), "100")
			require.ErrorIs(t, err, answer)
		}
		tokens, err := auth.IssueFor(t.Context(), userstore.User{ID: "1"})
		require.NoError(t, err)
		for range 10 {
			_, err = auth.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "100")
			require.ErrorIs(t, err, answer)
		}
		require.Eventually(t, func() bool { return got.count(event.SecondStepFailed) == 15 }, 10*time.Second, time.Millisecond)
		factor.away = nil
		_, err = auth.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "100")
		require.ErrorIs(t, err, signet.ErrTooManyAttempts, "ten failures of the session")
		_, err = auth.SecondStep(t.Context(), asked.Ticket(), "100")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials, "the ticket is used up")
		for range 5 {
			_, err = auth.Login(t.Context(), "john@mail.com", "wrong")
			require.ErrorIs(t, err, signet.ErrInvalidCredentials)
		}
		_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
		require.ErrorIs(t, err, signet.ErrTooManyAttempts, "ten failures of strangers")
	}
}

func testFaultOfTheSecondFactor(t *testing.T, away error) {
	t.Helper()
	factor := &awayCodes{onceCodes: onceCodes{next: map[string]int{"1": 100}}, away: away}
	auth := newAuth(t, newUsers(t), signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	ctx := signet.ContextWithClient(t.Context(), "", "192.0.2.1")
	_, err := auth.Login(ctx, "john@mail.com", "changeme")
	var asked *signet.Error
	require.ErrorAs(t, err, &asked)
	for range 12 {
		_, err = auth.SecondStep(ctx, asked.Ticket(), "100")
		require.Error(t, err)
		require.NotErrorIs(t, err, signet.ErrInvalidCredentials)
		require.NotErrorIs(t, err, signet.ErrTooManyAttempts)
	}
	factor.away = nil
	_, err = auth.SecondStep(ctx, asked.Ticket(), "100")
	require.NoError(t, err)
}

// Only the owner makes places known. Each port of a connection, and each form of an address, is the same place.
func TestPlacesOfTheOwner(t *testing.T) {
	at := func(address string) context.Context {
		return signet.ContextWithClient(context.Background(), "", address)
	}
	for name, tc := range map[string]struct {
		home, later string
		meanwhile   func(auth *signet.Auth)
	}{
		"ports":          {home: "198.51.100.1:3000", later: "198.51.100.1:9999"},
		"a port of IPv6": {home: "[2001:db8::1]:3000", later: "2001:db8::2"},
		"somebody acts": {"198.51.100.1", "198.51.100.1", func(auth *signet.Auth) {
			for i := range 8 {
				_, err := auth.IssueFor(at(fmt.Sprintf("192.0.2.%d", i)), userstore.User{ID: "1", Email: "john@mail.com"},
					signet.LoginDecision{Facts: map[string]any{"act": map[string]any{"sub": "3"}}})
				require.NoError(t, err)
			}
		}},
		"another user with this address": {"198.51.100.1", "198.51.100.1", func(auth *signet.Auth) {
			for i := range 8 {
				_, err := auth.IssueFor(at(fmt.Sprintf("192.0.2.%d", i)), userstore.User{ID: "3", Email: "john@mail.com"})
				require.NoError(t, err)
			}
		}},
		"only an id": {"192.0.2.200", "198.51.100.1", func(auth *signet.Auth) {
			_, err := auth.IssueFor(at("198.51.100.1"), userstore.User{ID: "1"})
			require.NoError(t, err)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			auth := newAuth(t, newUsers(t), signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}))
			_, err := auth.Login(at(tc.home), "john@mail.com", "changeme")
			require.NoError(t, err)
			if tc.meanwhile != nil {
				tc.meanwhile(auth)
			}
			for range 11 {
				_, err = auth.Login(at("203.0.113.1"), "john@mail.com", "wrong")
			}
			require.ErrorIs(t, err, signet.ErrTooManyAttempts)
			_, err = auth.Login(at(tc.later), "john@mail.com", "changeme")
			require.NoError(t, err)
		})
	}
}

// Many browsers of one user sign in at once while the host's function takes its time. An attempt counts as a failure while it runs, so
// only a few run at one time, and the others wait.
func TestManyLoginsOfOneAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		auth := newAuth(t, newUsers(t), signet.WithLogin(signet.LoginPolicy{Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			<-release
			return signet.LoginDecision{}, nil
		}}))
		errs := make(chan error, 12)
		for range 12 {
			go func() {
				_, err := auth.Login(signet.ContextWithClient(context.Background(), "", "192.0.2.1"), "john@mail.com", "changeme")
				errs <- err
			}()
		}
		synctest.Wait()
		require.Empty(t, errs, "nobody was refused")
		close(release)
		for range 12 {
			require.NoError(t, <-errs)
		}
	})
}

// Many users of one address sign in at once while the host's function takes its time.
func TestManyUsersOfOneAddress(t *testing.T) {
	users := newUsers(t)
	deciding, release := make(chan struct{}), make(chan struct{})
	auth := newAuth(t, users, signet.WithLogin(signet.LoginPolicy{Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
		deciding <- struct{}{}
		<-release
		return signet.LoginDecision{}, nil
	}}))
	hash, err := cheap.Hash("changeme")
	require.NoError(t, err)
	errs := make(chan error, 120)
	for i := range 120 {
		id := fmt.Sprint("office", i)
		require.NoError(t, users.Add(t.Context(), userstore.User{ID: id, Email: id + "@mail.com", PasswordHash: hash}))
		go func() {
			_, err := auth.Login(signet.ContextWithClient(context.Background(), "", "192.0.2.1"), id+"@mail.com", "changeme")
			errs <- err
		}()
		select {
		case <-deciding:
		case err := <-errs:
			t.Fatal(i, err)
		}
	}
	close(release)
	for range 120 {
		require.NoError(t, <-errs)
	}
}

// A hundred wrong passwords of one address count together, whatever its port.
func TestOneAddressWithManyPorts(t *testing.T) {
	auth := newAuth(t, newUsers(t))
	var err error
	for i := range 101 {
		ctx := signet.ContextWithClient(t.Context(), "", fmt.Sprintf("203.0.113.9:%d", 20_000+i))
		_, err = auth.Login(ctx, fmt.Sprintf("user%d@mail.com", i), "wrong")
	}
	require.ErrorIs(t, err, signet.ErrTooManyAttempts)
}

// A disabled user is refused like an unknown one, and no function of the host learns of the attempt.
func TestADisabledUser(t *testing.T) {
	var got record
	decided := false
	s := newService(t, signet.WithEvents(got.add), signet.WithLogin(signet.LoginPolicy{
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			decided = true
			return signet.LoginDecision{}, nil
		}}))
	hash, err := cheap.Hash("right password")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(t.Context(), userstore.User{ID: "9", Email: "off@mail.com", PasswordHash: hash, Disabled: true}))
	_, err = s.Login(t.Context(), "off@mail.com", "right password")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	require.False(t, decided)
	e := got.take(t, event.LoginFailed)
	require.Equal(t, "disabled", e.Reason)
	require.Equal(t, "9", e.Subject)
	user, err := s.Authenticate(t.Context(), "off@mail.com", "right password")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	require.Zero(t, user)
}

// Who knows only the password of a user with a second factor gets no known place and no new attempts by it.
func TestARightPasswordIsHalfALogin(t *testing.T) {
	s := twoSteps(t)
	ctx := signet.ContextWithClient(t.Context(), "", "192.0.2.66")
	_, err := s.Authenticate(ctx, "john@mail.com", "changeme")
	require.NoError(t, err)
	for range 9 {
		_, err = s.Authenticate(ctx, "john@mail.com", "wrong")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	}
	_, err = s.Authenticate(ctx, "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = s.Authenticate(ctx, "john@mail.com", "wrong")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	_, err = s.Authenticate(ctx, "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrTooManyAttempts)
}

// countedRecords counts the calls of a throttle's store, and those that wrote.
type countedRecords struct {
	throttle.Memory
	calls, writes int
}

func (c *countedRecords) Update(ctx context.Context, key throttle.Key,
	change func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	c.calls++
	return c.Memory.Update(ctx, key, func(before throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
		after, until, err := change(before, now)
		if err == nil && after != before {
			c.writes++
		}
		return after, until, err
	})
}

// The throttle does the same for every refused login. On a server each call is a round trip, whose time would tell who has an account.
func TestRefusedLoginsCostTheThrottleTheSame(t *testing.T) {
	store := &countedRecords{}
	users := newUsers(t)
	hash, err := cheap.Hash("right password")
	require.NoError(t, err)
	require.NoError(t, users.Add(t.Context(), userstore.User{ID: "9", Email: "off@mail.com", PasswordHash: hash, Disabled: true}))
	auth := newAuth(t, users, signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(store, throttle.Config{})}))
	for n := range 12 { // the last two are throttled
		var costs [3][2]int
		for i, email := range []string{"nobody@mail.com", "john@mail.com", "off@mail.com"} {
			store.calls, store.writes = 0, 0
			_, err := auth.Login(signet.ContextWithClient(t.Context(), "", "192.0.2.1"), email, "right password")
			require.Error(t, err)
			require.Equal(t, n >= 10, errors.Is(err, signet.ErrTooManyAttempts), n)
			costs[i] = [2]int{store.calls, store.writes}
		}
		require.Equal(t, costs[0], costs[1], "a wrong password, %d", n)
		require.Equal(t, costs[0], costs[2], "a disabled user, %d", n)
	}
}

// turnsHasher notes each password that it checks. Before each check it waits until the test lets it go on.
type turnsHasher struct {
	password.Hasher
	goOn  chan struct{}
	order *[]string
}

func (h turnsHasher) Verify(hash, pass string) (bool, bool, error) {
	<-h.goOn
	*h.order = append(*h.order, pass)
	return h.Hasher.Verify(hash, pass)
}

// The logins of one network do not keep the others waiting: clients take turns.
func TestLoginsOfOneNetworkTakeTurnsWithOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var order []string
		hasher := turnsHasher{cheap, make(chan struct{}), &order}
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(hasher), signet.WithLogin(signet.LoginPolicy{ParallelHashes: 1}),
			signet.WithLogger(slog.New(slog.DiscardHandler)))
		require.NoError(t, err)
		defer auth.Close()
		var all sync.WaitGroup
		logIn := func(address, email, pass string) {
			all.Go(func() {
				_, err := auth.Login(signet.ContextWithClient(t.Context(), "", address), email, pass)
				require.ErrorIs(t, err, signet.ErrInvalidCredentials)
			})
			synctest.Wait()
		}
		for i := range 12 { // two addresses of one network
			logIn(fmt.Sprintf("2001:db8::%d", i%2+1), fmt.Sprintf("nobody%d@mail.com", i), "crowd")
		}
		logIn("192.0.2.7", "somebody@mail.com", "other")
		close(hasher.goOn)
		all.Wait()
		require.Len(t, order, 13)
		require.Less(t, slices.Index(order, "other"), 3, "one password was being checked, and one more may come first")
	})
}

// New says so if password hashes can take all threads.
func TestTheLineAboutGOMAXPROCS(t *testing.T) {
	threads := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(threads)
	runtime.GOMAXPROCS(2)
	for parallel, want := range map[int]int{1: 0, 2: 1, 3: 1} {
		log := &lines{}
		newAuth(t, newUsers(t), signet.WithLogin(signet.LoginPolicy{ParallelHashes: parallel}), signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
		require.Equal(t, want, log.count("GOMAXPROCS to twice"), parallel)
	}
}
