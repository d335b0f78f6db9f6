package signet_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// onceCodes is a second factor whose codes are numbers that each work once.
type onceCodes struct {
	mu   sync.Mutex
	next map[string]int // the next code of each user who has set the factor up
}

func (c *onceCodes) Enrolled(_ context.Context, userID string) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.next[userID]
	return ok, nil
}

func (c *onceCodes) Verify(_ context.Context, userID, code string) ([]string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if next, ok := c.next[userID]; !ok || strconv.Itoa(next) != code {
		return nil, nil
	}
	c.next[userID]++
	return []string{"otp"}, nil
}

// twoSteps is a service in which john (user 1) has set up a second factor, whose next code is 100.
func twoSteps(t testing.TB, opts ...signet.Option) *service {
	t.Helper()
	factor := &onceCodes{next: map[string]int{"1": 100}}
	return newService(t, append([]signet.Option{signet.WithLogin(signet.LoginPolicy{SecondFactor: factor, SecondStepACR: "2"})}, opts...)...)
}

const (
	loginPath      = "/auth/login"
	secondStepPath = "/auth/login/second-step"
	stepUpPath     = "/auth/step-up"
	johnsLogin     = `{"email":"john@mail.com","password":"changeme"}`
	adminsLogin    = `{"email":"admin@mail.com","password":"admin123"}`
)

// ticket logs john in up to his second step.
func (s *service) ticket(t testing.TB) string {
	t.Helper()
	got := s.do(t, "POST", loginPath, johnsLogin)
	require.Equal(t, 401, got.StatusCode, got.body)
	require.Equal(t, "second_step_required", got.json["code"])
	require.NotContains(t, got.json, "access_token")
	ticket, _ := got.json["ticket"].(string)
	require.NotEmpty(t, ticket)
	return ticket
}

func tokensOf(t testing.TB, got answer) signet.Tokens {
	t.Helper()
	require.Equal(t, 201, got.StatusCode, got.body)
	return signet.Tokens{AccessToken: got.json["access_token"].(string), RefreshToken: got.json["refresh_token"].(string)}
}

func TestASecondStep(t *testing.T) {
	s := twoSteps(t)
	require.Equal(t, 201, s.do(t, "POST", loginPath, adminsLogin).StatusCode, "who has no second factor needs none")

	ticket := s.ticket(t)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Empty(t, list, "no session exists before the second step")
	got := s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"99"}`)
	require.Equal(t, 401, got.StatusCode)
	require.Equal(t, "invalid_code", got.json["code"])

	tokens := tokensOf(t, s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"100"}`))
	claims := part(t, tokens.AccessToken, 1)
	require.Equal(t, []any{"pwd", "otp", "mfa"}, claims["amr"])
	require.Equal(t, "2", claims["acr"])
	require.EqualValues(t, s.clock.Now().Unix(), claims["auth_time"])
	require.Equal(t, 200, s.do(t, "GET", "/auth/profile", "", bearer(tokens.AccessToken)...).StatusCode)

	got = s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"101"}`)
	require.Equal(t, 401, got.StatusCode, "a ticket works once")
	require.Equal(t, "invalid_ticket", got.json["code"])

	s.clock.advance(time.Hour)
	next := tokensOf(t, s.do(t, "POST", "/auth/refresh-token", `{"refreshToken":"`+tokens.RefreshToken+`"}`))
	require.Equal(t, claims["auth_time"], part(t, next.AccessToken, 1)["auth_time"], "the facts return in each token")
	require.Equal(t, claims["amr"], part(t, next.AccessToken, 1)["amr"])
}

func TestATicketDies(t *testing.T) {
	dead := func(t *testing.T, s *service, ticket string) {
		t.Helper()
		got := s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"100"}`)
		require.Equal(t, 401, got.StatusCode)
		require.Equal(t, "invalid_ticket", got.json["code"])
	}
	t.Run("after five wrong codes", func(t *testing.T) {
		s := twoSteps(t)
		ticket := s.ticket(t)
		for range 5 {
			require.Equal(t, "invalid_code", s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"1"}`).json["code"])
		}
		dead(t, s, ticket)
	})
	t.Run("after five minutes", func(t *testing.T) {
		s := twoSteps(t)
		ticket := s.ticket(t)
		s.clock.advance(5 * time.Minute)
		dead(t, s, ticket)
	})
	t.Run("with the sessions of its user", func(t *testing.T) {
		s := twoSteps(t)
		ticket := s.ticket(t)
		require.NoError(t, s.RevokeUser(t.Context(), "1"))
		dead(t, s, ticket)
	})
	t.Run("with its user", func(t *testing.T) {
		s := twoSteps(t)
		ticket := s.ticket(t)
		john, err := s.users.FindByID(t.Context(), "1")
		require.NoError(t, err)
		john.Disabled = true
		require.NoError(t, s.users.Update(t.Context(), john))
		dead(t, s, ticket)
	})
	t.Run("and a made-up one is dead", func(t *testing.T) {
		s := twoSteps(t)
		ticket := s.ticket(t)
		for _, other := range []string{"x", ".", "a.b", ticket + "x", ticket[:len(ticket)-2], "." + ticket} {
			dead(t, s, other)
		}
		require.Equal(t, 400, s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`"}`).StatusCode)
		require.Equal(t, 400, s.do(t, "POST", secondStepPath, `{"code":"100"}`).StatusCode)
	})
}

// Of 100 requests at once with one ticket and the right code, one begins a session.
func TestATicketUsedInParallel(t *testing.T) {
	s := twoSteps(t)
	ticket := s.ticket(t)
	var wg sync.WaitGroup
	codes := make(chan int, 100)
	for range 100 {
		wg.Go(func() { codes <- s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"100"}`).StatusCode })
	}
	wg.Wait()
	close(codes)
	count := map[int]int{}
	for code := range codes {
		count[code]++
	}
	require.Equal(t, 1, count[201], "%v", count)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Len(t, list, 1)
}

// complete logs john in with both steps.
func (s *service) complete(t testing.TB, code int) answer {
	t.Helper()
	return s.do(t, "POST", secondStepPath, fmt.Sprintf(`{"ticket":"%s","code":"%d"}`, s.ticket(t), code))
}

// Right passwords and right codes delay nobody, whatever failed before.
func TestASecondStepAfterFailures(t *testing.T) {
	for _, known := range []bool{false, true} {
		s := twoSteps(t)
		code := 100
		if known {
			tokensOf(t, s.complete(t, code))
			code++
		}
		for failures := 0; failures < 14; {
			got := s.do(t, "POST", loginPath, `{"email":"john@mail.com","password":"nope"}`)
			if got.StatusCode == 429 {
				wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
				require.NoError(t, err)
				s.clock.advance(time.Duration(wait) * time.Second)
				continue
			}
			failures++
		}
		got := s.do(t, "POST", loginPath, johnsLogin)
		require.Equal(t, 429, got.StatusCode)
		wait, err := strconv.Atoi(got.Header.Get("Retry-After"))
		require.NoError(t, err)
		s.clock.advance(time.Duration(wait) * time.Second)
		tokensOf(t, s.complete(t, code))
	}
}

func TestManySecondStepsOfOnePlace(t *testing.T) {
	s := twoSteps(t)
	for i := range 100 {
		tokensOf(t, s.complete(t, 100+i))
		s.clock.advance(time.Minute)
	}
}

// A code that must wait uses no try of the ticket up, and one that nobody could check does not either.
func TestOnlyCheckedCodesAreTries(t *testing.T) {
	factor := &awayCodes{onceCodes: onceCodes{next: map[string]int{"1": 100}}}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	ticket := s.ticket(t)
	for range 9 {
		s.do(t, "POST", loginPath, `{"email":"john@mail.com","password":"nope"}`)
	}
	try := func(code string) answer {
		return s.do(t, "POST", secondStepPath, `{"ticket":"`+ticket+`","code":"`+code+`"}`)
	}
	require.Equal(t, "invalid_code", try("1").json["code"], "the tenth failure")
	for range 10 {
		require.Equal(t, 429, try("100").StatusCode)
	}
	s.clock.advance(30 * time.Second)
	factor.away = errors.New("away")
	for range 10 {
		require.Equal(t, 503, try("100").StatusCode)
	}
	factor.away = nil
	tokensOf(t, try("100"))
}

// awayCodes are codes that can be away.
type awayCodes struct {
	onceCodes
	away   error // nil: they are not
	during func()
}

func (c *awayCodes) Verify(ctx context.Context, userID, code string) ([]string, error) {
	if c.away != nil {
		return nil, c.away
	}
	if c.during != nil {
		c.during()
	}
	return c.onceCodes.Verify(ctx, userID, code)
}

// A right code counts as no failure, although a refresh beside the step-up was faster.
func TestAStepUpBesideRefreshes(t *testing.T) {
	factor := &awayCodes{onceCodes: onceCodes{next: map[string]int{"1": 100}}}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	tokens := tokensOf(t, s.complete(t, 100))
	for range 15 {
		var next signet.Tokens
		factor.during = func() {
			var err error
			next, err = s.Refresh(t.Context(), tokens.RefreshToken)
			require.NoError(t, err)
		}
		_, err := s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, strconv.Itoa(factor.next["1"]))
		require.ErrorIs(t, err, signet.ErrInvalidToken)
		tokens = next
		s.clock.advance(time.Minute)
	}
	factor.during = nil
	_, err := s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, strconv.Itoa(factor.next["1"]))
	require.NoError(t, err)
}

// A step-up ends no session whose tabs still have older tokens. A second one waits until there is room for a new generation, and
// then the same code is good. The log does not call this an error.
func TestStepUpsAfterFiveRefreshes(t *testing.T) {
	var log lines
	s := twoSteps(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	tokens := []signet.Tokens{tokensOf(t, s.complete(t, 100))}
	for range 5 {
		next, err := s.Refresh(t.Context(), tokens[len(tokens)-1].RefreshToken)
		require.NoError(t, err)
		tokens = append(tokens, next)
	}
	stepUp := func(with signet.Tokens, code string) answer {
		return s.do(t, "POST", stepUpPath, `{"refreshToken":"`+with.RefreshToken+`","code":"`+code+`"}`, bearer(with.AccessToken)...)
	}
	newest := tokensOf(t, stepUp(tokens[5], "101"))
	tokens = append(tokens, newest)
	got := stepUp(newest, "102")
	require.Equal(t, 503, got.StatusCode)
	require.Zero(t, log.count("level=ERROR"))
	require.Equal(t, "11", got.Header.Get("Retry-After"), "a window is open for 10 s, and to its last millisecond")
	for _, older := range tokens {
		_, err := s.Refresh(t.Context(), older.RefreshToken)
		require.NoError(t, err, "no window was closed")
	}
	s.clock.advance(11 * time.Second)
	raised := tokensOf(t, stepUp(newest, "102"))
	_, err := s.Refresh(t.Context(), raised.RefreshToken)
	require.NoError(t, err)
}

// A step-up waits for one window at most, also if the clock of the store was ahead and comes back.
func TestAStepUpAfterTheClockOfTheStoreWasAhead(t *testing.T) {
	ahead := 2 * time.Hour
	c := newClock()
	store := &session.Memory{Clock: func() time.Time { return c.Now().Add(ahead) }}
	s := twoSteps(t, signet.WithSessionStore(store), signet.WithClock(c.Now))
	tokens := tokensOf(t, s.complete(t, 100))
	for range 5 {
		var err error
		tokens, err = s.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
	}
	stepUp := func(code string) answer {
		return s.do(t, "POST", stepUpPath, `{"refreshToken":"`+tokens.RefreshToken+`","code":"`+code+`"}`, bearer(tokens.AccessToken)...)
	}
	tokens = tokensOf(t, stepUp("101"))
	ahead = 0
	require.Equal(t, 503, stepUp("102").StatusCode)
	c.advance(11 * time.Second)
	tokensOf(t, stepUp("102"))
}

// Logins with two right steps delay nobody, wherever they come from.
func TestManyLoginsWithTwoSteps(t *testing.T) {
	for name, address := range map[string]func(i, step int) string{
		"none":          func(int, int) string { return "" },
		"IPv4":          func(i, _ int) string { return fmt.Sprint("10.0.0.", i+1) },
		"another port":  func(i, step int) string { return fmt.Sprintf("10.0.0.%d:%d", i+1, step) },
		"of one /64":    func(i, step int) string { return fmt.Sprintf("2001:db8:0:%x::%d", i+1, step) },
		"IPv4 in IPv6":  func(i, step int) string { return fmt.Sprintf("%s10.0.0.%d", []string{"::ffff:", ""}[step-1], i+1) },
		"of no network": func(i, _ int) string { return fmt.Sprint("client ", i) },
	} {
		s, logins := twoSteps(t), 60
		if name == "none" {
			logins = 300
		}
		for i := range logins {
			_, err := s.Login(signet.ContextWithClient(t.Context(), "", address(i, 1)), "john@mail.com", "changeme")
			require.ErrorIs(t, err, signet.ErrSecondStepRequired, "%s: login %d", name, i)
			var needed *signet.Error
			require.ErrorAs(t, err, &needed)
			_, err = s.SecondStep(signet.ContextWithClient(t.Context(), "", address(i, 2)), needed.Ticket(), strconv.Itoa(100+i))
			require.NoError(t, err, "%s: login %d", name, i)
		}
	}
}

// A login that waits for its code is not a session yet, so it cannot be the session that is kept.
func TestALoginThatWaitsIsNotKept(t *testing.T) {
	s := twoSteps(t)
	for i, end := range []func(keep string) error{
		func(keep string) error { return s.RevokeOtherSessions(t.Context(), "1", keep) },
		func(keep string) error { return s.ChangePassword(t.Context(), "1", "changeme", "changeme too", keep) },
	} {
		ticket := s.ticket(t)
		id, _, _ := strings.Cut(ticket, ".")
		require.NoError(t, end(id))
		_, err := s.SecondStep(t.Context(), ticket, strconv.Itoa(100+i))
		require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	}
}

// Who knows only the password ends no session.
func TestHalfALoginEndsNoSession(t *testing.T) {
	store := &session.Memory{MaxPerUser: 1}
	s := twoSteps(t, signet.WithSessionStore(store))
	first := tokensOf(t, s.complete(t, 100))
	for range 15 {
		s.ticket(t)
	}
	first, err := s.Refresh(t.Context(), first.RefreshToken)
	require.NoError(t, err)
	second := tokensOf(t, s.complete(t, 101))
	_, err = s.Refresh(t.Context(), first.RefreshToken)
	require.ErrorIs(t, err, signet.ErrRevoked, "the second step makes a session, and the user may have one")
	_, err = s.Refresh(t.Context(), second.RefreshToken)
	require.NoError(t, err)
	sessions := func() int {
		rows, _, err := store.List(t.Context(), "1", 100)
		require.NoError(t, err)
		return len(slices.DeleteFunc(rows, func(row session.Session) bool { return row.PendingUntil != 0 }))
	}
	require.Equal(t, 1, sessions())
}

// What comes behind RequireTicket sees the query as it was sent, without the ticket.
func TestTheQueryBesideATicket(t *testing.T) {
	s := newService(t)
	access := tokensOf(t, s.do(t, "POST", loginPath, johnsLogin)).AccessToken
	show := s.RequireTicket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s|%s", r.URL.RawQuery, r.FormValue("ticket"), signet.Subject(r.Context()))
	}))
	for query, want := range map[string]string{
		"ticket=T":                            "||1",
		"z=1;2&b=2&a=1&ticket=T&filter=a%zz&": "z=1;2&b=2&a=1&filter=a%zz&||1",
		"%74icket=T&ticketx=1":                "ticketx=1||1",
	} {
		got := s.do(t, "POST", "/auth/ticket", "", bearer(access)...)
		r := httptest.NewRequest("GET", "/?"+strings.Replace(query, "T", got.json["ticket"].(string), 1), nil)
		_ = r.ParseForm() // an outer middleware may do that
		w := httptest.NewRecorder()
		show.ServeHTTP(w, r)
		require.Equal(t, want, w.Body.String(), query)
	}
}

// failingKMS is a key that can be out of reach. It counts the signatures.
type failingKMS struct {
	crypto.Signer
	away  atomic.Bool
	signs atomic.Int64
}

func (k *failingKMS) SignContext(_ context.Context, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if k.signs.Add(1); k.away.Load() {
		return nil, errors.New("no network")
	}
	return k.Sign(nil, digest, opts)
}

// A ticket is used up only when the key has signed, which it does once. The claims do not outlive the session.
func TestATicketAndTheKey(t *testing.T) {
	_, private, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	kms := &failingKMS{Signer: private}
	c := newClock()
	auth, err := signet.New(newUsers(t), keys.Private(kms), signet.WithClock(c.Now), signet.WithPasswordHasher(cheap), quiet,
		signet.WithLifetimes(signet.Lifetimes{Access: 20 * time.Hour, Refresh: 10 * time.Hour}))
	require.NoError(t, err)
	defer auth.Close()
	tokens, err := auth.Login(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	end := c.Now().Add(20 * time.Hour)
	c.advance(19 * time.Hour)
	r := httptest.NewRequest("POST", "/ticket", nil)
	r.Header.Set("Authorization", "Bearer "+tokens.AccessToken)
	w := httptest.NewRecorder()
	auth.TicketHandler().ServeHTTP(w, r)
	require.Equal(t, 201, w.Code)
	var made struct{ Ticket string }
	require.NoError(t, json.Unmarshal(w.Body.Bytes(), &made))
	var claims *signet.Claims
	connect := auth.RequireTicket(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { claims, _ = signet.ClaimsFromContext(r.Context()) }))
	kms.away.Store(true)
	for _, want := range []int{503, 503, 200, 401} {
		kms.away.Store(want == 503)
		before := kms.signs.Load()
		w := httptest.NewRecorder()
		connect.ServeHTTP(w, httptest.NewRequest("GET", "/?ticket="+made.Ticket, nil))
		require.Equal(t, want, w.Code, w.Body)
		require.LessOrEqual(t, kms.signs.Load()-before, int64(1))
	}
	require.False(t, claims.ExpiresAt.After(end.Add(time.Minute)), "%s, and the session until %s", claims.ExpiresAt, end)
}

// The ticket of an access token that came before a step-up is not raised.
func TestATicketIsNotRaised(t *testing.T) {
	s := twoSteps(t)
	levels := s.RequireTicket(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, _ := signet.ClaimsFromContext(r.Context())
		facts, err := signet.CustomClaims[struct {
			AuthTime int64  `json:"auth_time"`
			ACR      string `json:"acr"`
		}](claims)
		fmt.Fprintf(w, "%d%s %v", facts.AuthTime-s.clock.Now().Unix(), facts.ACR, err)
	}))
	open := func(ticket string) string {
		w := httptest.NewRecorder()
		levels.ServeHTTP(w, httptest.NewRequest("GET", "/?ticket="+ticket, nil))
		return w.Body.String()
	}
	ticket := func(tokens signet.Tokens) string {
		got := s.do(t, "POST", "/auth/ticket", "", bearer(tokens.AccessToken)...)
		require.Equal(t, 201, got.StatusCode)
		return got.json["ticket"].(string)
	}
	old := tokensOf(t, s.do(t, "POST", loginPath, adminsLogin))
	s.clock.advance(time.Minute)
	before := ticket(old)
	step := func(tokens signet.Tokens) signet.Tokens {
		return tokensOf(t, s.do(t, "POST", stepUpPath, `{"refreshToken":"`+tokens.RefreshToken+`","password":"admin123"}`, bearer(tokens.AccessToken)...))
	}
	raised := step(old)
	require.Equal(t, "-60 <nil>", open(before))
	require.Equal(t, "-60 <nil>", open(ticket(old)))
	require.Equal(t, "0 <nil>", open(ticket(raised)))
	s.clock.advance(time.Minute)
	again := step(raised)
	require.Equal(t, "-120 <nil>", open(ticket(raised)), "it is neither the new level nor the one between")
	require.Equal(t, "0 <nil>", open(ticket(again)))
}

// A login whose facts are accepted does not fail at its second step.
func TestTheSecondStepFindsRoomForItsFacts(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}, SecondStepACR: strings.Repeat("a", 128),
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			return signet.LoginDecision{Facts: map[string]any{"tenant": strings.Repeat("x", 960)}}, nil
		}}))
	tokensOf(t, s.complete(t, 100))
	_, err := signet.New(userstore.NewMemory(), keys.Secret(secret),
		signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}, SecondStepACR: strings.Repeat("a", 129)}))
	require.ErrorContains(t, err, "SecondStepACR has more than 128 bytes")
}

// A newer process may know facts that this one does not let a host choose. This one keeps them.
func TestStepsKeepTheFactsOfANewerVersion(t *testing.T) {
	store := &session.Memory{}
	s := newService(t, signet.WithSessionStore(store), signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}}))
	const facts = `{"auth_time":1,"client_id":"phone","name":"<&>"}`
	newer := func(id string) {
		require.NoError(t, store.Update(t.Context(), id, func(row session.Session, _ session.Moment) (session.Session, error) {
			row.Facts = facts
			return row, nil
		}))
	}
	ticket := s.do(t, "POST", loginPath, johnsLogin).json["ticket"].(string)
	id, _, _ := strings.Cut(ticket, ".")
	newer(id)
	tokens, err := s.SecondStep(t.Context(), ticket, "100")
	require.NoError(t, err)
	check := func() {
		claims := part(t, tokens.AccessToken, 1)
		require.Equal(t, []any{"phone", "<&>", float64(s.clock.Now().Unix())}, []any{claims["client_id"], claims["name"], claims["auth_time"]})
	}
	check()
	newer(part(t, tokens.AccessToken, 1)["sid"].(string))
	s.clock.advance(time.Minute)
	tokens, err = s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "101")
	require.NoError(t, err)
	check()
}

// awaySigner is a KMS that can be away.
type awaySigner struct {
	crypto.Signer
	away atomic.Bool
}

func (s *awaySigner) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	if s.away.Load() {
		return nil, errors.New("the KMS is away")
	}
	return s.Signer.Sign(random, digest, opts)
}

// While the key cannot sign, a code is not used up for nothing, once that is known. The service is not ready.
func TestCodesWhileTheKeyIsAway(t *testing.T) {
	signer := &awaySigner{Signer: p256(t)}
	auth, err := signet.New(newUsers(t), keys.Private(signer), signet.WithPasswordHasher(cheap), signet.WithLogger(slog.New(slog.DiscardHandler)),
		signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}}))
	require.NoError(t, err)
	defer auth.Close()
	ticket := func() string {
		_, err := auth.Login(t.Context(), "john@mail.com", "changeme")
		var asked *signet.Error
		require.ErrorAs(t, err, &asked)
		return asked.Ticket()
	}
	first := ticket()
	signer.away.Store(true)
	require.NoError(t, auth.Ready(t.Context()), "nobody knows yet")
	_, err = auth.SecondStep(t.Context(), first, "100")
	require.ErrorIs(t, err, signet.ErrUnavailable)
	require.ErrorContains(t, auth.Ready(t.Context()), "the KMS is away")
	second := ticket()
	for range 7 {
		_, err = auth.SecondStep(t.Context(), second, "101")
		require.ErrorIs(t, err, signet.ErrUnavailable)
	}
	signer.away.Store(false)
	tokens, err := auth.SecondStep(t.Context(), second, "101")
	require.NoError(t, err)
	require.NoError(t, auth.Ready(t.Context()))

	signer.away.Store(true)
	_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrUnavailable)
	_, err = auth.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "102")
	require.ErrorIs(t, err, signet.ErrUnavailable)
	signer.away.Store(false)
	_, err = auth.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "102")
	require.NoError(t, err)
}

// enrolling is a factor that its user sets up between two questions of a login.
type enrolling struct {
	onceCodes
	asked atomic.Int64
}

func (f *enrolling) Enrolled(context.Context, string) (bool, error) { return f.asked.Add(1) > 1, nil }

// A login that began before its user had a second factor, and ends after that, gets no tokens without a code.
func TestALoginBesideTheSetUpOfAFactor(t *testing.T) {
	factor := &enrolling{}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	_, err := s.Login(t.Context(), "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	list, err := s.Sessions(t.Context(), "1")
	require.NoError(t, err)
	require.Empty(t, list)
	_, err = s.Login(t.Context(), "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrSecondStepRequired)
}

// A short time without use ends the access token too.
func TestAShortIdleTimeLimitsAccessTokens(t *testing.T) {
	s := newService(t)
	for idle, want := range map[time.Duration]int64{0: 20 * 24 * 3600, time.Minute: 20, 2 * time.Second: 1, 365 * 24 * time.Hour: 20 * 24 * 3600} {
		tokens, err := s.IssueFor(t.Context(), userstore.User{ID: "1"}, signet.LoginDecision{Idle: idle})
		require.NoError(t, err)
		require.Equal(t, want, tokens.ExpiresIn)
		tokens, err = s.Refresh(t.Context(), tokens.RefreshToken)
		require.NoError(t, err)
		require.Equal(t, want, tokens.ExpiresIn)
	}
	// Who works stays signed in, also with a client that refreshes only when it must.
	tokens, err := s.IssueFor(t.Context(), userstore.User{ID: "1"}, signet.LoginDecision{Idle: 15 * time.Minute})
	require.NoError(t, err)
	for range 100 {
		s.clock.advance(30 * time.Second)
		if _, err := s.Verify(t.Context(), tokens.AccessToken); err != nil {
			require.ErrorIs(t, err, signet.ErrExpiredToken)
			tokens, err = s.Refresh(t.Context(), tokens.RefreshToken)
			require.NoError(t, err)
		}
	}
	s.clock.advance(15 * time.Minute)
	_, err = s.Refresh(t.Context(), tokens.RefreshToken)
	require.ErrorIs(t, err, signet.ErrExpiredToken)
}

func TestTheHostDecidesAboutALogin(t *testing.T) {
	policy := signet.LoginPolicy{Decide: func(_ context.Context, user userstore.User, remember bool) (signet.LoginDecision, error) {
		if user.ID == "3" {
			return signet.LoginDecision{}, signet.NewError(403, "address_not_confirmed", "confirm your e-mail address first")
		}
		d := signet.LoginDecision{Facts: map[string]any{"tenant": "acme", "act": map[string]string{"sub": "support"}}}
		if remember {
			d.Idle, d.Absolute = 30*24*time.Hour, 60*24*time.Hour
		}
		return d, nil
	}}
	s := newService(t, signet.WithLogin(policy), signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
		return map[string]any{"tenant": "of WithClaims", "plan": "free"}, nil
	}))
	got := s.do(t, "POST", loginPath, adminsLogin)
	require.Equal(t, 403, got.StatusCode)
	require.Equal(t, "address_not_confirmed", got.json["code"])
	list, err := s.Sessions(t.Context(), "3")
	require.NoError(t, err)
	require.Empty(t, list)

	tokens := tokensOf(t, s.do(t, "POST", loginPath, johnsLogin))
	claims := part(t, tokens.AccessToken, 1)
	require.Equal(t, "acme", claims["tenant"], "the fact is used")
	require.Equal(t, "free", claims["plan"])
	require.Equal(t, map[string]any{"sub": "support"}, claims["act"])
	require.Equal(t, []any{"pwd"}, claims["amr"])
	refresh := part(t, tokens.RefreshToken, 1)
	require.EqualValues(t, 36000, refresh["exp"].(float64)-refresh["iat"].(float64))

	for _, yes := range []string{`true`, `"true"`, `"on"`, `1`} {
		tokens = tokensOf(t, s.do(t, "POST", loginPath, `{"email":"john@mail.com","password":"changeme","remember":`+yes+`}`))
		refresh = part(t, tokens.RefreshToken, 1)
		require.EqualValues(t, 30*24*3600, refresh["exp"].(float64)-refresh["iat"].(float64), "remember: %s", yes)
	}
	s.clock.advance(29 * 24 * time.Hour)
	tokens = tokensOf(t, s.do(t, "POST", "/auth/refresh-token", `{"refreshToken":"`+tokens.RefreshToken+`"}`))
	s.clock.advance(29 * 24 * time.Hour)
	tokens = tokensOf(t, s.do(t, "POST", "/auth/refresh-token", `{"refreshToken":"`+tokens.RefreshToken+`"}`))
	refresh = part(t, tokens.RefreshToken, 1)
	require.EqualValues(t, 2*24*3600, refresh["exp"].(float64)-refresh["iat"].(float64), "the session ends after 60 days")
	for _, no := range []string{`false`, `null`, `{}`, `[1]`, `"no"`, `0`} {
		tokens = tokensOf(t, s.do(t, "POST", loginPath, `{"email":"john@mail.com","password":"changeme","remember":`+no+`}`))
		refresh = part(t, tokens.RefreshToken, 1)
		require.EqualValues(t, 36000, refresh["exp"].(float64)-refresh["iat"].(float64), "remember: %s", no)
	}
}

func TestBadDecisions(t *testing.T) {
	for name, decision := range map[string]signet.LoginDecision{
		"a reserved name":      {Facts: map[string]any{"sub": "2"}},
		"in another case":      {Facts: map[string]any{"AMR": []string{"x"}}},
		"too long":             {Facts: map[string]any{"x": string(make([]byte, 1100))}},
		"cannot be encoded":    {Facts: map[string]any{"x": func() {}}},
		"a negative time":      {Idle: -time.Second},
		"no whole seconds":     {Absolute: 1500 * time.Millisecond},
		"no second factor":     {SecondStep: true},
		"longer than 10 years": {Idle: 11 * 365 * 24 * time.Hour},
	} {
		s := newService(t, signet.WithLogin(signet.LoginPolicy{
			Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) { return decision, nil }}))
		require.Equal(t, 500, s.do(t, "POST", loginPath, johnsLogin).StatusCode, name)
	}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			return signet.LoginDecision{}, context.DeadlineExceeded
		}}))
	require.Equal(t, 503, s.do(t, "POST", loginPath, johnsLogin).StatusCode)
}

// A password that was changed between Authenticate and IssueFor opens no session.
func TestIssueForAfterAPasswordChange(t *testing.T) {
	s := newService(t)
	user, err := s.Authenticate(t.Context(), "john@mail.com", "changeme")
	require.NoError(t, err)
	_, err = s.IssueFor(t.Context(), user)
	require.NoError(t, err)
	require.NoError(t, s.SetPassword(t.Context(), "1", "a new password"))
	_, err = s.IssueFor(t.Context(), user)
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	_, err = s.IssueFor(t.Context(), userstore.User{ID: "1"})
	require.NoError(t, err, "the host knows the user by other means")
}

func TestIssueForWithADecision(t *testing.T) {
	s := newService(t)
	john, err := s.users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	tokens, err := s.IssueFor(t.Context(), john, signet.LoginDecision{Facts: map[string]any{"amr": []string{"fed"}, "tenant": "a"}, Idle: time.Hour})
	require.NoError(t, err)
	claims := part(t, tokens.AccessToken, 1)
	require.Equal(t, []any{"fed"}, claims["amr"])
	require.Equal(t, "a", claims["tenant"])
	tokens, err = s.IssueFor(t.Context(), john)
	require.NoError(t, err)
	require.NotContains(t, part(t, tokens.AccessToken, 1), "auth_time", "nobody asked for it")
	_, err = newService(t, signet.WithoutSessions()).IssueFor(t.Context(), john, signet.LoginDecision{Facts: map[string]any{"tenant": "a"}})
	require.ErrorIs(t, err, signet.ErrStateless, "no session keeps it")
}

// A password does not renew the level of a factor that was removed.
func TestAStepUpByPasswordHasNoOtherLevel(t *testing.T) {
	factor := &onceCodes{next: map[string]int{"1": 100}}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor, SecondStepACR: "2"}))
	first := tokensOf(t, s.do(t, "POST", secondStepPath, `{"ticket":"`+s.ticket(t)+`","code":"100"}`))
	require.Equal(t, "2", part(t, first.AccessToken, 1)["acr"])
	delete(factor.next, "1")
	s.clock.advance(time.Hour)
	second := tokensOf(t, s.do(t, "POST", stepUpPath, `{"refreshToken":"`+first.RefreshToken+`","password":"changeme"}`, bearer(first.AccessToken)...))
	claims := part(t, second.AccessToken, 1)
	require.EqualValues(t, s.clock.Now().Unix(), claims["auth_time"])
	require.NotContains(t, claims, "acr")

}

// A step-up gives a new time to the level of the host only if it repeats how the session began.
func TestAStepUpAndTheHostsOwnLevel(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}}))
	code := 100
	for _, tc := range []struct {
		began      any
		byPassword []any // the methods after a step-up by the password; with "acr" if the level has stayed
		byCode     []any
	}{
		{nil, []any{"pwd"}, []any{"otp", "mfa"}},
		{[]string{}, []any{"pwd"}, []any{"otp", "mfa"}},
		{[]string{"pwd"}, []any{"pwd", "acr"}, []any{"pwd", "otp", "mfa", "acr"}},
		{[]string{"hwk"}, []any{"pwd"}, []any{"otp", "mfa"}},
		{[]string{"pwd", "hwk"}, []any{"pwd"}, []any{"otp", "mfa"}},
		{[]string{"pwd", "otp"}, []any{"pwd"}, []any{"pwd", "otp", "mfa", "acr"}},
		{[]string{"otp", "mfa"}, []any{"pwd"}, []any{"otp", "mfa", "acr"}},
	} {
		for id, want := range map[string][]any{"3": tc.byPassword, "1": tc.byCode} {
			answer := "admin123"
			if id == "1" {
				answer = strconv.Itoa(code)
				code++
			}
			facts := map[string]any{"acr": "phr", "auth_time": 1}
			if tc.began != nil {
				facts["amr"] = tc.began
			}
			tokens, err := s.IssueFor(t.Context(), userstore.User{ID: id}, signet.LoginDecision{Facts: facts})
			require.NoError(t, err)
			tokens, err = s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, answer)
			require.NoError(t, err)
			claims := part(t, tokens.AccessToken, 1)
			got := claims["amr"].([]any)
			if claims["acr"] == "phr" {
				got = append(got, "acr")
			}
			require.Equal(t, want, got, "%v, user %s", tc.began, id)
			require.EqualValues(t, s.clock.Now().Unix(), claims["auth_time"])
		}
	}
}

// The second step is a part of the login, whose level the host has chosen.
func TestASecondStepKeepsTheHostsOwnLevel(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}},
		Decide: func(context.Context, userstore.User, bool) (signet.LoginDecision, error) {
			return signet.LoginDecision{Facts: map[string]any{"acr": "silver"}}, nil
		}}))
	both := tokensOf(t, s.do(t, "POST", secondStepPath, `{"ticket":"`+s.ticket(t)+`","code":"100"}`))
	require.Equal(t, "silver", part(t, both.AccessToken, 1)["acr"])
	both, err := s.StepUp(t.Context(), both.AccessToken, both.RefreshToken, "101")
	require.NoError(t, err)
	require.Equal(t, "silver", part(t, both.AccessToken, 1)["acr"])
}

// Strangers who guess the password cannot keep a signed-in user from a step-up or from a new password, wherever the user is.
func TestStrangersDoNotCloseAStepUp(t *testing.T) {
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}))
	from := func(address string) context.Context { return signet.ContextWithClient(t.Context(), "phone", address) }
	tokens, err := s.Login(from("198.51.100.1"), "john@mail.com", "changeme")
	require.NoError(t, err)
	other, err := s.IssueFor(t.Context(), userstore.User{ID: "3"})
	require.NoError(t, err)
	ended, err := s.IssueFor(t.Context(), userstore.User{ID: "1"})
	require.NoError(t, err)
	require.NoError(t, s.Logout(t.Context(), ended.RefreshToken))
	for i := range 10 {
		_, err := s.Login(from(fmt.Sprintf("203.0.113.%d", i)), "john@mail.com", "wrong")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	}
	roaming := from("192.0.2.7")
	_, err = s.Login(roaming, "john@mail.com", "changeme")
	require.ErrorIs(t, err, signet.ErrTooManyAttempts)
	tokens, err = s.StepUp(roaming, tokens.AccessToken, tokens.RefreshToken, "changeme")
	require.NoError(t, err)
	sid := func(tokens signet.Tokens) string { return part(t, tokens.AccessToken, 1)["sid"].(string) }
	for _, session := range []string{"", "garbage", sid(other), sid(ended)} {
		err = s.ChangePassword(roaming, "1", "changeme", "changeme2", session)
		require.ErrorIs(t, err, signet.ErrTooManyAttempts, session)
	}
	require.NoError(t, s.ChangePassword(roaming, "1", "changeme", "changeme2", sid(tokens)))
	_, err = s.Verify(t.Context(), tokens.AccessToken)
	require.NoError(t, err)
}

// A wrong answer has one event: that of a password, or that of a code.
func TestAWrongStepUpHasOneEvent(t *testing.T) {
	got := &record{}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{next: map[string]int{"1": 100}}}), signet.WithEvents(got.add))
	for id, kinds := range map[string][]event.Kind{"1": {event.SecondStepFailed}, "3": {event.LoginFailed}} {
		tokens, err := s.IssueFor(t.Context(), userstore.User{ID: id})
		require.NoError(t, err)
		_, err = s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "wrong")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials)
		require.NoError(t, s.UserChanged(t.Context(), id))
		got.requireKinds(t, append(append([]event.Kind{event.LoginOK}, kinds...), event.UserChanged)...)
	}
}

// brittleFactor panics, or returns the same slice to everybody.
type brittleFactor struct {
	broken atomic.Bool
	amr    []string
}

func (f *brittleFactor) Enrolled(context.Context, string) (bool, error) {
	if f.broken.Load() {
		panic("a fault of the host")
	}
	return true, nil
}

func (f *brittleFactor) Verify(context.Context, string, string) ([]string, error) { return f.amr, nil }

// A second factor may return one slice to all calls. Under the race detector this test shows a write into it.
func TestAFactorThatReturnsTheSameSlice(t *testing.T) {
	factor := &brittleFactor{amr: make([]string, 1, 8)}
	factor.amr[0] = "otp"
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
	var all sync.WaitGroup
	for range 8 {
		tokens, err := s.IssueFor(t.Context(), userstore.User{ID: "1"})
		require.NoError(t, err)
		all.Go(func() {
			_, err := s.StepUp(t.Context(), tokens.AccessToken, tokens.RefreshToken, "1")
			assert.NoError(t, err)
		})
	}
	all.Wait()
	require.Equal(t, make([]string, 7), factor.amr[1:8])
}

// panickingThrottle is a store whose calls panic.
type panickingThrottle struct {
	throttle.Memory
	broken atomic.Bool
	good   atomic.Int32 // how many calls are good before one panics
}

func (p *panickingThrottle) Update(ctx context.Context, key throttle.Key,
	change func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	if p.broken.Load() && p.good.Add(-1) < 0 {
		panic("a fault of the store")
	}
	return p.Memory.Update(ctx, key, change)
}

// Code of the host that panics keeps no place of an attempt: net/http recovers, and others go on.
func TestAPanicKeepsNoPlace(t *testing.T) {
	factor, store := &brittleFactor{}, &panickingThrottle{}
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: factor, Throttle: throttle.New(store, throttle.Config{})}))
	const password = "changeme"
	for what, tc := range map[string]struct {
		broken *atomic.Bool
		call   func() error
	}{
		"the factor at a new password": {&factor.broken, func() error {
			return s.ChangePassword(t.Context(), "1", password, "a new password", "")
		}},
		"the factor at a login": {&factor.broken, func() error { _, err := s.Login(t.Context(), "john@mail.com", password); return err }},
		"the store of the throttle": {&store.broken, func() error {
			_, err := s.Authenticate(t.Context(), "john@mail.com", password)
			return err
		}},
	} {
		t.Run(what, func(t *testing.T) {
			tc.broken.Store(true)
			for range 4 {
				require.Panics(t, func() { _ = tc.call() })
			}
			tc.broken.Store(false)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := s.Authenticate(ctx, "john@mail.com", password)
			require.NoError(t, err)
		})
	}
}

// The same at each call of a login: it counts the attempt, says that the password was right, and ends the attempt.
func TestAPanicOfTheThrottleInTheMiddle(t *testing.T) {
	for good := range int32(5) {
		store := &panickingThrottle{}
		s := newService(t, signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(store, throttle.Config{})}))
		ctx := signet.ContextWithClient(t.Context(), "", "192.0.2.1")
		store.broken.Store(true)
		for range 4 {
			store.good.Store(good)
			require.Panics(t, func() { s.Login(ctx, "john@mail.com", "changeme") }, good)
		}
		store.broken.Store(false)
		_, err := s.Login(ctx, "john@mail.com", "changeme")
		require.NoError(t, err, good)
	}
}

func TestAStepUp(t *testing.T) {
	s := twoSteps(t)
	recent := s.RequireRecentAuth(time.Minute, "2")(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	ask := func(token string) (int, string) {
		got := serve(t, recent, token)
		return got.Code, got.Header().Get("WWW-Authenticate")
	}
	first := tokensOf(t, s.do(t, "POST", secondStepPath, `{"ticket":"`+s.ticket(t)+`","code":"100"}`))
	status, _ := ask(first.AccessToken)
	require.Equal(t, 200, status)
	s.clock.advance(2 * time.Minute)
	status, challenge := ask(first.AccessToken)
	require.Equal(t, 401, status)
	require.Equal(t, `Bearer realm="api", error="insufficient_user_authentication", `+
		`error_description="a different authentication level is required", acr_values="2", max_age="60"`, challenge)

	body := func(tokens signet.Tokens, code string) string {
		return `{"refreshToken":"` + tokens.RefreshToken + `","code":"` + code + `"}`
	}
	got := s.do(t, "POST", stepUpPath, body(first, "7"), bearer(first.AccessToken)...)
	require.Equal(t, "invalid_code", got.json["code"])
	got = s.do(t, "POST", stepUpPath, body(first, "changeme"), bearer(first.AccessToken)...)
	require.Equal(t, "invalid_code", got.json["code"], "a password is no second factor")
	raised := tokensOf(t, s.do(t, "POST", stepUpPath, body(first, "101"), bearer(first.AccessToken)...))
	status, _ = ask(raised.AccessToken)
	require.Equal(t, 200, status)
	require.Equal(t, part(t, first.AccessToken, 1)["sid"], part(t, raised.AccessToken, 1)["sid"], "the session keeps its id")

	got = s.do(t, "POST", stepUpPath, body(first, "102"), bearer(raised.AccessToken)...)
	require.Equal(t, "invalid_token", got.json["code"], "the older refresh token cannot step up")
	thief := tokensOf(t, s.do(t, "POST", "/auth/refresh-token", `{"refreshToken":"`+first.RefreshToken+`"}`))
	status, _ = ask(thief.AccessToken)
	require.Equal(t, 401, status, "nor does it get raised tokens")
	got = s.do(t, "POST", stepUpPath, body(thief, "102"), bearer(thief.AccessToken)...)
	require.Equal(t, 201, got.StatusCode, "the refusal did not use the code up")

	admin := tokensOf(t, s.do(t, "POST", loginPath, adminsLogin))
	got = s.do(t, "POST", stepUpPath, body(first, "103"), bearer(admin.AccessToken)...)
	require.Equal(t, "invalid_token", got.json["code"], "tokens of two sessions")
	s.clock.advance(time.Hour)
	ownPassword := s.do(t, "POST", stepUpPath, `{"refreshToken":"`+admin.RefreshToken+`","password":"admin123"}`, bearer(admin.AccessToken)...)
	again := tokensOf(t, ownPassword)
	require.EqualValues(t, s.clock.Now().Unix(), part(t, again.AccessToken, 1)["auth_time"])
	require.NotContains(t, part(t, again.AccessToken, 1), "acr")
	got = s.do(t, "POST", stepUpPath, `{"refreshToken":"`+again.RefreshToken+`","password":"wrong"}`, bearer(again.AccessToken)...)
	require.Equal(t, "invalid_credentials", got.json["code"])
}

func TestRequireRecentAuth(t *testing.T) {
	s := newService(t)
	ok := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	require.Panics(t, func() { s.RequireRecentAuth(0) })
	require.Panics(t, func() { s.RequireRecentAuth(-time.Second, "1") })
	require.Panics(t, func() { s.RequireRecentAuth(time.Second / 2) })
	for _, acr := range []string{"", "a b", `a"`, `a\`, "a\n", "é"} {
		require.Panics(t, func() { s.RequireRecentAuth(0, "1", acr) }, "%q", acr)
	}
	john, err := s.users.FindByID(t.Context(), "1")
	require.NoError(t, err)
	now := s.clock.Now().Unix()
	for name, tc := range map[string]struct {
		facts map[string]any
		acr   []string
		age   time.Duration
		want  int
	}{
		"none":                       {nil, nil, time.Hour, 401},
		"recent":                     {map[string]any{"auth_time": now - 3600}, nil, time.Hour, 200},
		"old":                        {map[string]any{"auth_time": now - 3601}, nil, time.Hour, 401},
		"a little ahead":             {map[string]any{"auth_time": now + 30}, nil, time.Hour, 200},
		"far ahead":                  {map[string]any{"auth_time": now + 31}, nil, time.Hour, 401},
		"acr":                        {map[string]any{"acr": "b"}, []string{"a", "b"}, 0, 200},
		"another acr":                {map[string]any{"acr": "c"}, []string{"a", "b"}, 0, 401},
		"no acr":                     {map[string]any{"acr": nil}, []string{"a"}, 0, 401},
		"somebody acts for the user": {map[string]any{"act": map[string]any{"sub": "7"}}, nil, time.Hour, 401},
	} {
		var decisions []signet.LoginDecision
		if tc.facts != nil {
			decisions = append(decisions, signet.LoginDecision{Facts: tc.facts})
		}
		tokens, err := s.IssueFor(t.Context(), john, decisions...)
		require.NoError(t, err)
		require.Equal(t, tc.want, serve(t, s.RequireRecentAuth(tc.age, tc.acr...)(ok), tokens.AccessToken).Code, name)
	}
	for want, facts := range map[string]map[string]any{
		`"auth_time" must be`:                   {"auth_time": time.Now()},
		`"auth_time" must be a time in seconds`: {"auth_time": -1},
		`"acr" must be`:                         {"acr": 1},
		`"amr" must be an array of strings`:     {"amr": "pwd"},
		`"amr" must be`:                         {"amr": []int{1}},
		`"act" must be an object`:               {"act": "7"},
	} {
		_, err := s.IssueFor(t.Context(), john, signet.LoginDecision{Facts: facts})
		require.ErrorContains(t, err, "LoginDecision.Facts")
		require.ErrorContains(t, err, want)
	}
	tokens, err := s.IssueFor(t.Context(), john)
	require.NoError(t, err)
	got := serve(t, s.RequireRecentAuth(5*time.Second)(ok), tokens.AccessToken)
	require.Equal(t, `Bearer realm="api", error="insufficient_user_authentication", `+
		`error_description="more recent authentication is required", max_age="5"`, got.Header().Get("WWW-Authenticate"))
}

func TestRoutesOfTheSteps(t *testing.T) {
	s := newService(t)
	require.Equal(t, 404, s.do(t, "POST", secondStepPath, `{}`).StatusCode)
	require.Equal(t, 404, s.do(t, "POST", stepUpPath, `{}`).StatusCode)
	_, err := s.SecondStep(t.Context(), "a.b", "1")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	require.ErrorContains(t, err, "ticket")
	_, err = newService(t, signet.WithoutSessions()).SecondStep(t.Context(), "a.b", "1")
	require.ErrorIs(t, err, signet.ErrStateless)
	_, err = signet.New(userstore.NewMemory(), keys.Secret(secret), signet.WithoutSessions(), signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}))
	require.ErrorContains(t, err, "WithLogin")
	_, err = signet.New(userstore.NewMemory(), keys.Secret(secret), signet.WithLogin(signet.LoginPolicy{SecondFactor: (*onceCodes)(nil), ParallelHashes: -1, SecondStepACR: "x"}))
	require.ErrorContains(t, err, "SecondFactor is a nil pointer")
	require.ErrorContains(t, err, "ParallelHashes")
	_, err = signet.New(userstore.NewMemory(), keys.Secret(secret), signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}, SecondStepACR: "a b"}))
	require.ErrorContains(t, err, "SecondStepACR must be ASCII")
}

// A service without a LoginPolicy says once that its tokens cannot pass RequireRecentAuth.
func TestRequireRecentAuthWithoutAuthTime(t *testing.T) {
	var log lines
	s := newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))))
	recent := s.RequireRecentAuth(time.Minute)(http.NotFoundHandler())
	for range 3 {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Authorization", "Bearer "+s.login(t).AccessToken)
		w := httptest.NewRecorder()
		recent.ServeHTTP(w, r)
		require.Equal(t, 401, w.Code)
	}
	require.Equal(t, 1, strings.Count(log.String(), "set LoginPolicy.Decide"))

	s = newService(t, signet.WithLogger(slog.New(slog.NewTextHandler(&log, nil))), signet.WithLogin(signet.LoginPolicy{}))
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Authorization", "Bearer "+s.login(t).AccessToken)
	w := httptest.NewRecorder()
	s.RequireRecentAuth(time.Minute)(http.NotFoundHandler()).ServeHTTP(w, r)
	require.Equal(t, 401, w.Code)
	require.Equal(t, 1, strings.Count(log.String(), "set LoginPolicy.Decide"), "a step-up by password is enough here")
}

// What is no ticket of a login is refused, and is no event: strangers can send it at any rate.
func TestTicketsThatNobodyHasGot(t *testing.T) {
	var got record
	s := newService(t, signet.WithLogin(signet.LoginPolicy{SecondFactor: &onceCodes{}}), signet.WithEvents(got.add))
	form := session.NewID("1") + "." + strings.Repeat("A", 22)
	for _, ticket := range []string{"", "x", "x.y", "." + form, form + "A", form[:len(form)-1], strings.Repeat("x", 1000)} {
		_, err := s.SecondStep(t.Context(), ticket, "1")
		require.ErrorIs(t, err, signet.ErrInvalidCredentials, ticket)
	}
	_, err := s.SecondStep(t.Context(), form, "1")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	claims, err := s.Verify(t.Context(), s.login(t).AccessToken)
	require.NoError(t, err)
	got.take(t, event.LoginOK)
	s.clock.advance(5 * time.Minute) // as long as a ticket of this login would be good
	_, err = s.SecondStep(t.Context(), claims.SessionID+"."+strings.Repeat("A", 22), "1")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	require.NoError(t, s.Close())
	require.Empty(t, got.list)
}

// A ticket that was used already is an event: somebody else may have it.
func TestAUsedTicketIsAnEvent(t *testing.T) {
	var got record
	s := twoSteps(t, signet.WithEvents(got.add))
	ticket := s.ticket(t)
	_, err := s.SecondStep(t.Context(), ticket, "100")
	require.NoError(t, err)
	_, err = s.SecondStep(t.Context(), ticket, "101")
	require.ErrorIs(t, err, signet.ErrInvalidCredentials)
	require.Equal(t, "1", got.take(t, event.SecondStepFailed).Subject)
}
