package jailplan

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/hostpkgs"
	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
)

var update = flag.Bool("update", false, "write the golden files")

var (
	composed = hostpkgs.Tree{Path: "/s/host/trees/1", Top: []hostpkgs.TopEntry{{Name: "bin", Link: "usr/bin"}, {Name: "boot", IsDir: true},
		{Name: "dev", IsDir: true}, {Name: "etc", IsDir: true}, {Name: "home", IsDir: true}, {Name: "lib64", Link: "usr/lib64"},
		{Name: "proc", IsDir: true}, {Name: "root", IsDir: true}, {Name: "run", IsDir: true}, {Name: "sys", IsDir: true},
		{Name: "tmp", IsDir: true}, {Name: "usr", IsDir: true}, {Name: "var", IsDir: true}}}
	host = hostpkgs.Tree{Path: "/", Top: []hostpkgs.TopEntry{{Name: "bin", Link: "usr/bin"}, {Name: "build", IsDir: true},
		{Name: "dev", IsDir: true}, {Name: "etc", IsDir: true}, {Name: "home", IsDir: true}, {Name: "initrd.img", Link: "boot/i"},
		{Name: "proc", IsDir: true}, {Name: "root", IsDir: true}, {Name: "run", IsDir: true}, {Name: "swapfile"},
		{Name: "sys", IsDir: true}, {Name: "tmp", IsDir: true}, {Name: "usr", IsDir: true}, {Name: "var", IsDir: true}}}
	scratch = &jail.Scratch{Dir: "/s/tmp/t/x"}
	zlib    = Dependency{ID: artifact.DerivationID{1}, Public: "/s/store/" + artifact.DerivationID{1}.String() + "-zlib", As: "ZLIB",
		Outs: []string{"/s/realizations/z/out"}, IDs: []artifact.RealizationID{{9}}}
	deep   = Dependency{ID: artifact.DerivationID{3}, Public: "/s/store/" + artifact.DerivationID{3}.String() + "-deep", Outs: []string{"/s/realizations/d/out"}}
	models = Dependency{ID: artifact.DerivationID{2}, Public: "/s/store/unused", As: "MODELS", Many: true,
		Outs: []string{"/s/realizations/m0/out", "/s/realizations/m1/out"}, IDs: []artifact.RealizationID{{7}, {8}}}
)

func exampleBuild() Build {
	d := &artifact.Derivation{Name: "png", Version: "1", Interpreter: []string{"/bin/sh", "-eu"}, Script: "make\n",
		Environment: map[string]string{"CFLAGS": "-O2", "TZ": "CET", "PATH": "/opt/cc/bin:/bin"}}
	return Build{View: View{Name: "png-1", Mode: policies.ModeHide, Scratch: scratch, Tree: composed, Home: "/home/u",
		Paths:        []Path{{Path: "/opt/cc", Directory: true}, {Path: "/opt/link", Directory: true, Link: "/opt/cc"}, {Path: "/usr/local/lic.dat"}},
		Dependencies: []Dependency{zlib, models, deep}, Stores: []string{"/s"}},
		Derivation: d, Artifact: "/s/store/aaaa-png-1", Jobs: 3, Limits: jail.Limits{Pids: 9}}
}

func exampleRun(mode policies.Mode) Run {
	r := Run{View: View{Name: "run", Mode: mode, Scratch: scratch, Tree: host, Home: "/home/u", Stores: []string{"/var/lib/hdjail"},
		Secrets: []Secret{{"/home/u/.ssh", true}, {"/home/u/.netrc", false}, {"/etc/ssh", true}, {"/run/x", true}},
		Paths:   []Path{{Path: "/home/u/work", Directory: true, Writable: true}, {Path: "/data", Directory: true}}},
		Args: []string{"/usr/bin/make"}, Dir: "/home/u/work/src", Set: map[string]string{"A": "b", "TERM": "x"},
		Environ: []string{"HOME=/home/u", "TERM=xterm", "PWD=/elsewhere", "GITHUB_TOKEN=1", "DB_PASSWORD=2", "SSH_AUTH_SOCK=/s", "BROKEN", "=odd"}}
	if mode.Contains() {
		r.Tree = composed
	}
	return r
}

// TestGolden shows whole plans, which a person has read.
func TestGolden(t *testing.T) {
	log := exampleBuild()
	log.Mode, log.Tree, log.Stores, log.Artifact = policies.ModeLog, host, []string{"/srv/s", "/var/lib/hdjail"}, "/var/lib/hdjail/store/aaaa-png-1"
	log.Dependencies = []Dependency{{ID: zlib.ID, Public: "/var/lib/hdjail/store/z", As: "ZLIB", Outs: []string{"/srv/s/realizations/z/out"}}}
	shell := exampleBuild()
	shell.Shell = []string{"/bin/sh", "-i"}
	tmp := exampleRun(policies.ModeLog)
	tmp.HostTmp, tmp.Dir, tmp.Home = true, "/tmp/x", "/root"
	off := exampleRun(policies.ModeOff)
	off.Dir = "/run/x"
	for name, plan := range map[string]interface{ Config() (jail.Config, error) }{
		"build-hide": exampleBuild(), "build-log": log, "shell": shell, "run-hide": exampleRun(policies.ModeHide),
		"run-log": exampleRun(policies.ModeLog), "run-log-host-tmp": tmp, "run-off": off,
	} {
		c, err := plan.Config()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if err := c.Validate(); err != nil {
			t.Errorf("%s: no runner takes it: %v", name, err)
		}
		golden(t, "testdata/"+name+".golden", show(c))
	}
}

func show(c jail.Config) string {
	var b strings.Builder
	for _, e := range c.Mounts.Entries {
		flags := ""
		for _, f := range []struct {
			set  bool
			name string
		}{{e.Directory, "dir"}, {e.Writable, "rw"}, {e.Recursive, "rec"}, {e.Device, "dev"}, {e.NoExec, "noexec"}} {
			if f.set {
				flags += " " + f.name
			}
		}
		fmt.Fprintf(&b, "%-8s %s <- %q%s (%s)\n", e.Kind, e.Target, e.Source, flags, e.Why)
	}
	fmt.Fprintf(&b, "args %q\ndir %s\nmode %s host %t terminal %t pids %d\n%s\n", c.Args, c.Dir, c.Mode, c.Host, c.Terminal, c.Limits.Pids, strings.Join(c.Env, "\n"))
	return b.String()
}

func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(got), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got, -update writes it):\n%s", file, diff)
	}
}

func entry(c jail.Config, target string) (mounts.Entry, bool) {
	i := slices.IndexFunc(c.Mounts.Entries, func(e mounts.Entry) bool { return e.Target == target })
	if i < 0 {
		return mounts.Entry{}, false
	}
	return c.Mounts.Entries[i], true
}

// TestNothingOfTheHost: in the containing modes every bind is of the composed tree, the scratch, the store, a device or a
// path that was asked for, and only scratch, $ARTIFACT and devices are writable.
func TestNothingOfTheHost(t *testing.T) {
	for _, mode := range []policies.Mode{policies.ModeHide, policies.ModeFail} {
		b := exampleBuild()
		b.Mode = mode
		c, err := b.Config()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range c.Mounts.Entries {
			asked := slices.Contains([]string{"/opt/cc", "/usr/local/lic.dat"}, e.Source)
			ours := mounts.Below("/s", e.Source) || e.Device && mounts.Below("/dev", e.Source)
			if e.Kind == mounts.Bind && !asked && !ours {
				t.Errorf("%s: shows %s of the host at %s", mode, e.Source, e.Target)
			}
			if e.Kind == mounts.Bind && e.Writable && !e.Device && !mounts.Below(scratch.Dir, e.Source) {
				t.Errorf("%s: %s is writable", mode, e.Target)
			}
		}
		for _, absent := range []string{"/sys", "/run", "/home", "/root"} {
			if e, found := entry(c, absent); found {
				t.Errorf("%s: %s is there: %+v", mode, absent, e)
			}
		}
	}
}

func TestSecrets(t *testing.T) {
	r := exampleRun(policies.ModeLog)
	r.Paths = append(r.Paths, Path{Path: "/etc/ssh", Directory: true}, Path{Path: "/home/u", Directory: true, Writable: true})
	c, err := r.Config()
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := entry(c, "/home/u/.ssh"); e.Kind != mounts.Skeleton {
		t.Errorf("a writable home shows its keys: %+v", e)
	}
	if e, _ := entry(c, "/home/u/.netrc"); e.Source != Blank(scratch) {
		t.Errorf("a writable home shows a secret file: %+v", e)
	}
	if e, _ := entry(c, "/home/u"); !e.Writable || e.Kind != mounts.Bind {
		t.Errorf("the home is not writable: %+v", e)
	}
	if e, _ := entry(c, "/etc/ssh"); e.Source != "/etc/ssh" {
		t.Errorf("a path that was asked for is hidden: %+v", e)
	}
	for _, v := range c.Env {
		if strings.HasPrefix(v, "GITHUB_TOKEN") || strings.HasPrefix(v, "DB_PASSWORD") || strings.HasPrefix(v, "SSH_AUTH_SOCK") {
			t.Errorf("passes %s", v)
		}
	}
}

// TestHomes: mode log shows the caller's home, or none.
func TestHomes(t *testing.T) {
	for _, c := range []struct {
		home    string
		hide    bool
		bind    bool
		covered string
	}{
		{"/home/u", false, true, ""}, {"/home/u", true, false, ""}, {"/root", false, true, ""}, {"/root", true, false, ""},
		{"/var/people/u", false, true, "/var/people"}, {"/var/people/u", true, false, "/var/people"}, {"", false, false, ""},
	} {
		r := exampleRun(policies.ModeLog)
		r.Paths, r.Home, r.HideHome = nil, c.home, c.hide
		r.Secrets = []Secret{{c.home + "/.ssh", true}}
		config, err := r.Config()
		if err != nil {
			t.Fatal(err)
		}
		e, _ := entry(config, c.home)
		secret, hidden := entry(config, c.home+"/.ssh")
		if (e.Kind == mounts.Bind) != c.bind || hidden != c.bind || hidden && secret.Kind != mounts.Skeleton {
			t.Errorf("home %q, hidden %t: %+v, %+v", c.home, c.hide, e, secret)
		}
		for _, other := range []string{"/home", "/root"} {
			if e, found := entry(config, other); found && c.home != other {
				t.Errorf("home %q: shows %+v", c.home, e)
			}
		}
		if e, _ := entry(config, c.covered); c.covered != "" && e.Kind != mounts.Skeleton {
			t.Errorf("home %q: the homes beside it are %+v", c.home, e)
		}
	}
}

func TestMountpoints(t *testing.T) {
	got := Mountpoints([]string{"/var/lib/hdjail", "/s"}, []Path{{Path: "/usr/local/lic.dat"}, {Path: "/opt/cc", Directory: true},
		{Path: "/opt/link", Directory: true, Link: "/opt/cc"}, {Path: "/data/x", Directory: true}, {Path: "/opt/cc", Directory: true}})
	want := []hostpkgs.Mountpoint{{Path: "/opt/cc", Dir: true}, {Path: "/opt/link", Dir: true}, {Path: "/usr/local/lic.dat"}, {Path: "/var/lib/hdjail", Dir: true}, {Path: "/var/tmp", Dir: true}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestConflict: two dependencies cannot have one place.
func TestConflict(t *testing.T) {
	b := exampleBuild()
	other := zlib
	other.Outs = []string{"/s/realizations/other/out"}
	b.Dependencies = append(b.Dependencies, other)
	_, err := b.Config()
	var conflict *mounts.ConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("error %v; want *mounts.ConflictError", err)
	}
}

// TestPrintable: a plan is shown as JSON and says the same every time.
func TestPrintable(t *testing.T) {
	var texts []string
	for range 2 {
		c, err := exampleBuild().Config()
		if err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, string(text))
	}
	if texts[0] != texts[1] || !strings.Contains(texts[0], `"target":"/s/store/aaaa-png-1"`) {
		t.Errorf("plans: %s\n%s", texts[0], texts[1])
	}
}
