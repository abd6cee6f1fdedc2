package plan

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/lens"
	"hdjail/build/spec"
)

var chain = map[string]string{
	"leaf.yaml": "hdjail: 1\nname: leaf\nversion: 1.10\npromises: [lib/x.so, 'bin/$']\nenvironment: {A: '$$${self.out}'}\nscript: make\n",
	"mid.yaml":  minimal("mid", "leaf.yaml"),
	"many.yaml": minimal("many"),
	"top.yaml": `hdjail: 1
name: top
version: ${dep.MID.dep.LEAF.spec.version}
dependencies: [{spec: mid.yaml}, {spec: many.yaml, many: true}]
interpreter: ["${dep.MID.out}/sh", "$$", "-o=${self.out}"]
sources: [{sha256: ` + strings.Repeat("a", 64) + `, target: "x-${dep.MID.spec.name}"}]
promises: ["lib/${dep.MID.dep.LEAF.spec.name}-$$x"]
environment:
  PLAIN: $HOME ${dep.MANY.spec.name}
  DOLLAR: $$ $${x} $$$
  SELF: ${self.out}/x
  DEEP: ${dep.MID.dep.LEAF.promise:lib/x.so}:${dep.MID.dep.LEAF.promise:bin/$}
  COPIED: ${dep.MID.dep.LEAF.spec.environment.A}
  LATER: <${dep.MID.dep.LEAF.json.x:a.b}>
script: make $${x} ${self.out} ${nonsense
`}

func TestReferences(t *testing.T) {
	p := resolve(t, newResolver(), write(t, chain), "top.yaml")
	top := p.Targets[0]
	d := top.Derivation
	byName := map[string]*Step{}
	for _, s := range p.Steps {
		byName[s.Derivation.Name] = s
	}
	leaf, mid := byName["leaf"].Derivation.PublicPath(), byName["mid"].Derivation.PublicPath()
	want := map[string]string{"PLAIN": "$HOME many", "DOLLAR": "$ $${x} $$$", "SELF": "${self.out}/x", "DEEP": leaf + "/lib/x.so:" + leaf + "/bin/$",
		"COPIED": "$" + leaf, "LATER": "<${dep.MID.dep.LEAF.json.x:a.b}>"}
	if diff := cmp.Diff(want, d.Environment); diff != "" {
		t.Errorf("environment (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{mid + "/sh", "$", "-o=${self.out}"}, d.Interpreter); diff != "" {
		t.Errorf("interpreter (-want +got):\n%s", diff)
	}
	if d.Version != "1.10" || d.Sources[0].Target != "x-mid" || d.Promises[0] != artifact.Exists("lib/leaf-$x") || d.Script != "make $${x} ${self.out} ${nonsense" {
		t.Errorf("%s, %v, %v, %q", d.Version, d.Sources, d.Promises, d.Script)
	}
	dependencies := []artifact.Dependency{{ID: byName["mid"].ID, As: "MID"}, {ID: byName["many"].ID, As: "MANY", Many: true}, {ID: byName["leaf"].ID}}
	if diff := cmp.Diff(dependencies, d.Dependencies); diff != "" {
		t.Errorf("dependencies (-want +got):\n%s", diff)
	}
	for i, dep := range top.Dependencies {
		if dep.ID != d.Dependencies[i].ID || dep != p.Steps[dep.Index] {
			t.Errorf("step of dependency %d is %s", i, dep.Name())
		}
	}
	if top.ID != d.ID() {
		t.Error("the ID is of something else")
	}
	if p.Targets[0].Spec.Version != "${dep.MID.dep.LEAF.spec.version}" {
		t.Errorf("the spec was changed: %q", p.Targets[0].Spec.Version)
	}
}

// TestReferenceIdentity: what a template stands for enters the ID, and not how it is written.
func TestReferenceIdentity(t *testing.T) {
	dir := write(t, chain)
	first := resolve(t, newResolver(), dir, "top.yaml").Targets[0]
	for _, change := range []struct {
		old, new string
		same     bool
	}{
		{"$$ $${x} $$$", "$$ $${x} $$$$", true}, // a dollar sign at the end is one whether it is doubled or not
		{"$$ $${x} $$$", "$ $${x} $$$", true},
		{"$HOME ${dep.MANY.spec.name}", "$HOME many", true},
		{"$$ $${x} $$$", "$$ $${x} $$", false},
		{"LATER: <", "LATER: (", false},
		{"${self.out}/x", "${self.out}/y", false},
	} {
		text := strings.Replace(chain["top.yaml"], change.old, change.new, 1)
		if err := os.WriteFile(filepath.Join(dir, "other.yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if other := resolve(t, newResolver(), dir, "other.yaml").Targets[0]; (other.ID == first.ID) != change.same {
			t.Errorf("%s for %s: %q", change.new, change.old, other.Derivation.Environment)
		}
	}
}

func TestReferenceErrors(t *testing.T) {
	for text, want := range map[string]string{ // in place of `version: …`
		"version: ${dep.MID.dep.LEAF.spec.nam}":             `3:10: reference "${dep.MID.dep.LEAF.spec.nam}": there is no key "nam" at the top`,
		"version: a-${dep.MUD.spec.name}":                   `3:12: reference "${dep.MUD.spec.name}": top has no dependency MUD`,
		"version: ${dep.MID.spec.environment}":              `3:10: reference "${dep.MID.spec.environment}": there is no key "environment" at the top`,
		"version: ${dep.MID.dep.LEAF.spec.promises}":        `3:10: reference "${dep.MID.dep.LEAF.spec.promises}": it is a list, and no scalar`,
		"version: ${dep.MID.out}":                           `3:10: "/s/store/ID-mid" is no valid name`,
		"version: ${self.out}":                              `3:10: reference "${self.out}": the path is known only when this spec is resolved`,
		"version: ${dep.MID.text.x}":                        `3:10: reference "${dep.MID.text.x}": it is known only when the dependency is built`,
		"version: ${dep.MID}":                               `3:10: reference "${dep.MID}": it is a build, and no value`,
		"version: ${dep.MID.out":                            `3:10: reference "${dep.MID.out}": it has no end`,
		"promises: [a, '${dep.MID.promise:x}']":             `3:16: reference "${dep.MID.promise:x}": mid does not promise "x"`,
		"promises: [a, '${dep.MID.out}']":                   `3:15: promise "/s/store/ID-mid" is absolute`,
		"promises: [a, 'x/${dep.MID.spec.name}/../$$']":     `3:15: promise "x/mid/../$" has a ` + "`..`",
		"interpreter: ${dep.MID.dep.LEAF.spec.name} x":      `3:14: interpreter "leaf" is not an absolute path`,
		"interpreter: [/bin/sh, '${dep.MID.text.x}']":       `3:25: reference "${dep.MID.text.x}": it is known only when the dependency is built`,
		"environment: {A: b, C: \"x ${self.spec.name}\"}":   `3:27: reference "${self.spec.name}": a spec does not ask itself`,
		"environment:\n  A: |\n    x\n    ü ${HOME} $$":     `6:7: reference "${HOME}": it begins with neither self nor dep`,
		"environment: {A: '${dep.MANY.out}'}":               `3:19: reference "${dep.MANY.out}": with many, many is not at its public path`,
		"environment: {A: '${dep.MANY.promise:x}'}":         `3:19: reference "${dep.MANY.promise:x}": with many, many is not at its public path`,
		"environment: {MID_DIR: '${dep.MID.out}'}":          `3:14: variable MID_DIR is set by the dependency MID`,
		"environment: {A: '${dep.MID.dep.LEAF.out.x}'}":     `3:19: reference "${dep.MID.dep.LEAF.out.x}": nothing follows out`,
		"environment: {A: \"a\\u0024{dep.MUD.spec.name}\"}": `3:18: reference "${dep.MUD.spec.name}": top has no dependency MUD`,
	} {
		files := map[string]string{"top.yaml": "hdjail: 1\nname: top\n" + text + "\ndependencies: [{spec: mid.yaml}, {spec: many.yaml, many: true}]\nscript: x\n"}
		for _, name := range []string{"leaf.yaml", "mid.yaml", "many.yaml"} {
			files[name] = chain[name]
		}
		dir := write(t, files)
		g, err := load(t, dir, "top.yaml")
		if err == nil {
			_, err = newResolver().Resolve(t.Context(), g)
		}
		var located *spec.Error
		if !errors.As(err, &located) {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got := strings.ReplaceAll(located.Error(), resolve(t, newResolver(), dir, "mid.yaml").Targets[0].ID.String(), "ID")
		if got != "top.yaml:"+want {
			t.Errorf("%s:\n got %s\nwant top.yaml:%s", text, got, want)
		}
		if reference := (*lens.Error)(nil); errors.As(err, &reference) && located.Help != reference.Help {
			t.Errorf("%s: help %q", text, located.Help)
		}
	}
}
