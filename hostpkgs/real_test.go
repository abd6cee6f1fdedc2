package hostpkgs_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
)

// TestMain lets the test binary be what a test starts as another user: it pins and prints the pins, or finds the owner of
// a path and prints it. The arguments are the root, the folder and the names, or the path.
func TestMain(m *testing.M) {
	if len(os.Args) < 4 || os.Args[1] != "pin" && os.Args[1] != "owner" {
		os.Exit(m.Run())
	}
	db, err := dpkg.Open(os.Args[2])
	if err == nil {
		var h *hostpkgs.Host
		h, err = hostpkgs.New(hostpkgs.Config{Database: db, Root: os.Args[2], Dir: os.Args[3], Digest: digestTree})
		if err == nil {
			err = asked(h, os.Args[1], os.Args[4:])
		}
	}
	if err != nil {
		os.Stderr.WriteString(err.Error())
		os.Exit(1)
	}
}

func asked(h *hostpkgs.Host, verb string, args []string) error {
	if verb == "owner" {
		owner, _, err := h.Owner(context.Background(), args[0])
		os.Stdout.WriteString(owner)
		return err
	}
	pins, err := h.Pin(context.Background(), args)
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(pins)
}

// realHost returns a Host on the machine's own packages, or skips where they are not dpkg's or lack one of names.
func realHost(t testing.TB, names ...string) *hostpkgs.Host {
	t.Helper()
	db, err := dpkg.Open("/")
	if err != nil {
		t.Skipf("needs a host with dpkg: %v", err)
	}
	installed, err := db.Packages(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := hostpkgs.Closure(installed, names); err != nil {
		t.Skipf("needs packages: %v", err)
	}
	return openHost(t, "/", tempDir(t))
}

const nobody = 65534

// TestRootAndOthersAgree pins a made-up host and the real one as root and as nobody.
func TestRootAndOthersAgree(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root, to become somebody else")
	}
	fixture := sampleRoot(t)
	for _, c := range []struct {
		root  string
		names []string
	}{{fixture, []string{"tool", "diverter", "comp-a", "comp-b", "ca-certificates"}}, {"/", []string{"dash", "coreutils"}}} {
		var host *hostpkgs.Host
		if c.root == "/" {
			host = realHost(t, c.names...)
		} else {
			host = openHost(t, c.root, tempDir(t))
		}
		pins, err := host.Pin(context.Background(), c.names)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(pins, pinAsNobody(t, c.root, c.names)); diff != "" {
			t.Errorf("pins of %q (-root +nobody):\n%s", c.names, diff)
		}
	}
}

func pinAsNobody(t *testing.T, root string, names []string) []hostpkgs.Pinned {
	t.Helper()
	dir := tempDir(t)
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	var pins []hostpkgs.Pinned
	if err := json.Unmarshal(asNobody(t, "pin", root, dir, names...), &pins); err != nil {
		t.Fatal(err)
	}
	return pins
}

// asNobody runs the test binary, as nobody if we are root, and returns what it prints. See TestMain.
func asNobody(t *testing.T, verb, root, dir string, args ...string) []byte {
	t.Helper()
	for _, parent := range []string{filepath.Dir(dir), filepath.Dir(root)} { // made by testing for us alone
		if parent != "/" {
			if err := os.Chmod(parent, 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	cmd := exec.Command("/proc/self/exe", append([]string{verb, root, dir}, args...)...)
	cmd.Dir = "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s as nobody: %v: %s", verb, err, &stderr)
	}
	return output
}

// TestRealCompiler composes a compiler and runs it, with nothing else of the host in sight.
func TestRealCompiler(t *testing.T) {
	names := []string{"gcc", "dash", "coreutils", "awk"}
	h := realHost(t, names...)
	tree := compose(t, h, show(t, h, names...))
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"/bin/sh", "-c", "echo $((40 + 2))"}, "42"},
		{[]string{"/usr/bin/gcc", "--version"}, "gcc"},
		{[]string{"/usr/bin/cc", "--version"}, "cc"},
		{[]string{"/usr/bin/awk", "BEGIN { print 6 * 7 }"}, "42"},
		{[]string{"/usr/bin/id", "-un"}, "root"},
		{[]string{"/bin/ls", "/"}, "bin"},
	} {
		cmd := exec.Command(c.args[0], c.args[1:]...)
		cmd.Path, cmd.Dir, cmd.Env = c.args[0], "/", []string{"PATH=/usr/bin"}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWUSER, Chroot: tree.Path,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
		}
		output, err := cmd.CombinedOutput()
		if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) {
			t.Skipf("needs user namespaces: %v", err)
		}
		if err != nil || !strings.HasPrefix(string(output), c.want) {
			t.Errorf("%q: %v\n%s", c.args, err, output)
		}
	}
	t.Run("ldconfig", func(t *testing.T) { compareWithLdconfig(t, tree.Path) })
}

// compareWithLdconfig has the real ldconfig write a cache of the tree, and compares what the two list.
func compareWithLdconfig(t *testing.T, tree string) {
	if os.Getuid() != 0 {
		t.Skip("needs root: ldconfig changes its root directory")
	}
	if output, err := exec.Command("/sbin/ldconfig", "-r", tree, "-X", "-C", "/etc/theirs").CombinedOutput(); err != nil {
		t.Fatalf("ldconfig: %v\n%s", err, output)
	}
	list := func(name string) []string {
		output, err := exec.Command("/sbin/ldconfig", "-p", "-C", filepath.Join(tree, "etc", name)).Output()
		if err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(string(output), "\n")
		return slices.DeleteFunc(lines, func(line string) bool { return !strings.HasPrefix(line, "\t") })
	}
	theirs := list("theirs")
	if diff := cmp.Diff(theirs, list("ld.so.cache")); diff != "" || len(theirs) < 3 {
		t.Errorf("libraries (-ldconfig +ours):\n%s", diff)
	}
}

var benchNames = []string{"gcc", "make", "coreutils", "dash", "sed", "grep", "mawk"}

// BenchmarkFirst pins and composes a tool chain from nothing.
func BenchmarkFirst(b *testing.B) {
	b.Run("pin", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			h := realHost(b, benchNames...)
			b.StartTimer()
			show(b, h, benchNames...)
		}
	})
	b.Run("compose", func(b *testing.B) {
		h := realHost(b, benchNames...)
		report := show(b, h, benchNames...)
		n := 0
		for b.Loop() {
			n++
			compose(b, h, report, hostpkgs.Mountpoint{Path: "/usr/" + strings.Repeat("x", n), Dir: true})
		}
	})
}

// BenchmarkAgain is what every later run pays: new is another process, same the same one.
func BenchmarkAgain(b *testing.B) {
	dir := tempDir(b)
	realHost(b, benchNames...)
	report := show(b, openHost(b, "/", dir), benchNames...)
	compose(b, openHost(b, "/", dir), report)
	b.Run("pin-new", func(b *testing.B) {
		for b.Loop() {
			show(b, openHost(b, "/", dir), benchNames...)
		}
	})
	h := openHost(b, "/", dir)
	b.Run("pin-same", func(b *testing.B) {
		for b.Loop() {
			show(b, h, benchNames...)
		}
	})
	b.Run("compose", func(b *testing.B) {
		for b.Loop() {
			compose(b, h, report)
		}
	})
}
