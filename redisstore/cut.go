package redisstore

import (
	"context"
	"fmt"

	"github.com/signet-go/signet/session"
)

// Cut implements [session.Store]. For everybody it changes the cut-off of each group. If it returns an error then, some
// groups can have the new one, and it is safe to call Cut again.
func (s *Store) Cut(ctx context.Context, userID string,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) error {
	var err error
	for attempt, cuts := 0, s.cuts(userID); len(cuts) > 0; attempt++ {
		if attempt > 0 { // another process changed a cut-off first
			if err := pause(ctx, attempt); err != nil {
				return fmt.Errorf("redisstore: cut: %w", err)
			}
		}
		if cuts, err = s.cut(ctx, cuts, change); err != nil {
			return err
		}
	}
	return nil
}

// cut is the cut-off of a user, or that of everybody in a group.
type cut struct {
	key, log string
	list     []string                    // the key of the user's list; none for everybody
	entry    func(session.Cutoff) string // returns the entry for the log
}

// cuts returns the cut-offs that a user id stands for.
func (s *Store) cuts(userID string) (cuts []cut) {
	if userID != "" {
		return []cut{{
			key: s.userKey("c:", userID), log: s.logKey(session.GroupOfUser(userID)),
			list:  []string{s.userKey("u:", userID)},
			entry: func(c session.Cutoff) string { return userEntry(userID, c) },
		}}
	}
	for group := range session.Groups {
		cuts = append(cuts, cut{key: s.allKey(group), log: s.logKey(group), entry: allEntry})
	}
	return cuts
}

// cut changes cut-offs. It returns those that another process has changed first.
func (s *Store) cut(ctx context.Context, cuts []cut,
	change func(before session.Cutoff, latest, now session.Millis) (session.Cutoff, error)) (again []cut, err error) {
	var reads, writes []call
	for _, c := range cuts {
		// The script returns two cut-offs, those of a user and of everybody. Here both are this one, and the first is used.
		reads = append(reads, call{append([]string{c.key, c.key}, c.list...), []any{0, listSlack}})
	}
	answers, err := s.run(ctx, momentScript, reads)
	if err != nil {
		return nil, fmt.Errorf("redisstore: cut: %w", err)
	}
	before := make([]known, len(cuts))
	var now session.Millis // one time for all groups: the latest of their servers'
	for i, answer := range answers {
		if before[i], err = momentOf(answer); err != nil {
			return nil, fmt.Errorf("redisstore: cut: %w", err)
		}
		now = max(now, before[i].at.Now)
	}
	var changed []cut
	for i, c := range cuts {
		k := before[i]
		after, err := change(k.at.User, session.Millis(k.latest), now)
		if err != nil {
			return nil, err
		}
		if after == k.at.User {
			continue
		}
		text, err := after.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("redisstore: cut: %w", err)
		}
		args := []any{k.user, marked(text), c.entry(k.at.User), c.entry(after), s.channel, k.latest, expiry(after.KeepUntil)}
		changed, writes = append(changed, c), append(writes, call{append([]string{c.key, c.log}, c.list...), args})
	}
	answers, err = s.run(ctx, cutScript, writes)
	if err != nil {
		return nil, fmt.Errorf("redisstore: cut: %w", err)
	}
	for i, c := range changed {
		if done, err := answers[i].Int(); err != nil {
			return nil, fmt.Errorf("redisstore: cut: %w", err)
		} else if done == 0 {
			again = append(again, c)
		}
	}
	return again, nil
}
