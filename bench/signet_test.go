package bench

import (
	"context"
	"net/http"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/userstore"
)

// ours is signet as a user gets it, except for its cache. The cache is far smaller than the 4,096 tokens of a cold run. So a
// miss pays for the look-up and for the new entry, and no hit helps. signet-nocache has no cache at all.
var ours = []lib{
	{name: "signet", require: func(k *keyPair, next http.Handler) (http.Handler, error) {
		return requireSignet(k, next, signet.WithTokenCache(64<<10))
	}},
	{name: "signet-nocache", require: func(k *keyPair, next http.Handler) (http.Handler, error) {
		return requireSignet(k, next, signet.WithTokenCache(0))
	}},
}

// isCold reports whether the library meets every token of the path as it should. The smallest memory of good signatures would
// find most of 4,096 tokens, so only signet-nocache runs cold with a public key.
func (l lib) isCold(alg, path string) bool {
	return path != "cold" || l.name != "signet" || alg == "HS256"
}

func requireSignet(k *keyPair, next http.Handler, opts ...signet.VerifierOption) (http.Handler, error) {
	opts = append(opts, signet.WithIssuer(issuer), signet.WithAudience(audience))
	v, err := signet.NewVerifier(signetKey(k), opts...)
	if err != nil {
		return nil, err
	}
	return v.RequireAuth(next), nil
}

func signetKey(k *keyPair) *keys.Key {
	if k.private == nil {
		return keys.Secret(k.secret)
	}
	return keys.Private(k.private)
}

// ourSigners sign pairs, because signet issues pairs. They return one token at a time. So an operation is one token, as it
// is for the peers.
var ourSigners = []signer{{name: "signet", make: issueSignet}}

func issueSignet(k *keyPair) (func() (string, error), error) {
	auth, err := signet.New(userstore.NewMemory(), signetKey(k), signet.WithIssuer(issuer), signet.WithAudience(audience),
		signet.WithoutSessions(), signet.WithClaims(func(context.Context, userstore.User) (map[string]any, error) {
			return map[string]any{"tid": "0123456789abcdefghijkl"}, nil // the eighth claim; with sessions it would be "sid"
		}))
	if err != nil {
		return nil, err
	}
	user := userstore.User{ID: "1", Email: "john@mail.com", Roles: []string{"customer"}}
	kept := ""
	return func() (string, error) {
		if token := kept; token != "" {
			kept = ""
			return token, nil
		}
		pair, err := auth.IssueFor(context.Background(), user)
		kept = pair.RefreshToken
		return pair.AccessToken, err
	}, nil
}
