-- The new index on user_id serves processes of the version before too. They also need the index signet_sessions_revoked,
-- which nothing else uses any more. The table can be read and written while the indexes are made.
SET @signet = IF((SELECT COUNT(*) FROM information_schema.statistics
	WHERE table_schema = DATABASE() AND table_name = 'signet_sessions' AND index_name = 'signet_sessions_log') = 0,
	'ALTER TABLE signet_sessions DROP INDEX signet_sessions_user,
		ADD INDEX signet_sessions_live (user_id, revoked_at), ADD INDEX signet_sessions_log (pos, revoked_at)', 'DO 0');
PREPARE signet FROM @signet;
EXECUTE signet;
DEALLOCATE PREPARE signet;
