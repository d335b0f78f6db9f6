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
	// MaxPerUser is how many live sessions a user may have. A login beyond that limit revokes the session that has
	// been unused for the longest time. 0 means [MaxPerUser].
	MaxPerUser int
	// Clock is the store's clock; nil means time.Now.
	Clock func() time.Time

	mu   sync.Mutex
	rows memoryRows
	cuts map[string]*memoryCut // by the user; that of everybody has the user ""
	log  memoryLog

	dueRows agenda[rowNumber]
	dueCuts agenda[*memoryCut]
	before  Millis    // of the last DeleteExpired; 0: there was none
	started time.Time // the first use, by a clock that cannot be set
}

// memoryCut is the cut-off of a user. A new one takes its place in the log. It has one note in the agenda for as long as it
// lives.
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
		at := m.begin(userID)
		s, err := make(at)
		if err != nil {
			return err
		}
		if done, err := m.insert(userID, s, at); done {
			return err
		}
	}
}

// begin returns the moment for a new session. Like each function that calls the host's Clock, it unlocks also after a panic.
func (m *Memory) begin(userID string) Moment {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.moment(userID)
}

// insert stores a new row if the cut-offs are still those of the moment.
func (m *Memory) insert(userID string, s Session, at Moment) (done bool, err error) {
	packedRow := pack(&s)
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows.find(byID, s.ID) != 0 {
		return true, fmt.Errorf("session: id %q exists already", s.ID)
	}
	if !m.still(userID, at) {
		return false, nil
	}
	number := m.rows.add(packedRow)
	m.place(number, &s)
	until := m.until()
	m.note(number, s.KeepUntil, until)
	for range sweepPerCreate {
		m.look(until)
	}
	m.evict(s.UserID, number)
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
		number, read, at := m.read(id)
		if number == 0 {
			return ErrNotFound
		}
		before := read.unpack()
		after, err := change(before, at)
		switch {
		case err != nil || after == before:
			return err
		case after.ID != before.ID || after.UserID != before.UserID:
			return fmt.Errorf("session: a change of session %q gives it another id or user", id)
		}
		if m.replace(number, read, &before, &after, at) {
			return nil
		}
	}
}

// read returns a row and its moment. number is 0 if there is no such row.
func (m *Memory) read(id string) (number rowNumber, row packed, at Moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if number = m.rows.find(byID, id); number != 0 {
		row = m.rows.at(number).session
		at = m.moment(row.userID())
	}
	return number, row, at
}

// replace stores a changed row if nobody else has changed or removed it, and the cut-offs are still those of the moment.
func (m *Memory) replace(number rowNumber, read packed, before, after *Session, at Moment) bool {
	written := pack(after)
	m.mu.Lock()
	defer m.mu.Unlock()
	// If the row was removed, there is no text at its place, or that of another session.
	if m.rows.at(number).session != read || !m.still(before.UserID, at) {
		return false
	}
	m.write(number, written, before, after)
	if before.PendingUntil != 0 && after.PendingUntil == 0 { // a login is a session now
		m.evict(before.UserID, number)
	}
	return true
}

// write changes a row.
func (m *Memory) write(number rowNumber, written packed, before, after *Session) {
	m.rows.at(number).session = written
	m.place(number, after)
	if after.KeepUntil < before.KeepUntil {
		m.note(number, after.KeepUntil, m.until()) // a second note
	}
}

// place puts a row into the list of its user, or into the log if it is revoked. It is never in both.
func (m *Memory) place(number rowNumber, s *Session) {
	row := m.rows.at(number)
	switch listed := row.live != 0; {
	case s.Revoked() && row.position == 0:
		if listed {
			m.rows.unlink(number)
		}
		row.position = m.log.add(memoryEntry{row: number})
	case !s.Revoked() && !listed:
		if row.position != 0 {
			m.log.remove(row.position)
			row.position = 0
		}
		m.rows.link(number)
	}
}

// note notes when a row may be due.
func (m *Memory) note(number rowNumber, keepUntil, until Millis) {
	m.rows.at(number).notes++
	m.dueRows.add(number, keepUntil, until)
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, userID string, limit int) ([]Session, Moment, error) {
	if err := ctx.Err(); err != nil {
		return nil, Moment{}, err
	}
	rows, at := m.list(userID)
	list := slices.Grow([]Session(nil), len(rows))
	for _, row := range rows {
		list = append(list, row.unpack())
	}
	if len(list) > limit {
		slices.SortFunc(list, func(a, b Session) int { return cmp.Compare(b.KeepUntil, a.KeepUntil) })
		list = list[:max(limit, 0)]
	}
	return list, at, nil
}

func (m *Memory) list(userID string) (rows []packed, at Moment) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range m.rows.of(userID) {
		rows = append(rows, row.session)
	}
	return rows, m.moment(userID)
}

// Cut implements [Store]. change runs without the lock.
func (m *Memory) Cut(ctx context.Context, userID string, change func(Cutoff, Millis, Millis) (Cutoff, error)) error {
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		before, latest, now := m.readCut(userID)
		after, err := change(before, latest, now)
		if err != nil || after == before {
			return err
		}
		if m.replaceCut(userID, before, after, latest) {
			return nil
		}
	}
}

// readCut returns the cut-off of a user, until when one of the user's sessions may live, and the time.
func (m *Memory) readCut(userID string) (c Cutoff, latest, now Millis) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cutoff(userID), m.latest(userID), m.now()
}

// replaceCut stores a changed cut-off if nobody else has changed it, and no session lives longer than latest. Otherwise the
// cut-off could go before a session that it ended.
func (m *Memory) replaceCut(userID string, before, after Cutoff, latest Millis) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.cutoff(userID) != before || m.latest(userID) > latest {
		return false
	}
	cut := m.cuts[userID]
	if cut != nil {
		m.log.remove(cut.position)
	} else {
		if m.cuts == nil {
			m.cuts = map[string]*memoryCut{}
		}
		cut = &memoryCut{userID: userID}
		m.cuts[userID] = cut
		if userID != "" {
			m.dueCuts.add(cut, after.KeepUntil, m.until())
		}
	}
	cut.Cutoff, cut.position = after, m.log.add(memoryEntry{cut: cut})
	return true
}

// latest returns the latest KeepUntil of the rows of a user that are not revoked. The others are in the log themselves.
func (m *Memory) latest(userID string) (latest Millis) {
	if userID == "" {
		return 0
	}
	for _, row := range m.rows.of(userID) {
		latest = max(latest, row.session.unpack().KeepUntil)
	}
	return latest
}

// ReadLog implements [Log].
func (m *Memory) ReadLog(ctx context.Context, after Cursor, limit int, each func(Entry)) (Page, error) {
	if err := ctx.Err(); err != nil {
		return Page{}, err
	}
	entries, page, err := m.readLog(after, max(limit, 1))
	for _, e := range entries {
		each(e)
	}
	return page, err
}

func (m *Memory) readLog(after Cursor, limit int) (entries []Entry, page Page, err error) {
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
		var read []memoryEntry
		position, read = m.log.read(from, limit)
		for _, e := range read {
			entries = append(entries, m.entry(e))
		}
	}
	next := Cursor(m.log.name + "." + strconv.FormatInt(position, 10))
	return entries, Page{Next: next, More: position < m.log.last, Now: m.now()}, nil
}

func (m *Memory) entry(e memoryEntry) Entry {
	switch {
	case e.row != 0:
		s := m.rows.at(e.row).session.unpack()
		return RevokedEntry(s.ID, s.KeepUntil)
	case e.cut.userID == "":
		return AllEntry(AllGroups, e.cut.Cutoff)
	default:
		return CutEntry(e.cut.userID, e.cut.Cutoff)
	}
}

// DeleteExpired implements [Store].
func (m *Memory) DeleteExpired(ctx context.Context, before Millis, limit int) (int, error) {
	removed := 0
	for more := true; more && removed < limit; { // in steps, so that others get the lock in between
		if err := ctx.Err(); err != nil {
			return removed, err
		}
		var n int
		n, more = m.removeDue(before, min(limit-removed, 1000))
		removed += n
	}
	return removed, nil
}

// removeDue looks at up to so many rows, and removes those that are due. more says that there are others to look at.
func (m *Memory) removeDue(before Millis, most int) (removed int, more bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.before = before
	until := m.until()
	for range most {
		var gone bool
		if more, gone = m.look(until); gone {
			removed++
		}
	}
	return removed, more
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
	if number, ok := m.dueRows.pop(until); ok {
		return true, m.lookAt(number, until)
	}
	cut, ok := m.dueCuts.pop(until)
	switch {
	case !ok:
		return false, false
	case cut.KeepUntil > until: // it was changed since
		m.dueCuts.add(cut, cut.KeepUntil, until)
		return true, false
	}
	delete(m.cuts, cut.userID)
	m.log.remove(cut.position)
	return true, true
}

// lookAt looks at a row whose note was just taken out of the agenda.
func (m *Memory) lookAt(number rowNumber, until Millis) (removed bool) {
	row := m.rows.at(number)
	row.notes--
	if row.session != "" {
		if keepUntil := row.session.unpack().KeepUntil; keepUntil > until { // it was used since
			m.note(number, keepUntil, until)
			return false
		}
		if row.position != 0 {
			m.log.remove(row.position)
		} else {
			m.rows.unlink(number)
		}
		m.rows.clear(number)
		removed = true
	}
	if row.notes == 0 { // otherwise the other note would be one of the next session in this place
		m.rows.release(number)
	}
	return removed
}

// evict revokes the least recently used sessions of a user who has too many. It never revokes the one that was just made.
// Logins come one after the other here, so it needs no rule for two at once, as [Excess] has one, and no copy of the rows.
func (m *Memory) evict(userID string, created rowNumber) {
	limit := m.MaxPerUser
	if limit <= 0 {
		limit = MaxPerUser
	}
	newest := m.rows.find(byUser, userID)
	if newest == 0 || int(m.rows.at(newest).live) <= limit {
		return
	}
	for at := m.moment(userID); ; {
		over := [2]int{-limit, -MaxPending}
		var oldest [2]rowNumber
		var before [2]Session
		for number, row := range m.rows.of(userID) {
			s := row.session.unpack()
			class := s.class()
			over[class]++
			if number != created && (oldest[class] == 0 || at.goesFirst(s, before[class]) <= 0) {
				oldest[class], before[class] = number, s
			}
		}
		class := 0
		if over[class] <= 0 {
			class = 1
		}
		if over[class] <= 0 || oldest[class] == 0 {
			return
		}
		after := before[class].Revoke(ReasonEvicted, m.now())
		m.write(oldest[class], pack(&after), &before[class], &after)
	}
}

// Format implements [fmt.Formatter]. It prints only the name of the type.
func (m *Memory) Format(state fmt.State, _ rune) { fmt.Fprint(state, "session.Memory") }
