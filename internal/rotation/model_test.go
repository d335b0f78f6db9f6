package rotation_test

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/internal/rotation"
	"github.com/signet-go/signet/session"
)

// This file is a model check of the state machine. Its actors are honest tabs that share their storage, a thief with a copy
// of one token, lost answers, crashes, a clock that jumps, and a store that loses writes. They act on the real rules in
// every order of a few steps (TestEveryHistory) and in long random orders (TestRandomHistories). These properties must hold
// in every history:
//
//	P1 one honest client is never refused
//	P2 tabs that share their storage never cause an alarm
//	P3 thief and victim take turns further apart than the window: after each had a success, at most one has another
//	P4 after an alarm nothing works, at any time
//	P5 after the store lost its last writes the client goes on, and no generation is made twice
//
// An honest client keeps the newest token that it received, and repeats a request with that token. A tab may read the
// storage before another tab writes it, and its request may be under way for a long time.

// machine is the rules under test, or a broken variant of them.
type machine struct {
	window  session.Millis // the reuse window W of the properties
	idle    session.Millis
	refresh func(session.Session, rotation.Presented, session.Millis) (session.Session, rotation.Outcome)
	confirm func(session.Session, int64, session.Millis) session.Session
	fresh   session.Session // the row of a login at start
}

func newMachine(rules rotation.Rules) machine {
	return machine{window: session.Millis(rules.Window.Milliseconds()), idle: session.Millis(rules.Idle.Milliseconds()),
		refresh: rules.Refresh, confirm: rules.Confirm,
		fresh: rules.New("sid", "user", secretHash, rotation.Terms{}, rotation.Client{}, start)}
}

const accessLifetime = session.Millis(15 * 60 * 1000)

func rulesOf(window session.Millis) rotation.Rules {
	rules := defaultRules()
	rules.Window = time.Duration(window) * time.Millisecond
	return rules
}

type (
	op   uint8
	fate uint8
)

const (
	read       op   = iota // a tab reads the storage: its request is now under way
	send                   // a tab's request reaches the server, or a new one with the token in the storage
	proof                  // the client uses its newest access token
	steal                  // the thief copies the token in the storage
	thiefSend              // the thief refreshes with his newest token
	thiefProof             // the thief uses his newest access token
	backup                 // the store is copied
	restore                // the store goes back to the last backup
	answered   fate = iota - 8
	lost            // the server committed, but the client got no answer
	crashed         // nothing was committed, and the client got no answer
)

// action is a step of a history: some time passes, then somebody does something.
type action struct {
	wait session.Millis // negative: the clock is set back
	op   op
	tab  int8
	fate fate
}

func (a action) String() string {
	name := [...]string{"tab %d reads", "tab %d sends", "client's access token", "thief copies", "thief sends", "thief's access token", "backup", "restore"}[a.op]
	if strings.Contains(name, "%d") {
		name = fmt.Sprintf(name, a.tab)
	}
	return fmt.Sprintf("%+d ms: %s%s", a.wait, name, [...]string{"", ", answer lost", ", crash"}[a.fate])
}

// request is a request that is under way. If its token is 0, there is none.
type request struct {
	token int64
	stale session.Millis // when the client received a newer token; 0: not yet
}

// world is the state that a history leads to.
type world struct {
	row       session.Session
	saved     *session.Session
	clock     session.Millis
	storage   int64 // the client's newest token
	tabs      [2]request
	thief     int64          // the thief's newest token; 0: none yet
	acted     bool           // the thief has used a refresh token
	turns     bool           // so far the turns of thief and victim were always further apart than the window
	side      int8           // who had the last turn since the theft: 0 nobody, 1 the victim, 2 the thief
	turnAt    session.Millis // the time of that turn
	won       bool           // that turn had a success
	wins      [2]int8        // turns with a success since the theft, of the victim and of the thief; counted up to 2
	handedOut session.Millis // when this row, or a row before it, handed out the last token
	minted    int64          // the newest generation that was ever made
}

func (m machine) world() world {
	return world{row: m.fresh, saved: &m.fresh, clock: start, storage: m.fresh.Current, turns: true, handedOut: start, minted: m.fresh.Current}
}

// storeTime returns the time that the rules use: the clock, or the newest time in the row if the clock was set back.
func (w *world) storeTime() session.Millis {
	s := &w.row
	return max(w.clock, s.CreatedAt, s.LastUsedAt, s.SentAt, s.ConfirmedAt, s.RevokedAt)
}

// verdict is what a step showed.
type verdict struct {
	broken string // the property that does not hold
	limit  string // the documented limit that this step meets; the history is then left out
	over   bool   // the session ended as it should
}

func (m machine) step(w *world, a action) verdict {
	w.clock += a.wait
	switch a.op {
	case read:
		w.tabs[a.tab] = request{token: w.storage}
	case send:
		r := w.tabs[a.tab]
		if r.token == 0 {
			r.token = w.storage
		}
		w.tabs[a.tab] = request{}
		return m.send(w, r, a.fate)
	case proof:
		m.proof(w, w.storage, 1)
	case steal:
		w.thief = w.storage
	case thiefSend:
		return m.thiefSend(w, a.fate)
	case thiefProof:
		m.proof(w, w.thief, 2)
	case backup:
		saved := w.row
		w.saved = &saved
	case restore:
		w.row, w.handedOut = *w.saved, w.saved.LastUsedAt
	}
	return verdict{}
}

// send sends the request of an honest client.
func (m machine) send(w *world, r request, fate fate) verdict {
	if limit := m.limit(w, r, fate); limit != "" {
		return verdict{limit: limit}
	}
	out, v := m.turn(w, r.token, 1, fate)
	switch {
	case v.broken != "" || fate == crashed:
		return v
	case out.Event == rotation.EventExpired && w.storeTime() >= w.handedOut+m.idle-m.window:
		return verdict{over: true}
	case out.Generation == 0 && !w.acted:
		return verdict{broken: "P1, P2: an honest client was refused: " + string(out.Event)}
	case out.Generation == 0:
		return verdict{over: true}
	case fate == answered && out.Generation > w.storage:
		w.storage = out.Generation
		for i := range w.tabs {
			if t := &w.tabs[i]; t.token != 0 && t.token < w.storage && t.stale == 0 {
				t.stale = w.storeTime()
			}
		}
	}
	return v
}

// limit returns the documented limit that a request meets, if any: the rules may then see a thief where there is none.
func (m machine) limit(w *world, r request, fate fate) string {
	if r.stale != 0 && w.storeTime()-r.stale > m.window && fate != crashed && !w.acted {
		// Tabs with private copies of a token look like theft if they refresh further apart than W. A request that is still
		// under way longer than W after the client got a newer token is the same as a private copy.
		return "under way too long"
	}
	return ""
}

func (m machine) thiefSend(w *world, fate fate) verdict {
	if fate != crashed {
		w.acted = true
	}
	out, v := m.turn(w, w.thief, 2, fate)
	switch {
	case v.broken != "" || fate == crashed:
	case out.Generation == 0:
		v.over = true
	case fate == answered:
		w.thief = out.Generation
	}
	return v
}

// turn lets one side present a token.
func (m machine) turn(w *world, token int64, side int8, fate fate) (rotation.Outcome, verdict) {
	before, now := w.row, w.storeTime()
	after, out := m.refresh(before, presented(token), w.clock)
	if fate == crashed {
		return rotation.Outcome{}, verdict{}
	}
	w.row = after
	now -= w.settled(before)
	if broken := m.check(w, before, out, now); broken != "" {
		return out, verdict{broken: broken}
	}
	if w.thief == 0 {
		return out, verdict{}
	}
	m.takeTurn(w, side, now)
	if out.Generation != 0 && fate == answered && !w.won {
		w.won = true
		w.wins[side-1] = min(2, w.wins[side-1]+1)
	}
	if w.turns && w.wins == [2]int8{2, 2} {
		return out, verdict{broken: "P3: no alarm at the second success of both sides"}
	}
	return out, verdict{}
}

// proof is the use of an access token. If it confirms its generation it counts as a turn. The window begins with it, so P3
// must measure the distance between turns from it too.
func (m machine) proof(w *world, generation int64, side int8) {
	before, now := w.row, w.storeTime()
	w.row = m.confirm(w.row, generation, w.clock)
	now -= w.settled(before)
	if w.row != before {
		m.takeTurn(w, side, now)
	}
}

// settled returns by how much the rules took the row's times back, because the clock was far ahead and has come back. The
// times that the actors remember go back with them, so the time that has passed since stays the same.
func (w *world) settled(before session.Session) session.Millis {
	back := max(0, before.Latest()-w.row.Latest())
	for i := range w.tabs {
		if t := &w.tabs[i]; t.stale != 0 {
			t.stale -= back
		}
	}
	w.turnAt, w.handedOut = w.turnAt-back, w.handedOut-back
	return back
}

func (m machine) takeTurn(w *world, side int8, now session.Millis) {
	if w.thief == 0 {
		return
	}
	w.turns = w.turns && (w.side == 0 || w.side == side || now-w.turnAt > m.window)
	w.won = w.won && w.side == side
	w.side, w.turnAt = side, now
}

// check checks what must hold for every answer.
func (m machine) check(w *world, before session.Session, out rotation.Outcome, now session.Millis) string {
	s := &w.row
	made := out.Event == rotation.EventRotated || out.Event == rotation.EventRecovered
	switch {
	case out.Event == rotation.EventTheft:
		return m.dead(w)
	case out.Generation == 0:
		return ""
	case before.RevokedAt != 0 || s.RevokedAt != 0:
		return "P4: a revoked session goes on"
	case out.Generation != s.Current || s.Next <= s.Current || s.Current < before.Current:
		return "the generations are in disorder"
	case made && (s.Current <= before.Current || w.clock > session.Millis(w.minted) && s.Current <= w.minted):
		return "P5: a generation was made a second time"
	}
	w.handedOut, w.minted = max(w.handedOut, now), max(w.minted, s.Current)
	if s.KeepUntil < w.handedOut+accessLifetime {
		return "the row goes before its access tokens"
	}
	return ""
}

// dead checks P4: the row is revoked, and no token, proof or time changes that.
func (m machine) dead(w *world) string {
	s := w.row
	if !s.Revoked() || s.Reason != session.ReasonReuse {
		return "P4: the alarm was not kept"
	}
	tokens := []int64{s.Current, s.Parent, s.Next, w.storage, w.thief, w.tabs[0].token, w.tabs[1].token, s.Ancestors[0].Generation, s.Ancestors[3].Generation}
	for _, wait := range []session.Millis{-3 * m.window, 0, m.window / 2, m.window + ms, 4 * m.window, m.idle} {
		for i, token := range tokens {
			if slices.Contains(tokens[:i], token) {
				continue
			}
			after, out := m.refresh(s, presented(token), w.clock+wait)
			if out.Generation != 0 || after != s || m.confirm(s, token, w.clock+wait) != s {
				return fmt.Sprintf("P4: something works %d ms after the alarm", wait)
			}
		}
	}
	return ""
}

// scenario is a set of histories.
type scenario struct {
	name    string
	actions []action // the possible steps, without their waits
	backups bool     // the store is restored, so the generations of lost rows matter too
	before  []action // the steps that happened first
}

func scenarios() []scenario {
	sends := func(o op, tab int8) []action {
		return []action{{op: o, tab: tab}, {op: o, tab: tab, fate: lost}, {op: o, tab: tab, fate: crashed}}
	}
	oneClient := append(sends(send, 0), action{op: proof})
	twoTabs := slices.Concat(oneClient, sends(send, 1), []action{{op: read}, {op: read, tab: 1}})
	fourOpen := []action{{op: read, tab: 1}, {op: send}, {op: send}, {op: send}, {op: send}, {op: send}}
	thief := slices.Concat(twoTabs, sends(thiefSend, 0), []action{{op: steal}, {op: thiefProof}})
	return []scenario{
		{name: "one client", actions: oneClient},
		{name: "two tabs", actions: twoTabs},
		{name: "two tabs and a thief", actions: thief},
		{name: "one client, a store that loses writes", actions: slices.Concat(oneClient, []action{{op: backup}, {op: restore}}), backups: true},
		{name: "two tabs after four rotations at once", actions: twoTabs, before: fourOpen},
	}
}

// possible reports whether an action makes sense in w.
func (w *world) possible(a action) bool {
	switch a.op {
	case read:
		return w.tabs[a.tab].token == 0
	case steal:
		return w.thief == 0
	case thiefSend, thiefProof:
		return w.thief != 0
	}
	return true
}

// node is a state, with the number of histories that lead to it, and the last step of one of them.
type node struct {
	world
	histories uint64
	parent    int32
	last      action
}

type explored struct {
	histories, limits, ended uint64
	states                   int
	broken                   string // the property that does not hold, and a history that shows it
}

// explore checks every history of up to depth steps. Histories that lead to the same state are continued as one.
func (m machine) explore(s scenario, depth int, waits []session.Millis) (e explored) {
	root := node{world: m.world(), histories: 1, parent: -1}
	for _, a := range s.before {
		m.step(&root.world, a)
	}
	levels := [][]node{{root}}
	for level := range depth {
		seen := map[stateKey]int32{}
		var next []node
		for i := range levels[level] {
			from := &levels[level][i]
			for _, a := range s.actions {
				if !from.possible(a) {
					continue
				}
				for _, a.wait = range waits {
					w := from.world
					v := m.step(&w, a)
					switch {
					case v.broken != "":
						e.broken = v.broken + "\n" + trace(levels, node{parent: int32(i), last: a})
						return e
					case v.limit != "":
						e.limits += from.histories
						continue
					}
					e.histories += from.histories
					if v.over {
						e.ended += from.histories
						continue
					}
					if level == depth-1 {
						continue
					}
					key := w.key(s.backups, m.window)
					if at, ok := seen[key]; ok {
						next[at].histories += from.histories
						continue
					}
					seen[key] = int32(len(next))
					next = append(next, node{world: w, histories: from.histories, parent: int32(i), last: a})
				}
			}
		}
		e.states += len(next)
		levels = append(levels, next)
	}
	return e
}

func trace(levels [][]node, n node) string {
	var lines []string
	for level := len(levels) - 1; n.parent >= 0; level-- {
		lines = append(lines, n.last.String())
		n = levels[level][n.parent]
	}
	slices.Reverse(lines)
	return strings.Join(lines, "\n")
}

// stateKey is equal for states that behave in the same way.
type stateKey [72]int16

// keyWriter fills a stateKey. Times are relative to the clock. Of the generations only the order matters. With backups the
// values matter too, because there are generations that the row does not know.
type keyWriter struct {
	key   stateKey
	n     int
	clock session.Millis
	far   session.Millis // a time further back than this counts as this; it is longer than any window and all clock steps
	exact bool           // the values of generations matter, not only their order
	gens  []int64        // all generations, in order
}

func (k *keyWriter) put(values ...int16) {
	for _, v := range values {
		k.key[k.n] = v
		k.n++
	}
}

func (k *keyWriter) at(m session.Millis) {
	if m == 0 {
		k.put(1 << 14)
		return
	}
	k.put(int16(max(m-k.clock, -k.far)))
}

func (k *keyWriter) gen(g int64) {
	rank, _ := slices.BinarySearch(k.gens, g)
	k.put(int16(rank))
	if k.exact {
		k.at(session.Millis(g))
	}
}

func (k *keyWriter) row(s *session.Session) {
	k.gen(s.Current)
	k.gen(s.Parent)
	for _, a := range s.Ancestors {
		k.gen(a.Generation)
		k.at(a.SupersededAt)
	}
	k.at(max(s.LastUsedAt, s.SentAt, s.ConfirmedAt)) // one time is enough: no history here is long enough to become idle
	k.at(s.SentAt)
	k.at(s.ConfirmedAt)
}

func gensOf(list []int64, s *session.Session) []int64 {
	list = append(list, s.Current, s.Parent)
	for _, a := range s.Ancestors {
		list = append(list, a.Generation)
	}
	return list
}

func (w *world) key(backups bool, window session.Millis) stateKey {
	var space [24]int64
	gens := gensOf(append(space[:0], 0, w.storage, w.tabs[0].token, w.tabs[1].token, w.thief), &w.row)
	if backups {
		gens = gensOf(append(gens, w.minted, w.row.Next, w.saved.Next), w.saved)
	}
	slices.Sort(gens)
	k := keyWriter{clock: w.clock, far: 16 * window, exact: backups, gens: slices.Compact(gens)}
	k.row(&w.row)
	k.gen(w.storage)
	tabs := w.tabs
	if tabs[0].token > tabs[1].token || tabs[0].token == tabs[1].token && tabs[0].stale > tabs[1].stale {
		tabs[0], tabs[1] = tabs[1], tabs[0]
	}
	for _, t := range tabs {
		k.gen(t.token)
		k.at(t.stale)
	}
	if backups {
		k.row(w.saved)
		k.gen(w.saved.Next)
		k.gen(w.row.Next)
		k.gen(w.minted)
		return k.key // this scenario has no thief
	}
	k.gen(w.thief)
	k.put(b16(w.acted), b16(w.turns))
	if w.turns {
		k.put(int16(w.side), int16(w.wins[0]), int16(w.wins[1]), b16(w.won))
		k.at(w.turnAt)
	}
	return k.key
}

func b16(b bool) int16 {
	if b {
		return 1
	}
	return 0
}

// reduced reports whether the test must be quick: with -short, and with -race. The race detector is slow and finds nothing
// in pure functions.
func reduced() bool {
	info, ok := debug.ReadBuildInfo()
	return testing.Short() || ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

// exploredWindow is so short that many histories lead to the same state. They are too many to walk through one by one.
const exploredWindow = 4 * ms

func (s scenario) waits() []session.Millis {
	const w = exploredWindow
	if s.backups { // a state has two rows, so there are many more states
		return []session.Millis{0, w, w + ms, 3*w + ms, -2 * w}
	}
	return []session.Millis{0, w / 2, w, w + ms, 3*w + ms, 20 * w, -2 * w}
}

func TestEveryHistory(t *testing.T) {
	depth := 6
	if reduced() {
		depth = 5
	}
	for _, s := range scenarios() {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			e := newMachine(rulesOf(exploredWindow)).explore(s, depth, s.waits())
			require.Empty(t, e.broken)
			t.Logf("%d histories of 1 to %d steps over %d states; %d ended in a revocation; %d more met a documented limit",
				e.histories, depth, e.states, e.ended, e.limits)
		})
	}
}

// schedule is a long random history.
type schedule struct {
	*rand.Rand
	machine
	scenario
	turns       bool // thief and victim act further apart than the window
	loss, crash float64
	world       world
	steps       []action
	limits      int // steps that were left out because of a documented limit
}

const scheduleSteps = 40

func newSchedule(seed uint64, build func(window session.Millis) machine) *schedule {
	r := rand.New(rand.NewPCG(seed, 0x5e5510))
	all := scenarios()
	all[4] = all[2]
	n := seed % uint64(len(all))
	window := session.Millis(r.IntN(60_001))
	if r.IntN(10) == 0 {
		window = 0
	}
	s := &schedule{Rand: r, machine: build(window), scenario: all[n], turns: n == 4, loss: r.Float64() / 2, crash: r.Float64() / 5}
	s.world = s.machine.world()
	return s
}

// next returns the action of a random actor after a random wait.
func (s *schedule) next() action {
	a := s.actions[s.IntN(len(s.actions))]
	for !s.world.possible(a) {
		a = s.actions[s.IntN(len(s.actions))]
	}
	if a.op == send || a.op == thiefSend {
		switch x := s.Float64(); {
		case x < s.loss:
			a.fate = lost
		case x < s.loss+s.crash:
			a.fate = crashed
		default:
			a.fate = answered
		}
	}
	a.wait = s.wait()
	if s.turns && s.world.thief != 0 && a.op != read {
		apart := s.world.turnAt + s.window + ms - s.world.clock
		a.wait = max(a.wait, apart+session.Millis(s.IntN(2)))
	}
	return a
}

func (s *schedule) wait() session.Millis {
	w := s.window
	switch s.IntN(12) {
	case 0:
		return 0
	case 1:
		return w / 2
	case 2:
		return w
	case 3:
		return w + ms
	case 4:
		return 3*w + ms
	case 5:
		return session.Millis(s.Int64N(int64(20*w + 1)))
	case 6:
		if s.IntN(4) == 0 {
			return session.Millis(s.Int64N(int64(hour)))
		}
		return 2 * w
	case 7:
		if s.IntN(4) == 0 {
			return -session.Millis(s.Int64N(int64(3*w + 1)))
		}
		return ms
	}
	return session.Millis(s.Int64N(int64(w + 1)))
}

// run plays the history. It returns the property that does not hold, with the steps that show it.
func (s *schedule) run() (broken string, ended bool) {
	for range scheduleSteps {
		w, a := s.world, s.next()
		v := s.step(&w, a)
		if v.limit != "" {
			s.limits++
			continue
		}
		s.world, s.steps = w, append(s.steps, a)
		switch {
		case v.broken != "":
			lines := []string{v.broken, fmt.Sprintf("window %d ms", s.window)}
			for _, a := range s.steps {
				lines = append(lines, a.String())
			}
			return strings.Join(lines, "\n"), true
		case v.over:
			return "", true
		}
	}
	return "", false
}

func correct(window session.Millis) machine { return newMachine(rulesOf(window)) }

func TestRandomHistories(t *testing.T) {
	schedules := uint64(100_000)
	if reduced() {
		schedules = 10_000
	}
	steps, limits, ended := 0, 0, 0
	for seed := range schedules {
		s := newSchedule(seed, correct)
		broken, over := s.run()
		require.Empty(t, broken, "seed %d", seed)
		steps, limits = steps+len(s.steps), limits+s.limits
		if over {
			ended++
		}
	}
	t.Logf("%d schedules, %d steps; %d ended in a revocation or an expiry; %d steps left out for a documented limit", schedules, steps, ended, limits)
}

// refresher takes the place of rotation.Rules.Refresh and breaks a rule.
type refresher func(rotation.Rules, session.Session, rotation.Presented, session.Millis) (session.Session, rotation.Outcome)

// variant returns a function that builds a machine with broken rules.
func variant(refresh refresher) func(session.Millis) machine {
	return func(window session.Millis) machine {
		rules := rulesOf(window)
		m := newMachine(rules)
		m.refresh = func(s session.Session, p rotation.Presented, now session.Millis) (session.Session, rotation.Outcome) {
			return refresh(rules, s, p, now)
		}
		return m
	}
}

// alarmInstead breaks the rules: it raises an alarm in the cases that of selects.
func alarmInstead(of func(before session.Session, generation int64, out rotation.Outcome) bool) refresher {
	return func(rules rotation.Rules, s session.Session, p rotation.Presented, now session.Millis) (session.Session, rotation.Outcome) {
		after, out := rules.Refresh(s, p, now)
		if of(s, p.Generation, out) {
			return s.Revoke(session.ReasonReuse, now), rotation.Outcome{Event: rotation.EventTheft}
		}
		return after, out
	}
}

func otherRules(change func(*rotation.Rules)) func(session.Millis) machine {
	return variant(func(rules rotation.Rules, s session.Session, p rotation.Presented, now session.Millis) (session.Session, rotation.Outcome) {
		change(&rules)
		return rules.Refresh(s, p, now)
	})
}

// Every check must be able to fail. Each of these variants has a mistake that some state machine in use makes, or could
// make.
func TestBrokenRulesAreFound(t *testing.T) {
	type row = session.Session
	const oneClient, twoTabs, thief, restores, coalescing = 0, 1, 2, 3, 4
	repeated := func(parent, pending bool) func(row, int64, rotation.Outcome) bool {
		return func(before row, generation int64, out rotation.Outcome) bool {
			return out.Event == rotation.EventRepeated && (generation == before.Parent) == parent && (!parent || (before.ConfirmedAt == 0) == pending)
		}
	}
	for _, test := range []struct {
		name     string
		scenario int
		finds    string
		build    func(session.Millis) machine
	}{
		{"windows never close", thief, "P3", otherRules(func(r *rotation.Rules) { r.Window = 1000 * time.Hour })},
		{"windows close at once", twoTabs, "P1, P2", otherRules(func(r *rotation.Rules) { r.Window = -time.Millisecond })},
		{"strict", oneClient, "P1, P2", otherRules(func(r *rotation.Rules) { r.Strict = true })},
		{"no T3", restores, "P1, P2", variant(alarmInstead(func(_ row, _ int64, out rotation.Outcome) bool { return out.RolledBack }))},
		{"no T4'", coalescing, "P1, P2", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			if s.Ancestors[3].Generation != 0 {
				s.Ancestors = session.Ancestors{s.Ancestors[1], s.Ancestors[2], s.Ancestors[3]}
			}
			return r.Refresh(s, p, now)
		})},
		{"no T5", twoTabs, "P1, P2", variant(alarmInstead(repeated(true, true)))},
		{"no T6", oneClient, "P1, P2", variant(alarmInstead(func(_ row, _ int64, out rotation.Outcome) bool { return out.Event == rotation.EventRecovered }))},
		{"no T7", twoTabs, "P1, P2", variant(alarmInstead(repeated(true, false)))},
		{"no T8", twoTabs, "P1, P2", variant(alarmInstead(repeated(false, false)))},
		{"an unproved child is sent again without end", thief, "P3", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			after, out := r.Refresh(s, p, now)
			if out.Event == rotation.EventRecovered {
				s.SentAt, s.LastUsedAt, s.KeepUntil = after.SentAt, after.LastUsedAt, after.KeepUntil
				return s, rotation.Outcome{Event: rotation.EventRepeated, Generation: s.Current}
			}
			return after, out
		})},
		{"every repetition forks", twoTabs, "P1, P2", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			if s.RevokedAt == 0 && p.Generation == s.Parent && s.ConfirmedAt == 0 {
				s.SentAt -= session.Millis(r.Window.Milliseconds()) + ms
			}
			return r.Refresh(s, p, now)
		})},
		{"revoked comes back inside the window", thief, "P4", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			if s.RevokedAt != 0 && p.Generation == s.Current && now <= s.RevokedAt+session.Millis(r.Window.Milliseconds()) {
				s.RevokedAt, s.Reason = 0, ""
			}
			return r.Refresh(s, p, now)
		})},
		{"an alarm is not stored", thief, "P4", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			after, out := r.Refresh(s, p, now)
			if out.Event == rotation.EventTheft {
				return s, out
			}
			return after, out
		})},
		{"a proof revives", thief, "P4", func(window session.Millis) machine {
			m := correct(window)
			m.confirm = func(s row, generation int64, now session.Millis) row {
				s.RevokedAt, s.Reason = 0, ""
				return rulesOf(window).Confirm(s, generation, now)
			}
			return m
		}},
		{"generations are counted", restores, "P5", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			after, out := r.Refresh(s, p, now)
			if out.Event == rotation.EventRotated && !out.RolledBack {
				after.Current, after.Next, out.Generation = s.Next, s.Next+1, s.Next
			}
			return after, out
		})},
		{"rows go too early", oneClient, "the row goes", variant(func(r rotation.Rules, s row, p rotation.Presented, now session.Millis) (row, rotation.Outcome) {
			after, out := r.Refresh(s, p, now)
			after.KeepUntil = after.LastUsedAt + accessLifetime - ms
			return after, out
		})},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := scenarios()[test.scenario]
			e := test.build(exploredWindow).explore(s, 6, []session.Millis{0, exploredWindow, exploredWindow + ms})
			require.Contains(t, e.broken, test.finds, "no history shows it")
			t.Log(e.broken)
			for seed := range uint64(20_000) {
				if broken, _ := newSchedule(seed, test.build).run(); strings.Contains(broken, test.finds) {
					t.Logf("seed %d", seed)
					return
				}
			}
			t.Error("no random history shows it")
		})
	}
}
