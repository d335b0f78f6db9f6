// Package gate limits how many passwords are hashed at one time, and shares the turns between clients. It also makes every
// refusal take the same time, whether the account exists or not.
package gate

import (
	"context"
	"errors"
	"os"
	"runtime"
	"strconv"
	"time"

	"github.com/signet-go/signet/password"
)

// ErrBusy says that too many passwords are waiting to be hashed. The caller should try again later.
var ErrBusy = errors.New("too many passwords wait to be hashed")

// Gate limits how many passwords are hashed at one time. By design a hash takes tens of milliseconds of one core and
// megabytes of memory. Without a limit, a burst of logins would take both from the rest of the program.
//
// Each call names a key: the address of the client. Waiting calls queue by key, and the keys take turns, so that one client
// cannot keep the others out. A key of which a call runs gives its turn to a key without one. Calls with an empty key share one
// key. At most 16 calls of one key wait for each hash that may run, and 1,024 calls in all (with more than 16 parallel hashes:
// 64 for each). Beyond the first limit, a call gets [ErrBusy]. Beyond the second, the newest call of the longest line gets it
// if the line of the new call stays shorter, and otherwise the new call does. So does a call that has waited for 5 seconds. A
// call whose context ends gives up its place immediately.
//
// Passwords are in Unicode's normal form C. A hash of another form, from another program, matches too and is outdated.
//
// A Gate is safe for concurrent use.
type Gate struct {
	hasher password.Hasher
	queue  *queue
	kinds  kinds
}

// Stats says what a Gate is doing.
type Stats struct {
	Running int    // calls that are hashing now
	Waiting int    // calls that wait for their turn
	Busy    uint64 // calls that got [ErrBusy] so far
}

// processors is how many cores the program may use. Go's own number for GOMAXPROCS knows the quota of a container, so it is asked
// before main can change it. If the environment has set another number, that one is put back.
var processors = func() int {
	set := runtime.GOMAXPROCS(0)
	if n, err := strconv.ParseInt(os.Getenv("GOMAXPROCS"), 10, 32); err != nil || n <= 0 { // Go has ignored it, too
		return set
	}
	defer runtime.GOMAXPROCS(set)
	runtime.SetDefaultGOMAXPROCS()
	return runtime.GOMAXPROCS(0)
}()

// New returns a Gate that runs this many hashes at one time. 0 means as many as there are cores. New makes one hash to learn
// its kind and its cost, and returns the error of the hasher.
func New(hasher password.Hasher, parallel int) (*Gate, error) {
	if parallel <= 0 {
		parallel = min(processors, runtime.GOMAXPROCS(0))
	}
	g := &Gate{hasher: hasher, queue: newQueue(parallel)}
	return g, g.kinds.start(hasher)
}

// Parallel is how many hashes run at one time.
func (g *Gate) Parallel() int { return g.queue.parallel }

// Stats returns what the Gate is doing now.
func (g *Gate) Stats() Stats {
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	return Stats{Running: g.queue.running, Waiting: g.queue.waiting, Busy: g.queue.rejected}
}

// Hash waits for its turn and then hashes the normal form of the password. It returns [ErrBusy] when too many calls are
// waiting, and the error of ctx when ctx ends before the turn. Otherwise it returns what the [password.Hasher] returns.
func (g *Gate) Hash(ctx context.Context, key, pass string) (hash string, err error) {
	if err := g.queue.enter(ctx, key); err != nil {
		return "", err
	}
	defer g.leave(key)
	return g.hasher.Hash(password.Normalize(pass))
}

// Verify waits for its turn and then verifies the password. It is for users who are known to the client already: the time
// of a refusal shows the kind of the hash. A password that is too long for the hasher does not match. Other errors are those
// of [Gate.Hash] and [password.ErrFormat].
func (g *Gate) Verify(ctx context.Context, key, hash, password string) (ok, outdated bool, err error) {
	if err := g.queue.enter(ctx, key); err != nil {
		return false, false, err
	}
	defer g.leave(key)
	ok, outdated, _, err = g.verify(hash, formsOf(password), false)
	return ok, outdated, err
}

// Check verifies the password of a login in one turn. hash is empty for a user who is unknown or has no password. refuse
// says that the user may not log in: the password is verified and then refused.
//
// Every refusal costs one hash of each kind that the Gate knows: the user's own hash, and decoys, which match nobody, of the
// other kinds. So its time does not depend on the user, and not on which process answers. The Gate learns a kind from the
// first user's hash of it. A kind that costs over 16 times the hasher's own kind, and over 200 ms, is never a decoy:
// otherwise one user's hash would make every refusal slow.
//
// An unreadable hash costs the same as an unknown user, and the error is [password.ErrFormat] (test with [errors.Is]). Other
// errors are those of [Gate.Verify].
func (g *Gate) Check(ctx context.Context, key, hash, pass string, refuse bool) (ok, outdated bool, err error) {
	if err := g.queue.enter(ctx, key); err != nil {
		return false, false, err
	}
	defer g.leave(key)
	if hash == "" { // an unknown user takes the same way as a known one
		hash, refuse = g.kinds.first(), true
	}
	forms := formsOf(pass)
	ok, outdated, cost, err := g.verify(hash, forms, refuse)
	if ok && !refuse {
		g.kinds.learn(hash, cost)
		return true, outdated, nil
	}
	own, unreadable := "", err
	switch {
	case err == nil:
		own = g.kinds.learn(hash, cost)
	case !errors.Is(err, password.ErrFormat):
		return false, false, err
	}
	for _, d := range g.kinds.decoys(own) {
		_, _, cost, err := g.verify(d.hash, forms, true)
		switch {
		case errors.Is(err, password.ErrFormat):
			g.kinds.unusable(d.kind)
		case err != nil:
			return false, false, err
		default:
			g.kinds.measured(d.kind, cost)
		}
	}
	return false, false, unreadable
}

// leave ends a turn. The memory of the hash is taken back first, so that the next one does not come on top of it.
func (g *Gate) leave(key string) {
	defer g.queue.leave(key)
	g.collect()
}

// verify tries the forms of a password. It stops at the first one that matches, unless all is set. cost is the time of the
// fastest try, or 0 if the hasher refused each form as too long.
func (g *Gate) verify(hash string, forms []string, all bool) (ok, outdated bool, cost time.Duration, err error) {
	for i, form := range forms {
		start := time.Now()
		match, old, err := g.hasher.Verify(hash, form)
		switch took := max(1, time.Since(start)); { // some clocks stand still for a while
		case errors.Is(err, password.ErrTooLong):
			continue
		case err != nil:
			return false, false, 0, err
		case cost == 0 || took < cost:
			cost = took
		}
		if match && !ok {
			ok, outdated = true, old || i > 0
		}
		if ok && !all {
			break
		}
	}
	return ok, outdated, cost, nil
}

// formsOf returns the forms of a password that may match: first its normal form C, then the bytes as they are, if they
// differ. Another program may have hashed those.
func formsOf(pass string) []string {
	if normal := password.Normalize(pass); normal != pass {
		return []string{normal, pass}
	}
	return []string{pass}
}
