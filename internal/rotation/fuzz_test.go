package rotation_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// past is what a history of one session has shown so far. It is the witness of FuzzHistory: it reads only the answers of the
// rules, and remembers what must not come again.
type past struct {
	row       session.Session
	rules     rotation.Rules
	clock     session.Millis
	handed    []int64          // generations that were handed out
	minted    int64            // the newest of them
	raised    map[string]int64 // each fact of a step-up, and the first generation that had it
	lost      map[string]bool  // facts that were replaced or lost
	redeemed  map[int64]bool
	tries     int
	completed bool
}

// waits are the times between two steps, in milliseconds. Some set the clock back.
var waits = []session.Millis{0, 1, 500, 9_999, 10_000, 10_001, 60_000, 5 * 60_000, 15 * 60_000, hour, 9 * hour, 11 * hour, 24 * 100 * hour,
	-1, -10_001, -hour}

// FuzzHistory plays random histories of one session. Each step takes three bytes: what happens, with which token, and after
// how long. The properties that must hold are written at the checks.
func FuzzHistory(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 1, 1, 0, 3, 0, 1, 2})                                              // refresh, confirm, refresh
	f.Add([]byte{1, 4, 0, 0, 5, 0, 0, 0, 0, 1, 0, 0, 1, 5, 0, 1})                                  // a login with a second step
	f.Add([]byte{1, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 4, 0, 0, 5, 1, 0})                // six codes
	f.Add([]byte{0, 0, 0, 1, 2, 1, 1, 0, 0, 1, 0, 1, 0, 2, 2, 2, 0, 3, 0})                         // step-ups, and an older token
	f.Add([]byte{0, 7, 0, 0, 7, 0, 0, 8, 0, 0, 8, 0, 0, 8, 1, 0, 8, 7, 0})                         // tickets
	f.Add([]byte{2, 0, 0, 1, 0, 0, 1, 0, 1, 1})                                                    // strict
	f.Add([]byte{0, 0, 0, 10, 9, 5, 0, 0, 1, 9, 0, 2, 11, 9, 0, 0, 0, 3, 12})                      // a host changes the lifetimes
	f.Add([]byte{0, 0, 0, 9, 0, 1, 15, 0, 1, 14, 1, 1, 0, 0, 2, 13, 6, 0, 0, 0, 2, 0, 2, 2, 0})    // clock back, and the end
	f.Add([]byte{0, 0, 0, 1, 1, 1, 0, 0, 1, 1, 1, 2, 0, 0, 2, 1, 1, 3, 0, 0, 3, 1, 0, 3, 1, 0, 0}) // four windows
	for seed := range uint64(400) {                                                                // long histories, which the fuzzer does not find by itself
		f.Add(randomScript(rand.New(rand.NewPCG(seed, 0x5e5510))))
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 || len(script) > 600 {
			return
		}
		p := begin(t, script[0])
		for step := range slices.Chunk(script[1:], 3) {
			if len(step) == 3 {
				p.step(t, step[0]%10, step[1], waits[int(step[2])%len(waits)])
			}
		}
	})
}

// randomScript is a history that seldom ends early: most waits are short, and most tokens are right.
func randomScript(r *rand.Rand) []byte {
	script := []byte{byte(r.IntN(8))}
	ops := []byte{0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 7, 7, 8, 8, 8}
	for range 60 {
		op, arg, wait := ops[r.IntN(len(ops))], byte(r.IntN(248)), byte(r.IntN(7))
		switch r.IntN(40) {
		case 0:
			op = byte(r.IntN(10))
		case 1:
			arg = byte(r.IntN(256))
		case 2:
			wait = byte(r.IntN(16))
		}
		if op == 8 { // one of the newest tickets, or one that does not exist
			arg = byte(r.IntN(20) - 3)
		}
		script = append(script, op, arg, wait)
	}
	return script
}

// begin makes a session: bit 0 lets it wait for a second step, bit 1 makes the rules strict, bit 2 gives it terms of its own.
func begin(t *testing.T, kind byte) *past {
	p := &past{rules: defaultRules(), clock: start, raised: map[string]int64{}, lost: map[string]bool{}, redeemed: map[int64]bool{}}
	p.rules.Strict = kind&2 != 0
	terms := rotation.Terms{Facts: `{"amr":["pwd"]}`}
	if kind&4 != 0 {
		terms.Idle, terms.Absolute = 20*time.Minute, 24*time.Hour
	}
	if kind&1 != 0 {
		p.row = p.rules.Pend("sid", "user", ticketHash, terms, rotation.Client{}, p.clock)
		require.Zero(t, p.row.Current, "a pending row has a generation")
		return p
	}
	p.row = p.rules.New("sid", "user", secretHash, terms, rotation.Client{}, p.clock)
	p.mint(t, p.row.Current)
	return p
}

func (p *past) step(t *testing.T, op, arg byte, wait session.Millis) {
	p.clock = max(1, p.clock+wait)
	before := p.row
	switch op {
	case 0, 3:
		shown := p.shown(arg)
		shown.UserActive = op == 0 || arg%16 != 0
		after, out := p.rules.Refresh(before, shown, p.clock)
		p.answered(t, shown, after, out, "")
	case 1:
		p.row = p.rules.Confirm(before, p.shown(arg).Generation, p.clock)
		require.Equal(t, before.Current, p.row.Current)
		require.Equal(t, rotation.Facts(before), rotation.Facts(p.row))
		if before.RevokedAt != 0 || before.PendingUntil != 0 {
			require.Equal(t, before, p.row, "a proof changed a row that is revoked or pending")
		}
	case 2:
		shown, fact := p.shown(arg), `{"n":`+strconv.Itoa(len(p.raised))+`}`
		after, out := p.rules.StepUp(before, shown, fact, p.clock)
		if out.Generation != 0 {
			require.Equal(t, before.Current, shown.Generation, "an older token stepped up")
			p.forget(rotation.Facts(before))
			p.raised[fact] = out.Generation
		}
		p.answered(t, shown, after, out, fact)
	case 4:
		p.try(t, arg)
	case 5:
		p.complete(t, arg)
	case 6:
		p.row = before.Revoke([]session.Reason{session.ReasonLogout, session.ReasonExpired, session.ReasonReuse}[arg%3], p.clock)
	case 7:
		var number int64
		p.row, number = rotation.Ticket(before)
		require.Equal(t, before.Tickets+1, number, "a ticket has the number of an older one")
	case 8:
		p.redeem(t, arg)
	case 9: // a host deploys other lifetimes
		p.rules.Idle, p.rules.Access = time.Duration(arg)*10*time.Minute, time.Duration(arg%7)*5*time.Minute
	}
	require.GreaterOrEqual(t, p.row.KeepUntil, before.KeepUntil, "KeepUntil shrank")
	require.GreaterOrEqual(t, p.row.Current, before.Current)
	require.Greater(t, p.row.Next, p.row.Current)
	require.Equal(t, before.EndsAt, p.row.EndsAt)
	if before.RevokedAt != 0 {
		require.NotZero(t, p.row.RevokedAt, "a revoked row lives again")
	}
}

// shown is the token that a client presents: one that was handed out, or one that nobody has made. The latter is not newer
// than the current one, because such a token can have no signature of ours.
func (p *past) shown(arg byte) rotation.Presented {
	shown := rotation.Presented{SecretHash: secretHash, UserActive: true}
	switch n := len(p.handed); {
	case arg == 255:
		shown.Generation = -1
	case arg == 254:
		shown.Generation = p.row.Current - 1
	case n > 0:
		shown.Generation = p.handed[n-1-min(n-1, int(arg)%8)/2] // most often the newest
	}
	if arg >= 248 && arg < 252 {
		shown.SecretHash = ticketHash
	}
	return shown
}

// answered checks the answer to a refresh, or to a step-up with a new fact.
func (p *past) answered(t *testing.T, shown rotation.Presented, after session.Session, out rotation.Outcome, fact string) {
	before := p.row
	p.row = after
	require.False(t, out.RolledBack, "no write was lost")
	if before.RevokedAt != 0 || before.PendingUntil != 0 || !before.SecretHash.Equal(shown.SecretHash) || !shown.UserActive {
		require.Zero(t, out.Generation, "a row handed out tokens that is revoked or pending, or to a stranger")
	}
	if before.RevokedAt != 0 || before.PendingUntil != 0 || out.Event == rotation.EventOlder || out.Event == rotation.EventExpired {
		require.Equal(t, before.Current, after.Current)
		require.Equal(t, before.Facts+before.Raised, after.Facts+after.Raised)
		require.Equal(t, before.RevokedAt, after.RevokedAt)
	}
	if out.Event == rotation.EventCrowded {
		require.Equal(t, before.Current, after.Current)
		require.Equal(t, rotation.Facts(before), rotation.Facts(after))
		require.Zero(t, out.Generation)
		require.NotEmpty(t, fact, "only a step-up waits")
		require.NotZero(t, before.Ancestors[len(before.Ancestors)-1])
		require.Positive(t, out.Wait)
		require.LessOrEqual(t, out.Wait, 2*p.rules.Window+time.Millisecond)
		return
	}
	if out.Generation == 0 {
		require.Equal(t, before.Current, after.Current)
		require.False(t, p.good(before, shown), "the current token of a live session was refused: %s", out.Event)
		return
	}
	remembered := slices.ContainsFunc(before.Ancestors[:], func(a session.Ancestor) bool { return a.Generation == shown.Generation })
	require.True(t, shown.Generation == before.Current || !p.rules.Strict && (shown.Generation == before.Parent || remembered),
		"a superseded token was accepted")
	require.Equal(t, after.Current, out.Generation)
	require.Zero(t, after.RevokedAt)
	require.Less(t, p.clock, after.EndsAt, "the session is over")
	require.GreaterOrEqual(t, after.KeepUntil, min(p.clock.Add(p.rules.Access), after.EndsAt), "the row goes before its access tokens")
	require.Contains(t, p.handed, shown.Generation, "a token that was never handed out was accepted")
	if made := out.Event == rotation.EventRotated || out.Event == rotation.EventRecovered; made {
		p.mint(t, out.Generation)
	} else {
		require.Equal(t, before.Current, after.Current)
		require.Empty(t, fact, "a step-up made no new generation")
	}
	got := rotation.Facts(after)
	for raised, from := range p.raised {
		if raised == fact {
			require.Equal(t, fact, got, "a step-up did not raise the session")
			continue
		}
		if shown.Generation < from {
			p.lost[raised] = true
		}
		require.False(t, p.lost[raised] && got == raised, "a fact came back: %s", raised)
	}
}

// good reports whether a token must be accepted: it is the current one, and the session lives. The clock was not set back.
func (p *past) good(s session.Session, shown rotation.Presented) bool {
	idle := p.rules.Idle
	if s.Idle != 0 {
		idle = 20 * time.Minute
	}
	return shown.Generation == s.Current && shown.SecretHash == secretHash && shown.UserActive && s.RevokedAt == 0 && s.PendingUntil == 0 &&
		p.clock >= s.Latest() && p.clock < s.LastUsedAt.Add(idle) && p.clock < s.EndsAt
}

// mint notes a new generation.
func (p *past) mint(t *testing.T, generation int64) {
	require.Greater(t, generation, p.minted, "a generation was made a second time")
	p.minted, p.handed = generation, append(p.handed, generation)
}

func (p *past) forget(fact string) {
	if _, raised := p.raised[fact]; raised {
		p.lost[fact] = true
	}
}

func (p *past) try(t *testing.T, arg byte) {
	before := p.row
	var ok bool
	if p.row, ok = rotation.Try(before, p.ticket(arg), p.clock); !ok {
		require.Equal(t, before, p.row)
		return
	}
	p.tries++
	require.LessOrEqual(t, p.tries, 5, "a sixth code was tried")
	p.mayStep(t, before, arg)
}

func (p *past) complete(t *testing.T, arg byte) {
	before := p.row
	var ok bool
	if p.row, ok = p.rules.Complete(before, p.ticket(arg), secretHash, `{"amr":["pwd","otp"]}`, rotation.Client{}, p.clock); !ok {
		require.Equal(t, before, p.row)
		return
	}
	require.False(t, p.completed, "a second step was done twice")
	p.completed = true
	p.mayStep(t, before, arg)
	p.mint(t, p.row.Current)
}

func (p *past) ticket(arg byte) session.Hash {
	if arg%4 == 3 {
		return session.HashOf("another ticket")
	}
	return ticketHash
}

// mayStep checks that a second step was possible.
func (p *past) mayStep(t *testing.T, before session.Session, arg byte) {
	require.True(t, arg%4 != 3 && before.RevokedAt == 0 && p.clock < before.PendingUntil, "a second step of a wrong or an old ticket")
}

func (p *past) redeem(t *testing.T, arg byte) {
	before := p.row
	number := before.Tickets - int64(int8(arg))
	var ok bool
	if p.row, ok = rotation.Redeem(before, number); !ok {
		require.Equal(t, before, p.row)
		fresh := number > 0 && number <= before.Tickets && before.Tickets-number < 64 && !p.redeemed[number]
		require.False(t, fresh, "ticket %d of %d was refused", number, before.Tickets)
		return
	}
	require.True(t, number > 0 && number <= before.Tickets, "nobody has made ticket %d", number)
	require.False(t, p.redeemed[number], "ticket %d was redeemed twice", number)
	p.redeemed[number] = true
}
