-- The records of Throttle.
CREATE TABLE IF NOT EXISTS signet_throttle (
	id         BYTEA PRIMARY KEY,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	data       BYTEA NOT NULL
);
CREATE INDEX IF NOT EXISTS signet_throttle_keep ON signet_throttle (keep_until);
