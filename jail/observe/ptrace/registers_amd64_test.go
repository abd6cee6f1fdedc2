package ptrace

import (
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/policies"
)

func TestDecode(t *testing.T) {
	r := unix.PtraceRegsAmd64{Orig_rax: 257, Rip: 77, Rdi: ^uint64(99), Rsi: 2, Rdx: 3, R10: 4, R8: 5, R9: 6, Rbx: 1 << 40, Rcx: 8, Rbp: 9}
	want := call{arch: policies.AMD64.AuditArch(), nr: 257, ip: 77, args: [6]uint64{^uint64(99), 2, 3, 4, 5, 6}}
	if got := decode(&r, uint64(policies.AMD64)+1); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want = call{arch: policies.I386.AuditArch(), nr: 257, ip: 77, args: [6]uint64{0, 8, 3, 2, ^uint64(99) & 0xffffffff, 9}}
	if got := decode(&r, uint64(policies.I386)+1); got != want {
		t.Errorf("by int 0x80: %+v, want %+v", got, want)
	}
}
