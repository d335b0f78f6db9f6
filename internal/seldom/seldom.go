// Package seldom keeps lines that anybody can cause from filling the log.
package seldom

import (
	"sync/atomic"
	"time"
)

// Line is a line that the log gets once a minute at most. Its zero value is ready for use. It is safe for concurrent use.
type Line struct{ last atomic.Int64 } // when it was due last, in Unix seconds

const every = 60 // seconds

// Due reports whether the line may be written now: it was not due in the last minute, or the clock was set back since then. If
// so, Due notes that it is written now.
func (l *Line) Due() bool { return l.dueAt(time.Now().Unix()) }

func (l *Line) dueAt(now int64) bool {
	last := l.last.Load()
	early := last <= now && now < last+every
	return !early && l.last.CompareAndSwap(last, now)
}
