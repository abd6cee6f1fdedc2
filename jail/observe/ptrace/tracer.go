package ptrace

import (
	"fmt"
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/jail/observe"
	"hdjail/policies"
)

// Options are what a Tracer works with. Log is open.
type Options struct {
	Log   *observe.Log
	Table *policies.CallTable
	// Prepare, which may be nil, runs on the tracer's thread before the first call is seen.
	Prepare func() error
}

// Tracer traces one process of a jail and what descends from it.
type Tracer struct {
	done chan struct{}
	err  error
}

// Trace begins to trace a process, which waits meanwhile, and has loaded no filter yet. The kernel's refusal is an
// *os.SyscallError. The tracer works until no process is left that it traces: Wait waits for that. From then on this process
// gets no SIGCHLD for children that stop.
func Trace(pid int, o Options) (*Tracer, error) {
	t := &Tracer{done: make(chan struct{})}
	started := make(chan error)
	go func() {
		defer close(t.done)
		// Tracees belong to a thread, which ends with the goroutine, as Prepare may have changed it. The kernel then kills
		// those that are left.
		runtime.LockOSThread()
		noSignalForStops()
		if errno := seize(pid); errno != 0 {
			started <- os.NewSyscallError("ptrace", errno)
			return
		}
		var err error
		if o.Prepare != nil {
			err = o.Prepare()
		}
		if err != nil {
			_ = unix.Kill(pid, unix.SIGKILL) // traced, so the id is still its own; the loop sees it end
		}
		started <- err
		w := &worker{options: o, tasks: map[int]*task{pid: {}}}
		t.err = w.work()
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return t, nil
}

// Wait returns when no traced process is left. The error tells that something may be missing from the record.
func (t *Tracer) Wait() error {
	<-t.done
	return t.err
}

// worker is what the tracer's thread has.
type worker struct {
	options Options
	reader  reader
	tasks   map[int]*task // by their ids, outside the jail
	idle    []*observe.Pending
	err     error // the first unexpected answer of the kernel
}

// task is a traced thread.
type task struct {
	// pending is the call that the kernel carries out now, nil for none; its result is still to come.
	pending *observe.Pending
	call    call
	// broken is a call that a signal has ended early, nil for none. It is counted when it is made again, or when the task
	// ends, which tells that it was not.
	broken     *observe.Pending
	brokenCall call
}

// work sees all stops, until no task is left. It waits for those of this thread only: hdjail's other children belong to
// others.
func (w *worker) work() error {
	for {
		var ws unix.WaitStatus
		tid, err := unix.Wait4(-1, &ws, unix.WALL|unix.WNOTHREAD, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD:
			return w.finish()
		case err != nil:
			return os.NewSyscallError("wait4", err)
		default:
			w.see(tid, ws)
		}
	}
}

// finish takes in the calls of tasks whose end was not seen. There should be none.
func (w *worker) finish() error {
	lost := len(w.tasks)
	for tid := range w.tasks {
		w.end(tid)
	}
	if w.err == nil && lost > 0 {
		w.err = fmt.Errorf("%d traced tasks were lost", lost)
	}
	return w.err
}

// see deals with one stop and lets the task go on.
func (w *worker) see(tid int, ws unix.WaitStatus) {
	kind, sig := classify(ws)
	if kind == stopEnded {
		w.end(tid)
		return
	}
	t := w.tasks[tid]
	if t == nil { // a new one: it may stop before the one that made it tells
		t = &task{}
		w.tasks[tid] = t
	}
	switch kind {
	case stopCall:
		w.begin(tid, t)
		return
	case stopResult:
		w.result(tid, t)
	case stopExec:
		t = w.exec(tid, t)
	case stopBirth:
		child, errno := eventMessage(tid)
		w.check("read an event's message", errno)
		if errno == 0 {
			w.options.Log.Born(int(child))
		}
	case stopGroup:
		w.check("PTRACE_LISTEN", request(unix.PTRACE_LISTEN, tid, 0, 0))
		return
	}
	w.resume(tid, t, sig)
}

// resume lets a task go on, up to the result of its call if it is in one that has a result to come.
func (w *worker) resume(tid int, t *task, sig unix.Signal) {
	how := unix.PTRACE_CONT
	if t.pending != nil {
		how = unix.PTRACE_SYSCALL
	}
	w.check("resume", request(how, tid, 0, uintptr(sig)))
}

// check notes an answer of the kernel that nobody expects. ESRCH is one: the task was killed while it was stopped, and its
// end will be seen.
func (w *worker) check(what string, errno syscall.Errno) {
	if errno != 0 && errno != unix.ESRCH && w.err == nil {
		w.err = fmt.Errorf("%s: %w", what, errno)
	}
}

// begin deals with a call that waits.
func (w *worker) begin(tid int, t *task) {
	c, errno := w.reader.call(tid)
	if errno == unix.ESRCH {
		return
	}
	w.check("read a call", errno)
	abi, known := policies.ABIOf(c.arch)
	o := observe.Call{Told: true, TID: tid, ABI: abi, Args: c.args}
	var refused *policies.SyscallRule
	if known && errno == 0 {
		o.Name, o.Traced, refused = w.options.Table.Find(abi, c.nr, &c.args)
	}
	if o.Name == "" {
		w.options.Log.Incomplete(fmt.Sprintf("a call %d of ABI %#x that is in no table", c.nr, c.arch))
		w.check("refuse a call", answer(tid, unix.ENOSYS))
		w.resume(tid, t, 0)
		return
	}
	if t.broken != nil && t.brokenCall == c { // made again
		w.put(t.broken)
		t.broken = nil
	}
	p := w.take()
	if refused != nil {
		o.Refused = refused.Errno
	}
	w.options.Log.Begin(p, o)
	if refused != nil {
		w.refuse(tid, p, refused.Errno)
		return
	}
	if !p.Named() { // nothing to wait for
		w.put(p)
		w.resume(tid, t, 0)
		return
	}
	t.pending, t.call = p, c
	if errno := request(unix.PTRACE_SYSCALL, tid, 0, 0); errno != 0 { // killed before it went on
		w.check("resume", errno)
		t.pending = nil
		w.options.Log.End(p, false)
		w.put(p)
	}
}

// refuse answers a call in the kernel's place. If the answer cannot be given the caller is gone.
func (w *worker) refuse(tid int, p *observe.Pending, errno syscall.Errno) {
	failed := answer(tid, errno)
	if failed == 0 {
		failed = request(unix.PTRACE_CONT, tid, 0, 0)
	}
	w.check("refuse a call", failed)
	w.options.Log.End(p, failed == 0)
	w.put(p)
}

// result takes in how the kernel has carried out a call.
func (w *worker) result(tid int, t *task) {
	if t.pending == nil {
		return
	}
	value, errno := w.reader.result(tid, t.call.arch)
	if errno != 0 { // the end of the task follows, and takes the call in
		w.check("read a result", errno)
		return
	}
	errno, restarts := outcome(value)
	if restarts {
		w.endBroken(t)
		t.broken, t.brokenCall, t.pending = t.pending, t.call, nil
		return
	}
	w.options.Log.EndKnown(t.pending, errno)
	w.put(t.pending)
	t.pending = nil
}

// exec takes in that a process runs another program. Of its threads only the one that called is left, under the id of the
// process.
func (w *worker) exec(tid int, t *task) *task {
	former, errno := eventMessage(tid)
	w.check("read an event's message", errno)
	if caller := w.tasks[int(former)]; errno == 0 && caller != nil && int(former) != tid {
		w.end(tid) // it ended without a word
		delete(w.tasks, int(former))
		t, w.tasks[tid] = caller, caller
	}
	if t.pending != nil {
		w.options.Log.EndKnown(t.pending, 0)
		w.put(t.pending)
		t.pending = nil
	}
	w.endBroken(t)
	return t
}

// end takes in that a task is gone. The result of a call in its middle nobody knows: it stays the inferred one.
func (w *worker) end(tid int) {
	t := w.tasks[tid]
	if t == nil {
		return
	}
	delete(w.tasks, tid)
	if t.pending != nil {
		w.options.Log.End(t.pending, true)
		w.put(t.pending)
	}
	w.endBroken(t)
}

// endBroken counts a call that a signal has ended for good.
func (w *worker) endBroken(t *task) {
	if t.broken != nil {
		w.options.Log.EndKnown(t.broken, unix.EINTR)
		w.put(t.broken)
		t.broken = nil
	}
}

// take returns a Pending that is not in use; put gives it back. There are as many as calls at the same moment.
func (w *worker) take() *observe.Pending {
	if n := len(w.idle); n > 0 {
		p := w.idle[n-1]
		w.idle = w.idle[:n-1]
		return p
	}
	return new(observe.Pending)
}

func (w *worker) put(p *observe.Pending) { w.idle = append(w.idle, p) }
