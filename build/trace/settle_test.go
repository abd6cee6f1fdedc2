package trace

import (
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/policies"
	"hdjail/policies/audit"
)

// configured is a run that makes a directory of this name in /build, and works in it.
func configured(name string, more ...audit.Access) *audit.Audit {
	return &audit.Audit{
		Processes: []audit.Process{process(5, "mawk -f ./"+name+"/subs.awk", "/build"), process(6, "pwd", "/build/"+name), process(7, "echo x=$("+name+")", "/build")},
		Accesses: append([]audit.Access{
			{Op: policies.OpCreate, Path: "/build/./" + name, Verdict: policies.Allowed},
			{Op: policies.OpCreate, Path: "/build/Makefile", Verdict: policies.Allowed},
		}, more...),
	}
}

// withPid is a run of a shell that makes a file with its process id in the name.
func withPid(name string, pid int) *audit.Audit {
	return &audit.Audit{Processes: []audit.Process{process(pid, "sh configure", "/build"), process(pid+1, "ln -s x "+name, "/build")},
		Accesses: []audit.Access{{Op: policies.OpCreate, Path: "/build/" + name, Verdict: policies.Allowed}}}
}

func withWord(word string) *audit.Audit {
	return &audit.Audit{Processes: []audit.Process{process(7, "make "+word, "/build")}}
}

func TestSettle(t *testing.T) {
	failed := audit.Access{Op: policies.OpCreate, Path: "/build/conf00", Errno: int(syscall.EACCES), Verdict: policies.Denied}
	for _, test := range []struct {
		name string
		a, b *audit.Audit
		want string
	}{
		{name: "random names", a: configured("confA1B2"), b: configured("confC3D4")},
		{name: "a name that nobody made stays", a: withWord("1"), b: withWord("2"), want: "- process make 1  in /build\n+ process make 2  in /build\n"},
		{name: "a name that both know stays", a: configured("confA1B2"), b: configured("confC3D4", audit.Access{Op: policies.OpProbe, Path: "/build/confA1B2"}),
			want: "- process echo x=$(confA1B2)  in /build\n- process mawk -f ./confA1B2/subs.awk  in /build\n- process pwd  in /build/confA1B2\n" +
				"+ process echo x=$(*)  in /build\n+ process mawk -f ./*/subs.awk  in /build\n+ process pwd  in /build/*\n"},
		{name: "a name that could not be made stays", a: &audit.Audit{Processes: []audit.Process{process(1, "rm conf00", "/build")}, Accesses: []audit.Access{failed}},
			b: &audit.Audit{}, want: "- process rm conf00  in /build\n"},
		{name: "names with process ids", a: withPid("conf9", 9), b: withPid("conf2200", 2200)},
		{name: "links", a: &audit.Audit{Accesses: []audit.Access{{Op: policies.OpExec, Path: "/bin/sed", Resolved: "/usr/bin/sed"}, {Op: policies.OpExec, Path: "/usr/bin/sed"}}},
			b: &audit.Audit{Accesses: []audit.Access{{Op: policies.OpExec, Path: "/usr/bin/sed"}}}},
	} {
		before := test.a.Processes
		a, b := Settle(test.a, test.b)
		got := strings.Join(append(Compare(a, b).Lines(), ""), "\n")
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s:\n%s", test.name, diff)
		}
		if len(before) > 0 && strings.Contains(strings.Join(before[0].Argv, " "), "*") {
			t.Errorf("%s: the audit itself has changed", test.name)
		}
	}
}
