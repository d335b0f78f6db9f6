package password

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// Policy says which new passwords are good enough. The zero value asks for 8 to 1,024 bytes. There are no rules of
// composition, such as "one digit": they make passwords worse. Set Blocked instead. NIST SP 800-63B-4, section 3.1.1.2, says
// the same. It also asks for at least 15 characters if there is no second factor, and for a list of bad passwords.
//
// Use a Policy through one pointer: it counts the running calls of Blocked, so do not copy it after the first Check. It is safe
// for concurrent use.
type Policy struct {
	// MinLength is the least length in bytes of the normal form (see [Normalize]). 0 or less means 8.
	MinLength int

	// Blocked, if it is not nil, says whether the password is one that attackers try: of a list of breached passwords,
	// or the name of the service. It gets the normal form, and is called only with a password that is fine otherwise.
	// If it returns true, its error does not count. It should end when ctx does, must be safe for concurrent use, and
	// must not put the password into its error. A panic counts as an error.
	Blocked func(ctx context.Context, password string) (bool, error)

	// Timeout is how long Check waits for Blocked. 0 or less means 2 s.
	Timeout time.Duration

	// InsecureFailOpen accepts a password when Blocked fails or does not answer in time. Without it Check returns
	// [ErrNotChecked].
	InsecureFailOpen bool

	// calls is how many calls of Blocked run now, by package atomic. A Policy is copied before its first use, so it holds no
	// atomic.Int32.
	calls int32
}

// maxCalls limits how many calls of one Policy's Blocked run at one time. A call that ignores its context goes on after
// Check has returned.
const maxCalls = 64

// Check returns nil if the password is good enough. Otherwise it returns one of these (test with [errors.Is]):
// [ErrTooLong], [ErrInvalid], [ErrTooShort], [ErrBlocked], or [ErrNotChecked] if the answer of Blocked is not known: it
// failed, it did not answer in time, or 64 calls of it are running already. The end of ctx ends the wait; Check then
// returns [ErrNotChecked] even with InsecureFailOpen, so that a client cannot skip the check by going away. The errors
// never contain the password.
func (p *Policy) Check(ctx context.Context, password string) error {
	if len(password) > MaxLength {
		return ErrTooLong
	}
	if !utf8.ValidString(password) || strings.Contains(password, "\x00") {
		return ErrInvalid
	}
	password = Normalize(password)
	least := orDefault(p.MinLength, 8)
	switch {
	case len(password) > MaxLength:
		return ErrTooLong
	case len(password) < least:
		return fmt.Errorf("%w: less than %d bytes", ErrTooShort, least)
	case p.Blocked == nil:
		return nil
	}
	blocked, err := p.ask(ctx, password)
	switch {
	case blocked:
		return ErrBlocked
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %w", ErrNotChecked, ctx.Err())
	case p.InsecureFailOpen:
		return nil
	}
	return fmt.Errorf("%w: %w", ErrNotChecked, err)
}

func orDefault[T int | time.Duration](value, standard T) T {
	if value <= 0 {
		return standard
	}
	return value
}

type answer struct {
	blocked bool
	err     error
}

var (
	errBusy   = errors.New("too many calls of the hook are running")
	errExited = errors.New("the hook ended its goroutine")
)

// ask calls Blocked in a goroutine of its own, because a call that ignores its context must not hold the caller.
func (p *Policy) ask(ctx context.Context, password string) (bool, error) {
	if atomic.AddInt32(&p.calls, 1) > maxCalls {
		atomic.AddInt32(&p.calls, -1)
		return false, errBusy
	}
	ctx, cancel := context.WithTimeout(ctx, orDefault(p.Timeout, 2*time.Second))
	defer cancel()
	done := make(chan answer, 1)
	go p.call(ctx, password, done)
	select {
	case got := <-done:
		return got.blocked, got.err
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// call always sends one answer. It frees its place before that.
func (p *Policy) call(ctx context.Context, password string, done chan<- answer) {
	got := answer{err: errExited}
	defer func() {
		if value := recover(); value != nil {
			got = answer{err: panicError(value)}
		}
		atomic.AddInt32(&p.calls, -1)
		done <- got
	}()
	blocked, err := p.Blocked(ctx, password)
	got = answer{blocked, err}
}

// panicError names only the type of a value, because the value may contain the password. The runtime's own errors do
// not.
func panicError(value any) error {
	if err, ok := value.(runtime.Error); ok {
		return fmt.Errorf("the hook panicked: %w", err)
	}
	return fmt.Errorf("the hook panicked with a %T", value)
}
