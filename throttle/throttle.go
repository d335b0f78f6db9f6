// Package throttle limits how fast passwords and codes can be guessed, and cannot be used to lock the owner of an
// account out.
//
// # What counts
//
// Failures count per account and, with a higher limit, per client address. For an account that does not exist they
// count in the same way. After 10 failures of an account, each further attempt must wait since the last failure: 30
// seconds, then twice as long for each failure, up to an hour. The count decays by one an hour. For an address the
// limit is 100, and the count decays by one in 10 minutes. All addresses of an IPv6 /64 count as one.
//
// An address from which the account has signed in within 30 days is a known place: of each account the last 8 are
// remembered. A known place has a budget of its own with the same rule, and the limit of addresses does not concern it.
// So strangers cannot keep the owner out, from however many addresses they come. If one known place is hostile, the
// others still get in. A session of the account is like a known place ([Limiter.BeginSession]).
//
// A success resets the budget that the attempt has used, and no other one. Besides, each day has limits that a success does not
// reset, but [Limiter.Clear] does. Wrong codes of a second factor count as wrong passwords do. So in any 24 hours at most 100
// wrong passwords of an account are hashed: at most 44 of strangers, and at most 56 of known places. NIST SP 800-63B-4, section
// 3.2.2, disables a password after 100 failures in a row. That would let strangers lock the owner out, so a Limiter only slows
// them down.
//
// # How it is used
//
// [Limiter.Begin] counts the attempt as a failure before the password is checked, so attempts at the same time cannot
// pass the limit together. [Attempt.Succeeded], [Attempt.Completed], [Attempt.Continued] and [Attempt.Cancelled] take the count
// back. A failure needs no call.
package throttle

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/isnil"
	"github.com/signet-go/signet/internal/limit"
)

var (
	// ErrDelayed is what [errors.Is] finds in a [*Delayed].
	ErrDelayed = errors.New("throttle: too many failures")
	// ErrUnavailable says that the store could not tell. The cause is wrapped.
	ErrUnavailable = errors.New("throttle: the store is unavailable")
)

// Delayed is the error for an attempt that must wait. The answer to it is 429 with Retry-After.
type Delayed struct {
	RetryAfter time.Duration // more than 0, at most an hour
}

// Error implements error.
func (d *Delayed) Error() string { return fmt.Sprintf("%v: retry after %v", ErrDelayed, d.RetryAfter) }

// Is makes [errors.Is] find [ErrDelayed].
func (d *Delayed) Is(target error) bool { return target == ErrDelayed }

// storeTimeout is how long a call of the store may take. After it, the store counts as unavailable.
const storeTimeout = 5 * time.Second

// Config are the settings of a [Limiter]. The zero value is safe.
type Config struct {
	// InsecureFailOpen lets every attempt pass, uncounted, while the store is unavailable. Who can make the store
	// unavailable can guess without a limit then. Without it, Begin returns ErrUnavailable, and nobody can sign in
	// meanwhile.
	InsecureFailOpen bool
	// InsecureOff counts nothing and lets every attempt pass. It is for measurements, and for hosts that have a limiter in front.
	InsecureOff bool
}

// Limiter decides whether an attempt may be made. It is safe for concurrent use, by any number of processes that share
// the store. It starts no goroutine. Make it with [New].
type Limiter struct {
	store  Store
	config Config
}

// New returns a limiter. If store is nil, it is a new [Memory]. If store is a nil pointer, as after a constructor that failed,
// every attempt returns [ErrUnavailable], unless Config.InsecureOff is set.
func New(store Store, config Config) *Limiter {
	switch {
	case store == nil:
		store = new(Memory)
	case isnil.Value(store):
		store = nil
	}
	return &Limiter{store: store, config: config}
}

// Attempt is one attempt that may be made. It counts as a failure until Succeeded, Completed, Continued or Cancelled takes that
// back. Only the first of these calls has an effect. They are safe for concurrent use; [Attempt.Also] and [Attempt.Passed] must
// return before they are called.
type Attempt struct {
	limiter        *Limiter
	account        Key
	address        Key
	done           atomic.Bool
	accountCounted bool
	addressCounted bool
	noRoom         bool // the store is full, and has no record of the account

	onAccount, onAddress trace
	also                 []*Attempt // for a second name of the account, and for the session
}

// Begin counts an attempt as a failure of the account and of the address, and returns it. account is the e-mail address
// in its normalized form, whether there is such an account or not. address is the address of the client, as a text; a
// text that is no address counts like an address of its own. If it is empty, the client is not known: only the account
// counts, as for a stranger, and no place is remembered.
//
// If the attempt must wait, nothing is counted, and the error is a [*Delayed], which is [ErrDelayed]. If the store
// could not tell within 5 seconds, or before ctx ended, the error is [ErrUnavailable]. [Config] can make it pass
// instead.
func (l *Limiter) Begin(ctx context.Context, account, address string) (*Attempt, error) {
	a := &Attempt{limiter: l, account: accountKey(account), address: addressKey(address)}
	err := delayed(a.countAccount(ctx, false))
	if err == nil && !a.Known() && address != "" {
		err = a.countAddress(ctx)
	}
	return a.begun(ctx, err)
}

// begun returns the attempt, or takes it back after an error.
func (a *Attempt) begun(ctx context.Context, err error) (*Attempt, error) {
	if err == nil || a.limiter.passes(ctx, err) {
		return a, nil
	}
	_ = a.Cancelled(ctx) // if that fails, the attempt stays counted for the account, which is safe
	return nil, err
}

// BeginSession is [Limiter.Begin] for a user who is signed in, such as for a step-up. The attempt counts for the account as that of
// a known place, and for the session, which has a budget like that of an account. So strangers who guess the password cannot keep
// the user from the step-up, wherever the user is, and a stolen session guesses no faster than a stranger. No address is counted
// or remembered. The caller has made sure that the session lives and is one of the account. The errors are those of Begin.
func (l *Limiter) BeginSession(ctx context.Context, account, session string) (*Attempt, error) {
	a := &Attempt{limiter: l, account: accountKey(account)}
	err := delayed(a.countAccount(ctx, true))
	if err == nil {
		err = a.countAlso(ctx, keyOf("session", session), false)
		if over := a.onAccount.day - sessionsLimit; err == nil && over > 0 && a.also[0].noRoom {
			err = delayed(min(over, maxDelay), nil)
		}
	}
	return a.begun(ctx, err)
}

// countAccount counts the attempt, or returns how long it must wait. known says that another name of the account knows its place.
func (a *Attempt) countAccount(ctx context.Context, known bool) (wait millis, err error) {
	err = a.limiter.updateAccount(ctx, a.account, func(s *account) bool {
		a.onAccount, wait = s.begin(a.place(), known)
		return wait == 0
	})
	a.accountCounted = err == nil && wait == 0
	return wait, err
}

func (a *Attempt) countAddress(ctx context.Context) error {
	var wait millis
	err := a.limiter.updateAddress(ctx, a.address, func(s *address) bool {
		a.onAddress, wait = s.begin()
		return wait == 0
	})
	a.addressCounted = err == nil && wait == 0
	return delayed(wait, err)
}

func delayed(wait millis, err error) error {
	if err == nil && wait > 0 {
		return &Delayed{RetryAfter: time.Duration(wait) * time.Millisecond}
	}
	return err
}

// Also counts the attempt for a second name of the account. Users who are signed in may change their e-mail address. If the
// attempt counts for the user's id too, a new address gives no new budget. The address of the client is not counted again. If
// the attempt must wait, all of it is taken back, and the error is a [*Delayed]. If the store could not tell, all of it is
// taken back too, and the error is [ErrUnavailable], unless [Config] lets it pass. Call it before the attempt has ended, and
// once. A place that is known by the first name is known by this one too.
//
// An empty name is for an address that belongs to no user. It counts nothing, and costs the same, so that the time does not tell.
func (a *Attempt) Also(ctx context.Context, account string) error {
	if a.done.Load() || !a.accountCounted {
		return nil
	}
	if account == "" {
		return a.alsoNobody(ctx)
	}
	return a.countAlso(ctx, accountKey(account), a.Known())
}

func (a *Attempt) countAlso(ctx context.Context, key Key, known bool) error {
	also := &Attempt{limiter: a.limiter, account: key, address: a.address}
	wait, err := also.countAccount(ctx, known)
	also.noRoom = errors.Is(err, ErrDelayed)
	if a.also = append(a.also, also); a.limiter.mayGoOn(ctx, err) && wait == 0 {
		return nil
	}
	_ = a.Cancelled(ctx) // as in Begin
	return delayed(wait, err)
}

// mayGoOn reports whether an attempt whose first name was counted may go on after the second one. If the store is full, the
// attempt goes on: a wait would tell which accounts have a record.
func (l *Limiter) mayGoOn(ctx context.Context, err error) bool {
	return err == nil || errors.Is(err, ErrDelayed) || l.passes(ctx, err)
}

// alsoNobody is Also for an address that belongs to no user. It does the same work on a record that counts nothing and is gone
// in a minute, so that the time does not tell whether there is an account.
func (a *Attempt) alsoNobody(ctx context.Context) error {
	err := a.limiter.update(ctx, keyOf("nobody", string(a.account[:])), func(before Record, now time.Time) (Record, time.Time, error) {
		after, _, err := changedAccount(before, now, func(s *account) bool {
			s.begin(a.place(), a.Known())
			return true
		})
		return after, now.Add(time.Minute), err
	})
	if a.limiter.mayGoOn(ctx, err) {
		return nil
	}
	_ = a.Cancelled(ctx) // as in Begin
	return err
}

// passes reports whether an attempt passes that could not be counted.
func (l *Limiter) passes(ctx context.Context, err error) bool {
	return l.config.InsecureFailOpen && l.store != nil && errors.Is(err, ErrUnavailable) && ctx.Err() == nil
}

// placeOf is the id of an address among the known places of an account; 0: the address is not known.
func placeOf(address Key) uint64 { return binary.BigEndian.Uint64(address[:]) }

func (a *Attempt) place() uint64 { return placeOf(a.address) }

// Known reports whether the attempt comes from a known place: an address from which the account has signed in within 30
// days. That of a session counts as one.
func (a *Attempt) Known() bool {
	return a.onAccount.known || slices.ContainsFunc(a.also, func(also *Attempt) bool { return also.onAccount.known })
}

// Passed says that the password, or the code, was right, and that the attempt goes on. It takes the count of the address back:
// many users may share an address, and what follows can take its time. Call it before the attempt has ended, and once. Its
// error is [ErrUnavailable]; then the attempt stays counted for its address.
func (a *Attempt) Passed(ctx context.Context) error {
	if a.done.Load() || !a.addressCounted {
		return nil
	}
	a.addressCounted = false // also after an error: the store may have done it, and twice would be too much
	return a.takeBackAddress(ctx)
}

func (a *Attempt) takeBackAddress(ctx context.Context) error {
	return a.limiter.updateAddress(ctx, a.address, func(s *address) bool {
		s.takeBack(a.onAddress)
		return true
	})
}

// Succeeded says that the account has signed in: with both steps, where there are two. It takes the count back, resets
// the budget that the attempt has used, and remembers the address as a known place. Its error is [ErrUnavailable] or
// [ErrDelayed]. The sign-in is good in spite of it; the attempt stays counted, and the place may not be remembered.
func (a *Attempt) Succeeded(ctx context.Context) error {
	return a.end(ctx, (*account).succeed)
}

// Completed is Succeeded for the second step of a login whose first step came from the same address, at most so long ago, and
// ended with [Attempt.Continued]. It also takes back what that one has left in the limit of the day: an hour less the time ago,
// or nothing if ago is less than 0. So right logins with two steps hardly count. Its errors are those of Succeeded.
func (a *Attempt) Completed(ctx context.Context, ago time.Duration) error {
	return a.end(ctx, func(s *account, place uint64, t trace) { s.complete(place, t, ago) })
}

// Cancelled takes the count back, and resets nothing. It is for an attempt that neither failed nor succeeded: the
// password was not checked. Its error is [ErrUnavailable]; then the attempt stays counted.
func (a *Attempt) Cancelled(ctx context.Context) error {
	return a.end(ctx, func(s *account, place uint64, t trace) { s.takeBack(place, t) })
}

// Continued is for an attempt whose password was right and whose second step is still to come. It takes the count back as
// Cancelled does, with one difference: the attempt of a stranger still counts for the limit of the day, until
// [Attempt.Completed]. So somebody who knows the password, but does not have the second factor, cannot begin any number of
// logins. Its error is [ErrUnavailable]; then the attempt stays counted.
func (a *Attempt) Continued(ctx context.Context) error {
	return a.end(ctx, (*account).goOn)
}

func (a *Attempt) end(ctx context.Context, change func(s *account, place uint64, t trace)) error {
	if a.done.Swap(true) {
		return nil
	}
	var errs []error
	if a.accountCounted {
		errs = append(errs, a.limiter.changeAccount(ctx, a.account, func(s *account) { change(s, a.place(), a.onAccount) }))
	}
	if a.addressCounted {
		errs = append(errs, a.takeBackAddress(ctx))
	}
	for _, also := range a.also {
		errs = append(errs, also.end(ctx, change))
	}
	return errors.Join(errs...)
}

// Remember makes an address a known place of the account with that name, as a success does. It is for a sign-in that no attempt
// has counted. Its error is [ErrUnavailable] or [ErrDelayed]; then the place may not be remembered.
func (l *Limiter) Remember(ctx context.Context, name, address string) error {
	return l.changeAccount(ctx, accountKey(name), func(s *account) { s.learn(placeOf(addressKey(address))) })
}

// Ready reports whether attempts can be counted now. It is for health checks, and writes a record of its own, because a store
// that can only be read counts nothing. Its error is [ErrUnavailable]. It is nil if [Config] lets attempts pass without the store.
func (l *Limiter) Ready(ctx context.Context) error {
	if l.config.InsecureFailOpen && l.store != nil {
		return nil
	}
	err := l.update(ctx, keyOf("probe", ""), func(before Record, now time.Time) (Record, time.Time, error) {
		after := Record(strconv.FormatInt(now.UnixNano(), 36))
		if after == before {
			after += "0"
		}
		return after, now.Add(time.Minute), nil
	})
	if errors.Is(err, ErrDelayed) { // the memory is full: accounts that have a record go on
		return nil
	}
	return err
}

// Clear forgets the failures of an account, of strangers and of known places. The known places stay. It is for a
// password that was changed: the failures were guesses of the old one. Its error is [ErrUnavailable].
func (l *Limiter) Clear(ctx context.Context, account string) error {
	return l.changeAccount(ctx, accountKey(account), clearAccount)
}

// ClearDelays is Clear for an account with a second factor: the limits of the day stay. Wrong codes count for them too, and a new
// password does not change the codes. Its error is [ErrUnavailable].
func (l *Limiter) ClearDelays(ctx context.Context, account string) error {
	return l.changeAccount(ctx, accountKey(account), clearDelays)
}

// changeAccount changes the record of an account in any case.
func (l *Limiter) changeAccount(ctx context.Context, key Key, change func(*account)) error {
	return l.updateAccount(ctx, key, func(s *account) bool {
		change(s)
		return true
	})
}

// updateAccount changes the record of an account. change says whether it has changed it.
func (l *Limiter) updateAccount(ctx context.Context, key Key, change func(*account) bool) error {
	return l.update(ctx, key, func(before Record, now time.Time) (Record, time.Time, error) {
		return changedAccount(before, now, change)
	})
}

func changedAccount(before Record, now time.Time, change func(*account) bool) (after Record, until time.Time, err error) {
	s, err := decodeAccount(before)
	if err != nil {
		return "", time.Time{}, err
	}
	setBack := s.advance(millisOf(now))
	if !change(&s) && !setBack {
		return before, time.Time{}, nil
	}
	after, until = s.encode()
	return after, until, nil
}

// updateAddress changes the record of an address. change says whether it has changed it.
func (l *Limiter) updateAddress(ctx context.Context, key Key, change func(*address) bool) error {
	return l.update(ctx, key, func(before Record, now time.Time) (Record, time.Time, error) {
		s, err := decodeAddress(before)
		if err != nil {
			return "", time.Time{}, err
		}
		setBack := s.advance(millisOf(now))
		if !change(&s) && !setBack {
			return before, time.Time{}, nil
		}
		after, until := s.encode()
		return after, until, nil
	})
}

func (l *Limiter) update(ctx context.Context, key Key,
	change func(Record, time.Time) (Record, time.Time, error)) error {
	if l.config.InsecureOff {
		return nil
	}
	if l.store == nil {
		return fmt.Errorf("%w: the Limiter has no store; give one to throttle.New, or nil for the memory of the process", ErrUnavailable)
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	err := l.store.Update(ctx, key, change)
	if err != nil && !errors.Is(err, ErrDelayed) {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return err
}
