CREATE TABLE IF NOT EXISTS signet_users (
	id            TEXT COLLATE "C" PRIMARY KEY,
	email_key     TEXT COLLATE "C" NOT NULL UNIQUE,
	email         TEXT NOT NULL,
	password_hash TEXT NOT NULL,
	roles         TEXT NOT NULL,
	disabled      INTEGER NOT NULL,
	profile       TEXT NOT NULL
);
