package container

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

// TestMain runs the tests from a sealed copy, as the product does.
func TestMain(m *testing.M) {
	dir := filepath.Join(os.TempDir(), "hdjail-seal-test")
	program, err := Seal(dir)
	if err != nil {
		panic(err)
	}
	program.Close()
	os.Remove(dir)
	goleak.VerifyTestMain(m)
}

// hostConfig is a jail that shows the host's programs read-only, enough to run a shell.
func hostConfig(t testing.TB, r *Runner, script string) jail.Config {
	t.Helper()
	scratch, err := r.Scratch(context.Background(), scratchParent(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := scratch.Close(); err != nil {
			t.Error(err)
		}
	})
	entries := []mounts.Entry{
		{Target: "/proc", Kind: mounts.Proc},
		{Target: "/build", Kind: mounts.Bind, Source: scratch.Build(), Directory: true, Writable: true},
		{Target: "/tmp", Kind: mounts.Bind, Source: scratch.Tmp(), Directory: true, Writable: true},
		{Target: "/dev/null", Kind: mounts.Bind, Source: "/dev/null", Device: true, NoExec: true, Writable: true},
		{Target: "/dev/zero", Kind: mounts.Bind, Source: "/dev/zero", Device: true, NoExec: true, Writable: true},
		{Target: "/dev/tty", Kind: mounts.Bind, Source: "/dev/tty", Device: true, NoExec: true, Writable: true},
		{Target: "/dev/pts", Kind: mounts.Devpts, Device: true, NoExec: true, Writable: true},
		{Target: "/dev/ptmx", Kind: mounts.Symlink, Source: "pts/ptmx"},
		{Target: "/usr", Kind: mounts.Bind, Source: "/usr", Directory: true},
	}
	for _, dir := range []string{"/bin", "/lib", "/lib64"} {
		if target, err := os.Readlink(dir); err == nil {
			entries = append(entries, mounts.Entry{Target: dir, Kind: mounts.Symlink, Source: target})
		} else if _, err := os.Stat(dir); err == nil {
			entries = append(entries, mounts.Entry{Target: dir, Kind: mounts.Bind, Source: dir, Directory: true})
		}
	}
	table, err := mounts.Plan(entries)
	if err != nil {
		t.Fatal(err)
	}
	return jail.Config{Name: "test", Scratch: scratch, Mounts: table, Mode: policies.ModeHide, Args: []string{"/bin/sh", "-c", script},
		Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/build"}
}

// scratchParent is a directory below the temporary one that the build's uid can reach.
func scratchParent(t testing.TB) string {
	dir := t.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		os.Chmod(d, 0o755)
	}
	return dir
}

func newRunner(t testing.TB) *Runner {
	t.Helper()
	return newRunnerIn(t, filepath.Join(scratchParent(t), "run"))
}

func newRunnerIn(t testing.TB, runDir string) *Runner {
	t.Helper()
	options := DefaultOptions()
	options.RunDir, options.LeaseDir = runDir, runDir
	r, err := New(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func run(t testing.TB, script string) (jail.Result, string, error) {
	t.Helper()
	r := newRunner(t)
	c := hostConfig(t, r, script)
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	result, err := r.Run(context.Background(), c)
	return result, out.String(), err
}

// TestRunWithoutHook mounts as on kernels before 5.12.
func TestRunWithoutHook(t *testing.T) {
	r := newRunner(t)
	views := map[bool]string{}
	for _, r.hook = range []bool{false, true} {
		c := hostConfig(t, r, "while read a b c d e f g; do case $e in /build | /tmp) ;; *) echo $e $f;; esac; done </proc/self/mountinfo")
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		if result, err := r.Run(context.Background(), c); err != nil || result.Exit != 0 {
			t.Fatalf("hook %v: %+v, %v, %s", r.hook, result, err, out.String())
		}
		// libcontainer maps no ids: on such kernels owners differ between root's jails and others.
		lines := strings.Split(strings.ReplaceAll(out.String(), ",idmapped", ""), "\n")
		slices.Sort(lines)
		views[r.hook] = strings.Join(lines, "\n")
	}
	if views[true] != views[false] {
		t.Errorf("the mounts differ. By the hook:\n%s\nby libcontainer:\n%s", views[true], views[false])
	}
}

func TestRunCommand(t *testing.T) {
	result, out, err := run(t, "id; cat /proc/self/status | grep -E 'Cap|NoNew|Seccomp'; cat /proc/self/mountinfo; exit 3")
	t.Log(out)
	if err != nil || result.Exit != 3 {
		t.Fatalf("result %+v, error %v, output:\n%s", result, err, out)
	}
	if !strings.Contains(out, "uid=1000") {
		t.Errorf("the command does not run as uid 1000:\n%s", out)
	}
}

// BenchmarkJailTrue has its run directory in memory where there is a place for that, as the program does.
func BenchmarkJailTrue(b *testing.B) {
	dir := ChooseRunDir(fmt.Sprintf("/dev/shm/hdjail-bench-%d", os.Getpid()), filepath.Join(scratchParent(b), "run"))
	b.Cleanup(func() { os.RemoveAll(dir) })
	r := newRunnerIn(b, dir)
	c := hostConfig(b, r, "exit 0")
	c.Args = []string{"/bin/true"}
	for b.Loop() {
		if result, err := r.Run(context.Background(), c); err != nil || result.Exit != 0 {
			b.Fatal(result, err)
		}
	}
}
