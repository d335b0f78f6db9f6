package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/signet-go/signet/throttle"
)

// Throttle is a [throttle.Store] in a SQL database, for services that run as several processes. The database's clock counts. A
// write costs two round trips, and an attempt that must wait costs one; a login makes about six calls.
//
// A record takes about 200 bytes. It stays until the failures in it are forgotten, at most some days, or while the account has
// known places, at most 30 days. Writes delete the records whose time is over. Strangers can make three records for each
// password that the service hashes. A Throttle is safe for concurrent use by any number of processes.
type Throttle struct {
	database
	readQuery, insert, update, remove, expire string
}

// NewThrottle returns a Throttle on a database that has the tables of [Migrate]. Give it to throttle.New. The host closes the
// database. The error says that the database is nil, or that the dialect is unknown.
func NewThrottle(db *sql.DB, dialect Dialect) (*Throttle, error) {
	if err := check(db, dialect); err != nil {
		return nil, err
	}
	insert := `INSERT INTO signet_throttle (version, keep_until, data, id) VALUES (?, ?, ?, ?)`
	// The outer condition is checked again for a row that was changed meanwhile.
	expire := `DELETE FROM signet_throttle WHERE keep_until < (SELECT NOW_MS) AND id IN
		(SELECT id FROM signet_throttle WHERE keep_until < (SELECT NOW_MS) LIMIT ?)`
	if dialect == MariaDB { // it allows no LIMIT in such a subquery, but it allows one in DELETE
		expire = `DELETE FROM signet_throttle WHERE keep_until < (SELECT NOW_MS) LIMIT ?`
	} else {
		insert += ` ON CONFLICT (id) DO NOTHING`
	}
	return &Throttle{
		database: newDatabase(db, dialect),
		readQuery: dialect.sql(`SELECT NOW_MS, t.version, t.data FROM (SELECT 1 AS one) AS one
			LEFT JOIN signet_throttle AS t ON t.id = ?`),
		insert: dialect.sql(insert),
		update: dialect.sql(`UPDATE signet_throttle SET version = ?, keep_until = ?, data = ? WHERE id = ? AND version = ?`),
		remove: dialect.sql(`DELETE FROM signet_throttle WHERE id = ? AND version = ?`),
		expire: dialect.sql(expire),
	}, nil
}

// One write in expireOneIn deletes up to expireLimit records. So more are deleted than made.
const (
	expireOneIn = 32
	expireLimit = 128
)

// throttleRow is a record as it was read. The version of each write is random. So a row that was deleted and made again is
// another one.
type throttleRow struct {
	now     int64 // milliseconds
	version sql.NullInt64
	data    []byte
}

// Update implements [throttle.Store] by compare and swap.
func (t *Throttle) Update(ctx context.Context, key throttle.Key,
	change func(before throttle.Record, now time.Time) (after throttle.Record, until time.Time, err error)) error {
	t.count()
	end := time.Now().Add(execTime)
	var tried int64 // the version of the newest try
	for attempt := 0; ; attempt++ {
		var row throttleRow
		err := queryRow(ctx, t.db, t.readQuery, key[:]).Scan(&row.now, &row.version, &row.data)
		if collided(err) && time.Now().Before(end) { // as under SERIALIZABLE
			if err = pause(ctx, attempt); err == nil {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("sqlstore: throttle: %w", err)
		}
		if attempt > 0 && row.version.Valid && row.version.Int64 == tried { // the answer was lost, and the driver has sent the write again
			return nil
		}
		before := throttle.Record(row.data)
		after, until, err := change(before, time.UnixMilli(row.now))
		if err != nil || after == before {
			return err
		}
		tried = rand.Int64()
		written, err := t.swap(ctx, key, row, tried, after, until)
		if err == nil && !written { // another process changed the record first
			err = pause(ctx, attempt)
		}
		if err != nil {
			return fmt.Errorf("sqlstore: throttle: %w", err)
		}
		if written {
			if rand.N(expireOneIn) == 0 {
				_, _ = t.exec(ctx, t.expire, expireLimit) // after an error a later write does it
			}
			return nil
		}
	}
}

// swap writes a record, with a new version, in place of the one that was read. It reports false if it is another one now.
func (t *Throttle) swap(ctx context.Context, key throttle.Key, row throttleRow, version int64, after throttle.Record,
	until time.Time) (bool, error) {
	keepUntil := until.UnixMilli() + 1 // not before until
	var n int64
	var err error
	switch {
	case after == "":
		n, err = t.exec(ctx, t.remove, key[:], row.version.Int64)
	case row.version.Valid:
		n, err = t.exec(ctx, t.update, version, keepUntil, []byte(after), key[:], row.version.Int64)
	default:
		n, err = t.exec(ctx, t.insert, version, keepUntil, []byte(after), key[:])
	}
	if err != nil && taken(err) { // MariaDB: another process has made the record
		return false, nil
	}
	return n == 1, err
}
