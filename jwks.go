package signet

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
)

// jwksMaxAge is how long verifiers may keep the keys, and so how long a key must be announced before it signs.
const jwksMaxAge = "public, max-age=300"

// JWKSHandler serves the public keys as a JWK Set (RFC 7517 section 5), usually at /.well-known/jwks.json: the signing key,
// the announced and the accepted ones. Secrets are never among them; a service that signs with a secret alone serves an
// empty set. Answers may be cached for 300 seconds, and carry an ETag.
func (a *Auth) JWKSHandler() http.Handler {
	return a.handler(func(w http.ResponseWriter, r *http.Request) error {
		body, err := a.keyring.state.Load().publicJWKS()
		if err != nil {
			return internal(err)
		}
		sum := sha256.Sum256(body)
		etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Cache-Control", jwksMaxAge)
		h.Set("ETag", etag)
		if strings.Contains(r.Header.Get("If-None-Match"), etag) {
			w.WriteHeader(http.StatusNotModified)
			return nil
		}
		h.Set("Content-Type", "application/jwk-set+json")
		h.Set("X-Content-Type-Options", "nosniff")
		w.Write(body)
		return nil
	}, http.MethodGet, http.MethodHead)
}

func (s *keySet) publicJWKS() ([]byte, error) {
	doc := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, k := range s.keys {
		if k.public == nil {
			continue
		}
		j, err := publicJWK(k)
		if err != nil {
			return nil, err
		}
		doc.Keys = append(doc.Keys, j)
	}
	return json.Marshal(doc)
}
