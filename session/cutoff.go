package session

import (
	"fmt"
	"strconv"

	"github.com/signet-go/signet/internal/strictjson"
)

// Cutoff ends or outdates everything of a user, or of everybody, that is older than it. It is one value, whatever the number
// of sessions. Older means: made from a Moment with a smaller [Version]. So no clock decides. The zero value cuts nothing
// off.
type Cutoff struct {
	Ended     int64  // sessions with a smaller version have ended
	Spared    string // the id of one session that Ended does not end
	Changed   int64  // access tokens with a smaller version are outdated: the user has changed; their session goes on
	KeepUntil Millis // after this time no token is left that is older, and a user's cut-off may be deleted
}

// Version returns the newest version of the cut-off.
func (c Cutoff) Version() int64 { return max(c.Ended, c.Changed) }

// End returns the cut-off that ends every session so far, except the one with the id spared if it is not "".
func (c Cutoff) End(spared string, keepUntil, now Millis) Cutoff {
	c.Ended, c.Spared = c.next(now), spared
	c.KeepUntil = max(c.KeepUntil, keepUntil)
	return c
}

// Change returns the cut-off that outdates every access token so far.
func (c Cutoff) Change(keepUntil, now Millis) Cutoff {
	c.Changed = c.next(now)
	c.KeepUntil = max(c.KeepUntil, keepUntil)
	return c
}

// next returns a version that was never used. It follows the store's time, so a cut-off that was deleted and made again does
// not use a version twice.
func (c Cutoff) next(now Millis) int64 { return max(c.Version()+1, int64(now)) }

// Version says which cut-offs somebody knew who read a Moment. A session has the version of the Moment in which it was made,
// and an access token has that of the Moment before its user was read. All counts the cut-offs of everybody, and User those of the
// user. Each is greater after every cut-off.
type Version struct{ All, User int64 }

// Moment is what a store knows at one instant: its time, and the cut-offs of a user.
type Moment struct {
	Now  Millis
	User Cutoff // of the user
	All  Cutoff // of everybody
}

// Version returns the version of what is made from this Moment.
func (m Moment) Version() Version { return Version{All: m.All.Version(), User: m.User.Version()} }

// Ended reports whether a cut-off has ended the session.
func (m Moment) Ended(s Session) bool {
	return s.Born.User < m.User.Ended && s.ID != m.User.Spared || s.Born.All < m.All.Ended
}

// MarshalJSON returns the stored form of a cut-off. It never returns an error.
func (c Cutoff) MarshalJSON() ([]byte, error) {
	b := strconv.AppendInt([]byte(`{"v":`), codecVersion, 10)
	b = strconv.AppendInt(append(b, `,"ended":`...), c.Ended, 10)
	b = strictjson.AppendString(append(b, `,"spared":`...), c.Spared)
	b = strconv.AppendInt(append(b, `,"changed":`...), c.Changed, 10)
	b = strconv.AppendInt(append(b, `,"keep":`...), int64(c.KeepUntil), 10)
	return append(b, '}'), nil
}

// UnmarshalJSON reads the stored form. It returns an error for a cut-off that a newer version of this package has written in
// a form that this version does not understand.
func (c *Cutoff) UnmarshalJSON(text []byte) error {
	*c = Cutoff{}
	var version int64
	scan := strictjson.Scan(string(text))
	for scan.Next() {
		switch scan.Name() {
		case "v":
			version = scan.Int()
		case "ended":
			c.Ended = scan.Int()
		case "spared":
			c.Spared = scan.String()
		case "changed":
			c.Changed = scan.Int()
		case "keep":
			c.KeepUntil = Millis(scan.Int())
		}
	}
	switch err := scan.Err(); {
	case version > codecVersion:
		return fmt.Errorf("session: the cut-off has version %d, and this program reads versions up to %d", version, codecVersion)
	case err != nil:
		return fmt.Errorf("session: the cut-off cannot be read: %w", err)
	}
	return nil
}
