CREATE TABLE IF NOT EXISTS signet_sessions (
	id         TEXT PRIMARY KEY,
	user_id    TEXT NOT NULL,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS signet_sessions_user ON signet_sessions (user_id);
CREATE INDEX IF NOT EXISTS signet_sessions_keep ON signet_sessions (keep_until);
CREATE INDEX IF NOT EXISTS signet_sessions_revoked ON signet_sessions (revoked_at) WHERE revoked_at > 0;

CREATE TABLE IF NOT EXISTS signet_users (
	id            TEXT PRIMARY KEY,
	email_key     TEXT NOT NULL UNIQUE,
	email         TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	roles         TEXT NOT NULL,
	disabled      INTEGER NOT NULL,
	profile       TEXT NOT NULL,
	attributes    TEXT NOT NULL
);
