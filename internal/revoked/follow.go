package revoked

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/signet-go/signet/internal/seldom"
	"github.com/signet-go/signet/session"
)

const (
	historyPage = 100_000               // entries in one read of the old part of the log
	remotePage  = 10_000                // the same, if the source is the feed of another service
	tailPage    = 5_000                 // entries in one read of its end
	leastPage   = 100                   // entries in one read of a source that is slow
	wakeGap     = 20 * time.Millisecond // how long the reads of the log are apart at least
	expireEvery = time.Minute
	retryAfter  = time.Second
	lostAfter   = 2                      // reads that fail in a row: then the source is lost
	longPush    = time.Minute            // a subscription that has lasted so long was good
	remoteSkew  = 500 * time.Millisecond // how far the clocks of the machines behind a remote source may be apart
)

// errBehind is for a source that answers, and whose answers are too old by the time that they are here.
var errBehind = errors.New("the answers are older than MaxStaleness: the source is slow, or the clocks of the two machines differ")

// follow reads the end of the log until ctx ends. When it has the cursor of the end, it lets another goroutine read the whole
// log. It begins again when the source has lost a part of its log.
func (v *View) follow(ctx context.Context, cursor session.Cursor) {
	var history history
	defer func() { history.end() }()
	var outage outage
	var changed seldom.Line
	size := tailPage
	for {
		if cursor != session.End {
			if !history.begun() {
				v.expire()
				history.begin(ctx, v.readHistory)
			}
			if !v.rest(ctx) {
				return
			}
		}
		before := cursor
		next, err := v.pull(ctx, cursor, &size)
		if err == nil && v.Fresh(time.Now()) == ErrStale {
			err = errBehind
		}
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, session.ErrCursor):
			if changed.Due() {
				v.Logger.Warn("signet: the log of revocations has changed; it is read again", "source", v.Name)
			}
			history.end()
			next = session.End
			v.answered(&outage)
		case err != nil:
			v.failed(&outage, err)
		default:
			v.answered(&outage)
		}
		cursor = next
		if err != nil && before == session.End && !v.rest(ctx) {
			return
		}
	}
}

// outage is several reads of the source that have failed, one after the other. A single one that has failed is no outage.
type outage struct {
	failures int
	said     bool // the log has a line about it
	line     seldom.Line
}

// failed is called after a read that has failed.
func (v *View) failed(o *outage, err error) {
	o.failures++
	if o.failures == lostAfter {
		v.report(err)
	}
	if o.failures >= lostAfter && !o.said && o.line.Due() {
		o.said = true
		v.Logger.Error("signet: the revocations cannot be read", "source", v.Name, "error", err)
	}
}

// answered is called after an answer of the source. It ends an outage.
func (v *View) answered(o *outage) {
	if o.failures >= lostAfter {
		v.report(nil)
	}
	o.failures, o.said = 0, false
}

// report tells the owner of the view that the source is lost (err is not nil) or back.
func (v *View) report(err error) {
	if v.Report != nil {
		v.Report(err)
	}
}

// keepTime ends the contexts of tokens that expire, and forgets what no token needs any more, until ctx ends.
func (v *View) keepTime(ctx context.Context) {
	second, minute := time.NewTicker(time.Second), time.NewTicker(expireEvery)
	defer second.Stop()
	defer minute.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-second.C:
			v.watches.expire(now)
		case <-minute.C:
			v.expire()
		}
	}
}

// history is the goroutine that reads the old part of the log.
type history struct {
	running sync.WaitGroup
	stop    context.CancelFunc
}

func (h *history) begun() bool { return h.stop != nil }

func (h *history) begin(ctx context.Context, read func(context.Context)) {
	ctx, h.stop = context.WithCancel(ctx)
	h.running.Go(func() { read(ctx) })
}

// end stops the goroutine and waits for it.
func (h *history) end() {
	if h.begun() {
		h.stop()
		h.running.Wait()
		h.stop = nil
	}
}

// rest waits for the next read: about an interval, or until the source wakes the view. The wait is random, so that the
// processes of a fleet do not read at the same time. It returns false when ctx has ended.
func (v *View) rest(ctx context.Context) bool {
	gap := time.NewTimer(wakeGap)
	defer gap.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-gap.C:
	}
	pause := time.NewTimer(v.Interval*4/5 + rand.N(v.Interval/5+1) - wakeGap)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
	case <-v.wake:
	}
	return true
}

// pull reads what is behind the cursor, to the end of the log. If it begins at the end, the entries before must be read again.
// What was known before is good until then.
func (v *View) pull(ctx context.Context, cursor session.Cursor, size *int) (session.Cursor, error) {
	anew := cursor == session.End
	for {
		began := time.Now()
		page, err := v.read(ctx, cursor, *size)
		*size = v.nextSize(*size, tailPage, time.Since(began), err)
		if err != nil {
			return cursor, err
		}
		if v.Remote && !page.More && int64(page.Now) <= v.now.Load() {
			return cursor, errOld
		}
		if !v.Remote && int64(page.Now) < v.now.Load()-time.Minute.Milliseconds() {
			// The clock of the source was set back. Entries of this page may have been dropped, because they had expired by the
			// old time. So the page is read again with the new time.
			v.now.Store(int64(page.Now))
			v.expire()
			continue
		}
		cursor = page.Next
		if !page.More {
			if anew {
				v.whole.Store(false)
				v.seen.reset()
				v.cuts.reset()
			}
			// Freshness counts from the start of the read, because the read may miss later entries.
			if v.Remote {
				began = began.Add(-max(0, began.Sub(page.Now.Time())))
			}
			v.freshWall.Store(began.Add(v.MaxStaleness).UnixMilli())
			v.freshUntil.Store(max(v.freshUntil.Load(), int64(began.Add(v.MaxStaleness).Sub(v.began))))
			v.now.Store(int64(page.Now))
			return cursor, nil
		}
	}
}

// readHistory reads the log from its start. Then whole is true.
func (v *View) readHistory(ctx context.Context) {
	// The last page must be newer than the cursor of follow, or else an entry between the two would be missed. A remote page
	// may be older, because a cache may stand in between, and the clocks of several machines differ.
	since := session.Millis(v.now.Load()).Add(remoteSkew)
	began, cursor := time.Now(), session.Start
	most, slow := historyPage, false
	if v.Remote {
		most = remotePage
	}
	size := most
	for {
		asked := time.Now()
		page, err := v.read(ctx, cursor, size)
		size = v.nextSize(size, most, time.Since(asked), err)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, session.ErrCursor):
			cursor = session.Start
		case err != nil:
			if !slow {
				v.Logger.Warn("signet: the old part of the log of revocations cannot be read yet", "source", v.Name, "error", err)
			}
			slow = true
		case page.More:
			cursor = page.Next
			continue
		case !v.Remote || page.Now >= since:
			v.whole.Store(true)
			entries, bytes, compact := v.set.stats()
			v.Logger.Debug("signet: the revocations were read", "source", v.Name, "sessions", entries, "bytes", bytes,
				"exact", !compact, "took", time.Since(began).Round(time.Millisecond))
			return
		default:
			cursor = page.Next
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryAfter):
		}
	}
}

// nextSize returns how many entries the next page may have, after one that took so long. A slow source, or one behind a slow
// link, may be able to answer less in time. One that is away fails soon.
func (v *View) nextSize(size, most int, took time.Duration, err error) int {
	switch soon := took < v.Timeout/4; {
	case err != nil && !soon:
		return max(size/2, leastPage)
	case err == nil && soon:
		return min(2*size, most)
	}
	return size
}

// read reads one page. A panic of the source becomes an error, because in the background nobody else recovers.
func (v *View) read(ctx context.Context, cursor session.Cursor, size int) (page session.Page, err error) {
	ctx, cancel := context.WithTimeout(ctx, v.Timeout)
	defer cancel()
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("%s panicked: %v", v.Name, reason)
		}
	}()
	return v.Source.ReadLog(ctx, cursor, size, v.Apply)
}

// expire forgets what no token needs any more. One clock that is wrong forgets nothing: both the source's and this machine's
// must say so.
func (v *View) expire() {
	now := min(v.sourceTime(), v.Wall())
	v.set.expire(now)
	v.cuts.expire(now)
}

// listen lets the source wake follow. Of several failures in a row it logs the first one.
func (v *View) listen(ctx context.Context, notifier session.Notifier) {
	failing := false
	for ctx.Err() == nil {
		began := time.Now()
		err := notify(ctx, notifier, func() {
			select {
			case v.wake <- struct{}{}:
			default:
			}
		})
		if ctx.Err() == nil && (!failing || time.Since(began) > longPush) {
			v.Logger.Warn("signet: revocations are not pushed now; they are still read regularly", "source", v.Name, "error", err)
		}
		failing = true
		select {
		case <-ctx.Done():
		case <-time.After(retryAfter + rand.N(retryAfter)):
		}
	}
}

func notify(ctx context.Context, notifier session.Notifier, wake func()) (err error) {
	defer func() {
		if reason := recover(); reason != nil {
			err = fmt.Errorf("it panicked: %v", reason)
		}
	}()
	return notifier.Notify(ctx, wake)
}
