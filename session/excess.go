package session

import (
	"cmp"
	"slices"
	"strings"
)

// MaxPerUser is how many live sessions a user may usually have. MaxPending is how many logins of a user may wait for
// their second step. These logins are not sessions yet.
const (
	MaxPerUser = 100
	MaxPending = 32
)

// Excess returns the ids of the sessions of a user that must be revoked so that limit remain: first those that a cut-off has
// ended or whose time is over, and then those that have been unused for the longest time. It never returns created, the id of the
// session that was made just now. Two logins at the same time must not both lose their sessions. So only the later one may end
// the session of the other: Excess leaves out a session that began later than created, by less than five seconds. A login with a
// second step makes a session when that step is done.
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

// beside reports whether the session and another one began less than five seconds apart, and this one is the later one.
func (s Session) beside(other Session) bool {
	apart := s.begun() - other.begun()
	return apart > -atOnce && apart < atOnce && cmp.Or(cmp.Compare(s.begun(), other.begun()), strings.Compare(s.ID, other.ID)) > 0
}

// begun returns when a session began. A session that was never refreshed was used last when it began.
func (s Session) begun() Millis {
	if s.Parent == 0 {
		return max(s.CreatedAt, s.LastUsedAt)
	}
	return s.CreatedAt
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
