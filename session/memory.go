package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is a [Store] in the memory of one process. It is the default of signet, and it is meant for tests and for services
// that run as one process. The sessions end with the process. Memory is safe for concurrent use, and its zero value is ready
// to use.
//
// Nobody needs to call DeleteExpired: every Create removes a few rows that are due.
type Memory struct {
	// MaxPerUser is how many live sessions a user may have. A login beyond that limit revokes the session that has been
	// unused for the longest time. 0 means 100.
	MaxPerUser int
	// Clock is the store's clock; nil means time.Now.
	Clock func() time.Time

	mu     sync.Mutex
	rows   map[string]*memoryRow
	byUser map[string]*memoryRow  // the user's newest row
	due    map[int64][]*memoryRow // by the minute in which sweep should look at the row again
	first  int64                  // no earlier minute has rows

	handedOut   Millis       // no later revocation is noted with an earlier time, even if the clock is set back
	revoked     []*memoryRow // in the order in which they were revoked
	goneRevoked int          // how many of those were removed
}

// memoryRow is one session. Readers copy it under the lock. It takes 288 bytes. With 8 bytes more it would take 320.
type memoryRow struct {
	session Session
	older   *memoryRow // the next older row of the same user
	revoked Millis     // when its revocation was written; this can be long after its RevokedAt
}

const (
	defaultMaxPerUser = 100
	sweepPerCreate    = 8 // how many rows a Create looks at: more than one, so that the store shrinks after a burst
	minute            = Millis(60_000)
)

func (m *Memory) now() Millis {
	if m.Clock != nil {
		return MillisOf(m.Clock())
	}
	return MillisOf(time.Now())
}

// Create implements [Store].
func (m *Memory) Create(ctx context.Context, make func(now Millis) (Session, error)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s, err := make(m.now())
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.init()
	if m.rows[s.ID] != nil {
		return fmt.Errorf("session: id %q exists already", s.ID)
	}
	row := &memoryRow{older: m.byUser[s.UserID]}
	m.write(row, s)
	m.rows[s.ID], m.byUser[s.UserID] = row, row
	m.schedule(row)
	m.sweep(m.now(), sweepPerCreate)
	m.evict(row)
	return nil
}

func (m *Memory) init() {
	if m.rows == nil {
		m.rows, m.byUser, m.due = map[string]*memoryRow{}, map[string]*memoryRow{}, map[int64][]*memoryRow{}
		m.first = int64(m.now() / minute)
	}
}

// Update implements [Store]. change runs without the lock, because it may sign tokens with a key on another machine.
func (m *Memory) Update(ctx context.Context, id string, change func(Session, Millis) (Session, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		row := m.rows[id]
		if row == nil {
			m.mu.Unlock()
			return ErrNotFound
		}
		before := row.session
		m.mu.Unlock()

		after, err := change(before, m.now())
		if err != nil || after == before {
			return err
		}
		if m.replace(row, before, after) {
			return nil
		}
	}
}

// replace stores a changed row if nobody else has changed or removed it.
func (m *Memory) replace(row *memoryRow, before, after Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row.session != before { // a row that was removed is empty
		return false
	}
	m.write(row, after)
	return true
}

// write changes a row. It notes a revocation with the time of this commit, for RevokedSince.
func (m *Memory) write(row *memoryRow, after Session) {
	if after.Revoked() && !row.session.Revoked() {
		m.handedOut = max(m.handedOut, m.now())
		row.revoked = m.handedOut
		m.revoked = append(m.revoked, row)
	}
	before := row.session
	if before.ID == "" || after.UserAgent != before.UserAgent || after.Address != before.Address {
		after = after.inOnePiece()
	}
	row.session = after
	if after.KeepUntil < before.KeepUntil {
		m.schedule(row) // the row is then scheduled twice; sweep skips a row that is gone
	}
}

// ListByUser implements [Store].
func (m *Memory) ListByUser(ctx context.Context, userID string) ([]Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Session
	for row := m.byUser[userID]; row != nil; row = row.older {
		list = append(list, row.session)
	}
	return list, nil
}

// RevokedSince implements [Store].
func (m *Memory) RevokedSince(ctx context.Context, since Millis, each func(string, Millis)) (Millis, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	m.handedOut = max(m.handedOut, now)
	for _, row := range slices.Backward(m.revoked) { // in the order of their commits
		if row.revoked < since {
			break
		}
		if row.session.KeepUntil > now {
			each(row.session.ID, row.session.KeepUntil)
		}
	}
	return now, nil
}

// DeleteExpired implements [Store].
func (m *Memory) DeleteExpired(ctx context.Context, limit int) (int, error) {
	removed := 0
	for more := true; more && removed < limit; { // in steps, so that others get the lock in between
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		m.mu.Lock()
		m.init()
		now := m.now()
		removed += m.sweep(now, limit-removed)
		more = m.first < int64(now/minute)
		m.mu.Unlock()
	}
	return removed, nil
}

// schedule notes when a row may be due. Most rows are used again before that time, and sweep then schedules them again. This
// is cheaper than an order that every use changes.
func (m *Memory) schedule(row *memoryRow) {
	at := max(int64(row.session.KeepUntil/minute), int64(m.now()/minute)-1) // a time in the past counts as due now
	m.first = min(m.first, at)
	m.due[at] = append(m.due[at], row)
}

// sweep looks at up to limit rows whose minute is over, and returns how many it removed.
func (m *Memory) sweep(now Millis, limit int) (removed int) {
	for ; limit > 0 && m.first < int64(now/minute); limit-- {
		rows := m.due[m.first]
		if len(rows) == 0 {
			delete(m.due, m.first)
			m.first = m.nextDue(int64(now / minute))
			continue
		}
		row := rows[len(rows)-1]
		m.due[m.first] = rows[:len(rows)-1]
		switch {
		case row.session.ID == "": // removed already
		case row.session.KeepUntil > now:
			m.schedule(row)
		default:
			m.remove(row)
			removed++
		}
	}
	return removed
}

// nextDue skips minutes without rows.
func (m *Memory) nextDue(current int64) int64 {
	at := m.first + 1
	for at < current && m.due[at] == nil {
		at++
	}
	return at
}

func (m *Memory) remove(row *memoryRow) {
	s := row.session
	row.session = Session{}
	delete(m.rows, s.ID)
	if s.Revoked() {
		if m.goneRevoked++; m.goneRevoked > len(m.revoked)/2 {
			m.revoked = slices.DeleteFunc(m.revoked, func(r *memoryRow) bool { return r.session.ID == "" })
			m.goneRevoked = 0
		}
	}
	newest := m.byUser[s.UserID]
	if newest != row {
		for newest.older != row {
			newest = newest.older
		}
		newest.older = row.older
		return
	}
	if row.older == nil {
		delete(m.byUser, s.UserID)
		return
	}
	m.byUser[s.UserID] = row.older
}

// evict revokes the least recently used sessions of a user who has too many. It never revokes the one that was just created.
func (m *Memory) evict(created *memoryRow) {
	limit := m.MaxPerUser
	if limit <= 0 {
		limit = defaultMaxPerUser
	}
	var live []*memoryRow
	for row := created.older; row != nil; row = row.older {
		if row.session.RevokedAt == 0 {
			live = append(live, row)
		}
	}
	if len(live) < limit {
		return
	}
	now := m.now()
	slices.Reverse(live) // of sessions with the same last use the oldest goes first
	slices.SortStableFunc(live, func(a, b *memoryRow) int {
		return cmp.Compare(a.session.LastUsedAt, b.session.LastUsedAt)
	})
	for _, row := range live[:len(live)+1-limit] {
		m.write(row, row.session.Revoke(ReasonEvicted, now))
	}
}

// inOnePiece puts the texts of a row into one piece of memory. With millions of rows this saves much work of the garbage
// collector and many cache misses.
func (s Session) inOnePiece() Session {
	text := s.ID + s.UserID + s.Address + s.UserAgent
	cut := func(part *string) { *part, text = text[:len(*part)], text[len(*part):] }
	cut(&s.ID)
	cut(&s.UserID)
	cut(&s.Address)
	cut(&s.UserAgent)
	return s
}

// Format implements [fmt.Formatter]. It prints only the name of the type.
func (m *Memory) Format(state fmt.State, _ rune) { fmt.Fprint(state, "session.Memory") }
