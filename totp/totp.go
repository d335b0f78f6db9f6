// Package totp is a second factor: the codes of authenticator apps (RFC 6238), and recovery codes for the day on which the
// phone is lost. A [Factor] keeps what it must remember in the host's user store, encrypted.
//
// # Enrolment
//
// [Factor.Begin] makes a secret. The host shows its URI as a QR code, and its text for those who type it. [Factor.Confirm]
// takes the first code of the app and returns the recovery codes. Only then is the user enrolled. Begin again replaces a
// secret that was not confirmed; one that was confirmed must be removed first. Ask for the password or a code of the user
// before you call [Factor.Begin], [Factor.Remove] or [Factor.NewRecoveryCodes]: a stolen session must not be able to change
// the factor.
//
// # What a code is worth
//
// A code works once, over any number of processes that share the user store, and so does a recovery code. Codes are not
// counted here: the service that asks for them must limit the tries.
//
// # Keys
//
// The key encrypts the secrets. Without it they are lost, and with it and the database anybody can make codes, so keep it where
// the database is not. To change it, first let every process read the new key: New(store, old, WithOldKeys(new)). Then let
// every process write it: New(store, new, WithOldKeys(old)). State that was written with the old key is written with the new
// one when the user logs in with a code the next time. [Factor.Reseal] does it at once: when it has returned nil for every
// user, the old key is not needed any more. One key is good for 2^32 logins and enrolments. The encryption does not stop
// somebody who can write to the database from putting back an older state of the same user.
package totp

import (
	"bytes"
	"context"
	"crypto/fips140"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/signet-go/signet/userstore"
)

// Errors of this package, possibly wrapped; test with errors.Is.
var (
	// ErrEnrolled says that the user has a confirmed enrolment already. Remove it first.
	ErrEnrolled = errors.New("totp: the user is enrolled already")
	// ErrNotEnrolled says that there is nothing to confirm, or no confirmed enrolment.
	ErrNotEnrolled = errors.New("totp: the user is not enrolled")
	// ErrWrongCode says that Confirm got a wrong code.
	ErrWrongCode = errors.New("totp: wrong code")
)

// factorName is the name of this factor in the user store.
const factorName = "totp"

// attempts is how often a change is tried again when another process has changed the state first. Each conflict is the
// success of somebody else, and a user has one app and ten recovery codes, so this is never reached by honest use.
const attempts = 32

// Factor checks the codes of authenticator apps, and recovery codes. It implements signet.SecondFactor. It is safe for
// concurrent use, and any number of processes may share a user store. Its printed form shows no key.
type Factor struct {
	store userstore.FactorStore
	vault vault
	settings
}

// settings are what options set.
type settings struct {
	issuer    string
	algorithm string // sha1Name or sha256Name
	digits    int
	oldKeys   [][]byte
	clock     func() time.Time
	mistakes  []error
}

// Option is an option of [New].
type Option interface{ apply(*settings) }

type option func(*settings)

func (o option) apply(s *settings) { o(s) }

// WithIssuer sets the name of the service that apps show beside the account. It must be 1 to 64 bytes of text without a
// colon or control characters. By default apps show the account alone.
func WithIssuer(issuer string) Option {
	return option(func(s *settings) {
		if issuer == "" || len(issuer) > 64 || !plain(issuer) || strings.Contains(issuer, ":") {
			s.mistake("WithIssuer: the name must be 1 to 64 bytes of text without a colon or control characters")
		}
		s.issuer = issuer
	})
}

// WithSHA256 makes new enrolments use SHA-256 and secrets of 32 bytes. The default is SHA-1 and 20 bytes, since many apps
// ignore the algorithm and always use SHA-1. In codes SHA-1 is not broken: nobody gains from a collision (RFC 4226, appendix
// B). Users who are enrolled already stay with the algorithm that they have.
func WithSHA256() Option { return option(func(s *settings) { s.algorithm = sha256Name }) }

// WithEightDigits makes new enrolments use codes of 8 digits. The default is 6, since many apps know no others. Users who
// are enrolled already stay with the codes that they have.
func WithEightDigits() Option { return option(func(s *settings) { s.digits = 8 }) }

// WithOldKeys adds keys, of 32 bytes each, that state is read with, but not written: older ones, and the next one. See the comment
// of the package.
func WithOldKeys(keys ...[]byte) Option {
	return option(func(s *settings) { s.oldKeys = append(s.oldKeys, keys...) })
}

// WithClock sets the clock. It is for tests. It must be safe for concurrent use. The default is [time.Now].
func WithClock(now func() time.Time) Option {
	return option(func(s *settings) {
		if now == nil {
			s.mistake("WithClock: the clock is nil; leave the option out for time.Now")
		}
		s.clock = now
	})
}

func (s *settings) mistake(text string) { s.mistakes = append(s.mistakes, errors.New("totp: "+text)) }

// New returns a factor that keeps its state in the store, encrypted with the key: AES-256-GCM, with the id of the user as
// additional data. The key must be 32 random bytes. New returns all mistakes in one error.
func New(store userstore.FactorStore, key []byte, options ...Option) (*Factor, error) {
	s := settings{algorithm: sha1Name, digits: 6, clock: time.Now}
	for _, option := range options {
		if option == nil {
			s.mistake("an option is nil")
			continue
		}
		option.apply(&s)
	}
	if value := reflect.ValueOf(store); store == nil || value.Kind() == reflect.Pointer && value.IsNil() {
		s.mistake("the store is nil: use userstore.Memory, sqlstore.Users, or your own userstore.FactorStore")
	}
	if fips140.Enforced() && s.algorithm == sha1Name {
		s.mistake("GODEBUG=fips140=only forbids SHA-1: use WithSHA256")
	}
	vault, err := newVault(append([][]byte{key}, s.oldKeys...))
	if err := errors.Join(append(s.mistakes, err)...); err != nil {
		return nil, err
	}
	s.oldKeys = nil
	return &Factor{store: store, vault: vault, settings: s}, nil
}

// Enrolled reports whether the user has confirmed an enrolment. An error means that the store did not answer, or that the
// state cannot be decrypted.
func (f *Factor) Enrolled(ctx context.Context, userID string) (bool, error) {
	_, r, err := f.load(ctx, userID)
	return err == nil && r.Confirmed, err
}

// Verify uses up a code of the user's app, or a recovery code, and returns its kind as RFC 8176 names it. The result
// (nil, nil) means that the code is wrong, was used, or is older than one that was used; or that the user is not enrolled.
// An error means that Verify could not tell: the store did not answer, or the state cannot be decrypted.
//
// White space, hyphens and case in the code do not matter. A code of the app is good for the time step of 30 seconds in
// which it is shown, and for one step before and after it (RFC 6238, sections 5.2 and 6).
func (f *Factor) Verify(ctx context.Context, userID, code string) (amr []string, err error) {
	err = f.change(ctx, userID, func(r *record) error {
		if !r.Confirmed {
			return ErrNotEnrolled
		}
		return r.use(code, f.clock())
	})
	switch {
	case err == nil:
		return []string{"otp"}, nil
	case errors.Is(err, ErrWrongCode), errors.Is(err, ErrNotEnrolled), errors.Is(err, userstore.ErrNotFound):
		return nil, nil
	}
	return nil, err
}

// Reseal writes the state of a user with the key of [New]. It is for a change of keys, and does nothing for a user who has no
// state. An error means that the store did not answer, or that the state cannot be decrypted.
func (f *Factor) Reseal(ctx context.Context, userID string) error {
	value, _, err := f.load(ctx, userID)
	if err != nil || value == nil {
		return err
	}
	err = f.change(ctx, userID, func(r *record) error {
		if r.Version == 0 { // it was removed meanwhile
			return ErrNotEnrolled
		}
		return nil
	})
	if errors.Is(err, ErrNotEnrolled) {
		return nil
	}
	return err
}

// Format implements [fmt.Formatter], so that printing shows no key.
func (f Factor) Format(state fmt.State, _ rune) { fmt.Fprint(state, "totp.Factor") }

// LogValue implements [slog.LogValuer] without a key.
func (f *Factor) LogValue() slog.Value { return slog.StringValue("totp.Factor") }

// load returns the user's state, and the value that it was read from. Both are empty if there is none.
func (f *Factor) load(ctx context.Context, userID string) (value []byte, r record, err error) {
	value, err = f.store.Factor(ctx, userID, factorName)
	switch {
	case errors.Is(err, userstore.ErrNotFound):
		return nil, record{}, nil
	case err != nil:
		return nil, record{}, fmt.Errorf("totp: read the state: %w", err)
	}
	r, err = f.vault.open(userID, value)
	return value, r, err
}

// change stores what edit makes of the user's state. If edit returns an error, change stores nothing and returns that
// error. If another process was first, change begins again with the new state.
func (f *Factor) change(ctx context.Context, userID string, edit func(r *record) error) error {
	var sealed []byte
	for range attempts {
		value, r, err := f.load(ctx, userID)
		if err != nil {
			return err
		}
		if sealed != nil && bytes.Equal(value, sealed) { // the answer was lost, and the driver of the store has sent the write again
			return nil
		}
		if err := edit(&r); err != nil {
			return err
		}
		sealed, err = f.vault.seal(userID, r)
		if err != nil {
			return err
		}
		err = f.store.ReplaceFactor(ctx, userID, factorName, value, sealed)
		if err == nil {
			return nil
		}
		if !errors.Is(err, userstore.ErrConflict) {
			return fmt.Errorf("totp: write the state: %w", err)
		}
	}
	return fmt.Errorf("totp: write the state: %w", userstore.ErrConflict)
}

// plain reports whether a text is UTF-8 without control characters.
func plain(text string) bool {
	return utf8.ValidString(text) && !strings.ContainsFunc(text, unicode.IsControl)
}
