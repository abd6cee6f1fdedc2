package build

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/jail"
	"hdjail/jail/jailtest"
	"hdjail/mounts"
)

// TestParallel: independent builds run at the same time, as many as asked for, and share the processors.
func TestParallel(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "b.yaml": minimal("b"), "c.yaml": minimal("c", "a", "b")})
	a, b := make(chan struct{}), make(chan struct{})
	files := map[string]string{"f": "x"}
	s.runner.Scripts["a"] = jailtest.Script{Started: a, Wait: b, Files: files} // each waits for the other
	s.runner.Scripts["b"] = jailtest.Script{Started: b, Wait: a, Files: files}
	s.expect(s.plan("c"), Options{Jobs: 2, CPUs: 9}, "a built, b built, c built")
	jobs := map[string]string{}
	for _, c := range s.runner.Runs() {
		i := slices.IndexFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "JOBS=") })
		jobs[c.Name] = c.Env[i]
	}
	if jobs["a"] != "JOBS=4" || jobs["b"] != "JOBS=4" || jobs["c"] != "JOBS=9" {
		t.Errorf("jobs %v", jobs)
	}
}

// TestKeepGoing: a failure stops what depends on it, and without --keep-going everything that has not started.
func TestKeepGoing(t *testing.T) {
	specs := map[string]string{"top.yaml": minimal("top", "mid", "good2"), "mid.yaml": minimal("mid", "bad"), "bad.yaml": minimal("bad"),
		"good.yaml": minimal("good"), "good2.yaml": minimal("good2", "good"), "cached.yaml": minimal("cached")}
	for _, keepGoing := range []bool{false, true} {
		s := newSite(t, specs)
		s.runner.Scripts["bad"] = jailtest.Script{Result: jail.Result{Exit: 1}}
		s.expect(s.plan("cached"), Options{}, "cached built")
		status, err := s.realize(t.Context(), s.plan("top", "cached"), Options{Jobs: 1, KeepGoing: keepGoing})
		var f *Failure
		if !errors.As(err, &f) || f.Name != "bad" {
			t.Errorf("keep going %t: %v", keepGoing, err)
		}
		// Without --keep-going good was built only if it came first.
		want := []string{"bad failed, cached cached, good built, good2 skipped, mid skipped, top skipped",
			"bad failed, cached cached, good skipped, good2 skipped, mid skipped, top skipped"}
		if keepGoing {
			want = []string{"bad failed, cached cached, good built, good2 built, mid skipped, top skipped"}
		}
		if !slices.Contains(want, status) {
			t.Errorf("keep going %t: %s", keepGoing, status)
		}
		if keepGoing {
			results, _ := s.builder.Realize(t.Context(), s.plan("top"), Options{KeepGoing: true})
			for _, r := range results {
				if r.Err != nil && !strings.Contains(r.Err.Error(), "build bad ended with exit status 1") {
					t.Errorf("%s: %v does not tell the original error", r.Step.Name(), r.Err)
				}
			}
		}
	}
}

// TestContext: a dependency with another result makes its dependants build again, each in its own context; going back
// builds nothing.
func TestContext(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "b.yaml": minimal("b", "a")})
	p := s.plan("b")
	s.expect(p, Options{}, "a built, b built")
	a, b := p.Steps[0], p.Steps[1]
	s.runner.Scripts["a"] = jailtest.Script{Files: map[string]string{"f": "y"}}
	_, err := s.realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{a.ID: true}})
	if err == nil || !strings.Contains(err.Error(), "there are 2 realizations") {
		t.Errorf("two different results: %v", err)
	}
	all, err := s.store.Realizations(a.ID)
	if err != nil || len(all) != 2 {
		t.Fatalf("realizations %v, %v", all, err)
	}
	for range 2 {
		for _, r := range all {
			a.Matcher = matcher(t, "exact:"+r.ID.String())
			if _, err := s.realize(t.Context(), p, Options{}); err != nil {
				t.Error(err)
			}
		}
	}
	if found, err := s.store.Realizations(b.ID); err != nil || len(found) != 2 {
		t.Errorf("realizations of b: %v, %v; want one in each context", found, err)
	}
	if n := len(s.runner.Runs()); n != 4 { // a b, a again, b again
		t.Errorf("%d runs: %v", n, s.order())
	}
}

func TestCheckPromise(t *testing.T) {
	dir := t.TempDir()
	dep := filepath.Join(dir, "dep")
	out := filepath.Join(dir, "out")
	for name, content := range map[string]string{"dep/lib/z": "z", "out/bin/a": "a", "out/lib/deep/b": "b"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{
		"rel": "bin/a", "abs": "/s/store/me/bin/a", "dir": "lib/deep", "up": "lib/deep/../../bin/a", "self": "self", "dangling": "none",
		"passwd": "/etc/passwd", "escape": "../../../etc/passwd", "dep": "/s/store/dep/lib/z", "sibling": "../dep/lib/z", "gone": "../dep/lib/none",
		"prefix": "/s/store/me-too/x", "many": "/s/store/models/x", "fine": "./lib//deep/./b", "out": "/s/store/me",
	} {
		if err := os.Symlink(target, filepath.Join(out, link)); err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(out)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	closure := []jailplan.Dependency{{Public: "/s/store/dep", Outs: []string{dep}}, {Public: "/s/store/models", Many: true, Outs: []string{dep}}}
	for promise, want := range map[string]string{
		"bin/a": "", "bin": "", "rel": "", "abs": "", "dir/b": "", "up": "", "dep": "", "sibling": "", "fine": "", "out/bin/a": "",
		"none": "no such file or directory", "dangling": "no such file or directory", "dir/c": "no such file or directory",
		"bin/a/x": "not a directory", "self": "too many levels of symbolic links",
		"passwd": "is a link to /etc/passwd, outside the output and its dependencies",
		"escape": "is a link to /etc/passwd, outside the output and its dependencies",
		"gone":   "no such file or directory",
		"prefix": "is a link to /s/store/me-too/x, outside the output and its dependencies",
		"many":   "is a link to /s/store/models/x, outside the output and its dependencies",
	} {
		g, got := newGrove(root, "/s/store/me", closure), ""
		if err := g.check(artifact.Exists(promise)); err != nil {
			got = err.Error()
		}
		g.close()
		if got != want {
			t.Errorf("%s: %q, want %q", promise, got, want)
		}
	}
}

func TestLogWriter(t *testing.T) {
	var file bytes.Buffer
	var lines []string
	l := &logWriter{file: &file, lines: func(text string) { lines = append(lines, text) }}
	for _, chunk := range []string{"a", "b\nc", "", "d\ne\n", strings.Repeat("x", 2*longestLine), strings.Repeat("y", 10), "\n", "end"} {
		if n, err := l.Write([]byte(chunk)); n != len(chunk) || err != nil {
			t.Fatalf("wrote %d of %d, %v", n, len(chunk), err)
		}
	}
	l.flush()
	l.flush()
	whole := strings.Join(lines, "")
	if whole != file.String() || int64(file.Len()) != l.written {
		t.Errorf("lines %.60q, file %.60q, %d bytes", whole, file.String(), l.written)
	}
	if got := l.last(); len(got) < 4 || got[0] != "ab" || got[1] != "cd" || got[len(got)-1] != "end" || len(got[3]) > longestLine {
		t.Errorf("tail %.100q", got)
	}
	for i := range 3 * tailLines {
		fmt.Fprintf(l, "%d\n", i)
	}
	if got := l.last(); len(got) != tailLines || got[0] != fmt.Sprint(2*tailLines) || got[tailLines-1] != fmt.Sprint(3*tailLines-1) {
		t.Errorf("tail %q", got)
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"plain ä\t→": "plain ä\t→", "\x1b[2Jx": `\x1b[2Jx`, "a\rb\r": `a\x0db`, "\xff\xfe": `\xff\xfe`, "\u202etxt": `\u202etxt`,
		"\u009b1m": `\x9b1m`, "\U000e0001": `\ue0001`, "bell\a": `bell\x07`,
	} {
		if got := printable(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestEvents(t *testing.T) {
	var b bytes.Buffer
	w := NewEventWriter(&b)
	exit := 3
	w.Send(Event{Version: 1, Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Event: "build.phase", Drv: "d", Name: "n", Phase: "run"})
	w.Send(Event{Version: 1, Event: "done", Exit: &exit, Text: "\xff\n"})
	want := `{"v":1,"time":"2026-01-02T03:04:05Z","event":"build.phase","drv":"d","name":"n","phase":"run"}` + "\n" +
		`{"v":1,"time":"0001-01-01T00:00:00Z","event":"done","text":"\ufffd\n","exit":3}` + "\n"
	if b.String() != want || w.Err() != nil {
		t.Errorf("%s, %v", b.String(), w.Err())
	}
	full := NewEventWriter(&failing{})
	full.Send(Event{})
	full.Send(Event{})
	if full.Err() == nil || full.Err().Error() != "write 1" {
		t.Errorf("error %v, want the first one", full.Err())
	}
}

type failing struct{ n int }

func (f *failing) Write([]byte) (int, error) {
	f.n++
	return 0, fmt.Errorf("write %d", f.n)
}

// TestStream: the events of a plan are what a progress view needs, each one line of JSON.
func TestStream(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a"), "b.yaml": minimal("b", "a")})
	var b bytes.Buffer
	s.builder.Events = NewEventWriter(&b)
	p := s.plan("b")
	s.expect(p, Options{}, "a built, b built")
	var events []Event
	for line := range strings.Lines(b.String()) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if e.Version != EventVersion || e.Time.IsZero() {
			t.Errorf("event %s", line)
		}
		events = append(events, e)
	}
	if events[0].Event != "plan" || events[0].Total != 2 || events[1].Event != "step" || events[1].Name != "a" || events[1].Target ||
		!events[2].Target || !slices.Equal(events[2].Dependencies, []string{p.Steps[0].ID.String()}) {
		t.Errorf("plan %+v", events[:3])
	}
	last := events[len(events)-1]
	if last.Status != "built" || last.Name != "b" || last.Seconds <= 0 || last.Path == "" || last.Realization == "" {
		t.Errorf("last %+v", last)
	}
}

// TestHostModes: in mode log the host is shown, but no home and no secret.
func TestHostModes(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a") + "mode: log\n"})
	s.builder.Home = filepath.Join(s.dir, "home")
	if err := os.MkdirAll(filepath.Join(s.builder.Home, ".ssh"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.expect(s.plan("a"), Options{}, "a built")
	c := s.runner.Runs()[0]
	targets := map[string]string{}
	for _, e := range c.Mounts.Entries {
		targets[e.Target] = string(e.Kind) + " " + e.Source
		if mounts.Below(s.builder.Home, e.Target) || e.Target == s.builder.Home {
			t.Errorf("shows %+v", e)
		}
	}
	if targets["/etc"] != "bind /etc" || targets[s.dir] != "skeleton " || targets["/etc/shadow"] == "bind /etc/shadow" {
		t.Errorf("mounts %v", targets)
	}
}

// TestShell: a visit has what the build would have, and leaves nothing behind.
func TestShell(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a", "b"), "b.yaml": minimal("b", "c"), "c.yaml": minimal("c")})
	p := s.plan("a")
	a := p.Targets[0]
	s.runner.Scripts["a"] = jailtest.Script{Result: jail.Result{Exit: 7}, Files: map[string]string{"f": "x"}}
	result, err := s.builder.Shell(t.Context(), p, a, Shell{Term: "xterm", Stdout: &bytes.Buffer{}, Terminal: true})
	if err != nil || result.Exit != 7 {
		t.Fatalf("%+v, %v", result, err)
	}
	c := s.runner.Runs()[2]
	if !slices.Equal(s.order(), []string{"c", "b", "a"}) || !slices.Equal(c.Args, []string{"/bin/sh", "-i"}) || !c.Terminal ||
		!slices.Contains(c.Env, "TERM=xterm") || c.Limits.Wall != 0 {
		t.Errorf("ran %v, %+v", s.order(), c)
	}
	for _, step := range p.Steps[:2] {
		public := s.store.PublicPath(&step.Derivation)
		if !slices.ContainsFunc(c.Mounts.Entries, func(e mounts.Entry) bool { return e.Target == public }) {
			t.Errorf("the visit does not see %s", step.Name())
		}
	}
	if found, err := s.store.Realizations(a.ID); err != nil || len(found) != 0 {
		t.Errorf("realizations %v, %v", found, err)
	}
	if _, err := s.builder.Shell(t.Context(), p, a, Shell{Command: []string{"/bin/true"}, Stdout: &bytes.Buffer{}}); err != nil {
		t.Error(err)
	}
	kept := t.TempDir()
	for _, dir := range []string{"build", "out"} {
		if err := os.Mkdir(filepath.Join(kept, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.builder.Shell(t.Context(), p, a, Shell{Kept: kept, Command: []string{"/bin/true"}, Stdout: &bytes.Buffer{}}); err != nil {
		t.Error(err)
	}
	for _, dir := range []string{"build", "out"} {
		if !slices.ContainsFunc(s.runner.Runs()[4].Mounts.Entries, func(e mounts.Entry) bool { return e.Source == filepath.Join(kept, dir) }) {
			t.Errorf("the visit does not see %s of the failed build", dir)
		}
	}
	if last := s.runner.Runs()[3]; !slices.Equal(last.Args, []string{"/bin/true"}) || len(s.runner.Runs()) != 5 {
		t.Errorf("ran %v", s.order())
	}
}
