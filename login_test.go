package signet_test

import (
	"context"
	"crypto"
	"fmt"
	"io"
	"log/slog"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

func TestIssueForRefusesAUserThatTheStoreDoesNotKnow(t *testing.T) {
	store := &session.Memory{}
	s := newService(t, signet.WithSessionStore(store))
	_, err := s.IssueFor(t.Context(), userstore.User{ID: "99", Email: "elsewhere@mail.com"})
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	rows, _, err := store.List(t.Context(), "99", 10)
	require.NoError(t, err)
	require.Empty(t, rows)
}

func TestHashPassword(t *testing.T) {
	s := newService(t)
	hash, err := s.HashPassword(t.Context(), "correct horse")
	require.NoError(t, err)
	require.NoError(t, s.users.Add(t.Context(), userstore.User{ID: "9", Email: "new@mail.com", PasswordHash: hash}))
	_, err = s.Login(t.Context(), "new@mail.com", "correct horse")
	require.NoError(t, err)
	for name, pass := range map[string]string{"empty": "", "too long": strings.Repeat("x", 1025)} {
		_, err = s.HashPassword(t.Context(), pass)
		require.ErrorIs(t, err, signet.ErrPassword, name)
	}
	_, err = s.HashPassword(t.Context(), "short")
	require.ErrorIs(t, err, signet.ErrPassword, "the rules are those of SetPassword")
	old := newService(t, signet.WithPasswordHasher(password.Bcrypt{Cost: 4}))
	_, err = old.HashPassword(t.Context(), strings.Repeat("x", 73))
	require.ErrorIs(t, err, signet.ErrPassword, "longer than bcrypt takes")
	require.ErrorIs(t, old.SetPassword(t.Context(), "1", strings.Repeat("x", 73)), signet.ErrPassword)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var wg sync.WaitGroup
	for range 64 { // so many that some must wait
		wg.Go(func() {
			if _, err := s.HashPassword(gone, "correct horse"); err != nil {
				require.ErrorIs(t, err, signet.ErrUnavailable)
			}
		})
	}
	wg.Wait()
}

// otherUsers returns a user that nobody asked for, as a careless cache, join or collation does.
type otherUsers struct {
	*userstore.Memory
	answer userstore.User
	on     atomic.Bool
}

func (u *otherUsers) FindByID(ctx context.Context, id string) (userstore.User, error) {
	if u.on.Load() {
		return u.answer, nil
	}
	return u.Memory.FindByID(ctx, id)
}

func (u *otherUsers) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	if u.on.Load() && u.answer.ID == "" {
		return u.answer, nil
	}
	return u.Memory.FindByEmail(ctx, email)
}

func TestAStoreThatReturnsAnotherUserGivesNobodysRights(t *testing.T) {
	for name, answer := range map[string]userstore.User{"another": {ID: "3", Email: "admin@mail.com", Roles: []string{"admin"}}, "none": {}} {
		for mode, opts := range map[string][]signet.Option{"sessions": nil, "stateless": {signet.WithoutSessions()}} {
			t.Run(name+", "+mode, func(t *testing.T) {
				users := &otherUsers{Memory: newUsers(t), answer: answer}
				var log lines
				auth, err := signet.New(users, keys.Secret(secret), append(opts, signet.WithPasswordHasher(cheap),
					signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))...)
				require.NoError(t, err)
				defer auth.Close()
				tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
				require.NoError(t, err)
				users.on.Store(true)
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.Equal(t, 500, statusOf(err))
				_, err = auth.Profile(t.Context(), "1")
				require.Equal(t, 500, statusOf(err))
				if answer.ID == "" {
					_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
					require.Equal(t, 500, statusOf(err))
				}
				users.on.Store(false)
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.NoError(t, err, "the session is not lost by it")
			})
		}
	}
}

func statusOf(err error) int { return written(err).Code }

// The claims function has five seconds, with and without sessions. Nobody else waits for it.
func TestTheClaimsFunctionHasATimeLimit(t *testing.T) {
	for name, opts := range map[string][]signet.Option{"sessions": nil, "stateless": {signet.WithoutSessions()}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var hang atomic.Bool
				claims := func(ctx context.Context, _ userstore.User) (map[string]any, error) {
					if hang.Load() {
						<-ctx.Done()
					}
					return nil, ctx.Err()
				}
				auth, err := signet.New(newUsers(t), keys.Secret(secret), append(opts, signet.WithPasswordHasher(cheap), signet.WithClaims(claims), quiet)...)
				require.NoError(t, err)
				defer auth.Close()
				tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
				require.NoError(t, err)
				hang.Store(true)
				start := time.Now()
				_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
				require.ErrorIs(t, err, signet.ErrUnavailable)
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.ErrorIs(t, err, signet.ErrUnavailable)
				require.Equal(t, 10*time.Second, time.Since(start))
				hang.Store(false)
				_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
				require.NoError(t, err)
			})
		})
	}
}

// slowKMS needs some time for each signature.
type slowKMS struct {
	crypto.Signer
	takes time.Duration
	hang  atomic.Bool
	asked atomic.Int64
}

func (k *slowKMS) SignContext(ctx context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	k.asked.Add(1)
	wait := time.NewTimer(k.takes)
	defer wait.Stop()
	if k.hang.Load() {
		wait.Reset(time.Hour)
	}
	select {
	case <-wait.C:
		return k.Sign(nil, digest, opts)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A ban must not wait for anybody's signatures. The sessions of other users must not wait for them either.
func TestSlowSignaturesHoldUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms := &slowKMS{Signer: rsaKey(), takes: 40 * time.Millisecond}
		auth, err := signet.New(newUsers(t), keys.Private(kms), signet.WithPasswordHasher(cheap), quiet)
		require.NoError(t, err)
		defer auth.Close()
		var sessions []signet.Tokens
		for range 8 {
			tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
			require.NoError(t, err)
			sessions = append(sessions, tokens)
		}
		other, err := auth.Login(t.Context(), "admin@mail.com", "admin123")
		require.NoError(t, err)
		before := kms.asked.Load()
		var wg sync.WaitGroup
		for _, tokens := range sessions {
			for range 150 {
				wg.Go(func() { auth.Refresh(context.Background(), tokens.RefreshToken) })
			}
		}
		synctest.Wait() // all of them are under way
		start := time.Now()
		require.NoError(t, auth.RevokeUser(t.Context(), "1"))
		require.Zero(t, time.Since(start), "the ban waited")
		for _, tokens := range sessions {
			_, err := auth.Verify(t.Context(), tokens.AccessToken)
			require.ErrorIs(t, err, signet.ErrRevoked)
		}
		_, err = auth.Refresh(t.Context(), other.RefreshToken)
		require.NoError(t, err)
		require.Equal(t, 80*time.Millisecond, time.Since(start), "another user's refresh waited for more than its own two signatures")
		wg.Wait()
		require.Less(t, kms.asked.Load()-before, int64(8*4+2), "1,200 refreshes of 8 tokens share their signatures")
		for _, tokens := range sessions {
			_, err := auth.Refresh(t.Context(), tokens.RefreshToken)
			require.ErrorIs(t, err, signet.ErrRevoked)
		}
	})
}

// If the key hangs while it signs for one token, only the requests with that token fail. The session stays.
func TestAHangingKeyLosesNoSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kms := &slowKMS{Signer: rsaKey()}
		auth, err := signet.New(newUsers(t), keys.Private(kms), signet.WithPasswordHasher(cheap), quiet)
		require.NoError(t, err)
		defer auth.Close()
		tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		kms.hang.Store(true)
		errs := make(chan error, 50)
		for range 50 {
			go func() {
				_, err := auth.Refresh(context.Background(), tokens.RefreshToken)
				errs <- err
			}()
		}
		for range 50 {
			require.ErrorIs(t, <-errs, signet.ErrUnavailable)
		}
		kms.hang.Store(false)
		_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
	})
}

// newestVersion is a KMS that changes to another version of its key at some moment.
type newestVersion struct {
	crypto.Signer
	newest atomic.Pointer[crypto.Signer]
}

func (k *newestVersion) Sign(r io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if newest := k.newest.Load(); newest != nil {
		return (*newest).Sign(r, digest, opts)
	}
	return k.Signer.Sign(r, digest, opts)
}

func TestAKMSThatChangesItsKeyVersionLosesNoSession(t *testing.T) {
	kms := &newestVersion{Signer: p256(t)}
	var log lines
	auth, err := signet.New(newUsers(t), keys.Private(kms), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	require.NoError(t, err)
	defer auth.Close()
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	next := crypto.Signer(p256(t))
	kms.newest.Store(&next)
	_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	require.ErrorContains(t, err, "another key version")
	_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrUnavailable)
	kms.newest.Store(nil)
	_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
	require.NoError(t, err, "nothing was committed")
}

// The client goes away before its session is committed.
func TestALoginLeavesNoSessionWhenItsClientIsGone(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	store := &slowStore{meanwhile: leave}
	s := newService(t, signet.WithSessionStore(store))
	user, err := s.users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	_, err = s.IssueFor(ctx, user)
	require.Error(t, err)
	rows, _, err := store.List(t.Context(), "1", 10)
	require.NoError(t, err)
	require.Empty(t, rows, "nobody has its tokens")
}

func TestHostsLearnThatHashesStay(t *testing.T) {
	for name, tc := range map[string]struct {
		users signet.UserStore
		want  int
	}{"a store that updates": {newUsers(t), 0}, "one that does not": {failingUsers{}, 1}} {
		var log lines
		auth, err := signet.New(tc.users, keys.Secret(secret), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, err)
		require.NoError(t, auth.Close())
		require.Equal(t, tc.want, log.count("userstore.PasswordUpdater"), name)
	}
}

// If the session store does not follow the clock of a test, a login must not return tokens that have already expired.
func TestClocksThatDifferByMoreThanASession(t *testing.T) {
	s := newService(t, signet.WithSessionStore(&session.Memory{Clock: newClock().Now}))
	s.clock.advance(400 * 24 * time.Hour)
	_, err := s.Login(t.Context(), "john@mail.com", "changeme")
	require.Equal(t, 500, statusOf(err))
	require.ErrorContains(t, err, "clock of the session store")
}

func TestUserIDsThatNoStoreHolds(t *testing.T) {
	s := newService(t)
	for name, id := range map[string]string{"NUL": "a\x00b", "not UTF-8": "a\xff", "long": strings.Repeat("x", 1025), "empty": ""} {
		_, err := s.IssueFor(t.Context(), userstore.User{ID: id, Email: "x@mail.com"})
		require.Equal(t, 500, statusOf(err), name)
		require.NoError(t, s.RevokeUser(t.Context(), id), name)
	}
}

// Some readers of claims ignore case. They must not mistake a claim from WithClaims for one of signet's own claims.
func TestClaimNamesThatBelongToSignet(t *testing.T) {
	for _, name := range []string{"sub", "Sub", "SUB", "ROLES", "Gen", "sId", "ver", "acr", "AMR", "auth_time", "act", "cnf", "Client_ID", "\u017fub"} {
		s := newService(t, signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
			return map[string]any{name: "x"}, nil
		}))
		_, err := s.Login(t.Context(), "john@mail.com", "changeme")
		require.Equal(t, 500, statusOf(err), name)
		require.ErrorContains(t, err, "belongs to signet", name)
	}
}

// wordCodes is a second factor with one code. The code is so long that it can be searched in a log.
type wordCodes struct{}

func (wordCodes) Enrolled(context.Context, string) (bool, error) { return true, nil }

func (wordCodes) Verify(_ context.Context, _, code string) ([]string, error) {
	if code != "right-c0de" {
		return nil, nil
	}
	return []string{"otp"}, nil
}

func TestTheLogHoldsNoSecret(t *testing.T) {
	var log lines
	s := newService(t, signet.WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))))
	tokens := s.login(t)
	s.do(t, "POST", "/auth/login", `{"email":"john@mail.com","password":"hunter2-wrong"}`)
	s.do(t, "GET", "/orders", "", bearer(tokens.AccessToken+"x")...)
	s.do(t, "POST", "/auth/logout", "", bearer(tokens.AccessToken)...)
	require.NoError(t, s.SetPassword(t.Context(), "3", "n3w-passw0rd-of-admin"))
	require.NoError(t, s.ChangePassword(t.Context(), "3", "n3w-passw0rd-of-admin", "n3wer-passw0rd", ""))
	require.Error(t, s.ChangePassword(t.Context(), "3", "wr0ng-old-one", "n3west-passw0rd", ""))

	two := newService(t, signet.WithLogger(slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))),
		signet.WithLogin(signet.LoginPolicy{SecondFactor: wordCodes{}}))
	ticket := two.ticket(t)
	two.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"wr0ng-c0de"}`)
	second := tokensOf(t, two.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"right-c0de"}`))
	two.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"right-c0de"}`)
	two.do(t, "POST", stepUpPath, `{"refreshToken":"`+second.RefreshToken+`","code":"wr0ng-c0de"}`, bearer(second.AccessToken)...)
	_, ticketSecret, _ := strings.Cut(ticket, ".")
	for _, leak := range []string{"hunter2", tokens.AccessToken, tokens.RefreshToken, string(secret), "passw0rd", "wr0ng-old-one",
		ticketSecret, "c0de", second.AccessToken, second.RefreshToken} {
		require.False(t, strings.Contains(log.String(), leak), "the log holds %q", leak[:4])
	}
}

// heldHasher hashes nothing before it is told to.
type heldHasher struct {
	password.Hasher
	goOn chan struct{}
}

func (h heldHasher) Verify(hash, pass string) (bool, bool, error) {
	<-h.goOn
	return h.Hasher.Verify(hash, pass)
}

// Strangers can send more passwords than are checked at any rate. That is one line in the log.
func TestTooManyPasswordsAreOneLineInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log lines
		hasher := heldHasher{cheap, make(chan struct{})}
		auth, err := signet.New(newUsers(t), keys.Secret(secret), signet.WithPasswordHasher(hasher), signet.WithLogin(signet.LoginPolicy{ParallelHashes: 1}),
			signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
		require.NoError(t, err)
		defer auth.Close()
		var codes sync.Map
		var all sync.WaitGroup
		for i := range 60 {
			all.Go(func() {
				r := httptest.NewRequest("POST", "/", strings.NewReader(fmt.Sprintf(`{"email":"nobody%d@mail.com","password":"x"}`, i)))
				r.Header.Set("Content-Type", "application/json")
				w := httptest.NewRecorder()
				auth.LoginHandler().ServeHTTP(w, r)
				codes.Store(i, w.Code)
			})
		}
		time.Sleep(6 * time.Second)
		close(hasher.goOn)
		all.Wait()
		busy := 0
		codes.Range(func(_, code any) bool {
			if code == 503 {
				busy++
			}
			return true
		})
		require.Equal(t, 59, busy, "one was checked")
		require.Equal(t, 1, strings.Count(log.String(), "level=ERROR"))
	})
}
