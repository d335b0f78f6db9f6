package signet

import (
	"hash/maphash"
	"strings"
	"sync/atomic"

	"github.com/signet-go/signet/userstore"
)

// seenAccounts remembers which users were found by their e-mail addresses lately, for the events of attempts that must wait.
// Such an attempt looks nobody up, because strangers could cause that at any rate, and because its time would tell who has an
// account.
type seenAccounts struct {
	places [1024]atomic.Pointer[seenAccount]
	nobody atomic.Pointer[seenAccount] // where add writes an address of no user, so that it takes the same time; nobody reads it
}

type seenAccount struct{ email, userID string }

var seenSeed = maphash.MakeSeed()

func (s *seenAccounts) place(email string) *atomic.Pointer[seenAccount] {
	return &s.places[maphash.String(seenSeed, email)%uint64(len(s.places))]
}

// add remembers the user of an address, and takes the same time if there is none: then userID is "". Without the copies the
// memory of the whole request would stay, and some servers use it again.
func (s *seenAccounts) add(email, userID string) {
	email = strings.Clone(userstore.NormalizeEmail(email))
	place := s.place(email)
	before := place.Load()
	if userID == "" && (before == nil || before.email != email) {
		place = &s.nobody
	}
	place.Store(&seenAccount{email, strings.Clone(userID)})
}

// userOf returns the id of a user, or "".
func (s *seenAccounts) userOf(email string) string {
	email = userstore.NormalizeEmail(email)
	if seen := s.place(email).Load(); seen != nil && seen.email == email {
		return seen.userID
	}
	return ""
}
