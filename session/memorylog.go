package session

import (
	"cmp"
	"slices"
)

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
	row      rowNumber // 0: it is a cut-off
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
func (l *memoryLog) read(after int64, limit int) (last int64, entries []memoryEntry) {
	i, j := l.find(after + 1)
	for ; i < len(l.pieces); i, j = i+1, 0 {
		for _, e := range l.pieces[i][j:] {
			if len(entries) == limit {
				return last, entries
			}
			entries, last = append(entries, e), e.position
		}
	}
	return l.last, entries
}
