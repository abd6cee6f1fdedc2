package seccomp

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Notification is struct seccomp_notif (linux/seccomp.h): a call of a jailed task that waits for its answer.
type Notification struct {
	ID    uint64
	TID   uint32 // as the reader's pid namespace counts
	Flags uint32
	Nr    int32
	Arch  uint32
	IP    uint64
	Args  [6]uint64
}

// response is struct seccomp_notif_resp.
type response struct {
	ID    uint64
	Val   int64
	Error int32
	Flags uint32
}

// Handler sees the calls, each worker with a Handler of its own. Before is called while the caller waits, and says what the
// call is answered with: 0 lets it go on. After is called when it was answered; valid tells that the caller was still there,
// so that what Before saw was his.
type Handler interface {
	Before(n *Notification) syscall.Errno
	After(n *Notification, valid bool)
}

// ioctl numbers of the listener (linux/seccomp.h).
const (
	ioctlRecv     = 0xC0502100
	ioctlSend     = 0xC0182101
	ioctlSetFlags = 0x40082104
	flagContinue  = 1 // SECCOMP_USER_NOTIF_FLAG_CONTINUE
	flagSyncWake  = 1 // SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP
)

// sizes is struct seccomp_notif_sizes.
type sizes struct{ Notif, Resp, Data uint16 }

// Supervisor answers the notifications of one listener.
type Supervisor struct {
	listener *os.File
	sync     bool
	size     int
	workers  sync.WaitGroup
	stopping atomic.Bool
	running  []atomic.Int32 // the thread of each worker, 0 when it has ended
	failed   func()
	mu       sync.Mutex
	err      error
}

// ErrNoContinue means that the kernel asks about calls but cannot let them go on then (before Linux 5.5).
var ErrNoContinue = errors.New("a call that was asked about cannot go on")

// Supervise starts answering. It owns the listener. prepare, which may be nil, runs on each worker's thread before the first
// notification; handlers has one Handler a worker. failed is called once if a worker cannot go on: calls may then wait for
// an answer that does not come, so it has to end those who make them.
func Supervise(listener *os.File, handlers []Handler, prepare func() error, failed func()) (*Supervisor, error) {
	s := &Supervisor{listener: listener, running: make([]atomic.Int32, len(handlers)), failed: failed}
	var size sizes
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_GET_NOTIF_SIZES, 0, uintptr(unsafe.Pointer(&size))); errno != 0 {
		return nil, fmt.Errorf("ask for the size of notifications: %w", errno)
	}
	s.size = max(int(size.Notif), int(unsafe.Sizeof(Notification{})))
	// Passed by value. Without it (before Linux 6.6) a call costs twice as much.
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, listener.Fd(), ioctlSetFlags, flagSyncWake)
	s.sync = errno == 0
	for i, handler := range handlers {
		s.workers.Add(1)
		go s.work(i, handler, prepare)
	}
	return s, nil
}

// Synchronous reports whether callers are woken on the worker's processor.
func (s *Supervisor) Synchronous() bool { return s.sync }

// work answers until no task uses the filter. The thread ends with it, because prepare may have changed it.
func (s *Supervisor) work(i int, handler Handler, prepare func() error) {
	defer s.workers.Done()
	runtime.LockOSThread()
	s.running[i].Store(int32(unix.Gettid()))
	defer s.running[i].Store(0)
	if prepare != nil {
		if err := prepare(); err != nil {
			s.fail(err)
			return
		}
	}
	buffer := make([]uint64, (s.size+7)/8)
	n := (*Notification)(unsafe.Pointer(&buffer[0]))
	answer := new(response)
	for !s.stopping.Load() {
		clear(buffer)
		// Not RawSyscall: a blocked one would keep the scheduler's processor.
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, s.listener.Fd(), ioctlRecv, uintptr(unsafe.Pointer(n)))
		switch {
		case errno == unix.EINTR:
			continue
		case errno == unix.ENOENT:
			if s.unused() { // no task is left
				return
			}
			continue // the caller is gone
		case errno != 0:
			s.fail(fmt.Errorf("receive a notification: %w", errno))
			return
		}
		if s.serve(handler, n, answer) == unix.EINVAL && answer.Flags == flagContinue {
			s.fail(ErrNoContinue)
			return
		}
	}
}

func (s *Supervisor) serve(handler Handler, n *Notification, answer *response) syscall.Errno {
	refused := handler.Before(n)
	*answer = response{ID: n.ID, Flags: flagContinue}
	if refused != 0 {
		answer.Error, answer.Flags = -int32(refused), 0
	}
	_, _, errno := unix.RawSyscall(unix.SYS_IOCTL, s.listener.Fd(), ioctlSend, uintptr(unsafe.Pointer(answer)))
	handler.After(n, errno == 0)
	return errno
}

// unused reports whether the last task with the filter has ended (EPOLLHUP, Linux 5.9).
func (s *Supervisor) unused() bool {
	fds := []unix.PollFd{{Fd: int32(s.listener.Fd()), Events: unix.POLLIN}}
	_, err := unix.Poll(fds, 0)
	return err == nil && fds[0].Revents&unix.POLLHUP != 0
}

func (s *Supervisor) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
		s.failed()
	}
}

// Wait returns when every notification is answered and no task uses the filter; call it when the jail's last process is
// gone. It closes the listener. The error tells that the supervisor ended early, and so the record.
func (s *Supervisor) Wait() error {
	done := make(chan struct{})
	go func() {
		s.workers.Wait()
		close(done)
	}()
	s.wake(done)
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.err, s.listener.Close())
}

// wake interrupts workers that wait for a notification that cannot come: before Linux 6.11 the kernel lets them sleep.
func (s *Supervisor) wake(done <-chan struct{}) {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		if !s.unused() {
			continue
		}
		s.stopping.Store(true)
		for i := range s.running {
			if tid := s.running[i].Load(); tid != 0 {
				_ = unix.Tgkill(os.Getpid(), int(tid), unix.SIGURG) // it may just have ended
			}
		}
	}
}

// Call is a notified call with what the tables say of it.
type Call struct {
	ABI     policies.ABI
	Name    string
	Traced  *policies.TracedCall
	Refused syscall.Errno
}

// Look finds a notification in the table. i386 tells that the filter admits that ABI; calls by one that it does not admit are
// refused. What is not found is nothing that the filter asks about.
func Look(table *policies.CallTable, n *Notification, i386 bool) (c Call, found bool) {
	if c.ABI, found = policies.ABIOf(n.Arch); !found {
		return c, false
	}
	x32 := c.ABI == policies.AMD64 && n.Nr&X32 != 0
	var rule *policies.SyscallRule
	c.Name, c.Traced, rule = table.Find(c.ABI, int(n.Nr&^X32), &n.Args)
	switch {
	case x32 || c.ABI == policies.I386 && !i386:
		c.Refused = syscall.ENOSYS
		if c.Name == "" {
			c.Name = fmt.Sprintf("call %d of a foreign ABI", n.Nr)
		}
	case rule != nil:
		c.Refused = rule.Errno
	}
	return c, c.Traced != nil || c.Refused != 0
}
