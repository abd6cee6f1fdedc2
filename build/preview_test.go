package build

import (
	"slices"
	"strings"
	"testing"

	"hdjail/jail"
	"hdjail/mounts"
)

// A preview is the jail that the build then gets, but for the names of what does not exist yet.
func TestPreviewIsWhatRuns(t *testing.T) {
	s := newSite(t, map[string]string{"a.yaml": minimal("a", "b"), "b.yaml": minimal("b", "c"), "c.yaml": minimal("c")})
	p := s.plan("a")
	results, err := s.builder.Realize(t.Context(), p, Options{DryRun: true})
	if err != nil {
		t.Fatal(err)
	}
	before, err := s.builder.Previews(p, results)(t.Context(), p.Targets[0])
	if err != nil {
		t.Fatal(err)
	}
	if n := len(s.runner.Runs()); n != 0 {
		t.Errorf("a preview ran %d jails", n)
	}
	unbuilt := func(e mounts.Entry) bool { return strings.Contains(e.Source, Unbuilt) }
	if n := len(slices.DeleteFunc(slices.Clone(before.Mounts.Entries), func(e mounts.Entry) bool { return !unbuilt(e) })); n != 2 {
		t.Errorf("%d dependencies are shown as not built, want 2", n)
	}
	s.expect(p, Options{Jobs: 1, CPUs: 1}, "a built, b built, c built")
	ran := s.runner.Runs()[2]
	if want, got := targetsOf(ran), targetsOf(before); !slices.Equal(got, want) {
		t.Errorf("the preview shows %v, the build saw %v", got, want)
	}
	if !slices.Equal(before.Env, ran.Env) || !slices.Equal(before.Args, ran.Args) {
		t.Errorf("the preview has %v %v, the build had %v %v", before.Args, before.Env, ran.Args, ran.Env)
	}
}

func targetsOf(c jail.Config) (list []string) {
	for _, e := range c.Mounts.Entries {
		list = append(list, e.Target+" "+string(e.Kind))
	}
	return list
}
