package totp

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Nothing that is printed, logged or encoded shows a secret, and neither do errors.
func TestSecretsAreHidden(t *testing.T) {
	c := newClock()
	store := users(t)
	f := factor(t, store, []byte("0123456789abcdefKEYKEYKEYKEYKEY!"), WithClock(c.Now))
	e, codes := enrol(t, f, c)
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewTextHandler(&log, nil), slog.NewJSONHandler(&log, nil)} {
		slog.New(handler).Info("x", "factor", f, "enrolment", e, "pointer", &e, "list", []any{f, e},
			"struct", struct{ E Enrolment }{e})
	}
	for _, value := range []any{f, e, &e, []any{f, &e, e}, struct{ E any }{e}, map[string]any{"f": f}} {
		text, err := json.Marshal(value)
		require.NoError(t, err)
		fmt.Fprintf(&log, "%s %v %+v %#v %s %q %x %d\n", text, value, value, value, value, value, value, value)
	}
	_, err := factor(t, store, key(9)).Verify(t.Context(), "u1", codes[0])
	require.Error(t, err)
	fmt.Fprintln(&log, err)
	require.Contains(t, log.String(), "totp.Factor")
	require.Contains(t, log.String(), "totp.Enrolment")
	stored, err := store.Factor(t.Context(), "u1", "totp")
	require.NoError(t, err)
	for _, secret := range []string{e.Secret, e.URI, "otpauth", codes[0], "KEYKEY", fmt.Sprintf("%x", "KEYKEY"),
		strings.Trim(fmt.Sprint([]byte("KEYKEY")), "[]")} {
		require.NotContains(t, log.String(), secret)
		require.NotContains(t, string(stored), secret)
	}
}
