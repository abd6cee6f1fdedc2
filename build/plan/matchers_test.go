package plan

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"hdjail/artifact"
	"hdjail/artifact/match"
	"hdjail/build/spec"
)

// named is a matcher that selects nothing; only its text matters here.
type named string

func (m named) String() string { return string(m) }
func (m named) Match([]artifact.Realization, match.Facts) (match.Answer, error) {
	return match.Answer{Need: 1}, nil
}

func TestMatchers(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": minimal("a") + "dependencies: [{spec: c.yaml, match: only}, {spec: b.yaml}]\n",
		"b.yaml": minimal("b", "c.yaml"), "c.yaml": minimal("c"),
	})
	g, err := load(t, dir, "a.yaml", "b.yaml")
	if err != nil {
		t.Fatal(err)
	}
	// Each case goes on from the one before it.
	matcherOfC := func(change func(a, b, c *spec.Spec, r *Resolver)) string {
		byName := map[string]*spec.Spec{}
		for _, n := range g.Nodes {
			copied := *n.Spec
			copied.Dependencies = slices.Clone(copied.Dependencies)
			n.Spec, byName[n.Spec.Name] = &copied, &copied
		}
		r := newResolver()
		change(byName["a"], byName["b"], byName["c"], r)
		p, err := r.Resolve(t.Context(), g)
		if err != nil {
			return err.Error()
		}
		i := slices.IndexFunc(p.Steps, func(s *Step) bool { return s.Derivation.Name == "c" })
		return p.Steps[i].Matcher.String()
	}
	for _, c := range []struct {
		change func(a, b, c *spec.Spec, r *Resolver)
		want   string
	}{
		{func(a, b, c *spec.Spec, r *Resolver) { a.Dependencies[0].Match = nil }, "only"},
		{func(a, b, c *spec.Spec, r *Resolver) { c.Match = named("own") }, "own"},
		{func(a, b, c *spec.Spec, r *Resolver) { a.Dependencies[0].Match = named("dep") }, "dep"},
		{func(a, b, c *spec.Spec, r *Resolver) { b.Dependencies[0].Match = named("dep") }, "dep"},
		{func(a, b, c *spec.Spec, r *Resolver) { b.Dependencies[0].Match = named("other") },
			`matcher "dep" for c, but b.yaml wants "other"`},
		{func(a, b, c *spec.Spec, r *Resolver) {
			r.Matches = []Override{{"c", named("other")}, {"c", named("caller")}}
			b.Dependencies[0].Match = nil
		}, "caller"},
	} {
		if got := matcherOfC(c.change); !strings.HasSuffix(got, c.want) {
			t.Errorf("matcher %s, want %s", got, c.want)
		}
	}
}

// TestOverrides: the caller's matchers count in the order in which they are given, whatever they call a derivation, and of two
// that differ the plan warns.
func TestOverrides(t *testing.T) {
	dir := write(t, map[string]string{"a.yaml": minimal("a", "b.yaml", "c.yaml"), "b.yaml": minimal("b") + "version: 2\n", "c.yaml": minimal("c", "b.yaml")})
	g, err := load(t, dir, "a.yaml")
	if err != nil {
		t.Fatal(err)
	}
	resolve := func(list ...Override) (*Plan, error) {
		r := newResolver()
		r.Matches = list
		return r.Resolve(t.Context(), g)
	}
	p, err := resolve()
	if err != nil {
		t.Fatal(err)
	}
	b := p.Steps[0]
	for _, name := range []string{"b", "b-2", b.ID.String(), b.ID.String()[:20]} {
		p, err := resolve(Override{"b", named("first")}, Override{name, named("second")}, Override{"c", named("x")}, Override{"c", named("x")})
		if err != nil || p.Steps[0].Matcher.String() != "second" {
			t.Errorf("%s: %v, %v", name, p, err)
			continue
		}
		if want := []string{"two matchers are given for b-2: second counts, first does not"}; !slices.Equal(p.Warnings, want) {
			t.Errorf("%s: warnings %q", name, p.Warnings)
		}
	}
	for _, name := range []string{"", "d", "b-3", strings.Repeat("7", 33)} {
		var unknown *NameError
		if _, err := resolve(Override{name, named("x")}); !errors.As(err, &unknown) || unknown.Name != name {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestChooser: the script of a matcher is resolved like a build, from the directory of the spec that names it, and only where it
// counts.
func TestChooser(t *testing.T) {
	dir := write(t, map[string]string{
		"a.yaml": minimal("a") + "dependencies: [{spec: sub/b.yaml, match: script(pick.yaml)}]\n", "sub/b.yaml": minimal("b") + "match: script(lost.yaml)\n",
		"pick.yaml": minimal("pick") + "host: {packages: [gcc]}\n", "other.yaml": minimal("other") + "dependencies: [{spec: sub/b.yaml, match: script(sub/../pick.yaml)}]\n",
		"alone.yaml": minimal("alone") + "match: script(log.yaml)\n", "log.yaml": minimal("log") + "mode: log\n",
	})
	resolve := func(targets ...string) (*Plan, error) {
		g, err := load(t, dir, targets...)
		if err != nil {
			t.Fatal(err)
		}
		return newResolver().Resolve(t.Context(), g)
	}
	p, err := resolve("a.yaml", "other.yaml") // both mean one file
	if err != nil {
		t.Fatal(err)
	}
	c := p.Steps[0].Chooser
	if c == nil || c.Derivation.Name != "pick" || len(c.Derivation.HostPackages) != 2 || slices.Contains(p.Steps, c) || p.Targets[0].Chooser != nil {
		t.Errorf("chooser %+v", c)
	}
	for target, want := range map[string]string{"sub/b.yaml": "sub/b.yaml:4:8: matcher of b, wanted by ", "alone.yaml": "log.yaml:4:7: the script of a matcher runs in mode hide, not log"} {
		if _, err := resolve(target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", target, err, want)
		}
	}
}

// TestRefusedDependencies: what the store lacks, a realization, and a spec that needs itself.
func TestRefusedDependencies(t *testing.T) {
	dir := write(t, map[string]string{"lost.yaml": minimal("lost") + "dependencies: [{id: " + strings.Repeat("a", 32) + "}]\n",
		"self.yaml": minimal("self", "self.yaml"), "one.yaml": minimal("one", "two.yaml"), "two.yaml": minimal("two", "one.yaml")})
	for target, want := range map[string]string{"lost.yaml": "lost.yaml:4:16: dependency", "self.yaml": "dependency cycle: self.yaml -> self.yaml",
		"one.yaml": "dependency cycle: one.yaml -> two.yaml -> one.yaml"} {
		if _, err := load(t, dir, target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", target, err, want)
		}
	}
}
