package signet

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// Logout ends the session of a refresh or an access token, expired or not. A session that is gone already is no error. The error is
// [ErrInvalidToken] for what is no token of this service, [ErrUnavailable], or [ErrStateless] under [WithoutSessions]: nil means that
// the end is committed.
func (a *Auth) Logout(ctx context.Context, token string) error {
	claims, err := a.verifier.read(ctx, token, anyToken)
	if err != nil {
		return err
	}
	if a.sessions == nil {
		return ErrStateless
	}
	if claims.SessionID == "" { // a token from before there were sessions
		return nil
	}
	found, err := a.revoke(ctx, claims.SessionID, session.ReasonLogout, nil)
	if err == nil && !found { // the store has forgotten the session, but its access tokens may live
		until := a.verifier.clock().Add(a.lifetimes.Access)
		if claims.ExpiresAt.After(until) {
			until = claims.ExpiresAt
		}
		a.sessions.Forget(claims.SessionID, session.MillisOf(until))
	}
	return err
}

// RevokeSession ends a session. Its refresh token works no more, and its access tokens are refused: at once in this process, and within
// about a second in others. A session that is gone already is no error. It returns nil only after the store has committed. The
// error is [ErrUnavailable], or [ErrStateless] under [WithoutSessions].
func (a *Auth) RevokeSession(ctx context.Context, id string) error {
	_, err := a.revoke(ctx, id, session.ReasonRevoked, nil)
	return err
}

// RevokeUser ends all sessions of a user: after a password change, or for a ban. Change the user first: a login that is under way
// then finds out by itself. After an error some sessions may be left; call it again. Errors are as of [Auth.RevokeSession].
//
// Services that use [NewVerifier] learn nothing of it: there the user's access tokens are good until they expire.
func (a *Auth) RevokeUser(ctx context.Context, userID string) error {
	return a.revokeUser(ctx, userID, session.ReasonRevoked, "")
}

// RevokeOtherSessions ends all sessions of a user but one: after the user has changed the password in that session, or for a button
// "sign out everywhere else". keepSessionID is usually [Claims.SessionID]. Errors are as of [Auth.RevokeUser].
func (a *Auth) RevokeOtherSessions(ctx context.Context, userID, keepSessionID string) error {
	return a.revokeUser(ctx, userID, session.ReasonRevoked, keepSessionID)
}

func (a *Auth) revokeUser(ctx context.Context, userID string, reason session.Reason, keep string) error {
	if a.sessions == nil {
		return ErrStateless
	}
	rows, err := a.sessions.List(ctx, userID)
	if err != nil {
		return unavailable(err)
	}
	for _, row := range rows {
		if row.Revoked() || row.ID == keep {
			continue
		}
		if _, err := a.revoke(ctx, row.ID, reason, nil); err != nil {
			return err // a store that has failed once would be waited for once for each session
		}
	}
	return nil
}

// revoke ends a session if it may: allowed, if any, looks at the row first. It reports whether there was one.
func (a *Auth) revoke(ctx context.Context, id string, reason session.Reason, allowed func(session.Session) error) (found bool, err error) {
	if a.sessions == nil {
		return false, ErrStateless
	}
	row, err := a.sessions.Revoke(ctx, id, reason, allowed)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return false, nil
	case err != nil:
		return false, storeError(err)
	}
	a.verifier.logger.InfoContext(ctx, "signet: session revoked", "reason", string(reason), "session", row.ID, "user", row.UserID)
	return true, nil
}

// SessionInfo is what a user may know of a session of theirs.
type SessionInfo struct {
	ID         string    `json:"id"`
	CreatedAt  time.Time `json:"created_at"`
	LastUsedAt time.Time `json:"last_used_at"` // the last refresh
	ExpiresAt  time.Time `json:"expires_at"`   // when the last token of the session expires, unless it is refreshed before
	UserAgent  string    `json:"user_agent"`   // of the last login or refresh
	Address    string    `json:"address"`      // of the same request
	Current    bool      `json:"current"`      // the session that asks
}

// Sessions returns the sessions of a user of which a token may still be valid, the newest first. The error is [ErrUnavailable], or
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
	now := session.MillisOf(a.verifier.clock())
	for _, row := range rows {
		if end := rotation.LiveUntil(row); !row.Revoked() && now < end {
			live = append(live, SessionInfo{ID: row.ID, CreatedAt: row.CreatedAt.Time(), LastUsedAt: row.LastUsedAt.Time(),
				ExpiresAt: end.Time(), UserAgent: row.UserAgent, Address: row.Address})
		}
	}
	slices.SortFunc(live, func(a, b SessionInfo) int { return b.CreatedAt.Compare(a.CreatedAt) })
	return live, nil
}

type clientKey struct{}

// ContextWithClient returns a context in which [Auth.Login], [Auth.IssueFor] and [Auth.Refresh] make the session remember the client, for the
// list of a user's sessions. Only printable characters are kept, and at most 256 bytes of each text.
func ContextWithClient(ctx context.Context, userAgent, address string) context.Context {
	return context.WithValue(ctx, clientKey{}, rotation.Client{UserAgent: label(userAgent), Address: label(address)})
}

// ContextWithClient returns the context of a request with its client: its user agent, and the address that [WithClientAddress] finds. The
// handlers of signet do it by themselves. It is for handlers of the host's own that log users in.
func (a *Auth) ContextWithClient(r *http.Request) context.Context {
	return ContextWithClient(r.Context(), r.UserAgent(), a.clientAddress(r))
}

func clientOf(ctx context.Context) rotation.Client {
	client, _ := ctx.Value(clientKey{}).(rotation.Client)
	return client
}

// maxLabel bounds what a session keeps of a client, in bytes.
const maxLabel = 256

// label returns a copy of text without what cannot be shown. Characters that are not printable could change the direction of the text
// around them, or hide a part of it. It is a copy because some servers (fasthttp) use the memory of a request again.
func label(text string) string {
	text = strings.ToValidUTF8(strings.Clone(text[:min(len(text), maxLabel)]), "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
}
