package rotation_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

var ticketHash = session.HashOf("ticket")

// pending is the row of a login that waits for its second step since start.
func pending() session.Session {
	terms := rotation.Terms{Idle: 48 * time.Hour, Absolute: 72 * time.Hour, Facts: `{"amr":["pwd"]}`}
	return defaultRules().Pend("sid", "user", ticketHash, terms, rotation.Client{}, start)
}

func TestATermOfASession(t *testing.T) {
	terms := rotation.Terms{Idle: 48 * time.Hour, Absolute: 72 * time.Hour, Facts: "{}"}
	rules := defaultRules()
	row := rules.New("sid", "user", secretHash, terms, rotation.Client{}, start)
	require.Equal(t, start+72*hour, row.EndsAt)
	require.Equal(t, "{}", rotation.Facts(row))
	require.False(t, rules.Expired(row, start+48*hour-ms))
	require.True(t, rules.Expired(row, start+48*hour))
	require.Equal(t, start+48*hour, rotation.LiveUntil(row))

	row, out := rules.Refresh(row, rotation.Presented{Generation: row.Current, SecretHash: secretHash, UserActive: true}, start+47*hour)
	require.Equal(t, rotation.EventRotated, out.Event)
	require.False(t, rules.Expired(row, start+71*hour), "the use began the session's own idle time anew")
	require.True(t, rules.Expired(row, start+72*hour))
	require.Equal(t, start+72*hour, rotation.LiveUntil(row), "no token outlives the session's own end")
}

func TestAPendingLoginHasNoTokens(t *testing.T) {
	row := pending()
	for generation := int64(-1); generation < 3; generation++ {
		for _, hash := range []session.Hash{ticketHash, secretHash} {
			after, out := defaultRules().Refresh(row,
				rotation.Presented{Generation: generation, SecretHash: hash, UserActive: true}, start+ms)
			require.Equal(t, rotation.EventUnknown, out.Event)
			require.Equal(t, row, after)
		}
	}
	require.Equal(t, row, defaultRules().Confirm(row, 0, start+ms))
	require.Less(t, row.KeepUntil, start+hour, "the row of a login that nobody ends goes soon")
}

func TestATicketAllowsFiveCodesInFiveMinutes(t *testing.T) {
	row := pending()
	_, ok := rotation.Try(row, secretHash, start)
	require.False(t, ok, "another ticket")
	for range 5 {
		row, ok = rotation.Try(row, ticketHash, start+5*60_000-ms)
		require.True(t, ok)
	}
	same, ok := rotation.Try(row, ticketHash, start)
	require.False(t, ok, "the sixth code")
	require.Equal(t, row, same)

	row = pending()
	_, ok = rotation.Try(row, ticketHash, row.PendingUntil)
	require.False(t, ok, "too late")
	_, ok = rotation.Try(row.Revoke(session.ReasonRevoked, start), ticketHash, start)
	require.False(t, ok, "revoked")

	short := defaultRules().Pend("sid", "user", ticketHash, rotation.Terms{Absolute: 2 * time.Minute}, rotation.Client{}, start)
	_, ok = rotation.Try(short, ticketHash, short.EndsAt-ms)
	require.True(t, ok)
	_, ok = rotation.Try(short, ticketHash, short.EndsAt)
	require.False(t, ok, "the session would have ended")
}

func TestALoginIsCompletedWithinTheTimeOfItsTicket(t *testing.T) {
	row := pending()
	require.False(t, rotation.MayHaveTicket(row, start+ms), "it waits")
	row, ok := defaultRules().Complete(row, ticketHash, secretHash, "{}", rotation.Client{}, start+ms)
	require.True(t, ok)
	require.True(t, rotation.MayHaveTicket(row, start+5*60_000-ms))
	require.False(t, rotation.MayHaveTicket(row, start+5*60_000))
}

func TestATicketMakesOneSession(t *testing.T) {
	rules, row := defaultRules(), pending()
	_, ok := rules.Complete(row, secretHash, secretHash, "{}", rotation.Client{}, start)
	require.False(t, ok, "another ticket")
	_, ok = rules.Complete(row, ticketHash, secretHash, "{}", rotation.Client{}, row.PendingUntil)
	require.False(t, ok, "too late")

	done, ok := rules.Complete(row, ticketHash, secretHash, `{"amr":["pwd","otp"]}`, rotation.Client{UserAgent: "phone"}, start+hour/60)
	require.True(t, ok)
	require.Equal(t, `{"amr":["pwd","otp"]}`, rotation.Facts(done))
	require.Equal(t, row.EndsAt, done.EndsAt)
	require.Equal(t, start+hour/60+48*hour, rotation.LiveUntil(done))
	require.Equal(t, "phone", done.UserAgent)
	_, ok = rules.Complete(done, ticketHash, secretHash, "{}", rotation.Client{}, start)
	require.False(t, ok, "a second use")
	_, ok = rotation.Try(done, ticketHash, start)
	require.False(t, ok, "a code after the use")
	_, out := rules.Refresh(done, rotation.Presented{Generation: done.Current, SecretHash: secretHash, UserActive: true}, start+hour)
	require.Equal(t, rotation.EventRotated, out.Event)
}

func present(generation int64) rotation.Presented {
	return rotation.Presented{Generation: generation, SecretHash: secretHash, UserActive: true}
}

// Only the current token steps up, and no older token is raised with it.
func TestOlderTokensAreNotRaised(t *testing.T) {
	for name, row := range map[string]session.Session{
		"confirmed": confirmedRow(),
		"pending":   pendingRow(),
		"windows": edit(confirmedRow(), ancestors(session.Ancestor{Generation: 6, SupersededAt: start}, session.Ancestor{Generation: 7, SupersededAt: start},
			session.Ancestor{Generation: 8, SupersededAt: start}, session.Ancestor{Generation: 9, SupersededAt: start})),
	} {
		t.Run(name, func(t *testing.T) {
			rules := defaultRules()
			row.Facts = `{"amr":["pwd"]}`
			same, out := rules.StepUp(row, present(10), `{"acr":"2"}`, start+ms)
			require.Equal(t, rotation.Outcome{Event: rotation.EventOlder}, out)
			require.Equal(t, row, same)

			raised, out := rules.StepUp(row, present(20), `{"acr":"2"}`, start+ms)
			require.Equal(t, rotation.EventRotated, out.Event)
			require.Equal(t, raised.Current, out.Generation)
			require.Greater(t, raised.Current, row.Current, "the session rotates")
			require.Equal(t, `{"acr":"2"}`, rotation.Facts(raised))

			_, out = rules.Refresh(raised, present(5), start+2*ms)
			require.Equal(t, rotation.EventTheft, out.Event, "its window was closed")
			older := []int64{20, 10} // the answer of the step-up was lost, or another tab refreshes
			if name == "windows" {
				older = append(older, 6, 7, 8, 9)
			}
			for _, generation := range older {
				lowered, out := rules.Refresh(raised, present(generation), start+2*ms)
				require.Equal(t, rotation.EventRepeated, out.Event, "%d: the session lives", generation)
				require.Equal(t, `{"amr":["pwd"]}`, rotation.Facts(lowered), "%d: whoever has an older token is not raised", generation)
				later, _ := rules.Refresh(lowered, present(lowered.Current), start+3*ms)
				require.Equal(t, `{"amr":["pwd"]}`, rotation.Facts(later), "nor later")
				if generation != 20 {
					_, out = rules.Refresh(raised, present(generation), start+hour)
					require.Equal(t, rotation.EventTheft, out.Event, "%d: its window has closed", generation)
				}
			}

			kept, out := rules.Refresh(raised, present(raised.Current), start+hour)
			require.Equal(t, rotation.EventRotated, out.Event)
			require.Equal(t, `{"acr":"2"}`, rotation.Facts(kept), "the raised session stays raised when it rotates")
			again, out := rules.StepUp(kept, present(kept.Current), `{"acr":"3"}`, start+hour+ms)
			require.Equal(t, rotation.EventRotated, out.Event)
			require.Equal(t, `{"acr":"3"}`, rotation.Facts(again))
		})
	}
}

// A step-up closes no window. It waits while five are open.
func TestAStepUpWhileFiveWindowsAreOpen(t *testing.T) {
	rules := defaultRules()
	row := edit(confirmedRow(), ancestors(session.Ancestor{Generation: 5, SupersededAt: start - 3*ms}, session.Ancestor{Generation: 6, SupersededAt: start},
		session.Ancestor{Generation: 7, SupersededAt: start}, session.Ancestor{Generation: 8, SupersededAt: start}, session.Ancestor{Generation: 9, SupersededAt: start}))
	same, out := rules.StepUp(row, present(20), `{"acr":"2"}`, start+ms)
	require.Equal(t, row, same)
	require.Equal(t, rotation.Outcome{Event: rotation.EventCrowded, Wait: rules.Window - 3*time.Millisecond}, out)
	for _, generation := range []int64{20, 10, 5, 6, 7, 8, 9} {
		_, out := rules.Refresh(same, present(generation), start+ms)
		require.NotZero(t, out.Generation, generation)
	}
	_, early := rules.StepUp(row, present(20), `{"acr":"2"}`, start+ms+session.Millis(out.Wait.Milliseconds())-ms)
	require.Equal(t, rotation.Outcome{Event: rotation.EventCrowded, Wait: time.Millisecond}, early)
	raised, out := rules.StepUp(row, present(20), `{"acr":"2"}`, start+ms+session.Millis(out.Wait.Milliseconds()))
	require.Equal(t, rotation.EventRotated, out.Event)
	require.Equal(t, `{"acr":"2"}`, rotation.Facts(raised))
}

// However often other tabs refresh, a step-up waits one window at most.
func TestAStepUpBesideSteadyRefreshes(t *testing.T) {
	rules := defaultRules()
	for _, every := range []session.Millis{100 * ms, 300 * ms, 1000 * ms} {
		row := rules.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)
		now, since, waits := start, start, 0
		for step := range 4000 {
			now += every
			row, _ = rules.Refresh(row, present(row.Current), now)
			if step%7 != 0 || now < since {
				continue
			}
			after, out := rules.StepUp(row, present(row.Current), `{"acr":"2"}`, now)
			if row = after; out.Event == rotation.EventCrowded {
				waits++
				since = now.Add(out.Wait)
				require.LessOrEqual(t, out.Wait, rules.Window+time.Millisecond)
				continue
			}
			require.Equal(t, rotation.EventRotated, out.Event)
			require.LessOrEqual(t, waits, 2, "every %d ms", every)
			waits = 0
		}
	}
}

// A clock that was ahead, and comes back, delays a step-up for one window.
func TestAStepUpAfterAClockThatWasAhead(t *testing.T) {
	rules := defaultRules()
	ahead := start + 2*hour
	row := edit(confirmedRow(), ancestors(session.Ancestor{Generation: 5, SupersededAt: ahead}, session.Ancestor{Generation: 6, SupersededAt: ahead},
		session.Ancestor{Generation: 7, SupersededAt: ahead}, session.Ancestor{Generation: 8, SupersededAt: ahead}, session.Ancestor{Generation: 9, SupersededAt: ahead}))
	row.LastUsedAt, row.SentAt, row.ConfirmedAt = ahead, ahead, ahead
	settled, out := rules.StepUp(row, present(20), "{}", start)
	require.Equal(t, rotation.Outcome{Event: rotation.EventCrowded, Wait: rules.Window + time.Millisecond}, out)
	_, out = rules.StepUp(settled, present(20), "{}", start.Add(out.Wait))
	require.Equal(t, rotation.EventRotated, out.Event)

	row = edit(row, ancestors(session.Ancestor{Generation: 5, SupersededAt: start}, session.Ancestor{Generation: 6, SupersededAt: start},
		session.Ancestor{Generation: 7, SupersededAt: start}, session.Ancestor{Generation: 8, SupersededAt: start}, session.Ancestor{Generation: 9, SupersededAt: start}))
	row.LastUsedAt, row.SentAt, row.ConfirmedAt = start, start, start
	back := start - 9000*ms // not so far that the row is settled
	same, out := rules.StepUp(row, present(20), "{}", back)
	require.Equal(t, 19*time.Second+time.Millisecond, out.Wait, "the window is open until the clock shows its end")
	_, out = rules.StepUp(same, present(20), "{}", back.Add(out.Wait))
	require.Equal(t, rotation.EventRotated, out.Event)
}

// An attempt that is taken back is free again, but only while the login waits.
func TestTakeBack(t *testing.T) {
	row := pending()
	require.Equal(t, row, rotation.TakeBack(row, ticketHash, start), "there is none")
	tried, ok := rotation.Try(row, ticketHash, start)
	require.True(t, ok)
	require.Equal(t, row, rotation.TakeBack(tried, ticketHash, start))
	require.Equal(t, tried, rotation.TakeBack(tried, session.HashOf("another"), start))
	require.Equal(t, tried, rotation.TakeBack(tried, ticketHash, start+hour))
}

func TestAStepUpRefusesWhatARefreshRefuses(t *testing.T) {
	rules := defaultRules()
	_, out := rules.StepUp(confirmedRow(), rotation.Presented{Generation: 20, SecretHash: ticketHash, UserActive: true}, "{}", start)
	require.Equal(t, rotation.EventUnknown, out.Event, "another secret")
	_, out = rules.StepUp(confirmedRow().Revoke(session.ReasonLogout, start), present(20), "{}", start)
	require.Equal(t, rotation.EventUnknown, out.Event, "revoked")
	windows := edit(confirmedRow(), ancestors(session.Ancestor{Generation: 6, SupersededAt: start}, session.Ancestor{Generation: 7, SupersededAt: start},
		session.Ancestor{Generation: 8, SupersededAt: start}, session.Ancestor{Generation: 9, SupersededAt: start}))
	same, out := rules.StepUp(windows, present(20), "{}", start+10*hour)
	require.Equal(t, rotation.EventExpired, out.Event, "expired")
	require.Equal(t, windows, same, "the clock may be wrong")
	_, out = rules.StepUp(pending(), present(0), "{}", start)
	require.Equal(t, rotation.EventUnknown, out.Event, "pending")
	gone := present(20)
	gone.UserActive = false
	after, out := rules.StepUp(confirmedRow(), gone, "{}", start)
	require.Equal(t, rotation.EventUser, out.Event)
	require.True(t, after.Revoked())
}
