package signet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/event"
	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/userstore"
)

// WithEvents calls a function for each [event.Event], for example to send a mail after a login from a new device. It is called
// in one goroutine of the service, one event after the other, and never holds a request up: when 1,024 events wait, further
// ones are dropped, counted in [Stats] and still logged. [Auth.Close] gives the function two seconds for what waits, and then
// ends its context. The function must return when its context ends.
func WithEvents(handle func(ctx context.Context, e event.Event)) Option {
	return option(func(s *settings) {
		if handle == nil {
			s.mistake("WithEvents", "the function is nil; leave the option out to have none")
		}
		s.events = handle
	})
}

// emitter logs events, and gives them to the host's function.
type emitter struct {
	logger  *slog.Logger
	clock   func() time.Time
	handle  func(context.Context, event.Event) // nil: only the log
	waiting chan event.Event
	dropped atomic.Uint64
	stop    chan struct{}
	ended   sync.Once
	done    sync.WaitGroup
}

const (
	maxEvents   = 1024
	eventsGrace = 2 * time.Second // for what waits when the service is closed
)

func newEmitter(s *settings) *emitter {
	m := &emitter{logger: s.logger, clock: s.clock, handle: s.events, stop: make(chan struct{})}
	if m.handle == nil {
		return m
	}
	m.waiting = make(chan event.Event, maxEvents)
	ctx, cancel := context.WithCancel(context.Background())
	m.done.Go(func() {
		defer cancel()
		m.run(ctx)
	})
	m.done.Go(func() {
		m.endAfterStop(ctx)
		cancel()
	})
	return m
}

// emit is the only place that events come from. e has the kind, and what is known of the user, the session and the reason.
func (m *emitter) emit(ctx context.Context, e event.Event) {
	from := callerOf(ctx)
	e.Time = m.clock()
	e.Address, e.UserAgent = from.Address, from.UserAgent
	e.Method, e.Path, e.RequestID = from.method, from.path, from.requestID
	e.Subject, e.SessionID, e.Reason = label(e.Subject), label(e.SessionID), label(e.Reason)
	if m.logger.Enabled(ctx, e.Level()) {
		m.logger.LogAttrs(ctx, e.Level(), "signet: "+string(e.Kind), e.Attrs()...)
	}
	if m.handle == nil {
		return
	}
	select {
	case m.waiting <- e:
	default:
		m.dropped.Add(1)
	}
}

func (m *emitter) run(ctx context.Context) {
	for {
		select {
		case e := <-m.waiting:
			m.call(ctx, e)
		case <-m.stop:
			for len(m.waiting) > 0 && ctx.Err() == nil {
				m.call(ctx, <-m.waiting)
			}
			return
		}
	}
}

// endAfterStop returns some time after the stop, or when ctx ends.
func (m *emitter) endAfterStop(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-m.stop:
	}
	grace := time.NewTimer(eventsGrace)
	defer grace.Stop()
	select {
	case <-ctx.Done():
	case <-grace.C:
	}
}

// call calls the host's function. A panic in a goroutine of signet would end the program.
func (m *emitter) call(ctx context.Context, e event.Event) {
	defer func() {
		if reason := recover(); reason != nil {
			m.logger.ErrorContext(ctx, "signet: the function of WithEvents panicked", "event", string(e.Kind), "panic", fmt.Sprint(reason))
		}
	}()
	m.handle(ctx, e)
}

func (m *emitter) close() {
	m.ended.Do(func() { close(m.stop) })
	m.done.Wait()
}

// storeState reports that the session store was lost (err is not nil) or is back.
func (m *emitter) storeState(err error) {
	if err != nil {
		m.emit(context.Background(), event.Event{Kind: event.StoreLost, Reason: err.Error()})
		return
	}
	m.emit(context.Background(), event.Event{Kind: event.StoreBack})
}

// caller is what a context says about where a call came from.
type caller struct {
	rotation.Client
	method, path, requestID string
	cookies                 bool // tokens travel in cookies
}

type callerKey struct{}

// ContextWithClient returns a context with a description of the client. [Auth.Login], [Auth.IssueFor] and
// [Auth.Refresh] store it in the session, for the list of a user's sessions. The limits for attempts to log in
// ([LoginPolicy]) count by the address. Only printable characters are kept, and at most 256 bytes of each text.
func ContextWithClient(ctx context.Context, userAgent, address string) context.Context {
	from := callerOf(ctx)
	from.Client = rotation.Client{UserAgent: label(userAgent), Address: label(address)}
	return context.WithValue(ctx, callerKey{}, from)
}

// ContextWithClient returns the context of a request with its client: its user agent, and the address of the connection or
// the one that a trusted proxy names ([WithTrustedProxies]). Signet's handlers call it. Handlers of the host that log users
// in should call it too.
func (a *Auth) ContextWithClient(r *http.Request) context.Context {
	return context.WithValue(r.Context(), callerKey{}, a.caller(r))
}

func (a *Auth) caller(r *http.Request) caller {
	return caller{Client: rotation.Client{UserAgent: label(r.UserAgent()), Address: label(a.clientAddress(r))},
		method: label(r.Method), path: label(r.URL.Path), requestID: label(r.Header.Get("X-Request-Id"))}
}

func callerOf(ctx context.Context) caller {
	from, _ := ctx.Value(callerKey{}).(caller)
	return from
}

// Stats are numbers for a monitoring system. Counters begin at 0 with the service.
type Stats struct {
	TokensVerified uint64        // access tokens that were not in the cache
	RevocationLag  time.Duration // the time since the revocations were last read; 0 without sessions
	HashesRunning  int           // passwords that are hashed now
	HashesWaiting  int           // passwords that wait for that
	HashQueueFull  uint64        // logins that were answered 503 because too many passwords waited
	EventsDropped  uint64        // events that the function of WithEvents did not get
}

// Stats returns the current numbers. Package otel gives them to OpenTelemetry.
func (a *Auth) Stats() Stats {
	hashes := a.gate.Stats()
	s := Stats{TokensVerified: a.verified.Load(), HashesRunning: hashes.Running, HashesWaiting: hashes.Waiting,
		HashQueueFull: hashes.Busy, EventsDropped: a.events.dropped.Load()}
	if a.sessions != nil {
		s.RevocationLag = a.sessions.Lag()
	}
	return s
}

// probe is an id that no user has. A store that says so is well.
const probe = "signet-readiness-probe"

// Ready reports whether the service can log users in and check tokens now: the stores answer, the revocations are known, and
// there is a key that signs. It is for health checks. The error is [ErrUnavailable] and says what is missing.
func (a *Auth) Ready(ctx context.Context) error {
	if a.keys.Current().Signing() == nil {
		return unavailable(errors.New("the key source has no key that can sign"))
	}
	if _, err := a.findByID(ctx, probe); err != nil && !errors.Is(err, userstore.ErrNotFound) {
		return unavailable(fmt.Errorf("the user store: %w", err))
	}
	if a.sessions == nil {
		return nil
	}
	if err := a.sessions.Fresh(time.Now()); err != nil {
		return revocationError(err)
	}
	if _, err := a.sessions.List(ctx, probe); err != nil {
		return unavailable(fmt.Errorf("the session store: %w", err))
	}
	return nil
}
