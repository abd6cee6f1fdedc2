package plan

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/build/spec"
)

func TestLoadGraph(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml":     minimal("a", "sub/b.yaml", "sub/../c.yaml"),
		"sub/b.yaml": minimal("b", "../c.yaml", "../link.yaml"),
		"c.yaml":     minimal("c"),
		"alone.yaml": minimal("alone"),
	})
	if err := errors.Join(os.Symlink("c.yaml", filepath.Join(dir, "link.yaml")), os.Symlink("sub", filepath.Join(dir, "alias"))); err != nil {
		t.Fatal(err)
	}
	g, err := load(t, dir, "a.yaml", "alias/b.yaml", dir+"/sub/b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range g.Nodes {
		order = append(order, n.Spec.Name)
	}
	if got := strings.Join(order, " "); got != "c b a" {
		t.Errorf("nodes %s; want each file once, dependencies first", got)
	}
	if g.Targets[0].Spec.Name != "a" || g.Targets[1] != g.Targets[2] || g.Targets[1] != g.Targets[0].Dependencies[0] {
		t.Errorf("targets %v", g.Targets)
	}
	if shown := g.Targets[1].Spec.File; shown != "alias/b.yaml" && shown != "sub/b.yaml" {
		t.Errorf("b is shown as %q", shown)
	}
}

func TestLoadGraphErrors(t *testing.T) {
	dir := write(t, map[string]string{
		"ref.yaml":   minimal("a", "sub/b.yaml", "sub/none.yaml"),
		"sub/b.yaml": minimal("b"),
		"bad.yaml":   minimal("a", "broken.yaml"), "broken.yaml": "hdjail: 1\nnam: x\n",
		"dirdep.yaml": minimal("a", "sub"),
		"nodir.yaml":  minimal("a", "none/b.yaml"),
		"x.yaml":      minimal("x", "sub/y.yaml"), "sub/y.yaml": minimal("y", "b.yaml", "../z.yaml"), "z.yaml": minimal("z", "x.yaml"),
		"into.yaml": minimal("into", "x.yaml"),
		"self.yaml": minimal("self", "self.yaml"),
		"id.yaml":   "hdjail: 1\nname: a\nscript: b\ndependencies: [{id: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa}]\n",
		"big.yaml":  "hdjail: 1\n" + strings.Repeat("#", spec.MaxBytes),
	})
	for file, want := range map[string]string{
		"none.yaml":   `load "none.yaml": no such file or directory`,
		"sub":         `load "sub": is no regular file`,
		"ref.yaml":    `ref.yaml:6:5: dependency "sub/none.yaml": no such file or directory`,
		"bad.yaml":    `broken.yaml:2:1: unknown key "nam"`,
		"dirdep.yaml": `dirdep.yaml:5:5: dependency "sub": is no regular file`,
		"nodir.yaml":  `nodir.yaml:5:5: dependency "none/b.yaml": no such file or directory`,
		"x.yaml":      `x.yaml:5:5: dependency cycle: x.yaml -> sub/y.yaml -> z.yaml -> x.yaml`,
		"into.yaml":   `x.yaml:5:5: dependency cycle: x.yaml -> sub/y.yaml -> z.yaml -> x.yaml`,
		"self.yaml":   `self.yaml:5:5: dependency cycle: self.yaml -> self.yaml`,
		"id.yaml":     `id.yaml:4:16: dependency "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": the store lacks it`,
		"big.yaml":    `big.yaml:1:1: spec is larger than 1048576 bytes`,
	} {
		if _, err := load(t, dir, file); err == nil || err.Error() != want {
			t.Errorf("%s: %v\nwant %s", file, err, want)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	if _, err := LoadGraph(ctx, Targets{Dir: dir, Files: []string{"ref.yaml"}}, fakeStore{}); !errors.Is(err, stop) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestByID: a derivation of the store brings its dependencies along, and keeps its identity.
func TestByID(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": minimal("a", "b.yaml"), "b.yaml": minimal("b")})
	r := newResolver()
	first := resolve(t, r, dir, "a.yaml")
	store := fakeStore{}
	for _, s := range first.Steps {
		store[s.ID] = &s.Derivation
	}
	a := first.Targets[0]
	text := fmt.Sprintf("hdjail: 1\nname: top\nscript: make\ndependencies: [{id: %s, as: X}]\n", a.ID)
	if err := os.WriteFile(filepath.Join(dir, "top.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	g, err := LoadGraph(t.Context(), Targets{Dir: dir, Files: []string{"top.yaml", "b.yaml"}, IDs: []artifact.DerivationID{a.ID}}, store)
	if err != nil {
		t.Fatal(err)
	}
	p, err := r.Resolve(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	if got := sortedNames(p); got != "a b top" { // b came as a file and by ID
		t.Errorf("steps %s", got)
	}
	if p.Targets[2].ID != a.ID || p.Targets[2].Policy.Name != "default" || p.Targets[2].Mode != "hide" {
		t.Errorf("target by ID: %+v", p.Targets[2])
	}
	if d := p.Targets[0].Derivation.Dependencies; d[0].ID != a.ID || d[0].As != "X" {
		t.Errorf("dependency by ID: %+v", d)
	}
	delete(store, first.Steps[0].ID)
	if _, err := LoadGraph(t.Context(), Targets{IDs: []artifact.DerivationID{a.ID}}, store); err == nil {
		t.Error("a derivation whose dependency the store lacks was loaded")
	}
}

// TestDeepChain: depth costs neither stack nor quadratic time.
func TestDeepChain(t *testing.T) {
	files := map[string]string{"0.yaml": minimal("n0")}
	const depth = 2000
	for i := 1; i < depth; i++ {
		files[fmt.Sprintf("%d.yaml", i)] = minimal(fmt.Sprintf("n%d", i), fmt.Sprintf("%d.yaml", i-1))
	}
	p := resolve(t, newResolver(), write(t, files), fmt.Sprintf("%d.yaml", depth-1))
	if len(p.Steps) != depth || p.Steps[0].Derivation.Name != "n0" {
		t.Errorf("%d steps, first %s", len(p.Steps), p.Steps[0].Derivation.Name)
	}
}
