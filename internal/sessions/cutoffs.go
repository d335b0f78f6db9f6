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
		if !errors.Is(err, errAgain) {
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
		if row.UserID != userID {
			return row, nil
		}
		if row.RevokedAt == 0 && row.PendingUntil == 0 && !at.Ended(row) {
			spared = keep
		}
		return row, m.lostCutoffs(userID, at)
	})
	if errors.Is(err, session.ErrNotFound) {
		return "", read, nil
	}
	return spared, read, err
}

// Lives reports whether a session of the user has not ended.
func (m *Manager) Lives(ctx context.Context, userID, id string) (bool, error) {
	spared, _, err := m.sparable(ctx, userID, id)
	return spared != "", err
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

// DefaultAccess is the default lifetime of access tokens. A cut-off is kept at least that long, even if the service's lifetime
// is shorter: tokens of an earlier deployment may live that long, and the session that would tell may be gone, as after a
// restart with a store in memory.
const DefaultAccess = 20 * 24 * time.Hour

// sweepMargin is how much longer a cut-off is kept than the last token that it refuses.
const sweepMargin = 24 * time.Hour

// keepUntil returns the time until which a cut-off made now is needed: until no older token is left. latest covers tokens
// that were issued under longer lifetimes, and sessions with lifetimes of their own.
func (m *Manager) keepUntil(latest, now session.Millis) session.Millis {
	return max(latest, now.Add(max(m.Rules.Idle, m.Rules.Access, DefaultAccess))).Add(sweepMargin)
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
			made = after // change runs for each group: the smallest cut-off counts here, and the log brings that of each group
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

// lostError says that the store does not know cut-offs any more that this process knows.
type lostError struct {
	userID    string
	user, all session.Cutoff // zero: not lost
}

func (e *lostError) Error() string { return "the session store has lost a cut-off" }

// lostCutoffs returns a *lostError if the store at that moment does not know the cut-offs that this process knows. It is asked
// before tokens are made: they would be refused.
func (m *Manager) lostCutoffs(userID string, at session.Moment) error {
	if user, all, lost := m.Lost(userID, at); lost {
		return &lostError{userID, user, all}
	}
	return nil
}

// restores is how often lost cut-offs are written before the store counts as one that does not answer.
const restores = 3

// restoring makes a change in the store. If the store has lost cut-offs, it writes them again, and makes the change once more.
func (m *Manager) restoring(ctx context.Context, change func() error) error {
	for attempt := 0; ; attempt++ {
		err := change()
		var lost *lostError
		if err == nil || !errors.As(err, &lost) || attempt == restores {
			return err
		}
		if err := m.restore(ctx, lost, attempt); err != nil {
			return err
		}
	}
}

// restore writes cut-offs again that the store has lost, as after a failover to a server that was behind.
func (m *Manager) restore(ctx context.Context, lost *lostError, attempt int) error {
	spared, err := m.sparedBy(ctx, lost)
	if err != nil {
		return err
	}
	wrote := false
	write := func(userID string, below int64, known session.Cutoff) error {
		return m.cut(ctx, userID, func(c session.Cutoff, latest, _ session.Millis) (session.Cutoff, error) {
			c.KeepUntil = max(c.KeepUntil, known.KeepUntil)
			if c.Ended < below {
				c.Ended, c.Spared, wrote = known.Ended, known.Spared, true
				c.KeepUntil = max(c.KeepUntil, latest.Add(sweepMargin))
			}
			if c.Changed < known.Changed {
				c.Changed, wrote = known.Changed, true
			}
			return c, nil
		})
	}
	if lost.user != (session.Cutoff{}) {
		lost.user.Spared = spared
		err = write(lost.userID, lost.user.Ended, lost.user)
	}
	if err == nil && lost.all.Ended != 0 {
		// A store may keep one cut-off for each group, and may have lost only some of them. A group that has lost nothing has a
		// cut-off that is not below the lowest one that this process knows. So the first attempt changes only groups below it.
		below := lost.all.Ended
		if attempt == 0 {
			below = min(below, m.LowestAll())
		}
		err = write("", below, lost.all)
	}
	if err == nil && wrote {
		whose := "everybody"
		if lost.user != (session.Cutoff{}) {
			whose = lost.userID
		}
		m.Logger.Warn("signet: the session store had lost a cut-off; it was written again", "user", whose)
	}
	return err
}

// sparedBy returns the id of the session that a lost cut-off has spared. Memory has only its hash, so it looks at the sessions of
// the user.
func (m *Manager) sparedBy(ctx context.Context, lost *lostError) (id string, err error) {
	if !m.Spares(lost.userID) {
		return "", nil
	}
	ctx, limited := limit.New(ctx, StoreTimeout)
	defer limited.Release()
	rows, _, err := m.Store.List(ctx, lost.userID, listLimit)
	for _, row := range rows {
		if m.IsSpared(lost.userID, row.ID) {
			return row.ID, nil
		}
	}
	return "", err
}
