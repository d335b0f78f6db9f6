package rotation

import (
	"time"

	"github.com/signet-go/signet/session"
)

// pendingTime is how long a login waits for its second step, if the session does not end before. maxTries is how many codes may
// be tried meanwhile.
const (
	pendingTime = 5 * time.Minute
	maxTries    = 5
)

// Pend returns the row of a login that waits for its second step. ticket is the hash of the secret that the second step must
// show. No token can name this row, because it has no generation.
func (r Rules) Pend(id, userID string, ticket session.Hash, terms Terms, client Client, now session.Millis) session.Session {
	s := r.New(id, userID, ticket, terms, client, now)
	s.Current, s.Next, s.SentAt, s.ConfirmedAt = 0, 1, 0, 0
	s.PendingUntil = min(now.Add(pendingTime), s.EndsAt)
	s.KeepUntil = s.PendingUntil.Add(keepSlack)
	return s
}

// waits reports whether the login of this ticket still waits for its second step.
func waits(s session.Session, ticket session.Hash, now session.Millis) bool {
	return s.RevokedAt == 0 && now < s.PendingUntil && s.SecretHash.Equal(ticket)
}

// MayHaveTicket reports whether the session waits for no second step and is younger than pendingTime. Such a session may come
// from a second step, and somebody may still hold its ticket.
func MayHaveTicket(s session.Session, now session.Millis) bool {
	return s.PendingUntil == 0 && now < s.CreatedAt.Add(pendingTime)
}

// Try counts an attempt at the second step, before the code is checked. It reports whether the code may be checked.
func Try(s session.Session, ticket session.Hash, now session.Millis) (session.Session, bool) {
	if !waits(s, ticket, now) || s.Tries >= maxTries {
		return s, false
	}
	s.Tries++
	return s, true
}

// TakeBack takes back an attempt if its code could not be checked.
func TakeBack(s session.Session, ticket session.Hash, now session.Millis) session.Session {
	if waits(s, ticket, now) && s.Tries > 0 {
		s.Tries--
	}
	return s
}

// Complete makes the session of a login whose second step succeeded. It reports false if it is too late, or if another request
// was faster. facts replace those of the login.
func (r Rules) Complete(s session.Session, ticket, secret session.Hash, facts string, client Client,
	now session.Millis) (session.Session, bool) {
	if !waits(s, ticket, now) {
		return s, false
	}
	s.PendingUntil, s.Tries, s.Facts = 0, 0, facts
	return r.begin(s, secret, client, now), true
}

// StepUp raises a session: from now on its access tokens have other facts. Only the current refresh token can do that. The
// session rotates. Whoever uses an older token afterwards, while its window is open, gets tokens without the new facts, and the
// session loses them ([Rules.Refresh]). So a token that was stolen before is not raised, another tab is no thief, and a lost
// answer costs only the step-up. A step-up closes no window: it has a place for an ancestor that no refresh uses. If another
// step-up uses that place, this one must wait until a window closes.
func (r Rules) StepUp(s session.Session, p Presented, facts string, now session.Millis) (session.Session, Outcome) {
	if p.Generation < s.Current && s.RevokedAt == 0 && s.SecretHash.Equal(p.SecretHash) {
		return s, Outcome{Event: EventOlder}
	}
	after, out := r.refresh(s, p, now, len(s.Ancestors))
	switch {
	case out.Event == EventCoalesced:
		closes := after.Ancestors[0].SupersededAt.Add(r.Window) // of all windows, this one is the first that closes
		return after, Outcome{Event: EventCrowded, RolledBack: out.RolledBack, Wait: time.Duration(closes+1-now) * time.Millisecond}
	case out.Generation != 0:
		after.Raised, after.RaisedFrom = facts, after.Current
	}
	return after, out
}

// Facts are the claims for an access token of the session.
func Facts(s session.Session) string {
	if s.RaisedFrom != 0 {
		return s.Raised
	}
	return s.Facts
}

// Ticket makes a ticket for a connection, and returns its number.
func Ticket(s session.Session) (session.Session, int64) {
	s.Tickets++
	s.TicketsUsed <<= 1
	return s, s.Tickets
}

// Redeem uses a ticket up. It reports false for one that was used, and for one that is older than 64 others.
func Redeem(s session.Session, number int64) (session.Session, bool) {
	age := s.Tickets - number
	if number < 1 || age < 0 || age > 63 || s.TicketsUsed>>age&1 == 1 {
		return s, false
	}
	s.TicketsUsed |= 1 << age
	return s, true
}
