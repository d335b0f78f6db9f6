package sessiontest

// The sentences of package session that the checks quote, word for word. TestSentences compares them with its source.
const (
	safeForConcurrentUse = "MUST be safe for concurrent use by any number of processes that share the store"
	oneClock             = "MUST give one clock to all of them (the store's own, where it has one)"
	keepsRows            = "MUST keep a row until its KeepUntil"
	honoursContext       = "Every method honours ctx."
	keptAsItIs           = "Stores keep it as it is, and only the rules of rotation change it"

	createStores = "Create calls make with the store's time, and stores the session that make returns. " +
		"The id of the session is new"
	createError = "When make returns an error, nothing is stored, and the error is returned as it is."

	updateReplaces = "Update calls change with a row and the store's time, " +
		"and replaces the row with what change returns, in one atomic step"
	updateAtomic    = "no other change of the row happens in between"
	updateNewerRow  = "change may be called again with a newer row."
	updateUnchanged = "When change returns an error, or the row unchanged (==), nothing is written, " +
		"and the error is returned as it is."
	updateCommitted = "Update returns nil only after the new row is committed"
	updateNotFound  = "It returns ErrNotFound when there is no row."

	listReturns = "ListByUser returns the user's sessions, revoked ones too, in any order."

	revokedCalls = "RevokedSince calls each for every session that is Revoked, is not past its KeepUntil, " +
		"and whose revocation was written at or after since by the store's clock."
	revokedTime       = "RevokedSince returns the store's time from before its read."
	revokedMissesNone = "The caller asks again with that time, minus the time that a write may take to become visible. " +
		"Then it misses no revocation."

	deleteRemoves = "DeleteExpired removes up to limit rows that are past their KeepUntil, and returns how many it removed."
)
