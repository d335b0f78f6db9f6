package servers

import "strconv"

// KillAtDeath has a process killed when this one dies, however it dies. The
// returned function calls it off, and must be called when the process has
// ended: its number may be another's then.
func KillAtDeath(pid int) (disarm func(), err error) {
	return atDeath(`kill -KILL "$1"`, strconv.Itoa(pid))
}
