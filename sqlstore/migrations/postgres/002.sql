-- The log of revocations. pos is the number of a batch of the log; a revoked row without one is in the inbox.
ALTER TABLE signet_sessions ADD COLUMN IF NOT EXISTS pos BIGINT NULL;

CREATE TABLE IF NOT EXISTS signet_cutoffs (
	user_id    TEXT COLLATE "C" PRIMARY KEY,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	pos        BIGINT NULL,
	data       TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS signet_cutoffs_log ON signet_cutoffs (pos);
CREATE INDEX IF NOT EXISTS signet_cutoffs_keep ON signet_cutoffs (keep_until);

CREATE TABLE IF NOT EXISTS signet_log (
	id   INTEGER PRIMARY KEY,
	head BIGINT NOT NULL
);
INSERT INTO signet_log (id, head) VALUES (1, 0) ON CONFLICT (id) DO NOTHING;
