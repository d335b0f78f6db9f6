package signet

import (
	"context"
	"errors"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// Refresh checks a refresh token and returns a new pair. It looks up the user again: the new access token has the
// current roles, and a deleted or disabled user is refused. The new refresh token supersedes the old one. The old one
// is accepted for a short time ([WithReuseWindow]); a later use means that it was stolen, and ends the session.
// Simultaneous calls with one token get the same pair.
//
// The error is [ErrInvalidToken] ([ErrExpiredToken], [ErrRevoked]), or [ErrUnavailable] when a store or the key does
// not answer. After ErrUnavailable the same token can be sent again. A refresh that has begun does not end with ctx, because its
// result counts for other calls with the same token: Refresh can return up to five seconds later.
func (a *Auth) Refresh(ctx context.Context, refreshToken string) (Tokens, error) {
	claims, err := a.verifyRefresh(ctx, refreshToken)
	if err != nil {
		return Tokens{}, err
	}
	tokens, err := a.refreshes.Do(ctx, refreshToken, func(ctx context.Context) (Tokens, error) {
		if a.sessions == nil {
			return a.renew(ctx, claims)
		}
		return a.rotate(ctx, claims, nil)
	})
	if err != nil {
		return Tokens{}, asError(err)
	}
	return tokens, nil
}

func (a *Auth) verifyRefresh(ctx context.Context, token string) (*Claims, error) {
	claims, err := a.read(ctx, token, forRefresh)
	// Otherwise the rules of rotation look at the time. It does not matter when the token was issued: a client drops a refresh token
	// that is refused, and the clock of the process that has issued it may be ahead.
	if err == nil && a.sessions == nil && !a.clock().Before(claims.ExpiresAt) {
		err = ErrExpiredToken
	}
	if err != nil {
		return nil, err
	}
	return claims, nil
}

// renew is Refresh without sessions.
func (a *Auth) renew(ctx context.Context, claims *Claims) (Tokens, error) {
	ctx, limited := limit.New(ctx, storeTimeout) // for the user, the claims and the signatures
	defer limited.Release()
	user, err := a.activeUser(ctx, claims.Subject)
	if err != nil {
		return Tokens{}, err
	}
	return a.issueAlone(ctx, user)
}

// rotate is Refresh with sessions, or a step-up: then raise returns the facts that the session gets. The rules of rotation
// decide about the row. The user is read and the new tokens are signed before the row is committed, so a failure of one of
// them changes nothing.
func (a *Auth) rotate(ctx context.Context, claims *Claims, raise func(session.Session) (string, error)) (Tokens, error) {
	ctx, limited := limit.New(ctx, storeTimeout) // also for the claims and the signatures
	defer limited.Release()
	t := &exchange{auth: a, ctx: ctx, subject: claims.Subject, raise: raise, grant: grant{secret: claims.ID, proof: true}}
	presented := a.presented(ctx, claims)
	row, out, err := a.sessions.Refresh(ctx, claims.SessionID, claims.Subject, presented, t)
	if err != nil {
		var refused *Error
		switch {
		case errors.As(err, &refused): // the user store, WithClaims or the key; the cause may even be session.ErrNotFound
			return Tokens{}, refused
		case !errors.Is(err, session.ErrNotFound):
			if out.Event == rotation.EventTheft { // the store may have ended the session, and then no later request tells why
				a.report(ctx, row, out)
			}
			return Tokens{}, unavailable(err)
		}
		out = rotation.Outcome{Event: rotation.EventUnknown}
		if presented.ExpiredAt != 0 { // the store may have deleted the row, because its time was over
			out.Event = rotation.EventExpired
		}
	}
	a.report(ctx, row, out)
	if out.Generation == 0 {
		return Tokens{}, refusal(out)
	}
	return t.tokens, nil
}

// presented is a refresh token for the rules of rotation. Its time is over only if this machine's clock and that of the store
// say so, because a client drops a session whose refresh token has expired. So a machine whose clock is wrong ends no session.
func (a *Auth) presented(ctx context.Context, claims *Claims) rotation.Presented {
	p := rotation.Presented{Generation: claims.session.Generation, SecretHash: session.HashOf(claims.ID), Client: clientOf(ctx)}
	if !a.clock().Before(claims.ExpiresAt) {
		p.ExpiredAt = session.MillisOf(claims.ExpiresAt)
	}
	return p
}

// exchange makes the tokens of one refresh or step-up. It implements the interface Exchange of internal/sessions.
type exchange struct {
	auth    *Auth
	ctx     context.Context
	subject string
	raise   func(session.Session) (facts string, err error) // nil: a refresh
	grant   grant
	tokens  Tokens
}

// Decide implements sessions.Exchange.
func (t *exchange) Decide(rules rotation.Rules, row session.Session, presented rotation.Presented, now session.Millis) (
	session.Session, rotation.Outcome, error) {
	if t.raise == nil {
		after, out := rules.Refresh(row, presented, now)
		return after, out, nil
	}
	facts, err := t.raise(row)
	if err != nil {
		return row, rotation.Outcome{}, err
	}
	after, out := rules.StepUp(row, presented, facts, now)
	return after, out, nil
}

// User implements sessions.Exchange.
func (t *exchange) User() (active bool, err error) {
	err = t.auth.load(t.ctx, &t.grant, t.subject)
	if errors.Is(err, errNoUser) {
		return false, nil
	}
	return err == nil, err
}

// Sign implements sessions.Exchange.
func (t *exchange) Sign(row session.Session, out rotation.Outcome, version session.Version) (err error) {
	t.tokens, err = t.auth.issue(t.ctx, t.grant.of(row, out.Generation, version))
	return err
}

// refusal is the answer for the client. It does not say why a session was revoked, because the client may be the thief.
func refusal(out rotation.Outcome) error {
	switch out.Event {
	case rotation.EventExpired:
		return ErrExpiredToken
	case rotation.EventUser:
		return errNoUser
	case rotation.EventOlder:
		return errOlder
	case rotation.EventCrowded:
		e := unavailable(errCrowded)
		e.retryAfter = out.Wait
		return e
	}
	return ErrRevoked
}

// report says what happened to a session.
func (a *Auth) report(ctx context.Context, row session.Session, out rotation.Outcome) {
	if out.RolledBack {
		a.logger.WarnContext(ctx, "signet: the session store had lost writes; the session was carried forward",
			"session", row.ID, "user", row.UserID)
	}
	e := event.Event{Subject: row.UserID, SessionID: row.ID, Reason: string(out.Event)}
	switch out.Event {
	case rotation.EventTheft:
		e.Kind, e.Reason = event.Theft, "a superseded refresh token was used"
	case rotation.EventRecovered:
		e.Kind, e.Reason = event.Recovered, "the answer before had not arrived"
	case rotation.EventUser:
		e.Kind, e.Reason = event.Revoked, "the user is missing or disabled"
	case rotation.EventRotated, rotation.EventRepeated, rotation.EventCoalesced:
		e.Kind = event.Refreshed
	default:
		a.logger.DebugContext(ctx, "signet: a refresh was refused", "reason", string(out.Event), "session", row.ID)
		return
	}
	a.events.emit(ctx, e)
}
