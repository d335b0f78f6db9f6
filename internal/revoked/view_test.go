package revoked

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// fakeSource is a log in memory. The tests decide what a look-up finds.
type fakeSource struct {
	mu      sync.Mutex
	entries []session.Entry
	broken  error
	now     session.Millis // 0: time.Now

	history chan struct{} // if it is not nil, a read from the start waits until it is closed
	states  map[string]Status
	lookups atomic.Int64
	reads   atomic.Int64
	rewound bool // the next read with an old cursor returns ErrCursor
	wake    func()
}

var errAway = errors.New("the store is away")

func (f *fakeSource) add(entries ...session.Entry) {
	f.mu.Lock()
	f.entries = append(f.entries, entries...)
	wake := f.wake
	f.mu.Unlock()
	if wake != nil {
		wake()
	}
}

func (f *fakeSource) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

func (f *fakeSource) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	f.reads.Add(1)
	if after == session.Start && f.history != nil {
		select {
		case <-f.history:
		case <-ctx.Done():
			return session.Page{}, ctx.Err()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	from := 0
	switch {
	case f.broken != nil:
		return session.Page{}, f.broken
	case after == session.End:
		from = len(f.entries)
	case after != session.Start && f.rewound:
		f.rewound = false
		return session.Page{}, session.ErrCursor
	case after != session.Start:
		fmt.Sscan(string(after), &from)
	}
	to := min(from+limit, len(f.entries))
	for _, e := range f.entries[from:to] {
		each(e)
	}
	now := f.now
	if now == 0 {
		now = session.MillisOf(time.Now())
	}
	return session.Page{Next: session.Cursor(fmt.Sprint(to)), More: to < len(f.entries), Now: now}, nil
}

func (f *fakeSource) Lookup(_ context.Context, sessionID, userID string) (Status, error) {
	f.lookups.Add(1)
	time.Sleep(10 * time.Millisecond)
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.states[sessionID], f.broken
}

// notifyingSource wakes the view.
type notifyingSource struct{ *fakeSource }

func (n notifyingSource) Notify(ctx context.Context, wake func()) error {
	n.set(func() { n.wake = wake })
	<-ctx.Done()
	return nil
}

func open(t *testing.T, source Source, changes ...func(*Config)) *View {
	t.Helper()
	cfg := Config{Source: source, Name: "the store", Logger: slog.New(slog.DiscardHandler), Timeout: 5 * time.Second,
		Interval: time.Second, MaxStaleness: 30 * time.Second, Bytes: 1 << 20}
	for _, change := range changes {
		change(&cfg)
	}
	v, err := Open(cfg)
	require.NoError(t, err)
	t.Cleanup(v.Close)
	return v
}

func (v *View) check(t *testing.T, id string, version ...int64) error {
	t.Helper()
	at := session.Version{}
	if len(version) > 0 {
		at.User = version[0]
	}
	ref := v.Ref(id, "user of "+id, at, 0)
	return v.Check(t.Context(), &ref, time.Now())
}

func far() session.Millis { return session.MillisOf(time.Now().Add(20 * 24 * time.Hour)) }

func TestTheLogIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		source.add(session.RevokedEntry("old", far()))
		v := open(t, source)
		synctest.Wait()
		require.ErrorIs(t, v.check(t, "old"), ErrRevoked, "from the history")
		require.NoError(t, v.check(t, "a"))
		source.add(session.RevokedEntry("a", far()), session.CutEntry("user of b", session.Cutoff{Ended: 5, Spared: "kept", KeepUntil: far()}),
			session.CutEntry("user of c", session.Cutoff{Changed: 5, KeepUntil: far()}))
		time.Sleep(1050 * time.Millisecond)
		require.ErrorIs(t, v.check(t, "a"), ErrRevoked)
		require.ErrorIs(t, v.check(t, "b", 4), ErrRevoked)
		require.NoError(t, v.check(t, "b", 5))
		require.ErrorIs(t, v.check(t, "c", 4), ErrOutdated)
		require.NoError(t, v.check(t, "c", 5))
		kept := v.Ref("kept", "user of b", session.Version{User: 1}, 0)
		require.NoError(t, v.Check(t.Context(), &kept, time.Now()))
		require.Zero(t, source.lookups.Load(), "memory knows everything")
	})
}

func TestACutOffOfEverybody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, source)
		synctest.Wait()
		group := session.GroupOfUser("user of a")
		source.add(session.AllEntry(group, session.Cutoff{Ended: 7}), session.AllEntry((group+1)%session.Groups, session.Cutoff{Ended: 9}))
		time.Sleep(2 * time.Second)
		ref := v.Ref("a", "user of a", session.Version{All: 6}, 0)
		require.ErrorIs(t, v.Check(t.Context(), &ref, time.Now()), ErrRevoked)
		ref.Version.All = 7
		require.NoError(t, v.Check(t.Context(), &ref, time.Now()), "the other group's is larger")
		source.add(session.AllEntry(session.AllGroups, session.Cutoff{Ended: 8}))
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, v.Check(t.Context(), &ref, time.Now()), ErrRevoked)
	})
}

// Until the whole log was read, a session that memory does not know is looked up once. A revoked one never passes.
func TestBeforeTheHistoryIsRead(t *testing.T) {
	for _, insecure := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			source := &fakeSource{history: make(chan struct{}), states: map[string]Status{
				"revoked": {Revoked: true, KeepUntil: far()},
				"cut":     {User: session.CutEntry("user of cut", session.Cutoff{Ended: 3, KeepUntil: far()})},
				"all":     {All: session.AllEntry(session.GroupOfUser("user of all"), session.Cutoff{Ended: 2})},
			}}
			began := time.Now()
			v := open(t, source, func(c *Config) { c.Insecure = insecure })
			require.Less(t, time.Since(began), time.Second)
			var group sync.WaitGroup
			for range 50 {
				group.Go(func() {
					require.NoError(t, v.check(t, "good"))
					require.ErrorIs(t, v.check(t, "revoked"), ErrRevoked)
				})
			}
			group.Wait()
			require.EqualValues(t, 2, source.lookups.Load(), "one for each session")
			require.ErrorIs(t, v.check(t, "cut", 2), ErrRevoked)
			require.NoError(t, v.check(t, "cut", 3))
			all := v.Ref("all", "user of all", session.Version{All: 1}, 0)
			require.ErrorIs(t, v.Check(t.Context(), &all, time.Now()), ErrRevoked)
			v.Learn("new", "user of new")(session.Cutoff{})
			made := v.Learn("lost", "user of lost")
			v.Apply(session.RevokedEntry("lost", session.MillisOf(time.Now())+1)) // it leaves memory at once
			made(session.Cutoff{})
			require.False(t, v.seen.has(v.hashOf("lost")), "it was revoked before its maker knew that it was stored")
			lookups := source.lookups.Load()
			source.add(session.RevokedEntry("good", far()))
			time.Sleep(2 * time.Second)
			require.ErrorIs(t, v.check(t, "good"), ErrRevoked, "what is remembered ends with the log")
			require.Equal(t, lookups, source.lookups.Load())

			source.set(func() { source.broken = errAway })
			require.ErrorIs(t, v.check(t, "unknown"), errAway, "insecure: %v", insecure)
			source.set(func() { source.broken = nil })
			close(source.history)
			time.Sleep(2 * time.Second)
			lookups = source.lookups.Load()
			require.NoError(t, v.check(t, "another"))
			require.Equal(t, lookups, source.lookups.Load(), "the log is read")
		})
	}
}

// What does not fit is looked up. The answer is exact, however much was revoked.
func TestMoreThanMemoryHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const revoked = 400_000 // 1 MiB holds about 50,000
		source := &fakeSource{states: map[string]Status{}}
		for i := range revoked {
			source.entries = append(source.entries, session.RevokedEntry(fmt.Sprint("r", i), far()))
		}
		for i := 0; i < revoked; i += 4000 {
			source.states[fmt.Sprint("r", i)] = Status{Revoked: true, KeepUntil: far()}
		}
		v := open(t, source, func(c *Config) { c.Insecure = true })
		time.Sleep(2 * time.Second)
		_, bytes, compact := v.set.stats()
		require.True(t, compact)
		require.LessOrEqual(t, bytes, 1<<20)
		for range 3 {
			for i := 0; i < revoked; i += 4000 {
				require.ErrorIs(t, v.check(t, fmt.Sprint("r", i)), ErrRevoked)
				require.NoError(t, v.check(t, fmt.Sprint("g", i)))
			}
		}
		require.LessOrEqual(t, source.lookups.Load(), int64(2*revoked/4000), "each token is looked up once at most")
		require.NotZero(t, source.lookups.Load())

		source.set(func() { source.broken = errAway })
		require.ErrorIs(t, v.check(t, "r2000"), errAway, "neither 401 nor a pass")
		require.ErrorIs(t, v.check(t, "r0"), ErrRevoked, "it was looked up before")
	})
}

func TestALogThatWasRewrittenIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		source.add(session.RevokedEntry("a", far()))
		v := open(t, source)
		synctest.Wait()
		source.set(func() { // a failover that lost an entry, and a new one in its place
			source.entries = []session.Entry{session.RevokedEntry("b", far())}
			source.rewound = true
		})
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, v.check(t, "a"), ErrRevoked, "what this process knows, it knows")
		require.ErrorIs(t, v.check(t, "b"), ErrRevoked)
		require.NoError(t, v.check(t, "c"))
	})
}

// What was revoked in the lost part of a log is looked up until the rest is read again, also if it was looked up before.
func TestALogThatWasRewrittenAndCannotBeReadYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := make(chan struct{})
		source := &fakeSource{history: first, states: map[string]Status{}}
		v := open(t, source)
		synctest.Wait()
		require.NoError(t, v.check(t, "looked up"))
		close(first)
		time.Sleep(2 * time.Second)
		require.NoError(t, v.check(t, "unknown"))
		require.EqualValues(t, 1, source.lookups.Load())
		source.set(func() {
			for _, id := range []string{"looked up", "unknown"} {
				source.states[id] = Status{Revoked: true, KeepUntil: far()}
			}
			source.history, source.rewound = make(chan struct{}), true
		})
		time.Sleep(3 * time.Second)
		another := v.Ref("another session", "user of looked up", session.Version{}, 0)
		require.NoError(t, v.Check(t.Context(), &another, time.Now()))
		require.ErrorIs(t, v.check(t, "looked up"), ErrRevoked)
		require.ErrorIs(t, v.check(t, "unknown"), ErrRevoked)
	})
}

func TestFreshness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v, insecure := open(t, source), open(t, source, func(c *Config) { c.Insecure = true })
		time.Sleep(time.Minute)
		require.NoError(t, v.check(t, "a"))
		source.set(func() { source.broken = errAway })
		time.Sleep(29 * time.Second)
		require.NoError(t, v.check(t, "a"))
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, v.check(t, "a"), ErrStale)
		require.NoError(t, insecure.check(t, "a"))
		source.set(func() { source.broken = nil })
		time.Sleep(1100 * time.Millisecond)
		require.NoError(t, v.check(t, "a"))
		v.Close()
		require.ErrorIs(t, v.check(t, "a"), ErrClosed)
	})
}

// A remote source may begin later, and a cache may stand in front of it.
func TestARemoteSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{broken: errAway}
		_, err := Open(Config{Source: source, Logger: slog.New(slog.DiscardHandler), Timeout: time.Second, Interval: time.Second})
		require.ErrorIs(t, err, errAway, "a source that is not remote must answer")
		v := open(t, source, func(c *Config) { c.Remote = true })
		require.ErrorIs(t, v.check(t, "a"), ErrStale)
		source.set(func() { source.broken = nil })
		source.add(session.RevokedEntry("b", far()))
		time.Sleep(3 * time.Second)
		require.NoError(t, v.check(t, "a"))
		require.ErrorIs(t, v.check(t, "b"), ErrRevoked)
		source.set(func() { source.now = session.MillisOf(time.Now()) })
		time.Sleep(28 * time.Second)
		require.NoError(t, v.check(t, "a"))
		time.Sleep(3 * time.Second)
		require.ErrorIs(t, v.check(t, "a"), ErrStale, "the pages are 31 seconds old")
	})
}

// A remote page that is not newer than the last one is from a cache. It makes the view neither fresher nor older.
func TestRemotePagesFromACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, source, func(c *Config) { c.Remote = true })
		time.Sleep(3 * time.Second)
		for _, shift := range []time.Duration{time.Minute, -time.Minute} { // the clock of the source is early, or late
			source.set(func() { source.now = session.MillisOf(time.Now().Add(shift)) })
			time.Sleep(25 * time.Second)
			require.NoError(t, v.check(t, "a"))
			time.Sleep(6 * time.Second)
			require.ErrorIs(t, v.check(t, "a"), ErrStale)
			source.set(func() { source.now = session.MillisOf(time.Now().Add(2 * time.Minute)) })
			time.Sleep(2 * time.Second)
			require.NoError(t, v.check(t, "a"))
		}
	})
}

// The last page of the old part must be newer than the cursor of the end, because a cache may have kept it.
func TestRemoteHistoryFromACache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{history: make(chan struct{})}
		v := open(t, source, func(c *Config) { c.Remote = true })
		time.Sleep(3 * time.Second)
		source.set(func() { source.now = session.MillisOf(time.Now().Add(-time.Minute)) })
		close(source.history)
		time.Sleep(5 * time.Second)
		require.False(t, v.whole.Load())
		source.set(func() { source.now = 0 })
		time.Sleep(2 * time.Second)
		require.True(t, v.whole.Load())
	})
}

// endlessSource does not even know its end.
type endlessSource struct{ *fakeSource }

func (e endlessSource) ReadLog(context.Context, session.Cursor, int, func(session.Entry)) (session.Page, error) {
	e.reads.Add(1)
	return session.Page{}, session.ErrCursor
}

func TestASourceWithoutAnEndIsNotReadMoreOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := endlessSource{&fakeSource{}}
		open(t, source, func(c *Config) { c.Remote = true })
		time.Sleep(10 * time.Second)
		require.InDelta(t, 11, source.reads.Load(), 2)
	})
}

// A push makes a revocation known at once. Without one, the next regular read finds it.
func TestPush(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, notifyingSource{source})
		time.Sleep(10 * time.Second)
		for i := range 50 {
			id := fmt.Sprint(i)
			source.add(session.RevokedEntry(id, far()))
			time.Sleep(wakeGap + time.Millisecond)
			require.ErrorIs(t, v.check(t, id), ErrRevoked)
		}
		source.set(func() { source.wake = nil })
		source.add(session.RevokedEntry("a", far()))
		time.Sleep(1100 * time.Millisecond)
		require.ErrorIs(t, v.check(t, "a"), ErrRevoked)
		reads := source.reads.Load()
		time.Sleep(10 * time.Second)
		require.InDelta(t, 11, source.reads.Load()-reads, 2, "about one in 0.9 s")
	})
}

// One clock that is wrong forgets nothing.
func TestAClockThatJumpsForgetsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, source)
		until := session.MillisOf(time.Now().Add(time.Hour))
		for i := range 1000 {
			source.add(session.RevokedEntry(fmt.Sprint(i), until), session.CutEntry(fmt.Sprint("user of u", i), session.Cutoff{Ended: 1, KeepUntil: until}))
		}
		time.Sleep(2 * time.Second)
		source.set(func() { source.now = far() })
		time.Sleep(10 * time.Minute)
		source.set(func() { source.now = 0 })
		for i := range 1000 {
			require.ErrorIs(t, v.check(t, fmt.Sprint(i)), ErrRevoked)
			require.ErrorIs(t, v.check(t, fmt.Sprint("u", i)), ErrRevoked)
		}
		time.Sleep(3 * time.Hour)
		entries, _, _ := v.set.stats()
		require.Zero(t, entries, "they leave when both clocks say so")
	})
}

// The clock of this machine may be behind for ever. Then the source has deleted a cut-off that is still in memory, and a new
// session is older than this one by its version. It is younger by its time.
func TestACutOffThatTheSourceHasDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{states: map[string]Status{}}
		v := open(t, source)
		began := session.MillisOf(time.Now())
		cut := session.CutEntry("user of a", session.Cutoff{Ended: int64(began), Changed: int64(began), KeepUntil: began.Add(time.Hour)})
		source.add(cut)
		time.Sleep(2 * time.Second)
		states := func(status Status) { source.set(func() { source.states["a"] = status }) }
		states(Status{CreatedAt: began + 1})
		require.ErrorIs(t, v.check(t, "a"), ErrRevoked)
		source.set(func() { source.now = far() })
		time.Sleep(2 * time.Second)
		require.NoError(t, v.check(t, "a"), "a session that is younger")
		require.NoError(t, v.check(t, "a"))
		for name, status := range map[string]Status{"older": {CreatedAt: began}, "the source does not know it": {},
			"the cut-off is still there": {User: cut, CreatedAt: began + 1}} {
			states(status)
			require.ErrorIs(t, v.check(t, "a"), ErrRevoked, name)
		}
		states(Status{CreatedAt: began - 1})
		ref := v.Ref("a", "user of a", session.Version{User: int64(began)}, 0)
		require.NoError(t, v.Check(t.Context(), &ref, time.Now()), "it was made after the cut-off")
		source.set(func() { source.broken = errAway })
		require.ErrorIs(t, v.check(t, "a"), errAway, "nobody knows")
	})
}

// slowSource answers no large page of the old log.
type slowSource struct{ *fakeSource }

func (s slowSource) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	if limit > 20_000 {
		<-ctx.Done()
		return session.Page{}, ctx.Err()
	}
	return s.fakeSource.ReadLog(ctx, after, limit, each)
}

// A source that is too slow for a large page is asked for smaller ones, and the whole log is read in the end.
func TestASourceThatIsSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := slowSource{&fakeSource{}}
		source.add(session.RevokedEntry("old", session.MillisOf(time.Now().Add(time.Hour))))
		v := open(t, source)
		defer v.Close()
		time.Sleep(2 * time.Minute)
		require.True(t, v.whole.Load())
		require.ErrorIs(t, v.check(t, "old"), ErrRevoked)
	})
}

// forbiddenSource cannot be subscribed to.
type forbiddenSource struct{ *fakeSource }

func (f forbiddenSource) Notify(context.Context, func()) error { return errors.New("no permission") }

// One condition has one line in the log, however long it lasts.
func TestPushesThatAreForbiddenAreLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		open(t, forbiddenSource{&fakeSource{}}, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		require.Equal(t, 1, strings.Count(log.String(), "not pushed now"))
	})
}

// A token that was revoked while the source was away does not pass in the moment in which it is back.
func TestTheMomentInWhichASourceIsBack(t *testing.T) {
	for _, lostLog := range []bool{false, true} {
		t.Run(fmt.Sprint("log lost: ", lostLog), func(t *testing.T) {
			source := &fakeSource{states: map[string]Status{}}
			v := open(t, source, func(c *Config) { c.Interval, c.MaxStaleness = 20*time.Millisecond, 100*time.Millisecond })
			whole := func() bool { return v.whole.Load() && v.Fresh(time.Now()) == nil }
			require.Eventually(t, whole, 20*time.Second, time.Millisecond)
			for round := range 8 {
				id := fmt.Sprint("s", round)
				source.set(func() { source.broken = errAway })
				require.Eventually(t, func() bool { return v.check(t, id) == ErrStale }, 20*time.Second, time.Millisecond)
				source.set(func() {
					source.entries = append(source.entries, session.RevokedEntry(id, far()))
					source.states[id] = Status{Revoked: true, KeepUntil: far()}
				})
				ctx, stop := context.WithCancel(t.Context())
				var passed atomic.Int64
				var all sync.WaitGroup
				for range 8 {
					all.Go(func() {
						ref := v.Ref(id, "user of "+id, session.Version{}, 0)
						for ctx.Err() == nil {
							if v.Check(ctx, &ref, time.Now()) == nil {
								passed.Add(1)
							}
						}
					})
				}
				time.Sleep(20 * time.Millisecond)
				source.set(func() { source.broken, source.rewound = nil, lostLog })
				require.Eventually(t, whole, 20*time.Second, time.Millisecond)
				stop()
				all.Wait()
				require.Zero(t, passed.Load())
			}
		})
	}
}

// lookUpSource answers look-ups by a function.
type lookUpSource struct {
	*fakeSource
	lookUp func(sessionID string) Status
}

func (s lookUpSource) Lookup(_ context.Context, sessionID, _ string) (Status, error) {
	return s.lookUp(sessionID), nil
}

// A look-up that began before the log was lost, and ends late, does not change what a later look-up of another session of the user
// has found.
func TestALateLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{history: make(chan struct{})} // the old part of the log cannot be read
		late := make(chan struct{})
		cut := session.CutEntry("u", session.Cutoff{Ended: 100, KeepUntil: far()})
		v := open(t, lookUpSource{source, func(sessionID string) Status {
			if sessionID == "s1" {
				<-late // it has read the store already
				return Status{User: session.CutEntry("u", session.Cutoff{})}
			}
			return Status{User: cut}
		}})
		check := func(id string) error {
			ref := v.Ref(id, "u", session.Version{}, 0)
			return v.Check(t.Context(), &ref, time.Now())
		}
		first := make(chan error, 1)
		go func() { first <- check("s1") }()
		time.Sleep(100 * time.Millisecond)
		source.set(func() { source.entries, source.rewound = append(source.entries, cut), true })
		time.Sleep(2 * time.Second)
		require.ErrorIs(t, check("s2"), ErrRevoked)
		close(late)
		<-first
		require.ErrorIs(t, check("s2"), ErrRevoked)
	})
}

// flakySource fails in a pattern, but not at the start. true is a read that fails.
type flakySource struct {
	*fakeSource
	pattern []bool
}

func (f flakySource) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	if n := int(f.reads.Load()); n > 10 && f.pattern[n%len(f.pattern)] {
		f.reads.Add(1)
		return session.Page{}, errAway
	}
	return f.fakeSource.ReadLog(ctx, after, limit, each)
}

// A read that fails between others is not worth a line in the log. A source that is lost and back all the time does not fill it.
func TestASourceThatFailsAgainAndAgain(t *testing.T) {
	for name, tc := range map[string]struct {
		pattern []bool
		lost    bool
	}{
		"one read at a time": {[]bool{false, true}, false},
		"two":                {[]bool{false, true, true}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				reports := 0
				v := open(t, flakySource{&fakeSource{}, tc.pattern}, func(c *Config) {
					c.Logger = slog.New(slog.NewTextHandler(&log, nil))
					c.Report = func(error) { reports++ }
				})
				for range 10 * 60 {
					time.Sleep(time.Second)
					require.NotErrorIs(t, v.check(t, "a"), ErrStale)
				}
				synctest.Wait()
				lines := strings.Count(log.String(), "cannot be read\"")
				require.Equal(t, tc.lost, reports > 10, reports)
				require.Equal(t, tc.lost, lines > 0)
				require.LessOrEqual(t, lines, 11)
			})
		})
	}
}

// A long outage is in the log also if a short one was there a moment before.
func TestALongOutageAfterAShortOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		source := &fakeSource{}
		open(t, source, func(c *Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) })
		time.Sleep(5 * time.Second)
		for _, outage := range []time.Duration{3 * time.Second, 2 * time.Hour} {
			source.set(func() { source.broken = errAway })
			time.Sleep(outage)
			source.set(func() { source.broken = nil })
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		require.Equal(t, 2, strings.Count(log.String(), "cannot be read"))
	})
}

// A store that comes back without its log, as after a failover to a backup, is back.
func TestAStoreThatIsBackWithAnotherLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		source := &fakeSource{}
		open(t, source, func(c *Config) { c.Report = func(err error) { reports = append(reports, err) } })
		time.Sleep(3 * time.Second)
		source.set(func() { source.broken = errAway })
		time.Sleep(3 * time.Second)
		source.set(func() { source.broken, source.rewound = nil, true })
		time.Sleep(3 * time.Second)
		synctest.Wait()
		require.Len(t, reports, 2)
		require.ErrorIs(t, reports[0], errAway)
		require.NoError(t, reports[1])
	})
}

// A source whose answers are always too old is lost, and it says why.
func TestAnswersThatAreTooOld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var reports []error
		source := &fakeSource{}
		open(t, source, func(c *Config) { c.Remote, c.Report = true, func(err error) { reports = append(reports, err) } })
		time.Sleep(3 * time.Second)
		require.Empty(t, reports)
		set := func(off time.Duration) {
			for range 300 {
				source.set(func() { source.now = session.MillisOf(time.Now().Add(off)) })
				time.Sleep(100 * time.Millisecond)
			}
		}
		set(-time.Minute)
		set(-31 * time.Second)
		require.Len(t, reports, 1)
		set(0)
		require.Len(t, reports, 2)
		require.NoError(t, reports[1])
	})
}

// While a machine sleeps, its monotonic clock stands still and its calendar goes on. What was known before is stale then.
func TestAViewAfterASleep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, source)
		time.Sleep(2 * time.Second)
		require.NoError(t, v.Fresh(time.Now()))
		source.set(func() { source.broken = errAway })
		time.Sleep(2 * time.Second)
		require.NoError(t, v.Fresh(time.Now()), "the source is away, and the view is fresh enough")
		v.freshWall.Add(-time.Hour.Milliseconds()) // as if the calendar were an hour later
		require.ErrorIs(t, v.Fresh(time.Now()), ErrStale)
		source.set(func() { source.broken = nil })
		time.Sleep(2 * time.Second)
		require.NoError(t, v.Fresh(time.Now()))
	})
}

// A slow source gets smaller questions. One that fails at once is away, and its answers would be as long as before.
func TestTheSizeOfTheNextPage(t *testing.T) {
	v := &View{Config: Config{Timeout: 4 * time.Second}}
	away := errors.New("connection refused")
	for _, tc := range []struct {
		size int
		took time.Duration
		err  error
		want int
	}{
		{1000, 0, nil, 2000}, {4000, 0, nil, 5000}, {1000, time.Second, nil, 1000},
		{1000, time.Second, away, 500}, {120, 4 * time.Second, away, 100}, {1000, time.Second - 1, away, 1000},
	} {
		require.Equal(t, tc.want, v.nextSize(tc.size, 5000, tc.took, tc.err), "%+v", tc)
	}
}
