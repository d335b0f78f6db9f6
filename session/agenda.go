package session

// agenda notes in which minute something may be due. Most rows are used again before that minute. [Memory.look] then finds that
// they are not due, and adds them again with a later minute. This is cheaper than a sorted list that changes at every use.
type agenda[T any] struct {
	due   map[int64][]T
	first int64 // no earlier minute has anything
}

func (a *agenda[T]) add(item T, keepUntil, until Millis) {
	if a.due == nil {
		a.due = map[int64][]T{}
	}
	at := max(int64(keepUntil/minute), int64(until/minute)-1) // a time in the past counts as due now
	a.first = min(a.first, at)
	a.due[at] = append(a.due[at], item)
}

// pop takes one thing whose minute is over.
func (a *agenda[T]) pop(until Millis) (item T, ok bool) {
	for current := int64(until / minute); a.first < current; a.first = a.next(current) {
		if items := a.due[a.first]; len(items) > 0 {
			last := len(items) - 1
			item = items[last]
			clear(items[last:]) // or the array would keep it
			a.due[a.first] = items[:last]
			return item, true
		}
		delete(a.due, a.first)
	}
	return item, false
}

// next skips minutes that have nothing. It looks at the following ones first, and if they are empty, at all that are there.
func (a *agenda[T]) next(current int64) int64 {
	at := a.first + 1
	for range a.due {
		if at >= current || a.due[at] != nil {
			return at
		}
		at++
	}
	at = current
	for other := range a.due {
		at = min(at, other)
	}
	return at
}
