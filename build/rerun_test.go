package build

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

// rerunOf builds a site's one spec and returns what is there, and how to run it again.
func rerunOf(t *testing.T, s *site, spec string) (artifact.Realization, func(Rerun) (Reran, error)) {
	t.Helper()
	p := s.plan(spec)
	results, err := s.builder.Realize(context.Background(), p, Options{})
	if err != nil {
		t.Fatal(err)
	}
	chosen := map[artifact.DerivationID][]artifact.RealizationID{}
	for _, r := range results {
		chosen[r.Step.ID] = identities(r.Realizations)
	}
	target := p.Targets[0]
	return results[target.Index].Realizations[0], func(o Rerun) (Reran, error) {
		task, err := s.builder.TaskOf(p, target, chosen)
		if err != nil {
			t.Fatal(err)
		}
		return s.builder.Rerun(context.Background(), task, o)
	}
}

func TestRerun(t *testing.T) {
	s := newSite(t, map[string]string{"lib.yaml": minimal("lib"), "app.yaml": minimal("app", "lib")})
	first, rerun := rerunOf(t, s, "app")
	vary := jail.Vary{Hostname: "check-1", CPUs: []int{0}, SkipPIDs: 7}
	again, err := rerun(Rerun{Vary: vary, Reorder: 1, Expected: first.Tree, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if again.Realization.ID != first.ID || again.Record.Purpose != "check" || again.Record.Number != 2 || again.Kept != "" {
		t.Errorf("the same tree is realization %s, record %+v, kept %q; want %s", again.Realization.ID, again.Record, again.Kept, first.ID)
	}
	runs := s.runner.Runs()
	if last := runs[len(runs)-1]; last.Vary.Hostname != "check-1" || last.Vary.SkipPIDs != 7 || runs[0].Vary.Hostname != "" {
		t.Errorf("varied: %+v, and before: %+v", last.Vary, runs[0].Vary)
	}

	s.runner.Scripts["app"] = jailtest.Script{Files: map[string]string{"f": "another"}}
	elsewhere := t.TempDir()
	other, err := rerun(Rerun{Expected: first.Tree, Scratch: elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	if other.Realization.ID == first.ID || !other.Realization.Context.Equal(first.Context) {
		t.Errorf("another tree is realization %+v", other.Realization)
	}
	runs = s.runner.Runs()
	if dir := runs[len(runs)-1].Scratch.Dir; !strings.HasPrefix(dir, elsewhere+"/hdjail-check-") {
		t.Errorf("the scratch was %s", dir)
	}
	if left, _ := os.ReadDir(elsewhere); len(left) > 0 {
		t.Errorf("left elsewhere: %v", left)
	}
	results, err := s.builder.Realize(context.Background(), s.plan("app"), Options{})
	if err != nil || len(results) != 2 || !results[1].Cached || results[1].Realizations[0].ID != first.ID {
		t.Errorf("after the check: %+v, %v", results, err)
	}
}

func TestRerunKeepsWhatDiffers(t *testing.T) {
	s := newSite(t, map[string]string{"app.yaml": minimal("app")})
	first, rerun := rerunOf(t, s, "app")
	s.runner.Scripts["app"] = jailtest.Script{Files: map[string]string{"f": "another"}, Do: func(c jail.Config) error {
		return os.WriteFile(c.Scratch.Build()+"/trace", nil, 0o644)
	}}
	other, err := rerun(Rerun{Expected: first.Tree, Keep: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(other.Kept + "/build/trace"); err != nil {
		t.Errorf("kept %q: %v", other.Kept, err)
	}
}

func TestRerunThatFails(t *testing.T) {
	s := newSite(t, map[string]string{"app.yaml": minimal("app")})
	_, rerun := rerunOf(t, s, "app")
	s.runner.Scripts["app"] = jailtest.Script{Result: jail.Result{Exit: 3}}
	_, err := rerun(Rerun{})
	var failure *Failure
	if !errors.As(err, &failure) || failure.Record != 2 {
		t.Fatalf("error %v", err)
	}
	records, err := s.store.Records(s.plan("app").Targets[0].ID)
	if err != nil || len(records) != 2 || records[1].Purpose != "check" || records[1].Failure != "exit" {
		t.Errorf("records %+v, %v", records, err)
	}
}

func TestTaskOfWantsEveryDependency(t *testing.T) {
	s := newSite(t, map[string]string{"lib.yaml": minimal("lib"), "app.yaml": minimal("app", "lib")})
	p := s.plan("app")
	var missing *Unrealized
	if _, err := s.builder.TaskOf(p, p.Targets[0], nil); !errors.As(err, &missing) {
		t.Errorf("error %v, want that lib is not realized", err)
	}
}
