package throttle

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// clock is a clock that a test sets.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// bench is a limiter with a clock that the test sets.
type bench struct {
	*testing.T
	*clock
	*Limiter
}

func newBench(t *testing.T) bench {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	return bench{T: t, clock: c, Limiter: New(&Memory{Clock: c.read}, Config{})}
}

const owner = "owner@example.org"

// begin makes an attempt and requires that it passes.
func (b bench) begin(account, address string) *Attempt {
	b.Helper()
	a, err := b.Begin(b.Context(), account, address)
	require.NoError(b, err)
	return a
}

func (b bench) fail(n int, account, address string) {
	b.Helper()
	for range n {
		b.begin(account, address)
	}
}

func (b bench) signIn(account, address string) {
	b.Helper()
	require.NoError(b, b.begin(account, address).Succeeded(b.Context()))
}

// delayed requires that an attempt must wait so long.
func (b bench) delayed(want time.Duration, account, address string) {
	b.Helper()
	a, err := b.Begin(b.Context(), account, address)
	require.ErrorIs(b, err, ErrDelayed)
	require.Nil(b, a)
	var delayed *Delayed
	require.ErrorAs(b, err, &delayed)
	require.Equal(b, want, delayed.RetryAfter)
	require.Equal(b, "throttle: too many failures: retry after "+want.String(), err.Error())
}

// v4 returns the address number i.
func v4(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255) }

// The delay grows from 30 seconds to an hour. It is the same from any address, and it is true.
func TestDelays(t *testing.T) {
	b := newBench(t)
	for i := range 10 {
		b.begin(owner, v4(i))
	}
	for i, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute,
		16 * time.Minute, 28*time.Minute + 30*time.Second, // an hour is over, and the count has decayed by one
		32 * time.Minute, 32 * time.Minute, 56 * time.Minute, time.Hour, time.Hour, time.Hour} {
		b.delayed(want, owner, v4(100+i))
		b.delayed(want, owner, v4(200+i)) // a refusal does not count
		b.add(want - time.Millisecond)
		b.delayed(time.Millisecond, owner, v4(200+i))
		b.add(time.Millisecond)
		b.begin(owner, v4(300+i))
	}
	b.begin("other@example.org", v4(1))
}

func TestTheCountDecaysByOneAnHour(t *testing.T) {
	b := newBench(t)
	b.fail(10, owner, v4(1))
	b.add(5 * time.Hour)
	b.fail(5, owner, v4(1))
	b.delayed(30*time.Second, owner, v4(1))
	b.add(11 * time.Hour)
	b.fail(10, owner, v4(1))
}

// A known place has a budget of its own. Each success resets only its own budget.
func TestKnownPlaces(t *testing.T) {
	b := newBench(t)
	home, other := v4(1), v4(2)
	b.signIn(owner, home)
	require.False(t, b.begin(owner, other).Known())
	b.fail(9, owner, other)
	b.delayed(30*time.Second, owner, other)
	b.fail(9, owner, home)
	require.True(t, b.begin(owner, home).Known())
	b.delayed(30*time.Second, owner, home)

	b.add(30 * time.Second)
	b.signIn(owner, home) // resets that of home
	b.fail(10, owner, home)
	b.delayed(30*time.Second, owner, home)
	b.signIn(owner, other) // resets that of strangers, and makes the other address known
	b.fail(5, owner, v4(3))
	b.delayed(30*time.Second, owner, home)
	require.True(t, b.begin(owner, other).Known())
}

func TestASuccessOfAKnownPlaceDoesNotLetStrangersGuess(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, v4(1))
	b.fail(10, owner, v4(2))
	b.signIn(owner, v4(1))
	b.delayed(30*time.Second, owner, v4(9))
}

func TestKnownPlacesEnd(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, v4(1))
	b.add(30*24*time.Hour - time.Second)
	require.True(t, b.begin(owner, v4(1)).Known())
	b.add(time.Second)
	require.False(t, b.begin(owner, v4(1)).Known())

	for i := range 9 { // the ninth takes the place of the one that was not used for the longest time
		b.add(time.Second)
		b.signIn(owner, v4(10+i))
		if i < 8 {
			b.add(time.Second)
			b.signIn(owner, v4(10))
		}
	}
	for i, want := range []bool{true, false, true, true, true, true, true, true, true} {
		a := b.begin(owner, v4(10+i))
		require.Equal(t, want, a.Known(), i)
		require.NoError(t, a.Cancelled(t.Context()))
	}
}

// 100 failures from one address, at accounts of strangers, are free. A known place is not concerned.
func TestAddresses(t *testing.T) {
	b := newBench(t)
	const bad = "2001:db8:1:2::1"
	b.signIn(owner, bad)
	for i := range 100 {
		b.begin(fmt.Sprint("user", i), bad)
	}
	b.delayed(30*time.Second, "another", bad)
	b.delayed(30*time.Second, "another", "2001:db8:1:2:ffff::7%eth0")
	b.begin("another", "2001:db8:1:3::1")
	b.signIn(owner, bad)

	// A refusal of the address is not counted for the account.
	b.fail(8, "victim", v4(1))
	for range 20 {
		b.delayed(30*time.Second, "victim", bad)
	}
	b.fail(2, "victim", v4(2))
	b.delayed(30*time.Second, "victim", v4(2))

	b.add(10 * time.Minute)
	b.begin("another", bad)
	b.delayed(30*time.Second, "another", bad)
	b.add(30 * time.Second)
	b.begin("another", bad)
	b.delayed(time.Minute, "another", bad)
}

// Neither a success nor an attempt that was cancelled counts for the address or the account.
func TestTakenBack(t *testing.T) {
	b := newBench(t)
	for i := range 200 {
		b.signIn(fmt.Sprint("user", i), v4(1))
	}
	for range 200 {
		a := b.begin("victim", v4(2))
		require.NoError(t, a.Cancelled(t.Context()))
		require.NoError(t, a.Cancelled(t.Context()))
		require.NoError(t, a.Succeeded(t.Context()))
	}
	b.fail(10, "victim", v4(2))
	b.delayed(30*time.Second, "victim", v4(2))
	b.add(30 * time.Second)
	require.NoError(t, b.begin("victim", v4(2)).Cancelled(t.Context())) // nor does it make the next one wait
	b.begin("victim", v4(2))
}

// A right password whose second step is still to come delays nobody, and counts for no address. Strangers can begin 20 of them at
// once, and known places as many as they like.
// Passed takes the count of the address back while the attempt goes on. That of the account stays until its end.
func TestPassed(t *testing.T) {
	limiter := New(new(Memory), Config{})
	var last *Attempt
	for i := range 150 {
		var err error
		last, err = limiter.Begin(t.Context(), fmt.Sprintf("user%d@mail.com", i), "192.0.2.1")
		require.NoError(t, err)
		require.NoError(t, last.Passed(t.Context()))
	}
	for range 9 {
		_, err := limiter.Begin(t.Context(), "user149@mail.com", "198.51.100.1")
		require.NoError(t, err)
	}
	_, err := limiter.Begin(t.Context(), "user149@mail.com", "198.51.100.1")
	require.ErrorIs(t, err, ErrDelayed)
	require.NoError(t, last.Cancelled(t.Context()))
	require.NoError(t, last.Passed(t.Context()), "too late: it changes nothing")
	for i := range 100 {
		_, err = limiter.Begin(t.Context(), fmt.Sprintf("other%d@mail.com", i), "192.0.2.1")
		require.NoError(t, err)
	}
	_, err = limiter.Begin(t.Context(), "another@mail.com", "192.0.2.1")
	require.ErrorIs(t, err, ErrDelayed, "nothing was taken back twice")
}

// A limiter that New has not made says so, and does not panic. A pointer that is nil after an error is no reason to count in memory.
func TestLimitersWithoutAStore(t *testing.T) {
	_, err := new(Limiter).Begin(t.Context(), "john@mail.com", "192.0.2.1")
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorContains(t, err, "throttle.New")
	require.ErrorIs(t, new(Limiter).Ready(t.Context()), ErrUnavailable)
	for _, config := range []Config{{}, {InsecureFailOpen: true}} { // a store that is away may come back, and this one never does
		lost := New((*Memory)(nil), config)
		_, err = lost.Begin(t.Context(), "john@mail.com", "192.0.2.1")
		require.ErrorIs(t, err, ErrUnavailable, config)
		require.ErrorIs(t, lost.Ready(t.Context()), ErrUnavailable, config)
	}
}

func TestContinued(t *testing.T) {
	b := newBench(t)
	b.signIn("victim", v4(1))
	for range 200 {
		require.NoError(t, b.begin("victim", v4(1)).Continued(t.Context()))
	}
	for i := range 20 {
		require.NoError(t, b.begin("victim", v4(2+i%2)).Continued(t.Context()), i)
	}
	b.delayed(time.Hour, "victim", v4(2))
	b.begin("victim", v4(1))
	for i := range 150 {
		require.NoError(t, b.begin(fmt.Sprint("user", i), v4(2)).Continued(t.Context()))
	}
	b.fail(9, "other", v4(2))
	require.NoError(t, b.begin("other", v4(2)).Continued(t.Context()))
	b.fail(1, "other", v4(2)) // the tenth
	b.delayed(30*time.Second, "other", v4(2))
}

// Logins whose two steps are right delay nobody, also from new places and without an address.
func TestCompleted(t *testing.T) {
	for name, address := range map[string]func(i int) string{"new places": v4, "no address": func(int) string { return "" }} {
		b := newBench(t)
		login := func(i int) {
			require.NoError(t, b.begin("owner", address(i)).Continued(t.Context()), name, i)
			b.add(time.Minute)
			require.NoError(t, b.begin("owner", address(i)).Completed(t.Context(), time.Minute), name, i)
		}
		for i := range 300 {
			login(i)
		}
		for i := range 18 { // somebody else has the password, and no code
			require.NoError(t, b.begin("owner", v4(1000+i)).Continued(t.Context()), name, i)
		}
		for i := range 50 {
			login(300 + i)
		}
		for range 2 { // 50 minutes have passed
			_, _ = b.Begin(t.Context(), "owner", v4(2000))
		}
		_, err := b.Begin(t.Context(), "owner", v4(2000))
		require.ErrorIs(t, err, ErrDelayed, "%s: what the stranger has begun still counts", name)
	}

	b := newBench(t)
	b.signIn("owner", v4(1))
	for i := range 19 {
		require.NoError(t, b.begin("owner", v4(10+i)).Continued(t.Context()))
	}
	for range 100 {
		require.NoError(t, b.begin("owner", v4(1)).Completed(t.Context(), time.Minute))
	}
	b.begin("owner", v4(50))
	_, err := b.Begin(t.Context(), "owner", v4(50))
	require.ErrorIs(t, err, ErrDelayed, "a known place has left nothing that could be taken back")
	require.NoError(t, b.begin("owner", v4(1)).Completed(t.Context(), 2*time.Hour))
	for i, ago := range []time.Duration{-time.Hour, time.Hour} {
		b := newBench(t)
		for range 18 {
			require.NoError(t, b.begin("owner", v4(1)).Continued(t.Context()))
		}
		require.NoError(t, b.begin("owner", v4(2+i)).Completed(t.Context(), ago))
		b.begin("owner", v4(5))
		b.begin("owner", v4(5))
		_, err := b.Begin(t.Context(), "owner", v4(5))
		require.ErrorIs(t, err, ErrDelayed, "nothing is left that could be taken back")
	}
}

func TestClear(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, v4(1))
	b.fail(10, owner, v4(1))
	b.fail(10, owner, v4(2))
	require.NoError(t, b.Clear(t.Context(), owner))
	require.NoError(t, b.Clear(t.Context(), "nobody"))
	b.fail(10, owner, v4(1))
	b.fail(10, owner, v4(2))
	require.NoError(t, b.Clear(t.Context(), owner))
	require.True(t, b.begin(owner, v4(1)).Known())

	for _, address := range []string{v4(1), v4(3)} { // the limits of a day begin again too
		for range 4 {
			b.exhaust(owner, address)
			require.NoError(t, b.Clear(t.Context(), owner))
		}
	}
}

// Also counts an attempt for a second name of the account: each has its limits, and both end together.
func TestAlso(t *testing.T) {
	b := newBench(t)
	both := func(account, address string) (*Attempt, error) {
		a, err := b.Begin(t.Context(), account, address)
		if err == nil {
			err = a.Also(t.Context(), "id")
		}
		return a, err
	}
	for i := range 10 {
		_, err := both(fmt.Sprint("address", i), v4(1))
		require.NoError(t, err)
	}
	_, err := both("address10", v4(1))
	require.ErrorIs(t, err, ErrDelayed)
	b.fail(10, "address10", v4(2)) // the refused attempt was taken back
	require.NoError(t, b.Clear(t.Context(), "id"))
	a, err := both("address11", v4(1))
	require.NoError(t, err)
	require.NoError(t, a.Succeeded(t.Context()))
	require.True(t, b.begin("address11", v4(1)).Known())
	require.True(t, b.begin("id", v4(1)).Known())
}

// A place that one name of the account knows counts for the other one, from the first attempt on. Only a success makes it known by
// that name.
func TestAPlaceOfTheOtherName(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, v4(1)) // by a process that knew only the address
	for i := range 10 {
		b.fail(1, "id", v4(10+i))
	}
	_, err := b.Begin(t.Context(), "id", v4(2))
	require.ErrorIs(t, err, ErrDelayed)
	a := b.begin(owner, v4(1))
	require.NoError(t, a.Also(t.Context(), "id"))
	require.True(t, a.Known())
	_, err = b.Begin(t.Context(), "id", v4(1))
	require.ErrorIs(t, err, ErrDelayed, "a failure makes no place known")
	b.add(time.Minute)
	a = b.begin(owner, v4(1))
	require.NoError(t, a.Also(t.Context(), "id"))
	require.NoError(t, a.Succeeded(t.Context()))
	require.True(t, b.begin("id", v4(1)).Known())

	// The known places of a day have a limit, by this name too.
	c := newBench(t)
	c.signIn(owner, v4(1))
	passed := 0
	for range 100 {
		require.NoError(t, c.Clear(t.Context(), owner))
		if a := c.begin(owner, v4(1)); a.Also(t.Context(), "id") == nil {
			passed++
		}
	}
	require.Equal(t, 32, passed)

	require.NoError(t, c.Remember(t.Context(), owner, v4(9)))
	require.True(t, c.begin(owner, v4(9)).Known())
}

// Strangers do not delay who is signed in, and a stolen session guesses no faster than a stranger.
func TestSessions(t *testing.T) {
	b := newBench(t)
	begin := func(session string) (*Attempt, error) {
		a, err := b.BeginSession(t.Context(), owner, session)
		if err == nil {
			require.True(t, a.Known())
			err = a.Also(t.Context(), "id")
		}
		return a, err
	}
	b.signIn(owner, v4(1))
	b.exhaust(owner, v4(2))
	b.exhaust("id", v4(2))
	fail := func(n int) {
		for range n {
			_, err := begin("one")
			require.NoError(t, err)
		}
	}
	fail(5)
	right, err := begin("one")
	require.NoError(t, err)
	require.NoError(t, right.Succeeded(t.Context()))
	fail(10) // a success has begun anew
	_, err = begin("one")
	var delayed *Delayed
	require.ErrorAs(t, err, &delayed)
	require.LessOrEqual(t, delayed.RetryAfter, time.Hour)
	a, err := begin("two")
	require.NoError(t, err)
	require.NoError(t, a.Cancelled(t.Context()))
	require.False(t, b.begin("another", "").Known())

	// Whatever a stolen session does in a day, the known places have some attempts left.
	c := newBench(t)
	c.signIn(owner, v4(1))
	tries := 0
	for range 24 * 60 {
		if _, err := c.BeginSession(t.Context(), owner, "stolen"); err == nil {
			tries++
		}
		require.NoError(t, c.begin(owner, v4(1)).Succeeded(t.Context()))
		c.add(time.Minute)
	}
	require.LessOrEqual(t, tries, 44)
	require.Greater(t, tries, 24)
	_, err = c.BeginSession(t.Context(), owner, "one")
	require.NoError(t, err)
	_, err = New((*Memory)(nil), Config{}).BeginSession(t.Context(), owner, "one")
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = New(away{errors.New("away")}, Config{InsecureFailOpen: true}).BeginSession(t.Context(), owner, "one")
	require.NoError(t, err)
}

// While the memory is full there is no record for a session. Then sessions leave the known places half of their attempts.
func TestSessionsWhileTheMemoryIsFull(t *testing.T) {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b := bench{T: t, clock: c, Limiter: New(&Memory{Clock: c.read, Records: 1024}, Config{})}
	b.signIn(owner, v4(1))
	for i := range 20_000 {
		_, _ = b.Begin(t.Context(), fmt.Sprint("stranger", i), v4(i%250))
	}
	tries := 0
	for i := range 100 {
		_, err := b.BeginSession(t.Context(), owner, fmt.Sprint(i))
		if err == nil {
			tries++
			continue
		}
		var delayed *Delayed
		require.ErrorAs(t, err, &delayed)
		require.LessOrEqual(t, delayed.RetryAfter, time.Hour)
	}
	require.Equal(t, 12, tries)
	b.fail(10, owner, v4(1))
}

// While the memory is full, the second name tells nobody which accounts have a record.
func TestASecondNameWhileTheMemoryIsFull(t *testing.T) {
	c := &clock{now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	b := bench{T: t, clock: c, Limiter: New(&Memory{Clock: c.read, Records: 1024}, Config{})}
	b.signIn(owner, v4(1))
	b.signIn("nobody@example.org", v4(1))
	for i := range 20_000 {
		_, _ = b.Begin(t.Context(), fmt.Sprint("stranger", i), v4(i%250))
	}
	for name, also := range map[string]string{owner: "id", "nobody@example.org": ""} {
		require.NoError(t, b.begin(name, v4(1)).Also(t.Context(), also))
	}
}

// A client whose address is not known is a stranger, also after a success.
func TestNoAddressIsNoPlace(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, "")
	require.False(t, b.begin(owner, "").Known())
}

// The limits of a day are also those of the codes of a second factor, which a new password does not change.
func TestClearDelays(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, v4(1))
	for _, address := range []string{v4(1), v4(2)} {
		failures := 0
		for range 10 {
			for {
				if _, err := b.Begin(t.Context(), owner, address); err != nil {
					break
				}
				failures++
			}
			require.NoError(t, b.ClearDelays(t.Context(), owner))
		}
		require.GreaterOrEqual(t, failures, 20)
		require.LessOrEqual(t, failures, 24)
	}
	require.NoError(t, b.Clear(t.Context(), owner))
	require.True(t, b.begin(owner, v4(1)).Known())
}

// exhaust fails 7 times and then signs in, until the limit of the day is reached. It returns how many failures there
// were, and how long the next attempt must wait. For strangers the address is that of the first, and the next ones
// follow.
func (b bench) exhaust(account, address string) (failures int, wait time.Duration) {
	b.Helper()
	known := false
	for i := 0; ; i++ {
		from := address
		if !known && i > 0 {
			from = fmt.Sprintf("2001:db8:%x::1", i)
		}
		a, err := b.Begin(b.Context(), account, from)
		var delayed *Delayed
		if errors.As(err, &delayed) {
			return failures, delayed.RetryAfter
		}
		known = a.Known()
		if i%8 == 7 {
			require.NoError(b, a.Succeeded(b.Context()))
		} else {
			failures++
		}
	}
}

// No success resets the limits of a day.
func TestLimitsOfADay(t *testing.T) {
	b := newBench(t)
	failures, wait := b.exhaust(owner, v4(1))
	require.Equal(t, 20, failures)
	require.Equal(t, time.Hour, wait)
	b.add(time.Hour)
	b.signIn(owner, v4(1))
	b.signIn("other", v4(2))

	failures, wait = b.exhaust("other", v4(2))
	require.Equal(t, 24, failures)
	require.Equal(t, time.Hour, wait)

	b.signIn("both", v4(1))
	b.signIn("both", v4(2))
	failures, _ = b.exhaust("both", v4(1))
	require.Equal(t, 24, failures)
	failures, _ = b.exhaust("both", v4(2))
	require.Equal(t, 8, failures)
	require.NoError(t, b.Clear(t.Context(), "both"))
	failures, _ = b.exhaust("both", v4(2))
	require.Equal(t, 24, failures)
}

// An attempt that is taken back late takes back what is left of it.
func TestTakenBackLate(t *testing.T) {
	b := newBench(t)
	late := b.begin(owner, v4(1))
	b.add(30 * time.Minute)
	b.fail(9, owner, v4(1)) // the count is 9.5
	require.NoError(t, late.Cancelled(t.Context()))
	b.begin(owner, v4(1)) // 9 and 1 more
	b.delayed(30*time.Second, owner, v4(1))

	late = b.begin("other", v4(1))
	b.add(90 * time.Minute)
	b.fail(10, "other", v4(1))
	require.NoError(t, late.Cancelled(t.Context()))
	b.delayed(30*time.Second, "other", v4(1))

	// The delay is one since the last failure, and not since the one before the attempt that is taken back.
	b.fail(9, "third", v4(1))
	late = b.begin("third", v4(1))
	b.add(30 * time.Second)
	b.begin("third", v4(1))
	require.NoError(t, late.Cancelled(t.Context()))
	b.delayed(30*time.Second, "third", v4(1))
}

// A delay ends when the count has decayed below 10.
func TestDelayDecays(t *testing.T) {
	b := newBench(t)
	b.begin(owner, v4(1))
	b.add(time.Hour - time.Second)
	b.fail(9, owner, v4(1))
	b.delayed(time.Second, owner, v4(1))
	b.add(time.Second)
	b.begin(owner, v4(1))
}

// One hostile known place, however it tries, leaves the others open.
func TestHostileKnownPlace(t *testing.T) {
	b := newBench(t)
	bad, good := v4(1), v4(2)
	b.signIn(owner, bad)
	b.signIn(owner, good)
	for range 3 * 24 * 60 {
		_, err := b.Begin(t.Context(), owner, bad)
		if err != nil {
			require.ErrorIs(t, err, ErrDelayed)
		}
		b.add(time.Minute)
	}
	b.fail(5, owner, good)
	b.signIn(owner, good)
}

func TestParallelAttempts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limiter := New(nil, Config{})
		var wait sync.WaitGroup
		passed := make(chan *Attempt, 500)
		for range 500 {
			wait.Go(func() {
				if a, err := limiter.Begin(t.Context(), owner, "192.0.2.1"); err == nil {
					passed <- a
				}
			})
		}
		wait.Wait()
		require.Len(t, passed, 10)
		time.Sleep(30 * time.Second)
		_, err := limiter.Begin(t.Context(), owner, "192.0.2.1")
		require.NoError(t, err)
	})
}

// The clock is set back by a day: no delay becomes longer than an hour, and none is forgotten.
func TestClockSetBack(t *testing.T) {
	b := newBench(t)
	b.fail(10, owner, v4(1))
	b.add(-24 * time.Hour)
	b.delayed(30*time.Second, owner, v4(1))
	b.add(30 * time.Second)
	b.begin(owner, v4(1))
	b.delayed(time.Minute, owner, v4(1))

	b.signIn("other", v4(2))
	b.add(-40 * 24 * time.Hour)
	b.signIn("other", v4(3)) // a known place ends 30 days later by the new clock
	b.add(30*24*time.Hour - time.Second)
	require.True(t, b.begin("other", v4(2)).Known())
	b.add(time.Second)
	require.False(t, b.begin("other", v4(2)).Known())

	for i := range 100 {
		b.begin(fmt.Sprint("user", i), v4(4))
	}
	b.add(-24 * time.Hour)
	b.delayed(30*time.Second, "another", v4(4))
	b.add(30 * time.Second)
	b.begin("another", v4(4))
}

func TestTheAddressOfAKey(t *testing.T) {
	for _, same := range [][]string{
		{"192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "64:ff9b::192.0.2.1", "::ffff:192.0.2.1%1"},
		{"192.0.2.2", "64:ff9b::c000:202"},
		{"2001:db8::1", "2001:db8::", "2001:0DB8::ffff:1", "2001:db8::1%eth0", "2001:db8:0:0:1:2:3:4"},
		{"2001:db8:0:1::"},
		{"::1", "::"},
		{"127.0.0.1"},
		{""}, {"unix"}, {"@"}, {"192.0.2.1:80"}, {"192.0.2.01"}, {"\x00"},
	} {
		for _, address := range same {
			require.Equal(t, addressKey(same[0]), addressKey(address), address)
		}
	}
	seen := map[Key]string{}
	for _, address := range []string{"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::", "::1", "127.0.0.1", "", "unix"} {
		require.NotContains(t, seen, addressKey(address))
		seen[addressKey(address)] = address
		seen[accountKey(address)] = address
	}
	require.Len(t, accountKey("a").String(), 32)
}

// away is a store that is away.
type away struct{ err error }

func (s away) Update(context.Context, Key, func(Record, time.Time) (Record, time.Time, error)) error {
	return s.err
}

// half is a store that is away for every second call.
type half struct {
	Memory
	calls int
}

func (s *half) Update(ctx context.Context, key Key, change func(Record, time.Time) (Record, time.Time, error)) error {
	if s.calls++; s.calls%2 == 0 {
		return errors.New("gone")
	}
	return s.Memory.Update(ctx, key, change)
}

func TestStoreAway(t *testing.T) {
	gone := errors.New("gone")
	closed := New(away{gone}, Config{})
	a, err := closed.Begin(t.Context(), owner, v4(1))
	require.Nil(t, a)
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, gone)
	require.NotErrorIs(t, err, ErrDelayed)
	require.NotContains(t, err.Error(), owner)
	require.ErrorIs(t, closed.Clear(t.Context(), owner), ErrUnavailable)

	open := New(away{gone}, Config{InsecureFailOpen: true})
	for range 20 {
		a, err := open.Begin(t.Context(), owner, v4(1))
		require.NoError(t, err)
		require.False(t, a.Known())
		require.NoError(t, a.Succeeded(t.Context()))
	}
	_, err = New(away{&Delayed{RetryAfter: time.Minute}}, Config{InsecureFailOpen: true}).Begin(t.Context(), owner, v4(1))
	require.ErrorIs(t, err, ErrDelayed)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = New(nil, Config{InsecureFailOpen: true}).Begin(ctx, owner, v4(1))
	require.ErrorIs(t, err, context.Canceled)

	// The store is away in the middle: the account is counted and the address is not.
	_, err = New(new(half), Config{}).Begin(t.Context(), owner, v4(1))
	require.ErrorIs(t, err, ErrUnavailable)
	a, err = New(new(half), Config{InsecureFailOpen: true}).Begin(t.Context(), owner, v4(1))
	require.NoError(t, err)
	require.NoError(t, a.Succeeded(t.Context()))
	a, err = New(&half{calls: 0}, Config{InsecureFailOpen: true}).Begin(t.Context(), owner, v4(1))
	require.NoError(t, err)
	a.limiter = closed
	require.ErrorIs(t, a.Cancelled(t.Context()), ErrUnavailable)
}

// A store that does not answer counts as away after 5 seconds.
func TestStoreStalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		_, err := New(stalled{}, Config{InsecureFailOpen: true}).Begin(t.Context(), owner, "192.0.2.1")
		require.NoError(t, err)
		require.Equal(t, storeTimeout, time.Since(start))
		_, err = New(stalled{}, Config{}).Begin(t.Context(), owner, "192.0.2.1")
		require.ErrorIs(t, err, ErrUnavailable)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

type stalled struct{}

func (stalled) Update(ctx context.Context, _ Key, _ func(Record, time.Time) (Record, time.Time, error)) error {
	<-ctx.Done()
	return ctx.Err()
}

// A record of another version is not overwritten.
func TestUnknownRecord(t *testing.T) {
	store := new(Memory)
	limiter := New(store, Config{})
	for _, key := range []Key{accountKey(owner), addressKey(v4(1))} {
		require.NoError(t, store.Update(t.Context(), key, func(Record, time.Time) (Record, time.Time, error) {
			return "\xff", time.Now().Add(time.Hour), nil
		}))
	}
	_, err := limiter.Begin(t.Context(), owner, v4(2))
	require.ErrorIs(t, err, ErrUnavailable)
	_, err = limiter.Begin(t.Context(), "other", v4(1))
	require.ErrorIs(t, err, ErrUnavailable)
}

// No name is in a record.
func TestRecordsHoldNoNames(t *testing.T) {
	b := newBench(t)
	b.signIn(owner, "192.0.2.1")
	b.fail(5, owner, "198.51.100.7")
	store := b.store.(*Memory)
	n := 0
	for i := range store.shards {
		for _, row := range store.shards[i].rows {
			text := string(row.key[:]) + string(row.record)
			for _, name := range []string{owner, "owner", "192.0.2", "198.51", string([]byte{192, 0, 2, 1})} {
				require.False(t, strings.Contains(text, name))
			}
			n++
		}
	}
	require.NotZero(t, n)
}

func TestOff(t *testing.T) {
	off := New(away{errors.New("it must not be asked")}, Config{InsecureOff: true})
	for range 200 {
		a, err := off.Begin(t.Context(), owner, v4(1))
		require.NoError(t, err)
		require.False(t, a.Known())
		require.NoError(t, a.Also(t.Context(), "id"))
		require.NoError(t, a.Passed(t.Context()))
		require.NoError(t, a.Succeeded(t.Context()))
	}
	require.NoError(t, off.Remember(t.Context(), owner, v4(1)))
	require.NoError(t, off.Clear(t.Context(), owner))
	require.NoError(t, off.ClearDelays(t.Context(), owner))
	require.NoError(t, off.Ready(t.Context()))
}

// onceLost is a store whose answer to one call is lost after it has been done.
type onceLost struct {
	Memory
	calls, lost int
}

func (o *onceLost) Update(ctx context.Context, key Key,
	change func(Record, time.Time) (Record, time.Time, error)) error {
	err := o.Memory.Update(ctx, key, change)
	if o.calls++; o.calls == o.lost {
		return errors.New("the answer was lost")
	}
	return err
}

// A count is taken back once at most: 50 right passwords whose answers are lost make no room for more wrong ones.
func TestPassedWithoutAnAnswer(t *testing.T) {
	store := &onceLost{}
	limiter := New(store, Config{})
	for i := range 98 {
		_, err := limiter.Begin(t.Context(), fmt.Sprint("a", i), "192.0.2.1")
		require.NoError(t, err)
	}
	for i := range 50 {
		attempt, err := limiter.Begin(t.Context(), fmt.Sprint("b", i), "192.0.2.1")
		require.NoError(t, err)
		store.calls, store.lost = 0, 1
		require.ErrorIs(t, attempt.Passed(t.Context()), ErrUnavailable)
		store.lost = 0
		require.NoError(t, attempt.Succeeded(t.Context()))
	}
	var passed int
	for i := range 50 {
		if _, err := limiter.Begin(t.Context(), fmt.Sprint("c", i), "192.0.2.1"); err == nil {
			passed++
		}
	}
	require.Equal(t, 2, passed)
}
