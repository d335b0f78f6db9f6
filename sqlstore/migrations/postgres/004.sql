-- The factors of users. A process of the version before that deletes a user deletes these too, because of the reference.
CREATE TABLE IF NOT EXISTS signet_factors (
	user_id TEXT COLLATE "C" NOT NULL REFERENCES signet_users (id) ON DELETE CASCADE,
	name    TEXT COLLATE "C" NOT NULL,
	value   BYTEA NOT NULL,
	PRIMARY KEY (user_id, name)
);
