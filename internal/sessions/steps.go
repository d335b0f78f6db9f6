package sessions

import (
	"context"
	"errors"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// ErrTicket says that a ticket cannot be used: it is unknown, too old, used, or too many codes were tried.
var ErrTicket = errors.New("the ticket cannot be used")

// Pending returns the row of a login that waits for its second step. The error is ErrTicket or that of the store.
func (m *Manager) Pending(ctx context.Context, id, ticket string) (session.Session, error) {
	return m.step(ctx, id, ticket, func(row session.Session, at session.Moment) (session.Session, error) {
		if _, ok := rotation.Try(row, session.HashOf(ticket), at.Now); !ok {
			return row, ErrTicket
		}
		return row, nil
	})
}

// Try counts an attempt at the second step of a login, before the code is checked, and returns the row. The error is ErrTicket
// or that of the store.
func (m *Manager) Try(ctx context.Context, id, ticket string) (session.Session, error) {
	return m.step(ctx, id, ticket, func(row session.Session, at session.Moment) (session.Session, error) {
		after, ok := rotation.Try(row, session.HashOf(ticket), at.Now)
		if !ok {
			return row, ErrTicket
		}
		return after, nil
	})
}

// TakeBack takes a Try back, because nobody could check the code. If the store does not answer, the try stays counted.
func (m *Manager) TakeBack(ctx context.Context, id, ticket string) {
	_, _ = m.step(ctx, id, ticket, func(row session.Session, at session.Moment) (session.Session, error) {
		return rotation.TakeBack(row, session.HashOf(ticket), at.Now), nil
	})
}

// Complete makes the session of a login whose second step succeeded. It calls sign with the new row before the row is
// committed, as [Manager.Create] does. Of several calls with one ticket, only one succeeds.
func (m *Manager) Complete(ctx context.Context, id, ticket, secret, facts string, client rotation.Client,
	sign func(session.Session, session.Version) error) error {
	_, err := m.step(ctx, id, ticket, func(row session.Session, at session.Moment) (session.Session, error) {
		after, ok := m.Rules.Complete(row, session.HashOf(ticket), session.HashOf(secret), facts, client, at.Now)
		if !ok {
			return row, ErrTicket
		}
		if err := m.lostCutoffs(row.UserID, at); err != nil {
			return row, err
		}
		return after, sign(after, at.Version())
	})
	return err
}

// MayStepUp says what a step-up with this refresh token would come to now. It makes no tokens. But it stores the row of a session
// that must wait, as a refresh does: its times may have been corrected, and the wait counts from there. The error is
// session.ErrNotFound or that of the store.
func (m *Manager) MayStepUp(ctx context.Context, id, userID string, presented rotation.Presented) (rotation.Outcome, error) {
	presented.UserActive = true
	out := rotation.Outcome{Event: rotation.EventUnknown}
	err := m.inStore(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		out = rotation.Outcome{Event: rotation.EventUnknown}
		if row.UserID == userID && !at.Ended(row) {
			var after session.Session
			after, out = m.Rules.StepUp(row, presented, "", at.Now)
			if out.Event == rotation.EventCrowded && !out.RolledBack { // a row that was carried forward is left to a refresh, which reports it
				row = after
			}
		}
		return row, nil
	})
	return out, err
}

// step changes the row of a login that waits for its second step. If the login does not wait any more, the error is ErrTicket,
// and step also returns the row, so that the caller can report whose login it was. It returns no row if the ticket is not that
// of the row, because strangers can send any ticket. The store forgets the ticket of a login that is complete. So for five
// minutes after the login, any ticket with the id of the session counts as the one that was used.
func (m *Manager) step(ctx context.Context, id, ticket string,
	change func(session.Session, session.Moment) (session.Session, error)) (session.Session, error) {
	row, err := m.update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		waits := row.PendingUntil != 0
		switch {
		case waits && !row.SecretHash.Equal(session.HashOf(ticket)), !waits && !rotation.MayHaveTicket(row, at.Now):
			return session.Session{}, ErrTicket
		case !waits, at.Ended(row):
			return row, ErrTicket
		}
		return change(row, at)
	})
	if errors.Is(err, session.ErrNotFound) {
		err = ErrTicket
	}
	return row, err
}

// Ticket makes a ticket for a connection of a session, and returns its number. It returns session.ErrNotFound if the session has
// ended.
func (m *Manager) Ticket(ctx context.Context, id, userID string) (number int64, err error) {
	err = m.live(ctx, id, userID, func(row session.Session, _ session.Version) (session.Session, error) {
		row, number = rotation.Ticket(row)
		return row, nil
	})
	return number, err
}

// Redeem uses a ticket up, and calls sign before the row is committed, as [Manager.Create] does. It returns ErrTicket if the
// ticket was used before, and session.ErrNotFound if the session has ended.
func (m *Manager) Redeem(ctx context.Context, id, userID string, number int64,
	sign func(session.Session, session.Version) error) error {
	return m.live(ctx, id, userID, func(row session.Session, version session.Version) (session.Session, error) {
		after, ok := rotation.Redeem(row, number)
		if !ok {
			return row, ErrTicket
		}
		return after, sign(after, version)
	})
}

// live changes the row of a session that has not ended.
func (m *Manager) live(ctx context.Context, id, userID string,
	change func(session.Session, session.Version) (session.Session, error)) error {
	_, err := m.update(ctx, id, func(row session.Session, at session.Moment) (session.Session, error) {
		if row.UserID != userID || row.RevokedAt != 0 || row.PendingUntil != 0 || at.Ended(row) {
			return row, session.ErrNotFound
		}
		if err := m.lostCutoffs(row.UserID, at); err != nil {
			return row, err
		}
		return change(row, at.Version())
	})
	return err
}
