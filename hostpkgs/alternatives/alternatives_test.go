package alternatives

import (
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const awkAlternative = "auto\n/usr/bin/awk\nawk.1\n/usr/share/man/awk.1\nnawk\n/usr/bin//nawk\n\n" +
	"/usr/bin/mawk\n5\n/usr/share/man/mawk.1\n/usr/bin/mawk\n/usr/bin/gawk\n10\n\n/usr/bin/gawk\n\n"

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text string
		want Alternative
	}{
		{awkAlternative, Alternative{Name: "n", Link: "/usr/bin/awk",
			Followers: []Link{{"/usr/share/man/awk.1", "awk.1"}, {"/usr/bin/nawk", "nawk"}},
			Choices: []Choice{
				{"/usr/bin/mawk", 5, []string{"/usr/share/man/mawk.1", "/usr/bin/mawk"}}, {"/usr/bin/gawk", 10, []string{"", "/usr/bin/gawk"}},
			}}},
		{"manual\n/usr/bin/cc\n\n@gnu@/usr/bin/gcc\n-20 service\n", Alternative{Name: "n", Link: "/usr/bin/cc",
			Choices: []Choice{{"/usr/bin/gcc", -20, []string{}}}}},
		{"auto\n/usr/bin/none\n", Alternative{Name: "n", Link: "/usr/bin/none"}},
	} {
		got, err := Parse("n", c.text)
		if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
			t.Errorf("%q: %v (-want +got):\n%s", c.text, err, diff)
		}
	}
	for _, text := range []string{
		"", "auto\n", "auto\nrelative\n", "auto\n/l\nfollower\n", "auto\n/l\na/b\n/f\n", "auto\n/l\nf\nrelative\n\n",
		"auto\n/l\n\n/c\n", "auto\n/l\n\n/c\nmany\n", "auto\n/l\n\nrelative\n1\n", "auto\n/l\nf\n/f\n\n/c\n1\n",
	} {
		if got, err := Parse("n", text); err == nil {
			t.Errorf("%q gave %+v", text, got)
		}
	}
}

func TestLinks(t *testing.T) {
	a, err := Parse("awk", awkAlternative)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, current, has string
		want               []Link
	}{
		{"the choice", "/usr/bin/mawk", "/usr/bin/mawk /usr/bin/gawk", []Link{
			{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/mawk"},
			{"/usr/bin/nawk", "/etc/alternatives/nawk"}, {"/etc/alternatives/nawk", "/usr/bin/mawk"}}},
		{"the highest priority", "/usr/bin/other", "/usr/bin/mawk /usr/bin/gawk", []Link{
			{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/gawk"},
			{"/usr/bin/nawk", "/etc/alternatives/nawk"}, {"/etc/alternatives/nawk", "/usr/bin/gawk"}}},
		{"no candidate", "/usr/bin/own", "/usr/bin/own", []Link{{"/usr/bin/awk", "/etc/alternatives/awk"}, {"/etc/alternatives/awk", "/usr/bin/own"}}},
		{"none", "/usr/bin/mawk", "/usr/bin/perl", nil},
	} {
		got := a.Links(c.current, func(name string) bool { return slices.Contains(strings.Fields(c.has), name) })
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(awkAlternative)
	f.Add("manual\n/usr/bin/cc\n\n@gnu@/usr/bin/gcc\n-20 service\n")
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse("n", text)
		if err != nil {
			return
		}
		for _, l := range a.Links("", func(string) bool { return true }) {
			if !path.IsAbs(l.Path) || path.Clean(l.Path) != l.Path {
				t.Errorf("link at %q", l.Path)
			}
		}
	})
}
