package why

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/graph"
	"hdjail/hostpkgs"
)

type lookup map[artifact.DerivationID]*artifact.Derivation

func (l lookup) Derivation(id artifact.DerivationID) (*artifact.Derivation, error) {
	if d := l[id]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("no derivation %s", id)
}

func id(n byte) artifact.DerivationID { return artifact.DerivationID{n} }

// question is about app, which depends on left and right; both depend on base, and right asks for gcc and make.
func question(t *testing.T) *Question {
	on := func(ids ...byte) (list []artifact.Dependency) {
		for _, n := range ids {
			list = append(list, artifact.Dependency{ID: id(n)})
		}
		return list
	}
	tools := []artifact.HostPackage{{Name: "gcc", Architecture: "amd64"}, {Name: "libc6", Architecture: "amd64"}, {Name: "make", Architecture: "amd64"}}
	l := lookup{id(1): {Name: "app", Version: "1", Dependencies: on(2, 3)}, id(2): {Name: "left", Dependencies: on(4)},
		id(3): {Name: "right", Dependencies: on(4), HostPackages: tools}, id(4): {Name: "base", Version: "2"}}
	g, err := graph.Closure(l, []artifact.DerivationID{id(1)})
	if err != nil {
		t.Fatal(err)
	}
	return &Question{Graph: g, Lookup: l,
		Requested: func(artifact.DerivationID) ([]string, error) { return []string{"gcc", "make", "sh"}, nil },
		Installed: func() (*hostpkgs.Graph, error) {
			c := [][]hostpkgs.Dependency{{{Name: "libc6"}}}
			return hostpkgs.NewGraph([]hostpkgs.Package{{Name: "gcc", Architecture: "amd64", Native: true, Depends: [][]hostpkgs.Dependency{{{Name: "cpp"}}}},
				{Name: "cpp", Architecture: "amd64", Native: true, Depends: c}, {Name: "make", Architecture: "amd64", Native: true, Depends: c},
				{Name: "libc6", Architecture: "amd64", Native: true}}), nil
		}}
}

func names(a Answer) (list [][]string) {
	for _, w := range a.Ways {
		var way []string
		for _, s := range w.Steps {
			way = append(way, s.Name)
		}
		list = append(list, append(way, w.Packages...))
	}
	return list
}

func TestWays(t *testing.T) {
	one, all := question(t), question(t)
	all.All = true
	linked := question(t)
	linked.Linked = true
	for name, test := range map[string]struct {
		ask  func() (Answer, error)
		want [][]string
	}{
		"shortest":        {func() (Answer, error) { return one.Artifact("base") }, [][]string{{"app-1", "left", "base-2"}}},
		"all":             {func() (Answer, error) { return all.Artifact("base-2") }, [][]string{{"app-1", "left", "base-2"}, {"app-1", "right", "base-2"}}},
		"by ID":           {func() (Answer, error) { return one.Derivation(id(3), artifact.RealizationID{}) }, [][]string{{"app-1", "right"}}},
		"no such version": {func() (Answer, error) { return all.Artifact("base-3") }, nil},
		"no such result":  {func() (Answer, error) { return all.Derivation(id(3), artifact.RealizationID{7}) }, nil},
		"itself":          {func() (Answer, error) { return one.Artifact("app") }, nil},
		"part of it":      {func() (Answer, error) { return linked.Artifact("app") }, [][]string{{"app-1"}}},
		"package":         {func() (Answer, error) { return one.Package("libc6") }, [][]string{{"app-1", "right", "make", "libc6"}}},
		"all of a package": {func() (Answer, error) { return all.Package("libc6:amd64") },
			[][]string{{"app-1", "right", "make", "libc6"}, {"app-1", "right", "gcc", "cpp", "libc6"}}},
		"no such package": {func() (Answer, error) { return all.Package("cpp") }, nil}, // what was pinned counts, not what is installed
	} {
		answer, err := test.ask()
		if diff := cmp.Diff(test.want, names(answer)); err != nil || diff != "" {
			t.Errorf("%s: %v\n%s", name, err, diff)
		}
	}
	one.Requested = func(artifact.DerivationID) ([]string, error) { return nil, nil }
	answer, err := one.Package("libc6")
	want := "app-1 aeaaaaaaaa > right amaaaaaaaa > host package libc6 (which entry of the whitelist brought it is not known)"
	if err != nil || len(answer.Ways) != 1 || answer.Ways[0].Line() != want {
		t.Errorf("%+v, %v", answer, err)
	}
}

func TestLine(t *testing.T) {
	w := Way{Steps: []Step{{id(1), "app", nil}, {id(2), "lib", []artifact.RealizationID{{3}, {4}}}}, Packages: []string{"gcc", "cpp"}}
	if want := "app aeaaaaaaaa > lib amaaaaaaaa,aqaaaaaaaa > host package gcc > cpp"; w.Line() != want {
		t.Errorf("%s; want %s", w.Line(), want)
	}
}
