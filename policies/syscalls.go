package policies

import "syscall"

// SyscallRule refuses system calls. Every rule whose conditions hold applies; a call that no rule names passes the first
// filter. Names that the installed libseccomp does not know are left out by the compiler, which reports them.
type SyscallRule struct {
	// Names are names of system calls, as libseccomp spells them.
	Names []string
	// Errno is what the call returns.
	Errno syscall.Errno
	// When holds the conditions, all of which must hold; none means always.
	When []SyscallCondition
	// Quiet answers in the filter itself: programs of every build make the call, so its refusal is no news.
	Quiet bool
	// Why says which attack or surprise the rule prevents.
	Why string
}

// SyscallCondition holds when argument Arg (0-5), under Mask, equals Value; with Above it holds when the argument is
// greater than Value.
type SyscallCondition struct {
	Arg   uint
	Mask  uint64
	Value uint64
	Above bool
}

const (
	modeSetUID, modeSetGID               = 0o4000, 0o2000
	typeMask, typeChar, typeBlock        = 0o170000, 0o020000, 0o060000
	openCreate                           = 0o100      // O_CREAT
	openTmpfile                          = 0o20000000 // __O_TMPFILE, without O_DIRECTORY (open(2))
	ioctlMask                     uint64 = 0xffffffff // the kernel compares 32 bits (CVE-2019-10063)
	renameWhiteout                       = 1 << 2     // RENAME_WHITEOUT, an unprivileged 0:0 device since Linux 5.8
	familyUnix, familyInet               = 1, 2       // socket(2)
	familyInet6, familyNetlink           = 10, 16
	netlinkRoute                         = 0
)

// HighestSyscall is the highest number that is known here, of any name. Calls above it are answered with ENOSYS.
const HighestSyscall = 469

// YoungSyscalls are the numbers of calls that installed libseccomps may not know by name. From 424 on a number means the
// same on every architecture (the kernel's scripts/syscall.tbl).
var YoungSyscalls = map[string]int{
	"futex_waitv":      449,
	"cachestat":        451,
	"fchmodat2":        452,
	"map_shadow_stack": 453,
	"futex_wake":       454,
	"futex_wait":       455,
	"futex_requeue":    456,
	"mseal":            462,
	"setxattrat":       463,
	"getxattrat":       464,
	"listxattrat":      465,
	"removexattrat":    466,
	"open_tree_attr":   467,
	"file_getattr":     468,
	"file_setattr":     469,
}

// I386Direct are the numbers of calls that libseccomp has under socketcall(2) and ipc(2) only, for i386. Linux has them since
// 4.3 and 5.1.
var I386Direct = map[string]int{
	"recvmmsg": 337, "sendmmsg": 345, "socket": 359, "socketpair": 360, "bind": 361, "connect": 362, "listen": 363, "accept4": 364,
	"getsockopt": 365, "setsockopt": 366, "getsockname": 367, "getpeername": 368, "sendto": 369, "sendmsg": 370, "recvfrom": 371,
	"recvmsg": 372, "shutdown": 373,
	"semget": 393, "semctl": 394, "shmget": 395, "shmctl": 396, "shmat": 397, "shmdt": 398, "msgget": 399, "msgsnd": 400, "msgrcv": 401,
	"msgctl": 402,
}

// namespaceFlags are the CLONE_NEW* flags of clone(2), unshare(2) and setns(2).
var namespaceFlags = []uint64{
	0x00000080, // CLONE_NEWTIME
	0x00020000, // CLONE_NEWNS
	0x02000000, // CLONE_NEWCGROUP
	0x04000000, // CLONE_NEWUTS
	0x08000000, // CLONE_NEWIPC
	0x10000000, // CLONE_NEWUSER
	0x20000000, // CLONE_NEWPID
	0x40000000, // CLONE_NEWNET
}

// refusedIoctls are terminal injection, and what outlives a build in the file system.
var refusedIoctls = []uint64{
	0x5412,     // TIOCSTI: types into the terminal (CVE-2019-7303)
	0x541C,     // TIOCLINUX: pastes into the console (CVE-2023-1523)
	0x40086602, // FS_IOC_SETFLAGS: immutable and append-only files
	0x40046602, // FS_IOC32_SETFLAGS
	0x401c5820, // FS_IOC_FSSETXATTR: project ids, inherited flags
	0x40806685, // FS_IOC_ENABLE_VERITY: a file that nobody can change any more
	// A snapshot of a whole btrfs subvolume may be taken by whoever owns one of its files, on kernels before 6.8, and
	// subvolumes keep a tree from being removed.
	0x50009401, // BTRFS_IOC_SNAP_CREATE
	0x50009417, // BTRFS_IOC_SNAP_CREATE_V2
	0x5000940e, // BTRFS_IOC_SUBVOL_CREATE
	0x50009418, // BTRFS_IOC_SUBVOL_CREATE_V2
	0x5000940f, // BTRFS_IOC_SNAP_DESTROY
	0x5000943f, // BTRFS_IOC_SNAP_DESTROY_V2
	0x4008941a, // BTRFS_IOC_SUBVOL_SETFLAGS
}

// Refusals are the rules of the first filter of every contained jail: what a build may not do whatever its policy says.
func Refusals() []SyscallRule {
	rules := []SyscallRule{
		{Names: []string{"setns", "chroot", "pivot_root", "mount", "umount", "umount2"}, Errno: syscall.EPERM,
			Why: "mounts and namespaces are the fence"},
		{Names: []string{"fsopen", "fsconfig", "fsmount", "fspick", "open_tree", "open_tree_attr", "move_mount", "mount_setattr"},
			Errno: syscall.ENOSYS, Why: "the same through the calls of Linux 5.2 and later, which programs fall back from"},
		{Names: []string{"clone3"}, Errno: syscall.ENOSYS, Quiet: true, Why: "its flags lie in memory, where a filter cannot look"},
		{Names: []string{"io_uring_setup", "io_uring_enter", "io_uring_register"}, Errno: syscall.ENOSYS,
			Why: "its ring passes every filter and tracer by"},
		{Names: []string{"bpf", "perf_event_open", "userfaultfd", "keyctl", "add_key", "request_key", "open_by_handle_at",
			"pidfd_getfd", "fanotify_init", "quotactl", "quotactl_fd", "acct", "swapon", "swapoff", "reboot", "kexec_load",
			"kexec_file_load", "init_module", "finit_module", "delete_module", "create_module", "settimeofday", "stime",
			"clock_settime", "clock_settime64", "adjtimex", "clock_adjtime", "clock_adjtime64", "syslog", "iopl", "ioperm"},
			Errno: syscall.EPERM, Why: "kernel surface that no build needs; keys and handles reach past the mounts"},
		{Names: []string{"setxattr", "lsetxattr", "fsetxattr", "getxattr", "lgetxattr", "fgetxattr", "listxattr", "llistxattr",
			"flistxattr", "removexattr", "lremovexattr", "fremovexattr"}, Errno: syscall.EOPNOTSUPP,
			Why: "labels and ACLs of the host are no input, and none survives registration"},
		{Names: []string{"setxattrat", "getxattrat", "listxattrat", "removexattrat", "file_getattr",
			"file_setattr"}, Errno: syscall.ENOSYS, Why: "the same through the calls of Linux 6.13 and 6.17"},
		{Names: []string{"renameat2"}, Errno: syscall.EPERM, When: []SyscallCondition{masked(4, renameWhiteout, renameWhiteout)},
			Why: "makes a device node"},
		{Names: []string{"ptrace"}, Errno: syscall.EPERM, When: []SyscallCondition{masked(1, ioctlMask, 1)},
			Why: "pid 1 is ours"},
		{Names: []string{"process_vm_readv", "process_vm_writev"}, Errno: syscall.EPERM,
			When: []SyscallCondition{masked(0, ioctlMask, 1)}, Why: "pid 1 is ours"},
	}
	rules = append(rules, namespaceRules()...)
	rules = append(rules, setIDRules()...)
	rules = append(rules, deviceRules()...)
	for _, request := range refusedIoctls {
		rules = append(rules, SyscallRule{Names: []string{"ioctl"}, Errno: syscall.EPERM,
			When: []SyscallCondition{masked(1, ioctlMask, request)}, Why: "terminal injection, inode flags"})
	}
	return append(rules, socketRules()...)
}

func namespaceRules() (rules []SyscallRule) {
	for _, flag := range namespaceFlags {
		names := []string{"clone", "unshare"}
		if flag == namespaceFlags[0] {
			names = names[1:] // clone takes the exit signal in these bits
		}
		rules = append(rules, SyscallRule{Names: names, Errno: syscall.EPERM,
			When: []SyscallCondition{masked(0, flag, flag)}, Why: "a new namespace brings capabilities over kernel surface"})
	}
	return rules
}

func setIDRules() (rules []SyscallRule) {
	const why = "a set-id file would outlive the build (CVE-2025-46415)"
	for _, bit := range []uint64{modeSetUID, modeSetGID} {
		refuse := func(name string, when ...SyscallCondition) {
			rules = append(rules, SyscallRule{Names: []string{name}, Errno: syscall.EPERM, When: when, Why: why})
		}
		for _, create := range []uint64{openCreate, openTmpfile} {
			refuse("open", masked(1, create, create), masked(2, bit, bit))
			refuse("openat", masked(2, create, create), masked(3, bit, bit))
		}
		for name, arg := range map[string]uint{"creat": 1, "mknod": 1, "mknodat": 2, "chmod": 1, "fchmod": 1, "fchmodat": 2,
			"fchmodat2": 2} {
			refuse(name, masked(arg, bit, bit))
		}
	}
	return rules
}

func deviceRules() (rules []SyscallRule) {
	for _, kind := range []uint64{typeChar, typeBlock} {
		for name, arg := range map[string]uint{"mknod": 1, "mknodat": 2} {
			rules = append(rules, SyscallRule{Names: []string{name}, Errno: syscall.EPERM,
				When: []SyscallCondition{masked(arg, typeMask, kind)}, Why: "device nodes, the 0:0 whiteout among them"})
		}
	}
	return rules
}

// socketRules allow the families UNIX, INET, INET6 and NETLINK_ROUTE. Comparisons are unsigned and 64 bits wide, so a
// family with bits above 32 set is refused, never let through.
func socketRules() []SyscallRule {
	const why = "socket families are kernel surface: page cache bugs reached through them touch read-only inputs"
	names := []string{"socket", "socketpair"}
	rule := func(when ...SyscallCondition) SyscallRule {
		return SyscallRule{Names: names, Errno: syscall.EAFNOSUPPORT, When: when, Why: why}
	}
	rules := []SyscallRule{
		rule(SyscallCondition{Arg: 0, Value: familyNetlink, Above: true}),
		rule(masked(0, ioctlMask, familyNetlink), SyscallCondition{Arg: 2, Value: netlinkRoute, Above: true}),
		rule(masked(0, ioctlMask, 0)),
	}
	for family := uint64(familyInet + 1); family < familyNetlink; family++ {
		if family != familyInet6 {
			rules = append(rules, rule(masked(0, ioctlMask, family)))
		}
	}
	return rules
}

// NoNetwork are further refusals of a jail that has the host's network namespace: no address of the host can be reached. scoped
// tells that something else keeps abstract socket names of the host away (Landlock, from ABI 6 on); otherwise there are no
// sockets of names either, and only socketpair(2) is left.
func NoNetwork(scoped bool) (rules []SyscallRule) {
	families := []uint64{familyInet, familyInet6, familyNetlink}
	if !scoped {
		families = append(families, familyUnix)
	}
	for _, family := range families {
		rules = append(rules, SyscallRule{Names: []string{"socket"}, Errno: syscall.EAFNOSUPPORT,
			When: []SyscallCondition{masked(0, ioctlMask, family)}, Why: "the network is the host's"})
	}
	return rules
}

func masked(arg uint, mask, value uint64) SyscallCondition {
	return SyscallCondition{Arg: arg, Mask: mask, Value: value}
}
