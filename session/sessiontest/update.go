package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
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
		{"Born.All", func(row *session.Session, full session.Session) { row.Born.All = full.Born.All }},
		{"Born.User", func(row *session.Session, full session.Session) { row.Born.User = full.Born.User }},
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
		{"the last ancestor", func(row *session.Session, _ session.Session) { row.Ancestors[len(row.Ancestors)-1].SupersededAt-- }},
		{"Ancestors, to zero", func(row *session.Session, _ session.Session) { row.Ancestors = session.Ancestors{} }},
		{"Idle", func(row *session.Session, full session.Session) { row.Idle = full.Idle }},
		{"Facts", func(row *session.Session, full session.Session) { row.Facts = full.Facts }},
		{"Raised", func(row *session.Session, full session.Session) { row.Raised = full.Raised }},
		{"RaisedFrom", func(row *session.Session, full session.Session) { row.RaisedFrom = full.RaisedFrom }},
		{"Raised, to nothing", func(row *session.Session, _ session.Session) { row.Raised, row.RaisedFrom = "", 0 }},
		{"PendingUntil", func(row *session.Session, full session.Session) { row.PendingUntil = full.PendingUntil }},
		{"Tries", func(row *session.Session, full session.Session) { row.Tries = full.Tries }},
		{"PendingUntil, to zero", func(row *session.Session, _ session.Session) { row.PendingUntil, row.Tries = 0, 0 }},
		{"Tickets", func(row *session.Session, full session.Session) { row.Tickets = full.Tickets }},
		{"TicketsUsed", func(row *session.Session, full session.Session) { row.TicketsUsed = full.TicketsUsed }},
		{"RevokedAt, for expiry", func(row *session.Session, full session.Session) {
			row.RevokedAt, row.Reason = full.RevokedAt, session.ReasonExpired
		}},
		{"Reason", func(row *session.Session, _ session.Session) { row.Reason = "a host's own: \u00e9" }},
	} {
		before, want1 := want, want
		var given session.Session
		err := k.store.Update(k.ctx, want.ID, func(row session.Session, at session.Moment) (session.Session, error) {
			given = row
			step.change(&row, full(want.ID, "u1", at.Now))
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
	err := k.store.Update(k.ctx, id("u1", "s1"), func(row session.Session, _ session.Moment) (session.Session, error) {
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
	err := k.store.Update(k.ctx, before.ID, func(row session.Session, at session.Moment) (session.Session, error) {
		return full(row.ID, row.UserID, at.Now), want
	})
	conformance.Same(k, err, want, updateUnchanged, "change returned another row and an error")
	k.requireRow(before, updateUnchanged, "after change returned another row and an error")
	conformance.Equal(k, 0, len(k.readAll(10).revoked), updateUnchanged,
		"the log, after change returned a revoked row and an error")
	err = k.store.Update(k.ctx, before.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
		return row, want
	})
	conformance.Same(k, err, want, updateUnchanged, "change returned the row unchanged and an error")
}

// Some writers return a row unchanged while another one changes it. The change must stay.
func (k kit) updateUnchanged() {
	before := k.create("s1", "u1")
	for range 3 {
		k.requireRow(before, updateUnchanged, "after change returned it unchanged")
	}
	errs := conformance.Parallel(16, func(i int) error {
		for range 10 {
			err := k.store.Update(k.ctx, before.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
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
			err := k.store.Update(k.ctx, created.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
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
	const writers, times = 16, 40
	want := k.create("s1", "u1")
	errs := conformance.Parallel(writers, func(int) error {
		for range times {
			var newest int64
			err := k.store.Update(k.ctx, want.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
				if row.Next < newest {
					return row, errors.New("change was called again with an older row")
				}
				newest = row.Next
				runtime.Gosched() // so that others run in between
				row.Next++
				return row, nil
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), updateNewerRow, "%d goroutines change one row %d times each", writers, times)
	want.Next += writers * times
	k.requireRow(want, updateAtomic, fmt.Sprintf("after %d goroutines added 1 to Next %d times each", writers, times))
}

// A change may take long, because it may sign tokens with a key on another machine. Other rows must not wait for it.
func (k kit) updateOthers() {
	slow, quick := k.create("slow", "u1"), k.create("quick", "u1")
	inside, release, done := make(chan struct{}, 1), make(chan struct{}), make(chan error, 1)
	go func() {
		done <- k.store.Update(k.ctx, slow.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
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
	updateErr := k.store.Update(ctx, quick.ID, func(row session.Session, _ session.Moment) (session.Session, error) {
		row.Next++
		return row, nil
	})
	createErr := k.store.Create(ctx, "u1", func(at session.Moment) (session.Session, error) {
		return login("new", "u1", at), nil
	})
	_, _, listErr := k.store.List(ctx, "u1", 10)
	cutErr := k.store.Cut(ctx, "u1", func(before session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
		return before.Change(now+day, now), nil
	})
	_, logErr := k.store.ReadLog(ctx, session.Start, 10, func(session.Entry) {})
	close(release)
	slowErr := <-done

	conformance.NoError(k, updateErr, sentence, what+"Update")
	conformance.NoError(k, createErr, sentence, what+"Create")
	conformance.NoError(k, listErr, sentence, what+"List")
	conformance.NoError(k, cutErr, sentence, what+"Cut")
	conformance.NoError(k, logErr, sentence, what+"ReadLog")
	conformance.NoError(k, slowErr, updateReplaces, "an Update that waited in its change")
}
