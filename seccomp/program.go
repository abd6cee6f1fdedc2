package seccomp

import (
	"encoding/binary"
	"syscall"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Options say what a filter is to do.
type Options struct {
	Rules []policies.SyscallRule
	// Ask is who is asked about every traced call and every refusal but quiet ones.
	Ask Ask
	// I386 admits 32-bit calls on x86-64, under the same rules. Otherwise they look unimplemented.
	I386 bool
}

// Ask is whom a filter asks about a call.
type Ask int

const (
	// AskNobody has the filter answer refusals itself; nothing else is seen.
	AskNobody Ask = iota
	// AskListener asks the filter's listener: see Supervise.
	AskListener
	// AskTracer stops the caller for its tracer, with TraceData as the event's message. A call of a task that has none is
	// answered with ENOSYS (seccomp(2), SECCOMP_RET_TRACE).
	AskTracer
)

// TraceData is what a filter tells a tracer about the ABI of a call: kernels before 5.3 have no better way to know it.
func TraceData(abi policies.ABI) uint16 { return uint16(abi) + 1 }

// highestI386 is the highest number that libseccomp can be counted on to know for a foreign ABI; younger calls look
// unimplemented there, and 32-bit libraries fall back.
const highestI386 = 449

// bpf returns one instruction of classic BPF as struct sock_filter (linux/filter.h).
func bpf(code uint16, jt, jf uint8, k uint32) []byte {
	b := binary.NativeEndian.AppendUint16(nil, code)
	return binary.NativeEndian.AppendUint32(append(b, jt, jf), k)
}

// Offsets in struct seccomp_data, and what a refused number returns.
const (
	offsetNumber, offsetArch = 0, 4
	instruction              = 8 // bytes
	load                     = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
	jumpGreater              = unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K
	jumpBits                 = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
	jumpEqual                = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpAlways               = unix.BPF_JMP | unix.BPF_JA
	result                   = unix.BPF_RET | unix.BPF_K
	returnENOSYS             = unix.SECCOMP_RET_ERRNO | uint32(syscall.ENOSYS)
)

// X32 is the bit that marks the numbers of the x32 ABI, which has the arch of x86-64 (linux/x32.h).
const X32 = 0x40000000

// join puts the filters of two ABIs into one program: libseccomp's own for the native one, which also refuses every ABI that
// it does not know, and the one for i386, which may be nil. Calls by i386, where that is not admitted, and by x32 get the
// answer foreign. Numbers that are younger than our tables look unimplemented.
func join(native, i386 []byte, foreign uint32) (program []byte) {
	steps := [][]byte{
		bpf(load, 0, 0, offsetArch),
		bpf(jumpEqual, 0, 1, policies.I386.AuditArch()),
		bpf(result, 0, 0, foreign),
		bpf(load, 0, 0, offsetNumber),
		bpf(jumpBits, 0, 1, X32),
		bpf(result, 0, 0, foreign),
		bpf(jumpGreater, 0, 1, policies.HighestSyscall),
		bpf(result, 0, 0, returnENOSYS),
	}
	if i386 != nil {
		steps = [][]byte{
			bpf(load, 0, 0, offsetArch),
			bpf(jumpEqual, 5, 0, policies.I386.AuditArch()),
			bpf(load, 0, 0, offsetNumber),
			bpf(jumpBits, 0, 1, X32),
			bpf(result, 0, 0, foreign),
			bpf(jumpGreater, 0, 5, policies.HighestSyscall),
			bpf(result, 0, 0, returnENOSYS),
			bpf(load, 0, 0, offsetNumber),
			bpf(jumpGreater, 0, 1, highestI386),
			bpf(result, 0, 0, returnENOSYS),
			bpf(jumpAlways, 0, 0, uint32(len(native)/instruction)),
		}
	}
	for _, step := range steps {
		program = append(program, step...)
	}
	return append(append(program, native...), i386...)
}

// foreign is the answer to calls by an ABI that is not admitted: the listener puts them on record and refuses them.
func (o Options) foreign() uint32 {
	if o.Ask == AskListener {
		return unix.SECCOMP_RET_USER_NOTIF
	}
	return returnENOSYS
}
