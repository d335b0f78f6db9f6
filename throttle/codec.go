package throttle

import (
	"encoding/binary"
	"errors"
	"time"
)

// The first byte of a record is its format. After it stand numbers as unsigned varints, and the ids of places in 8
// bytes. Times before the record's own time stand as the difference.
const (
	accountFormat = 1
	addressFormat = 2
)

var errRecord = errors.New("throttle: a record is not one of this version")

// maxNumber is the largest number in a record, so that sums cannot overflow.
const maxNumber = 1 << 53

func (a *account) encode() (Record, time.Time) {
	_, ends := a.ends()
	if ends <= a.at {
		return "", time.Time{}
	}
	text := make([]byte, 0, 32+24*len(a.places))
	text = append(text, accountFormat)
	text = appendNumbers(text, a.at)
	text = a.strangers.append(text, a.at)
	text = appendNumbers(text, a.strangersDay, a.placesDay, int64(len(a.places)))
	for i := range a.places {
		p := &a.places[i]
		text = binary.BigEndian.AppendUint64(text, p.id)
		text = appendNumbers(text, a.at-p.used)
		text = p.own.append(text, a.at)
		text = appendNumbers(text, p.day)
	}
	return Record(text), time.UnixMilli(ends)
}

func decodeAccount(record Record) (a account, err error) {
	if record == "" {
		return account{}, nil
	}
	r := reader{text: record}
	r.format(accountFormat)
	a.at = r.number()
	a.strangers = r.budget(a.at)
	a.strangersDay, a.placesDay = r.number(), r.number()
	n := r.number()
	if n > maxPlaces {
		return account{}, errRecord
	}
	for range n {
		p := place{id: r.id(), used: a.at - r.number()}
		p.own = r.budget(a.at)
		p.day = r.number()
		a.places = append(a.places, p)
	}
	return a, r.end()
}

func (a *address) encode() (Record, time.Time) {
	if a.own.debt == 0 {
		return "", time.Time{}
	}
	text := appendNumbers([]byte{addressFormat}, a.at)
	return Record(a.own.append(text, a.at)), time.UnixMilli(a.at + a.own.debt)
}

func decodeAddress(record Record) (a address, err error) {
	if record == "" {
		return address{}, nil
	}
	r := reader{text: record}
	r.format(addressFormat)
	a.at = r.number()
	a.own = r.budget(a.at)
	return a, r.end()
}

// failuresEnd returns the time at which the last failure of a record has decayed. It is not ok for unknown records.
func failuresEnd(record Record) (ends time.Time, ok bool) {
	if a, err := decodeAccount(record); err == nil {
		failures, _ := a.ends()
		return time.UnixMilli(failures), true
	}
	return time.Time{}, false
}

func appendNumbers(text []byte, numbers ...int64) []byte {
	for _, n := range numbers {
		text = binary.AppendUvarint(text, uint64(n))
	}
	return text
}

// append writes a budget. Without a debt its last failure does not matter.
func (b *budget) append(text []byte, at millis) []byte {
	if b.debt == 0 {
		return append(text, 0)
	}
	return appendNumbers(text, b.debt, at-b.last)
}

// reader reads a record. After the first mistake it returns zeros.
type reader struct {
	text   Record
	failed bool
}

func (r *reader) fail() {
	r.failed, r.text = true, ""
}

func (r *reader) format(want byte) {
	if r.text[0] != want {
		r.fail()
		return
	}
	r.text = r.text[1:]
}

func (r *reader) number() int64 {
	n, size := uint64(0), 0
	for shift := 0; size < len(r.text) && size < 8; shift += 7 { // 8 bytes are enough for maxNumber
		b := r.text[size]
		size++
		n |= uint64(b&0x7f) << shift
		if b < 0x80 {
			if n > maxNumber {
				break
			}
			r.text = r.text[size:]
			return int64(n)
		}
	}
	r.fail()
	return 0
}

func (r *reader) id() uint64 {
	if len(r.text) < 8 {
		r.fail()
		return 0
	}
	id := binary.BigEndian.Uint64([]byte(r.text[:8]))
	r.text = r.text[8:]
	return id
}

func (r *reader) budget(at millis) budget {
	debt := r.number()
	if debt == 0 {
		return budget{}
	}
	return budget{debt: debt, last: at - r.number()}
}

func (r *reader) end() error {
	if r.failed || r.text != "" {
		return errRecord
	}
	return nil
}
