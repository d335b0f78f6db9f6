package signet

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/signet-go/signet/session"
)

// RevokeSession ends a session: its refresh token works no more, and its access tokens are refused, in this process at
// once and in others within a pull (WithRevocationPull). A session that is gone already is no error. It returns nil only
// after the store has committed; the error is ErrUnavailable, or ErrStateless under WithoutSessions.
func (a *Auth) RevokeSession(ctx context.Context, id string) error {
	_, err := a.revoke(ctx, id, session.ReasonRevoked, nil)
	return err
}

// RevokeUser ends all sessions of a user: after a password change, or before a ban takes effect. Change the user first: a
// login that is under way then finds out by itself. Errors as of RevokeSession; sessions may be left then.
func (a *Auth) RevokeUser(ctx context.Context, userID string) error {
	return a.revokeUser(ctx, userID, session.ReasonRevoked)
}

func (a *Auth) revokeUser(ctx context.Context, userID string, reason session.Reason) error {
	if a.sessions == nil {
		return errStateless
	}
	rows, err := a.sessions.list(ctx, userID)
	if err != nil {
		return unavailable(err)
	}
	for _, row := range rows {
		if row.Revoked() {
			continue
		}
		if _, err := a.revoke(ctx, row.ID, reason, nil); err != nil {
			return err // a store that failed once would be asked, and waited for, once for each session
		}
	}
	return nil
}

// revoke ends a session if it may: allowed, if any, looks at the row first. It reports whether there was one.
func (a *Auth) revoke(ctx context.Context, id string, reason session.Reason, allowed func(session.Session) error) (bool, error) {
	if a.sessions == nil {
		return false, errStateless
	}
	row, err := a.sessions.update(ctx, id, func(row session.Session, now session.Millis) (session.Session, error) {
		if allowed != nil {
			if err := allowed(row); err != nil {
				return row, err
			}
		}
		return session.Revoke(row, reason, now), nil
	})
	switch {
	case errors.Is(err, session.ErrNotFound):
		return false, nil
	case err != nil:
		return false, asError(err)
	}
	a.logger.InfoContext(ctx, "signet: session revoked", "reason", string(reason), "session", row.ID, "user", row.UserID)
	return true, nil
}

// Logout ends the session of a refresh or an access token, expired or not. A session that is gone already is no error.
// The error is ErrInvalidToken for what is no token of this service, or ErrUnavailable: nil means that it is committed.
// Without sessions it does nothing: the client forgets its tokens.
func (a *Auth) Logout(ctx context.Context, token string) error {
	claims, err := a.verifySigned(ctx, token, append([]string{refreshType}, a.types...))
	if err != nil {
		return err
	}
	if claims.SessionID == "" || a.sessions == nil {
		return nil
	}
	found, err := a.revoke(ctx, claims.SessionID, session.ReasonLogout, nil)
	if err == nil && !found { // the store has forgotten the session, its access tokens have not
		a.sessions.revoked.add(claims.SessionID, session.MillisOf(a.clock().Add(a.accessLifetime)))
	}
	return err
}

// SessionInfo is what a user may know of a session of theirs.
type SessionInfo struct {
	ID         string    `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"`
	UserAgent  string    `json:"user_agent"`
	Address    string    `json:"address"`
	Current    bool      `json:"current"` // the one that asks
}

// Sessions returns the live sessions of a user, the newest first.
func (a *Auth) Sessions(ctx context.Context, userID string) ([]SessionInfo, error) {
	live := []SessionInfo{}
	if a.sessions == nil {
		return live, nil
	}
	rows, err := a.sessions.list(ctx, userID)
	if err != nil {
		return nil, unavailable(err)
	}
	now := session.MillisOf(a.clock())
	for _, row := range rows {
		if row.RevokedAt == 0 && !a.sessions.rules.Expired(row, now) {
			live = append(live, SessionInfo{ID: row.ID, CreatedAt: row.CreatedAt.Time(), LastUsedAt: row.LastUsedAt.Time(),
				UserAgent: row.UserAgent, Address: row.Address})
		}
	}
	slices.SortFunc(live, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return live, nil
}
