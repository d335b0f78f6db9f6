CREATE TABLE IF NOT EXISTS signet_sessions (
	id         VARBINARY(255) PRIMARY KEY,
	user_id    VARBINARY(1024) NOT NULL,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL,
	data       BLOB NOT NULL,
	INDEX signet_sessions_user (user_id),
	INDEX signet_sessions_keep (keep_until),
	INDEX signet_sessions_revoked (revoked_at)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS signet_users (
	id            VARBINARY(1024) PRIMARY KEY,
	email_key     VARBINARY(2048) NOT NULL UNIQUE,
	email         BLOB NOT NULL,
	password_hash BLOB NOT NULL,
	roles         BLOB NOT NULL,
	disabled      INTEGER NOT NULL,
	profile       MEDIUMBLOB NOT NULL,
	attributes    MEDIUMBLOB NOT NULL
) ENGINE=InnoDB;
