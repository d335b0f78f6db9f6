// Package wycheproof_test tests signet with the JSON Web Signature and JSON Web Key vectors of Project Wycheproof
// (github.com/C2SP/wycheproof, Apache License 2.0). The vectors come as a Go module.
package wycheproof_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"testing"

	"github.com/c2sp/wycheproof"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
)

type vectors struct {
	TestGroups []struct {
		Comment string
		Private json.RawMessage
		Public  json.RawMessage
		Tests   []vector
	}
}

type vector struct {
	TcID    int
	Comment string
	JWS     string
	Result  string
}

func load(t *testing.T, name string) vectors {
	t.Helper()
	text, err := fs.ReadFile(wycheproof.TestVectors, name)
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(text, &v))
	require.NotEmpty(t, v.TestGroups)
	return v
}

// differs are the vectors for which the strict verdict is not that of the set, with the reason.
var differs = map[int]string{
	346: "the key is pinned to PS256, the token says PS384",
	350: "the key is pinned to PS256, the token says PS384",
	347: `the key's "alg" is "ES521", which is no algorithm`,
	351: `the key's "alg" is "ES521", which is no algorithm`,
	367: "the padding that the comment names is not there: the token is the one of vector 357, which is valid",
	370: "the padding that the comment names is not there: the token is the one of vector 357, which is valid",
	372: "the header holds a character that is not base64url",
	373: "the payload holds a character that is not base64url",
}

func TestSignatures(t *testing.T) {
	checked, refusedKeys := 0, 0
	for _, group := range load(t, "json_web_signature_test.json").TestGroups {
		text := group.Public
		if len(text) == 0 {
			text = group.Private
		}
		key := keys.JWK(text)
		for _, tc := range group.Tests {
			// An empty payload is a valid JWS, but it is never a set of claims.
			want := tc.Result == "valid" && tc.Comment != "emptyPayload"
			if reason, ok := differs[tc.TcID]; ok {
				t.Logf("%d %s: the set says %s; %s", tc.TcID, tc.Comment, tc.Result, reason)
				want = !want
			}
			if err := key.Err(); err != nil {
				// signet refuses this key, so the key verifies nothing. The only valid vectors with such keys are those of
				// the secret of 32 zero bytes. The rule against repeated bytes refuses that secret.
				refusedKeys++
				require.Truef(t, !want || tc.TcID >= 357 && tc.TcID <= 377, "%d %s: valid, but the key is refused: %v", tc.TcID, tc.Comment, err)
				continue
			}
			checked++
			require.Equal(t, want, verifies(t, key, tc.JWS), "%d %s (%s)", tc.TcID, tc.Comment, tc.Result)
		}
	}
	t.Logf("%d vectors checked, %d fell with their key", checked, refusedKeys)
	require.Greater(t, checked, 300)
}

// verifies reports whether signet accepts the form, the header and the signature of a token. The payloads of the vectors are
// not claims, and their types are not those of signet. signet looks at both only after it has accepted the signature.
func verifies(t *testing.T, key *keys.Key, token string) bool {
	t.Helper()
	v, err := signet.NewVerifier(key)
	require.NoError(t, err)
	_, err = v.Verify(context.Background(), token)
	var refused *signet.Error
	if !errors.As(err, &refused) {
		t.Fatalf("Verify(%q) = %v", token, err)
	}
	return refused.Message() == "the token is of the wrong type"
}

func TestKeys(t *testing.T) {
	checked := 0
	for _, group := range load(t, "json_web_key_test.json").TestGroups {
		text := group.Public
		if len(text) == 0 {
			text = group.Private
		}
		for _, tc := range group.Tests {
			checked++
			require.Equal(t, tc.Result == "valid", trusts(text, tc.JWS), "%d %s (%s): %s", tc.TcID, group.Comment, tc.Comment, text)
		}
	}
	require.Greater(t, checked, 20)
}

// trusts reports whether a set makes a verifier that accepts the token's signature.
func trusts(set json.RawMessage, token string) bool {
	list, err := keys.ParseSet(set)
	if err != nil {
		return false
	}
	for _, key := range list {
		v, err := signet.NewVerifier(key)
		if err != nil {
			return false
		}
		_, err = v.Verify(context.Background(), token)
		var refused *signet.Error
		if errors.As(err, &refused) && refused.Message() == "the token is of the wrong type" {
			return true
		}
	}
	return false
}
