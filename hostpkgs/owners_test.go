package hostpkgs_test

import (
	"bufio"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"hdjail/hostpkgs/index"
)

func ownerIndex(t testing.TB, root, dir string) *index.Index {
	t.Helper()
	x, err := openHost(t, root, dir).Index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// owners returns the names of who owns a path, with versions.
func owners(x *index.Index, path string) string {
	var list []string
	for _, o := range x.Owners(path) {
		list = append(list, o.Package+" "+o.Version+" "+o.Architecture)
	}
	return strings.Join(list, ", ")
}

func TestIndex(t *testing.T) {
	x := ownerIndex(t, sampleRoot(t), tempDir(t))
	for path, want := range map[string]string{
		"/bin/tool": "diverter 1 amd64", "/usr/bin/tool.real": "tool 1 amd64", "/lib/libx.so.1": "libx:amd64 1 amd64, provider 1 amd64",
		"/usr/bin/comp": "comp-b 1 amd64", "/etc/alternatives/comp": "comp-b 1 amd64", "/data/doc/tool/empty": "tool 1 amd64",
		"/etc/ssl/certs/later.pem": "ca-certificates 1 amd64", "/etc/passwd": "ca-certificates 1 amd64", "/usr/share/doc": "",
		"/usr/share/doc/tool/was-removed": "tool 1 amd64", "/run/tool/state": "tool 1 amd64", "/nothing": "",
	} {
		if got := owners(x, path); got != want {
			t.Errorf("owners of %q: %q; want %q", path, got, want)
		}
	}
}

// TestIndexIsKept changes what an index depends on, or what is kept of it, and asks again, each time as another process.
func TestIndexIsKept(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	kept := func() []string {
		names, err := filepath.Glob(filepath.Join(dir, "owners/*"))
		if err != nil {
			t.Fatal(err)
		}
		return names
	}
	ownerIndex(t, root, dir)
	first := kept()
	if len(first) != 1 {
		t.Fatalf("kept %q, want one file", first)
	}
	before, err := os.Stat(first[0])
	if err != nil {
		t.Fatal(err)
	}
	ownerIndex(t, root, dir)
	if after, err := os.Stat(first[0]); err != nil || !os.SameFile(before, after) {
		t.Errorf("the index was written again although nothing has changed (%v)", err)
	}
	for _, bad := range []string{"", "nonsense", strings.Repeat("\xff", 999)} {
		if err := os.WriteFile(first[0], []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := owners(ownerIndex(t, root, dir), "/bin/tool"); got != "diverter 1 amd64" {
			t.Errorf("with a malformed index the owner is %q", got)
		}
		if after, err := os.Stat(first[0]); err != nil || after.Size() != before.Size() {
			t.Errorf("a malformed index was left (%v)", err)
		}
	}
	writeSample(t, filepath.Join(root, "etc/alternatives/comp"), file{target: "/usr/bin/comp-a"})
	if got := owners(ownerIndex(t, root, dir), "/usr/bin/comp"); got != "comp-a 1 amd64" {
		t.Errorf("after another choice of an alternative its owner is %q", got)
	}
	h := openHost(t, root, dir)
	for i := range 6 {
		name := strings.Repeat("x", i+1)
		writePackages(t, root, append(slices.Clone(samplePackages), installed{"new", "", "/.\n/usr/bin/" + name}))
		x, err := h.Index(t.Context()) // the same process notices, too
		if err != nil {
			t.Fatal(err)
		}
		if got := owners(x, "/bin/"+name); got != "new 1 amd64" {
			t.Errorf("after an installation the owner is %q", got)
		}
	}
	if now := kept(); len(now) != 4 || slices.Contains(now, first[0]) {
		t.Errorf("kept %q, want the newest four", now)
	}
}

// TestIndexWithoutAPlace builds the index in a folder that cannot be written, or has a file in its way.
func TestIndexWithoutAPlace(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	if err := os.WriteFile(filepath.Join(dir, "owners"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := owners(ownerIndex(t, root, dir), "/bin/tool"); got != "diverter 1 amd64" {
		t.Errorf("with a file in the way the owner is %q", got)
	}
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o555); err != nil {
		t.Fatal(err)
	}
	if got := string(asNobody(t, "owner", root, closed, "/bin/tool")); got != "diverter" {
		t.Errorf("in a closed folder the owner is %q", got)
	}
}

func TestIndexAtOnce(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	h := openHost(t, root, dir)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			host := h
			if i%2 == 0 {
				host = openHost(t, root, dir)
			}
			all, err := host.Owners(t.Context(), []string{"/bin/tool", "/nothing"})
			if err != nil || len(all) != 2 || len(all[0]) != 1 || len(all[1]) != 0 {
				t.Errorf("owners %v, %v", all, err)
			}
		})
	}
	group.Wait()
}

// TestIndexNeedsNoLists leaves out a package whose list is gone, like dpkg.
func TestIndexNeedsNoLists(t *testing.T) {
	root := sampleRoot(t)
	if err := os.Remove(filepath.Join(root, "var/lib/dpkg/info/diverter.list")); err != nil {
		t.Fatal(err)
	}
	x := ownerIndex(t, root, tempDir(t))
	if got := owners(x, "/bin/again"); got != "" {
		t.Errorf("owner %q", got)
	}
	if _, ok := x.Version("diverter"); !ok {
		t.Error("a package without a list is not installed")
	}
}

// hostPaths returns a sample of the paths that the host's packages list.
func hostPaths(t testing.TB, n int) []string {
	t.Helper()
	lists, err := filepath.Glob("/var/lib/dpkg/info/*.list")
	if err != nil || len(lists) == 0 {
		t.Skipf("needs a host with dpkg: %v", err)
	}
	var paths []string
	for _, list := range lists {
		f, err := os.Open(list)
		if err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if lines.Text() != "/." {
				paths = append(paths, lines.Text())
			}
		}
		f.Close()
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	rand.New(rand.NewPCG(seed, 0)).Shuffle(len(paths), func(i, j int) { paths[i], paths[j] = paths[j], paths[i] })
	return paths[:min(n, len(paths))]
}

// TestIndexAgreesWithDpkg compares a sample of the real host's paths with what dpkg -S says. dpkg knows paths as they are
// listed only, so of a folder it may know fewer packages.
func TestIndexAgreesWithDpkg(t *testing.T) {
	paths := hostPaths(t, 2000)
	args := []string{"-S", "--"}
	for _, p := range paths {
		args = append(args, strings.NewReplacer(`\`, `\\`, "*", `\*`, "?", `\?`, "[", `\[`).Replace(p))
	}
	cmd := exec.Command("dpkg", args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C"}
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("dpkg -S: %v", err)
	}
	theirs, diverted := map[string][]string{}, map[string]bool{}
	for line := range strings.Lines(string(output)) {
		by, path, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		if !ok || strings.HasPrefix(line, "diversion by ") || strings.HasPrefix(line, "local diversion ") {
			diverted[path] = true
			continue
		}
		theirs[path] = strings.Split(by, ", ")
		slices.Sort(theirs[path])
	}
	x, compared := ownerIndex(t, "/", tempDir(t)), 0
	for _, p := range paths {
		var ours []string
		for _, o := range x.Owners(p) {
			ours = append(ours, o.Package)
		}
		slices.Sort(ours)
		info, err := os.Stat(p)
		if isFolder := err == nil && info.IsDir(); diverted[p] || isFolder && len(ours) == 0 {
			continue
		}
		compared++
		if !slices.Equal(ours, theirs[p]) {
			t.Errorf("owners of %q: %q; dpkg says %q", p, ours, theirs[p])
		}
	}
	if compared < len(paths)/2 {
		t.Errorf("%d of %d paths could be compared", compared, len(paths))
	}
}

// TestIndexIsSmall bounds what an index of the real host takes in memory.
func TestIndexIsSmall(t *testing.T) {
	paths, dir := hostPaths(t, 100), tempDir(t)
	ownerIndex(t, "/", dir)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	x := ownerIndex(t, "/", dir)
	for _, p := range paths {
		x.Owners(p)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if heap := int64(after.HeapAlloc) - int64(before.HeapAlloc); heap > 20<<20 {
		t.Errorf("an index takes %d bytes", heap)
	}
	runtime.KeepAlive(x)
}

// BenchmarkIndex builds the index of the real host, opens it, and looks up 10,000 paths in it.
func BenchmarkIndex(b *testing.B) {
	paths := hostPaths(b, 10_000)
	b.Run("build", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			b.StopTimer()
			dir := tempDir(b)
			b.StartTimer()
			ownerIndex(b, "/", dir)
		}
	})
	dir := tempDir(b)
	ownerIndex(b, "/", dir)
	b.Run("open", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ownerIndex(b, "/", dir)
		}
	})
	b.Run("open-and-10000", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			x := ownerIndex(b, "/", dir)
			for _, p := range paths {
				x.Owners(p)
			}
		}
	})
}

// TestIndexIsReadable: everybody may read a store.
func TestIndexIsReadable(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	ownerIndex(t, root, dir)
	err := filepath.WalkDir(filepath.Join(dir, "owners"), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if info, err := d.Info(); err != nil || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("%q has mode %v (%v)", name, info.Mode(), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
