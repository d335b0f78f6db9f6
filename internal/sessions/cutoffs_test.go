package sessions

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// schedule is a store that calls between after the callback of an Update or a Create, and before the write.
type schedule struct {
	session.Memory
	between func()
}

func (s *schedule) meanwhile() {
	if between := s.between; between != nil {
		s.between = nil
		between()
	}
}

func (s *schedule) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	return s.Memory.Create(ctx, userID, func(at session.Moment) (session.Session, error) {
		row, err := make(at)
		s.meanwhile()
		return row, err
	})
}

func (s *schedule) Update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	return s.Memory.Update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		after, err := change(row, at)
		s.meanwhile()
		return after, err
	})
}

// refresher refreshes one session, and says with which version its last tokens were signed, and from which state of the user.
type refresher struct {
	m          *Manager
	id         string
	generation int64
	user       func() string
}

type signedToken struct {
	user       string
	version    session.Version
	generation int64
}

func (r *refresher) refresh(t *testing.T) (token signedToken, out rotation.Outcome) {
	t.Helper()
	var user string
	_, out, err := r.m.Refresh(t.Context(), r.id, "1", rotation.Presented{Generation: r.generation, SecretHash: session.HashOf("s")},
		testTokens{user: func() (bool, error) { user = r.user(); return true, nil },
			sign: func(_ session.Session, out rotation.Outcome, v session.Version) error {
				token = signedToken{user, v, out.Generation}
				return nil
			}})
	require.NoError(t, err)
	return token, out
}

// A token from a user that was read before a change never passes after it. A token from a user that was read after it
// always works. The change may fall anywhere: before the user is read, between that and the signature, before the commit,
// and in a refresh that repeats a generation.
func TestAChangeOfTheUserAtAnyMoment(t *testing.T) {
	for _, repeats := range []bool{false, true} {
		for _, place := range []string{"before", "before the user is read", "after the user is read", "before the commit", "after"} {
			t.Run(map[bool]string{false: "rotated, ", true: "repeated, "}[repeats]+place, func(t *testing.T) {
				store := &schedule{}
				m, other := newManager(t, store), newManager(t, store)
				ref := login(t, m, "1")
				user := "old"
				r := &refresher{m: m, id: ref.ID, generation: generationOf(t, store, ref.ID), user: func() string { return user }}
				if repeats { // the second use of one refresh token, within the window, writes nothing
					parent := r.generation
					next, _ := r.refresh(t)
					require.NotEqual(t, parent, next.generation)
				}
				change := func() {
					user = "new"
					require.NoError(t, other.ChangeUser(t.Context(), "1"))
				}
				done := false
				read := r.user
				r.user = func() string {
					if done {
						return read()
					}
					switch place {
					case "before the user is read":
						done = true
						change()
					case "after the user is read":
						done = true
						was := read()
						change()
						return was
					}
					return read()
				}
				switch place {
				case "before":
					change()
				case "before the commit":
					store.between = change
				}
				token, out := r.refresh(t)
				if repeats {
					require.Equal(t, rotation.EventRepeated, out.Event)
				}
				if place == "after" {
					change()
				}
				now := m.Ref(ref.ID, "1", token.version, token.generation)
				require.Eventually(t, func() bool {
					for _, process := range []*Manager{m, other} {
						err := check(t, process, now)
						if token.user == "new" && err != nil || token.user == "old" && !errors.Is(err, revoked.ErrOutdated) {
							return false
						}
					}
					return true
				}, 5*time.Second, 10*time.Millisecond, "a token with the %s user", token.user)
				if place != "after" && place != "before the commit" {
					require.Equal(t, "new", token.user, "the client got a token that works")
				}
			})
		}
	}
}

func generationOf(t *testing.T, store session.Store, id string) (generation int64) {
	t.Helper()
	require.NoError(t, store.Update(t.Context(), id, func(row session.Session, _ session.Moment) (session.Session, error) {
		generation = row.Current
		return row, nil
	}))
	return generation
}

// A login that is running while all sessions of the user end does not survive it, and one that begins later does.
func TestEndUserDuringALogin(t *testing.T) {
	store := &schedule{}
	m := newManager(t, store)
	signs := 0
	var row session.Session
	store.between = func() { require.NoError(t, m.EndUser(t.Context(), "1", "")) }
	err := m.Create(t.Context(), Login{UserID: "1", Secret: "s"}, func(s session.Session) error {
		row = s
		signs++
		return nil
	})
	require.NoError(t, err)
	require.Equal(t, 2, signs, "the user is looked at again, after the sessions have ended")
	require.NoError(t, check(t, m, m.Ref(row.ID, "1", row.Born, 0)))
}

func TestEndUserSparesOneSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &session.Memory{}
		m, other := newManager(t, store), newManager(t, store)
		keep, drop, foreign := login(t, m, "1"), login(t, m, "1"), login(t, m, "2")
		require.NoError(t, m.EndUser(t.Context(), "1", keep.ID))
		time.Sleep(2 * time.Second)
		for _, process := range []*Manager{m, other} {
			require.NoError(t, check(t, process, keep))
			require.ErrorIs(t, check(t, process, drop), revoked.ErrRevoked)
			require.NoError(t, check(t, process, foreign))
		}
		rows, err := m.List(t.Context(), "1")
		require.NoError(t, err)
		require.Len(t, rows, 1)
		require.Equal(t, keep.ID, rows[0].ID)

		require.NoError(t, m.EndUser(t.Context(), "1", drop.ID), "a session that has ended is not spared")
		require.ErrorIs(t, check(t, m, keep), revoked.ErrRevoked)
		require.ErrorIs(t, check(t, m, drop), revoked.ErrRevoked)
		kept := login(t, m, "1")
		require.NoError(t, m.EndUser(t.Context(), "1", foreign.ID), "nor is a session of somebody else")
		require.ErrorIs(t, check(t, m, kept), revoked.ErrRevoked)
		require.NoError(t, check(t, m, foreign))
		require.NoError(t, m.EndUser(t.Context(), "2", session.NewID("2")), "nor one that does not exist")
		require.ErrorIs(t, check(t, m, foreign), revoked.ErrRevoked)
	})
}

func TestEndAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &session.Memory{}
		m, other := newManager(t, store), newManager(t, store)
		before := login(t, m, "1")
		refresh := &refresher{m: m, id: before.ID, generation: generationOf(t, store, before.ID), user: func() string { return "" }}
		require.NoError(t, m.EndAll(t.Context()))
		require.ErrorIs(t, check(t, m, before), revoked.ErrRevoked, "at once in this process")
		time.Sleep(time.Second)
		require.ErrorIs(t, check(t, other, before), revoked.ErrRevoked)
		_, out := refresh.refresh(t)
		require.Equal(t, rotation.EventUnknown, out.Event)
		after := login(t, other, "1")
		require.NoError(t, check(t, m, after))
		time.Sleep(2 * time.Second)
		require.NoError(t, check(t, m, after))
	})
}
