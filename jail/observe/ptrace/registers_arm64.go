package ptrace

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Register sets (linux/elf.h).
const (
	setGeneral    = 1     // NT_PRSTATUS
	setSystemCall = 0x404 // NT_ARM_SYSTEM_CALL: the number of the call that waits, an int
)

func registerSet(what, tid int, set uintptr, data unsafe.Pointer, size uintptr) syscall.Errno {
	vector := unix.Iovec{Base: (*byte)(data), Len: uint64(size)}
	return exchange(what, tid, set, unsafe.Pointer(&vector))
}

func registers(tid int) (r unix.PtraceRegsArm64, errno syscall.Errno) {
	errno = registerSet(unix.PTRACE_GETREGSET, tid, setGeneral, unsafe.Pointer(&r), unsafe.Sizeof(r))
	return r, errno
}

func callByRegisters(tid int) (c call, errno syscall.Errno) {
	r, errno := registers(tid)
	c = call{arch: policies.ARM64.AuditArch(), nr: int(int32(r.Regs[8])), ip: r.Pc}
	copy(c.args[:], r.Regs[:6])
	return c, errno
}

func resultByRegisters(tid int, _ uint32) (int64, syscall.Errno) {
	r, errno := registers(tid)
	return int64(r.Regs[0]), errno
}

// answer has a call that waits not be carried out, and the caller get an errno.
func answer(tid int, errno syscall.Errno) syscall.Errno {
	none := int32(-1)
	if failed := registerSet(unix.PTRACE_SETREGSET, tid, setSystemCall, unsafe.Pointer(&none), unsafe.Sizeof(none)); failed != 0 {
		return failed
	}
	r, failed := registers(tid)
	if failed != 0 {
		return failed
	}
	r.Regs[0] = uint64(-int64(errno))
	return registerSet(unix.PTRACE_SETREGSET, tid, setGeneral, unsafe.Pointer(&r), unsafe.Sizeof(r))
}
