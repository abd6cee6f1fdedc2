package leaks

import (
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"hdjail/artifact/tree"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	self  = prefix + "/store/" + "cbcdefghijklmnopqrstuvwxyz234567-self-1"
	libc  = "/usr/lib/x86_64-linux-gnu/libc.so.6"
	ldso  = "/lib64/ld-linux-x86-64.so.2"
	realz = "/srv/store/realizations/" + hash1
)

// plant writes files below root: content by name, "-> target" for a link; "#!" makes a file executable.
func plant(t testing.TB, root string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		full := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			err = os.Symlink(target, full)
		} else {
			err = os.WriteFile(full, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// world is a tree to scan, what the jail showed beside it, and a host that has more.
type world struct {
	dir  string
	host map[string]string // by path, the package with its version
	Options
}

func newWorld(t testing.TB, files map[string]string) *world {
	t.Helper()
	w := &world{dir: t.TempDir(), host: map[string]string{libc: "libc6 2.36", "/opt/gcc/lib/libx.so": "", "/usr/lib/libleak.so.1": "libleak 7",
		"/usr/bin/perl": "perl 5", "/usr/bin/python3": "python3 3.11", "/opt/cache/libcached.so": "cached 1", "/usr/lib/dh": "dh 1"}}
	root, dep, tool := t.TempDir(), t.TempDir(), t.TempDir()
	plant(t, w.dir, files)
	plant(t, root, map[string]string{"lib": "-> usr/lib", "lib64": "-> usr/lib64", libc: string(library(amd64, "libc.so.6", "")),
		"/usr/lib64/ld-linux-x86-64.so.2": string(library(amd64, "ld-linux-x86-64.so.2", "")), "/usr/bin/perl": "x",
		"/etc/ld.so.cache":           string(cacheOf(binary.LittleEndian, [3]string{"libgood.so.1", "/usr/good/lib/libgood.so.1"}, [3]string{"libwrong.so", "/usr/good/lib/libwrong.so"})),
		"/usr/good/lib/libgood.so.1": string(library(amd64, "libgood.so.1", "")), "/usr/good/lib/libwrong.so": string(library(i386, "libwrong.so", "")),
		"/etc/alternatives/cc": "-> /usr/bin/perl", "/usr/bin/cc": "-> /etc/alternatives/cc", "/usr/loop": "-> loop"})
	plant(t, dep, map[string]string{"lib/libz.so.1": "-> libz.so.1.3", "lib/libz.so.1.3": string(library(amd64, "libz.so.1", "")), "include/zlib.h": "x",
		"lib/libc.so.6": "-> " + libc})
	plant(t, tool, map[string]string{"bin/tool": "x", "lib/libtool.so": string(library(amd64, "libtool.so", ""))})
	w.Options = Options{Artifact: self, Dependencies: []Place{{zlib, dep}}, Stores: []string{"/srv/store", prefix}, Root: root,
		Paths: []Place{{"/opt/tool", tool}}, BuildDirs: []string{"/build"},
		Owner: func(p string) (string, string, bool) {
			name, version, ok := strings.Cut(w.host[p], " ")
			return name, version, ok
		},
		OnHost: func(p string) bool {
			for have := range w.host {
				if under(have, p) {
					return true
				}
			}
			return false
		},
		HostCache: func() []byte {
			return cacheOf(binary.LittleEndian, [3]string{"libcached.so", "/opt/cache/libcached.so"})
		}}
	return w
}

func (w *world) scan(t testing.TB) Report {
	t.Helper()
	dir, err := os.Open(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	r, err := Scan(t.Context(), dir, w.Options)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (n Need) brief() string {
	return strings.TrimSpace(fmt.Sprintf("%s %s %s %s %s%s", n.Name, n.Belongs, n.Via, n.Path, n.Package+n.Dependency, n.Program))
}

// program is an image of a program with entries of the dynamic section: a tag's letter and its text.
func program(m machine, interpreter string, entries ...string) string {
	tags := map[byte]elf.DynTag{'N': elf.DT_NEEDED, 'P': elf.DT_RPATH, 'R': elf.DT_RUNPATH}
	im := image{machine: m, interpreter: interpreter}
	for _, e := range entries {
		im.entries = append(im.entries, entryOf{tag: tags[e[0]], name: e[1:]})
	}
	return string(im.bytes())
}

func TestNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want string
	}{
		"default":           {program(amd64, "", "Nlibc.so.6"), "libc.so.6 package default /lib/x86_64-linux-gnu/libc.so.6 libc6"},
		"interpreter":       {program(amd64, ldso), ldso + " package path " + ldso},
		"other interpreter": {program(amd64, "/opt/gcc/lib/libx.so"), "/opt/gcc/lib/libx.so leak path /opt/gcc/lib/libx.so"},
		"no interpreter":    {program(amd64, "/lib/ld-musl.so"), "/lib/ld-musl.so missing"},
		"relative one":      {program(amd64, "lib/ld.so"), "lib/ld.so missing"},
		"cache":             {program(amd64, "", "Nlibgood.so.1"), "libgood.so.1 package cache /usr/good/lib/libgood.so.1"},
		"wrong machine":     {program(amd64, "", "Nlibwrong.so"), "libwrong.so missing"},
		"right machine":     {program(i386, "", "Nlibwrong.so"), "libwrong.so package cache /usr/good/lib/libwrong.so"},
		"runpath":           {program(amd64, "", "Nlibz.so.1", "R/x:"+zlib+"/lib"), "libz.so.1 dependency runpath " + zlib + "/lib/libz.so.1 " + zlib},
		"rpath":             {program(amd64, "", "Nlibz.so.1", "P"+zlib+"/lib"), "libz.so.1 dependency rpath " + zlib + "/lib/libz.so.1 " + zlib},
		"rpath beside it":   {program(amd64, "", "Nlibz.so.1", "P"+zlib+"/lib", "R/x"), "libz.so.1 missing"},
		"link out of it":    {program(amd64, "", "Nlibc.so.6", "R"+zlib+"/lib"), "libc.so.6 package runpath " + zlib + "/lib/libc.so.6 libc6"},
		"origin":            {program(amd64, "", "Nlibown.so", "R$ORIGIN/../lib"), "libown.so output runpath " + self + "/lib/libown.so"},
		"origin, braces":    {program(amd64, "", "Nlibown.so", "R${ORIGIN}/../$LIB:${ORIGIN}/../lib"), "libown.so output runpath " + self + "/lib/libown.so"},
		"lib":               {program(amd64, "", "Nlibc.so.6", "R/usr/$LIB"), "libc.so.6 package runpath /usr/lib/x86_64-linux-gnu/libc.so.6 libc6"},
		"no variable":       {program(amd64, "", "Nlibown.so", "R$ORIGINAL/../lib:$ORIGIN_/lib"), "libown.so missing"},
		"name with slash":   {program(amd64, "", "N$ORIGIN/../lib/libown.so"), "$ORIGIN/../lib/libown.so output path " + self + "/lib/libown.so"},
		"leak by default":   {program(amd64, "", "Nlibleak.so.1"), "libleak.so.1 leak default /usr/lib/libleak.so.1 libleak"},
		"leak by runpath":   {program(amd64, "", "Nlibx.so", "R/opt/gcc/lib"), "libx.so leak runpath /opt/gcc/lib/libx.so"},
		"leak by cache":     {program(amd64, "", "Nlibcached.so"), "libcached.so leak cache /opt/cache/libcached.so cached"},
		"whitelisted path":  {program(amd64, "", "Nlibtool.so", "R/opt/tool/lib"), "libtool.so package runpath /opt/tool/lib/libtool.so"},
		"missing":           {program(amd64, "", "Nlibnowhere.so"), "libnowhere.so missing"},
		"big endian":        {program(powerpc, "", "Nlibown.so", "R$ORIGIN/../lib"), "libown.so missing"},
		"big endian, own":   {program(powerpc, "", "Nlibppc.so", "R$ORIGIN/../lib"), "libppc.so output runpath " + self + "/lib/libppc.so"},
		"unknown machine":   {program(machine{amd64.class, amd64.data, 9999}, "", "Nlibc.so.6"), "libc.so.6 missing"},
	} {
		w := newWorld(t, map[string]string{"bin/x": c.file, "lib/libown.so": string(library(amd64, "libown.so", "")),
			"lib/libppc.so": string(library(powerpc, "libppc.so", ""))})
		r := w.scan(t)
		if len(r.ELF) != 1 || r.ELF[0].brief() != c.want {
			t.Errorf("%s: %v, want %q", name, r.ELF, c.want)
		}
	}
}

// TestLoadedByProgram has libraries that find nothing by themselves, but are loaded by a program that does.
func TestLoadedByProgram(t *testing.T) {
	w := newWorld(t, map[string]string{
		"bin/a":                 program(amd64, ldso, "Nlibz.so.1", "N"+self+"/lib/abs.so", "R"+zlib+"/lib"),
		"bin/b":                 program(amd64, ldso, "P$ORIGIN/../private"),
		"lib/1.so":              program(amd64, "", "Nlibz.so.1"),
		"lib/2.so":              program(amd64, "", "Nlibprivate.so"),
		"lib/3.so":              program(amd64, "", "Nlibabs.so.7"),
		"lib/4.so":              program(amd64, "", "Nlibprivate.so", "R/usr/lib"), // RUNPATH switches the program's RPATH off
		"lib/5.so":              program(i386, "", "Nlibz.so.1"),
		"lib/abs.so":            string(library(amd64, "libabs.so.7", "")),
		"private/libprivate.so": string(library(amd64, "libprivate.so", "")),
	})
	var got []string
	for _, n := range w.scan(t).ELF {
		if strings.HasPrefix(n.File, "lib/") {
			got = append(got, n.File+" "+n.brief())
		}
	}
	want := []string{
		"lib/1.so libz.so.1 dependency program " + zlib + "/lib/libz.so.1 " + zlib + "bin/a",
		"lib/2.so libprivate.so output program " + self + "/private/libprivate.so bin/b",
		"lib/3.so libabs.so.7 output program " + self + "/lib/abs.so bin/a",
		"lib/4.so libprivate.so missing",
		"lib/5.so libz.so.1 missing",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestRunpaths(t *testing.T) {
	w := newWorld(t, map[string]string{"bin/x": program(amd64, "",
		"R$ORIGIN/../lib::lib:.:/build/x:/tmp:/var/tmp/y:/usr/good/lib:/opt/gcc/lib:/opt/nowhere:"+zlib+"/none:"+other+"/lib:/opt/tool/lib:/usr/lib/$LIB"),
		"bin/y": program(amd64, "", "P/tmp"), "bin/z": program(amd64, "", "R")})
	if err := os.Mkdir(w.Root+"/usr/open", 0o777); err != nil {
		t.Fatal(err)
	}
	var got []string
	r := w.scan(t)
	for _, p := range r.Runpaths {
		got = append(got, fmt.Sprintf("%s %s %q %s %s", p.File, p.Tag, p.Entry, p.Reason, p.Belongs))
	}
	want := []string{`bin/x RUNPATH "" empty missing`, `bin/x RUNPATH "lib" relative missing`, `bin/x RUNPATH "." relative missing`,
		`bin/x RUNPATH "/build/x" build build`, `bin/x RUNPATH "/tmp" writable missing`, `bin/x RUNPATH "/var/tmp/y" writable missing`,
		`bin/x RUNPATH "/opt/gcc/lib" outside leak`, `bin/x RUNPATH "/opt/nowhere" outside missing`,
		`bin/x RUNPATH "` + other + `/lib" outside missing`, `bin/x RUNPATH "/usr/lib/$LIB" outside missing`, `bin/y RPATH "/tmp" writable missing`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if r.Summary.Runpaths != len(want) || r.Summary.Leaks() < len(want) {
		t.Errorf("%+v", r.Summary)
	}
}

func TestReferences(t *testing.T) {
	w := newWorld(t, map[string]string{
		"bin/script":         "#!/usr/bin/python3 -u /opt/gcc/lib/libx.so\nimport x\n",
		"bin/perl":           "#! /usr/bin/perl\n",
		"bin/none":           "#!/nowhere/sh\n",
		"lib/pkgconfig/x.pc": "prefix=" + self + "\nLibs: -L" + zlib + "/lib -L" + other + "/lib\nCflags: -I/build/src -I" + zlib + "/none\n",
		"lib/libx.la":        "# Generated by libtool\ndependency_libs=' -L" + realz + "/out/lib " + zlib + "/lib/libz.la /usr/lib/libleak.so.1 /usr/bin/cc'\n",
		"share/doc":          "see /usr/local/bin, /usr/nowhere/x, /dev/null, /tmp, /tmp/x and /home/me/x; /usr/bin/perl. /opt/gcc/lib/libx.so /opt/tool/bin/tool /a/b\n",
		"share/loop":         "/usr/loop/x " + prefix + "/store/notes " + prefix + "/store " + prefix + "\n",
		"lib/x.a":            "!<arch>\n\x00" + zlib + "/include/zlib.h\x00/build/a.c\x00/build/b.c\x00/usr/lib/libleak.so.1\x00" + other + "/x\x00" + self + "\x00",
		"lib/link":           "-> ../bin/perl",
	})
	var got []string
	r := w.scan(t)
	for _, ref := range r.Text {
		line := fmt.Sprintf("%s:%d %s %s %s%s", ref.File, ref.Line, ref.Path, ref.Belongs, ref.Package, ref.Dependency)
		line = strings.TrimSpace(line)
		if ref.Absent {
			line += " absent"
		}
		if ref.Count != 1 {
			line += fmt.Sprintf(" x%d", ref.Count)
		}
		got = append(got, line)
	}
	want := []string{
		"bin/none:1 /nowhere/sh missing",
		"bin/perl:1 /usr/bin/perl package perl",
		"bin/script:1 /usr/bin/python3 leak python3",
		"bin/script:1 /opt/gcc/lib/libx.so leak",
		"lib/libx.la:2 " + realz + "/out/lib leak absent",
		"lib/libx.la:2 " + zlib + "/lib/libz.la dependency " + zlib + " absent",
		"lib/libx.la:2 /usr/lib/libleak.so.1 leak libleak",
		"lib/libx.la:2 /usr/bin/cc package perl",
		"lib/pkgconfig/x.pc:1 " + self + " output",
		"lib/pkgconfig/x.pc:2 " + zlib + "/lib dependency " + zlib,
		"lib/pkgconfig/x.pc:2 " + other + "/lib leak absent",
		"lib/pkgconfig/x.pc:3 /build/src build",
		"lib/pkgconfig/x.pc:3 " + zlib + "/none dependency " + zlib + " absent",
		"lib/x.a:0 " + zlib + " dependency " + zlib,
		"lib/x.a:0 /build build x2",
		"lib/x.a:0 " + other + " leak absent",
		"lib/x.a:0 " + self + " output",
		"share/doc:1 /tmp/x missing",
		"share/doc:1 /home/me/x missing",
		"share/doc:1 /usr/bin/perl package perl",
		"share/doc:1 /opt/gcc/lib/libx.so leak",
		"share/doc:1 /opt/tool/bin/tool package",
		"share/loop:1 " + prefix + "/store/notes missing",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s := r.Summary
	if s.Files != 8 || s.Scripts != 3 || s.Texts != 7 || s.References[Leak] != 6 || s.Binary[Leak] != 1 || s.Binary[BuildDir] != 1 || r.Truncated != (Truncated{}) {
		t.Errorf("%+v %+v", s, r.Truncated)
	}
}

// TestRealizationPath has a dependency at the place in the store where the jail did not show it.
func TestRealizationPath(t *testing.T) {
	w := newWorld(t, map[string]string{"a": "x"})
	w.Stores = []string{filepath.Dir(w.Dependencies[0].Host)}
	plant(t, w.dir, map[string]string{"b": w.Dependencies[0].Host + "/lib/libz.so.1 " + w.Dependencies[0].Host + "/x\n"})
	r := w.scan(t)
	if len(r.Text) != 2 || r.Text[0].Dependency != zlib || r.Text[0].Absent || !r.Text[1].Absent {
		t.Errorf("%+v", r.Text)
	}
}

// TestVisibleHost is a jail that showed the whole host; what leaks is decided by the caller.
func TestVisibleHost(t *testing.T) {
	w := newWorld(t, map[string]string{"a": program(amd64, "", "Nlibc.so.6", "Nlibgood.so.1"), "b": "/usr/bin/perl /usr/good/lib/libgood.so.1\n"})
	w.Whitelisted = func(p string) bool { return p != "/usr/good/lib/libgood.so.1" }
	r := w.scan(t)
	if r.ELF[0].Belongs != Package || r.ELF[1].Belongs != Leak || r.ELF[1].Path != "/usr/good/lib/libgood.so.1" ||
		r.Text[0].Belongs != Package || r.Text[1].Belongs != Leak {
		t.Errorf("%+v", r)
	}
}

// TestWorkersDoNotMatter also shows that no bound hides that it was met, nor what leaks.
func TestWorkersDoNotMatter(t *testing.T) {
	files := map[string]string{"big": strings.Repeat("/usr/bin/perl\n", 100_000), "many": ""}
	for i := range 300 {
		files[fmt.Sprintf("d%d/f%d", i%7, i)] = fmt.Sprintf("/usr/bin/perl\n/usr/bin/python3 /tmp/%d", i) + strings.Repeat("\n", i*1000)
		files[fmt.Sprintf("e%d", i)] = program(amd64, ldso, "Nlibc.so.6", "Nlibleak.so.1", "R/tmp")
		files["many"] += fmt.Sprintf("/tmp/%d\n", i)
	}
	files["broken"] = "\x7fELF\x02\x01"
	w := newWorld(t, files)
	w.Limits = Limits{List: 20, TextBytes: 300 << 10, FileBytes: 1 << 20, FilePaths: 100}
	var first string
	for _, workers := range []int{1, 2, 7} {
		w.Workers = workers
		r := w.scan(t)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if first == "" {
			first = string(text)
		}
		if string(text) != first {
			t.Errorf("%d workers give another report", workers)
		}
		s, cut := r.Summary, r.Truncated
		if s.Needs[Leak] != 300 || s.Needs[Package] != 600 || cut.Needs != 900-40 || len(r.ELF) != 40 {
			t.Errorf("needs %v, %d not listed, %d listed", s.Needs, cut.Needs, len(r.ELF))
		}
		if s.Runpaths != 300 || cut.Runpaths != 280 || len(r.Runpaths) != 20 || len(r.Malformed) != 1 {
			t.Errorf("runpaths %d, %d not listed, malformed %v", s.Runpaths, cut.Runpaths, r.Malformed)
		}
		if s.References[Package] != 301 || s.References[Leak] != 300 || s.References[Missing] != 400 || cut.References != 1001-60 {
			t.Errorf("references %v, %d not listed", s.References, cut.References)
		}
		if cut.Paths != 200 || cut.Texts != 1 || cut.Files != 1 || cut.Bytes != 1_400_000-1<<20 {
			t.Errorf("%+v", cut)
		}
	}
}

// TestManyNeeds has more needs and RUNPATH entries than anybody wants to wait for.
func TestManyNeeds(t *testing.T) {
	entries := []string{"R" + strings.Repeat("$ORIGIN/x:", 6000)}
	for i := range 3000 {
		entries = append(entries, fmt.Sprintf("Nlib%d.so", i))
	}
	files := map[string]string{}
	for i := range 3 {
		files[fmt.Sprintf("bin/%d", i)] = program(amd64, "", entries...)
	}
	r := newWorld(t, files).scan(t)
	if r.Truncated.ELF == 0 || r.Summary.Malformed != 3 {
		t.Errorf("%+v %+v", r.Truncated, r.Summary)
	}
}

func TestScanErrors(t *testing.T) {
	w := newWorld(t, map[string]string{"a": "x"})
	dir, err := os.Open(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Scan(ctx, dir, w.Options); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	if err := os.MkdirAll(filepath.Join(w.dir, strings.Repeat("d/", 500)), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Scan(t.Context(), dir, w.Options); err != nil {
		t.Errorf("a deep tree: %v", err)
	}
	if err := unix.Mkfifo(filepath.Join(w.dir, "fifo"), 0o600); err != nil {
		t.Fatal(err)
	}
	var refused *tree.RefusedError
	if _, err := Scan(t.Context(), dir, w.Options); !errors.As(err, &refused) {
		t.Errorf("a fifo: %v", err)
	}
}
