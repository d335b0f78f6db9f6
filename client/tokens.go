package client

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strings"
	"time"
)

// Tokens is a pair of tokens. fmt and slog do not show it, but fmt shows the tokens of a value that has Tokens in an unexported
// field: do not log such a value. JSON shows them, because stores need it.
type Tokens struct {
	AccessToken  string `json:"access_token"`  // for requests: Authorization: Bearer
	RefreshToken string `json:"refresh_token"` // for the next pair; each pair has another one
	// ExpiresIn is the lifetime of the access token in seconds, counted from Received.
	ExpiresIn int64 `json:"expires_in"`
	// Received is when the request for the pair was sent, by the clock of this machine. The clock of the service does
	// not matter.
	Received time.Time `json:"received"`
}

const hidden = "client.Tokens{hidden}"

// Format hides the tokens.
func (t Tokens) Format(s fmt.State, _ rune) { fmt.Fprint(s, hidden) }

// LogValue hides the tokens.
func (t Tokens) LogValue() slog.Value { return slog.StringValue(hidden) }

// Expiry returns when the access token expires, by the clock of this machine.
func (t Tokens) Expiry() time.Time { return t.Received.Add(t.lifetime()) }

func (t Tokens) lifetime() time.Duration {
	const most = 10 * 365 * 24 * 60 * 60 // the longest lifetime that signet gives; it fits into a Duration
	return time.Duration(min(max(t.ExpiresIn, 0), most)) * time.Second
}

// current is the pair in use.
type current struct {
	Tokens
	due time.Time // refresh from here on
}

// newCurrent takes a pair into use, and chooses when it is refreshed: after 80 to 90 percent of its life, but not earlier than
// a minute before its end. The choice is random, so that many clients that started together do not refresh together.
func newCurrent(t Tokens) current {
	life := t.lifetime()
	early := min(time.Duration(float64(life)*(0.1+0.1*rand.Float64())), time.Duration(30+rand.Int64N(31))*time.Second)
	return current{Tokens: t, due: t.Received.Add(life - early)}
}

// notDue reports whether the pair is not due for a refresh yet. A pair that was received in the future does not count: the clock
// was set back since.
func (c current) notDue() bool {
	now := time.Now()
	return c.AccessToken != "" && now.Before(c.due) && !c.Received.After(now)
}

// usable reports whether the access token can still be used: it has at least five seconds or a tenth of its life left, whichever
// is less. A token that is due for a refresh can be usable.
func (c current) usable() bool {
	now, life := time.Now(), c.lifetime()
	return c.AccessToken != "" && !c.Received.After(now) && now.Before(c.Received.Add(life-min(5*time.Second, life/10)))
}

// newer reports whether a is a later pair of the same session than b.
func newer(a, b Tokens) bool {
	x, y := positionOf(a.RefreshToken), positionOf(b.RefreshToken)
	if x.Session != y.Session || x.Subject != y.Subject {
		return false
	}
	if x.Generation != y.Generation {
		return x.Generation > y.Generation
	}
	return x.IssuedAt > y.IssuedAt
}

// otherUser reports whether the pair after is of another user than the pair before.
func otherUser(before, after current) bool {
	return before.RefreshToken != "" && positionOf(before.RefreshToken).Subject != positionOf(after.RefreshToken).Subject
}

type position struct {
	Session    string  `json:"sid"`
	Subject    string  `json:"sub"`
	Generation int64   `json:"gen"`
	IssuedAt   float64 `json:"iat"`
}

// positionOf reads the place of a refresh token in its session. It verifies nothing, because the tokens are our own.
func positionOf(token string) (p position) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return p
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &p) != nil {
		return position{}
	}
	return p
}
