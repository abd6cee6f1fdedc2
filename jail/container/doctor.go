package container

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unsafe"

	cgroups3 "github.com/containerd/cgroups/v3"
	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/policies"
	"hdjail/seccomp"
)

// Probe tries what jails need, in throw-away children and files, and reports each feature. It compares no versions:
// distributions backport and harden. scratch is the directory in which builds would run, demanded the observer that the user
// wants.
func Probe(scratch string, demanded Observer) []jail.Feature {
	features := append(probeNamespaces(), probeFilter())
	features = append(features, probeObservers(demanded, tryObserver)...)
	return append(features, probeLandlock(), probeMemfd(), probeScratch(scratch), probeCgroup(),
		probeCall("openat2", "5.6", "mount sources are resolved without its guards", openat2Works()),
		probeCall("mount_setattr", "5.12", "whole host trees cannot be shown read-only in mode log", mountSetattrWorks()),
		probeCall("close_range", "5.11", "descriptors are closed one by one", closeRangeWorks()))
}

func probeNamespaces() (features []jail.Feature) {
	for _, n := range namespaces {
		f := jail.Feature{Name: n.name, OK: true, Required: true, Lost: "no jail starts"}
		if err := tryNamespace(n.flag); err != nil {
			f.OK, f.Detail, f.Fix = false, err.Error(), namespaceFix(n.name, err)
		}
		features = append(features, f)
	}
	return features
}

func probeFilter() jail.Feature {
	f := jail.Feature{Name: "system call filter", OK: true, Required: true, Lost: "no jail starts"}
	action := uint32(unix.SECCOMP_RET_ERRNO)
	if err := seccompCall(unix.SECCOMP_GET_ACTION_AVAIL, &action); err != nil {
		f.OK, f.Detail, f.Fix = false, err.Error(), "use a kernel that is built with CONFIG_SECCOMP_FILTER"
		return f
	}
	program, unknown, err := seccomp.Compile(seccomp.Options{Rules: policies.Refusals()})
	if err != nil {
		f.OK, f.Detail, f.Fix = false, err.Error(), "build hdjail with `make build`, which sets the tag seccomp"
		return f
	}
	f.Detail = fmt.Sprintf("%d instructions", len(program)/8)
	if len(unknown) > 0 {
		f.Detail += "; names that libseccomp does not know: " + strings.Join(unknown, ", ")
	}
	return f
}

// seccompCall is seccomp(2) with a 32-bit argument.
func seccompCall(operation uintptr, argument *uint32) error {
	if _, _, errno := unix.Syscall(unix.SYS_SECCOMP, operation, 0, uintptr(unsafe.Pointer(argument))); errno != 0 {
		return errno
	}
	return nil
}

func probeLandlock() jail.Feature {
	f := jail.Feature{Name: "Landlock", Lost: "there is no second fence behind the mounts"}
	abi, err := landlockABI()
	if err != nil {
		f.Detail = err.Error()
		f.Fix = "an administrator adds landlock to the kernel's lsm= list (CONFIG_SECURITY_LANDLOCK, Linux 5.13 or later)"
		return f
	}
	f.OK, f.Detail = abi >= landlockFloor, fmt.Sprintf("ABI %d", abi)
	if !f.OK {
		f.Fix = "use Linux 5.19 or later: ABI 1 fails every rename to another directory"
	}
	return f
}

func probeMemfd() jail.Feature {
	f := jail.Feature{Name: "executable memory files", OK: true, Required: true, Lost: "no jail starts"}
	fd, err := unix.MemfdCreate("probe", unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("probe", unix.MFD_CLOEXEC)
	}
	if err != nil {
		f.OK, f.Detail = false, err.Error()
		f.Fix = "an administrator runs: sysctl -w vm.memfd_noexec=0"
		return f
	}
	unix.Close(fd)
	return f
}

// probeScratch makes a program in the directory and runs it.
func probeScratch(dir string) jail.Feature {
	f := jail.Feature{Name: "scratch directory", Required: true, Detail: dir, Lost: "builds cannot run what they make"}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		f.Detail += ": " + err.Error()
		f.Fix = "choose another store with --store or HDJAIL_STORE"
		return f
	}
	if fs.Flags&unix.ST_NOEXEC != 0 {
		f.Detail += " is mounted noexec"
		f.Fix = "choose a store on a file system without noexec, with --store or HDJAIL_STORE"
		return f
	}
	if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
		f.Detail += ": " + err.Error()
		f.Fix = "make it writable for you, or choose another store with --store or HDJAIL_STORE"
		return f
	}
	f.OK = true
	f.Detail += fmt.Sprintf(", %d GiB free", int64(fs.Bavail)*fs.Bsize>>30)
	return f
}

// probeCgroup looks for a group of our own to make groups in: as root, since ordinary users' limits are rlimits.
func probeCgroup() jail.Feature {
	f := jail.Feature{Name: "cgroups", Lost: "a memory limit holds each process by itself, and a CPU limit is not enforced"}
	f.Detail = map[cgroups3.CGMode]string{cgroups3.Legacy: "v1", cgroups3.Hybrid: "v1 and v2 (hybrid)", cgroups3.Unified: "v2",
		cgroups3.Unavailable: "none"}[cgroups3.Mode()]
	if os.Geteuid() != 0 {
		f.Detail += ", used by root only"
		f.Fix = "build as root where a spec's memory or CPU limit must hold all processes together"
		return f
	}
	own, err := ownCgroup()
	if err == nil {
		err = unix.Access(own, unix.W_OK)
	}
	if err != nil {
		f.Detail += ", " + err.Error()
		f.Fix = "the runtime around hdjail must give it a writable cgroup; without one the limits of the caller rule"
		return f
	}
	f.OK = true
	return f
}

// ownCgroup is the directory of the group that this process is in.
func ownCgroup() (string, error) {
	groups, err := cgroups.ParseCgroupFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	if cgroups3.Mode() == cgroups3.Unified {
		return filepath.Join("/sys/fs/cgroup", groups[""]), nil
	}
	memory, ok := groups["memory"]
	if !ok {
		return "", errors.New("no memory controller")
	}
	return filepath.Join("/sys/fs/cgroup/memory", memory), nil
}

func probeCall(name, minimum, lost string, err error) jail.Feature {
	f := jail.Feature{Name: name, OK: err == nil, Lost: lost}
	if err != nil {
		f.Detail, f.Fix = err.Error(), "use Linux "+minimum+" or later"
	}
	return f
}

func openat2Works() error {
	fd, err := unix.Openat2(unix.AT_FDCWD, "/", &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_NO_MAGICLINKS})
	if err != nil {
		return os.NewSyscallError("openat2", err)
	}
	return unix.Close(fd)
}

// mountSetattrWorks asks for nothing on a descriptor that is none: EBADF says that the call exists.
func mountSetattrWorks() error {
	if err := unix.MountSetattr(-1, "", unix.AT_EMPTY_PATH, &unix.MountAttr{}); errors.Is(err, unix.ENOSYS) {
		return os.NewSyscallError("mount_setattr", err)
	}
	return nil
}

// closeRangeWorks closes the highest descriptor number, which nobody has.
func closeRangeWorks() error {
	if err := unix.CloseRange(1<<30, 1<<30, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return os.NewSyscallError("close_range", err)
	}
	return nil
}
