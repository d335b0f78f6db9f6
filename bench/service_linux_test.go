package bench

import (
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// cores returns two cores that this process may use: one for the service and one for the generator.
func cores() (service, generator int, ok bool) {
	var allowed unix.CPUSet
	if unix.SchedGetaffinity(0, &allowed) != nil || allowed.Count() < 2 {
		return 0, 0, false
	}
	var found []int
	for core := 0; len(found) < 2; core++ {
		if allowed.IsSet(core) {
			found = append(found, core)
		}
	}
	return found[0], found[1], true
}

// startOn starts a process on one core. A child inherits the cores of the thread that starts it.
func startOn(cmd *exec.Cmd, core int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		return err
	}
	one.Set(core)
	if err := unix.SchedSetaffinity(0, &one); err != nil {
		return err
	}
	defer unix.SchedSetaffinity(0, &before)
	return cmd.Start()
}

// pinSelf keeps this process on one core until the test ends. It looks at the threads twice, because a thread may
// start another one until it is pinned itself.
func pinSelf(t *testing.T, core int) {
	var before, one unix.CPUSet
	if err := unix.SchedGetaffinity(0, &before); err != nil {
		t.Fatal(err)
	}
	one.Set(core)
	set := func(cpus *unix.CPUSet) {
		for range 2 {
			threads, err := os.ReadDir("/proc/self/task")
			if err != nil {
				t.Fatal(err)
			}
			for _, thread := range threads {
				if id, err := strconv.Atoi(thread.Name()); err == nil {
					_ = unix.SchedSetaffinity(id, cpus) // the thread may have ended
				}
			}
		}
	}
	procs := runtime.GOMAXPROCS(1)
	set(&one)
	t.Cleanup(func() {
		set(&before)
		runtime.GOMAXPROCS(procs)
	})
}

// cpuTime returns what this process has used. It returns 0 if the system does not tell.
func cpuTime() time.Duration {
	var usage syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &usage) != nil {
		return 0
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func cpuName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	_, after, _ := strings.Cut(string(text), "model name")
	name, _, _ := strings.Cut(after, "\n")
	if name = strings.TrimLeft(name, "\t :"); name == "" {
		return "unknown processor"
	}
	return name
}
