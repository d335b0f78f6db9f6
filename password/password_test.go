package password_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/password"
)

// answer is a Hasher that always gives the same answer and notes each call.
type answer struct {
	ok, outdated bool
	err          error
	asked        *[]string
	name         string
}

func (a answer) Hash(string) (string, error) {
	*a.asked = append(*a.asked, "hash "+a.name)
	return "hash of " + a.name, a.err
}

func (a answer) Verify(string, string) (ok, outdated bool, err error) {
	*a.asked = append(*a.asked, "verify "+a.name)
	return a.ok, a.outdated, a.err
}

func TestChainAnswers(t *testing.T) {
	broken := errors.New("broken")
	unknown := answer{err: password.ErrFormat}
	for _, tc := range []struct {
		name         string
		hashers      []answer // the first is the current one
		ok, outdated bool
		err          error
		asked        []string
	}{
		{"current alone", []answer{{ok: true}}, true, false, nil, []string{"verify 0"}},
		{"current alone, outdated", []answer{{ok: true, outdated: true}}, true, true, nil, []string{"verify 0"}},
		{"current alone, unknown format", []answer{unknown}, false, false, password.ErrFormat, []string{"verify 0"}},
		{"current knows it", []answer{{ok: true}, {ok: true, outdated: true}}, true, false, nil, []string{"verify 0"}},
		{"wrong password ends it", []answer{{}, {ok: true}}, false, false, nil, []string{"verify 0"}},
		{"other fault ends it", []answer{{err: broken}, {ok: true}}, false, false, broken, []string{"verify 0"}},
		{"too long ends it", []answer{{err: password.ErrTooLong}, {ok: true}}, false, false, password.ErrTooLong,
			[]string{"verify 0"}},
		{"second knows it", []answer{unknown, {ok: true}}, true, true, nil, []string{"verify 0", "verify 1"}},
		{"second says wrong", []answer{unknown, {}, {ok: true}}, false, false, nil, []string{"verify 0", "verify 1"}},
		{"second fails", []answer{unknown, {err: broken}, {ok: true}}, false, false, broken,
			[]string{"verify 0", "verify 1"}},
		{"third knows it", []answer{unknown, unknown, {ok: true, outdated: true}}, true, true, nil,
			[]string{"verify 0", "verify 1", "verify 2"}},
		{"nobody knows it", []answer{unknown, unknown, unknown}, false, false, password.ErrFormat,
			[]string{"verify 0", "verify 1", "verify 2"}},
		{"wrapped format error", []answer{{err: errors.Join(broken, password.ErrFormat)}, {ok: true}}, true, true, nil,
			[]string{"verify 0", "verify 1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []string
			hashers := make([]password.Hasher, len(tc.hashers))
			for i, a := range tc.hashers {
				a.asked, a.name = &asked, string(rune('0'+i))
				hashers[i] = a
			}
			chain := password.Chain(hashers[0], hashers[1:]...)
			ok, outdated, err := chain.Verify("stored", "secret")
			require.ErrorIs(t, err, tc.err)
			require.Equal(t, []bool{tc.ok, tc.outdated}, []bool{ok, outdated}, "ok and outdated")
			require.Equal(t, tc.asked, asked, "who was asked")

			asked = nil
			hash, err := chain.Hash("secret")
			require.Equal(t, "hash of 0", hash, "the current one hashes")
			require.Equal(t, tc.hashers[0].err, err)
			require.Equal(t, []string{"hash 0"}, asked, "who was asked")
		})
	}
}

// The users move from one hasher to the other, one by one.
func TestChainMigrates(t *testing.T) {
	for _, tc := range []struct {
		name     string
		from, to password.Hasher
	}{
		{"bcrypt to Argon2id", bcrypt4, small},
		{"Argon2id to bcrypt", small, bcrypt4},
		{"cheap to dear Argon2id", small, password.Argon2id{Memory: 65, Iterations: 1}},
		{"cheap to dear bcrypt", bcrypt4, password.Bcrypt{Cost: 5}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			old, err := tc.from.Hash("secret")
			require.NoError(t, err)
			chain := password.Chain(tc.to, tc.from)
			requireVerify(t, chain, old, "Secret", false, false)
			requireVerify(t, chain, old, "secret", true, true)

			renewed, err := chain.Hash("secret")
			require.NoError(t, err)
			requireVerify(t, chain, renewed, "secret", true, false)
			requireVerify(t, chain, renewed, "Secret", false, false)
			requireVerify(t, tc.to, renewed, "secret", true, false)
		})
	}
}

func TestDefault(t *testing.T) {
	hasher := password.Default()
	hash, err := hasher.Hash("secret")
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$"), "hash %s", hash)
	requireVerify(t, hasher, hash, "secret", true, false)
	requireVerify(t, hasher, hash, "Secret", false, false)

	const old = "$2y$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e"
	requireVerify(t, hasher, old, "\xff\xff\xa3", true, true)
	requireVerify(t, hasher, old, "\xff\xff", false, false)
	requireVerify(t, hasher, seventyTwoHash, seventyTwo+"x", false, false)

	requireVerify(t, hasher, "pbkdf2_sha256$1000$eH7hPG1QaE9fmrw5KWo4lq$NGGLK1X2wwPJEE1GYwjdA87SCcIE4KRR/Fxr3kUgEck=", "pässword",
		true, true)

	for _, hash := range []string{"", "secret", "$argon2d$v=19$m=256,t=2,p=2$c29tZXNhbHQ$T/XOJ2mh1/TIpJHfCdQan76Q5esCFVoT5MAeIM1Oq2E",
		"$2x$05$/OK.fbVrR/bpIqNJ5ianF.CE5elHaaO4EbggVDjb8P19RukzXSM3e", "$1$c29tZXNh$T1XOJ2mh1XTIpJHfCdQan7"} {
		requireFault(t, hasher, hash, "secret", password.ErrFormat)
	}
	_, err = hasher.Hash(strings.Repeat("a", password.MaxLength+1))
	require.ErrorIs(t, err, password.ErrTooLong)
}

func TestNormalize(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"empty", "", ""},
		{"ASCII", "König", "König"},
		{"NFD", "Ko\u0308nig", "K\u00f6nig"},
		{"NFC", "K\u00f6nig", "K\u00f6nig"},
		{"two marks in the other order", "a\u0302\u0323", "\u1ead"},
		{"Hangul", "\u1112\u1161\u11ab", "\ud55c"},
		{"Angstrom sign", "\u212b", "\u00c5"},
		{"no compatibility forms", "\ufb01\uff21\u00b2", "\ufb01\uff21\u00b2"},
		{"spaces stay", " a\u00a0 ", " a\u00a0 "},
		{"not UTF-8", "o\u0308\xff", "o\u0308\xff"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.want, password.Normalize(tc.in))
			require.Equal(t, tc.want, password.Normalize(tc.want), "a normal form stays")
		})
	}
}
