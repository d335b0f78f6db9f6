CREATE TABLE IF NOT EXISTS signet_users (
	id            VARBINARY(1024) PRIMARY KEY,
	email_key     VARBINARY(2048) NOT NULL UNIQUE,
	email         BLOB NOT NULL,
	password_hash BLOB NOT NULL,
	roles         BLOB NOT NULL,
	disabled      INTEGER NOT NULL,
	profile       MEDIUMBLOB NOT NULL
);
