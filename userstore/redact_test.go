package userstore_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

const hash = "$argon2id$v=19$m=64,t=1,p=1$c29tZXNhbHQ$bQk8UBVmZZF4Oo79iDXuL5"

// requireRedacted looks for the hash as text, as hexadecimal digits and as a list of byte values.
func requireRedacted(t *testing.T, got string) {
	t.Helper()
	for _, form := range []string{hash, hash[9:], hex.EncodeToString([]byte(hash)),
		strings.Trim(fmt.Sprint([]byte(hash)), "[]")} {
		require.NotContains(t, strings.ToLower(got), strings.ToLower(form), "the password hash is shown")
	}
}

// holders returns values that contain ann.
func holders(t *testing.T, ann userstore.User) map[string]any {
	memory := userstore.NewMemory()
	require.NoError(t, memory.Add(t.Context(), ann))
	return map[string]any{
		"User":                ann,
		"*User":               &ann,
		"[]User":              []userstore.User{ann},
		"[1]User":             [1]userstore.User{ann},
		"[]*User":             []*userstore.User{&ann},
		"map[string]User":     map[string]userstore.User{"ann": ann},
		"struct":              struct{ User userstore.User }{ann},
		"*struct":             &struct{ User userstore.User }{ann},
		"struct, embedded":    struct{ userstore.User }{ann},
		"struct, *User":       struct{ User *userstore.User }{&ann},
		"struct, any":         struct{ User any }{ann},
		"struct, []User":      struct{ Users []userstore.User }{[]userstore.User{ann}},
		"Memory":              memory,
		"struct, with Memory": struct{ Store userstore.Store }{memory},
		"struct, hiding it":   struct{ store userstore.Store }{memory},
	}
}

func annWithHash() userstore.User {
	return userstore.User{ID: "u1", Email: "ann@example.com", PasswordHash: hash, Roles: []string{"admin", "staff"},
		Profile: map[string]any{"name": "Ann"}}
}

func TestPrintedWithoutHash(t *testing.T) {
	formats := []string{"%v", "%+v", "%#v", "%s", "%+s", "%#s", "%q", "%#q", "%d", "%x", "%X", "% x",
		"%#x", "%t", "%b", "%c",
		"%o", "%O", "%e", "%g", "%f", "%U", "%T", "%z", "%200v", "%-5.1s",
		"no verb", "%v %v"}
	for name, value := range holders(t, annWithHash()) {
		t.Run(name, func(t *testing.T) {
			for _, format := range formats {
				t.Run(format, func(t *testing.T) { requireRedacted(t, fmt.Sprintf(format, value)) })
			}
			t.Run("Sprint", func(t *testing.T) { requireRedacted(t, fmt.Sprint(value)) })
			t.Run("Errorf", func(t *testing.T) { requireRedacted(t, fmt.Errorf("no: %v", value).Error()) })
		})
	}
}

func TestPrintedForm(t *testing.T) {
	ann := annWithHash()
	const want = `User{ID:"u1" Email:"ann@example.com" Roles:["admin" "staff"] Disabled:false}`
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
		require.Equal(t, want, fmt.Sprintf(format, ann), "%s of a User", format)
		require.Equal(t, want, fmt.Sprintf(format, &ann), "%s of a *User", format)
	}
	require.Equal(t, `User{ID:"" Email:"" Roles:[] Disabled:false}`, fmt.Sprint(userstore.User{}))
}

func TestJSONWithoutHash(t *testing.T) {
	for name, value := range holders(t, annWithHash()) {
		t.Run(name, func(t *testing.T) {
			text, err := json.Marshal(value)
			require.NoError(t, err)
			requireRedacted(t, string(text))
		})
	}

	text, err := json.Marshal(annWithHash())
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"u1","email":"ann@example.com","roles":["admin","staff"],"profile":{"name":"Ann"}}`,
		string(text))
	text, err = json.Marshal(userstore.User{ID: "u2", Email: "bob@example.com", Disabled: true})
	require.NoError(t, err)
	require.JSONEq(t, `{"id":"u2","email":"bob@example.com","disabled":true}`, string(text))

	var user userstore.User
	require.NoError(t, json.Unmarshal([]byte(`{"id":"u1","PasswordHash":"x","-":"x"}`), &user))
	require.Empty(t, user.PasswordHash, "JSON must not set a password hash")
}

func TestLoggedWithoutHash(t *testing.T) {
	handlers := map[string]func(*bytes.Buffer) slog.Handler{
		"text": func(b *bytes.Buffer) slog.Handler { return slog.NewTextHandler(b, nil) },
		"JSON": func(b *bytes.Buffer) slog.Handler { return slog.NewJSONHandler(b, nil) },
	}
	for kind, handler := range handlers {
		for name, value := range holders(t, annWithHash()) {
			t.Run(kind+"/"+name, func(t *testing.T) {
				var out bytes.Buffer
				log := slog.New(handler(&out))
				log.Info("one", "user", value)
				log.With("user", value).WithGroup("group").Info("two", slog.Group("group", slog.Any("user", value)))
				require.Contains(t, out.String(), "two", "nothing was logged")
				requireRedacted(t, out.String())
			})
		}
	}

	for _, tc := range []struct {
		kind, want string
	}{
		{"text", `user.id=u1 user.email=ann@example.com user.roles="[admin staff]" user.disabled=false`},
		{"JSON", `"user":{"id":"u1","email":"ann@example.com","roles":["admin","staff"],"disabled":false}`},
	} {
		var out bytes.Buffer
		slog.New(handlers[tc.kind](&out)).Info("", "user", annWithHash())
		require.Contains(t, out.String(), tc.want, tc.kind)
	}
}
