package storetest

import (
	"bytes"
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/conformance/kittest"
	"github.com/signet-go/signet/userstore"
)

// replacer replaces ReplaceFactor and Delete.
type replacer struct {
	*userstore.Memory
	replace func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error
	remove  func(m *userstore.Memory, ctx context.Context, id string) error
}

func (s replacer) ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error {
	if s.replace == nil {
		return s.Memory.ReplaceFactor(ctx, userID, name, oldValue, newValue)
	}
	return s.replace(s.Memory, ctx, userID, name, oldValue, newValue)
}

func (s replacer) Delete(ctx context.Context, id string) error {
	if s.remove == nil {
		return s.Memory.Delete(ctx, id)
	}
	return s.remove(s.Memory, ctx, id)
}

// swapFactor reads and writes in two steps.
func swapFactor(m *userstore.Memory, ctx context.Context, userID, name string, newValue []byte) error {
	value, err := m.Factor(ctx, userID, name)
	if err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return err
	}
	return m.ReplaceFactor(ctx, userID, name, value, newValue)
}

// Each of these stores breaks one sentence of the contract.
func TestFactorChecks(t *testing.T) {
	type swap = func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error
	for _, tc := range []struct {
		name, sentence string
		check          func(k kit)
		replace        swap
		remove         func(m *userstore.Memory, ctx context.Context, id string) error
	}{
		{"writes nothing", replaces, kit.factor,
			func(*userstore.Memory, context.Context, string, string, []byte, []byte) error { return nil }, nil},
		{"writes whatever the old value is", replaces, kit.factor,
			func(m *userstore.Memory, ctx context.Context, userID, name string, _, newValue []byte) error {
				return swapFactor(m, ctx, userID, name, newValue)
			}, nil},
		{"returns ErrConflict but writes", replaceNothing, kit.factor,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				err := m.ReplaceFactor(ctx, userID, name, oldValue, newValue)
				if errors.Is(err, userstore.ErrConflict) {
					err = errors.Join(err, swapFactor(m, ctx, userID, name, newValue))
				}
				return err
			}, nil},
		{"takes an unchanged value for success", replaces, kit.factor,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				if bytes.Equal(oldValue, newValue) {
					return nil
				}
				return m.ReplaceFactor(ctx, userID, name, oldValue, newValue)
			}, nil},
		{"takes an unchanged value for a conflict", replaces, kit.factor,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				if bytes.Equal(oldValue, newValue) {
					return userstore.ErrConflict
				}
				return m.ReplaceFactor(ctx, userID, name, oldValue, newValue)
			}, nil},
		{"cuts a value at a NUL", replaces, kit.factor,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				cut, _, _ := bytes.Cut(newValue, []byte{0, 1, 2})
				return m.ReplaceFactor(ctx, userID, name, oldValue, cut)
			}, nil},
		{"has a conflict where the user is unknown", replaceNoUser, kit.factorUser,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				err := m.ReplaceFactor(ctx, userID, name, oldValue, newValue)
				if errors.Is(err, userstore.ErrNotFound) {
					err = userstore.ErrConflict
				}
				return err
			}, nil},
		{"keeps the values of a deleted user", factorGone, kit.factorUser, nil,
			func(m *userstore.Memory, ctx context.Context, id string) error {
				value, err := m.Factor(ctx, id, "a")
				user, lookErr := m.FindByID(ctx, id)
				err = errors.Join(err, lookErr, m.Delete(ctx, id), m.Add(ctx, user), m.ReplaceFactor(ctx, id, "a", nil, value))
				return err
			}},
		{"ignores the context", factorContext, kit.factorCanceled,
			func(m *userstore.Memory, ctx context.Context, userID, name string, oldValue, newValue []byte) error {
				return m.ReplaceFactor(context.WithoutCancel(ctx), userID, name, oldValue, newValue)
			}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			store := replacer{userstore.NewMemory(), tc.replace, tc.remove}
			failures := kittest.Failures(func(r *kittest.Recorder) {
				tc.check(kit{finder: finder{tester: r, ctx: t.Context(), store: store}, store: store})
			})
			require.Len(t, failures, 1)
			require.Contains(t, failures[0], tc.sentence)
		})
	}
}

// A store without factors passes, and nothing is added to it.
func TestFactorChecksAreOptional(t *testing.T) {
	m := userstore.NewMemory()
	store := struct{ userstore.Writer }{m}
	for _, check := range []func(kit){kit.factor, kit.factorUser, kit.factorParallel, kit.factorCanceled} {
		require.Empty(t, kittest.Failures(func(r *kittest.Recorder) {
			check(kit{finder: finder{tester: r, ctx: t.Context(), store: store}, store: store})
		}))
	}
	_, err := m.FindByID(t.Context(), ann().ID)
	require.ErrorIs(t, err, userstore.ErrNotFound)
}
