package sessiontest

// The sentences of package session that the checks quote, word for word. TestSentences compares them with its source.
const (
	safeForConcurrentUse = "MUST be safe for concurrent use by any number of processes that share the store"
	oneClock             = "MUST give one clock to all of them (the store's own, where it has one)"
	keepsRows            = "MUST keep a row until its KeepUntil"
	honoursContext       = "Every method honours ctx."
	keptAsItIs           = "Stores keep it as it is, and only the rules of rotation change it"

	capEvicts    = "Create revokes those beyond it, with [ReasonEvicted]."
	capCompletes = "So does an Update that makes a session of a login that waited for its second step"
	capOldest    = "those that have been unused for the longest time. It never returns created, " +
		"the id of the session that was made just now."

	createStores = "Create calls make with a Moment of the user, and stores the session that make returns. " +
		"The session is of this user; its id is new"
	createAgain = "If a cut-off of the user, or one of everybody, was committed before the write of the session begins, " +
		"and the Moment was without it, nothing is stored, and make is called again with a newer Moment."
	createError = "When make returns an error, nothing is stored, and the error is returned as it is."

	updateReplaces = "Update calls change with a row and the Moment of its user, and replaces the row with what change returns, " +
		"in one atomic step"
	updateAtomic = "no other change of the row is committed in between."
	updateAgain  = "If a cut-off of the user or of everybody was committed before the write begins, " +
		"and the Moment was without it, nothing is written, and change is called again."
	updateNewerRow  = "change may be called again with a newer row and Moment."
	updateUnchanged = "When change returns an error, or the row unchanged (==), nothing is written, " +
		"and the error is returned as it is."
	updateCommitted = "Update returns nil only after the new row is committed."
	updateNotFound  = "It returns ErrNotFound when there is no row."

	batchIs     = "UpdateBatch is Update for many sessions in a few round trips"
	batchLeaves = "a session that does not exist is left out"
	batchCalls  = "It calls change for each session that it finds, with the store's time."

	listReturns = "List returns sessions of the user that are not Revoked, and the Moment of the user."
	listLimit   = "If there are more than limit, it returns those with the latest KeepUntil."

	cutReplaces = "Cut calls change with the cut-off of a user, or of everybody if userID is \"\", " +
		"and replaces it with what change returns, in one atomic step."
	cutZero      = "The cut-off is zero if there was none."
	cutLatest    = "latest is not earlier than the KeepUntil of any session of the user; for everybody it is 0."
	cutUnchanged = "When change returns an error, or the cut-off unchanged, nothing is written, " +
		"and the error is returned as it is."
	momentIs = "Moment is what a store knows at one instant: its time, and the cut-offs of a user."

	logCalls       = "ReadLog calls each for entries behind the cursor, and returns the cursor behind them."
	logMissesNone  = "a reader that goes on with the cursor misses no entry."
	logNewest      = "of a cut-off that was changed it gets only the newest entry."
	logWhateverAge = "It gets every entry whose row was not deleted, even one past its KeepUntil"
	logMore        = "More says that there are entries behind the returned cursor"
	logEnd         = "With End, ReadLog returns the cursor from which later calls go on."
	logLost        = "It returns [ErrCursor] when the log does not go on behind the cursor"

	notifyWakes = "Notify calls wake whenever the log may have new entries."
	notifyEnds  = "It returns when ctx ends, or with an error when it cannot go on"

	deleteRemoves = "DeleteExpired removes up to limit sessions, and cut-offs of users, that are past their KeepUntil " +
		"both by the store's clock and by the time before. It returns how many it removed."
	deleteKeeps = "So one clock that is wrong removes nothing."
)
