package userstore_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/userstore"
)

func TestNormalizeEmail(t *testing.T) {
	for _, tc := range []struct{ name, email, want string }{
		{"empty", "", ""},
		{"plain", "ann@example.com", "ann@example.com"},
		{"capitals", "Ann@EXAMPLE.Com", "ann@example.com"},
		{"spaces around", "  ann@example.com ", "ann@example.com"},
		{"tab and line ends around", "\t\r\nann@example.com\r\n", "ann@example.com"},
		{"no-break space around", "\u00a0ann@example.com\u00a0", "ann@example.com"},
		{"ideographic space around", "\u3000ann@example.com\u3000", "ann@example.com"},
		{"only spaces", " \t\u2003", ""},
		{"space inside stays", "a nn@example.com", "a nn@example.com"},
		{"dots stay", "a.n.n@example.com", "a.n.n@example.com"},
		{"+tag stays", "ann+news@example.com", "ann+news@example.com"},
		{"NFC", "ren\u00e9@example.com", "ren\u00e9@example.com"},
		{"NFD", "rene\u0301@example.com", "ren\u00e9@example.com"},
		{"NFC capital", "REN\u00c9@example.com", "ren\u00e9@example.com"},
		{"NFD capital", "RENE\u0301@example.com", "ren\u00e9@example.com"},
		{"marks in the other order", "a\u0323\u0302@example.com", "\u1ead@example.com"},
		{"marks in this order", "a\u0302\u0323@example.com", "\u1ead@example.com"},
		{"Kelvin sign", "\u212aim@example.com", "kim@example.com"},
		{"Ångström sign", "\u212bsa@example.com", "\u00e5sa@example.com"},
		{"Ohm sign", "\u2126@example.com", "\u03c9@example.com"},
		{"Greek", "\u0391\u039d\u039d\u0391@example.com", "\u03b1\u03bd\u03bd\u03b1@example.com"},
		{"Cyrillic a is no Latin a", "\u0430nn@example.com", "\u0430nn@example.com"},
		{"I with a dot, NFC", "\u0130zmir@example.com", "izmir@example.com"},
		{"I with a dot, NFD", "I\u0307zmir@example.com", "izmir@example.com"},
		{"dotless i is no i", "d\u0131no@example.com", "d\u0131no@example.com"},
		{"long s is no s", "\u017fam@example.com", "\u017fam@example.com"},
		{"sharp s is not ss", "gro\u00df@example.com", "gro\u00df@example.com"},
		{"capital sharp s", "GRO\u1e9e@example.com", "gro\u00df@example.com"},
		{"full width is not folded", "\uff41nn@example.com", "\uff41nn@example.com"},
		{"Hangul, decomposed", "\u1112\u1161\u11ab@example.com", "\ud55c@example.com"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, userstore.NormalizeEmail(tc.email), "NormalizeEmail(%+q)", tc.email)
		})
	}
}

// A store may keep the normal form and normalise it again. That must not change it.
func TestNormalizeEmailTwice(t *testing.T) {
	for r := rune(0); r <= 0x1ffff; r++ { // all letters that have a case, and all marks except the variation selectors
		email := "I\u0307" + string(r) + "\u0301x" + string(r)
		once := userstore.NormalizeEmail(email)
		if twice := userstore.NormalizeEmail(once); twice != once {
			require.Equal(t, once, twice, "NormalizeEmail of NormalizeEmail(%+q)", email)
		}
	}
}
