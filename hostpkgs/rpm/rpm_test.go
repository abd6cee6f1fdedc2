package rpm

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/index"
)

const testSpec = `
Name: alpha
Epoch: 2
Version: 1.5
Release: 3
Summary: first
License: none
BuildArch: noarch
AutoReqProv: no
Requires: virtual >= 1, /bin/betash, (gamma if beta), (delta if epsilon), missing
%description
first
%package -n beta
Summary: second
AutoReqProv: no
Provides: virtual = 2
%description -n beta
second
%package -n gamma
Summary: third
AutoReqProv: no
%description -n gamma
third
%install
mkdir -p %{buildroot}/etc %{buildroot}/usr/bin
echo a > %{buildroot}/usr/bin/alpha
echo c > %{buildroot}/etc/alpha.conf
echo b > %{buildroot}/usr/bin/betash
%files
/usr/bin/alpha
%config /etc/alpha.conf
%files -n beta
/usr/bin/betash
%files -n gamma
`

// program runs a program of the distribution, away from the caller's home.
func program(t *testing.T, home, name string, args ...string) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=/usr/bin:/bin", "LC_ALL=C", "HOME=" + home}
	if output, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, output)
	}
}

// build makes three packages and a database in which they are installed, below a root with a merged /usr.
func build(t *testing.T) *Database {
	t.Helper()
	for _, name := range []string{"/usr/bin/rpm", "/usr/bin/rpmbuild"} {
		if _, err := os.Stat(name); err != nil {
			t.Skipf("needs rpm and rpmbuild: %v", err)
		}
	}
	top := t.TempDir()
	spec, db, root := filepath.Join(top, "alpha.spec"), filepath.Join(top, "db"), filepath.Join(top, "root")
	if err := os.WriteFile(spec, []byte(testSpec), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{db, filepath.Join(root, "usr/bin")} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, target := range map[string]string{"bin": "usr/bin", "usr/bin/link": "alpha"} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Fatal(err)
		}
	}
	program(t, top, "/usr/bin/rpmbuild", "-bb", "--quiet", "--define", "_topdir "+top, "--define", "_tmppath "+top, spec)
	packages, err := filepath.Glob(filepath.Join(top, "RPMS/noarch/*.rpm"))
	if err != nil || len(packages) != 3 {
		t.Fatalf("rpmbuild made %q (%v), want three packages", packages, err)
	}
	program(t, top, "/usr/bin/rpm", append([]string{"--dbpath", db, "-i", "--justdb", "--nodeps", "--noscripts"}, packages...)...)
	opened, err := Open(Config{Root: root, DBPath: db})
	if err != nil {
		t.Fatal(err)
	}
	return opened
}

func TestRealDatabase(t *testing.T) {
	db, ctx := build(t), context.Background()
	before, err := db.Fingerprint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	installed, err := db.Packages(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if after, err := db.Fingerprint(ctx); err != nil || after != before {
		t.Errorf("reading changed the fingerprint: %q to %q (%v)", before, after, err)
	}
	closure, unmet, err := hostpkgs.Closure(installed, []string{"alpha"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range closure {
		names = append(names, p.Name+" "+p.Version+" "+p.Architecture)
	}
	if want := []string{"alpha 2:1.5-3 noarch", "beta 2:1.5-3 noarch", "gamma 2:1.5-3 noarch"}; !slices.Equal(names, want) {
		t.Errorf("closure %q, want %q", names, want)
	}
	if want := []hostpkgs.Unmet{{Package: "alpha", Dependency: "missing"}}; !slices.Equal(unmet, want) {
		t.Errorf("unmet %v, want %v", unmet, want)
	}
	contents, err := db.Contents(ctx, closure[0])
	if err != nil {
		t.Fatal(err)
	}
	if contents.Fingerprint == "" {
		t.Error("contents have no fingerprint")
	}
	contents.Fingerprint = ""
	want := hostpkgs.Contents{Paths: []string{"/etc/alpha.conf", "/usr/bin/alpha"}, Config: []string{"/etc/alpha.conf"}}
	if diff := cmp.Diff(want, contents); diff != "" {
		t.Errorf("contents of alpha (-want +got):\n%s", diff)
	}
	if _, err := db.Contents(ctx, hostpkgs.Package{Name: "other"}); err == nil {
		t.Error("contents of a package that is not installed gave no error")
	}
}

// TestOwner asks a Host with this database: who owns what is found by its index.
func TestOwner(t *testing.T) {
	db, ctx := build(t), context.Background()
	host, err := hostpkgs.New(hostpkgs.Config{Database: db, Root: db.cfg.Root, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, want string }{
		{"/usr/bin/betash", "beta"}, {"/bin/betash", "beta"}, {"/usr/bin/link", "alpha"}, {"/usr/bin/none-of-these", ""},
		{"/etc/alpha.conf", "alpha"}, {"/usr/bin", ""},
	} {
		got, ok, err := host.Owner(ctx, c.path)
		if got != c.want || ok != (c.want != "") || err != nil {
			t.Errorf("Owner(%q) = %q, %v, %v; want %q", c.path, got, ok, err, c.want)
		}
	}
	if _, _, err := host.Owner(ctx, "relative"); err == nil {
		t.Error("owner of a relative path gave no error")
	}
	x, err := host.Index(ctx)
	if err != nil {
		t.Fatal(err)
	}
	want := []index.Owner{{Package: "beta", Version: "2:1.5-3", Architecture: "noarch"}}
	if got := x.Owners("/bin/betash"); !slices.Equal(got, want) {
		t.Errorf("owners %v, want %v", got, want)
	}
	if version, ok := x.Version("gamma"); version != "2:1.5-3" || !ok {
		t.Errorf("gamma has version %q (%v)", version, ok)
	}
	if remains, err := db.Remains(ctx); err != nil || len(remains) > 0 {
		t.Errorf("remains %v, %v", remains, err)
	}
}

func TestOpenNeedsADatabase(t *testing.T) {
	for _, cfg := range []Config{{Root: t.TempDir()}, {DBPath: t.TempDir(), Program: "/nonexistent/rpm"}} {
		if _, err := Open(cfg); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open(%+v) = %v, want a missing file", cfg, err)
		}
	}
}

func TestFailedQuerySaysWhy(t *testing.T) {
	db, err := Open(Config{DBPath: t.TempDir(), Program: "/bin/false"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := db.Packages(context.Background()); err == nil {
		t.Error("a query that fails gave no error")
	}
}
