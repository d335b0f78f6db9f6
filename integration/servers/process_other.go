//go:build !linux

package servers

import (
	"errors"
	"os/exec"
)

// The package compiles on other systems too, so that its tests are skipped there instead of broken. Nothing below is ever
// called.
const supported = false

var errUnsupported = errors.ErrUnsupported

type account struct{ uid, gid int }

type process struct{}

func (p *process) wait() error   { return errUnsupported }
func (p *process) running() bool { return false }
func (p *process) pause() error  { return errUnsupported }
func (p *process) resume()       {}
func (p *process) kill() error   { return errUnsupported }
func (p *process) pid() int      { return 0 }

func lookupAccount(string) (*account, error)                { return nil, errUnsupported }
func startProcess(*exec.Cmd, *account) (*process, error)    { return nil, errUnsupported }
func atDeath(string, ...string) (disarm func(), err error)  { return nil, errUnsupported }
func reservePorts([]int) (port int, free func(), err error) { return 0, nil, errUnsupported }
