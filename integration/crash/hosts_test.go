package crash

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// elsewhere returns the site as another host sees it, on one store: a process there has another host name, and counts its
// processes from 1. Its boot stays ours: what covers a file of /proc would keep jails from mounting theirs.
func (s *site) elsewhere(name string) *site {
	s.t.Helper()
	other := *s
	other.host = []string{"unshare", "--uts", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec",
		`hostname "$0"; exec "$@"`, name}
	needs(s.t, exec.Command(other.host[0], append(other.host[1:], "true")...).Run())
	return &other
}

// TestHostsAtOnce has processes of three hosts build the same: each derivation has one realization.
func TestHostsAtOnce(t *testing.T) {
	s := newSite(t, storeIn(t))
	s.run("build", s.steady)
	hosts := []*site{s, s.elsewhere("one"), s.elsewhere("two")}
	for round := range rounds(2, 50) {
		middle, top := s.generation(round)
		var fleet []*process
		for i := range 8 {
			fleet = append(fleet, hosts[i%len(hosts)].start("build", "--profile", "a", top, middle))
		}
		for _, p := range fleet {
			s.end(p)
		}
		s.mustBeWhole("three hosts", true)
		s.mustBeOneEach("three hosts")
	}
}

// TestHostDies kills what runs on another host in the middle of a build. Nobody here can know: its lock goes stale when it is
// not renewed, and its temporary files when they are old.
func TestHostDies(t *testing.T) {
	s := newSite(t, storeIn(t))
	s.run("build", s.steady)
	other := s.elsewhere("other")
	// It waits for as long as a file is not there that a whitelisted path shows.
	gate := t.TempDir()
	s.write("slow.yaml", `hdjail: 1
name: slow
host: {packages: [coreutils], paths: [{path: `+gate+`, id: gate}]}
script: |
  echo built
  while ! test -e `+gate+`/open; do sleep 0.05; done
  echo x > "$ARTIFACT/x"
`)
	dying := other.start("build", s.spec("slow"))
	lock := s.awaitLock()

	late := s.start("build", "--lock-timeout", "50ms", s.spec("slow"))
	s.within(time.Minute, late)
	if late.command.ProcessState.ExitCode() != 11 || !bytes.Contains(late.err.Bytes(), []byte("on other")) {
		t.Errorf("while it lives: %v\n%s", late.command.ProcessState, late.err.String())
	}
	dying.kill()
	s.end(dying)
	s.run("build", s.steady)
	if left, err := os.ReadDir(filepath.Join(s.root, "tmp")); err != nil || len(left) == 0 {
		t.Errorf("what another host may be using is gone (%v)", err)
	}

	// Time passes: of the two minutes for the lock this test does not wait for all, nor for the three days.
	var info map[string]any
	text, err := os.ReadFile(lock)
	if err := errors.Join(err, json.Unmarshal(text, &info)); err != nil {
		t.Fatal(err)
	}
	info["expiry_ns"] = int64(time.Second)
	text, err = json.Marshal(info)
	if err := errors.Join(err, os.WriteFile(lock, text, 0o644), os.WriteFile(gate+"/open", nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	s.run("build", s.spec("slow"))
	long := time.Now().Add(-73 * time.Hour)
	left, _ := filepath.Glob(s.root + "/tmp/*")
	for _, path := range left {
		if err := os.Chtimes(path, long, long); err != nil {
			t.Fatal(err)
		}
	}
	s.run("build", s.steady)
	s.mustBeWhole("after another host died", true)
	s.mustLeaveNothing([]*process{dying})
}

// within kills a process that does not end.
func (s *site) within(limit time.Duration, p *process) {
	select {
	case <-p.ended:
	case <-time.After(limit):
		s.t.Errorf("%s does not end", p.description)
		p.kill()
		<-p.ended
	}
}

// awaitLock waits until a script runs, which says so in its log, and returns the build's lock.
func (s *site) awaitLock() string {
	s.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); time.Now().Before(deadline); <-tick.C {
		locks, _ := filepath.Glob(s.root + "/locks/*")
		logs, _ := filepath.Glob(s.root + "/tmp/*/log")
		if len(locks) == 1 && len(logs) == 1 {
			if log, err := os.ReadFile(logs[0]); err == nil && string(log) == "built\n" {
				return locks[0]
			}
		}
	}
	s.t.Fatal("no build has begun")
	return ""
}
