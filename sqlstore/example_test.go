package sqlstore_test

import (
	"context"
	"database/sql"
	"log"

	"github.com/signet-go/signet"
	"github.com/signet-go/signet/keys"
	"github.com/signet-go/signet/password"
	"github.com/signet-go/signet/sqlstore"
	"github.com/signet-go/signet/throttle"
	"github.com/signet-go/signet/userstore"
)

// Sessions are in SQLite here. The program imports a driver for it, such as modernc.org/sqlite. The users stay where they
// are.
func ExampleNewSessions() {
	ctx := context.Background()
	db, err := sql.Open("sqlite", "file:sessions.db?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_txlock=immediate")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		log.Fatal(err)
	}
	sessions, err := sqlstore.NewSessions(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	var users signet.UserStore // your user table
	var key *keys.Key          // see package keys
	auth, err := signet.New(users, key, signet.WithSessionStore(sessions))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
}

// A host without a user table keeps users in signet's own one, beside the sessions.
func ExampleNewUsers() {
	ctx := context.Background()
	db, err := sql.Open("mysql", "shop:PASSWORD@/shop?interpolateParams=true"+ // go-sql-driver/mysql
		"&timeout=5s&readTimeout=10s&writeTimeout=10s&innodb_lock_wait_timeout=4")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	if err := sqlstore.Migrate(ctx, db, sqlstore.MariaDB); err != nil {
		log.Fatal(err)
	}
	users, err := sqlstore.NewUsers(db, sqlstore.MariaDB)
	if err != nil {
		log.Fatal(err)
	}
	hash, err := password.Hash("changeme")
	if err != nil {
		log.Fatal(err)
	}
	err = users.Add(ctx, userstore.User{ID: "1", Email: "john@mail.com", PasswordHash: hash, Roles: []string{"customer"}})
	if err != nil {
		log.Fatal(err)
	}
	var key *keys.Key // see package keys
	sessions, err := sqlstore.NewSessions(db, sqlstore.MariaDB)
	if err != nil {
		log.Fatal(err)
	}
	auth, err := signet.New(users, key, signet.WithSessionStore(sessions))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
}

// Several processes count the failures of logins together.
func ExampleNewThrottle() {
	ctx := context.Background()
	db, err := sql.Open("pgx", "postgres://...?connect_timeout=5") // the driver is jackc/pgx
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(16)
	db.SetMaxIdleConns(16)
	if err := sqlstore.Migrate(ctx, db, sqlstore.PostgreSQL); err != nil {
		log.Fatal(err)
	}
	sessions, err := sqlstore.NewSessions(db, sqlstore.PostgreSQL)
	if err != nil {
		log.Fatal(err)
	}
	failures, err := sqlstore.NewThrottle(db, sqlstore.PostgreSQL)
	if err != nil {
		log.Fatal(err)
	}
	var users signet.UserStore // your user table
	var key *keys.Key          // see package keys
	auth, err := signet.New(users, key, signet.WithSessionStore(sessions),
		signet.WithLogin(signet.LoginPolicy{Throttle: throttle.New(failures, throttle.Config{})}))
	if err != nil {
		log.Fatal(err)
	}
	defer auth.Close()
}
