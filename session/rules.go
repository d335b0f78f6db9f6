package session

import (
	"slices"
	"time"
)

// Rules are the state machine of refresh-token rotation: pure functions of a row, what was presented, and a time.
//
// A superseded token lives until Window after the first proof that its successor was received. Every token handed out
// within one window names the same generation, so that parallel tabs and repeated requests agree; a successor that was
// never proved to have arrived is replaced, so that a lost answer costs nothing; anything else is theft, and ends the
// session.
type Rules struct {
	Window         time.Duration // how long after the proof a superseded token is honoured; 0 to 60 s
	Idle           time.Duration // how long a session lives unused: the refresh token's lifetime
	Absolute       time.Duration // how long a session lives at most
	AccessLifetime time.Duration // how long its last access token may outlive it in the store
	Strict         bool          // every token but the current one is theft at once; a lost answer costs the session
}

const (
	maxForks  = 16 // replacements of a successor that never arrives
	keepSlack = 5 * time.Minute
)

// Presented is a refresh token whose signature was verified, and whether its user may still have one.
type Presented struct {
	Generation int64
	SecretHash Hash
	UserActive bool
}

// Event says what a refresh did.
type Event string

// The events of Rules.Refresh.
const (
	EventRotated   Event = "rotated"   // a new generation
	EventRepeated  Event = "repeated"  // the current generation again, within a window
	EventCoalesced Event = "coalesced" // no new generation: too many windows are open
	EventRecovered Event = "recovered" // the successor had never arrived, and was replaced
	EventUnknown   Event = "unknown"   // no such session, another secret, or revoked before
	EventExpired   Event = "expired"
	EventUser      Event = "user"
	EventTheft     Event = "theft"
)

// Outcome is the answer to a refresh.
type Outcome struct {
	Event      Event
	Generation int64 // of the token to send; 0: refuse
	RolledBack bool  // the store had lost writes, and the session was carried forward
}

// New returns the row of a login.
func (r Rules) New(id, userID string, secret Hash, userAgent, address string, now Millis) Session {
	first := max(1, int64(now))
	s := Session{ID: id, UserID: userID, SecretHash: secret, UserAgent: userAgent, Address: address, CreatedAt: now,
		EndsAt: now.add(r.Absolute), Current: first, Next: first + 1, RotatedAt: now, SentAt: now, ConfirmedAt: now}
	r.use(&s, now)
	return s
}

// Refresh decides about a presented refresh token. It returns the row to store, also when the outcome is a refusal: a theft
// must be committed although the answer is an error.
func (r Rules) Refresh(s Session, p Presented, now Millis) (Session, Outcome) {
	now = max(now, s.latest()) // a clock that was set back must not reopen a window
	switch {
	case s.RevokedAt != 0, p.Generation <= 0, !s.SecretHash.equal(p.SecretHash): // T0
		return s, Outcome{Event: EventUnknown}
	case r.Expired(s, now): // T1
		return Revoke(s, ReasonExpired, now), Outcome{Event: EventExpired}
	case !p.UserActive: // T2
		return Revoke(s, ReasonUser, now), Outcome{Event: EventUser}
	}
	rolledBack := p.Generation > s.Current
	if rolledBack { // T3: the signature is ours, so the store has lost writes
		s.Parent, s.Current, s.ConfirmedAt = s.Current, p.Generation, now
		s.Next = max(s.Next, s.Current+1)
	}
	s, out := r.decide(s, p.Generation, now)
	out.RolledBack = rolledBack
	if out.Generation != 0 {
		r.use(&s, now)
	}
	return s, out
}

func (r Rules) decide(s Session, generation int64, now Millis) (Session, Outcome) {
	open := func(since Millis) bool { return !r.Strict && now <= since.add(r.Window) }
	pending := s.ConfirmedAt == 0
	repeat := func(event Event) (Session, Outcome) { return s, Outcome{Event: event, Generation: s.Current} }

	switch {
	case generation == s.Current:
		if pending {
			s.ConfirmedAt = now
		}
		s.Ancestors = s.Ancestors.prune(open)
		if s.Ancestors.full() { // T4'
			return repeat(EventCoalesced)
		}
		if s.Parent != 0 && open(s.ConfirmedAt) { // T4
			s.Ancestors.add(Ancestor{s.Parent, s.ConfirmedAt})
		}
		s.Parent, s.Forks = s.Current, 0
		s.replace(now)
		return repeat(EventRotated)
	case r.Strict:
	case generation == s.Parent && pending:
		if open(s.SentAt) { // T5
			s.SentAt = now
			return repeat(EventRepeated)
		}
		if s.Forks < maxForks { // T6
			s.Forks++
			s.replace(now)
			return repeat(EventRecovered)
		}
	case generation == s.Parent && open(s.ConfirmedAt), // T7
		s.Ancestors.prune(open).has(generation): // T8
		return repeat(EventRepeated)
	}
	return Revoke(s, ReasonReuse, now), Outcome{Event: EventTheft} // T9
}

// prune keeps those whose window is open, at the front.
func (list Ancestors) prune(open func(since Millis) bool) (kept Ancestors) {
	n := 0
	for _, a := range list {
		if a.Generation != 0 && open(a.SupersededAt) {
			kept[n] = a
			n++
		}
	}
	return kept
}

func (list Ancestors) full() bool { return list[len(list)-1].Generation != 0 }

// add puts a in the first free place; there is one.
func (list *Ancestors) add(a Ancestor) {
	for i := range list {
		if list[i].Generation == 0 {
			list[i] = a
			return
		}
	}
}

func (list Ancestors) has(generation int64) bool {
	return generation != 0 && slices.ContainsFunc(list[:], func(a Ancestor) bool { return a.Generation == generation })
}

// replace makes a new generation current. Generations follow the store's clock, so that a store restored from a backup
// does not give one out a second time.
func (s *Session) replace(now Millis) {
	s.Current = max(s.Next, int64(now))
	s.Next = s.Current + 1
	s.RotatedAt, s.SentAt, s.ConfirmedAt = now, now, 0
}

// use notes that the session was used: its idle time starts anew. What changes by less than a window is left as it is, so
// that repeated requests need no write.
func (r Rules) use(s *Session, now Millis) {
	if s.LastUsedAt != 0 && s.RotatedAt != now && now <= s.LastUsedAt.add(r.Window) {
		return
	}
	s.LastUsedAt = now
	s.KeepUntil = min(now.add(r.Idle), s.EndsAt).add(r.AccessLifetime + keepSlack)
}

// Confirm notes a proof of delivery: an access token that came with this generation was used.
func (r Rules) Confirm(s Session, generation int64, now Millis) Session {
	if s.RevokedAt == 0 && generation == s.Current && s.ConfirmedAt == 0 {
		s.ConfirmedAt = max(now, s.latest())
	}
	return s
}

// Expired reports whether the session's time is over.
func (r Rules) Expired(s Session, now Millis) bool {
	return now >= s.EndsAt || now >= s.LastUsedAt.add(r.Idle)
}

// Revoke ends a session for good. A second revocation changes nothing, except that an expired session, whose access tokens
// still live, can be revoked.
func Revoke(s Session, reason Reason, now Millis) Session {
	if s.RevokedAt == 0 || s.Reason == ReasonExpired && reason != ReasonExpired {
		s.RevokedAt, s.Reason = max(now, s.latest()), reason
	}
	return s
}

// latest is the newest time in the row.
func (s Session) latest() Millis {
	return max(s.CreatedAt, s.LastUsedAt, s.RotatedAt, s.SentAt, s.ConfirmedAt, s.RevokedAt)
}
