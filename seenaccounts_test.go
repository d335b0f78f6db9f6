package signet

import (
	"fmt"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestSeenAccounts(t *testing.T) {
	var s seenAccounts
	require.Empty(t, s.userOf("john@mail.com"))
	body := strings.Repeat("x", 60<<10) + "john@mail.com"
	given := body[60<<10:]
	s.add(given, "1")
	require.Equal(t, "1", s.userOf(" John@Mail.com"))
	kept := s.place(given).Load().email
	require.NotSame(t, unsafe.StringData(given), unsafe.StringData(kept), "it would keep the whole body")

	for i := range 100_000 { // another address of the same place
		other := fmt.Sprintf("other%d@mail.com", i)
		if s.place(other) != s.place("john@mail.com") {
			continue
		}
		require.Empty(t, s.userOf(other))
		s.add(other, "")
		require.Equal(t, "1", s.userOf("john@mail.com"), "strangers push nobody out")
		s.add(other, "2")
		require.Equal(t, "2", s.userOf(other))
		require.Empty(t, s.userOf("john@mail.com"))
		s.add(other, "")
		require.Empty(t, s.userOf(other), "the address belongs to nobody any more")
		return
	}
	t.Fatal("no two addresses have one place")
}
