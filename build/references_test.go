package build

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/build/jailplan"
	"hdjail/build/lens"
	"hdjail/build/spec"
	"hdjail/jail/jailtest"
)

const deepSpec = `hdjail: 1
name: top
dependencies: [{spec: mid.yaml}]
interpreter: [/bin/sh, "${self.out}"]
environment: {A: "<${dep.MID.dep.LEAF.text.f}>", SELF: "${self.out}$$"}
script: x
`

// TestContentOfContext: what a reference to content stands for is that of the realization in the context, however deep, and
// another one is another context, in which the build runs again.
func TestContentOfContext(t *testing.T) {
	s := newSite(t, map[string]string{"leaf.yaml": minimal("leaf"), "mid.yaml": minimal("mid", "leaf"), "top.yaml": deepSpec})
	s.runner.Scripts["leaf"] = jailtest.Script{Files: map[string]string{"f": "one\n"}}
	p := s.plan("top")
	results, err := s.builder.Realize(t.Context(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	run := s.runner.Runs()[2]
	public := p.Targets[0].Derivation.PublicPath()
	if !slices.Contains(run.Env, "A=<one>") || !slices.Contains(run.Env, "SELF="+public+"$") || !slices.Equal(run.Args[:2], []string{"/bin/sh", public}) {
		t.Errorf("%q, %q", run.Args, run.Env)
	}
	leaf := p.Steps[0]
	if chosen := results[2].Realizations[0].Context[leaf.ID]; len(chosen) != 1 || chosen[0] != results[0].Realizations[0].ID {
		t.Errorf("the context has %v of what only a reference reaches", chosen)
	}
	// The same plan on a machine where leaf came out differently.
	other := newSite(t, map[string]string{"leaf.yaml": minimal("leaf"), "mid.yaml": minimal("mid", "leaf"), "top.yaml": deepSpec})
	other.runner.Scripts["leaf"] = jailtest.Script{Files: map[string]string{"f": "two"}}
	if _, err := other.builder.Realize(t.Context(), other.plan("top"), Options{}); err != nil || !slices.Contains(other.runner.Runs()[2].Env, "A=<two>") {
		t.Errorf("%v, %q", err, other.runner.Runs()[2].Env)
	}
}

// TestContentMissing: no run, no record, and the place in the spec.
func TestContentMissing(t *testing.T) {
	s := newSite(t, map[string]string{"leaf.yaml": minimal("leaf"), "mid.yaml": minimal("mid", "leaf"), "top.yaml": strings.Replace(deepSpec, "text.f}", "text.g}", 1)})
	p := s.plan("top")
	_, err := s.builder.Realize(t.Context(), p, Options{})
	var located *spec.Error
	if !errors.As(err, &located) || located.Line != 5 || located.Column != 20 || located.Help != `did you mean "f"?` {
		t.Errorf("%#v", err)
	}
	records, err := s.store.Records(p.Targets[0].ID)
	if len(s.runner.Runs()) != 2 || len(records) != 0 || err != nil {
		t.Errorf("%d runs, %v, %v", len(s.runner.Runs()), records, err)
	}
}

// TestContentOfMany: content is that of one realization, never of one among several.
func TestContentOfMany(t *testing.T) {
	s := newSite(t, map[string]string{"leaf.yaml": minimal("leaf"),
		"top.yaml": "hdjail: 1\nname: top\ndependencies: [{spec: leaf.yaml, many: true}]\nenvironment: {A: '${dep.LEAF.text.f}'}\nscript: x\n"})
	p := s.plan("top")
	results, err := s.builder.Realize(t.Context(), p, Options{})
	if err != nil || !slices.Contains(s.runner.Runs()[1].Env, "A=x") {
		t.Fatalf("%v, %q", err, s.runner.Runs()[1].Env)
	}
	id := results[0].Realizations[0].ID
	out := s.store.OutPath(id)
	task := Task{Step: p.Targets[0], Closure: []jailplan.Dependency{{ID: p.Steps[0].ID, Many: true, IDs: []artifact.RealizationID{id, {1}}, Outs: []string{out, out}}}}
	var wrong *lens.Error
	if _, err := task.filled(); !errors.As(err, &wrong) || !strings.Contains(wrong.Reason, "2 realizations of leaf") {
		t.Errorf("%v", err)
	}
}
