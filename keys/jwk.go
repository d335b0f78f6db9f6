package keys

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

// thumbprintOf is the RFC 7638 SHA-256 thumbprint of a public key or of a secret's bytes.
func thumbprintOf(material any) (string, error) {
	k, err := jwk.FromRaw(material)
	if err != nil {
		return "", err
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// publicJWKS is the JWK Set document of the public keys among the list.
func publicJWKS(list []*Key) ([]byte, error) {
	doc := struct {
		Keys []json.RawMessage `json:"keys"`
	}{Keys: []json.RawMessage{}}
	for _, k := range list {
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

// publicJWK is the public half of k as JSON.
func publicJWK(k *Key) (json.RawMessage, error) {
	j, err := jwk.FromRaw(k.public)
	if err != nil {
		return nil, err
	}
	for name, value := range map[string]string{jwk.KeyIDKey: k.id, jwk.AlgorithmKey: string(k.algorithm),
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
func parseJWK(text []byte) (*Key, error) {
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
	algorithm := Algorithm(j.Algorithm().String())
	if algorithm != "" && !algorithm.Supported() {
		return nil, fmt.Errorf("the algorithm %q is not supported", algorithm)
	}
	of := spec{id: j.KeyID(), algorithm: algorithm}
	var material any
	if err := j.Raw(&material); err != nil {
		return nil, errors.New("its members do not make a key")
	}
	if err := checkUsage(j, material); err != nil {
		return nil, err
	}
	if secret, ok := material.([]byte); ok {
		return newSecret(secret, of)
	}
	return newMaterial(material, of)
}

// checkUsage honours "use" and "key_ops" (RFC 7517 sections 4.2 and 4.3). A public key must be allowed to verify, and a private key
// or a secret to sign or to verify.
func checkUsage(j jwk.Key, material any) error {
	if use := j.KeyUsage(); use != "" && use != string(jwk.ForSignature) {
		return errNotForSignatures
	}
	_, private := material.(crypto.Signer)
	_, secret := material.([]byte)
	ops := j.KeyOps()
	if len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) && !(slices.Contains(ops, jwk.KeyOpSign) && (private || secret)) {
		return errNotForSignatures
	}
	return nil
}

// parseJWKS reads a set. Keys for encryption, and of types that no algorithm here uses, are left out, as RFC 7517
// section 5 asks; a weak key, a duplicate id, a mix of secrets and others, or a secret in a set that is public (private is
// false) refuses the set.
func parseJWKS(text []byte, private bool) ([]*Key, error) {
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
	var list []*Key
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
		list = append(list, k)
	}
	if len(list) == 0 {
		return nil, errors.New("there is no key for signatures in the set")
	}
	secrets := 0
	for _, k := range list {
		if k.public == nil {
			secrets++
		}
	}
	if secrets != 0 && secrets != len(list) {
		return nil, errors.New("the set mixes secrets with public-key keys: one document cannot be for both kinds of reader")
	}
	_, err := NewSet(nil, list...) // no two keys have one id
	return list, err
}

// usable tells keys that this package may use from the others that a set may hold.
func usable(kty, crv, alg string) bool {
	if alg != "" && !Algorithm(alg).Supported() {
		return false
	}
	return kty == "RSA" || kty == "oct" || kty == "EC" && crv != "secp256k1" || kty == "OKP" && crv == "Ed25519"
}
