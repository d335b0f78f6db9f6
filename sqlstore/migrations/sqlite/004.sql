-- The factors of users. A process of the version before that deletes a user deletes these too, because of the trigger. SQLite
-- checks references only on connections that ask for it.
CREATE TABLE IF NOT EXISTS signet_factors (
	user_id TEXT NOT NULL,
	name    TEXT NOT NULL,
	value   BLOB NOT NULL,
	PRIMARY KEY (user_id, name)
);
CREATE TRIGGER IF NOT EXISTS signet_factors_user AFTER DELETE ON signet_users
BEGIN DELETE FROM signet_factors WHERE user_id = OLD.id; END;
