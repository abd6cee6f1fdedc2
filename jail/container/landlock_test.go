package container

import (
	"context"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"hdjail/jail"
	"hdjail/mounts"
	"hdjail/policies"
	"hdjail/seccomp"
)

// TestPlanLandlock compares what the fence says of each kind of entry with what its mount says, by ABI.
func TestPlanLandlock(t *testing.T) {
	const read, execute, change = uint64(landlockRead), uint64(unix.LANDLOCK_ACCESS_FS_EXECUTE), uint64(landlockChange)
	c := jail.Config{Mode: policies.ModeHide, Mounts: mounts.Table{Entries: []mounts.Entry{
		{Target: "/bin", Kind: mounts.Symlink, Source: "usr/bin"},
		{Target: "/build", Kind: mounts.Bind, Directory: true, Writable: true},
		{Target: "/cc/lic.dat", Kind: mounts.Bind},
		{Target: "/dev/null", Kind: mounts.Bind, Device: true, NoExec: true},
		{Target: "/dev/shm", Kind: mounts.Tmpfs, Writable: true},
		{Target: "/proc", Kind: mounts.Proc, NoExec: true, Writable: true},
		{Target: "/script", Kind: mounts.File},
		{Target: "/store", Kind: mounts.Skeleton},
		{Target: "/usr", Kind: mounts.Bind, Directory: true},
	}}}
	want := map[string]uint64{
		"/":           unix.LANDLOCK_ACCESS_FS_READ_DIR,
		"/build":      read | execute | landlockWrite,
		"/cc/lic.dat": unix.LANDLOCK_ACCESS_FS_READ_FILE | execute,
		"/dev/null":   unix.LANDLOCK_ACCESS_FS_READ_FILE | change,
		"/dev/shm":    read | execute | landlockWrite,
		"/proc":       read | change,
		"/script":     unix.LANDLOCK_ACCESS_FS_READ_FILE | execute,
		"/usr":        read | execute,
	}
	rows := []struct {
		abi             int
		handled, scoped uint64
	}{
		{0, 0, 0}, {1, 0, 0},
		{2, 1<<14 - 1, 0},
		{3, 1<<15 - 1, 0},
		{5, 1<<16 - 1, 0},
		{6, 1<<16 - 1, 3},
		{99, 1<<16 - 1, 3},
	}
	for _, row := range rows {
		l := planLandlock(c, row.abi)
		if l.handled != row.handled || l.scoped != row.scoped {
			t.Errorf("ABI %d: handles %#x and scopes %#x, want %#x and %#x", row.abi, l.handled, l.scoped, row.handled, row.scoped)
		}
		if row.handled != 0 && len(l.rules) != len(want) {
			t.Errorf("ABI %d: %d rules, want %d: %v", row.abi, len(l.rules), len(want), l.rules)
		}
		for _, rule := range l.rules {
			if rule.access != want[rule.path]&row.handled {
				t.Errorf("ABI %d: %s has %#x, want %#x", row.abi, rule.path, rule.access, want[rule.path]&row.handled)
			}
		}
	}
	c.Mode = policies.ModeOff
	if l := planLandlock(c, 6); l.handled != 0 {
		t.Errorf("mode off has a fence: %+v", l)
	}
}

// TestLandlockHolds takes the filters away, and then Landlock too: the whiteout, a device that needs no privilege, is refused
// by either. A signal to pid 1 is refused by Landlock alone, from ABI 6 on.
func TestLandlockHolds(t *testing.T) {
	r := newRunner(t)
	kernel := r.landlock
	if kernel < landlockFloor {
		t.Fatalf("this kernel's Landlock has ABI %d", kernel)
	}
	filtered := r.filters
	unfiltered := map[filterKind]func() ([][]byte, error){}
	for kind := range filtered {
		unfiltered[kind] = func() ([][]byte, error) { return [][]byte{}, nil }
	}
	if kind := (filterKind{ask: seccomp.AskNobody}); unfiltered[kind] == nil {
		t.Fatalf("there is no filter of kind %+v", kind)
	}
	const script = "mknod /build/w c 0 0 2>/dev/null && echo made; kill -0 1 2>/dev/null && echo reached; echo x >/build/f; mkdir d; mv f d/g; cat d/g"
	rows := []struct {
		name     string
		abi      int
		filters  map[filterKind]func() ([][]byte, error)
		want     string
		enforced int
	}{
		{"both fences", kernel, filtered, "x", kernel},
		{"no filters", kernel, unfiltered, "x", kernel},
		{"ABI 2 and no filters", 2, unfiltered, "reached\nx", 2},
		{"no Landlock", 0, filtered, "reached\nx", 0},
		{"neither", 0, unfiltered, "made\nreached\nx", 0},
	}
	for _, row := range rows {
		if kernel < 6 && row.enforced == kernel {
			row.want = "reached\nx"
		}
		r.landlock, r.filters = row.abi, row.filters
		c := hostConfig(t, r, script)
		var out strings.Builder
		c.Stdout, c.Stderr = &out, &out
		result, err := r.Run(context.Background(), c)
		if err != nil || strings.TrimSpace(out.String()) != row.want {
			t.Errorf("%s: %q, %v, want %q", row.name, out.String(), err, row.want)
		}
		if result.Enforced.Landlock != row.enforced || (len(result.Enforced.Missing) > 0) != (row.enforced == 0) {
			t.Errorf("%s: enforced is %+v", row.name, result.Enforced)
		}
	}
}
