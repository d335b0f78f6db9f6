package signet

import (
	"crypto"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/signet-go/signet/internal/strictjson"
)

// This file is the only one that knows jwx: JSON Web Keys in and out, and their thumbprints.

// thumbprint is the RFC 7638 SHA-256 thumbprint of a public key or of a secret's bytes.
func thumbprint(material any) (string, error) {
	k, err := jwk.FromRaw(material)
	if err != nil {
		return "", err
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// publicJWK is the public half of k as JSON, for a JWKS document.
func publicJWK(k *key) (json.RawMessage, error) {
	j, err := jwk.FromRaw(k.public)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{jwk.KeyIDKey: k.id, jwk.AlgorithmKey: string(k.alg),
		jwk.KeyUsageKey: string(jwk.ForSignature)} {
		if err := j.Set(name, value); err != nil {
			return nil, err
		}
	}
	return json.Marshal(j)
}

// errNotForSignatures marks keys that belong in a set but have nothing to do with signatures.
var errNotForSignatures = errors.New(`its "use" or "key_ops" forbids signatures`)

// parseJWK reads one key, strictly: jwx would take the last of two members of one name.
func parseJWK(text []byte) (*key, error) {
	s := strictjson.Scan(string(text))
	for s.Next() { // checks the form of the whole text
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	j, err := jwk.ParseKey(text)
	if err != nil {
		return nil, errors.New("it is not a JSON Web Key that can be read") // the cause could quote the key
	}
	if err := checkUsage(j); err != nil {
		return nil, err
	}
	alg := Algorithm(j.Algorithm().String())
	if _, known := hashes[alg]; alg != "" && !known {
		return nil, fmt.Errorf("the algorithm %q is not supported", alg)
	}
	spec := keySpec{id: j.KeyID(), alg: alg}
	var material any
	if err := j.Raw(&material); err != nil {
		return nil, errors.New("its members do not make a key")
	}
	if secret, ok := material.([]byte); ok {
		if spec.alg == "" {
			spec.alg = HS256
		}
		return newSecret(secret, spec)
	}
	return newMaterial(material, spec)
}

// checkUsage honours "use" and "key_ops" (RFC 7517 sections 4.2 and 4.3).
func checkUsage(j jwk.Key) error {
	if use := j.KeyUsage(); use != "" && use != string(jwk.ForSignature) {
		return errNotForSignatures
	}
	ops := j.KeyOps()
	if len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) && !slices.Contains(ops, jwk.KeyOpSign) {
		return errNotForSignatures
	}
	return nil
}

// parseJWKS reads a set. Keys for encryption, and of types that no algorithm here uses, are left out, as RFC 7517
// section 5 asks; a weak key, a duplicate id, a mix of secrets and others, or a secret in a set that is public (private is
// false) refuses the set.
func parseJWKS(text []byte, private bool) ([]*key, error) {
	var members []json.RawMessage
	s := strictjson.Scan(string(text))
	for s.Next() {
		if s.Name() == "keys" && json.Unmarshal([]byte(s.Raw()), &members) != nil {
			s.Mistyped("an array of keys")
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	var keys []*key
	for i, member := range members {
		var head struct {
			Kty, Crv, Alg string
			D             json.RawMessage
		}
		if err := json.Unmarshal(member, &head); err != nil {
			return nil, fmt.Errorf("key %d is not a JSON object", i)
		}
		if (head.Kty == "oct" || head.D != nil) && !private {
			return nil, fmt.Errorf("key %d is secret: in a public set it is known to everybody", i)
		}
		if !usable(head.Kty, head.Crv, head.Alg) {
			continue
		}
		k, err := parseJWK(member)
		if errors.Is(err, errNotForSignatures) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("there is no key for signatures in the set")
	}
	secrets := 0
	for _, k := range keys {
		if k.public == nil {
			secrets++
		}
	}
	if secrets != 0 && secrets != len(keys) {
		return nil, errors.New("the set mixes secrets with public-key keys: one document cannot be for both kinds of reader")
	}
	return keys, checkDistinct(keys)
}

// usable tells keys that this package may use from the others that a set may hold.
func usable(kty, crv, alg string) bool {
	if _, known := hashes[Algorithm(alg)]; alg != "" && !known {
		return false
	}
	return kty == "RSA" || kty == "oct" || kty == "EC" && crv != "secp256k1" || kty == "OKP" && crv == "Ed25519"
}

func checkDistinct(keys []*key) error {
	seen := map[string]bool{}
	for _, k := range keys {
		if seen[k.id] {
			return fmt.Errorf("two keys have the id %q", k.id)
		}
		seen[k.id] = true
	}
	return nil
}
