package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/policies"
)

func TestResolve(t *testing.T) {
	dir := write(t, map[string]string{
		"top.yaml": `hdjail: 1
name: top
version: 1.10
sources:
  - {sha256: ` + strings.Repeat("a", 64) + `, urls: [http://x/y]}
  - {path: notes.txt, target: doc}
  - {path: data}
  - {path: a.tar, target: src}
  - {path: a.tar, unpack: none}
dependencies:
  - {spec: lib-x+.yaml}
  - {spec: 7z.yaml, many: true}
host: {packages: [make, gcc, gcc]}
environment: {A: 1}
promises: [lib/b, bin/a, lib/b]
script: make
`, "lib-x+.yaml": minimal("lib-x+"), "7z.yaml": minimal("7z"), "notes.txt": "text", "data/f": "x", "a.tar": string(make([]byte, 1024)),
	})
	r := newResolver()
	p := resolve(t, r, dir, "top.yaml", "lib-x+.yaml")
	d := p.Targets[0].Derivation
	if d.Version != "1.10" || d.Layout != jail.Layout || d.System != "x86_64-linux" || d.Prefix != "/s" {
		t.Errorf("derivation %+v", d)
	}
	var sources []string
	for _, s := range d.Sources {
		algorithm, _, _ := strings.Cut(s.Digest, ":")
		sources = append(sources, fmt.Sprintf("%s %s %t", algorithm, s.Target, s.Unpack))
	}
	want := []string{"sha256  true", "blake3 doc/notes.txt false", "tree  true", "blake3 src/a.tar false", "blake3 a.tar false"}
	if diff := cmp.Diff(want, sources); diff != "" {
		t.Errorf("sources (-want +got):\n%s", diff)
	}
	if d.Dependencies[0].As != "LIB_X_" || d.Dependencies[1].As != "_7Z" || !d.Dependencies[1].Many {
		t.Errorf("dependencies %+v", d.Dependencies)
	}
	var packages []string
	for _, h := range d.HostPackages {
		packages = append(packages, h.Name+h.Version)
	}
	if got := strings.Join(packages, " "); got != "dash1 gcc12 make4" { // dash owns the interpreter
		t.Errorf("packages %s", got)
	}
	if diff := cmp.Diff([]artifact.Promise{artifact.Exists("bin/a"), artifact.Exists("lib/b")}, d.Promises); diff != "" {
		t.Errorf("promises (-want +got):\n%s", diff)
	}
	if got := p.Targets[0].URLs[d.Sources[0].Digest]; !slices.Equal(got, []string{"http://x/y"}) {
		t.Errorf("URLs %v", got)
	}
	if d.ID() != p.Targets[0].ID || p.Targets[0].Name() != "top-1.10" || p.Targets[1].Name() != "lib-x+" {
		t.Errorf("targets %s %s", p.Targets[0].Name(), p.Targets[1].Name())
	}
	// Specs with the same packages are pinned together.
	if calls := r.Host.(*fakeHost).pinned; len(calls) != 2 {
		t.Errorf("pinned %d times: %q", len(calls), calls)
	}
	for i, s := range p.Steps {
		if s.Index != i {
			t.Errorf("step %d has the index %d", i, s.Index)
		}
	}
}

func TestResolveErrors(t *testing.T) {
	with := func(more string) string { return minimal("a") + more }
	dir := write(t, map[string]string{
		"policy.yaml":  with("policy: strict\n"),
		"package.yaml": with("host:\n  packages: [make, gcv]\n"),
		"owner.yaml":   with("interpreter: /usr/local/bin/odd\n"),
		"source.yaml":  with("sources:\n  - path: none\n"),
		"never.yaml":   with("host: {paths: [/home/u/.ssh/id]}\n"),
		"above.yaml":   with("host: {paths: [/etc]}\n"),
		"home.yaml":    with("host: {paths: [/home/u]}\n"),
		"missing.yaml": with("host: {paths: [/nonexistent/x]}\n"),
		"twice.yaml":   minimal("a", "b.yaml", "sub/b.yaml"),
		"env.yaml":     minimal("a", "b.yaml") + "environment: {B_DIR: x}\n",
		"b.yaml":       minimal("b"),
		"sub/b.yaml":   minimal("b") + "version: 2\n",
		"link.yaml":    with("host: {paths: [@/link]}\n"),
		"behind.yaml":  with("host: {paths: [@/linked/x]}\n"),
		"real/x":       "x",
	})
	if err := errors.Join(os.Symlink("real", filepath.Join(dir, "linked")), os.Symlink("real/x", filepath.Join(dir, "link"))); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"policy.yaml":  `policy.yaml:4:9: unknown policy "strict": want default`,
		"package.yaml": `package.yaml:5:20: host package "gcv" is not installed`,
		"owner.yaml":   `owner.yaml:4:14: interpreter "/usr/local/bin/odd": no installed package owns it; list it under host.paths`,
		"source.yaml":  `source.yaml:5:5: source "none": no such file or directory`,
		"never.yaml":   `never.yaml:4:16: host path "/home/u/.ssh/id": cannot be whitelisted, because /home/u/.ssh never is`,
		"above.yaml":   `above.yaml:4:16: host path "/etc": cannot be whitelisted, because /etc/munge never is`,
		"home.yaml":    `home.yaml:4:16: host path "/home/u": is or holds a home directory`,
		"missing.yaml": `missing.yaml:4:16: host path "/nonexistent/x": no such file or directory`,
		"twice.yaml":   `twice.yaml:6:5: a second dependency is called B`,
		"env.yaml":     `env.yaml:6:14: variable B_DIR is set by the dependency B`,
		"link.yaml":    `link.yaml:4:16: host path "@/link": is a symbolic link to @/real/x, which is not whitelisted`,
		"behind.yaml":  `behind.yaml:4:16: host path "@/linked/x": lies behind a symbolic link; list @/real/x`,
	} {
		text, err := os.ReadFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), []byte(strings.ReplaceAll(string(text), "@", dir)), 0o644); err != nil {
			t.Fatal(err)
		}
		g, err := load(t, dir, file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = newResolver().Resolve(t.Context(), g)
		var located *spec.Error
		if !errors.As(err, &located) || !strings.HasPrefix(located.Error(), strings.ReplaceAll(want, "@", dir)) {
			t.Errorf("%s: %v\nwant %s", file, err, want)
		}
		var missing *hostpkgs.NotInstalledError
		if file == "package.yaml" && (!errors.As(err, &missing) || located.Help != "installed are gcc") {
			t.Errorf("%s: cause %v, help %q", file, missing, located.Help)
		}
	}
}

func TestHostPaths(t *testing.T) {
	dir := write(t, map[string]string{"opt/cc/bin/cc": "compiler", "opt/lic": "licence", "opt/ccb/x": "other"})
	if err := os.Symlink("cc", filepath.Join(dir, "opt/link")); err != nil {
		t.Fatal(err)
	}
	identify := func(paths string) (list []artifact.HostPath) {
		t.Helper()
		file := filepath.Join(dir, "a.yaml")
		text := minimal("a") + "interpreter: " + dir + "/opt/cc/bin/cc\nhost: {paths: [" + strings.ReplaceAll(paths, "@", dir) + "]}\n"
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		d := resolve(t, newResolver(), dir, "a.yaml").Targets[0].Derivation
		if len(d.HostPackages) != 0 {
			t.Errorf("the interpreter is covered by a path, and %v was pinned", d.HostPackages)
		}
		return d.HostPaths
	}
	first := identify("@/opt/link, @/opt/cc, {path: @/opt/lic, id: v7}, @/opt/cc")
	if len(first) != 3 || first[0].Path != dir+"/opt/cc" || !strings.HasPrefix(first[0].Identity, "blake3:") ||
		first[1].Identity != "id:v7" || first[2].Identity != "link:"+dir+"/opt/cc" {
		t.Errorf("paths %+v", first)
	}
	if err := os.WriteFile(filepath.Join(dir, "opt/cc/bin/cc"), []byte("changed"), 0o644); err != nil {
		t.Fatal(err)
	}
	if second := identify("@/opt/cc"); second[0].Identity == first[0].Identity {
		t.Error("the content of a path changed, its identity did not")
	}
}

func TestModes(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": minimal("a", "b.yaml"), "b.yaml": minimal("b"), "l.yaml": minimal("a", "b.yaml") + "mode: log\n"})
	modes := func(file string, m policies.Mode, degraded ...string) (string, artifact.DerivationID) {
		r := newResolver()
		r.Mode, r.Degraded = m, degraded
		p := resolve(t, r, dir, file)
		return fmt.Sprint(p.Steps[0].Mode, " ", p.Steps[1].Mode), p.Targets[0].ID
	}
	_, hide := modes("a.yaml", "")
	for _, c := range []struct {
		file, want string
		mode       policies.Mode
		degraded   []string
		same       bool
	}{
		{"a.yaml", "hide hide", "", nil, true}, {"a.yaml", "fail fail", policies.ModeFail, nil, true},
		{"a.yaml", "hide log", policies.ModeLog, nil, false}, {"a.yaml", "hide off", policies.ModeOff, nil, false},
		{"l.yaml", "hide log", "", nil, false}, {"l.yaml", "hide hide", policies.ModeHide, nil, true},
		{"a.yaml", "hide hide", "", []string{"netns"}, false},
	} {
		got, id := modes(c.file, c.mode, c.degraded...)
		if got != c.want || (id == hide) != c.same {
			t.Errorf("%s with mode %q: modes %s, want %s; same identity %t, want %t", c.file, c.mode, got, c.want, id == hide, c.same)
		}
	}
}

func TestEach(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": minimal("a", "b.yaml", "c.yaml"), "b.yaml": minimal("b", "d.yaml"), "c.yaml": minimal("c", "d.yaml"),
		"d.yaml": minimal("d")})
	p := resolve(t, newResolver(), dir, "a.yaml")
	visited := make([]atomic.Bool, len(p.Steps))
	err := p.Each(t.Context(), func(s *Step) error {
		for _, dep := range s.Dependencies {
			if !visited[dep.Index].Load() {
				t.Errorf("%s before its dependency %s", s.Name(), dep.Name())
			}
		}
		visited[s.Index].Store(true)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range visited {
		if !visited[i].Load() {
			t.Errorf("%s was not visited", p.Steps[i].Name())
		}
	}
	stop := errors.New("stop")
	err = p.Each(t.Context(), func(s *Step) error {
		if s.Derivation.Name == "a" {
			t.Error("visited a step after an error below it")
		}
		if s.Derivation.Name == "d" {
			return nil
		}
		return fmt.Errorf("%s: %w", s.Name(), stop)
	})
	if want := p.Steps[1].Name() + ": stop"; err == nil || err.Error() != want {
		t.Errorf("error %v, want %s: the first in order", err, want)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if err := p.Each(ctx, func(*Step) error { return nil }); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}
