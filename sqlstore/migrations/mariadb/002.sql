-- The log of revocations. pos is the number of a batch of the log; a revoked row without one is in the inbox. MySQL has no
-- ADD COLUMN IF NOT EXISTS, so the statement is made only if it is needed. The new column comes without a copy of the table.
SET @signet = IF((SELECT COUNT(*) FROM information_schema.columns
	WHERE table_schema = DATABASE() AND table_name = 'signet_sessions' AND column_name = 'pos') = 0,
	'ALTER TABLE signet_sessions ADD COLUMN pos BIGINT NULL', 'DO 0');
PREPARE signet FROM @signet;
EXECUTE signet;
DEALLOCATE PREPARE signet;

CREATE TABLE IF NOT EXISTS signet_cutoffs (
	user_id    VARBINARY(1024) PRIMARY KEY,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	pos        BIGINT NULL,
	data       BLOB NOT NULL,
	INDEX signet_cutoffs_log (pos),
	INDEX signet_cutoffs_keep (keep_until)
) ENGINE=InnoDB;

CREATE TABLE IF NOT EXISTS signet_log (
	id   INTEGER PRIMARY KEY,
	head BIGINT NOT NULL
) ENGINE=InnoDB;
INSERT IGNORE INTO signet_log (id, head) VALUES (1, 0);
