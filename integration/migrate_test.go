package integration

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/userstore"
)

// TestMigrate migrates an empty database from many sides at the same time, and then again. There must be one schema, and the
// data in it must stay.
func TestMigrate(t *testing.T) {
	const starts = 8
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			host := kind.host(t)
			t.Run("connections", func(t *testing.T) {
				d := *host.fresh(t).database
				unmigrated, err := sqlstore.NewSessions(openSQL(t, d), d.dialect)
				require.NoError(t, err)
				_, err = unmigrated.ReadLog(t.Context(), session.End, 1, func(session.Entry) {}) // as signet.New does
				require.ErrorContains(t, err, "call sqlstore.Migrate first")
				migrate := func() error {
					return sqlstore.Migrate(context.Background(), openSQL(t, d), d.dialect)
				}
				for range 2 {
					for _, err := range together(starts, migrate) {
						require.NoError(t, err)
					}
					db := openSQL(t, d)
					err := sqlUsers(t, db, d.dialect).Add(t.Context(), john)
					if err != nil {
						require.ErrorIs(t, err, userstore.ErrExists)
					}
					found, err := sqlUsers(t, db, d.dialect).FindByID(t.Context(), john.ID)
					require.NoError(t, err)
					require.Equal(t, john.Email, found.Email)
					var components int
					require.NoError(t, db.QueryRow("SELECT count(*) FROM signet_schema").Scan(&components))
					require.Equal(t, 1, components)
				}
			})
			t.Run("processes", func(t *testing.T) {
				args := host.fresh(t).args
				for _, copies := range []int{starts, 2} { // the second time with the tables of the first time
					var awaits []func() error
					var programs []*program
					for range copies {
						p, await := launch(t, args...)
						programs, awaits = append(programs, p), append(awaits, await)
					}
					for _, await := range awaits {
						require.NoError(t, await())
					}
					p := login(t, programs[0].url)
					requireProfile(t, programs[copies-1].url, refresh(t, programs[1].url, p))
					for _, p := range programs {
						p.kill()
					}
				}
			})
		})
	}
}

// TestMigrateInOneSchema: a service with a schema of its own does not take the tables of another one, which search_path finds too.
func TestMigrateInOneSchema(t *testing.T) {
	host := hostPostgres(t)
	shared, own := *host.fresh(t).database, *host.fresh(t).database
	schema := func(d database) string { _, name, _ := strings.Cut(d.dsn, "search_path="); return name }
	both := own
	both.dsn += "," + schema(shared)
	migrate := func(d database) error { return sqlstore.Migrate(t.Context(), openSQL(t, d), d.dialect) }

	require.NoError(t, migrate(shared))
	err := migrate(both)
	require.ErrorContains(t, err, schema(shared))
	require.ErrorContains(t, err, schema(own))
	require.NoError(t, migrate(own))
	require.NoError(t, migrate(both), "the tables are in the first schema")
	require.NoError(t, sqlUsers(t, openSQL(t, both), both.dialect).Add(t.Context(), john))
	_, err = sqlUsers(t, openSQL(t, shared), shared.dialect).FindByID(t.Context(), john.ID)
	require.ErrorIs(t, err, userstore.ErrNotFound)
}

// TestMigrateEncoding: a database that cannot hold every text is refused, and not the users whose browsers send such texts.
func TestMigrateEncoding(t *testing.T) {
	server := servers.Postgres(t)
	super, err := url.Parse(server.URL())
	require.NoError(t, err)
	super.User = url.User("postgres")
	admin := openSQL(t, database{"pgx", super.String(), sqlstore.PostgreSQL})
	for encoding, want := range map[string]string{"UTF8": "", "LATIN1": "LATIN1", "EUC_JP": "EUC_JP"} {
		name := freshName()
		_, err := admin.Exec("CREATE DATABASE " + name + " ENCODING '" + encoding + "' LOCALE 'C' TEMPLATE template0")
		require.NoError(t, err)
		super.Path = "/" + name
		db := openSQL(t, database{"pgx", super.String() + "&client_encoding=UTF8", sqlstore.PostgreSQL})
		err = sqlstore.Migrate(t.Context(), db, sqlstore.PostgreSQL)
		if want == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, want)
		}
	}
}

// TestMigrateBytes: without the check every login would be 503.
func TestMigrateBytes(t *testing.T) {
	d := *hostPostgres(t).fresh(t).database
	for settings, works := range map[string]bool{"": true, "&default_query_exec_mode=simple_protocol": true, "&standard_conforming_strings=off": true,
		"&bytea_output=escape": true, "&bytea_output=escape&default_query_exec_mode=simple_protocol": false} {
		err := sqlstore.Migrate(t.Context(), openSQL(t, database{d.driver, d.dsn + settings, d.dialect}), d.dialect)
		if works {
			require.NoError(t, err, settings)
		} else {
			require.ErrorContains(t, err, "bytea_output=hex")
		}
	}
}

// TestMigrateNewFile: whoever opens a new file of SQLite switches it to the write-ahead log. If another process writes to the
// file at that moment, SQLite gives the switch up at once, whatever busy_timeout says.
func TestMigrateNewFile(t *testing.T) {
	d := *hostSQLite(t).fresh(t).database
	file, _, _ := strings.Cut(d.dsn, "?")
	other, err := openSQL(t, database{d.driver, file, d.dialect}).Conn(t.Context())
	require.NoError(t, err)
	defer other.Close()
	_, err = other.ExecContext(t.Context(), "BEGIN IMMEDIATE")
	require.NoError(t, err)
	_, err = openSQL(t, d).Conn(t.Context())
	require.ErrorContains(t, err, "SQLITE_BUSY")

	migrated := make(chan error, 1)
	go func() { migrated <- sqlstore.Migrate(t.Context(), openSQL(t, d), d.dialect) }()
	select {
	case err := <-migrated:
		t.Fatalf("Migrate did not wait: %v", err)
	case <-time.After(100 * time.Millisecond):
	}
	_, err = other.ExecContext(t.Context(), "ROLLBACK")
	require.NoError(t, err)
	require.NoError(t, <-migrated)
}

// TestMigrateBesideAnAdministrator: somebody else makes the index of a step, and needs longer for it than a step is repeated.
func TestMigrateBesideAnAdministrator(t *testing.T) {
	d := *hostMariaDB(t).fresh(t).database
	db := openSQL(t, d)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, d.dialect))
	for _, statement := range []string{
		"ALTER TABLE signet_sessions DROP INDEX signet_sessions_live, DROP INDEX signet_sessions_log, ADD INDEX signet_sessions_user (user_id)",
		"UPDATE signet_schema SET version = 2",
	} {
		_, err := db.Exec(statement)
		require.NoError(t, err)
	}
	report, err := db.Begin() // a long one keeps the administrator's ALTER waiting
	require.NoError(t, err)
	var n int
	require.NoError(t, report.QueryRow("SELECT COUNT(*) FROM signet_sessions").Scan(&n))
	altered, migrated := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := db.Exec(`ALTER TABLE signet_sessions DROP INDEX signet_sessions_user,
			ADD INDEX signet_sessions_live (user_id, revoked_at), ADD INDEX signet_sessions_log (pos, revoked_at)`)
		altered <- err
	}()
	time.Sleep(500 * time.Millisecond)
	go func() { migrated <- sqlstore.Migrate(t.Context(), openSQL(t, d), d.dialect) }()
	time.Sleep(6 * time.Second)
	require.NoError(t, report.Commit())
	require.NoError(t, <-altered)
	require.NoError(t, <-migrated)
}
