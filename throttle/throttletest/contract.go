package throttletest

// The sentences of package throttle that the checks quote, word for word. TestSentences compares them with its source.
const (
	safeForConcurrentUse = "MUST be safe for concurrent use by any number of processes that share the store"
	oneClock             = "MUST give one clock to all of them (the store's own, where it has one)"

	updateReplaces = "Update calls change with the record of a key and the store's time, and replaces the record with what " +
		"change returns, in one atomic step"
	updateAtomic    = "no other change of the record is committed in between."
	updateNone      = "The record is \"\" if there is none, and \"\" as the new record deletes it."
	updateKeeps     = "A store MUST keep a record until the time that change returns with it."
	updateUnchanged = "When change returns an error, or the record unchanged (==), nothing is written, " +
		"and the error is returned as it is."
	updateCommitted = "Update returns nil only after the new record is committed."
	honoursContext  = "Update honours ctx."

	keepsBytes = "A store MUST keep them as they are."
)
