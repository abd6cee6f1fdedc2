package learn_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/build/spec"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

var update = flag.Bool("update", false, "write the golden file")

// TestEntries: which packages and paths an access needs. What every spec here has (coreutils for rm and cp, dash, libc-bin) is
// left out of the table.
func TestEntries(t *testing.T) {
	for _, c := range []struct{ name, accesses, packages, paths string }{
		{"a file", "r /usr/bin/make", "make", ""},
		{"through a merged directory", "r /bin/make", "make", ""},
		{"a link of one package to a file of another", "r /usr/lib/libc.so", "libc6-dev", ""},
		{"only the link", "p /usr/lib/libc.so", "libc6-dev", ""},
		{"a dependency is not listed", "x /usr/bin/gcc\nr /usr/bin/gcc-12", "gcc", ""},
		{"nor both of a circle", "r /usr/lib/libc.so.6", "", ""},
		{"an alternative", "x /usr/bin/awk", "mawk", ""},
		{"a link that ldconfig makes", "r /usr/lib/libc.so.5", "", ""},
		{"another architecture", "r /usr/lib/i386/libc.so.6", "libc6:i386", ""},
		{"what is absent", "p /usr/bin/none absent", "", ""},
		{"what was hidden", "r /usr/include/stdio.h hidden", "libc6-dev", ""},
		{"compiled Python", "r /usr/lib/python3/__pycache__/re.cpython-311.pyc", "python3", ""},
		{"what a jail makes", "r /etc/passwd\nr /etc/ld.so.cache\np /\np /usr\nr /proc/cpuinfo\nr /dev/null\nr /tmp/x\nr /sys/x", "", ""},
		{"local time", "r /etc/localtime", "tzdata", ""},
		{"the source", "r /home/u/proj/build.sh\np /home/u\np /home", "", ""},
		{"a directory of a listed package", "p /usr/share/doc\nr /usr/bin/make", "make", ""},
		{"a directory of several packages takes the least", "p /usr/share/shared", "shared", ""},
		{"a directory of nobody", "p /usr/local/include", "", "/usr/local/include"},
		{"a directory that is too wide", "p /usr/local", "", "/usr/local/include"},
		{"a directory where no program looks by itself", "p /oldpwd\np /data/other", "", ""},
		{"but listed it counts", "l /data/other", "", "/data/other"},
		{"a file of nobody", "r /etc/hosts.conf", "", "/etc/hosts.conf"},
		{"files of a directory", "r /opt/one/a", "", "/opt/one/a"},
		{"most of a directory", "r /opt/one/a\nr /opt/one/b", "", "/opt/one"},
		{"most of a tree", "x /opt/cc/bin/cc\nx /opt/cc/bin/as\nr /opt/cc/lib/crt.o\nr /opt/cc/lib/libcc.a", "", "/opt/cc"},
		{"a linked directory", "x /opt/current/bin/cc", "", "/opt/cc /opt/current"},
		{"a file of the home", "r /home/u/data/set", "", "/home/u/data/set"},
		{"a program in the home", "x /home/u/.pyenv/bin/python", "", "/home/u/.pyenv/bin/python"},
		{"configuration of the home", "r /home/u/.gitconfig", "", ""},
		{"met by listing", "l /opt/cc/bin\np /opt/cc/bin/cc\np /opt/cc/bin/as", "", "/opt/cc/bin"},
		{"listed, and one of many asked for", "l /etc\np /etc/hosts.conf", "", "/etc/hosts.conf"},
		{"metadata of Python", "l /usr/lib/python3\nr /usr/lib/python3/shared-1.dist-info/METADATA", "python3", ""},
		{"metadata asked for", "r /usr/lib/python3/shared-1.dist-info/METADATA", "shared", ""},
		{"asked before listing", "p /etc/hosts.conf\nl /etc", "", "/etc/hosts.conf"},
		{"met and read", "l /etc\np /etc/hosts.conf\nr /etc/hosts.conf", "", "/etc/hosts.conf"},
		{"secrets", "r /home/u/.ssh/id\nr /etc/shadow", "", ""},
		{"the store", "r /var/lib/hdjail/store/x", "", ""},
		{"..", "r /opt/cc/../one/a", "", "/opt/one/a"},
		{"a top-level directory", "l /data", "", "/data/other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := draft(t, input(record(c.accesses, "./build.sh")))
			var packages []learn.Entitled
			for _, p := range d.Packages {
				if p.Name != "dash" && p.Name != "libc-bin" && p.Name != "coreutils" {
					packages = append(packages, p)
				}
				if p.Reason == "" {
					t.Errorf("%s has no reason", p.Name)
				}
			}
			if namesOf(packages) != c.packages || namesOf(d.Paths) != c.paths {
				t.Errorf("packages %q, paths %q; want %q and %q", namesOf(packages), namesOf(d.Paths), c.packages, c.paths)
			}
		})
	}
}

func TestNotes(t *testing.T) {
	for _, c := range []struct{ accesses, edit, secrets string }{
		{"r /home/u/.ssh/id\nr /home/u/.ssh/id", "", "/home/u/.ssh/id"},
		{"l /etc\np /etc/shadow\np /etc/passwd\np /etc/hosts.conf\np /etc/localtime\np /etc/alternatives\np /etc/ld.so.cache", "", ""},
		{"p /run/user/1 denied", "", "/run/user/1"},
		{"w /srv/x", "changed files outside its directories, such as /srv/x", ""},
		{"w /home/u/.cache/x", "", ""},
		{"r /home/u/.gitconfig", "used ~/.gitconfig of your home", ""},
		{"conn 10.0.0.1:80", "", ""},
		{"conn /var/db/socket", "connected to /var/db/socket", ""},
		{"p /srv denied", "", ""},
		{"l /opt", "", ""},
		{"l /oldpwd", "saw the directory /oldpwd", ""},
	} {
		d := draft(t, input(record(c.accesses, "make", "install", "PREFIX=/x/y")))
		if edit := strings.Join(d.Edit, "\n"); c.edit == "" && edit != "" || !strings.Contains(edit, c.edit) {
			t.Errorf("%s: to edit %q, want %q", c.accesses, edit, c.edit)
		}
		if namesOf(d.Secrets) != c.secrets {
			t.Errorf("%s: secrets %q, want %q", c.accesses, namesOf(d.Secrets), c.secrets)
		}
	}
}

// TestSiteRules: noise needs nothing, and what the site never allows is a secret, too.
func TestSiteRules(t *testing.T) {
	in := input(record("r /opt/one/a\nr /usr/bin/make\nr /etc/hosts.conf", "make"))
	in.Rules = []policies.PathRule{{Pattern: "/opt/*/a", Action: policies.RuleNoise}, {Pattern: "/etc/hosts.conf", Action: policies.RuleNever}}
	if d := draft(t, in); len(d.Paths) != 0 || namesOf(d.Secrets) != "/etc/hosts.conf" {
		t.Errorf("%+v", d)
	}
}

// TestScript: how a command becomes a script.
func TestScript(t *testing.T) {
	for _, c := range []struct {
		command  []string
		accesses string
		cwd      string
		want     string
	}{
		{[]string{"./configure", "--prefix=/home/u/inst"}, "", "", `./configure --prefix="$ARTIFACT"`},
		{[]string{"cmake", "-DCMAKE_INSTALL_PREFIX:PATH=/opt/x", "--target=x86_64"}, "", "", `cmake -DCMAKE_INSTALL_PREFIX:PATH="$ARTIFACT" --target=x86_64`},
		{[]string{"sh", "-c", "./configure --prefix=\"$PWD/i\" &&\nmake && make install PREFIX=$PWD/i"}, "", "",
			"./configure --prefix=\"$ARTIFACT\" &&\nmake && make install PREFIX=\"$ARTIFACT\""},
		{[]string{"sh", "-c", "echo 'PREFIX=/x' PREFIX=/x; ls /x/bin /xy"}, "", "", `echo 'PREFIX=/x' PREFIX="$ARTIFACT"; ls "$ARTIFACT"/bin /xy`},
		{[]string{"make", "PREFIX=/home/u/proj/inst", "/home/u/proj/x"}, "", "", `make PREFIX="$ARTIFACT" "$BUILD"/x`},
		{[]string{"make", "prefix=/usr", "DESTDIR=/stage"}, "", "", `make prefix=/usr DESTDIR="$ARTIFACT"`},
		{[]string{"./build.sh", "it's"}, "c /home/u/proj/inst\nw /home/u/proj/inst/x", "", "rm -rf -- inst\n./build.sh \"it's\"\ncp -R -- inst/x \"$ARTIFACT\""},
		{[]string{"./build.sh"}, "p /home/u/proj/inst/lib absent\nw /home/u/proj/inst/lib ld\nw /home/u/proj/inst/x", "",
			"rm -rf -- inst/lib inst/x\n./build.sh\ncp -R -- inst/lib \"$ARTIFACT\""},
		{[]string{"./build.sh"}, "r /home/u/proj/inst/x\nw /home/u/proj/inst/x", "", "./build.sh\n# cp -R RESULT \"$ARTIFACT\""},
		{[]string{"make", "-C", "/home/u/proj/sub"}, "", "/home/u/proj/sub", "cd sub\nmake -C \"$BUILD\"/sub\n# cp -R RESULT \"$ARTIFACT\""},
		{[]string{"make", "--prefix=/a/b"}, "", "/home/u/proj/my dir", "cd \"my dir\"\nmake --prefix=\"$ARTIFACT\""},
	} {
		a := record(c.accesses, c.command...)
		if c.cwd != "" {
			a.Processes[0].Cwd = c.cwd
		}
		in := input(a)
		h := debian()
		h.entries["/home/u/proj/inst"], h.entries["/home/u/proj/inst/x"], h.entries["/home/u/proj/inst/lib"] = "dir", "file", "file"
		in.Host = h
		var lines []string
		for line := range strings.Lines(draft(t, in).Script) {
			if !strings.HasPrefix(line, "# What") {
				lines = append(lines, line)
			}
		}
		if got := strings.TrimSpace(strings.Join(lines, "")); got != c.want {
			t.Errorf("%q: script\n%s\nwant\n%s", c.command, got, c.want)
		}
	}
}

// TestInstalledByAnother: the prefix is that of a process deeper down.
func TestInstalledByAnother(t *testing.T) {
	a := record("c /home/u/proj/inst\nw /home/u/proj/inst/x", "./build.sh")
	a.Processes = append(a.Processes, audit.Process{ID: 3, PID: 11, Parent: 1, Exe: "/usr/bin/dash", Argv: []string{"sh", "./configure", "--prefix=/home/u/proj/inst"}})
	in := input(a)
	h := debian()
	h.entries["/home/u/proj/inst"], h.entries["/home/u/proj/inst/x"] = "dir", "file"
	in.Host = h
	if d := draft(t, in); !strings.HasSuffix(d.Script, "rm -rf -- inst\n./build.sh\ncp -R -- \"$BUILD\"/inst/. \"$ARTIFACT\"\n") || len(d.Edit) != 0 {
		t.Errorf("script %q, to edit %q", d.Script, d.Edit)
	}
	a.Header.Whitelist.Writable = append(a.Header.Whitelist.Writable, "/srv/i")
	a.Processes[1].Argv[2] = "--prefix=/srv/i"
	if d := draft(t, in); !strings.Contains(strings.Join(d.Edit, "\n"), "told to install into /srv/i: make that $ARTIFACT") {
		t.Errorf("to edit %q", d.Edit)
	}
}

// TestSources: what becomes of the directory that the command ran in.
func TestSources(t *testing.T) {
	for cwd, want := range map[string]string{"/home/u/proj": "proj", "/home/u/proj/sub": "proj", "/srv/app-1.0": "../../srv/app-1.0",
		"/home/u": "", "/": "", "/build": "", "/home": "", "/tmp/x": "../../tmp/x", "": ""} {
		a := record("r /usr/bin/make", "make")
		a.Processes[0].Cwd = cwd
		d := draft(t, input(a))
		got := ""
		if len(d.Sources) > 0 {
			got = d.Sources[0].Path
		}
		if got != want || want == "" && len(d.Edit) == 0 {
			t.Errorf("%q: source %q, want %q (edit %q)", cwd, got, want, d.Edit)
		}
	}
	a := record("r /usr/bin/make", "make")
	a.Processes[0].Cwd, a.Header.Whitelist.Writable = "/srv/app-1.0", nil
	if d := draft(t, input(a)); d.Name != "app" || d.Version != "1.0" {
		t.Errorf("name %q, version %q", d.Name, d.Version)
	}
}

func TestEnvironment(t *testing.T) {
	a := record("x /opt/cc/bin/cc\nx /usr/bin/make\nx /home/u/proj/build.sh", "cc")
	a.Processes = append(a.Processes, audit.Process{ID: 3, Exe: "/opt/cc/bin/cc", Argv: []string{"cc"}}, audit.Process{ID: 4, Exe: "/usr/bin/make", Argv: []string{"make"}})
	in := input(a)
	in.Environment = map[string]string{"CC": "cc -O"}
	if d := draft(t, in); d.Environment["PATH"] != "/opt/cc/bin:/usr/bin:/bin:/usr/sbin:/sbin" || d.Environment["CC"] != "cc -O" {
		t.Errorf("environment %q", d.Environment)
	}
}

// TestAdministrators: what the run's PATH did not have, the build's has not either.
func TestAdministrators(t *testing.T) {
	for accesses, want := range map[string]string{
		"x /usr/bin/ldconfig absent\nx /bin/ldconfig absent": "/usr/bin:/bin",
		"x /usr/bin/ldconfig absent\nx /usr/sbin/ldconfig":   "",
		"x /usr/bin/none absent":                             "",
	} {
		in := input(record(accesses, "make"))
		h := debian()
		h.entries["/usr/sbin/ldconfig"] = "file"
		in.Host = h
		if got := draft(t, in).Environment["PATH"]; got != want {
			t.Errorf("%s: PATH %q, want %q", accesses, got, want)
		}
	}
}

// TestDerivation: a build of the store keeps what it was.
func TestDerivation(t *testing.T) {
	in := input(record("x /usr/bin/make"))
	in.Audit.Header.Whitelist = audit.Whitelist{Requested: []string{"make", "python3", "gcc"}}
	in.Audit.Accesses[0].Owners = []audit.Owner{{Package: "make"}}
	in.Derivation = &artifact.Derivation{Name: "x", Version: "2", Script: "make\n", Interpreter: []string{"/usr/bin/make", "-s"}, Promises: []artifact.Promise{artifact.Exists("bin/x")},
		Environment: map[string]string{"A": "b"}, Sources: []artifact.Source{{Digest: "sha256:" + strings.Repeat("0", 64), Unpack: true},
			{Digest: "blake3:" + strings.Repeat("1", 64), Target: "data.bin"}, {Digest: "tree:" + strings.Repeat("0", 64)}},
		Dependencies: []artifact.Dependency{{ID: artifact.DerivationID{1}, As: "Z"}}}
	d := draft(t, in)
	if d.Name != "x" || d.Script != "make\n" || len(d.Sources) != 2 || len(d.Dependencies) != 1 || d.Interpreter[0] != "/usr/bin/make" || len(d.Edit) != 2 {
		t.Errorf("%+v", d)
	}
	if diff := gocmp.Diff([]learn.Unused{{Kind: "package", Name: "python3"}, {Kind: "package", Name: "gcc", With: []string{"cpp"}}}, d.Unused); diff != "" {
		t.Error(diff)
	}
}

// TestArtifacts: what a run used of the store becomes a dependency.
func TestArtifacts(t *testing.T) {
	id := artifact.DerivationID{5}
	a := record("r /var/lib/hdjail/store/"+id.String()+"-zlib-1/lib/libz.so\nr /var/lib/hdjail/store", "make")
	if d := draft(t, input(a)); len(d.Dependencies) != 1 || d.Dependencies[0] != id.String() || len(d.Paths) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestNothingRecorded(t *testing.T) {
	if _, err := learn.Learn(context.Background(), input(&audit.Audit{Header: audit.Header{Mode: "off"}})); err == nil {
		t.Error("learns from nothing")
	}
	failing := input(record("r /usr/bin/make", "make"))
	failing.Host = broken{debian()}
	if _, err := learn.Learn(context.Background(), failing); !errors.Is(err, errBroken) {
		t.Errorf("error %v", err)
	}
}

var errBroken = errors.New("the database is broken")

type broken struct{ host }

func (broken) Owners(context.Context, []string) (map[string][]string, error) {
	return nil, errBroken
}

func TestFind(t *testing.T) {
	graph := hostpkgs.NewGraph(installed())
	for _, c := range []struct {
		requested, used string
		want            []learn.Unused
	}{
		{"make gcc", "make cpp", nil},
		{"make gcc", "make libc6", []learn.Unused{{Kind: "package", Name: "gcc", With: []string{"cpp"}}}},
		{"gcc cpp", "", []learn.Unused{{Kind: "package", Name: "gcc"}}},
		{"make gone", "make", []learn.Unused{{Kind: "package", Name: "gone"}}},
		{"make gone", "gone make:amd64", nil},
		{"", "make", nil},
	} {
		a := record("r /usr/bin/make")
		a.Header.Whitelist = audit.Whitelist{Requested: strings.Fields(c.requested)}
		for _, name := range strings.Fields(c.used) {
			a.Accesses[0].Owners = append(a.Accesses[0].Owners, audit.Owner{Package: name})
		}
		if diff := gocmp.Diff(c.want, learn.Find(a, graph)); diff != "" {
			t.Errorf("%s used of %s (-want +got):\n%s", c.used, c.requested, diff)
		}
	}
	a := record("r /opt/cc/bin/cc\nr /opt/none absent")
	a.Header.Whitelist = audit.Whitelist{Paths: []string{"/opt/cc", "/opt/none"}, Dependencies: []string{"/s/store/x"}}
	if diff := gocmp.Diff([]learn.Unused{{Kind: "path", Name: "/opt/none"}, {Kind: "dependency", Name: "/s/store/x"}}, learn.Find(a, graph)); diff != "" {
		t.Error(diff)
	}
	if learn.Find(&audit.Audit{Header: a.Header}, graph) == nil {
		t.Error("an observed run without accesses used something")
	}
	a.Header.Observers = nil
	if learn.Find(&audit.Audit{Header: a.Header}, graph) != nil {
		t.Error("an unobserved run has unused entries")
	}
}

// TestGolden is a whole learnt spec, as a person reads it.
func TestGolden(t *testing.T) {
	a := record(`x /usr/bin/gcc
r /usr/include/stdio.h
r /usr/lib/libc.so
p /usr/local/include
r /opt/one/a
r /opt/one/b
r /home/u/.ssh/id
r /home/u/.gitconfig
x /home/u/proj/build.sh
p /home/u/proj/hello absent
w /home/u/proj/hello ld`, "./build.sh", "-v")
	a.Header.Whitelist.Requested = []string{"python3"}
	in := input(a)
	h := debian()
	h.entries["/home/u/proj/hello"] = "file"
	in.Host = h
	got := draft(t, in).YAML()
	const file = "testdata/learnt.yaml"
	if *update {
		if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(file, got, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("-want +got, -update writes it:\n%s", diff)
	}
}

// FuzzYAML: whatever names, reasons and scripts there are, the text is a spec that says the same.
func FuzzYAML(f *testing.F) {
	f.Add("zlib", "/opt/x y", "make\n", "read by a\nb")
	f.Add("no", "/ö/\x1b[1m", " \tx\n\n", "\xff #")
	f.Add("1.0", "/a: b", "a: |\n  # x\n\n\ttab", "'\"\\")
	f.Fuzz(func(t *testing.T, name, path, script, reason string) {
		if !regexp.MustCompile(`^[A-Za-z0-9_+-][A-Za-z0-9_+.-]{0,99}$`).MatchString(name) {
			name = "a"
		}
		path, script = cmp.Or(strings.ReplaceAll(path, "\x00", ""), "."), cmp.Or(strings.ReplaceAll(script, "\x00", ""), "make\n")
		d := &learn.Draft{Heading: []string{reason}, Edit: []string{path}, Name: name, Version: name, Script: script, Packages: []learn.Entitled{{Name: "gcc", Reason: reason}},
			Sources: []learn.Source{{Path: path, Unpack: true, Reason: reason}}, Environment: map[string]string{"A": path}, Secrets: []learn.Entitled{{Name: path, Reason: reason}}}
		s, err := spec.Parse("x.yaml", d.YAML())
		if err != nil {
			t.Fatalf("%v\n%s", err, d.YAML())
		}
		if s.Name != name || s.Script != strings.ToValidUTF8(script, "\uFFFD") || s.Sources[0].Path != strings.ToValidUTF8(path, "\uFFFD") || len(s.Host.Packages) != 1 {
			t.Fatalf("%q %q %q became %q %q %q\n%s", name, path, script, s.Name, s.Sources[0].Path, s.Script, d.YAML())
		}
	})
}

// FuzzLearn: a record that was made up gives an error or a spec.
func FuzzLearn(f *testing.F) {
	for _, text := range []string{"r /usr/bin/make\nx /usr/bin/gcc", "r /opt/current/bin/cc\nw /home/u/proj/x\nl /etc"} {
		var b bytes.Buffer
		a := record(text, "sh", "-c", "make PREFIX=$PWD/x")
		if err := a.WriteDocument(&b); err != nil {
			f.Fatal(err)
		}
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := audit.Read(bytes.NewReader(data))
		if err != nil {
			return
		}
		began := time.Now()
		d, err := learn.Learn(context.Background(), input(a))
		if err != nil {
			return
		}
		if _, err := spec.Parse("x.yaml", d.YAML()); err != nil {
			t.Errorf("%v\n%s", err, d.YAML())
		}
		if time.Since(began) > 10*time.Second {
			t.Error("takes too long")
		}
	})
}
