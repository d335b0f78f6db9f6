package signet

import (
	"context"
	"errors"
	"log/slog"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/session"
)

// Refresh checks a refresh token and returns a new pair. It looks up the user again: the new access token has the
// current roles, and a deleted or disabled user is refused. The new refresh token supersedes the old one. The old one
// is accepted for a short time ([WithReuseWindow]); a later use means that it was stolen, and ends the session.
// Simultaneous calls with one token get the same pair.
//
// The error is [ErrInvalidToken] ([ErrExpiredToken], [ErrRevoked]), or [ErrUnavailable] when a store or the key does
// not answer. After ErrUnavailable the same token can be sent again.
func (a *Auth) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	claims, err := a.verifyRefresh(ctx, refreshToken)
	if err != nil {
		return Tokens{}, err
	}
	tokens, err := a.refreshes.Do(ctx, refreshToken, func(ctx context.Context) (Tokens, error) {
		if a.sessions == nil {
			return a.renew(ctx, claims)
		}
		return a.rotate(ctx, claims)
	})
	if err != nil {
		return Tokens{}, asError(err)
	}
	return tokens, nil
}

func (a *Auth) verifyRefresh(ctx context.Context, token string) (*Claims, error) {
	claims, err := a.verifier.read(ctx, token, refreshToken)
	if err != nil {
		return nil, err
	}
	if err := a.verifier.checkTimes(claims, a.verifier.clock()); err != nil {
		return nil, err
	}
	return claims, nil
}

// renew is Refresh without sessions.
func (a *Auth) renew(ctx context.Context, claims *Claims) (Tokens, error) {
	user, err := a.activeUser(ctx, claims.Subject)
	if err != nil {
		return Tokens{}, err
	}
	return a.issueAlone(ctx, user)
}

// rotate is Refresh with sessions. The rules of rotation decide about the row. The user is read and the new tokens are
// signed before the row is committed, so a failure of one of them changes nothing.
func (a *Auth) rotate(ctx context.Context, claims *Claims) (Tokens, error) {
	ctx, limited := limit.New(ctx, storeTimeout) // also for the claims and the signatures
	defer limited.Release()
	presented := rotation.Presented{Generation: claims.session.Generation, SecretHash: session.HashOf(claims.ID),
		Client: clientOf(ctx)}
	g := grant{secret: claims.ID, sessionID: claims.SessionID, proof: true}
	var tokens Tokens
	row, out, err := a.sessions.Refresh(ctx, claims.SessionID, claims.Subject, presented, sessions.Tokens{
		User: func() (active bool, err error) {
			g.user, err = a.activeUser(ctx, claims.Subject)
			if errors.Is(err, errNoUser) {
				return false, nil
			}
			if err == nil {
				g.claims, err = a.customClaims(ctx, g.user)
			}
			return err == nil, err
		},
		Sign: func(row session.Session, out rotation.Outcome, version session.Version) (err error) {
			g.generation, g.notAfter, g.version = out.Generation, row.EndsAt.Time(), version
			tokens, err = a.issue(ctx, g)
			return err
		},
	})
	var refused *Error
	switch {
	case errors.As(err, &refused): // the user store, WithClaims or the key; the cause may even be session.ErrNotFound
		return Tokens{}, refused
	case errors.Is(err, session.ErrNotFound):
		out = rotation.Outcome{Event: rotation.EventUnknown}
	case err != nil:
		return Tokens{}, unavailable(err)
	}
	a.report(ctx, row, out)
	if out.Generation == 0 {
		return Tokens{}, refusal(out.Event)
	}
	return tokens, nil
}

// refusal is the answer for the client. It does not say why a session was revoked, because the client may be the thief.
func refusal(event rotation.Event) error {
	switch event {
	case rotation.EventExpired:
		return ErrExpiredToken
	case rotation.EventUser:
		return errNoUser
	}
	return ErrRevoked
}

// report logs what happened to a session, at a level that shows how much it matters to operators.
func (a *Auth) report(ctx context.Context, row session.Session, out rotation.Outcome) {
	level := slog.LevelDebug
	switch out.Event {
	case rotation.EventTheft:
		level = slog.LevelWarn
	case rotation.EventRecovered, rotation.EventUser:
		level = slog.LevelInfo
	}
	logger := a.verifier.logger
	if out.RolledBack {
		logger.WarnContext(ctx, "signet: the session store had lost writes; the session was carried forward",
			"session", row.ID, "user", row.UserID)
	}
	logger.Log(ctx, level, "signet: refresh", "event", string(out.Event), "session", row.ID, "user", row.UserID)
}
