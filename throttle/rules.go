package throttle

import (
	"slices"
	"time"
)

// This file has all rules. They are pure functions of a record and a time.
//
// # At most 100 failures of an account in any 24 hours
//
// An attempt that may reach the hash is charged an hour of debt, and debts shrink by an hour an hour. Each attempt is
// charged either to strangersDay, or to placesDay and to the day of its place. No success resets these debts. An
// attempt passes only if each of them stays within its limit: 20, 32 and 24 hours.
//
// Take any 24 hours. A debt is at least 0 when they begin and at most its limit when they end, and it shrinks by at
// most 24 hours meanwhile. So at most 20+24 failures are charged to strangersDay, and at most 32+24 to placesDay:
// together 100.
//
// An attempt that was no failure is taken back. This must not make the debt smaller than it would be without that
// attempt. Let L be the debt with the attempt, and M the debt without it. L-M is an hour at first. It becomes smaller
// only while M is 0 and L shrinks, so after the time t it is at least an hour minus t. Exactly this much is taken back,
// and nothing after an hour. So the debt is never smaller than M. An attempt that goes on with a second step may stay in the
// debt of the day, which makes it only larger. When the second step succeeds, what is left of the first one is taken back too;
// [account.complete] says when that is too much.
//
// A session counts for placesDay too, and for a record of its own, whose strangersDay is at most 20 hours. If the store has no
// room for that record, the session counts only while placesDay is at most 12 hours.
//
// # One place does not close the others out
//
// If one known place is hostile, placesDay is never more than the day of this place, which is within 24 hours, and what
// the others have failed themselves. So the others have 8 attempts left. An owner who knows the password needs only
// one, because a success takes its own attempt back.

// millis is a time in milliseconds since 1970, or a duration in milliseconds.
type millis = int64

// millisOf converts t. There is no time before 1970.
func millisOf(t time.Time) millis { return max(0, t.UnixMilli()) }

const (
	hour = millis(3_600_000)
	day  = 24 * hour

	strangersLimit = 20 * hour // for strangersDay
	placesLimit    = 32 * hour // for placesDay
	placeLimit     = 24 * hour // for the day of a place
	sessionsLimit  = 12 * hour // for placesDay, for sessions of which the store has no room for a record

	maxPlaces = 8
	placeLife = 30 * day // after the last success

	firstDelay = millis(30_000)
	maxDelay   = hour
)

// rule is how a budget delays attempts.
type rule struct {
	free  int64  // so many failures cause no delay
	decay millis // the count decays by one in this time
}

var (
	accountRule = rule{free: 10, decay: hour}
	addressRule = rule{free: 100, decay: hour / 6}
)

// budget counts failures.
type budget struct {
	debt millis // the count, each as the decay of its rule
	last millis // the last failure
}

// wait returns how long the next attempt must wait: from the rule's free failures on, 30 seconds since the last
// failure, and for each further failure twice as long, up to an hour. The count decays meanwhile, and then a shorter
// delay may be over.
func (b *budget) wait(r rule, now millis) millis {
	wait := min(maxDelay, b.debt-(r.free-1)*r.decay) // by then the count is below the free failures
	for over := range millis(11) {
		decayed := b.debt - (r.free+over)*r.decay // when the count is down to that
		delayed := b.last + min(maxDelay, firstDelay<<over) - now
		wait = min(wait, max(decayed, delayed))
	}
	return max(0, wait)
}

func (b *budget) advance(passed, now millis) {
	b.debt = max(0, b.debt-passed)
	b.last = min(b.last, now)
}

// trace is what an attempt must know to be taken back.
type trace struct {
	at    millis
	last  millis // the last failure before it
	known bool   // it came from a known place
	day   millis // placesDay with it, if another name of the account knows the place
}

func (b *budget) charge(r rule, now millis) trace {
	t := trace{at: now, last: b.last}
	b.debt, b.last = b.debt+r.decay, now
	return t
}

func (b *budget) takeBack(r rule, t trace, now millis) {
	b.debt = max(0, b.debt-t.rest(r.decay, now))
	if b.last == t.at {
		b.last = t.last
	}
}

// rest returns how much of the charge of an attempt is there still.
func (t trace) rest(charged, now millis) millis { return max(0, charged-max(0, now-t.at)) }

// account is the record of an account.
type account struct {
	at           millis // the debts are those of this time
	strangers    budget
	strangersDay millis // a debt that no success resets
	placesDay    millis // the same for all known places together
	places       []place
}

// place is an address from which the account has signed in.
type place struct {
	id   uint64 // a part of the address's key
	used millis // the last success
	own  budget
	day  millis // a debt that no success resets
}

// advance brings the record to a later time. If the clock was set back, the debts stay as they are, and no delay
// becomes longer. The record must be stored then.
func (a *account) advance(now millis) (setBack bool) {
	passed, setBack := max(0, now-a.at), now < a.at
	a.at = now
	a.strangers.advance(passed, now)
	a.strangersDay = max(0, a.strangersDay-passed)
	a.placesDay = max(0, a.placesDay-passed)
	for i := range a.places {
		p := &a.places[i]
		p.own.advance(passed, now)
		p.day = max(0, p.day-passed)
		p.used = min(p.used, now)
	}
	a.places = slices.DeleteFunc(a.places, func(p place) bool { return p.used+placeLife <= now })
	return setBack
}

func (a *account) place(id uint64) *place {
	for i := range a.places {
		if a.places[i].id == id {
			return &a.places[i]
		}
	}
	return nil
}

// wait returns how long an attempt must wait. Without a place it is one of a stranger. It is at most an hour, because
// this is what the last attempt that passed has added to each debt.
func (a *account) wait(p *place) millis {
	if p == nil {
		return max(a.strangers.wait(accountRule, a.at), a.strangersDay+hour-strangersLimit)
	}
	return max(p.own.wait(accountRule, a.at), a.placesDay+hour-placesLimit, p.day+hour-placeLimit)
}

// begin charges an attempt, or returns how long it must wait. If known is set, another name of the account knows the place, and
// is charged for it. Then this name is charged only for the day of all known places.
func (a *account) begin(id uint64, known bool) (t trace, wait millis) {
	p := a.place(id)
	if p == nil && known {
		if wait := a.placesDay + hour - placesLimit; wait > 0 {
			return trace{}, wait
		}
		a.placesDay += hour
		return trace{at: a.at, known: true, day: a.placesDay}, 0
	}
	if wait := a.wait(p); wait > 0 {
		return trace{}, wait
	}
	if p == nil {
		t = a.strangers.charge(accountRule, a.at)
		a.strangersDay += hour
		return t, 0
	}
	t = p.own.charge(accountRule, a.at)
	t.known = true
	p.day += hour
	a.placesDay += hour
	return t, 0
}

// takeBack takes the charge of an attempt back, and returns the budget that it used: nil if its place was forgotten.
func (a *account) takeBack(id uint64, t trace) *budget {
	rest := t.rest(hour, a.at)
	if !t.known {
		a.strangers.takeBack(accountRule, t, a.at)
		a.strangersDay = max(0, a.strangersDay-rest)
		return &a.strangers
	}
	a.placesDay = max(0, a.placesDay-rest)
	p := a.place(id)
	if p == nil {
		return nil
	}
	p.own.takeBack(accountRule, t, a.at)
	p.day = max(0, p.day-rest)
	return &p.own
}

// goOn takes back an attempt that still waits for its second step. That of a stranger stays in the debt of the day.
func (a *account) goOn(id uint64, t trace) {
	if t.known {
		a.takeBack(id, t)
		return
	}
	a.strangers.takeBack(accountRule, t, a.at)
}

// succeed takes an attempt back, resets the budget that it used, and remembers its place.
func (a *account) succeed(id uint64, t trace) {
	if own := a.takeBack(id, t); own != nil {
		*own = budget{}
	}
	a.learn(id)
}

// complete is succeed for the second step of a login. The first step went on at most so long ago, from the same place. If it has
// left nothing, because the place was known then, or because the debts were cleared, too much is taken back: an hour at most, and
// only when the owner signs in.
func (a *account) complete(id uint64, t trace, ago time.Duration) {
	if !t.known && ago >= 0 {
		a.strangersDay = max(0, a.strangersDay-max(0, hour-ago.Milliseconds()))
	}
	a.succeed(id, t)
}

// learn remembers a place. The one that was not used for the longest time makes room.
func (a *account) learn(id uint64) {
	if p := a.place(id); p != nil {
		p.used = a.at
		return
	}
	if id == 0 { // the address is not known
		return
	}
	if len(a.places) >= maxPlaces {
		oldest := 0
		for i := range a.places {
			if a.places[i].used < a.places[oldest].used {
				oldest = i
			}
		}
		a.places = slices.Delete(a.places, oldest, oldest+1)
	}
	a.places = append(a.places, place{id: id, used: a.at})
}

// clearAccount forgets all failures. The known places stay.
func clearAccount(a *account) {
	a.strangers, a.strangersDay, a.placesDay = budget{}, 0, 0
	for i := range a.places {
		a.places[i] = place{id: a.places[i].id, used: a.places[i].used}
	}
}

// clearDelays forgets the failures that delay attempts. The debts of the day stay.
func clearDelays(a *account) {
	a.strangers = budget{}
	for i := range a.places {
		a.places[i].own = budget{}
	}
}

// ends returns the time at which the last failure has decayed, and the time from which the record means nothing. The
// debts of the day are not smaller than the others.
func (a *account) ends() (failures, all millis) {
	failures = a.at + max(a.strangersDay, a.placesDay)
	all = failures
	for i := range a.places {
		all = max(all, a.places[i].used+placeLife)
	}
	return failures, all
}

// address is the record of a client's address.
type address struct {
	at  millis
	own budget
}

func (a *address) advance(now millis) (setBack bool) {
	passed, setBack := max(0, now-a.at), now < a.at
	a.at = now
	a.own.advance(passed, now)
	return setBack
}

func (a *address) begin() (t trace, wait millis) {
	if wait := a.own.wait(addressRule, a.at); wait > 0 {
		return trace{}, wait
	}
	return a.own.charge(addressRule, a.at), 0
}

func (a *address) takeBack(t trace) { a.own.takeBack(addressRule, t, a.at) }
