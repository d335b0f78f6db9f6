package integration

import (
	"io"
	"log/slog"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// secret is the signing key of the processes and of an Auth within the test. So together they are one service.
const secret = "Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"

// john is the documented user, with the same data as in the example.
var john = userstore.User{ID: "1", Email: "john@mail.com", Roles: []string{"customer"}}

// silent discards everything that is logged.
var silent = slog.New(slog.NewTextHandler(io.Discard, nil))

// newAuth returns a service within the test's process. It is closed at the end of the test, before its stores.
func newAuth(t testing.TB, users signet.UserStore, sessions session.Store, opts ...signet.Option) *signet.Auth {
	t.Helper()
	opts = append([]signet.Option{signet.WithSessionStore(sessions), signet.WithLogger(silent)}, opts...)
	auth, err := signet.New(users, keys.Secret([]byte(secret)), opts...)
	require.NoError(t, err)
	t.Cleanup(func() { auth.Close() })
	return auth
}

// onlyJohn is a user store in memory.
func onlyJohn(t testing.TB) *userstore.Memory {
	t.Helper()
	users := userstore.NewMemory()
	require.NoError(t, users.Add(t.Context(), john))
	return users
}
