// Package session keeps the sessions that logins make: what one is, how its refresh token rotates (Rules), what a store of
// sessions must do (Store), and a store in memory (Memory). Stores for several processes are in sqlstore and redisstore;
// the kit that every store passes is sessiontest.
package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"log/slog"
	"time"
)

// Millis is a time in milliseconds since the Unix epoch, by a store's clock. 0 means never.
type Millis int64

// MillisOf converts t, cutting it to the millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time converts m; the zero Millis is the zero Time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

func (m Millis) add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Reason says why a session ended.
type Reason string

// The reasons that this package and signet give.
const (
	ReasonLogout  Reason = "logout"  // the user logged out, here or everywhere
	ReasonRevoked Reason = "revoked" // the host revoked it: a password change, a ban
	ReasonReuse   Reason = "reuse"   // a superseded refresh token came back: theft
	ReasonUser    Reason = "user"    // the user was missing or disabled at a refresh
	ReasonExpired Reason = "expired" // its time was over; its access tokens live until they expire
	ReasonEvicted Reason = "evicted" // the user had too many sessions, and this was the one not used for longest
)

// Hash is the SHA-256 of the secret that all refresh tokens of a session carry ("jti"): a stolen store mints no token.
type Hash [sha256.Size]byte

// HashOf hashes a secret.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// MarshalText implements encoding.TextMarshaler with base64url.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (h *Hash) UnmarshalText(text []byte) error {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("session: a hash of %d characters", len(text))
	}
	_, err := base64.RawURLEncoding.Decode(h[:], text)
	return err
}

func (h Hash) equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// Ancestor is a generation that was superseded, and is honoured until the reuse window after SupersededAt is over.
type Ancestor struct {
	Generation   int64  `json:"gen"`
	SupersededAt Millis `json:"at"`
}

// Ancestors are the newest superseded generations that still have an open window; unused places are zero.
type Ancestors [4]Ancestor

// Session is one login. It is a plain value, comparable with ==: stores keep it as it is, and only Rules change it. Its JSON form is what
// stores may keep; members that they do not know must survive a round trip only within one version of this package.
type Session struct {
	ID         string `json:"id"`     // 128 random bits
	UserID     string `json:"user"`   // the subject
	SecretHash Hash   `json:"secret"` // of the refresh tokens' common secret
	UserAgent  string `json:"agent,omitempty"`
	Address    string `json:"addr,omitempty"`

	CreatedAt  Millis `json:"created"`
	EndsAt     Millis `json:"ends"` // the absolute end
	LastUsedAt Millis `json:"used"`
	KeepUntil  Millis `json:"keep"` // after this no token of the session is valid: the row may go

	Current     int64     `json:"cur"`           // the newest generation
	Parent      int64     `json:"par,omitempty"` // the one before it; 0: none
	Next        int64     `json:"next"`          // no smaller generation was ever used
	RotatedAt   Millis    `json:"rotated"`       // when Current was made
	SentAt      Millis    `json:"sent"`          // when Current was last sent
	ConfirmedAt Millis    `json:"confirmed,omitempty"`
	Forks       int       `json:"forks,omitempty"` // replacements of Current in a row
	Ancestors   Ancestors `json:"anc,omitzero"`    // older than Parent

	RevokedAt Millis `json:"revoked,omitempty"` // 0: not revoked
	Reason    Reason `json:"reason,omitempty"`
}

// Revoked reports whether the session's access tokens must be refused. A session that only ran out of time is not revoked
// in this sense.
func (s Session) Revoked() bool { return s.RevokedAt != 0 && s.Reason != ReasonExpired }

// Format implements fmt.Formatter without the hash.
func (s Session) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "Session{ID:%q UserID:%q Current:%d Parent:%d Revoked:%q}", s.ID, s.UserID, s.Current, s.Parent, s.Reason)
}

// LogValue implements slog.LogValuer without the hash.
func (s Session) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }
