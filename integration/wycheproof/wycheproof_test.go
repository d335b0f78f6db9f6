// Package wycheproof_test holds signet to the JSON Web Signature and JSON Web Key vectors of Project Wycheproof
// (github.com/C2SP/wycheproof, Apache License 2.0), which come as a Go module.
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

// differs are the vectors whose strict verdict is not the one of the set, with the reason.
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
			// An empty payload is a valid JWS, and never a set of claims.
			want := tc.Result == "valid" && tc.Comment != "emptyPayload"
			if reason, ok := differs[tc.TcID]; ok {
				t.Logf("%d %s: the set says %s; %s", tc.TcID, tc.Comment, tc.Result, reason)
				want = !want
			}
			if err := key.Err(); err != nil {
				// A key that signet does not take verifies nothing. The only valid vectors of such keys are those of the
				// secret of 32 zero bytes, which the rule against repeated bytes refuses.
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

// verifies tells whether form, header and signature of a token are accepted. The payloads of the vectors are no claims and
// their types are not ours, and signet looks at both only after the signature is found good.
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

// trusts tells whether a set makes a verifier that finds the token's signature good.
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
