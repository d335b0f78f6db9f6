package userstore_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

var (
	_ userstore.Store           = (*userstore.Memory)(nil)
	_ userstore.PasswordUpdater = (*userstore.Memory)(nil)
)

func ann() userstore.User {
	return userstore.User{ID: "u1", Email: "Ann@Example.com", PasswordHash: "h1", Roles: []string{"admin"},
		Profile: map[string]any{"name": "Ann"}}
}

func rene() userstore.User {
	return userstore.User{ID: "u2", Email: "ren\u00e9@example.com", PasswordHash: "h2"}
}

func with(user userstore.User, change func(*userstore.User)) userstore.User {
	change(&user)
	return user
}

// filled returns a store with Ann and René.
func filled(t *testing.T) *userstore.Memory {
	t.Helper()
	m := userstore.NewMemory()
	require.NoError(t, m.Add(t.Context(), ann()))
	require.NoError(t, m.Add(t.Context(), rene()))
	return m
}

// requireUsers requires that FindByID and FindByEmail return exactly these users.
func requireUsers(t *testing.T, m *userstore.Memory, want ...userstore.User) {
	t.Helper()
	for _, user := range want {
		got, err := m.FindByID(t.Context(), user.ID)
		require.NoError(t, err, "FindByID(%q)", user.ID)
		require.Equal(t, user, got, "FindByID(%q)", user.ID)
		got, err = m.FindByEmail(t.Context(), user.Email)
		require.NoError(t, err, "FindByEmail(%+q)", user.Email)
		require.Equal(t, user, got, "FindByEmail(%+q)", user.Email)
	}
}

func requireNoID(t *testing.T, m *userstore.Memory, id string) {
	t.Helper()
	got, err := m.FindByID(t.Context(), id)
	require.ErrorIs(t, err, userstore.ErrNotFound, "FindByID(%q)", id)
	require.Equal(t, userstore.User{}, got, "FindByID(%q)", id)
}

func requireNoEmail(t *testing.T, m *userstore.Memory, email string) {
	t.Helper()
	got, err := m.FindByEmail(t.Context(), email)
	require.ErrorIs(t, err, userstore.ErrNotFound, "FindByEmail(%+q)", email)
	require.Equal(t, userstore.User{}, got, "FindByEmail(%+q)", email)
}

func TestMemoryFind(t *testing.T) {
	m := filled(t)
	requireUsers(t, m, ann(), rene())
	for _, tc := range []struct{ email, id string }{
		{"ann@example.com", "u1"}, {"ANN@EXAMPLE.COM", "u1"}, {" ann@example.com\n", "u1"},
		{"rene\u0301@example.com", "u2"}, {"RENE\u0301@example.com", "u2"}, {"REN\u00c9@EXAMPLE.COM", "u2"},
	} {
		got, err := m.FindByEmail(t.Context(), tc.email)
		require.NoError(t, err, "FindByEmail(%+q)", tc.email)
		require.Equal(t, tc.id, got.ID, "FindByEmail(%+q)", tc.email)
	}
	for _, email := range []string{"", " ", "u1", "ann", "ann@example.co", "ann+x@example.com", "rene@example.com"} {
		requireNoEmail(t, m, email)
	}
	for _, id := range []string{"", "u3", "U1", " u1", "u1 ", "ann@example.com"} {
		requireNoID(t, m, id)
	}
}

func TestMemoryAdd(t *testing.T) {
	for _, tc := range []struct {
		name string
		user userstore.User
		want error
	}{
		{"new", userstore.User{ID: "u3", Email: "bob@example.com"}, nil},
		{"without a hash, disabled", userstore.User{ID: "u3", Email: "bob@example.com", Disabled: true}, nil},
		{"address with a tag", userstore.User{ID: "u3", Email: "ann+x@example.com"}, nil},
		{"address without the accent", userstore.User{ID: "u3", Email: "rene@example.com"}, nil},
		{"id in capitals", userstore.User{ID: "U1", Email: "bob@example.com"}, nil},
		{"same user", ann(), userstore.ErrExists},
		{"same id", userstore.User{ID: "u1", Email: "bob@example.com"}, userstore.ErrExists},
		{"same address", userstore.User{ID: "u3", Email: "Ann@Example.com"}, userstore.ErrExists},
		{"address in other case", userstore.User{ID: "u3", Email: "aNN@eXAMPLE.COM"}, userstore.ErrExists},
		{"address with spaces", userstore.User{ID: "u3", Email: "\tann@example.com "}, userstore.ErrExists},
		{"address in NFD", userstore.User{ID: "u3", Email: "rene\u0301@example.com"}, userstore.ErrExists},
		{"address in NFD, capitals", userstore.User{ID: "u3", Email: "RENE\u0301@example.com"}, userstore.ErrExists},
		{"id of one, address of another", userstore.User{ID: "u1", Email: "ren\u00e9@example.com"}, userstore.ErrExists},
		{"no id", userstore.User{Email: "bob@example.com"}, userstore.ErrInvalid},
		{"no address", userstore.User{ID: "u3"}, userstore.ErrInvalid},
		{"address of spaces", userstore.User{ID: "u3", Email: " \t\u00a0"}, userstore.ErrInvalid},
		{"nothing", userstore.User{}, userstore.ErrInvalid},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := filled(t)
			err := m.Add(t.Context(), tc.user)
			require.ErrorIs(t, err, tc.want)
			requireUsers(t, m, ann(), rene())
			if tc.want == nil {
				requireUsers(t, m, tc.user)
			} else {
				requireNoID(t, m, "u3")
				requireNoEmail(t, m, "bob@example.com")
			}
		})
	}
}

// The Kelvin sign looks like a K, and its lower case is the letter k.
func TestMemoryLookAlike(t *testing.T) {
	m := userstore.NewMemory()
	kim := userstore.User{ID: "u1", Email: "\u212aim@example.com"}
	require.NoError(t, m.Add(t.Context(), kim))
	requireUsers(t, m, kim)
	for _, email := range []string{"Kim@example.com", "kim@example.com", "\u212aIM@example.com"} {
		require.ErrorIs(t, m.Add(t.Context(), userstore.User{ID: "u2", Email: email}), userstore.ErrExists, "%+q", email)
		got, err := m.FindByEmail(t.Context(), email)
		require.NoError(t, err, "%+q", email)
		require.Equal(t, kim, got, "%+q", email)
	}
}

func TestMemoryUpdate(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*userstore.User) // applied to Ann
		want   error
		gone   string // an address that finds nobody afterwards
	}{
		{"nothing", func(*userstore.User) {}, nil, ""},
		{"roles, disabled, profile, and another hash", func(u *userstore.User) {
			u.PasswordHash, u.Roles, u.Disabled, u.Profile = "h3", nil, true, map[string]any{"name": "Anne", "age": 7}
		}, nil, ""},
		{"other address", func(u *userstore.User) { u.Email = "bob@example.com" }, nil, "ann@example.com"},
		{"other spelling of the address", func(u *userstore.User) { u.Email = " aNN@example.com" }, nil, ""},
		{"address of another", func(u *userstore.User) { u.Email = "ren\u00e9@example.com" }, userstore.ErrExists, ""},
		{"address of another in NFD", func(u *userstore.User) { u.Email = "RENE\u0301@example.com" },
			userstore.ErrExists, ""},
		{"unknown id", func(u *userstore.User) { u.ID = "u3" }, userstore.ErrNotFound, ""},
		{"unknown id, new address", func(u *userstore.User) { u.ID, u.Email = "u3", "bob@example.com" },
			userstore.ErrNotFound,
			"bob@example.com"},
		{"no id", func(u *userstore.User) { u.ID = "" }, userstore.ErrInvalid, ""},
		{"no address", func(u *userstore.User) { u.Email = "" }, userstore.ErrInvalid, ""},
		{"address of spaces", func(u *userstore.User) { u.Email = "  " }, userstore.ErrInvalid, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := filled(t)
			changed := with(ann(), tc.change)
			require.ErrorIs(t, m.Update(t.Context(), changed), tc.want)
			requireUsers(t, m, rene())
			requireNoID(t, m, "u3")
			if tc.want == nil {
				changed.PasswordHash = ann().PasswordHash // only UpdatePasswordHash changes it
				requireUsers(t, m, changed)
			} else {
				requireUsers(t, m, ann())
			}
			if tc.gone != "" {
				requireNoEmail(t, m, tc.gone)
			}
		})
	}

	t.Run("the old address is free", func(t *testing.T) {
		m := filled(t)
		moved := with(ann(), func(u *userstore.User) { u.Email = "bob@example.com" })
		require.NoError(t, m.Update(t.Context(), moved))
		second := userstore.User{ID: "u3", Email: "ann@example.com"}
		require.NoError(t, m.Add(t.Context(), second))
		requireUsers(t, m, moved, second, rene())
		require.ErrorIs(t, m.Update(t.Context(), ann()), userstore.ErrExists, "moving back")
		requireUsers(t, m, moved, second, rene())
	})
}

func TestMemoryDelete(t *testing.T) {
	m := filled(t)
	for _, id := range []string{"", "u3", "U1", "ann@example.com"} {
		require.ErrorIs(t, m.Delete(t.Context(), id), userstore.ErrNotFound, "Delete(%q)", id)
	}
	requireUsers(t, m, ann(), rene())

	require.NoError(t, m.Delete(t.Context(), "u1"))
	requireNoID(t, m, "u1")
	requireNoEmail(t, m, "ann@example.com")
	requireUsers(t, m, rene())
	require.ErrorIs(t, m.Delete(t.Context(), "u1"), userstore.ErrNotFound, "the second time")
	require.ErrorIs(t, m.Update(t.Context(), ann()), userstore.ErrNotFound, "Update must not bring a user back")
	require.NoError(t, m.UpdatePasswordHash(t.Context(), "u1", "h1", "h3"))
	requireNoID(t, m, "u1")

	again := userstore.User{ID: "u3", Email: "ann@example.com"}
	require.NoError(t, m.Add(t.Context(), again), "the address is free")
	require.NoError(t, m.Add(t.Context(), userstore.User{ID: "u1", Email: "bob@example.com"}), "the id is free")
	requireUsers(t, m, again, rene())
}

func TestMemoryUpdatePasswordHash(t *testing.T) {
	for _, tc := range []struct{ name, id, old, new, want string }{
		{"the hash is the old one", "u1", "h1", "h3", "h3"},
		{"the hash is another", "u1", "h0", "h3", "h1"},
		{"old is empty", "u1", "", "h3", "h1"},
		{"old differs in case", "u1", "H1", "h3", "h1"},
		{"old is a part", "u1", "h", "h3", "h1"},
		{"hash of another user", "u1", "h2", "h3", "h1"},
		{"unknown user", "u3", "h1", "h3", "h1"},
		{"address in place of the id", "ann@example.com", "h1", "h3", "h1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := filled(t)
			require.NoError(t, m.UpdatePasswordHash(t.Context(), tc.id, tc.old, tc.new))
			requireUsers(t, m, with(ann(), func(u *userstore.User) { u.PasswordHash = tc.want }), rene())
			requireNoID(t, m, "u3")
		})
	}
}

// The store keeps and returns copies.
func TestMemoryCopies(t *testing.T) {
	deep := func() userstore.User {
		return with(ann(), func(u *userstore.User) {
			u.Roles = []string{"admin", "staff"}
			u.Profile = map[string]any{"name": "Ann", "address": map[string]any{"city": "Ulm", "zip": []any{"8", "9"}},
				"phones": []any{map[string]any{"number": "1"}, []any{"2"}}, "none": map[string]any(nil), "age": 7}
			u.Attributes = map[string]any{"groups": []string{"a", "b"}, "labels": map[string]string{"a": "1"}, "numbers": []int{1}, "photo": []byte("x"),
				"prices": []float64{1}, "members": map[string][]string{"a": {"b"}}}
		})
	}
	scribble := func(u userstore.User) {
		u.Roles[0] = "changed"
		_ = append(u.Roles[:1], "changed")
		address, phones := u.Profile["address"].(map[string]any), u.Profile["phones"].([]any)
		address["city"] = "changed"
		address["zip"].([]any)[0] = "changed"
		phones[0].(map[string]any)["number"] = "changed"
		phones[1].([]any)[0] = "changed"
		phones[0] = "changed"
		u.Profile["name"], u.Profile["new"] = "changed", "changed"
		u.Attributes["groups"].([]string)[0], u.Attributes["labels"].(map[string]string)["a"] = "changed", "changed"
		u.Attributes["numbers"].([]int)[0], u.Attributes["photo"].([]byte)[0] = 2, 'y'
		u.Attributes["prices"].([]float64)[0], u.Attributes["members"].(map[string][]string)["a"][0] = 2, "changed"
		delete(u.Profile, "age")
	}
	for _, tc := range []struct {
		name   string
		change func(t *testing.T, m *userstore.Memory)
	}{
		{"what Add was given", func(t *testing.T, m *userstore.Memory) {
			require.NoError(t, m.Delete(t.Context(), "u1"))
			given := deep()
			require.NoError(t, m.Add(t.Context(), given))
			scribble(given)
		}},
		{"what Update was given", func(t *testing.T, m *userstore.Memory) {
			given := deep()
			require.NoError(t, m.Update(t.Context(), given))
			scribble(given)
		}},
		{"what FindByID returned", func(t *testing.T, m *userstore.Memory) {
			got, err := m.FindByID(t.Context(), "u1")
			require.NoError(t, err)
			scribble(got)
		}},
		{"what FindByEmail returned", func(t *testing.T, m *userstore.Memory) {
			got, err := m.FindByEmail(t.Context(), "ann@example.com")
			require.NoError(t, err)
			scribble(got)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := userstore.NewMemory()
			require.NoError(t, m.Add(t.Context(), deep()))
			tc.change(t, m)
			requireUsers(t, m, deep())
		})
	}
}

// Many goroutines append their letter to the hash with compare-and-swap. If a swap is not atomic, letters are lost.
func TestMemoryUpdatePasswordHashRace(t *testing.T) {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	m := filled(t)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for _, letter := range letters {
		wg.Go(func() {
			<-start
			for {
				user, err := m.FindByID(context.Background(), "u2")
				if err != nil || strings.ContainsRune(user.PasswordHash, letter) {
					return
				}
				_ = m.UpdatePasswordHash(context.Background(), "u2", user.PasswordHash, user.PasswordHash+string(letter))
			}
		})
	}
	close(start)
	wg.Wait()
	user, err := m.FindByID(t.Context(), "u2")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(user.PasswordHash, "h2"), "hash %q", user.PasswordHash)
	require.Len(t, user.PasswordHash, 2+len(letters), "hash %q: each letter once", user.PasswordHash)
	for _, letter := range letters {
		require.Contains(t, user.PasswordHash, string(letter), "a swap was lost")
	}
}

// If many goroutines add the same address at the same time, one succeeds. The race detector checks the rest.
func TestMemoryRace(t *testing.T) {
	const n = 32
	m := filled(t)
	ctx := context.Background()
	start := make(chan struct{})
	added := make(chan string, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			id := fmt.Sprintf("new%d", i)
			if m.Add(ctx, userstore.User{ID: id, Email: "new@example.com"}) == nil {
				added <- id
			}
			own := userstore.User{ID: fmt.Sprintf("own%d", i), Email: fmt.Sprintf("own%d@example.com", i)}
			_ = m.Add(ctx, own)
			own.Email = fmt.Sprintf("moved%d@example.com", i)
			_ = m.Update(ctx, own)
			if i%2 == 0 {
				_ = m.Delete(ctx, own.ID)
			}
			_ = m.Update(ctx, ann())
			_ = m.UpdatePasswordHash(ctx, "u1", "h1", "h1")
			for _, find := range []func() (userstore.User, error){
				func() (userstore.User, error) { return m.FindByID(ctx, "u1") },
				func() (userstore.User, error) { return m.FindByEmail(ctx, "ann@example.com") },
			} {
				if user, err := find(); err == nil {
					user.Roles[0], user.Profile["name"] = id, id
				}
			}
		})
	}
	close(start)
	wg.Wait()
	require.Len(t, added, 1, "users with the same address")
	winner, err := m.FindByEmail(ctx, "new@example.com")
	require.NoError(t, err)
	require.Equal(t, <-added, winner.ID)
	requireUsers(t, m, ann(), rene())
	for i := range n {
		id := fmt.Sprintf("own%d", i)
		requireNoEmail(t, m, id+"@example.com")
		if i%2 == 0 {
			requireNoID(t, m, id)
			requireNoEmail(t, m, fmt.Sprintf("moved%d@example.com", i))
		} else {
			requireUsers(t, m, userstore.User{ID: id, Email: fmt.Sprintf("moved%d@example.com", i)})
		}
	}
}
