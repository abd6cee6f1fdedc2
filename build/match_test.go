package build

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/plan"
	"hdjail/jail"
	"hdjail/jail/jailtest"
)

// TestDiamond: two dependants of one derivation that was built twice are never brought together with different results, whatever
// each was built with before.
func TestDiamond(t *testing.T) {
	s := newSite(t, map[string]string{"x.yaml": minimal("x"), "b.yaml": minimal("b", "x"), "c.yaml": minimal("c", "x"), "a.yaml": minimal("a", "b", "c")})
	runs := 0
	s.runner.Scripts["x"] = jailtest.Script{Do: func(c jail.Config) error {
		runs++
		return os.WriteFile(filepath.Join(c.Scratch.Out(), "f"), []byte{byte('0' + runs)}, 0o644)
	}}
	s.expect(s.plan("b"), Options{}, "b built, x built")
	p := s.plan("c")
	p.Steps[0].Matcher = matcher(t, "latest")
	_, err := s.realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{p.Steps[0].ID: true}})
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.store.Realizations(p.Steps[0].ID)
	if err != nil || len(all) != 2 {
		t.Fatalf("realizations %v, %v", all, err)
	}
	// b was built with one of x, and c with the other one: whichever is chosen, the other dependant is built again.
	for i, want := range []string{"a built, b cached, c built, x cached", "a built, b built, c cached, x cached"} {
		p := s.plan("a")
		p.Steps[0].Matcher = matcher(t, "exact:"+s.first(all, i).String())
		s.expect(p, Options{}, want)
	}
	p = s.plan("a")
	if _, err := s.realize(t.Context(), p, Options{}); !errors.As(err, new(*match.ManyError)) {
		t.Errorf("only, with two results: %v", err)
	}
	p.Steps[0].Matcher = matcher(t, "all")
	var several *SeveralError
	if _, err := s.realize(t.Context(), p, Options{}); !errors.As(err, &several) || several.Dependency != "x" || len(several.IDs) != 2 {
		t.Errorf("all of x, and nobody says many: %v", err)
	}
}

// TestUnsatisfied: a matcher is asked once more after the builds, and no third time.
func TestUnsatisfied(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a")})
	p := s.plan("a")
	p.Steps[0].Matcher = matcher(t, "some(3)")
	var e *UnsatisfiedError
	if _, err := s.realize(t.Context(), p, Options{}); !errors.As(err, &e) || len(e.Built) != 3 || e.Need != 2 || len(s.runner.Runs()) != 3 {
		t.Fatalf("%v after %d runs", err, len(s.runner.Runs()))
	}
	if want := "realize a: matcher some(3) wants 2 more after 3 runs, which gave 1 distinct result"; e.Error() != want || len(e.Details()) != 3 {
		t.Errorf("%v, %v; want %s", e, e.Details(), want)
	}
}

// TestUnselected: a build whose result is not selected is told of, and no error.
func TestUnselected(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a")})
	p := s.plan("a")
	s.runner.Scripts["a"] = jailtest.Script{Files: map[string]string{"score": "2\n"}}
	s.expect(p, Options{}, "a built")
	s.runner.Scripts["a"] = jailtest.Script{Files: map[string]string{"score": "1\n"}}
	p.Steps[0].Matcher = matcher(t, "best(score)")
	results, err := s.builder.Realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{p.Steps[0].ID: true}})
	if err != nil || !results[0].Unselected() || slices.Contains(results[0].Built, results[0].Realizations[0].ID) {
		t.Errorf("%+v, %v", results, err)
	}
}

// TestAbsent: an ID that is no candidate is told why.
func TestAbsent(t *testing.T) {
	s := newSite(t, map[string]string{"x.yaml": minimal("x"), "b.yaml": minimal("b", "x"), "c.yaml": minimal("c")})
	s.expect(s.plan("b", "c"), Options{}, "b built, c built, x built")
	p := s.plan("b")
	x, b := p.Steps[0], p.Steps[1]
	oldX, oldB := s.only(x), s.only(b)
	s.runner.Scripts["x"] = jailtest.Script{Files: map[string]string{"f": "y"}}
	x.Matcher = matcher(t, "latest")
	if _, err := s.realize(t.Context(), p, Options{Rebuild: map[artifact.DerivationID]bool{x.ID: true}}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		strings.Repeat("7", 32): "the store has no such realization",
		b.ID.String():           "it is the ID of a derivation, and a realization is wanted",
		oldX.String():           "it is a realization of another derivation, " + x.ID.String() + " of x",
		oldB.String():           "it was built in another context: with [" + oldX.String() + "] of x, and this plan has [",
	} {
		b.Matcher = matcher(t, "exact:"+id)
		var absent *match.AbsentError
		if _, err := s.realize(t.Context(), p, Options{}); !errors.As(err, &absent) || !strings.HasPrefix(absent.Reason, want) {
			t.Errorf("%s: %v, want %s", id, err, want)
		}
	}
}

// first is the realization with the i-th oldest record.
func (s *site) first(all []artifact.Realization, i int) artifact.RealizationID {
	s.t.Helper()
	sorted := slices.SortedFunc(slices.Values(all), func(a, b artifact.Realization) int { return a.Records[0].Number - b.Records[0].Number })
	return sorted[i].ID
}

// only is the one realization of a step.
func (s *site) only(step *plan.Step) artifact.RealizationID {
	s.t.Helper()
	all, err := s.store.Realizations(step.ID)
	if err != nil || len(all) != 1 {
		s.t.Fatalf("realizations %v, %v", all, err)
	}
	return all[0].ID
}

// matcher parses the text of one.
func matcher(t testing.TB, text string) match.Matcher {
	t.Helper()
	m, err := match.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
