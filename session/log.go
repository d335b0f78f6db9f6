package session

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
)

// Log is the list of what was revoked and cut off. Every process follows it, so that requests with access tokens need no
// look-up in the store.
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

// Notifier is an optional interface of a [Store]. It makes revocations known sooner than the next look into the log.
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

// MaxPerUser is how many live sessions a user may usually have. MaxPending is how many logins of a user may wait for
// their second step. These logins are not sessions yet.
const (
	MaxPerUser = 100
	MaxPending = 32
)

// Excess returns the ids of the sessions of a user that must be revoked so that limit remain: first those that a cut-off has
// ended or whose time is over, and then those that have been unused for the longest time. It never returns created, the id of the
// session that was made just now. Two logins at the same time must not both lose their sessions. So only the later one may end the session of
// the other: Excess leaves out a session that was made later than created, by less than five seconds.
//
// A login that waits for its second step is not a session yet, and ends none: somebody who knows only the password can end no
// session. If the sessions and these logins together are more than limit, only [MaxPending] of these logins remain.
func Excess(live []Session, at Moment, limit int, created string) []string {
	if len(live) <= limit {
		return nil
	}
	over := [2]int{-limit, -MaxPending}
	var own Session
	for _, s := range live {
		over[s.class()]++
		if s.ID == created {
			own = s
		}
	}
	others := slices.DeleteFunc(slices.Clone(live), func(s Session) bool { return s.ID == created || own.ID != "" && s.beside(own) })
	slices.SortFunc(others, at.goesFirst)
	var ids []string
	for _, s := range others {
		if class := s.class(); over[class] > 0 {
			over[class]--
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// atOnce is how far apart logins are that may be under way at the same time, in milliseconds.
const atOnce = 5000

// beside reports whether the session was made at the same time as another one, and comes behind it.
func (s Session) beside(other Session) bool {
	apart := s.CreatedAt - other.CreatedAt
	return apart > -atOnce && apart < atOnce && cmp.Or(cmp.Compare(s.CreatedAt, other.CreatedAt), strings.Compare(s.ID, other.ID)) > 0
}

// class is 1 for a login that waits for its second step, and 0 for a session.
func (s Session) class() int {
	if s.PendingUntil != 0 {
		return 1
	}
	return 0
}

// goesFirst orders sessions by how well a user can do without them.
func (m Moment) goesFirst(a, b Session) int {
	over := func(s Session) bool { return m.Ended(s) || s.KeepUntil <= m.Now }
	if first := over(a); first != over(b) {
		if first {
			return -1
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.LastUsedAt, b.LastUsedAt), cmp.Compare(a.CreatedAt, b.CreatedAt))
}
