package observe

import (
	"bytes"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hdjail/policies/audit"
)

// processes knows the tasks of a jail and the programs that they run. A task is found by its id outside; a descriptor of
// each process (pidfd_open(2)) tells when the id is free for another.
type processes struct {
	mem   memory
	init  int // pid 1 of the jail, outside
	began time.Time

	mu       sync.Mutex
	tasks    map[int]*task
	groups   map[int]*group
	programs []audit.Process
	ran      []bool // by ID, of the programs: whether it was executed in the jail, as far as is known
	poll     int    // epoll, -1 where pidfds cannot be had
	seen     int    // calls since somebody looked for processes that have ended
}

// task is one thread. fd tells when its id is free; -1 where that cannot be told, and then the task is not remembered.
type task struct {
	group *group
	fd    int
}

// group is one process, a thread group.
type group struct {
	tgid, pid int // outside, and in the jail
	program   int // the ID of what it runs
	// before is what it ran before an exec that is not confirmed yet, 0 for none; by is the thread that executes.
	before, by int
	// executed counts what it went on with, once or more than once.
	executed int
	first    *task
}

func newProcesses(proc, init int, began time.Time) *processes {
	p := &processes{mem: memory{proc: proc}, init: init, began: began, tasks: map[int]*task{}, groups: map[int]*group{}, poll: -1}
	if poll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC); err == nil {
		p.poll = poll
	}
	return p
}

// lookEvery is how many calls may pass before processes that have ended are forgotten. An id is free for another only when
// all others were given, so this is soon enough.
const lookEvery = 64

// forgetEnded forgets processes that have ended.
func (p *processes) forgetEnded() {
	p.seen = 0
	if p.poll < 0 {
		return
	}
	var events [64]unix.EpollEvent
	for n := len(events); n == len(events); {
		n, _ = unix.EpollWait(p.poll, events[:], 0) // does not wait
		for _, e := range events[:max(n, 0)] {
			p.forget(int(e.Fd))
		}
	}
}

func (p *processes) forget(tid int) {
	t := p.tasks[tid]
	if t == nil {
		return
	}
	delete(p.tasks, tid)
	if t.group.tgid == tid {
		delete(p.groups, tid)
	}
	unix.Close(t.fd)
}

// close returns all programs, by ID, and which of them were executed in the jail. It may be called again.
func (p *processes) close() (programs []audit.Process, ran []bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.poll >= 0 {
		unix.Close(p.poll)
		p.poll = -1
	}
	for _, t := range p.tasks {
		unix.Close(t.fd)
	}
	clear(p.tasks)
	return p.programs, p.ran
}

// at finds the task of a call, which waits, so its files in /proc are those of the caller, and the program that it runs now.
func (p *processes) at(tid int) (t *task, program int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.seen++; p.seen >= lookEvery {
		p.forgetEnded()
	}
	if t = p.tasks[tid]; t == nil {
		t = p.meet(tid)
	}
	// Another thread may call while one executes. After it there is only the process's first.
	if g := t.group; g.before != 0 && (tid == g.by || tid == g.tgid) {
		p.confirm(g)
	}
	return t, t.group.program
}

// meet looks at a task for the first time.
func (p *processes) meet(tid int) *task {
	p.forgetEnded()
	fd := p.open(tid)
	s := p.identify(tid, fd)
	g := p.groups[s.tgid]
	if g == nil {
		if tid == s.tgid {
			return p.newGroup(s, fd).first
		}
		g = p.newGroup(s, p.open(s.tgid))
	}
	return p.follow(tid, fd, g)
}

// open returns a descriptor of a process or a thread, -1 where there is none.
func (p *processes) open(tid int) int {
	if p.poll < 0 {
		return -1
	}
	fd, err := unix.PidfdOpen(tid, 0)
	if err != nil { // it is not the first of its process
		fd, err = unix.PidfdOpen(tid, unix.PIDFD_THREAD) // Linux 6.9
	}
	if err != nil {
		return -1
	}
	return fd
}

// born looks at a process that has been made. It may have ended already.
func (p *processes) born(pid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.groups[pid] != nil {
		return
	}
	if s := p.status(pid); s.pid != 0 && s.tgid == pid {
		p.newGroup(s, p.open(pid))
	}
}

// newGroup looks at a process for the first time. fd, -1 for none, is taken over.
func (p *processes) newGroup(s status, fd int) *group {
	g := &group{tgid: s.tgid, pid: s.pid}
	g.program = p.started(g, s.parent)
	p.groups[s.tgid] = g
	g.first = p.follow(s.tgid, fd, g)
	return g
}

// follow remembers a task until it ends. A process whose end would not be noticed is forgotten at once.
func (p *processes) follow(tid, fd int, g *group) *task {
	t := &task{group: g, fd: fd}
	if fd >= 0 && unix.EpollCtl(p.poll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(tid)}) != nil {
		unix.Close(fd)
		t.fd = -1
	}
	if t.fd >= 0 {
		p.tasks[tid] = t
	} else if tid == g.tgid {
		delete(p.groups, tid)
	}
	return t
}

// pidfdInfo is struct pidfd_info (linux/pidfd.h, Linux 6.13) as far as it is wanted.
type pidfdInfo struct {
	mask, cgroup      uint64
	pid, tgid, parent uint32
	_                 [9]uint32
}

const (
	ioctlPidfdInfo = 0xC040FF0B // PIDFD_GET_INFO, for a structure of 64 bytes
	pidfdInfoPid   = 1          // PIDFD_INFO_PID
)

// identify finds out what a task is. Asking its descriptor spares the kernel the directory of the task in /proc, which it
// would make now and take apart when the task ends.
func (p *processes) identify(tid, fd int) status {
	info := pidfdInfo{mask: pidfdInfoPid}
	if fd >= 0 {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), ioctlPidfdInfo, uintptr(unsafe.Pointer(&info)))
		if errno == 0 && info.tgid != 0 {
			if pid := p.inJail(fd); pid != 0 && int(info.tgid) == tid {
				return status{tgid: tid, pid: pid, parent: int(info.parent)}
			}
		}
	}
	return p.status(tid)
}

// inJail is the pid that a process has in the jail, as its descriptor tells (proc_pid_fdinfo(5)); 0 if it does not.
func (p *processes) inJail(fd int) int {
	file, err := unix.Openat(p.mem.proc, "self/fdinfo/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(file)
	var buf [256]byte
	n, err := unix.Read(file, buf[:])
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(buf[:n]) {
		if value, ok := bytes.CutPrefix(line, []byte("NSpid:")); ok {
			fields := strings.Fields(string(value))
			if len(fields) == 0 {
				return 0
			}
			pid, _ := strconv.Atoi(fields[len(fields)-1])
			return pid
		}
	}
	return 0
}

// status is what /proc/PID/status says (proc_pid_status(5)).
type status struct{ tgid, pid, parent int }

func (p *processes) status(tid int) (s status) {
	s.tgid = tid
	fd, err := unix.Openat(p.mem.proc, strconv.Itoa(tid)+"/status", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return s
	}
	defer unix.Close(fd)
	var buf [1024]byte
	n, err := unix.Read(fd, buf[:])
	if err != nil {
		return s
	}
	for line := range bytes.Lines(buf[:n]) {
		name, value, _ := strings.Cut(strings.TrimSpace(string(line)), ":")
		fields := strings.Fields(value)
		if len(fields) == 0 {
			continue
		}
		switch name {
		case "Tgid":
			s.tgid, _ = strconv.Atoi(fields[0])
		case "PPid":
			s.parent, _ = strconv.Atoi(fields[0])
		case "NStgid":
			s.pid, _ = strconv.Atoi(fields[len(fields)-1])
			return s
		}
	}
	return s
}

// started finds the program of a process that is seen for the first time: it is that of its parent, whose copy it is,
// unless the parent has executed another one since.
func (p *processes) started(g *group, parent int) int {
	if len(p.programs) == 0 { // stage 2, about to execute the command
		return p.add(audit.Process{PID: g.pid, Exe: ownExe})
	}
	if of := p.groups[parent]; of != nil && of.executed == 0 {
		return of.program // it has never run anything else
	}
	exe, _ := p.mem.link(strconv.Itoa(g.tgid) + "/exe")
	if parent == p.init || parent == 0 {
		return p.add(audit.Process{PID: g.pid, Orphan: true, Exe: exe, Argv: p.commandLine(g.tgid)})
	}
	of := p.groups[parent]
	if of == nil {
		of = p.newGroup(p.status(parent), p.open(parent))
	}
	for id := of.program; id != 0; id = p.programs[id-1].Parent {
		if known := p.programs[id-1]; known.Exe == exe || exe == "" {
			return id
		}
	}
	return p.add(audit.Process{PID: g.pid, Parent: of.program, Exe: exe, Argv: p.commandLine(g.tgid)})
}

// ownExe is what the audit calls hdjail's own process in the jail, from which the command starts.
const ownExe = "hdjail"

func (p *processes) add(process audit.Process) int {
	process.ID = len(p.programs) + 1
	process.Start = time.Since(p.began)
	p.programs, p.ran = append(p.programs, process), append(p.ran, false)
	return process.ID
}

func (p *processes) commandLine(tgid int) []string {
	fd, err := unix.Openat(p.mem.proc, strconv.Itoa(tgid)+"/cmdline", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	buf := make([]byte, argvMax)
	n, err := unix.Read(fd, buf)
	if err != nil || n <= 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00")
}

// execute notes that a process goes on with another program: as far as can be told now, or for certain if the kernel has
// answered.
func (p *processes) execute(call *Pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g := call.task.group
	started := audit.Process{PID: g.pid, Exe: call.paths[0].look.resolved, Argv: slices.Clone(call.argv), Truncated: call.truncated,
		Cwd: call.directory, Parent: g.program}
	if g.before != 0 {
		started.Parent = g.before
	}
	g.before = 0
	if call.inferred {
		g.before, g.by = started.Parent, call.call.TID
	} else if exe, ok := p.mem.link(strconv.Itoa(g.tgid) + "/exe"); ok && !strings.HasSuffix(exe, " (deleted)") {
		started.Exe = exe
	}
	g.program = p.add(started)
	p.ran[g.program-1] = true
	g.executed++
}

// abandon takes back what execute noted of a call that was not answered.
func (p *processes) abandon(call *Pending) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if g := call.task.group; g.before != 0 && g.by == call.call.TID {
		p.ran[g.program-1] = false
		g.program, g.before = g.before, 0
	}
}

// confirm looks whether the last exec of a process went well: the link to its program tells. One that did not is no
// program that ran; its entry stays, because others may follow it, but nothing refers to it.
func (p *processes) confirm(g *group) {
	before := g.before
	g.before = 0
	exe, ok := p.mem.link(strconv.Itoa(g.tgid) + "/exe")
	if !ok {
		return
	}
	now := &p.programs[g.program-1]
	if exe == now.Exe || strings.HasSuffix(exe, " (deleted)") {
		return
	}
	if exe == p.programs[before-1].Exe && path.Base(exe) != path.Base(now.Exe) && !p.interprets(g.tgid, now) {
		p.ran[g.program-1] = false
		g.program = before
		return
	}
	now.Exe = exe
}

// interprets reports whether the process runs the script of an exec, by its arguments.
func (p *processes) interprets(tgid int, program *audit.Process) bool {
	args := p.commandLine(tgid)
	return len(args) > 1 && len(program.Argv) > 0 && len(args) > len(program.Argv)
}
