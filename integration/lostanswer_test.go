package integration

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/userstore"
)

// lostAnswers opens connections whose answers to new users are lost, if lose is set.
type lostAnswers struct {
	real driver.Driver
	dsn  string
	lose *atomic.Bool
}

func (l lostAnswers) Driver() driver.Driver { return l.real }

func (l lostAnswers) Connect(context.Context) (driver.Conn, error) {
	conn, err := l.real.Open(l.dsn)
	return lostConn{conn, l.lose}, err
}

type lostConn struct {
	driver.Conn
	lose *atomic.Bool
}

func (c lostConn) Prepare(query string) (driver.Stmt, error) {
	stmt, err := c.Conn.Prepare(query)
	if err != nil || !strings.HasPrefix(query, "INSERT INTO signet_users") {
		return stmt, err
	}
	return lostStmt{stmt, c.lose}, nil
}

type lostStmt struct {
	driver.Stmt
	lose *atomic.Bool
}

func (s lostStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if err == nil && s.lose.Load() {
		err = errors.New("connection reset by peer")
	}
	return result, err
}

// The database has stored a user, and the answer is lost. The sign-up must not say that somebody else has the address.
func TestAnAnswerToANewUserThatIsLost(t *testing.T) {
	for _, kind := range []store{sqlite, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			direct := openSQL(t, *d)
			sqlUsers(t, direct, d.dialect)
			var lose atomic.Bool
			db := sql.OpenDB(lostAnswers{direct.Driver(), d.dsn, &lose})
			defer db.Close()
			users, err := sqlstore.NewUsers(db, d.dialect)
			require.NoError(t, err)
			ann := userstore.User{ID: "1", Email: "ann@example.com", PasswordHash: "a hash"}
			lose.Store(true)
			require.NoError(t, users.Add(t.Context(), ann))
			found, err := users.FindByID(t.Context(), "1")
			require.NoError(t, err)
			require.Equal(t, ann.PasswordHash, found.PasswordHash)
			for _, again := range []userstore.User{ann, {ID: "1", Email: "bob@example.com", PasswordHash: "b"}, {ID: "2", Email: "ann@example.com", PasswordHash: "b"}} {
				require.ErrorIs(t, users.Add(t.Context(), again), userstore.ErrExists)
			}
		})
	}
}
