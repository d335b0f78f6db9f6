-- The factors of users. A process of the version before that deletes a user deletes these too, because of the reference.
CREATE TABLE IF NOT EXISTS signet_factors (
	user_id VARBINARY(1024) NOT NULL,
	name    VARBINARY(64) NOT NULL,
	value   BLOB NOT NULL,
	PRIMARY KEY (user_id, name),
	CONSTRAINT signet_factors_user FOREIGN KEY (user_id) REFERENCES signet_users (id) ON DELETE CASCADE
) ENGINE=InnoDB;
