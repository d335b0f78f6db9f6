package servers

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const supported = true

// signalLimit is long, because a process that waits for the disk handles a signal only after that wait.
const signalLimit = 20 * time.Second

// account is an OS user.
type account struct{ uid, gid int }

func lookupAccount(name string) (*account, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	return &account{uid, gid}, nil
}

// process is a started program with its descendants.
type process struct {
	cmd    *exec.Cmd
	exited chan struct{}
	err    error // how it exited; can be read after exited is closed

	stopped []int  // all its processes, while it is paused
	disarm  func() // ends the guard of a paused process
}

// starter runs functions on one OS thread that lives as long as this process. Pdeathsig kills a child when the thread that
// started it ends, and Go may end any other thread.
var starter = sync.OnceValue(func() chan<- func() {
	work := make(chan func())
	go func() {
		runtime.LockOSThread()
		for f := range work {
			f()
		}
	}()
	return work
})

// startProcess starts a program that dies with this process. It starts the program as owner. An option such as mariadbd
// --user does not help, because a program that changes its own user loses its Pdeathsig.
func startProcess(cmd *exec.Cmd, owner *account) (*process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL}
	if owner != nil {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(owner.uid), Gid: uint32(owner.gid)}
	}
	started := make(chan error)
	starter() <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, exited: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func (p *process) wait() error {
	<-p.exited
	return p.err
}

func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

func (p *process) pause() error {
	if p.stopped != nil {
		return nil
	}
	pids, err := p.stop()
	if err == nil {
		// Pdeathsig kills only the first process. Its children notice its end by themselves, but not while they are stopped.
		p.disarm, err = atDeath(`kill -KILL "$@"`, pidArgs(pids)...)
	}
	p.stopped = pids
	if err != nil {
		p.resume()
	}
	return err
}

func (p *process) resume() {
	p.disarmGuard()
	// The first process continues last, so that it finds its children running.
	for _, pid := range slices.Backward(p.stopped) {
		_ = syscall.Kill(pid, syscall.SIGCONT)
	}
	p.stopped = nil
}

func (p *process) kill() error {
	p.disarmGuard()
	pids := p.stopped
	if p.running() && pids == nil {
		// All processes are stopped before the first one is killed: a child that notices the death of its parent would begin
		// to clean up. PostgreSQL gives each child its own session, so one signal cannot reach them all as a group. An error
		// of stop does not matter here, because the processes that were found can be killed even so.
		pids, _ = p.stop()
	}
	p.stopped = nil
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	return p.awaitEnd(pids)
}

func (p *process) awaitEnd(pids []int) error {
	timeout := time.After(signalLimit)
	select {
	case <-p.exited:
	case <-timeout:
		return fmt.Errorf("process %d is still there %v after SIGKILL", p.pid(), signalLimit)
	}
	for _, pid := range pids {
		for {
			// A zombie holds no resources any more. It stays for ever where nobody collects orphans, as in many containers.
			stat, ok := readStat(pid)
			if !ok || stat.state == 'Z' || stat.state == 'X' {
				break
			}
			select {
			case <-time.After(time.Millisecond):
			case <-timeout:
				return fmt.Errorf("process %d is still there %v after SIGKILL", pid, signalLimit)
			}
		}
	}
	return nil
}

// stop stops the process and all its descendants. It returns their numbers, with the process itself first. One look at /proc
// is not enough, because a process may start another one until it is stopped. Two equal looks with all of them stopped are
// enough.
func (p *process) stop() ([]int, error) {
	root := p.pid()
	var before []int
	for limit := time.Now().Add(signalLimit); ; time.Sleep(time.Millisecond) {
		if !p.running() {
			return nil, errExited
		}
		_ = syscall.Kill(root, syscall.SIGSTOP)
		tree, err := descendants(root)
		if err != nil {
			return []int{root}, err
		}
		pids := []int{root}
		all := true
		for _, stat := range tree {
			if stat.pid != root {
				pids = append(pids, stat.pid)
			}
			if !strings.ContainsRune("TtZX", rune(stat.state)) {
				all = false
				_ = syscall.Kill(stat.pid, syscall.SIGSTOP)
			}
		}
		if all && slices.Equal(pids, before) {
			return pids, nil
		}
		before = nil
		if all {
			before = pids
		}
		if time.Now().After(limit) {
			return pids, errors.New("its processes do not stop")
		}
	}
}

func (p *process) disarmGuard() {
	if p.disarm != nil {
		p.disarm()
		p.disarm = nil
	}
}

type procStat struct {
	pid, parent int
	state       byte
}

func readStat(pid int) (procStat, bool) {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return procStat{}, false
	}
	// The second field is the program's name in parentheses. The name may contain spaces and parentheses.
	end := strings.LastIndexByte(string(line), ')')
	fields := strings.Fields(string(line[end+1:]))
	if end < 0 || len(fields) < 2 {
		return procStat{}, false
	}
	parent, err := strconv.Atoi(fields[1])
	return procStat{pid, parent, fields[0][0]}, err == nil
}

// descendants returns a process and all its descendants, parents before children.
func descendants(root int) ([]procStat, error) {
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]procStat)
	var tree []procStat
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil {
			continue
		}
		stat, ok := readStat(pid)
		if !ok {
			continue
		}
		if pid == root {
			tree = append(tree, stat)
		}
		children[stat.parent] = append(children[stat.parent], stat)
	}
	for i := 0; i < len(tree); i++ {
		tree = append(tree, children[tree[i].pid]...)
	}
	return tree, nil
}

func pidArgs(pids []int) []string {
	args := make([]string, len(pids))
	for i, pid := range pids {
		args[i] = strconv.Itoa(pid)
	}
	return args
}

// atDeath makes a shell run a script when this process dies, for whatever reason. The shell waits for the end of a pipe that
// only this process holds open. disarm cancels that.
func atDeath(script string, args ...string) (disarm func(), err error) {
	cmd := exec.Command("/bin/sh", append([]string{"-c", "read -r _; " + script, "sh"}, args...)...)
	cmd.Dir = "/"
	cmd.Env = environment()
	// The shell gets its own session, so that Ctrl-C in the terminal does not end it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	pipe, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = pipe.Close()
	}, nil
}

// reservePorts finds a port that is free on loopback, together with the ports at the given offsets from it. It holds them
// with sockets that are bound but do not listen. A server can still bind such a port, because both sides set SO_REUSEADDR.
// But the system gives the port to nobody else, neither as a free port nor as the local port of a client, even while the
// server is down.
func reservePorts(offsets []int) (port int, release func(), err error) {
	for range 100 {
		var held []int
		release := func() {
			for _, fd := range held {
				_ = syscall.Close(fd)
			}
		}
		var fd int
		fd, port, err = bindPort(0)
		if err != nil {
			return 0, nil, err
		}
		held = append(held, fd)
		for _, offset := range offsets {
			if port+offset > 65535 {
				err = syscall.EADDRNOTAVAIL
				break
			}
			if fd, _, err = bindPort(port + offset); err != nil {
				break
			}
			held = append(held, fd)
		}
		if err == nil {
			return port, release, nil
		}
		release()
	}
	return 0, nil, err
}

func bindPort(want int) (fd, port int, err error) {
	fd, err = syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		if err != nil {
			_ = syscall.Close(fd)
		}
	}()
	if err = syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1); err != nil {
		return 0, 0, err
	}
	if err = syscall.Bind(fd, &syscall.SockaddrInet4{Port: want, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, 0, err
	}
	addr, err := syscall.Getsockname(fd)
	if err != nil {
		return 0, 0, err
	}
	return fd, addr.(*syscall.SockaddrInet4).Port, nil
}
