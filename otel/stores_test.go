package otel_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/codes"

	"github.com/signet-go/signet/otel"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/session/sessiontest"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/throttle/throttletest"
	"github.com/signet-go/signet/userstore"
	"github.com/signet-go/signet/userstore/storetest"
)

// Stores of all optional interfaces.
type (
	notifying       struct{ session.Store }
	batching        struct{ session.Store }
	both            struct{ session.Store }
	updating        struct{ userstore.Store }
	keeping         struct{ userstore.Store }
	updatingKeeping struct{ userstore.Store }
)

var errFirst = errors.New("the inner one was called")

func (notifying) Notify(context.Context, func()) error { return errFirst }
func (both) Notify(context.Context, func()) error      { return errFirst }
func (batching) UpdateBatch(context.Context, []string, func(session.Session, session.Millis) session.Session) error {
	return errFirst
}
func (both) UpdateBatch(context.Context, []string, func(session.Session, session.Millis) session.Session) error {
	return errFirst
}
func (updating) UpdatePasswordHash(context.Context, string, string, string) error { return errFirst }
func (updatingKeeping) UpdatePasswordHash(context.Context, string, string, string) error {
	return errFirst
}
func (keeping) Factor(context.Context, string, string) ([]byte, error)              { return nil, errFirst }
func (updatingKeeping) Factor(context.Context, string, string) ([]byte, error)      { return nil, errFirst }
func (keeping) ReplaceFactor(context.Context, string, string, []byte, []byte) error { return errFirst }
func (updatingKeeping) ReplaceFactor(context.Context, string, string, []byte, []byte) error {
	return errFirst
}

func TestAWrappedSessionStoreHasTheInterfacesOfTheInnerOne(t *testing.T) {
	ctx := t.Context()
	memory := &session.Memory{}
	for _, inner := range []session.Store{
		struct{ session.Store }{memory}, notifying{memory}, batching{memory}, both{memory}, memory,
	} {
		wrapped := otel.SessionStore(inner, newTelemetry().all...)
		_, want := inner.(session.Notifier)
		notifier, got := wrapped.(session.Notifier)
		require.Equal(t, want, got, "%T: Notifier", inner)
		_, want = inner.(session.Batcher)
		batcher, batches := wrapped.(session.Batcher)
		require.Equal(t, want, batches, "%T: Batcher", inner)
		if inner == session.Store(memory) {
			continue
		}
		if got {
			require.ErrorIs(t, notifier.Notify(ctx, nil), errFirst)
		}
		if batches {
			require.ErrorIs(t, batcher.UpdateBatch(ctx, nil, nil), errFirst)
		}
	}
}

func TestAWrappedUserStoreHasTheInterfacesOfTheInnerOne(t *testing.T) {
	ctx := t.Context()
	memory := userstore.NewMemory()
	for _, inner := range []userstore.Store{
		struct{ userstore.Store }{memory}, updating{memory}, keeping{memory}, updatingKeeping{memory}, memory,
	} {
		wrapped := otel.UserStore(inner, newTelemetry().all...)
		_, want := inner.(userstore.PasswordUpdater)
		updater, updates := wrapped.(userstore.PasswordUpdater)
		require.Equal(t, want, updates, "%T: PasswordUpdater", inner)
		_, want = inner.(userstore.FactorStore)
		factors, keeps := wrapped.(userstore.FactorStore)
		require.Equal(t, want, keeps, "%T: factors", inner)
		if inner == userstore.Store(memory) {
			continue
		}
		if updates {
			require.ErrorIs(t, updater.UpdatePasswordHash(ctx, "", "", ""), errFirst)
		}
		if keeps {
			_, err := factors.Factor(ctx, "", "")
			require.ErrorIs(t, err, errFirst)
			require.ErrorIs(t, factors.ReplaceFactor(ctx, "", "", nil, nil), errFirst)
		}
	}
}

func TestAWrappedSessionStorePassesTheKit(t *testing.T) {
	sessiontest.Run(t, func(*testing.T) session.Store {
		return otel.SessionStore(&session.Memory{}, newTelemetry().all...)
	})
}

// A writer is a wrapped store with the methods of the inner one that the wrapper leaves out.
type writer struct {
	userstore.Store
	userstore.PasswordUpdater
	userstore.FactorStore
	memory *userstore.Memory
}

func (w writer) Add(ctx context.Context, user userstore.User) error { return w.memory.Add(ctx, user) }
func (w writer) Update(ctx context.Context, user userstore.User) error {
	return w.memory.Update(ctx, user)
}
func (w writer) Delete(ctx context.Context, id string) error { return w.memory.Delete(ctx, id) }

func TestAWrappedUserStorePassesTheKit(t *testing.T) {
	storetest.Run(t, func(*testing.T) userstore.Writer {
		memory := userstore.NewMemory()
		wrapped := otel.UserStore(memory, newTelemetry().all...)
		return writer{wrapped, wrapped.(userstore.PasswordUpdater), wrapped.(userstore.FactorStore), memory}
	})
}

func TestAWrappedThrottleStorePassesTheKit(t *testing.T) {
	throttletest.Run(t, func(*testing.T) throttle.Store {
		return otel.ThrottleStore(new(throttle.Memory), newTelemetry().all...)
	})
}

// lostThrottle is a store that does not answer.
type lostThrottle struct{ throttle.Store }

func (lostThrottle) Update(context.Context, throttle.Key,
	func(throttle.Record, time.Time) (throttle.Record, time.Time, error)) error {
	return errors.New("no connection")
}

func TestOutcomesOfTheThrottleStore(t *testing.T) {
	tm := newTelemetry()
	limiter := throttle.New(otel.ThrottleStore(new(throttle.Memory), tm.all...), throttle.Config{})
	for range 11 {
		_, _ = limiter.Begin(t.Context(), "john.secret@mail.com", "")
	}
	require.Equal(t, map[string]int{"throttle Update ok": 11}, storeCalls(t, tm))
	requireSilent(t, tm, "john.secret")

	tm = newTelemetry()
	_, err := throttle.New(otel.ThrottleStore(lostThrottle{}, tm.all...), throttle.Config{}).Begin(t.Context(), "john@mail.com", "")
	require.ErrorIs(t, err, throttle.ErrUnavailable)
	require.Equal(t, map[string]int{"throttle Update error": 1}, storeCalls(t, tm))
}

// broken is a store whose errors name the row, as those of databases may do.
type broken struct {
	userstore.Store
	err error
}

func (b broken) FindByEmail(context.Context, string) (userstore.User, error) {
	return userstore.User{}, b.err
}

func TestOutcomesOfTheUserStore(t *testing.T) {
	const address = "john.secret@mail.com"
	for want, err := range map[string]error{
		"ok":        nil,
		"not_found": fmt.Errorf("users: %w", userstore.ErrNotFound),
		"canceled":  fmt.Errorf("users: %w", context.Canceled),
		"timeout":   fmt.Errorf("users: %w", context.DeadlineExceeded),
		"error":     fmt.Errorf("no connection for %s", address),
	} {
		t.Run(want, func(t *testing.T) {
			tm := newTelemetry()
			_, got := otel.UserStore(broken{err: err}, tm.all...).FindByEmail(t.Context(), address)
			require.Equal(t, err, got)
			require.Equal(t, map[string]int{"user FindByEmail " + want: 1}, storeCalls(t, tm))
			require.Len(t, tm.spans.Ended(), 1)
			span := tm.spans.Ended()[0]
			require.Equal(t, "signet.user.FindByEmail", span.Name())
			require.Equal(t, "client", span.SpanKind().String())
			require.Equal(t, want == "error" || want == "timeout", span.Status().Code.String() == "Error")
			require.Len(t, span.Attributes(), 3)
			requireSilent(t, tm, address)
		})
	}
}

func TestAFactorThatChangedInTheMeantimeIsNoError(t *testing.T) {
	const user = "user-4711" // digits alone are in times and addresses too
	ctx, tm, memory := t.Context(), newTelemetry(), userstore.NewMemory()
	require.NoError(t, memory.Add(ctx, userstore.User{ID: user, Email: "john@mail.com"}))
	factors := otel.UserStore(memory, tm.all...).(userstore.FactorStore)
	require.NoError(t, factors.ReplaceFactor(ctx, user, "totp", nil, []byte("secret-1")))
	require.ErrorIs(t, factors.ReplaceFactor(ctx, user, "totp", nil, []byte("secret-2")), userstore.ErrConflict)
	_, err := factors.Factor(ctx, user, "other")
	require.ErrorIs(t, err, userstore.ErrNotFound)
	require.Equal(t, map[string]int{"user ReplaceFactor ok": 1, "user ReplaceFactor conflict": 1, "user Factor not_found": 1},
		storeCalls(t, tm))
	requireSilent(t, tm, user, "secret-1", "secret-2")
}

func storeCalls(t *testing.T, tm *telemetry) map[string]int {
	return tm.counts(t, "signet.store.duration", "signet.store", "signet.method", "signet.outcome")
}

// requireSilent checks that no span and no metric holds one of the texts.
func requireSilent(t *testing.T, tm *telemetry, texts ...string) {
	t.Helper()
	all := fmt.Sprintf("%+v", tm.metrics(t))
	for _, m := range tm.metrics(t) {
		all += fmt.Sprintf("%+v", m.Data)
	}
	for _, span := range tm.spans.Ended() {
		all += fmt.Sprint(span.Name(), span.Attributes(), span.Events(), span.Status())
	}
	for _, text := range texts {
		require.False(t, strings.Contains(all, text), "telemetry holds %q", text)
	}
}

func TestOutcomesOfTheSessionStore(t *testing.T) {
	ctx, tm := t.Context(), newTelemetry()
	store := otel.SessionStore(&session.Memory{}, tm.all...)
	const user = "user-4711"
	id := session.NewID(user)
	refused := errors.New("refused")

	require.ErrorIs(t, store.Create(ctx, user, func(session.Moment) (session.Session, error) {
		return session.Session{}, refused
	}), refused)
	require.NoError(t, store.Create(ctx, user, func(at session.Moment) (session.Session, error) {
		return session.Session{ID: id, UserID: user, CreatedAt: at.Now, KeepUntil: at.Now + 60000, EndsAt: at.Now + 60000}, nil
	}))
	keep := func(row session.Session, _ session.Moment) (session.Session, error) { return row, nil }
	refuse := func(row session.Session, _ session.Moment) (session.Session, error) { return row, refused }
	require.NoError(t, store.Update(ctx, id, keep))
	require.ErrorIs(t, store.Update(ctx, id, refuse), refused)
	require.ErrorIs(t, store.Update(ctx, session.NewID(user), keep), session.ErrNotFound)
	_, _, err := store.List(ctx, user, 10)
	require.NoError(t, err)
	require.ErrorIs(t, store.Cut(ctx, user, func(before session.Cutoff, _, _ session.Millis) (session.Cutoff, error) {
		return before, refused
	}), refused)
	_, err = store.DeleteExpired(ctx, 1, 1)
	require.NoError(t, err)
	_, err = store.ReadLog(ctx, session.Start, 10, func(session.Entry) {})
	require.NoError(t, err)
	require.Panics(t, func() {
		_ = store.Create(ctx, user, func(session.Moment) (session.Session, error) { panic("a function of the host") })
	})

	require.Equal(t, map[string]int{
		"session Create ok": 1, "session Create unchanged": 1, "session Update ok": 1, "session Update unchanged": 1,
		"session Update not_found": 1, "session List ok": 1, "session Cut unchanged": 1, "session DeleteExpired ok": 1,
		"session ReadLog ok": 1, "session Create panic": 1,
	}, storeCalls(t, tm))
	require.Len(t, tm.spans.Ended(), 10)
	require.Equal(t, codes.Error, tm.spans.Ended()[9].Status().Code, "the panic")
	requireSilent(t, tm, user, id)
}

func TestNilIsRefused(t *testing.T) {
	require.Panics(t, func() { otel.SessionStore(nil) })
	require.Panics(t, func() { otel.UserStore(nil) })
	require.Panics(t, func() { otel.ThrottleStore(nil) })
	require.Panics(t, func() { otel.Handler("x", nil) })
	require.Panics(t, func() { otel.AuthHandler(nil) })
	require.Panics(t, func() { _, _ = otel.Observe(nil) })
	require.NotPanics(t, func() { otel.Handler("x", http.NotFoundHandler(), nil) }) // a nil option is none
}
