package integration

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// escapes is what every attempt of testdata/escape/attack.c must get, whoever runs the jail. The ids are those of the
// threat model's table in docs/design.md.
var escapes = map[string]map[string]string{
	"T-path1": {"read-canary": "ENOENT", "climb-root": "ENOENT", "climb-descriptor": "ENOENT", "climb-proc-cwd": "ENOENT",
		"climb-proc-root": "ENOENT", "etc-shadow": "ENOENT", "machine-id": "ENOENT", "nowhere": "ENOENT", "home": "ENOENT",
		"root-home": "ENOENT", "sys": "ENOENT", "run": "ENOENT"},
	"T-cg1": {"cgroup": "ENOENT"},
	"T-proc2": {"proc1-root": "EACCES", "proc1-cwd": "EACCES", "proc1-mem": "EACCES", "proc1-environ": "EACCES", "proc1-exe": "EACCES",
		"proc1-fd": "EACCES", "proc1-task": "EACCES", "proc1-ns": "EACCES", "sysrq": "ENOENT|EROFS|EACCES", "core-pattern": "EACCES|EROFS"},
	"T-exe1": {"proc1-exe-write": "EACCES"},
	"T-pid1": {"ptrace-1": "EPERM", "vm-readv-1": "EPERM", "pidfd-getfd-1": "EPERM", "kill-host": "ESRCH"},
	"T-id1":  {"setuid-0": "EINVAL", "setresuid": "EINVAL", "setgroups": "EPERM", "chown-root": "EINVAL", "uid": "1000 1000 gid 1000 1000"},
	"T-ns1": {"unshare-user": "EPERM", "unshare-mount": "EPERM", "unshare-net": "EPERM", "unshare-time": "EPERM", "clone-user": "EPERM",
		"clone3": "ENOSYS", "setns": "EPERM", "chroot": "EPERM"},
	"T-mnt5": {"mount-tmpfs": "EPERM", "bind": "EPERM", "remount-usr": "EPERM", "umount-proc": "EPERM", "umount-usr": "EPERM",
		"pivot-root": "EPERM", "mount-setattr": "ENOSYS", "open-tree": "ENOSYS", "fsopen": "ENOSYS", "move-mount": "ENOSYS"},
	"T-ro1": {"create-root": "EROFS", "create-etc": "EROFS", "create-dev": "EROFS", "write-input": "EACCES|EROFS",
		"truncate-input": "EACCES|EROFS", "chmod-input": "EROFS", "unlink-input": "EROFS", "rename-input": "EXDEV|EROFS",
		"utimes-input": "EROFS", "mkdir-store": "EROFS"},
	"T-sys1": {"io-uring": "ENOSYS", "bpf": "EPERM", "perf": "EPERM", "userfaultfd": "EPERM", "keyctl": "EPERM", "add-key": "EPERM",
		"by-handle": "EPERM", "reboot": "EPERM"},
	"T-sec1": {"int80": "ENOSYS", "x32": "ENOSYS"},
	"T-tty1": {"tiocsti": "EPERM", "tiocsti-high": "EPERM", "tty": "ENXIO"},
	"T-suid2": {"setid-chmod": "EPERM", "setid-fchmod": "EPERM", "setid-open": "EPERM", "setid-creat": "EPERM", "setid-mknod": "EPERM",
		"setid-fchmodat2": "EPERM"},
	"T-dev2": {"mknod-char": "EPERM", "mknod-block": "EPERM", "whiteout": "EPERM", "dev-mem": "ENOENT", "dev-kvm": "ENOENT",
		"dev-null": "ok", "dev-urandom": "ok"},
	"T-xa1": {"setxattr": "EOPNOTSUPP", "getxattr": "EOPNOTSUPP", "listxattr": "EOPNOTSUPP", "setxattrat": "ENOSYS", "immutable": "EPERM",
		"verity": "EPERM", "btrfs-snapshot": "EPERM", "btrfs-snapshot2": "EPERM"},
	"T-net1": {"inet-public": "ENETUNREACH", "inet-metadata": "ENETUNREACH", "inet-loopback": "ECONNREFUSED",
		"packet": "EAFNOSUPPORT", "alg": "EAFNOSUPPORT", "vsock": "EAFNOSUPPORT", "netfilter": "EAFNOSUPPORT", "route": "ok"},
	"T-sock1": {"abstract": "ECONNREFUSED", "dbus": "ENOENT"},
	"T-ipc1":  {"shm": "ENOENT"},
}

func TestEscapeTable(t *testing.T) {
	canary := filepath.Join(openDir(t, "root"), "canary")
	if err := os.WriteFile(canary, []byte("untouched"), 0o666); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", "@hdjail-escape-test")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	tools := openDir(t, "root")
	attack := filepath.Join(tools, "attack")
	if out, err := exec.Command("gcc", "-static", "-O1", "-o", attack, "testdata/escape/attack.c").CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	for _, user := range who {
		if as(t, user, "true") == nil {
			continue
		}
		store := filepath.Join(openDir(t, user), "store")
		for _, observer := range observers { // refusals are given in different ways
			t.Run(user+"/"+observer, func(t *testing.T) {
				command := as(t, user, hdjail, "--store", store, "run", "--host", "coreutils,dash", "--ro", tools, "--", attack, canary,
					"/usr/bin/env", "hdjail-escape-test")
				command.Env = append(os.Environ(), "HDJAIL_OBSERVER="+observer)
				before := observe(t, canary)
				var messages bytes.Buffer
				command.Stderr = &messages
				out, err := command.Output()
				if err != nil {
					t.Fatalf("%v: %s", err, messages.String())
				}
				before.unchanged(t, canary)
				checkEscapes(t, answers(out))
			})
		}
	}
}

func checkEscapes(t *testing.T, got map[string]string) {
	t.Helper()
	for id, attempts := range escapes {
		for attempt, want := range attempts {
			if !allowed(want, got[attempt]) {
				t.Errorf("%s: %s got %q, want %s", id, attempt, got[attempt], want)
			}
			delete(got, attempt)
		}
	}
	for attempt, answer := range got {
		t.Errorf("%s got %s, and no row expects it", attempt, answer)
	}
}

func answers(out []byte) map[string]string {
	got := map[string]string{}
	for lines := bufio.NewScanner(bytes.NewReader(out)); lines.Scan(); {
		name, answer, _ := strings.Cut(lines.Text(), " ")
		got[name] = answer
	}
	return got
}

// allowed reports whether the answer is one of those that the row names; kernels differ in which fence answers first.
func allowed(want, got string) bool {
	for _, one := range strings.Split(want, "|") {
		if got == one {
			return true
		}
	}
	return false
}
