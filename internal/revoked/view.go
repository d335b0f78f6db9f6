// Package revoked is one process's view of what was revoked. It follows the log of a session store, or the feed of another
// service, and answers for every request whether a token was revoked. docs/rotation.md describes the mechanism.
//
// The view asks memory first. If memory cannot tell, the view looks the session up once, and remembers the answer. Memory
// cannot tell in two cases: the process has not read the whole log yet, or more was revoked than memory holds exactly.
package revoked

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/internal/flight"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/session"
)

// The errors of Check. All other errors of Check mean that a look-up failed.
var (
	ErrRevoked  = errors.New("the session is revoked")
	ErrOutdated = errors.New("the user has changed since the token was issued")
	ErrStale    = errors.New("the revocations could not be read for longer than MaxStaleness")
	ErrClosed   = errors.New("the service is closed")
)

var errOld = errors.New("the answer is not newer than the last one: it is from a cache, or a clock was set back")

// Source is where the revocations come from.
type Source interface {
	session.Log
	// Lookup reads what is known about a session and its user, in one atomic read.
	Lookup(ctx context.Context, sessionID, userID string) (Status, error)
}

// Status is the result of a look-up.
type Status struct {
	Revoked   bool
	KeepUntil session.Millis
	User, All session.Entry  // the cut-offs of the user, and of everybody in the user's group
	Now       session.Millis // by the source's clock
	CreatedAt session.Millis // of a session that the store knows, by its clock; 0: unknown
}

// Lookup asks a store about a session of a user. As in the log, a session that the store does not know is not revoked, and
// neither is one of another user.
func Lookup(ctx context.Context, store session.Store, id, userID string) (status Status, err error) {
	var at session.Moment
	err = store.Update(ctx, id, func(row session.Session, now session.Moment) (session.Session, error) {
		if row.UserID != userID {
			return row, session.ErrNotFound
		}
		at, status.Revoked, status.KeepUntil, status.CreatedAt = now, row.Revoked(), row.KeepUntil, row.CreatedAt
		return row, nil
	})
	if errors.Is(err, session.ErrNotFound) {
		_, at, err = store.List(ctx, userID, 1)
	}
	status.User = session.CutEntry(userID, at.User)
	status.All = session.AllEntry(session.GroupOfUser(userID), at.All)
	status.Now = at.Now
	return status, err
}

// Config says how a View works.
type Config struct {
	Source       Source
	Name         string // what Source is, for the log: "the session store"
	Logger       *slog.Logger
	Timeout      time.Duration // how long one call of the source may take
	Interval     time.Duration // how often the log is read
	MaxStaleness time.Duration // how long the log may be unreadable before Check answers ErrStale
	Insecure     bool          // Check never answers ErrStale
	Report       func(error)   // called when the source is lost, with the error, and with nil when it is back; nil: nobody asks
	Bytes        int           // the memory for revocations
	// Remote says that the source is another service. Then Open does not fail if the source does not answer yet: Check
	// answers ErrStale until it does. And a page is as old as its time says, because a cache may stand in between. So the
	// last page of a read must have a newer time than that of the read before it.
	Remote bool
	// NameOf returns what the source calls an id, if its entries have another text than the id itself. nil: the id.
	NameOf func(id string) string
}

// View is safe for concurrent use. Make it with Open.
type View struct {
	Config
	seed    maphash.Seed
	set     *set                         // sessions that were revoked
	cuts    *cutoffs                     // cut-offs of users
	all     [session.Groups]atomic.Int64 // sessions and tokens of everybody in the group with a smaller version have ended
	seen    *seen                        // sessions that were looked up and were good
	ended   *seen                        // sessions that were looked up and were revoked
	watches watches
	lookups flight.Group[Status]

	// whole is true when the log was read from its start. Until then, what memory does not know may be in the part of the log
	// that was not read yet.
	whole atomic.Bool

	// The view is fresh until freshUntil. That is a number of nanoseconds since began, on the monotonic clock. So Check
	// needs no lock, and a change of the machine's clock cannot make an old view look fresh.
	began      time.Time
	freshUntil atomic.Int64
	// freshWall is the same by the machine's calendar, in milliseconds: the monotonic clock stands still while the machine sleeps.
	freshWall atomic.Int64
	now       atomic.Int64 // the time of the source at the last read

	wake chan struct{}
	stop context.CancelFunc
	done sync.WaitGroup
}

// Values of freshUntil.
const (
	never  = -1
	closed = -2
)

// Open makes sure that the source answers, unless it is remote, and starts goroutines that Close ends: one reads the end of
// the log, one reads the old part of it, one looks at the time, and one waits for the source's notifications if it has any.
// Open does not wait for the old part.
func Open(cfg Config) (*View, error) {
	ctx, stop := context.WithCancel(context.Background())
	share := cfg.Bytes / 32
	v := &View{Config: cfg, seed: maphash.MakeSeed(), set: newSet(26 * share), cuts: newCutoffs(4 * share),
		seen: &seen{bytes: share}, ended: &seen{bytes: share},
		began: time.Now(), wake: make(chan struct{}, 1), stop: stop}
	v.freshUntil.Store(never)
	cursor := session.End
	if !cfg.Remote {
		var err error
		size := tailPage
		if cursor, err = v.pull(ctx, cursor, &size); err != nil {
			stop()
			return nil, err
		}
	}
	v.done.Go(func() { v.follow(ctx, cursor) })
	v.done.Go(func() { v.keepTime(ctx) })
	if notifier, ok := cfg.Source.(session.Notifier); ok {
		v.done.Go(func() { v.listen(ctx, notifier) })
	}
	return v, nil
}

// Close ends the goroutines and waits for them. Then nothing keeps the view up to date. So Check answers ErrClosed, unless
// Insecure is set, and watched contexts end.
func (v *View) Close() {
	v.stop()
	v.done.Wait()
	v.freshUntil.Store(closed)
	v.watches.end(func(*watch) error { return ErrClosed })
}

// Ref names a session in a verified token. It holds hashes, so that Check does not compute them for every request.
type Ref struct {
	ID, UserID string
	Version    session.Version // the version of the token
	// Generation is that of the refresh token itself, or of the refresh token that came with the access token. It is 0 if
	// the token names none.
	Generation int64

	session, user uint64
	group         int
}

// Ref returns the Ref of a session and its user.
func (v *View) Ref(id, userID string, version session.Version, generation int64) Ref {
	return Ref{ID: id, UserID: userID, Version: version, Generation: generation,
		session: v.hashOf(id), user: v.hashOf(userID), group: session.GroupOfUser(userID)}
}

// Hash returns the hash of the session's id.
func (r *Ref) Hash() uint64 { return r.session }

// hashOf returns the hash of an id.
func (v *View) hashOf(id string) uint64 {
	if v.NameOf != nil {
		id = v.NameOf(id)
	}
	return v.hash(id)
}

// hash returns a hash of what the source calls an id. Nobody outside of this process can predict it. It is 0 only for "".
func (v *View) hash(name string) uint64 {
	if name == "" {
		return 0
	}
	return maphash.String(v.seed, name) | 1
}

// Check reports whether a token is revoked. It returns nil, ErrRevoked, ErrOutdated, ErrStale, ErrClosed, or the error of a
// look-up. Every request with a token of a session calls it. As long as memory can tell, it does no I/O and does not wait. now
// must have a monotonic clock reading (time.Now).
func (v *View) Check(ctx context.Context, ref *Ref, now time.Time) error {
	stale := v.Fresh(now) // first: then what local finds is at least as new
	known, err := v.local(ref, nil)
	if err != nil {
		return err
	}
	if stale != nil {
		return stale
	}
	if !known {
		return v.lookup(ctx, ref)
	}
	return nil
}

// local answers from memory. known says whether memory can tell; an error is certain. found is the result of a look-up of the
// session, if there was one.
func (v *View) local(ref *Ref, found *Status) (known bool, err error) {
	if ref.Version.All < v.all[ref.group].Load() {
		return true, ErrRevoked
	}
	whole := v.whole.Load()
	known = true
	switch v.set.has(ref.session) {
	case yes:
		return true, ErrRevoked
	case no:
		known = whole || v.seen.has(ref.session)
	case maybe:
		if v.ended.has(ref.session) {
			return true, ErrRevoked
		}
		known = v.seen.has(ref.session)
	}
	switch cut, answer := v.cuts.get(ref.user); answer {
	case yes:
		if err := cut.refuses(ref); err != nil {
			// A cut-off whose time is over may be deleted in the source while this process still has it, because this machine's
			// clock is behind. Then it refuses only the sessions that were made before it, and only a look-up tells when a
			// session was made. (The version of a cut-off is never below the source's time at which it was made.)
			if cut.until > v.sourceTime() || err == ErrRevoked && found != nil && int64(found.CreatedAt) <= cut.ended {
				return true, err
			}
			known = false
		}
	case no:
		known = known && whole
	case maybe:
		known = false
	}
	return known, nil
}

// Lost returns the cut-offs of a user and of everybody in the user's group that this process knows, if the store at that moment
// does not know them any more: it has lost a write. Tokens that are made from such a moment would be refused.
func (v *View) Lost(userID string, at session.Moment) (user, all session.Cutoff, lost bool) {
	if ended := v.all[session.GroupOfUser(userID)].Load(); at.All.Ended < ended {
		all.Ended, lost = ended, true
	}
	if cut, answer := v.cuts.get(v.hashOf(userID)); answer == yes && cut.until > at.Now &&
		(at.User.Ended < cut.ended || at.User.Changed < cut.changed) {
		user, lost = session.Cutoff{Ended: cut.ended, Changed: cut.changed, KeepUntil: cut.until}, true
	}
	return user, all, lost
}

// Spares reports whether the cut-off of a user that this process knows has spared a session.
func (v *View) Spares(userID string) bool {
	cut, answer := v.cuts.get(v.hashOf(userID))
	return answer == yes && cut.spared != 0
}

// IsSpared reports whether the cut-off of a user that this process knows has spared the session with that id.
func (v *View) IsSpared(userID, id string) bool {
	cut, answer := v.cuts.get(v.hashOf(userID))
	return answer == yes && cut.spared == v.hashOf(id)
}

// Ended reports whether this process knows that the session was revoked.
func (v *View) Ended(id string) bool { return v.set.has(v.hashOf(id)) == yes }

// LowestAll returns the oldest of the groups' cut-offs of everybody.
func (v *View) LowestAll() (ended int64) {
	for group := range v.all {
		if cut := v.all[group].Load(); group == 0 || cut < ended {
			ended = cut
		}
	}
	return ended
}

// refuses reports whether a token is older than the cut-off of its user.
func (c cutoff) refuses(ref *Ref) error {
	switch {
	case ref.Version.User < c.ended && ref.session != c.spared:
		return ErrRevoked
	case ref.Version.User < c.changed:
		return ErrOutdated
	}
	return nil
}

// lookup asks the source about a token, and remembers the answer. Simultaneous calls for one session share one look-up.
func (v *View) lookup(ctx context.Context, ref *Ref) error {
	status, err := v.lookups.Do(ctx, ref.ID, func(ctx context.Context) (status Status, err error) {
		ctx, limited := limit.New(ctx, v.Timeout)
		defer limited.Release()
		good, cut := v.seen.begin(ref.session), v.cuts.begin(ref.user)
		if status, err = v.Source.Lookup(ctx, ref.ID, ref.UserID); err != nil {
			return status, err
		}
		v.applyAll(status.All)
		v.cuts.remember(cut, v.cutoff(status.User))
		if status.Revoked {
			v.set.add(ref.session, status.KeepUntil)
			v.ended.finish(v.ended.begin(ref.session))
		} else {
			v.seen.finish(good)
		}
		return status, nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("look up the session of a token: %w", err)
	case status.Revoked, ref.Version.All < status.All.Ended:
		return ErrRevoked
	}
	if err := v.cutoff(status.User).refuses(ref); err != nil {
		return err
	}
	_, err = v.local(ref, &status) // an entry may have come meanwhile
	return err
}

func (v *View) cutoff(e session.Entry) cutoff {
	return cutoff{ended: e.Ended, changed: e.Changed, spared: v.hash(e.Spared), until: e.KeepUntil}
}

// Apply adds an entry of the log, and ends the contexts that it concerns.
func (v *View) Apply(e session.Entry) {
	hash := v.hash(e.ID)
	switch e.Kind {
	case session.SessionRevoked:
		v.set.add(hash, e.KeepUntil)
		v.seen.forget(hash)
		v.watches.endSession(hash)
	case session.UserCut:
		cut := v.cutoff(e)
		v.cuts.put(hash, cut)
		v.watches.endUser(hash, cut)
	case session.AllCut:
		v.applyAll(e)
		v.watches.end(func(w *watch) error {
			if w.ref.Version.All < v.all[w.ref.group].Load() {
				return ErrRevoked
			}
			return nil
		})
	}
}

func (v *View) applyAll(e session.Entry) {
	for group := range v.all {
		if e.Group != session.AllGroups && e.Group != group {
			continue
		}
		for {
			old := v.all[group].Load()
			if e.Ended <= old || v.all[group].CompareAndSwap(old, e.Ended) {
				break
			}
		}
	}
}

// Learn makes it unnecessary to look up a session that this process creates. Call it before the session is made. When the
// session is in the store, call made with the cut-off of the user that was read in between. If the log has named the session or
// the user in between, made keeps nothing.
func (v *View) Learn(id, userID string) (made func(user session.Cutoff)) {
	if v.whole.Load() {
		return func(session.Cutoff) {}
	}
	good, cut := v.seen.begin(v.hashOf(id)), v.cuts.begin(v.hashOf(userID))
	return func(user session.Cutoff) {
		v.cuts.remember(cut, v.cutoff(session.CutEntry(userID, user)))
		v.seen.finish(good)
	}
}

// Wall returns the time by this machine's clock when the view was opened, plus the time since then. A later change of the
// clock does not change it.
func (v *View) Wall() session.Millis { return session.MillisOf(v.began.Add(time.Since(v.began))) }

// sourceTime is the source's time of the last read.
func (v *View) sourceTime() session.Millis { return session.Millis(v.now.Load()) }

// Fresh returns the error that Check would return for any token at that time: nil, ErrStale or ErrClosed.
func (v *View) Fresh(now time.Time) error {
	switch until := v.freshUntil.Load(); {
	case v.Insecure:
	case until == closed:
		return ErrClosed
	case int64(now.Sub(v.began)) > until, now.UnixMilli() > v.freshWall.Load():
		return ErrStale
	}
	return nil
}

// Lag is the time since the log was last read: freshUntil is that time plus MaxStaleness.
func (v *View) Lag() time.Duration {
	return max(0, time.Since(v.began)-time.Duration(v.freshUntil.Load())+v.MaxStaleness)
}
