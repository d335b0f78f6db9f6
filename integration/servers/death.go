package servers

import "strconv"

// KillAtDeath kills a process when this process dies, for whatever reason. disarm cancels that. Call disarm when the process
// has ended, because another process may then get its number.
func KillAtDeath(pid int) (disarm func(), err error) {
	return atDeath(`kill -KILL "$1"`, strconv.Itoa(pid))
}
