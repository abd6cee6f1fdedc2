package store

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"hdjail/artifact"
	"hdjail/artifact/collect"
	"hdjail/artifact/lease"
)

func drawID(t *rapid.T) (id [20]byte) {
	copy(id[:], rapid.SliceOfN(rapid.Byte(), 20, 20).Draw(t, "id"))
	return id
}

// TestScanManifest: what is read at once is what decoding the JSON gives.
func TestScanManifest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		chosen := map[artifact.DerivationID][]artifact.RealizationID{}
		for range rapid.IntRange(0, 3).Draw(t, "deps") {
			d := artifact.DerivationID(drawID(t))
			for range rapid.IntRange(1, 3).Draw(t, "chosen") {
				chosen[d] = append(chosen[d], drawID(t))
			}
		}
		c, err := artifact.NewContext(chosen)
		if err != nil {
			t.Fatal(err)
		}
		if rapid.Bool().Draw(t, "nil") && len(c) == 0 {
			c = nil
		}
		m := manifest{Derivation: drawID(t), Context: c, Bytes: rapid.Int64Range(0, 1<<40).Draw(t, "bytes")}
		copy(m.Tree[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "tree"))
		m.ID = artifact.NewRealizationID(m.Derivation, m.Context, m.Tree)
		data, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		var e Entry
		if !scanManifest(data, &e) || e.Derivation != m.Derivation || !e.Context.Equal(m.Context) || e.Tree != m.Tree || e.Bytes != m.Bytes {
			t.Fatalf("%s became %+v", data, e)
		}
		if cut := rapid.IntRange(0, strings.Index(string(data), `"first"`)-2).Draw(t, "cut"); scanManifest(data[:cut], &Entry{}) {
			t.Fatalf("%s was read", data[:cut])
		}
	})
}

// A manifest in another form is decoded, and one that was changed is refused.
func TestEntryFallsBack(t *testing.T) {
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	b, err := runIn(s, sample("b", a.Derivation), only(a.Derivation, a.ID), map[string]string{"f": "b"})
	must(t, err)
	file := s.path("realizations", b.ID.String(), "manifest.json")
	data, err := os.ReadFile(file)
	must(t, err)
	for _, test := range []struct {
		data string
		ok   bool
	}{
		{string(data), true},
		{strings.Replace(string(data), ",", " , ", 3), true},
		{strings.Replace(string(data), a.ID.String(), b.ID.String(), 1), false},
		{string(data[:100]), false},
		{"", false},
	} {
		must(t, os.Remove(file), os.WriteFile(file, []byte(test.data), 0o444))
		e, err := s.Reader().Entry(b.ID)
		if test.ok != (err == nil) || test.ok && !e.Context.Equal(b.Context) {
			t.Errorf("%q gives %+v, %v", test.data, e, err)
		}
		if malformed := (*artifact.MalformedError)(nil); !test.ok && !errors.As(err, &malformed) {
			t.Errorf("%q gives the error %v", test.data, err)
		}
	}
	if _, err := s.Reader().Entry(artifact.RealizationID{1}); !errors.As(err, new(*NotFoundError)) {
		t.Error(err)
	}
}

// TestOutline: the outline of any derivation has its name, dependencies and digests, whatever its texts hold.
func TestOutline(t *testing.T) {
	s := open(t, Options{})
	r := s.Reader()
	text := rapid.OneOf(rapid.StringMatching(`[a-z"\\]{0,12}`), rapid.SampledFrom([]string{`"digest": "x"`, `digest":"`, `","id":"`, "\u2028<&>"}))
	rapid.Check(t, func(t *rapid.T) {
		d := sample(rapid.StringMatching(`[a-z]{1,5}`).Draw(t, "name"))
		d.Version = rapid.StringMatching(`([0-9]\.[0-9])?`).Draw(t, "version")
		d.Script = text.Draw(t, "script")
		d.Environment = map[string]string{text.Draw(t, "key"): text.Draw(t, "value")}
		var digests []string
		for range rapid.IntRange(0, 3).Draw(t, "sources") {
			digest := "sha256:" + strings.Repeat(rapid.StringMatching(`[0-9a-f]`).Draw(t, "digest"), 64)
			d.Sources = append(d.Sources, artifact.Source{Digest: digest, Target: text.Draw(t, "target")})
			digests = append(digests, digest)
		}
		for range rapid.IntRange(0, 3).Draw(t, "packages") {
			p := artifact.HostPackage{Name: text.Draw(t, "package"), Version: text.Draw(t, "version")}
			copy(p.Digest[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "tree"))
			d.HostPackages = append(d.HostPackages, p)
			digests = append(digests, p.Digest.String())
		}
		var deps []artifact.DerivationID
		for range rapid.IntRange(0, 3).Draw(t, "deps") {
			deps = append(deps, drawID(t))
			d.Dependencies = append(d.Dependencies, artifact.Dependency{ID: deps[len(deps)-1], As: text.Draw(t, "as")})
		}
		id, err := s.PutDerivation(d)
		if err != nil {
			t.Skip("no derivation of a store")
		}
		r.Known = map[string]bool{}
		for _, digest := range digests {
			r.Known[digest] = true
		}
		o, err := r.Outline(id)
		if err != nil || o.Name != d.Name || o.Version != d.Version || !slices.Equal(o.Dependencies, deps) {
			t.Fatalf("%+v, %v", o, err)
		}
		slices.Sort(digests)
		slices.Sort(o.Digests)
		if !slices.Equal(slices.Compact(digests), slices.Compact(o.Digests)) {
			t.Fatalf("digests %v, want %v", o.Digests, digests)
		}
	})
}

// TestForeignLease: what a process of another machine holds counts until it was not renewed for long by the clock of the
// file system, whatever the clocks of both machines say.
func TestForeignLease(t *testing.T) {
	s := open(t, Options{})
	other := s.holder
	other.Host, other.Boot = "elsewhere", "elsewhere"
	there := reopen(t, s.root, Options{Holder: other})
	held, err := there.Lease(context.Background(), Use{Purpose: "pack"}, lease.Options{})
	must(t, err)
	uses, err := s.Leases()
	must(t, err)
	if len(uses) != 1 {
		t.Errorf("%d leases", len(uses))
	}
	now, err := s.fileTime()
	must(t, err)
	old := now.Add(-leaseExpiry - time.Minute)
	must(t, os.Chtimes(held.path+leaseLock, old, old))
	uses, err = s.Leases()
	must(t, err)
	left, err := os.ReadDir(s.path("gcroots/leases"))
	must(t, err)
	if len(uses) != 0 || len(left) != 0 {
		t.Errorf("%d leases, %d files", len(uses), len(left))
	}
	must(t, held.Release())
}

// A lease that is damaged stops who wants to know what is in use; one without content is being taken.
func TestDamagedLease(t *testing.T) {
	s := open(t, Options{})
	held, err := s.Lease(context.Background(), Use{Purpose: "build"}, lease.Options{})
	must(t, err)
	must(t, os.Remove(held.path+leaseUse))
	if uses, err := s.Leases(); err != nil || len(uses) != 0 {
		t.Error(uses, err)
	}
	must(t, os.WriteFile(held.path+leaseUse, []byte("{"), 0o444))
	if _, err := s.Leases(); !errors.As(err, new(*RootError)) {
		t.Error(err)
	}
	must(t, held.Release())
}

// What a dead process had taken out is deleted, and never read as what it had pending, whatever it holds.
func TestSweepOfABin(t *testing.T) {
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	text, err := json.Marshal(Failure{Record: artifact.BuildRecord{Derivation: a.Derivation, Failure: "exit"}, Log: "log"})
	must(t, err)
	gone := s.holder
	gone.Start++ // a process of our number that began at another time
	dead := reopen(t, s.root, Options{Holder: gone})
	bin, err := dead.NewBin()
	must(t, err)
	for _, name := range []string{"one", "two"} {
		dir := s.path("sources", name)
		must(t, os.Mkdir(dir, 0o755), os.WriteFile(dir+"/pending.json", text, 0o644), os.WriteFile(dir+"/log", nil, 0o644), os.Chmod(dir, 0o555))
		_, err := bin.Take(dir)
		must(t, err)
	}
	must(t, os.WriteFile(s.path("tmp", gone.TempName()), nil, 0o600)) // a file that was being written
	_, err = dead.Lease(context.Background(), Use{Purpose: "build"}, lease.Options{})
	must(t, err)
	removed, err := s.Sweep(context.Background())
	must(t, err)
	records, err := s.Records(a.Derivation)
	must(t, err)
	leases, err := os.ReadDir(s.path("gcroots/leases"))
	must(t, err)
	if len(removed) != 2 || len(records) != 1 || len(leases) != 0 {
		t.Errorf("%d entries were swept, there are %d records and %d files of leases", len(removed), len(records), len(leases))
	}
	noTemporaries(t, s)
}

// A realization whose context goes while it is being registered is taken back.
func TestContextGoesMeanwhile(t *testing.T) {
	s := open(t, Options{})
	a, err := run(s, sample("a"), map[string]string{"f": "a"})
	must(t, err)
	temp, err := s.NewTemp()
	must(t, err)
	defer temp.Close()
	must(t, os.Mkdir(temp.Dir+"/out", 0o755), os.WriteFile(temp.Dir+"/out/f", nil, 0o644))
	collected, err := collect.Collect(context.Background(), temp.Dir+"/out", collect.Options{UID: os.Geteuid()})
	must(t, err)
	d := sample("b", a.Derivation)
	id, err := s.PutDerivation(d)
	must(t, err)
	c := only(a.Derivation, a.ID)
	m := manifest{ID: artifact.NewRealizationID(id, c, collected.Tree), Derivation: id, Context: c, Tree: collected.Tree}
	r := Registration{Derivation: d, Context: c, Out: temp.Dir + "/out", Tree: collected.Tree,
		Record: artifact.BuildRecord{Purpose: "build", Derivation: id, Context: c, Realization: m.ID, Tree: m.Tree}}
	bin, err := s.NewBin()
	must(t, err)
	_, err = bin.TakeRealization(a.ID, "", artifact.RealizationID{})
	must(t, err, bin.Close())
	if err := s.publish(context.Background(), &r, m); !errors.As(err, new(*NotFoundError)) {
		t.Errorf("it was registered: %v", err)
	}
	if left, err := s.RealizationIDs(); err != nil || len(left) > 0 {
		t.Errorf("%v is left (%v)", left, err)
	}
	must(t, temp.Close())
	noTemporaries(t, s)
}
