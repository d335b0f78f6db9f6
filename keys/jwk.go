package keys

import (
	"crypto"
	"crypto/rsa"
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
		if !k.Published() {
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
	algorithm := algorithmOf(j.Algorithm().String())
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
	k, err := newMaterial(material, of)
	if err == nil && algorithm == "" {
		err = k.addVariants(material)
	}
	return k, err
}

// addVariants makes a key that names no algorithm ready for all that its type has. Only RSA has several.
func (k *Key) addVariants(material any) error {
	public, ok := material.(*rsa.PublicKey)
	if !ok {
		return nil
	}
	for _, algorithm := range []Algorithm{RS384, RS512, PS256, PS384, PS512} {
		variant, err := newAsymmetric(public, nil, spec{id: k.id, algorithm: algorithm})
		if err != nil {
			return err
		}
		k.variants = append(k.variants, variant)
	}
	return nil
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

// parseSet reads a set of the host's own keys, private or public. Keys for encryption, and of types that no algorithm here uses, are left out, as RFC
// 7517 section 5 asks. A weak key, a duplicate id, or a mix of secrets and others refuses the set.
func parseSet(text []byte) ([]*Key, error) {
	members, err := membersOf(text)
	if err != nil {
		return nil, err
	}
	var list []*Key
	secrets := 0
	for i, member := range members {
		k, err := parseMember(member)
		if errors.Is(err, errNotForSignatures) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("key %d: %w", i, err)
		}
		if k.public == nil {
			secrets++
		}
		list = append(list, k)
	}
	switch {
	case len(list) == 0:
		return nil, errors.New("there is no key for signatures in the set")
	case secrets != 0 && secrets != len(list):
		return nil, errors.New("the set mixes secrets with public-key keys: one document cannot be for both kinds of reader")
	}
	_, err = NewSet(nil, list...) // no two keys have one id
	return list, err
}

// parsePublished reads the set of another issuer. A key that cannot be used is left out, whatever is wrong with it (RFC 7517 section 5), and skipped
// says why. A secret refuses the document: whoever has read it knows the secret too.
func parsePublished(text []byte) (list []*Key, skipped []error, err error) {
	var document struct{ Keys *[]json.RawMessage }
	if err := json.Unmarshal(text, &document); err != nil || document.Keys == nil {
		return nil, nil, errors.New("it is not a JSON object with an array of keys")
	}
	for i, member := range *document.Keys {
		var head struct {
			Kty string
			D   json.RawMessage
		}
		if json.Unmarshal(member, &head) == nil && (head.Kty == "oct" || head.D != nil) {
			return nil, nil, fmt.Errorf("key %d is secret: in a public set it is known to everybody", i)
		}
		k, err := parseMember(member)
		switch {
		case errors.Is(err, errNotForSignatures):
		case err != nil:
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
		case !slices.ContainsFunc(list, k.equal):
			list = append(list, k)
		}
	}
	return list, skipped, nil
}

// equal reports whether two keys are the same in all that a reader looks at.
func (k *Key) equal(other *Key) bool {
	return k.thumbprint == other.thumbprint && k.algorithm == other.algorithm && k.id == other.id
}

// membersOf returns the keys of a set, strictly.
func membersOf(text []byte) (members []json.RawMessage, err error) {
	s := strictjson.Scan(string(text))
	for s.Next() {
		if s.Name() == "keys" && json.Unmarshal([]byte(s.Raw()), &members) != nil {
			s.Mistyped("an array of keys")
		}
	}
	return members, s.Err()
}

// parseMember reads one key of a set. The error is errNotForSignatures for keys that belong to another use.
func parseMember(member json.RawMessage) (*Key, error) {
	var head struct{ Kty, Crv, Alg string }
	if err := json.Unmarshal(member, &head); err != nil {
		return nil, errors.New("it is not a JSON object of strings")
	}
	if !usable(head.Kty, head.Crv, head.Alg) {
		return nil, errNotForSignatures
	}
	return parseJWK(member)
}

// usable tells keys that this package may use from the others that a set may hold.
func usable(kty, crv, alg string) bool {
	if alg != "" && !algorithmOf(alg).Supported() {
		return false
	}
	return kty == "RSA" || kty == "oct" || kty == "EC" && crv != "secp256k1" || kty == "OKP" && crv == "Ed25519"
}

// algorithmOf reads the name of an algorithm. RFC 9864 calls EdDSA with an Ed25519 key "Ed25519".
func algorithmOf(name string) Algorithm {
	if name == "Ed25519" {
		return EdDSA
	}
	return Algorithm(name)
}
