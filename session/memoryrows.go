package session

import (
	"hash/maphash"
	"iter"
)

// memoryRows are the rows of a [Memory]. They have numbers instead of pointers, so that a row is small and the garbage
// collector has little to do: of each session it sees one text, and no pointer to another row. The places of removed rows
// are used again.
type memoryRows struct {
	pieces [][]memoryRow // each has rowsPerPiece rows, so that no growth takes long; row 0 is never used
	free   rowNumber     // a free place, which has the number of the next one in twin[byID]
	count  rowNumber     // all places so far

	seed  maphash.Seed
	first [2]map[uint32]rowNumber // by the hash of the key; rows with the same hash follow in twin
}

// rowNumber is the place of a row. 0 is no row.
type rowNumber uint32

// The keys of rows. All rows can be found by their id, and by the user the newest one that is in a list.
const (
	byID = iota
	byUser
)

const rowsPerPiece = 1024

// memoryRow is one session with what the store knows about it.
type memoryRow struct {
	session      packed       // "": it was removed
	position     int64        // in the log; 0: it is not revoked
	newer, older rowNumber    // in the list of the same user's rows that are not revoked
	live         uint32       // in the newest row of a list: how many rows it has; in the others at least 1; 0: in no list
	notes        uint32       // in the agenda
	twin         [2]rowNumber // for each key: another row whose key has the same hash
}

func (r *memoryRows) at(number rowNumber) *memoryRow {
	return &r.pieces[number/rowsPerPiece][number%rowsPerPiece]
}

// add makes a row.
func (r *memoryRows) add(session packed) rowNumber {
	if r.first[byID] == nil {
		r.seed = maphash.MakeSeed()
		r.first = [2]map[uint32]rowNumber{{}, {}}
	}
	number := r.free
	if number != 0 {
		r.free = r.at(number).twin[byID]
	} else {
		r.count++
		number = r.count
		if int(number/rowsPerPiece) >= len(r.pieces) {
			r.pieces = append(r.pieces, make([]memoryRow, rowsPerPiece))
		}
	}
	*r.at(number) = memoryRow{session: session}
	r.enter(byID, number)
	return number
}

// clear removes the session of a row that is in no list.
func (r *memoryRows) clear(number rowNumber) {
	r.leave(byID, number)
	r.at(number).session = ""
}

// release gives the place of a row without a session to the next one.
func (r *memoryRows) release(number rowNumber) {
	r.at(number).twin[byID], r.free = r.free, number
}

// find returns the row with a key.
func (r *memoryRows) find(key int, text string) rowNumber {
	if r.first[key] == nil {
		return 0
	}
	number := r.first[key][r.hash(text)]
	for number != 0 && r.key(key, number) != text {
		number = r.at(number).twin[key]
	}
	return number
}

func (r *memoryRows) hash(text string) uint32 { return uint32(maphash.String(r.seed, text)) }

func (r *memoryRows) key(key int, number rowNumber) string {
	if key == byID {
		return r.at(number).session.id()
	}
	return r.at(number).session.userID()
}

// enter makes a row one that find finds.
func (r *memoryRows) enter(key int, number rowNumber) {
	hash := r.hash(r.key(key, number))
	r.at(number).twin[key] = r.first[key][hash]
	r.first[key][hash] = number
}

// leave is the opposite of enter.
func (r *memoryRows) leave(key int, number rowNumber) {
	hash, twin := r.hash(r.key(key, number)), &r.at(number).twin[key]
	switch other := r.first[key][hash]; {
	case other != number:
		for r.at(other).twin[key] != number {
			other = r.at(other).twin[key]
		}
		r.at(other).twin[key] = *twin
	case *twin != 0:
		r.first[key][hash] = *twin
	default:
		delete(r.first[key], hash)
	}
	*twin = 0
}

// of returns the list of a user, the newest row first.
func (r *memoryRows) of(userID string) iter.Seq2[rowNumber, *memoryRow] {
	return func(yield func(rowNumber, *memoryRow) bool) {
		for number := r.find(byUser, userID); number != 0; number = r.at(number).older {
			if !yield(number, r.at(number)) {
				return
			}
		}
	}
}

// link makes a row the newest one of its user.
func (r *memoryRows) link(number rowNumber) {
	row := r.at(number)
	row.live = 1
	if second := r.find(byUser, row.session.userID()); second != 0 {
		r.leave(byUser, second)
		r.at(second).newer, row.older, row.live = number, second, r.at(second).live+1
	}
	r.enter(byUser, number)
}

// unlink takes a row out of the list of its user.
func (r *memoryRows) unlink(number rowNumber) {
	row := r.at(number)
	switch {
	case row.newer != 0:
		r.at(row.newer).older = row.older
		r.at(r.find(byUser, row.session.userID())).live--
	case row.older != 0:
		r.leave(byUser, number)
		r.at(row.older).live = row.live - 1
		r.enter(byUser, row.older)
	default:
		r.leave(byUser, number)
	}
	if row.older != 0 {
		r.at(row.older).newer = row.newer
	}
	row.newer, row.older, row.live = 0, 0, 0
}
