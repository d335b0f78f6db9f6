package session

import (
	"crypto/rand"
	"encoding/base64"
	"hash/crc32"
)

// Groups is the number of groups that users are divided into. A store that spreads its data over several servers keeps all
// sessions of one group together.
const Groups = 16

const groupDigits = "0123456789abcdef"

// NewID returns the id of a new session of the user. It is one digit that names the user's group, and then 128 random bits.
// A store can find the group from the id alone ([GroupOfID]) or from the user's id ([GroupOfUser]).
func NewID(userID string) string {
	var random [16]byte
	rand.Read(random[:]) // never fails: it ends the program when the system has no randomness
	return groupDigits[GroupOfUser(userID):][:1] + base64.RawURLEncoding.EncodeToString(random[:])
}

// GroupOfUser returns the group of a user, from 0 to Groups-1.
func GroupOfUser(userID string) int {
	sum := ^uint32(0)
	for i := range len(userID) { // crc32.ChecksumIEEE would copy the text
		sum = crc32.IEEETable[byte(sum)^userID[i]] ^ sum>>8
	}
	return int(^sum % Groups)
}

// GroupOfID returns the group that a session's id names. ok is false if the id does not begin with the digit of a group, or is no
// longer than that.
func GroupOfID(id string) (group int, ok bool) {
	if len(id) < 2 {
		return 0, false
	}
	switch c := id[0]; {
	case '0' <= c && c <= '9':
		return int(c - '0'), true
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10, true
	}
	return 0, false
}
