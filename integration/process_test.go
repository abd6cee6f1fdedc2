package integration

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// T-cap1: the command has no capability, cannot get any, and is filtered.
func TestEscapeCapabilities(t *testing.T) {
	for _, user := range who {
		store := filepath.Join(openDir(t, user), "store")
		command := as(t, user, hdjail, "--store", store, "run", "--host", "grep", "--", "grep", "-E", "^(Cap|NoNewPrivs|Seccomp:)",
			"/proc/self/status")
		if command == nil {
			continue
		}
		out, err := command.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		zeros := strings.Repeat("0", 16)
		want := "CapInh " + zeros + " CapPrm " + zeros + " CapEff " + zeros + " CapBnd " + zeros + " CapAmb " + zeros + " NoNewPrivs 1 Seccomp 2"
		if got := strings.Join(strings.Fields(strings.ReplaceAll(string(out), ":", "")), " "); got != want {
			t.Errorf("as %s: %s, want %s", user, got, want)
		}
	}
}

// T-sv1: what a command leaves running ends with it, also if it holds the output open.
func TestEscapeSurvivors(t *testing.T) {
	const daemon = "sleep 98765"
	for _, user := range who {
		store := filepath.Join(openDir(t, user), "store")
		command := as(t, user, hdjail, "--store", store, "run", "--host", "coreutils,dash,util-linux", "--", "sh", "-c",
			"(setsid "+daemon+" &) ; echo done")
		if command == nil {
			continue
		}
		out, err := command.Output()
		if err != nil || string(out) != "done\n" {
			t.Errorf("as %s: %v, output %q", user, err, out)
		}
		if left := find(daemon); left != "" {
			t.Errorf("as %s: the daemon lives on: %s", user, left)
		}
	}
}

// T-crash1: a runner that is killed takes its jail with it, and what it leaves in the store is swept by the next one.
func TestEscapeKilledRunner(t *testing.T) {
	const sleeper = "sleep 98766"
	for _, user := range who {
		dir := openDir(t, user)
		store := filepath.Join(dir, "store")
		run := []string{hdjail, "--store", store, "run", "--host", "coreutils,dash", "--", "sh", "-c"}
		command := as(t, user, append(run, "echo ready; "+sleeper)...)
		if command == nil {
			continue
		}
		killWhenReady(t, user, command, isReady)
		await(t, "the jail's end", func() bool { return find(sleeper) == "" })
		if out, err := as(t, user, append(run, "true")...).CombinedOutput(); err != nil {
			t.Errorf("as %s, the next start: %v: %s", user, err, out)
		}
		left, err := os.ReadDir(filepath.Join(store, "tmp"))
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range left {
			t.Errorf("as %s: %s was not swept", user, entry.Name())
		}
	}
}

// find returns the processes whose command line is exactly this.
func find(commandLine string) string {
	out, _ := exec.Command("pgrep", "-fx", commandLine).Output() // status 1 when there is none
	return strings.TrimSpace(string(out))
}

// await waits for what the kernel does in its own time.
func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(10 * time.Second)
	for !done() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("no sign of %s", what)
		}
	}
}

// isReady is for commands whose first line is "ready".
func isReady(line string) bool { return line == "ready" }

// killWhenReady starts hdjail, kills it when a line of its output is the one that is waited for, and waits for its end.
func killWhenReady(t *testing.T, user string, command *exec.Cmd, ready func(line string) bool) {
	t.Helper()
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(output)
	for lines.Scan() && !ready(lines.Text()) {
	}
	if !ready(lines.Text()) {
		t.Fatalf("as %s: %q, %v", user, lines.Text(), lines.Err())
	}
	if err := command.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	command.Wait()
}
