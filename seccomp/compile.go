//go:build cgo && seccomp

package seccomp

import (
	"fmt"
	"os"
	"syscall"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Compile builds one filter for the native system calls: what the rules refuse gets their errno, everything else passes,
// and every other ABI (i386, x32) looks unimplemented (ENOSYS). It returns the program as the bytes of struct
// sock_filter[] and the names that the installed libseccomp does not know.
func Compile(rules []policies.SyscallRule) (program []byte, unknown []string, err error) {
	filter, err := libseccomp.NewFilter(libseccomp.ActAllow)
	if err != nil {
		return nil, nil, fmt.Errorf("new filter: %w", err)
	}
	defer filter.Release()
	if err := filter.SetBadArchAction(errnoAction(syscall.ENOSYS)); err != nil {
		return nil, nil, fmt.Errorf("set the action for foreign ABIs: %w", err)
	}
	missing := map[string]bool{}
	for _, rule := range rules {
		for _, name := range rule.Names {
			call, known := number(name)
			if !known && !missing[name] {
				missing[name] = true
				unknown = append(unknown, name)
			}
			if call < 0 { // unknown, or a name of another architecture only
				continue
			}
			if err := addRule(filter, call, rule); err != nil {
				return nil, nil, fmt.Errorf("add rule for %q: %w", name, err)
			}
		}
	}
	program, err = export(filter)
	return program, unknown, err
}

// number looks a call up: libseccomp's table first, then that of calls younger than the library.
func number(name string) (call libseccomp.ScmpSyscall, known bool) {
	if call, err := libseccomp.GetSyscallFromName(name); err == nil {
		return call, true
	}
	if nr, ok := policies.YoungSyscalls[name]; ok {
		return libseccomp.ScmpSyscall(nr), true
	}
	return -1, false
}

func addRule(filter *libseccomp.ScmpFilter, call libseccomp.ScmpSyscall, rule policies.SyscallRule) error {
	var conditions []libseccomp.ScmpCondition
	for _, c := range rule.When {
		condition, err := condition(c)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	if len(conditions) == 0 {
		return filter.AddRuleExact(call, errnoAction(rule.Errno))
	}
	return filter.AddRuleConditionalExact(call, errnoAction(rule.Errno), conditions)
}

func condition(c policies.SyscallCondition) (libseccomp.ScmpCondition, error) {
	if c.Above {
		return libseccomp.MakeCondition(c.Arg, libseccomp.CompareGreater, c.Value)
	}
	return libseccomp.MakeCondition(c.Arg, libseccomp.CompareMaskedEqual, c.Mask, c.Value)
}

func errnoAction(errno syscall.Errno) libseccomp.ScmpAction {
	return libseccomp.ActErrno.SetReturnCode(int16(errno))
}

// export writes the program into a memory file, because libseccomp before 2.6 exports to a descriptor only.
func export(filter *libseccomp.ScmpFilter) ([]byte, error) {
	fd, err := unix.MemfdCreate("filter", unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("memfd_create: %w", err)
	}
	file := os.NewFile(uintptr(fd), "filter")
	defer file.Close()
	if err := filter.ExportBPF(file); err != nil {
		return nil, fmt.Errorf("export filter: %w", err)
	}
	size, err := file.Seek(0, 2)
	if err != nil {
		return nil, fmt.Errorf("size of filter: %w", err)
	}
	program := make([]byte, size)
	if _, err := file.ReadAt(program, 0); err != nil {
		return nil, fmt.Errorf("read filter: %w", err)
	}
	return program, nil
}
