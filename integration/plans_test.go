package integration

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
)

// recorder notes the queries of a store exactly as they are sent.
type recorder struct {
	mu      sync.Mutex
	queries map[string][]any
}

// TraceQueryStart implements pgx.QueryTracer.
func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, q pgx.TraceQueryStartData) context.Context {
	r.mu.Lock()
	defer r.mu.Unlock()
	args := slices.DeleteFunc(slices.Clone(q.Args), func(arg any) bool {
		_, isOption := arg.(pgx.QueryResultFormatsByOID)
		return isOption
	})
	r.queries[q.SQL] = args
	return ctx
}

// TraceQueryEnd implements pgx.QueryTracer.
func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// queriesOnRows is the number of queries of the stores that look for rows.
const queriesOnRows = 31

// TestPlans requires that every query of the stores uses an index in PostgreSQL and SQLite. The table has 50,000 sessions.
// Few of them are revoked, and few have expired.
func TestPlans(t *testing.T) {
	t.Run("PostgreSQL", func(t *testing.T) {
		d := postgres.host(t).fresh(t).database
		config, err := pgx.ParseConfig(d.dsn)
		require.NoError(t, err)
		traced := &recorder{queries: map[string][]any{}}
		config.Tracer = traced
		db := stdlib.OpenDB(*config)
		defer db.Close()
		useEveryQuery(t, db, *d)
		plain := openSQL(t, *d)
		fill(t, plain, "generate_series(1, 50000) AS n(n)", "convert_to('id' || n, 'UTF8')", "ANALYZE")
		seen := 0
		for query, args := range traced.queries {
			if !isOnRows(query) {
				continue
			}
			seen++
			for _, mode := range []string{"force_custom_plan", "force_generic_plan"} { // either plan can be used
				requirePlan(t, query, explainPostgres(t, plain, mode, query, args))
			}
		}
		require.Equal(t, queriesOnRows, seen)
	})
	t.Run("SQLite", func(t *testing.T) {
		d := sqlite.host(t).fresh(t).database
		queries := map[string]bool{}
		useEveryQuery(t, openWatched(t, *d, func(query string) { queries[query] = true }), *d)
		plain := openSQL(t, *d)
		fill(t, plain, "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM c WHERE n < 50000) SELECT n FROM c) AS n",
			"CAST('id' || n AS BLOB)", "ANALYZE")
		seen := 0
		for query := range queries {
			if isOnRows(query) {
				seen++
				requirePlan(t, query, explainSQLite(t, plain, query))
			}
		}
		require.Equal(t, queriesOnRows, seen)
	})
}

// TestRefreshIsHOT requires that at least 90 % of the refreshes write to no index of PostgreSQL, even if all proofs of delivery
// beside them write to none. Between two refreshes of a session there are 15 minutes.
func TestRefreshIsHOT(t *testing.T) {
	const sessions, each = 200, 12
	const refreshes, updates = sessions * each, sessions * each * 5 / 4
	d := postgres.host(t).fresh(t).database
	db := openSQL(t, *d)
	s := sqlSessions(t, db, d.dialect)
	var ids []string
	for i := range sessions {
		id := session.NewID(fmt.Sprint("user", i))
		ids = append(ids, id)
		require.NoError(t, s.Create(t.Context(), fmt.Sprint("user", i), func(at session.Moment) (session.Session, error) {
			return session.Session{ID: id, UserID: fmt.Sprint("user", i), UserAgent: strings.Repeat("agent", 20),
				LastUsedAt: at.Now, KeepUntil: at.Now.Add(30 * 24 * time.Hour)}, nil
		}))
	}
	// The sessions are at different times of the hours in which keep_until stays. This writes each row once, and not HOT.
	_, err := db.Exec("UPDATE signet_sessions SET keep_until = keep_until - (hashtext(id) & 16777215)")
	require.NoError(t, err)
	for range each {
		for _, id := range ids {
			require.NoError(t, s.Update(t.Context(), id, func(row session.Session, at session.Moment) (session.Session, error) {
				row.Next = int64(at.Now)
				row.LastUsedAt, row.KeepUntil = row.LastUsedAt.Add(15*time.Minute), row.KeepUntil.Add(15*time.Minute)
				return row, nil
			}))
		}
		for some := range slices.Chunk(ids, 20) { // a page with all its rows in one batch would be full
			spread := make([]string, len(some)/4)
			for i := range spread {
				spread[i] = some[4*i]
			}
			require.NoError(t, s.UpdateBatch(t.Context(), spread, func(row session.Session, now session.Millis) session.Session {
				row.ConfirmedAt = now
				return row
			}))
		}
	}
	var all, hot int
	require.Eventually(t, func() bool { // the server counts with a delay
		err := db.QueryRow(`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables
			WHERE relname = 'signet_sessions' AND schemaname = current_schema()`).Scan(&all, &hot)
		require.NoError(t, err)
		return all == sessions+updates
	}, 20*time.Second, 100*time.Millisecond)
	results.note(t, "HOT updates of PostgreSQL, %d refreshes and %d proofs: %.1f %%", refreshes, updates-refreshes,
		100*float64(hot)/updates)
	require.GreaterOrEqual(t, hot-(updates-refreshes), refreshes*9/10, "if all proofs are HOT, so many refreshes are not")
}

func explainSQLite(t *testing.T, db *sql.DB, query string) string {
	t.Helper()
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, make([]any, strings.Count(query, "?"))...)
	require.NoError(t, err)
	defer rows.Close()
	var plan []string
	for rows.Next() {
		var id, parent, unused int
		var line string
		require.NoError(t, rows.Scan(&id, &parent, &unused, &line))
		plan = append(plan, line)
	}
	require.NoError(t, rows.Err())
	return strings.Join(plan, "\n")
}

// requirePlan requires that the plan uses the indexes that were made for the query, and that it scans no table with many rows.
func requirePlan(t *testing.T, query, plan string) {
	t.Helper()
	plan = strings.ReplaceAll(plan, "Bitmap Heap Scan", "")
	require.NotRegexp(t, "(?i)scan (on )?(signet_(sessions|cutoffs|users|throttle)|s|t)($|[^_a-z])", plan, query)
	require.Regexp(t, "(?i)index", plan, query)
	for condition, index := range map[string]string{
		"FROM signet_sessions WHERE keep_until < ": "signet_sessions_keep",
		"FROM signet_cutoffs WHERE keep_until < ":  "signet_cutoffs_keep",
		"FROM signet_throttle WHERE keep_until < ": "signet_throttle_keep",
		"FROM signet_sessions WHERE user_id = ":    "signet_sessions_live",
		"revoked_at > 0 AND pos > ":                "signet_sessions_log",
		"signet_cutoffs  WHERE pos":                "signet_cutoffs_log",
	} {
		if strings.Contains(query, condition) {
			require.Contains(t, plan, index, query)
		}
	}
}

// useEveryQuery calls every method of the stores.
func useEveryQuery(t *testing.T, db *sql.DB, d database) {
	ctx := t.Context()
	sessions, users := sqlSessions(t, db, d.dialect), sqlUsers(t, db, d.dialect)
	log := newReader(sessions, 1)
	require.NoError(t, revoke(ctx, sessions, create(t, sessions, "1")))
	for range 2 { // a first cut-off, and the next one
		require.NoError(t, cut(ctx, sessions, "1"))
		log.requirePull(t)
	}
	log.requirePull(t)
	for range 2 { // numbered in two batches
		require.NoError(t, revoke(ctx, sessions, create(t, sessions, "1")))
		for range 2 {
			log.requirePull(t)
		}
	}
	newReader(sessions, 1).requirePull(t) // has more than one page
	_, _, err := sessions.List(ctx, "1", 10)
	require.NoError(t, err)
	require.NoError(t, sessions.UpdateBatch(ctx, []string{create(t, sessions, "1"), create(t, sessions, "1"), "none"},
		func(row session.Session, now session.Millis) session.Session {
			return row.Revoke(session.ReasonLogout, now)
		}))
	id := create(t, sessions, "1")
	require.NoError(t, sqlSessions(t, db, d.dialect).Update(ctx, id, func(row session.Session, _ session.Moment) (session.Session, error) {
		row.Tries++ // in a process that does not remember the row
		return row, nil
	}))
	limited, err := sqlstore.NewSessions(db, d.dialect, sqlstore.WithMaxPerUser(1))
	require.NoError(t, err)
	create(t, limited, "1")
	create(t, limited, "1")
	require.NoError(t, sessions.Cut(ctx, "past", func(c session.Cutoff, _, now session.Millis) (session.Cutoff, error) {
		return c.End("", 1, now), nil
	}))
	n, err := sessions.DeleteExpired(ctx, far, 100)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.NoError(t, users.Add(ctx, john))
	require.NoError(t, users.Update(ctx, john))
	require.NoError(t, users.UpdatePasswordHash(ctx, john.ID, "", "x"))
	_, err = users.FindByEmail(ctx, john.Email)
	require.NoError(t, err)
	require.NoError(t, users.Delete(ctx, john.ID))
	attempts, err := sqlstore.NewThrottle(db, d.dialect)
	require.NoError(t, err)
	for i := range 600 { // some of the writes also delete what has expired
		require.NoError(t, attempts.Update(ctx, throttle.Key{}, func(_ throttle.Record, now time.Time) (throttle.Record, time.Time, error) {
			if i == 599 {
				return "", now, nil
			}
			return throttle.Record(fmt.Sprint(i)), now, nil
		}))
	}
}

// fill adds users, sessions and records of the throttle. numbers is a table n of numbers, and key makes bytes of a number.
func fill(t *testing.T, db *sql.DB, numbers, key string, after ...string) {
	t.Helper()
	for _, statement := range append([]string{
		fmt.Sprintf(`INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data)
			SELECT 'id' || n, 'user' || n / 5, 1, CASE WHEN n %% 100 = 0 THEN n ELSE %d END,
				CASE WHEN n %% 100 = 1 THEN n ELSE 0 END, '{}' FROM %s`, far, numbers),
		"UPDATE signet_sessions SET pos = revoked_at WHERE revoked_at > 1000",
		fmt.Sprintf(`INSERT INTO signet_cutoffs (user_id, version, keep_until, pos, data)
			SELECT 'other' || n, 1, CASE WHEN n %% 100 = 0 THEN n ELSE %d END, CASE WHEN n > 1000 THEN n END, '{}' FROM %s`,
			far, numbers),
		fmt.Sprintf(`INSERT INTO signet_users (id, email_key, email, password_hash, roles, disabled, profile, attributes)
			SELECT 'id' || n, 'mail' || n, 'mail' || n, 'x', '[]', 0, '{}', '{}' FROM %s`, numbers),
		fmt.Sprintf(`INSERT INTO signet_throttle (id, version, keep_until, data)
			SELECT %s, 1, CASE WHEN n %% 100 = 0 THEN n ELSE %d END, %s FROM %s`, key, far, key, numbers),
	}, after...) {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
}

// isOnRows reports whether a query looks for rows in the tables of signet.
func isOnRows(query string) bool {
	return strings.Contains(query, "WHERE") && !strings.Contains(query, "CREATE ") && !strings.Contains(query, "MIN(revoked_at)") &&
		(strings.Contains(query, "signet_sessions") || strings.Contains(query, "signet_users") || strings.Contains(query, "signet_cutoffs") ||
			strings.Contains(query, "signet_throttle"))
}

// explainPostgres returns the plan of a prepared query.
func explainPostgres(t *testing.T, db *sql.DB, mode, query string, args []any) string {
	t.Helper()
	conn, err := db.Conn(t.Context())
	require.NoError(t, err)
	defer conn.Close()
	var plan string
	require.NoError(t, conn.Raw(func(raw any) error {
		c := raw.(*stdlib.Conn).Conn()
		ctx := t.Context()
		// A plan for any arguments assumes that LIMIT asks for a tenth of the table. PostgreSQL may then scan all rows,
		// although an index would do. With enable_seqscan = off it scans them only if no index would do.
		for _, setting := range []string{"plan_cache_mode = " + mode, "enable_seqscan = off"} {
			if _, err := c.Exec(ctx, "SET "+setting); err != nil {
				return err
			}
		}
		if _, err := c.Exec(ctx, "PREPARE explained AS "+query); err != nil {
			return err
		}
		defer c.Exec(ctx, "DEALLOCATE explained")
		values := make([]string, len(args))
		for i, arg := range args {
			values[i] = quote(arg)
		}
		statement := "EXPLAIN EXECUTE explained(" + strings.Join(values, ", ") + ")"
		rows, err := c.Query(ctx, strings.Replace(statement, "()", "", 1), pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		plan = strings.Join(lines, "\n")
		return err
	}))
	return plan
}

// quote writes an argument as a literal. If the argument is not a number, the literal has no known type.
func quote(arg any) string {
	switch arg := arg.(type) {
	case string:
		return "'" + strings.ReplaceAll(arg, "'", "''") + "'"
	case []byte:
		if bytes.IndexByte(arg, 0) >= 0 { // a key of the throttle
			return fmt.Sprintf(`'\x%x'`, arg)
		}
		return quote(string(arg))
	}
	text, _ := json.Marshal(arg)
	return string(text)
}
