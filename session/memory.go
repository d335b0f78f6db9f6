package session

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Memory is a [Store] in the memory of one process. It is the default of signet, and it is meant for tests and for services
// that run as one process. The sessions end with the process. Memory is safe for concurrent use, and its zero value is ready
// to use.
//
// Nobody needs to call DeleteExpired: every Create removes a few rows that are due.
type Memory struct {
	// MaxPerUser is how many sessions of a user may be not revoked. A login beyond that limit revokes the session that has
	// been unused for the longest time. 0 means [MaxPerUser].
	MaxPerUser int
	// Clock is the store's clock; nil means time.Now.
	Clock func() time.Time

	mu     sync.Mutex
	rows   map[string]*memoryRow
	byUser map[string]*memoryRow // the newest row of the user that is not revoked
	cuts   map[string]*memoryCut // by the user; that of everybody has the user ""
	log    memoryLog

	dueRows agenda[*memoryRow]
	dueCuts agenda[*memoryCut]
	before  Millis    // of the last DeleteExpired; 0: there was none
	started time.Time // the first use, by a clock that cannot be set
}

// memoryRow is one session. Readers copy it under the lock. It takes 320 bytes. With 8 bytes more it would take 352.
type memoryRow struct {
	session      Session
	newer, older *memoryRow // of the same user and not revoked
	live         int        // in the newest row: how many rows there are from here
	position     int64      // in the log; 0: it is not revoked
}

// memoryCut is the cut-off of a user. It never changes: a new one takes its place.
type memoryCut struct {
	Cutoff
	userID   string
	position int64
}

const (
	sweepPerCreate = 8 // how many rows a Create looks at: more than one, so that the store shrinks after a burst
	minute         = Millis(60_000)
)

func (m *Memory) now() Millis {
	if m.Clock != nil {
		return MillisOf(m.Clock())
	}
	return MillisOf(time.Now())
}

func (m *Memory) moment(userID string) Moment {
	return Moment{Now: m.now(), User: m.cutoff(userID), All: m.cutoff("")}
}

func (m *Memory) cutoff(userID string) Cutoff {
	if cut := m.cuts[userID]; cut != nil {
		return cut.Cutoff
	}
	return Cutoff{}
}

// Create implements [Store].
func (m *Memory) Create(ctx context.Context, userID string, make func(at Moment) (Session, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		at := m.moment(userID)
		m.mu.Unlock()
		s, err := make(at)
		if err != nil {
			return err
		}
		if done, err := m.insert(userID, s, at); done {
			return err
		}
	}
}

// insert stores a new row if the cut-offs are still those of the moment.
func (m *Memory) insert(userID string, s Session, at Moment) (done bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[s.ID] != nil {
		return true, fmt.Errorf("session: id %q exists already", s.ID)
	}
	if !m.still(userID, at) {
		return false, nil
	}
	if m.rows == nil {
		m.rows, m.byUser = map[string]*memoryRow{}, map[string]*memoryRow{}
	}
	row := new(memoryRow)
	m.write(row, s)
	m.rows[row.session.ID] = row
	until := m.until()
	m.dueRows.add(row, s.KeepUntil, until)
	for range sweepPerCreate {
		m.look(until)
	}
	m.evict(s.UserID, row)
	return true, nil
}

// still reports whether the cut-offs are those of the moment.
func (m *Memory) still(userID string, at Moment) bool {
	return m.cutoff(userID) == at.User && m.cutoff("") == at.All
}

// Update implements [Store]. change runs without the lock, because it may sign tokens with a key on another machine.
func (m *Memory) Update(ctx context.Context, id string, change func(Session, Moment) (Session, error)) error {
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
		at := m.moment(before.UserID)
		m.mu.Unlock()

		after, err := change(before, at)
		if err != nil || after == before {
			return err
		}
		if m.replace(row, before, after, at) {
			return nil
		}
	}
}

// replace stores a changed row if nobody else has changed or removed it, and the cut-offs are still those of the moment.
func (m *Memory) replace(row *memoryRow, before, after Session, at Moment) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row.session != before || !m.still(before.UserID, at) { // a row that was removed is empty
		return false
	}
	m.write(row, after)
	return true
}

// write changes a row. A row is either in the list of its user or in the log.
func (m *Memory) write(row *memoryRow, after Session) {
	before := row.session
	if before.ID == "" || after.UserAgent != before.UserAgent || after.Address != before.Address {
		after = after.inOnePiece()
	}
	listed, revoked := before.ID != "" && row.position == 0, after.Revoked()
	if listed && revoked {
		m.unlink(row)
	}
	row.session = after
	switch {
	case revoked && row.position == 0:
		row.position = m.log.add(memoryEntry{row: row})
	case !revoked && row.position != 0:
		m.log.remove(row.position)
		row.position = 0
	}
	if !listed && !revoked {
		m.link(row)
	}
	if after.KeepUntil < before.KeepUntil {
		m.dueRows.add(row, after.KeepUntil, m.until()) // it is then there twice; look skips a row that is gone
	}
}

// link makes a row the newest one of its user.
func (m *Memory) link(row *memoryRow) {
	row.live = 1
	if second := m.byUser[row.session.UserID]; second != nil {
		second.newer, row.older, row.live = row, second, second.live+1
	}
	m.byUser[row.session.UserID] = row
}

// unlink takes a row out of the list of its user.
func (m *Memory) unlink(row *memoryRow) {
	newest := m.byUser[row.session.UserID]
	newest.live--
	switch {
	case row != newest:
		row.newer.older = row.older
	case row.older != nil:
		row.older.live = row.live
		m.byUser[row.session.UserID] = row.older
	default:
		delete(m.byUser, row.session.UserID)
	}
	if row.older != nil {
		row.older.newer = row.newer
	}
	row.newer, row.older = nil, nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, userID string, limit int) ([]Session, Moment, error) {
	if err := ctx.Err(); err != nil {
		return nil, Moment{}, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var list []Session
	for row := m.byUser[userID]; row != nil; row = row.older {
		list = append(list, row.session)
	}
	if len(list) > limit {
		slices.SortFunc(list, func(a, b Session) int { return cmp.Compare(b.KeepUntil, a.KeepUntil) })
		list = list[:max(limit, 0)]
	}
	return list, m.moment(userID), nil
}

// Cut implements [Store]. change runs without the lock.
func (m *Memory) Cut(ctx context.Context, userID string, change func(Cutoff, Millis, Millis) (Cutoff, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		m.mu.Lock()
		before, latest, now := m.cutoff(userID), m.latest(userID), m.now()
		m.mu.Unlock()
		after, err := change(before, latest, now)
		if err != nil || after == before {
			return err
		}
		if m.replaceCut(userID, before, after, latest) {
			return nil
		}
	}
}

// replaceCut stores a changed cut-off if nobody else has changed it, and no session lives longer than latest. Otherwise the
// cut-off could go before a session that it ended.
func (m *Memory) replaceCut(userID string, before, after Cutoff, latest Millis) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cutoff(userID) != before || m.latest(userID) > latest {
		return false
	}
	if old := m.cuts[userID]; old != nil {
		m.log.remove(old.position)
	}
	if m.cuts == nil {
		m.cuts = map[string]*memoryCut{}
	}
	cut := &memoryCut{Cutoff: after, userID: userID}
	cut.position = m.log.add(memoryEntry{cut: cut})
	m.cuts[userID] = cut
	if userID != "" {
		m.dueCuts.add(cut, after.KeepUntil, m.until())
	}
	return true
}

// latest returns the latest KeepUntil of the rows of a user that are not revoked. The others are in the log themselves.
func (m *Memory) latest(userID string) (latest Millis) {
	if userID == "" {
		return 0
	}
	for row := m.byUser[userID]; row != nil; row = row.older {
		latest = max(latest, row.session.KeepUntil)
	}
	return latest
}

// ReadLog implements [Log].
func (m *Memory) ReadLog(ctx context.Context, after Cursor, limit int, each func(Entry)) (Page, error) {
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	entries, page, err := m.readLog(after, max(limit, 1))
	for _, read := range entries { // without the lock, because the keys take a while
		each(read())
	}
	return page, err
}

func (m *Memory) readLog(after Cursor, limit int) (entries []func() Entry, page Page, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.log.name == "" {
		m.log.name = rand.Text()
	}
	from, position := int64(0), m.log.last
	switch {
	case after == End:
		from = m.log.last
	case after != Start:
		name, digits, _ := strings.Cut(string(after), ".")
		from, err = strconv.ParseInt(digits, 10, 64)
		if err != nil || name != m.log.name || from < 0 || from > m.log.last {
			return nil, Page{}, ErrCursor
		}
	}
	if after != End {
		position, entries = m.log.read(from, limit)
	}
	next := Cursor(m.log.name + "." + strconv.FormatInt(position, 10))
	return entries, Page{Next: next, More: position < m.log.last, Now: m.now()}, nil
}

// DeleteExpired implements [Store].
func (m *Memory) DeleteExpired(ctx context.Context, before Millis, limit int) (int, error) {
	removed := 0
	for more := true; more && removed < limit; { // in steps, so that others get the lock in between
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		m.mu.Lock()
		m.before = before
		until := m.until()
		for range min(limit-removed, 1000) {
			var gone bool
			if more, gone = m.look(until); gone {
				removed++
			}
		}
		m.mu.Unlock()
	}
	return removed, nil
}

// until returns the time until which rows may be removed: the store's clock alone may be wrong.
func (m *Memory) until() Millis {
	if m.started.IsZero() {
		m.started = time.Now()
	}
	other := m.before
	if other == 0 {
		other = MillisOf(m.started.Add(time.Since(m.started)))
	}
	return min(m.now(), other)
}

// look looks at one row or cut-off that may be due, if there is one, and removes it if it is.
func (m *Memory) look(until Millis) (looked, removed bool) {
	if row, ok := m.dueRows.pop(until); ok {
		switch {
		case row.session.ID == "": // removed already
		case row.session.KeepUntil > until: // it was used since
			m.dueRows.add(row, row.session.KeepUntil, until)
		default:
			m.remove(row)
			return true, true
		}
		return true, false
	}
	cut, ok := m.dueCuts.pop(until)
	if !ok || m.cuts[cut.userID] != cut { // replaced
		return ok, false
	}
	delete(m.cuts, cut.userID)
	m.log.remove(cut.position)
	return true, true
}

func (m *Memory) remove(row *memoryRow) {
	delete(m.rows, row.session.ID)
	if row.position == 0 {
		m.unlink(row)
	} else {
		m.log.remove(row.position)
	}
	row.session = Session{}
}

// evict revokes the least recently used sessions of a user who has too many. It never revokes the one that was just created.
// It does what [Excess] says, without a copy of the rows.
func (m *Memory) evict(userID string, created *memoryRow) {
	limit := m.MaxPerUser
	if limit <= 0 {
		limit = MaxPerUser
	}
	for at := m.moment(userID); ; {
		newest := m.byUser[userID]
		if newest == nil || newest.live <= limit {
			return
		}
		var oldest *memoryRow
		for row := newest; row != nil; row = row.older {
			if row != created && (oldest == nil || at.goesFirst(row.session, oldest.session) <= 0) {
				oldest = row
			}
		}
		m.write(oldest, oldest.session.Revoke(ReasonEvicted, m.now()))
	}
}

// agenda notes in which minute something may be due. Most rows are used again before that time, and look then notes them
// again. This is cheaper than an order that every use changes.
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
			item, items[len(items)-1] = items[len(items)-1], item
			a.due[a.first] = items[:len(items)-1]
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

// memoryLog has the entries in the order of their positions. It keeps them in pieces, so that no step takes long, however
// many there are.
type memoryLog struct {
	name   string // of this log; a cursor of another one, from before a restart, means nothing here
	last   int64  // the newest position that was ever given
	pieces [][]memoryEntry
}

// memoryEntry stands for a row or a cut-off.
type memoryEntry struct {
	position int64
	row      *memoryRow
	cut      *memoryCut
}

const entriesPerPiece = 1000

// add appends an entry and returns its position.
func (l *memoryLog) add(e memoryEntry) int64 {
	l.last++
	e.position = l.last
	if n := len(l.pieces); n == 0 || len(l.pieces[n-1]) == entriesPerPiece {
		l.pieces = append(l.pieces, nil)
	}
	last := &l.pieces[len(l.pieces)-1]
	*last = append(*last, e)
	return e.position
}

// find returns the place of the first entry at a position or after it.
func (l *memoryLog) find(position int64) (piece, place int) {
	compare := func(e memoryEntry, position int64) int { return cmp.Compare(e.position, position) }
	piece, _ = slices.BinarySearchFunc(l.pieces, position, func(piece []memoryEntry, position int64) int {
		return compare(piece[len(piece)-1], position)
	})
	if piece < len(l.pieces) {
		place, _ = slices.BinarySearchFunc(l.pieces[piece], position, compare)
	}
	return piece, place
}

func (l *memoryLog) remove(position int64) {
	i, j := l.find(position)
	left := slices.Delete(l.pieces[i], j, j+1)
	switch {
	case len(left) == 0:
		l.pieces = slices.Delete(l.pieces, i, i+1)
	case len(left) < cap(left)/4:
		l.pieces[i] = slices.Clone(left)
	default:
		l.pieces[i] = left
	}
}

// read copies up to limit entries behind a position. It returns the position behind them.
func (l *memoryLog) read(after int64, limit int) (last int64, entries []func() Entry) {
	i, j := l.find(after + 1)
	for ; i < len(l.pieces); i, j = i+1, 0 {
		for _, e := range l.pieces[i][j:] {
			if len(entries) == limit {
				return last, entries
			}
			entries, last = append(entries, e.copied()), e.position
		}
	}
	return l.last, entries
}

// copied returns a function that makes the entry without the lock.
func (e memoryEntry) copied() func() Entry {
	if cut := e.cut; cut != nil {
		return func() Entry {
			if cut.userID == "" {
				return AllEntry(AllGroups, cut.Cutoff)
			}
			return CutEntry(cut.userID, cut.Cutoff)
		}
	}
	id, keepUntil := e.row.session.ID, e.row.session.KeepUntil
	return func() Entry { return RevokedEntry(id, keepUntil) }
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
