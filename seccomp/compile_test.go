//go:build cgo && seccomp

package seccomp

import (
	"testing"

	"hdjail/policies"
)

func TestCompileRefusals(t *testing.T) {
	program, unknown, err := Compile(Options{Rules: policies.Refusals(), Notify: true, I386: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(program) == 0 || len(program)%8 != 0 {
		t.Errorf("program of %d bytes, want a multiple of struct sock_filter's 8", len(program))
	}
	for _, name := range unknown {
		if name != "create_module" && name != "stime" { // gone from the kernel
			t.Errorf("%s is refused by no filter: add its number to policies.YoungSyscalls", name)
		}
	}
}

func BenchmarkCompileRefusals(b *testing.B) {
	for b.Loop() {
		if _, _, err := Compile(Options{Rules: policies.Refusals(), Notify: true, I386: true}); err != nil {
			b.Fatal(err)
		}
	}
}
