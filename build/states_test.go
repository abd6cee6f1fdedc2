package build

import (
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/lease"
	"hdjail/build/graph"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

func TestStates(t *testing.T) {
	s := newSite(t, map[string]string{"top.yaml": minimal("top", "good", "bad", "busy", "twice"), "good.yaml": minimal("good"),
		"bad.yaml": minimal("bad"), "busy.yaml": minimal("busy"), "twice.yaml": minimal("twice")})
	s.runner.Scripts["bad"] = jailtest.Script{Result: jail.Result{Exit: 1}}
	p := s.plan("top")
	want := map[string]graph.State{}
	check := func(when string) {
		t.Helper()
		states, err := s.builder.States(t.Context(), p)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range p.Steps {
			if states[i] != want[step.Name()] {
				t.Errorf("%s: %s is %s, want %s", when, step.Name(), states[i], want[step.Name()])
			}
		}
	}
	for _, step := range p.Steps {
		want[step.Name()] = graph.ToBuild
	}
	check("at first")

	for name, state := range map[string]graph.State{"good": graph.Realized, "bad": graph.Failed, "twice": graph.Realized} {
		want[name] = state
		if _, err := s.builder.Realize(t.Context(), s.plan(name), Options{}); (err != nil) != (state == graph.Failed) {
			t.Fatal(err)
		}
	}
	check("once built")

	again := s.plan("twice")
	s.runner.Scripts["twice"] = jailtest.Script{Files: map[string]string{"f": "another"}}
	if _, err := s.builder.Realize(t.Context(), again, Options{Rebuild: map[artifact.DerivationID]bool{again.Targets[0].ID: true}}); err == nil {
		t.Fatal("two results, and the matcher takes one")
	}
	want["twice"] = graph.Several
	lock, err := s.store.Lock(t.Context(), s.plan("busy").Targets[0].ID, lease.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want["busy"] = graph.Running
	check("with a second result, and a build under way")
	if err := lock.Release(); err != nil {
		t.Fatal(err)
	}
	want["busy"] = graph.ToBuild
	check("at last")
}
