package keys

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lestrrat-go/jwx/v2/jwk"

	"github.com/signet-go/signet/internal/strictjson"
)

// Only this file uses the library jwx. It reads and writes JSON Web Keys, and computes their thumbprints.

// thumbprintOf returns the RFC 7638 SHA-256 thumbprint of a public key or of the bytes of a secret.
func thumbprintOf(material any) (string, error) {
	k, err := jwk.FromRaw(material)
	if err != nil {
		return "", err
	}
	sum, err := k.Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// publicJWKS returns the JWK Set document of the public keys in the list.
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

// publicJWK returns the public half of k as JSON.
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

// errNotForSignatures is the error for keys that may be in a set but are not for signatures. parseMember also returns
// it for types and algorithms that this package does not use. Sets leave such keys out without a warning.
var errNotForSignatures = errors.New(`its "use" or "key_ops" forbids signatures`)

// errNoPrimes is for a private RSA key without its primes p and q.
var errNoPrimes = errors.New("the RSA key has no primes")

// parseJWK reads one key. It first checks the JSON strictly, because jwx accepts two members of the same name and takes
// the last one.
func parseJWK(text []byte) (*Key, error) {
	s := strictjson.Scan(string(text))
	given := []byte("{")
	for s.Next() {
		if s.Raw() == "null" || isPrivatePart(s.Name()) && isEmpty(s.Raw()) { // absent
			continue
		}
		if len(given) > 1 {
			given = append(given, ',')
		}
		given = append(append(strictjson.AppendString(given, s.Name()), ':'), s.Raw()...)
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	j, err := jwk.ParseKey(append(given, '}'))
	if err != nil {
		return nil, errors.New("it is not a JSON Web Key that can be read") // err could contain the key
	}
	algorithm := algorithmOf(j.Algorithm().String())
	if algorithm != "" && !algorithm.Supported() {
		return nil, fmt.Errorf("the algorithm %q is not supported", algorithm)
	}
	of := spec{id: j.KeyID(), algorithm: algorithm}
	if public, ok := j.(interface{ E() []byte }); ok && len(bytes.TrimLeft(public.E(), "\x00")) > 4 {
		return nil, errors.New("its public exponent is too large") // Raw would cut it
	}
	if private, ok := j.(jwk.RSAPrivateKey); ok {
		if _, more := j.Get("oth"); more {
			return nil, errors.New(`it has more than two primes ("oth")`) // RFC 7518 section 6.3.2.7: it must not be used
		}
		if len(private.P()) == 0 || len(private.Q()) == 0 {
			return nil, errNoPrimes
		}
	}
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
	if issuer, ok := j.Get("issuer"); ok && err == nil {
		name, _ := issuer.(string)
		k.setIssuer(name)
	}
	return k, err
}

// addVariants is for a key that names no algorithm. It prepares the key for all algorithms of its type. Only RSA has
// more than one.
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

// checkUsage obeys "use" and "key_ops" (RFC 7517 sections 4.2 and 4.3). They must allow a public key to verify, and a
// private key or a secret to sign or to verify.
func checkUsage(j jwk.Key, material any) error {
	const svid = "jwt-svid" // signatures of SPIFFE
	if use := j.KeyUsage(); use != "" && use != string(jwk.ForSignature) && use != svid {
		return errNotForSignatures
	}
	_, private := material.(crypto.Signer)
	_, secret := material.([]byte)
	ops := j.KeyOps()
	if len(ops) > 0 && !slices.Contains(ops, jwk.KeyOpVerify) &&
		!(slices.Contains(ops, jwk.KeyOpSign) && (private || secret)) {
		return errNotForSignatures
	}
	return nil
}

// parseSet reads a set of the host's own keys, private or public. It leaves out keys for encryption, and keys of types
// that no algorithm of this package uses, as RFC 7517 section 5 asks. It refuses the whole set if a key is weak, if two
// keys have the same id, or if the set holds both secrets and other keys.
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
			if alg := typoIn(member); alg != "" { // a key that is missing by a typo would go unnoticed
				return nil, fmt.Errorf("key %d: the algorithm %q is not known", i, alg)
			}
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
	_, err = NewSet(nil, list...) // checks that no two keys have the same id
	return list, err
}

// parsePublished reads the set of another issuer. It leaves out every key that it cannot use (RFC 7517 section 5).
// skipped holds the reasons, except for keys that are not for signatures. It refuses a document with a secret in it,
// because everybody who can read the document knows the secret.
func parsePublished(text []byte) (list []*Key, skipped []error, err error) {
	members, ok := publishedMembers(text)
	if !ok {
		return nil, nil, errors.New("it is not a JSON object with one array of keys")
	}
	for i, member := range members {
		k, err := parseMember(member)
		switch {
		case isSecret(member), err == nil && k.public == nil:
			return nil, nil, fmt.Errorf("key %d is secret: in a public set it is known to everybody", i)
		case errors.Is(err, errNotForSignatures):
		case err != nil:
			skipped = append(skipped, fmt.Errorf("key %d: %w", i, err))
		case !slices.ContainsFunc(list, k.Equal):
			list = append(list, k)
		}
	}
	return list, skipped, nil
}

// publishedMembers returns the keys of another issuer's set. A fault inside of one key does not matter here. ok is false if
// there is not exactly one array with the name "keys".
func publishedMembers(text []byte) (members []json.RawMessage, ok bool) {
	if !json.Valid(text) {
		return nil, false
	}
	d := json.NewDecoder(bytes.NewReader(text))
	if start, err := d.Token(); err != nil || start != json.Delim('{') {
		return nil, false
	}
	for d.More() {
		name, _ := d.Token() // the text is valid
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, false
		}
		if name == "keys" {
			if ok || json.Unmarshal(value, &members) != nil || members == nil {
				return nil, false
			}
			ok = true
		}
	}
	return members, ok
}

// isSecret reports whether a JWK holds a part of a private or symmetric key (RFC 7518 section 6).
func isSecret(jwk json.RawMessage) bool {
	var parts map[string]json.RawMessage
	if json.Unmarshal(jwk, &parts) != nil {
		return false // it is no key
	}
	for name, value := range parts {
		if isPrivatePart(name) && !isEmpty(string(value)) {
			return true
		}
	}
	return false
}

func isPrivatePart(name string) bool {
	return slices.Contains([]string{"d", "k", "p", "q", "dp", "dq", "qi", "oth", "priv"}, strings.ToLower(name))
}

// isEmpty reports whether a member says that there is nothing. Some programs write what is absent so.
func isEmpty(value string) bool { return value == "null" || value == `""` || value == "[]" }

func (k *Key) setIssuer(issuer string) {
	k.issuer = issuer
	for _, variant := range k.variants {
		variant.issuer = issuer
	}
}

// membersOf returns the keys of a set. It checks the JSON of the set strictly.
func membersOf(text []byte) (members []json.RawMessage, err error) {
	s := strictjson.Scan(string(text))
	for s.Next() {
		if s.Name() == "keys" && json.Unmarshal([]byte(s.Raw()), &members) != nil {
			s.Mistyped("an array of keys")
		}
	}
	return members, s.Err()
}

// parseMember reads one key of a set. It returns errNotForSignatures for keys that are not for signatures, or that this
// package does not use.
func parseMember(member json.RawMessage) (*Key, error) {
	var head map[string]json.RawMessage
	if json.Unmarshal(member, &head) != nil {
		return nil, errNoStrings
	}
	kty, ktyErr := textOf(head, "kty")
	crv, crvErr := textOf(head, "crv")
	alg, algErr := textOf(head, "alg")
	if errors.Join(ktyErr, crvErr, algErr) != nil {
		return nil, errNoStrings
	}
	if !usable(kty, crv, alg) {
		return nil, errNotForSignatures
	}
	return parseJWK(member)
}

var errNoStrings = errors.New("it is not a JSON object of strings")

// textOf returns the text of a member. It is "" if there is none. The name must be exactly the same: to a struct, "Alg" would
// be "alg" (RFC 7517 section 4).
func textOf(object map[string]json.RawMessage, name string) (text string, err error) {
	if value, ok := object[name]; ok {
		err = json.Unmarshal(value, &text)
	}
	return text, err
}

// typoIn returns the name of an algorithm that is not known, of a key that could be for signatures otherwise.
func typoIn(member json.RawMessage) (alg string) {
	var head map[string]json.RawMessage
	_ = json.Unmarshal(member, &head) // parseMember has read it
	text := func(name string) string { value, _ := textOf(head, name); return value }
	var operations []string
	_ = json.Unmarshal(head["key_ops"], &operations)
	signs := func(operation string) bool { return operation == "sign" || operation == "verify" }
	forOthers := text("use") == "enc" || len(operations) > 0 && !slices.ContainsFunc(operations, signs)
	if alg = text("alg"); isMistyped(alg) && !forOthers && usable(text("kty"), text("crv"), "") {
		return alg
	}
	return ""
}

// isMistyped reports whether there is no algorithm with that name in JWA, for signatures or for encryption.
func isMistyped(alg string) bool {
	known := []string{"", "dir", "RSA1_5", "ES256K", "Ed448"}
	isFamily := func(prefix string) bool { return strings.HasPrefix(alg, prefix) }
	return !algorithmOf(alg).Supported() && !slices.Contains(known, alg) &&
		!slices.ContainsFunc([]string{"RSA-OAEP", "ECDH-ES", "A128", "A192", "A256", "PBES2-"}, isFamily)
}

// usable reports whether this package uses keys of that type, curve and algorithm.
func usable(kty, crv, alg string) bool {
	if alg != "" && !algorithmOf(alg).Supported() {
		return false
	}
	return kty == "RSA" || kty == "oct" || kty == "EC" && crv != "secp256k1" || kty == "OKP" && crv == "Ed25519"
}

// algorithmOf returns the algorithm with that name. RFC 9864 calls EdDSA with an Ed25519 key "Ed25519".
func algorithmOf(name string) Algorithm {
	if name == "Ed25519" {
		return EdDSA
	}
	return Algorithm(name)
}
