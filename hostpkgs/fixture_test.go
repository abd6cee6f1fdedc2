package hostpkgs_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zeebo/blake3"
	"golang.org/x/sys/unix"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
)

// digestTree stands in for the tree digest of the artifact package: names, types, executable bits, contents, targets.
func digestTree(_ context.Context, dir string) (string, error) {
	sum := blake3.New()
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%q %v %v ", name[len(dir):], info.Mode().Type(), info.Mode()&0o111 != 0 && !d.IsDir())
		switch {
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(name)
			fmt.Fprintf(sum, "%q", target)
			return err
		case d.Type().IsRegular():
			f, err := os.Open(name)
			if err != nil {
				return err
			}
			defer f.Close()
			fmt.Fprintf(sum, "%d ", info.Size())
			_, err = io.Copy(sum, f)
			return err
		}
		return nil
	})
	return fmt.Sprintf("blake3:%x", sum.Sum(nil)), err
}

// tempDir is a folder whose read-only trees can be removed after the test.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	t.Cleanup(func() {
		_ = filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				return os.Chmod(name, 0o700)
			}
			return nil
		})
	})
	return dir
}

// openHost returns a Host on a dpkg root. Each call stands for a new process.
func openHost(t testing.TB, root, dir string) *hostpkgs.Host {
	t.Helper()
	db, err := dpkg.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	h, err := hostpkgs.New(hostpkgs.Config{Database: db, Root: root, Dir: dir, Digest: digestTree})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// file is what a made-up root holds at a path: a link if target is set, a pipe, or content with a mode (0644 if 0).
type file struct {
	content, target string
	mode            os.FileMode
	pipe            bool
}

// installed is a package of a made-up root: the paths in its list, one a line, and further fields of its paragraph.
type installed struct{ name, fields, list string }

// sampleFiles and samplePackages are a small host: /usr merged, a diversion, alternatives, what nobody may see.
var sampleFiles = map[string]file{
	"bin": {target: "usr/bin"}, "sbin": {target: "usr/sbin"}, "lib": {target: "usr/lib"}, "data": {target: "/usr/share"},
	"usr/bin/tool":                      {content: "diverted", mode: 0o4755},
	"usr/bin/tool.real":                 {content: "original", mode: 0o755},
	"usr/bin/again":                     {content: "#!/bin/sh\n", mode: 0o755},
	"usr/lib/libx.so.1.2":               {content: "not really a library"},
	"usr/lib/libx.so.1":                 {target: "libx.so.1.2"},
	"usr/share/doc/tool/empty":          {},
	"usr/bin/comp-a":                    {content: "a", mode: 0o755},
	"usr/bin/comp-b":                    {content: "b", mode: 0o755},
	"usr/share/man/comp-b.1":            {content: "page"},
	"usr/bin/comp":                      {target: "/etc/alternatives/comp"},
	"etc/alternatives/comp":             {target: "/usr/bin/comp-b"},
	"etc/tool.conf":                     {content: "as the administrator left it"},
	"etc/passwd":                        {content: "alice:x:1:1::/:/bin/sh\n"},
	"etc/machine-id":                    {content: "0123\n"},
	"etc/secret/key":                    {content: "hidden by its folder"},
	"etc/shadow.tool":                   {content: "hidden by its mode", mode: 0o640},
	"etc/pipe":                          {pipe: true},
	"etc/ssl/certs/ca-certificates.crt": {content: "bundle"},
	"etc/ssl/certs/one.pem":             {target: "/usr/share/ca/one.crt"},
	"run/tool/state":                    {content: "at run time"},
	"var/lib/dpkg/diversions":           {content: "/bin/tool\n/bin/tool.real\ndiverter\n"},
	"var/lib/dpkg/alternatives/comp": {content: "manual\n/usr/bin/comp\ncomp.1\n/usr/share/man/comp.1\n\n" +
		"/usr/bin/comp-a\n20\n\n/usr/bin/comp-b\n10\n/usr/share/man/comp-b.1\n\n"},
}

var samplePackages = []installed{
	{"dpkg", "", "/."},
	{"tool", "Depends: libx (>= 1) | other, virtual, missing | lost\nConffiles:\n /etc/tool.conf 0\n",
		"/.\n/bin\n/bin/tool\n/etc/tool.conf\n/etc/secret\n/etc/secret/key\n/etc/shadow.tool\n/etc/pipe\n/usr/share/doc/tool/empty\n" +
			"/usr/share/doc/tool/was-removed\n/run/tool/state\n/etc/machine-id\n/data/doc/tool/empty"},
	{"diverter", "Depends: tool\n", "/.\n/bin/tool\n/usr/bin/again"},
	{"libx", "Multi-Arch: same\n", "/.\n/lib/libx.so.1.2\n/lib/libx.so.1"},
	{"provider", "Provides: virtual (= 1)\n", "/.\n/usr/lib/libx.so.1"},
	{"comp-a", "", "/.\n/usr/bin/comp-a"},
	{"comp-b", "", "/.\n/usr/bin/comp-b\n/usr/share/man/comp-b.1"},
	{"ca-certificates", "", "/.\n/etc/passwd"},
	{"nothing", "", "/."},
}

// sampleRoot makes the small host in a folder.
func sampleRoot(t testing.TB) string {
	t.Helper()
	root := t.TempDir()
	for name, f := range sampleFiles {
		writeSample(t, filepath.Join(root, name), f)
	}
	if err := os.Chmod(filepath.Join(root, "etc/secret"), 0o710); err != nil {
		t.Fatal(err)
	}
	writePackages(t, root, samplePackages)
	return root
}

func writePackages(t testing.TB, root string, packages []installed) {
	t.Helper()
	status := ""
	for _, p := range packages {
		status += "Package: " + p.name + "\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n" + p.fields + "\n"
		list := p.name + ".list"
		if strings.Contains(p.fields, "Multi-Arch: same") {
			list = p.name + ":amd64.list"
		}
		writeSample(t, filepath.Join(root, "var/lib/dpkg/info", list), file{content: p.list + "\n"})
	}
	writeSample(t, filepath.Join(root, "var/lib/dpkg/status"), file{content: status})
}

// writeSample replaces a file of a made-up root.
func writeSample(t testing.TB, name string, f file) {
	t.Helper()
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if removed := os.Remove(name); !errors.Is(removed, fs.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	switch {
	case f.target != "":
		err = errors.Join(err, os.Symlink(f.target, name))
	case f.pipe:
		err = errors.Join(err, unix.Mkfifo(name, 0o644))
	default:
		mode := f.mode
		if mode == 0 {
			mode = 0o644
		}
		err = errors.Join(err, os.WriteFile(name, []byte(f.content), 0o600), unix.Chmod(name, uint32(mode)))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// listing describes a tree: a line for each entry but folders that hold something, and every departure from the canonical.
func listing(t testing.TB, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		line := strings.TrimPrefix(name[len(dir):], "/")
		if info.ModTime().Unix() != 1 {
			fmt.Fprintf(&out, "time of %q is %v\n", line, info.ModTime())
		}
		switch d.Type() {
		case fs.ModeDir:
			if info.Mode().Perm() != 0o555 {
				fmt.Fprintf(&out, "mode of %q is %v\n", line, info.Mode())
			}
			if entries, err := os.ReadDir(name); err != nil || len(entries) > 0 {
				return err
			}
			fmt.Fprintf(&out, "%s/\n", line)
		case fs.ModeSymlink:
			target, err := os.Readlink(name)
			fmt.Fprintf(&out, "%s -> %s\n", line, target)
			return err
		default:
			content, err := os.ReadFile(name)
			if line == "etc/ld.so.cache" {
				content = nil
			}
			fmt.Fprintf(&out, "%s %o %q\n", line, uint32(info.Mode().Perm())|uint32(info.Mode()&fs.ModeSetuid), content)
			return err
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
