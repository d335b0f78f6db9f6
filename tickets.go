package signet

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/sessions"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/session"
)

// ticketLife is how long a ticket can be used.
const ticketLife = 30 * time.Second

// errConnectionTicket is the answer to a ticket that was used, or that is older than 64 others of its session.
var errConnectionTicket = invalidToken("the ticket was used before")

// TicketHandler serves POST with an access token and answers 201 with {"ticket": ..., "expires_in": 30}. A script puts the
// ticket into the URL of a WebSocket or an EventSource, which cannot send an Authorization header; see [Auth.RequireTicket]. A
// ticket can be used once, within 30 seconds. It is not the ticket of a second step ([Error.Ticket]).
func (a *Auth) TicketHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		claims, err := a.check(r)
		if err != nil {
			return err
		}
		ticket, err := a.ticket(r.Context(), claims)
		if err != nil {
			return err
		}
		b := strictjson.AppendString([]byte(`{"ticket":`), ticket)
		b = strconv.AppendInt(append(b, `,"expires_in":`...), int64(ticketLife/time.Second), 10)
		writeBody(w, http.StatusCreated, append(b, "}\n"...))
		return nil
	}, http.MethodPost)
}

func (a *Auth) ticket(ctx context.Context, claims *Claims) (string, error) {
	if a.sessions == nil {
		return "", ErrStateless
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	number, err := a.sessions.Ticket(ctx, claims.SessionID, claims.Subject)
	switch {
	case errors.Is(err, session.ErrNotFound):
		return "", ErrRevoked
	case err != nil:
		return "", unavailable(err)
	}
	key, err := a.signingKey()
	if err != nil {
		return "", err
	}
	now := a.clock()
	g := grant{sessionID: claims.SessionID}
	g.user.ID = claims.Subject
	payload := a.commonClaims(nil, g, now, now.Add(ticketLife).Unix(), strconv.FormatInt(number, 10), ticketAudience)
	authTime, acr := authenticationOf(claims.payload)
	payload = strconv.AppendInt(append(payload, `,"auth_time":`...), authTime, 10)
	payload = strictjson.AppendString(append(payload, `,"acr":`...), acr)
	return a.sign(ctx, a.tickets, key, append(payload, '}'))
}

// RequireTicket is RequireAuth for connections whose client cannot send an Authorization header: a WebSocket, an EventSource.
// The request has the query parameter "ticket" with a ticket of [Auth.TicketHandler], which is used up by the request. The URL
// that next sees does not have the parameter; RequestURI still has it. The claims in the context are new, with the current
// roles of the user. They expire like those of a new access token, but not after the last token of the session. Without the
// parameter it is RequireAuth, also for cookies ([WithCookies]). See [SessionContext] for the end of the connection. An
// EventSource that reconnects by itself sends the same ticket again and is refused, so the script must close it and open another
// one with a new ticket (docs/browsers.md). It panics if next is nil.
func (a *Auth) RequireTicket(next http.Handler) http.Handler {
	withToken := a.require("RequireTicket", next, nil)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		tickets := r.URL.Query()["ticket"]
		if len(tickets) == 0 {
			withToken.ServeHTTP(w, r)
			return
		}
		claims, err := a.redeem(r.Context(), tickets)
		if err != nil {
			a.refuse(w, r, err)
			return
		}
		r = r.Clone(withClaims(r.Context(), claims))
		r.URL.RawQuery = withoutTicket(r.URL.RawQuery)
		if posted := r.PostForm["ticket"]; len(posted) > 0 { // a field of the body
			r.Form["ticket"] = posted
		} else {
			r.Form.Del("ticket") // if somebody has parsed the query already
		}
		next.ServeHTTP(w, r)
	})
}

// withoutTicket returns a query without the parameter "ticket". The others stay as they were sent.
func withoutTicket(query string) string {
	return strings.Join(slices.DeleteFunc(strings.Split(query, "&"), func(pair string) bool {
		name, _, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(name)
		return err == nil && name == "ticket"
	}), "&")
}

// redeem uses up a ticket. It makes an access token, which stays here, and returns its claims: so a connection has the same
// claims as any other request of the user. The ticket is not used up if the key cannot sign.
func (a *Auth) redeem(ctx context.Context, texts []string) (*Claims, error) {
	if a.sessions == nil {
		return nil, ErrStateless
	}
	if len(texts) != 1 {
		return nil, badRequest("send exactly one ticket")
	}
	ticket, err := a.read(ctx, texts[0], forConnection)
	if err != nil {
		return nil, err
	}
	if !a.clock().Before(ticket.ExpiresAt) { // it works once, so it does not matter when it was issued
		return nil, ErrExpiredToken
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	number, _ := strconv.ParseInt(ticket.ID, 10, 64) // the text is signet's own; 0 is no ticket
	var access string
	sign := func(row session.Session, version session.Version) (err error) {
		var g grant
		if err := a.load(ctx, &g, ticket.Subject); err != nil {
			return err
		}
		g = g.of(row, row.Current, version)
		g.notAfter = rotation.LiveUntil(row).Time() // the row may go then
		if !raised(ticket, row) {
			g.facts = row.Facts
		}
		access, _, _, err = a.issueAccess(ctx, g, a.clock())
		return err
	}
	err = a.sessions.Redeem(ctx, ticket.SessionID, ticket.Subject, number, sign)
	switch {
	case errors.Is(err, sessions.ErrTicket):
		return nil, errConnectionTicket
	case errors.Is(err, session.ErrNotFound):
		return nil, ErrRevoked
	case err != nil:
		return nil, storeError(err)
	}
	return a.verifyAccess(ctx, access)
}

// raised reports whether the access token, for which a ticket was made, came after the step-up of the session. A token that was
// stolen before a step-up does not get its facts by a ticket.
func raised(ticket *Claims, row session.Session) bool {
	authTime, acr := authenticationOf(ticket.payload)
	raisedTime, raisedACR := authenticationOf(row.Raised)
	return authTime == raisedTime && acr == raisedACR
}
