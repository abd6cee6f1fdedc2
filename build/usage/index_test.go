package usage_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hdjail/artifact"
	"hdjail/build/learn"
	"hdjail/build/usage"
	"hdjail/hostpkgs"
	"hdjail/policies"
	"hdjail/policies/audit"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 0, 0, 0, 0, time.UTC) }

func three() *memory {
	m := newMemory()
	m.add(usage.Facts{Artifact: usage.Artifact{Name: "zlib", Built: day(1), Recorded: true},
		Paths: []string{"/usr/bin/gcc", "/usr/include/a.h", "/usr/include/sub/b.h"}, Packages: []string{"gcc:amd64", "libc6-dev:amd64"},
		Pins: []hostpkgs.Pin{pin("gcc", "amd64", "12", "d1"), pin("libc6-dev", "amd64", "2", "d2")}})
	m.add(usage.Facts{Artifact: usage.Artifact{Name: "lua", Built: day(2), Recorded: true},
		Paths: []string{"/usr/bin/gcc", "/usr/include-more/c.h"}, Packages: []string{"gcc:amd64"},
		Pins:   []hostpkgs.Pin{pin("gcc", "amd64", "12", "d1"), pin("libc6-dev", "amd64", "3", "d3")},
		Unused: []learn.Unused{{Kind: "package", Name: "vim", With: []string{"vim-common"}}, {Kind: "path", Name: "/opt/cc"}}})
	m.add(usage.Facts{Artifact: usage.Artifact{Name: "app", Built: day(3)}, Pins: []hostpkgs.Pin{pin("gcc", "amd64", "11", "d0")}})
	return m
}

func open(t *testing.T, m *memory, dir string) *usage.Index {
	t.Helper()
	x, err := usage.Open(context.Background(), m, usage.Options{Dir: dir, Failed: func(err error) { t.Error(err) }})
	must(t, err)
	return x
}

func TestReaders(t *testing.T) {
	x := open(t, three(), t.TempDir())
	for _, c := range []struct {
		what  []string
		since time.Time
		want  string
	}{
		{[]string{"/usr/bin/gcc"}, time.Time{}, "lua 1 /usr/bin/gcc, zlib 1 /usr/bin/gcc"},
		{[]string{"/usr/include"}, time.Time{}, "zlib 2 /usr/include/a.h"},
		{[]string{"/usr/include/"}, time.Time{}, "zlib 2 /usr/include/a.h"},
		{[]string{"/usr/include/sub", "/usr/include"}, time.Time{}, "zlib 2 /usr/include/a.h"},
		{[]string{"/"}, time.Time{}, "lua 2 /usr/bin/gcc, zlib 3 /usr/bin/gcc"},
		{[]string{"/usr/bin/gcc"}, day(2), "lua 1 /usr/bin/gcc"},
		{[]string{"/usr/bin/gc"}, time.Time{}, ""},
		{[]string{"gcc"}, time.Time{}, "lua 0 , zlib 0 "},
		{[]string{"gcc:amd64"}, day(3), ""},
		{[]string{"libc6-dev"}, time.Time{}, "zlib 0 "},
		{[]string{"libc6"}, time.Time{}, ""},
	} {
		list := x.PackageReaders(c.what[0], c.since)
		if c.what[0][0] == '/' {
			list = x.Readers(c.what, c.since)
		}
		var got []string
		for _, r := range list {
			got = append(got, fmt.Sprintf("%s %d %s", r.Name, r.Files, r.First))
		}
		if strings.Join(got, ", ") != c.want {
			t.Errorf("%v since %v: %v, want %s", c.what, c.since, got, c.want)
		}
	}
	if recorded, all := x.Coverage(); recorded != 2 || all != 3 {
		t.Errorf("%d of %d are recorded", recorded, all)
	}
}

func TestStale(t *testing.T) {
	x := open(t, three(), t.TempDir())
	var asked []hostpkgs.Pin
	list, err := x.Stale(context.Background(), func(_ context.Context, pins []hostpkgs.Pin) (map[hostpkgs.Pin]hostpkgs.Change, error) {
		asked = pins
		return map[hostpkgs.Pin]hostpkgs.Change{pin("libc6-dev", "amd64", "2", "d2"): {Kind: "version", Version: "3"}, pin("gcc", "amd64", "11", "d0"): {Kind: "removed"}}, nil
	})
	must(t, err)
	if len(asked) != 4 {
		t.Errorf("asked for %v", asked)
	}
	var got []string
	for _, s := range list {
		for _, c := range s.Changes {
			got = append(got, fmt.Sprintf("%s: %s %s %s%s %t", s.Name, c.Package, c.Pinned, c.Kind, c.Version, c.Read))
		}
	}
	if diff := cmp.Diff([]string{"app: gcc 11 removed false", "zlib: libc6-dev 2 version3 true"}, got); diff != "" {
		t.Error(diff)
	}
	failure := errors.New("no database")
	if _, err := x.Stale(context.Background(), func(context.Context, []hostpkgs.Pin) (map[hostpkgs.Pin]hostpkgs.Change, error) { return nil, failure }); !errors.Is(err, failure) {
		t.Errorf("error %v", err)
	}
}

func TestIdle(t *testing.T) {
	list := open(t, three(), "").Idle()
	want := []learn.Unused{{Kind: "package", Name: "vim", With: []string{"vim-common"}}, {Kind: "path", Name: "/opt/cc"}}
	if len(list) != 1 || list[0].Name != "lua" || cmp.Diff(want, list[0].Unused) != "" {
		t.Errorf("%+v", list)
	}
}

// TestUpdate: what is known is not read again, what is new is read once, what is gone is not reported.
func TestUpdate(t *testing.T) {
	m, dir := three(), t.TempDir()
	open(t, m, dir)
	if n := m.read(); n != 3 {
		t.Errorf("the first time %d were read", n)
	}
	open(t, m, dir)
	if n := m.read(); n != 0 {
		t.Errorf("%d were read again", n)
	}
	id := m.add(usage.Facts{Artifact: usage.Artifact{Name: "new", Recorded: true}, Paths: []string{"/usr/bin/gcc"}})
	x := open(t, m, dir)
	if n := m.read(); n != 1 || len(x.Readers([]string{"/usr/bin/gcc"}, time.Time{})) != 3 {
		t.Errorf("%d were read after one was added", n)
	}
	m.order = slices.DeleteFunc(m.order, func(o artifact.RealizationID) bool { return o == id })
	if x := open(t, m, dir); len(x.Readers([]string{"/usr/bin/gcc"}, time.Time{})) != 2 || m.read() != 0 {
		t.Error("one that is gone is reported")
	}
}

// TestDamage: each file of the cache is cut off, changed and replaced; the answer stays.
func TestDamage(t *testing.T) {
	for name, damage := range map[string]func(data []byte) []byte{
		"empty": func([]byte) []byte { return nil }, "foreign": func([]byte) []byte { return []byte("something else") },
		"cut":     func(data []byte) []byte { return data[:len(data)/2] },
		"flipped": func(data []byte) []byte { data[len(data)-3] ^= 1; return data },
	} {
		m, dir := three(), t.TempDir()
		open(t, m, dir)
		m.read()
		files, err := filepath.Glob(dir + "/*")
		must(t, err)
		for _, file := range files {
			data, err := os.ReadFile(file)
			must(t, errors.Join(err, os.WriteFile(file, damage(data), 0o600)))
		}
		if x := open(t, m, dir); len(files) != 1 || m.read() != 3 || len(x.Readers([]string{"/usr/include/a.h"}, time.Time{})) != 1 {
			t.Errorf("%s: the index was not made again", name)
		}
	}
}

// TestMany: a segment each for many updates is joined, and nothing is lost or counted twice.
func TestMany(t *testing.T) {
	m, dir := newMemory(), t.TempDir()
	for n := range 40 {
		m.add(usage.Facts{Artifact: usage.Artifact{Name: fmt.Sprintf("a%02d", n), Recorded: true, Built: day(1)},
			Paths: []string{"/common", fmt.Sprintf("/own/%d", n)}, Packages: []string{"p:amd64"}, Pins: []hostpkgs.Pin{pin("p", "amd64", "1", "d")},
			Unused: []learn.Unused{{Kind: "package", Name: "u"}}})
		x := open(t, m, dir)
		if got := len(x.Readers([]string{"/common"}, time.Time{})); got != n+1 {
			t.Fatalf("%d of %d read it", got, n+1)
		}
		if files, _ := filepath.Glob(dir + "/*"); len(files) > 9 {
			t.Fatalf("%d files", len(files))
		}
	}
	if n := m.read(); n != 40 {
		t.Errorf("%d were read", n)
	}
	m.order = m.order[38:]
	x := open(t, m, dir)
	if files, _ := filepath.Glob(dir + "/*"); len(files) != 1 {
		t.Errorf("%d files when nearly all is gone", len(files))
	}
	if list := x.Readers([]string{"/own"}, time.Time{}); len(list) != 2 || list[0].Name != "a38" || list[0].First != "/own/38" || len(x.Idle()) != 2 {
		t.Errorf("%+v", list)
	}
	m.order = nil
	open(t, m, dir)
}

// TestTwice: two processes may index one realization; it is one all the same.
func TestTwice(t *testing.T) {
	m, dir := three(), t.TempDir()
	open(t, m, dir)
	m.add(usage.Facts{Artifact: usage.Artifact{Name: "new", Recorded: true}, Paths: []string{"/usr/bin/gcc"}, Pins: []hostpkgs.Pin{pin("p", "amd64", "1", "d")}})
	whole := t.TempDir()
	open(t, m, whole)
	files, err := filepath.Glob(whole + "/*")
	must(t, err)
	data, err := os.ReadFile(files[0])
	must(t, errors.Join(err, os.WriteFile(filepath.Join(dir, filepath.Base(files[0])), data, 0o600)))
	x := open(t, m, dir)
	if list := x.Readers([]string{"/usr/bin/gcc"}, time.Time{}); len(list) != 3 {
		t.Errorf("%+v", list)
	}
	if recorded, all := x.Coverage(); recorded != 3 || all != 4 {
		t.Errorf("%d of %d", recorded, all)
	}
}

// TestFailures: what cannot be read is told and tried again; a cache that cannot be written only costs time.
func TestFailures(t *testing.T) {
	m, dir := three(), t.TempDir()
	m.fail[m.order[1]] = errors.New("damaged audit")
	m.order = append(m.order, artifact.RealizationID{99}) // removed between listing and reading
	var told []error
	o := usage.Options{Dir: dir, Failed: func(err error) { told = append(told, err) }}
	x, err := usage.Open(context.Background(), m, o)
	must(t, err)
	if len(told) != 1 || !strings.Contains(told[0].Error(), "damaged audit") || len(x.Readers([]string{"/usr/bin/gcc"}, time.Time{})) != 1 {
		t.Errorf("told %v", told)
	}
	delete(m.fail, m.order[1])
	if x := open(t, m, dir); len(x.Readers([]string{"/usr/bin/gcc"}, time.Time{})) != 2 {
		t.Error("it was not tried again")
	}
	told, o.Dir = nil, filepath.Join(dir, "file")
	must(t, os.WriteFile(o.Dir, nil, 0o600))
	if x, err = usage.Open(context.Background(), three(), o); err != nil || len(x.Readers([]string{"/usr/bin/gcc"}, time.Time{})) != 2 || len(told) == 0 {
		t.Errorf("without a cache: %v, told %v", err, told)
	}
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := usage.Open(cancelled, three(), usage.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// TestDescribe: what of a record is kept.
func TestDescribe(t *testing.T) {
	gcc := audit.Owner{Package: "gcc", Architecture: "amd64"}
	d := &artifact.Derivation{Name: "a", Version: "1", Prefix: "/hdjail",
		HostPackages: []artifact.HostPackage{{Name: "gcc", Architecture: "amd64", Version: "12"}}}
	own := "/hdjail/store/" + d.StoreName()
	access := func(op policies.Operation, path string, verdict policies.Verdict, owners ...audit.Owner) audit.Access {
		return audit.Access{Op: op, Path: path, Verdict: verdict, Count: 1, Owners: owners}
	}
	a := &audit.Audit{Header: audit.Header{Complete: true}, Accesses: []audit.Access{
		{Op: policies.OpExec, Path: "/usr/bin/cc", Resolved: "/usr/bin/gcc-12", Via: []string{"/etc/alternatives/cc"}, Verdict: policies.Allowed, Owners: []audit.Owner{gcc}},
		access(policies.OpProbe, "/usr/include/x.h", policies.Hidden, audit.Owner{Package: "libx:i386"}),
		access(policies.OpProbe, "/usr/include/none.h", policies.Absent),
		access(policies.OpList, "/usr/share", policies.Allowed, audit.Owner{Package: "many"}),
		access(policies.OpRead, "/build/x.c", policies.Allowed), access(policies.OpWrite, "/srv/x", policies.Denied),
		access(policies.OpRead, own+"/x", policies.Allowed), access(policies.OpRead, "/a/../b", policies.Leaked), access(policies.OpCall, "", policies.Denied),
	}}
	f := usage.Describe(artifact.Realization{Records: []artifact.BuildRecord{{End: day(4).Add(time.Millisecond)}}}, d, a, hostpkgs.NewGraph(nil))
	want := usage.Facts{Artifact: usage.Artifact{Name: "a", Version: "1", Built: day(4), Recorded: true, Complete: true},
		Paths:    []string{"/etc/alternatives/cc", "/usr/bin/cc", "/usr/bin/gcc-12", "/usr/include/x.h", "/usr/share"},
		Packages: []string{"gcc:amd64", "libx:i386"}, Pins: []hostpkgs.Pin{pin("gcc", "amd64", "12", d.HostPackages[0].Digest.String())}}
	if diff := cmp.Diff(want, f); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if f := usage.Describe(artifact.Realization{}, d, nil, nil); f.Recorded || len(f.Pins) != 1 {
		t.Errorf("without an audit: %+v", f)
	}
}

func pin(name, architecture, version, digest string) hostpkgs.Pin {
	return hostpkgs.Pin{Name: name, Architecture: architecture, Version: version, Digest: digest}
}
