package throttle

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/signet-go/signet/internal/clientip"
)

// Store keeps the records of a [Limiter], one for each [Key]. Implementations MUST be safe for concurrent use by any
// number of processes that share the store, and they MUST give one clock to all of them (the store's own, where it has
// one). [Memory] is the default, sqlstore and redisstore have one for fleets, and package throttletest
// checks others.
type Store interface {
	// Update calls change with the record of a key and the store's time, and replaces the record with what change returns,
	// in one atomic step: no other change of the record is committed in between. The record is "" if there is none, and ""
	// as the new record deletes it. A store MUST keep a record until the time that change returns with it. From then on
	// the record means nothing, and the store may delete it.
	//
	// change may be called again with a newer record and time. It is quick, and it calls no store. When change returns an
	// error, or the record unchanged (==), nothing is written, and the error is returned as it is. Update returns nil only
	// after the new record is committed. Update honours ctx.
	//
	// A store that is full may return a [*Delayed] for a key that has no record, with the time after which there may be
	// room.
	Update(ctx context.Context, key Key,
		change func(before Record, now time.Time) (after Record, until time.Time, err error)) error
}

// Record is what a [Limiter] knows about one account or one address. It is at most 512 bytes long, and these are any
// bytes, not a text. A store MUST keep them as they are. A record holds no address and no e-mail address in clear.
type Record string

// Key is the name of a [Record]: the first 128 bits of a SHA-256 hash. So a store holds no address and no e-mail
// address in clear. The hash has no secret: who can read the store can find out by trial whether a known name is in
// it.
type Key [16]byte

// String returns the key in 32 hexadecimal digits.
func (k Key) String() string { return hex.EncodeToString(k[:]) }

// keyOf hashes a name. Each kind of names has keys of its own.
func keyOf(kind, name string) Key {
	sum := sha256.Sum256([]byte("signet throttle 1 " + kind + "\x00" + name))
	return Key(sum[:16])
}

func accountKey(account string) Key { return keyOf("account", account) }

// addressKey returns the key of a client's address. A text that is no address has a key of its own. The zero key says that the
// address is not known.
func addressKey(address string) Key {
	if address == "" {
		return Key{}
	}
	client, ok := clientip.Client(address)
	if !ok {
		return keyOf("text", address)
	}
	return keyOf("address", string(client.AsSlice()))
}
