package signet_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

func TestSetPassword(t *testing.T) {
	s := newService(t)
	before := s.login(t)
	require.NoError(t, s.SetPassword(t.Context(), "1", "a new password"))
	_, err := s.Verify(t.Context(), before.AccessToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
	_, err = s.Login(t.Context(), "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	_, err = s.Login(t.Context(), "john@mail.com", "a new password")
	require.NoError(t, err)
	require.ErrorIs(t, s.SetPassword(t.Context(), "nobody", "a new password"), signet.ErrNotFound)
}

func TestChangePasswordKeepsTheSession(t *testing.T) {
	s := newService(t)
	own, other := s.login(t), s.login(t)
	sid := part(t, own.AccessToken, 1)["sid"].(string)
	require.ErrorIs(t, s.ChangePassword(t.Context(), "1", "wrong", "a new password", sid), signet.ErrInvalidCredentials)
	require.ErrorIs(t, s.ChangePassword(t.Context(), "nobody", "wrong", "a new password", sid), signet.ErrNotFound)
	require.NoError(t, s.ChangePassword(t.Context(), "1", "changeme", "a new password", sid))
	_, err := s.Verify(t.Context(), own.AccessToken)
	require.NoError(t, err)
	_, err = s.Refresh(t.Context(), own.RefreshToken)
	require.NoError(t, err)
	_, err = s.Verify(t.Context(), other.AccessToken)
	require.ErrorIs(t, err, signet.ErrRevoked)
}

// Who knew the old password cannot undo a reset that came while the change was under way.
func TestAChangeDoesNotUndoAReset(t *testing.T) {
	entered, goOn := make(chan struct{}), make(chan struct{})
	s := newService(t, signet.WithLogin(signet.LoginPolicy{Passwords: password.Policy{Blocked: func(_ context.Context, pass string) (bool, error) {
		if pass == "a thief's password" {
			close(entered)
			<-goOn
		}
		return false, nil
	}}}))
	done := make(chan error)
	go func() { done <- s.ChangePassword(context.Background(), "1", "changeme", "a thief's password", "") }()
	<-entered // the old password was right
	require.NoError(t, s.SetPassword(t.Context(), "1", "the password of support"))
	close(goOn)
	require.ErrorIs(t, <-done, signet.ErrInvalidCredentials)
	_, err := s.Login(t.Context(), "john@mail.com", "the password of support")
	require.NoError(t, err)
}

// A store that changes the hash, as a column that is too short does.
func TestAStoreThatCutsTheHash(t *testing.T) {
	auth, err := signet.New(cuttingUsers{newUsers(t)}, keys.Secret(secret), signet.WithPasswordHasher(cheap),
		signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer auth.Close()
	var answer *signet.Error
	require.ErrorAs(t, auth.SetPassword(t.Context(), "1", "a new password"), &answer)
	require.Equal(t, 500, answer.Status())

	users := cuttingUsers{newUsers(t)}
	old, err := password.Bcrypt{Cost: 4}.Hash("changeme") // as long as the column
	require.NoError(t, err)
	require.NoError(t, users.Add(t.Context(), userstore.User{ID: "9", Email: "old@mail.com", PasswordHash: old}))
	auth, err = signet.New(users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer auth.Close()
	for _, change := range []func() error{
		func() error { return auth.SetPassword(t.Context(), "9", "a new password") },
		func() error { return auth.ChangePassword(t.Context(), "9", "changeme", "a new password", "") },
	} {
		require.ErrorAs(t, change(), &answer)
		require.Equal(t, 500, answer.Status())
		require.ErrorContains(t, answer, "column too short")
		_, err = auth.Login(t.Context(), "old@mail.com", "changeme")
		require.NoError(t, err, "the old password stays")
	}
}

// Nor does such a store lock out the users whose hashes are replaced when they log in.
func TestAStoreThatCutsTheReplacedHash(t *testing.T) {
	log := &lines{}
	users := cuttingUsers{newUsers(t)}
	old, err := password.Bcrypt{Cost: 4}.Hash("brought over")
	require.NoError(t, err)
	require.NoError(t, users.Add(t.Context(), userstore.User{ID: "9", Email: "old@mail.com", PasswordHash: old}))
	auth, err := signet.New(users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	require.NoError(t, err)
	defer auth.Close()
	for range 2 {
		_, err = auth.Login(t.Context(), "old@mail.com", "brought over")
		require.NoError(t, err)
	}
	require.Equal(t, 2, log.count("is its column too short"), log)
	require.Equal(t, 1, log.count(`level=WARN msg="signet: an outdated password hash was not replaced`), log)
}

// Links to set a new password do not let anybody guess the codes of a second factor without a limit.
func TestNewPasswordsDoNotClearTheLimitsOfCodes(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(s *service) error
		most   int
	}{
		"SetPassword": {func(s *service) error { return s.SetPassword(t.Context(), "1", "changeme") }, 21},
		"ChangePassword": {func(s *service) error {
			ctx := signet.ContextWithClient(t.Context(), "", "192.0.2.1")
			return s.ChangePassword(ctx, "1", "changeme", "changeme", "")
		}, 21},
	} {
		s := twoSteps(t)
		checked := 0
		for range 20 {
			if tc.change(s) != nil {
				break
			}
			got := s.do(t, "POST", loginPath, johnsLogin)
			for range 5 {
				got := s.do(t, "POST", secondStepPath, fmt.Sprintf(`{"ticket":%q,"code":"7"}`, got.json["ticket"]))
				if got.json["code"] == "invalid_code" {
					checked++
				}
			}
		}
		require.LessOrEqual(t, checked, tc.most, name)
		require.GreaterOrEqual(t, checked, 10, name)
	}
}

// checkedAtNewAddresses makes 30 attempts with a wrong password, and returns how many of them were checked. The user gets a new
// address before each one.
func checkedAtNewAddresses(t *testing.T, s *service, attempt func(email string) error) (checked int) {
	user, err := s.users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	for i := range 30 {
		user.Email = fmt.Sprintf("john%d@mail.com", i)
		require.NoError(t, s.users.Update(t.Context(), user))
		if errors.Is(attempt(user.Email), signet.ErrInvalidCredentials) {
			checked++
		}
	}
	return checked
}

// A user who changes the address has no more attempts than before.
func TestAttemptsOfAUserWithOtherAddresses(t *testing.T) {
	s := newService(t)
	require.Equal(t, 10, checkedAtNewAddresses(t, s, func(string) error {
		return s.ChangePassword(t.Context(), "1", "wrong", "a new password", "")
	}))
	require.NoError(t, s.SetPassword(t.Context(), "1", "a new password"))
	require.NoError(t, s.ChangePassword(t.Context(), "1", "a new password", "another password", ""), "and SetPassword clears both names")
}

// The same holds for logins: somebody with a stolen access token may change the address, where the host allows that.
func TestLoginsOfAUserWithOtherAddresses(t *testing.T) {
	s := newService(t)
	require.Equal(t, 10, checkedAtNewAddresses(t, s, func(email string) error {
		_, err := s.Login(t.Context(), email, "wrong")
		return err
	}))
}

// Somebody who is signed in as the user cannot keep the user from a new password, at a place that the account knows.
func TestAThiefDoesNotKeepTheOwnerFromANewPassword(t *testing.T) {
	s := newService(t)
	home := signet.ContextWithClient(t.Context(), "", "198.51.100.7")
	_, err := s.Login(home, "john@mail.com", "changeme")
	require.NoError(t, err)
	for i := range 30 {
		err = s.ChangePassword(signet.ContextWithClient(t.Context(), "", fmt.Sprintf("192.0.2.%d", i)), "1", "wrong", "a new password", "")
		require.Error(t, err)
	}
	require.ErrorIs(t, err, signet.ErrTooManyAttempts)
	require.NoError(t, s.ChangePassword(home, "1", "changeme", "a new password", ""))
}

// A host with steps of its own has known places too.
func TestThePlaceOfAHostWithOwnSteps(t *testing.T) {
	s := twoSteps(t)
	home := signet.ContextWithClient(t.Context(), "", "198.51.100.7")
	user, err := s.Authenticate(home, "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = s.IssueFor(home, user) // the host has checked a code of its own
	require.NoError(t, err)
	for i := range 12 {
		_, err = s.Authenticate(signet.ContextWithClient(t.Context(), "", fmt.Sprintf("192.0.2.%d", i)), "john@mail.com", "wrong")
	}
	require.ErrorIs(t, err, signet.ErrTooManyAttempts)
	_, err = s.Authenticate(home, "john@mail.com", "changeme")
	require.NoError(t, err)
}

// hangingThrottle is a store that does not answer.
type hangingThrottle struct{}

func (hangingThrottle) Update(ctx context.Context, _ throttle.Key, _ func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	<-ctx.Done()
	return ctx.Err()
}

// A store that hangs lets logins pass as one that refuses does, if the host wants that.
func TestAThrottleThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for insecure, want := range map[bool]error{true: nil, false: signet.ErrUnavailable} {
			auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
				signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(hangingThrottle{}, throttle.Config{InsecureFailOpen: insecure})}))
			require.NoError(t, err)
			start := time.Now()
			_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
			require.ErrorIs(t, err, want)
			require.LessOrEqual(t, time.Since(start), 6*time.Second)
			require.NoError(t, auth.Close())
		}
	})
}

// hangingFactor is a second factor whose store does not answer.
type hangingFactor struct{}

func (hangingFactor) Enrolled(ctx context.Context, _ string) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func (hangingFactor) Verify(context.Context, string, string) ([]string, error) { return nil, nil }

// A new password clears the delays also if the second factor does not answer.
func TestANewPasswordWhileTheFactorHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
			signet.WithLogin(signet.LoginPolicy{SecondFactor: hangingFactor{}}))
		require.NoError(t, err)
		for range 11 {
			_, err = auth.Authenticate(t.Context(), "john@mail.com", "wrong")
		}
		require.ErrorIs(t, err, signet.ErrTooManyAttempts)
		require.NoError(t, auth.SetPassword(t.Context(), "1", "a new password"))
		_, err = auth.Authenticate(t.Context(), "john@mail.com", "a new password")
		require.NoError(t, err)
		require.NoError(t, auth.Close())
	})
}

// Users whose hash is being replaced are signed in by several requests at once.
func TestIssueForWhileAHashIsReplaced(t *testing.T) {
	s := newService(t)
	old, err := password.Bcrypt{Cost: 4}.Hash("brought over")
	require.NoError(t, err)
	for i := range 20 {
		id := fmt.Sprint("old", i)
		require.NoError(t, s.users.Add(t.Context(), userstore.User{ID: id, Email: id + "@mail.com", PasswordHash: old}))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				user, err := s.Authenticate(t.Context(), id+"@mail.com", "brought over")
				assert.NoError(t, err)
				time.Sleep(5 * time.Millisecond) // a step of the host
				_, err = s.IssueFor(t.Context(), user)
				assert.NoError(t, err)
			})
		}
		all.Wait()
	}
}

// Users without an address have budgets of their own.
func TestAttemptsOfUsersWithoutAnAddress(t *testing.T) {
	hash, err := cheap.Hash("changeme")
	require.NoError(t, err)
	users := map[string]userstore.User{"1": {ID: "1", PasswordHash: hash}, "2": {ID: "2", PasswordHash: hash}}
	auth, err := signet.New(ownUsers(users), keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)))
	require.NoError(t, err)
	defer auth.Close()
	for range 10 {
		require.ErrorIs(t, auth.ChangePassword(t.Context(), "1", "wrong", "a new password", ""), signet.ErrInvalidCredentials)
	}
	require.ErrorIs(t, auth.ChangePassword(t.Context(), "1", "wrong", "a new password", ""), signet.ErrTooManyAttempts)
	require.ErrorIs(t, auth.ChangePassword(t.Context(), "2", "wrong", "a new password", ""), signet.ErrInvalidCredentials)
}

type ownUsers map[string]userstore.User

func (u ownUsers) FindByEmail(context.Context, string) (userstore.User, error) {
	return userstore.User{}, userstore.ErrNotFound
}

func (u ownUsers) FindByID(_ context.Context, id string) (userstore.User, error) {
	if user, ok := u[id]; ok {
		return user, nil
	}
	return userstore.User{}, userstore.ErrNotFound
}

type cuttingUsers struct{ *userstore.Memory }

func (u cuttingUsers) UpdatePasswordHash(ctx context.Context, id, before, after string) error {
	return u.Memory.UpdatePasswordHash(ctx, id, before, after[:min(len(after), 60)]) // as long as a hash of bcrypt
}

// A store that compares addresses loosely gives an account no more attempts.
func TestAStoreThatFindsOtherAddresses(t *testing.T) {
	log := &lines{}
	users := looseUsers{newUsers(t)}
	auth, err := signet.New(users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.NewTextHandler(log, nil))))
	require.NoError(t, err)
	defer auth.Close()
	for _, email := range []string{"jöhn@mail.com", "jóhn@mail.com"} {
		_, err = auth.Login(t.Context(), email, "changeme")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials, email)
	}
	require.Equal(t, 1, log.count("FindByEmail"), log)
	_, err = auth.Login(t.Context(), " JOHN@mail.com", "changeme")
	require.NoError(t, err)
}

// looseUsers finds an address in spite of other accents, as some collations of MariaDB do.
type looseUsers struct{ *userstore.Memory }

func (u looseUsers) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	return u.Memory.FindByEmail(ctx, strings.NewReplacer("ö", "o", "ó", "o").Replace(email))
}

// Waiting attempts of one client do not keep another client waiting.
func TestClientsWaitForThemselves(t *testing.T) {
	store := &slowThrottle{Memory: &throttle.Memory{}, slow: make(chan struct{})}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(store, throttle.Config{})}))
	var flood sync.WaitGroup
	for range 20 {
		flood.Go(func() {
			_, _ = s.Login(signet.ContextWithClient(context.Background(), "", "192.0.2.1"), "john@mail.com", "wrong")
		})
	}
	require.Eventually(t, func() bool { return store.waiting.Load() == 3 }, 10*time.Second, time.Millisecond)
	store.open.Store(true)
	_, err := s.Login(signet.ContextWithClient(t.Context(), "", "192.0.2.2"), "john@mail.com", "changeme")
	require.NoError(t, err)
	close(store.slow)
	flood.Wait()
}

// slowThrottle is a store that answers when slow is closed, or at once when it is open.
type slowThrottle struct {
	*throttle.Memory
	slow    chan struct{}
	open    atomic.Bool
	waiting atomic.Int64
}

func (s *slowThrottle) Update(ctx context.Context, key throttle.Key,
	change func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	if !s.open.Load() {
		s.waiting.Add(1)
		<-s.slow
	}
	return s.Memory.Update(ctx, key, change)
}

func TestTheRulesForNewPasswords(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{Passwords: password.Policy{
		Blocked: func(_ context.Context, pass string) (bool, error) {
			if pass == "out of order" {
				return false, errors.New("the list is away")
			}
			return pass == "password1", nil
		}}}))
	for pass, want := range map[string]string{"short": "too short", "": "too short", strings.Repeat("x", 1025): "too long",
		"password1": "breach", "12345678\xff": "not valid text"} {
		err := s.SetPassword(t.Context(), "1", pass)
		require.ErrorIs(t, err, signet.ErrPassword, pass)
		var e *signet.Error
		require.ErrorAs(t, err, &e)
		require.Contains(t, e.Message(), want)
		require.Equal(t, 422, e.Status())
	}
	require.ErrorIs(t, s.SetPassword(t.Context(), "1", "out of order"), signet.ErrUnavailable)
	_, err := s.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err, "nothing has changed")
}

// readOnlyUsers has no method for a new hash.
type readOnlyUsers struct{ signet.UserStore }

func TestSetPasswordNeedsAStoreThatWrites(t *testing.T) {
	auth, err := signet.New(readOnlyUsers{newUsers(t)}, keys.Secret(secret), signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer auth.Close()
	require.ErrorContains(t, auth.SetPassword(t.Context(), "1", "a new password"), "userstore.PasswordUpdater")
}

// A password that was typed in another normal form of Unicode is the same password, and an old hash of the raw bytes too.
func TestPasswordsAreOneTextInEveryForm(t *testing.T) {
	const composed, decomposed = "K\u00f6nig-changeme", "Ko\u0308nig-changeme"
	s := newService(t)
	require.NoError(t, s.SetPassword(t.Context(), "1", decomposed))
	for _, pass := range []string{composed, decomposed} {
		_, err := s.Login(t.Context(), "john@mail.com", pass)
		require.NoError(t, err)
	}
	raw, err := cheap.Hash(decomposed) // an older program hashed what was typed
	require.NoError(t, err)
	require.NoError(t, s.users.Add(t.Context(), userstore.User{ID: "7", Email: "old@mail.com", PasswordHash: raw}))
	_, err = s.Login(t.Context(), "old@mail.com", decomposed)
	require.NoError(t, err)
	_, err = s.Login(t.Context(), "old@mail.com", composed)
	require.NoError(t, err, "the first login replaced the hash")
}

// After ten failures an account is closed to strangers, known or not, with one answer, and its sessions go on.
func TestTooManyAttempts(t *testing.T) {
	s := newService(t)
	tokens := s.login(t)
	s.clock.advance(31 * 24 * time.Hour) // the place is not known any more
	for _, email := range []string{"john@mail.com", "nobody@mail.com"} {
		body := `{"email":"` + email + `","password":"wrong password"}`
		for i := range 10 {
			require.Equal(t, 401, s.do(t, "POST", "/auth/login", body).StatusCode, "%s, attempt %d", email, i)
		}
		got := s.do(t, "POST", "/auth/login", body)
		require.Equal(t, 429, got.StatusCode, email)
		require.Equal(t, "too_many_attempts", got.json["code"])
		require.Equal(t, "30", got.Header.Get("Retry-After"))
	}
	require.Equal(t, 429, s.do(t, "POST", "/auth/login", johnsLogin).StatusCode, "the right password too")
	_, err := s.Authenticate(t.Context(), "JOHN@mail.com ", "changeme")
	require.ErrorIs(t, err, signet.ErrTooManyAttempts, "another spelling is the same account")
	require.Equal(t, 201, s.do(t, "POST", "/auth/login", adminsLogin).StatusCode, "another account is open")
	_ = tokens

	s.clock.advance(31 * time.Second)
	require.Equal(t, 201, s.do(t, "POST", "/auth/login", johnsLogin).StatusCode)

	for range 11 {
		s.do(t, "POST", "/auth/login", `{"email":"nobody@mail.com","password":"wrong password"}`)
	}
	for range 10 {
		require.ErrorIs(t, s.ChangePassword(t.Context(), "3", "wrong", "a new password", ""), signet.ErrInvalidCredentials)
	}
	require.ErrorIs(t, s.ChangePassword(t.Context(), "3", "admin123", "a new password", ""), signet.ErrTooManyAttempts)
	require.NoError(t, s.SetPassword(t.Context(), "3", "a new password"))
	_, err = s.Login(t.Context(), "admin@mail.com", "a new password")
	require.NoError(t, err, "a new password clears the delay")
}

// A password that nobody looked at does not count.
func TestAttemptsThatWereNotMade(t *testing.T) {
	auth, err := signet.New(failingUsers{}, keys.Secret(secret), signet.WithPasswordHasher(cheap))
	require.NoError(t, err)
	defer auth.Close()
	for range 20 {
		_, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.ErrorIs(t, err, signet.ErrUnavailable)
	}
	s := newService(t)
	for range 20 {
		_, err := s.Login(t.Context(), "john@mail.com", "")
		require.ErrorIs(t, err, signet.ErrInvalidRequest)
	}
	_, err = s.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
}

func TestAuthenticateIssuesNothing(t *testing.T) {
	s := newService(t)
	user, err := s.Authenticate(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	require.Equal(t, "1", user.ID)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.Authenticate(t.Context(), "john@mail.com", "wrong")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
}

// broken is a hasher that panics.
type broken struct{ password.Hasher }

func (b broken) Verify(hash, pass string) (bool, bool, error) {
	if pass == "panic please" {
		panic("fault")
	}
	return b.Hasher.Verify(hash, pass)
}

// A panic of the host's code loses no place: the account is open afterwards, as far as its failures allow.
func TestAPanicClosesNoAccount(t *testing.T) {
	auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(broken{cheap}), signet.WithLogin(signet.LoginPolicy{
		Decide: func(_ context.Context, user userstore.User, _ bool) (signet.LoginDecision, error) {
			if user.ID == "3" {
				panic("fault")
			}
			return signet.LoginDecision{}, nil
		}}))
	require.NoError(t, err)
	defer auth.Close()
	for range 5 {
		require.Panics(t, func() { _, _ = auth.Login(context.Background(), "john@mail.com", "panic please") })
		require.Panics(t, func() { _, _ = auth.Login(context.Background(), "admin@mail.com", "admin123") })
	}
	began := time.Now()
	_, err = auth.Login(context.Background(), "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = auth.Authenticate(context.Background(), "admin@mail.com", "admin123")
	require.NoError(t, err)
	require.Less(t, time.Since(began), 4*time.Second)
}

// Strangers fail at the new address of a user. A place that the user's id knows stays open for those who are signed in there.
func TestAPlaceThatTheIDKnows(t *testing.T) {
	for _, order := range []bool{false, true} {
		s := newService(t, signet.WithLogin(signet.LoginPolicy{}))
		at := func(address string) context.Context { return signet.ContextWithClient(t.Context(), "", address) }
		home := at("192.0.2.1")
		tokens, err := s.Login(home, "john@mail.com", "changeme")
		require.NoError(t, err)
		user, err := s.users.FindByID(t.Context(), "1")
		require.NoError(t, err)
		user.Email = "new@mail.com"
		require.NoError(t, s.users.Update(t.Context(), user))
		for i := range 12 {
			_, err := s.Login(at(fmt.Sprintf("203.0.113.%d", i)), "new@mail.com", "wrong")
			require.Error(t, err)
		}
		require.ErrorIs(t, s.ChangePassword(at("198.51.100.1"), "1", "changeme", "another one", ""), signet.ErrTooManyAttempts, "a stranger")
		if order {
			_, err = s.StepUp(home, tokens.AccessToken, tokens.RefreshToken, "changeme")
			require.NoError(t, err)
		}
		for range 9 {
			require.ErrorIs(t, s.ChangePassword(home, "1", "wrong", "another one", ""), signet.ErrInvalidCredentials)
		}
		require.NoError(t, s.ChangePassword(home, "1", "changeme", "another one", ""))
		for range 2 {
			s.clock.advance(time.Hour) // the delay of the strangers grows, and that of the place does not
			_, err := s.Login(at("203.0.113.99"), "new@mail.com", "wrong")
			require.Error(t, err)
		}
		for range 10 {
			require.ErrorIs(t, s.ChangePassword(home, "1", "wrong", "another one", ""), signet.ErrInvalidCredentials)
		}
		var e *signet.Error
		require.ErrorAs(t, s.ChangePassword(home, "1", "wrong", "another one", ""), &e)
		require.Equal(t, 429, e.Status())
		require.LessOrEqual(t, e.RetryAfter(), time.Minute)
	}
}
