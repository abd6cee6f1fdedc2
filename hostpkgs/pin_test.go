package hostpkgs_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
)

func show(t testing.TB, h *hostpkgs.Host, names ...string) hostpkgs.Report {
	t.Helper()
	report, err := h.Show(context.Background(), names)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

func find(t testing.TB, report hostpkgs.Report, name string) hostpkgs.Pinned {
	t.Helper()
	i := slices.IndexFunc(report.Packages, func(p hostpkgs.Pinned) bool { return p.Name == name })
	if i < 0 {
		t.Fatalf("no package %q in %v", name, report)
	}
	return report.Packages[i]
}

func TestSnapshot(t *testing.T) {
	dir := tempDir(t)
	report := show(t, openHost(t, sampleRoot(t), dir), "tool", "diverter", "ca-certificates")
	want := map[string]string{
		hostpkgs.HostLinks: "bin -> usr/bin\nlib -> usr/lib\nsbin -> usr/sbin\n",
		// Of a package list only what may be seen is there, under real names; diverted it is where the diversion put it.
		"tool": "bin -> usr/bin\netc/machine-id 444 \"0123\\n\"\netc/secret/\netc/tool.conf 444 \"as the administrator left it\"\n" +
			"usr/bin/tool.real 555 \"original\"\nusr/share/doc/tool/empty 444 \"\"\n",
		"diverter":        "usr/bin/again 555 \"#!/bin/sh\\n\"\nusr/bin/tool 555 \"diverted\"\n",
		"libx":            "usr/lib/libx.so.1 -> libx.so.1.2\nusr/lib/libx.so.1.2 444 \"not really a library\"\n",
		"provider":        "usr/lib/libx.so.1 -> libx.so.1.2\n",
		"ca-certificates": "etc/passwd 444 \"alice:x:1:1::/:/bin/sh\\n\"\netc/ssl/certs/ca-certificates.crt 444 \"bundle\"\netc/ssl/certs/one.pem -> /usr/share/ca/one.crt\n",
	}
	got := map[string]string{}
	for _, p := range report.Packages {
		got[p.Name] = listing(t, filepath.Join(dir, "packages", strings.TrimPrefix(p.Digest, "blake3:")))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("snapshots (-want +got):\n%s", diff)
	}
	tool := find(t, report, "tool")
	omitted := []hostpkgs.Omission{
		{Path: "/etc/pipe", Reason: "a device, socket or pipe"}, {Path: "/etc/secret/key", Reason: "in a folder that not everybody may search"},
		{Path: "/etc/shadow.tool", Reason: "not readable by everybody"}, {Path: "/run/tool/state", Reason: "in a place that a jail has of its own"},
	}
	if diff := cmp.Diff(omitted, tool.Omitted); diff != "" {
		t.Errorf("omitted of tool (-want +got):\n%s", diff)
	}
	if tool.Architecture != "amd64" || tool.Version != "1" || tool.Files != 5 || tool.Bytes != 41 {
		t.Errorf("tool is pinned as %+v", tool)
	}
	if want := []hostpkgs.Unmet{{Package: "tool", Dependency: "missing | lost"}}; !slices.Equal(report.Unmet, want) {
		t.Errorf("unmet %v, want %v", report.Unmet, want)
	}
}

func TestPinIsCached(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	first := show(t, openHost(t, root, dir), "tool", "comp-a")
	// Without the files the second process has the cache alone.
	if err := os.RemoveAll(filepath.Join(root, "usr")); err != nil {
		t.Fatal(err)
	}
	for _, names := range [][]string{{"tool", "comp-a"}, {"comp-a", "tool", "tool"}} {
		if diff := cmp.Diff(first, show(t, openHost(t, root, dir), names...)); diff != "" {
			t.Errorf("cached pin of %q (-want +got):\n%s", names, diff)
		}
	}
	// Another whitelist finds the packages that it shares.
	if got := find(t, show(t, openHost(t, root, dir), "tool"), "tool"); got.Digest != find(t, first, "tool").Digest {
		t.Error("a package that was pinned already was read again")
	}
}

// TestPinNotices changes the host in ways that must, or must not, change a pin.
func TestPinNotices(t *testing.T) {
	for _, c := range []struct {
		what    string
		change  func(t *testing.T, root, dir string)
		changed []string
	}{
		{"nothing", func(*testing.T, string, string) {}, nil},
		{"an edited conffile", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/tool.conf"), file{content: "edited"})
		}, []string{"tool"}},
		{"an upgrade", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "usr/bin/tool.real"), file{content: "newer"})
			writePackages(t, root, samplePackages)
		}, []string{"tool"}},
		{"a new bundle", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/ssl/certs/ca-certificates.crt"), file{content: "new"})
		}, []string{"ca-certificates"}},
		{"another choice", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/alternatives/comp"), file{target: "/usr/bin/comp-a"})
		}, []string{hostpkgs.HostLinks}},
		{"no cache", func(t *testing.T, _, dir string) {
			if err := os.RemoveAll(filepath.Join(dir, "pins")); err != nil {
				t.Fatal(err)
			}
		}, nil},
		{"a malformed cache", func(t *testing.T, _, dir string) {
			entries, err := filepath.Glob(filepath.Join(dir, "pins/*"))
			if err != nil || len(entries) == 0 {
				t.Fatal("no cache", err)
			}
			for i, name := range entries {
				bad := []string{"", "{", `{"names":["x"]}`, `{"digest":"../../x"}`, "null"}[i%5]
				if err := os.WriteFile(name, []byte(bad), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			root, dir := sampleRoot(t), tempDir(t)
			names := []string{"tool", "comp-a", "comp-b", "ca-certificates"}
			before := show(t, openHost(t, root, dir), names...)
			c.change(t, root, dir)
			after := show(t, openHost(t, root, dir), names...)
			var changed []string
			for i, p := range after.Packages {
				if p.Digest != before.Packages[i].Digest {
					changed = append(changed, p.Name)
				}
			}
			if !slices.Equal(changed, c.changed) {
				t.Errorf("changed pins: %q, want %q", changed, c.changed)
			}
		})
	}
}

func TestHostIsRemembered(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	h := openHost(t, root, dir)
	first := show(t, h, "tool")
	writeSample(t, filepath.Join(root, "etc/tool.conf"), file{content: "edited"})
	if diff := cmp.Diff(first, show(t, h, "tool")); diff != "" {
		t.Errorf("one Host saw two states (-first +second):\n%s", diff)
	}
}

// TestUpgradeBetweenPins has one Host pin before and after an upgrade: no pin may mix the two.
func TestUpgradeBetweenPins(t *testing.T) {
	root := sampleRoot(t)
	h := openHost(t, root, tempDir(t))
	show(t, h, "libx")
	writeSample(t, filepath.Join(root, "usr/lib/libx.so.1.2"), file{content: "newer"})
	writePackages(t, root, append(slices.Clone(samplePackages), installed{"late", "Depends: libx\n", "/."}))
	report := show(t, h, "late")
	if libx := find(t, report, "libx"); libx.Bytes != int64(len("newer")) {
		t.Errorf("after an upgrade libx is pinned as %+v", libx)
	}
}

func TestNotInstalled(t *testing.T) {
	h := openHost(t, sampleRoot(t), tempDir(t))
	for name, near := range map[string][]string{
		"tol": {"tool"}, "again": {"diverter"}, "comp": {"comp-b"}, "virtua": {"virtual"}, "comp-c": {"comp-a", "comp-b"}, "tool:i386": nil, "": nil, "/bin/tool": {"diverter"},
	} {
		_, err := h.Pin(context.Background(), []string{name, "libx"})
		missing, ok := errors.AsType[*hostpkgs.NotInstalledError](err)
		if !ok || missing.Name != name || !slices.Equal(missing.Near, near) {
			t.Errorf("pin of %q gave %v, want one that suggests %q", name, err, near)
		}
	}
	for _, name := range []string{"tool:amd64", "virtual", "tool:any"} {
		if _, err := h.Pin(context.Background(), []string{name}); err != nil {
			t.Errorf("pin of %q gave %v", name, err)
		}
	}
}

func TestNoNames(t *testing.T) {
	if pins, err := openHost(t, sampleRoot(t), tempDir(t)).Pin(context.Background(), nil); err != nil || len(pins) != 0 {
		t.Errorf("pin of nothing gave %v, %v", pins, err)
	}
}

// TestInterruptedPin stops a run after its first package: nothing that it made may be found later, and the next run works.
func TestInterruptedPin(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	db, err := dpkg.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	config := hostpkgs.Config{Database: db, Root: root, Dir: dir, Digest: digestTree, Progress: func(int, int, string) { cancel() }}
	h, err := hostpkgs.New(config)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Pin(ctx, []string{"diverter", "comp-a"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("interrupted pin gave %v", err)
	}
	for _, sub := range []string{"packages", "pins", "tmp"} {
		if entries, err := os.ReadDir(filepath.Join(dir, sub)); err != nil || len(entries) > 0 {
			t.Errorf("an interrupted pin left %v in %s (%v)", entries, sub, err)
		}
	}
	show(t, openHost(t, root, dir), "diverter", "comp-a")
}

func TestProgress(t *testing.T) {
	root := sampleRoot(t)
	db, err := dpkg.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	var steps, names []string
	config := hostpkgs.Config{Database: db, Root: root, Dir: tempDir(t), Digest: digestTree, Progress: func(done, total int, name string) {
		steps = append(steps, string(rune('0'+done))+"/"+string(rune('0'+total)))
		names = append(names, name)
	}}
	h, err := hostpkgs.New(config)
	if err != nil {
		t.Fatal(err)
	}
	show(t, h, "tool")
	slices.Sort(names)
	if !slices.Equal(steps, []string{"1/3", "2/3", "3/3"}) || !slices.Equal(names, []string{"libx", "provider", "tool"}) {
		t.Errorf("progress %q of %q", steps, names)
	}
}

// TestManyAtOnce has several processes' worth of hosts pin and compose in one folder.
func TestManyAtOnce(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	var wg sync.WaitGroup
	trees := make([]string, 8)
	for i := range trees {
		h := openHost(t, root, dir)
		wg.Go(func() {
			pins, err := h.Pin(context.Background(), []string{"diverter", "comp-a"})
			if err != nil {
				t.Error(err)
				return
			}
			tree, err := h.Compose(context.Background(), pins, nil)
			if err != nil {
				t.Error(err)
			}
			trees[i] = tree.Path
		})
	}
	wg.Wait()
	if distinct := slices.Compact(trees); len(distinct) != 1 || distinct[0] == "" {
		t.Errorf("trees %q, want one", distinct)
	}
	if entries, err := os.ReadDir(filepath.Join(dir, "tmp")); err != nil || len(entries) > 0 {
		t.Errorf("left in tmp: %v, %v", entries, err)
	}
}

func TestBadDigest(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	db, err := dpkg.Open(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, digest := range []string{"", "../../x", "blake3:ABC", "sha256:" + strings.Repeat("0", 64)} {
		h, err := hostpkgs.New(hostpkgs.Config{Database: db, Root: root, Dir: dir, Digest: func(context.Context, string) (string, error) { return digest, nil }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.Pin(context.Background(), []string{"tool"}); err == nil {
			t.Errorf("digest %q was accepted", digest)
		}
	}
}
