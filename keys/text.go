package keys

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// cleanText undoes what files, shells and editors do to the text of a key. It cuts off a byte order mark, and white
// space and quotes around the text.
func cleanText(text []byte) []byte {
	text = bytes.TrimSpace(bytes.TrimPrefix(bytes.TrimSpace(text), []byte("\ufeff")))
	if n := len(text); n >= 2 && text[0] == text[n-1] && (text[0] == '"' || text[0] == '\'') {
		text = bytes.TrimSpace(text[1 : n-1])
	}
	return text
}

// pemBlock finds a PEM block even if its line ends were lost.
var pemBlock = regexp.MustCompile(`(?s)-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END ([A-Z0-9 ]+)-----`)

// pemBlocks returns the blocks in the text.
func pemBlocks(text []byte) ([]*pem.Block, error) {
	plain := strings.NewReplacer(`\r`, "\n", `\n`, "\n").Replace(string(text)) // base64 has no backslash
	var blocks []*pem.Block
	for _, match := range pemBlock.FindAllStringSubmatch(plain, -1) {
		kind, body := match[1], match[2]
		if strings.Contains(body, "Proc-Type:") || kind == "ENCRYPTED PRIVATE KEY" {
			return nil, errors.New("the key is encrypted; decrypt it first, for example with: openssl pkey -in FILE")
		}
		lines := strings.Join(strings.Fields(body), "\n")
		block, _ := pem.Decode([]byte("-----BEGIN " + kind + "-----\n" + lines + "\n-----END " + match[3] + "-----\n"))
		if block == nil {
			return nil, fmt.Errorf("the PEM block %q is damaged", kind)
		}
		if kind != "EC PARAMETERS" { // openssl writes the curve's name before the key
			blocks = append(blocks, block)
		}
	}
	if len(blocks) == 0 {
		return nil, errors.New("there is no key in the text")
	}
	return blocks, nil
}

// newPEM makes the key of a text: its only private key, or without one its only public key or its first certificate.
func newPEM(text []byte, s spec) (*Key, error) {
	text = cleanText(text)
	if bytes.HasPrefix(text, []byte("{")) {
		return nil, errors.New("the text is a JSON Web Key, not PEM: use keys.JWK or keys.ParseSet")
	}
	blocks, err := pemBlocks(text)
	if err != nil {
		return nil, err
	}
	var found []*Key
	certificates := 0
	for _, block := range blocks {
		if block.Type == "CERTIFICATE" {
			if certificates++; certificates > 1 {
				continue // the other certificates of a chain belong to the issuers
			}
		}
		material, err := parseBlock(block)
		if err != nil {
			return nil, err
		}
		k, err := newMaterial(material, s)
		if err != nil {
			return nil, err
		}
		same := func(other *Key) bool { return other.thumbprint == k.thumbprint && other.CanSign() == k.CanSign() }
		if !slices.ContainsFunc(found, same) {
			found = append(found, k)
		}
	}
	if private := slices.DeleteFunc(slices.Clone(found), func(k *Key) bool { return !k.CanSign() }); len(private) > 0 {
		found = private
	}
	if len(found) > 1 {
		return nil, fmt.Errorf("the text holds %d different keys; give each its own text", len(found))
	}
	return found[0], nil
}

// oidRSAPSS is the DER form of id-RSASSA-PSS (RFC 4055 section 3.1), a key type that package x509 does not read.
var oidRSAPSS = []byte{0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a}

func parseBlock(block *pem.Block) (material any, err error) {
	switch block.Type {
	case "PRIVATE KEY":
		material, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		material, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		material, err = x509.ParseECPrivateKey(block.Bytes)
	case "PUBLIC KEY":
		material, err = x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		material, err = x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		material, err = publicKeyOf(block.Bytes)
	case "OPENSSH PRIVATE KEY":
		err = errors.New("OpenSSH keys are not read; convert a copy with: ssh-keygen -p -m PKCS8 -f FILE")
		if bytes.Contains(block.Bytes, []byte("ssh-ed25519")) { // ssh-keygen converts no such key
			err = errors.New("OpenSSH keys are not read; make a new one with: openssl genpkey -algorithm ed25519")
		}
	default:
		err = fmt.Errorf("PEM blocks of type %q are not read", block.Type)
	}
	if err != nil && bytes.Contains(block.Bytes, oidRSAPSS) && block.Type != "CERTIFICATE" {
		return nil, errors.New("keys of type RSA-PSS are not read; " +
			"make a plain RSA key and use keys.WithAlgorithm(keys.PS256)")
	}
	return material, err
}

func publicKeyOf(certificate []byte) (crypto.PublicKey, error) {
	parsed, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	return parsed.PublicKey, nil
}

// placeholders are secrets from documentation and templates. Attackers try them first.
var placeholders = []string{"changeme", "change-me", "change_me", "your-256-bit-secret", "your-384-bit-secret",
	"your-512-bit-secret", "a-string-secret-at-least-256-bits-long",
	"super-secret-jwt-token-with-at-least-32-characters-long"}

// unfilled is a variable or a hint in a template. No random secret of a good length looks so.
var unfilled = regexp.MustCompile(`^(\$\{\{?[^{}]*\}?\}|\{\{[^{}]*\}\}|<[\w .,:;'"/-]*>)$`)

// checkSecret refuses secrets that can be guessed, and secrets that other programs could read differently.
func checkSecret(secret []byte, floor int) error {
	const remedy = "; use random bytes, such as those of: openssl rand -base64 48"
	lower := string(bytes.ToLower(secret))
	switch {
	case len(secret) == 0:
		return errors.New("the secret is empty" + remedy)
	case lower == "secret", lower == "password",
		slices.ContainsFunc(placeholders, func(p string) bool { return strings.Contains(lower, p) }):
		return errors.New("the secret is a well-known placeholder" + remedy)
	case unfilled.MatchString(lower):
		return errors.New("the secret is a variable or a hint, in whose place nothing was put" + remedy)
	case isText(secret) && !bytes.Equal(cleanText(secret), secret):
		return errors.New("the secret has white space, quotes or a byte order mark around it; cut them off")
	case isText(secret) && isKeyText(secret):
		return errors.New("the secret is the text of a key or a certificate; use keys.PEM, keys.JWK or keys.ParseSet")
	case len(secret) < floor:
		return fmt.Errorf("the secret has %d bytes, at least %d are needed%s", len(secret), floor, remedy)
	case isRepetition(secret):
		return errors.New("the secret repeats a few bytes" + remedy)
	}
	return nil
}

// isKeyText reports whether a text is a key. Everybody may know a public key, so a token with an HMAC of it proves nothing.
func isKeyText(text []byte) bool {
	for _, part := range []string{"-----BEGIN ", "ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"} {
		if bytes.HasPrefix(text, []byte(part)) {
			return true
		}
	}
	if bytes.HasPrefix(text, []byte("{")) && (bytes.Contains(text, []byte(`"kty"`)) || bytes.Contains(text, []byte(`"keys"`))) {
		return true
	}
	for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		if der, err := encoding.DecodeString(string(text)); err == nil && isKeyDER(der) {
			return true
		}
	}
	return false
}

func isKeyDER(der []byte) bool {
	_, notPublic := x509.ParsePKIXPublicKey(der)
	_, notPublicRSA := x509.ParsePKCS1PublicKey(der)
	_, notPrivate := x509.ParsePKCS8PrivateKey(der)
	_, notPrivateRSA := x509.ParsePKCS1PrivateKey(der)
	_, notPrivateEC := x509.ParseECPrivateKey(der)
	_, noCertificate := x509.ParseCertificate(der)
	return slices.Contains([]error{notPublic, notPublicRSA, notPrivate, notPrivateRSA, notPrivateEC, noCertificate}, nil) ||
		bytes.HasPrefix(der, []byte("\x00\x00\x00\x07ssh-")) || bytes.HasPrefix(der, []byte("\x00\x00\x00\x0bssh-")) ||
		bytes.HasPrefix(der, []byte("\x00\x00\x00\x13ecdsa-sha2-"))
}

// isText reports whether the secret is text that somebody may have typed or pasted.
func isText(secret []byte) bool {
	unprintable := func(r rune) bool { return !unicode.IsPrint(r) && !unicode.IsSpace(r) && r != '\ufeff' }
	return utf8.Valid(secret) && !bytes.ContainsFunc(secret, unprintable)
}

// isRepetition reports whether the secret repeats a unit of fewer than 16 bytes.
func isRepetition(secret []byte) bool {
	for unit := 1; unit < 16 && unit < len(secret); unit++ {
		if bytes.Equal(secret[unit:], secret[:len(secret)-unit]) {
			return true
		}
	}
	return false
}
