// Package throttletest is the conformance kit of [throttle.Store]. A store that passes [Run] keeps the contract that
// the comments in package throttle state. A check that fails prints the sentence of the contract that the store broke.
package throttletest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signet-go/signet/internal/conformance"
	"github.com/signet-go/signet/throttle"
)

// Run runs every check, each in its own subtest. At every call newStore must return an empty store with a real clock
// and with room for 300 records, and it must close with t.Cleanup what it opens.
func Run(t *testing.T, newStore func(t *testing.T) throttle.Store) {
	for _, check := range []struct {
		name string
		run  func(k kit)
	}{
		{"update/stores", kit.stores},
		{"update/any bytes", kit.anyBytes},
		{"update/keys", kit.keys},
		{"update/none", kit.none},
		{"update/unchanged", kit.unchanged},
		{"update/error of change", kit.changeFails},
		{"update/committed", kit.committed},
		{"update/parallel, one key", kit.parallel},
		{"update/parallel, deletes", kit.parallelDeletes},
		{"update/kept", kit.kept},
		{"update/due", kit.due},
		{"clock", kit.clock},
		{"context", kit.canceled},
		{"limiter", kit.limiter},
	} {
		t.Run(check.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			check.run(kit{T: t, ctx: ctx, store: newStore(t)})
		})
	}
}

// kit is what every check needs.
type kit struct {
	*testing.T
	ctx   context.Context
	store throttle.Store
}

// key returns a key with that number.
func key(n int) (key throttle.Key) {
	copy(key[:], fmt.Sprintf("%016d", n))
	return key
}

// put stores a record for an hour and returns what was there before.
func (k kit) put(n int, after throttle.Record) (before throttle.Record) {
	k.Helper()
	err := k.store.Update(k.ctx, key(n), func(found throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
		before = found
		return after, now.Add(time.Hour), nil
	})
	conformance.NoError(k, err, updateReplaces, "Update of key %d", n)
	return before
}

// get reads a record with an Update that changes nothing.
func (k kit) get(n int) (record throttle.Record) {
	k.Helper()
	err := k.store.Update(k.ctx, key(n), func(found throttle.Record, _ time.Time) (throttle.Record, time.Time, error) {
		record = found
		return found, time.Time{}, nil
	})
	conformance.NoError(k, err, updateUnchanged, "Update of key %d that changes nothing", n)
	return record
}

func (k kit) require(n int, want throttle.Record, sentence, what string) {
	k.Helper()
	conformance.Equal(k, string(want), string(k.get(n)), sentence, "the record of key %d, %s", n, what)
}

func (k kit) stores() {
	conformance.Equal(k, "", string(k.put(1, "one")), updateNone, "the first Update of a key")
	k.require(1, "one", updateReplaces, "after one Update")
	conformance.Equal(k, "one", string(k.put(1, "two")), updateReplaces, "the second Update of a key")
	k.require(1, "two", updateReplaces, "after two Updates")
	k.require(2, "", updateNone, "of a key that was never written")
}

func (k kit) anyBytes() {
	var all strings.Builder
	for b := range 256 {
		all.WriteByte(byte(b))
	}
	for n, record := range []throttle.Record{"\x00", " ", "\xff\xfe", "1", "0x1", "'; --", " a \r\n", "ä\u0301",
		throttle.Record(all.String()), throttle.Record(strings.Repeat("\x00\xff", 256))} {
		k.put(n, record)
		k.require(n, record, keepsBytes, "after one Update")
	}
}

// Keys are any 16 bytes, and keys that look alike are different.
func (k kit) keys() {
	keys := []throttle.Key{{}, {15: 1}, {0: 1}, {0: 0xff, 15: 0xff}, throttle.Key([]byte("abcdefghijklmnop")),
		throttle.Key([]byte("ABCDEFGHIJKLMNOP")), throttle.Key([]byte("{a}:*? '\"\\\x00\r\n..."))}
	for i, key := range keys {
		record := throttle.Record(strconv.Itoa(i))
		err := k.store.Update(k.ctx, key, func(found throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			conformance.Equal(k, "", string(found), updateNone, "the first Update of key %v", key)
			return record, now.Add(time.Hour), nil
		})
		conformance.NoError(k, err, updateReplaces, "Update of key %v", key)
	}
	for i, key := range keys {
		_ = k.store.Update(k.ctx, key, func(found throttle.Record, _ time.Time) (throttle.Record, time.Time, error) {
			conformance.Equal(k, strconv.Itoa(i), string(found), updateReplaces, "the record of key %v", key)
			return found, time.Time{}, nil
		})
	}
}

func (k kit) none() {
	k.put(1, "")
	k.require(1, "", updateNone, "after an Update that wrote nothing")
	k.put(1, "one")
	k.put(1, "")
	k.require(1, "", updateNone, "after it was deleted")
	k.put(1, "two")
	k.require(1, "two", updateReplaces, "after it was deleted and written again")
}

// An Update that changes nothing does not change the time until which the record is kept either.
func (k kit) unchanged() {
	k.put(1, "one")
	err := k.store.Update(k.ctx, key(1), func(found throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
		return found, now.Add(-time.Hour), nil
	})
	conformance.NoError(k, err, updateUnchanged, "Update that changes nothing")
	k.require(1, "one", updateUnchanged, "after an Update that changed nothing")
}

func (k kit) changeFails() {
	k.put(1, "one")
	want := errors.New("an error of change")
	for n := range 2 {
		err := k.store.Update(k.ctx, key(n), func(throttle.Record, time.Time) (throttle.Record, time.Time, error) {
			return "two", time.Now().Add(time.Hour), want
		})
		conformance.True(k, err == want, updateUnchanged, "change returns an error, and Update returns %v", err)
	}
	k.require(0, "", updateUnchanged, "after an error of change")
	k.require(1, "one", updateUnchanged, "after an error of change")
}

// What one goroutine has written, another one reads.
func (k kit) committed() {
	for i := range 20 {
		want := throttle.Record(strconv.Itoa(i + 1))
		k.put(1, want)
		got := make(chan throttle.Record)
		go func() {
			var record throttle.Record
			_ = k.store.Update(k.ctx, key(1), func(found throttle.Record, _ time.Time) (throttle.Record, time.Time, error) {
				record = found
				return found, time.Time{}, nil
			})
			got <- record
		}()
		conformance.Equal(k, string(want), string(<-got), updateCommitted, "the record that another goroutine reads")
	}
}

// add adds to the number in a record.
func (k kit) add(n, change int) error {
	return k.store.Update(k.ctx, key(n), func(found throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
		number, _ := strconv.Atoi(string(found))
		if number += change; number == 0 {
			return "", time.Time{}, nil
		}
		return throttle.Record(strconv.Itoa(number)), now.Add(time.Hour), nil
	})
}

func (k kit) parallel() {
	const writers, times = 16, 10
	errs := conformance.Parallel(writers, func(int) error {
		for range times {
			if err := k.add(1, 1); err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d goroutines call Update", writers)
	k.require(1, throttle.Record(strconv.Itoa(writers*times)), updateAtomic, "after each has added its part")
}

func (k kit) parallelDeletes() {
	const writers, times = 8, 10
	errs := conformance.Parallel(writers, func(i int) error {
		for range times {
			if err := k.add(1, 1-i%2*2); err != nil {
				return err
			}
		}
		return nil
	})
	conformance.NoError(k, errors.Join(errs...), safeForConcurrentUse, "%d goroutines call Update", writers)
	k.require(1, "", updateAtomic, "after half of the goroutines have added what the others have taken away")
}

// A record is kept until its time, and that of the last Update counts.
func (k kit) kept() {
	for n := range 100 {
		until := map[bool]time.Duration{true: time.Hour, false: 40 * 24 * time.Hour}[n%2 == 0]
		err := k.store.Update(k.ctx, key(n), func(_ throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			return "early", now.Add(time.Millisecond), nil
		})
		conformance.NoError(k, err, updateReplaces, "Update of key %d", n)
		err = k.store.Update(k.ctx, key(n), func(_ throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			return "kept", now.Add(until), nil
		})
		conformance.NoError(k, err, updateReplaces, "Update of key %d", n)
	}
	time.Sleep(10 * time.Millisecond)
	for n := range 100 {
		k.require(n, "kept", updateKeeps, "its time is not over")
	}
}

// A record whose time is over is there or not, and it can be written again.
func (k kit) due() {
	for _, early := range []time.Duration{-time.Hour, 0, time.Millisecond} {
		err := k.store.Update(k.ctx, key(1), func(_ throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			return throttle.Record("due " + early.String()), now.Add(early), nil
		})
		conformance.NoError(k, err, updateReplaces, "Update with a time that is over after %v", early)
		time.Sleep(2 * time.Millisecond)
		if got := k.get(1); got != "" {
			conformance.Equal(k, "due "+early.String(), string(got), updateReplaces, "the record after its time")
		}
	}
	k.put(1, "again")
	k.require(1, "again", updateKeeps, "it was written again after its time")
}

func (k kit) clock() {
	var last time.Time
	for range 20 {
		_ = k.store.Update(k.ctx, key(1), func(found throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			conformance.True(k, !now.Before(last), oneClock, "the time is %v, and it was %v before", now, last)
			last = now
			return found, time.Time{}, nil
		})
		time.Sleep(time.Millisecond)
	}
	conformance.True(k, time.Since(last).Abs() < 24*time.Hour, oneClock, "the time is %v", last)
}

func (k kit) canceled() {
	k.put(1, "one")
	ctx, cancel := context.WithCancel(k.ctx)
	cancel()
	err := k.store.Update(ctx, key(1), func(throttle.Record, time.Time) (throttle.Record, time.Time, error) {
		return "two", time.Now().Add(time.Hour), nil
	})
	conformance.Error(k, err, honoursContext, "Update with a context that was canceled")
	k.require(1, "one", honoursContext, "after an Update with a context that was canceled")
}

// Of 100 attempts at the same time, 10 pass, and the owner's known place stays open.
func (k kit) limiter() {
	limiter := throttle.New(k.store, throttle.Config{})
	owner, err := limiter.Begin(k.ctx, "owner@example.org", "192.0.2.1")
	conformance.NoError(k, err, updateReplaces, "the owner's first attempt")
	conformance.NoError(k, owner.Succeeded(k.ctx), updateReplaces, "the owner's first success")
	passed := 0
	for _, err := range conformance.Parallel(100, func(i int) error {
		_, err := limiter.Begin(k.ctx, "owner@example.org", fmt.Sprintf("198.51.100.%d", i))
		return err
	}) {
		if err == nil {
			passed++
			continue
		}
		conformance.ErrorIs(k, err, throttle.ErrDelayed, updateAtomic, "an attempt")
	}
	conformance.Equal(k, 10, passed, updateAtomic, "how many of 100 attempts at the same time pass")
	owner, err = limiter.Begin(k.ctx, "owner@example.org", "192.0.2.1")
	conformance.NoError(k, err, updateReplaces, "the owner's second attempt")
	conformance.True(k, owner.Known(), updateReplaces, "the owner's place is not known")
}
