package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	app "github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/integration/servers"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// factorPlaces opens a factor on each of the databases, with connections of its own.
func factorPlaces(t *testing.T, at []database, now func() time.Time) (factors []*totp.Factor) {
	t.Helper()
	for _, d := range at {
		f, err := totp.New(sqlUsers(t, openSQL(t, d), d.dialect), bytes.Repeat([]byte{7}, 32), totp.WithClock(now))
		require.NoError(t, err)
		factors = append(factors, f)
	}
	return factors
}

// each calls try 100 times on each factor at the same moment, and returns how often it succeeded.
func each(t *testing.T, factors []*totp.Factor, try func(f *totp.Factor) (bool, error)) int {
	t.Helper()
	var next, right atomic.Int64
	for _, err := range together(100*len(factors), func() error {
		ok, err := try(factors[int(next.Add(1))%len(factors)])
		if ok {
			right.Add(1)
		}
		return err
	}) {
		require.NoError(t, err)
	}
	return int(right.Load())
}

// TestFactorOnce gives one code to three processes, 100 times each. It works once.
func TestFactorOnce(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := *kind.host(t).fresh(t).database
			factorOnce(t, []database{d, d, d})
		})
	}
}

// TestFactorOnceGalera does the same with three nodes of a cluster.
func TestFactorOnceGalera(t *testing.T) {
	var at []database
	for _, node := range servers.Galera(t, 3) {
		at = append(at, database{"mysql", node.URL() + "&interpolateParams=true" + causal, sqlstore.MariaDB})
	}
	factorOnce(t, at)
}

func factorOnce(t *testing.T, at []database) {
	ctx := t.Context()
	var step atomic.Int64
	now := func() time.Time { return time.Unix(1_800_000_000+30*step.Load(), 0) }
	factors := factorPlaces(t, at, now)
	require.NoError(t, sqlUsers(t, openSQL(t, at[0]), at[0].dialect).Add(ctx, john))
	e, err := factors[0].Begin(ctx, john.ID, john.Email)
	require.NoError(t, err)
	code, err := app.GenerateCode(e.Secret, now())
	require.NoError(t, err)
	var mu sync.Mutex
	var codes []string
	require.Equal(t, 1, each(t, factors, func(f *totp.Factor) (bool, error) {
		got, err := f.Confirm(ctx, john.ID, code)
		if errors.Is(err, totp.ErrEnrolled) {
			return false, nil
		}
		mu.Lock()
		defer mu.Unlock()
		codes = append(codes, got...)
		return err == nil, err
	}))
	require.Len(t, codes, 10)
	verify := func(code string) int {
		return each(t, factors, func(f *totp.Factor) (bool, error) {
			amr, err := f.Verify(ctx, john.ID, code)
			return amr != nil, err
		})
	}
	for i := range 3 {
		require.Zero(t, verify(code), "a used code of the app")
		step.Add(1)
		code, err = app.GenerateCode(e.Secret, now())
		require.NoError(t, err)
		require.Equal(t, 1, verify(code), "a code of the app")
		require.Equal(t, 1, verify(codes[i]), "a recovery code")
		require.Zero(t, verify(codes[i]), "a used recovery code")
	}
	require.Equal(t, 7, each(t, factors, allCodes(t, john.ID, codes[3:])), "seven recovery codes at once")
}

// allCodes gives one of the codes to each call.
func allCodes(t *testing.T, userID string, codes []string) func(f *totp.Factor) (bool, error) {
	var next atomic.Int64
	return func(f *totp.Factor) (bool, error) {
		amr, err := f.Verify(t.Context(), userID, codes[int(next.Add(1))%len(codes)])
		return amr != nil, err
	}
}

// TestFactorBeside migrates a database that the version before uses. A process of that version goes on. When it deletes a
// user, the user's factors are gone.
func TestFactorBeside(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := *kind.host(t).fresh(t).database
			db := openSQL(t, d)
			for _, name := range []string{"001", "002", "003"} {
				text, err := os.ReadFile(filepath.Join("..", "sqlstore", "migrations", string(d.dialect), name+".sql"))
				require.NoError(t, err)
				for statement := range strings.SplitSeq(string(text), ";\n") {
					if strings.TrimSpace(statement) != "" {
						_, err := db.Exec(statement)
						require.NoError(t, err)
					}
				}
			}
			for _, statement := range []string{
				"CREATE TABLE signet_schema (component VARCHAR(64) PRIMARY KEY, version BIGINT NOT NULL)",
				"INSERT INTO signet_schema (component, version) VALUES ('signet', 3)"} {
				_, err := db.Exec(statement)
				require.NoError(t, err)
			}
			insert := func(id string) {
				_, err := db.Exec(fmt.Sprintf(`INSERT INTO signet_users (email_key, email, password_hash, roles, disabled, profile,
					attributes, id) VALUES ('%[1]s@example.com', '%[1]s@example.com', 'h', '[]', 0, 'null', 'null', '%[1]s')`, id))
				require.NoError(t, err)
			}
			insert("before")
			for _, err := range together(3, func() error { return sqlstore.Migrate(t.Context(), openSQL(t, d), d.dialect) }) {
				require.NoError(t, err)
			}
			insert("after")
			users := sqlUsers(t, db, d.dialect)
			for _, id := range []string{"before", "after"} {
				require.NoError(t, users.ReplaceFactor(t.Context(), id, "totp", nil, []byte("value")))
				_, err := db.Exec(fmt.Sprintf(`UPDATE signet_users SET password_hash = 'h2', disabled = 1 WHERE id = '%s'`, id))
				require.NoError(t, err)
				value, err := users.Factor(t.Context(), id, "totp")
				require.NoError(t, err)
				require.Equal(t, "value", string(value))
				_, err = db.Exec(fmt.Sprintf(`DELETE FROM signet_users WHERE id = '%s'`, id))
				require.NoError(t, err)
				insert(id)
				_, err = users.Factor(t.Context(), id, "totp")
				require.ErrorIs(t, err, userstore.ErrNotFound)
			}
			var left int
			require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM signet_factors").Scan(&left))
			require.Zero(t, left)
		})
	}
}

// TestFactorOfDeletedUser deletes users while others write their factors. No value stays, and every answer is one of the
// contract.
func TestFactorOfDeletedUser(t *testing.T) {
	for _, kind := range databases {
		t.Run(kind.name, func(t *testing.T) {
			t.Parallel()
			d := *kind.host(t).fresh(t).database
			db := openSQL(t, d)
			users := sqlUsers(t, db, d.dialect)
			for range 20 {
				require.NoError(t, users.Add(t.Context(), john))
				var turn atomic.Int64
				for _, err := range together(8, func() error {
					n := turn.Add(1)
					if n == 4 {
						return users.Delete(t.Context(), john.ID)
					}
					err := users.ReplaceFactor(t.Context(), john.ID, "totp", nil, []byte{byte(n)})
					if errors.Is(err, userstore.ErrNotFound) || errors.Is(err, userstore.ErrConflict) {
						return nil
					}
					return err
				}) {
					require.NoError(t, err)
				}
				var left int
				require.NoError(t, db.QueryRow("SELECT COUNT(*) FROM signet_factors").Scan(&left))
				require.Zero(t, left)
			}
		})
	}
}
