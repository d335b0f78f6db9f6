package gate

// Processors is how many cores the program may use.
var Processors = processors

// Lines returns how many keys have waiting calls.
func Lines(g *Gate) int {
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	return len(g.queue.lines)
}

// Running returns how many keys have running calls.
func Running(g *Gate) int {
	g.queue.mu.Lock()
	defer g.queue.mu.Unlock()
	return len(g.queue.runs)
}

// Scramble returns the kind of a hash and its decoy.
func Scramble(hash string) (kind, decoy string) {
	d := scramble(hash)
	return d.kind, d.hash
}

// Kinds returns how many kinds of hashes the Gate has learned.
func Kinds(g *Gate) int {
	g.kinds.mu.Lock()
	defer g.kinds.mu.Unlock()
	return len(g.kinds.list)
}

// Decoys returns how many hashes a refusal of an unknown user costs.
func Decoys(g *Gate) int { return len(g.kinds.decoys("")) }
