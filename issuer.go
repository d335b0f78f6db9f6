package signet

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/signet-go/signet/userstore"
)

// Tokens is what a login or a refresh gives: an access token, the refresh token that gets the next pair, and what the
// client should know about the first. Its JSON form is the answer of the contract (RFC 6749 section 5.1); it prints and
// logs without the tokens.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	TokenType    string `json:"token_type"` // "Bearer"
	ExpiresIn    int64  `json:"expires_in"` // seconds until the access token expires
}

// Format implements fmt.Formatter: the tokens are never printed.
func (t Tokens) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "Tokens{%s, expires in %ds}", t.TokenType, t.ExpiresIn)
}

// LogValue implements slog.LogValuer without the tokens: slog's JSON handler would take the JSON form.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// reserved are the claims that signet alone sets.
var reserved = []string{"sub", "iss", "aud", "exp", "iat", "nbf", "jti", "sid", "gen", "roles"}

// grant says what a pair of tokens is made for.
type grant struct {
	user       userstore.User
	sessionID  string // "" without sessions
	generation int64  // of the refresh token; 0 without sessions
	secret     string // the refresh token's jti
	proof      bool   // the access token names its generation: whoever shows it has received the refresh token
	notAfter   time.Time
	now        time.Time
}

// issue signs a pair. It reads no store; it fails when a key does not sign or the host's claims cannot be had.
func (a *Auth) issue(ctx context.Context, g grant) (Tokens, error) {
	if g.user.ID == "" || !utf8.ValidString(g.user.ID) {
		return Tokens{}, internal(errors.New("the user store returned a user whose ID is empty or not UTF-8"))
	}
	extra, err := a.customClaims(ctx, g.user)
	if err != nil {
		return Tokens{}, err
	}
	signing := a.keyring.state.Load().signing
	accessEnd := expiry(g, a.accessLifetime)

	payload := a.commonClaims(g, accessEnd, randomID())
	if g.sessionID != "" && g.proof {
		payload = strconv.AppendInt(append(payload, `,"gen":`...), g.generation, 10)
	}
	if len(g.user.Roles) > 0 {
		payload = appendStrings(append(payload, `,"roles":`...), g.user.Roles)
	}
	access, err := signJWS(ctx, signing, signing.accessHeader, append(append(payload, extra...), '}'))
	if err != nil {
		return Tokens{}, err
	}
	if len(access) > a.maxToken {
		return Tokens{}, internal(fmt.Errorf("the access token has %d bytes, WithMaxTokenBytes allows %d; add fewer claims in WithClaims", len(access),
			a.maxToken))
	}
	payload = a.commonClaims(g, expiry(g, a.refreshLifetime), g.secret)
	if g.sessionID != "" {
		payload = strconv.AppendInt(append(payload, `,"gen":`...), g.generation, 10)
	}
	refresh, err := signJWS(ctx, signing, signing.refreshHeader, append(payload, '}'))
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{AccessToken: access, RefreshToken: refresh, TokenType: "Bearer",
		ExpiresIn: accessEnd - g.now.Unix()}, nil
}

// expiry is when a token ends: after its lifetime, or with its session.
func expiry(g grant, lifetime time.Duration) int64 {
	end := g.now.Add(lifetime)
	if !g.notAfter.IsZero() && g.notAfter.Before(end) {
		end = g.notAfter
	}
	return max(end.Unix(), g.now.Unix())
}

// commonClaims writes the claims that both tokens have, without the closing brace. Building the JSON by hand costs a
// tenth of building a map, and the order stays the same.
func (a *Auth) commonClaims(g grant, end int64, id string) []byte {
	b := make([]byte, 0, 512)
	b = appendString(append(b, `{"sub":`...), g.user.ID)
	if a.issuer != "" {
		b = appendString(append(b, `,"iss":`...), a.issuer)
	}
	switch len(a.audience) {
	case 0:
	case 1:
		b = appendString(append(b, `,"aud":`...), a.audience[0])
	default:
		b = appendStrings(append(b, `,"aud":`...), a.audience)
	}
	b = strconv.AppendInt(append(b, `,"iat":`...), g.now.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), end, 10)
	b = appendString(append(b, `,"jti":`...), id)
	if g.sessionID != "" {
		b = appendString(append(b, `,"sid":`...), g.sessionID)
	}
	return b
}

// customClaims is what WithClaims adds, as members that follow others.
func (a *Auth) customClaims(ctx context.Context, user userstore.User) ([]byte, error) {
	if a.extraClaims == nil {
		return nil, nil
	}
	extra, err := a.extraClaims(ctx, user)
	if err != nil {
		return nil, unavailable(fmt.Errorf("WithClaims: %w", err))
	}
	var b []byte
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.Contains(reserved, name) {
			return nil, internal(fmt.Errorf("WithClaims: the claim %q is signet's own; choose another name", name))
		}
		value, err := json.Marshal(extra[name])
		if err != nil {
			return nil, internal(fmt.Errorf("WithClaims: %q: %w", name, err))
		}
		b = append(append(appendString(append(b, ','), name), ':'), value...)
	}
	if len(b) == 0 {
		return nil, nil
	}
	// What the parser would refuse later must not be signed now.
	if _, err := parseClaims("{" + string(b[1:]) + "}"); err != nil {
		return nil, internal(fmt.Errorf("WithClaims: %w", err))
	}
	return b, nil
}

func signJWS(ctx context.Context, k *key, header string, payload []byte) (string, error) {
	token := make([]byte, 0, len(header)+base64URL.EncodedLen(len(payload))+768)
	token = append(append(token, header...), '.')
	token = base64URL.AppendEncode(token, payload)
	signature, err := k.sign(ctx, token)
	if err != nil {
		return "", unavailable(fmt.Errorf("sign with key %q: %w", k.id, err))
	}
	return string(base64URL.AppendEncode(append(token, '.'), signature)), nil
}

// encodeHeader is the protected header of our tokens.
func encodeHeader(k *key, typ string) string {
	b := appendString([]byte(`{"alg":`), string(k.alg))
	b = appendString(append(b, `,"kid":`...), k.id)
	b = appendString(append(b, `,"typ":`...), typ)
	return base64.RawURLEncoding.EncodeToString(append(b, '}'))
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for i, s := range list {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// appendString appends s as a JSON string. Nearly all are plain; the others go through encoding/json.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, _ := json.Marshal(s) // a string cannot fail
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// randomID is 128 random bits.
func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: it ends the program when the system has no randomness
	return base64.RawURLEncoding.EncodeToString(b[:])
}
