package ptrace

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Offsets in struct user (sys/user.h).
const (
	offsetRAX     = 10 * 8
	offsetOrigRAX = 15 * 8
)

func registers(tid int) (r unix.PtraceRegsAmd64, errno syscall.Errno) {
	errno = exchange(unix.PTRACE_GETREGS, tid, 0, unsafe.Pointer(&r))
	return r, errno
}

// callByRegisters takes the ABI from the event's message, which the filter has set: the code segment does not tell a 64-bit
// program's int 0x80 from its other calls.
func callByRegisters(tid int) (c call, errno syscall.Errno) {
	message, errno := eventMessage(tid)
	if errno != 0 {
		return c, errno
	}
	r, errno := registers(tid)
	return decode(&r, message), errno
}

func decode(r *unix.PtraceRegsAmd64, message uint64) call {
	c := call{arch: policies.AMD64.AuditArch(), nr: int(int32(r.Orig_rax)), ip: r.Rip,
		args: [6]uint64{r.Rdi, r.Rsi, r.Rdx, r.R10, r.R8, r.R9}}
	if message != uint64(policies.I386)+1 {
		return c
	}
	c.arch, c.args = policies.I386.AuditArch(), [6]uint64{r.Rbx, r.Rcx, r.Rdx, r.Rsi, r.Rdi, r.Rbp}
	for i := range c.args {
		c.args[i] &= 0xffffffff
	}
	return c
}

func resultByRegisters(tid int, arch uint32) (int64, syscall.Errno) {
	r, errno := registers(tid)
	if arch == policies.I386.AuditArch() {
		return int64(int32(r.Rax)), errno
	}
	return int64(r.Rax), errno
}

// answer has a call that waits not be carried out, and the caller get an errno.
func answer(tid int, errno syscall.Errno) syscall.Errno {
	if failed := request(unix.PTRACE_POKEUSR, tid, offsetOrigRAX, ^uintptr(0)); failed != 0 {
		return failed
	}
	return request(unix.PTRACE_POKEUSR, tid, offsetRAX, uintptr(-int(errno)))
}
