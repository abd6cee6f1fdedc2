package rpm

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/rootpath"
)

const sampleQuery = "P\tbash\t0\t5.2-1\tx86_64\tabc-1\nR\trpmlib(X)\nR\t/usr/bin/sh\nR\tlibc.so.6()(64bit)\nR\tlibc.so.6()(64bit)\n" +
	"R\t(glibc-extra(x) if (gcc and make >= 2))\nV\tbash\nF\t0\t/usr/bin/bash\nF\t17\t/etc/with\ttab\n" +
	"P\tgpg-pubkey\t0\t1-2\t(none)\tabc-1\nR\t(none)\nV\tgpg(x)\nF\t(none)\t(none)\n" +
	"P\tglibc\t3\t2-1\ti686\tdef-1\nV\tlibc.so.6()(64bit)\nV\tgcc\n" +
	"P\tsh\t0\t1-1\tnoarch\tghi-1\nF\t64\t/bin/sh\nP\trpm\t0\t4-1\tx86_64\tjkl-1\n"

func dependencies(names ...string) (groups [][]hostpkgs.Dependency) {
	for _, name := range names {
		groups = append(groups, []hostpkgs.Dependency{{Name: name}})
	}
	return groups
}

func TestParseQuery(t *testing.T) {
	records, err := parseQuery([]byte(sampleQuery))
	if err != nil {
		t.Fatal(err)
	}
	links := func(name string) rootpath.Entry {
		if name == "/bin" {
			return rootpath.Entry{Link: "usr/bin"}
		}
		return rootpath.Entry{}
	}
	provideFiles(records, rootpath.New(links))
	requireRich(records)
	markNative(records)
	var got []hostpkgs.Package
	for _, r := range records {
		got = append(got, r.Package)
	}
	want := []hostpkgs.Package{
		{Name: "bash", Architecture: "x86_64", Version: "5.2-1", Native: true, Provides: []string{"bash"},
			Depends: dependencies("/usr/bin/sh", "libc.so.6()(64bit)", "gcc")},
		{Name: "glibc", Architecture: "i686", Version: "3:2-1", Provides: []string{"libc.so.6()(64bit)", "gcc"}},
		{Name: "sh", Architecture: "noarch", Version: "1-1", Native: true, Provides: []string{"/usr/bin/sh"}},
		{Name: "rpm", Architecture: "x86_64", Version: "4-1", Native: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	contents := hostpkgs.Contents{Paths: []string{"/usr/bin/bash", "/etc/with\ttab"}, Config: []string{"/etc/with\ttab"}, Fingerprint: "abc-1"}
	if diff := cmp.Diff(contents, records[0].contents); diff != "" {
		t.Errorf("contents (-want +got):\n%s", diff)
	}
}

func TestParseQueryRefuses(t *testing.T) {
	for _, text := range []string{
		"R\tx\n", "P\tname\n", "P\t\t0\t1-1\tnoarch\tx\n", "nonsense\n", "\n",
		"P\ta\t0\t1-1\tnoarch\tx\nF\t0\trelative\n", "P\ta\t0\t1-1\tnoarch\tx\nF\tx\t/a\n", "P\ta\t0\t1-1\tnoarch\tx\nZ\ty\n",
	} {
		if _, err := parseQuery([]byte(text)); err == nil {
			t.Errorf("parseQuery(%q) gave no error", text)
		}
	}
}

func TestRichNames(t *testing.T) {
	got := richNames("((foo()(64bit) >= 2 with bar(x)) unless (baz or qux))")
	for _, want := range []string{"foo()(64bit)", "bar(x)", "baz", "qux"} {
		if !slices.Contains(got, want) {
			t.Errorf("richNames = %q lacks %q", got, want)
		}
	}
}

func FuzzParseQuery(f *testing.F) {
	f.Add([]byte(sampleQuery))
	f.Add([]byte("P\ta\t0\t1-1\tnoarch\tx\nR\t((((\nR\t))))\n"))
	f.Fuzz(func(t *testing.T, output []byte) {
		records, err := parseQuery(output)
		if err != nil {
			return
		}
		requireRich(records)
		for _, r := range records {
			if r.Name == "" || strings.ContainsAny(r.Name+r.Version+r.Architecture, "\t\n") {
				t.Errorf("malformed package %+v", r.Package)
			}
			for _, name := range r.contents.Paths {
				if !strings.HasPrefix(name, "/") {
					t.Errorf("relative path %q", name)
				}
			}
		}
	})
}
