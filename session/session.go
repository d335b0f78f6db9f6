// Package session keeps the sessions that logins make. It says what a session is ([Session]), what a store of sessions must
// do ([Store]), and it has a store in memory ([Memory]). Stores for several processes are in the packages sqlstore and
// redisstore. The conformance kit that every store passes is package sessiontest.
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

// MillisOf converts t and cuts it to the millisecond.
func MillisOf(t time.Time) Millis { return Millis(t.UnixMilli()) }

// Time converts m. The zero Millis is the zero Time.
func (m Millis) Time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMilli(int64(m)).UTC()
}

// Add returns the time that is d later, to the millisecond.
func (m Millis) Add(d time.Duration) Millis { return m + Millis(d.Milliseconds()) }

// Reason says why a session ended.
type Reason string

// The reasons of ends. ReasonExpired is the only one that signet does not give: a store may end a session with it.
const (
	ReasonLogout  Reason = "logout"  // the user logged out, here or everywhere
	ReasonRevoked Reason = "revoked" // the host revoked the session, for example after a password change or for a ban
	ReasonReuse   Reason = "reuse"   // a superseded refresh token was used again: theft
	ReasonUser    Reason = "user"    // the user was missing or disabled at a refresh
	ReasonExpired Reason = "expired" // the time of the session was over; its access tokens live until they expire
	ReasonEvicted Reason = "evicted" // the user had too many sessions, and this one had been unused for the longest time
)

// Hash is the SHA-256 of the secret that all refresh tokens of a session carry ("jti"). Somebody who steals the store cannot
// make a token from it.
type Hash [sha256.Size]byte

// HashOf hashes a secret.
func HashOf(secret string) Hash { return sha256.Sum256([]byte(secret)) }

// Equal compares two hashes in constant time.
func (h Hash) Equal(other Hash) bool { return subtle.ConstantTimeCompare(h[:], other[:]) == 1 }

// MarshalText implements [encoding.TextMarshaler] with base64url.
func (h Hash) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText implements [encoding.TextUnmarshaler].
func (h *Hash) UnmarshalText(text []byte) error {
	if base64.RawURLEncoding.DecodedLen(len(text)) != len(h) {
		return fmt.Errorf("session: a hash has %d characters", len(text))
	}
	_, err := base64.RawURLEncoding.Decode(h[:], text)
	return err
}

// Ancestor is a superseded generation whose refresh token is still honoured. The reuse window begins at SupersededAt.
type Ancestor struct {
	Generation   int64  // of the refresh token, as in [Session.Current]
	SupersededAt Millis // when the token after it was used first, by the store's clock
}

// Ancestors are the newest superseded generations that still have an open window. Unused places are zero. The last place is only
// for a step-up.
type Ancestors [5]Ancestor

// Session is one login. It is a plain value that can be compared with ==. Stores keep it as it is, and only the rules of
// rotation change it. Its JSON form is what stores keep: see [Session.MarshalJSON].
type Session struct {
	ID         string // made by NewID: it names the group of its user
	UserID     string // the subject of the session's tokens
	SecretHash Hash   // the hash of the secret that all refresh tokens of the session carry
	UserAgent  string // of the client that logged in or refreshed last
	Address    string // of the same client

	Born       Version // the version of the Moment in which the session was made: an older cut-off does not end it
	CreatedAt  Millis  // the time of the login
	EndsAt     Millis  // no token of the session is valid after this time
	LastUsedAt Millis  // the time of the last refresh, to within one reuse window
	KeepUntil  Millis  // after this time no token of the session is valid, and the row may be deleted; it never shrinks

	Current     int64     // the newest generation of the refresh token
	Parent      int64     // the generation before it; 0: none
	Next        int64     // every generation that was used is smaller than this
	SentAt      Millis    // when Current was last sent to a client
	ConfirmedAt Millis    // when Current was seen to have arrived; 0: not yet
	Ancestors   Ancestors // the generations before Parent

	RevokedAt Millis // 0: not revoked
	Reason    Reason // why it was revoked

	Idle         int64  // the session's own lifetime without a use, in milliseconds; 0: the service's
	Facts        string // a JSON object of claims that return in each access token of the session; "": none
	Raised       string // what replaces Facts since a step-up; "": nothing
	RaisedFrom   int64  // the first generation since the step-up; 0: none
	PendingUntil Millis // not 0: the login waits for its second step until then, and no token exists
	Tries        int64  // codes that were tried in the second step
	Tickets      int64  // how many tickets for connections were made
	TicketsUsed  int64  // which of the last 64 tickets were used: the lowest bit is the newest

	unknown string // JSON members that a newer version of this package wrote
}

// Revoked reports whether the session's access tokens must be refused. A session whose time is over is not revoked in this
// sense: its access tokens expire by themselves.
func (s Session) Revoked() bool { return s.RevokedAt != 0 && s.Reason != ReasonExpired }

// Revoke returns the session with its end noted. A second revocation changes nothing, with one exception: a session that
// ended because its time was over can still be revoked, since its access tokens may live.
func (s Session) Revoke(reason Reason, now Millis) Session {
	if s.RevokedAt == 0 || s.Reason == ReasonExpired && reason != ReasonExpired {
		s.RevokedAt, s.Reason = max(now, s.Latest()), reason
	}
	return s
}

// Latest returns the newest time of anything that happened to the session. A clock that shows an earlier time was set back.
func (s Session) Latest() Millis {
	return max(s.CreatedAt, s.LastUsedAt, s.SentAt, s.ConfirmedAt, s.RevokedAt)
}

// Format implements [fmt.Formatter] without the hash.
func (s Session) Format(state fmt.State, _ rune) {
	fmt.Fprintf(state, "Session{ID:%q UserID:%q Current:%d Parent:%d Revoked:%q}",
		s.ID, s.UserID, s.Current, s.Parent, s.Reason)
}

// LogValue implements [slog.LogValuer] without the hash.
func (s Session) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(s)) }
