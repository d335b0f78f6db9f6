-- The records of Throttle.
CREATE TABLE IF NOT EXISTS signet_throttle (
	id         BLOB PRIMARY KEY,
	version    INTEGER NOT NULL,
	keep_until INTEGER NOT NULL,
	data       BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS signet_throttle_keep ON signet_throttle (keep_until);
