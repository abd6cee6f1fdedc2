package dpkg

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
)

const sampleStatus = `Package: dpkg
Status: install ok installed
Architecture: amd64
Version: 1.21
Description: folded
 over lines: with a colon
 .

Package: libx
Status: hold ok installed
Architecture: i386
Multi-Arch: same
Version: 1:2.0-1
Provides: libx-api (= 2), virtual
Pre-Depends: base:any
depends: liby (>= 1.0) | libz:amd64,  tool [amd64] <!nocheck>

Package: tool
Status: install ok installed
Architecture: all
Version: 3
Conffiles:
 /etc/tool.conf d41d8cd98f00b204e9800998ecf8427e
 /etc//old.conf d41d8cd98f00b204e9800998ecf8427e obsolete
 newconffile

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 9

Package: half
Status: install reinstreq half-installed
Architecture: amd64
Version: 9

Package: never
Status: purge ok not-installed
Architecture: amd64
`

// root makes a host from files by name; a content of "-> target" is a link.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		file := filepath.Join(dir, name)
		err := os.MkdirAll(filepath.Dir(file), 0o755)
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = errors.Join(err, os.Symlink(target, file))
		} else {
			err = errors.Join(err, os.WriteFile(file, []byte(content), 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func sampleRoot(t *testing.T) string {
	return root(t, map[string]string{
		"var/lib/dpkg/status":              sampleStatus,
		"var/lib/dpkg/diversions":          "/bin/tool\n/bin/tool.real\nlibx\n/usr/bin/local\n/usr/bin/local.aside\n:\n",
		"var/lib/dpkg/info/tool.list":      "/.\n/bin\n/bin/tool\n/etc/tool.conf\n/usr/bin/local\n",
		"var/lib/dpkg/info/libx:i386.list": "/.\n/bin/tool\n/usr/bin/libx\n",
		"var/lib/dpkg/info/dpkg.list":      "/.\n/bin\n/usr/bin/dpkg\n/sbin/helper\n",
		"bin":                              "-> usr/bin",
		"sbin":                             "-> /usr/sbin",
		"usr/bin/sh":                       "-> dpkg",
		"usr/bin/generic":                  "-> /etc/alternatives/generic",
		"etc/alternatives/generic":         "-> /bin/libx",
		"usr/bin/loop":                     "-> loop",
		"usr/local/bin/sh":                 "-> ../../bin/sh",
		"var/lib/dpkg/info/gone.list":      "/.\n/etc\n/etc/gone.conf\n",
	})
}

func open(t *testing.T, root string) *Database {
	t.Helper()
	db, err := Open(root)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func TestPackages(t *testing.T) {
	got, err := open(t, sampleRoot(t)).Packages(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b hostpkgs.Package) int { return strings.Compare(a.Name, b.Name) })
	want := []hostpkgs.Package{
		{Name: "dpkg", Architecture: "amd64", Version: "1.21", Native: true},
		{Name: "libx", Architecture: "i386", Version: "1:2.0-1", Provides: []string{"libx-api", "virtual"}, Coinstallable: true,
			Depends: [][]hostpkgs.Dependency{{{Name: "base", Arch: "any"}}, {{Name: "liby"}, {Name: "libz", Arch: "amd64"}}, {{Name: "tool"}}}},
		{Name: "tool", Architecture: "all", Version: "3", Native: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
}

func TestRemains(t *testing.T) {
	got, err := open(t, sampleRoot(t)).Remains(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b hostpkgs.Package) int { return strings.Compare(a.Name, b.Name) })
	want := []hostpkgs.Package{
		{Name: "gone", Architecture: "amd64", Version: "9", Native: true}, {Name: "half", Architecture: "amd64", Version: "9", Native: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("remains (-want +got):\n%s", diff)
	}
}

func TestContents(t *testing.T) {
	db := open(t, sampleRoot(t))
	for _, c := range []struct {
		name, arch    string
		paths, config []string
	}{
		// The file of the package that does not divert is where the other one put it; a local diversion moves everybody's.
		{"tool", "all", []string{"/", "/bin", "/bin/tool.real", "/etc/tool.conf", "/usr/bin/local.aside"}, []string{"/etc/tool.conf", "/etc/old.conf"}},
		{"libx", "i386", []string{"/", "/bin/tool", "/usr/bin/libx"}, nil},
	} {
		got, err := db.Contents(context.Background(), hostpkgs.Package{Name: c.name, Architecture: c.arch})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Paths, c.paths) || !slices.Equal(got.Config, c.config) {
			t.Errorf("contents of %s: %q, config %q; want %q, %q", c.name, got.Paths, got.Config, c.paths, c.config)
		}
	}
	if _, err := db.Contents(context.Background(), hostpkgs.Package{Name: "never", Architecture: "amd64"}); err == nil {
		t.Error("contents of a package that was never installed gave no error")
	}
	if _, err := db.Contents(context.Background(), hostpkgs.Package{Name: "half", Architecture: "amd64"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("contents without a list gave %v", err)
	}
}

func TestFingerprints(t *testing.T) {
	dir, ctx := sampleRoot(t), context.Background()
	tool := hostpkgs.Package{Name: "tool", Architecture: "all", Version: "3"}
	look := func() (string, string) {
		db := open(t, dir)
		all, err := db.Fingerprint(ctx)
		if err != nil {
			t.Fatal(err)
		}
		one, err := db.Contents(ctx, tool)
		if err != nil {
			t.Fatal(err)
		}
		return all, one.Fingerprint
	}
	all, one := look()
	if again, oneAgain := look(); again != all || oneAgain != one {
		t.Error("fingerprints of an unchanged host differ")
	}
	list := filepath.Join(dir, adminDir, "info/tool.list")
	if err := os.WriteFile(list+".new", []byte("/.\n/bin/tool\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(list+".new", list); err != nil {
		t.Fatal(err)
	}
	if again, oneAgain := look(); again == all || oneAgain == one {
		t.Error("a package was installed anew and a fingerprint is as before")
	}
}

// TestOwner asks a Host with this database: who owns what is found by its index.
func TestOwner(t *testing.T) {
	dir := sampleRoot(t)
	host, err := hostpkgs.New(hostpkgs.Config{Database: open(t, dir), Root: dir, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{"/usr/bin/dpkg", "dpkg"},
		{"/bin/dpkg", "dpkg"},
		{"/bin/../bin/dpkg", "dpkg"},
		{"/usr/sbin/helper", "dpkg"},
		{"/bin", ""}, // a folder of several packages
		{"/bin/tool", "libx:i386"},
		{"/usr/bin/tool", "libx:i386"},
		{"/bin/tool.real", "tool"},
		{"/usr/bin/tool.real", "tool"},
		{"/usr/bin/local", ""}, // an administrator's own
		{"/usr/bin/local.aside", "tool"},
		{"/bin/sh", "dpkg"},
		{"/usr/bin/generic", "libx:i386"},
		{"/usr/local/bin/sh", "dpkg"}, // in a folder of nobody
		{"/usr/bin/loop", ""},
		{"/usr/bin/dpk", ""},
		{"/etc/gone.conf", "gone"}, // removed, but for this
	} {
		got, ok, err := host.Owner(t.Context(), c.path)
		if got != c.want || ok != (c.want != "") || err != nil {
			t.Errorf("Owner(%q) = %q, %v, %v; want %q", c.path, got, ok, err, c.want)
		}
	}
	if _, _, err := host.Owner(t.Context(), "bin/sh"); err == nil {
		t.Error("owner of a relative path gave no error")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	fresh, err := hostpkgs.New(hostpkgs.Config{Database: open(t, dir), Root: dir, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := fresh.Owner(ctx, "/bin/sh"); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled search gave %v", err)
	}
}

func TestOpenNeedsADatabase(t *testing.T) {
	if _, err := Open(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open of an empty root gave %v", err)
	}
}

func TestMalformedDatabases(t *testing.T) {
	for _, c := range []struct{ status, diversions, want string }{
		{"Package: a\nnonsense\n", "", "line 2: no field name"},
		{" folded\n", "", "line 1: continuation of nothing"},
		{"Version: 1\n\n", "", "line 2: paragraph without a Package field"},
		{sampleStatus, "/a\n/b\n", "2 lines, not a multiple of three"},
		{sampleStatus, "/a\n/b\nx\nc\n/d\ny\n", "line 4: not an absolute path"},
		{sampleStatus, "", "info/tool.list: no such file"},
	} {
		dir := root(t, map[string]string{adminDir + "/status": c.status, adminDir + "/diversions": c.diversions})
		_, err := open(t, dir).Contents(context.Background(), hostpkgs.Package{Name: "tool", Architecture: "all"})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("got %v, want an error with %q", err, c.want)
		}
	}
}

func FuzzParseStatus(f *testing.F) {
	f.Add([]byte(sampleStatus))
	f.Add([]byte("Package: a\nDepends: |,,(:),a:\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		stanzas, err := parseStatus(data)
		if err != nil {
			return
		}
		for _, s := range stanzas {
			if s.Name == "" {
				t.Error("a package without a name")
			}
			for _, group := range s.Depends {
				if len(group) == 0 || group[0].Name == "" || strings.ContainsAny(group[0].Name, " |,(") {
					t.Errorf("malformed dependency %q", group)
				}
			}
		}
	})
}

func FuzzParseDiversions(f *testing.F) {
	f.Add("/a\n/b\nc\n", "/a", "d")
	f.Fuzz(func(t *testing.T, text, name, pkg string) {
		d, err := parseDiversions(text)
		if err != nil {
			return
		}
		if at := d.place(name, pkg); at != name && (!path.IsAbs(at) || path.Clean(at) != at) {
			t.Errorf("%q is diverted to %q", name, at)
		}
	})
}
