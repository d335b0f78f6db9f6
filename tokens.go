package signet

import (
	"fmt"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/signet-go/signet/internal/scratch"
)

// Tokens is the result of a login or a refresh: an access token, and the refresh token for the next pair. Its JSON form is the
// answer of the contract (RFC 6749 section 5.1). Printing or logging Tokens does not show the tokens, except with the verb %p
// of package fmt, which is a mistake that go vet finds. This does not hold inside other values: package fmt ignores the methods
// of unexported fields, and a JSON log handler writes the JSON form. Do not log a value that contains Tokens.
type Tokens struct {
	AccessToken  string `json:"access_token"`  // for the Authorization header of requests
	RefreshToken string `json:"refresh_token"` // for the next pair, and only for that
	TokenType    string `json:"token_type"`    // "Bearer"
	ExpiresIn    int64  `json:"expires_in"`    // seconds until the access token expires

	refreshIn int64  // seconds until the refresh token expires
	subject   string // the user's id
	sessionID string // "": there is no session
}

// Format implements [fmt.Formatter]. It does not print the tokens.
func (t Tokens) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "Tokens{%s, expires in %ds}", t.TokenType, t.ExpiresIn)
}

// LogValue implements [slog.LogValuer]. It hides the tokens from slog's JSON handler, which would write the JSON form.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// writeTokens writes what writeJSON would write, in a tenth of the time.
func writeTokens(w http.ResponseWriter, t Tokens) {
	body := scratch.Get()
	defer scratch.Put(body)
	body.Grow(len(t.AccessToken) + len(t.RefreshToken) + 128)
	b := append(body.AvailableBuffer(), `{"access_token":"`...)
	b = append(append(b, t.AccessToken...), `","refresh_token":"`...) // a token needs no escapes
	b = append(append(b, t.RefreshToken...), `","token_type":"`...)
	b = append(append(b, t.TokenType...), `","expires_in":`...)
	writeBody(w, http.StatusCreated, append(strconv.AppendInt(b, t.ExpiresIn, 10), "}\n"...))
}
