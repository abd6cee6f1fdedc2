package container

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	"github.com/opencontainers/runc/libcontainer"
	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/jail/observe"
	"hdjail/jail/observe/ptrace"
	"hdjail/policies"
	"hdjail/policies/audit"
	"hdjail/seccomp"
)

// observer records one jail. A nil observer records nothing.
type observer struct {
	kind     Observer
	log      *observe.Log
	table    func() *policies.CallTable
	scene    observe.Scene
	canaries []string
	watchers []watcher
	unfit    error // the observer cannot work on this host, as its first call has shown; nil if it can
	identity identity
	i386     bool // the filter admits its calls
	setIDs   bool
}

// watcher sees calls until no process is left that makes any. The first of a jail is the command's, the second that of the
// last canary.
type watcher interface{ Wait() error }

// accessesOfCanary is how many accesses of each of its paths stage 2 makes.
const accessesOfCanary = 4

func (r *Runner) newObserver(c jail.Config, kind Observer, ids identity) *observer {
	if kind == "" {
		return nil
	}
	o := &observer{kind: kind, log: c.Log, table: r.table, identity: ids, i386: !c.Mode.Contains(), setIDs: r.root && !c.Host,
		canaries: []string{"/.hdjail-" + randomName(), "/.hdjail-" + randomName()},
		scene:    observe.Scene{UID: ids.uid, GID: ids.gid, All: c.Host && r.root, Terminal: c.Terminal, Canaries: map[string]int{}}}
	for _, name := range o.canaries {
		o.scene.Canaries[name] = accessesOfCanary
	}
	return o
}

func (o *observer) paths() []string {
	if o == nil {
		return nil
	}
	return o.canaries
}

// workers is how many threads answer. Each does the whole of a call, because handing it on costs as much, and the kernel wakes
// all that wait for each call, so there are few.
func workers() int { return max(1, min(4, runtime.NumCPU()/2)) }

// open opens the record before the first call.
func (o *observer) open(init *libcontainer.Process) (err error) {
	if len(o.watchers) > 0 {
		return nil
	}
	if o.scene.Init, err = init.Pid(); err != nil {
		return err
	}
	return o.log.Open(o.scene)
}

// serve answers the notifications of a listener that stage 2 has sent.
func (o *observer) serve(listener *os.File, init *libcontainer.Process, fields []string) error {
	if listener == nil || o == nil {
		return errors.New("stage 2 sent no listener")
	}
	if err := o.open(init); err != nil {
		return errors.Join(err, listener.Close())
	}
	n := 1
	if len(o.watchers) == 0 {
		n = workers()
	}
	handlers := make([]seccomp.Handler, n)
	for i := range handlers {
		handlers[i] = &handler{log: o.log, table: o.table(), i386: o.i386}
	}
	s, err := seccomp.Supervise(listener, handlers, o.prepare, func() { init.Signal(os.Kill) })
	if err != nil {
		return errors.Join(err, listener.Close())
	}
	if len(o.watchers) == 0 {
		o.log.Observed(describe(s, slices.Contains(fields, "1")))
	}
	o.watchers = append(o.watchers, s)
	return nil
}

// trace traces a process of stage 2 that waits for it.
func (o *observer) trace(pid int, init *libcontainer.Process) error {
	if pid <= 0 || o == nil {
		return errors.New("stage 2 did not say which process to trace")
	}
	if err := o.open(init); err != nil {
		return err
	}
	t, err := ptrace.Trace(pid, ptrace.Options{Log: o.log, Table: o.table(), Prepare: o.prepare})
	if err != nil {
		return traceRefused(err)
	}
	if len(o.watchers) == 0 {
		o.log.Observed(audit.Observer{Name: string(ObserverPtrace), Guarantees: []string{"every traced call is seen before it goes on",
			"outcomes are the kernel's", "a call in whose middle its process is killed has an inferred outcome",
			"what the kernel opens itself is derived from file headers", "debuggers and strace do not work inside"}})
	}
	o.watchers = append(o.watchers, t)
	return nil
}

// prepare gives a worker's thread the ids of the jail for looking at files, so that the answers are those that the jail
// gets. It keeps the right to look into the jail's processes.
func (o *observer) prepare() error {
	if !o.setIDs {
		return nil
	}
	// These calls change the calling thread only, and return the old id whether or not they worked (setfsuid(2)).
	unix.Syscall(unix.SYS_SETFSGID, uintptr(o.identity.gid), 0, 0)
	unix.Syscall(unix.SYS_SETFSUID, uintptr(o.identity.uid), 0, 0)
	if now, _, _ := unix.Syscall(unix.SYS_SETFSUID, ^uintptr(0), 0, 0); int(now) != o.identity.uid {
		return fmt.Errorf("take the file system id %d of the jail: the kernel refuses it", o.identity.uid)
	}
	return nil
}

func describe(s *seccomp.Supervisor, killable bool) audit.Observer {
	o := audit.Observer{Name: string(ObserverNotification), Guarantees: []string{"every traced call is seen before it goes on",
		"outcomes are inferred", "what the kernel opens itself is derived from file headers"}}
	if !killable {
		o.Guarantees = append(o.Guarantees, "a signal restarts a call, which is counted once")
	}
	if !s.Synchronous() {
		o.Guarantees = append(o.Guarantees, "no synchronous wake-up: a call costs about twice as much")
	}
	return o
}

// finish returns when everything is on record. The jail's last process is gone.
func (o *observer) finish() {
	if o == nil {
		return
	}
	for _, w := range o.watchers {
		err := w.Wait()
		if errors.Is(err, seccomp.ErrNoContinue) {
			o.unfit = listenerRefused(err)
		}
		if err != nil {
			o.log.Incomplete("the " + string(o.kind) + " observer missed something: " + err.Error())
		}
	}
	if err := o.log.Close(); err != nil {
		o.log.Incomplete(err.Error())
	}
}

// explain is the error of a jail that did not start: it may be the observer's.
func (o *observer) explain(err error) error {
	if o != nil && o.unfit != nil {
		return o.unfit
	}
	return err
}

// handler is one worker's.
type handler struct {
	log     *observe.Log
	table   *policies.CallTable
	pending observe.Pending
	i386    bool // the filter admits its calls
	skip    bool
}

// Before implements seccomp.Handler.
func (h *handler) Before(n *seccomp.Notification) syscall.Errno {
	c, found := seccomp.Look(h.table, n, h.i386)
	// The filter asks about nothing else; a call that it and the table see differently is refused.
	if h.skip = !found; h.skip {
		h.log.Incomplete(fmt.Sprintf("a call %d of ABI %#x that no rule is about", n.Nr, n.Arch))
		return syscall.ENOSYS
	}
	call := observe.Call{TID: int(n.TID), ABI: c.ABI, Args: n.Args, Name: c.Name, Traced: c.Traced, Refused: c.Refused}
	h.log.Begin(&h.pending, call)
	return call.Refused
}

// After implements seccomp.Handler.
func (h *handler) After(_ *seccomp.Notification, valid bool) {
	if !h.skip {
		h.log.End(&h.pending, valid)
	}
}
