package keys

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The public-key keys are those of RFC 7515 appendix A and RFC 8037 appendix A.
const (
	octJWK = `{"kty":"oct","kid":"hmac","alg":"HS256","k":"Wms4cFYzbjFReVhyNXRCN3dMczlIZDJHY0o0bVVhRW8"}`
	ecJWK  = `{"kty":"EC","kid":"ec","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}`
	edJWK = `{"kty":"OKP","kid":"ed","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",` +
		`"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}`
	ecPublicJWK = `{"kty":"EC","kid":"ec-public","use":"sig","crv":"P-256",` +
		`"x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
	edPublicJWK = `{"kty":"OKP","kid":"ed-public","alg":"Ed25519","crv":"Ed25519",` +
		`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	rsaPublic = `{"kty":"RSA","kid":"rsa-public","e":"AQAB","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W2` +
		`6mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGz` +
		`jb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5Zw` +
		`Kh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"}`
	encryption = `{"kty":"EC","kid":"enc","use":"enc","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",` +
		`"y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}`
)

// FuzzParseSet reads any text as the host's own set and as the set of another issuer.
//
// A set that is accepted makes a good Set. It holds secrets only, or none. What it publishes has no private part, and is
// read again as the same keys. A set with a secret or a private key in it is refused if another issuer publishes it, and no
// key of another issuer signs.
func FuzzParseSet(f *testing.F) {
	set := func(members ...string) string { return `{"keys":[` + strings.Join(members, ",") + `]}` }
	for _, seed := range []string{
		set(octJWK), set(ecJWK, edJWK), set(ecPublicJWK, edPublicJWK, rsaPublic, encryption), set(ecPublicJWK, octJWK),
		set(ecPublicJWK, ecPublicJWK), set(), set("{}"), set("null"), set("5"), `{}`, `null`, ``,
		`{"keys":null}`, `{"keys":{}}`, `{"KEYS":[` + edPublicJWK + `]}`, `{"keys":[],"keys":[` + octJWK + `]}`,
		`{"keys":[],"Keys":[` + octJWK + `]}`, set(ecPublicJWK, `{"d":""}`),
		"\ufeff'" + set(edJWK) + "'\n", set(edPublicJWK) + "{}", set(edPublicJWK, `{"kty":"EC","crv":"secp256k1"}`),
		set(strings.Replace(octJWK, `"kty"`, `"KTY":"RSA","kty"`, 1)), set(strings.Replace(octJWK, `}`, `,"KTY":"RSA"}`, 1)),
		set(strings.Replace(octJWK, `}`, `,"kty":"RSA"}`, 1)), set(strings.Replace(edJWK, `}`, `,"D":null}`, 1)),
		set(strings.Replace(edJWK, `"d"`, `"\u0064"`, 1)), set(strings.Replace(edJWK, `}`, `,"key_ops":["verify"]}`, 1)),
		set(strings.Replace(edJWK, `}`, `,"use":"enc"}`, 1)), set(strings.Replace(octJWK, `HS256`, `RS256`, 1)),
		set(strings.Replace(rsaPublic, `}`, `,"alg":"PS512"}`, 1)),
		set(strings.Replace(rsaPublic, `"kid":"rsa-public",`, ``, 1)),
		set(strings.Replace(edPublicJWK, `"kid":"ed-public"`, `"kid":"<\u2028>"`, 1)),
		set(strings.Replace(edPublicJWK, `"kid":"ed-public"`, `"kid":""`, 1)),
	} {
		f.Add([]byte(seed))
	}
	for _, good := range []string{octJWK, ecJWK, edJWK, ecPublicJWK, edPublicJWK, rsaPublic} {
		require.NoError(f, JWK([]byte(good)).Err(), good) // otherwise the seeds show less than they say
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		own, err := ParseSet(text)
		if err != nil {
			require.Nil(t, own)
			requireNoMaterial(t, text, err.Error())
		} else {
			requireOwn(t, own)
		}
		published, skipped, publishedErr := parsePublished(cleanText(text))
		for _, reason := range append(skipped, publishedErr) {
			if reason != nil {
				requireNoMaterial(t, text, reason.Error())
			}
		}
		for _, k := range published {
			require.NoError(t, publishedErr)
			requireGood(t, k)
			require.True(t, k.Published() && !k.CanSign(), "%v is secret, and another issuer has published it", k)
		}
		if slices.ContainsFunc(own, func(k *Key) bool { return k.CanSign() }) {
			require.Error(t, publishedErr, "the published set holds a key that signs")
			return
		}
		if publishedErr != nil {
			return
		}
		for _, k := range own { // the reader for other issuers is the more patient one
			require.True(t, slices.ContainsFunc(published, k.Equal), "%v is accepted at home and not from an issuer", k)
		}
	})
}

// requireOwn checks the keys of a set that was accepted.
func requireOwn(t *testing.T, list []*Key) {
	t.Helper()
	require.NotEmpty(t, list)
	secrets := 0
	for _, k := range list {
		requireGood(t, k)
		if !k.Published() {
			secrets++
		}
	}
	require.True(t, secrets == 0 || secrets == len(list), "%v mixes secrets with others", list)
	set, err := NewSet(nil, list...)
	require.NoError(t, err)
	document := requirePublic(t, set)
	again, err := ParseSet(document)
	if secrets > 0 {
		require.Error(t, err, "secrets are published in %s", document)
		return
	}
	require.NoError(t, err, "%s", document)
	require.Equal(t, fmt.Sprint(list), fmt.Sprint(again), "ids and algorithms")
	for i, k := range again {
		require.False(t, k.CanSign(), "%v signs", k)
		require.Equal(t, list[i].thumbprint, k.thumbprint)
		requirePair(t, list[i], k)
	}
	set, err = NewSet(nil, again...)
	require.NoError(t, err)
	require.Equal(t, string(document), string(requirePublic(t, set)), "the second publication")
}

// requirePublic returns the JWK Set of a set. It must have no private member.
func requirePublic(t *testing.T, set *Set) []byte {
	t.Helper()
	text, err := set.JWKS()
	require.NoError(t, err)
	var document struct{ Keys []map[string]any }
	require.NoError(t, json.Unmarshal(text, &document))
	for _, member := range document.Keys {
		for name := range member {
			require.Contains(t, []string{"kty", "kid", "alg", "use", "crv", "x", "y", "n", "e"}, name, "%s", text)
		}
		require.NotEqual(t, "oct", member["kty"])
	}
	return text
}

// requireGood checks what is true of each key without a mistake.
func requireGood(t *testing.T, k *Key) {
	t.Helper()
	require.NoError(t, k.Err())
	require.NotEmpty(t, k.ID())
	require.LessOrEqual(t, len(k.ID()), 256)
	require.True(t, k.Algorithm().Supported(), "%q", k.Algorithm())
	require.Equal(t, !k.Published(), strings.HasPrefix(string(k.Algorithm()), "HS"), "%v", k)
	require.NotNil(t, k.Current())
	require.False(t, k.Verify([]byte("input"), nil), "%v accepts an empty signature", k)
	if !k.CanSign() {
		_, err := k.Sign(context.Background(), []byte("input"))
		require.Error(t, err, "%v has no private part and signs", k)
		require.Nil(t, k.Current().Signing())
		return
	}
	requirePair(t, k, k)
}

// requirePair checks that a key accepts the signatures of another one, and no others. It does nothing if the other one
// cannot sign.
func requirePair(t *testing.T, private, public *Key) {
	t.Helper()
	if !private.CanSign() {
		return
	}
	signature, err := private.Sign(context.Background(), []byte("input"))
	require.NoError(t, err)
	require.True(t, public.Verify([]byte("input"), signature), "%v does not accept the signature of %v", public, private)
	require.False(t, public.Verify([]byte("other"), signature), "%v accepts the signature of another input", public)
	signature[len(signature)/2] ^= 1
	require.False(t, public.Verify([]byte("input"), signature), "%v accepts a changed signature", public)
}

// minMaterial is the length of texts that can be no word of an error by chance.
const minMaterial = 20

// requireNoMaterial checks that an error does not quote what may be a part of a key: a long run of base64 in PEM, the value
// of a private member, or a text that may be a secret.
func requireNoMaterial(t *testing.T, text []byte, message string) {
	t.Helper()
	var collect func(value any, private bool)
	collect = func(value any, private bool) {
		switch value := value.(type) {
		case map[string]any:
			for name, member := range value {
				collect(member, slices.Contains([]string{"k", "d", "p", "q", "dp", "dq", "qi"}, name))
			}
		case []any:
			for _, member := range value {
				collect(member, private)
			}
		case string:
			if private && len(value) >= minMaterial {
				require.NotContains(t, message, value)
			}
		}
	}
	var document any
	if json.Unmarshal(cleanText(text), &document) == nil {
		collect(document, false)
		return
	}
	for _, match := range pemBlock.FindAllSubmatch(text, -1) {
		for _, line := range bytes.Fields(match[2]) {
			if len(line) >= minMaterial {
				require.NotContains(t, message, string(line))
			}
		}
	}
	if !bytes.Contains(text, []byte("-----BEGIN")) && len(cleanText(text)) >= minMaterial {
		require.NotContains(t, message, string(cleanText(text)), "the text may be a secret")
	}
}

// FuzzParseKeyText reads any text as PEM, as a JWK, as a secret and as a key file.
//
// At most one of PEM and JWK accepts a text. A key file is read as one of the three. White space around a key changes
// nothing, and no error quotes a key. A key that is accepted signs and verifies, and its published half verifies too.
func FuzzParseKeyText(f *testing.F) {
	for _, seed := range append(pemSeeds(f), octJWK, ecJWK, edJWK, ecPublicJWK, edPublicJWK, rsaPublic, encryption,
		`{"keys":[`+edJWK+`]}`, `{"keys":null}`, ``, "\ufeff", `""`, `'`, "Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo",
		"Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo\n", `"Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"`,
		"\x00\x01\xff"+strings.Repeat("\x80", 30),
		"Wms4cFYzbjFReVhyNXRCN3dMczlIZDJHY0o0bVVhRW8=", "changeme-changeme-changeme-changeme", strings.Repeat("ab", 32),
		"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", "-----BEGIN X-----\nProc-Type: 4\n-----END X-----",
		strings.Replace(edJWK, `"ed"`, `"`+strings.Repeat("x", 257)+`"`, 1),
		strings.Replace(ecJWK, `"kid"`, `"alg":"ES384","kid"`, 1)) {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		fromPEM, fromJWK, fromSecret := PEM(text), JWK(text), Secret(text)
		require.False(t, fromPEM.Err() == nil && fromJWK.Err() == nil, "the text is PEM and JSON")
		spaced := slices.Concat([]byte("\r\n "), text, []byte("\t\n"))
		for _, pair := range [][2]*Key{{fromPEM, PEM(spaced)}, {fromJWK, JWK(spaced)}} {
			require.Equal(t, pair[0].Err() == nil, pair[1].Err() == nil, "white space changes the key: %v", pair)
			require.Equal(t, pair[0].ID(), pair[1].ID())
		}
		if fromSecret.Err() == nil {
			require.GreaterOrEqual(t, len(text), 32)
			require.False(t, fromSecret.Published())
		}
		for _, k := range []*Key{fromPEM, fromJWK, fromSecret} {
			if err := k.Err(); err != nil {
				requireNoMaterial(t, text, err.Error())
				require.Empty(t, k.ID())
				require.Nil(t, k.Current())
				require.False(t, k.CanSign() || k.Published() || k.Verify(nil, nil))
				continue
			}
			requireGood(t, k)
			requireOwn(t, []*Key{k})
		}
		requireKeyFile(t, text, fromPEM, fromJWK)
	})
}

// requireKeyFile compares a key file with the keys that the functions made of its text.
func requireKeyFile(t *testing.T, text []byte, fromPEM, fromJWK *Key) {
	t.Helper()
	list, _, err := parseKeyFile(text)
	if err != nil {
		requireNoMaterial(t, text, err.Error())
		return
	}
	require.NotEmpty(t, list)
	for _, k := range list {
		requireGood(t, k)
	}
	var want *Key
	switch clean := cleanText(text); {
	case isSet(clean):
		return // FuzzParseSet
	case clean[0] == '{':
		want = fromJWK
	case bytes.Contains(clean, []byte("-----BEGIN")):
		want = fromPEM
	default:
		want = Secret(clean)
	}
	require.NoError(t, want.Err())
	require.Equal(t, want.ID(), list[0].ID())
	require.Len(t, list, 1)
}

// pemSeeds are the forms of PEM that are read, some damaged by files, shells and editors.
func pemSeeds(f *testing.F) (seeds []string) {
	f.Helper()
	block := func(kind string, der []byte, err error) string {
		require.NoError(f, err)
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	seed := []byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo")
	ed := ed25519.NewKeyFromSeed(seed)
	ec, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed)
	require.NoError(f, err)
	n, err := base64.RawURLEncoding.DecodeString(rsaPublic[strings.Index(rsaPublic, `"n":"`)+5 : len(rsaPublic)-2])
	require.NoError(f, err)
	rsaKey := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}

	der, err := x509.MarshalPKCS8PrivateKey(ed)
	edText := block("PRIVATE KEY", der, err)
	der, err = x509.MarshalECPrivateKey(ec)
	ecText := block("EC PRIVATE KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(ed.Public())
	edPublic := block("PUBLIC KEY", der, err)
	der, err = x509.MarshalPKIXPublicKey(rsaKey)
	rsaText := block("PUBLIC KEY", der, err)
	return []string{edText, ecText, edPublic, rsaText, block("RSA PUBLIC KEY", x509.MarshalPKCS1PublicKey(rsaKey), nil),
		edText + edPublic, edText + ecText, ecText + ecText,
		"-----BEGIN EC PARAMETERS-----\nAAAA\n-----END EC PARAMETERS-----\n" + ecText,
		strings.ReplaceAll(edText, "\n", `\n`), "\ufeff" + strings.ReplaceAll(ecText, "\n", "\r\n"), `"` + edPublic + `"`,
		strings.ReplaceAll(rsaText, "\n", " "), strings.Replace(edText, "M", "N", 1),
		strings.Replace(ecText, "-----END EC", "-----END", 1)}
}
