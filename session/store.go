package session

import (
	"context"
	"errors"
)

// ErrNotFound says that a store has no session with that id. Test with errors.Is.
var ErrNotFound = errors.New("session: no such session")

// Store keeps sessions, the cut-offs that end many of them at once, and the log of both. Implementations MUST be safe for
// concurrent use by any number of processes that share the store, MUST give one clock to all of them (the store's own,
// where it has one), and MUST keep a row until its KeepUntil. They MUST return an error when they cannot tell whether they
// did what was asked: callers answer 503 for any error but ErrNotFound, and never treat the token as bad. Every method
// honours ctx.
//
// A user may have a limited number of sessions that are not revoked; the limit belongs to the store, and 100
// ([MaxPerUser]) is usual. Create revokes those beyond it, with [ReasonEvicted]. So does an Update that makes a session of a login
// that waited for its second step: one that sets PendingUntil to 0. See [Excess].
//
// The conformance kit is package sessiontest. A store can implement [Notifier] and [Batcher] too.
type Store interface {
	// Create calls make with a Moment of the user, and stores the session that make returns. The session is of this user;
	// its id is new, and [NewID] has made it. If a cut-off of the user, or one of everybody, was committed before the write
	// of the session begins, and the Moment was without it, nothing is stored, and make is called again with a newer
	// Moment. When make returns an error, nothing is stored, and the error is returned as it is.
	Create(ctx context.Context, userID string, make func(at Moment) (Session, error)) error

	// Update calls change with a row and the Moment of its user, and replaces the row with what change returns, in one atomic
	// step: no other change of the row is committed in between. Both are from one atomic read. Or they are what this process
	// remembers of its last write ([Recent]), with the time that has passed since. If a cut-off of the user or of everybody was
	// committed before the write begins, and the Moment was without it, nothing is written, and change is called again. change
	// may be called again with a newer row and Moment. It may take as long as a signature takes, so a store must not make other
	// rows wait for it. When change returns an error, or the row unchanged (==), nothing is written, and the error is returned
	// as it is. The new row has the ID and the UserID of the old one. Update returns nil only after the new row is committed.
	// It returns ErrNotFound when there is no row.
	Update(ctx context.Context, id string, change func(row Session, at Moment) (Session, error)) error

	// List returns sessions of the user that are not Revoked, and the Moment of the user. If there are more than limit, it
	// returns those with the latest KeepUntil.
	List(ctx context.Context, userID string, limit int) ([]Session, Moment, error)

	// Cut calls change with the cut-off of a user, or of everybody if userID is "", and replaces it with what change
	// returns, in one atomic step. The cut-off is zero if there was none. latest is not earlier than the KeepUntil of
	// any session of the user; for everybody it is 0. change may be called again. When change returns an error, or the cut-off
	// unchanged, nothing is written, and the error is returned as it is. A store that keeps groups of users on different
	// servers changes the cut-off of everybody once for each group.
	Cut(ctx context.Context, userID string, change func(before Cutoff, latest, now Millis) (Cutoff, error)) error

	// DeleteExpired removes up to limit sessions, and cut-offs of users, that are past their KeepUntil both by the store's
	// clock and by the time before. It returns how many it removed. So one clock that is wrong removes nothing. A store
	// that expires rows by itself keeps them for a day longer, and returns 0.
	DeleteExpired(ctx context.Context, before Millis, limit int) (int, error)

	Log
}

// Batcher is an optional interface of a [Store], for changes of many sessions that nobody waits for. It must be safe for concurrent
// use.
type Batcher interface {
	// UpdateBatch is Update for many sessions in a few round trips, with two differences: a session that does not exist is left
	// out, and change does not fail. It calls change for each session that it finds, with the store's time. Like Update it may
	// call change again with a newer row, even after a result of it was written. So change must return the same row for what it
	// has returned. A session that cannot be read is an error, but keeps no other session from being changed.
	UpdateBatch(ctx context.Context, ids []string, change func(row Session, now Millis) Session) error
}
