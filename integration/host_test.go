package integration

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// hostState is what no jail may change: mounts, cgroups, processes of ours, and a canary file.
type hostState struct {
	mounts, groups, processes []string
	canary                    string
}

func observe(t *testing.T, canary string) hostState {
	t.Helper()
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(canary)
	if err != nil {
		t.Fatal(err)
	}
	s := hostState{mounts: strings.Split(string(mounts), "\n"), canary: string(content)}
	s.groups, err = filepath.Glob("/sys/fs/cgroup/*/hdjail-*")
	if err != nil {
		t.Fatal(err)
	}
	out, _ := exec.Command("pgrep", "-f", hdjail).Output() // status 1 when there is none
	s.processes = strings.Fields(string(out))
	return s
}

// unchanged demands that the host is as it was.
func (s hostState) unchanged(t *testing.T, canary string) {
	t.Helper()
	now := observe(t, canary)
	for _, c := range []struct {
		what        string
		before, now []string
	}{{"mounts", s.mounts, now.mounts}, {"cgroups", s.groups, now.groups}, {"processes", s.processes, now.processes}} {
		for _, entry := range c.now {
			if !slices.Contains(c.before, entry) {
				t.Errorf("new %s: %s", c.what, entry)
			}
		}
	}
	if s.canary != now.canary {
		t.Errorf("the canary was changed to %q", now.canary)
	}
}
