package session

import (
	"context"
	"errors"
)

// Log is the list of what was revoked and cut off. Every process follows it, so that requests with access tokens need no
// look-up in the store. Like all of a [Store], it must be safe for concurrent use.
type Log interface {
	// ReadLog calls each for entries behind the cursor, and returns the cursor behind them. An entry that is committed
	// later is behind that cursor, whenever its transaction began: a reader that goes on with the cursor misses no entry.
	// It may get an entry more than once, and of a cut-off that was changed it gets only the newest entry. It gets every
	// entry whose row was not deleted, even one past its KeepUntil, because the store's clock may be wrong. More says
	// that there are entries behind the returned cursor; then the call was cut short after about limit entries.
	//
	// Start is the cursor in front of the whole log, and End the one behind it. With End, ReadLog returns the cursor from
	// which later calls go on. It returns [ErrCursor] when the log does not go on behind the cursor, because the store
	// has lost a part of its log: the reader begins again.
	ReadLog(ctx context.Context, after Cursor, limit int, each func(Entry)) (Page, error)
}

// Notifier is an optional interface of a [Store]. It makes revocations known sooner than the next look into the log. It must
// be safe for concurrent use.
type Notifier interface {
	// Notify calls wake whenever the log may have new entries. It returns when ctx ends, or with an error when it cannot go
	// on; the caller then calls it again after a while. It may call wake for nothing, and it may miss an entry.
	Notify(ctx context.Context, wake func()) error
}

// Cursor is a place in the log of a store. Only the store understands its text. It must hold no id, because it may be
// published.
type Cursor string

// The cursors that every store knows.
const (
	Start Cursor = ""
	End   Cursor = "end"
)

// ErrCursor says that the log does not go on behind a cursor. Test with errors.Is.
var ErrCursor = errors.New("session: the log does not go on behind this cursor")

// Page is what [Log].ReadLog returns.
type Page struct {
	Next Cursor // behind the entries that were read
	More bool   // there are entries behind Next
	Now  Millis // the store's time
}

// EntryKind says what an [Entry] is about.
type EntryKind uint8

// The kinds of entries.
const (
	SessionRevoked EntryKind = iota + 1 // ID is the session's
	UserCut                             // ID is the user's
	AllCut                              // everybody in Group
)

// AllGroups is the Group of an entry that is for the users of all groups.
const AllGroups = -1

// Entry is one line of the log.
type Entry struct {
	Kind      EntryKind
	ID        string // of the session or the user
	Group     int    // for AllCut: 0 to Groups-1, or AllGroups
	Ended     int64  // of the cut-off
	Spared    string // of the cut-off
	Changed   int64  // of the cut-off
	KeepUntil Millis // after this time no token is left that the entry refuses; for AllCut it has no meaning
}

// RevokedEntry returns the entry of a session that was revoked.
func RevokedEntry(id string, keepUntil Millis) Entry {
	return Entry{Kind: SessionRevoked, ID: id, KeepUntil: keepUntil}
}

// CutEntry returns the entry of a cut-off of a user.
func CutEntry(userID string, c Cutoff) Entry {
	return Entry{Kind: UserCut, ID: userID, Ended: c.Ended, Spared: c.Spared, Changed: c.Changed, KeepUntil: c.KeepUntil}
}

// AllEntry returns the entry of a cut-off of everybody in a group, or in [AllGroups].
func AllEntry(group int, c Cutoff) Entry {
	return Entry{Kind: AllCut, Group: group, Ended: c.Ended, Changed: c.Changed, KeepUntil: c.KeepUntil}
}
