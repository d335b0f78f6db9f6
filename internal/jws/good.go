package jws

import (
	"encoding/binary"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/keys"
)

// Signatures remembers which signatures were good. To verify an ECDSA signature costs a hundred times as much as to look it up
// here. It is for many live tokens: one takes 16 bytes and no pointer, so the garbage collector has no work with it. Only a
// signature that was verified enters, so strangers cannot fill it. All else about a token is checked as if it were new.
//
// An entry is a hash of the token with a secret of its key set ([headers]). When the keys change, no old entry is found any
// more. A full bucket loses one of its entries, whose token is then verified again. There is no lock: an entry whose two
// halves are from two writers matches no token, except with the chance of a collision of 128-bit hashes.
type Signatures struct {
	size    int
	buckets atomic.Pointer[[]goodBucket] // nil until the first entry
	next    atomic.Uint32                // which entry a full bucket loses
}

// goodBucket is one cache line.
type goodBucket [4][2]atomic.Uint64

const goodBucketBytes = 64

// NewSignatures returns a memory of up to so many bytes. It returns nil, which remembers nothing, if they are too few.
func NewSignatures(bytes int) *Signatures {
	if bytes < goodBucketBytes {
		return nil
	}
	return &Signatures{size: bytes / goodBucketBytes}
}

// sum is a keyed hash of a token: the first half of a SHA-256.
type sum [2]uint64

// sum hashes the whole token.
func (t Token) sum(secret *[32]byte) sum {
	h := t.buf.hash
	h.Reset()
	h.Write(secret[:])
	h.Write(t.buf.token)
	t.buf.sum = h.Sum(t.buf.sum[:0])
	return sum{binary.LittleEndian.Uint64(t.buf.sum), max(1, binary.LittleEndian.Uint64(t.buf.sum[8:]))} // 0 means free
}

func bucketOf(buckets []goodBucket, hash sum) *goodBucket {
	return &buckets[hash[0]%uint64(len(buckets))]
}

func (s *Signatures) has(hash sum) bool {
	buckets := s.buckets.Load()
	if buckets == nil {
		return false
	}
	b := bucketOf(*buckets, hash)
	for i := range b {
		if b[i][1].Load() == hash[1] && b[i][0].Load() == hash[0] {
			return true
		}
	}
	return false
}

func (s *Signatures) add(hash sum) {
	if s.buckets.Load() == nil {
		made := make([]goodBucket, s.size)
		s.buckets.CompareAndSwap(nil, &made)
	}
	b := bucketOf(*s.buckets.Load(), hash)
	place := int(s.next.Add(1) % uint32(len(b)))
	for i := range b {
		if b[i][1].Load() == 0 {
			place = i
			break
		}
	}
	b[place][1].Store(0)
	b[place][0].Store(hash[0])
	b[place][1].Store(hash[1])
}

// worthRemembering reports whether it is cheaper to look a signature up than to verify it, whether the token will come again, and
// whether it does not matter which key has signed.
func (h *header) worthRemembering() bool {
	switch h.algorithm {
	case keys.HS256, keys.HS384, keys.HS512:
		return false
	}
	return !strings.EqualFold(h.typ, RefreshType) && !strings.EqualFold(h.typ, TicketType) && !h.namesIssuers()
}
