package signet

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/jws"
	"github.com/signet-go/signet/internal/limit"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/internal/strictjson"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

// grant is what a pair of tokens is issued for.
type grant struct {
	user       userstore.User
	claims     []byte          // from WithClaims, encoded
	facts      string          // of the session: a JSON object, or ""
	sessionID  string          // "" without sessions
	generation int64           // of the refresh token; 0 without sessions
	version    session.Version // the cut-offs that were known before the user was read
	secret     string          // the refresh token's jti
	proof      bool            // put the generation into the access token: its use proves that the refresh token has arrived
	usedAt     time.Time       // the last use of the session, by the store's clock
	notAfter   time.Time       // the end of the session
	idle       time.Duration   // the session's own lifetime of refresh tokens; 0: the service's
}

// of returns the grant for a session.
func (g grant) of(row session.Session, generation int64, version session.Version) grant {
	g.sessionID, g.generation, g.version = row.ID, generation, version
	g.usedAt, g.notAfter, g.facts = row.LastUsedAt.Time(), row.EndsAt.Time(), rotation.Facts(row)
	g.idle = time.Duration(row.Idle) * time.Millisecond
	return g
}

// load puts a user who may still use tokens into a grant, with the claims of WithClaims.
func (a *Auth) load(ctx context.Context, g *grant, userID string) (err error) {
	if g.user, err = a.activeUser(ctx, userID); err == nil {
		g.claims, err = a.customClaims(ctx, g.user)
	}
	return err
}

// signingKey is the key that signs now.
func (a *Auth) signingKey() (*keys.Key, error) {
	if key := a.keys.Current().Signing(); key != nil {
		return key, nil
	}
	return nil, unavailable(errors.New("the key source has no key that can sign"))
}

// keyReady reports whether the signing key can sign: before a code, which works only once, is used up for nothing.
func (a *Auth) keyReady(ctx context.Context) error {
	key, err := a.signingKey()
	if err != nil {
		return err
	}
	ctx, limited := limit.New(ctx, storeTimeout)
	defer limited.Release()
	if err := key.Ready(ctx); err != nil {
		return unavailable(fmt.Errorf("the signing key: %w", err))
	}
	return nil
}

// issue signs a pair. It reads no store. It fails if the key cannot sign.
func (a *Auth) issue(ctx context.Context, g grant) (Tokens, error) {
	now := a.clock()
	access, accessEnd, key, err := a.issueAccess(ctx, g, now)
	if err != nil {
		return Tokens{}, err
	}
	from := now // when the refresh token begins: a process whose clock is behind must not give out one that is over for the others
	if g.usedAt.After(now) {
		from = g.usedAt
	}
	refreshEnd := g.expiry(from, cmp.Or(g.idle, a.lifetimes.Refresh))
	var space [512]byte // append takes more where it is not enough
	payload := a.commonClaims(space[:0], g, from, refreshEnd, g.secret, refreshAudience)
	if g.sessionID != "" {
		payload = strconv.AppendInt(append(payload, `,"gen":`...), g.generation, 10)
	}
	refresh, err := a.sign(ctx, a.refresh, key, append(payload, '}'))
	if err != nil {
		return Tokens{}, err
	}
	return Tokens{AccessToken: access, RefreshToken: refresh, TokenType: "Bearer", ExpiresIn: accessEnd - now.Unix(),
		refreshIn: refreshEnd - from.Unix(), subject: g.user.ID, sessionID: g.sessionID}, nil
}

// issueAccess signs an access token, and returns its end in Unix time and the key.
func (a *Auth) issueAccess(ctx context.Context, g grant, now time.Time) (token string, end int64, key *keys.Key, err error) {
	if !canBeUserID(g.user.ID) {
		return "", 0, nil, errUserID
	}
	if key, err = a.signingKey(); err != nil {
		return "", 0, nil, err
	}
	a.noteKey(ctx, key)
	switch end = g.expiry(now, g.access(a.lifetimes.Access)); {
	case end < now.Add(-time.Minute).Unix():
		return "", 0, nil, unavailable(errAhead)
	case end <= now.Unix(): // the session ends in this second
		return "", 0, nil, ErrExpiredToken
	}
	var space [512]byte
	payload := a.commonClaims(space[:0], g, now, end, randomID(), a.audience)
	if g.sessionID != "" && g.proof && !a.refreshProof {
		payload = strconv.AppendInt(append(payload, `,"gen":`...), g.generation, 10)
	}
	if v := g.version; v != (session.Version{}) {
		payload = strconv.AppendInt(append(payload, `,"ver":[`...), v.All, 10)
		payload = append(strconv.AppendInt(append(payload, ','), v.User, 10), ']')
	}
	if len(g.user.Roles) > 0 {
		payload = strictjson.AppendStrings(append(payload, `,"roles":`...), g.user.Roles)
	}
	token, err = a.sign(ctx, a.access, key, append(append(payload, addFacts(g.claims, g.facts)...), '}'))
	return token, end, key, err
}

// sign makes a token that can be read back.
func (a *Auth) sign(ctx context.Context, w *jws.Writer, key *keys.Key, payload []byte) (string, error) {
	token, err := w.Sign(ctx, key, payload)
	if err != nil {
		if _, tooLong := errors.AsType[*jws.MalformedError](err); tooLong {
			return "", internal(fmt.Errorf("a token of type %q could not be read: %w", w.Type(), err))
		}
		return "", unavailable(err)
	}
	longest := jws.MaxToken
	if len(token) > maxCookie && callerOf(ctx).cookies {
		longest = maxCookie
	}
	if len(token) > longest {
		return "", internal(fmt.Errorf("a token of type %q has %d bytes, at most %d are allowed; use fewer claims in WithClaims, fewer audiences, or shorter ids",
			w.Type(), len(token), longest))
	}
	return token, nil
}

// errAhead is the error for a session that has ended by this machine's clock, but goes on by that of the store.
var errAhead = errors.New("this machine's clock is ahead of that of the session store by more than the rest of the session")

// noteKey emits an event if another key signs than before, or than at New. The event names no client: the client that gets the
// first token of the new key did not change the key.
func (a *Auth) noteKey(ctx context.Context, key *keys.Key) {
	before := a.signing.Load()
	if before != key && a.signing.CompareAndSwap(before, key) && !before.Equal(key) {
		a.events.emit(context.WithValue(ctx, callerKey{}, caller{}), event.Event{Kind: event.KeyRotated, Reason: key.ID()})
	}
}

// issueAlone signs a pair that belongs to no session.
func (a *Auth) issueAlone(ctx context.Context, user userstore.User) (Tokens, error) {
	ctx, limited := limit.New(ctx, storeTimeout) // for the claims and the signatures
	defer limited.Release()
	claims, err := a.customClaims(ctx, user)
	if err != nil {
		return Tokens{}, err
	}
	return a.issue(ctx, grant{user: user, claims: claims, secret: randomID()})
}

// access is the lifetime of access tokens. If the host has chosen a short time for a user who does nothing, it means them too. They
// live for a third of it, so that the refresh token is still good when a client that works has to refresh.
func (g grant) access(usual time.Duration) time.Duration {
	if g.idle != 0 {
		return min(max(g.idle/3, time.Second), usual)
	}
	return usual
}

// expiry is the Unix time at which a token ends: after its lifetime, or with its session if that is earlier.
func (g grant) expiry(now time.Time, lifetime time.Duration) int64 {
	end := now.Add(lifetime)
	if !g.notAfter.IsZero() && g.notAfter.Before(end) {
		end = g.notAfter
	}
	return end.Unix()
}

// commonClaims appends the claims that both tokens have to b, without the closing brace. Writing the JSON by hand costs
// a tenth of encoding a map, and keeps the order of the claims.
func (a *Auth) commonClaims(b []byte, g grant, now time.Time, end int64, id string, audience []string) []byte {
	b = strictjson.AppendString(append(b, `{"sub":`...), g.user.ID)
	if issuer := a.issuer; issuer != "" {
		b = strictjson.AppendString(append(b, `,"iss":`...), issuer)
	}
	switch len(audience) {
	case 0:
	case 1:
		b = strictjson.AppendString(append(b, `,"aud":`...), audience[0])
	default:
		b = strictjson.AppendStrings(append(b, `,"aud":`...), audience)
	}
	b = strconv.AppendInt(append(b, `,"iat":`...), now.Unix(), 10)
	b = strconv.AppendInt(append(b, `,"exp":`...), end, 10)
	b = strictjson.AppendString(append(b, `,"jti":`...), id)
	if g.sessionID != "" {
		b = strictjson.AppendString(append(b, `,"sid":`...), g.sessionID)
	}
	return b
}

// customClaims returns the claims of WithClaims as members of a JSON object, each with a comma before it.
func (a *Auth) customClaims(ctx context.Context, user userstore.User) ([]byte, error) {
	if a.claims == nil {
		return nil, nil
	}
	extra, err := a.claims(ctx, user)
	if err != nil {
		return nil, storeError(fmt.Errorf("WithClaims: %w", err))
	}
	return encodeClaims("WithClaims", extra, nil)
}

const randomIDLength = 22

// randomID is 128 random bits as a text.
func randomID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails: the program ends if the system has no randomness
	return base64.RawURLEncoding.EncodeToString(b[:])
}
