package check

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build"
	"hdjail/build/check/differ"
	"hdjail/build/plan"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/jail/jailtest"
	"hdjail/policies"
	"hdjail/policies/audit"
)

// machine stands for the host's packages: it has one, which owns /bin/sh.
type machine struct{}

func (*machine) Pin(_ context.Context, names []string) ([]hostpkgs.Pinned, error) {
	return []hostpkgs.Pinned{{Name: names[0], Version: "1", Digest: "blake3:" + strings.Repeat("0", 64)}}, nil
}

func (*machine) Owner(context.Context, string) (string, bool, error) { return "dash", true, nil }

func (*machine) Compose(context.Context, []hostpkgs.Pinned, []hostpkgs.Mountpoint) (hostpkgs.Tree, error) {
	return hostpkgs.Tree{Path: "/composed", Top: []hostpkgs.TopEntry{{Name: "usr", IsDir: true}}}, nil
}

// site is a store with one build in it, and a checker whose runs stay in this process.
type site struct {
	t       *testing.T
	checker Checker
	subject Subject
	runner  *jailtest.Runner
	// requests are those that were made.
	requests []Request
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { clock = clock.Add(time.Second); return clock }
	st, err := store.Open(filepath.Join(dir, "store"), store.Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				os.Chmod(path, 0o755) // so that it can be removed
			}
			return nil
		})
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("hdjail: 1\nname: a\nlimits: {pids: 77}\nscript: make\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, runner: &jailtest.Runner{Default: jailtest.Script{Files: map[string]string{"f": "x\n"}}}}
	b := &build.Builder{Store: st, Host: s.host(), Runner: s.runner, Now: now, Limits: build.DefaultLimits()}
	graph, err := plan.LoadGraph(t.Context(), plan.Targets{Dir: dir, Files: []string{"a.yaml"}}, st)
	if err != nil {
		t.Fatal(err)
	}
	resolver := &plan.Resolver{System: "x86_64-linux", Prefix: st.Prefix(), Host: s.host()}
	p, err := resolver.Resolve(t.Context(), graph)
	if err != nil {
		t.Fatal(err)
	}
	results, err := b.Realize(t.Context(), p, build.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s.subject = Subject{Step: p.Targets[0], First: results[0].Realizations[0], Runs: 1}
	s.checker = Checker{Store: st, Now: now, Machine: Machine{CPUs: []int{0, 1, 5}, Env: []string{"PATH=/bin", "HOME=/home/me", "SECRET=x"}},
		Start: func(ctx context.Context, req Request) (Outcome, error) {
			s.requests = append(s.requests, req)
			again, err := resolver.Resolve(ctx, graph)
			if err != nil {
				return Outcome{}, err
			}
			return Do(ctx, b, again, req)
		}}
	return s
}

func (s *site) host() *machine { return &machine{} }

func (s *site) check() *Report {
	s.t.Helper()
	r, err := s.checker.Check(s.t.Context(), s.subject)
	if err != nil {
		s.t.Fatal(err)
	}
	return r
}

func (s *site) leaves(content string) {
	s.runner.Default = jailtest.Script{Files: map[string]string{"f": content}}
}

func TestEqual(t *testing.T) {
	s := newSite(t)
	s.subject.Runs = 2
	r := s.check()
	if r.Verdict() != "equal" || r.Trees != 1 || len(r.Runs) != 2 || r.Runs[0].Realization != s.subject.First.ID || len(r.Paths()) > 0 {
		t.Errorf("report %+v", r)
	}
	if len(r.Untraced) == 0 || len(r.Incomplete) > 0 {
		t.Errorf("runs without a record: untraced %q, incomplete %q", r.Untraced, r.Incomplete)
	}
	runs := s.runner.Runs()
	if len(runs) != 3 || runs[1].Limits.Pids != 77 || runs[1].Vary.Hostname == runs[2].Vary.Hostname || len(runs[1].Vary.CPUs) != 2 {
		t.Errorf("the jails: %+v", runs)
	}
}

func TestTreesDiffer(t *testing.T) {
	s := newSite(t)
	s.subject.Runs = 3
	contents := []string{"y\n", "y\n", "x\n"}
	start := s.checker.Start
	s.checker.Start = func(ctx context.Context, req Request) (Outcome, error) {
		s.leaves(contents[len(s.requests)])
		return start(ctx, req)
	}
	r := s.check()
	want := differ.Difference{Path: "f", Kind: differ.Content, Sizes: [2]int64{2, 2}, Place: []string{"line 1"}, First: "x", Second: "y"}
	if r.Verdict() != "trees differ" || r.Trees != 2 {
		t.Errorf("verdict %s, %d trees", r.Verdict(), r.Trees)
	}
	for i, differs := range []bool{true, true, false} {
		run := r.Runs[i]
		if (len(run.Differences) == 1) != differs || differs && run.Differences[0].Path != want.Path || run.Record != i+2 {
			t.Errorf("run %d: %+v", i, run)
		}
	}
	if got := r.Paths(); !slices.Equal(got, []string{r.Path + "/f"}) {
		t.Errorf("paths %q", got)
	}
	records, err := s.checker.Store.Records(r.Derivation)
	if err != nil || len(records) != 4 || records[1].Purpose != "check" {
		t.Errorf("records %+v, %v", records, err)
	}
}

func TestRunFails(t *testing.T) {
	s := newSite(t)
	s.runner.Default = jailtest.Script{Result: jail.Result{Exit: 2}}
	r := s.check()
	if r.Verdict() != "failed" || r.Runs[0].Failure != "build a ended with exit status 2" || r.Runs[0].Record != 2 {
		t.Errorf("report %+v", r)
	}
}

func TestRunThatCannotBeMade(t *testing.T) {
	s := newSite(t)
	broken := errors.New("no process")
	s.checker.Start = func(context.Context, Request) (Outcome, error) { return Outcome{}, broken }
	if _, err := s.checker.Check(t.Context(), s.subject); !errors.Is(err, broken) {
		t.Errorf("error %v", err)
	}
}

func TestDoWantsItsDerivation(t *testing.T) {
	s := newSite(t)
	start := s.checker.Start
	s.checker.Start = func(ctx context.Context, req Request) (Outcome, error) {
		req.Derivation = artifact.DerivationID{1}
		return start(ctx, req)
	}
	if _, err := s.checker.Check(t.Context(), s.subject); err == nil || !strings.Contains(err.Error(), "for this caller") {
		t.Errorf("error %v", err)
	}
}

// record registers a tree as the first run's or a check's would be, with an audit.
func (s *site) record(purpose string, a *audit.Audit) int {
	s.t.Helper()
	var file bytes.Buffer
	a.Header.Format, a.Header.Mode = audit.Format, "hide"
	if err := audit.Write(&file, a.Header, a.Processes, a.All, audit.Rest{}); err != nil {
		s.t.Fatal(err)
	}
	out := s.t.TempDir()
	if err := os.WriteFile(out+"/f", []byte("x\n"), 0o644); err != nil {
		s.t.Fatal(err)
	}
	log := filepath.Join(s.t.TempDir(), "log")
	if err := os.WriteFile(log, nil, 0o644); err != nil {
		s.t.Fatal(err)
	}
	r, err := s.checker.Store.Register(s.t.Context(), store.Registration{Derivation: &s.subject.Step.Derivation, Out: out, Tree: s.subject.First.Tree,
		Log: log, Audit: file.Bytes(), Record: artifact.BuildRecord{Purpose: purpose, Jobs: 3}})
	if err != nil {
		s.t.Fatal(err)
	}
	s.subject.First = r
	return r.Records[len(r.Records)-1].Number
}

func TestCommandsDiffer(t *testing.T) {
	s := newSite(t)
	run := func(exe, word string) *audit.Audit {
		return &audit.Audit{Header: audit.Header{Complete: true}, Processes: []audit.Process{{ID: 1, PID: 7, Exe: exe, Argv: []string{"env", word}, Cwd: "/build"}}}
	}
	s.record("build", run("/usr/bin/env", "a"))
	first := s.subject.First
	number := s.record("check", run("/bin/env", "b"))
	s.subject.First = first
	s.checker.Start = func(context.Context, Request) (Outcome, error) { return Outcome{Record: number}, nil }
	if r := s.check(); r.Verdict() != "traces differ" || !slices.Equal(r.Paths(), []string{"/bin/env", "/usr/bin/env"}) {
		t.Errorf("verdict %s, paths %q", r.Verdict(), r.Paths())
	}
}

// TestOrderKept: a build with sources says so if no run saw these in another order.
func TestOrderKept(t *testing.T) {
	for _, test := range []struct {
		sources int
		scratch string
		reorder []bool // of each run
		want    bool
	}{
		{0, "", []bool{false}, false}, {1, "", []bool{false, false}, true}, {1, "", []bool{false, true}, false}, {1, "/dev/shm", []bool{false}, false},
	} {
		s := newSite(t)
		number, runs := s.subject.First.Records[0].Number, 0
		s.subject.Step.Derivation.Sources = make([]artifact.Source, test.sources)
		s.subject.Scratch, s.subject.Runs = test.scratch, len(test.reorder)
		s.checker.Start = func(context.Context, Request) (Outcome, error) {
			runs++
			return Outcome{Record: number, Reordered: test.reorder[runs-1]}, nil
		}
		if r := s.check(); r.OrderKept != test.want {
			t.Errorf("%+v: order kept %t", test, r.OrderKept)
		}
	}
}

func TestTracesDiffer(t *testing.T) {
	s := newSite(t)
	read := func(path string) audit.Access {
		return audit.Access{Op: policies.OpRead, Path: path, Verdict: policies.Allowed, Count: 1}
	}
	s.record("build", &audit.Audit{Header: audit.Header{Complete: true}, Accesses: []audit.Access{read("/etc/a")}})
	first := s.subject.First
	number := s.record("check", &audit.Audit{Header: audit.Header{IncompleteReasons: []string{"2 lost"}}, Accesses: []audit.Access{read("/etc/b")}})
	s.subject.First = first
	s.checker.Start = func(_ context.Context, req Request) (Outcome, error) {
		s.requests = append(s.requests, req)
		return Outcome{Record: number}, nil
	}
	r := s.check()
	if r.Verdict() != "traces differ" || r.Trees != 1 || !slices.Equal(r.Paths(), []string{"/etc/a", "/etc/b"}) {
		t.Errorf("verdict %s, paths %q", r.Verdict(), r.Paths())
	}
	if len(r.Untraced) > 0 || len(r.Incomplete) != 1 || !strings.Contains(r.Incomplete[0], "2 lost") {
		t.Errorf("untraced %q, incomplete %q", r.Untraced, r.Incomplete)
	}
	if s.requests[0].Jobs != 3 {
		t.Errorf("$JOBS is %d, and was 3", s.requests[0].Jobs)
	}
}
