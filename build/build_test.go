package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/store"
	"hdjail/build/plan"
	"hdjail/build/sources"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// tb is a test, of rapid or not.
type tb interface {
	rapid.TB
	Context() context.Context
	Cleanup(func())
}

// site is a store, a builder on it, and specs, all of one test.
type site struct {
	t       tb
	dir     string
	store   *store.Store
	runner  *jailtest.Runner
	builder *Builder
	events  *recorder
}

// recorder keeps events.
type recorder struct {
	mu   sync.Mutex
	list []Event
}

func (r *recorder) Send(e Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, e)
}

// of returns "event status-or-phase" of every event about a build.
func (r *recorder) of(name string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []string
	for _, e := range r.list {
		if e.Name == name && e.Event != "step" {
			list = append(list, strings.TrimSpace(e.Event+" "+e.Phase+e.Status))
		}
	}
	return list
}

// machine stands for the host's packages and for sources: it has one package, which owns /bin/sh, and places files.
type machine struct{}

func (machine) Pin(_ context.Context, names []string) ([]hostpkgs.Pinned, error) {
	return []hostpkgs.Pinned{{Name: names[0], Version: "1", Digest: "blake3:" + strings.Repeat("0", 64)}}, nil
}

func (machine) Owner(context.Context, string) (string, bool, error) { return "dash", true, nil }

func (machine) Compose(context.Context, []hostpkgs.Pinned, []hostpkgs.Mountpoint) (hostpkgs.Tree, error) {
	return hostpkgs.Tree{Path: "/composed", Top: []hostpkgs.TopEntry{{Name: "etc", IsDir: true}, {Name: "usr", IsDir: true},
		{Name: "var", IsDir: true}}}, nil
}

func (machine) Fetch(_ context.Context, r sources.Request, progress sources.Progress) error {
	if len(r.URLs) == 0 {
		return errors.New("nowhere to be found")
	}
	progress(1, 2)
	progress(2, 2)
	return nil
}

func (machine) Place(_ context.Context, source artifact.Source, dest sources.Dest) error {
	return os.WriteFile(filepath.Join(dest.Dir.Name(), source.Target, "source"), []byte(source.Digest), 0o644)
}

func newSite(t *testing.T, specs map[string]string) *site {
	t.Helper()
	return newSiteIn(t, t.TempDir(), "", specs)
}

// newSiteIn makes the site in an empty directory. IDs depend on the prefix, which is the store's path when it is empty.
func newSiteIn(t tb, dir, prefix string, specs map[string]string) *site {
	t.Helper()
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, dir: dir, runner: &jailtest.Runner{Scripts: map[string]jailtest.Script{}}, events: &recorder{}}
	s.runner.Default = jailtest.Script{Files: map[string]string{"f": "x"}}
	clock := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var mu sync.Mutex
	now := func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(time.Second)
		return clock
	}
	root := filepath.Join(dir, "store")
	if s.store, err = store.Open(root, store.Options{Now: now, Prefix: prefix}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if n := s.runner.Open(); n != 0 {
			t.Errorf("%d scratches are left", n)
		}
		if left := s.temporary(); len(left) > 0 {
			t.Errorf("left in tmp: %v", left)
		}
		if err := errors.Join(s.store.Close(), unlock(root)); err != nil {
			t.Error(err)
		}
	})
	s.builder = &Builder{Store: s.store, Sources: machine{}, Host: machine{}, Runner: s.runner, Events: s.events, Now: now,
		Limits: DefaultLimits()}
	for name, text := range specs {
		s.write(name, text)
	}
	return s
}

// temporary lists what is in tmp/ of the store, but for failed builds that were kept.
func (s *site) temporary() []string {
	entries, err := os.ReadDir(s.store.TmpDir())
	if err != nil {
		s.t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "kept-") {
			list = append(list, e.Name())
		}
	}
	return list
}

// unlock makes the directories of a store writable, so that the test's directory can be removed.
func unlock(root string) error {
	return filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = os.Chmod(path, 0o755)
		}
		return err
	})
}

func (s *site) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// minimal is a spec of few words; each dependency is a spec named like it.
func minimal(name string, dependencies ...string) string {
	text := "hdjail: 1\nname: " + name + "\nscript: make\n"
	if len(dependencies) > 0 {
		text += "dependencies:\n"
	}
	for _, d := range dependencies {
		text += "  - spec: " + d + ".yaml\n"
	}
	return text
}

func (s *site) plan(targets ...string) *plan.Plan {
	s.t.Helper()
	for i := range targets {
		targets[i] += ".yaml"
	}
	g, err := plan.LoadGraph(s.t.Context(), plan.Targets{Dir: s.dir, Files: targets}, s.store)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &plan.Resolver{System: "x86_64-linux", Prefix: s.store.Prefix(), Host: machine{}}
	p, err := r.Resolve(s.t.Context(), g)
	if err != nil {
		s.t.Fatal(err)
	}
	return p
}

// realize returns what became of each step: "a built, b cached, c failed".
func (s *site) realize(ctx context.Context, p *plan.Plan, o Options) (string, error) {
	s.t.Helper()
	results, err := s.builder.Realize(ctx, p, o)
	var list []string
	for _, r := range results {
		status := "built"
		var skipped *Skipped
		switch {
		case errors.As(r.Err, &skipped):
			status = "skipped"
		case r.Err != nil:
			status = "failed"
		case r.Realizations == nil:
			status = "missing"
		case r.Cached:
			status = "cached"
		}
		list = append(list, r.Step.Derivation.Name+" "+status)
	}
	slices.Sort(list)
	return strings.Join(list, ", "), err
}

func (s *site) expect(p *plan.Plan, o Options, want string) {
	s.t.Helper()
	got, err := s.realize(s.t.Context(), p, o)
	if err != nil || got != want {
		s.t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// order names the builds that were run.
func (s *site) order() []string {
	var list []string
	for _, c := range s.runner.Runs() {
		list = append(list, c.Name)
	}
	return list
}

func TestBuild(t *testing.T) {
	s := newSite(t, map[string]string{"lib": "", "lib.yaml": minimal("lib"), "app.yaml": `hdjail: 1
name: app
version: 2
sources: [{sha256: ` + strings.Repeat("a", 64) + `, urls: [http://x/y]}]
dependencies: [{spec: lib.yaml}]
environment: {A: b}
limits: {pids: 7}
promises: [bin/app]
script: make
`})
	var seen []string
	s.runner.Scripts["app-2"] = jailtest.Script{Files: map[string]string{"bin/app": "#!/bin/sh\n"}, Log: "hello\nworld", Do: func(c jail.Config) error {
		source, err := os.ReadFile(filepath.Join(c.Scratch.Build(), "source"))
		seen = append(slices.Clone(c.Env), string(source), fmt.Sprint(c.Limits.Pids, c.Args))
		return err
	}}
	p := s.plan("app")
	s.expect(p, Options{DryRun: true}, "app missing, lib missing")
	if len(s.runner.Runs()) != 0 {
		t.Error("a dry run built something")
	}
	s.expect(p, Options{Jobs: 4, CPUs: 8}, "app built, lib built")
	lib := p.Targets[0].Dependencies[0]
	for _, want := range []string{"A=b", "JOBS=8", "LIB_ID=" + lib.ID.String(), "LIB_DIR=" + s.store.PublicPath(&lib.Derivation),
		"ARTIFACT=" + s.store.PublicPath(&p.Targets[0].Derivation), "sha256:" + strings.Repeat("a", 64), "7 [/bin/sh -eu /.hdjail/script]"} {
		if !slices.Contains(seen, want) {
			t.Errorf("the build did not see %s, but %q", want, seen)
		}
	}
	if got := s.order(); !slices.Equal(got, []string{"lib", "app-2"}) {
		t.Errorf("ran %v", got)
	}
	want := "build.start,build.phase lock,build.phase fetch,build.fetch,build.fetch,build.phase sources,build.phase host,build.phase run," +
		"build.log,build.log,build.phase check,build.phase register,build.done built"
	if got := strings.Join(s.events.of("app-2"), ","); got != want {
		t.Errorf("events\n%s\nwant\n%s", got, want)
	}

	public := s.store.PublicPath(&p.Targets[0].Derivation)
	if content, err := os.ReadFile(filepath.Join(public, "bin/app")); err != nil || string(content) != "#!/bin/sh\n" {
		t.Errorf("the artifact: %q, %v", content, err)
	}
	records, err := s.store.Records(p.Targets[0].ID)
	if err != nil || len(records) != 1 {
		t.Fatalf("records %v, %v", records, err)
	}
	r := records[0]
	if r.Purpose != "build" || r.Mode != "hide" || r.Failure != "" || r.LogBytes != 11 || r.Limits["pids"] != 7 || len(r.Context) != 1 || !r.End.After(r.Start) {
		t.Errorf("record %+v", r)
	}
	log, err := s.store.OpenLog(r)
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(log); err != nil || string(text) != "hello\nworld" || log.Close() != nil {
		t.Errorf("log %q, %v", text, err)
	}

	s.expect(p, Options{}, "app cached, lib cached")
	s.expect(p, Options{RealizedOnly: true}, "app cached, lib cached")
	if n := len(s.runner.Runs()); n != 2 {
		t.Errorf("%d runs; what is realized was built again", n)
	}
	results, err := s.builder.Realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{lib.ID: true}})
	if err != nil || results[0].Cached || !results[1].Cached { // the same tree is the same realization
		t.Errorf("rebuilding the library: %+v, %v", results, err)
	}
	if got := s.builder.Paths(results[1]); !slices.Equal(got, []string{public}) {
		t.Errorf("paths %v", got)
	}
	if err := os.Remove(public); err != nil {
		t.Fatal(err)
	}
	if got := s.builder.Paths(results[1]); !slices.Equal(got, []string{s.store.OutPath(results[1].Realizations[0].ID)}) {
		t.Errorf("paths without a public one %v", got)
	}
}

// TestFailures: every way to fail has its kind and its record, nothing is registered, and nothing is left behind.
func TestFailures(t *testing.T) {
	promising := minimal("a") + "promises: [bin/a, lib/b, c]\nlimits: {log: 100, wall: 1h, silence: 5m}\n"
	for name, c := range map[string]struct {
		script       jailtest.Script
		kind, reason string
	}{
		"exit":   {jailtest.Script{Result: jail.Result{Exit: 3}}, "exit", "ended with exit status 3"},
		"signal": {jailtest.Script{Result: jail.Result{Exit: 139, Signal: 11}}, "exit", "was ended by signal 11 (SIGSEGV)"},
		"empty":  {jailtest.Script{}, "output", "left $ARTIFACT empty"},
		"promises": {jailtest.Script{Files: map[string]string{"bin/a": "x"}, Links: map[string]string{"c": "/etc/passwd"}}, "promise",
			"broke its promise of c: is a link to /etc/passwd, outside the output and its dependencies; lib/b: no such file or directory"},
		"wall":    {jailtest.Script{Result: jail.Result{Stopped: "wall", Exit: 137}}, "timeout", "was stopped after 1h0m0s, its limit of time"},
		"silence": {jailtest.Script{Result: jail.Result{Stopped: "silence"}}, "timeout", "was stopped: it printed nothing for 5m0s"},
		"memory":  {jailtest.Script{Result: jail.Result{Stopped: "memory"}}, "limits", "was stopped at its limit of memory"},
		"log":     {jailtest.Script{Log: strings.Repeat("line\n", 100)}, "limits", "was stopped at its limit of log"},
		"special": {jailtest.Script{Files: map[string]string{"bin/a": "", "lib/b": "", "c": ""}, Do: func(c jail.Config) error {
			return os.WriteFile(filepath.Join(c.Scratch.Out(), "setuid"), nil, 0o755|os.ModeSetuid)
		}, Links: map[string]string{"out": "../../x"}}, "output", "left an output that cannot be kept"},
	} {
		for _, keep := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s keep %t", name, keep), func(t *testing.T) {
				s := newSite(t, map[string]string{"a.yaml": promising, "b.yaml": minimal("b", "a"), "c.yaml": minimal("c")})
				s.builder.KeepFailed = keep
				if c.script.Log == "" {
					c.script.Log = "one\ntwo\x1b[1m\n"
				}
				s.runner.Scripts["a"] = c.script
				p := s.plan("b")
				status, err := s.realize(t.Context(), p, Options{})
				var f *Failure
				if !errors.As(err, &f) || status != "a failed, b skipped" {
					t.Fatalf("%s, %v", status, err)
				}
				if f.Kind != c.kind || !strings.HasPrefix(f.Reason, c.reason) || strings.Contains(f.Error(), "\n") ||
					c.script.Result.Exit != 0 && f.Exit != c.script.Result.Exit {
					t.Errorf("failure %+v", f)
				}
				if name != "log" && !slices.Equal(f.LogTail, []string{"one", `two\x1b[1m`}) || len(f.LogTail) > tailLines {
					t.Errorf("tail %q", f.LogTail)
				}
				a := p.Targets[0].Dependencies[0].ID
				records, err := s.store.Records(a)
				if err != nil || len(records) != 1 || records[0].Failure != c.kind || records[0].Message != f.Error() || records[0].Number != f.Record {
					t.Errorf("records %+v, %v", records, err)
				}
				if found, err := s.store.Realizations(a); err != nil || len(found) != 0 {
					t.Errorf("realizations %v, %v", found, err)
				}
				if (f.Kept != "") != keep || records[0].Kept != f.Kept {
					t.Fatalf("kept %q", f.Kept)
				}
				if keep {
					if info, err := os.Stat(f.Kept); err != nil || info.Mode().Perm() != 0o700 {
						t.Errorf("kept tree: %v, %v", info, err)
					}
					if _, err := os.Stat(filepath.Join(f.Kept, "out")); err != nil {
						t.Error(err)
					}
				}
				if !strings.Contains(f.Details(), "hdjail log "+a.String()) {
					t.Errorf("details %s", f.Details())
				}
			})
		}
	}
}

// TestNotStarted: what keeps a build from running is no failure of the build, and has no record.
func TestNotStarted(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "s.yaml": minimal("s") + "sources: [{sha256: " + strings.Repeat("a", 64) + "}]\n"})
	missing := &jail.Unsupported{Feature: "user namespaces"}
	s.runner.Scripts["a"] = jailtest.Script{Err: missing}
	for target, want := range map[string]string{"a": "build a: this host does not offer user namespaces", "s": "fetch sources of s: nowhere to be found"} {
		p := s.plan(target)
		_, err := s.realize(t.Context(), p, Options{})
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", target, err)
		}
		if records, _ := s.store.Records(p.Targets[0].ID); len(records) != 0 {
			t.Errorf("%s: records %v", target, records)
		}
	}
	var unrealized *Unrealized
	if _, err := s.realize(t.Context(), s.plan("a"), Options{RealizedOnly: true}); !errors.As(err, &unrealized) || unrealized.Name != "a" {
		t.Errorf("realized only: %v", err)
	}
}

func TestCancel(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "b.yaml": minimal("b", "a"), "c.yaml": minimal("c")})
	started := make(chan struct{})
	s.runner.Scripts["a"] = jailtest.Script{Started: started, Wait: make(chan struct{}), Files: map[string]string{"f": "x"}}
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	go func() {
		<-started
		cancel(interrupted)
	}()
	p := s.plan("b", "c")
	status, err := s.realize(ctx, p, Options{Jobs: 1})
	if !errors.Is(err, interrupted) || !strings.HasPrefix(status, "a failed, b skipped") {
		t.Errorf("%s, %v", status, err)
	}
	for _, step := range p.Steps {
		records, err := s.store.Records(step.ID)
		if ran := step.Derivation.Name != "b"; err != nil || len(records) > 0 && !ran || step.Derivation.Name == "a" && (len(records) != 1 || records[0].Failure != "cancelled") {
			t.Errorf("records of %s: %v, %v", step.Name(), records, err)
		}
	}
	if _, err := s.builder.Realize(ctx, p, Options{}); !errors.Is(err, interrupted) {
		t.Errorf("cancelled before it began: %v", err)
	}
}

// TestRace: two builders of one store, as two processes would be, build one derivation: one runs it, the other waits
// and takes the result.
func TestRace(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a")})
	started, finish := make(chan struct{}), make(chan struct{})
	s.runner.Scripts["a"] = jailtest.Script{Started: started, Wait: finish, Files: map[string]string{"f": "x"}}
	p := s.plan("a")
	waiting := make(chan struct{})
	other := *s.builder
	other.Events = EventFunc(func(e Event) {
		if strings.HasPrefix(e.Text, "waiting for") {
			close(waiting)
		}
	})
	type outcome struct {
		results []Result
		err     error
	}
	first, second := make(chan outcome, 1), make(chan outcome, 1)
	go func() {
		results, err := s.builder.Realize(t.Context(), p, Options{})
		first <- outcome{results, err}
	}()
	<-started
	go func() {
		results, err := other.Realize(t.Context(), s.plan("a"), Options{})
		second <- outcome{results, err}
	}()
	<-waiting
	close(finish)
	a, b := <-first, <-second
	if a.err != nil || b.err != nil || a.results[0].Cached || !b.results[0].Cached || len(s.runner.Runs()) != 1 {
		t.Errorf("%+v %+v, %d runs", a, b, len(s.runner.Runs()))
	}
	if a.results[0].Realizations[0].ID != b.results[0].Realizations[0].ID {
		t.Error("they have two realizations")
	}
}
