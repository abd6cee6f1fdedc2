package integration

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// observers are the names that HDJAIL_OBSERVER takes.
var observers = []string{"notification", "ptrace"}

// recorded is what the tests want to know of an audit.
type recorded struct {
	Complete  bool
	Reasons   []string `json:"incomplete_reasons"`
	Observers []struct{ Name string }
	Accesses  []struct {
		Op, Path, By string
		Errno        *string
		Count        int
	}
	Processes []struct {
		Orphan bool
	}
}

// counts is how often each access was made, by operation, path and outcome.
func (r recorded) counts() map[string]int {
	m := map[string]int{}
	for _, a := range r.Accesses {
		outcome := "ok"
		if a.Errno != nil {
			outcome = *a.Errno
		}
		m[a.Op+" "+a.Path+" "+outcome] = a.Count
	}
	return m
}

// observedRun is one command in a jail, by an observer.
type observedRun struct {
	user, observer string
	dir            string   // where the store and the audit are, for several runs
	before         []string // what runs hdjail
	flags, command []string
}

// start returns the command, nil where nobody can run it, and the file of its audit.
func (r observedRun) start(t *testing.T) (command *exec.Cmd, auditFile string) {
	t.Helper()
	auditFile = filepath.Join(r.dir, "audit.json")
	if err := os.Remove(auditFile); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	args := slices.Concat(r.before, []string{hdjail, "--store", filepath.Join(r.dir, "store"), "run", "--audit", auditFile}, r.flags, []string{"--"}, r.command)
	command = as(t, r.user, args...)
	if command != nil {
		command.Env = append(os.Environ(), "HDJAIL_OBSERVER="+r.observer)
	}
	return command, auditFile
}

// run returns the exit status, the record where one was written, and what went to standard error.
func (r observedRun) run(t *testing.T) (status int, record recorded, messages string) {
	t.Helper()
	command, file := r.start(t)
	var text bytes.Buffer
	command.Stderr = &text
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	document, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(document, &record)
	}
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), record, text.String()
}

// compile makes a program of testdata/observer that every user can run.
func compile(t *testing.T, source string, flags ...string) string {
	t.Helper()
	program := filepath.Join(openDir(t, "root"), strings.TrimSuffix(source, ".c"))
	args := slices.Concat(flags, []string{"-O1", "-pthread", "-o", program, "testdata/observer/" + source})
	if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
		t.Fatalf("gcc: %s", out)
	}
	return program
}

// scenarios are those of calls.c whose record does not depend on the observer.
var scenarios = []string{"plain", "refused", "threads", "vfork", "spawn", "execveat", "thread-exec", "signals", "killed", "stopped",
	"many", "orphans"}

func TestObserversAgree(t *testing.T) {
	contained := []string{"--host", "coreutils,dash,sed,grep"}
	script, err := os.ReadFile("testdata/observer/configure.sh")
	if err != nil {
		t.Fatal(err)
	}
	type row struct {
		name           string
		flags, command []string
	}
	rows := []row{{"configure", contained, []string{"/bin/sh", "-c", string(script)}}}
	for _, build := range []struct {
		name  string
		gcc   []string
		flags []string
		only  []string
	}{
		{"static", []string{"-static"}, contained, scenarios},
		{"dynamic", nil, append(contained, "--host", "libc6"), []string{"plain", "spawn", "vfork"}},
		{"i386", []string{"-static", "-m32"}, []string{"--mode", "log"}, []string{"plain", "refused", "threads", "vfork", "killed"}},
	} {
		program := compile(t, "calls.c", build.gcc...)
		for _, s := range build.only {
			rows = append(rows, row{build.name + "/" + s, append(build.flags, "--ro", filepath.Dir(program)), []string{program, s, program}})
		}
	}
	for _, user := range who {
		if as(t, user, "true") == nil {
			continue
		}
		dir := openDir(t, user)
		for _, row := range rows {
			t.Run(user+"/"+row.name, func(t *testing.T) {
				var found []map[string]int
				for _, observer := range observers {
					status, record, messages := observedRun{user: user, observer: observer, dir: dir, flags: row.flags, command: row.command}.run(t)
					if status != 0 || !record.Complete || len(record.Observers) != 1 || record.Observers[0].Name != observer {
						t.Fatalf("%s: status %d, complete %v %v, observers %v: %s", observer, status, record.Complete, record.Reasons,
							record.Observers, messages)
					}
					found = append(found, record.counts())
					checkKernel(t, observer, row.name, record)
				}
				compareCounts(t, found[0], found[1])
			})
		}
	}
}

// checkKernel checks that a tracer infers nothing but what kills leave open, and that it knows every process's parent.
func checkKernel(t *testing.T, observer, name string, record recorded) {
	t.Helper()
	if observer != "ptrace" {
		return
	}
	for _, a := range record.Accesses {
		if a.By != "kernel" && !strings.HasSuffix(name, "/killed") && !strings.HasSuffix(name, "/refused") {
			t.Errorf("the outcome of %s %s is %s", a.Op, a.Path, a.By)
		}
	}
	for _, p := range record.Processes {
		if p.Orphan {
			t.Errorf("a process has no parent")
		}
	}
}

func compareCounts(t *testing.T, notified, traced map[string]int) {
	t.Helper()
	if len(notified) < 4 {
		t.Errorf("only %d accesses are on record", len(notified))
	}
	for key := range maps.Keys(notified) {
		if notified[key] != traced[key] {
			t.Errorf("%s: %d times by notification, %d times by ptrace", key, notified[key], traced[key])
		}
	}
	for key := range maps.Keys(traced) {
		if _, ok := notified[key]; !ok {
			t.Errorf("%s: by ptrace only, %d times", key, traced[key])
		}
	}
}

// TestTracer is about what a tracer does otherwise.
func TestTracer(t *testing.T) {
	program := compile(t, "calls.c", "-static")
	for _, user := range who {
		if as(t, user, "true") == nil {
			continue
		}
		dir := openDir(t, user)
		for _, scenario := range []string{"interrupted", "untraced", "debugger"} {
			run := observedRun{user: user, observer: "ptrace", dir: dir, flags: []string{"--host", "dash", "--ro", filepath.Dir(program)},
				command: []string{program, scenario, program}}
			status, record, messages := run.run(t)
			if status != 0 || !record.Complete {
				t.Errorf("%s as %s: status %d, %v: %s", scenario, user, status, record.Reasons, messages)
			}
			if n := strings.Count(messages, "debuggers and strace do not work"); n != 1 {
				t.Errorf("%d warnings: %s", n, messages)
			}
			// The first opening is over with the signal, the second is made again.
			if got := record.counts(); scenario == "interrupted" && (got["read /tmp/fifo EINTR"] != 1 || got["read /tmp/fifo ok"] != 1) {
				t.Errorf("interrupted calls are counted wrongly: %v", got)
			}
		}
	}
}

// TestTracerStatus checks that a command ends as it does without a tracer.
func TestTracerStatus(t *testing.T) {
	for _, user := range who {
		if as(t, user, "true") == nil {
			continue
		}
		dir := openDir(t, user)
		for _, test := range []struct {
			command []string
			status  int
		}{
			{[]string{"/bin/sh", "-c", "exit 7"}, 7},
			{[]string{"/bin/sh", "-c", "kill -TERM $$"}, 128 + 15},
			{[]string{"/bin/sh", "-c", "kill -SEGV $$"}, 128 + 11},
			{[]string{"/bin/sh", "-c", "kill -KILL $$"}, 128 + 9},
			{[]string{"/bin/sh", "-c", "trap 'exit 4' USR1; kill -USR1 $$; exit 5"}, 4},
			{[]string{"/nowhere"}, 127},
			{[]string{"/tmp"}, 126},
		} {
			run := observedRun{user: user, observer: "ptrace", dir: dir, flags: []string{"--host", "coreutils,dash"}, command: test.command}
			if status, _, messages := run.run(t); status != test.status {
				t.Errorf("%q as %s: status %d, want %d: %s", test.command, user, status, test.status, messages)
			}
		}
	}
}

// TestObserverChoice runs on what looks like older or locked kernels.
func TestObserverChoice(t *testing.T) {
	deny := compile(t, "deny.c", "-static")
	dirs := map[string]string{"root": openDir(t, "root"), "user": openDir(t, "user")}
	for _, test := range []struct {
		without, observer string
		status            int
		used, says        string
	}{
		{"listener", "", 0, "ptrace", "debuggers and strace do not work"},
		{"action", "", 0, "ptrace", "debuggers and strace do not work"},
		{"continue", "", 0, "ptrace", "debuggers and strace do not work"}, // before Linux 5.5
		{"trace", "", 0, "notification", ""},
		{"info", "ptrace", 0, "ptrace", ""}, // before Linux 5.3
		{"listener", "notification", 125, "", "system call notification"},
		{"continue", "notification", 125, "", "system call notification"},
		{"trace", "ptrace", 125, "", "tracing by ptrace"},
		{"info", "telepathy", 125, "", "HDJAIL_OBSERVER"},
	} {
		for _, user := range who {
			if as(t, user, "true") == nil {
				continue
			}
			run := observedRun{user: user, observer: test.observer, dir: dirs[user], before: []string{deny, test.without},
				flags: []string{"--host", "coreutils,dash"}, command: []string{"/bin/sh", "-c", "test -e /nowhere; test -r /etc/passwd; exit 0"}}
			status, record, messages := run.run(t)
			used := ""
			if len(record.Observers) > 0 {
				used = record.Observers[0].Name
			}
			what := fmt.Sprintf("without %s, asked for %q, as %s", test.without, test.observer, user)
			if status != test.status || used != test.used || used != "" && !record.Complete {
				t.Errorf("%s: status %d, by %q, complete %v %v: %s", what, status, used, record.Complete, record.Reasons, messages)
			}
			if !strings.Contains(messages, test.says) || test.status == 125 && !strings.Contains(messages, "help:") {
				t.Errorf("%s it says %s", what, messages)
			}
			if used != "" && record.counts()["probe /nowhere ENOENT"] != 1 {
				t.Errorf("%s: the record is %v", what, record.counts())
			}
		}
	}
}

// TestTracerKilled kills hdjail while its tracees run and are stopped: none is left.
func TestTracerKilled(t *testing.T) {
	const mark = "killed-tracer-98769"
	for _, user := range who {
		run := observedRun{user: user, observer: "ptrace", dir: openDir(t, user), flags: []string{"--host", "coreutils,dash"},
			command: []string{"/bin/sh", "-c", "(: " + mark + "; kill -STOP $(exec sh -c 'echo $PPID')) & echo ready; while :; do test -e /nowhere; done"}}
		command, _ := run.start(t)
		if command == nil {
			continue
		}
		killWhenReady(t, user, command, isReady)
		await(t, "the end of the jail's processes", func() bool { return find(".*"+mark+".*") == "" })
	}
}
