package storetest

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/conformance/kittest"
	"github.com/signet-go/signet/userstore"
)

// readOnlyFailures runs the checks of RunReadOnly. It returns the messages of the checks that failed, by their names.
func readOnlyFailures(t *testing.T, store userstore.Store, existing userstore.User) map[string][]string {
	failures := map[string][]string{}
	for _, check := range readOnly {
		messages := kittest.Failures(func(r *kittest.Recorder) {
			check.run(finder{tester: r, ctx: t.Context(), store: store}, existing)
		})
		if len(messages) > 0 {
			failures[check.name] = messages
		}
	}
	return failures
}

// requireFailure requires that exactly this check fails, with that sentence of the contract.
func requireFailure(t *testing.T, failures map[string][]string, name, sentence string) {
	t.Helper()
	require.Len(t, failures, 1)
	require.Len(t, failures[name], 1)
	require.Contains(t, failures[name][0], strconv.Quote(sentence))
}

// seven returns the user of the stores with integer ids.
func seven() userstore.User {
	user := ann()
	user.ID = "7"
	return user
}

func withSeven(t *testing.T) *userstore.Memory {
	m := userstore.NewMemory()
	require.NoError(t, m.Add(t.Context(), seven()))
	return m
}

// integers is a typical store with integer ids: it asks the database only for numbers.
type integers struct{ *userstore.Memory }

func (s integers) FindByID(ctx context.Context, id string) (userstore.User, error) {
	n, err := strconv.ParseInt(id, 10, 64)
	if err != nil || strconv.FormatInt(n, 10) != id {
		return userstore.User{}, userstore.ErrNotFound
	}
	return s.Memory.FindByID(ctx, id)
}

func TestReadOnlyIntegers(t *testing.T) {
	store := integers{withSeven(t)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := store.FindByID(ctx, "7x")
	require.ErrorIs(t, err, userstore.ErrNotFound)
	require.Empty(t, readOnlyFailures(t, store, seven()))
	RunReadOnly(t, store, seven())
}

// lenient accepts every spelling of a number as the id.
type lenient struct {
	*userstore.Memory
	read func(id string) (int64, error)
}

func (s lenient) FindByID(ctx context.Context, id string) (userstore.User, error) {
	n, err := s.read(id)
	if err != nil {
		return userstore.User{}, userstore.ErrNotFound
	}
	return s.Memory.FindByID(ctx, strconv.FormatInt(n, 10))
}

func TestReadOnlySpellings(t *testing.T) {
	for _, tc := range []struct {
		name string
		read func(id string) (int64, error)
	}{
		{"decimal", func(id string) (int64, error) { return strconv.ParseInt(id, 10, 64) }},
		{"by the prefix", func(id string) (int64, error) {
			if len(id) > 1 && id[0] != '0' {
				return 0, strconv.ErrSyntax
			}
			return strconv.ParseInt(id, 0, 64)
		}},
		{"real", func(id string) (int64, error) {
			if len(id) > 1 && (id[0] == '0' || id[0] == '+') {
				return 0, strconv.ErrSyntax
			}
			n, err := strconv.ParseFloat(id, 64)
			return int64(n), err
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			requireFailure(t, readOnlyFailures(t, lenient{withSeven(t), tc.read}, seven()), "not found", findByID)
		})
	}
}

// late returns ErrNotFound instead of the context's error.
type late struct{ *userstore.Memory }

func (s late) FindByID(ctx context.Context, id string) (userstore.User, error) {
	user, err := s.Memory.FindByID(ctx, id)
	if err != nil {
		err = userstore.ErrNotFound
	}
	return user, err
}

func TestReadOnlyCanceled(t *testing.T) {
	requireFailure(t, readOnlyFailures(t, late{withSeven(t)}, seven()), "context", notFound)
}

// swapper replaces UpdatePasswordHash.
type swapper struct {
	*userstore.Memory
	swap func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error
}

func (s swapper) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	return s.swap(s.Memory, ctx, id, oldHash, newHash)
}

func TestReadOnlyPasswordHash(t *testing.T) {
	for _, tc := range []struct {
		name, sentence string
		swap           func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error
	}{
		{"writes nothing", swaps, func(*userstore.Memory, context.Context, string, string, string) error { return nil }},
		{"writes whatever the old hash is", swapsNothing,
			func(m *userstore.Memory, ctx context.Context, id, _, newHash string) error {
				user, err := m.FindByID(ctx, id)
				if err != nil {
					return err
				}
				return m.UpdatePasswordHash(ctx, id, user.PasswordHash, newHash)
			}},
		{"returns an error for a wrong old hash", swapsNothing,
			func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error {
				user, err := m.FindByID(ctx, id)
				if err == nil && user.PasswordHash != oldHash {
					err = userstore.ErrNotFound
				}
				if err != nil {
					return err
				}
				return m.UpdatePasswordHash(ctx, id, oldHash, newHash)
			}},
		{"cuts the new hash", swaps,
			func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error {
				if newHash != seven().PasswordHash {
					newHash = newHash[:10]
				}
				return m.UpdatePasswordHash(ctx, id, oldHash, newHash)
			}},
		{"forgets the id", swapsNothing,
			func(m *userstore.Memory, ctx context.Context, _, oldHash, newHash string) error {
				return m.UpdatePasswordHash(ctx, seven().ID, oldHash, newHash)
			}},
		{"cuts long hashes", swaps,
			func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error {
				return m.UpdatePasswordHash(ctx, id, oldHash, newHash[:min(len(newHash), 60)])
			}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := withSeven(t)
			requireFailure(t, readOnlyFailures(t, swapper{m, tc.swap}, seven()), "password hash", tc.sentence)
			got, err := m.FindByID(t.Context(), seven().ID)
			require.NoError(t, err)
			require.Equal(t, seven().PasswordHash, got.PasswordHash)
		})
	}
}

// The old hash must be back at the end. A store that does not put it back fails.
func TestReadOnlyPasswordHashBack(t *testing.T) {
	m := withSeven(t)
	require.Empty(t, readOnlyFailures(t, m, seven()))
	got, err := m.FindByID(t.Context(), seven().ID)
	require.NoError(t, err)
	require.Equal(t, seven().PasswordHash, got.PasswordHash)

	short := swapper{m, func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error {
		if len(newHash) > 60 {
			return errors.New("the column has 60 characters")
		}
		return m.UpdatePasswordHash(ctx, id, oldHash, newHash)
	}}
	require.Empty(t, readOnlyFailures(t, short, seven()), "enough for the hashes of one hasher")

	changes := 0
	once := swapper{m, func(m *userstore.Memory, ctx context.Context, id, oldHash, newHash string) error {
		if user, err := m.FindByID(ctx, id); err != nil || user.PasswordHash != oldHash || changes > 1 {
			return nil
		}
		changes++
		return m.UpdatePasswordHash(ctx, id, oldHash, newHash)
	}}
	requireFailure(t, readOnlyFailures(t, once, seven()), "password hash", swaps)
}

// A store that cannot change hashes needs no user with a hash. A store that can change them needs one.
func TestReadOnlyPasswordHashNone(t *testing.T) {
	m := userstore.NewMemory()
	user := seven()
	user.PasswordHash = ""
	require.NoError(t, m.Add(t.Context(), user))
	require.Empty(t, readOnlyFailures(t, struct{ userstore.Store }{m}, user))
	failures := readOnlyFailures(t, m, user)
	require.Len(t, failures, 1)
	require.Contains(t, failures["password hash"][0], "a user who has a password hash")
}
