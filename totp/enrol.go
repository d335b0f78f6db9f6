package totp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"

	"github.com/signet-go/signet/userstore"
)

// Enrolment is what a user needs to set up an app. Whoever has it can make the user's codes, so show it to the user alone, over
// TLS, and never store it. Its printed, logged and JSON forms show nothing: take the fields. Only the verb %p of package fmt,
// which is a mistake, shows them.
type Enrolment struct {
	// Secret is the shared secret, in base32 without padding, for users who type it into their app.
	Secret string `json:"-"`
	// URI begins with otpauth://totp/ and holds the secret, the issuer and the account. Apps read it from a QR code.
	URI string `json:"-"`
}

// Format implements [fmt.Formatter] without the secret.
func (e Enrolment) Format(state fmt.State, _ rune) { fmt.Fprint(state, "totp.Enrolment") }

// LogValue implements [slog.LogValuer] without the secret.
func (e Enrolment) LogValue() slog.Value { return slog.StringValue("totp.Enrolment") }

// Begin makes a new secret for the user and stores it. The user is not enrolled before [Factor.Confirm]. Begin replaces a
// secret that was not confirmed, and returns [ErrEnrolled] if one was. The account is the name that the app shows, for example
// the e-mail address: 1 to 1,024 bytes of text without control characters. Begin returns userstore.ErrNotFound if there is no
// such user. Another error means a bad account, that the store did not answer, or that the state cannot be decrypted.
func (f *Factor) Begin(ctx context.Context, userID, account string) (Enrolment, error) {
	if account == "" || len(account) > 1024 || !plain(account) {
		return Enrolment{}, errors.New("totp: the account must be 1 to 1,024 bytes of text without control characters")
	}
	fresh := record{Version: version, Algorithm: f.algorithm, Digits: f.digits}
	fresh.Secret = make([]byte, 20)
	if f.algorithm == sha256Name {
		fresh.Secret = make([]byte, 32) // as long as the hash (RFC 6238, section 5.1)
	}
	rand.Read(fresh.Secret)
	err := f.change(ctx, userID, func(r *record) error {
		if r.Confirmed {
			return ErrEnrolled
		}
		*r = fresh
		return nil
	})
	if err != nil {
		return Enrolment{}, err
	}
	return Enrolment{Secret: fresh.text(), URI: f.uri(fresh, account)}, nil
}

// uri returns the key URI. Apps do not know that a plus sign means a space.
func (f *Factor) uri(r record, account string) string {
	escape := func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "+", "%20") }
	label, issuer := escape(account), ""
	if f.issuer != "" {
		label, issuer = escape(f.issuer)+":"+label, "&issuer="+escape(f.issuer)
	}
	return fmt.Sprintf("otpauth://totp/%s?secret=%s%s&algorithm=%s&digits=%d&period=%d", label, r.text(), issuer,
		r.Algorithm, r.Digits, period)
}

// Confirm ends an enrolment with a code of the user's app, and returns ten recovery codes. Show them to the user at once:
// only their hashes are stored. The code is used up. Confirm returns [ErrWrongCode] for a wrong code, [ErrEnrolled] if the
// enrolment was confirmed before, and [ErrNotEnrolled] if there is none. Another error means that the store did not answer,
// or that the state cannot be decrypted.
func (f *Factor) Confirm(ctx context.Context, userID, code string) (recoveryCodes []string, err error) {
	codes, hashes := newRecoveryCodes()
	err = f.change(ctx, userID, func(r *record) error {
		switch {
		case r.Confirmed:
			return ErrEnrolled
		case r.Version == 0:
			return ErrNotEnrolled
		}
		r.Confirmed = true
		if err := r.use(code, f.clock()); err != nil {
			return err
		}
		r.Codes = hashes
		return nil
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// NewRecoveryCodes replaces the recovery codes of the user by ten new ones. The old ones do not work any more. Show the new
// ones to the user at once: only their hashes are stored. It returns [ErrNotEnrolled] if the user is not enrolled. Another
// error means that the store did not answer, or that the state cannot be decrypted.
func (f *Factor) NewRecoveryCodes(ctx context.Context, userID string) ([]string, error) {
	codes, hashes := newRecoveryCodes()
	err := f.change(ctx, userID, func(r *record) error {
		if !r.Confirmed {
			return ErrNotEnrolled
		}
		r.Codes = hashes
		return nil
	})
	if err != nil {
		return nil, err
	}
	return codes, nil
}

// RecoveryCodesLeft returns how many recovery codes of the user were not used. It is 0 for a user who is not enrolled. An error
// means that the store did not answer, or that the state cannot be decrypted.
func (f *Factor) RecoveryCodesLeft(ctx context.Context, userID string) (int, error) {
	_, r, err := f.load(ctx, userID)
	return len(r.Codes), err
}

// Remove ends the enrolment of the user, confirmed or not. It also removes state that cannot be decrypted, so a host can let
// users enrol again after the key was lost. Removing a factor that does not exist is not an error. An error means that the
// store did not answer.
func (f *Factor) Remove(ctx context.Context, userID string) error {
	for range attempts {
		value, err := f.store.Factor(ctx, userID, factorName)
		if err == nil {
			err = f.store.ReplaceFactor(ctx, userID, factorName, value, nil)
		}
		switch {
		case err == nil, errors.Is(err, userstore.ErrNotFound):
			return nil
		case !errors.Is(err, userstore.ErrConflict):
			return fmt.Errorf("totp: remove the state: %w", err)
		}
	}
	return fmt.Errorf("totp: remove the state: %w", userstore.ErrConflict)
}
