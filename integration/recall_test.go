package integration

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
)

// traced is what strace has to see for the referee, recall. fchdir names no path, but moves the base of relative ones.
const traced = "trace=%file,%process,getdents,getdents64,connect,bind,open_by_handle_at,io_uring_setup,fchdir"

// fixture is a build of testdata/recall: files, and lines "key: value" before them.
type fixture struct {
	name    string
	archive *txtar.Archive
	// needs are programs without which it is left out; host are the packages that it needs in mode hide. prepare runs
	// outside the jail, run inside.
	needs, host, prepare, run string
	rounds                    int
}

func fixtures(t *testing.T) (list []fixture) {
	t.Helper()
	names, err := filepath.Glob("testdata/recall/*.txt")
	if err != nil || len(names) == 0 {
		t.Fatal("no fixtures", err)
	}
	for _, name := range names {
		archive, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f := fixture{name: strings.TrimSuffix(filepath.Base(name), ".txt"), archive: archive, rounds: 1}
		fields := map[string]*string{"needs": &f.needs, "host": &f.host, "prepare": &f.prepare, "run": &f.run}
		for lines := bufio.NewScanner(bytes.NewReader(archive.Comment)); lines.Scan(); {
			key, value, ok := strings.Cut(lines.Text(), ": ")
			switch {
			case ok && fields[key] != nil:
				*fields[key] = value
			case ok && key == "rounds":
				if f.rounds, err = strconv.Atoi(value); err != nil {
					t.Fatal(err)
				}
			}
		}
		list = append(list, f)
	}
	return list
}

// TestRecall runs builds with strace inside the traced jail and holds the audit to what strace saw of the same execution.
// HDJAIL_TEST_RECALL=DIR keeps traces and audits there.
func TestRecall(t *testing.T) {
	needProgram(t, "strace")
	recall := filepath.Join(openDir(t, "root"), "recall")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", recall, "./recall")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range fixtures(t) {
		for _, s := range settings() {
			t.Run(f.name+"/"+s.mode+"/"+s.user, func(t *testing.T) {
				for _, program := range strings.Fields(f.needs) {
					needProgram(t, program)
				}
				for round := range f.rounds {
					if round == 0 || everything() {
						f.judge(t, trial{s, recall, round})
					}
				}
			})
		}
	}
}

// trial is one run of a fixture.
type trial struct {
	setting
	recall string
	round  int
}

// unpack writes the fixture's files into a new directory, prepares them and gives them to the user.
func (f fixture) unpack(t *testing.T, user string) string {
	t.Helper()
	parent := openDir(t, user)
	work := filepath.Join(parent, "work")
	if err := txtar.Write(f.archive, work); err != nil {
		t.Fatal(err)
	}
	prepare := exec.Command("sh", "-ec", f.prepare)
	prepare.Dir = work
	if out, err := prepare.CombinedOutput(); err != nil {
		t.Fatalf("prepare: %v: %s", err, out)
	}
	if out, err := exec.Command("chown", "-R", "--reference", parent, work).CombinedOutput(); err != nil {
		t.Fatalf("%s", out)
	}
	return work
}

func (f fixture) judge(t *testing.T, run trial) {
	t.Helper()
	work := f.unpack(t, run.user)
	dir := filepath.Dir(work)
	trace, audit := filepath.Join(work, "trace"), filepath.Join(dir, "audit.json")
	args := []string{hdjail, "--store", filepath.Join(dir, "store"), "run", "--mode", run.mode, "--rw", work, "--audit", audit}
	if run.mode == "hide" {
		args = append(args, "--host", "strace,dash,"+f.host)
	}
	command := as(t, run.user, append(args, "--", "strace", "-f", "-y", "-s", "4096", "-o", trace, "-e", traced, "sh", "-c", f.run)...)
	command.Dir = work
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v: %.4000s", err, out)
	}
	// As the user who ran it: what the host answers depends on who asks.
	out, err := as(t, run.user, run.recall, "-trace", trace, "-audit", audit, "-cwd", work, "-own", work).CombinedOutput()
	if kept := os.Getenv("HDJAIL_TEST_RECALL"); kept != "" {
		name := strings.Join([]string{f.name, run.mode, run.user, strconv.Itoa(run.round)}, "-")
		if out, err := exec.Command("cp", "-r", dir, filepath.Join(kept, name)).CombinedOutput(); err != nil {
			t.Errorf("%s", out)
		}
	}
	if err != nil {
		t.Errorf("round %d: %v\n%s", run.round, err, out)
	} else {
		t.Logf("round %d:\n%s", run.round, out)
	}
}
