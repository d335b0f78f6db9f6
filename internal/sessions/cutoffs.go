package sessions

import (
	"context"
	"errors"
	"time"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/session"
)

// EndUser ends all sessions of a user with one write. It spares the session with the id keep, if that session is of the user
// and has not ended.
func (m *Manager) EndUser(ctx context.Context, userID, keep string) error {
	for {
		spared, at, err := m.sparable(ctx, userID, keep)
		if err != nil {
			return err
		}
		err = m.cut(ctx, userID, func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
			if spared != "" && c.Version() != at.User.Version() {
				return c, errAgain // a newer cut-off may have ended the session that is to be spared
			}
			return c.End(spared, m.keepUntil(latest, now), now), nil
		})
		if err != errAgain {
			return err
		}
	}
}

var errAgain = errors.New("the cut-off was changed by another process")

// sparable returns keep if it is the id of a session of the user that has not ended, and otherwise "".
func (m *Manager) sparable(ctx context.Context, userID, keep string) (spared string, read session.Moment, err error) {
	if keep == "" {
		return "", read, nil
	}
	_, err = m.update(ctx, keep, func(row session.Session, at session.Moment) (session.Session, error) {
		spared, read = "", at
		if row.UserID == userID && row.RevokedAt == 0 && !at.Ended(row) {
			spared = keep
		}
		return row, nil
	})
	if errors.Is(err, session.ErrNotFound) {
		return "", read, nil
	}
	return spared, read, err
}

// EndAll ends the sessions of everybody with one write, or one for each group.
func (m *Manager) EndAll(ctx context.Context) error {
	return m.cut(ctx, "", func(c session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
		return c.End("", 0, now), nil
	})
}

// ChangeUser outdates the access tokens of a user. The sessions go on.
func (m *Manager) ChangeUser(ctx context.Context, userID string) error {
	return m.cut(ctx, userID, func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		return c.Change(m.keepUntil(latest, now), now), nil
	})
}

// keepUntil returns the time until which a cut-off made now is needed: until no older token is left. latest covers tokens
// that were issued under longer lifetimes. The day covers a refresh of another process at the same time.
func (m *Manager) keepUntil(latest, now session.Millis) session.Millis {
	return max(latest, now.Add(max(m.Rules.Idle, m.Rules.Access))).Add(24 * time.Hour)
}

// cut changes a cut-off. This process refuses what it cuts off at once.
func (m *Manager) cut(ctx context.Context, userID string,
	change func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	var made session.Cutoff
	err := m.Store.Cut(ctx, userID, func(c session.Cutoff, latest, now session.Millis) (session.Cutoff, error) {
		after, err := change(c, latest, now)
		if userID != "" || made.Ended == 0 || after.Ended < made.Ended {
			made = after // for everybody the smallest of the groups'; the log has that of each group
		}
		return after, err
	})
	switch {
	case err != nil:
		return err
	case userID == "":
		m.Apply(session.AllEntry(session.AllGroups, made))
	default:
		m.Apply(session.CutEntry(userID, made))
	}
	return nil
}
