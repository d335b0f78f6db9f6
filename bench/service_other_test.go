//go:build !linux

package bench

import (
	"errors"
	"os/exec"
	"testing"
	"time"
)

// The bench of a whole service also runs on other systems. There it pins nothing, and it does not know the CPU time.

func cores() (service, generator int, ok bool) { return 0, 0, false }

func startOn(*exec.Cmd, int) error { return errors.ErrUnsupported }

func pinSelf(*testing.T, int) {}

func cpuTime() time.Duration { return 0 }

func cpuName() string { return "unknown processor" }
