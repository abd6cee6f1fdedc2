package container

import (
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"hdjail/jail"
)

func TestPlanLimits(t *testing.T) {
	limits := jail.Limits{Memory: 1 << 30, Pids: 100, CPU: 1.5, Wall: time.Second}
	none := func(int) uint64 { return unlimited }

	grouped := planLimits(limits, true, none)
	if grouped.resources.Memory != 1<<30 || grouped.enforced["pids"] != "rlimit" || grouped.resources.CpuQuota != 150000 {
		t.Errorf("resources of the group: %+v", grouped.resources)
	}
	if grouped.enforced["memory"] != "cgroup" || len(grouped.missing) != 0 {
		t.Errorf("with a group: enforced %v, missing %v", grouped.enforced, grouped.missing)
	}

	single := planLimits(limits, false, func(int) uint64 { return 64 })
	if single.resources.Memory != 0 || single.enforced["pids"] != "rlimit" || len(single.missing) != 2 {
		t.Errorf("without a group: %+v", single)
	}
	for _, r := range single.rlimits {
		if r.Hard > 64 || r.Soft > r.Hard {
			t.Errorf("rlimit %d is %d/%d, above the caller's hard limit of 64", r.Type, r.Soft, r.Hard)
		}
	}
}

func TestRunStopsAtLimits(t *testing.T) {
	for _, test := range []struct {
		name, script, stopped string
		limits                jail.Limits
	}{
		{"wall", "while :; do :; done", "wall", jail.Limits{Wall: 200 * time.Millisecond}},
		{"silence", "trap '' TERM; echo once; kill -STOP $$", "silence", jail.Limits{Silence: 300 * time.Millisecond}},
		{"log", "while echo line; do :; done", "log", jail.Limits{Log: 10000}},
		// Output while it is being stopped resets the clock, but not the verdict.
		{"bye", "trap 'echo bye; exit 0' TERM; sleep 60 & wait", "silence", jail.Limits{Silence: 300 * time.Millisecond}},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := newRunner(t)
			c := hostConfig(t, r, test.script)
			c.Limits = test.limits
			var out strings.Builder
			c.Stdout, c.Stderr = &out, &out
			result, err := r.Run(context.Background(), c)
			if err != nil || result.Stopped != test.stopped {
				t.Errorf("stopped by %q, want %q; error %v", result.Stopped, test.stopped, err)
			}
			if test.limits.Log > 0 && int64(out.Len()) > test.limits.Log {
				t.Errorf("%d bytes were passed on, above the limit of %d", out.Len(), test.limits.Log)
			}
			if result.Wall > grace+5*time.Second {
				t.Errorf("it took %v to stop", result.Wall)
			}
		})
	}
}

func TestRunHoldsPids(t *testing.T) {
	r := newRunner(t)
	c := hostConfig(t, r, "for i in 1 2 3 4 5 6 7 8 9 10 11 12; do sleep 60 & done; echo started all")
	c.Limits.Pids = 6
	var out strings.Builder
	c.Stdout, c.Stderr = &out, &out
	result, err := r.Run(context.Background(), c)
	if err != nil || result.Exit == 0 || strings.Contains(out.String(), "started all") {
		t.Errorf("a fork bomb ran: exit %d, error %v, output %q", result.Exit, err, out.String())
	}
}

func TestRunHoldsMemory(t *testing.T) {
	r := newRunner(t)
	for limit, fits := range map[int64]bool{64 << 20: false, 1 << 30: true} {
		c := hostConfig(t, r, "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c")
		c.Limits.Memory = limit
		var out strings.Builder
		c.Stdout = &out
		result, err := r.Run(context.Background(), c)
		if err != nil || strings.Contains(out.String(), "150000000") != fits {
			t.Errorf("150 MB in %d: %+v, error %v, output %s", limit, result, err, out.String())
		}
	}
}

func TestRunNamesTheLimit(t *testing.T) {
	r := newRunner(t)
	c := hostConfig(t, r, "head -c 5000000 /dev/zero > big")
	c.Limits.Output = 1 << 20
	if result, err := r.Run(context.Background(), c); err != nil || result.Stopped != "output" {
		t.Errorf("a file of 5 MB with a limit of 1 MiB: %+v, error %v", result, err)
	}
	if !r.root {
		return // no group counts who is killed
	}
	c = hostConfig(t, r, "head -c 200000000 /dev/zero | tail -c 150000000")
	c.Limits.Memory = 32 << 20
	if result, err := r.Run(context.Background(), c); err != nil || result.Stopped != "memory" {
		t.Errorf("150 MB of memory with a limit of 32 MiB: %+v, error %v", result, err)
	}
}

// A writer outside the jail that holds the pipe open cannot hold the runner.
func TestRunEndsWithTheJail(t *testing.T) {
	r := newRunner(t)
	c := hostConfig(t, r, "echo hello")
	o, err := newOutput(jail.Config{Stdout: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	smuggled, err := unix.Dup(int(o.stdout.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(smuggled)
	o.closeChildEnds()
	started := time.Now()
	o.finish()
	if took := time.Since(started); took > drainTime+5*time.Second {
		t.Errorf("finish took %v", took)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := r.Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled run: %v", err)
	}
}

func TestRunCancelled(t *testing.T) {
	r := newRunner(t)
	c := hostConfig(t, r, "echo ready; sleep 1000")
	reading, writing, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	c.Stdout = writing
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	go func() {
		reading.Read(make([]byte, 6))
		cancel(why)
	}()
	_, err = r.Run(ctx, c)
	reading.Close()
	writing.Close()
	if !errors.Is(err, why) {
		t.Errorf("error %v, want the cause of the cancellation", err)
	}
}

func TestRunReportsEnds(t *testing.T) {
	for script, want := range map[string]int{"exit 0": 0, "exit 7": 7, "kill -SEGV $$": 128 + int(syscall.SIGSEGV),
		"sleep 1000 & exit 5": 5} {
		if result, out, err := run(t, script); err != nil || result.Exit != want {
			t.Errorf("%q: exit %d, want %d; error %v, output %s", script, result.Exit, want, err, out)
		}
	}
}

func TestRunRefusesCommands(t *testing.T) {
	for path, want := range map[string]error{"/bin/nothing-like-it": unix.ENOENT, "/usr": unix.EACCES} {
		r := newRunner(t)
		c := hostConfig(t, r, "")
		c.Args = []string{path}
		_, err := r.Run(context.Background(), c)
		var refused *jail.CommandError
		if !errors.As(err, &refused) || !errors.Is(err, want) {
			t.Errorf("%s: error %v, want a CommandError with %v", path, err, want)
		}
	}
	r := newRunner(t)
	c := hostConfig(t, r, "")
	c.Args = []string{"/proc/self/exe"}
	var setup *jail.SetupError
	if _, err := r.Run(context.Background(), c); !errors.As(err, &setup) {
		t.Errorf("/proc/self/exe: error %v, want a SetupError", err)
	}
}
