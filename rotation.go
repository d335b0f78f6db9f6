package signet

import (
	"context"
	"errors"
	"log/slog"

	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// begin stores a new session and returns its first tokens, which are signed before it is committed: a session whose tokens
// cannot be had must not exist.
func (a *Auth) begin(ctx context.Context, user userstore.User) (tokens Tokens, id string, err error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	id, secret, client := randomID(), randomID(), clientOf(ctx)
	err = a.sessions.store.Create(ctx, func(now session.Millis) (session.Session, error) {
		row := a.sessions.rules.New(id, user.ID, session.HashOf(secret), client.UserAgent, client.Address, now)
		var err error
		tokens, err = a.issue(ctx, grant{user: user, sessionID: id, generation: row.Current, secret: secret,
			notAfter: row.EndsAt.Time(), now: a.clock()})
		return row, err
	})
	if err != nil {
		return Tokens{}, "", asError(err)
	}
	return tokens, id, nil
}

// recheck looks at the user once more after the session was stored. Without it a login that was checked just before a
// password change could store its session just after RevokeUser had looked for sessions, and outlive the change.
func (a *Auth) recheck(ctx context.Context, user userstore.User, pass, sessionID string) error {
	now, err := a.activeUser(ctx, user.ID)
	if err == nil && now.PasswordHash != user.PasswordHash { // a better hash of the same password may have been stored
		var ok bool
		ok, _, err = a.gate.Verify(ctx, now.PasswordHash, pass)
		if err == nil && !ok || errors.Is(err, password.ErrFormat) {
			err = errCredentials
		}
	}
	return a.keepIf(ctx, sessionID, err)
}

// keepIf revokes a session that was just stored, if its user may not have it.
func (a *Auth) keepIf(ctx context.Context, sessionID string, err error) error {
	if err == nil {
		return nil
	}
	if _, revokeErr := a.revoke(ctx, sessionID, session.ReasonUser, nil); revokeErr != nil {
		return revokeErr
	}
	if errors.Is(err, errNoUser) {
		return errCredentials
	}
	return asError(err)
}

// rotate is Refresh with sessions: the state machine decides on the row, and the new tokens are signed before it is
// committed, so that a failure of either changes nothing.
func (a *Auth) rotate(ctx context.Context, claims *Claims) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout) // also for the signing, which others of the session wait for
	defer cancel()
	user, err := a.activeUser(ctx, claims.Subject)
	if err != nil && !errors.Is(err, errNoUser) {
		return Tokens{}, err
	}
	presented := session.Presented{Generation: claims.generation, SecretHash: session.HashOf(claims.ID), UserActive: err == nil}
	var out session.Outcome
	var tokens Tokens
	row, err := a.sessions.update(ctx, claims.SessionID, func(row session.Session, now session.Millis) (session.Session, error) {
		if row.UserID != claims.Subject {
			out = session.Outcome{Event: session.EventUnknown}
			return row, nil
		}
		row, out = a.sessions.rules.Refresh(row, presented, now)
		if out.Generation == 0 {
			return row, nil
		}
		var err error
		tokens, err = a.issue(ctx, grant{user: user, sessionID: row.ID, generation: out.Generation, secret: claims.ID,
			proof: true, notAfter: row.EndsAt.Time(), now: a.clock()})
		return row, err
	})
	var failed *Error
	switch {
	case errors.As(err, &failed): // signing, or the host's claims, whatever they say
		return Tokens{}, failed
	case errors.Is(err, session.ErrNotFound):
		out = session.Outcome{Event: session.EventUnknown}
	case err != nil:
		return Tokens{}, unavailable(err)
	}
	a.sessions.report(ctx, row, out)
	if out.Generation == 0 {
		return Tokens{}, refusal(out.Event)
	}
	return tokens, nil
}

// refusal is what the client learns: not whether it or somebody else is the thief.
func refusal(event session.Event) error {
	switch event {
	case session.EventExpired:
		return errExpired
	case session.EventUser:
		return errNoUser
	}
	return errRevoked
}

// report logs what happened to a session that its owner or an operator should know of.
func (s *sessions) report(ctx context.Context, row session.Session, out session.Outcome) {
	level := slog.LevelDebug
	switch out.Event {
	case session.EventTheft:
		level = slog.LevelWarn
	case session.EventRecovered, session.EventUser:
		level = slog.LevelInfo
	}
	if out.RolledBack {
		s.logger.WarnContext(ctx, "signet: the session store had lost writes; session carried forward", "session", row.ID,
			"user", row.UserID)
	}
	s.logger.Log(ctx, level, "signet: refresh", "event", string(out.Event), "session", row.ID, "user", row.UserID)
}
