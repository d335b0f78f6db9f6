package sessiontest

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
)

// overlap is what the checks allow a write to take until it is visible, as signet does.
const overlap = session.Millis(1000)

func (k kit) list() {
	require.Empty(k, k.list1("u1"), broken(listReturns, "an empty store"))
	live, other := k.create("live", "u1"), k.create("other", "u2")
	k.create("revoked", "u1")
	revoked := k.update("revoked", revoke(session.ReasonLogout))
	k.create("expired", "u1")
	expired := k.update("expired", revoke(session.ReasonExpired))
	require.ElementsMatch(k, []session.Session{live, revoked, expired}, k.list1("u1"), broken(listReturns, "u1 has three"))
	require.ElementsMatch(k, []session.Session{other}, k.list1("u2"), broken(listReturns, "u2 has one"))
}

func (k kit) revokedAll() {
	want := map[string]session.Millis{}
	k.create("live", "u1")
	for i, reason := range []session.Reason{session.ReasonLogout, session.ReasonRevoked, session.ReasonReuse, session.ReasonUser,
		session.ReasonEvicted, "a host's own"} {
		id := "revoked " + string(reason)
		k.create(id, "u1", func(row *session.Session, _ session.Millis) { row.KeepUntil += session.Millis(i) })
		want[id] = k.update(id, revoke(reason)).KeepUntil
	}
	k.create("expired", "u1")
	k.update("expired", revoke(session.ReasonExpired))
	k.create("expired, then revoked", "u1")
	k.update("expired, then revoked", revoke(session.ReasonExpired))
	want["expired, then revoked"] = k.update("expired, then revoked", revoke(session.ReasonLogout)).KeepUntil
	want["revoked when it was created"] = k.create("revoked when it was created", "u1", revoke(session.ReasonLogout)).KeepUntil
	k.create("changed after it was revoked", "u2")
	k.update("changed after it was revoked", revoke(session.ReasonLogout))
	want["changed after it was revoked"] = k.update("changed after it was revoked",
		func(row *session.Session, now session.Millis) { row.SentAt = now + 1 }).KeepUntil
	k.create("past its KeepUntil", "u1")
	err := k.store.Update(k.ctx, "past its KeepUntil", func(row session.Session, now session.Millis) (session.Session, error) {
		row.KeepUntil = now - 2*hour
		return session.Revoke(row, session.ReasonLogout, now), nil
	})
	require.NoError(k, err, broken(updateReplaces, "Update to a KeepUntil that is over"))

	found, _ := k.revokedSince(0)
	require.Equal(k, want, found, broken(revokedCalls, "RevokedSince(0), with their KeepUntil"))
	require.Equal(k, found, first(k.revokedSince(0)), broken(revokedCalls, "RevokedSince(0), asked again"))

	k.revokedMany()
}

func first(found map[string]session.Millis, _ session.Millis) map[string]session.Millis { return found }

// revokedMany needs more than one page, in a store that reads pages.
func (k kit) revokedMany() {
	const writers, each = 8, 40
	_, since := k.revokedSince(0)
	var want []string
	for i := range writers * each {
		want = append(want, fmt.Sprintf("many%d", i))
	}
	errs := parallel(writers, func(i int) error {
		for _, id := range want[i*each : (i+1)*each] {
			err := k.store.Create(k.ctx, func(now session.Millis) (session.Session, error) {
				return session.Revoke(login(id, "u3", now), session.ReasonLogout, now), nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	require.Empty(k, errs, broken(safeForConcurrentUse, "%d Creates", writers*each))
	found, _ := k.revokedSince(since - overlap)
	require.Subset(k, slices.Collect(maps.Keys(found)), want, broken(revokedCalls, "%d sessions at once", writers*each))
}

func (k kit) revokedLater() {
	for i := range 5 {
		id := fmt.Sprintf("s%d", i)
		k.create(id, "u1")
		found, since := k.revokedSince(0)
		require.NotContains(k, found, id, broken(revokedCalls, "it is not revoked"))
		row := k.update(id, revoke(session.ReasonLogout))
		found, now := k.revokedSince(since - overlap)
		require.Contains(k, found, id, broken(revokedMissesNone, "revoked after the first call"))
		require.Equal(k, row.KeepUntil, found[id], broken(revokedCalls, "the keepUntil of %q", id))
		require.GreaterOrEqual(k, now, since-1, broken(revokedTime, "the second call's time"))
	}
}

// What counts is when a revocation was written, not the time in its row: a change that took long, in this process or in one
// whose clock is wrong, must not be overlooked.
func (k kit) revokedSlowly() {
	k.create("long ago", "u1")
	_, since := k.revokedSince(0)
	row := k.update("long ago", func(row *session.Session, now session.Millis) {
		row.RevokedAt, row.Reason = now-hour, session.ReasonReuse
	})
	found, _ := k.revokedSince(since - overlap)
	require.Contains(k, found, "long ago", broken(revokedCalls, "a RevokedAt of an hour ago, written now"))
	k.requireRow(row, keptAsItIs, "a RevokedAt of an hour ago, written now")

	k.create("slow", "u1")
	err := k.store.Update(k.ctx, "slow", func(row session.Session, now session.Millis) (session.Session, error) {
		time.Sleep(5 * time.Millisecond)
		var err error
		since, err = k.store.RevokedSince(k.ctx, 0, func(string, session.Millis) {})
		return session.Revoke(row, session.ReasonReuse, now), err
	})
	require.NoError(k, err, broken(updateReplaces, "Update with a change that asks RevokedSince"))
	found, _ = k.revokedSince(since - 1)
	require.Contains(k, found, "slow", broken(revokedCalls,
		"since is from within the change, later than the time that it was given"))
}

// A process that asks again and again while others revoke sees every revocation.
func (k kit) revokedPolling() {
	const writers, each = 8, 10
	for i := range writers * each {
		k.create(fmt.Sprintf("s%d", i), fmt.Sprintf("u%d", i%7))
	}
	done := make(chan []error, 1)
	go func() {
		done <- parallel(writers, func(i int) error {
			for j := range each {
				err := k.store.Update(k.ctx, fmt.Sprintf("s%d", i*each+j),
					func(row session.Session, now session.Millis) (session.Session, error) {
						return session.Revoke(row, session.ReasonRevoked, now), nil
					})
				if err != nil {
					return err
				}
			}
			return nil
		})
	}()
	seen, since := k.revokedSince(0)
	for running := true; running; {
		select {
		case errs := <-done:
			require.Empty(k, errs, broken(safeForConcurrentUse, "%d revocations", writers*each))
			running = false
		default:
		}
		var found map[string]session.Millis
		found, since = k.revokedSince(since - overlap)
		maps.Copy(seen, found)
	}
	require.Len(k, seen, writers*each, broken(revokedMissesNone, "asked again and again while %d writers revoked", writers))
}
