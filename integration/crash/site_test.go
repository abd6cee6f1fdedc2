package crash

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// site is a store, with a folder of specs.
type site struct {
	t           *testing.T
	specs, root string
	check       checker
	// printed are the paths that processes printed, which have to stay, each with the realization that it led to.
	printed map[string]string
	// steady is a spec that is built once, and lets a command run that has nothing to do.
	steady string
	// host begins the command line of who runs on another host; empty for this one.
	host []string
}

// newSite makes a site whose store is, or will be, at root.
func newSite(t *testing.T, root string) *site {
	t.Helper()
	s := &site{t: t, root: root, specs: t.TempDir(), printed: map[string]string{}}
	s.check = checker{root: root, digested: map[string]bool{}}
	s.write("data/readme", "a tree\n")
	s.write("file", "a file\n")
	s.write("base.yaml", `hdjail: 1
name: base
host: {packages: [coreutils]}
script: |
  echo base > "$ARTIFACT/base"
  echo built
`)
	s.steady = s.spec("base")
	return s
}

func (s *site) spec(name string) string { return filepath.Join(s.specs, name+".yaml") }

func (s *site) write(name, text string) {
	path := filepath.Join(s.specs, name)
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		s.t.Fatal(err)
	}
}

// generation writes specs that nobody has built: one in the middle, and one that needs it and what is constant.
func (s *site) generation(n int) (middle, top string) {
	content := fmt.Sprintln("content", n)
	s.write(fmt.Sprint("file-", n), content)
	s.write("fetched", "fetched "+content)
	limits := ""
	if n%4 == 0 { // which a cgroup holds, and that takes time
		limits = "limits: {memory: 1GiB}\n"
	}
	fetched := sha256.Sum256([]byte("fetched " + content))
	middle, top = fmt.Sprint("middle-", n), fmt.Sprint("top-", n)
	s.write(middle+".yaml", fmt.Sprintf(`hdjail: 1
name: middle
version: %q
%shost: {packages: [coreutils]}
dependencies: [{spec: base.yaml, as: BASE}]
sources:
  - {path: data}
  - {path: file-%d, unpack: none, target: file}
  - {sha256: %x, urls: ["file://%s/fetched"], unpack: none, target: fetched}
script: |
  mkdir -p "$ARTIFACT/share/d/e"
  cat file fetched readme "$BASE_DIR/base" > "$ARTIFACT/share/d/e/middle"
  ln -s d/e/middle "$ARTIFACT/share/middle"
  echo built
`, fmt.Sprint(n), limits, n, fetched, s.specs))
	s.write(top+".yaml", fmt.Sprintf(`hdjail: 1
name: top
version: %q
host: {packages: [coreutils]}
dependencies: [{spec: %s.yaml, as: MIDDLE}, {spec: base.yaml, as: BASE}]
script: |
  mkdir "$ARTIFACT/bin"
  cat "$MIDDLE_DIR/share/middle" "$BASE_DIR/base" > "$ARTIFACT/bin/top"
  chmod +x "$ARTIFACT/bin/top"
  echo built
`, fmt.Sprint(n), middle))
	return s.spec(middle), s.spec(top)
}

// process is one run of hdjail.
type process struct {
	command     *exec.Cmd
	out, err    bytes.Buffer
	killed      atomic.Bool
	ended       chan struct{}
	description string
}

// start runs hdjail beside the test.
func (s *site) start(args ...string) *process {
	line := append(append(append([]string{}, s.host...), hdjail, "--store", s.root), args...)
	p := &process{command: exec.Command(line[0], line[1:]...), ended: make(chan struct{})}
	p.description = "hdjail " + strings.Join(args, " ")
	p.command.Stdout, p.command.Stderr = &p.out, &p.err
	p.command.WaitDelay = 20 * time.Second // a jail that outlives its hdjail holds the pipes
	if err := p.command.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		p.command.Wait() // what it says is asked for by end
		close(p.ended)
	}()
	return p
}

func (p *process) kill() {
	p.killed.Store(true)
	p.command.Process.Kill() // or it has ended
}

// end waits for the process, which has to have succeeded unless it was killed, and remembers what it printed.
func (s *site) end(p *process) {
	s.t.Helper()
	<-p.ended
	state := p.command.ProcessState
	if !state.Success() && !(p.killed.Load() && !state.Exited()) {
		s.t.Errorf("%s: %v\n%s", p.description, state, p.err.String())
	}
	for _, line := range strings.Split(p.out.String(), "\n") {
		if whole, err := os.Stat(line); strings.HasPrefix(line, s.root+"/store/") && err == nil && whole.IsDir() {
			target, _ := os.Readlink(line)
			s.printed[line] = filepath.Base(filepath.Dir(target))
		} else if strings.HasPrefix(line, s.root+"/store/") {
			s.t.Errorf("%s printed %q: %v", p.description, line, err)
		}
	}
}

// run runs hdjail, which has to succeed.
func (s *site) run(args ...string) {
	s.t.Helper()
	s.end(s.start(args...))
}

// mustBeWhole checks the store; settled as in checker.
func (s *site) mustBeWhole(when string, settled bool) {
	s.t.Helper()
	s.check.settled = settled
	for _, wrong := range s.check.check() {
		s.t.Errorf("%s: %s", when, wrong)
	}
	for path := range s.printed {
		if _, err := os.Stat(path); err != nil {
			s.t.Errorf("%s: a result is lost: %v", when, err)
		}
	}
	if s.t.Failed() {
		s.t.FailNow()
	}
}

// verify has hdjail itself look at the whole store, if this one can.
func (s *site) verify() {
	s.t.Helper()
	if hasVerb("verify") {
		if out, err := exec.Command(hdjail, "--store", s.root, "verify").CombinedOutput(); err != nil {
			s.t.Errorf("verify: %v: %s", err, out)
		}
	}
}

// hasVerb tells whether this hdjail has a verb that others may not have yet.
func hasVerb(name string) bool {
	out, err := exec.Command(hdjail, name, "--help").CombinedOutput()
	return err == nil && bytes.Contains(out, []byte("hdjail "+name))
}

// mustBeOneEach makes sure that each derivation, all of which are deterministic, has one realization.
func (s *site) mustBeOneEach(when string) {
	s.t.Helper()
	count := map[string]int{}
	for _, r := range s.check.realizations {
		count[r.Manifest.Derivation.String()]++
	}
	for id, n := range count {
		if n != 1 {
			s.t.Fatalf("%s: %s has %d realizations", when, id, n)
		}
	}
}

// mustLeaveNothing makes sure that nothing outside the store is left of processes that were killed: no cgroup, no process in
// a jail.
func (s *site) mustLeaveNothing(killed []*process) {
	s.t.Helper()
	for _, p := range killed {
		pattern := fmt.Sprintf("/sys/fs/cgroup/*/hdjail-*.%d.*", p.command.Process.Pid)
		for range 5 {
			if left, _ := filepath.Glob(pattern); len(left) > 0 {
				s.t.Fatalf("%s was killed and left %q", p.description, left)
			}
			pattern = strings.Replace(pattern, "/hdjail-", "/*/hdjail-", 1)
		}
	}
	deadline := time.Now().Add(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for ; ; <-tick.C {
		left := s.alive()
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("processes %q live on", left)
		}
	}
}

// alive lists what is left of the programs under test, all of which have ended: processes with its name, and those in other
// mount namespaces that have something of the store mounted.
func (s *site) alive() (pids []string) {
	ours, _ := os.Readlink("/proc/self/ns/mnt")
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		if line, err := os.ReadFile(dir + "/cmdline"); err == nil && bytes.HasPrefix(line, []byte(hdjail+"\x00")) {
			pids = append(pids, filepath.Base(dir))
			continue
		}
		theirs, err := os.Readlink(dir + "/ns/mnt")
		if err != nil || theirs == ours {
			continue
		}
		if mounts, err := os.ReadFile(dir + "/mountinfo"); err == nil && bytes.Contains(mounts, []byte(s.root+"/")) {
			pids = append(pids, filepath.Base(dir))
		}
	}
	return pids
}

// mustLeaveNoMount makes sure that nothing is mounted in the store, in this namespace.
func (s *site) mustLeaveNoMount() {
	s.t.Helper()
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || bytes.Contains(mounts, []byte(" "+s.root+"/")) {
		s.t.Errorf("something is mounted in the store (%v)", err)
	}
}

// remove takes away a tree whose directories are read-only; nobody can who is not root.
func remove(t *testing.T, dir string) {
	if out, err := exec.Command("chmod", "-R", "u+w", dir).CombinedOutput(); err != nil && !errors.Is(err, unix.ENOENT) {
		t.Errorf("%s", out)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
