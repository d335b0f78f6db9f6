package signet

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/revoked"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/session"
)

// Logout ends the session of a refresh or an access token, expired or not. A session that is gone already is no error. The
// error is [ErrInvalidToken] for a text that is no token of this service, [ErrUnavailable], or [ErrStateless] under
// [WithoutSessions]. If it is nil, the store has stored that the session has ended. A store that has lost the login itself, such as
// in a failover, has nothing to end: then only this process refuses the access tokens, and [Auth.RevokeUser] reaches all.
func (a *Auth) Logout(ctx context.Context, token string) error {
	claims, err := a.read(ctx, token, forLogout)
	if err != nil {
		return err
	}
	if a.sessions == nil {
		return ErrStateless
	}
	if claims.SessionID == "" { // a token that was issued before the service had sessions
		return nil
	}
	found, err := a.revoke(ctx, claims.SessionID, session.ReasonLogout, nil)
	if err == nil && !found {
		a.forget(claims.SessionID, claims.ExpiresAt)
	}
	return err
}

// forget makes this process refuse the access tokens of a session that the store has lost. expiry is that of a token of the
// session, or zero. Newer tokens of it may exist, so they are refused for at least the longest lifetime of an access token.
func (a *Auth) forget(id string, expiry time.Time) {
	until := a.clock().Add(max(a.lifetimes.Access, sessions.DefaultAccess))
	if expiry.After(until) {
		until = expiry
	}
	a.sessions.Forget(id, session.MillisOf(until))
}

// logoutEach ends the sessions of some tokens. Tokens of nobody do not matter if another one was good.
func (a *Auth) logoutEach(ctx context.Context, tokens []string) (first error) {
	ended := false
	for _, token := range tokens {
		err := a.Logout(ctx, token)
		switch {
		case errors.Is(err, ErrUnavailable):
			return err
		case err == nil:
			ended = true
		case first == nil:
			first = err
		}
	}
	if ended {
		return nil
	}
	return first
}

// RevokeSession ends a session. Its refresh token and its access tokens are refused: at once in this process, and within about
// a second in others. A session that is gone already is no error: then its access tokens are refused in this process. It
// returns nil only after the store has committed. It does not ask whose session it is: for users who end their own there is
// [Auth.SessionsHandler]. The error is [ErrUnavailable], or [ErrStateless] under [WithoutSessions].
func (a *Auth) RevokeSession(ctx context.Context, id string) error {
	found, err := a.revoke(ctx, id, session.ReasonRevoked, nil)
	if err == nil && !found {
		a.forget(id, time.Time{})
	}
	return err
}

// RevokeUser ends all sessions of a user, for example after a password change, for a ban, or after the account was deleted. It
// is one write, whatever the number of sessions. Change the user in the user store first: then a login that is running at the
// same time sees the change. The errors are those of [Auth.RevokeSession].
func (a *Auth) RevokeUser(ctx context.Context, userID string) error {
	return a.endUser(ctx, userID, "", event.Event{Kind: event.Revoked, Reason: "all sessions"})
}

// RevokeOtherSessions ends all sessions of a user but one: after the user has changed the password in that session, or
// for a button "sign out everywhere else". keepSessionID is usually [Claims.SessionID]. The errors are those of
// [Auth.RevokeSession]. A keepSessionID that is not a living session of the user keeps nothing.
func (a *Auth) RevokeOtherSessions(ctx context.Context, userID, keepSessionID string) error {
	return a.endUser(ctx, userID, keepSessionID, event.Event{Kind: event.Revoked, SessionID: keepSessionID, Reason: "all other sessions"})
}

func (a *Auth) endUser(ctx context.Context, userID, keep string, what event.Event) error {
	return a.cutUser(ctx, userID, what, func() error { return a.sessions.EndUser(ctx, userID, keep) })
}

// RevokeAll ends the sessions of everybody, for example after a breach. It is one write. If a key has leaked, change the key
// first ([keys.Ring.Rotate], [keys.Ring.Retire]): who has the key can sign tokens that no revocation meets. The error is
// [ErrUnavailable], or [ErrStateless] under [WithoutSessions].
func (a *Auth) RevokeAll(ctx context.Context) error {
	return a.cut(ctx, event.Event{Kind: event.Revoked, Reason: "everybody"}, func() error { return a.sessions.EndAll(ctx) })
}

// UserChanged says that the roles or claims of a user have changed. Call it after the change in the user store. The user's
// access tokens are refused with 401 "invalid_token" in every process, within about a second, and the refresh brings
// tokens with the new claims. No session ends. The errors are those of [Auth.RevokeSession].
func (a *Auth) UserChanged(ctx context.Context, userID string) error {
	return a.cutUser(ctx, userID, event.Event{Kind: event.UserChanged}, func() error { return a.sessions.ChangeUser(ctx, userID) })
}

// cutUser makes a cut-off of one user. It does nothing for an id that no user can have. The empty id must not reach the store,
// where it stands for everybody.
func (a *Auth) cutUser(ctx context.Context, userID string, what event.Event, cut func() error) error {
	if a.sessions != nil && !canBeUserID(userID) {
		return nil
	}
	what.Subject = userID
	return a.cut(ctx, what, cut)
}

// cut makes a cut-off.
func (a *Auth) cut(ctx context.Context, what event.Event, cut func() error) error {
	if a.sessions == nil {
		return ErrStateless
	}
	if err := cut(); err != nil {
		return unavailable(err)
	}
	a.events.emit(ctx, what)
	return nil
}

// revoke ends a session and reports whether there was one. If allowed is not nil, it sees the row first and can refuse.
func (a *Auth) revoke(ctx context.Context, id string, reason session.Reason, allowed func(session.Session) error,
) (found bool, err error) {
	if a.sessions == nil {
		return false, ErrStateless
	}
	ended := false
	row, err := a.sessions.Revoke(ctx, id, reason, func(row session.Session) error {
		if ended = row.Revoked(); allowed != nil {
			return allowed(row)
		}
		return nil
	})
	switch {
	case errors.Is(err, session.ErrNotFound):
		return false, nil
	case err != nil:
		return false, storeError(err)
	case ended: // before this call, which is not news
		return true, nil
	}
	what := event.Event{Kind: event.Revoked, Subject: row.UserID, SessionID: row.ID}
	if reason == session.ReasonLogout {
		what.Kind = event.LoggedOut
	}
	a.events.emit(ctx, what)
	return true, nil
}

// SessionContext returns a context for a connection that stays open: server-sent events, a WebSocket, a long poll, a gRPC
// stream. The context ends as soon as this process knows that the session of the token in ctx has ended. reasons are further
// reasons: with [ErrExpiredToken] the context ends when the token expires, and with [ErrUserChanged] it ends after
// [Auth.UserChanged]. SessionContext panics if one of them is another error. A refresh does not end the context.
// [context.Cause] returns the reason: [ErrRevoked], one of these two, or [ErrUnavailable] after the service was closed or if
// the revocations are not known when SessionContext is called. For a token of a session it needs no goroutine and no timer.
// Call the function that it returns when the connection ends. [http.Server.Shutdown] waits for open connections, so cancel
// their contexts with [http.Server.RegisterOnShutdown].
//
// ctx is the context of a request behind [Verifier.RequireAuth], or one of [ContextWithClaims]. Without claims of a session,
// only the token's expiry can end the context, and a timer does it. With a session, the context ends up to about a second after
// the expiry. The time is that of the machine, and not that of [WithClock].
func SessionContext(ctx context.Context, reasons ...error) (context.Context, context.CancelFunc) {
	for _, err := range reasons {
		if err != ErrExpiredToken && err != ErrUserChanged {
			panic("signet.SessionContext: only ErrExpiredToken and ErrUserChanged can be asked for")
		}
	}
	claims := sharedClaims(ctx)
	what := revoked.Watch{Changes: slices.Contains(reasons, ErrUserChanged)}
	if claims == nil {
		return context.WithCancel(ctx)
	}
	if slices.Contains(reasons, ErrExpiredToken) {
		what.Expires = claims.ExpiresAt
	}
	if claims.revocations == nil {
		if what.Expires.IsZero() {
			return context.WithCancel(ctx)
		}
		return context.WithDeadlineCause(ctx, what.Expires, ErrExpiredToken)
	}
	watched, cancel := context.WithCancelCause(ctx)
	stop := claims.revocations.Watch(ctx, claims.session, what, func(reason error) { cancel(revocationError(reason)) })
	freed := context.AfterFunc(watched, stop) // when ctx ends, for callers that never call the function
	return watched, func() {
		freed()
		stop()
		cancel(context.Canceled)
	}
}

// SessionInfo is what users may see of their own sessions.
type SessionInfo struct {
	ID         string    `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"` // the last refresh
	ExpiresAt  time.Time `json:"expires_at"`   // when the last token of the session expires, unless it is refreshed before
	UserAgent  string    `json:"user_agent"`   // of the last login or refresh
	Address    string    `json:"address"`      // of the same request
	Current    bool      `json:"current"`      // the session of the request; only [Auth.SessionsHandler] sets it
}

// Sessions returns the sessions of a user that may still have a valid token, the newest first, and at most 1,000 of them.
// Current is false in all of them; the session of a request is [Claims].SessionID. The error is [ErrUnavailable], or
// [ErrStateless] under [WithoutSessions].
func (a *Auth) Sessions(ctx context.Context, userID string) ([]SessionInfo, error) {
	if a.sessions == nil {
		return nil, ErrStateless
	}
	rows, err := a.sessions.List(ctx, userID)
	if err != nil {
		return nil, unavailable(err)
	}
	live := []SessionInfo{}
	for _, row := range rows {
		live = append(live, SessionInfo{ID: row.ID, CreatedAt: row.CreatedAt.Time(), LastUsedAt: row.LastUsedAt.Time(),
			ExpiresAt: rotation.LiveUntil(row).Time(), UserAgent: row.UserAgent, Address: row.Address})
	}
	slices.SortFunc(live, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return live, nil
}
