package session

import (
	"context"
	"errors"
)

// ErrNotFound says that a store has no session with that id. Test with errors.Is.
var ErrNotFound = errors.New("session: no such session")

// Store keeps sessions. Implementations MUST be safe for concurrent use by any number of processes that share the
// store, MUST give one clock to all of them (the store's own, where it has one), and MUST keep a row until its
// KeepUntil. They MUST return an error when they cannot tell whether they did what was asked: callers answer 503 for
// any error but ErrNotFound, and never treat the token as bad. Every method honours ctx.
//
// The conformance kit is package sessiontest.
type Store interface {
	// Create calls make with the store's time, and stores the session that make returns. The id of the session is new,
	// and [NewID] has made it for its user. make may be called again. When make returns an error, nothing is stored,
	// and the error is returned as it is.
	Create(ctx context.Context, make func(now Millis) (Session, error)) error

	// Update calls change with a row and the store's time, and replaces the row with what change returns, in one atomic
	// step: no other change of the row happens in between. change may be called again with a newer row. It may take as
	// long as a signature takes, so a store must not make other rows wait for it. When change returns an error, or the
	// row unchanged (==), nothing is written, and the error is returned as it is. Update returns nil only after the new
	// row is committed. It returns ErrNotFound when there is no row.
	Update(ctx context.Context, id string, change func(row Session, now Millis) (Session, error)) error

	// ListByUser returns the user's sessions, revoked ones too, in any order.
	ListByUser(ctx context.Context, userID string) ([]Session, error)

	// RevokedSince calls each for every session that is Revoked, is not past its KeepUntil, and whose revocation was
	// written at or after since by the store's clock. If since is 0, the time of the revocation does not matter.
	// RevokedSince returns the store's time from before its read. The caller asks again with that time, minus the time
	// that a write may take to become visible. Then it misses no revocation.
	RevokedSince(ctx context.Context, since Millis, each func(id string, keepUntil Millis)) (Millis, error)

	// DeleteExpired removes up to limit rows that are past their KeepUntil, and returns how many it removed. A store that
	// expires rows by itself returns 0.
	DeleteExpired(ctx context.Context, limit int) (int, error)
}
