package rotation_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

const (
	start  = session.Millis(1_800_000_000_000) // when the rows below were rotated
	window = session.Millis(10_000)
	ms     = session.Millis(1)
	hour   = session.Millis(3_600_000)
)

func defaultRules() rotation.Rules {
	return rotation.Rules{Window: 10 * time.Second, Idle: 10 * time.Hour, Absolute: 90 * 24 * time.Hour, Access: 15 * time.Minute}
}

// pendingRow has generation 20. It was made from generation 10 at start, and nothing proved that it arrived.
func pendingRow() session.Session {
	return session.Session{ID: "sid", UserID: "user", SecretHash: secretHash, CreatedAt: start - hour,
		EndsAt: start + 1000*hour, LastUsedAt: start, KeepUntil: start + 10*hour + hour/3,
		Current: 20, Parent: 10, Next: 21, SentAt: start}
}

// confirmedRow is pendingRow after a proof at start that generation 20 arrived.
func confirmedRow() session.Session {
	s := pendingRow()
	s.ConfirmedAt = start
	return s
}

// edit returns s with some changes.
func edit(s session.Session, changes ...func(*session.Session)) session.Session {
	for _, change := range changes {
		change(&s)
	}
	return s
}

// rotated makes generation gen from parent at the time now.
func rotated(parent, gen int64, now session.Millis) func(*session.Session) {
	return func(s *session.Session) {
		s.Parent, s.Current, s.Next = parent, gen, gen+1
		s.SentAt, s.ConfirmedAt, s.LastUsedAt = now, 0, now
	}
}

// replaced makes generation gen from the same parent at the time now.
func replaced(gen int64, now session.Millis) func(*session.Session) {
	return func(s *session.Session) { rotated(s.Parent, gen, now)(s) }
}

func ancestors(list ...session.Ancestor) func(*session.Session) {
	return func(s *session.Session) { s.Ancestors = session.Ancestors{}; copy(s.Ancestors[:], list) }
}

func revoked(reason session.Reason, now session.Millis) func(*session.Session) {
	return func(s *session.Session) { s.Reason, s.RevokedAt = reason, now }
}

func sent(now session.Millis) func(*session.Session) {
	return func(s *session.Session) { s.SentAt = now }
}
func used(now session.Millis) func(*session.Session) {
	return func(s *session.Session) { s.LastUsedAt = now }
}
func confirmed(now session.Millis) func(*session.Session) {
	return func(s *session.Session) { s.ConfirmedAt = now }
}
func next(n int64) func(*session.Session) { return func(s *session.Session) { s.Next = n } }

// fourOpen fills the ancestors. Their windows began at since.
func fourOpen(since session.Millis) func(*session.Session) {
	return ancestors(session.Ancestor{Generation: 2, SupersededAt: since}, session.Ancestor{Generation: 4, SupersededAt: since},
		session.Ancestor{Generation: 6, SupersededAt: since}, session.Ancestor{Generation: 8, SupersededAt: since})
}

// decision is one line of the decision table of rotation.Rules.
type decision struct {
	name  string
	row   session.Session
	gen   int64
	now   session.Millis
	event rotation.Event
	want  session.Session // the row afterwards, except KeepUntil
}

// verify runs a decision. It also checks what holds for every decision.
func (d decision) verify(t *testing.T, rules rotation.Rules, p rotation.Presented, rolledBack bool) {
	t.Helper()
	got, out := rules.Refresh(d.row, p, d.now)
	answer := d.want.Current
	if d.want.RevokedAt != 0 || d.event == rotation.EventUnknown || d.event == rotation.EventExpired {
		answer = 0
	}
	require.Equal(t, rotation.Outcome{Event: d.event, Generation: answer, RolledBack: rolledBack}, out)
	require.GreaterOrEqual(t, got.KeepUntil, d.row.KeepUntil)
	if answer != 0 {
		require.GreaterOrEqual(t, got.KeepUntil, min(d.now.Add(rules.Access), d.row.EndsAt),
			"the row goes before the access token that was just handed out")
	}
	d.want.KeepUntil = got.KeepUntil
	require.Equal(t, d.want, got)
}

var secretHash = session.HashOf("secret")

func presented(gen int64) rotation.Presented {
	return rotation.Presented{Generation: gen, SecretHash: secretHash, UserActive: true}
}

func TestRefreshDecisions(t *testing.T) {
	p, c := pendingRow(), confirmedRow()
	ancestor := session.Ancestor{Generation: 5, SupersededAt: start}
	parent := func(at session.Millis) session.Ancestor { return session.Ancestor{Generation: 10, SupersededAt: at} }
	g := func(now session.Millis) int64 { return int64(now) } // generations follow the clock
	back := start - hour/2                                    // the clock was ahead by much more than a window when the row was written
	full := edit(c, fourOpen(start))
	late := start + 2*hour
	for _, d := range []decision{
		{"T0 revoked", edit(p, revoked(session.ReasonReuse, start)), 20, start, rotation.EventUnknown, edit(p, revoked(session.ReasonReuse, start))},
		{"T0 revoked, within the window", edit(p, revoked(session.ReasonReuse, start)), 10, start + ms, rotation.EventUnknown, edit(p, revoked(session.ReasonReuse, start))},
		{"T0 revoked, newer than the row", edit(p, revoked(session.ReasonLogout, start)), 30, late, rotation.EventUnknown, edit(p, revoked(session.ReasonLogout, start))},
		{"T0 expired before", edit(p, revoked(session.ReasonExpired, start)), 20, start, rotation.EventUnknown, edit(p, revoked(session.ReasonExpired, start))},
		{"T0 generation 0", edit(p, func(s *session.Session) { s.Parent = 0 }), 0, start, rotation.EventUnknown, edit(p, func(s *session.Session) { s.Parent = 0 })},
		{"T0 negative generation", p, -1, start, rotation.EventUnknown, p},
		{"T0 smallest generation", p, math.MinInt64, start, rotation.EventUnknown, p},

		{"T1 idle, last moment", p, 20, start + 10*hour - ms, rotation.EventRotated, edit(p, rotated(20, g(start+10*hour-ms), start+10*hour-ms), ancestors(parent(start+10*hour-ms)))},
		{"T1 idle", p, 20, start + 10*hour, rotation.EventExpired, p},
		{"T1 before theft", p, 3, start + 10*hour, rotation.EventExpired, p},
		{"T1 absolute, last moment", edit(c, used(start+999*hour)), 20, start + 1000*hour - ms, rotation.EventRotated, edit(c, rotated(20, g(start+1000*hour-ms), start+1000*hour-ms))},
		{"T1 absolute", edit(c, used(start+999*hour)), 20, start + 1000*hour, rotation.EventExpired, edit(c, used(start+999*hour))},

		{"T4 pending: the parent's window begins now", p, 20, start + ms, rotation.EventRotated, edit(p, rotated(20, g(start+ms), start+ms), ancestors(parent(start+ms)))},
		{"T4 pending for long", p, 20, late, rotation.EventRotated, edit(p, rotated(20, g(late), late), ancestors(parent(late)))},
		{"T4 confirmed, parent's window at its end", c, 20, start + window, rotation.EventRotated, edit(c, rotated(20, g(start+window), start+window), ancestors(parent(start)))},
		{"T4 confirmed, parent's window over", c, 20, start + window + ms, rotation.EventRotated, edit(c, rotated(20, g(start+window+ms), start+window+ms))},
		{"T4 without a parent", edit(c, func(s *session.Session) { s.Parent = 0 }), 20, start + ms, rotation.EventRotated, edit(c, rotated(20, g(start+ms), start+ms))},
		{"T4 drops closed ancestors", edit(c, ancestors(session.Ancestor{Generation: 4, SupersededAt: start - window}, ancestor)), 20, start + ms, rotation.EventRotated, edit(c, rotated(20, g(start+ms), start+ms), ancestors(ancestor, parent(start)))},
		{"T4 next is ahead of the clock", edit(c, next(g(late))), 20, start + ms, rotation.EventRotated, edit(c, rotated(20, g(late), start+ms), ancestors(parent(start)))},
		{"T4 clock set back far", p, 20, back, rotation.EventRotated, edit(p, rotated(20, g(back), back), ancestors(parent(back)))},
		{"T4 clock set back", p, 20, start - window, rotation.EventRotated, edit(p, rotated(20, g(start), start), ancestors(parent(start)))},

		{"T4' coalesced, confirmed before", full, 20, start + ms, rotation.EventCoalesced, full},
		{"T4' coalesced, confirms", edit(p, fourOpen(start)), 20, start + ms, rotation.EventCoalesced, edit(p, fourOpen(start), confirmed(start+ms))},
		{"T4' last moment", full, 20, start + window, rotation.EventCoalesced, full},
		{"T4' over", full, 20, start + window + ms, rotation.EventRotated, edit(full, rotated(20, g(start+window+ms), start+window+ms), ancestors())},
		{"T4' counts as use", edit(full, fourOpen(start+window)), 20, start + window + ms, rotation.EventCoalesced, edit(full, fourOpen(start+window), used(start+window+ms))},

		{"T5 at once", p, 10, start, rotation.EventRepeated, p},
		{"T5 last moment", p, 10, start + window, rotation.EventRepeated, edit(p, sent(start+window))},
		{"T5 however often", edit(p, sent(start+2*window)), 10, start + 3*window, rotation.EventRepeated, edit(p, sent(start+3*window), used(start+3*window))},
		{"T5 clock set back far", edit(p, sent(start+window)), 10, back, rotation.EventRepeated, edit(p, sent(back), used(back))},
		{"T5 clock set back", edit(p, sent(start+window)), 10, start, rotation.EventRepeated, edit(p, sent(start+window))},
		{"T6 the window is over", p, 10, start + window + ms, rotation.EventRecovered, edit(p, replaced(g(start+window+ms), start+window+ms))},
		{"T5 however long", edit(p, sent(start+3*window)), 10, start + 3*window + ms, rotation.EventRepeated, edit(p, sent(start+3*window+ms), used(start+3*window+ms))},
		{"T6 much later", p, 10, late, rotation.EventRecovered, edit(p, replaced(g(late), late))},
		{"T6 keeps ancestors", edit(p, ancestors(ancestor)), 10, late, rotation.EventRecovered, edit(p, replaced(g(late), late), ancestors(ancestor))},

		{"T7 at once", c, 10, start, rotation.EventRepeated, c},
		{"T7 last moment", c, 10, start + window, rotation.EventRepeated, c},
		{"T7 counts as use", edit(c, confirmed(start+window)), 10, start + window + ms, rotation.EventRepeated, edit(c, confirmed(start+window), used(start+window+ms))},
		{"T7 over", c, 10, start + window + ms, rotation.EventTheft, edit(c, revoked(session.ReasonReuse, start+window+ms))},
		{"T7 clock set back after confirming", edit(c, confirmed(start+window)), 10, start, rotation.EventRepeated, edit(c, confirmed(start+window))},
		{"T7 clock set back far after confirming", edit(c, confirmed(start+hour)), 10, start, rotation.EventRepeated, c},
		{"T7 one window after that is theft", c, 10, start + window + ms, rotation.EventTheft, edit(c, revoked(session.ReasonReuse, start+window+ms))},

		{"T8 last moment", edit(p, ancestors(ancestor)), 5, start + window, rotation.EventRepeated, edit(p, ancestors(ancestor))},
		{"T8 over", edit(p, ancestors(ancestor)), 5, start + window + ms, rotation.EventTheft, edit(p, ancestors(ancestor), revoked(session.ReasonReuse, start+window+ms))},
		{"T8 the fourth", full, 8, start + ms, rotation.EventRepeated, full},
		{"T8 a set-back clock reopens nothing", edit(p, ancestors(session.Ancestor{Generation: 5, SupersededAt: start - window - ms})), 5, start - window, rotation.EventTheft,
			edit(p, ancestors(session.Ancestor{Generation: 5, SupersededAt: start - window - ms}), revoked(session.ReasonReuse, start))},

		{"T9 unknown and old", p, 3, start + ms, rotation.EventTheft, edit(p, revoked(session.ReasonReuse, start+ms))},
		{"T9 a replaced child", p, 15, start + ms, rotation.EventTheft, edit(p, revoked(session.ReasonReuse, start+ms))},
		{"T8 clock set back far", edit(c, confirmed(start+hour), ancestors(session.Ancestor{Generation: 5, SupersededAt: start + hour})), 5, start, rotation.EventRepeated, edit(c, ancestors(ancestor))},
		{"T9 clock set back far", p, 3, back, rotation.EventTheft, edit(p, sent(back), used(back), revoked(session.ReasonReuse, back))},
		{"T9 clock set back", p, 3, start - window, rotation.EventTheft, edit(p, revoked(session.ReasonReuse, start))},
	} {
		t.Run(d.name, func(t *testing.T) { d.verify(t, defaultRules(), presented(d.gen), false) })
	}
}

func TestRefreshRefusesOthers(t *testing.T) {
	row := pendingRow()
	wrong, inactive := presented(20), presented(20)
	wrong.SecretHash = session.HashOf("another")
	inactive.UserActive = false
	decision{row: row, now: start + 100*hour, event: rotation.EventUnknown, want: row}.verify(t, defaultRules(), wrong, false)
	wrong.Generation = 3 // not even theft: the sender has no token of this session
	decision{row: row, now: start, event: rotation.EventUnknown, want: row}.verify(t, defaultRules(), wrong, false)
	d := decision{row: row, now: start + ms, event: rotation.EventUser, want: edit(row, revoked(session.ReasonUser, start+ms))}
	d.verify(t, defaultRules(), inactive, false)
	inactive.Generation = 3
	d.verify(t, defaultRules(), inactive, false)
	d.now, d.event, d.want = start+10*hour, rotation.EventExpired, row
	d.verify(t, defaultRules(), inactive, false)
}

func TestRefreshRollsForward(t *testing.T) {
	p, now := pendingRow(), start+hour
	full := edit(p, fourOpen(now-ms))
	old := session.Ancestor{Generation: 20, SupersededAt: now} // another tab may still hold it
	ahead := int64(now + hour)                                 // a generation from before the clock was set back
	for _, d := range []decision{
		{"T3", p, 30, now, rotation.EventRotated, edit(p, rotated(30, int64(now), now), ancestors(old))},
		{"T3 confirmed row", confirmedRow(), 21, start, rotation.EventRotated, edit(p, rotated(21, int64(start), start), ancestors(session.Ancestor{Generation: 20, SupersededAt: start}))},
		{"T3 next is past it", p, ahead, now, rotation.EventRotated, edit(p, rotated(ahead, ahead+1, now), ancestors(old))},
		{"T3 then T4'", full, 30, now, rotation.EventCoalesced, edit(full, confirmed(now), used(now), func(s *session.Session) { s.Current, s.Parent, s.Next = 30, 20, 31 })},
	} {
		t.Run(d.name, func(t *testing.T) { d.verify(t, defaultRules(), presented(d.gen), true) })
	}
	t.Run("T3 strict", func(t *testing.T) {
		rules := defaultRules()
		rules.Strict = true
		decision{row: p, now: now, event: rotation.EventRotated, want: edit(p, rotated(30, int64(now), now))}.verify(t, rules, presented(30), true)
	})
}

func TestRefreshWithoutWindow(t *testing.T) {
	rules := defaultRules()
	rules.Window = 0
	p, c := pendingRow(), confirmedRow()
	ancestor := ancestors(session.Ancestor{Generation: 5, SupersededAt: start})
	for _, d := range []decision{
		{"T4", p, 20, start + ms, rotation.EventRotated, edit(p, rotated(20, int64(start+ms), start+ms), ancestors(session.Ancestor{Generation: 10, SupersededAt: start + ms}))},
		{"T5 in the same millisecond", p, 10, start, rotation.EventRepeated, p},
		{"T6", p, 10, start + ms, rotation.EventRecovered, edit(p, replaced(int64(start+ms), start+ms))},
		{"T7 in the same millisecond", c, 10, start, rotation.EventRepeated, c},
		{"T7 over", c, 10, start + ms, rotation.EventTheft, edit(c, revoked(session.ReasonReuse, start+ms))},
		{"T8 in the same millisecond", edit(p, ancestor), 5, start, rotation.EventRepeated, edit(p, ancestor)},
		{"T8 over", edit(p, ancestor), 5, start + ms, rotation.EventTheft, edit(p, ancestor, revoked(session.ReasonReuse, start+ms))},
	} {
		t.Run(d.name, func(t *testing.T) { d.verify(t, rules, presented(d.gen), false) })
	}
}

func TestStrictRefresh(t *testing.T) {
	rules := defaultRules()
	rules.Strict = true
	p, c := pendingRow(), confirmedRow()
	ancestor := ancestors(session.Ancestor{Generation: 5, SupersededAt: start})
	for _, d := range []decision{
		{"T4", p, 20, start, rotation.EventRotated, edit(p, rotated(20, int64(start), start))},
		{"T4 never coalesces", edit(c, fourOpen(start)), 20, start, rotation.EventRotated, edit(c, rotated(20, int64(start), start))},
		{"no T5", p, 10, start, rotation.EventTheft, edit(p, revoked(session.ReasonReuse, start))},
		{"no T6", p, 10, start + hour, rotation.EventTheft, edit(p, revoked(session.ReasonReuse, start+hour))},
		{"no T7", c, 10, start, rotation.EventTheft, edit(c, revoked(session.ReasonReuse, start))},
		{"no T8", edit(c, ancestor), 5, start, rotation.EventTheft, edit(c, ancestor, revoked(session.ReasonReuse, start))},
	} {
		t.Run(d.name, func(t *testing.T) { d.verify(t, rules, presented(d.gen), false) })
	}
}

func TestNew(t *testing.T) {
	row := defaultRules().New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{UserAgent: "agent", Address: "addr"}, start)
	require.Equal(t, session.Session{ID: "sid", UserID: "user", SecretHash: secretHash, UserAgent: "agent", Address: "addr",
		CreatedAt: start, EndsAt: start + 90*24*hour, LastUsedAt: start, KeepUntil: row.KeepUntil, Current: int64(start), Next: int64(start) + 1,
		SentAt: start, ConfirmedAt: start}, row)
	require.GreaterOrEqual(t, row.KeepUntil, start+hour/4)
	require.Positive(t, defaultRules().New("", "", session.Hash{}, rotation.Terms{}, rotation.Client{}, 0).Current, "generation 0 means none")
}

// A client that repeats a request within a window gets the same generation again, without end. A client that is silent for
// longer than a window gets a new generation each time. A proxy that drops answers for an hour must not make it a thief.
func TestOneLostAnswerAfterAnother(t *testing.T) {
	rules, now := defaultRules(), start
	row, out := rules.Refresh(confirmedRow(), presented(20), now)
	current := out.Generation
	for now = start + window/2; now <= start+9*window; now += window / 2 {
		row, out = rules.Refresh(row, presented(20), now)
		require.Equal(t, rotation.Outcome{Event: rotation.EventRepeated, Generation: current}, out)
	}
	now += window
	for range 1000 {
		row, out = rules.Refresh(row, presented(20), now)
		require.Equal(t, rotation.EventRecovered, out.Event)
		require.Greater(t, out.Generation, current)
		current, now = out.Generation, now+window+ms
	}
	row, out = rules.Refresh(row, presented(current), now)
	require.Equal(t, rotation.EventRotated, out.Event, "the one answer that arrives")
	_, out = rules.Refresh(row, presented(20), now+window+ms)
	require.Equal(t, rotation.EventTheft, out.Event, "after that the old token is a thief's")
}

// A host can change the lifetimes between two deploys. A row must outlive every token that was handed out before.
func TestKeepUntilOutlivesTheTokensOfLongerLifetimes(t *testing.T) {
	long, short := defaultRules(), defaultRules()
	long.Access, short.Access, short.Idle = 20*24*time.Hour, time.Second, 2*time.Second
	row := long.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)
	lastToken := start.Add(long.Access)
	require.Equal(t, lastToken, rotation.LiveUntil(row))
	row, out := short.Refresh(row, presented(row.Current), start+ms)
	require.Equal(t, rotation.EventRotated, out.Event)
	require.Equal(t, lastToken, rotation.LiveUntil(row), "the first access token is still out")

	repeated, out := long.Refresh(short.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start), presented(int64(start)), start)
	require.Equal(t, rotation.EventRotated, out.Event)
	require.Equal(t, lastToken, rotation.LiveUntil(repeated), "and the other way round")

	pending, _ := short.Refresh(short.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start), presented(int64(start)), start)
	pending, out = long.Refresh(pending, presented(int64(start)), start+ms)
	require.Equal(t, rotation.EventRepeated, out.Event)
	require.GreaterOrEqual(t, rotation.LiveUntil(pending), start.Add(long.Access), "a repetition hands out tokens too")
}

func TestASessionRemembersTheLastClient(t *testing.T) {
	rules := defaultRules()
	row := rules.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{UserAgent: "phone", Address: "192.0.2.1"}, start)
	p := presented(row.Current)
	row, _ = rules.Refresh(row, p, start+ms)
	require.Equal(t, "phone", row.UserAgent, "a refresh that knows no client changes nothing")
	p = presented(row.Current)
	p.Client = rotation.Client{UserAgent: "laptop", Address: "192.0.2.2"}
	row, _ = rules.Refresh(row, p, start+2*ms)
	require.Equal(t, "laptop 192.0.2.2", row.UserAgent+" "+row.Address)
}

// However fast a client refreshes, no window is cut short: a rotation waits until there is room to remember one more parent.
func TestCoalescingForgetsNoWindow(t *testing.T) {
	rules := defaultRules()
	row := rules.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)
	tokens := []int64{row.Current}
	var out rotation.Outcome
	for now := start + ms; now <= start+window; now += ms {
		row, out = rules.Refresh(row, presented(row.Current), now)
		if out.Event == rotation.EventRotated {
			tokens = append(tokens, out.Generation)
		}
		for _, token := range tokens {
			_, out = rules.Refresh(row, presented(token), now)
			require.NotZero(t, out.Generation, "token %d of %d, %d ms after the login", token, row.Current, now-start)
		}
	}
	require.Len(t, tokens, 6, "the current one, its parent, and four ancestors")
}

func TestGenerationsNeverRepeat(t *testing.T) {
	rules := defaultRules()
	backup := rules.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)
	seen := map[int64]bool{backup.Current: true}
	for now := start; now < start+100*window; now += window + ms {
		row, out := backup, rotation.Outcome{} // the store goes back to the same row each time
		for i := range 5 {
			row, out = rules.Refresh(row, presented(row.Current), now)
			if out.Event == rotation.EventCoalesced {
				continue
			}
			require.False(t, seen[out.Generation], "generation %d at step %d", out.Generation, i)
			seen[out.Generation] = true
		}
	}
}

// Every successful refresh starts the idle time again, to within one window: the token that it hands out lives that long.
func TestIdleTime(t *testing.T) {
	rules, now := defaultRules(), start+9*hour
	for name, row := range map[string]session.Session{"T4": confirmedRow(), "T6": pendingRow(),
		"T7": edit(confirmedRow(), confirmed(now)), "T8": edit(pendingRow(), ancestors(session.Ancestor{Generation: 10, SupersededAt: now}), func(s *session.Session) { s.Parent = 0 })} {
		gen := int64(10)
		if name == "T4" {
			gen = 20
		}
		after, out := rules.Refresh(row, presented(gen), now)
		require.NotZero(t, out.Generation, name)
		require.Equal(t, now, after.LastUsedAt, name)
		require.False(t, rules.Expired(after, now+10*hour-ms), name)
		require.True(t, rules.Expired(after, now+10*hour), name)
	}
	row := edit(pendingRow(), func(s *session.Session) { s.EndsAt = start + hour })
	require.False(t, rules.Expired(row, start+hour-ms))
	require.True(t, rules.Expired(row, start+hour))
	after, _ := rules.Refresh(row, presented(20), start+hour-ms)
	require.GreaterOrEqual(t, after.KeepUntil, start+hour, "no token outlives its session")
}

func TestConfirm(t *testing.T) {
	rules, p, c := defaultRules(), pendingRow(), confirmedRow()
	dead := edit(p, revoked(session.ReasonReuse, start))
	for _, test := range []struct {
		name      string
		row, want session.Session
		gen       int64
		now       session.Millis
	}{
		{"the current generation", p, edit(p, confirmed(start+ms)), 20, start + ms},
		{"a second time", c, c, 20, start + ms},
		{"the parent", p, p, 10, start + ms},
		{"newer than the row", p, p, 21, start + ms},
		{"none", p, p, 0, start + ms},
		{"revoked", dead, dead, 20, start + ms},
		{"clock set back", p, edit(p, confirmed(start)), 20, start - window},
		{"clock set back far", p, edit(p, sent(start-hour), used(start-hour), confirmed(start-hour)), 20, start - hour},
	} {
		t.Run(test.name, func(t *testing.T) { require.Equal(t, test.want, rules.Confirm(test.row, test.gen, test.now)) })
	}
}

func TestRevoke(t *testing.T) {
	p := pendingRow()
	dead, expired := edit(p, revoked(session.ReasonReuse, start)), edit(p, revoked(session.ReasonExpired, start))
	for _, test := range []struct {
		name      string
		row, want session.Session
		reason    session.Reason
		now       session.Millis
		refuse    bool // whether access tokens are refused
	}{
		{"live", p, edit(p, revoked(session.ReasonLogout, start+ms)), session.ReasonLogout, start + ms, true},
		{"twice", dead, dead, session.ReasonLogout, start + hour, true},
		{"revoked then expired", dead, dead, session.ReasonExpired, start + hour, true},
		{"expires", p, edit(p, revoked(session.ReasonExpired, start+ms)), session.ReasonExpired, start + ms, false},
		{"expired twice", expired, expired, session.ReasonExpired, start + hour, false},
		{"expired then revoked", expired, edit(expired, revoked(session.ReasonRevoked, start+hour)), session.ReasonRevoked, start + hour, true},
		{"clock set back", p, edit(p, revoked(session.ReasonLogout, start)), session.ReasonLogout, start - hour, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := test.row.Revoke(test.reason, test.now)
			require.Equal(t, test.want, got)
			require.Equal(t, test.refuse, got.Revoked())
			require.Equal(t, got, got.Revoke(test.reason, test.now+hour), "idempotent")
		})
	}
}

// A token whose time is over by the caller's clock is refused only if it is over by the store's clock too. Then an old one is no theft.
func TestATokenThatHasExpired(t *testing.T) {
	row := confirmedRow()
	for name, tc := range map[string]struct {
		generation int64
		expiredAt  session.Millis
		want       rotation.Event
	}{
		"by both clocks":                {20, start, rotation.EventExpired},
		"by the caller's clock":         {20, start + ms, rotation.EventRotated},
		"by none":                       {20, 0, rotation.EventRotated},
		"an old one, by both clocks":    {3, start, rotation.EventExpired},
		"an old one, by one clock only": {3, start + ms, rotation.EventTheft},
	} {
		p := presented(tc.generation)
		p.ExpiredAt = tc.expiredAt
		after, out := defaultRules().Refresh(row, p, start)
		require.Equal(t, tc.want, out.Event, name)
		if tc.want == rotation.EventExpired {
			require.Equal(t, row, after, name)
		}
	}
}
