package redisstore

import (
	"context"
	"crypto/fips140"
	"slices"

	"github.com/redis/go-redis/v9"
)

// The scripts compare, swap and move bytes. They do not know the rules of rotation or of cut-offs.
//
// A script that fails half way, as when the account lacks the right to one of its commands, undoes nothing. So each script writes
// the row, or the cut-off, last: the caller gets an error, and can do all of it again.

const (
	// clockLua is the server's clock in milliseconds.
	clockLua = `local function clock()
	local t = redis.call('TIME')
	return t[1] * 1000 + math.floor(t[2] / 1000)
end
`
	nowLua = clockLua + `local now = clock()
`
	// hashLua shortens an entry of the log for cursors and for the places of entries that were replaced.
	hashLua = `local function hash(entry) return string.sub(redis.sha1hex(entry), 1, 16) end
`
	// appendLua appends an entry to the log. Its score is above all others, even if the clock was set back. An entry that is there
	// already, because a script has failed half way, stays in its place: it may be the cursor of a reader. The log never
	// expires: it has a time far away and not none, because older programs would replace none by their own.
	// A message that is refused, or lost, costs readers one pull.
	appendLua = `local function append(log, entry, channel)
	local last = redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2]
	redis.call('ZADD', log, 'NX', string.format('%.0f', math.max(clock(), (last or 0) + 1)), entry)
	redis.call('PEXPIREAT', log, 7258118400000)
	redis.pcall('PUBLISH', channel, '')
end
`
	// writeLua writes a row, and returns its score in the list, or 0. Values for it are in ARGV from index i on: new row, id, kept
	// until, expires at, one of the list values, entry for the log or "". ARGV[1] is the channel. Ids kept until ARGV[2] leave the
	// list.
	//
	// The score in the list is later than the row's KeepUntil: by a sixteenth of the time that is left, and by at most
	// listSlack. So most refreshes leave the list as it is. A score is never earlier than the KeepUntil of its row.
	writeLua = `local function enlist(list, id, keep)
	local score = tonumber(redis.call('ZSCORE', list, id) or nil)
	if score and score >= keep then return score end
	local now = clock()
	score = math.floor(keep + math.max(0, math.min((keep - now) / 16, 21600000)))
	redis.call('ZADD', list, string.format('%.0f', score), id)
	redis.call('ZREMRANGEBYSCORE', list, '-inf', string.format('(%.0f', math.min(now - 86400000, ARGV[2])))
	local ttl, expires = redis.call('PTTL', list), score + 86400000
	if ttl < 0 or now + ttl < expires then redis.call('PEXPIREAT', list, string.format('%.0f', expires)) end
	return score
end
local function write(row, list, log, i)
	local score = 0
	if ARGV[i + 4] == '1' then score = enlist(list, ARGV[i + 1], tonumber(ARGV[i + 2])) end
	if ARGV[i + 4] == '0' then
		if ARGV[i + 5] ~= '' then append(log, ARGV[i + 5], ARGV[1]) end
		redis.call('ZREM', list, ARGV[i + 1])
	end
	redis.call('SET', row, ARGV[i], 'PXAT', ARGV[i + 3])
	return score
end
local function is(text, mark) return text and string.sub(text, 1, #mark) == mark end
`
)

// The list values: whether the session is in the list of its user.
const (
	notListed  = 0
	listed     = 1
	listedLate = 2 // with a score that is late enough, so the list stays as it is
)

// listSlack is the most by which a score in a user's list is later than the KeepUntil of its row, in milliseconds.
const listSlack = 21600000

// momentScript returns the time, the two cut-offs, and of the user's list the latest score and some ids: those of the latest
// scores, and of every other session that can be kept for longer than one of them.
// KEYS: cut-off of the user, cut-off of everybody, list of the user if it matters. ARGV: how many ids, listSlack.
var momentScript = newScript(nowLua + `
local latest, ids = '0', {}
if KEYS[3] then latest = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2] or latest end
if ARGV[1] ~= '0' then
	local last = redis.call('ZREVRANGE', KEYS[3], ARGV[1] - 1, ARGV[1] - 1, 'WITHSCORES')[2]
	ids = redis.call('ZREVRANGEBYSCORE', KEYS[3], '+inf', last and string.format('%.0f', last - ARGV[2]) or '-inf')
end
return {now, redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]), latest, ids}`)

// The rows and the end of a list are read by scripts, because a client may send plain reads to a replica that lags.
var (
	rowsScript = newScript(nowLua + `return {now, redis.call('MGET', unpack(KEYS))}`)
	endScript  = newScript(`return redis.call('ZRANGE', KEYS[1], 0, ARGV[1] - 1)`)
)

// readScript returns the time, a row, the two cut-offs of its user, and the id of that user. Only the row names the user. So
// the script takes the id from the row's text, and reads one key that KEYS does not name: it has the hash slot of the
// others. It finds the id as it is if that has no escape in JSON. The caller compares the id with what it reads from the
// row itself. If they differ, it calls the script again with the id. It reads that key beside another one: of a slot that is moved
// to another server, and of which only some keys are there, a single missing key would count as one that does not exist.
// KEYS: row, cut-off of everybody. ARGV: what stands before a user's id in the key of a cut-off, and the id if it is known.
var readScript = newScript(nowLua + `
local have = redis.call('MGET', KEYS[1], KEYS[2])
local row = have[1]
local user = ARGV[2] or row and string.match(row, '"user":"([^"\\]*)"') or ''
return {now, redis.call('MGET', ARGV[1] .. user, KEYS[1])[1], have[2], row, user}`)

// swapScript writes a row if its mark, and the texts of the two cut-offs, are still the ones that were read. If the old mark is
// empty, the row must not exist; then the script returns how many sessions the user has. Otherwise it returns the row's score in
// the list, or 0. It returns -1 if the row differs, -2 if a cut-off differs, and -3 if the user has not more sessions than the
// floor.
// KEYS: log, row, list of the user, cut-off of the user, cut-off of everybody. ARGV: channel, ids kept until this time leave
// the list, old mark, the six values for write, cut-off of the user, cut-off of everybody, floor or "".
var swapScript = newScript(clockLua + appendLua + writeLua + `
local have, score = redis.call('MGET', KEYS[2], KEYS[4], KEYS[5]), 0
if have[1] ~= ARGV[4] then -- else it is the client's own write, repeated because its answer was lost
	if ARGV[3] == '' and have[1] or ARGV[3] ~= '' and not is(have[1], ARGV[3]) then return -1 end
	if (have[2] or '') ~= ARGV[10] or (have[3] or '') ~= ARGV[11] then return -2 end
	if ARGV[12] ~= '' and redis.call('ZCARD', KEYS[3]) <= tonumber(ARGV[12]) then return -3 end
	score = write(KEYS[2], KEYS[3], KEYS[1], 4)
end
return ARGV[3] == '' and redis.call('ZCARD', KEYS[3]) or score`)

// refreshScript is swapScript for a row that exists and whose score in the list is late enough. That is nearly every refresh, so
// it does without what the others need. It returns 0, -1 or -2.
// KEYS: cut-off of the user, cut-off of everybody, row. ARGV: the two cut-offs, old mark, new row, expires at.
var refreshScript = newScript(`
local have = redis.call('MGET', KEYS[1], KEYS[2], KEYS[3])
if have[3] == ARGV[4] then return 0 end -- the client's own write, repeated because its answer was lost
if not have[3] or string.sub(have[3], 1, #ARGV[3]) ~= ARGV[3] then return -1 end
if (have[1] or '') ~= ARGV[1] or (have[2] or '') ~= ARGV[2] then return -2 end
redis.call('SET', KEYS[3], ARGV[4], 'PXAT', ARGV[5])
return 0`)

// batchScript writes each row whose mark is still the one that was read. It returns one number for each row: 1 if the row was
// written, and 0 if not.
// KEYS: log, and of each row its key and that of the list of its user. ARGV: channel, ids kept until this time leave the
// list, and of each row the old mark and the six values for write.
var batchScript = newScript(clockLua + appendLua + writeLua + `
local i, done = 3, {}
for k = 2, #KEYS, 2 do
	local have = redis.call('GET', KEYS[k])
	local same = is(have, ARGV[i])
	if same then write(KEYS[k], KEYS[k + 1], KEYS[1], i + 1) end
	done[#done + 1] = (same or have == ARGV[i + 1]) and 1 or 0 -- or it is the client's own write, repeated
	i = i + 7
end
return done`)

// cutScript writes a cut-off if its text is still the one that was read, and no session of the user is kept for longer than
// the latest one then. Its new entry in the log replaces the old one. In the place of the old one stays its hash, because it
// may be the cursor of a reader.
// KEYS: cut-off, log. ARGV: old text, new text, old entry, new entry, channel. For the cut-off of a user, KEYS goes on with
// the list of the user, and ARGV with the latest score in it and with the time at which the cut-off expires.
var cutScript = newScript(nowLua + hashLua + appendLua + `
local have = redis.call('GET', KEYS[1]) or ''
if have == ARGV[2] then return 1 end -- the client's own write, repeated because its answer was lost
if have ~= ARGV[1] then return 0 end
if KEYS[3] then
	local latest = redis.call('ZREVRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
	if latest and tonumber(latest) > tonumber(ARGV[6]) then return 0 end
end
local score = redis.call('ZSCORE', KEYS[2], ARGV[3])
append(KEYS[2], ARGV[4], ARGV[5])
if score and ARGV[3] ~= ARGV[4] then
	redis.call('ZADD', KEYS[2], score, '0:@was ' .. hash(ARGV[3]))
	redis.call('ZREM', KEYS[2], ARGV[3])
end
if KEYS[3] then
	redis.call('SET', KEYS[1], ARGV[2], 'PXAT', string.format('%.0f', math.max(now + 86400000, ARGV[7])))
else
	redis.call('SET', KEYS[1], ARGV[2])
end
return 1`)

// logScript returns the time, the place of the last entry of a page (its score, its hash, and the number of entries in the
// second up to it), whether there are entries behind it, and the entries. If the log does not go on behind the place that
// was asked for, it returns only the time.
//
// The scores rise with each entry. Older programs, which know no cut-offs, give the time as the score, which can be as large as
// that of the last entry or a little smaller. The number of entries tells that one has come in before the place. Then the
// second before the place is read again.
// KEYS: log. ARGV: the place (score or "" or "end", hash, number), how many entries. Entries with one score stay together.
var logScript = newScript(nowLua + hashLua + `
local log, score, key = KEYS[1], ARGV[1], ARGV[2]
local function second(score) return string.format('%.0f', score - 1000) end
local entries, more = {}, 0
if score == 'end' then
	local last = redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')
	score, key = last[2] or '', last[1] and hash(last[1]) or ''
else
	local from = '-inf'
	if score ~= '' then
		local there = false
		for _, entry in ipairs(redis.call('ZRANGEBYSCORE', log, score, score)) do
			there = there or hash(entry) == key or entry == '0:@was ' .. key
		end
		if not there then return {now} end
		from = '(' .. score
		if redis.call('ZCOUNT', log, second(score), score) ~= tonumber(ARGV[3]) then from = second(score) end
	end
	local last = redis.call('ZRANGEBYSCORE', log, from, '+inf', 'WITHSCORES', 'LIMIT', ARGV[4] - 1, 1)[2]
	entries = redis.call('ZRANGEBYSCORE', log, from, last or '+inf')
	if #entries > 0 then
		score, key = last or redis.call('ZREVRANGE', log, 0, 0, 'WITHSCORES')[2], hash(entries[#entries])
		if last then more = redis.call('ZCOUNT', log, '(' .. score, '+inf') end
	end
end
return {now, score, key, score == '' and 0 or redis.call('ZCOUNT', log, second(score), score), more, entries}`)

// windowScript returns the time and a part of the log, without the entries that are never pruned: the newest thousand and
// those of the last second. They are the cursors of readers.
// KEYS: log. ARGV: rank of the first entry, how many.
var windowScript = newScript(nowLua + `
local last = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2]
if not last then return {now, {}} end
local stop = math.min(ARGV[1] + ARGV[2], redis.call('ZCARD', KEYS[1]) - 1000,
	redis.call('ZCOUNT', KEYS[1], '-inf', string.format('(%.0f', last - 1000)))
if stop <= tonumber(ARGV[1]) then return {now, {}} end
return {now, redis.call('ZRANGE', KEYS[1], ARGV[1], stop - 1)}`)

// throttleReadScript returns the time, and the value of a key if there is one.
var throttleReadScript = newScript(nowLua + `return {now, redis.call('GET', KEYS[1]) or nil}`)

// throttleSwapScript writes a value if the old one is still there. It returns 0 if it is not.
// KEYS: record. ARGV: old value or "", new value, expires at.
var throttleSwapScript = newScript(`
local have = redis.call('GET', KEYS[1]) or ''
if have == ARGV[2] then return 1 end -- the client's own write, repeated because its answer was lost
if have ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PXAT', ARGV[3])
return 1`)

// call is one call of a script.
type call struct {
	keys []string
	args []any
}

// newScript makes a script. Its name is the SHA-1 of its text. Where FIPS 140 forbids SHA-1, the server makes the name, and run
// sends the text each time.
func newScript(text string) *redis.Script {
	if fips140.Enforced() {
		return redis.NewScriptServerSHA(text)
	}
	return redis.NewScript(text)
}

// findMasters lets the client of a Cluster ask, in the background, which servers are the masters now. By itself it asks once a
// minute, or when a server has sent it to another one. A server that is dead sends it nowhere.
func findMasters(ctx context.Context, client redis.UniversalClient) {
	if cluster, ok := client.(interface{ ReloadState(context.Context) }); ok {
		cluster.ReloadState(ctx)
	}
}

// run calls a script several times in one round trip to each server. Each answer has its own error.
func (s *Store) run(ctx context.Context, script *redis.Script, calls []call) ([]*redis.Cmd, error) {
	cmds := make([]*redis.Cmd, len(calls))
	unknown := func(cmd *redis.Cmd) bool { return cmd == nil || redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") }
	pipelined := func(eval func(context.Context, redis.Scripter, []string, ...any) *redis.Cmd) error {
		_, err := s.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, call := range calls {
				if unknown(cmds[i]) {
					cmds[i] = eval(ctx, pipe, call.keys, call.args...)
				}
			}
			return nil
		})
		return err
	}
	var err error
	if !fips140.Enforced() {
		err = pipelined(script.EvalSha)
	}
	if slices.ContainsFunc(cmds, unknown) {
		err = pipelined(script.Eval)
	}
	return cmds, err
}
