package hostpkgs_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hdjail/hostpkgs"
	"hdjail/hostpkgs/dpkg"
)

// pinsOf returns the pins of a report.
func pinsOf(report hostpkgs.Report) []hostpkgs.Pin {
	var pins []hostpkgs.Pin
	for _, p := range report.Packages {
		pins = append(pins, hostpkgs.Pin{Name: p.Name, Architecture: p.Architecture, Version: p.Version, Digest: p.Digest})
	}
	return pins
}

// TestChanged changes the host after packages were pinned, and settles what is in doubt by pinning again.
func TestChanged(t *testing.T) {
	names := []string{"tool", "comp-a", "comp-b", "ca-certificates"}
	for _, c := range []struct {
		what          string
		change        func(t *testing.T, root, dir string)
		want, settled map[string]hostpkgs.Change
	}{
		{"nothing", func(*testing.T, string, string) {}, nil, nil},
		{"an edited conffile", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/tool.conf"), file{content: "edited"})
		}, map[string]hostpkgs.Change{"tool": {Kind: hostpkgs.Unverified, Version: "1"}}, map[string]hostpkgs.Change{"tool": {Kind: hostpkgs.Altered, Version: "1"}}},
		{"a new bundle", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/ssl/certs/more.pem"), file{content: "new"})
		}, map[string]hostpkgs.Change{"ca-certificates": {Kind: hostpkgs.Unverified, Version: "1"}},
			map[string]hostpkgs.Change{"ca-certificates": {Kind: hostpkgs.Altered, Version: "1"}}},
		{"the same installed again", func(t *testing.T, root, _ string) {
			writePackages(t, root, samplePackages)
		}, map[string]hostpkgs.Change{
			"tool": {Kind: hostpkgs.Unverified, Version: "1"}, "comp-a": {Kind: hostpkgs.Unverified, Version: "1"},
			"comp-b": {Kind: hostpkgs.Unverified, Version: "1"}, "ca-certificates": {Kind: hostpkgs.Unverified, Version: "1"},
			"libx": {Kind: hostpkgs.Unverified, Version: "1"}, "provider": {Kind: hostpkgs.Unverified, Version: "1"},
		}, nil},
		{"another choice", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/alternatives/comp"), file{target: "/usr/bin/comp-a"})
		}, map[string]hostpkgs.Change{hostpkgs.HostLinks: {Kind: hostpkgs.Unverified, Version: "1"}},
			map[string]hostpkgs.Change{hostpkgs.HostLinks: {Kind: hostpkgs.Unverified, Version: "1"}}},
		{"the same choice again", func(t *testing.T, root, _ string) {
			writeSample(t, filepath.Join(root, "etc/alternatives/comp"), file{target: "/usr/bin/comp-b"})
		}, map[string]hostpkgs.Change{hostpkgs.HostLinks: {Kind: hostpkgs.Unverified, Version: "1"}}, nil},
	} {
		t.Run(c.what, func(t *testing.T) {
			root, dir := sampleRoot(t), tempDir(t)
			pins := pinsOf(show(t, openHost(t, root, dir), names...))
			c.change(t, root, dir)
			checkChanged(t, openHost(t, root, dir), pins, c.want)
			show(t, openHost(t, root, dir), names...)
			checkChanged(t, openHost(t, root, dir), pins, c.settled)
		})
	}
}

// TestChangedVersions upgrades a package to one of another architecture, and removes one.
func TestChangedVersions(t *testing.T) {
	root, dir := sampleRoot(t), tempDir(t)
	pins := pinsOf(show(t, openHost(t, root, dir), "comp-a", "comp-b", "libx"))
	status := filepath.Join(root, "var/lib/dpkg/status")
	text, err := os.ReadFile(status)
	if err != nil {
		t.Fatal(err)
	}
	edited := strings.NewReplacer(
		"Package: comp-a\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1", "Package: comp-a\nStatus: install ok installed\nArchitecture: all\nVersion: 2",
		"Package: comp-b\nStatus: install ok installed", "Package: comp-b\nStatus: deinstall ok config-files").Replace(string(text))
	writeSample(t, status, file{content: edited})
	checkChanged(t, openHost(t, root, dir), pins, map[string]hostpkgs.Change{
		"comp-a": {Kind: hostpkgs.Upgraded, Version: "2"}, "comp-b": {Kind: hostpkgs.Removed},
	})
}

func checkChanged(t *testing.T, h *hostpkgs.Host, pins []hostpkgs.Pin, want map[string]hostpkgs.Change) {
	t.Helper()
	changed, err := h.Changed(t.Context(), slices.Concat(pins, pins))
	if err != nil {
		t.Fatal(err)
	}
	for _, pin := range pins {
		if changed[pin] != want[pin.Name] {
			t.Errorf("%s: %+v, want %+v", pin.Name, changed[pin], want[pin.Name])
		}
	}
	if len(changed) != len(want) {
		t.Errorf("changed %v, want %v", changed, want)
	}
}

// BenchmarkChanged compares the pins of 1,000 artifacts, which share the packages of a tool chain and more.
func BenchmarkChanged(b *testing.B) {
	db, err := dpkg.Open("/")
	if err != nil {
		b.Skip(err)
	}
	all, err := db.Packages(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	dir := tempDir(b)
	realHost(b, benchNames...)
	pins := pinsOf(show(b, openHost(b, "/", dir), benchNames...))
	for _, p := range all[:min(300, len(all))] {
		pins = append(pins, hostpkgs.Pin{Name: p.Name, Architecture: p.Architecture, Version: p.Version})
	}
	distinct := len(pins)
	for len(pins) < 1000*60 {
		pins = append(pins, pins[:distinct]...)
	}
	ownerIndex(b, "/", dir)
	for b.Loop() {
		if _, err := openHost(b, "/", dir).Changed(b.Context(), pins); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(distinct), "packages")
}
