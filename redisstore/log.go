package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/signet-go/signet/session"
)

// An entry of the log is a time in milliseconds, a colon, and the id of a session, or "@" and something else. The time is
// that until which the entry is kept. Programs that know no cut-offs take what begins with "@" for the id of a session too. That
// does no harm, because no session has such an id. The kinds are:
//
//	KEEP:SESSION                                the session was revoked
//	KEEP:@user KEEP ENDED CHANGED USER SPARED   the cut-off of a user; the ids of the user and of the session, quoted
//	FAR:@all KEEP ENDED CHANGED                 the cut-off of everybody in the group
//	0:@was HASH                                 here was a cut-off that has changed since
const far = 7258118400000 // the year 2200

func revokedEntry(row session.Session) string { return fmt.Sprintf("%d:%s", row.KeepUntil, row.ID) }

func userEntry(userID string, c session.Cutoff) string {
	return fmt.Sprintf("%d:@user %[1]d %d %d %q %q", c.KeepUntil, c.Ended, c.Changed, userID, c.Spared)
}

func allEntry(c session.Cutoff) string {
	return fmt.Sprintf("%d:@all %d %d %d", int64(far), c.KeepUntil, c.Ended, c.Changed)
}

// parseEntry reads an entry of the log. The Kind is 0 if there is nothing to know.
func parseEntry(text string, group int) (e session.Entry, err error) {
	keepUntil, rest, err := keptUntil(text)
	if err != nil {
		return e, err
	}
	if !strings.HasPrefix(rest, "@") {
		return session.RevokedEntry(rest, keepUntil), nil
	}
	switch kind, values, _ := strings.Cut(rest, " "); kind {
	case "@user":
		e.Kind = session.UserCut
		_, err = fmt.Sscanf(values, "%d %d %d %q %q", &e.KeepUntil, &e.Ended, &e.Changed, &e.ID, &e.Spared)
	case "@all":
		e.Kind, e.Group = session.AllCut, group
		_, err = fmt.Sscan(values, &e.KeepUntil, &e.Ended, &e.Changed)
	case "@was":
	default: // of a newer version of this package
		err = errors.New("its kind is not known")
	}
	if err != nil {
		err = fmt.Errorf("entry %q: %w", text, err)
	}
	return e, err
}

func keptUntil(entry string) (keepUntil session.Millis, rest string, err error) {
	digits, rest, _ := strings.Cut(entry, ":")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		err = fmt.Errorf("entry %q: %w", entry, err)
	}
	return session.Millis(n), rest, err
}

// A place is where a cursor stands in the log of one group: the score of an entry, the hash of that entry, and how many
// entries have scores in the second up to it. In an empty log the score is "".
type place struct{ score, hash, near string }

// A cursor is the places in all groups.
func parseCursor(cursor session.Cursor) (places [session.Groups]place, err error) {
	switch cursor {
	case session.Start:
		return places, nil
	case session.End:
		for group := range places {
			places[group].score = string(session.End)
		}
		return places, nil
	}
	texts := strings.Split(string(cursor), ",")
	if len(texts) != len(places) {
		return places, session.ErrCursor
	}
	for group, text := range texts {
		p := &places[group]
		if text == "" {
			continue
		}
		parts := strings.Split(text, ".")
		if len(parts) != 3 {
			return places, session.ErrCursor
		}
		if _, err := strconv.ParseUint(parts[0], 10, 64); err != nil {
			return places, session.ErrCursor
		}
		p.score, p.hash, p.near = parts[0], parts[1], parts[2]
	}
	return places, nil
}

func (p place) String() string {
	if p.score == "" {
		return ""
	}
	return p.score + "." + p.hash + "." + p.near
}

// ReadLog implements [session.Log]. Each group has a log, and the cursor holds a place in each. So all of them are read in
// one round trip to each server. In a Cluster the time is the earliest of its masters'. If one of them does not answer, each is
// called for all that the others have, because the next call cannot go on behind that, and the error says so.
func (s *Store) ReadLog(ctx context.Context, after session.Cursor, limit int, each func(session.Entry)) (session.Page, error) {
	places, err := parseCursor(after)
	if err != nil {
		return session.Page{}, err
	}
	r := logRead{store: s, each: each, perGroup: min(max(limit/session.Groups, 1), batch), places: places}
	for group := range places {
		r.more = append(r.more, group)
	}
	away, err := r.next(ctx)
	if away != nil {
		findMasters(ctx, s.client) // every process of the service is here once a second
		for again := error(nil); again == nil && err == nil && len(r.more) > 0; {
			again, err = r.next(ctx)
		}
	}
	if err = cmp.Or(err, away); err != nil {
		return session.Page{}, fmt.Errorf("redisstore: log: %w", err)
	}
	texts := make([]string, len(r.places))
	for group, p := range r.places {
		texts[group] = p.String()
	}
	return session.Page{Next: session.Cursor(strings.Join(texts, ",")), More: len(r.more) > 0, Now: r.now}, nil
}

// logRead is one call of ReadLog.
type logRead struct {
	store    *Store
	each     func(session.Entry)
	perGroup int
	places   [session.Groups]place // up to which the logs were read
	more     []int                 // the groups whose logs go on behind that
	now      session.Millis        // the earliest time of a server
}

// next reads a part of each log that goes on. away is the error of a server that does not answer, and err says that the log has
// changed or that an entry cannot be read.
func (r *logRead) next(ctx context.Context) (away, err error) {
	var calls []call
	for _, group := range r.more {
		p := r.places[group]
		calls = append(calls, call{[]string{r.store.logKey(group)}, []any{p.score, p.hash, p.near, r.perGroup}})
	}
	asked, groups := time.Now(), r.more
	r.more = nil
	answers, away := r.store.run(ctx, logScript, calls)
	for i, answer := range answers {
		group := groups[i]
		values, failed := answer.Slice()
		if failed != nil {
			away = cmp.Or(away, failed)
			continue
		}
		now, _ := values[0].(int64)
		r.store.recent[group].Clock(session.Millis(now), asked)
		if r.now == 0 || session.Millis(now) < r.now {
			r.now = session.Millis(now)
		}
		if len(values) == 1 {
			return away, session.ErrCursor
		}
		r.places[group] = place{score: fmt.Sprint(values[1]), hash: fmt.Sprint(values[2]), near: fmt.Sprint(values[3])}
		if values[4] != int64(0) {
			r.more = append(r.more, group)
		}
		entries, _ := values[5].([]any)
		for _, entry := range entries {
			switch e, unreadable := parseEntry(fmt.Sprint(entry), group); {
			case unreadable != nil:
				err = cmp.Or(err, unreadable)
			case e.Kind != 0:
				r.each(e)
			}
		}
	}
	return away, err
}

// idleWindows is how many parts of a group's log DeleteExpired may look at in vain. The next call goes on behind them.
const idleWindows = 10

// DeleteExpired implements [session.Store]. Rows and cut-offs expire by themselves, so it returns 0. It removes entries from
// the log, oldest first and up to limit in each group, when they are past their KeepUntil.
func (s *Store) DeleteExpired(ctx context.Context, before session.Millis, limit int) (int, error) {
	for group := range session.Groups {
		if err := s.prune(ctx, group, before, limit); err != nil {
			return 0, fmt.Errorf("redisstore: delete expired: %w", err)
		}
	}
	return 0, nil
}

func (s *Store) prune(ctx context.Context, group int, before session.Millis, limit int) error {
	key := []string{s.logKey(group)}
	for idle := 0; limit > 0 && idle < idleWindows; {
		rank := s.rank[group].Load()
		answer, err := windowScript.Run(ctx, s.client, key, rank, min(limit, batch)).Slice()
		if err != nil {
			return err
		}
		now, _ := answer[0].(int64)
		entries, _ := answer[1].([]any)
		if len(entries) == 0 { // begin again at the next call
			s.rank[group].Store(0)
			return nil
		}
		var over []any
		for _, entry := range entries {
			keepUntil, _, err := keptUntil(fmt.Sprint(entry))
			if err == nil && keepUntil < min(before, session.Millis(now)) {
				over = append(over, entry)
			}
		}
		s.rank[group].Store(rank + int64(len(entries)-len(over)))
		if len(over) == 0 {
			idle++
			continue
		}
		limit -= len(over)
		if err := s.client.ZRem(ctx, key[0], over...).Err(); err != nil {
			return err
		}
	}
	return nil
}
