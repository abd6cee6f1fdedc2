package trace

import (
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// process is one with the argument list that the words of text are.
func process(pid int, text, cwd string) audit.Process {
	return audit.Process{PID: pid, Argv: strings.Split(text, " "), Cwd: cwd}
}

func TestCompareProcesses(t *testing.T) {
	for _, test := range []struct {
		name string
		a, b []audit.Process
		want []string
	}{
		{name: "nothing"},
		{name: "order", a: []audit.Process{process(1, "sh s", "/"), process(2, "cc x", "/")}, b: []audit.Process{process(7, "cc x", "/"), process(9, "sh s", "/")}},
		{name: "multiset", a: []audit.Process{process(1, "true", "/")}, b: []audit.Process{process(1, "true", "/"), process(2, "true", "/"), process(3, "true", "/")},
			want: []string{"+ process true  in / (2 times)"}},
		{name: "directory", a: []audit.Process{process(1, "ls", "/build/a")}, b: []audit.Process{process(1, "ls", "/build/b")},
			want: []string{"- process ls  in /build/a", "+ process ls  in /build/b"}},
		{name: "temporary names", a: []audit.Process{process(1, "as -o /tmp/ccA.o -I/var/tmp/q x=/tmp/d1/e", "/tmp/w1")},
			b: []audit.Process{process(1, "as -o /tmp/ccB.o -I/var/tmp/r x=/tmp/d2", "/tmp/w2")}},
		{name: "other names stay", a: []audit.Process{process(1, "cat a/tmp/x /build/tmp/x", "/")}, b: []audit.Process{process(1, "cat a/tmp/y /build/tmp/y", "/")},
			want: []string{"- process cat a/tmp/x /build/tmp/x  in /", "+ process cat a/tmp/y /build/tmp/y  in /"}},
		{name: "process ids", a: []audit.Process{process(120, "rm conf120.sh", "/")}, b: []audit.Process{process(345, "rm conf345.sh", "/")}},
		{name: "a number that is an id in one run only", a: []audit.Process{process(2, "cc -O2 -o x2", "/"), process(120, "mv c120 -O2", "/")},
			b: []audit.Process{process(300, "cc -O2 -o x2", "/"), process(345, "mv c345 -O2", "/")}},
		{name: "no id in one run", a: []audit.Process{process(120, "rm c120", "/")}, b: []audit.Process{process(345, "rm c121", "/")},
			want: []string{"- process rm c<pid>  in /", "+ process rm c121  in /"}},
		{name: "arguments do not run together", a: []audit.Process{{Argv: []string{"a b"}, Cwd: "/"}}, b: []audit.Process{{Argv: []string{"a", "b"}, Cwd: "/"}},
			want: []string{"- process a b  in /", "+ process a b  in /"}},
		{name: "a copy that executed nothing", a: []audit.Process{{PID: 1, Argv: []string{"sh"}, Orphan: true}}},
	} {
		d := Compare(&audit.Audit{Processes: test.a}, &audit.Audit{Processes: test.b})
		if diff := cmp.Diff(test.want, d.Lines()); diff != "" || d.Equal() != (test.want == nil) {
			t.Errorf("%s: equal %v\n%s", test.name, d.Equal(), diff)
		}
	}
}

func TestCompareAccesses(t *testing.T) {
	const drv = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	access := func(op policies.Operation, path, resolved string, errno syscall.Errno, v policies.Verdict) audit.Access {
		return audit.Access{Op: op, Path: path, Resolved: resolved, Errno: int(errno), Verdict: v, Count: 1}
	}
	common := access(policies.OpRead, "/usr/include/stdio.h", "", 0, policies.Allowed)
	a := audit.Audit{Header: audit.Header{Derivation: drv}, Accesses: []audit.Access{common,
		access(policies.OpCreate, "/build/x.1", "", 0, policies.Allowed),
		access(policies.OpCreate, "/p/store/"+drv+"-x/bin/1", "", 0, policies.Allowed),
		access(policies.OpRead, "/tmp/q1/link", "/usr/lib/a", 0, policies.Allowed),
		access(policies.OpRead, "/build/../etc/x", "", syscall.ENOENT, policies.Hidden),
		access(policies.OpProbe, "/buildings", "", syscall.ENOENT, policies.Absent),
	}}
	b := audit.Audit{Header: audit.Header{Derivation: drv}, Accesses: []audit.Access{common,
		access(policies.OpCreate, "/build/x.2", "", 0, policies.Allowed),
		access(policies.OpRead, "/tmp/q2/link", "/usr/lib/a", 0, policies.Allowed),
		access(policies.OpRead, "/etc/x", "", 0, policies.Allowed),
	}}
	b.Accesses[0].Count = 17
	want := []string{"- absent probe /buildings  ENOENT", "- hidden read /etc/x  ENOENT", "+ allowed read /etc/x  ok"}
	if diff := cmp.Diff(want, Compare(&a, &b).Lines()); diff != "" {
		t.Error(diff)
	}
	if d := CompareProcesses(&a, &b); !d.Equal() {
		t.Errorf("accesses counted: %v", d)
	}
}

// TestStoreBelowTmp: what lies in a store below /tmp is neither hidden nor left out.
func TestStoreBelowTmp(t *testing.T) {
	const prefix = "/tmp/work/hd"
	run := func(dir string, dependencies ...string) *audit.Audit {
		file := prefix + "/store/bbbb-dep/" + dir + "/f"
		return &audit.Audit{Header: audit.Header{Derivation: "aaaa", Whitelist: audit.Whitelist{Dependencies: dependencies}},
			Processes: []audit.Process{process(7, "cat "+file+" -I"+file+" /tmp/"+dir+" /tmp/work/hdx/"+dir, "/build")},
			Accesses: []audit.Access{
				{Op: policies.OpRead, Path: file, Verdict: policies.Allowed},
				{Op: policies.OpCreate, Path: prefix + "/store/aaaa-own/" + dir, Verdict: policies.Allowed},
				{Op: policies.OpCreate, Path: "/tmp/" + dir, Verdict: policies.Allowed},
			}}
	}
	line := func(dir string) string {
		file := prefix + "/store/bbbb-dep/" + dir + "/f"
		return "process cat " + file + " -I" + file + " /tmp/* /tmp/*  in /build"
	}
	want := []string{"- " + line("x"), "- allowed read " + prefix + "/store/bbbb-dep/x/f  ok", "+ " + line("y"), "+ allowed read " + prefix + "/store/bbbb-dep/y/f  ok"}
	for name, got := range map[string]Difference{
		"told":                 Compare(run("x"), run("y"), prefix),
		"told, with a slash":   Compare(run("x"), run("y"), prefix+"/"),
		"told by a dependency": Compare(run("x", prefix+"/store/bbbb-dep"), run("y", prefix+"/store/bbbb-dep")),
	} {
		if diff := cmp.Diff(want, got.Lines()); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
	a, b := Settle(run("x"), run("y"), prefix)
	if diff := cmp.Diff(want, Compare(a, b, prefix).Lines()); diff != "" {
		t.Errorf("settled: %s", diff)
	}
}

// TestSelf: a run never differs from itself under other process ids and temporary names, in any order.
func TestSelf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.SampledFrom([]string{"cc", "-O2", "/tmp/PID.o", "conftest.PID", "3", "-I/tmp/xPID", "a b", "ü", ""})
		n := rapid.IntRange(0, 12).Draw(t, "processes")
		shift := rapid.IntRange(1000, 9000).Draw(t, "shift")
		var a, b audit.Audit
		for i := range n {
			argv := rapid.SliceOfN(words, 0, 5).Draw(t, "argv")
			for _, side := range []struct {
				to  *audit.Audit
				pid int
			}{{&a, i + 1}, {&b, i + shift}} {
				p := audit.Process{PID: side.pid, Cwd: "/build"}
				for _, w := range argv {
					p.Argv = append(p.Argv, strings.ReplaceAll(w, "PID", strconv.Itoa(side.pid)))
				}
				side.to.Processes = append(side.to.Processes, p)
			}
		}
		slices.Reverse(b.Processes)
		if d := Compare(&a, &b); !d.Equal() {
			t.Fatalf("%v", d.Lines())
		}
	})
}
