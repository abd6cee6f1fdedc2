package ptrace

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// options of every tracee: descendants are traced, too, and all are killed if the tracer ends.
const options = unix.PTRACE_O_EXITKILL | unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACESECCOMP | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEEXEC

// request is ptrace(2) with a value. Requests but for the attaching one are answered at once, so the scheduler is not told.
func request(what, tid int, addr, value uintptr) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, value, 0, 0)
	return errno
}

// exchange is ptrace(2) with memory of ours.
func exchange(what, tid int, addr uintptr, data unsafe.Pointer) syscall.Errno {
	_, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, uintptr(what), uintptr(tid), addr, uintptr(data), 0, 0)
	return errno
}

func seize(pid int) syscall.Errno {
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, options, 0, 0)
	return errno
}

// action is the kernel's struct sigaction, which is the same on amd64 and arm64.
type action struct {
	handler, flags, restorer uintptr
	mask                     uint64
}

// noSignalForStops sets SA_NOCLDSTOP: a SIGCHLD for each stop of a tracee runs the runtime's handler, which makes a call cost
// three times as much. If it fails that is all there is to it.
func noSignalForStops() {
	const noChildStop = 1
	var now action
	size := unsafe.Sizeof(now.mask)
	_, _, errno := unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), 0, uintptr(unsafe.Pointer(&now)), size, 0, 0)
	if errno == 0 && now.flags&noChildStop == 0 {
		now.flags |= noChildStop
		unix.RawSyscall6(unix.SYS_RT_SIGACTION, uintptr(unix.SIGCHLD), uintptr(unsafe.Pointer(&now)), 0, size, 0, 0)
	}
}

// eventMessage is PTRACE_GETEVENTMSG.
func eventMessage(tid int) (message uint64, errno syscall.Errno) {
	errno = exchange(unix.PTRACE_GETEVENTMSG, tid, 0, unsafe.Pointer(&message))
	return message, errno
}

// call is a system call that waits.
type call struct {
	arch uint32 // AUDIT_ARCH_*
	nr   int
	ip   uint64
	args [6]uint64
}

// syscallInfo is struct ptrace_syscall_info (ptrace(2)); body holds number and arguments of a call that waits, or the
// result of one that has ended.
type syscallInfo struct {
	op   uint8
	_    [3]uint8
	arch uint32
	ip   uint64
	_    uint64 // stack pointer
	body [8]uint64
}

// The values of op.
const (
	infoExit    = 2
	infoSeccomp = 3
)

// reader reads calls and results of stopped tasks. Where the kernel has no PTRACE_GET_SYSCALL_INFO (before Linux 5.3) it
// reads registers.
type reader struct {
	registers bool
	info      syscallInfo
}

// get asks for a syscallInfo; ok is false where the kernel knows no such request.
func (r *reader) get(tid int) (ok bool, errno syscall.Errno) {
	if r.registers {
		return false, 0
	}
	errno = exchange(unix.PTRACE_GET_SYSCALL_INFO, tid, unsafe.Sizeof(r.info), unsafe.Pointer(&r.info))
	if errno == unix.EIO {
		r.registers = true
		return false, 0
	}
	return true, errno
}

// call reads the call of a task that the filter has stopped.
func (r *reader) call(tid int) (c call, errno syscall.Errno) {
	ok, errno := r.get(tid)
	if !ok {
		return callByRegisters(tid)
	}
	if errno != 0 {
		return c, errno
	}
	if r.info.op != infoSeccomp {
		return c, unix.EPROTO
	}
	c = call{arch: r.info.arch, nr: int(int32(r.info.body[0])), ip: r.info.ip}
	copy(c.args[:], r.info.body[1:7])
	return c, 0
}

// result reads how a call of an ABI has ended.
func (r *reader) result(tid int, arch uint32) (value int64, errno syscall.Errno) {
	ok, errno := r.get(tid)
	if !ok {
		return resultByRegisters(tid, arch)
	}
	if errno == 0 && r.info.op != infoExit {
		errno = unix.EPROTO
	}
	return int64(r.info.body[0]), errno
}

// outcome splits a result. restarts tells that a signal has ended the call early: the kernel makes it again, or lets it fail
// with EINTR if the signal's handler says so. These values are never seen by programs (linux/errno.h).
func outcome(value int64) (errno syscall.Errno, restarts bool) {
	switch value {
	case -512, -513, -514, -516: // ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK
		return unix.EINTR, true
	}
	if value < 0 && value >= -4095 {
		return syscall.Errno(-value), false
	}
	return 0, false
}
