//go:build cgo && seccomp

package seccomp

import (
	"testing"

	"hdjail/policies"
)

func TestCompileRefusals(t *testing.T) {
	program, unknown, err := Compile(Options{Rules: policies.Refusals(), Ask: AskListener, I386: true})
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
		if _, _, err := Compile(Options{Rules: policies.Refusals(), Ask: AskListener, I386: true}); err != nil {
			b.Fatal(err)
		}
	}
}

// TestTracedNumbers: the table is data that three ABIs share, so it is compared with libseccomp's for each. Names that only
// newer libraries know are compared with policies.YoungSyscalls, which Number knows.
func TestTracedNumbers(t *testing.T) {
	seen := map[policies.ABI]map[int]string{policies.AMD64: {}, policies.ARM64: {}, policies.I386: {}}
	for _, call := range policies.Traced() {
		for abi, numbers := range seen {
			want := call.Numbers[abi]
			got, known := Number(abi, call.Name)
			switch {
			case want < 0 && known && !spelledOtherwise(abi, call.Name):
				t.Errorf("ABI %d: %s is %d, and the table has none", abi, call.Name, got)
			case want >= 0 && known && got != want:
				t.Errorf("ABI %d: %s is %d in the table and %d in libseccomp", abi, call.Name, want, got)
			case want >= 0 && !known && !spelledOtherwise(abi, call.Name):
				t.Errorf("ABI %d: libseccomp has no %s", abi, call.Name)
			}
			if other := numbers[want]; want >= 0 && other != "" {
				t.Errorf("ABI %d: %s and %s have one number", abi, call.Name, other)
			}
			if numbers[want] = call.Name; want > policies.HighestSyscall {
				t.Errorf("ABI %d: %s has the number %d, above the highest", abi, call.Name, want)
			}
		}
	}
}

// spelledOtherwise are calls that libseccomp knows by another name, or not at all.
func spelledOtherwise(abi policies.ABI, name string) bool {
	return abi == policies.I386 && (name == "oldstat" || name == "oldlstat")
}

// TestEveryPathCallIsTraced: what takes a path on this machine is in the table, or refused, or takes none that counts.
func TestEveryPathCallIsTraced(t *testing.T) {
	covered := map[string]bool{"name_to_handle_at": true}
	for _, call := range policies.Traced() {
		covered[call.Name] = true
	}
	for _, rule := range policies.Refusals() {
		for _, name := range rule.Names {
			covered[name] = true
		}
	}
	for _, name := range []string{"open", "stat", "lstat", "access", "execve", "truncate", "chdir", "rename", "mkdir", "rmdir", "creat",
		"link", "unlink", "symlink", "readlink", "chmod", "chown", "lchown", "utime", "mknod", "uselib", "statfs", "pivot_root", "chroot",
		"acct", "mount", "umount2", "swapon", "swapoff", "setxattr", "lsetxattr", "getxattr", "lgetxattr", "listxattr", "llistxattr",
		"removexattr", "lremovexattr", "utimes", "openat", "mkdirat", "mknodat", "fchownat", "futimesat", "newfstatat", "unlinkat", "renameat",
		"linkat", "symlinkat", "readlinkat", "fchmodat", "faccessat", "utimensat", "name_to_handle_at", "open_by_handle_at", "renameat2",
		"execveat", "statx", "open_tree", "move_mount", "fspick", "openat2", "faccessat2", "mount_setattr", "fchmodat2", "inotify_add_watch",
		"connect", "bind", "getdents", "getdents64", "io_uring_setup", "setxattrat", "getxattrat", "listxattrat", "removexattrat",
		"open_tree_attr", "file_getattr", "file_setattr", "quotactl"} {
		if !covered[name] {
			t.Errorf("nobody sees %s", name)
		}
	}
}

// TestPassingNames: a name that no ABI has is a mistake in the list, and would be refused by nobody's decision.
func TestPassingNames(t *testing.T) {
	for _, name := range policies.PassingNames(nil) {
		known := false
		for abi := policies.AMD64; abi <= policies.I386; abi++ {
			_, there := Number(abi, name)
			known = known || there
		}
		if !known && !spelledOtherwise(policies.I386, name) {
			t.Errorf("no ABI has %s", name)
		}
	}
}

func BenchmarkCompileAllowed(b *testing.B) {
	for b.Loop() {
		if _, err := CompileAllowed(Options{Rules: policies.Refusals(), Ask: AskListener}); err != nil {
			b.Fatal(err)
		}
	}
}
