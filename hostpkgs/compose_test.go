package hostpkgs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/tree"
)

const generatedEtc = `etc/group 444 "root:x:0:\nbuild:x:1000:\nnogroup:x:65534:\n"
etc/hosts 444 "127.0.0.1 localhost\n::1 localhost\n"
etc/ld.so.cache 444 ""
etc/nsswitch.conf 444 "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\nprotocols: files\nservices: files\n"
etc/passwd 444 "root:x:0:0:root:/root:/bin/sh\nbuild:x:1000:1000:build:/tmp/home:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
`

func compose(t testing.TB, h *hostpkgs.Host, report hostpkgs.Report, points ...hostpkgs.Mountpoint) hostpkgs.Tree {
	t.Helper()
	tree, err := h.Compose(context.Background(), report.Packages, points)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestComposeNothing(t *testing.T) {
	made := compose(t, openHost(t, sampleRoot(t), tempDir(t)), hostpkgs.Report{})
	if diff := cmp.Diff(generatedEtc, listing(t, made.Path)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	if want := []hostpkgs.TopEntry{{Name: "etc", IsDir: true}}; !slices.Equal(made.Top, want) {
		t.Errorf("top %v, want %v", made.Top, want)
	}
}

func TestCompose(t *testing.T) {
	h := openHost(t, sampleRoot(t), tempDir(t))
	made := compose(t, h, show(t, h, "diverter", "ca-certificates"),
		hostpkgs.Mountpoint{Path: "/usr/share/doc/tool", Dir: true}, hostpkgs.Mountpoint{Path: "/bin/extra/deep", Dir: true},
		hostpkgs.Mountpoint{Path: "/etc/extra.conf"}, hostpkgs.Mountpoint{Path: "/etc/tool.conf"})
	etc := strings.SplitAfter(generatedEtc, "\n")
	want := "bin -> usr/bin\netc/extra.conf 444 \"\"\n" + strings.Join(etc[:4], "") + etc[4] +
		`etc/secret/
etc/ssl/certs/ca-certificates.crt 444 "bundle"
etc/ssl/certs/one.pem -> /usr/share/ca/one.crt
etc/tool.conf 444 "as the administrator left it"
lib -> usr/lib
sbin -> usr/sbin
usr/bin/again 555 "#!/bin/sh\n"
usr/bin/extra/deep/
usr/bin/tool 555 "diverted"
usr/bin/tool.real 555 "original"
usr/lib/libx.so.1 -> libx.so.1.2
usr/lib/libx.so.1.2 444 "not really a library"
usr/share/doc/tool/empty 444 ""
`
	if diff := cmp.Diff(want, listing(t, made.Path)); diff != "" {
		t.Errorf("tree (-want +got):\n%s", diff)
	}
	top := []hostpkgs.TopEntry{
		{Name: "bin", Link: "usr/bin"}, {Name: "etc", IsDir: true}, {Name: "lib", Link: "usr/lib"}, {Name: "sbin", Link: "usr/sbin"}, {Name: "usr", IsDir: true},
	}
	if !slices.Equal(made.Top, top) {
		t.Errorf("top %v, want %v", made.Top, top)
	}
}

// TestAlternatives composes closures of which the host's choice is a part, or is not.
func TestAlternatives(t *testing.T) {
	for _, c := range []struct {
		packages []string
		want     map[string]string
	}{
		{[]string{"comp-a", "comp-b"}, map[string]string{
			"usr/bin/comp": "/etc/alternatives/comp", "etc/alternatives/comp": "/usr/bin/comp-b",
			"usr/share/man/comp.1": "/etc/alternatives/comp.1", "etc/alternatives/comp.1": "/usr/share/man/comp-b.1",
		}},
		{[]string{"comp-a"}, map[string]string{"usr/bin/comp": "/etc/alternatives/comp", "etc/alternatives/comp": "/usr/bin/comp-a"}},
		{[]string{"libx"}, map[string]string{}},
	} {
		h := openHost(t, sampleRoot(t), tempDir(t))
		made := compose(t, h, show(t, h, c.packages...))
		got := map[string]string{}
		for _, name := range []string{"usr/bin/comp", "etc/alternatives/comp", "usr/share/man/comp.1", "etc/alternatives/comp.1"} {
			if target, err := os.Readlink(filepath.Join(made.Path, name)); err == nil {
				got[name] = target
			}
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("links with %q (-want +got):\n%s", c.packages, diff)
		}
	}
}

// TestComposeDependsOnPinsAlone changes the host between pin and composition, and between two compositions.
func TestComposeDependsOnPinsAlone(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	h := openHost(t, root, dir)
	pins := show(t, h, "tool", "comp-a", "comp-b")
	if err := os.RemoveAll(root); err != nil {
		t.Fatal(err)
	}
	first := compose(t, h, pins)
	if again := compose(t, h, pins); again.Path != first.Path {
		t.Errorf("the same pins composed to %q and %q", first.Path, again.Path)
	}
	if other := compose(t, h, pins, hostpkgs.Mountpoint{Path: "/usr/x", Dir: true}); other.Path == first.Path {
		t.Error("a mountpoint did not make another tree")
	}
	fewer := pins
	fewer.Packages = pins.Packages[1:]
	if other := compose(t, h, fewer); other.Path == first.Path {
		t.Error("fewer pins did not make another tree")
	}
}

func TestMountpointErrors(t *testing.T) {
	h := openHost(t, sampleRoot(t), tempDir(t))
	pins := show(t, h, "tool")
	for _, m := range []hostpkgs.Mountpoint{
		{Path: "/etc/tool.conf", Dir: true}, {Path: "/usr/share/doc"}, {Path: "/etc/tool.conf/below", Dir: true},
		{Path: "/usr/bin/tool.real/below"}, {Path: "relative", Dir: true}, {Path: "/a/../b", Dir: true}, {Path: "/", Dir: true}, {Path: "", Dir: true},
	} {
		_, err := h.Compose(context.Background(), pins.Packages, []hostpkgs.Mountpoint{m})
		if bad, ok := errors.AsType[*tree.MountpointError](err); !ok || bad.Path != m.Path {
			t.Errorf("mountpoint %+v gave %v", m, err)
		}
	}
}

func TestMalformedPin(t *testing.T) {
	h := openHost(t, sampleRoot(t), tempDir(t))
	for _, digest := range []string{"", "../../etc", "blake3:../../etc"} {
		if made, err := h.Compose(context.Background(), []hostpkgs.Pinned{{Name: "x", Digest: digest}}, nil); err == nil {
			t.Errorf("digest %q composed to %v", digest, made)
		}
	}
}

// TestLostSnapshot removes all snapshots after a pin; they come back only as they were.
func TestLostSnapshot(t *testing.T) {
	for _, c := range []struct {
		what, lost string
		change     func(t *testing.T, root string)
		found      bool
	}{
		{"the same", "", func(*testing.T, string) {}, false},
		{"another content", "libx", func(t *testing.T, root string) {
			writeSample(t, filepath.Join(root, "usr/lib/libx.so.1.2"), file{content: "other"})
		}, true},
		{"another version", "libx", func(t *testing.T, root string) {
			status := filepath.Join(root, "var/lib/dpkg/status")
			text, err := os.ReadFile(status)
			if err != nil {
				t.Fatal(err)
			}
			writeSample(t, status, file{content: strings.ReplaceAll(string(text), "Version: 1", "Version: 2")})
		}, false},
		{"another choice", hostpkgs.HostLinks, func(t *testing.T, root string) {
			writeSample(t, filepath.Join(root, "lib"), file{target: "/usr/lib"})
		}, true},
	} {
		t.Run(c.what, func(t *testing.T) {
			root, dir := sampleRoot(t), tempDir(t)
			pins := show(t, openHost(t, root, dir), "libx")
			for _, p := range pins.Packages {
				snapshot := filepath.Join(dir, "packages", strings.TrimPrefix(p.Digest, "blake3:"))
				if err := os.Rename(snapshot, snapshot+".away"); err != nil {
					t.Fatal(err)
				}
			}
			c.change(t, root)
			_, err := openHost(t, root, dir).Compose(context.Background(), pins.Packages, nil)
			lost, ok := errors.AsType[*hostpkgs.LostSnapshotError](err)
			switch {
			case c.lost == "" && err != nil, c.lost != "" && !ok:
				t.Fatalf("compose gave %v", err)
			case ok && (lost.Pinned.Name != c.lost || (lost.Found != "") != c.found):
				t.Errorf("lost %+v, want %s", lost, c.lost)
			}
		})
	}
}
