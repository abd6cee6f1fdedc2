//go:build cgo && seccomp

package seccomp

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"syscall"

	libseccomp "github.com/seccomp/libseccomp-golang"
	"golang.org/x/sys/unix"

	"hdjail/policies"
)

// Compile builds one filter: what the rules refuse gets their errno or goes to whom o asks, everything else
// passes, and every other ABI looks unimplemented (ENOSYS). It returns the program as the bytes of struct sock_filter[] and
// the names that the installed libseccomp does not know.
func Compile(o Options) (program []byte, unknown []string, err error) {
	native, ok := policies.Native(runtime.GOARCH)
	if !ok {
		return nil, nil, fmt.Errorf("compile filters: %s is no known architecture", runtime.GOARCH)
	}
	c := compiler{options: o, asked: map[string]bool{}}
	if o.Ask != AskNobody {
		for _, call := range policies.Traced() {
			c.asked[call.Name] = true
		}
	}
	program, err = c.filter(native)
	if err != nil {
		return nil, nil, err
	}
	unknown = c.unknown
	var i386 []byte
	if o.I386 && native == policies.AMD64 {
		if i386, err = c.filter(policies.I386); err != nil {
			return nil, nil, err
		}
	}
	return join(program, i386, o.foreign()), unknown, nil
}

// CompileAllowed builds the other filter: what is not allowed looks unimplemented (ENOSYS), and what the rules or Traced name
// passes, as do calls of other ABIs, because the filter of Compile decides about these. Young calls are known to it by number.
func CompileAllowed(o Options) ([]byte, error) {
	native, ok := policies.Native(runtime.GOARCH)
	if !ok {
		return nil, fmt.Errorf("compile filters: %s is no known architecture", runtime.GOARCH)
	}
	names := policies.PassingNames(o.Rules)
	program, err := allowing(native, names)
	if err != nil {
		return nil, err
	}
	var i386 []byte
	if o.I386 && native == policies.AMD64 {
		if i386, err = allowing(policies.I386, names); err != nil {
			return nil, err
		}
	}
	return join(program, i386, unix.SECCOMP_RET_ALLOW), nil
}

// allowing makes the filter of one ABI that lets only the names pass.
func allowing(abi policies.ABI, names []string) ([]byte, error) {
	filter, err := newFilter(abi, errnoAction(syscall.ENOSYS))
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	c := compiler{}
	for _, name := range names {
		if err := c.add(filter, abi, name, libseccomp.ActAllow, nil); err != nil {
			return nil, err
		}
	}
	return export(filter)
}

// newFilter is an empty filter of one ABI. Calls of others get ENOSYS.
func newFilter(abi policies.ABI, standard libseccomp.ScmpAction) (*libseccomp.ScmpFilter, error) {
	filter, err := libseccomp.NewFilter(standard)
	if err != nil {
		return nil, fmt.Errorf("new filter: %w", err)
	}
	if err := filter.SetBadArchAction(errnoAction(syscall.ENOSYS)); err != nil {
		filter.Release()
		return nil, fmt.Errorf("set the action for foreign ABIs: %w", err)
	}
	if err := only(filter, arches[abi]); err != nil {
		filter.Release()
		return nil, fmt.Errorf("set the architecture: %w", err)
	}
	_ = filter.SetOptimize(2) // a tree in place of a list, from libseccomp 2.5 on
	return filter, nil
}

// Number is the number of a system call's name in an ABI, and whether there is one.
func Number(abi policies.ABI, name string) (int, bool) {
	if nr, ok := policies.YoungSyscalls[name]; ok {
		return nr, true
	}
	if nr, ok := policies.I386Direct[name]; ok && abi == policies.I386 {
		return nr, true
	}
	nr, err := libseccomp.GetSyscallFromNameByArch(name, arches[abi])
	return int(nr), err == nil && nr >= 0
}

var arches = [...]libseccomp.ScmpArch{libseccomp.ArchAMD64, libseccomp.ArchARM64, libseccomp.ArchX86}

// compiler makes the filters of one Options.
type compiler struct {
	options Options
	// asked are the names that the filter asks about whatever their arguments.
	asked   map[string]bool
	unknown []string
}

// filter makes the filter of one ABI.
func (c *compiler) filter(abi policies.ABI) ([]byte, error) {
	filter, err := newFilter(abi, libseccomp.ActAllow)
	if err != nil {
		return nil, err
	}
	defer filter.Release()
	ask := c.ask(abi)
	if c.options.Ask != AskNobody {
		for _, call := range policies.Traced() {
			if err := c.add(filter, abi, call.Name, ask, nil); err != nil {
				return nil, err
			}
		}
	}
	for _, rule := range c.options.Rules {
		action := errnoAction(rule.Errno)
		if c.options.Ask != AskNobody && !rule.Quiet {
			action = ask
		}
		for _, name := range rule.Names {
			if c.asked[name] {
				continue
			}
			if err := c.add(filter, abi, name, action, rule.When); err != nil {
				return nil, err
			}
		}
	}
	if abi == policies.I386 { // their arguments lie in memory, where a filter cannot look
		for _, name := range []string{"socketcall", "ipc"} {
			if err := c.add(filter, abi, name, errnoAction(syscall.ENOSYS), nil); err != nil {
				return nil, err
			}
		}
	}
	return export(filter)
}

// ask is the action for calls that the filter asks about.
func (c *compiler) ask(abi policies.ABI) libseccomp.ScmpAction {
	if c.options.Ask == AskTracer {
		return libseccomp.ActTrace.SetReturnCode(int16(TraceData(abi)))
	}
	return libseccomp.ActNotify
}

// only makes arch the filter's single architecture.
func only(filter *libseccomp.ScmpFilter, arch libseccomp.ScmpArch) error {
	native, err := libseccomp.GetNativeArch()
	if err != nil || native == arch {
		return err
	}
	if err := filter.AddArch(arch); err != nil {
		return err
	}
	return filter.RemoveArch(native)
}

// add adds a rule for a name. Young calls are added by number to the native ABI; others do not reach them. A name that
// the ABI does not have is left out.
func (c *compiler) add(filter *libseccomp.ScmpFilter, abi policies.ABI, name string, action libseccomp.ScmpAction, when []policies.SyscallCondition) error {
	native, _ := policies.Native(runtime.GOARCH)
	call, err := libseccomp.GetSyscallFromName(name)
	if err != nil && abi == native {
		young, known := policies.YoungSyscalls[name]
		if !known && !slices.Contains(c.unknown, name) {
			c.unknown = append(c.unknown, name)
		}
		call = libseccomp.ScmpSyscall(young)
		if !known {
			return nil
		}
	} else if _, there := Number(abi, name); err != nil || !there {
		return nil
	}
	var conditions []libseccomp.ScmpCondition
	for _, w := range when {
		condition, err := condition(w)
		if err != nil {
			return err
		}
		conditions = append(conditions, condition)
	}
	if len(conditions) == 0 {
		err = filter.AddRule(call, action)
	} else {
		err = filter.AddRuleConditional(call, action, conditions)
	}
	if err != nil {
		return fmt.Errorf("add rule for %q: %w", name, err)
	}
	return nil
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
