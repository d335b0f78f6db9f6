package signet

import (
	"encoding/json"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBody reads any body as JSON and as a form. A body that encoding/json or net/url refuses is refused. Of one that is
// accepted, both read the same fields, and no field is given twice.
func FuzzBody(f *testing.F) {
	for _, seed := range []string{
		``, `{}`, `null`, `[]`, `{"email":"john@mail.com","password":"changeme","remember":true}`, `{"email":null,"password":"x"}`,
		`{"email":"a","email":"b"}`, `{"refresh_token":"x","refreshToken":"y"}`, `{"refresh_token":null,"refreshToken":"y"}`,
		`{"email":"\ud800","password":"x"}`, `{"\u0065mail":"\u006a"}`, `{"Email":"a","email":"b"}`, `{"email":1e999}`,
		`{"remember":"on","x":{"email":"a"}}`, `{"email":"a"}{}`, "\ufeff{}", "{\"email\":\"\xff\"}",
		`email=john%40mail.com&password=changeme&remember=on`, `email=a&email=b`, `email=%ff`, `email=%4`, `email=a;password=b`,
		`refresh_token=x&refreshToken=y`, `email=+a+&password=`, `=&&=`, `%65mail=a&email=b`,
	} {
		f.Add(false, seed)
		f.Add(true, seed)
	}
	f.Fuzz(func(t *testing.T, form bool, body string) {
		var email, pass, token, remember string
		want := []field{textField("email", &email), textField("password", &pass), {names: []string{"refreshToken", "refresh_token"}, value: &token},
			{names: []string{"remember"}, value: &remember, optional: true}}
		media, reference := mediaJSON, jsonFields
		if form {
			media, reference = mediaForm, formFields
		}
		if err := parseBody(media, body, want...); err != nil {
			require.ErrorIs(t, err, ErrInvalidRequest)
			return
		}
		fields := reference(t, body)
		for _, w := range want {
			var given []string
			for _, name := range w.names {
				given = append(given, fields[name]...)
			}
			require.LessOrEqual(t, len(given), 1, "%q is given twice in %q", w.names[0], body)
			require.Equal(t, strings.Join(given, ""), *w.value, "%q in %q", w.names[0], body)
		}
	})
}

// jsonFields reads a body with encoding/json.
func jsonFields(t *testing.T, body string) map[string][]string {
	var members map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(body), &members), "accepted %q", body)
	require.NotNil(t, members, "accepted %q", body)
	fields := map[string][]string{}
	for name, raw := range members {
		var text string
		switch {
		case string(raw) == "null":
			continue
		case name == "remember":
			text = strings.Trim(string(raw), `"`)
		case json.Unmarshal(raw, &text) != nil:
			text = "not a string: " + string(raw)
		}
		fields[name] = []string{text}
	}
	return fields
}

// formFields reads a body with net/url.
func formFields(t *testing.T, body string) map[string][]string {
	fields, err := url.ParseQuery(body)
	require.NoError(t, err, "accepted %q", body)
	return fields
}
