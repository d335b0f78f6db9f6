// Package rotation holds the rules by which refresh tokens rotate. The rules are pure functions of a session's row, a
// presented token and a time. They use no clock and no store. docs/rotation.md describes the states. The labels T0 to T9 in
// this file are the labels of its table.
package rotation

import (
	"cmp"
	"slices"
	"time"

	"github.com/signet-go/signet/session"
)

// Rules are the state machine of refresh-token rotation.
//
// A refresh token is superseded when a newer one is made. It is still honoured until Window after the first proof that its
// successor arrived. All answers within one window name the same generation, so parallel tabs and repeated requests agree. A
// successor that was never proved to have arrived is replaced, so a lost answer costs nothing. Any other use of an old token
// is theft and ends the session.
type Rules struct {
	Window   time.Duration // how long a token is honoured after its successor was proved to have arrived; 0 to 60 s
	Idle     time.Duration // how long a session lives without a use: the lifetime of a refresh token
	Absolute time.Duration // how long a session lives at most
	Access   time.Duration // the lifetime of an access token
	Strict   bool          // every token but the current one is theft at once, so a lost answer costs the session
}

// keepSlack is how much longer than its tokens a row is kept. It covers clocks that differ. It also covers uses of a session
// that are not written because they closely follow another use.
const keepSlack = 5 * time.Minute

// Client is what a session remembers about the client that used it.
type Client struct{ UserAgent, Address string }

// Presented is a refresh token whose signature was verified, with the facts about its user and its client.
type Presented struct {
	Generation int64
	SecretHash session.Hash
	ExpiredAt  session.Millis // when the token has expired by the caller's clock; 0: not yet
	UserActive bool           // whether the user may still get a token
	Client     Client         // zero: not known
}

// Event says what a refresh did.
type Event string

// The events of [Rules.Refresh].
const (
	EventRotated   Event = "rotated"   // a new generation was made
	EventRepeated  Event = "repeated"  // the current generation was sent again, within a window
	EventCoalesced Event = "coalesced" // no new generation was made: too many windows are open
	EventRecovered Event = "recovered" // the successor had never arrived and was replaced
	EventUnknown   Event = "unknown"   // no such session, another secret, or revoked before
	EventExpired   Event = "expired"   // the token or the session; nothing changed
	EventUser      Event = "user"      // the user is missing or disabled, and the session was ended
	EventTheft     Event = "theft"     // a superseded token was used, and the session was ended
	EventOlder     Event = "older"     // a step-up with a token that is not the current one; nothing changed
	EventCrowded   Event = "crowded"   // a step-up while too many windows are open; no new generation was made
)

// Outcome is the answer to a refresh.
type Outcome struct {
	Event      Event
	Generation int64 // the generation of the token to send; 0: refuse
	RolledBack bool  // the store had lost writes, and the session was carried forward

	Wait time.Duration // for EventCrowded: until a window closes
}

// Terms are what a login may choose for its session. The zero Terms are the service's.
type Terms struct {
	Idle     time.Duration // the lifetime without a use; 0: Rules.Idle
	Absolute time.Duration // the lifetime in all; 0: Rules.Absolute
	Facts    string        // claims for the session's access tokens, as a JSON object
}

// New returns the row of a login.
func (r Rules) New(id, userID string, secret session.Hash, terms Terms, client Client, now session.Millis) session.Session {
	s := session.Session{ID: id, UserID: userID, CreatedAt: now, EndsAt: now.Add(cmp.Or(terms.Absolute, r.Absolute)),
		Idle: terms.Idle.Milliseconds(), Facts: terms.Facts}
	return r.begin(s, secret, client, now)
}

func (r Rules) begin(s session.Session, secret session.Hash, client Client, now session.Millis) session.Session {
	s.Current = max(1, int64(now)) // generation 0 means none
	s.Next = s.Current + 1
	s.SecretHash, s.UserAgent, s.Address, s.SentAt, s.ConfirmedAt = secret, client.UserAgent, client.Address, now, now
	r.use(&s, now)
	return s
}

// Refresh decides about a presented refresh token. It returns the row to store. The row must be stored even if the outcome
// is a refusal: a theft must be kept although the answer is an error.
func (r Rules) Refresh(s session.Session, p Presented, now session.Millis) (session.Session, Outcome) {
	return r.refresh(s, p, now, len(s.Ancestors)-1)
}

// refresh is Refresh for a session that may remember up to places ancestors: a step-up may use one more than a refresh.
func (r Rules) refresh(s session.Session, p Presented, now session.Millis, places int) (session.Session, Outcome) {
	if s.RevokedAt != 0 || s.PendingUntil != 0 || p.Generation <= 0 || !s.SecretHash.Equal(p.SecretHash) { // T0
		return s, Outcome{Event: EventUnknown}
	}
	before := s
	s = r.settle(s, now)
	now = max(now, s.Latest()) // a clock that was set back a little must not open a window again
	switch {
	case r.Expired(s, now), p.ExpiredAt != 0 && now >= p.ExpiredAt: // T1; nothing is written, because the clock may be wrong
		return before, Outcome{Event: EventExpired}
	case !p.UserActive: // T2
		return s.Revoke(session.ReasonUser, now), Outcome{Event: EventUser}
	}
	known := s.Current
	rolledBack := p.Generation > s.Current
	if rolledBack { // T3: we signed this token, so the store has lost writes
		s.Parent, s.Current, s.ConfirmedAt = s.Current, p.Generation, now
		s.Next = max(s.Next, s.Current+1)
	}
	s, out := r.decide(s, p.Generation, now, places)
	out.RolledBack = rolledBack
	if out.Generation == 0 {
		return s, out
	}
	if p.Generation < s.RaisedFrom { // the bearer of an older token did not step up
		s.Raised, s.RaisedFrom = "", 0
	}
	made := s.Current != known
	if made && p.Client != (Client{}) {
		s.UserAgent, s.Address = p.Client.UserAgent, p.Client.Address
	}
	// A use that closely follows another one is not written, unless its tokens live longer than those of the other one.
	if made || now > s.LastUsedAt.Add(r.Window) || r.keepUntil(s, now) > s.KeepUntil.Add(r.Window) {
		r.use(&s, now)
	}
	return s, out
}

// settle corrects a row that was written while the clock was ahead of now by more than a window. Such a clock was wrong and
// has come back. Times that have not come yet become now. So every open window closes one window from now, and not when the
// clock shows the wrong time again.
func (r Rules) settle(s session.Session, now session.Millis) session.Session {
	if s.Latest() <= now.Add(r.Window) {
		return s
	}
	for _, at := range []*session.Millis{&s.CreatedAt, &s.LastUsedAt, &s.SentAt, &s.ConfirmedAt} {
		*at = min(*at, now)
	}
	for i := range s.Ancestors {
		s.Ancestors[i].SupersededAt = min(s.Ancestors[i].SupersededAt, now)
	}
	return s
}

func (r Rules) decide(s session.Session, generation int64, now session.Millis, places int) (session.Session, Outcome) {
	open := func(since session.Millis) bool { return !r.Strict && now <= since.Add(r.Window) }
	pending := s.ConfirmedAt == 0
	answer := func(event Event) (session.Session, Outcome) { return s, Outcome{Event: event, Generation: s.Current} }

	switch {
	case generation == s.Current:
		if pending {
			s.ConfirmedAt = now
		}
		s.Ancestors = prune(s.Ancestors, open)
		if s.Ancestors[places-1].Generation != 0 { // T4'
			return answer(EventCoalesced)
		}
		if s.Parent != 0 && open(s.ConfirmedAt) { // T4
			add(&s.Ancestors, session.Ancestor{Generation: s.Parent, SupersededAt: s.ConfirmedAt})
		}
		s.Parent = s.Current
		replace(&s, now)
		return answer(EventRotated)
	case r.Strict:
	case generation == s.Parent && pending:
		if open(s.SentAt) { // T5
			s.SentAt = now
			return answer(EventRepeated)
		}
		replace(&s, now) // T6
		return answer(EventRecovered)
	case generation == s.Parent && open(s.ConfirmedAt), // T7
		has(prune(s.Ancestors, open), generation): // T8
		return answer(EventRepeated)
	}
	return s.Revoke(session.ReasonReuse, now), Outcome{Event: EventTheft} // T9
}

// prune keeps the ancestors whose window is open, at the front.
func prune(list session.Ancestors, open func(since session.Millis) bool) (kept session.Ancestors) {
	n := 0
	for _, a := range list {
		if a.Generation != 0 && open(a.SupersededAt) {
			kept[n] = a
			n++
		}
	}
	return kept
}

// add puts a into the first free place. The caller has checked that one is free.
func add(list *session.Ancestors, a session.Ancestor) {
	free := slices.Index(list[:], session.Ancestor{})
	list[free] = a
}

// has reports whether a generation, which is not 0, is in the list.
func has(list session.Ancestors, generation int64) bool {
	return slices.ContainsFunc(list[:], func(a session.Ancestor) bool { return a.Generation == generation })
}

// replace makes a new generation current. Generations follow the store's clock, so a store that was restored from a backup
// does not make the same generation a second time.
func replace(s *session.Session, now session.Millis) {
	s.Current = max(s.Next, int64(now))
	s.Next = s.Current + 1
	s.SentAt, s.ConfirmedAt = now, 0
}

// use notes that tokens were handed out. The idle time starts again, and the row stays until the last of these tokens has
// expired. KeepUntil never shrinks: a host can shorten the lifetimes between two deploys, while tokens with longer lifetimes
// are still in use.
func (r Rules) use(s *session.Session, now session.Millis) {
	s.LastUsedAt = now
	s.KeepUntil = max(s.KeepUntil, r.keepUntil(*s, now))
}

// keepUntil returns the time until which a row must be kept for tokens that are handed out now.
func (r Rules) keepUntil(s session.Session, now session.Millis) session.Millis {
	return min(now.Add(max(r.idleOf(s), r.Access)), s.EndsAt).Add(keepSlack)
}

// LiveUntil returns the time at which the last token expires that the session has handed out so far.
func LiveUntil(s session.Session) session.Millis { return s.KeepUntil.Add(-keepSlack) }

// Confirm notes a proof of delivery: somebody used an access token that came with this generation.
func (r Rules) Confirm(s session.Session, generation int64, now session.Millis) session.Session {
	if s.RevokedAt == 0 && s.PendingUntil == 0 && generation == s.Current && s.ConfirmedAt == 0 {
		s = r.settle(s, now)
		s.ConfirmedAt = max(now, s.Latest())
	}
	return s
}

// Expired reports whether the session's time is over.
func (r Rules) Expired(s session.Session, now session.Millis) bool {
	return now >= s.EndsAt || now >= s.LastUsedAt.Add(r.idleOf(s))
}

// idleOf is how long the session lives without a use.
func (r Rules) idleOf(s session.Session) time.Duration {
	return cmp.Or(time.Duration(s.Idle)*time.Millisecond, r.Idle)
}
