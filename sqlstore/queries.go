package sqlstore

import (
	"regexp"

	"github.com/signet-go/signet/session"
)

type queries struct {
	create, createRead, update, updateData, updateRead, list, oldest string // sessions
	cutRead, cutNew, cutAgain                                        string
	removeSessions, dueCutoffs, outlived, keepLonger, removeCutoffs  string
	ends, sessions, cutoffs, tail                                    string // the log
}

// The columns of a Moment, and the tables that they come from.
const (
	momentColumns = `NOW_MS, COALESCE(u.version, 0), u.data, COALESCE(a.version, 0), a.data`
	allCutoffs    = `LEFT JOIN signet_cutoffs a ON a.user_id = ''`
	userCutoffs   = `LEFT JOIN signet_cutoffs u ON u.user_id = ? ` + allCutoffs
)

// A write of a session has the condition that the cut-offs are as they were read. A cut-off that is committed while the
// statement runs is newer than the session.
const sameCutoffs = `COALESCE((SELECT version FROM signet_cutoffs WHERE user_id = ?), 0) = ?
			AND COALESCE((SELECT version FROM signet_cutoffs WHERE user_id = ''), 0) = ?`

// A write of a cut-off has the condition that no session of the user lives longer than was read. The cut-off could go before a
// session that it has ended. PostgreSQL can commit both at the same time, so [Sessions.keepCutoffs] looks again.
const noneLater = `NOT EXISTS (SELECT 1 FROM signet_sessions WHERE user_id = ? AND revoked_at = 0 AND keep_until > ?)`

// maxLater is how much later than its KeepUntil the keep_until of a session may be. An index has keep_until, and an update
// costs far less if it changes no index. So most updates leave keep_until as it is.
const maxLater = session.Millis(6 * 60 * 60 * 1000)

// keep returns the range in which the column keep_until of a row must be: from is row.KeepUntil, and to is up to maxLater after
// it. If the stored value is outside of the range, the statement sets it to the upper end. In a revoked row the range is one
// value, because the log shows it. stored is the value in the row now, and next is the value after the statement.
func keep(row session.Session, stored int64) (from, to, next int64) {
	from, to, next = int64(row.KeepUntil), int64(row.KeepUntil), stored
	if later := min(maxLater, row.KeepUntil-row.LastUsedAt); later > 0 && !row.Revoked() {
		to += int64(later)
	}
	if stored < from || to < stored {
		next = to
	}
	return from, to, next
}

// indexHint is the name of an index in a query, as BY(...).
var indexHint = regexp.MustCompile(` BY\((\w+)\)`)

func queriesOf(d Dialect) queries {
	// The subquery reads the clock only once, so the database can use the index. Without it PostgreSQL reads the clock for
	// every row.
	remove := func(table, id, more string) string {
		expired := table + ` WHERE keep_until < (SELECT NOW_MS) AND keep_until < ?` + more + ` LIMIT ?`
		if d == MariaDB { // it allows no LIMIT in such a subquery, but it allows one in DELETE
			return d.sql(`DELETE FROM ` + expired)
		}
		return d.sql(`DELETE FROM ` + table + ` WHERE ` + id + ` IN (SELECT ` + id + ` FROM ` + expired + `)`)
	}
	due := `SELECT keep_until FROM signet_cutoffs BY(signet_cutoffs_keep) WHERE keep_until < ? AND user_id <> ''
		ORDER BY keep_until LIMIT 1`
	cutNew := `INSERT INTO signet_cutoffs (version, keep_until, data, user_id)
		SELECT ?, ?, ?, ? FROM (SELECT 1 AS one) AS one WHERE ` + noneLater
	if d != MariaDB { // there the error says that another process was first
		cutNew += ` ON CONFLICT (user_id) DO NOTHING`
	}
	index, cross := "INDEXED BY $1", "CROSS JOIN" // in SQLite the order of the tables stays as it is written
	switch d {
	case MariaDB:
		index, cross = "FORCE INDEX ($1)", "STRAIGHT_JOIN"
	case PostgreSQL:
		index = ""
	}
	text := func(query string) string {
		return d.sql(indexHint.ReplaceAllString(query, " "+index))
	}
	return queries{
		// signet_log has one row.
		createRead: text(`SELECT ` + momentColumns + `,
			(SELECT COUNT(*) FROM signet_sessions WHERE user_id = ? AND revoked_at = 0) FROM signet_log ` + userCutoffs),
		create: text(`INSERT INTO signet_sessions (id, user_id, version, keep_until, revoked_at, data)
			SELECT ?, ?, 1, ?, CASE WHEN ? = 1 THEN NOW_MS ELSE 0 END, ? FROM (SELECT 1 AS one) AS one WHERE ` + sameCutoffs),
		updateRead: text(`SELECT ` + momentColumns + `, s.version, s.keep_until, s.data FROM signet_sessions s
			LEFT JOIN signet_cutoffs u ON u.user_id = s.user_id ` + allCutoffs + ` WHERE s.id = ?`),
		// Without a position a revoked row is in the inbox. Processes that know no log read by revoked_at, which is the time of
		// this write and not of the decision.
		update: text(`UPDATE signet_sessions SET version = ?, pos = NULL,
			keep_until = CASE WHEN keep_until BETWEEN ? AND ? THEN keep_until ELSE ? END,
			revoked_at = CASE WHEN ? = 0 THEN 0 WHEN revoked_at > 0 THEN revoked_at ELSE NOW_MS END, data = ?
			WHERE id = ? AND version = ? AND ` + sameCutoffs),
		// Nearly every refresh changes nothing else.
		updateData: text(`UPDATE signet_sessions SET version = ?, data = ? WHERE id = ? AND version = ? AND ` + sameCutoffs),
		// The row of signet_log carries the Moment even if the user has no session. Rows with the latest KeepUntil are among
		// those that are maxLater before the last one of the page.
		list: text(`SELECT ` + momentColumns + `, s.data FROM signet_log ` + userCutoffs + `
			LEFT JOIN (SELECT data FROM signet_sessions WHERE user_id = ? AND revoked_at = 0
				AND keep_until >= ? + COALESCE((SELECT keep_until FROM signet_sessions WHERE user_id = ? AND revoked_at = 0
					ORDER BY keep_until DESC LIMIT 1 OFFSET ?), 0)) s ON 1 = 1`),
		oldest: text(`SELECT data FROM signet_sessions WHERE user_id = ? AND revoked_at = 0 ORDER BY keep_until LIMIT ?`),
		cutRead: text(`SELECT NOW_MS, (SELECT MAX(keep_until) FROM signet_sessions WHERE user_id = ? AND revoked_at = 0),
			COALESCE(c.version, 0), c.data FROM signet_log LEFT JOIN signet_cutoffs c ON c.user_id = ?`),
		cutNew: text(cutNew),
		cutAgain: text(`UPDATE signet_cutoffs SET version = ?, keep_until = ?, pos = NULL, data = ?
			WHERE user_id = ? AND version = ? AND ` + noneLater),
		removeSessions: remove("signet_sessions", "id", ""),
		dueCutoffs:     text(`SELECT (` + due + `), (` + due + ` OFFSET ?) FROM signet_log`),
		outlived: text(`SELECT c.user_id, c.data, s.keep_until, s.data FROM signet_cutoffs c BY(signet_cutoffs_keep) ` + cross + `
			signet_sessions s WHERE c.keep_until < ? AND c.user_id <> ''
			AND s.user_id = c.user_id AND s.revoked_at = 0 AND s.keep_until > c.keep_until`),
		keepLonger:    text(`UPDATE signet_cutoffs SET keep_until = ? WHERE user_id = ? AND keep_until < ?`),
		removeCutoffs: remove("signet_cutoffs", "user_id", " AND user_id <> ''"),
		ends:          text(logEnds),
		sessions:      text(logSessions),
		cutoffs:       text(logCutoffs),
		tail:          text(logTail),
	}
}
