package policies

import "sync"

// ABI is a system call interface of a processor: a set of numbers and argument layouts.
type ABI int

// The ABIs whose calls are traced. What belongs to none of them is answered with ENOSYS.
const (
	AMD64 ABI = iota
	ARM64
	I386
)

// AuditArch is the ABI's AUDIT_ARCH_* constant (linux/audit.h), by which filters and notifications name it.
func (a ABI) AuditArch() uint32 { return [...]uint32{0xC000003E, 0xC00000B7, 0x40000003}[a] }

// ABIOf is the ABI with an AUDIT_ARCH_* constant, and whether it is one that is known.
func ABIOf(auditArch uint32) (ABI, bool) {
	for abi := AMD64; abi <= I386; abi++ {
		if auditArch == abi.AuditArch() {
			return abi, true
		}
	}
	return 0, false
}

// Native is the ABI of a 64-bit program of a GOARCH, and whether it is one that is known.
func Native(goarch string) (ABI, bool) {
	switch goarch {
	case "amd64":
		return AMD64, true
	case "arm64":
		return ARM64, true
	}
	return 0, false
}

// CallKind says what a traced call does to its paths, and how its flags are read.
type CallKind int

// The kinds. The comments name the flags that the argument TracedCall.Flags holds.
const (
	KindOpen     CallKind = iota // O_*
	KindOpenHow                  // struct open_how (openat2(2))
	KindCreat                    // open with O_CREAT|O_WRONLY|O_TRUNC
	KindStat                     // AT_*
	KindAccess                   // AT_*; Mode holds R_OK, W_OK, X_OK
	KindStatfs                   // none
	KindReadlink                 // none
	KindList                     // none; the path is that of a descriptor
	KindChdir                    // none
	KindExec                     // AT_*; Mode holds the argument vector
	KindMkdir                    // none
	KindMknod                    // none
	KindSymlink                  // none
	KindLink                     // AT_*
	KindUnlink                   // AT_REMOVEDIR
	KindRmdir                    // none
	KindRename                   // RENAME_*
	KindMeta                     // AT_*
	KindTruncate                 // none
	KindXattr                    // none
	KindHandle                   // AT_*
	KindMount                    // none
	KindWatch                    // IN_DONT_FOLLOW
	KindConnect                  // none; the path is a socket address of Mode bytes
	KindBind                     // likewise
)

// IsSocket reports whether the call's path is a socket address.
func (k CallKind) IsSocket() bool { return k == KindConnect || k == KindBind }

// PathArg says where a call has a path: the argument with its address, and the one with the directory descriptor, -1 for
// the current directory.
type PathArg struct{ Arg, Base int }

// TracedCall says how to read one system call that names files. Filters, decoders and documentation share the table.
type TracedCall struct {
	Name string
	// Numbers are by ABI, -1 where the ABI has no such call.
	Numbers [3]int
	Kind    CallKind
	Paths   []PathArg
	// Flags and Mode are arguments, -1 for none.
	Flags, Mode int
	// NoFollow tells that the call never follows a link at the end of its path.
	NoFollow bool
}

// cwd, at and fd0 are the usual places of paths: relative to the current directory, to a descriptor, and a descriptor itself.
var (
	cwd = []PathArg{{0, -1}}
	at  = []PathArg{{1, 0}}
	fd0 = []PathArg{{-1, 0}}
)

func call(name string, amd64, arm64, i386 int, kind CallKind, paths []PathArg) TracedCall {
	return TracedCall{Name: name, Numbers: [3]int{amd64, arm64, i386}, Kind: kind, Paths: paths, Flags: -1, Mode: -1}
}

func (c TracedCall) flags(arg int) TracedCall { c.Flags = arg; return c }

func (c TracedCall) mode(arg int) TracedCall { c.Mode = arg; return c }

func (c TracedCall) noFollow() TracedCall { c.NoFollow = true; return c }

// Traced returns the table of traced calls. The numbers are those of the kernel's syscall tables; a test compares them with
// golang.org/x/sys/unix and libseccomp. The result is shared: callers do not change it.
var Traced = sync.OnceValue(func() []TracedCall {
	return append(append(append(openCalls(), probeCalls()...), changeCalls()...), otherCalls()...)
})

func openCalls() []TracedCall {
	return []TracedCall{
		call("open", 2, -1, 5, KindOpen, cwd).flags(1),
		call("openat", 257, 56, 295, KindOpen, at).flags(2),
		call("openat2", 437, 437, 437, KindOpenHow, at).flags(2),
		call("creat", 85, -1, 8, KindCreat, cwd),
		call("uselib", 134, -1, 86, KindStat, cwd),
		call("acct", 163, 89, 51, KindMeta, cwd),
		call("getdents", 78, -1, 141, KindList, fd0),
		call("getdents64", 217, 61, 220, KindList, fd0),
		call("execve", 59, 221, 11, KindExec, cwd).mode(1),
		call("execveat", 322, 281, 358, KindExec, at).flags(4).mode(2),
		call("chdir", 80, 49, 12, KindChdir, cwd),
		call("chroot", 161, 51, 61, KindChdir, cwd),
	}
}

func probeCalls() []TracedCall {
	return []TracedCall{
		call("stat", 4, -1, 106, KindStat, cwd),
		call("lstat", 6, -1, 107, KindStat, cwd).noFollow(),
		call("newfstatat", 262, 79, -1, KindStat, at).flags(3),
		call("fstatat64", -1, -1, 300, KindStat, at).flags(3),
		call("statx", 332, 291, 383, KindStat, at).flags(2),
		call("stat64", -1, -1, 195, KindStat, cwd),
		call("lstat64", -1, -1, 196, KindStat, cwd).noFollow(),
		call("oldstat", -1, -1, 18, KindStat, cwd),
		call("oldlstat", -1, -1, 84, KindStat, cwd).noFollow(),
		call("access", 21, -1, 33, KindAccess, cwd).mode(1),
		call("faccessat", 269, 48, 307, KindAccess, at).mode(2),
		call("faccessat2", 439, 439, 439, KindAccess, at).flags(3).mode(2),
		call("statfs", 137, 43, 99, KindStatfs, cwd),
		call("statfs64", -1, -1, 268, KindStatfs, cwd),
		call("name_to_handle_at", 303, 264, 341, KindHandle, at).flags(4),
		call("file_getattr", 468, 468, 468, KindStat, at).flags(4),
		call("readlink", 89, -1, 85, KindReadlink, cwd).noFollow(),
		call("readlinkat", 267, 78, 305, KindReadlink, at).noFollow(),
		call("getxattr", 191, 8, 229, KindXattr, cwd),
		call("lgetxattr", 192, 9, 230, KindXattr, cwd).noFollow(),
		call("listxattr", 194, 11, 232, KindXattr, cwd),
		call("llistxattr", 195, 12, 233, KindXattr, cwd).noFollow(),
		call("getxattrat", 464, 464, 464, KindXattr, at).flags(2),
		call("listxattrat", 465, 465, 465, KindXattr, at).flags(2),
	}
}

func changeCalls() []TracedCall {
	return []TracedCall{
		call("mkdir", 83, -1, 39, KindMkdir, cwd).noFollow(),
		call("mkdirat", 258, 34, 296, KindMkdir, at).noFollow(),
		call("mknod", 133, -1, 14, KindMknod, cwd).noFollow(),
		call("mknodat", 259, 33, 297, KindMknod, at).noFollow(),
		call("symlink", 88, -1, 83, KindSymlink, []PathArg{{1, -1}}).noFollow(),
		call("symlinkat", 266, 36, 304, KindSymlink, []PathArg{{2, 1}}).noFollow(),
		call("link", 86, -1, 9, KindLink, []PathArg{{0, -1}, {1, -1}}).noFollow(),
		call("linkat", 265, 37, 303, KindLink, []PathArg{{1, 0}, {3, 2}}).flags(4).noFollow(),
		call("unlink", 87, -1, 10, KindUnlink, cwd).noFollow(),
		call("unlinkat", 263, 35, 301, KindUnlink, at).flags(2).noFollow(),
		call("rmdir", 84, -1, 40, KindRmdir, cwd).noFollow(),
		call("rename", 82, -1, 38, KindRename, []PathArg{{0, -1}, {1, -1}}).noFollow(),
		call("renameat", 264, 38, 302, KindRename, []PathArg{{1, 0}, {3, 2}}).noFollow(),
		call("renameat2", 316, 276, 353, KindRename, []PathArg{{1, 0}, {3, 2}}).flags(4).noFollow(),
		call("truncate", 76, 45, 92, KindTruncate, cwd),
		call("truncate64", -1, -1, 193, KindTruncate, cwd),
		call("chmod", 90, -1, 15, KindMeta, cwd),
		call("fchmodat", 268, 53, 306, KindMeta, at),
		call("fchmodat2", 452, 452, 452, KindMeta, at).flags(3),
		call("chown", 92, -1, 182, KindMeta, cwd),
		call("chown32", -1, -1, 212, KindMeta, cwd),
		call("lchown", 94, -1, 16, KindMeta, cwd).noFollow(),
		call("lchown32", -1, -1, 198, KindMeta, cwd).noFollow(),
		call("fchownat", 260, 54, 298, KindMeta, at).flags(4),
		call("utime", 132, -1, 30, KindMeta, cwd),
		call("utimes", 235, -1, 271, KindMeta, cwd),
		call("futimesat", 261, -1, 299, KindMeta, at),
		call("utimensat", 280, 88, 320, KindMeta, at).flags(3),
		call("utimensat_time64", -1, -1, 412, KindMeta, at).flags(3),
		call("file_setattr", 469, 469, 469, KindMeta, at).flags(4),
		call("setxattr", 188, 5, 226, KindXattr, cwd),
		call("lsetxattr", 189, 6, 227, KindXattr, cwd).noFollow(),
		call("removexattr", 197, 14, 235, KindXattr, cwd),
		call("lremovexattr", 198, 15, 236, KindXattr, cwd).noFollow(),
		call("setxattrat", 463, 463, 463, KindXattr, at).flags(2),
		call("removexattrat", 466, 466, 466, KindXattr, at).flags(2),
	}
}

func otherCalls() []TracedCall {
	return []TracedCall{
		call("mount", 165, 40, 21, KindMount, []PathArg{{1, -1}}),
		call("umount2", 166, 39, 52, KindMount, cwd),
		call("umount", -1, -1, 22, KindMount, cwd),
		call("pivot_root", 155, 41, 217, KindMount, cwd),
		call("open_tree", 428, 428, 428, KindMount, at),
		call("move_mount", 429, 429, 429, KindMount, []PathArg{{3, 2}}),
		call("fspick", 433, 433, 433, KindMount, at),
		call("mount_setattr", 442, 442, 442, KindMount, at),
		call("open_tree_attr", 467, 467, 467, KindMount, at),
		call("swapon", 167, 224, 87, KindMount, cwd),
		call("swapoff", 168, 225, 115, KindMount, cwd),
		call("quotactl", 179, 60, 131, KindMount, []PathArg{{1, -1}}),
		call("inotify_add_watch", 254, 27, 292, KindWatch, []PathArg{{1, -1}}).flags(2),
		call("connect", 42, 203, 362, KindConnect, []PathArg{{1, -1}}).mode(2),
		call("bind", 49, 200, 361, KindBind, []PathArg{{1, -1}}).mode(2),
	}
}

// Changes reports whether a call of an extended attribute sets or removes one.
func (c TracedCall) Changes() bool {
	switch c.Name {
	case "setxattr", "lsetxattr", "removexattr", "lremovexattr", "setxattrat", "removexattrat":
		return true
	}
	return false
}

// CallTable finds the traced call and the refusals of a number quickly. It is made once and then only read.
type CallTable struct {
	byNumber [3][]tableEntry
}

type tableEntry struct {
	name   string
	traced *TracedCall
	rules  []SyscallRule
}

// NewCallTable joins the traced calls with the rules. number is the number of a name in an ABI, false for none.
func NewCallTable(rules []SyscallRule, number func(ABI, string) (int, bool)) *CallTable {
	t := &CallTable{}
	traced := Traced()
	for abi := AMD64; abi <= I386; abi++ {
		for i := range traced {
			if nr := traced[i].Numbers[abi]; nr >= 0 {
				e := t.entry(abi, nr)
				e.traced, e.name = &traced[i], traced[i].Name
			}
		}
		for _, rule := range rules {
			for _, name := range rule.Names {
				if nr, ok := number(abi, name); ok {
					e := t.entry(abi, nr)
					e.name, e.rules = name, append(e.rules, rule)
				}
			}
		}
	}
	return t
}

func (t *CallTable) entry(abi ABI, nr int) *tableEntry {
	for len(t.byNumber[abi]) <= nr {
		t.byNumber[abi] = append(t.byNumber[abi], tableEntry{})
	}
	return &t.byNumber[abi][nr]
}

// Find returns the name of a call, how it is read if it is traced, and the first rule that refuses it with these arguments, or
// nil.
func (t *CallTable) Find(abi ABI, nr int, args *[6]uint64) (name string, traced *TracedCall, refused *SyscallRule) {
	if nr < 0 || nr >= len(t.byNumber[abi]) {
		return "", nil, nil
	}
	e := &t.byNumber[abi][nr]
	for i := range e.rules {
		if e.rules[i].holds(args) {
			return e.name, e.traced, &e.rules[i]
		}
	}
	return e.name, e.traced, nil
}

// holds reports whether all conditions of a rule hold, as the compiled filter would see them.
func (r SyscallRule) holds(args *[6]uint64) bool {
	for _, c := range r.When {
		value := args[c.Arg]
		if c.Above && value <= c.Value || !c.Above && value&c.Mask != c.Value {
			return false
		}
	}
	return true
}
