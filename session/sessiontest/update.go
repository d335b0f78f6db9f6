package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/session"
)

// updateEveryField changes one field after the other. A store that does not compare a field does not write its change.
func (k kit) updateEveryField() {
	want := k.create("s1", "u1")
	for _, step := range []struct {
		field  string
		change func(row *session.Session, full session.Session)
	}{
		{"SecretHash", func(row *session.Session, full session.Session) { row.SecretHash = full.SecretHash }},
		{"UserAgent", func(row *session.Session, full session.Session) { row.UserAgent = full.UserAgent }},
		{"Address", func(row *session.Session, full session.Session) { row.Address = full.Address }},
		{"CreatedAt", func(row *session.Session, full session.Session) { row.CreatedAt = full.CreatedAt }},
		{"EndsAt", func(row *session.Session, full session.Session) { row.EndsAt = full.EndsAt }},
		{"LastUsedAt", func(row *session.Session, full session.Session) { row.LastUsedAt = full.LastUsedAt }},
		{"KeepUntil", func(row *session.Session, full session.Session) { row.KeepUntil = full.KeepUntil }},
		{"Current", func(row *session.Session, full session.Session) { row.Current = full.Current }},
		{"Parent", func(row *session.Session, full session.Session) { row.Parent = full.Parent }},
		{"Next", func(row *session.Session, full session.Session) { row.Next = full.Next }},
		{"SentAt", func(row *session.Session, full session.Session) { row.SentAt = full.SentAt + day }},
		{"ConfirmedAt", func(row *session.Session, full session.Session) { row.ConfirmedAt = full.ConfirmedAt + day }},
		{"ConfirmedAt, to zero", func(row *session.Session, _ session.Session) { row.ConfirmedAt = 0 }},
		{"Ancestors", func(row *session.Session, full session.Session) { row.Ancestors = full.Ancestors }},
		{"the last ancestor", func(row *session.Session, _ session.Session) { row.Ancestors[3].SupersededAt-- }},
		{"Ancestors, to zero", func(row *session.Session, _ session.Session) { row.Ancestors = session.Ancestors{} }},
		{"RevokedAt, for expiry", func(row *session.Session, full session.Session) {
			row.RevokedAt, row.Reason = full.RevokedAt, session.ReasonExpired
		}},
		{"Reason", func(row *session.Session, _ session.Session) { row.Reason = "a host's own: \u00e9" }},
	} {
		before, want1 := want, want
		var given session.Session
		err := k.store.Update(k.ctx, want.ID, func(row session.Session, now session.Millis) (session.Session, error) {
			given = row
			step.change(&row, full(want.ID, "u1", now))
			want1 = row
			return row, nil
		})
		conformance.NoError(k, err, updateReplaces, "Update of %s", step.field)
		requireEqual(k, before, given, updateReplaces, "the row that change was given, before %s", step.field)
		k.requireRow(want1, updateReplaces, "after a change of "+step.field)
		want = want1
	}
}

func (k kit) updateNoRow() {
	called := false
	err := k.store.Update(k.ctx, id("u1", "s1"), func(row session.Session, _ session.Millis) (session.Session, error) {
		called = true
		row.ID = id("u1", "s1")
		return row, nil
	})
	conformance.ErrorIs(k, err, session.ErrNotFound, updateNotFound, "Update in an empty store")
	conformance.True(k, !called, updateNotFound, "change was called although there is no row")
	k.requireNoRow(id("u1", "s1"), "", updateNotFound, "after an Update of no row")
}

func (k kit) updateError() {
	before := k.create("s1", "u1")
	want := errors.New("an error of change")
	err := k.store.Update(k.ctx, before.ID, func(row session.Session, now session.Millis) (session.Session, error) {
		return full(row.ID, row.UserID, now), want
	})
	conformance.ErrorIs(k, err, want, updateUnchanged, "change returned another row and an error")
	k.requireRow(before, updateUnchanged, "after change returned another row and an error")
	found, _ := k.revokedSince(0)
	conformance.Equal(k, noneRevoked, found, updateUnchanged,
		"RevokedSince(0), after change returned a revoked row and an error")
	err = k.store.Update(k.ctx, before.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
		return row, want
	})
	conformance.ErrorIs(k, err, want, updateUnchanged, "change returned the row unchanged and an error")
}

// Some writers return a row unchanged while another one changes it. The change must stay.
func (k kit) updateUnchanged() {
	before := k.create("s1", "u1")
	for range 3 {
		k.requireRow(before, updateUnchanged, "after change returned it unchanged")
	}
	errs := conformance.Parallel(16, func(i int) error {
		for range 10 {
			err := k.store.Update(k.ctx, before.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
				if i == 0 {
					row.Next++
				}
				return row, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "16 goroutines of which one changes the row")
	before.Next += 10
	k.requireRow(before, updateUnchanged, "after 150 Updates that changed nothing, at once with 10 that did")
}

func (k kit) updateCommitted() {
	created := k.create("s1", "u1")
	errs := conformance.Parallel(4, func(int) error {
		for range 20 {
			var wrote int64
			err := k.store.Update(k.ctx, created.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
				row.Next++
				wrote = row.Next
				return row, nil
			})
			if err != nil {
				return err
			}
			if row, err := k.get(created.ID); err != nil || row.Next < wrote {
				return fmt.Errorf("wrote Next = %d, then read %d (error: %w)", wrote, row.Next, err)
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), updateCommitted, "reading after each Update, 4 writers of one row")
}

func (k kit) updateAtomic() {
	const writers, times = 64, 20
	want := k.create("s1", "u1")
	errs := conformance.Parallel(writers, func(int) error {
		for range times {
			err := k.store.Update(k.ctx, want.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
				row.Next++
				return row, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), updateAtomic, "%d goroutines change one row %d times each", writers, times)
	want.Next += writers * times
	k.requireRow(want, updateAtomic, fmt.Sprintf("after %d goroutines added 1 to Next %d times each", writers, times))
}

// A change may take long, because it may sign tokens with a key on another machine. Other rows must not wait for it.
func (k kit) updateOthers() {
	slow, quick := k.create("slow", "u1"), k.create("quick", "u1")
	inside, release, done := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- k.store.Update(k.ctx, slow.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
			select {
			case inside <- struct{}{}:
			default: // change may be called again, and must not wait here
			}
			select {
			case <-release:
			case <-k.ctx.Done():
			}
			row.Next++
			return row, nil
		})
	}()
	select {
	case <-inside:
	case err := <-done:
		close(release)
		k.Fatalf("%s", conformance.Broken(updateReplaces, "Update returned without calling change: %v", err))
	}

	const sentence, what = updateAtomic, "the Update of another row waits in its change; only its own row may wait for it: "
	ctx, cancel := context.WithTimeout(k.ctx, 10*time.Second)
	defer cancel()
	updateErr := k.store.Update(ctx, quick.ID, func(row session.Session, _ session.Millis) (session.Session, error) {
		row.Next++
		return row, nil
	})
	createErr := k.store.Create(ctx, func(now session.Millis) (session.Session, error) {
		return login("new", "u1", now), nil
	})
	_, listErr := k.store.ListByUser(ctx, "u1")
	_, revokedErr := k.store.RevokedSince(ctx, 0, func(string, session.Millis) {})
	close(release)
	slowErr := <-done

	conformance.NoError(k, updateErr, sentence, what+"Update")
	conformance.NoError(k, createErr, sentence, what+"Create")
	conformance.NoError(k, listErr, sentence, what+"ListByUser")
	conformance.NoError(k, revokedErr, sentence, what+"RevokedSince")
	conformance.NoError(k, slowErr, updateReplaces, "an Update that waited in its change")
}

// clock requires one clock for all methods. It must be near the clock of this machine.
func (k kit) clock() {
	var last session.Millis
	see := func(method string, times ...session.Millis) {
		for _, now := range times {
			conformance.True(k, now >= last-1, oneClock, "%s ran backwards, from %d to %d", method, last, now)
			conformance.True(k, time.Since(now.Time()).Abs() <= time.Minute, oneClock,
				"the time of %s is %s", method, now.Time())
			last = now
		}
	}
	for i := range 10 {
		var times []session.Millis
		row := k.create(fmt.Sprintf("s%d", i), "u1", func(_ *session.Session, now session.Millis) {
			times = append(times, now)
		})
		see("Create", times...)
		for range 3 {
			times = nil
			k.update(row.ID, func(row *session.Session, now session.Millis) {
				times = append(times, now)
				row.Next++
			})
			see("Update", times...)
			_, now := k.revokedSince(0)
			see("RevokedSince", now)
		}
	}
}
