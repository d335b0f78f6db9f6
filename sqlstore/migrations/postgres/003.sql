-- Processes of the version before may still run. They need the indexes signet_sessions_user and signet_sessions_revoked, which
-- nothing else uses any more.
CREATE INDEX IF NOT EXISTS signet_sessions_log ON signet_sessions (pos) WHERE revoked_at > 0;
CREATE INDEX IF NOT EXISTS signet_sessions_live ON signet_sessions (user_id) WHERE revoked_at = 0;
-- New pages leave room for the next version of their rows, so that an update writes to no index.
ALTER TABLE signet_sessions SET (fillfactor = 80);
