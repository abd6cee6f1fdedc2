package leaks

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gcc compiles C in a directory; the scripts of the linker that the tests need come with it.
func gcc(t *testing.T, dir string, args ...string) {
	t.Helper()
	cmd := exec.Command("gcc", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("gcc %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// installed makes a tree as a build does: its directory is its public path, so that its programs run.
func installed(t *testing.T) (dir, dep string) {
	t.Helper()
	dir, dep = t.TempDir(), t.TempDir()
	plant(t, dir, map[string]string{
		"src/own.c": "int own(void) { return 1; }\n", "src/dep.c": "int dep(void) { return 2; }\n",
		"src/main.c":  "int own(void); int dep(void); int main(void) { return own() + dep() - 3; }\n",
		"src/plain.c": "int main(void) { return 0; }\n", "bin/x": "", "lib/x": "", "dep": "-> " + dep})
	lib := func(to, src string, more ...string) {
		gcc(t, dir, append([]string{"-shared", "-fPIC", "-o", to, src, "-Wl,-soname," + filepath.Base(to)}, more...)...)
	}
	lib("lib/libown.so.1", "src/own.c")
	lib(filepath.Join(dep, "libdep.so.2"), "src/dep.c")
	program := func(to, runpath string, more ...string) {
		gcc(t, dir, append([]string{"-o", to, "src/main.c", "lib/libown.so.1", filepath.Join(dep, "libdep.so.2"), "-Wl,-rpath," + runpath}, more...)...)
	}
	program("bin/good", "$ORIGIN/../lib:"+dep, "-Wl,--enable-new-dtags")
	program("bin/rpath", "${ORIGIN}/../lib:"+dep, "-Wl,--disable-new-dtags")
	program("bin/bad", "/tmp/nowhere:lib")
	gcc(t, dir, "-static", "-o", "bin/static", "src/plain.c")
	gcc(t, dir, "-c", "-g", "-o", "lib/plain.o", "src/plain.c")
	return dir, dep
}

// TestAgainstLinker compares with what the dynamic linker of this machine does, for programs that it runs.
func TestAgainstLinker(t *testing.T) {
	dir, dep := installed(t)
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	r, err := Scan(t.Context(), root, Options{Artifact: dir, Dependencies: []Place{{dep, dep}}, Root: "/", BuildDirs: []string{"/build"}})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]map[string]Need{}
	for _, n := range r.ELF {
		if found[n.File] == nil {
			found[n.File] = map[string]Need{}
		}
		found[n.File][n.Name] = n
	}
	for _, name := range []string{"bin/good", "bin/rpath", "bin/bad"} {
		cmd := exec.Command(filepath.Join(dir, name))
		cmd.Dir = "/"
		cmd.Env = []string{"LD_TRACE_LOADED_OBJECTS=1"}
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		compared := 0
		for line := range strings.Lines(string(out)) {
			fields := strings.Fields(line) // NAME => PATH (0x…), or NAME => not found
			if len(fields) < 4 || fields[1] != "=>" {
				continue
			}
			n, path := found[name][fields[0]], strings.TrimPrefix(fields[2], "not")
			compared++
			if path != "" && path != n.Path && path != "/usr"+n.Path && filepath.Clean(path) != n.Path {
				t.Errorf("%s: the linker loads %s, not %s", name, path, n.Path)
			}
			if (path == "") != (n.Belongs == Missing) {
				t.Errorf("%s: the linker says %q, we %+v", name, strings.TrimSpace(line), n)
			}
		}
		if compared != 3 {
			t.Errorf("%s: compared %d libraries:\n%s", name, compared, out)
		}
	}
	for name, want := range map[string]Belongs{"libown.so.1": Output, "libdep.so.2": Dependency, "libc.so.6": Package} {
		if n := found["bin/good"][name]; n.Belongs != want || n.Path == "" {
			t.Errorf("%+v, want %s", n, want)
		}
	}
	if len(r.Runpaths) != 2 || r.Runpaths[0].Reason != "writable" || r.Runpaths[1].Reason != "relative" {
		t.Errorf("%+v", r.Runpaths)
	}
	if r.Summary.ELF != 6 || r.Summary.Malformed != 0 || len(found["bin/static"]) != 0 || len(found["lib/plain.o"]) != 0 {
		t.Errorf("%+v", r.Summary)
	}
}

// TestMachineOfThisHost shows that our reading of ELF files is that of the standard library, on whatever is installed.
func TestMachineOfThisHost(t *testing.T) {
	files, err := filepath.Glob("/usr/bin/*")
	if err != nil {
		t.Fatal(err)
	}
	more, _ := filepath.Glob("/usr/lib/x86_64-linux-gnu/*.so*") // the pattern is a good one
	compared := 0
	for _, name := range append(files, more...) {
		file, err := os.Open(name)
		if err != nil {
			continue // not ours to read
		}
		want, err := elf.NewFile(file)
		if err == nil {
			compared++
			compareObjects(t, name, want, file)
		}
		file.Close()
	}
	if compared == 0 {
		t.Error("there is no ELF file on this machine")
	}
}

func compareObjects(t *testing.T, name string, want *elf.File, file *os.File) {
	t.Helper()
	got, err := readObject(file)
	if err != nil {
		t.Errorf("%s: %v", name, err)
	}
	for tag, list := range map[elf.DynTag][]string{elf.DT_NEEDED: got.needed, elf.DT_RUNPATH: {got.runpath}, elf.DT_RPATH: {got.rpath},
		elf.DT_SONAME: {got.soname}} {
		texts, err := want.DynString(tag)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if strings.Join(texts, "\n") != strings.Join(list, "\n") {
			t.Errorf("%s: %s is %q, want %q", name, tag, list, texts)
		}
	}
	if got.machine != (machine{want.Class, want.Data, want.Machine}) {
		t.Errorf("%s: %v", name, got.machine)
	}
}
