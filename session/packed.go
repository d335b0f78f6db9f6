package session

import (
	"encoding/binary"
	"math/bits"
)

// packed is a session as [Memory] keeps it: one text that never changes. It holds, in this order:
//
//   - the texts: ID, UserID, UserAgent, Address, Reason, Facts, Raised and unknown, each behind its length;
//   - the hash;
//   - which of the numbers are not 0, one bit for each;
//   - those numbers: CreatedAt as it is, and of the others the difference to it, because most are times of the same days.
//
// Two sessions are equal if their packed forms are. The texts of an unpacked session are parts of the packed one, so that
// unpacking allocates nothing.
type packed string

// numbers are the numbers of a session. The first one is CreatedAt.
type numbers [firstAncestor + 2*len(Ancestors{})]int64

const firstAncestor = 18

func (s *Session) numbers() numbers {
	n := numbers{int64(s.CreatedAt), int64(s.EndsAt), int64(s.LastUsedAt), int64(s.KeepUntil), s.Current, s.Parent, s.Next,
		int64(s.SentAt), int64(s.ConfirmedAt), int64(s.RevokedAt), s.Born.All, s.Born.User,
		s.Idle, s.RaisedFrom, int64(s.PendingUntil), s.Tries, s.Tickets, s.TicketsUsed}
	for i, a := range s.Ancestors {
		n[firstAncestor+2*i], n[firstAncestor+1+2*i] = a.Generation, int64(a.SupersededAt)
	}
	return n
}

func (s *Session) setNumbers(n *numbers) {
	s.CreatedAt, s.EndsAt, s.LastUsedAt, s.KeepUntil = Millis(n[0]), Millis(n[1]), Millis(n[2]), Millis(n[3])
	s.Current, s.Parent, s.Next = n[4], n[5], n[6]
	s.SentAt, s.ConfirmedAt, s.RevokedAt = Millis(n[7]), Millis(n[8]), Millis(n[9])
	s.Born = Version{All: n[10], User: n[11]}
	s.Idle, s.RaisedFrom = n[12], n[13]
	s.PendingUntil, s.Tries = Millis(n[14]), n[15]
	s.Tickets, s.TicketsUsed = n[16], n[17]
	for i := range s.Ancestors {
		s.Ancestors[i] = Ancestor{Generation: n[firstAncestor+2*i], SupersededAt: Millis(n[firstAncestor+1+2*i])}
	}
}

// texts are the texts of a session, in their order.
func (s *Session) texts() [8]*string {
	return [...]*string{&s.ID, &s.UserID, &s.UserAgent, &s.Address, (*string)(&s.Reason), &s.Facts, &s.Raised, &s.unknown}
}

func pack(s *Session) packed {
	var space [512]byte // enough for nearly all; append takes more where it is not
	b := space[:0]
	for _, text := range s.texts() {
		b = append(binary.AppendUvarint(b, uint64(len(*text))), *text...)
	}
	b = append(b, s.SecretHash[:]...)
	n := s.numbers()
	var set uint64
	for i := range n {
		if n[i] != 0 {
			set |= 1 << i
		}
	}
	b = binary.AppendUvarint(b, set)
	base := int64(0)
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		b = binary.AppendVarint(b, n[i]-base) // it may overflow, and the sum in unpack then overflows back
		base = n[0]
	}
	return packed(b)
}

func (p packed) unpack() (s Session) {
	for _, text := range s.texts() {
		*text, p = p.text()
	}
	p = p[copy(s.SecretHash[:], p):]
	set, p := p.uvarint()
	var n numbers
	for ; set != 0; set &= set - 1 {
		i := bits.TrailingZeros64(set)
		var u uint64
		u, p = p.uvarint()
		n[i] = n[0] + (int64(u>>1) ^ -int64(u&1)) // as binary.Varint; n[0] is still 0 when i is 0
	}
	s.setNumbers(&n)
	return s
}

func (p packed) id() string {
	id, _ := p.text()
	return id
}

func (p packed) userID() string {
	_, p = p.text()
	userID, _ := p.text()
	return userID
}

// text cuts off one text with its length.
func (p packed) text() (text string, rest packed) {
	n, p := p.uvarint()
	return string(p[:n]), p[n:]
}

// uvarint is binary.Uvarint for a string.
func (p packed) uvarint() (n uint64, rest packed) {
	for i, shift := 0, 0; ; i, shift = i+1, shift+7 {
		n |= uint64(p[i]&0x7f) << shift
		if p[i] < 0x80 {
			return n, p[i+1:]
		}
	}
}
