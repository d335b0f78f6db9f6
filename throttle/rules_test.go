package throttle

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// attempt is one that the adversary has begun.
type attempt struct {
	id uint64
	t  trace
}

// aSession stands for any number of sessions that the adversary has stolen.
const aSession = math.MaxUint64

// adversary knows the rules. He uses everything that he can get, from known places and as a stranger. The owner helps
// him by signing in at any time, and requests are cancelled at any time.
type adversary struct {
	random   *rand.Rand
	now      millis
	record   Record
	open     []attempt
	failures []millis // attempts that were not taken back
	most     int
}

func (v *adversary) change(t *testing.T, change func(a *account)) {
	t.Helper()
	a, err := decodeAccount(v.record)
	require.NoError(t, err)
	a.advance(v.now)
	change(&a)
	require.LessOrEqual(t, len(a.places), maxPlaces)
	v.record, _ = a.encode()
	require.LessOrEqual(t, len(v.record), 512)
}

// try makes an attempt and returns how long it must wait.
func (v *adversary) try(t *testing.T, id uint64) (wait millis) {
	v.change(t, func(a *account) {
		var tr trace
		if id == aSession {
			tr, wait = a.begin(0, true)
		} else {
			tr, wait = a.begin(id, false)
		}
		if wait == 0 {
			v.open = append(v.open, attempt{id, tr})
			v.failures = append(v.failures, v.now)
		}
	})
	require.LessOrEqual(t, wait, maxDelay)
	return wait
}

// end takes an attempt back: it was cancelled or a success.
func (v *adversary) end(t *testing.T, i int, success bool) {
	at := v.open[i]
	v.open = slices.Delete(v.open, i, i+1)
	v.change(t, func(a *account) {
		id := at.id
		if id == aSession {
			id = 0
		}
		if success {
			a.succeed(id, at.t)
		} else {
			a.takeBack(id, at.t)
		}
	})
	i = slices.Index(v.failures, at.t.at)
	v.failures = slices.Delete(v.failures, i, i+1)
}

func (v *adversary) signInWithTwoSteps(t *testing.T, ids []uint64) {
	id, most := v.random.Uint64(), 5*hour/60
	if v.try(t, id) != 0 {
		return
	}
	first := v.open[len(v.open)-1]
	v.open, v.failures = v.open[:len(v.open)-1], v.failures[:len(v.failures)-1]
	v.change(t, func(a *account) { a.goOn(id, first.t) })
	v.greedy(t, ids)
	v.now += v.random.Int64N(most)
	if v.try(t, id) != 0 {
		return
	}
	second := v.open[len(v.open)-1]
	v.open, v.failures = v.open[:len(v.open)-1], v.failures[:len(v.failures)-1]
	v.change(t, func(a *account) { a.complete(id, second.t, 5*time.Minute) })
}

// check counts the failures of each 24 hours. Both ends belong to them.
func (v *adversary) check(t *testing.T) {
	first := 0
	for i, at := range v.failures {
		for v.failures[first] < at-day {
			first++
		}
		v.most = max(v.most, i-first+1)
	}
	require.LessOrEqual(t, v.most, 100)
}

// greedy uses each budget as soon as it can. ids are the places, and 0 is a stranger. It returns when the next one may
// pass.
func (v *adversary) greedy(t *testing.T, ids []uint64) (next millis) {
	next = maxDelay
	for _, id := range ids {
		for {
			wait := v.try(t, id)
			if wait > 0 {
				next = min(next, wait)
				break
			}
		}
	}
	return next
}

// In any 24 hours at most 100 failures of an account reach the hash, whatever happens.
func TestAtMostAHundredADay(t *testing.T) {
	most := 0
	for seed := range uint64(30) {
		v := adversary{random: rand.New(rand.NewPCG(seed, 1)), now: 1_700_000_000_000}
		var ids []uint64
		for i := range seed % 9 {
			ids = append(ids, 100+i)
			v.change(t, func(a *account) { a.succeed(100+i, trace{at: v.now - 2*hour}) })
		}
		v.random.Shuffle(len(ids), func(i, j int) { ids[i], ids[j] = ids[j], ids[i] })
		ids = append(ids, 0)
		if seed%3 == 0 {
			ids = append(ids, aSession)
		}
		for end := v.now + 5*day; v.now < end; {
			next := v.greedy(t, ids)
			if seed >= 10 { // and success and cancelled requests, some of them long after they began
				v.disturb(t, ids)
			}
			switch v.random.IntN(20) {
			case 0:
				v.now += v.random.Int64N(int64(8 * hour))
			case 1:
				v.now += next / 2
			default:
				v.now += next
			}
		}
		v.check(t)
		most = max(most, v.most)
	}
	t.Logf("at most %d failures in 24 hours", most)
	require.Greater(t, most, 90) // the adversary is good at it
}

// disturb ends some of the attempts.
func (v *adversary) disturb(t *testing.T, ids []uint64) {
	for range v.random.IntN(4) {
		if len(v.open) == 0 {
			return
		}
		i := v.random.IntN(len(v.open))
		if v.random.IntN(3) > 0 {
			i = len(v.open) - 1 // one that began just now
		}
		v.end(t, i, v.random.IntN(2) == 0)
		v.greedy(t, ids)
	}
	if v.random.IntN(10) == 0 { // the owner signs in at a new place
		id := v.random.Uint64()
		if v.try(t, id) == 0 {
			v.end(t, len(v.open)-1, true)
		}
	}
	if v.random.IntN(10) == 0 { // the same with two steps
		v.signInWithTwoSteps(t, ids)
	}
}

// A place that takes all it can leaves something to another one.
func TestAHostilePlaceLeavesRoom(t *testing.T) {
	for k, want := range []int{10, 8} {
		least := 100
		for seed := range uint64(10) {
			v := adversary{random: rand.New(rand.NewPCG(seed, 4)), now: 1_700_000_000_000 + millis(seed)}
			ids := make([]uint64, k+1)
			for i := range ids {
				ids[i] = uint64(i)
				v.change(t, func(a *account) { a.succeed(ids[i], trace{at: v.now - 2*hour}) })
			}
			for end := v.now + 7*day; v.now < end; {
				v.now += v.greedy(t, ids[1:]) + v.random.Int64N(60_000)
				least = min(least, v.room(t, ids[0]))
			}
		}
		require.GreaterOrEqual(t, least, want, "%d hostile places", k)
	}
}

// room returns how many attempts a place has at once.
func (v *adversary) room(t *testing.T, id uint64) (n int) {
	a, err := decodeAccount(v.record)
	require.NoError(t, err)
	a.advance(v.now)
	for {
		if _, wait := a.begin(id, false); wait > 0 {
			return n
		}
		n++
	}
}

// An attempt that must wait passes after the time that it was told, if nobody else comes meanwhile, and not earlier.
func TestRetryAfterIsTrue(t *testing.T) {
	for seed := range uint64(40) {
		v := adversary{random: rand.New(rand.NewPCG(seed, 2)), now: 1_700_000_000_000}
		ids := []uint64{0, 1, 2, 3}
		for _, id := range ids[1:] {
			v.change(t, func(a *account) { a.succeed(id, trace{at: v.now - 2*hour}) })
		}
		for range 300 {
			id := ids[v.random.IntN(len(ids))]
			if wait := v.try(t, id); wait > 0 {
				for early, passes := range []bool{true, false} { // after exactly this time, and a millisecond before

					a, err := decodeAccount(v.record)
					require.NoError(t, err)
					a.advance(v.now + wait - millis(early))
					_, wait := a.begin(id, false)
					require.Equal(t, passes, wait == 0)
				}
			}
			v.now += v.random.Int64N(int64(10 * time.Minute / time.Millisecond))
		}
	}
}

func TestCodec(t *testing.T) {
	v := adversary{random: rand.New(rand.NewPCG(1, 3)), now: 1_700_000_000_000}
	for i := range 300 {
		v.now += v.random.Int64N(int64(hour))
		if v.try(t, v.random.Uint64N(12)) == 0 && i%3 == 0 {
			v.end(t, len(v.open)-1, true)
		}
		a, err := decodeAccount(v.record)
		require.NoError(t, err)
		again, until := a.encode()
		require.Equal(t, v.record, again)
		require.Greater(t, until.UnixMilli(), v.now)
		if len(v.record) > 0 {
			for n := range len(v.record) - 1 {
				_, err := decodeAccount(v.record[:n+1])
				require.ErrorIs(t, err, errRecord)
			}
			_, err = decodeAccount(v.record + "\x00")
			require.ErrorIs(t, err, errRecord)
			_, err = decodeAddress(v.record)
			require.ErrorIs(t, err, errRecord)
		}
	}
}

func TestBadRecords(t *testing.T) {
	for _, text := range []Record{"\x00", "\x03", "\x03\x00\x00\x00\x00", "\x03\x00\x00", "\x01", "\x01\x00\x00\x00\x00\x09", "\x01\x00\x00\x00\x00\x01", "\x02\x80",
		"\x01\x00\x00\x00\x00\x02" + Record(make([]byte, 12)), "\x02\x01\x00\x00",
		"\x02\xff\xff\xff\xff\xff\xff\xff\x7f\x00", "\x02\xff\xff\xff\xff\xff\xff\xff\xff\x7f\x00"} {
		_, err := decodeAccount(text)
		require.ErrorIs(t, err, errRecord, "%q", text)
		_, err = decodeAddress(text)
		require.ErrorIs(t, err, errRecord, "%q", text)
	}
}

// FuzzRecord reads any bytes. What can be read is bounded, and it gives the same record again.
func FuzzRecord(f *testing.F) {
	for _, seed := range []string{"", "\x01", "\x02", "\x01\x00\x00\x00\x00\x00", "\x02\x05\x01\x03", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\x7f"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if a, err := decodeAccount(Record(text)); err == nil {
			a.advance(1_700_000_000_000)
			_, _ = a.begin(1, false)
			a.succeed(2, trace{})
			record, _ := a.encode()
			_, err := decodeAccount(record)
			require.NoError(t, err)
		}
		if a, err := decodeAddress(Record(text)); err == nil {
			a.advance(1_700_000_000_000)
			_, _ = a.begin()
			record, _ := a.encode()
			_, err := decodeAddress(record)
			require.NoError(t, err)
		}
	})
}
