package totp

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/fips140"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/pquerna/otp"
)

// version is the version of the stored form.
const version = 1

var errForm = errors.New("totp: the state of the user has a form that this version does not know")

// record is the state of one user. The zero value says that there is none.
type record struct {
	Version   int      `json:"v"`
	Algorithm string   `json:"alg"`
	Digits    int      `json:"digits"`
	Secret    []byte   `json:"secret"`
	Confirmed bool     `json:"confirmed,omitempty"`
	Last      int64    `json:"last,omitempty"`  // the last time step whose code was used
	Codes     [][]byte `json:"codes,omitempty"` // SHA-256 of the recovery codes that are left
}

// The names of the algorithms, as key URIs have them.
const (
	sha1Name   = "SHA1"
	sha256Name = "SHA256"
)

func (r *record) algorithm() (otp.Algorithm, error) {
	switch {
	case r.Algorithm == sha256Name:
		return otp.AlgorithmSHA256, nil
	case fips140.Enforced(): // HMAC with SHA-1 would panic
		return 0, errors.New("totp: GODEBUG=fips140=only forbids SHA-1, with which this user is enrolled")
	}
	return otp.AlgorithmSHA1, nil
}

// text returns the secret as people and apps read it.
func (r *record) text() string {
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(r.Secret)
}

// check returns an error for a record that this version has not written. It may be of a later version.
func (r *record) check() error {
	wrongSize := func(hash []byte) bool { return len(hash) != sha256.Size }
	switch {
	case r.Version != version, r.Algorithm != sha1Name && r.Algorithm != sha256Name, r.Digits != 6 && r.Digits != 8,
		len(r.Secret) < 16, len(r.Secret) > 64, r.Last < 0,
		len(r.Codes) > recoveryCodes, slices.ContainsFunc(r.Codes, wrongSize):
		return errForm
	}
	return nil
}

// vault encrypts and decrypts records. It writes with its first key and reads with each.
type vault []cipher.AEAD

// sealVersion is the first byte of an encrypted record.
const sealVersion = 1

func newVault(keys [][]byte) (vault, error) {
	var v vault
	for i, key := range keys {
		switch {
		case len(key) == 44:
			return nil, fmt.Errorf("totp: key %d has 44 bytes; if it is base64, decode it (the key of New is key 0)", i)
		case len(key) != 32:
			return nil, fmt.Errorf("totp: key %d has %d bytes; use 32 random bytes (the key of New is key 0)", i, len(key))
		case bytes.Count(key, []byte{0}) == len(key):
			return nil, fmt.Errorf("totp: key %d has only zeros; use 32 random bytes (the key of New is key 0)", i)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("totp: key %d: %w", i, err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("totp: key %d: %w", i, err)
		}
		v = append(v, aead)
	}
	return v, nil
}

// additionalData binds a value to its factor and its user, so a value in another user's row is not read.
func additionalData(userID string) []byte {
	return []byte("signet factor\x00" + factorName + "\x00" + userID)
}

func (v vault) seal(userID string, r record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("totp: encode the state: %w", err)
	}
	return v[0].Seal([]byte{sealVersion}, nil, text, additionalData(userID)), nil
}

func (v vault) open(userID string, value []byte) (r record, err error) {
	if len(value) == 0 || value[0] != sealVersion {
		return record{}, errForm
	}
	for _, aead := range v {
		text, err := aead.Open(nil, nil, value[1:], additionalData(userID))
		if err != nil {
			continue
		}
		if json.Unmarshal(text, &r) != nil { // its error would show a part of the state
			return record{}, errForm
		}
		if err := r.check(); err != nil {
			return record{}, err
		}
		return r, nil
	}
	return record{}, errors.New("totp: the state cannot be decrypted: no key fits, or it was written for another user")
}
