// Package redisstore keeps sessions in Redis or Valkey (6.2 and later): one server, Sentinel, or a Cluster.
//
// # What a failure can lose
//
// Redis answers before a write is on disk or on a replica. A server with appendonly yes and appendfsync always keeps every
// write if it is killed and restarted. With appendfsync everysec it can lose the last second. A failover to a replica loses
// the writes that had not reached that replica. The settings min-replicas-to-write and min-replicas-max-lag limit how far a
// replica can be behind. With the WAIT command after a login, a host can learn whether the write has reached a replica.
//
// The server must run with maxmemory-policy noeviction. If the server evicts a list of revoked sessions, processes that
// start later accept revoked access tokens.
//
// If the write of a refresh is lost, that costs nothing: the next refresh carries the session forward. If the write of a
// login is lost, the login must be repeated. If the write of a revocation is lost, the session lives again. Where that must
// not happen, keep sessions in SQL.
package redisstore

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/signet-go/signet/session"
)

// Store is a [session.Store] in Redis. Every user belongs to one of 16 groups ([session.GroupOfUser]), and the id of a
// session names the group of its user. The keys of a group share a hash slot. So three things change in one atomic step,
// even in a Cluster: a session's row, its entry in the list of its user, and its entry in the list of revoked sessions.
//
//	PREFIX:{GROUP}:s:SESSION  the row: a random mark, a space, and the session as JSON; it expires by itself
//	PREFIX:{GROUP}:u:USER     the user's sessions, by the time until which they are kept
//	PREFIX:{GROUP}:revoked    revoked sessions, by the time of their revocation
//
// A refresh costs two round trips. The scripts in Lua only compare and swap: they do not contain the rules of rotation. A
// Store is safe for concurrent use by any number of processes.
type Store struct {
	client redis.UniversalClient
	prefix string
}

// Option is an option of [New].
type Option interface{ apply(*Store) }

type option func(*Store)

func (o option) apply(s *Store) { o(s) }

// WithPrefix sets the beginning of all keys, so that several services can use one server. The default is "signet".
func WithPrefix(prefix string) Option { return option(func(s *Store) { s.prefix = prefix }) }

// New returns a [Store] on the client. The host closes the client. Set ContextTimeoutEnabled in the client's options.
// Without it go-redis does not end its wait for a stalled server with the context of the request. It waits as long as its
// own timeouts allow.
func New(client redis.UniversalClient, opts ...Option) (*Store, error) {
	s := &Store{client: client, prefix: "signet"}
	for _, opt := range opts {
		if opt != nil {
			opt.apply(s)
		}
	}
	switch {
	case client == nil:
		return nil, errors.New("redisstore: the client is nil")
	case s.prefix == "":
		return nil, errors.New(`redisstore.WithPrefix: the prefix is empty; leave the option out for "signet"`)
	case strings.ContainsAny(s.prefix, "{}"):
		return nil, fmt.Errorf("redisstore.WithPrefix: the prefix %q holds a brace, which would choose the hash slot",
			s.prefix)
	}
	return s, nil
}

func (s *Store) groupKey(n int) string { return s.prefix + ":{" + strconv.Itoa(n) + "}:" }

func (s *Store) userKey(userID string) string {
	return s.groupKey(session.GroupOfUser(userID)) + "u:" + userID
}

// nowLua is the server's clock in milliseconds.
const nowLua = `local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
`

var clockScript = redis.NewScript(nowLua + `return now`)

// readScript returns a row and the time.
var readScript = redis.NewScript(nowLua + `return {redis.call('GET', KEYS[1]), now}`)

// swapScript writes a row if its text is still the one that was read. If the old text is empty, the row must not exist.
// KEYS: row, list of the user, list of revoked. ARGV: old row, new row, id, kept until, entry among the revoked or "".
var swapScript = redis.NewScript(nowLua + `
local function keep(key)
	local ttl = redis.call('PTTL', key)
	if ttl < 0 or now + ttl < tonumber(ARGV[4]) then redis.call('PEXPIREAT', key, ARGV[4]) end
end
local have = redis.call('GET', KEYS[1]) or ''
if have == ARGV[2] then return 1 end -- the client's own write, repeated because its answer was lost
if have ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('(%.0f', now))
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[3])
keep(KEYS[2])
if ARGV[5] ~= '' then
	redis.call('ZADD', KEYS[3], 'NX', now, ARGV[5])
	keep(KEYS[3])
end
return 1`)

// revokedScript returns the time and the entries since ARGV[1].
var revokedScript = redis.NewScript(nowLua + `return {now, redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf')}`)

// Create implements [session.Store].
func (s *Store) Create(ctx context.Context, make func(session.Millis) (session.Session, error)) error {
	// The session's own group is not known before its id. So Create asks the server of any group for the time.
	now, err := clockScript.Run(ctx, s.client, []string{s.groupKey(rand.IntN(session.Groups)) + "clock"}).Int64()
	if err != nil {
		return fmt.Errorf("redisstore: create: %w", err)
	}
	row, err := make(session.Millis(now))
	if err != nil {
		return err
	}
	done, err := s.swap(ctx, "", row, session.Session{})
	if err != nil {
		return fmt.Errorf("redisstore: create: %w", err)
	}
	if !done {
		return fmt.Errorf("redisstore: id %q exists already", row.ID)
	}
	return nil
}

// Update implements [session.Store] by compare and swap.
func (s *Store) Update(ctx context.Context, id string,
	change func(session.Session, session.Millis) (session.Session, error)) error {
	for attempt := 0; ; attempt++ {
		text, row, now, err := s.read(ctx, id)
		if err != nil {
			return err
		}
		after, err := change(row, now)
		if err != nil || after == row {
			return err
		}
		done, err := s.swap(ctx, text, after, row)
		if err != nil {
			return fmt.Errorf("redisstore: update: %w", err)
		}
		if done {
			return nil
		}
		if err := pause(ctx, attempt); err != nil { // another process changed the row first
			return fmt.Errorf("redisstore: update: %w", err)
		}
	}
}

func (s *Store) read(ctx context.Context, id string) (text string, row session.Session, now session.Millis, err error) {
	group, ok := session.GroupOfID(id)
	if !ok {
		return "", row, 0, session.ErrNotFound
	}
	answer, err := readScript.Run(ctx, s.client, []string{s.groupKey(group) + "s:" + id}).Slice()
	if err != nil {
		return "", row, 0, fmt.Errorf("redisstore: read: %w", err)
	}
	text, found := answer[0].(string)
	clock, _ := answer[1].(int64)
	if !found {
		return "", row, 0, session.ErrNotFound
	}
	if err := decode(text, &row); err != nil {
		return "", row, 0, fmt.Errorf("redisstore: read: %w", err)
	}
	return text, row, session.Millis(clock), nil
}

// decode reads the stored text of a row.
func decode(text string, row *session.Session) error {
	_, stored, _ := strings.Cut(text, " ")
	return row.UnmarshalJSON([]byte(stored))
}

// swap writes a row in place of the text that was read. If the row becomes revoked, it also enters the list of revoked
// sessions.
func (s *Store) swap(ctx context.Context, old string, row, before session.Session) (done bool, err error) {
	group, ok := session.GroupOfID(row.ID)
	if !ok || group != session.GroupOfUser(row.UserID) {
		return false, fmt.Errorf("session.NewID has not made the id %q for the user %q", row.ID, row.UserID)
	}
	stored, err := row.MarshalJSON()
	if err != nil {
		return false, err
	}
	// The mark makes this write different from that of another process that read the same row and changed it in the same
	// way.
	text := strconv.FormatUint(rand.Uint64(), 36) + " " + string(stored)
	revoked := ""
	if row.Revoked() && !before.Revoked() {
		revoked = strconv.FormatInt(int64(row.KeepUntil), 10) + ":" + row.ID
	}
	key := s.groupKey(group)
	n, err := swapScript.Run(ctx, s.client, []string{key + "s:" + row.ID, s.userKey(row.UserID), key + "revoked"},
		old, text, row.ID, int64(row.KeepUntil), revoked).Int()
	return n == 1, err
}

// ListByUser implements [session.Store].
func (s *Store) ListByUser(ctx context.Context, userID string) ([]session.Session, error) {
	ids, err := s.client.ZRange(ctx, s.userKey(userID), 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("redisstore: list: %w", err)
	}
	var found []session.Session
	for batch := range slices.Chunk(ids, 1000) {
		keys := make([]string, len(batch))
		for i, id := range batch {
			keys[i] = s.groupKey(session.GroupOfUser(userID)) + "s:" + id
		}
		texts, err := s.client.MGet(ctx, keys...).Result()
		if err != nil {
			return nil, fmt.Errorf("redisstore: list: %w", err)
		}
		for _, value := range texts {
			text, ok := value.(string)
			if !ok {
				continue // the row has expired since ZRANGE
			}
			var row session.Session
			if err := decode(text, &row); err != nil {
				return nil, fmt.Errorf("redisstore: list: %w", err)
			}
			found = append(found, row)
		}
	}
	return found, nil
}

// RevokedSince implements [session.Store]. In a Cluster it returns the earliest of its masters' times.
func (s *Store) RevokedSince(ctx context.Context, since session.Millis,
	each func(string, session.Millis)) (session.Millis, error) {
	var lists [session.Groups]*redis.Cmd
	_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for n := range lists {
			lists[n] = revokedScript.Eval(ctx, pipe, []string{s.groupKey(n) + "revoked"}, int64(since))
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("redisstore: revoked: %w", err)
	}
	var earliest session.Millis
	for _, list := range lists {
		answer, err := list.Slice()
		if err != nil {
			return 0, fmt.Errorf("redisstore: revoked: %w", err)
		}
		clock, _ := answer[0].(int64)
		now := session.Millis(clock)
		if earliest == 0 || now < earliest {
			earliest = now
		}
		entries, _ := answer[1].([]any)
		for _, entry := range entries {
			if keepUntil, id, ok := parseEntry(entry); ok && keepUntil > now {
				each(id, keepUntil)
			}
		}
	}
	return earliest, nil
}

func parseEntry(entry any) (keepUntil session.Millis, id string, ok bool) {
	text, _ := entry.(string)
	digits, id, ok := strings.Cut(text, ":")
	n, err := strconv.ParseInt(digits, 10, 64)
	return session.Millis(n), id, ok && err == nil
}

// DeleteExpired implements [session.Store]. Rows expire by themselves. DeleteExpired removes the oldest entries from the
// lists of revoked sessions, up to limit in each group, when no token of the session can be valid any more. It counts only
// rows, so it returns 0.
func (s *Store) DeleteExpired(ctx context.Context, limit int) (int, error) {
	now := session.MillisOf(time.Now().Add(-time.Hour)) // an hour earlier, because this machine's clock may be ahead
	for n := range session.Groups {
		key := s.groupKey(n) + "revoked"
		entries, err := s.client.ZRange(ctx, key, 0, int64(limit)-1).Result()
		if err != nil {
			return 0, fmt.Errorf("redisstore: delete expired: %w", err)
		}
		var over []any
		for _, entry := range entries {
			if keepUntil, _, ok := parseEntry(entry); !ok || keepUntil < now {
				over = append(over, entry)
			}
		}
		if len(over) == 0 {
			continue
		}
		if err := s.client.ZRem(ctx, key, over...).Err(); err != nil {
			return 0, fmt.Errorf("redisstore: delete expired: %w", err)
		}
	}
	return 0, nil
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
