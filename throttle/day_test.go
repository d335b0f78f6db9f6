package throttle

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// 10^5 addresses attack one account for a day. At most 100 attempts reach the hash, and the owner signs in from his
// known place 100 times of 100.
func TestADayOfAttack(t *testing.T) {
	const attempts = 100_000 // each from another address
	for _, attack := range []struct {
		name    string
		address func(i int) string
		hostile bool // a second known place takes part
	}{
		{"IPv4", v4, false},
		{"IPv6 of one /64", func(i int) string { return fmt.Sprintf("2001:db8:0:1::%x:%x", i>>16, i&0xffff) }, false},
		{"IPv6 of as many /64", func(i int) string { return fmt.Sprintf("2001:db8:%x:%x::1", i>>16, i&0xffff) }, false},
		{"IPv4 and a known place", v4, true},
	} {
		t.Run(attack.name, func(t *testing.T) {
			b := newBench(t)
			const home, hostile = "203.0.113.1", "203.0.113.2"
			b.signIn(owner, home)
			b.signIn(owner, hostile)
			hashes, signedIn := 0, 0
			for i := range attempts {
				b.add(24 * time.Hour / attempts)
				from := attack.address(i)
				if attack.hostile && i%2 == 0 {
					from = hostile
				}
				if _, err := b.Begin(t.Context(), owner, from); err == nil {
					hashes++
				} else if !errors.Is(err, ErrDelayed) {
					require.NoError(t, err)
				}
				if i%(attempts/100) == attempts/200 {
					if a, err := b.Begin(t.Context(), owner, home); err == nil && a.Known() {
						require.NoError(t, a.Succeeded(t.Context()))
						signedIn++
					}
				}
			}
			t.Logf("10^5 attempts: %d hashes, the goal is at most 100; the owner signed in %d times of 100", hashes, signedIn)
			require.LessOrEqual(t, hashes, 100)
			require.Greater(t, hashes, 20)
			require.Equal(t, 100, signedIn)
		})
	}
}
