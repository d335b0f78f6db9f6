package userstore_test

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/signet-go/signet/userstore"
)

// employee is what the host has. It knows nothing of signet.
type employee struct {
	Number         string
	Mail, Name     string
	PasswordDigest string
	Left           bool
}

// Employees shows the host's own table to signet. The host adds and removes employees by its own ways.
type Employees struct {
	mu   sync.RWMutex
	list []employee
}

// FindByEmail implements [userstore.Store].
func (e *Employees) FindByEmail(ctx context.Context, email string) (userstore.User, error) {
	email = userstore.NormalizeEmail(email)
	return e.find(ctx, func(one employee) bool { return userstore.NormalizeEmail(one.Mail) == email })
}

// FindByID implements [userstore.Store].
func (e *Employees) FindByID(ctx context.Context, id string) (userstore.User, error) {
	return e.find(ctx, func(one employee) bool { return one.Number == id })
}

func (e *Employees) find(ctx context.Context, matches func(employee) bool) (userstore.User, error) {
	if err := ctx.Err(); err != nil {
		return userstore.User{}, err
	}
	e.mu.RLock()
	defer e.mu.RUnlock()
	for _, one := range e.list {
		if matches(one) {
			return userstore.User{ID: one.Number, Email: one.Mail, PasswordHash: one.PasswordDigest,
				Roles: []string{"employee"}, Disabled: one.Left, Profile: map[string]any{"name": one.Name}}, nil
		}
	}
	return userstore.User{}, userstore.ErrNotFound // and only then: any other error is answered 503
}

// UpdatePasswordHash implements [userstore.PasswordUpdater]: a better hash of the same password replaces the old one.
func (e *Employees) UpdatePasswordHash(_ context.Context, id, oldHash, newHash string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range e.list {
		if e.list[i].Number == id && e.list[i].PasswordDigest == oldHash {
			e.list[i].PasswordDigest = newHash
		}
	}
	return nil
}

// A host has a user table already. Two methods show it to signet, and a third one lets hashes become better at a login.
func ExampleStore() {
	ctx := context.Background()
	employees := &Employees{list: []employee{{Number: "42", Mail: "Ann@Example.com", Name: "Ann", PasswordDigest: "old"}}}
	var store userstore.Store = employees

	ann, err := store.FindByEmail(ctx, " ann@example.com ")
	fmt.Println(ann, err)
	_, err = store.FindByID(ctx, "43")
	fmt.Println(errors.Is(err, userstore.ErrNotFound))

	updater, ok := store.(userstore.PasswordUpdater)
	fmt.Println(ok, updater.UpdatePasswordHash(ctx, "42", "old", "new"))
	// Output:
	// User{ID:"42" Email:"Ann@Example.com" Roles:["employee"] Disabled:false} <nil>
	// true
	// true <nil>
}
