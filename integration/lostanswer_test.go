package integration

import (
	"bytes"
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	app "github.com/pquerna/otp/totp"
	"github.com/stretchr/testify/require"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/totp"
	"github.com/signet-go/signet/userstore"
)

// lostAnswers opens connections that can lose the answer to a write.
type lostAnswers struct {
	real driver.Driver
	dsn  string
	lose *atomic.Pointer[lostWrite]
}

// lostWrite is the next write whose answer is lost.
type lostWrite struct {
	query string       // how it begins
	err   error        // what the driver returns
	skip  atomic.Int64 // so many writes before it are not lost
}

func (l lostAnswers) Driver() driver.Driver { return l.real }

func (l lostAnswers) Connect(context.Context) (driver.Conn, error) {
	conn, err := l.real.Open(l.dsn)
	return lostConn{conn, l.lose}, err
}

type lostConn struct {
	driver.Conn
	lose *atomic.Pointer[lostWrite]
}

func (c lostConn) Prepare(query string) (driver.Stmt, error) {
	stmt, err := c.Conn.Prepare(query)
	if err != nil {
		return nil, err
	}
	return lostStmt{stmt, query, c.lose}, nil
}

type lostStmt struct {
	driver.Stmt
	query string
	lose  *atomic.Pointer[lostWrite]
}

func (s lostStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	return s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
}

func (s lostStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	result, err := s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
	if lost := s.lose.Load(); err == nil && lost != nil && strings.HasPrefix(strings.TrimSpace(s.query), lost.query) && lost.skip.Add(-1) < 0 {
		s.lose.Store(nil)
		err = lost.err
	}
	return result, err
}

// losing opens the database of direct so that it can lose the answer to one write.
func losing(t *testing.T, direct *sql.DB, dsn string) (db *sql.DB, lose *atomic.Pointer[lostWrite]) {
	lose = new(atomic.Pointer[lostWrite])
	db = sql.OpenDB(lostAnswers{direct.Driver(), dsn, lose})
	db.SetMaxOpenConns(1) // as SQLite wants it
	t.Cleanup(func() { db.Close() })
	return db, lose
}

// The database has stored a user, and the answer is lost. The sign-up must not say that somebody else has the address.
func TestAnAnswerToANewUserThatIsLost(t *testing.T) {
	for _, kind := range []store{sqlite, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			direct := openSQL(t, *d)
			sqlUsers(t, direct, d.dialect)
			db, lose := losing(t, direct, d.dsn)
			users, err := sqlstore.NewUsers(db, d.dialect)
			require.NoError(t, err)
			ann := userstore.User{ID: "1", Email: "ann@example.com", PasswordHash: "a hash"}
			lose.Store(&lostWrite{query: "INSERT INTO signet_users", err: errors.New("connection reset by peer")})
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

// The database has committed a write, and the answer is lost. Some drivers say then that the connection was bad, and database/sql
// sends the write again. The second one finds its own row, and not that of somebody else.
func TestAWriteThatTheDriverRepeats(t *testing.T) {
	for _, kind := range []store{sqlite, mariadb, postgres} {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			direct := openSQL(t, *d)
			users := sqlUsers(t, direct, d.dialect)
			db, lose := losing(t, direct, d.dsn)
			repeat := func(query string, skip int64) {
				next := &lostWrite{query: query, err: driver.ErrBadConn}
				next.skip.Store(skip)
				lose.Store(next)
			}
			repeated := func(what string) { require.Nil(t, lose.Load(), "%s: no answer was lost", what) }
			now := time.Now()
			factorUsers, err := sqlstore.NewUsers(db, d.dialect)
			require.NoError(t, err)
			factor, err := totp.New(factorUsers, bytes.Repeat([]byte{7}, 32), totp.WithClock(func() time.Time { return now }))
			require.NoError(t, err)
			require.NoError(t, users.Add(t.Context(), userstore.User{ID: "1", Email: "ann@example.com"}))
			code := func(e totp.Enrolment) string {
				code, err := app.GenerateCode(e.Secret, now)
				require.NoError(t, err)
				return code
			}
			e, err := factor.Begin(t.Context(), "1", "ann@example.com")
			require.NoError(t, err)
			_, err = factor.Confirm(t.Context(), "1", code(e))
			require.NoError(t, err)

			sessions, err := sqlstore.NewSessions(db, d.dialect)
			require.NoError(t, err)
			auth, err := signet.New(users, keys.Secret([]byte(secret)), signet.WithSessionStore(sessions), signet.WithLogger(silent),
				signet.WithLogin(signet.LoginPolicy{SecondFactor: factor}))
			require.NoError(t, err)
			defer auth.Close()
			require.NoError(t, auth.SetPassword(t.Context(), "1", "changeme1"))

			ticket := func() string {
				_, err := auth.Login(t.Context(), "ann@example.com", "changeme1")
				refused, ok := errors.AsType[*signet.Error](err)
				require.True(t, ok, "%v", err)
				require.ErrorIs(t, err, signet.ErrSecondStepRequired)
				return refused.Ticket()
			}
			var tokens signet.Tokens
			for _, step := range []struct {
				query string
				skip  int64
			}{{"UPDATE signet_factors", 0}, {"UPDATE signet_sessions", 0}, {"UPDATE signet_sessions", 1}} { // the code, the try, the session
				repeat("INSERT INTO signet_sessions", 0)
				first := ticket()
				repeated("the first step")
				now = now.Add(time.Minute)
				repeat(step.query, step.skip)
				tokens, err = auth.SecondStep(t.Context(), first, code(e))
				require.NoError(t, err)
				repeated("the second step")
			}
			repeat("UPDATE signet_sessions", 0)
			_, err = auth.Refresh(t.Context(), tokens.RefreshToken)
			require.NoError(t, err)
			repeated("a refresh")
			list, err := auth.Sessions(t.Context(), "1")
			require.NoError(t, err)
			require.Len(t, list, 3)
		})
	}
}

// A repeated write of the throttle counts a failure once: the tenth attempt of an account with the right password is let in.
func TestAWriteOfTheThrottleThatTheDriverRepeats(t *testing.T) {
	for _, kind := range []store{sqlite, mariadb} {
		t.Run(kind.name, func(t *testing.T) {
			d := kind.host(t).fresh(t).database
			direct := openSQL(t, *d)
			users := sqlUsers(t, direct, d.dialect)
			db, lose := losing(t, direct, d.dsn)
			counts, err := sqlstore.NewThrottle(db, d.dialect)
			require.NoError(t, err)
			auth, err := signet.New(users, keys.Secret([]byte(secret)), signet.WithLogger(silent),
				signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(counts, throttle.Config{})}))
			require.NoError(t, err)
			defer auth.Close()
			require.NoError(t, users.Add(t.Context(), userstore.User{ID: "1", Email: "ann@example.com"}))
			require.NoError(t, auth.SetPassword(t.Context(), "1", "changeme1"))
			for range 9 {
				_, err := auth.Login(t.Context(), "ann@example.com", "a wrong one")
				require.ErrorIs(t, err, signet.ErrInvalidCredentials)
			}
			lose.Store(&lostWrite{query: "UPDATE signet_throttle", err: driver.ErrBadConn})
			_, err = auth.Login(t.Context(), "ann@example.com", "changeme1")
			require.NoError(t, err)
			require.Nil(t, lose.Load(), "no answer was lost")
		})
	}
}
