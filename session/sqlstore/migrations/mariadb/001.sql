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
);
