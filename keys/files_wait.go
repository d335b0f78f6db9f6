//go:build js || wasip1

package keys

const openWithoutWaiting = 0 // there is no such flag
