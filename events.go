package signet

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/signet-go/signet/event"
)

// emitter logs events, and gives them to the host's function.
type emitter struct {
	logger  *slog.Logger
	clock   func() time.Time
	handle  func(context.Context, event.Event) // nil: only the log
	waiting chan event.Event
	dropped atomic.Uint64
	// lastThrottled is the second in which an attempt was throttled last.
	lastThrottled atomic.Int64
	stop          chan struct{}
	over          chan struct{}      // closed when nobody takes from waiting any more
	cancel        context.CancelFunc // ends the context of handle
	ended         sync.Once
	done          sync.WaitGroup
}

const (
	maxEvents   = 1024
	eventsGrace = 2 * time.Second // for what waits when the service is closed
)

// room returns how many events may wait so that one more of this kind is accepted. It is smallest for events that strangers can
// cause at will, larger for those that users can cause, and largest for the most important ones. So no event crowds out a more
// important one.
func room(kind event.Kind) int {
	switch kind {
	case event.LoginFailed, event.LoginThrottled, event.SecondStepFailed:
		return maxEvents / 2
	case event.Theft, event.Revoked, event.UserChanged, event.PasswordChanged, event.KeyRotated, event.StoreLost, event.StoreBack:
		return maxEvents
	}
	return maxEvents * 3 / 4
}

func newEmitter(logger *slog.Logger, clock func() time.Time, handle func(context.Context, event.Event)) *emitter {
	m := &emitter{logger: logger, clock: clock, handle: handle, stop: make(chan struct{}), over: make(chan struct{})}
	if m.handle == nil {
		return m
	}
	m.waiting = make(chan event.Event, maxEvents)
	ctx, cancel := context.WithCancel(context.Background())
	m.cancel = cancel
	m.done.Go(func() { m.run(ctx) })
	return m
}

// emit is the only place that events come from. e has the kind, and what is known of the user, the session and the reason.
func (m *emitter) emit(ctx context.Context, e event.Event) {
	level := e.Level()
	if e.Kind == event.LoginThrottled && !m.isFirst() {
		level = slog.LevelDebug // strangers can cause them at any rate, and a flood would hide other lines
	}
	logged := m.logger.Enabled(ctx, level)
	if !logged && m.handle == nil {
		return
	}
	from := callerOf(ctx)
	e.Time = m.clock()
	e.Address, e.UserAgent = from.Address, from.UserAgent
	e.Method, e.Path, e.RequestID = from.method, from.path, from.requestID
	e.Subject, e.SessionID, e.Reason = label(e.Subject), label(e.SessionID), label(e.Reason)
	if logged {
		m.logger.LogAttrs(ctx, level, "signet: "+string(e.Kind), e.Attrs()...)
	}
	if m.handle == nil {
		return
	}
	if len(m.waiting) >= room(e.Kind) {
		m.dropped.Add(1)
		return
	}
	select {
	case <-m.stop:
		m.dropped.Add(1)
		return
	default:
	}
	select {
	case m.waiting <- e:
	default:
		m.dropped.Add(1)
	}
	select {
	case <-m.over: // it may have come too late
		m.discard()
	default:
	}
}

// discard counts the events that wait as dropped.
func (m *emitter) discard() {
	for {
		select {
		case <-m.waiting:
			m.dropped.Add(1)
		default:
			return
		}
	}
}

// isFirst reports whether no other attempt was throttled in this second.
func (m *emitter) isFirst() bool {
	now := m.clock().Unix()
	return m.lastThrottled.Swap(now) != now
}

func (m *emitter) run(ctx context.Context) {
	ended := false
	defer func() {
		if !ended { // the host's function has ended this goroutine, as FailNow of a test does
			m.done.Go(func() { m.run(ctx) })
		}
	}()
	for {
		select {
		case e := <-m.waiting:
			m.call(ctx, e)
		case <-m.stop:
			for len(m.waiting) > 0 && ctx.Err() == nil {
				m.call(ctx, <-m.waiting)
			}
			ended = true
			return
		}
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

// close waits until the function has had the events that wait, but not longer than its grace. A second call waits for the first.
func (m *emitter) close() {
	if m.handle == nil {
		return
	}
	m.ended.Do(func() {
		close(m.stop)
		late := time.AfterFunc(eventsGrace, m.cancel)
		m.done.Wait()
		late.Stop()
		m.cancel()
		close(m.over)
		m.discard()
	})
}

// storeState reports that the session store was lost (err is not nil) or is back.
func (m *emitter) storeState(err error) {
	if err != nil {
		m.emit(context.Background(), event.Event{Kind: event.StoreLost, Reason: err.Error()})
		return
	}
	m.emit(context.Background(), event.Event{Kind: event.StoreBack})
}
