package mounts

import (
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestPlanOrdersParentsFirst(t *testing.T) {
	table, err := Plan([]Entry{
		{Target: "/a/b/c", Kind: Tmpfs}, {Target: "/a-b", Kind: Dir}, {Target: "/a", Kind: Bind, Source: "/x", Directory: true},
		{Target: "/a/b", Kind: Tmpfs}, {Target: "/a", Kind: Bind, Source: "/x", Directory: true},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"/a", "/a/b", "/a/b/c", "/a-b"}
	if len(table.Entries) != len(want) {
		t.Fatalf("%d entries, want %d: equal ones are one", len(table.Entries), len(want))
	}
	for i, e := range table.Entries {
		if e.Target != want[i] {
			t.Errorf("entry %d is %s, want %s", i, e.Target, want[i])
		}
	}
}

func TestPlanRefuses(t *testing.T) {
	var conflict *ConflictError
	var target *TargetError
	for name, test := range map[string]struct {
		entries []Entry
		want    any
	}{
		"two sources":    {[]Entry{{Target: "/a", Kind: Bind, Source: "/x"}, {Target: "/a", Kind: Bind, Source: "/y"}}, &conflict},
		"relative":       {[]Entry{{Target: "a", Kind: Dir}}, &target},
		"unclean":        {[]Entry{{Target: "/a/../b", Kind: Dir}}, &target},
		"root":           {[]Entry{{Target: "/", Kind: Dir}}, &target},
		"NUL":            {[]Entry{{Target: "/a\x00b", Kind: Dir}}, &target},
		"source":         {[]Entry{{Target: "/a", Kind: Bind, Source: "x"}}, &target},
		"below a file":   {[]Entry{{Target: "/a", Kind: File}, {Target: "/a/b/c", Kind: Dir}}, &target},
		"below a link":   {[]Entry{{Target: "/a", Kind: Symlink, Source: "b"}, {Target: "/a/b", Kind: Dir}}, &target},
		"below a device": {[]Entry{{Target: "/a", Kind: Bind, Source: "/dev/null", Device: true}, {Target: "/a/b", Kind: Dir}}, &target},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Plan(test.entries); !errors.As(err, test.want) {
				t.Errorf("error %v, want %T", err, test.want)
			}
		})
	}
}

func TestUnderIsTheInnermostMount(t *testing.T) {
	table, err := Plan([]Entry{{Target: "/usr", Kind: Bind, Source: "/t", Directory: true}, {Target: "/usr/local", Kind: Skeleton},
		{Target: "/usr/local/store", Kind: Dir}, {Target: "/usrlocal", Kind: Dir}})
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/usr/bin": "/usr", "/usr/local/store/x": "/usr/local", "/usr": "", "/usrlocal/x": "", "/x": ""} {
		if e, found := table.Under(path); e.Target != want || found != (want != "") {
			t.Errorf("%s lies under %q, want %q", path, e.Target, want)
		}
	}
}

// Whatever the order of the entries, the table is the same, and every mount comes after what it lies on.
func TestPlanIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfDistinct(rapid.StringMatching(`(/[ab]{1,2}(-[ab])?){1,3}`), rapid.ID[string]).Draw(t, "targets")
		var entries []Entry
		for _, name := range names {
			entries = append(entries, Entry{Target: name, Kind: Tmpfs})
		}
		first, err := Plan(entries)
		if err != nil {
			t.Fatal(err)
		}
		second, err := Plan(rapid.Permutation(entries).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		for i, e := range first.Entries {
			if second.Entries[i] != e {
				t.Fatalf("entry %d is %v or %v", i, e, second.Entries[i])
			}
			for _, later := range first.Entries[i+1:] {
				if Below(later.Target, e.Target) {
					t.Fatalf("%s comes before %s", e.Target, later.Target)
				}
			}
		}
	})
}
