package signet_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// leaver is a client that goes away while a store writes. The store has written then, and its answer is lost, as in a database.
type leaver struct {
	at, calls int // it goes away at this call, counted from 1
	leave     context.CancelFunc
}

// goes makes a context that ends at a call of a store.
func (l *leaver) goes(t *testing.T, at int) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	l.at, l.calls, l.leave = at, 0, cancel
	return ctx
}

// stays reports whether the client was still there at the end. Then it stays from now on.
func (l *leaver) stays() bool {
	here := l.calls < l.at
	l.at = 0
	return here
}

func (l *leaver) answer(ctx context.Context, err error) error {
	if l.calls++; l.calls == l.at {
		l.leave()
	}
	if err == nil {
		err = ctx.Err()
	}
	return err
}

type leaverThrottle struct {
	throttle.Store
	*leaver
}

func (s leaverThrottle) Update(ctx context.Context, key throttle.Key,
	change func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	return s.answer(ctx, s.Store.Update(ctx, key, change))
}

type leaverSessions struct {
	session.Store
	*leaver
}

func (s leaverSessions) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	return s.answer(ctx, s.Store.Update(ctx, id, change))
}

func (s leaverSessions) Cut(ctx context.Context, userID string,
	change func(session.Cutoff, session.Millis, session.Millis) (session.Cutoff, error)) error {
	return s.answer(ctx, s.Store.Cut(ctx, userID, change))
}

type leaverUsers struct {
	*userstore.Memory
	*leaver
	keep int // bytes of a hash that the table keeps; 0 means all
}

func (s leaverUsers) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	user, err := s.Memory.FindByEmail(ctx, email)
	return user, s.answer(ctx, err)
}

func (s leaverUsers) FindByID(ctx context.Context, id string) (userstore.User, error) {
	user, err := s.Memory.FindByID(ctx, id)
	return user, s.answer(ctx, err)
}

func (s leaverUsers) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	if s.keep != 0 {
		newHash = newHash[:min(len(newHash), s.keep)]
	}
	return s.answer(ctx, s.Memory.UpdatePasswordHash(ctx, id, oldHash, newHash))
}

// leaverAuth is an Auth whose stores let a client go away.
func leaverAuth(t *testing.T, keep int, policy signet.LoginPolicy) (*signet.Auth, *leaver, *userstore.Memory) {
	l, users := &leaver{}, newUsers(t)
	policy.Throttle = throttle.New(leaverThrottle{&throttle.Memory{}, l}, throttle.Config{})
	return newAuth(t, leaverUsers{users, l, keep}, signet.WithLogin(policy), signet.WithSessionStore(leaverSessions{&session.Memory{}, l})), l, users
}

// TestGoneClientsAreNotCounted: a login whose client goes away before the password was looked at is no wrong password.
func TestGoneClientsAreNotCounted(t *testing.T) {
	for at, left := 1, true; left; at++ {
		auth, client, _ := leaverAuth(t, 0, signet.LoginPolicy{})
		for range 15 {
			_, err := auth.Login(client.goes(t, at), "john@mail.com", "changeme")
			if left = !client.stays(); !left {
				require.NoError(t, err)
				require.Greater(t, at, 4, "the stores were asked less often than this test expects")
				break
			}
		}
		_, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err, "at call %d", at)
	}
}

// TestGoneWhileThePasswordChanges: either nothing happens, or the new password is stored and the other sessions end.
func TestGoneWhileThePasswordChanges(t *testing.T) {
	changed := 0
	for at, left := 1, true; left; at++ {
		auth, client, _ := leaverAuth(t, 0, signet.LoginPolicy{})
		own, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		other, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err)
		claims, err := auth.Verify(t.Context(), own.AccessToken)
		require.NoError(t, err)
		_ = auth.ChangePassword(client.goes(t, at), "1", "changeme", "a much better one", claims.SessionID)
		left = !client.stays()

		_, otherErr := auth.Refresh(t.Context(), other.RefreshToken)
		if _, err = auth.Login(t.Context(), "john@mail.com", "a much better one"); err == nil {
			changed++
			require.ErrorIs(t, otherErr, signet.ErrRevoked, "at call %d", at)
		} else {
			_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
			require.NoError(t, err, "at call %d", at)
			require.NoError(t, otherErr, "at call %d", at)
		}
		_, err = auth.Refresh(t.Context(), own.RefreshToken)
		require.NoError(t, err, "at call %d", at)
	}
	require.Greater(t, changed, 2)
}

// TestGoneWhileAHashIsReplaced: the user table cuts hashes. Signet puts the old hash back, and the user can log in again.
func TestGoneWhileAHashIsReplaced(t *testing.T) {
	for at, left := 1, true; left; at++ {
		auth, client, users := leaverAuth(t, 60, signet.LoginPolicy{})
		user, err := users.FindByEmail(t.Context(), "john@mail.com")
		require.NoError(t, err)
		bcrypt, err := password.Bcrypt{Cost: 4}.Hash("changeme")
		require.NoError(t, err)
		require.NoError(t, users.UpdatePasswordHash(t.Context(), user.ID, user.PasswordHash, bcrypt))
		_, _ = auth.Login(client.goes(t, at), "john@mail.com", "changeme")
		left = !client.stays()
		_, err = auth.Login(t.Context(), "john@mail.com", "changeme")
		require.NoError(t, err, "at call %d", at)
	}
}

// TestGoneDuringASecondStep: if the client goes away before the code is looked at, the code is not used up, and it was no try of the
// ticket.
func TestGoneDuringASecondStep(t *testing.T) {
	for at := 1; ; at++ {
		factor := &onceCodes{next: map[string]int{"1": 100}} // it does not look at the context
		auth, client, _ := leaverAuth(t, 0, signet.LoginPolicy{SecondFactor: factor})
		_, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		refusal, ok := errors.AsType[*signet.Error](err)
		require.True(t, ok)
		for range 6 {
			_, _ = auth.SecondStep(client.goes(t, at), refusal.Ticket(), "100")
		}
		client.at = 0
		if factor.next["1"] != 100 {
			require.Greater(t, at, 5)
			return
		}
		_, err = auth.SecondStep(t.Context(), refusal.Ticket(), "100")
		require.NoError(t, err, "at call %d", at)
	}
}
