-- The records of Throttle.
CREATE TABLE IF NOT EXISTS signet_throttle (
	id         VARBINARY(16) PRIMARY KEY,
	version    BIGINT NOT NULL,
	keep_until BIGINT NOT NULL,
	data       VARBINARY(1024) NOT NULL,
	INDEX signet_throttle_keep (keep_until)
) ENGINE=InnoDB;
