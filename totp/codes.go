package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
)

// The time step and the number of steps around it whose codes are good (RFC 6238, sections 5.2 and 6).
const (
	period = 30 // seconds
	skew   = 1
)

// The number of recovery codes, and their length. NIST SP 800-63B-4, section 3.1.2.2, asks for a slow hash below 112 bits.
const (
	recoveryCodes = 10
	recoveryBytes = 15 // 120 bits, which are 24 characters
	recoveryGroup = 4
)

// maxCode is the greatest length of a code with all that people put between its characters, in bytes.
const maxCode = 128

// crockford has no letters that people take for digits. So o is read as 0, and i and l as 1.
var (
	crockford  = base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding)
	lookAlikes = strings.NewReplacer("o", "0", "i", "1", "l", "1")
)

// compact takes out of a code what people put between its characters: white space, hyphens and invisible characters.
func compact(code string) string {
	if len(code) > maxCode {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || unicode.In(r, unicode.Pd, unicode.Cf) {
			return -1
		}
		return r
	}, code)
}

// use uses up a code of the app, or a recovery code. It returns ErrWrongCode for a text that is no code, and for a code that
// was used or has expired.
func (r *record) use(code string, now time.Time) error {
	code = compact(code)
	if len(code) == r.Digits && strings.Trim(code, "0123456789") == "" {
		return r.useStep(code, now)
	}
	return r.useRecovery(code)
}

// useStep accepts a code of a step around now, but only of a step after the last one that was used. If two steps have the
// same code, it takes the later one, so that the code does not work a second time.
func (r *record) useStep(code string, now time.Time) error {
	current := now.Unix() / period
	var used int64
	for step := max(current-skew, 0); step <= current+skew; step++ {
		want, err := r.code(step)
		if err != nil {
			return err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 && step > r.Last {
			used = step
		}
	}
	if used == 0 {
		return ErrWrongCode
	}
	r.Last = used
	return nil
}

// code returns the code of a time step (RFC 6238, section 4.2).
func (r *record) code(step int64) (string, error) {
	algorithm, err := r.algorithm()
	if err != nil {
		return "", err
	}
	code, err := hotp.GenerateCodeCustom(r.text(), uint64(step),
		hotp.ValidateOpts{Digits: otp.Digits(r.Digits), Algorithm: algorithm})
	if err != nil {
		return "", fmt.Errorf("totp: make a code: %w", err)
	}
	return code, nil
}

// useRecovery accepts a recovery code and forgets its hash.
func (r *record) useRecovery(code string) error {
	if len(code) != crockford.EncodedLen(recoveryBytes) { // the decoder ignores bits at the end
		return ErrWrongCode
	}
	raw, err := crockford.DecodeString(lookAlikes.Replace(strings.ToLower(code)))
	if err != nil {
		return ErrWrongCode
	}
	hash := sha256.Sum256(raw)
	at := -1
	for i, known := range r.Codes {
		if subtle.ConstantTimeCompare(known, hash[:]) == 1 {
			at = i
		}
	}
	if at < 0 {
		return ErrWrongCode
	}
	r.Codes = slices.Delete(slices.Clone(r.Codes), at, at+1)
	return nil
}

// newRecoveryCodes returns new codes, as they are shown, and their hashes.
func newRecoveryCodes() (codes []string, hashes [][]byte) {
	for range recoveryCodes {
		raw := make([]byte, recoveryBytes)
		rand.Read(raw)
		var groups []string
		for group := range slices.Chunk([]byte(crockford.EncodeToString(raw)), recoveryGroup) {
			groups = append(groups, string(group))
		}
		hash := sha256.Sum256(raw)
		codes, hashes = append(codes, strings.Join(groups, "-")), append(hashes, hash[:])
	}
	return codes, hashes
}
