package revoked

import (
	"context"
	"fmt"
	"maps"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// ends collects why watches ended.
type ends struct {
	mu  sync.Mutex
	why map[string]error
}

func (e *ends) watch(t *testing.T, v *View, name string, ref Ref, what Watch) (stop func()) {
	return v.Watch(t.Context(), ref, what, func(reason error) {
		e.mu.Lock()
		defer e.mu.Unlock()
		require.NotContains(t, e.why, name, "once")
		e.why[name] = reason
	})
}

func (e *ends) all() map[string]error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.why)
}

func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{}
		v := open(t, source)
		synctest.Wait()
		e := &ends{why: map[string]error{}}
		ref := func(id string) Ref { return v.Ref(id, "user of "+id, session.Version{All: 4, User: 4}, 0) }
		soon := time.Now().Add(10 * time.Second)
		e.watch(t, v, "revoked", ref("revoked"), Watch{})
		e.watch(t, v, "cut", ref("cut"), Watch{})
		e.watch(t, v, "changed", ref("changed"), Watch{Changes: true})
		e.watch(t, v, "changed, not asked", ref("changed"), Watch{})
		e.watch(t, v, "expired", ref("other"), Watch{Expires: soon})
		e.watch(t, v, "not expired", ref("other"), Watch{Expires: soon.Add(time.Hour)})
		e.watch(t, v, "stopped", ref("revoked"), Watch{Expires: soon})()
		source.add(session.RevokedEntry("revoked", far()), session.CutEntry("user of cut", session.Cutoff{Ended: 5, KeepUntil: far()}),
			session.CutEntry("user of changed", session.Cutoff{Changed: 5, KeepUntil: far()}))
		time.Sleep(2 * time.Second)
		want := map[string]error{"revoked": ErrRevoked, "cut": ErrRevoked, "changed": ErrOutdated}
		require.Equal(t, want, e.all())
		e.watch(t, v, "too late", ref("revoked"), Watch{})
		e.watch(t, v, "too late, not asked", ref("changed"), Watch{})
		want["too late"] = ErrRevoked
		require.Equal(t, want, e.all(), "a revocation between the check of the request and the watch")
		time.Sleep(10 * time.Second)
		want["expired"] = ErrExpired
		require.Equal(t, want, e.all())
		source.add(session.AllEntry(session.AllGroups, session.Cutoff{Ended: 5}))
		time.Sleep(2 * time.Second)
		want["changed, not asked"], want["not expired"], want["too late, not asked"] = ErrRevoked, ErrRevoked, ErrRevoked
		require.Equal(t, want, e.all())
		newer := v.Ref("new", "user", session.Version{All: 5}, 0)
		e.watch(t, v, "closed", newer, Watch{})
		v.Close()
		e.watch(t, v, "opened after Close", newer, Watch{})
		want["closed"], want["opened after Close"] = ErrClosed, ErrClosed
		require.Equal(t, want, e.all())
		require.Empty(t, v.watches.bySession)
		require.Empty(t, v.watches.byUser)
		require.Empty(t, v.watches.expiries)
	})
}

// A change of the user hides no other reason to end.
func TestAWatchOfAnOutdatedToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := &fakeSource{history: make(chan struct{}), states: map[string]Status{"revoked": {Revoked: true, KeepUntil: far()}}}
		v := open(t, source)
		source.add(session.CutEntry("user", session.Cutoff{Changed: 5, KeepUntil: far()}))
		time.Sleep(2 * time.Second)
		e := &ends{why: map[string]error{}}
		ref := func(id string) Ref { return v.Ref(id, "user", session.Version{User: 4}, 0) }
		require.ErrorIs(t, v.Check(t.Context(), new(ref("revoked")), time.Now()), ErrOutdated, "memory knows no more")
		e.watch(t, v, "good", ref("good"), Watch{})
		e.watch(t, v, "revoked", ref("revoked"), Watch{})
		require.Equal(t, map[string]error{"revoked": ErrRevoked}, e.all(), "the store knows")
		source.set(func() { source.broken = errAway })
		time.Sleep(time.Minute)
		e.watch(t, v, "stale", ref("good"), Watch{})
		v.Close()
		e.watch(t, v, "closed", ref("good"), Watch{})
		require.Equal(t, map[string]error{"good": ErrClosed, "revoked": ErrRevoked, "stale": ErrStale, "closed": ErrClosed}, e.all())
	})
}

func TestAWatchOfAnInsecureViewThatIsClosed(t *testing.T) {
	v := open(t, &fakeSource{}, func(cfg *Config) { cfg.Insecure = true })
	v.Close()
	e := &ends{why: map[string]error{}}
	e.watch(t, v, "closed", v.Ref("s", "user", session.Version{}, 0), Watch{})
	require.Equal(t, map[string]error{"closed": ErrClosed}, e.all())
}

// A connection needs no goroutine.
func TestManyWatches(t *testing.T) {
	source := &fakeSource{}
	v := open(t, source)
	e := &ends{why: map[string]error{}}
	before := runtime.NumGoroutine()
	var stops []func()
	for i := range 10_000 {
		id := fmt.Sprint(i)
		stops = append(stops, e.watch(t, v, id, v.Ref(id, "u", session.Version{}, 0), Watch{Expires: time.Now().Add(time.Hour)}))
	}
	require.LessOrEqual(t, runtime.NumGoroutine(), before)
	for i := range 1000 {
		v.Apply(session.RevokedEntry(fmt.Sprint(i*10), far()))
	}
	require.Len(t, e.all(), 1000)
	for _, stop := range stops {
		stop()
	}
	require.Empty(t, v.watches.bySession)
	require.Empty(t, v.watches.expiries)
}

// A look-up that panics leaves no watch behind.
func TestAWatchWhoseLookUpPanics(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		source := panicking{&fakeSource{history: make(chan struct{})}}
		v := open(t, source) // the log has not been read, so the session is looked up
		what := Watch{Expires: time.Now().Add(time.Hour)}
		require.Panics(t, func() { v.Watch(t.Context(), v.Ref("s", "u", session.Version{}, 0), what, func(error) {}) })
		require.Empty(t, v.watches.bySession)
		require.Empty(t, v.watches.byUser)
		require.Empty(t, v.watches.expiries)
	})
}

type panicking struct{ *fakeSource }

func (panicking) Lookup(context.Context, string, string) (Status, error) {
	panic("a fault of the store")
}
