package userstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Errors of a [FactorStore], possibly wrapped; test with errors.Is.
var (
	// ErrConflict says that the stored value is not the one that the caller expected. Nothing has changed.
	ErrConflict = errors.New("userstore: the value was changed in the meantime")
	// ErrInvalidFactor says that a name or a value cannot be stored; see [ValidateFactor].
	ErrInvalidFactor = errors.New("userstore: the factor's name is not 1 to 64 of a-z, 0-9 and -, or its value is too long")
)

// FactorStore is an optional interface of a [Store] that keeps what the second factors of users must remember, for example
// package totp. A value belongs to one user and one name, which is the factor's. It has 1 to 4,096 bytes of any kind, and
// no user sees it. Implementations MUST be safe for concurrent use, and MUST return a value that the caller may change
// without changing the store. Names are compared byte by byte. When a user is deleted, the user's values MUST be gone too,
// so that another user who gets that id has none of them. Both methods honour ctx.
//
// Memory and sqlstore.Users have it. The conformance kit is package userstore/storetest.
type FactorStore interface {
	// Factor returns the value of that user and name. It returns ErrNotFound when there is no such value, or no such user,
	// and only then.
	Factor(ctx context.Context, userID, name string) ([]byte, error)

	// ReplaceFactor stores newValue, but only if the stored value still is oldValue, in one atomic step. Otherwise it
	// returns ErrConflict. An empty oldValue says that there is no value yet, and an empty newValue deletes the value. It
	// returns ErrNotFound when there is no such user, and ErrInvalidFactor for what ValidateFactor refuses. A call that
	// returns one of these errors has changed nothing. After another error, nobody knows whether the value was replaced.
	//
	// A code works once because of this method: of several processes that use up one code at the same time, one succeeds.
	ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error
}

// The longest name and value of a factor, in bytes.
const (
	maxFactorName  = 64
	maxFactorValue = 4096
)

// ValidateFactor returns [ErrInvalidFactor] for a name or a value that a [FactorStore] should not take. The name must be 1
// to 64 bytes of a to z, 0 to 9 and the hyphen. The value must not be longer than 4,096 bytes.
func ValidateFactor(name string, value []byte) error {
	foreign := func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' }
	switch {
	case name == "", len(name) > maxFactorName, strings.ContainsFunc(name, foreign):
	case len(value) > maxFactorValue:
	default:
		return nil
	}
	return ErrInvalidFactor
}

// Factor implements [FactorStore].
func (m *Memory) Factor(ctx context.Context, userID, name string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	value := m.factors[userID][name]
	if value == "" {
		return nil, fmt.Errorf("%w, or the user has no such factor", ErrNotFound)
	}
	return []byte(value), nil
}

// ReplaceFactor implements [FactorStore].
func (m *Memory) ReplaceFactor(ctx context.Context, userID, name string, oldValue, newValue []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := ValidateFactor(name, newValue); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	values := m.factors[userID]
	switch {
	case m.byID[userID] == nil:
		return fmt.Errorf("%w: id %q", ErrNotFound, userID)
	case values[name] != string(oldValue):
		return ErrConflict
	case len(newValue) == 0:
		delete(values, name)
	case values == nil:
		if m.factors == nil {
			m.factors = map[string]map[string]string{}
		}
		m.factors[userID] = map[string]string{name: string(newValue)}
	default:
		values[name] = string(newValue)
	}
	return nil
}
