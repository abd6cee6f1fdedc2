package hostpkgs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChains(t *testing.T) {
	needs := func(names ...string) (groups [][]Dependency) {
		for _, n := range names {
			groups = append(groups, []Dependency{{Name: "nowhere"}, {Name: n}})
		}
		return groups
	}
	g := NewGraph([]Package{
		{Name: "gcc", Architecture: "amd64", Native: true, Depends: needs("cpp", "binutils")},
		{Name: "cpp", Architecture: "amd64", Native: true, Depends: needs("libc", "gcc")},
		{Name: "binutils", Architecture: "amd64", Native: true, Depends: needs("libz", "libc6")},
		{Name: "libz", Architecture: "amd64", Native: true, Depends: needs("libc6")},
		{Name: "libc6", Architecture: "amd64", Native: true, Provides: []string{"libc"}},
		{Name: "make", Architecture: "amd64", Native: true},
	})
	for _, test := range []struct {
		names []string
		to    string
		want  [][]string
	}{
		{[]string{"gcc", "make", "libz", "missing"}, "libc6", [][]string{{"gcc", "cpp", "libc6"}, {"libz", "libc6"}}},
		{[]string{"libc"}, "libc6:amd64", [][]string{{"libc6"}}},
		{[]string{"gcc"}, "gcc", [][]string{{"gcc"}}},
		{[]string{"make"}, "libc6", nil},
		{[]string{"gcc"}, "libc6:i386", nil},
		{nil, "libc6", nil},
	} {
		if diff := cmp.Diff(test.want, g.Chains(test.names, test.to)); diff != "" {
			t.Errorf("%v to %s:\n%s", test.names, test.to, diff)
		}
	}
}
