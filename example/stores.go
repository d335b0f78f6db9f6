package main

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/go-redis/v9"
	_ "modernc.org/sqlite"

	"github.com/signet-go/signet/redisstore"
	"github.com/signet-go/signet/session"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// stores are where users and sessions are kept.
type stores struct {
	users    userstore.Writer
	sessions session.Store  // nil: signet keeps them in memory
	throttle throttle.Store // nil: signet counts attempts in memory
	closers  []func() error
}

func (s *stores) close() {
	for _, closer := range s.closers {
		closer()
	}
}

// openStores opens what the command line names. Several copies of the example on one database act as one service.
func openStores(ctx context.Context, set settings) (*stores, error) {
	s := &stores{users: userstore.NewMemory()}
	if set.db != "" {
		if err := s.openSQL(ctx, set.db); err != nil {
			s.close()
			return nil, fmt.Errorf("-db: %w", err)
		}
	}
	if set.redis != "" {
		if err := s.openRedis(set.redis); err != nil {
			s.close()
			return nil, fmt.Errorf("-redis: %w", err)
		}
	}
	return s, nil
}

func (s *stores) openSQL(ctx context.Context, source string) error {
	driver, dsn, dialect, err := parseSource(source)
	if err != nil {
		return err
	}
	db, err := sql.Open(driver, dsn)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, db.Close)
	connections := 16
	if dialect == sqlstore.SQLite {
		connections = 1 // its writers come one after the other anyway
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections) // the default of 2 would open and close connections all the time
	db.SetConnMaxIdleTime(time.Minute)
	db.SetConnMaxLifetime(10 * time.Minute) // after a failover, connections to the old server end
	users, errUsers := sqlstore.NewUsers(db, dialect)
	sessions, errSessions := sqlstore.NewSessions(db, dialect)
	attempts, errAttempts := sqlstore.NewThrottle(db, dialect)
	if err := errors.Join(errUsers, errSessions, errAttempts); err != nil {
		return err
	}
	if err := sqlstore.Migrate(ctx, db, dialect); err != nil {
		return err
	}
	s.users, s.sessions, s.throttle = users, sessions, attempts
	return nil
}

// parseSource reads postgres://..., sqlite:FILE or mysql:DSN.
func parseSource(source string) (driver, dsn string, dialect sqlstore.Dialect, err error) {
	kind, rest, _ := strings.Cut(source, ":")
	switch kind {
	case "postgres", "postgresql":
		for name, value := range map[string]string{
			"connect_timeout":      "5",          // or a silent server would keep everybody waiting for two minutes
			"target_session_attrs": "read-write", // a server that became a replica refuses writes: go to another one
		} {
			if !strings.Contains(source, name+"=") {
				separator := "?"
				if strings.Contains(source, "?") {
					separator = "&"
				}
				source += separator + name + "=" + value
			}
		}
		return "pgx", source, sqlstore.PostgreSQL, nil
	case "mysql":
		config, err := mysql.ParseDSN(rest)
		if err != nil { // the error can have the password
			return "", "", "", errors.New("this is no data source name of go-sql-driver/mysql: USER:PASSWORD@tcp(HOST:3306)/DATABASE")
		}
		config.RejectReadOnly = true    // a server that became a replica refuses writes: go to another one
		config.InterpolateParams = true // or every query would be prepared first, which costs a second round trip
		// A silent server would keep everybody waiting for ever.
		config.Timeout = cmp.Or(config.Timeout, 5*time.Second)
		config.ReadTimeout = cmp.Or(config.ReadTimeout, 10*time.Second)
		config.WriteTimeout = cmp.Or(config.WriteTimeout, 10*time.Second)
		if config.Params == nil {
			config.Params = map[string]string{}
		}
		const lockWait = "innodb_lock_wait_timeout" // the server would wait for 50 s although this program has given up
		config.Params[lockWait] = cmp.Or(config.Params[lockWait], "4")
		return "mysql", config.FormatDSN(), sqlstore.MariaDB, nil
	case "sqlite":
		// Several processes write to one file: wait for each other, and let readers go on.
		return "sqlite", "file:" + rest + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate", sqlstore.SQLite, nil
	}
	return "", "", "", errors.New("use postgres://..., sqlite:FILE or mysql:DSN")
}

func (s *stores) openRedis(url string) error {
	options, err := redis.ParseURL(url)
	if err != nil {
		return errors.New("use redis://HOST:PORT/DB") // the cause could quote a password
	}
	options.ContextTimeoutEnabled = true // or a server that stalls would hold up requests for longer than signet waits
	client := redis.NewClient(options)
	s.closers = append(s.closers, client.Close)
	sessions, errSessions := redisstore.New(client)
	throttle, errThrottle := redisstore.NewThrottle(client)
	s.sessions, s.throttle = sessions, throttle
	return errors.Join(errSessions, errThrottle)
}
