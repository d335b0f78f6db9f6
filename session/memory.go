package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Memory is a Store in the memory of one process: the default of signet, for tests and for services that run once. The
// sessions end with the process. It is safe for concurrent use, and its zero value is ready.
//
// Expired rows leave by themselves: every Create removes a few that are due.
type Memory struct {
	// MaxPerUser is how many live sessions a user may have; a login beyond that revokes the one that was not used for
	// longest. 0 means 100.
	MaxPerUser int
	// Clock is the store's clock; nil means time.Now.
	Clock func() time.Time

	mu     sync.Mutex
	rows   map[string]*memoryRow
	byUser map[string][]*memoryRow
	due    map[int64][]*memoryRow // by the minute in which a row should be looked at again
	first  int64                  // no earlier minute has rows

	revoked     []*memoryRow // in the order of their revocation
	goneRevoked int          // of those, how many are removed
}

// memoryRow is one session. Readers copy it under the lock; version tells whether it changed since.
type memoryRow struct {
	session Session
	version uint64
}

const (
	defaultMaxPerUser = 100
	sweepPerCreate    = 8 // rows looked at: more than one, so that the store shrinks after a burst
	minute            = Millis(60_000)
)

func (m *Memory) now() Millis {
	if m.Clock != nil {
		return MillisOf(m.Clock())
	}
	return MillisOf(time.Now())
}

// Create implements Store.
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
	row := &memoryRow{session: s}
	m.rows[s.ID] = row
	m.byUser[s.UserID] = append(m.byUser[s.UserID], row)
	m.schedule(row)
	m.sweep(m.now(), sweepPerCreate)
	m.evict(s.UserID)
	return nil
}

func (m *Memory) init() {
	if m.rows == nil {
		m.rows, m.byUser, m.due = map[string]*memoryRow{}, map[string][]*memoryRow{}, map[int64][]*memoryRow{}
		m.first = int64(m.now() / minute)
	}
}

// Update implements Store. change runs without the lock: it may sign tokens with a key that is far away.
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
		before, version := row.session, row.version
		m.mu.Unlock()

		after, err := change(before, m.now())
		if err != nil || after == before {
			return err
		}
		if m.replace(row, version, after) {
			return nil
		}
	}
}

// replace stores a changed row if nobody else has changed it.
func (m *Memory) replace(row *memoryRow, version uint64, after Session) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row.version != version {
		return false
	}
	m.write(row, after)
	return true
}

// write changes a row. A revocation is noted with the time of this commit, for RevokedSince.
func (m *Memory) write(row *memoryRow, after Session) {
	if after.Revoked() && !row.session.Revoked() {
		after.RevokedAt = max(after.RevokedAt, m.now())
		m.revoked = append(m.revoked, row)
	}
	row.session = after
	row.version++
}

// ListByUser implements Store.
func (m *Memory) ListByUser(ctx context.Context, userID string) ([]Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Session
	for _, row := range m.byUser[userID] {
		list = append(list, row.session)
	}
	return list, nil
}

// RevokedSince implements Store.
func (m *Memory) RevokedSince(ctx context.Context, since Millis, each func(string, Millis)) (Millis, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.now()
	for _, row := range slices.Backward(m.revoked) { // in the order of their commits
		if row.session.RevokedAt < since {
			break
		}
		if row.session.KeepUntil > now {
			each(row.session.ID, row.session.KeepUntil)
		}
	}
	return now, nil
}

// DeleteExpired implements Store.
func (m *Memory) DeleteExpired(ctx context.Context, limit int) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.sweep(m.now(), limit), nil
}

// schedule notes when a row may be due. Most rows are used again before that, and are then scheduled anew: cheaper than
// keeping an order that every use changes.
func (m *Memory) schedule(row *memoryRow) {
	at := max(int64(row.session.KeepUntil/minute), m.first)
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
		if row.session.KeepUntil > now {
			m.schedule(row)
			continue
		}
		m.remove(row)
		removed++
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
	delete(m.rows, s.ID)
	if s.Revoked() {
		if m.goneRevoked++; m.goneRevoked > len(m.revoked)/2 {
			m.revoked = slices.DeleteFunc(m.revoked, func(r *memoryRow) bool { return m.rows[r.session.ID] == nil })
			m.goneRevoked = 0
		}
	}
	rest := slices.DeleteFunc(m.byUser[s.UserID], func(other *memoryRow) bool { return other == row })
	if len(rest) == 0 {
		delete(m.byUser, s.UserID)
		return
	}
	m.byUser[s.UserID] = rest
}

// evict revokes the least used sessions of a user who has too many.
func (m *Memory) evict(userID string) {
	limit := m.MaxPerUser
	if limit <= 0 {
		limit = defaultMaxPerUser
	}
	if len(m.byUser[userID]) <= limit {
		return
	}
	now := m.now()
	live := slices.DeleteFunc(slices.Clone(m.byUser[userID]), func(r *memoryRow) bool { return r.session.RevokedAt != 0 })
	slices.SortFunc(live, func(a, b *memoryRow) int {
		return cmp.Compare(a.session.LastUsedAt, b.session.LastUsedAt)
	})
	for _, row := range live[:max(0, len(live)-limit)] {
		m.write(row, Revoke(row.session, ReasonEvicted, now))
	}
}

// Format implements fmt.Formatter: a Memory prints as its name alone.
func (m *Memory) Format(state fmt.State, _ rune) { fmt.Fprint(state, "session.Memory") }
