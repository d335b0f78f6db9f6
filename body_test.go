package signet

import (
	"encoding/json"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

// The answer with tokens is written by hand. It must be the JSON form of Tokens, byte for byte.
func TestWriteTokens(t *testing.T) {
	tokens := Tokens{AccessToken: "a.b-_.c", RefreshToken: "d.e.f", TokenType: "Bearer", ExpiresIn: 1728000}
	want, err := json.Marshal(tokens)
	require.NoError(t, err)
	w := httptest.NewRecorder()
	writeTokens(w, tokens)
	require.Equal(t, string(want)+"\n", w.Body.String())
	require.Equal(t, 201, w.Code)
	require.Equal(t, "application/json; charset=utf-8", w.Header().Get("Content-Type"))
}
