package integration

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// expected is an access that an attack has to leave on record. In path, D is the directory of the run, and outside is
// includeFile. errno is empty for success. Of verdict, errno and path, each may be several alternatives, as in "a|b".
type expected struct {
	op, path, errno, verdict string
	least, most              int64 // counts; 0 for 1 and for no bound
}

// outside stands for a file that the host has and no whitelist: its verdict and outcome depend on the mode.
const (
	outside     = "OUTSIDE"
	includeFile = "/usr/include/stdio.h"
)

// attack is a case of a program in testdata/observe.
type attack struct {
	program, name string
	want          []expected
	// incomplete tells that a record that says complete: false is as good.
	incomplete bool
	// refusable tells that the jail may refuse the attempt; then only denied has to be on record, if it is given.
	refusable bool
	denied    string // the call of an access "call"
	slow      bool   // only in mode log, if everything is asked for
}

func read(path string) expected { return expected{op: "read", path: path, verdict: outside} }

func own(op, path string) expected { return expected{op: op, path: path, verdict: "allowed"} }

func missing(op, path string) expected {
	return expected{op: op, path: path, errno: "ENOENT", verdict: "absent"}
}

var attacks = []attack{
	{program: "reading", name: "untouched", want: []expected{read(includeFile)}},
	{program: "reading", name: "page-end", want: []expected{read(includeFile)}},
	{program: "reading", name: "no-end", want: []expected{{op: "read", path: "*", errno: "*", verdict: "unknown"}}},
	{program: "reading", name: "across", want: []expected{read(includeFile)}},
	{program: "reading", name: "longest", want: []expected{read(includeFile)}},
	{program: "reading", name: "too-long", want: []expected{{op: "read", path: "*", errno: "*", verdict: "unknown"}}},
	{program: "reading", name: "deep", want: []expected{missing("read", strings.Repeat("/"+strings.Repeat("d", 255), 15)+"/"+strings.Repeat("d", 254))}},
	{program: "reading", name: "no-path", want: []expected{read(includeFile)}},
	{program: "reading", name: "bytes", want: []expected{own("write", "D/\xff\xfe"), own("write", "D/two\nlines"),
		own("write", "D/\x1b[31mred\x1b]0;title\a"), own("write", `D/quote"back\slash`), missing("read", "D/\xc3\x28")}},
	{program: "reading", name: "race", want: []expected{{op: "read", path: "D/a|D/b", verdict: "allowed", least: 2000, most: 2000}}},
	{program: "reading", name: "undumpable", want: []expected{{op: "read", path: includeFile + "|*", errno: "*", verdict: outside + "|unknown"}}},
	{program: "reading", name: "reused", want: []expected{{op: "read", path: "D/one/f|D/two/f", errno: "*", verdict: "*", least: 1000, most: 1000}}},

	{program: "resolve", name: "dotdot", want: []expected{read("D/inc/../include/stdio.h"), read("/../../../usr/include/stdio.h"), read("/../../usr/include/stdio.h")}},
	{program: "resolve", name: "link-out", want: []expected{read("D/chain"), own("probe", "D/chain")}},
	{program: "resolve", name: "loops", want: []expected{{op: "read", path: "D/loop1", errno: "ELOOP", verdict: "*", least: 2}}},
	{program: "resolve", name: "descriptors", want: []expected{{op: "probe", path: "D/sub/f", verdict: "allowed", most: 1},
		own("read", "D/sub/f"), own("read", "/proc/self/fd/3/f"), own("read", "/proc/self/fd/4")}},
	{program: "resolve", name: "fexec", want: []expected{own("exec", "D/program")}},
	{program: "resolve", name: "proc-root", want: []expected{
		{op: "read", path: "/proc/self/root/usr/include/stdio.h", verdict: outside + "|unknown"},
		{op: "read", path: "/proc/thread-self/root/usr/include/stdio.h", verdict: outside + "|unknown"}}},
	{program: "resolve", name: "other-cwd", want: []expected{{op: "read", path: "/proc/<pid>/cwd/include/stdio.h", verdict: outside + "|unknown"}}},
	{program: "resolve", name: "thread-chdir", want: []expected{read(includeFile)}},
	{program: "resolve", name: "unshare-chdir", refusable: true, want: []expected{read(includeFile)}},
	{program: "resolve", name: "cwd-removed", want: []expected{{op: "read", path: "D/gone/x|*", errno: "*", verdict: "absent|unknown"}}},
	{program: "resolve", name: "cwd-renamed", want: []expected{own("write", "D/new/f"), own("rename", "D/old/../new")}},
	{program: "resolve", name: "called-deleted", want: []expected{own("write", "D/x (deleted)/f"), own("read", "D/x (deleted)/f")}},
	{program: "resolve", name: "chroot", want: []expected{{op: "chdir|mount", path: "D/root", errno: "*", verdict: "denied"}}},

	{program: "process", name: "many", want: []expected{{op: "read", path: "D/f", verdict: "allowed", least: 10000, most: 10000}}},
	{program: "process", name: "spawns", want: []expected{own("exec", "D/by-vfork"), own("exec", "D/by-spawn"), own("exec", "D/by-thread"), missing("exec", "D/dangling")}},
	{program: "process", name: "orphan", want: []expected{read(includeFile)}},
	{program: "process", name: "killed", want: []expected{missing("read", "/no/such/file/killed"), read(includeFile)}},
	{program: "process", name: "suicide", want: []expected{missing("read", "/no/such/file/suicide"), read(includeFile)}},
	{program: "process", name: "storm", want: []expected{{op: "read", path: "D/f", verdict: "allowed", least: 20000, most: 20000}}},
	{program: "process", name: "interpreters", want: []expected{{op: "exec", path: "D/outer", errno: "*", verdict: "*"}, {op: "exec", path: "D/inner", errno: "*", verdict: "*"},
		{op: "exec", path: "/usr/bin/make", verdict: outside}}},
	{program: "process", name: "flood", want: []expected{{op: "read", path: "/no/such/directory/file-0", errno: "ENOENT", verdict: "absent", most: 1},
		{op: "read", path: "/no/such/directory/*", errno: "ENOENT", verdict: "absent", least: 100000, most: 100000}}},
	{program: "process", name: "great-flood", slow: true, want: []expected{
		{op: "read", path: "/no/such/directory/*", errno: "ENOENT", verdict: "absent", least: 1000000, most: 1000000}}},
	{program: "process", name: "repeat", slow: true, want: []expected{{op: "probe", path: "/no/such/file/repeated", errno: "ENOENT", verdict: "absent", least: 1000000, most: 1000000}}},
	{program: "process", name: "errno-filter", refusable: true, want: []expected{{op: "probe", path: includeFile, verdict: outside}}},
	{program: "process", name: "trace-filter", refusable: true, want: []expected{read(includeFile)}},
	{program: "process", name: "listener", want: []expected{read(includeFile)}},
	{program: "process", name: "hunt", want: []expected{read(includeFile)}},

	{program: "abi", name: "int80", refusable: true, want: []expected{read(includeFile)}},
	{program: "abi32", name: "plain", refusable: true, want: []expected{read(includeFile)}},
	{program: "abi", name: "x32", refusable: true, want: []expected{read(includeFile)}},
	{program: "abi", name: "unknown-numbers"},
	{program: "abi", name: "uring", refusable: true, denied: "io_uring_setup"},
	{program: "abi", name: "by-handle", refusable: true, denied: "open_by_handle_at", want: []expected{own("probe", "D/f")}},
	{program: "abi", name: "openat2", want: []expected{{op: "read", path: "D/sub/f|D/sub/../../f", verdict: "allowed", least: 5},
		read(includeFile),
		{op: "read", path: "D/sub/link", errno: "ELOOP", verdict: "*"}, {op: "read", path: "D/sub/../f", errno: "EXDEV", verdict: "*"},
		{op: "read", path: "/proc/self/exe", errno: "ELOOP", verdict: "*"}, {op: "read", path: "/proc/self/stat", errno: "EXDEV", verdict: "*"}}},
	{program: "abi", name: "connects", want: []expected{own("create", "D/bound"), {op: "connect", path: "/run/no-such-socket", errno: "ENOENT", verdict: "absent"},
		{op: "connect", path: "@hdjail-observe", errno: "ECONNREFUSED", verdict: "*"}}},
	{program: "abi", name: "watches", want: []expected{{op: "watch", path: "/usr/include", verdict: outside}}},
	{program: "abi", name: "lists", want: []expected{{op: "list", path: "D/sub", verdict: "allowed", least: 2}, {op: "list", path: "/usr", errno: "", verdict: "allowed|leaked", least: 2}}},
	{program: "abi", name: "every-call", want: everyCall()},
}

// everyCall are the accesses of the case that makes every call once.
func everyCall() (list []expected) {
	for _, p := range []string{"p-stat", "p-lstat", "p-newfstatat", "p-statx", "p-access", "p-faccessat", "p-faccessat2", "p-statfs", "p-path"} {
		list = append(list, missing("probe", "D/"+p))
	}
	for op, paths := range map[string]string{"read": "r-open r-openat", "readlink": "l-readlink l-readlinkat", "chdir": "c-chdir",
		"exec": "x-execve x-execveat", "write": "w-tmpfile/x", "remove": "u-unlink u-unlinkat", "watch": "i-inotify",
		"meta": "t-truncate t-chmod t-fchmodat t-fchmodat2 t-chown t-lchown t-fchownat t-utime t-utimes t-futimesat t-utimensat"} {
		for _, p := range strings.Fields(paths) {
			list = append(list, missing(op, "D/"+p))
		}
	}
	for op, paths := range map[string]string{"write": "w-creat file", "read": "file", "remove": "m-mkdir", "link": "file k-link k-linkat",
		"create": "m-mkdir m-mkdirat m-mknod m-mknodat m-symlink m-symlinkat", "rename": "k-link n-rename n-renameat n-renameat2"} {
		for _, p := range strings.Fields(paths) {
			list = append(list, own(op, "D/"+p))
		}
	}
	return list
}

// patience bounds an attack: what hangs has not survived.
const patience = 2 * time.Minute

// TestObserve: what hides from an observer is recorded rightly, or refused, or the record says that it is not complete.
func TestObserve(t *testing.T) {
	tools := attackers(t)
	for _, a := range attacks {
		for _, s := range settings() {
			if a.slow && (!everything() || s.mode == "hide") {
				continue
			}
			t.Run(strings.Join([]string{a.program, a.name, s.mode, s.user}, "/"), func(t *testing.T) {
				if _, err := os.Stat(filepath.Join(tools, a.program)); err != nil {
					t.Skip("the compiler makes no such programs")
				}
				a.run(t, tools, s)
			})
		}
	}
}

// attackers compiles the programs into a directory that everybody can read.
func attackers(t *testing.T) string {
	t.Helper()
	tools := openDir(t, "root")
	for _, program := range []string{"reading", "resolve", "process", "abi"} {
		if out, err := exec.Command("gcc", "-static", "-pthread", "-O1", "-o", filepath.Join(tools, program), "testdata/observe/"+program+".c").CombinedOutput(); err != nil {
			t.Fatalf("gcc: %s", out)
		}
	}
	exec.Command("gcc", "-m32", "-static", "-pthread", "-O1", "-o", filepath.Join(tools, "abi32"), "testdata/observe/abi.c").Run()
	return tools
}

// record is what these tests read of an audit.
type record struct {
	Complete bool
	Reasons  []string `json:"incomplete_reasons"`
	Accesses []struct {
		Op, Path, Verdict, Reason string
		PathB64                   string `json:"path_b64"`
		Errno                     *string
		Count                     int64
		Calls                     []string
	}
}

func readRecord(t *testing.T, path string) (r record) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v: %.300s", err, text)
	}
	for i, a := range r.Accesses {
		if a.PathB64 != "" {
			raw, err := base64.StdEncoding.DecodeString(a.PathB64)
			if err != nil {
				t.Fatal(err)
			}
			r.Accesses[i].Path = string(raw)
		}
	}
	return r
}

func (a attack) run(t *testing.T, tools string, s setting) {
	t.Helper()
	mode, user := s.mode, s.user
	dir := openDir(t, user)
	if out, err := as(t, user, "mkdir", filepath.Join(dir, "D")).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	work, audit := filepath.Join(dir, "D"), filepath.Join(dir, "audit.json")
	args := []string{hdjail, "--store", filepath.Join(dir, "store"), "run", "--mode", mode, "--rw", work, "--ro", tools, "--audit", audit}
	if mode == "hide" {
		args = append(args, "--host", "coreutils")
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	plain := as(t, user, append(args, "--", filepath.Join(tools, a.program), a.name, work)...)
	command := exec.CommandContext(ctx, plain.Path, plain.Args[1:]...)
	command.Dir, command.WaitDelay = work, time.Second
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("it hangs: %.2000s", out)
	}
	if bytes.ContainsRune(out, '\x1b') {
		t.Errorf("escape codes reach the terminal: %q", out)
	}
	const refused = 9
	r := readRecord(t, audit)
	var exit *exec.ExitError
	switch {
	case err == nil:
	case a.refusable && errors.As(err, &exit) && (exit.ExitCode() == refused || a.program == "abi32"):
		if !r.has(expected{op: "call", path: "*", errno: "*", verdict: "denied"}, a.denied) {
			t.Errorf("%s was refused, which is not on record", a.denied)
		}
		return
	default:
		t.Errorf("%v: %.2000s", err, out)
	}
	if !r.Complete && !a.incomplete {
		t.Errorf("the record is not complete: %q", r.Reasons)
	}
	for _, want := range a.want {
		want = want.in(mode, work)
		if got := r.count(want); got < max(want.least, 1) || want.most > 0 && got > want.most {
			t.Errorf("%s: found %d times, want %d to %d: %s", want, got, max(want.least, 1), want.most, r.like(want))
		}
	}
}

// in fills in what depends on the run.
func (e expected) in(mode, work string) expected {
	if strings.Contains(e.verdict, outside) {
		verdict := "leaked"
		if mode == "hide" {
			verdict, e.errno = "hidden", "ENOENT"
		}
		e.verdict = strings.Replace(e.verdict, outside, verdict, 1)
	}
	paths := strings.Split(e.path, "|")
	for i, path := range paths {
		if rest, ok := strings.CutPrefix(path, "D/"); ok {
			paths[i] = work + "/" + rest
		}
	}
	e.path = strings.Join(paths, "|")
	return e
}

func (e expected) String() string {
	return strings.ToValidUTF8(e.op+" "+e.path+" "+e.errno+" "+e.verdict, "?")
}

// oneOf reports whether got is one of the alternatives; a star at the end of one stands for the rest.
func oneOf(alternatives, got string) bool {
	for _, one := range strings.Split(alternatives, "|") {
		if prefix, ok := strings.CutSuffix(one, "*"); one == got || ok && strings.HasPrefix(got, prefix) {
			return true
		}
	}
	return false
}

// count adds up the entries that are as expected.
func (r record) count(e expected) (n int64) {
	for _, a := range r.Accesses {
		errno := ""
		if a.Errno != nil {
			errno = *a.Errno
		}
		if oneOf(e.op, a.Op) && oneOf(e.path, a.Path) && oneOf(e.errno, errno) && oneOf(e.verdict, a.Verdict) {
			n += a.Count
		}
	}
	return n
}

// has reports whether there is an entry as expected of the call; of no call there need be none.
func (r record) has(e expected, call string) bool {
	for _, a := range r.Accesses {
		for _, name := range a.Calls {
			if a.Op == e.op && a.Verdict == e.verdict && name == call {
				return true
			}
		}
	}
	return call == ""
}

// like shows the entries of the same operation or path, a few.
func (r record) like(e expected) string {
	var found []string
	for _, a := range r.Accesses {
		if oneOf(e.path, a.Path) || a.Op == e.op && (a.Verdict == "unknown" || strings.HasPrefix(e.path, filepath.Dir(a.Path))) {
			text, _ := json.Marshal(a)
			found = append(found, string(text))
		}
		if len(found) == 5 {
			break
		}
	}
	return strings.Join(found, " ")
}
