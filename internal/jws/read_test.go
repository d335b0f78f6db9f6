package jws

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/keys"
)

func TestVerify(t *testing.T) {
	key := edKey("one")
	src := &source{set: setOf(t, key)}
	r := NewReader(src, Rules{}, nil)
	good := sign(t, key, edHeader("one"), `{"sub":"1"}`)
	for range 3 { // a header that was not seen before, and one that was
		_, err := verify(t, r, damaged(good))
		require.Equal(t, ErrSignature, err)
		_, err = verify(t, r, good[:len(good)-1])
		require.Equal(t, errBase64, err, "the signature is not base64url")
		got, err := verify(t, r, good)
		require.NoError(t, err)
		require.Equal(t, Verified{Type: "at+jwt", Payload: `{"sub":"1"}`, Keys: src.set, Signers: got.Signers}, got)
		require.Len(t, got.Signers, 1)
	}
	require.Zero(t, src.asked)

	for _, header := range []string{"A", "e30", encode("[]")} {
		_, err := verify(t, r, header+".e30.AAAA")
		var malformed *MalformedError
		require.ErrorAs(t, err, &malformed, header)
	}
}

func TestHeadersOfOwnTokensAreShort(t *testing.T) {
	key := edKey("one")
	header := func(n int) string { // encoded, it has n bytes, if n is a multiple of 4
		start := edHeader("one")[:len(edHeader("one"))-1] + `,"x":"`
		return start + strings.Repeat("x", n/4*3-len(start)-2) + `"}`
	}
	own, foreign := NewReader(&source{set: setOf(t, key)}, Rules{}, nil), NewReader(&source{set: setOf(t, key)}, Rules{Foreign: true}, nil)
	longest, tooLong := sign(t, key, header(maxHeader), "{}"), sign(t, key, header(maxHeader+4), "{}")
	require.Equal(t, maxHeader, strings.IndexByte(longest, '.'))
	_, err := verify(t, own, longest)
	require.NoError(t, err)
	_, err = verify(t, own, tooLong)
	require.Equal(t, errHeadSize, err)
	_, err = verify(t, foreign, tooLong)
	require.NoError(t, err)
}

// A Writer makes no token that a Reader does not read.
func TestHeadersThatAreWritten(t *testing.T) {
	key := edKey("one")
	r := NewReader(&source{set: setOf(t, key)}, Rules{}, nil)
	start := len(`{"alg":"EdDSA","kid":"one","typ":""}`)
	longest, tooLong := NewWriter(strings.Repeat("x", maxHeader/4*3-start)), NewWriter(strings.Repeat("x", maxHeader/4*3-start+1))
	token, err := longest.Sign(t.Context(), key, []byte("{}"))
	require.NoError(t, err)
	require.NoError(t, longest.Check(key))
	require.Equal(t, maxHeader, strings.IndexByte(token, '.'))
	_, err = verify(t, r, token)
	require.NoError(t, err)
	_, err = tooLong.Sign(t.Context(), key, []byte("{}"))
	require.Equal(t, errHeadSize, err)
	require.Equal(t, errHeadSize, tooLong.Check(key))
}

func TestNoKeysAtAll(t *testing.T) {
	key := edKey("one")
	good, failure := sign(t, key, edHeader("one"), "{}"), errors.New("no network")
	for _, none := range []*keys.Set{nil, setOf(t)} {
		src := &source{set: none, err: failure}
		r := NewReader(src, Rules{}, nil)
		_, err := verify(t, r, good)
		var unavailable *UnavailableError
		require.ErrorAs(t, err, &unavailable)
		require.ErrorIs(t, err, failure)
		require.Contains(t, err.Error(), "no network")

		src.err = nil
		_, err = verify(t, r, good)
		require.ErrorAs(t, err, &unavailable, "the source has no key")

		src.newer = []*keys.Set{setOf(t, key)}
		_, err = verify(t, r, good)
		require.NoError(t, err)
		require.Equal(t, 3, src.asked)
	}
}

// The first token after a change of keys verifies, also if the first newer set is older than its key.
func TestTokensOfNewKeys(t *testing.T) {
	first, second, third := setOf(t, edKey("one")), setOf(t, edKey("two")), setOf(t, edKey("three"))
	for name, tc := range map[string]struct {
		newer []*keys.Set
		kid   string
		want  error
		asked int
	}{
		"the next set has it":      {[]*keys.Set{second}, "two", nil, 1},
		"the one after has it":     {[]*keys.Set{second, third}, "three", nil, 2},
		"the same set again":       {nil, "three", ErrUnknownKey, 1},
		"none of two newer sets":   {[]*keys.Set{second, third, first}, "four", ErrUnknownKey, 2},
		"only the fourth has it":   {[]*keys.Set{second, first, third}, "three", ErrUnknownKey, 2},
		"the current set has it":   {[]*keys.Set{second}, "one", nil, 0},
		"a newer set, then no one": {[]*keys.Set{second}, "three", ErrUnknownKey, 2},
	} {
		t.Run(name, func(t *testing.T) {
			src := &source{set: first, newer: tc.newer}
			got, err := verify(t, NewReader(src, Rules{}, nil), sign(t, edKey(tc.kid), edHeader(tc.kid), "{}"))
			require.Equal(t, tc.want, err)
			require.Equal(t, tc.asked, src.asked)
			if err == nil {
				require.Equal(t, src.set, got.Keys)
			}
		})
	}

	src := &source{set: first}
	_, err := verify(t, NewReader(src, Rules{}, nil), sign(t, edKey("one"), `{"alg":"ES256","kid":"one"}`, "{}"))
	require.Equal(t, ErrUnknownKey, err, "the key has another algorithm")
	_, err = verify(t, NewReader(src, Rules{Algorithms: []keys.Algorithm{keys.ES256}}, nil), sign(t, edKey("one"), edHeader("one"), "{}"))
	require.Equal(t, ErrUnknownKey, err, "the algorithm is not allowed")
	require.Zero(t, src.asked, "a newer key can have neither")
}

// A key that a fetch has just not found is unknown, also while no further fetch is allowed. Another one is unavailable then.
func TestAbsentKeys(t *testing.T) {
	src := &source{set: setOf(t, edKey("one"))}
	r := NewReader(src, Rules{}, nil)
	absent, other := sign(t, edKey("two"), edHeader("two"), "{}"), sign(t, edKey("three"), edHeader("three"), "{}")
	_, err := verify(t, r, absent)
	require.Equal(t, ErrUnknownKey, err)

	src.err = keys.ErrTooSoon
	_, err = verify(t, r, absent)
	require.Equal(t, ErrUnknownKey, err)
	_, err = verify(t, r, other)
	require.ErrorIs(t, err, keys.ErrTooSoon)
	_, err = verify(t, r, sign(t, edKey("two"), `{"alg":"ES256","kid":"two"}`, "{}"))
	require.ErrorIs(t, err, keys.ErrTooSoon, "the same id with another algorithm")

	src.err = errors.New("no network")
	_, err = verify(t, r, absent)
	require.ErrorIs(t, err, src.err, "a failed fetch is not the same as one too soon")
}

func TestAbsentKeysAreForgotten(t *testing.T) {
	var a absentKeys
	now := time.Unix(1_800_000_000, 0)
	set := setOf(t, edKey("two"))
	require.False(t, a.has("one EdDSA", now))
	a.add("one EdDSA", set, now)
	require.True(t, a.has("one EdDSA", now))
	require.True(t, a.has("one EdDSA", now.Add(absentFor-1)))
	require.False(t, a.has("one EdDSA", now.Add(absentFor)))

	later := now.Add(time.Hour) // under a flood: fetches go on, and the key is still missing
	a.note(set, later)
	require.True(t, a.has("one EdDSA", later.Add(absentFor-1)))
	require.False(t, a.has("one EdDSA", later.Add(absentFor)))
	a.note(setOf(t, edKey("three")), later)
	require.False(t, a.has("one EdDSA", later), "another set may have it")
}

// However many keys strangers make up, a retired key whose clients come stays known, also if each made-up key comes twice.
func TestAFloodDoesNotPushOutARetiredKey(t *testing.T) {
	now, set := time.Unix(1_800_000_000, 0), setOf(t, edKey("two"))
	for range 20 { // each with a table of its own, and other names
		var a absentKeys
		a.note(set, now)
		a.add("retired", set, now)
		for n := range 10_000 {
			name := rand.Text()
			a.add(name, set, now)
			if n%2 == 0 {
				a.has(name, now)
			}
			if n%100 == 0 && !a.has("retired", now) {
				t.Fatalf("forgotten after %d", n)
			}
		}
	}
}

// In a full group a new key takes the place of the one that nobody has asked for. If somebody has asked for all four, it takes the
// place of the first one that is asked for less often than new keys come.
func TestAFullGroupOfAbsentKeys(t *testing.T) {
	now, set := time.Unix(1_800_000_000, 0), setOf(t, edKey("two"))
	var a absentKeys
	var names []string
	for len(names) < 7 {
		if name := rand.Text(); len(names) == 0 || a.group(name) == a.group(names[0]) {
			names = append(names, name)
		}
	}
	known := func() (list []int) {
		group := a.group(names[0])
		for i := range group {
			list = append(list, slices.Index(names, group[i].Load().name))
		}
		slices.Sort(list)
		return list
	}
	for _, name := range names[:4] {
		a.add(name, set, now)
	}
	for _, name := range []string{names[0], names[0], names[0], names[1], names[3], names[3]} {
		require.True(t, a.has(name, now))
	}
	a.add(names[4], set, now)
	require.Equal(t, []int{0, 1, 3, 4}, known(), "nobody has asked for 2")
	a.has(names[4], now)
	a.add(names[4], set, now) // it was asked for twice now, like 3
	a.add(names[5], set, now)
	require.Equal(t, []int{0, 1, 3, 4}, known(), "all were asked for")
	a.add(names[5], set, now)
	require.Equal(t, []int{0, 3, 4, 5}, known(), "1 was asked for once")
	a.has(names[5], now)
	a.add(names[6], set, now)
	require.Equal(t, []int{0, 3, 4, 5}, known(), "all were asked for again")
	a.add(names[6], set, now)
	require.Equal(t, []int{0, 4, 5, 6}, known(), "3 has the last place without an ask to its credit")
	for range 1000 {
		a.has(names[0], now)
	}
	require.EqualValues(t, maxAsked, a.group(names[0])[0].Load().asked.Load(), "no credit grows without end")
}

// A token without a key id may be from a newer key, which only its signature can tell.
func TestTokensWithoutAKeyID(t *testing.T) {
	one, two := edKey("one"), edKey("two")
	header := `{"alg":"EdDSA","typ":"at+jwt"}`
	first, second := setOf(t, one), setOf(t, two)
	src := &source{set: first}
	r := NewReader(src, Rules{Foreign: true}, NewSignatures(1<<10))
	_, err := verify(t, r, sign(t, one, header, "{}"))
	require.NoError(t, err)
	require.Zero(t, src.asked, "the signature is good")
	token := sign(t, two, header, "{}")
	_, err = verify(t, r, token)
	require.Equal(t, ErrSignature, err)
	require.Equal(t, 1, src.asked, "there is no newer set")
	src.err = keys.ErrTooSoon
	_, err = verify(t, r, token)
	require.ErrorIs(t, err, keys.ErrTooSoon)
	src.err, src.newer = nil, []*keys.Set{second}
	before := r.headers.Load()
	got, err := verify(t, r, token)
	require.NoError(t, err)
	require.Equal(t, second, got.Keys)
	opened, err := Open(token, MaxToken)
	require.NoError(t, err)
	require.False(t, r.good.has(opened.sum(before.secret)), "it is not a token of the older keys")
	opened.Close()

	src.newer = []*keys.Set{first}
	_, err = verify(t, r, sign(t, edKey("three"), header, "{}"))
	require.Equal(t, ErrSignature, err, "the newer key has not signed it")
	require.Equal(t, 4, src.asked)
	_, err = verify(t, r, damaged(sign(t, one, edHeader("one"), "{}")))
	require.Equal(t, ErrSignature, err)
	_, err = verify(t, NewReader(src, Rules{}, nil), damaged(sign(t, one, header, "{}")))
	require.Equal(t, ErrSignature, err)
	require.Equal(t, 4, src.asked, "with a key id, or for signet's own tokens, the set tells")
}

func TestParseHeader(t *testing.T) {
	const good = `"alg":"EdDSA","typ":"at+jwt"`
	for _, tc := range []struct{ header, own, foreign string }{ // "": accepted, else a part of the error
		{`{` + good + `}`, "", ""},
		{`{` + good + `,"x":1,"kid":"k"}`, "", ""},
		{`{"typ":"at+jwt"}`, `no "alg"`, `no "alg"`},
		{`{"alg":"","typ":"at+jwt"}`, `no "alg"`, `no "alg"`},
		{`{"alg":null}`, "must be a string", `no "alg"`},
		{`{"kid":null,` + good + `}`, "must be a string", ""},
		{`{"zip":"NONE",` + good + `}`, `"zip"`, ""},
		{`{` + good + `,"kid":null}`, "must be a string", ""},
		{`{` + good + `,"kid":1}`, "must be a string", "must be a string"},
		{`{` + good + `,"typ":1}`, "twice", "twice"},
		{`{"alg":"EdDSA","typ":1}`, "must be a string", "must be a string"},
		{`{` + good + `,"jwk":{}}`, `"jwk"`, ""}, {`{` + good + `,"jku":""}`, `"jku"`, ""},
		{`{` + good + `,"x5u":""}`, `"x5u"`, ""}, {`{` + good + `,"x5c":[]}`, `"x5c"`, ""},
		{`{` + good + `,"crit":[]}`, `"crit"`, `"crit"`}, {`{` + good + `,"crit":null}`, `"crit"`, ""},
		{`{` + good + `,"b64":true}`, `"b64"`, `"b64"`}, {`{` + good + `,"enc":""}`, `"enc"`, `"enc"`},
		{`{` + good + `,"enc":"NONE"}`, `"enc"`, `"enc"`},
		{`{` + good + `,"zip":"NONE"}`, `"zip"`, ""}, {`{` + good + `,"zip":"DEF"}`, `"zip"`, `"zip"`},
		{`[]`, "not a valid JSON object", "not a valid JSON object"},
	} {
		for foreign, want := range map[bool]string{false: tc.own, true: tc.foreign} {
			h, err := NewReader(nil, Rules{Foreign: foreign}, nil).parseHeader(tc.header)
			if want == "" {
				require.NoError(t, err, tc.header)
				require.Equal(t, keys.EdDSA, h.algorithm)
				require.Equal(t, "at+jwt", h.typ)
				continue
			}
			var malformed *MalformedError
			require.ErrorAs(t, err, &malformed, tc.header)
			require.Contains(t, err.Error(), want, tc.header)
		}
	}
	for foreign, want := range map[bool]keys.Algorithm{false: "Ed25519", true: keys.EdDSA} {
		h, err := NewReader(nil, Rules{Foreign: foreign}, nil).parseHeader(`{"alg":"Ed25519","kid":"k"}`)
		require.NoError(t, err)
		require.Equal(t, want, h.algorithm)
		require.Equal(t, "k", h.kid)
	}
}

// Headers of tokens with a good signature are remembered, up to a bound, and forgotten when the keys change.
func TestHeadersAreRemembered(t *testing.T) {
	key := edKey("one")
	src := &source{set: setOf(t, key)}
	r := NewReader(src, Rules{}, nil)
	header := func(n int) string { return fmt.Sprintf(`{"alg":"EdDSA","kid":"one","typ":"at+jwt","n":%d}`, n) }
	_, err := verify(t, r, damaged(sign(t, key, header(0), "{}")))
	require.Equal(t, ErrSignature, err)
	require.Nil(t, r.headers.Load(), "its signature is bad")
	var secret *[32]byte
	for n := range maxHeaders + 3 {
		_, err := verify(t, r, sign(t, key, header(n), "{}"))
		require.NoError(t, err)
		require.Len(t, r.headers.Load().known, min(n+1, maxHeaders))
		if n > 0 {
			require.Same(t, secret, r.headers.Load().secret)
		}
		secret = r.headers.Load().secret
	}
	src.set = setOf(t, key)
	_, err = verify(t, r, sign(t, key, header(1), "{}"))
	require.NoError(t, err)
	require.Len(t, r.headers.Load().known, 1)
	require.Same(t, src.set, r.headers.Load().set)
	require.NotEqual(t, *secret, *r.headers.Load().secret)
}

// Good signatures of access tokens are remembered from the second token of a header on, and looked up.
func TestSignaturesAreRemembered(t *testing.T) {
	ed, hmac := edKey("one"), keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"), keys.WithID("hmac"))
	header := func(alg, kid, typ string) string { return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":%q}`, alg, kid, typ) }
	for name, tc := range map[string]struct {
		key    *keys.Key
		header string
		kept   bool
	}{
		"access":          {ed, edHeader("one"), true},
		"another type":    {ed, header("EdDSA", "one", "JWT"), true},
		"refresh":         {ed, header("EdDSA", "one", "rt+jwt"), false},
		"REFRESH":         {ed, header("EdDSA", "one", "RT+JWT"), false},
		"ticket":          {ed, header("EdDSA", "one", "ticket+jwt"), false},
		"access, by HMAC": {hmac, header("HS256", "hmac", "at+jwt"), false},
	} {
		t.Run(name, func(t *testing.T) {
			src := &source{set: setOf(t, ed, hmac)}
			r := NewReader(src, Rules{}, NewSignatures(1<<10))
			token := sign(t, tc.key, tc.header, `{"n":1}`)
			remembered := func(text string) bool {
				opened, err := Open(text, MaxToken)
				require.NoError(t, err)
				defer opened.Close()
				return r.good.has(opened.sum(r.headers.Load().secret))
			}
			_, err := verify(t, r, token)
			require.NoError(t, err)
			require.False(t, remembered(token), "its header was new")
			_, err = verify(t, r, damaged(token))
			require.Equal(t, ErrSignature, err)
			require.False(t, remembered(damaged(token)))
			for n := range 2 {
				got, err := verify(t, r, token)
				require.NoError(t, err)
				require.Equal(t, n > 0 && tc.kept, got.Remembered)
				require.Equal(t, `{"n":1}`, got.Payload)
				require.Equal(t, src.set, got.Keys)
				require.Equal(t, tc.kept, remembered(token))
			}

			// A bad signature that counts as good shows which tokens are looked up.
			opened, err := Open(damaged(token), MaxToken)
			require.NoError(t, err)
			r.good.add(opened.sum(r.headers.Load().secret))
			got, err := r.Verify(context.Background(), opened)
			opened.Close()
			if !tc.kept {
				require.Equal(t, ErrSignature, err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, Verified{Type: got.Type, Payload: `{"n":1}`, Keys: src.set, Signers: got.Signers, Remembered: true}, got)
			require.Len(t, got.Signers, 1)
			require.Contains(t, tc.header, got.Type)
		})
	}
}

func TestSignatures(t *testing.T) {
	require.Nil(t, NewSignatures(goodBucketBytes-1))
	require.Len(t, filled(NewSignatures(goodBucketBytes)), 1)
	require.Len(t, filled(NewSignatures(100*goodBucketBytes)), 100)

	s := NewSignatures(goodBucketBytes)
	require.False(t, s.has(sum{1, 1}))
	for n := range uint64(40) {
		token := sum{n, n<<1 | 1}
		require.False(t, s.has(token))
		s.add(token)
		require.True(t, s.has(token))
		require.False(t, s.has(sum{n + 1, token[1]}), "only one half is the same")
		require.False(t, s.has(sum{n, token[1] + 2}), "only the other half is the same")
		kept := 0
		for old := range n + 1 {
			if s.has(sum{old, old<<1 | 1}) {
				kept++
				require.True(t, n < 7 || old+4 > n, "a full bucket loses its entries in turn: %d is there after %d", old, n)
			}
		}
		require.Equal(t, min(int(n)+1, 4), kept)
	}
}

// An entry takes a free place while there is one, also when other buckets have been filled in the meantime.
func TestSignaturesUseFreePlaces(t *testing.T) {
	s := NewSignatures(2 * goodBucketBytes)
	s.add(sum{0, 1})
	for n := range uint64(3) {
		s.add(sum{1, 3 + 2*n})
	}
	s.add(sum{0, 3})
	require.True(t, s.has(sum{0, 1}))
	require.True(t, s.has(sum{0, 3}))
}

func filled(s *Signatures) []goodBucket {
	s.add(sum{5, 7})
	return *s.buckets.Load()
}

// The sum depends on the secret and on the whole token, and all its bits count.
func TestSum(t *testing.T) {
	seen := map[uint64]bool{}
	var ones, zeros sum
	for n := range 200 {
		for _, secret := range []byte{1, 2} {
			token, err := Open(fmt.Sprintf("a.b.c%d", n), MaxToken)
			require.NoError(t, err)
			got := token.sum(&[32]byte{secret})
			require.Equal(t, got, token.sum(&[32]byte{secret}))
			token.Close()
			require.False(t, seen[got[0]] || seen[got[1]])
			seen[got[0]], seen[got[1]] = true, true
			for i := range got {
				ones[i], zeros[i] = ones[i]|got[i], zeros[i]|^got[i]
			}
		}
	}
	require.Equal(t, sum{math.MaxUint64, math.MaxUint64}, ones)
	require.Equal(t, ones, zeros)
}

// fixed answers every request with a document.
type fixed string

func (f fixed) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(f))), Request: r}, nil
}

// publishedSet is the set of another issuer, with the public halves of some keys. Each key has an issuer, or "" for none.
func publishedSet(t *testing.T, list []*keys.Key, issuers ...string) *keys.Set {
	t.Helper()
	var members []string
	for i, issuer := range issuers {
		document, err := setOf(t, list[i]).JWKS()
		require.NoError(t, err)
		member := strings.TrimSuffix(strings.TrimPrefix(string(document), `{"keys":[`), `]}`)
		members = append(members, strings.Replace(member, `"kid":"`, `"issuer":"`+issuer+`","kid":"`+string(rune('a'+i)), 1))
	}
	remote, err := keys.OpenURL("https://i.example/jwks", keys.WithClient(&http.Client{Transport: fixed(`{"keys":[` + strings.Join(members, ",") + `]}`)}))
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, remote.Close()) })
	set, err := remote.Refetch(t.Context(), nil)
	require.NoError(t, err)
	return set
}

// If several keys name tenants, it matters which one has signed, also when the token comes again. Only such a signature is not
// remembered.
func TestTheSignersOfATenant(t *testing.T) {
	one, two := edKey("one"), edKey("two")
	text := sign(t, two, `{"alg":"EdDSA","typ":"at+jwt"}`, "{}")
	for _, tc := range []struct {
		keys       []*keys.Key
		issuers    []string
		want       []string
		remembered bool
	}{
		{[]*keys.Key{one, two, two}, []string{"t1", "t2", "t3"}, []string{"btwo", "ctwo"}, false},
		{[]*keys.Key{one, two, two}, []string{"", "t2", ""}, []string{"btwo", "ctwo"}, false},
		{[]*keys.Key{one, two, two}, []string{"", "", ""}, []string{"btwo"}, true},
		{[]*keys.Key{two}, []string{"t1"}, []string{"atwo"}, true},
	} {
		set := publishedSet(t, tc.keys, tc.issuers...)
		r := NewReader(&source{set: set}, Rules{Foreign: true}, NewSignatures(1<<10))
		for range 3 {
			verified, err := verify(t, r, text)
			require.NoError(t, err)
			var ids []string
			for _, k := range verified.Signers {
				ids = append(ids, k.ID())
			}
			if !tc.remembered || len(ids) == 1 { // a remembered signature does not tell which one it was
				require.Equal(t, tc.want, ids)
			}
		}
		require.Equal(t, tc.remembered, r.good.buckets.Load() != nil)
	}
}

// A token for which no keys may be fetched is refused where they would be: without any keys, for a new id, and without an id.
func TestBeforeFetch(t *testing.T) {
	refused := errors.New("of another issuer")
	for name, tc := range map[string]struct {
		set    *keys.Set
		header string
	}{
		"no keys": {nil, edHeader("two")}, "a new id": {setOf(t, edKey("one")), edHeader("two")}, "no id": {setOf(t, edKey("one")), `{"alg":"EdDSA"}`},
	} {
		src := &source{set: tc.set, newer: []*keys.Set{setOf(t, edKey("two"))}}
		r := NewReader(src, Rules{Foreign: true, BeforeFetch: func(token Token) error {
			if payload, err := token.UnverifiedPayload(); err != nil || payload != `{"iss":"own"}` {
				return refused
			}
			return nil
		}}, nil)
		_, err := verify(t, r, sign(t, edKey("two"), tc.header, `{"iss":"another"}`))
		require.Equal(t, refused, err, name)
		require.Zero(t, src.asked, name)
		_, err = verify(t, r, sign(t, edKey("two"), tc.header, `{"iss":"own"}`))
		require.NoError(t, err, name)
		require.Equal(t, 1, src.asked, name)
	}
}

// A source that waits as long as its context lets it holds a request for five seconds.
func TestASourceThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewReader(silentSource{}, Rules{}, nil)
		start := time.Now()
		_, err := verify(t, r, sign(t, edKey("one"), edHeader("one"), "{}"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.IsType(t, &UnavailableError{}, err)
		require.Equal(t, 5*time.Second, time.Since(start))
	})
}

type silentSource struct{}

func (silentSource) Current() *keys.Set { return nil }

func (silentSource) Refetch(ctx context.Context, _ *keys.Set) (*keys.Set, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

// Under a flood the fetches go on, and each shows that a retired key is still missing.
func TestARetiredKeyUnderAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := &source{set: setOf(t, edKey("one"))}
		r := NewReader(src, Rules{Foreign: true}, nil)
		retired := sign(t, edKey("gone"), `{"alg":"EdDSA","kid":"gone"}`, "{}")
		_, err := verify(t, r, retired)
		require.Equal(t, ErrUnknownKey, err)
		for range 3 {
			time.Sleep(50 * time.Second)
			_, err = verify(t, r, sign(t, edKey("junk"), `{"alg":"EdDSA","kid":"junk"}`, "{}"))
			require.Equal(t, ErrUnknownKey, err)
		}
		src.err = keys.ErrTooSoon
		_, err = verify(t, r, retired)
		require.Equal(t, ErrUnknownKey, err)
		time.Sleep(time.Hour)
		_, err = verify(t, r, retired)
		require.ErrorIs(t, err, keys.ErrTooSoon)
	})
}
