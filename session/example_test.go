package session_test

import (
	"context"
	"fmt"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// counted counts the changes of sessions that the store inside has made. What a store can do beyond [session.Store] is hidden by
// such a wrapper ([session.Batcher], [session.Notifier]), and signet then does without.
type counted struct {
	session.Store
	changes *int
}

func (c counted) Update(ctx context.Context, id string, change func(session.Session, session.Moment) (session.Session, error)) error {
	err := c.Store.Update(ctx, id, change)
	if err == nil {
		*c.changes++
	}
	return err
}

// A host puts its own store around another one.
func ExampleStore() {
	changes := 0
	store := counted{&session.Memory{}, &changes}

	user := userstore.User{ID: "42", Email: "ada@example.org"}
	users := userstore.NewMemory()
	if err := users.Add(context.Background(), user); err != nil {
		panic(err)
	}
	auth, err := signet.New(users, keys.Secret([]byte("0jF5zK3qv8XwTn2LrYcB7eHs1uGdAiPm")), signet.WithSessionStore(store))
	if err != nil {
		panic(err)
	}
	defer auth.Close()

	tokens, err := auth.IssueFor(context.Background(), user)
	if err != nil {
		panic(err)
	}
	_, err = auth.Refresh(context.Background(), tokens.RefreshToken)
	fmt.Println(err, changes)
	// Output: <nil> 1
}
