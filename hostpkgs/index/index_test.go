package index

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"
	"strings"
	"sync"
	"testing"
)

// sample is a small host: /usr merged, alternatives, a link to a folder, folders and files of several packages.
func sample() *Builder {
	b := NewBuilder()
	for i, p := range []struct {
		name  string
		owns  string
		made  []string
		state bool
	}{
		{"bash", "/ /bin /usr /usr/bin /usr/bin/bash /etc /opt/empty", nil, true},
		{"certs", "/usr /etc /etc/ssl /etc/ssl/certs", []string{"/etc/ssl/certs", "/usr/lib/*/cache"}, true},
		{"certs-java", "/etc/ssl/certs", []string{"/etc/ssl/certs/java"}, true},
		{"gone", "/etc/gone.conf", nil, false},
		{"lib:amd64", "/usr/share/doc/lib/README /usr/lib/x86/lib.so /usr/lib/empty /opt/shared", nil, true},
		{"lib:i386", "/usr/share/doc/lib/README /usr/lib/x86/lib.so.1 /usr/lib/empty /opt/shared", nil, true},
		{"odd", "/usr/share/\xff\n /usr/lib/py/mod.py /usr/share/doc/odd", nil, true},
	} {
		name, arch, _ := strings.Cut(p.name, ":")
		for owned := range strings.SplitSeq(p.owns, " ") {
			b.Own(i, owned)
		}
		b.Package(Package{Owner: Owner{p.name, "1", arch}, Name: name, Installed: p.state, Made: p.made})
	}
	b.Folder("/usr/lib/empty")
	b.Folder("/opt/empty")
	b.Folder("/etc/ssl/certs")
	b.Folder("/usr/nobody-lists-it")
	for link, target := range map[string]string{
		"/bin": "usr/bin", "/usr/lib64": "/usr/lib", "/usr/bin/sh": "bash", "/usr/bin/awk": "/etc/alternatives/awk",
		"/etc/alternatives/awk": "/bin/../bin/bash", "/usr/bin/loop": "loop", "/usr/bin/ring": "/usr/ring/x", "/usr/ring": "/usr/ring/y",
		"/usr/share/doc/odd": "./lib", "/opt/shared": "../etc", "/usr/bin/dangling": "/nowhere", "/usr/bin/up": "..",
	} {
		b.Link(link, target)
	}
	return b
}

func open(t testing.TB, b *Builder) *Index {
	t.Helper()
	data, err := b.Bytes("key")
	if err != nil {
		t.Fatal(err)
	}
	x, err := Open(data, "key")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func names(owners []Owner) string {
	var list []string
	for _, o := range owners {
		list = append(list, o.Package)
	}
	return strings.Join(list, " ")
}

func TestOwners(t *testing.T) {
	x := open(t, sample())
	for _, c := range []struct{ path, want string }{
		{"/usr/bin/bash", "bash"}, {"/bin/bash", "bash"}, {"//bin/./bash", "bash"}, {"/usr/share/../bin/bash", "bash"}, {"/../bin/bash", "bash"},
		{"/usr/bin/sh", "bash"}, {"/bin/awk", "bash"}, {"/etc/alternatives/awk", "bash"},
		{"/usr/lib64/x86/lib.so", "lib:amd64"}, {"/usr/share/doc/odd/README", "lib:amd64 lib:i386"}, {"/usr/share/doc/odd/../lib/README", "lib:amd64 lib:i386"},
		{"/usr/share/doc/odd", "odd"}, // a link that is owned is not followed
		{"/usr/share/\xff\n", "odd"},
		{"/etc/gone.conf", "gone"},
		// Folders.
		{"/", ""}, {"/usr", ""}, {"/usr/bin", "bash"}, {"/usr/bin/", "bash"}, {"/usr/bin/.", "bash"}, {"/bin", "bash"}, {"/usr/share", ""},
		{"/usr/lib/empty", ""}, {"/opt/empty", "bash"}, {"/opt/shared", ""}, {"/usr/nobody-lists-it", ""}, {"/usr/bin/up/bin", "bash"},
		// What is made.
		{"/etc/ssl/certs", ""}, {"/etc/ssl/certs/one.pem", "certs"}, {"/etc/ssl/certs/a/b", "certs"}, {"/etc/ssl/certs/java/keys", "certs-java"},
		{"/etc/ssl/certsx", ""}, {"/usr/lib64/x86/cache", "certs"}, {"/usr/lib/x86/cached", ""}, {"/usr/lib/cache", ""},
		{"/usr/lib/py/__pycache__/mod.cpython-311.opt-1.pyc", "odd"}, {"/usr/lib/py/__pycache__/other.cpython-311.pyc", ""},
		{"/usr/lib/py/__pycache__", ""}, {"/usr/lib/py/mod.cpython-311.pyc", ""},
		// Nothing.
		{"/usr/bin/loop", ""}, {"/usr/bin/ring", ""}, {"/usr/bin/dangling", ""}, {"/usr/bin/bash/x", ""}, {"/usr/bin/bas", ""}, {"/usr/bin/nothing/../bash", "bash"},
		{"", ""}, {"usr/bin/bash", ""}, {"/" + strings.Repeat("../", 99), ""}, {"/usr/bin/bash\x00", ""},
	} {
		if got := names(x.Owners(c.path)); got != c.want {
			t.Errorf("owners of %q: %q; want %q", c.path, got, c.want)
		}
	}
}

func TestInstalled(t *testing.T) {
	x := open(t, sample())
	for _, c := range []struct {
		name string
		want []string
	}{{"bash", []string{"bash"}}, {"lib", []string{"lib:amd64", "lib:i386"}}, {"lib:i386", []string{"lib:i386"}}, {"gone", nil}, {"lib:arm64", nil}} {
		var got []string
		for _, p := range x.Installed(c.name) {
			got = append(got, p.Owner.Package)
		}
		version, ok := x.Version(c.name)
		if !slices.Equal(got, c.want) || ok != (c.want != nil) || ok != (version == "1") {
			t.Errorf("installed of %q: %q, version %q %v; want %q", c.name, got, version, ok, c.want)
		}
	}
}

// TestEmpty opens an index of nothing.
func TestEmpty(t *testing.T) {
	if got := open(t, NewBuilder()).Owners("/usr"); len(got) > 0 {
		t.Errorf("owners %v of nothing", got)
	}
}

func TestManyReaders(t *testing.T) {
	x := open(t, sample())
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for range 100 {
				if got := names(x.Owners("/bin/awk")); got != "bash" {
					t.Errorf("owner %q", got)
				}
			}
		})
	}
	readers.Wait()
}

func TestOpenRefuses(t *testing.T) {
	data, err := sample().Bytes("key")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(data, "other"); !errors.Is(err, errKey) {
		t.Errorf("another key gave %v", err)
	}
	for n := range data {
		if _, err := Open(data[:n], "key"); err == nil || errors.Is(err, errKey) {
			t.Fatalf("the first %d bytes of %d gave %v", n, len(data), err)
		}
		changed := slices.Clone(data)
		changed[n] ^= 1
		if _, err := Open(changed, "key"); err == nil {
			t.Fatalf("byte %d was changed and nobody noticed", n)
		}
	}
}

// resum corrects the checksum of a file that was made up.
func resum(data []byte) {
	if len(data) >= headerSize {
		copy(data, magic)
		binary.LittleEndian.PutUint32(data[len(magic):], crc32.Checksum(data[len(magic)+4:], castagnoli))
	}
}

// FuzzOpen has look-ups in what anybody may have written, with a checksum that fits: they end, and read nothing that is
// not there.
func FuzzOpen(f *testing.F) {
	data, err := sample().Bytes("key")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data, "/bin/awk")
	f.Add(data, "/usr/share/doc/odd/../lib64/x/")
	empty, err := NewBuilder().Bytes("key")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(empty, "/a/b")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		data = slices.Clone(data)
		resum(data)
		x, err := Open(data, "key")
		if err != nil {
			return
		}
		for _, p := range []string{name, "/" + name, "/usr/bin/sh", "/bin/awk", "/usr/share/doc/odd/README"} {
			for _, o := range x.Owners(p) {
				if !slices.ContainsFunc(x.packages, func(p Package) bool { return p.Owner == o }) {
					t.Errorf("%q is owned by %v, which is no package", p, o)
				}
			}
		}
	})
}

// FuzzOwners compares look-ups of what was added with what was added.
func FuzzOwners(f *testing.F) {
	f.Add("a/b", "a", "\xff")
	f.Add("x/y/z", "x/y", "x/yy")
	f.Fuzz(func(t *testing.T, first, second, third string) {
		b := NewBuilder()
		owned := map[string][]string{}
		for i, name := range []string{first, second, third} {
			name = clean(name)
			b.Own(i, name)
			b.Package(Package{Owner: Owner{Package: string(rune('a' + i))}})
			owned[name] = append(owned[name], string(rune('a'+i)))
		}
		x := open(t, b)
		for name, want := range owned {
			isFolder := slices.ContainsFunc([]string{first, second, third}, func(s string) bool { return strings.HasPrefix(clean(s), name+"/") })
			if isFolder && len(want) > 1 || name == "/" {
				want = nil
			}
			if got := names(x.Owners(name)); got != strings.Join(want, " ") {
				t.Errorf("owners of %q: %q; want %q", name, got, want)
			}
		}
	})
}

// clean makes an absolute, clean path of anything.
func clean(s string) string {
	var parts []string
	for part := range strings.SplitSeq(s, "/") {
		if part != "" && part != "." && part != ".." {
			parts = append(parts, part)
		}
	}
	return "/" + strings.Join(parts, "/")
}

// TestEntrySize keeps a constant of the format and what is written together.
func TestEntrySize(t *testing.T) {
	if n := len(appendEntry(nil, record{}, entry{})); n != entrySize {
		t.Errorf("an entry has %d bytes, want %d", n, entrySize)
	}
}
