package bench

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	sessions "github.com/signet-go/signet/session"
	"github.com/signet-go/signet/userstore"
)

var (
	silent = slog.New(slog.NewTextHandler(io.Discard, nil))
	secret = keys.Secret([]byte("Zk8pV3n1QyXr5tB7wLs9Hd2GcJ4mUaEo"))
)

const (
	refreshPath  = "/api/v1/auth/refresh-token"
	refreshStart = `{"refreshToken":"`
	refreshEnd   = `"}`

	provedPath  = "/orders"  // guarded by the Auth: a request proves that its tokens have arrived
	checkedPath = "/checked" // guarded by a Verifier: it proves nothing

	proofLimit = 2 * time.Second
)

// storedRow is what a service says about a session in its store.
type storedRow struct {
	Lost        bool // there is no such session, or it was revoked
	Generation  int64
	ConfirmedAt sessions.Millis
}

// refreshService has sessions of as many users. Its users are in memory.
func refreshService(spec childSpec) (*service, error) {
	store, err := spec.Store.sessions()
	if err != nil {
		return nil, err
	}
	users := userstore.NewMemory()
	auth, err := signet.New(users, secret, signet.WithSessionStore(store), signet.WithLogger(silent))
	if err != nil {
		return nil, err
	}
	tokens := make([]signet.Tokens, spec.Sessions)
	ids := make([]string, spec.Sessions)
	ctx := context.Background()
	err = together(8*runtime.GOMAXPROCS(0), spec.Sessions, func(_, i int) (err error) {
		id := strconv.Itoa(i + 1)
		user := userstore.User{ID: id, Email: "user" + id + "@mail.com", Roles: []string{"customer"}}
		if err := users.Add(ctx, user); err != nil {
			return err
		}
		if tokens[i], err = auth.IssueFor(ctx, user); err != nil {
			return err
		}
		ids[i], _, err = sessionOf(tokens[i].RefreshToken)
		return err
	})
	if err != nil {
		return nil, err
	}
	verifier, err := signet.NewVerifier(secret)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/auth/", auth.Handler("/api/v1/auth"))
	mux.Handle("GET "+provedPath, auth.RequireAuth(orders))
	mux.Handle("GET "+checkedPath, verifier.RequireAuth(orders))
	return &service{handler: mux, greeting: tokens, commands: map[string]func(string) (any, error){
		"rows": func(string) (any, error) { return storedRows(ctx, store, ids) },
	}}, nil
}

// storedRows reads the sessions and changes nothing.
func storedRows(ctx context.Context, store sessions.Store, ids []string) ([]storedRow, error) {
	rows := make([]storedRow, len(ids))
	err := together(8, len(ids), func(_, i int) error {
		err := store.Update(ctx, ids[i], func(row sessions.Session, _ sessions.Moment) (sessions.Session, error) {
			rows[i] = storedRow{row.RevokedAt != 0, row.Current, row.ConfirmedAt}
			return row, nil
		})
		if errors.Is(err, sessions.ErrNotFound) {
			rows[i].Lost, err = true, nil
		}
		return err
	})
	return rows, err
}

// sessionOf reads the payload of a token of signet.
func sessionOf(token string) (id string, generation int64, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", 0, fmt.Errorf("%q is no token", token)
	}
	payload, err := b64.DecodeString(parts[1])
	if err != nil {
		return "", 0, err
	}
	var c struct {
		Session    string `json:"sid"`
		Generation int64  `json:"gen"`
	}
	err = json.Unmarshal(payload, &c)
	return c.Session, c.Generation, err
}

// rawService reads a row and writes it if nobody has changed it, and knows nothing of tokens. A request begins with
// the id.
func rawService(spec childSpec) (*service, error) {
	rows, err := spec.Store.raw()
	if err != nil {
		return nil, err
	}
	ids := make([]string, spec.Sessions)
	for i := range ids {
		ids[i] = newID()
	}
	if err := rows.insert(context.Background(), ids, strings.Repeat("a", rawRow)); err != nil {
		return nil, err
	}
	after, answer := strings.Repeat("b", rawRow), bytes.Repeat([]byte("c"), spec.Answer)
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+refreshPath, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || len(body) < len(refreshStart)+len(ids[0]) {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		changed, err := rows.bump(r.Context(), string(body[len(refreshStart):][:len(ids[0])]), after)
		if err != nil || !changed {
			http.Error(w, fmt.Sprint(changed, err), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.WriteHeader(http.StatusCreated)
		w.Write(answer)
	})
	return &service{handler: mux, greeting: ids}, nil
}

// refresher is the clients of one service.
type refresher struct {
	*child
	tokens []signet.Tokens
	proved []time.Time // when the request with the newest access token was answered
}

func startRefresher(t testing.TB, store storeSpec, sessions int) *refresher {
	r := &refresher{proved: make([]time.Time, sessions)}
	r.child = startChild(t, childSpec{Kind: "refresh", Store: store, Sessions: sessions}, &r.tokens)
	return r
}

// round refreshes each session once. A request to path with the new access token follows each refresh, unless path is
// empty.
func (r *refresher) round(path string) (rate, cpu float64, latencies []time.Duration, rotated int) {
	r.t.Helper()
	before := make([]string, len(r.tokens))
	for i := range r.tokens {
		before[i] = r.tokens[i].RefreshToken
	}
	rate, cpu, latencies = r.all(len(r.tokens), func(c *conn, i int) (took time.Duration, err error) {
		began := time.Now()
		err = want(http.StatusCreated)(c.post(refreshPath, refreshStart, r.tokens[i].RefreshToken, refreshEnd))
		if took = time.Since(began); err != nil {
			return took, err
		}
		r.tokens[i].AccessToken, r.tokens[i].RefreshToken = c.field("access_token"), c.field("refresh_token")
		if path != "" {
			err = want(http.StatusOK)(c.get(path, r.tokens[i].AccessToken))
			r.proved[i] = time.Now()
		}
		return took, err
	})
	for i, token := range before {
		_, old, err := sessionOf(token)
		_, now, err2 := sessionOf(r.tokens[i].RefreshToken)
		if err := errors.Join(err, err2); err != nil {
			r.t.Fatal(err)
		}
		if now != old {
			rotated++
		}
	}
	return rate, cpu, latencies, rotated
}

// all works on n sessions from all connections, in a closed loop.
func (c *child) all(n int, work func(c *conn, i int) (time.Duration, error)) (
	rate, cpu float64, latencies []time.Duration,
) {
	c.t.Helper()
	conns := c.dial(connections)
	defer hangUp(conns)
	latencies = make([]time.Duration, n)
	used, began := c.cpu(), time.Now()
	err := together(connections, n, func(worker, i int) (err error) {
		latencies[i], err = work(conns[worker], i)
		return err
	})
	took, used := time.Since(began), c.cpu()-used
	if err != nil {
		c.fail(err)
	}
	return float64(n) / took.Seconds(), float64(used.Nanoseconds()) / float64(n), latencies
}

// check counts the sessions that are not as their clients left them, and the proofs that were stored in time. A proof
// has the time of the store's clock, which is the clock of this machine.
func (r *refresher) check() (lost int, stored float64) {
	r.t.Helper()
	var rows []storedRow
	r.ask("rows", &rows)
	for i, row := range rows {
		_, generation, err := sessionOf(r.tokens[i].RefreshToken)
		if err != nil {
			r.t.Fatal(err)
		}
		if row.Lost || row.Generation != generation {
			lost++
		}
		if row.ConfirmedAt != 0 && row.ConfirmedAt <= sessions.MillisOf(r.proved[i].Add(proofLimit)) {
			stored++
		}
	}
	return lost, stored / float64(len(rows))
}

// measureStores measures refreshes in each store in turn, first without and then with proofs of delivery. All servers
// run all the time.
func measureStores(t *testing.T, size serviceSize) (runs []StoreRun, missing []string) {
	stores, missing := storesHere(t)
	runs = make([]StoreRun, len(stores))
	for i, store := range stores {
		runs[i] = StoreRun{Name: store.Name, Sessions: size.sessions}
		if store.Driver == "memory" {
			runs[i].Sessions *= 5 // it is so fast that the run would be short
		}
	}
	// Without proofs of delivery, beside the bare service.
	refreshers, bare := make([]*refresher, len(stores)), make([]*child, len(stores))
	ids := make([][]string, len(stores))
	for i, store := range stores {
		refreshers[i] = startRefresher(t, store, runs[i].Sessions)
		answer, err := json.Marshal(refreshers[i].tokens[0])
		if err != nil {
			t.Fatal(err)
		}
		spec := childSpec{Kind: "raw", Store: store, Sessions: runs[i].Sessions, Answer: len(answer) + len("\n")}
		bare[i] = startChild(t, spec, &ids[i])
	}
	rotated := make([]int, len(stores))
	for range size.rounds {
		for i := range stores {
			run := &runs[i]
			rate, cpu, latencies, n := refreshers[i].round("")
			rotated[i] += n
			run.Refresh, run.RefreshCPU = append(run.Refresh, rate), append(run.RefreshCPU, cpu)
			run.P50 = append(run.P50, quantile(latencies, 0.5))
			run.P99 = append(run.P99, quantile(latencies, 0.99))

			padding := strings.Repeat("x", len(refreshers[i].tokens[0].RefreshToken)-len(ids[i][0]))
			rate, cpu, latencies = bare[i].all(run.Sessions, func(c *conn, row int) (time.Duration, error) {
				began := time.Now()
				err := want(http.StatusCreated)(c.post(refreshPath, refreshStart, ids[i][row], padding, refreshEnd))
				return time.Since(began), err
			})
			run.Raw, run.RawCPU = append(run.Raw, rate), append(run.RawCPU, cpu)
			run.RawP50 = append(run.RawP50, quantile(latencies, 0.5))
			run.RawP99 = append(run.RawP99, quantile(latencies, 0.99))
		}
	}
	for i, store := range stores {
		runs[i].Lost, _ = refreshers[i].check()
		refreshers[i].stop()
		bare[i].stop()
		if store.Driver == "pgx" {
			runs[i].HOT = hotUpdates(t, store, rotated[i])
		}
	}
	// With proofs of delivery.
	for i, store := range stores {
		refreshers[i] = startRefresher(t, store, runs[i].Sessions)
	}
	for range size.rounds {
		for i := range stores {
			checked, _, _, n := refreshers[i].round(checkedPath)
			proved, _, _, m := refreshers[i].round(provedPath)
			rotated[i] += n + m
			time.Sleep(size.settle)
			lost, stored := refreshers[i].check()
			runs[i].Lost += lost
			runs[i].Checked, runs[i].Proved = append(runs[i].Checked, checked), append(runs[i].Proved, proved)
			runs[i].Stored = append(runs[i].Stored, stored)
		}
	}
	for i := range runs {
		runs[i].Rotated = float64(rotated[i]) / float64(3*size.rounds*runs[i].Sessions)
		refreshers[i].stop()
	}
	return runs, missing
}

// hotUpdates returns the share of updates of sessions that changed no index. PostgreSQL counts the last updates of a
// connection when the connection has ended.
func hotUpdates(t *testing.T, store storeSpec, atLeast int) float64 {
	db, err := store.openSQL()
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for limit := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		var updates, hot int
		err := db.QueryRow(`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
			WHERE relname = 'signet_sessions'`).Scan(&updates, &hot)
		switch {
		case err != nil:
			t.Fatal(err)
		case updates >= atLeast:
			return float64(hot) / float64(max(updates, 1))
		case time.Now().After(limit):
			t.Fatalf("PostgreSQL has counted %d updates of %d", updates, atLeast)
		}
	}
}
