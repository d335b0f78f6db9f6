// Package redisstore keeps sessions in Redis or Valkey (6.2 and later): one server, Sentinel, or a Cluster. [Store] does
// that. [Throttle] keeps the failures of logins, so that all processes of a service count them together.
//
// # What a failure can lose
//
// Redis answers before a write is on disk or on a replica. A server with appendonly yes and appendfsync always keeps every
// write if it is killed and restarted. With appendfsync everysec it can lose the last second. A server without appendonly, as
// Redis is by default, is empty or old after a restart, and its replicas copy that. A failover to a replica loses the writes
// that had not reached that replica. The settings min-replicas-to-write and min-replicas-max-lag limit how far a replica can
// be behind.
//
// With the WAIT command a host can make sure that a login or a revocation has reached a replica. WAIT counts only the
// writes of its own connection. So send a write of your own and WAIT in one pipeline, after the method of the Store has
// returned; a replica has that write after all earlier ones. A type that embeds *Store can do that in Create, Update and
// Cut, and return an error if no replica answers in time. Then the client is answered 503. In a Cluster, send them to the
// master of the user's group: the key of the write needs the hash tag {GROUP}, as the keys of [Store] have it.
//
// If another server becomes the primary, the connections to the old one must end. As a replica it goes on to answer reads. If
// it is cut off from the new primary too, a process that only checks tokens hears of no revocation, and does not notice. With
// Sentinel and Cluster the client follows by itself: a Cluster is asked for its masters after each read of the log that failed,
// which is once a second. Otherwise set ConnMaxLifetime in its options to a few seconds.
//
// The server must run with maxmemory-policy noeviction. If it evicts a session, its user is signed out; if it evicts the log or a
// cut-off, revoked tokens pass. Leave it room: a full server takes no revocation either, and the answer is 503.
//
// While a server is away, go-redis writes lines of its own about each connection; redis.SetLogger takes them.
//
// If the write of a refresh is lost, that costs nothing: the next refresh carries the session forward (two tabs that refresh
// at that moment can lose the session: docs/rotation.md, "Known limits"). If the write of a login is lost, the login must be
// repeated, and a logout reaches only the process that answers it. If the write of a revocation or a cut-off is lost, what it
// had ended lives again. A process that had already read the lost part of the log notices the loss ([session.ErrCursor]), and
// reads the log from its beginning. It goes on to refuse what it knows to be revoked, and writes a lost cut-off again when the
// user logs in or refreshes. Where no revocation may be lost, keep sessions in SQL.
//
// An account of its own needs the rights "~signet:* &signet:* +@read +@write +@scripting +@pubsub +@connection -@dangerous +time",
// with the prefix of the keys ([WithPrefix]), and "+cluster|slots" in a Cluster. A call that lacks a right fails, and is safe to
// repeat; without +@pubsub revocations are not pushed, and reach the others within a second.
//
// Keys expire by the server's clock, a day later than they could. So a clock that is wrong by less than a day loses nothing.
//
// A Cluster is as available as its least available shard: each process reads the logs of all groups. The data of a group is in
// one slot. While a slot is moved to another node, logins, refreshes and revocations of its users are answered 503: move the 16
// slots one after the other, in a quiet hour.
//
// # Upgrades
//
// Processes that know cut-offs and older ones that do not can share a server. They see each other's sessions and revocations.
// An older process does not see cut-offs: it still accepts and refreshes the tokens that a cut-off has ended. A session that it
// makes counts as older than every cut-off. So make the first cut-off when the last older process is gone.
package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signet-go/signet/session"
)

// Store is a [session.Store] in Redis. Every user belongs to one of 16 groups ([session.GroupOfUser]), and the id of a
// session names the group of its user. The keys of a group share a hash slot. So a session's row, the list of its user, the
// cut-offs and the log change in one atomic step, even in a Cluster:
//
//	PREFIX:{GROUP}:s:SESSION  the row: a random mark, a space, and the session as JSON
//	PREFIX:{GROUP}:u:USER     the user's sessions that are not revoked, by a time up to which they are kept
//	PREFIX:{GROUP}:c:USER     the user's cut-off: a random mark, a space, and the cut-off as JSON
//	PREFIX:{GROUP}:all        the cut-off of everybody in the group; it never expires
//	PREFIX:{GROUP}:revoked    the log: the entries of revoked sessions and of cut-offs, in their order; it never expires
//	PREFIX:revoked            the channel for [Store.Notify]
//
// A refresh costs two round trips: one reads, and one writes. If this process wrote the session last, it remembers the row
// ([session.Recent]), and the refresh costs the second one only. A Store is safe for concurrent use by any number of
// processes.
type Store struct {
	client     redis.UniversalClient
	prefix     string
	maxPerUser int
	channel    string                    // for Notify
	groups     [session.Groups]groupKeys // each begins with the prefix

	recent [session.Groups]session.Recent[written] // for each group, because in a Cluster each has the clock of its server

	rank [session.Groups]atomic.Int64 // of the first entry in the log that DeleteExpired looks at next
}

// groupKeys are the keys of a group, and what its other keys and those of cut-offs of users begin with.
type groupKeys struct{ prefix, all, log, cut string }

// Option is an option of [New].
type Option interface{ apply(*Store) }

type option func(*Store)

func (o option) apply(s *Store) { o(s) }

// ThrottleOption is an option of [New] and of [NewThrottle].
type ThrottleOption interface {
	Option
	applyThrottle(*Throttle)
}

type prefixOption string

func (o prefixOption) apply(s *Store)            { s.prefix = string(o) }
func (o prefixOption) applyThrottle(t *Throttle) { t.prefix = string(o) }

// WithPrefix sets the beginning of all keys, so that several services can use one server. The default is "signet". Another
// prefix is another store: see signet.WithSessionStore.
func WithPrefix(prefix string) ThrottleOption { return prefixOption(prefix) }

// WithMaxPerUser sets how many live sessions a user may have. A login beyond that revokes the session that has been
// unused for the longest time. The default is [session.MaxPerUser].
func WithMaxPerUser(n int) Option { return option(func(s *Store) { s.maxPerUser = n }) }

// isNil reports whether a client is nil, or a nil pointer.
func isNil(client redis.UniversalClient) bool {
	v := reflect.ValueOf(client)
	return !v.IsValid() || v.Kind() == reflect.Pointer && v.IsNil()
}

// New returns a [Store] on the client. The host closes the client. New sends nothing. Its error names a mistake in the
// arguments. Set ContextTimeoutEnabled in the client's options.
// Without it go-redis does not end its wait for a stalled server with the deadline of a context. It waits as long as its own
// timeouts allow. A context that is cancelled before its deadline does not end such a wait.
func New(client redis.UniversalClient, opts ...Option) (*Store, error) {
	s := &Store{client: client, prefix: "signet", maxPerUser: session.MaxPerUser}
	for _, opt := range opts {
		if opt == nil {
			return nil, errors.New("redisstore.New: an option is nil")
		}
		opt.apply(s)
	}
	if err := check(client, s.prefix); err != nil {
		return nil, err
	}
	if s.maxPerUser < 1 {
		return nil, fmt.Errorf("redisstore.WithMaxPerUser: %d; a user needs at least one session", s.maxPerUser)
	}
	s.channel = s.prefix + ":revoked"
	for n := range s.groups {
		group := s.prefix + ":{" + strconv.Itoa(n) + "}:"
		s.recent[n].Rows = recentRows / session.Groups
		s.groups[n] = groupKeys{prefix: group, all: group + "all", log: group + "revoked", cut: group + "c:"}
	}
	return s, nil
}

// check finds what is wrong with the arguments of New and NewThrottle.
func check(client redis.UniversalClient, prefix string) error {
	switch {
	case isNil(client):
		return errors.New("redisstore: the client is nil")
	case prefix == "":
		return errors.New(`redisstore.WithPrefix: the prefix is empty; leave the option out for "signet"`)
	case strings.ContainsAny(prefix, "{}"):
		return fmt.Errorf("redisstore.WithPrefix: the prefix %q holds a brace, which would choose the hash slot", prefix)
	}
	return nil
}

// recentRows is how many rows a Store remembers.
const recentRows = 1 << 15

// written is what a Store remembers of a row that it wrote.
type written struct {
	row, user, all string         // the texts of the row and of the two cut-offs
	score          session.Millis // a score that the row has in the user's list at least; 0: not known
}

// batch is how many rows or entries one command reads at most, so that no command keeps the server busy.
const batch = 1000

func (s *Store) logKey(n int) string            { return s.groups[n].log }
func (s *Store) allKey(n int) string            { return s.groups[n].all }
func (s *Store) rowKey(n int, id string) string { return s.groups[n].prefix + "s:" + id }

// userKey returns the key of a user's list ("u:") or cut-off ("c:").
func (s *Store) userKey(kind, userID string) string {
	return s.groups[session.GroupOfUser(userID)].prefix + kind + userID
}

// known is what a read has found. The texts are compared again when something is written.
type known struct {
	at session.Moment
	written
	latest float64  // the latest score in the user's list
	ids    []string // of the user's list
}

// moment reads the cut-offs of a user, and ids of the user's list: the n with the latest KeepUntil are among them.
func (s *Store) moment(ctx context.Context, userID string, n int) (k known, err error) {
	keys := []string{s.userKey("c:", userID), s.allKey(session.GroupOfUser(userID)), s.userKey("u:", userID)}
	return momentOf(momentScript.Run(ctx, s.client, keys, n, listSlack))
}

// momentOf reads the answer of momentScript.
func momentOf(cmd *redis.Cmd) (k known, err error) {
	answer, err := cmd.Slice()
	if err == nil {
		err = k.read(answer)
	}
	if err != nil {
		return k, err
	}
	if k.latest, err = strconv.ParseFloat(fmt.Sprint(answer[3]), 64); err != nil {
		return k, err
	}
	ids, _ := answer[4].([]any)
	for _, id := range ids {
		k.ids = append(k.ids, fmt.Sprint(id))
	}
	return k, nil
}

// read takes the time and the cut-offs from the beginning of an answer.
func (k *known) read(answer []any) error {
	now, _ := answer[0].(int64)
	user, _ := answer[1].(string)
	all, _ := answer[2].(string)
	return k.set(session.Millis(now), written{user: user, all: all})
}

func (k *known) set(now session.Millis, w written) error {
	*k = known{at: session.Moment{Now: now}, written: w}
	if err := decode(k.user, &k.at.User); err != nil {
		return err
	}
	return decode(k.all, &k.at.All)
}

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, userID string, make func(session.Moment) (session.Session, error)) error {
	for attempt := 0; ; attempt++ {
		asked := time.Now()
		k, err := s.moment(ctx, userID, 0)
		if err != nil {
			return fmt.Errorf("redisstore: create: %w", err)
		}
		s.recent[session.GroupOfUser(userID)].Clock(k.at.Now, asked)
		row, err := make(k.at)
		if err != nil {
			return err
		}
		if row.UserID != userID {
			return fmt.Errorf("redisstore: create: the session is of %q, not of %q", row.UserID, userID)
		}
		n, err := s.swap(ctx, k, row, session.Session{}, noFloor)
		switch {
		case err != nil:
			return fmt.Errorf("redisstore: create: %w", err)
		case n == rowDiffers:
			return fmt.Errorf("redisstore: create: id %q exists already", row.ID)
		case n > s.maxPerUser:
			_ = s.evict(ctx, row, k.at) // the session is there, and the next login tries again
		}
		if n != cutDiffers {
			return nil
		}
		if err := pause(ctx, attempt); err != nil {
			return fmt.Errorf("redisstore: create: %w", err)
		}
	}
}

// Update implements [session.Store] by compare and swap.
func (s *Store) Update(ctx context.Context, id string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	var before, after session.Session
	var at session.Moment
	err := s.update(ctx, id, noFloor, func(row session.Session, now session.Moment) (changed session.Session, err error) {
		before, at = row, now
		after, err = change(row, now)
		return after, err
	})
	if err == nil && before.PendingUntil != 0 && after.PendingUntil == 0 { // a login is a session now
		_ = s.evict(ctx, after, at) // an error does not matter: the session is there, and the next login tries again
	}
	return err
}

// update is Update. It writes nothing if the user has not more sessions than floor.
func (s *Store) update(ctx context.Context, id, floor string,
	change func(session.Session, session.Moment) (session.Session, error)) error {
	group, ok := session.GroupOfID(id)
	if !ok {
		return session.ErrNotFound
	}
	recent := &s.recent[group]
	for attempt := 0; ; attempt++ {
		k, row, remembered, err := s.find(ctx, group, id, attempt)
		if err != nil {
			return err
		}
		after, err := change(row, k.at)
		if err != nil || after == row {
			if remembered { // the row may be outdated: only a write that was done counts
				continue
			}
			return err
		}
		n, err := s.swap(ctx, k, after, row, floor)
		done := err == nil && (n >= 0 || n == fewSessions)
		if remembered {
			recent.Tried(id, done)
		}
		switch {
		case err != nil:
			recent.Forget(id)
			return fmt.Errorf("redisstore: update: %w", err)
		case done:
			return nil
		case remembered:
			continue
		}
		if err := pause(ctx, attempt); err != nil { // another process changed the row or a cut-off first
			return fmt.Errorf("redisstore: update: %w", err)
		}
	}
}

// find returns a row that this process remembers, or reads it.
func (s *Store) find(ctx context.Context, group int, id string, attempt int) (k known, row session.Session, remembered bool,
	err error) {
	if attempt == 0 {
		if w, now, ok := s.recent[group].Find(id); ok {
			if err = k.set(now, w); err == nil {
				err = decode(k.row, &row)
			}
			return k, row, true, err
		}
	}
	asked := time.Now()
	if k, row, err = s.read(ctx, group, id); err == nil {
		s.recent[group].Clock(k.at.Now, asked)
	}
	return k, row, false, err
}

func (s *Store) read(ctx context.Context, group int, id string) (k known, row session.Session, err error) {
	keys := []string{s.rowKey(group, id), s.allKey(group)}
	args := []any{s.groups[group].cut}
	for {
		answer, err := readScript.Run(ctx, s.client, keys, args...).Slice()
		if err == nil {
			err = k.read(answer)
		}
		if err != nil {
			return k, row, fmt.Errorf("redisstore: read: %w", err)
		}
		var ok bool
		if k.row, ok = answer[3].(string); !ok {
			return k, row, session.ErrNotFound
		}
		if err := decode(k.row, &row); err != nil {
			return k, row, fmt.Errorf("redisstore: read: %w", err)
		}
		if answer[4] == row.UserID {
			return k, row, nil
		}
		args = []any{args[0], row.UserID}
	}
}

// decode reads the stored text of a row or a cut-off. An empty text is the zero value.
func decode(text string, into json.Unmarshaler) error {
	if text == "" {
		return nil
	}
	_, stored, _ := strings.Cut(text, " ")
	return into.UnmarshalJSON([]byte(stored))
}

// marked returns the text to store. The mark makes this write different from that of another process that read the same
// text and changed it in the same way.
func marked(stored []byte) string {
	return strconv.FormatUint(rand.Uint64(), 36) + " " + string(stored)
}

// expiry is a day later than keepUntil.
func expiry(keepUntil session.Millis) int64 { return int64(keepUntil.Add(24 * time.Hour)) }

// The answers of swap when it has written nothing.
const (
	rowDiffers  = -1
	cutDiffers  = -2
	fewSessions = -3
)

// noFloor is the floor that allows everything.
const noFloor = ""

// List implements [session.Store].
func (s *Store) List(ctx context.Context, userID string, limit int) ([]session.Session, session.Moment, error) {
	for {
		k, err := s.moment(ctx, userID, max(limit, 0))
		if err != nil {
			return nil, k.at, fmt.Errorf("redisstore: list: %w", err)
		}
		live, removed, err := s.rows(ctx, userID, k.ids, false)
		if err != nil {
			return nil, k.at, fmt.Errorf("redisstore: list: %w", err)
		}
		if removed == 0 || len(k.ids) < limit {
			slices.SortFunc(live, func(a, b session.Session) int { return cmp.Compare(b.KeepUntil, a.KeepUntil) })
			return live[:min(len(live), max(limit, 0))], k.at, nil
		}
	}
}

// rows returns the rows of a list without those that are revoked. It removes from the list of the user what is revoked or
// gone, and returns how many that were. Programs that know no cut-offs leave revoked sessions in the list. A row that this
// version cannot read is left out if skip is set, and otherwise it is an error.
func (s *Store) rows(ctx context.Context, userID string, ids []string, skip bool) (live []session.Session, removed int, err error) {
	group := session.GroupOfUser(userID)
	for part := range slices.Chunk(ids, batch) {
		keys := make([]string, len(part))
		for i, id := range part {
			keys[i] = s.rowKey(group, id)
		}
		_, texts, err := rowsOf(rowsScript.Run(ctx, s.client, keys))
		if err != nil {
			return nil, 0, err
		}
		var over []any
		for i, value := range texts {
			var row session.Session
			text, _ := value.(string)
			switch err := decode(text, &row); {
			case err != nil && skip:
			case err != nil:
				return nil, 0, err
			case text == "" || row.Revoked():
				over = append(over, part[i])
			default:
				live = append(live, row)
			}
		}
		if len(over) > 0 {
			removed += len(over)
			if err := s.client.ZRem(ctx, s.userKey("u:", userID), over...).Err(); err != nil {
				return nil, 0, err
			}
		}
	}
	return live, removed, nil
}

// rowsOf reads the answer of rowsScript: the time, and the texts of the rows that exist.
func rowsOf(cmd *redis.Cmd) (now session.Millis, texts []any, err error) {
	answer, err := cmd.Slice()
	if err != nil {
		return 0, nil, err
	}
	clock, _ := answer[0].(int64)
	texts, _ = answer[1].([]any)
	return session.Millis(clock), texts, nil
}

// evictAtOnce limits how many sessions a login revokes. There can be more only if the limit of a user became smaller.
const evictAtOnce = 100

// evict revokes sessions of a user who has too many. Of a long list it reads only the end, with those that are kept for the
// shortest time. Sessions that a cut-off has ended go first. Of several evictions at once, none goes below the limit.
func (s *Store) evict(ctx context.Context, created session.Session, at session.Moment) error {
	ids, err := endScript.Run(ctx, s.client, []string{s.userKey("u:", created.UserID)}, s.maxPerUser+evictAtOnce).StringSlice()
	if err != nil {
		return err
	}
	live, _, err := s.rows(ctx, created.UserID, ids, true)
	if err != nil {
		return err
	}
	ids = session.Excess(live, at, s.maxPerUser, created.ID)
	floor := strconv.Itoa(len(live) - len(ids))
	for _, id := range ids {
		err := s.update(ctx, id, floor, func(row session.Session, at session.Moment) (session.Session, error) {
			return row.Revoke(session.ReasonEvicted, at.Now), nil
		})
		if err != nil && !errors.Is(err, session.ErrNotFound) {
			return err
		}
	}
	return nil
}

// pause waits between two attempts of writers that collide. The wait is random: up to a millisecond for each attempt so far,
// and at most 20 ms.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(rand.N(time.Duration(1+min(attempt, 19)) * time.Millisecond))
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
