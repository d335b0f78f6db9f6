//go:build js || wasip1

package keys

const openWithoutWaiting = 0 // these systems have no named pipes
