//go:build !js && !wasip1

package keys

import "syscall"

const openWithoutWaiting = syscall.O_NONBLOCK
