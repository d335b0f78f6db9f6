package userstore

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
)

// Memory is a [Store], a [Writer] and a [FactorStore] in the memory of one process. It is for tests, examples and programs with
// a fixed set of users. It is safe for concurrent use and returns copies; only what pointers, structs and arrays in Profile and
// Attributes hold is shared. Its zero value is an empty store.
type Memory struct {
	mu      sync.RWMutex
	byID    map[string]*User
	byEmail map[string]*User             // by the result of NormalizeEmail
	factors map[string]map[string]string // by the user's id and the factor's name
}

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{} }

// Add implements [Writer].
func (m *Memory) Add(ctx context.Context, user User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := user.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byID[user.ID] != nil || m.byEmail[NormalizeEmail(user.Email)] != nil {
		return fmt.Errorf("%w: id %q", ErrExists, user.ID)
	}
	m.put(user)
	return nil
}

// Update implements [Writer].
func (m *Memory) Update(ctx context.Context, user User) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := user.Validate(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old := m.byID[user.ID]
	if old == nil {
		return fmt.Errorf("%w: id %q", ErrNotFound, user.ID)
	}
	if other := m.byEmail[NormalizeEmail(user.Email)]; other != nil && other != old {
		return fmt.Errorf("%w: id %q", ErrExists, user.ID)
	}
	delete(m.byEmail, NormalizeEmail(old.Email))
	user.PasswordHash = old.PasswordHash
	m.put(user)
	return nil
}

// Delete implements [Writer].
func (m *Memory) Delete(ctx context.Context, id string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	user := m.byID[id]
	if user == nil {
		return fmt.Errorf("%w: id %q", ErrNotFound, id)
	}
	delete(m.byID, id)
	delete(m.byEmail, NormalizeEmail(user.Email))
	delete(m.factors, id)
	return nil
}

// FindByEmail implements [Store].
func (m *Memory) FindByEmail(ctx context.Context, email string) (User, error) {
	if err := ctx.Err(); err != nil {
		return User{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return found(m.byEmail[NormalizeEmail(email)])
}

// FindByID implements [Store].
func (m *Memory) FindByID(ctx context.Context, id string) (User, error) {
	if err := ctx.Err(); err != nil {
		return User{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return found(m.byID[id])
}

// UpdatePasswordHash implements [PasswordUpdater].
func (m *Memory) UpdatePasswordHash(ctx context.Context, id, oldHash, newHash string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if user := m.byID[id]; user != nil && user.PasswordHash == oldHash {
		user.PasswordHash = newHash
	}
	return nil
}

// Format implements [fmt.Formatter]. Without it, package fmt would follow the pointers to the password hashes for some
// verbs.
func (m *Memory) Format(state fmt.State, _ rune) { fmt.Fprint(state, "userstore.Memory") }

// put stores a copy of the user.
func (m *Memory) put(user User) {
	if m.byID == nil {
		m.byID, m.byEmail = map[string]*User{}, map[string]*User{}
	}
	kept := clone(user)
	m.byID[user.ID] = &kept
	m.byEmail[NormalizeEmail(user.Email)] = &kept
}

func found(user *User) (User, error) {
	if user == nil {
		return User{}, ErrNotFound
	}
	return clone(*user), nil
}

func clone(user User) User {
	user.Roles = slices.Clone(user.Roles)
	user.Profile = cloneMap(user.Profile)
	user.Attributes = cloneMap(user.Attributes)
	return user
}

func cloneMap(from map[string]any) map[string]any {
	return cloneValue(reflect.ValueOf(from)).Interface().(map[string]any)
}

// cloneValue copies maps and slices, and what is in them. Values of other types are shared.
func cloneValue(value reflect.Value) reflect.Value {
	switch kind := value.Kind(); {
	case (kind == reflect.Map || kind == reflect.Slice || kind == reflect.Interface) && value.IsNil():
	case kind == reflect.Interface:
		return cloneValue(value.Elem())
	case kind == reflect.Map:
		to := reflect.MakeMapWithSize(value.Type(), value.Len())
		for name, v := range value.Seq2() {
			to.SetMapIndex(name, cloneValue(v))
		}
		return to
	case kind == reflect.Slice:
		to := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		for i := range value.Len() {
			to.Index(i).Set(cloneValue(value.Index(i)))
		}
		return to
	}
	return value
}
